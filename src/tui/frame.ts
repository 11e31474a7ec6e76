/**
 * One frame of the console as lines of text, from a state and two samples. Pure: the same input gives the same frame, which is
 * how the tests look at it. A menu is not text yet: ink-table draws it between `above` and `below`.
 */
import type { CodeAnswer, EngineState, HostEvent, Sample, ScreenAnswer, VmSample } from '../hypervisor/index.js';
import { activityHeading, activityLines } from './activity.js';
import { type ChartContext, type ChartDialog, chartLines } from './chart.js';
import { type CodeView, codeTable, codeTitle, symbolic } from './code.js';
import { modeText, type ScreenId, type VmScreenId } from './columns.js';
import { detailLine } from './detail.js';
import { type ExitsSubject, exitsLines, exitsSubject, exitsTable, whyLine } from './exits.js';
import { formatExpression } from './expression.js';
import { EXITS_FIELDS, fieldDialog, shownColumns } from './fields.js';
import { cut, left, printable } from './format.js';
import { consoleLines, visibleLines } from './guest-console.js';
import { firstLine, headerLines } from './header.js';
import { helpLines } from './help.js';
import { figureColumns, type History, type HistoryScreen } from './history.js';
import { footerLine } from './keys.js';
import type { FrameHits } from './mouse.js';
import { vmGroups } from './rows.js';
import { columnsOf, hasRows, SCREENS, type ScreenColumn } from './screens.js';
import type { CodeSymbol } from './session.js';
import { NO_SPARKLINES, sparklinesOf } from './sparkline.js';
import { type ConsoleState, type MenuDialog, scrolledTop, selectedIndex, selectedVm } from './state.js';
import { headingLine, placeColumns, rowLine, screenRows, withNameLength } from './table.js';
import type { Theme } from './theme.js';

export const COLUMNS_MIN = 80;
export const ROWS_MIN = 24;
function nothing(screen: ScreenId, now: Sample): string {
  if (now.vms.length === 0) return 'No VM is on this host.';
  return hasRows(screen, now) ? 'No row is shown; l and then 0 shows all.' : 'No VM of this host has such a device.';
}

export interface FrameInput {
  readonly state: ConsoleState;
  readonly now: Sample | undefined;
  readonly before: Sample | undefined;
  /** Virtual seconds per real second, or what stands in its place. */
  readonly speed: number | string | undefined;
  readonly engine: EngineState | undefined;
  /** Why the host stopped by itself. */
  readonly failure: string | undefined;
  readonly events: readonly HostEvent[];
  readonly history: History;
  readonly chartContext: (screen: HistoryScreen) => ChartContext;
  readonly consoleText: (vm: string) => string;
  /** What the host said about the code at `state.place`. */
  readonly code: (vm: string) => CodeAnswer | undefined;
  /** What the host said is on a VM's text screen. */
  readonly screenText: (vm: string) => ScreenAnswer | undefined;
  readonly symbols: readonly CodeSymbol[];
  readonly theme: Theme;
  /** Size of the terminal; a frame has one line less, since Ink clears the whole terminal for a frame as high as it. */
  readonly columns: number;
  readonly rows: number;
}

export interface MenuView {
  readonly headings: readonly string[];
  readonly rows: readonly { readonly marker: string; readonly cells: readonly string[] }[];
}

export interface Frame {
  readonly height: number;
  readonly above: readonly string[];
  readonly menu: MenuView | undefined;
  readonly below: readonly string[];
  /** The scroll positions that this frame shows; the next one begins with them. */
  readonly top: number;
  readonly scroll: number;
  /** Where the mouse finds what, on screens with rows. */
  readonly hits?: FrameHits;
}

function frameOf(input: FrameInput, above: string[], below: string[], extra: Partial<Frame> = {}): Frame {
  const height = input.rows - 1;
  const menuHeight = extra.menu ? extra.menu.rows.length + 1 : 0;
  const missing = height - above.length - menuHeight - below.length;
  const filler = Array.from({ length: Math.max(0, missing) }, () => '');
  return { height, above, menu: undefined, below: [...filler, ...below], top: input.state.top, scroll: 0, ...extra };
}

export function buildFrame(input: FrameInput): Frame {
  const { state, now, columns, rows } = input;
  if (columns < COLUMNS_MIN || rows < ROWS_MIN) {
    const lines = [
      `vmitop needs ${COLUMNS_MIN}x${ROWS_MIN} cells,`,
      `this terminal has ${columns}x${rows}.`,
      'q quits.',
    ];
    return frameOf(
      input,
      lines.slice(0, Math.max(1, rows - 1)).map(line => cut(line, columns)),
      [],
    );
  }
  if (!now) return frameOf(input, [input.failure ?? 'Waiting for the first sample ...'], [footer(input)]);
  switch (state.dialog?.kind) {
    case 'help':
      return helpFrame(input, state.dialog.top);
    case 'fields':
      return fieldsFrame(input, state.dialog.what);
    case 'attach':
      return state.dialog.shows === 'screen'
        ? screenFrame(input, now, state.dialog.vm)
        : attachFrame(input, now, state.dialog.vm, state.dialog.scroll);
    case 'chart':
      return chartFrame(input, now, state.dialog);
    case 'menu':
      return menuFrame(input, now, state.dialog);
    default:
      break;
  }
  switch (state.screen) {
    case 'exits':
      return exitsFrame(input, now);
    case 'code':
      return codeFrame(input, now);
    case 'activity':
      return activityFrame(input, now);
    default:
      return tableFrame(input, now, state.screen);
  }
}

