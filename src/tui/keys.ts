/**
 * The keys, declared once: dispatch, footer and help read this table. Letters are esxtop's where it has the command; `v`
 * (esxtop's disk-VM screen, which is on `D` here), `p` (its power-management screen), `x` (vSAN, in later versions), `a`, `r` and `t` are taken
 * for control of VMs, timers and exits; `b` and `g` are free in all versions. On the disk and network screens `r` and `t` sort, as in esxtop.
 */
import type { Sample } from '../hypervisor/index.js';
import type { ScreenId } from './columns.js';
import { CAUSE_ORDER } from './exits.js';
import { hasRows } from './screens.js';

/** esxtop's sort keys of a disk screen; `w` is free elsewhere, `r` starts programs there. */
const diskSorts = <S extends 'diskAdapter' | 'diskDevice' | 'diskVm'>(screen: S, name: string, help: string) =>
  [
    { keys: ['r'], show: 'r', command: 'sort', screen, column: 'reads', group: 'sort', help: 'READS/s' },
    { keys: ['w'], show: 'w', command: 'sort', screen, column: 'writes', group: 'sort', help: 'WRITES/s' },
    { keys: ['R'], show: 'R', command: 'sort', screen, column: 'readMb', group: 'sort', help: 'MBREAD/s' },
    { keys: ['T'], show: 'T', command: 'sort', screen, column: 'writeMb', group: 'sort', help: 'MBWRTN/s' },
    { keys: ['N'], show: 'N', command: 'sort', screen, column: name, group: 'sort', help },
  ] as const;

