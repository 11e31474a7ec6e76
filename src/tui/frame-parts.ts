/** What frames are made from, and the parts that several of them have: header, message line, footer, and who a screen is about. */
import type { CodeAnswer, EngineState, HostEvent, Sample, ScreenAnswer, VmSample } from '../hypervisor/index.js';
import type { ChartContext } from './chart.js';
import { type CodeView, codeTitle, symbolic } from './code.js';
import { modeText, type ScreenId } from './columns.js';
import { type ExitsSubject, exitsLines, exitsSubject } from './exits.js';
import { formatExpression } from './expression.js';
import { cut, printable } from './format.js';
import { firstLine, headerLines } from './header.js';
import type { History, HistoryScreen } from './history.js';
import { footerLine } from './keys.js';
import type { FrameHits } from './mouse.js';
import { vmGroups } from './rows.js';
import { hasRows } from './screens.js';
import type { CodeSymbol } from './session.js';
import { type ConsoleState, selectedVm } from './state.js';
import { screenRows } from './table.js';
import type { Theme } from './theme.js';

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

export function frameOf(input: FrameInput, above: string[], below: string[], extra: Partial<Frame> = {}): Frame {
  const height = input.rows - 1;
  const menuHeight = extra.menu ? extra.menu.rows.length + 1 : 0;
  const missing = height - above.length - menuHeight - below.length;
  const filler = Array.from({ length: Math.max(0, missing) }, () => '');
  return { height, above, menu: undefined, below: [...filler, ...below], top: input.state.top, scroll: 0, ...extra };
}

export function nothing(screen: ScreenId, now: Sample): string {
  if (now.vms.length === 0) return 'No VM is on this host.';
  return hasRows(screen, now) ? 'No row is shown; l and then 0 shows all.' : 'No VM of this host has such a device.';
}

export const footer = ({ columns, theme, state, now }: FrameInput): string =>
  footerLine(columns, theme.key, state.screen, now);

/** The line for messages and prompts, between header and heading. */
export function messageLine({ state, failure, theme, columns }: FrameInput): string {
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
export function upperLines(input: FrameInput, now: Sample): string[] {
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
export const subjectVm = ({ state, before }: FrameInput, now: Sample): VmSample | undefined =>
  selectedVm(screenRows(state.screen, now, before, '', state.expanded, state.filter), state.selected);

export function codeView(input: FrameInput, now: Sample): CodeView | undefined {
  const vm = subjectVm(input, now);
  const { place } = input.state;
  return vm && { vm, place, placeName: symbolic(place, input.symbols), answer: input.code(vm.name) };
}

/** The selected VM and the one beside it. */
export function exitsSubjects(input: FrameInput, now: Sample): ExitsSubject[] {
  const { state, before } = input;
  const vm = subjectVm(input, now);
  const beside = now.vms.find(({ name }) => name === state.beside && name !== vm?.name);
  return [vm, beside].flatMap(one => (one === undefined ? [] : [exitsSubject(one, now, before, state.zero)]));
}

export function aboutVm(now: Sample, name: string): string {
  const row = vmGroups(now, undefined, new Set()).find(group => group.row.vm.name === name)?.row;
  return row ? `${modeText(row)}, ${printable(row.vm.guestState)}` : 'removed';
}