const footer = ({ columns, theme, state, now }: FrameInput): string =>
  footerLine(columns, theme.key, state.screen, now);

/** The line for messages and prompts, between header and heading. */
function messageLine({ state, failure, theme, columns }: FrameInput): string {
  if (state.dialog?.kind === 'confirm') return theme.alarm(cut(state.dialog.question, columns));
  // The end of a long one, where it is typed.
  if (state.dialog?.kind === 'prompt')
    return `${state.dialog.label}${state.dialog.text}`.slice(-(columns - 1)) + theme.cursor(' ');
  if (failure !== undefined) return theme.alarm(cut(printable(failure), columns));
  if (state.message === undefined) {
    if (state.held !== undefined) return theme.key('paused; P goes on');
    const fitting = state.filter.fitting[state.screen];
    return fitting === undefined
      ? ''
      : cut(`rows that fit ${printable(formatExpression(fitting))}; & changes it`, columns);
  }
  const text = cut(state.message.text, columns);
  return state.message.alarm ? theme.alarm(text) : text;
}

/** What stands above the heading on the current screen. */
function upperLines(input: FrameInput, now: Sample): string[] {
  const { state, before, speed, columns: width } = input;
  return [...screenLines(), messageLine(input)];

  function screenLines(): string[] {
    switch (state.screen) {
      case 'exits':
        return [firstLine(now, speed, width), ...exitsLines(exitsSubjects(input, now), width)];
      case 'code': {
        const view = codeView(input, now);
        return [firstLine(now, speed, width), ...(view ? [codeTitle(view, modeText(view), width)] : [])];
      }
      case 'activity':
        return [firstLine(now, speed, width)];
      default:
        return headerLines(state.screen, now, before, speed, width, input.engine);
    }
  }
}

/** The VM that a screen without rows of VMs is about. */
const subjectVm = ({ state, before }: FrameInput, now: Sample): VmSample | undefined =>
  selectedVm(screenRows(state.screen, now, before, '', state.expanded, state.filter), state.selected);

function codeView(input: FrameInput, now: Sample): CodeView | undefined {
  const vm = subjectVm(input, now);
  const { place } = input.state;
  return vm && { vm, place, placeName: symbolic(place, input.symbols), answer: input.code(vm.name) };
}

function codeFrame(input: FrameInput, now: Sample): Frame {
  const { state, before, columns: width, theme } = input;
  const above = upperLines(input, now);
  const view = codeView(input, now);
  if (view === undefined) return frameOf(input, [...above, nothing(state.screen, now)], ['', footer(input)]);
  const { heading, rows: lines } = codeTable(view, width);
  above.push(theme.heading(heading));
  const below = [detailLine(view.vm.name, now, before, width), footer(input)];
  const height = input.rows - 1 - above.length - below.length;
  const from = Math.max(0, Math.min(state.codeTop, lines.length - height));
  return frameOf(input, [...above, ...lines.slice(from, from + height)], below, { scroll: from });
}

function activityFrame(input: FrameInput, now: Sample): Frame {
  const { state, before, columns: width, theme, events } = input;
  const lines = activityLines(events, now.cyclesPerSecond, width);
  const above = [...upperLines(input, now), theme.heading(activityHeading(width))];
  const vm = subjectVm(input, now);
  const below = [vm === undefined ? '' : detailLine(vm.name, now, before, width), footer(input)];
  const height = input.rows - 1 - above.length - below.length;
  const back = Math.max(0, Math.min(state.activityBack, lines.length - height));
  const end = lines.length - back;
  const shown = lines.slice(Math.max(0, end - height), end);
  return frameOf(input, [...above, ...shown.map(({ text, alarm }) => (alarm ? theme.alarm(text) : text))], below, {
    scroll: back,
  });
}

/** The selected VM and the one beside it. */
function exitsSubjects(input: FrameInput, now: Sample): ExitsSubject[] {
  const { state, before } = input;
  const vm = subjectVm(input, now);
  const beside = now.vms.find(({ name }) => name === state.beside && name !== vm?.name);
  return [vm, beside].flatMap(one => (one === undefined ? [] : [exitsSubject(one, now, before, state.zero)]));
}

