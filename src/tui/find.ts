/** Rows that fit an expression, and the next row that holds some words. */
import type { VmScreenId } from './columns.js';
import { type Expression, type Facts, holds } from './expression.js';
import { printable } from './format.js';
import type { Row } from './rows.js';
import { columnsOf, type ScreenColumn } from './screens.js';

const shown = (column: ScreenColumn, row: Row): string => column.cell(row as never).trim();

function factsOf(columns: readonly ScreenColumn[], row: Row): Facts {
  return {
    name: printable(row.vm.name),
    text: title => shown(columns.find(column => column.title === title)!, row),
  };
}

export const matches = (expression: Expression, screen: VmScreenId, row: Row): boolean =>
  holds(expression, factsOf(columnsOf(screen), row));

/** Index of the next row behind `from`, around the end, in which a column shows the words; undefined when there is none. */
export function findRow(screen: VmScreenId, rows: readonly Row[], from: number, words: string): number | undefined {
  const columns = columnsOf(screen);
  const wanted = words.toLowerCase();
  for (let step = 1; step <= rows.length; step++) {
    const index = (from + step) % rows.length;
    if (columns.some(column => shown(column, rows[index]!).toLowerCase().includes(wanted))) return index;
  }
  return undefined;
}
