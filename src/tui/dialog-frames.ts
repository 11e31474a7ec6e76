/** Frames of the dialogs that take the whole screen. */
import type { Sample } from '../hypervisor/index.js';
import { type ChartDialog, chartLines } from './chart.js';
import { fieldDialog } from './fields.js';
import { cut, left, printable } from './format.js';
import { aboutVm, type Frame, type FrameInput, frameOf, messageLine, upperLines } from './frame-parts.js';
import { consoleLines, visibleLines } from './guest-console.js';
import { firstLine } from './header.js';
import { helpLines } from './help.js';
import { figureColumns } from './history.js';
import { type MenuDialog, scrolledTop } from './state.js';

export function chartFrame(input: FrameInput, now: Sample, chart: ChartDialog): Frame {
  const { columns: width, theme, history } = input;
  const column = figureColumns(chart.screen).find(({ id }) => id === chart.column)!;
  const { key } = theme;
  const keys = `${key('up down')}:row  ${key('space')}:mark  ${key('left right')}:cursor  ${key(', .')}:figure  ${key('- +')}:span  ${key('Esc')}:close`;
  const above = [
    firstLine(now, input.speed, width),
    ...chartLines({
      chart,
      title: column.title,
      ...input.chartContext(chart.screen),
      moments: row => history.moments(chart.screen, row, chart.column),
      theme,
      width,
      height: input.rows - 3,
    }),
  ];
  return frameOf(input, above, [keys]);
}

export function menuFrame(input: FrameInput, now: Sample, menu: MenuDialog): Frame {
  const { columns: width, theme } = input;
  const above = upperLines(input, now);
  above.push(theme.heading(left(` ${menu.title}`, width)), '');
  const below = [
    left(`${theme.key('up down')}:select  ${theme.key('Enter 1-9')}:choose  ${theme.key('Esc')}:close`, width),
  ];
  const height = Math.max(1, input.rows - 1 - above.length - below.length - 1);
  const from = scrolledTop(0, menu.index, menu.items.length, height);
  const rows = menu.items.slice(from, from + height).map((item, offset) => ({
    marker: `${from + offset === menu.index ? '>' : ' '}${from + offset < 9 ? from + offset + 1 : ' '}`,
    cells: item.cells,
  }));
  // All items count for the widths, so that they do not change when the menu scrolls.
  const cutLast = lastCellsCut(
    menu.columns,
    menu.items.map(({ cells }) => cells),
    width - 2,
  );
  return frameOf(input, above, below, {
    menu: { headings: menu.columns, rows: rows.map(({ marker, cells }) => ({ marker, cells: cutLast(cells) })) },
  });
}

/**
 * ink-table makes a column as wide as its text, so the last one is cut: to what is left beside the others, three cells each for padding and
 * border, and the marker.
 */
function lastCellsCut(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  width: number,
): (cells: readonly string[]) => readonly string[] {
  const last = headings.length - 1;
  let lastWidth = width - 4 - 3 * headings.length;
  for (let column = 0; column < last; column++) {
    lastWidth -= Math.max(headings[column]!.length, ...rows.map(cells => [...cells[column]!].length));
  }
  return cells => cells.map((cell, column) => (column === last ? cut(cell, Math.max(8, lastWidth)) : cell));
}

export function helpFrame(input: FrameInput, top: number): Frame {
  const { columns: width, theme } = input;
  const lines = helpLines(input.state.screen, input.now);
  const height = input.rows - 2;
  const from = Math.max(0, Math.min(top, lines.length - height));
  const above = lines.slice(from, from + height).map(line => cut(line, width));
  const more = from + height < lines.length ? 'space or down: more; ' : '';
  return frameOf(input, above, [theme.heading(left(` ${more}any other key: back`, width))], { scroll: from });
}

/** Letter and title of a field, with what is around them. */
const FIELD_TITLE_WIDTH = 32;

export function fieldsFrame(input: FrameInput, what: 'toggle' | 'move'): Frame {
  const { state, columns: width, theme } = input;
  const { order, headings, prompt, ...dialog } = fieldDialog(state.screen, state.fields[state.screen], what);
  // The description of a field leaves as much to the columns that it stands for.
  const half = Math.floor((width - FIELD_TITLE_WIDTH) / 2);
  const rows = dialog.rows.map(({ marker, cells: [title, description, columns] }) => ({
    marker,
    cells: [title!, cut(description!, half), columns!],
  }));
  const cutLast = lastCellsCut(
    headings,
    rows.map(({ cells }) => cells),
    width - 4,
  );
  return frameOf(input, [cut(order, width), ''], [cut(prompt, width - 1) + theme.cursor(' ')], {
    menu: { headings, rows: rows.map(({ marker, cells }) => ({ marker, cells: cutLast(cells) })) },
  });
}

/** The VGA's text: its last lines, where the terminal has not room for all. */
export function screenFrame(input: FrameInput, now: Sample, name: string): Frame {
  const { columns: width, theme } = input;
  const answer = input.screenText(name);
  const height = input.rows - 1 - 3;
  const title = ` Text screen of ${printable(name)} (${aboutVm(now, name)})`;
  let shown: string[] = ['Asking ...'];
  if (answer?.ok === false) shown = [printable(answer.reason)];
  else if (answer !== undefined) {
    const { lines, cursor } = answer;
    const from = Math.max(0, Math.min(lines.length, (cursor?.row ?? lines.length - 1) + 1) - height);
    shown = lines.slice(from, from + height).map((line, index) => {
      if (cursor === undefined || from + index !== cursor.row) return cut(line, width);
      const text = left(line, width);
      return text.slice(0, cursor.column) + theme.cursor(text[cursor.column] ?? ' ') + text.slice(cursor.column + 1);
    });
  }
  const above = [firstLine(now, input.speed, width), theme.heading(left(title, width)), ...shown];
  const keys = `${theme.key('Ctrl-]')}:detach  ${theme.key('Ctrl-T')}:serial console  other keys go to the guest`;
  return frameOf(input, above, [input.state.message ? messageLine(input) : keys]);
}

export function attachFrame(input: FrameInput, now: Sample, name: string, scroll: number): Frame {
  const { columns: width, theme } = input;
  const height = input.rows - 1 - 3;
  const { lines, cursor } = consoleLines(input.consoleText(name), width);
  const view = visibleLines(lines, height, scroll);
  const title = ` Console of ${printable(name)} (${aboutVm(now, name)})${view.scroll > 0 ? `, ${view.scroll} lines back` : ''}`;
  const shown = lines.slice(view.from, view.from + height);
  if (view.scroll === 0) {
    const line = shown.length - 1;
    const text = left(shown[line] ?? '', width);
    shown[line] = text.slice(0, cursor) + theme.cursor(text[cursor] ?? ' ') + text.slice(cursor + 1);
  }
  const above = [firstLine(now, input.speed, width), theme.heading(left(title, width)), ...shown];
  const keys = `${theme.key('Ctrl-]')}:detach  ${theme.key('Ctrl-T')}:screen  ${theme.key('PgUp PgDn')}:scroll  other keys go to the guest`;
  return frameOf(input, above, [input.state.message ? messageLine(input) : keys], { scroll: view.scroll });
}
