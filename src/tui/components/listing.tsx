/** A table that is printed once and left behind. */
import { renderToString } from 'ink';
import { inkTable, type Scalar } from './ink-table.js';

/** Cells that ink-table adds to a column: a blank on either side and a border. */
const COLUMN_EXTRA = 3;

/** With borders; undefined where they make the table wider than `width`. Ends without a line end. */
export function listing(
  titles: readonly string[],
  rows: readonly (readonly string[])[],
  width: number,
): string | undefined {
  const cells = titles.map((title, at) => Math.max(title.length, ...rows.map(row => row[at]!.length)));
  const needed = cells.reduce((sum, each) => sum + each + COLUMN_EXTRA, 1);
  if (needed > width) return undefined;
  const Table = inkTable();
  const data = rows.map(
    (row): Record<string, Scalar> => Object.fromEntries(titles.map((title, at) => [title, row[at]])),
  );
  return renderToString(<Table data={data} columns={titles} />, { columns: width });
}