export const KEYS = [
  { keys: ['c'], show: 'c', command: 'screen.cpu', group: 'display', help: 'CPU' },
  { keys: ['m'], show: 'm', command: 'screen.memory', group: 'display', help: 'memory' },
  {
    keys: ['d'],
    show: 'd',
    command: 'screen.diskAdapter',
    shows: 'diskAdapter',
    group: 'display',
    help: 'disk adapter',
    footer: 'adapter',
  },
  {
    keys: ['u'],
    show: 'u',
    command: 'screen.diskDevice',
    shows: 'diskDevice',
    group: 'display',
    help: 'disk device',
    footer: 'disk',
  },
  { keys: ['D'], show: 'D', command: 'screen.diskVm', shows: 'diskVm', group: 'display', help: 'disk VM' },
  { keys: ['n'], show: 'n', command: 'screen.network', shows: 'network', group: 'display', help: 'network' },
  { keys: ['i'], show: 'i', command: 'screen.interrupt', group: 'display', help: 'interrupt' },
  { keys: ['t'], show: 't', command: 'screen.timer', group: 'display', help: 'timer' },
  { keys: ['x'], show: 'x', command: 'screen.exits', group: 'display', help: 'exits' },
  { keys: ['b'], show: 'b', command: 'screen.code', group: 'display', help: 'code' },
  { keys: ['a'], show: 'a', command: 'screen.activity', group: 'display', help: 'activity' },
  {
    keys: ['v'],
    show: 'v',
    command: 'vm.vmi',
    group: 'vm',
    help: 'turn VMI of the VM on or off',
    footer: 'toggle VMI',
  },
  {
    keys: ['p'],
    show: 'p',
    command: 'vm.power',
    group: 'vm',
    help: 'power on, power off, reset, suspend, resume; choose the monitor; shares, reservation, limit',
    footer: 'power',
  },
  { keys: ['r'], show: 'r', command: 'vm.run', group: 'vm', help: 'run a program in the idle guest', footer: 'run' },
  {
    keys: ['A'],
    show: 'A',
    command: 'vm.attach',
    group: 'vm',
    help: 'attach to the guest’s console (Ctrl-] detaches, Ctrl-T: its text screen)',
    footer: 'attach',
  },
  { keys: ['k'], show: 'k', command: 'vm.kill', group: 'vm', help: 'kill the VM: power off, after a question' },
  {
    keys: ['e', '6'],
    show: 'e 6',
    command: 'row.expand',
    group: 'rows',
    help: 'expand the VM into its worlds, or roll it up',
  },
  { keys: ['up', '8'], show: 'up 8', command: 'row.previous', group: 'rows', help: 'select the row above' },
  { keys: ['down', '2'], show: 'down 2', command: 'row.next', group: 'rows', help: 'select the row below' },
  {
    keys: ['pageup', 'home'],
    show: 'PgUp',
    command: 'row.first',
    group: 'rows',
    help: 'select the first row; code, activity: scroll',
  },
  {
    keys: ['pagedown', 'end'],
    show: 'PgDn',
    command: 'row.last',
    group: 'rows',
    help: 'select the last row; code, activity: scroll',
  },
  {
    keys: ['4'],
    show: '4',
    command: 'row.drop',
    group: 'rows',
    help: 'drop the row from view (l and 0 brings all back)',
  },
  { keys: ['l'], show: 'l', command: 'rows.group', group: 'rows', help: 'show one group only, by its GID; 0: all' },
  {
    keys: ['&'],
    show: '&',
    command: 'rows.filter',
    group: 'rows',
    help: 'show rows that fit only: web*, or %USED > 20 && MODE = VMI',
  },
  { keys: ['/'], show: '/', command: 'rows.search', group: 'rows', help: 'select the next row that holds some words' },
  {
    keys: ['!'],
    show: '!',
    command: 'thresholds',
    group: 'rows',
    help: 'mark figures: %RDY > 10 warn, or alarm',
  },
  {
    keys: ['left'],
    show: 'left',
    command: 'column.left',
    group: 'rows',
    help: 'mark the column before: it is explained, and H and G are about it',
  },
  { keys: ['right'], show: 'right', command: 'column.right', group: 'rows', help: 'mark the next column' },
  { keys: ['y'], show: 'y', command: 'row.copy', group: 'rows', help: 'copy the row to the terminal’s clipboard' },
  { keys: ['#'], show: '#', command: 'rows.max', group: 'rows', help: 'number of rows to show; 0: all that fit' },
  { keys: ['L'], show: 'L', command: 'rows.name', group: 'rows', help: 'length of NAME; 0: as it was' },
  { keys: ['V'], show: 'V', command: 'rows.vms', group: 'absent', help: 'VMs only: every group of this host is a VM' },
  { keys: ['U'], show: 'U', command: 'sort', screen: 'cpu', column: 'used', group: 'sort', help: '%USED' },
  { keys: ['R'], show: 'R', command: 'sort', screen: 'cpu', column: 'ready', group: 'sort', help: '%RDY' },
  { keys: ['N'], show: 'N', command: 'sort', screen: 'cpu', column: 'gid', group: 'sort', help: 'GID' },
  { keys: ['M'], show: 'M', command: 'sort', screen: 'memory', column: 'memsz', group: 'sort', help: 'MEMSZ' },
  {
    keys: ['B'],
    show: 'B',
    command: 'sort.balloon',
    screen: 'memory',
    group: 'absent',
    help: 'sort by MCTLSZ: no guest has a balloon driver',
  },
  { keys: ['N'], show: 'N', command: 'sort', screen: 'memory', column: 'gid', group: 'sort', help: 'GID' },
  ...diskSorts('diskAdapter', 'adapter', 'ADAPTR'),
  ...diskSorts('diskDevice', 'device', 'DEVICE'),
  ...diskSorts('diskVm', 'gid', 'GID'),
  { keys: ['t'], show: 't', command: 'sort', screen: 'network', column: 'sentPackets', group: 'sort', help: 'PKTTX/s' },
  {
    keys: ['r'],
    show: 'r',
    command: 'sort',
    screen: 'network',
    column: 'receivedPackets',
    group: 'sort',
    help: 'PKTRX/s',
  },
  { keys: ['T'], show: 'T', command: 'sort', screen: 'network', column: 'sentMb', group: 'sort', help: 'MbTX/s' },
  { keys: ['R'], show: 'R', command: 'sort', screen: 'network', column: 'receivedMb', group: 'sort', help: 'MbRX/s' },
  { keys: ['N'], show: 'N', command: 'sort', screen: 'network', column: 'port', group: 'sort', help: 'PORT-ID' },
  { keys: ['R'], show: 'R', command: 'sort', screen: 'interrupt', column: 'rate', group: 'sort', help: 'COUNT/s' },
  { keys: ['N'], show: 'N', command: 'sort', screen: 'interrupt', column: 'gid', group: 'sort', help: 'GID' },
  { keys: ['R'], show: 'R', command: 'sort', screen: 'timer', column: 'delivered', group: 'sort', help: 'DLVD/s' },
  { keys: ['T'], show: 'T', command: 'sort', screen: 'timer', column: 'stolenShare', group: 'sort', help: '%STLN' },
  { keys: ['N'], show: 'N', command: 'sort', screen: 'timer', column: 'gid', group: 'sort', help: 'GID' },
  { keys: ['T'], show: 'T', command: 'sort', screen: 'exits', column: 'share', group: 'sort', help: '%TIME' },
  { keys: ['R'], show: 'R', command: 'sort', screen: 'exits', column: 'rate', group: 'sort', help: 'EVT/s' },
  { keys: ['E'], show: 'E', command: 'sort', screen: 'exits', column: 'events', group: 'sort', help: 'EVENTS' },
  { keys: ['C'], show: 'C', command: 'sort', screen: 'exits', column: 'cost', group: 'sort', help: 'CYC/EVT' },
  { keys: ['N'], show: 'N', command: 'sort', screen: 'exits', column: CAUSE_ORDER, group: 'sort', help: 'CAUSE' },
  {
    keys: ['+', '='],
    show: '+',
    command: 'exits.beside',
    screen: 'exits',
    group: 'rows',
    help: 'show another VM beside the selected one',
  },
  { keys: ['-'], show: '-', command: 'exits.alone', screen: 'exits', group: 'rows', help: 'show the VM alone again' },
  {
    keys: ['z'],
    show: 'z',
    command: 'exits.zero',
    screen: 'exits',
    group: 'rows',
    help: 'count from now, not from power-on; again: from power-on',
  },
  {
    keys: ['g', '/'],
    show: 'g /',
    command: 'code.place',
    screen: 'code',
    group: 'rows',
    help: 'go to an address or a symbol of the guest kernel',
  },
  {
    keys: ['s'],
    show: 's',
    command: 'delay',
    group: 'general',
    help: 'delay between updates, seconds',
    footer: 'delay',
  },
  { keys: ['f', 'F'], show: 'f F', command: 'fields', group: 'general', help: 'choose the columns of the screen' },
  { keys: ['o', 'O'], show: 'o O', command: 'order', group: 'general', help: 'change the order of the columns' },
  { keys: ['W'], show: 'W', command: 'config.save', group: 'general', help: 'write the configuration to a file' },
  {
    keys: ['S'],
    show: 'S',
    command: 'snapshot',
    group: 'general',
    help: 'write a picture of the screen: text, SVG or PNG',
  },
  { keys: ['space', 'enter'], show: 'space', command: 'refresh', group: 'general', help: 'update now' },
  {
    keys: ['P'],
    show: 'P',
    command: 'pause',
    group: 'general',
    help: 'pause: the screen stands still, the host goes on; a replay pauses',
  },
  { keys: [']'], show: ']', command: 'replay.next', group: 'replay', help: 'a sample forward, and pause' },
  { keys: ['['], show: '[', command: 'replay.back', group: 'replay', help: 'a sample back, and pause' },
  { keys: ['}'], show: '}', command: 'replay.nextTen', group: 'replay', help: 'ten samples forward, and pause' },
  { keys: ['{'], show: '{', command: 'replay.backTen', group: 'replay', help: 'ten samples back, and pause' },
  { keys: ['j'], show: 'j', command: 'replay.jump', group: 'replay', help: 'jump to a time: 90, 1:30, 50%' },
  { keys: ['>'], show: '>', command: 'replay.faster', group: 'replay', help: 'twice as fast' },
  { keys: ['<'], show: '<', command: 'replay.slower', group: 'replay', help: 'half as fast' },
  {
    keys: ['H'],
    show: 'H',
    command: 'sparklines',
    group: 'general',
    help: 'history: what the sorting figure has been, in each row',
  },
  {
    keys: ['G'],
    show: 'G',
    command: 'chart',
    group: 'general',
    help: 'graph of the sorting figure, of the selected row and others',
  },
  { keys: ['ctrl-z'], show: '^Z', command: 'suspend', group: 'general', help: 'back to the shell; fg goes on' },
  { keys: ['ctrl-l'], show: '^L', command: 'redraw', group: 'general', help: 'erase and draw again' },
  { keys: ['h', '?'], show: 'h ?', command: 'help', group: 'general', help: 'this help', footer: 'help' },
  { keys: ['q', 'ctrl-c'], show: 'q', command: 'quit', group: 'general', help: 'quit: the host ends', footer: 'quit' },
] as const satisfies readonly KeyBinding[];

