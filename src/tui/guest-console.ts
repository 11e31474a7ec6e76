/** A guest's COM1 output as lines of a pane: a terminal as simple as a printer with a return key. */
import { printable } from './format.js';

/** Only this much of the newest text is laid out: some thousand lines of scroll-back. */
const TEXT_MAX = 256 * 1024;
const TAB = 8;

/** CSI sequences and two-character escapes; guests rarely send them to a serial line, and the pane does not obey them. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences begin with one
const ESCAPES = /\u001b(?:\[[0-9;?]*[ -/]*[@-~]|[@-Z\\-_])/g;

/** Lines of at most `width` cells; the last one is where the cursor is, `cursor` its column. */
export function consoleLines(text: string, width: number): { lines: string[]; cursor: number } {
  const lines: string[] = [];
  let line: string[] = [];
  let column = 0;
  const newLine = () => {
    lines.push(line.join(''));
    line = [];
    column = 0;
  };
  for (const char of text.slice(-TEXT_MAX).replace(ESCAPES, '')) {
    if (char === '\n') newLine();
    else if (char === '\r') column = 0;
    else if (char === '\b') column = Math.max(0, column - 1);
    else if (char === '\t') column = Math.min(width - 1, (Math.floor(column / TAB) + 1) * TAB);
    else if (char >= ' ') {
      if (column >= width) newLine();
      while (line.length < column) line.push(' ');
      line[column++] = printable(char);
    }
  }
  while (line.length < column) line.push(' ');
  lines.push(line.join(''));
  return { lines, cursor: Math.min(column, width - 1) };
}

/** The `height` lines that end `scroll` lines above the newest; `scroll` limited to what there is. */
export function visibleLines(
  lines: readonly string[],
  height: number,
  scroll: number,
): { from: number; scroll: number } {
  const scrollMax = Math.max(0, lines.length - height);
  const limited = Math.min(Math.max(0, scroll), scrollMax);
  return { from: Math.max(0, scrollMax - limited), scroll: limited };
}
