/**
 * The console in words, for screen readers and braille lines: where one is, and what the keys are about. Nothing is left to a place on the
 * screen, to colour or to a drawing. Pure, as frames are; `line-console.ts` says what has changed.
 */
import type { Sample } from '../hypervisor/index.js';
import { activityLines } from './activity.js';
import type { ChartDialog } from './chart.js';
import { untranslated } from './code.js';
import { modeText, type VmScreenId } from './columns.js';
import { CAUSE_ORDER, type CauseFigures, causeLabel, causeRows, EXITS_COLUMNS, exitsLines, whyLine } from './exits.js';
import { formatExpression } from './expression.js';
import { EXITS_FIELDS, fieldDialog, shownColumns } from './fields.js';
import { clock, fixed, NO_FIGURE, printable } from './format.js';
import { aboutVm, codeView, exitsSubjects, type FrameInput, nothing } from './frame-parts.js';
import { headerLines } from './header.js';
import { helpLines } from './help.js';
import { figureColumns } from './history.js';
import { rowLabel } from './rows.js';
import { columnsOf, SCREENS } from './screens.js';
import { selectedIndex } from './state.js';
import { screenRows } from './table.js';
import { levelOf } from './thresholds.js';

export interface Spoken {
  /** Said when it has changed: the screen, or the dialog. */
  readonly place: string;
  /** What the keys are about: a row, an item of a menu, a question. Said when it has changed by a key. */
  readonly focus: readonly string[];
}

/** Longer than any line: nothing is cut. */
const WIDE = 1000;
/** Lines of code and events that are said at once. */
const LINES = 10;

const trimmed = (lines: readonly string[]): string[] => lines.map(line => line.trim().replaceAll(/ {2,}/g, ' '));

export function spoken(input: FrameInput): Spoken {
  const { state, now } = input;
  const { dialog } = state;
  if (now === undefined) return { place: input.failure ?? 'Waiting for the first sample.', focus: [] };
  switch (dialog?.kind) {
    case 'confirm':
      return { place: '', focus: [dialog.question] };
    case 'prompt':
      return { place: '', focus: [dialog.label] };
    case 'menu': {
      const item = dialog.items[dialog.index]!;
      const place = `${dialog.title}: ${dialog.items.length} items; up and down select, Enter chooses, Escape closes.`;
      return { place, focus: [`${dialog.index + 1} of ${dialog.items.length}: ${item.cells.join(', ')}`] };
    }
    case 'help':
      return {
        place: 'Help; any key goes back.',
        focus: trimmed(helpLines(state.screen, now)).filter(line => line !== ''),
      };
    case 'fields': {
      const { rows, prompt } = fieldDialog(state.screen, state.fields[state.screen], dialog.what);
      const words = rows.map(
        ({ marker, cells }) =>
          `${marker.slice(2)} ${marker.startsWith('*') ? 'shown' : 'not shown'}, ${cells.join(', ')}`,
      );
      return { place: `Fields of the ${state.screen} screen. ${prompt}`, focus: words };
    }
    case 'attach': {
      const name = printable(dialog.vm);
      const place = `Console of ${name} (${aboutVm(now, dialog.vm)}); what it writes follows. Control ] detaches.`;
      if (dialog.shows === 'serial') return { place, focus: [] };
      const answer = input.screenText(dialog.vm);
      const lines = answer?.ok === true ? answer.lines : [answer?.reason ?? 'Asking.'];
      return { place: `Text screen of ${name}. Control ] detaches.`, focus: lines.filter(line => line !== '') };
    }
    case 'chart':
      return spokenChart(input, dialog);
    default:
      break;
  }
  switch (state.screen) {
    case 'exits':
      return spokenExits(input, now);
    case 'code':
      return spokenCode(input, now);
    case 'activity': {
      const lines = activityLines(input.events, now.cyclesPerSecond, WIDE).map(({ text }) => text);
      return { place: `Activity: ${lines.length} events, the newest last.`, focus: trimmed(lines.slice(-LINES)) };
    }
    default:
      return spokenTable(input, now, state.screen);
  }
}

/** What stands above the rows, for who asks for it. */
export function spokenHeader(input: FrameInput): string[] {
  const { now, before, speed, state, engine } = input;
  if (now === undefined) return [];
  const screen = state.screen in SCREENS ? (state.screen as VmScreenId) : 'cpu';
  const lines = headerLines(screen, now, before, speed, WIDE, engine);
  return trimmed(state.screen in SCREENS ? lines : lines.slice(0, 1));
}