export interface KeyBinding {
  /** Names as `input.ts` gives them. */
  readonly keys: readonly string[];
  /** How footer and help name the key. */
  readonly show: string;
  readonly command: string;
  /** `absent`: esxtop's key, of which this host has nothing; it says so. */
  readonly group: 'display' | 'vm' | 'rows' | 'sort' | 'general' | 'replay' | 'absent';
  readonly help: string;
  /** Word in the footer; absent: not in the footer, or, of a screen, its name. */
  readonly footer?: string;
  /** Only on this screen. */
  readonly screen?: ScreenId;
  /** Screen that it leads to, where that may have nothing to show. */
  readonly shows?: ScreenId;
  /** Column that `sort` sorts by. */
  readonly column?: string;
}

export type CommandId = (typeof KEYS)[number]['command'];

/** The binding of a key on a screen: the screen's own goes before that of all screens. */
export function bindingFor(key: string, screen: ScreenId): (KeyBinding & { command: CommandId }) | undefined {
  const bindings: readonly (KeyBinding & { command: CommandId })[] = KEYS;
  const own = bindings.find(binding => binding.screen === screen && binding.keys.includes(key));
  return own ?? bindings.find(binding => binding.screen === undefined && binding.keys.includes(key));
}

const screenBinding = (screen: ScreenId): KeyBinding =>
  (KEYS as readonly KeyBinding[]).find(({ command }) => command === `screen.${screen}`)!;

