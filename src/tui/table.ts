/** A table of columns as lines of text: which columns fit, the heading, the rows, their order. */
import type { Sample } from '../hypervisor/index.js';
import type { Column, ScreenId, VmScreenId } from './columns.js';
import { matches } from './find.js';
import { left, right } from './format.js';
import { adapterRows, diskRows, portRows } from './io-rows.js';
import { EVERY_ROW, interruptRows, type Row, type RowFilter, vmGroups } from './rows.js';
import { columnsOf, defaultColumns, SCREENS, type ScreenColumn } from './screens.js';
import { PLAIN_THEME, type Theme } from './theme.js';
import { levelOf, type Threshold } from './thresholds.js';

export interface PlacedColumn<R = Row> {
  readonly column: Column<R, never>;
  readonly width: number;
}

/** The columns with a NAME of `length` characters; 0: as it is. */
export const withNameLength = <C extends Column<never, never>>(columns: readonly C[], length: number): readonly C[] =>
  length === 0
    ? columns
    : columns.map(column =>
        column.id === 'name' ? { ...column, width: length + 1, textWidthMin: length + 1 } : column,
      );

/** A text column is as wide as its widest text needs, between `textWidthMin` and `width`. */
function widthOf<R>(column: Column<R, never>, rows: readonly R[]): number {
  if (column.textWidthMin === undefined) return column.width;
  const widest = rows.reduce((most, row) => Math.max(most, [...column.cell(row)].length), column.title.length);
  return Math.min(column.width, Math.max(column.textWidthMin, widest + 1));
}

/**
 * The columns that fit into `width` cells, in declared order: the ones with the lowest `keep` leave first, never a part of one.
 * Text columns get their full width back where room is left, so that a wide terminal looks the same whatever the names.
 */
export function placeColumns<R>(
  columns: readonly Column<R, never>[],
  rows: readonly R[],
  width: number,
): PlacedColumn<R>[] {
  const leaving = [...columns].sort((a, b) => a.keep - b.keep);
  const staying = new Set(columns);
  const narrow = new Map(columns.map(column => [column, widthOf(column, rows)]));
  const total = () => [...staying].reduce((sum, column) => sum + narrow.get(column)!, 0);
  while (total() > width && staying.size > 1) staying.delete(leaving.shift()!);
  let spare = width - total();
  return columns
    .filter(column => staying.has(column))
    .map(column => {
      const extra = Math.min(Math.max(0, spare), column.width - narrow.get(column)!);
      spare -= extra;
      return { column, width: narrow.get(column)! + extra };
    });
}

const place = <R>({ column, width }: PlacedColumn<R>, text: string): string =>
  column.textWidthMin === undefined ? right(text, width) : ` ${left(text, width - 1)}`;

/** The heading over the full width; the title of the sorting column is marked by the caller's theme, not here. */
export function headingLine<R>(columns: readonly PlacedColumn<R>[], width: number): string {
  return left(columns.map(placed => place(placed, placed.column.title)).join(''), width);
}

/** One row over the full width. */
export function rowLine<R>(
  columns: readonly PlacedColumn<R>[],
  row: R,
  width: number,
  theme: Theme = PLAIN_THEME,
  thresholds: readonly Threshold[] = [],
): string {
  let used = 0;
  const cells = columns.map(placed => {
    used += placed.width;
    const text = place(placed, placed.column.cell(row));
    const level = levelOf(thresholds, placed.column.title, text.trim());
    return placed.column.alarm?.(row) || level === 'alarm'
      ? theme.alarm(text)
      : level === 'warn'
        ? theme.warn(text)
        : text;
  });
  return cells.join('') + ' '.repeat(Math.max(0, width - used));
}

/**
 * Rows of a screen: VMs in the order of `sortId`, on the CPU screen with the worlds of the expanded ones below them; or the VMs' parts. Where a
 * screen is about the selected VM alone they are what is selected from.
 */
export function screenRows(
  screen: ScreenId,
  now: Sample,
  before: Sample | undefined,
  sortId: string,
  expanded: ReadonlySet<string>,
  { gid, dropped, fitting }: RowFilter = EVERY_ROW,
): Row[] {
  const groups = vmGroups(now, before, expanded).filter(({ row }) => gid === undefined || row.vm.gid === gid);
  const column = columnsOf(screen).find(candidate => candidate.id === sortId);
  const isThere = (row: Row): boolean => !dropped.has(row.key);
  const expression = fitting[screen];
  const isIn = (row: Row): boolean =>
    isThere(row) && (expression === undefined || matches(expression, screen as VmScreenId, row));
  switch (screen) {
    case 'interrupt':
      return sorted(groups.flatMap(({ row }): Row[] => interruptRows(now, before, row.vm)).filter(isIn), column);
    case 'network':
      return sorted(groups.flatMap(({ row }): Row[] => portRows(now, before, row.vm)).filter(isIn), column);
    case 'diskAdapter':
      return sorted(groups.flatMap(({ row }): Row[] => adapterRows(now, before, row.vm)).filter(isIn), column);
    case 'diskDevice':
      return sorted(groups.flatMap(({ row }): Row[] => [...diskRows(now, before, row.vm).each]).filter(isIn), column);
    case 'diskVm': {
      const disks = groups.map(({ row }) => ({ ...diskRows(now, before, row.vm), expanded: row.expanded }));
      const each = new Map(disks.map(of => [of.all.key, of.expanded ? of.each.filter(isThere) : []]));
      const vms = sorted(
        disks.flatMap(({ all }): Row[] => (all.count > 0 && isIn(all) ? [all] : [])),
        column,
      );
      return vms.flatMap(row => [row, ...(each.get(row.key) ?? [])]);
    }
    case 'cpu': {
      const shown = new Map(groups.map(({ row, worlds }) => [row.key, row.expanded ? worlds.filter(isThere) : []]));
      const vms = sorted(groups.map(({ row }): Row => row).filter(isIn), column);
      return vms.flatMap(row => [row, ...(shown.get(row.key) ?? [])]);
    }
    default:
      return sorted(groups.map(({ row }): Row => row).filter(isIn), column);
  }
}

/** Equal figures keep the order of the inventory, so rows do not dance: Array.sort is stable. */
function sorted(rows: Row[], column: ScreenColumn | undefined): Row[] {
  const sort = column?.sort;
  if (sort === undefined) return rows;
  const sign = column?.rising ? 1 : -1;
  return rows.sort((a, b) => sign * (sort(a) - sort(b)));
}

/** The screen's table as plain lines of at most `width` cells, for a pipe. */
export function textTable(
  screen: VmScreenId,
  now: Sample,
  before: Sample | undefined,
  width: number,
  shown: readonly ScreenColumn[] = defaultColumns(screen),
  sortId: string = SCREENS[screen].sort,
): string[] {
  const rows = screenRows(screen, now, before, sortId, new Set());
  const columns = placeColumns(shown, rows, width);
  return [headingLine(columns, width), ...rows.map(row => rowLine(columns, row, width))].map(line => line.trimEnd());
}