function spokenTable(input: FrameInput, now: Sample, screen: VmScreenId): Spoken {
  const { state, before } = input;
  const rows = screenRows(screen, now, before, state.sort[screen], state.expanded, state.filter);
  const sort = columnsOf(screen).find(({ id }) => id === state.sort[screen]);
  const fitting = state.filter.fitting[screen];
  const place =
    `${SCREENS[screen].title} screen: ${rows.length} row${rows.length === 1 ? '' : 's'}` +
    `${sort === undefined ? '' : ` by ${sort.title}`}${fitting === undefined ? '' : `, those that fit ${printable(formatExpression(fitting))}`}.`;
  const index = selectedIndex(rows, state.selected);
  const row = rows[index];
  if (row === undefined) return { place, focus: [nothing(screen, now)] };
  const thresholds = state.thresholds.filter(rule => rule.screen === screen);
  const words = (column: ReturnType<typeof columnsOf>[number]): string => {
    const text = column.cell(row).trim();
    const level = column.alarm?.(row) ? 'alarm' : levelOf(thresholds, column.title, text);
    return `${column.title} ${text === '' ? 'none' : text}${level === undefined ? '' : ` (${level})`}`;
  };
  const title = `${rowLabel(row)}, ${index + 1} of ${rows.length}`;
  const marked = columnsOf(screen).find(({ id }) => id === state.column);
  // One figure and what it means, or the whole row.
  if (marked !== undefined) return { place, focus: [`${title}: ${words(marked)}: ${marked.help}`] };
  const columns = shownColumns(SCREENS[screen].fields, state.fields[screen]);
  return { place, focus: [`${title}: ${columns.map(words).join(', ')}`] };
}

function spokenExits(input: FrameInput, now: Sample): Spoken {
  const { state } = input;
  const subjects = exitsSubjects(input, now);
  if (subjects.length === 0) return { place: 'Exits screen.', focus: [nothing('exits', now)] };
  const place = trimmed(exitsLines(subjects, WIDE)).join('; ');
  const columns = shownColumns(EXITS_FIELDS, state.fields.exits);
  const marked = EXITS_COLUMNS.find(({ id }) => id === state.column);
  const figures = (side: CauseFigures): string =>
    (marked === undefined ? columns : [marked])
      .map(column => ({ title: column.title, text: column.cell(side).trim() }))
      .filter(({ text }) => text !== NO_FIGURE)
      .map(({ title, text }) => `${title} ${text}`)
      .join(', ') || 'nothing';
  const lines = causeRows(subjects, state.sort.exits || CAUSE_ORDER)
    .filter(({ sides }) => sides.some(({ cycles }) => !(cycles === 0)))
    .map(({ cause, sides }) => `${causeLabel(cause)}: ${sides.map(figures).join('; and ')}`);
  const explained = marked === undefined ? [] : [`${marked.title}: ${marked.help}`];
  const why = subjects.length === 2 ? [whyLine(subjects, WIDE).trim()] : [];
  return { place, focus: [...why, ...explained, ...lines] };
}

function spokenCode(input: FrameInput, now: Sample): Spoken {
  const view = codeView(input, now);
  if (view === undefined) return { place: 'Code screen.', focus: [nothing('code', now)] };
  const place = `Code of ${printable(view.vm.name)} (${modeText(view)}) at ${view.placeName}`;
  const reason = untranslated(view.vm) ?? (view.answer?.ok === false ? view.answer.reason : undefined);
  if (reason !== undefined) return { place, focus: [printable(reason)] };
  if (view.answer?.ok !== true) return { place, focus: ['Asking the host.'] };
  const from = view.answer.lines.slice(input.state.codeTop, input.state.codeTop + LINES);
  return {
    place,
    focus: from.map(
      ({ address, text, guestClass, translation }) =>
        `${(address >>> 0).toString(16)} ${text}, ${guestClass}${translation.length === 0 ? '' : `: ${translation.join('; ')}`}`,
    ),
  };
}

/** The values at the cursor, and between what they were. */
function spokenChart(input: FrameInput, chart: ChartDialog): Spoken {
  const { rows, times } = input.chartContext(chart.screen);
  const { title } = figureColumns(chart.screen).find(({ id }) => id === chart.column)!;
  const cursor = chart.cursor ?? times.at(-1) ?? 0;
  const from = (times.at(-1) ?? 0) - chart.spanSeconds;
  const lineOf = (key: string): string => {
    const moments = input.history.moments(chart.screen, key, chart.column).filter(({ value }) => !Number.isNaN(value));
    const at = moments.filter(({ seconds }) => seconds <= cursor).at(-1)?.value ?? Number.NaN;
    const values = moments.filter(({ seconds }) => seconds >= from).map(({ value }) => value);
    const range =
      values.length === 0 ? '' : `, between ${fixed(Math.min(...values), 2)} and ${fixed(Math.max(...values), 2)}`;
    return `${rows.find(row => row.key === key)?.label ?? key}: ${fixed(at, 2)}${range}`;
  };
  const selected = rows.find(({ key }) => key === chart.selected) ?? rows[0];
  const keys = [...new Set([...(selected === undefined ? [] : [selected.key]), ...chart.marked])];
  return {
    place: `Graph of ${title} over ${chart.spanSeconds} seconds. Escape closes.`,
    focus: [`at ${clock(cursor)}`, ...keys.map(lineOf)],
  };
}