function exitsFrame(input: FrameInput, now: Sample): Frame {
  const { state, before, columns: width, theme } = input;
  const above = upperLines(input, now);
  const subjects = exitsSubjects(input, now);
  const [first] = subjects;
  if (first === undefined) return frameOf(input, [...above, nothing(state.screen, now)], ['', footer(input)]);
  const columns = shownColumns(EXITS_FIELDS, state.fields.exits);
  const { heading, rows, marks } = exitsTable(subjects, columns, state.sort.exits, width, state.column);
  above.push(markedHeading(heading, marks, theme), ...rows.slice(0, -1), theme.key(rows.at(-1)!));
  const marked = columns.find(({ id }) => id === state.column);
  const detail = subjects.length === 2 ? whyLine(subjects, width) : detailLine(first.vm.name, now, before, width);
  return frameOf(input, above, [marked ? helpLine(marked, theme, width) : detail, footer(input)]);
}

/** A heading in which the title of the marked column stands out, wherever it is. */
function markedHeading(
  words: string,
  marks: readonly { readonly from: number; readonly to: number }[],
  theme: Theme,
): string {
  let done = 0;
  let line = '';
  for (const { from, to } of marks) {
    line += words.slice(done, from) + theme.key(words.slice(from, to));
    done = to;
  }
  return theme.heading(line + words.slice(done));
}

/** What a column means, for the one that is marked. */
const helpLine = ({ title, help }: Pick<ScreenColumn, 'title' | 'help'>, theme: Theme, width: number): string => {
  const words = cut(`${title}: ${help}`, width);
  return theme.key(words.slice(0, title.length)) + words.slice(title.length);
};

function tableFrame(input: FrameInput, now: Sample, screen: VmScreenId): Frame {
  const { state, before, columns: width, theme } = input;
  const rows = screenRows(screen, now, before, state.sort[screen], state.expanded, state.filter);
  const index = selectedIndex(rows, state.selected);
  const thresholds = state.thresholds.filter(rule => rule.screen === screen);
  const sparks = state.sparklines ? sparklinesOf(input, screen, rows) : NO_SPARKLINES;
  const placed = placeColumns(
    withNameLength(shownColumns(SCREENS[screen].fields, state.fields[screen]), state.nameLength),
    rows,
    width - sparks.width,
  );
  const above = upperLines(input, now);
  let from = 0;
  const titles = placed.map(({ column, width: cells }) => {
    const title = { id: column.id, from, to: from + cells };
    from += cells;
    return title;
  });
  const heading = above.length;
  const words = headingLine(placed, width - sparks.width) + sparks.heading;
  above.push(
    markedHeading(
      words,
      titles.filter(({ id }) => id === state.column),
      theme,
    ),
  );
  const selected = rows[index];
  const marked = columnsOf(screen).find(column => column.id === state.column);
  const detail = selected ? detailLine(selected.vm.name, now, before, width) : '';
  const below = [marked ? helpLine(marked, theme, width) : detail, footer(input)];
  // A host with so many pCPUs that their lines leave no room still shows the selected row.
  const room = Math.max(1, input.rows - 1 - above.length - below.length - 1);
  const height = state.rowsMax === 0 ? room : Math.min(room, state.rowsMax);
  const top = scrolledTop(state.top, index, rows.length, height);
  rows.slice(top, top + height).forEach((row, offset) => {
    // The mark is for terminals and eyes that do not show the difference; the first column begins with a blank.
    const line =
      top + offset === index
        ? rowLine(placed, row, width - sparks.width).replace(/^ /, '>') + sparks.of(row)
        : rowLine(placed, row, width - sparks.width, theme, thresholds) + sparks.of(row);
    above.push(top + offset === index ? theme.selected(line) : line);
  });
  if (rows.length === 0) above.push(nothing(state.screen, now));
  const shown = rows.slice(top, top + height).map(({ key }) => key);
  const hits = { heading, columns: titles, rows: shown };
  return frameOf(input, above.slice(0, input.rows - 1 - below.length), below, { top, hits });
}

function chartFrame(input: FrameInput, now: Sample, chart: ChartDialog): Frame {
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

function menuFrame(input: FrameInput, now: Sample, menu: MenuDialog): Frame {
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

function helpFrame(input: FrameInput, top: number): Frame {
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

function fieldsFrame(input: FrameInput, what: 'toggle' | 'move'): Frame {
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

function aboutVm(now: Sample, name: string): string {
  const row = vmGroups(now, undefined, new Set()).find(group => group.row.vm.name === name)?.row;
  return row ? `${modeText(row)}, ${printable(row.vm.guestState)}` : 'removed';
}

/** The VGA's text: its last lines, where the terminal has not room for all. */
function screenFrame(input: FrameInput, now: Sample, name: string): Frame {
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

function attachFrame(input: FrameInput, now: Sample, name: string, scroll: number): Frame {
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
