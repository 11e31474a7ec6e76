/** The last values of a figure in a cell each, and the column of them at the right end of rows. */
import type { VmScreenId } from './columns.js';
import { right, short } from './format.js';
import { type History, historyColumn, scaleOf } from './history.js';
import type { Row } from './rows.js';
import type { ConsoleState } from './state.js';
import type { Theme } from './theme.js';

const BLOCKS = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'] as const;
const ASCII = ['.', ':', '-', '=', '+', '*', '%', '#'] as const;

/** `values` in `width` cells, the newest at the right; a blank where there is none. `scale` fills a cell. */
export function sparkline(values: readonly number[], width: number, scale: number, ascii = false): string {
  const steps = ascii ? ASCII : BLOCKS;
  const cells = values.slice(-width).map(value => {
    if (Number.isNaN(value)) return ' ';
    const step = Math.floor((value / scale) * steps.length);
    return steps[Math.max(0, Math.min(steps.length - 1, step))]!;
  });
  return cells.join('').padStart(width);
}

export interface SparklineInput {
  readonly state: Pick<ConsoleState, 'sort' | 'column'>;
  readonly history: History;
  readonly theme: Theme;
  /** Width of the terminal. */
  readonly columns: number;
}

export interface Sparklines {
  /** Cells; 0 where they are not shown. */
  readonly width: number;
  readonly heading: string;
  of(row: Row): string;
}

export const NO_SPARKLINES: Sparklines = { width: 0, heading: '', of: () => '' };
/** Part of the screen that they get, with the blanks before them. */
const SPARKLINES_PART = 0.3;

/** The sorting figure of each row in the last samples, all rows on one scale. */
export function sparklinesOf(
  { state, history, theme, columns }: SparklineInput,
  screen: VmScreenId,
  rows: readonly Row[],
): Sparklines {
  const width = Math.floor(columns * SPARKLINES_PART);
  const column = historyColumn(screen, state.column ?? state.sort[screen]);
  const valuesOf = (row: Row): number[] =>
    history.moments(screen, row.key, column.id, width - 2).map(({ value }) => value);
  const scale = scaleOf(
    column.title,
    rows.flatMap(row => valuesOf(row).filter(value => !Number.isNaN(value))),
  );
  return {
    width,
    heading: right(`${column.title} 0-${short(scale)}`, width),
    of: row => `  ${sparkline(valuesOf(row), width - 2, scale, theme.ascii)}`,
  };
}
