/**
 * The exits screen: where the cycles of a VM, or of two side by side, went, a row for each cause. Figures count from the VM's
 * power-on or from the moment at which the operator set the screen to zero; rates and %NOW are those between the last two samples.
 */
import { CAUSE_NAMES, CAUSES, type Cause, type Counters, type Sample, type VmSample } from '../hypervisor/index.js';
import { type Column, modeText, PERCENT_WIDTH } from './columns.js';
import { decimal, duration, left, NO_FIGURE, printable, right, short } from './format.js';
import { elapsedCycles, ratio, rise, sameRun } from './rows.js';
import { headingLine, type PlacedColumn, placeColumns, rowLine } from './table.js';

/** What a VM has spent on a cause, or on all of them. */
export interface CauseFigures {
  readonly cycles: number;
  /** Cycles between the last two samples. */
  readonly cyclesNow: number;
  /** Share of the VM's charged cycles, percent. */
  readonly percent: number;
  readonly percentNow: number;
  /** undefined where nothing is counted: the guest's own instructions, and the sum of unlike things. */
  readonly events: number | undefined;
  readonly eventsPerSecond: number | undefined;
}

/** A row: a cause, or the sum over all, with the figures of each VM that is shown. */
export interface CauseRow {
  readonly cause: Cause | 'sum';
  readonly sides: readonly CauseFigures[];
}

/** A VM with the samples that its figures are differences of. */
export interface ExitsSubject {
  readonly vm: VmSample;
  /** The VM when the screen was set to zero, if that was in this run. */
  readonly zero: VmSample | undefined;
  readonly before: VmSample | undefined;
  /** Time between the last two samples, and since power-on or `zero`, in seconds. */
  readonly seconds: number;
  readonly secondsSince: number;
}

export function exitsSubject(
  vm: VmSample,
  now: Sample,
  before: Sample | undefined,
  zeroed: Sample | undefined,
): ExitsSubject {
  const zero = sameRun(vm, zeroed);
  const sinceCycles = zero === undefined ? vm.poweredOnAtCycles : zeroed!.atCycles;
  return {
    vm,
    zero,
    before: sameRun(vm, before),
    seconds: elapsedCycles(now, before) / now.cyclesPerSecond,
    secondsSince: (now.atCycles - sinceCycles) / now.cyclesPerSecond,
  };
}

const percentOf = (part: number, whole: number): number => 100 * ratio(part, whole);

function eventsSince(cause: Cause, now: Counters, before: Counters | undefined): number | undefined {
  const { counters } = CAUSES[cause];
  if (counters.length === 0) return undefined;
  return counters.reduce((sum, name) => sum + rise(now[name], before?.[name]), 0);
}

function figuresOf(cause: Cause, { vm, zero, before, seconds }: ExitsSubject, total: CauseFigures): CauseFigures {
  const cycles = rise(vm.causes[cause], zero?.causes[cause]);
  const cyclesNow = rise(vm.causes[cause], before?.causes[cause]);
  const eventsNow = eventsSince(cause, vm.counters, before?.counters);
  return {
    cycles,
    cyclesNow,
    percent: percentOf(cycles, total.cycles),
    percentNow: percentOf(cyclesNow, total.cyclesNow),
    events: eventsSince(cause, vm.counters, zero?.counters),
    eventsPerSecond: eventsNow === undefined ? undefined : ratio(eventsNow, seconds),
  };
}

/** All that was charged: not the sum of the causes, which must be equal to it. */
function totalOf({ vm, zero, before }: ExitsSubject): CauseFigures {
  const cycles = rise(vm.chargedCycles, zero?.chargedCycles);
  const cyclesNow = rise(vm.chargedCycles, before?.chargedCycles);
  return {
    cycles,
    cyclesNow,
    percent: percentOf(cycles, cycles),
    percentNow: percentOf(cyclesNow, cyclesNow),
    events: undefined,
    eventsPerSecond: undefined,
  };
}

function countColumn(
  id: string,
  title: string,
  width: number,
  keep: number,
  help: string,
  places: number,
  counter: string,
  figure: (figures: CauseFigures) => number | undefined,
): Column<CauseFigures, CauseFigures> {
  return {
    id,
    title,
    width,
    keep,
    help,
    cell: figures => {
      const value = figure(figures);
      return value === undefined ? NO_FIGURE : decimal(value, width - 1, places);
    },
    sort: figures => figure(figures) ?? -1,
    // An average over no event is zero in batch files, as esxtop writes it.
    counter: {
      name: counter,
      places: /^(?:Events|Cycles)$/.test(counter) ? 0 : 2,
      of: figures => figure(figures) ?? 0,
    },
  };
}