export const screenKey = (screen: ScreenId): string => screenBinding(screen).keys[0]!;
/** What the footer calls a screen. */
export const screenName = (screen: ScreenId): string => screenBinding(screen).help;

/** The bindings that can be reached on a screen, in the order of the table. */
export const bindingsOn = (screen: ScreenId): readonly KeyBinding[] =>
  (KEYS as readonly KeyBinding[]).filter(binding => binding.keys.some(key => bindingFor(key, screen) === binding));

interface FooterEntry {
  readonly key: string;
  readonly words: string;
}

/** The entries of the footer in the order of the table; `brief`: one for all screens. */
function footerEntries(bindings: readonly KeyBinding[], brief: boolean): FooterEntry[] {
  const displays = bindings
    .filter(({ group }) => group === 'display')
    .map(({ show, help, footer }) => ({ key: show, words: footer ?? help }));
  const others = bindings.flatMap(({ show, footer, group }) =>
    footer === undefined || group === 'display' ? [] : [{ key: show.split(' ')[0]!, words: footer }],
  );
  const screens = { key: displays.map(({ key }) => key).join(''), words: 'screens' };
  return [...(brief ? [screens] : displays), ...others];
}

/**
 * `c:CPU  m:memory ... v:toggle VMI  p:power ...`; closer together where that makes it fit, then with one entry for all screens, and
 * cut at a whole entry.
 */
export function footerLine(
  width: number,
  mark: (text: string) => string,
  screen: ScreenId = 'cpu',
  now: Sample | undefined = undefined,
): string {
  const bindings = bindingsOn(screen).filter(({ shows }) => shows === undefined || hasRows(shows, now));
  const fits = (entries: readonly FooterEntry[], gap: number) =>
    entries.reduce((sum, { key, words }) => sum + key.length + words.length + 1 + gap, -gap) <= width;
  const entries = footerEntries(bindings, !fits(footerEntries(bindings, false), 1));
  const gap = fits(entries, 2) ? 2 : 1;
  let cells = 0;
  let line = '';
  for (const { key, words } of entries) {
    const needed = (cells > 0 ? gap : 0) + key.length + 1 + words.length;
    if (cells + needed > width) break;
    line += `${cells > 0 ? ' '.repeat(gap) : ''}${mark(key)}:${words}`;
    cells += needed;
  }
  return line + ' '.repeat(width - cells);
}
