/**
 * What the figures on the screens have been: for each row and column with a figure, its values in the newest samples. Bounded: the oldest go.
 * Filled once from each sample that the console gets, whatever is on the screen.
 */
import type { Sample } from '../hypervisor/index.js';
import type { VmScreenId } from './columns.js';
import { CAUSE_ORDER, type CauseFigures, causeRows, EXITS_COLUMNS, exitsSubject } from './exits.js';
import { EVERY_ROW, type Row } from './rows.js';
import { columnsOf, SCREENS, type ScreenColumn } from './screens.js';
import { screenRows } from './table.js';

/** Samples that are kept; of 64 VMs they take some 9 MB. */
export const HISTORY_MAX = 600;

/** Screens whose figures are remembered. */
export type HistoryScreen = VmScreenId | 'exits';

/** A row of the exits screen: a cause of a VM, or the sum. */
export const causeKey = (vm: string, cause: string): string => `cause ${cause} ${vm}`;

/** The exits screen's figures that are about the last interval: totals since power-on tell no history. */
const CAUSE_COLUMNS = EXITS_COLUMNS.filter(({ id }) => id === 'now' || id === 'rate');

/** A value and its virtual time, in seconds; NaN where the row was not there. */
export interface Moment {
  readonly seconds: number;
  readonly value: number;
}

const keyOf = (screen: HistoryScreen, row: string, column: string): string => `${screen} ${column} ${row}`;

/** The figure of a column that batch files have, too. */
const figureOf = ({ counter }: ScreenColumn, row: Row): number | undefined =>
  counter === undefined || (counter.vmOnly && row.kind === 'world') ? undefined : counter.of(row);

export class History {
  readonly #max: number;
  /** Times of the samples, seconds, oldest first; the value of the one at `index` is at `(#first + index) % #max` of each series. */
  #times: number[] = [];
  #first = 0;
  readonly #series = new Map<string, Float32Array>();

  constructor(max = HISTORY_MAX) {
    this.#max = max;
  }

  /** A sample that is not newer than the last one (of a replay that went back) takes the place of what came after it. */
  take(now: Sample, before: Sample | undefined): void {
    const seconds = now.atCycles / now.cyclesPerSecond;
    while (this.#times.length > 0 && this.#times.at(-1)! >= seconds) this.#times.pop();
    if (this.#times.length === this.#max) {
      this.#times.shift();
      this.#first = (this.#first + 1) % this.#max;
    }
    this.#times.push(seconds);
    const place = (this.#first + this.#times.length - 1) % this.#max;
    for (const values of this.#series.values()) values[place] = Number.NaN;
    const keep = (key: string, value: number): void => {
      this.#of(key)[place] = value;
    };
    const expanded = new Set(now.vms.map(({ name }) => name));
    for (const screen of Object.keys(SCREENS) as VmScreenId[]) {
      const columns = columnsOf(screen);
      for (const row of screenRows(screen, now, before, '', expanded, EVERY_ROW)) {
        for (const column of columns) {
          const value = figureOf(column, row);
          if (value !== undefined) keep(keyOf(screen, row.key, column.id), value);
        }
      }
    }
    for (const vm of now.vms) {
      for (const { cause, sides } of causeRows([exitsSubject(vm, now, before, undefined)], CAUSE_ORDER)) {
        const [figures] = sides as [CauseFigures];
        const key = causeKey(vm.name, cause);
        keep(keyOf('exits', key, 'now'), figures.percentNow);
        if (figures.eventsPerSecond !== undefined) keep(keyOf('exits', key, 'rate'), figures.eventsPerSecond);
      }
    }
    if (place === 0) this.#forget();
  }

  #of(key: string): Float32Array {
    const known = this.#series.get(key);
    if (known !== undefined) return known;
    const made = new Float32Array(this.#max).fill(Number.NaN);
    this.#series.set(key, made);
    return made;
  }

  /** Rows of which nothing is left: VMs and worlds that have gone. */
  #forget(): void {
    for (const [key, values] of this.#series) if (values.every(Number.isNaN)) this.#series.delete(key);
  }

  /** Times of the samples, seconds, oldest first. */
  get times(): readonly number[] {
    return this.#times;
  }

  /** The newest `count` moments, oldest first. */
  moments(screen: HistoryScreen, row: string, column: string, count = this.#max): Moment[] {
    const values = this.#series.get(keyOf(screen, row, column));
    const from = Math.max(0, this.#times.length - count);
    return this.#times.slice(from).map((seconds, index) => ({
      seconds,
      value: values?.[(this.#first + from + index) % this.#max] ?? Number.NaN,
    }));
  }
}

/** The figure that a screen is mostly looked at for, where it is sorted by a name. */
const MAIN: Readonly<Record<HistoryScreen, string>> = {
  cpu: 'used',
  memory: 'tchd',
  diskAdapter: 'commands',
  diskDevice: 'commands',
  diskVm: 'commands',
  network: 'sentPackets',
  interrupt: 'rate',
  timer: 'delivered',
  exits: 'now',
};

export type HistoryColumn = Pick<ScreenColumn, 'id' | 'title'>;

/** The columns of a screen that have a history. */
export const figureColumns = (screen: HistoryScreen): readonly HistoryColumn[] =>
  screen === 'exits' ? CAUSE_COLUMNS : columnsOf(screen).filter(({ counter }) => counter !== undefined);

/** The column that the rows are sorted by, or the screen's main one. */
export function historyColumn(screen: HistoryScreen, sortId: string): HistoryColumn {
  const columns = figureColumns(screen);
  return columns.find(({ id }) => id === sortId) ?? columns.find(({ id }) => id === MAIN[screen])!;
}

/** What a column's figures are drawn against: percentages of one processor against 100, and anything else against the round number above. */
export function scaleOf(title: string, values: readonly number[]): number {
  const most = values.reduce((highest, value) => Math.max(highest, value), 0);
  return title.includes('%') && most <= 100 ? 100 : roundAbove(most);
}

/** The next of 1, 2, 5, 10, 20 ... that is not below; 1 for nothing. */
export function roundAbove(value: number): number {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5].find(step => step * power >= value) ?? 10) * power;
}
