/** Medians, ratios, and the table that people read. */
import type { EmulatorRun } from './emulator.js';
import { type RowTime, timeOf, WAITING_ROWS } from './rows.js';

/** Runs of one emulator, in order. */
export interface Series {
  readonly name: string;
  readonly runs: readonly EmulatorRun[];
}

export const CLOCKS = ['wall', 'cpu', 'steady'] as const;
export type Clock = (typeof CLOCKS)[number];
/** What stands for several runs. */
export type Statistic = 'median' | 'best';

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >>> 1;
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function geometricMean(values: readonly number[]): number {
  if (values.length === 0) return Number.NaN;
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

export interface ReportRow {
  readonly name: string;
  readonly count: number;
  /** Median (or best) time in ms by emulator; undefined where it has no figure for the row. */
  readonly timeMs: Readonly<Record<string, number | undefined>>;
  /** Longest run divided by shortest, by emulator: how far a figure can be trusted. */
  readonly spread: Readonly<Record<string, number | undefined>>;
  /** Time of the other emulator divided by the first one's: above 1, the first is faster. */
  readonly ratio: Readonly<Record<string, number | undefined>>;
}

export interface Report {
  readonly rows: readonly ReportRow[];
  /** Of the ratios, over the rows that both have; without those that wait. */
  readonly geometricMean: Readonly<Record<string, number>>;
  /** Emulators that do not agree on what the guest computed, rows that ended early. */
  readonly failures: readonly string[];
}

const byName = (run: EmulatorRun, name: string): RowTime | undefined => run.rows.find(row => row.name === name);

function failuresOf(series: readonly Series[], names: readonly string[]): string[] {
  const failures: string[] = [];
  for (const name of names) {
    const answers = new Map<string, string[]>();
    for (const { name: emulator, runs } of series) {
      for (const run of runs) {
        const row = byName(run, name);
        if (row === undefined) failures.push(`${name}: ${emulator} has no result (${run.remarks.join('; ')})`);
        if (row === undefined || row.count === 0) continue;
        const answer = `${row.count} ${row.check}`;
        answers.set(answer, [...(answers.get(answer) ?? []), emulator]);
      }
    }
    if (answers.size <= 1) continue;
    const list = [...answers].map(([answer, who]) => `${answer} (${[...new Set(who)].join(', ')})`);
    failures.push(`${name}: results differ: ${list.join(', ')}`);
  }
  return [...new Set(failures)];
}

/** NaN where the emulator does not have it. */
function timeBy(clock: Clock, row: RowTime): number {
  if (clock === 'cpu') return row.cpuMs;
  return clock === 'steady' && !WAITING_ROWS.has(row.name) ? (row.steadyMs ?? Number.NaN) : timeOf(row);
}

/** Compares every emulator with the first. */
export function makeReport(series: readonly Series[], clock: Clock = 'wall', statistic: Statistic = 'median'): Report {
  const present = series.filter(({ runs }) => runs.length > 0);
  const names = [...new Set(present.flatMap(({ runs }) => runs.flatMap(run => run.rows.map(row => row.name))))];
  const first = present[0]?.name;
  const rows = names.map((name): ReportRow => {
    const timeMs: Record<string, number | undefined> = {};
    const spread: Record<string, number | undefined> = {};
    const ratio: Record<string, number | undefined> = {};
    let count = 0;
    for (const { name: emulator, runs } of present) {
      const found = runs.flatMap(run => byName(run, name) ?? []).filter(row => row.count > 0);
      const times = found.map(row => timeBy(clock, row)).filter(Number.isFinite);
      if (times.length === 0) continue;
      count = found[0]!.count;
      timeMs[emulator] = statistic === 'best' ? Math.min(...times) : median(times);
      spread[emulator] = Math.max(...times) / Math.min(...times);
    }
    const own = first === undefined ? undefined : timeMs[first];
    for (const { name: emulator } of present.slice(1)) {
      const other = timeMs[emulator];
      ratio[emulator] = own === undefined || other === undefined ? undefined : other / own;
    }
    return { name, count, timeMs, spread, ratio };
  });
  const means = present.slice(1).map(({ name }) => {
    const ratios = rows.flatMap(row => (WAITING_ROWS.has(row.name) ? [] : (row.ratio[name] ?? [])));
    return [name, geometricMean(ratios)] as const;
  });
  return { rows, geometricMean: Object.fromEntries(means), failures: failuresOf(present, names) };
}

const number = (value: number | undefined, digits: number): string =>
  value === undefined || !Number.isFinite(value) ? '-' : value.toFixed(digits);

/** Longest run divided by shortest from which on a figure is not to be relied on. */
const STEADY_MAX = 1.25;

/** One line for each emulator whose runs differ much among themselves. */
function unsteadyLines(report: Report, emulators: readonly string[]): string[] {
  return emulators.flatMap(name => {
    const rows = report.rows.filter(row => (row.spread[name] ?? 1) > STEADY_MAX);
    const list = rows.map(row => `${row.name} ${row.spread[name]!.toFixed(1)}`).join(', ');
    return rows.length > 0 ? [`unsteady on ${name} (longest run / shortest): ${list}`] : [];
  });
}

/** Columns: row, count, time of each emulator, ratios. */
export function formatReport(report: Report, emulators: readonly string[]): string {
  const others = emulators.slice(1);
  const header = [
    'row',
    'count',
    ...emulators.map(name => `${name} ms`),
    ...others.map(name => `${name}/${emulators[0]}`),
  ];
  const lines = report.rows.map(row => [
    WAITING_ROWS.has(row.name) ? `${row.name} (processor)` : row.name,
    String(row.count),
    ...emulators.map(name => number(row.timeMs[name], 1)),
    ...others.map(name => number(row.ratio[name], 2)),
  ]);
  const blanks = emulators.map(() => '');
  lines.push(['geometric mean', '', ...blanks, ...others.map(name => number(report.geometricMean[name], 2))]);
  const table = [header, ...lines];
  const widths = header.map((_, column) => Math.max(...table.map(line => line[column]!.length)));
  const text = table.map(line =>
    line
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  '),
  );
  const unsteady = unsteadyLines(report, emulators);
  return [
    ...text.map(line => line.trimEnd()),
    ...unsteady,
    ...report.failures.map(failure => `FAILURE ${failure}`),
  ].join('\n');
}