export const EXITS_COLUMNS: readonly Column<CauseFigures, CauseFigures>[] = [
  countColumn('events', 'EVENTS', 11, 90, 'events since power-on, or since z', 0, 'Events', ({ events }) => events),
  countColumn(
    'rate',
    'EVT/s',
    9,
    70,
    'events per second between the last two updates',
    1,
    'Events/sec',
    ({ eventsPerSecond }) => eventsPerSecond,
  ),
  countColumn('cycles', 'CYCLES', 15, 60, 'cycles since power-on, or since z', 0, 'Cycles', ({ cycles }) => cycles),
  countColumn('cost', 'CYC/EVT', 9, 100, 'cycles per event', 1, 'Average Cycles/Event', ({ cycles, events }) =>
    events ? cycles / events : undefined,
  ),
  countColumn(
    'share',
    '%TIME',
    PERCENT_WIDTH,
    110,
    'share of all cycles of the VM',
    2,
    '% Time',
    ({ percent }) => percent,
  ),
  countColumn(
    'now',
    '%NOW',
    PERCENT_WIDTH,
    50,
    'the same between the last two updates',
    2,
    '% Time Now',
    ({ percentNow }) => percentNow,
  ),
];

export const causeLabel = (cause: Cause | 'sum'): string => (cause === 'sum' ? 'sum' : CAUSES[cause].label);

/** The order that no column gives: that of the table of causes. */
export const CAUSE_ORDER = 'cause';
const CAUSE_WIDTH = 21;
const BETWEEN = ' |';
const DIFFERENCE_WIDTHS = [9, 8] as const;
const DIFFERENCE_TITLES = ['DIFF/s', '%DIFF'] as const;

/** Causes in the table's order or by a column's falling figure of the first VM, and the sum. */
export function causeRows(subjects: readonly ExitsSubject[], sortId: string): CauseRow[] {
  const totals = subjects.map(totalOf);
  const rows = CAUSE_NAMES.map(cause => ({
    cause,
    sides: subjects.map((subject, index) => figuresOf(cause, subject, totals[index]!)),
  }));
  const sort = EXITS_COLUMNS.find(column => column.id === sortId)?.sort;
  if (sort) rows.sort((a, b) => sort(b.sides[0]!) - sort(a.sides[0]!));
  return [...rows, { cause: 'sum', sides: totals }];
}

/** What a cause takes of the right VM more than of the left one (negative: less), in the time that the screen counts. */
export interface CauseDifference {
  readonly cause: Cause | 'sum';
  /** Cycles per second of each VM's own time. */
  readonly perSecond: number;
  /** Of all that the left VM takes per second: these of all causes sum up to that of the sum. */
  readonly percent: number;
}

/** For each row, of which the last one is the sum, the right VM's rate less the left one's. */
export function causeDifferences(
  [first, second]: readonly ExitsSubject[],
  rows: readonly CauseRow[],
): CauseDifference[] {
  const rates = rows.map(({ sides: [a, b] }) => [
    ratio(a!.cycles, first!.secondsSince),
    ratio(b!.cycles, second!.secondsSince),
  ]) as [number, number][];
  const all = rates.at(-1)![0];
  return rows.map(({ cause }, index) => {
    const perSecond = rates[index]![1] - rates[index]![0];
    return { cause, perSecond, percent: percentOf(perSecond, all) };
  });
}

const signed = (value: number, text: (size: number) => string): string =>
  Number.isNaN(value) ? NO_FIGURE : `${value < 0 ? '-' : '+'}${text(Math.abs(value))}`;
const signedPercent = (percent: number): string => signed(percent, size => size.toFixed(1));

