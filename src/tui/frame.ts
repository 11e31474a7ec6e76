/**
 * One frame of the console as lines of text, from a state and two samples. Pure: the same input gives the same frame, which is
 * how the tests look at it. A menu is not text yet: ink-table draws it between `above` and `below`.
 */
import type { Sample } from '../hypervisor/index.js';
import { activityHeading, activityLines } from './activity.js';
import { codeTable } from './code.js';
import type { VmScreenId } from './columns.js';
import { detailLine } from './detail.js';
import { attachFrame, chartFrame, fieldsFrame, helpFrame, menuFrame, screenFrame } from './dialog-frames.js';
import { exitsTable, whyLine } from './exits.js';
import { EXITS_FIELDS, shownColumns } from './fields.js';
import { cut } from './format.js';
import {
  codeView,
  exitsSubjects,
  type Frame,
  type FrameInput,
  footer,
  frameOf,
  nothing,
  subjectVm,
  upperLines,
} from './frame-parts.js';
import { columnsOf, SCREENS, type ScreenColumn } from './screens.js';
import { NO_SPARKLINES, sparklinesOf } from './sparkline.js';
import { scrolledTop, selectedIndex } from './state.js';
import { headingLine, placeColumns, rowLine, screenRows, withNameLength } from './table.js';
import type { Theme } from './theme.js';

export type { Frame, FrameInput, MenuView } from './frame-parts.js';

export const COLUMNS_MIN = 80;

export const ROWS_MIN = 24;

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
