/** What the console itself remembers: screen, order, selection, and the dialog that has the keyboard. Immutable values. */
import type { Sample, VmSample } from '../hypervisor/index.js';
import type { ChartDialog } from './chart.js';
import type { ScreenId, VmScreenId } from './columns.js';
import { CAUSE_ORDER } from './exits.js';
import { defaultOrder, type FieldOrders } from './fields.js';
import { EVERY_ROW, type Row, type RowFilter } from './rows.js';
import { SCREENS } from './screens.js';
import type { Threshold } from './thresholds.js';

export interface Message {
  readonly text: string;
  readonly alarm: boolean;
}

export interface MenuItem {
  /** Cells of the row under the menu's columns. */
  readonly cells: readonly string[];
  readonly choose: () => void;
}

export interface MenuDialog {
  readonly kind: 'menu';
  readonly title: string;
  readonly columns: readonly string[];
  readonly items: readonly MenuItem[];
  readonly index: number;
}

/** The dialog that gets the keys; without one the table of keys does. */
export type Dialog =
  | { readonly kind: 'confirm'; readonly question: string; readonly yes: () => void }
  | { readonly kind: 'prompt'; readonly label: string; readonly text: string; readonly accept: (text: string) => void }
  | MenuDialog
  | ChartDialog
  | { readonly kind: 'help'; readonly top: number }
  | { readonly kind: 'fields'; readonly what: 'toggle' | 'move' }
  /** `shows`: the serial line, or the text screen of the VGA. */
  | {
      readonly kind: 'attach';
      readonly vm: string;
      readonly scroll: number;
      readonly shows: 'serial' | 'screen';
    };

/** What the configuration file keeps. */
export interface ConsoleConfig {
  readonly screen: ScreenId;
  readonly intervalMs: number;
  /** Order of the fields of each screen. */
  readonly fields: FieldOrders;
  /** Sort column of each screen. */
  readonly sort: Readonly<Record<ScreenId, string>>;
  /** Rows to show at most; 0: as many as fit. */
  readonly rowsMax: number;
  /** Length of NAME; 0: as wide as the column is. */
  readonly nameLength: number;
  /** Figures that stand out. */
  readonly thresholds: readonly Threshold[];
  /** Take reports of the mouse from the terminal. */
  readonly mouse: boolean;
  /** The file's lines about screens that only esxtop has, by place. */
  readonly foreign: readonly string[];
}

export interface ConsoleState extends ConsoleConfig {
  /** Key of the selected row; undefined selects the first. */
  readonly selected: string | undefined;
  /** Names of VMs whose worlds are shown. */
  readonly expanded: ReadonlySet<string>;
  /** Which rows are there at all. */
  readonly filter: RowFilter;
  /** Rows end with a line of what the sorting figure has been. */
  readonly sparklines: boolean;
  /** Id of the column that is explained, and that history and graphs are of. */
  readonly column: string | undefined;
  /** What was looked for last. */
  readonly sought: string;
  /** First table row on the screen. */
  readonly top: number;
  readonly message: Message | undefined;
  readonly dialog: Dialog | undefined;
  /** Exits screen: the VM beside the selected one, and the sample that its figures count from instead of power-on. */
  readonly beside: string | undefined;
  readonly zero: Sample | undefined;
  /** Translation screen: the linear address that is shown, and its first line on the screen. */
  readonly place: number;
  readonly codeTop: number;
  /** Activity screen: lines that are newer than the last one on the screen; 0 follows what happens. */
  readonly activityBack: number;
  /** What a paused screen shows. */
  readonly held: ShownSamples | undefined;
}

/** The two samples that a frame is made from. */
export interface ShownSamples {
  readonly now: Sample | undefined;
  readonly before: Sample | undefined;
}

export const SCREEN_IDS = [
  'cpu',
  'memory',
  'diskAdapter',
  'diskDevice',
  'diskVm',
  'network',
  'interrupt',
  'timer',
  'exits',
  'code',
  'activity',
] as const satisfies readonly ScreenId[];

const perScreen = <T>(of: (screen: ScreenId) => T): Record<ScreenId, T> =>
  Object.fromEntries(SCREEN_IDS.map(screen => [screen, of(screen)])) as Record<ScreenId, T>;

/** Where rows are in GID order, as in the manuals of ESX 3: they stand still while one controls VMs. */
const FIRST_SORT: Readonly<Record<Exclude<ScreenId, VmScreenId>, string>> = {
  exits: CAUSE_ORDER,
  code: '',
  activity: '',
};

/** As the console is before anybody chooses. */
export const defaultConfig = (): ConsoleConfig => ({
  screen: 'cpu',
  intervalMs: 1000,
  fields: perScreen(defaultOrder),
  sort: perScreen(screen => (screen in FIRST_SORT ? FIRST_SORT[screen as 'exits'] : SCREENS[screen as 'cpu'].sort)),
  rowsMax: 0,
  nameLength: 0,
  thresholds: [],
  mouse: true,
  foreign: [],
});

export function initialState(config: ConsoleConfig, place: number): ConsoleState {
  return {
    ...config,
    selected: undefined,
    expanded: new Set(),
    filter: EVERY_ROW,
    sparklines: false,
    column: undefined,
    sought: '',
    top: 0,
    message: undefined,
    dialog: undefined,
    beside: undefined,
    zero: undefined,
    place,
    codeTop: 0,
    activityBack: 0,
    held: undefined,
  };
}

/** Index of the selected row. A selected world that is not shown any more gives its place to the first row. */
export function selectedIndex(rows: readonly Row[], key: string | undefined): number {
  return Math.max(
    0,
    rows.findIndex(row => row.key === key),
  );
}

export const selectedVm = (rows: readonly Row[], key: string | undefined): VmSample | undefined =>
  rows[selectedIndex(rows, key)]?.vm;

/** First visible row: `top`, moved as little as needed to show row `index` of `count` in `height` lines. */
export function scrolledTop(top: number, index: number, count: number, height: number): number {
  const most = Math.max(0, count - height);
  const within = Math.min(Math.max(top, index - height + 1), index);
  return Math.max(0, Math.min(within, most));
}
