/** What keys do to the rows of a screen: which are there, which is selected, what is drawn of them. */
import type { Desk } from './actions.js';
import { openChart } from './chart.js';
import { modeText, type VmScreenId } from './columns.js';
import { causeRows, exitsSubject } from './exits.js';
import { EXITS_FIELDS, shownColumns } from './fields.js';
import { findRow } from './find.js';
import { printable } from './format.js';
import { causeKey, historyColumn } from './history.js';
import { type Asker, askExpression, askGroup, askThreshold, askWords } from './prompts.js';
import type { Row } from './rows.js';
import { columnsOf, SCREENS, type ScreenColumn } from './screens.js';
import { type ConsoleState, type MenuItem, type ShownSamples, selectedIndex } from './state.js';
import { formatThreshold } from './thresholds.js';

/** What these commands need of the console; the controller implements it. */
export interface View extends Desk, Asker {
  readonly state: ConsoleState;
  set(change: Partial<ConsoleState>): void;
  /** The samples on the screen. */
  shown(): ShownSamples;
  rows(): Row[];
  /** First row on the screen. */
  top(): number;
  /** The columns that are chosen, whether they fit or not. */
  columns(screen: VmScreenId): readonly ScreenColumn[];
  copy(text: string): void;
}

const isVmScreen = (screen: ConsoleState['screen']): screen is VmScreenId => screen in SCREENS;

/** Runs `act` on a screen with rows. */
function onRows(view: View, act: (screen: VmScreenId) => void): void {
  const { screen } = view.state;
  if (isVmScreen(screen)) act(screen);
  else view.say('this screen has no rows of VMs');
}

export function expand(view: View, name: string): void {
  const { screen } = view.state;
  if (screen !== 'cpu' && screen !== 'diskVm') {
    view.say('worlds are shown on the CPU screen (c) only');
    return;
  }
  const expanded = new Set(view.state.expanded);
  if (!expanded.delete(name)) expanded.add(name);
  view.set({ expanded, selected: `vm ${name}` });
}

/** One group, or every row whatever hid it. */
export function chooseGroup(view: View): void {
  const exists = (gid: number): boolean => view.shown().now?.vms.some(vm => vm.gid === gid) === true;
  askGroup(view, exists, filter =>
    view.set({ filter: filter.gid === undefined ? filter : { ...view.state.filter, gid: filter.gid }, top: 0 }),
  );
}

export const filterRows = (view: View): void =>
  onRows(view, screen => {
    const titles = columnsOf(screen).map(({ title }) => title);
    askExpression(view, titles, expression => {
      const { [screen]: _, ...others } = view.state.filter.fitting;
      const fitting = expression === undefined ? others : { ...others, [screen]: expression };
      view.set({ filter: { ...view.state.filter, fitting }, top: 0 });
    });
  });

export const search = (view: View): void =>
  onRows(view, screen =>
    askWords(view, view.state.sought, words => {
      view.set({ sought: words });
      const rows = view.rows();
      const found = findRow(screen, rows, selectedIndex(rows, view.state.selected), words);
      if (found === undefined) view.say(`no row holds ${printable(words)}`);
      else view.set({ selected: rows[found]!.key, top: view.top() });
    }),
  );

export const markFigures = (view: View): void =>
  onRows(view, screen =>
    askThreshold(view, screen, threshold => {
      const { thresholds } = view.state;
      const others = thresholds.filter(({ screen: own }) => own !== screen);
      view.set({ thresholds: threshold === undefined ? others : [...thresholds, threshold] });
      view.say(threshold === undefined ? 'no figures are marked on this screen' : formatThreshold(threshold));
    }),
  );

export const toggleSparklines = (view: View): void =>
  onRows(view, () => view.set({ sparklines: !view.state.sparklines }));

/** Causes of which a new graph shows the history: those that take most now. */
const CAUSES_DRAWN = 4;

