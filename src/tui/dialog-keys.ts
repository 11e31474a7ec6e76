/** What keys do while a dialog has the keyboard: each kind of dialog changes itself, closes, or accepts what it was opened for. */
import { type ChartContext, chartKey } from './chart.js';
import { moveField, toggleField } from './fields.js';
import type { HistoryScreen } from './history.js';
import type { Key } from './input.js';
import type { ConsoleState, Dialog, MenuDialog } from './state.js';

/** Rows of a page, wherever text is scrolled. */
export const PAGE = 10;
/** As telnet and virsh do: Ctrl-] leaves the guest's console. */
const DETACH_KEY = 'ctrl-]';
const SCREEN_KEY = 'ctrl-t';
/** Keys that an attached console keeps for itself; all others are the guest's. */
export const ATTACH_KEYS: ReadonlySet<string> = new Set([DETACH_KEY, SCREEN_KEY, 'pageup', 'pagedown']);

/** What dialogs need of the console; the controller implements it. */
export interface DialogHolder {
  readonly state: ConsoleState;
  set(change: Partial<ConsoleState>): void;
  /** The scroll position that is on the screen (limited to what there is), moved. */
  scrolled(step: number): number;
  /** Asks for the text screen that the dialog shows. */
  followScreen(): void;
  chartContext(screen: HistoryScreen): ChartContext;
}

export function dialogKey(holder: DialogHolder, dialog: Dialog, key: Key): void {
  const open = (next: Dialog | undefined): void => holder.set({ dialog: next });
  switch (dialog.kind) {
    case 'confirm':
      open(undefined);
      if (key.name === 'y' || key.name === 'Y') dialog.yes();
      break;
    case 'prompt':
      promptKey(open, dialog, key);
      break;
    case 'menu':
      menuKey(open, dialog, key);
      break;
    case 'help': {
      const step = HELP_STEPS[key.name];
      open(step === undefined ? undefined : { kind: 'help', top: holder.scrolled(step) });
      break;
    }
    case 'chart':
      open(chartKey(dialog, key.name, holder.chartContext(dialog.screen)));
      break;
    case 'fields':
      fieldKey(holder, dialog.what, key);
      break;
    case 'attach':
      if (key.name === DETACH_KEY) open(undefined);
      else if (key.name === SCREEN_KEY) {
        open({ ...dialog, shows: dialog.shows === 'screen' ? 'serial' : 'screen' });
        holder.followScreen();
      } else open({ ...dialog, scroll: holder.scrolled(key.name === 'pageup' ? PAGE : -PAGE) });
      break;
  }
}

/** Any other key closes the help. */
const HELP_STEPS: Readonly<Record<string, number>> = {
  space: PAGE,
  pagedown: PAGE,
  down: 1,
  pageup: -PAGE,
  up: -1,
};

type Open = (next: Dialog | undefined) => void;

function promptKey(open: Open, dialog: Extract<Dialog, { kind: 'prompt' }>, { name, raw }: Key): void {
  if (name === 'enter') {
    open(undefined);
    dialog.accept(dialog.text);
  } else if (name === 'escape' || name === 'ctrl-c') open(undefined);
  else if (name === 'backspace') open({ ...dialog, text: dialog.text.slice(0, -1) });
  else if (raw.length === 1 && raw >= ' ') open({ ...dialog, text: dialog.text + raw });
}

function menuKey(open: Open, menu: MenuDialog, { name }: Key): void {
  const last = menu.items.length - 1;
  const number = /^[1-9]$/.test(name) ? Number(name) - 1 : -1;
  if (name === 'up') open({ ...menu, index: Math.max(0, menu.index - 1) });
  else if (name === 'down') open({ ...menu, index: Math.min(last, menu.index + 1) });
  else if (name === 'enter' || (number >= 0 && number <= last)) {
    open(undefined);
    menu.items[number >= 0 ? number : menu.index]?.choose();
  } else if (name === 'escape' || name === 'q' || name === 'ctrl-c') open(undefined);
}

function fieldKey(holder: DialogHolder, what: 'toggle' | 'move', { name }: Key): void {
  const { screen, fields } = holder.state;
  const order = what === 'toggle' ? toggleField(screen, name, fields[screen]) : moveField(name, fields[screen]);
  holder.set(order === undefined ? { dialog: undefined } : { fields: { ...fields, [screen]: order } });
}
