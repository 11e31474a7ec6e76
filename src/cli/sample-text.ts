/** A sample as text for a pipe: the console's own header and columns, without the console. */
import type { Sample } from '../hypervisor/index.js';
import type { VmScreenId } from '../tui/columns.js';
import { shownColumns } from '../tui/fields.js';
import { headerLines } from '../tui/header.js';
import { hasRows, SCREENS } from '../tui/screens.js';
import type { ConsoleConfig } from '../tui/state.js';
import { textTable, withNameLength } from '../tui/table.js';

/**
 * The screen that the configuration begins with, or the CPU screen where that has no table of rows. Ends with an empty line. Rates are over
 * the time since `before`, or since the host's start without it.
 */
export function sampleText(
  now: Sample,
  before: Sample | undefined,
  speed: number | undefined,
  width: number,
  { screen, fields, sort, nameLength, rowsMax }: ConsoleConfig,
): string {
  const shown = screen in SCREENS && hasRows(screen, now) ? (screen as VmScreenId) : 'cpu';
  const header = headerLines(shown, now, before, speed, width).map(line => line.trimEnd());
  const columns = withNameLength(shownColumns(SCREENS[shown].fields, fields[shown]), nameLength);
  const [heading, ...rows] = textTable(shown, now, before, width, columns, sort[shown]);
  const some = rowsMax === 0 ? rows : rows.slice(0, rowsMax);
  return `${[...header, '', heading, ...some].join('\n')}\n\n`;
}