/** The graph of the selected row; on the exits screen, of the causes that take most of the VM's time. */
export function chartRow(view: View): void {
  const { screen, column, sort } = view.state;
  const { now, before } = view.shown();
  const rows = view.rows();
  const row = rows[selectedIndex(rows, view.state.selected)];
  if (screen === 'exits' && now !== undefined && row !== undefined) {
    const causes = causeRows([exitsSubject(row.vm, now, before, undefined)], 'now').slice(0, CAUSES_DRAWN);
    const taking = causes.filter(({ sides }) => sides[0]!.percentNow > 0);
    const keys = (taking.length > 0 ? taking : causes.slice(0, 1)).map(({ cause }) => causeKey(row.vm.name, cause));
    view.set({ dialog: openChart(screen, historyColumn(screen, column ?? ''), keys) });
  } else {
    onRows(view, onScreen => {
      const drawn = row === undefined ? [] : [row.key];
      view.set({ dialog: openChart(onScreen, historyColumn(onScreen, column ?? sort[onScreen]), drawn) });
    });
  }
}

/** Marks the column `step` places further on; left of the first one none is marked. */
export function markColumn(view: View, step: number): void {
  const { screen, column } = view.state;
  const mark = (columns: readonly { readonly id: string }[]): void => {
    const index = columns.findIndex(({ id }) => id === column) + step;
    view.set({ column: columns[Math.min(columns.length - 1, index)]?.id });
  };
  if (screen === 'exits') mark(shownColumns(EXITS_FIELDS, view.state.fields.exits));
  else onRows(view, onScreen => mark(view.columns(onScreen)));
}

/** The selected row as two lines of cells with tabs between them: titles and texts. */
export const copyRow = (view: View): void =>
  onRows(view, screen => {
    const rows = view.rows();
    const row = rows[selectedIndex(rows, view.state.selected)];
    if (row === undefined) {
      view.say('there is no row to copy');
      return;
    }
    const columns = view.columns(screen);
    const lines = [columns.map(({ title }) => title), columns.map(({ cell }) => cell(row).trim())];
    view.copy(`${lines.map(cells => cells.join('\t')).join('\n')}\n`);
    view.say(`the row of ${printable(row.vm.name)} is in the clipboard, if the terminal takes it (OSC 52)`);
  });

/** Rows are sorted by a column, if they can be. */
export const sortBy = (view: View, id: string): void =>
  onRows(view, screen => {
    const column = columnsOf(screen).find(candidate => candidate.id === id);
    if (column?.sort) view.set({ sort: { ...view.state.sort, [screen]: id }, top: 0 });
    else view.say(`rows are not sorted by ${column?.title ?? id}`);
  });

/** Out of view goes the row, and the selection to the one that takes its place. */
export function dropRow(view: View): void {
  const rows = view.rows();
  const index = selectedIndex(rows, view.state.selected);
  const row = rows[index];
  if (!isVmScreen(view.state.screen) || row === undefined) {
    view.say('there is no row to drop on this screen');
    return;
  }
  const { filter } = view.state;
  view.set({ filter: { ...filter, dropped: new Set([...filter.dropped, row.key]) } });
  const left = view.rows();
  view.set({ selected: left[Math.min(index, left.length - 1)]?.key });
  view.say(`${printable(row.kind === 'world' ? row.world.name : row.vm.name)} is out of view; l and then 0 shows all`);
}

/** The exits screen's second VM: the only other one, or one of a menu. */
export function chooseBeside(view: View, name: string): void {
  const others = view.shown().now?.vms.filter(vm => vm.name !== name) ?? [];
  const items = others.map(
    (other): MenuItem => ({
      cells: [printable(other.name), modeText({ vm: other }), printable(other.guestState)],
      choose: () => view.set({ beside: other.name }),
    }),
  );
  if (items.length === 0) view.say('there is no other VM on this host');
  else if (items.length === 1) items[0]!.choose();
  else view.openMenu(`Beside ${printable(name)}`, ['VM', 'mode', 'guest'], items);
}

/** The exits screen counts from now, or from power-on again. */
export function zero(view: View): void {
  const from = view.state.zero === undefined ? view.shown().now : undefined;
  view.set({ zero: from });
  view.say(`counts are since ${from ? 'now' : 'power-on'}`);
}