/** Both VMs in a sentence, with the causes that make the difference, largest first: as many as there is room for. */
export function whyLine(subjects: readonly ExitsSubject[], width: number): string {
  const [leftName, rightName] = subjects.map(({ vm }) => printable(vm.name));
  const differences = causeDifferences(subjects, causeRows(subjects, CAUSE_ORDER));
  const sum = differences.at(-1)!;
  const size = Number.isNaN(sum.percent) ? NO_FIGURE : Math.abs(sum.percent).toFixed(1);
  let line = `${rightName} takes ${size}% ${sum.percent < 0 ? 'fewer' : 'more'} cycles/s than ${leftName}`;
  const parts = differences.slice(0, -1).sort((a, b) => Math.abs(b.percent) - Math.abs(a.percent));
  for (const { cause, percent } of parts) {
    if (Math.abs(percent) < 0.05) break;
    const piece = `${line.includes(': ') ? ', ' : ': '}${CAUSES[cause as Cause].label} ${signedPercent(percent)}%`;
    if (line.length + piece.length > width) break;
    line += piece;
  }
  return left(line, width);
}

/** `LABEL: name (mode, guest); so many exits since ...`. */
function subjectLine(label: string, { vm, zero, before, seconds, secondsSince }: ExitsSubject, width: number): string {
  const exits = short(rise(vm.counters.exits, zero?.counters.exits));
  const about = `${label}: ${printable(vm.name)} (${modeText({ vm })}, ${printable(vm.guestState)}); ${exits} exits`;
  if (vm.power !== 'on') return left(`${about} in its last run`, width);
  const rate = short(ratio(rise(vm.counters.exits, before?.counters.exits), seconds));
  return left(
    `${about} (${rate}/s) in ${duration(secondsSince)} since ${zero === undefined ? 'power-on' : 'z'}`,
    width,
  );
}

export function exitsLines(subjects: readonly ExitsSubject[], width: number): string[] {
  const labels = subjects.length === 1 ? ['EXITS '] : ['LEFT  ', 'RIGHT '];
  return subjects.map((subject, index) => subjectLine(labels[index]!, subject, width));
}

export interface ExitsTable {
  readonly heading: string;
  readonly rows: readonly string[];
  /** Where the marked column's title is in the heading, for each VM. */
  readonly marks: readonly { readonly from: number; readonly to: number }[];
}

const differenceCells = (texts: readonly string[]): string =>
  texts.map((text, index) => right(text, DIFFERENCE_WIDTHS[index]!)).join('');

/**
 * The table over `width` cells: each VM has the same of the columns, as many as fit, and two VMs have their difference behind them. `marked` is
 * the id of a column.
 */
export function exitsTable(
  subjects: readonly ExitsSubject[],
  columns: readonly Column<CauseFigures, CauseFigures>[],
  sortId: string,
  width: number,
  marked?: string,
): ExitsTable {
  const rows = causeRows(subjects, sortId);
  const differences = subjects.length === 2 ? causeDifferences(subjects, rows) : undefined;
  const behind = differences === undefined ? 0 : BETWEEN.length + differenceCells(DIFFERENCE_TITLES).length;
  const room = Math.floor((width - CAUSE_WIDTH - behind - BETWEEN.length * (subjects.length - 1)) / subjects.length);
  const placed: PlacedColumn<CauseFigures>[] = placeColumns(columns, [], room);
  const sideWidth = placed.reduce((sum, column) => sum + column.width, 0);
  const line = (title: string, sides: readonly string[]) => left(left(title, CAUSE_WIDTH) + sides.join(BETWEEN), width);
  const markedAt = placed.findIndex(({ column }) => column.id === marked);
  const before = placed.slice(0, markedAt).reduce((sum, { width: cells }) => sum + cells, CAUSE_WIDTH);
  return {
    heading: line(' CAUSE', [
      ...subjects.map(() => headingLine(placed, sideWidth)),
      ...(differences === undefined ? [] : [differenceCells(DIFFERENCE_TITLES)]),
    ]),
    rows: rows.map(({ cause, sides }, index) => {
      const difference = differences?.[index];
      return line(` ${causeLabel(cause)}`, [
        ...sides.map(figures => rowLine(placed, figures, sideWidth)),
        ...(difference === undefined
          ? []
          : [differenceCells([signed(difference.perSecond, short), signedPercent(difference.percent)])]),
      ]);
    }),
    marks:
      markedAt < 0
        ? []
        : subjects.map((_, side) => {
            const from = before + side * (sideWidth + BETWEEN.length);
            return { from, to: from + placed[markedAt]!.width };
          }),
  };
}
