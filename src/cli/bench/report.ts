/** The bench's tables: virtual time side by side, then where the cycles went. Pure functions of the measurements. */
import { CAUSE_NAMES, CAUSES, type Mode } from '../../hypervisor/index.js';
import { alignedLines, type TextColumn } from '../aligned.js';
import type { Experiment, Measurement } from './measure.js';

const right = (title: string): TextColumn => ({ title, align: 'right' });
const left = (title: string): TextColumn => ({ title, align: 'left' });

const LABELS: Readonly<Partial<Record<Experiment, string>>> = { idle: 'idle, % of a CPU' };

/** What an experiment is compared by: virtual seconds, or for `idle` the share of a CPU that it used, in percent. */
export function figureOf({ experiment, virtualSeconds, chargedCycles }: Measurement, cyclesPerSecond: number): number {
  return experiment === 'idle' ? (100 * chargedCycles) / (virtualSeconds * cyclesPerSecond) : virtualSeconds;
}

const RATIOS: readonly (readonly [over: Mode, under: Mode])[] = [
  ['bt', 'native'],
  ['vmi', 'native'],
  ['bt', 'vmi'],
];

/** Virtual seconds for each mode and the ratios between modes, a line for each experiment. */
export function timeTable(
  measurements: readonly Measurement[],
  modes: readonly Mode[],
  cyclesPerSecond: number,
): string[] {
  const ratios = RATIOS.filter(pair => pair.every(mode => modes.includes(mode)));
  const columns = [
    left('virtual seconds'),
    ...modes.map(right),
    ...ratios.map(([over, under]) => right(`${over}/${under}`)),
  ];
  const rows = experimentsOf(measurements).map(experiment => {
    const figure = (mode: Mode): number | undefined => {
      const found = measurements.find(one => one.experiment === experiment && one.mode === mode);
      return found && figureOf(found, cyclesPerSecond);
    };
    return [
      LABELS[experiment] ?? experiment,
      ...modes.map(mode => figure(mode)?.toFixed(6) ?? '-'),
      ...ratios.map(([over, under]) => ratio(figure(over), figure(under))),
    ];
  });
  return alignedLines(columns, rows);
}

/** For one experiment: cycles by cause in each mode. Causes that nowhere took a cycle are left out; the sum is exact. */
export function causeTable(
  measurements: readonly Measurement[],
  experiment: Experiment,
  modes: readonly Mode[],
): string[] {
  const found = modes.map(mode => measurements.find(one => one.experiment === experiment && one.mode === mode));
  const columns = [left(`${experiment}: cycles by cause`), ...modes.flatMap(mode => [right(mode), right('%')])];
  const cells = (cycles: (one: Measurement) => number): string[] =>
    found.flatMap(one => {
      if (!one) return ['-', ''];
      const share = one.chargedCycles > 0 ? (100 * cycles(one)) / one.chargedCycles : 0;
      return [grouped(cycles(one)), share.toFixed(1)];
    });
  const rows = CAUSE_NAMES.filter(cause => found.some(one => one && one.causes[cause] > 0)).map(cause => [
    CAUSES[cause].label,
    ...cells(one => one.causes[cause]),
  ]);
  return alignedLines(columns, [...rows, ['total', ...cells(one => one.chargedCycles)]]);
}

export const experimentsOf = (measurements: readonly Measurement[]): Experiment[] => [
  ...new Set(measurements.map(one => one.experiment)),
];

const ratio = (over: number | undefined, under: number | undefined): string =>
  over === undefined || under === undefined || under === 0 ? '-' : (over / under).toFixed(3);

/** Digits in groups of three. */
export const grouped = (value: number): string =>
  Math.round(value)
    .toString()
    .replaceAll(/\B(?=(\d{3})+$)/g, ' ');
