/**
 * A log has rates between two samples; samples have totals, of which the screens make rates again. So a rate becomes the sum of what it was
 * over the time of each sample, and comes back as it was.
 */
import type { LoggedObject, PerformanceLog } from './read.js';

/** A figure of each sample of a log, by its number; NaN where it is not known. */
export type Figure = (row: number) => number;

/** Cycles per second of a log's host, which no log says: every share and every time is the same with any. */
export const HZ = 1e9;

export const UNKNOWN: Figure = () => Number.NaN;

/** The first of two that is known at all. */
export const either = (first: Figure, second: Figure): Figure => (first === UNKNOWN ? second : first);

/** `of` several figures; unknown if one of them is. */
export const from = (figures: readonly Figure[], of: (...values: number[]) => number): Figure =>
  figures.includes(UNKNOWN) ? UNKNOWN : row => of(...figures.map(figure => figure(row)));

/** The values of several figures, under their names. */
export function valuesOf<K extends string>(figures: Readonly<Record<K, Figure>>): (row: number) => Record<K, number> {
  const names = Object.keys(figures) as K[];
  return row => Object.fromEntries(names.map(name => [name, figures[name](row)])) as Record<K, number>;
}

/** When the samples of a log were taken. */
export interface Times {
  readonly count: number;
  /** Since the host's start, seconds. */
  readonly seconds: Figure;
  /** Since the sample before; of the first one since the start. */
  readonly elapsed: Figure;
}

/** The sum of what each sample adds, from the beginning or from the last sample at which `since` changed. What is missing adds nothing. */
export function total(increment: Figure, { count }: Times, since?: Figure): Figure {
  if (increment === UNKNOWN) return UNKNOWN;
  const sums = new Float64Array(count);
  for (let row = 0; row < count; row++) {
    const goesOn = row > 0 && (since === undefined || since(row) === since(row - 1));
    sums[row] = (goesOn ? sums[row - 1]! : 0) + (increment(row) || 0);
  }
  return row => sums[row]!;
}

/** The counters of one object of a log; those that it does not have are unknown. */
export class LoggedFigures {
  readonly #log: PerformanceLog;
  readonly #times: Times;
  readonly #object: LoggedObject | undefined;
  /** When totals begin again. */
  readonly #since: Figure | undefined;

  constructor(log: PerformanceLog, times: Times, object: LoggedObject | undefined, since?: Figure) {
    this.#log = log;
    this.#times = times;
    this.#object = object;
    this.#since = since;
  }

  /** As it stands in the log, times `unit`. */
  at(counter: string, unit = 1): Figure {
    const column = this.#object?.counters.get(counter);
    if (column === undefined) return UNKNOWN;
    const { rows } = this.#log;
    return row => rows[row]![column]! * unit;
  }

  /** The sum of what it says of each sample, times `unit`. */
  sum(counter: string, unit = 1): Figure {
    return this.total(this.at(counter, unit));
  }

  /** The sum of a rate per second, times `unit`. */
  sumOfRate(counter: string, unit = 1): Figure {
    return this.total(this.perSample(this.at(counter, unit)));
  }

  /** What a rate per second is in each sample. */
  perSample(rate: Figure): Figure {
    return from([rate, this.#times.elapsed], (value, seconds) => value * seconds);
  }

  total(increment: Figure): Figure {
    return total(increment, this.#times, this.#since);
  }
}
