/**
 * The exits screen: where the cycles of a VM, or of two side by side, went, a row for each cause. Figures count from the VM's
 * power-on or from the moment at which the operator set the screen to zero; rates and %NOW are those between the last two samples.
 */
import { CAUSE_NAMES, CAUSES, type Cause, type Counters, type Sample, type VmSample } from '../hypervisor/index.js';
import { type Column, modeText, PERCENT_WIDTH } from './columns.js';
import { decimal, duration, left, NO_FIGURE, printable, short } from './format.js';
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

/** The order that no column gives: that of the table of causes. */
export const CAUSE_ORDER = 'cause';
const CAUSE_WIDTH = 21;
const BETWEEN = ' |';

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
}

/** The table over `width` cells: each VM has the same of the columns, as many as fit. */
export function exitsTable(
  subjects: readonly ExitsSubject[],
  columns: readonly Column<CauseFigures, CauseFigures>[],
  sortId: string,
  width: number,
): ExitsTable {
  const rows = causeRows(subjects, sortId);
  const room = Math.floor((width - CAUSE_WIDTH - BETWEEN.length * (subjects.length - 1)) / subjects.length);
  const placed: PlacedColumn<CauseFigures>[] = placeColumns(columns, [], room);
  const sideWidth = placed.reduce((sum, column) => sum + column.width, 0);
  const line = (title: string, sides: readonly string[]) => left(left(title, CAUSE_WIDTH) + sides.join(BETWEEN), width);
  return {
    heading: line(
      ' CAUSE',
      subjects.map(() => headingLine(placed, sideWidth)),
    ),
    rows: rows.map(({ cause, sides }) =>
      line(
        ` ${cause === 'sum' ? 'sum' : CAUSES[cause].label}`,
        sides.map(figures => rowLine(placed, figures, sideWidth)),
      ),
    ),
  };
}
