/**
 * The keys, declared once: dispatch, footer and help read this table. Letters are esxtop's where it has the command; `v`
 * (esxtop's disk-VM screen), `p` (its power-management screen), `a`, `r` and `t` are taken for control of VMs and timers.
 */
import type { ScreenId } from './columns.js';

export const KEYS = [
  { keys: ['c'], show: 'c', command: 'screen.cpu', group: 'display', help: 'CPU' },
  { keys: ['m'], show: 'm', command: 'screen.memory', group: 'display', help: 'memory' },
  { keys: ['t'], show: 't', command: 'screen.timer', group: 'display', help: 'timer' },
  {
    keys: ['v'],
    show: 'v',
    command: 'vm.vmi',
    group: 'vm',
    help: 'turn VMI of the VM on or off',
    footer: 'toggle VMI',
  },
  { keys: ['p'], show: 'p', command: 'vm.power', group: 'vm', help: 'power on, power off, reset', footer: 'power' },
  { keys: ['r'], show: 'r', command: 'vm.run', group: 'vm', help: 'run a program in the idle guest', footer: 'run' },
  {
    keys: ['a'],
    show: 'a',
    command: 'vm.attach',
    group: 'vm',
    help: 'attach to the guest’s console (Ctrl-] detaches)',
    footer: 'attach',
  },
  {
    keys: ['e', '6'],
    show: 'e 6',
    command: 'row.expand',
    group: 'rows',
    help: 'expand the VM into its worlds, or roll it up',
  },
  { keys: ['up', '8'], show: 'up 8', command: 'row.previous', group: 'rows', help: 'select the row above' },
  { keys: ['down', '2'], show: 'down 2', command: 'row.next', group: 'rows', help: 'select the row below' },
  { keys: ['pageup', 'home'], show: 'PgUp', command: 'row.first', group: 'rows', help: 'select the first row' },
  { keys: ['pagedown', 'end'], show: 'PgDn', command: 'row.last', group: 'rows', help: 'select the last row' },
  { keys: ['U'], show: 'U', command: 'sort', screen: 'cpu', column: 'used', group: 'sort', help: '%USED' },
  { keys: ['R'], show: 'R', command: 'sort', screen: 'cpu', column: 'ready', group: 'sort', help: '%RDY' },
  { keys: ['N'], show: 'N', command: 'sort', screen: 'cpu', column: 'gid', group: 'sort', help: 'GID' },
  { keys: ['M'], show: 'M', command: 'sort', screen: 'memory', column: 'memsz', group: 'sort', help: 'MEMSZ' },
  { keys: ['B'], show: 'B', command: 'sort.balloon', screen: 'memory', group: 'sort', help: 'MCTLSZ (no balloon yet)' },
  { keys: ['N'], show: 'N', command: 'sort', screen: 'memory', column: 'gid', group: 'sort', help: 'GID' },
  { keys: ['R'], show: 'R', command: 'sort', screen: 'timer', column: 'delivered', group: 'sort', help: 'DLVD/s' },
  { keys: ['T'], show: 'T', command: 'sort', screen: 'timer', column: 'stolenShare', group: 'sort', help: '%STLN' },
  { keys: ['N'], show: 'N', command: 'sort', screen: 'timer', column: 'gid', group: 'sort', help: 'GID' },
  {
    keys: ['s'],
    show: 's',
    command: 'delay',
    group: 'general',
    help: 'delay between updates, seconds',
    footer: 'delay',
  },
  { keys: ['space', 'enter'], show: 'space', command: 'refresh', group: 'general', help: 'update now' },
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
  readonly group: 'display' | 'vm' | 'rows' | 'sort' | 'general';
  readonly help: string;
  /** Word in the footer; absent: not in the footer. */
  readonly footer?: string;
  /** Only on this screen. */
  readonly screen?: ScreenId;
  /** Column that `sort` sorts by. */
  readonly column?: string;
}

export type CommandId = (typeof KEYS)[number]['command'];

/** The binding of a key on a screen. */
export function bindingFor(key: string, screen: ScreenId): (KeyBinding & { command: CommandId }) | undefined {
  return KEYS.find(
    (binding: KeyBinding) => binding.keys.includes(key) && (binding.screen === undefined || binding.screen === screen),
  );
}

/** `v:toggle VMI  p:power ...` in the order of the table; closer together where that makes it fit, and cut at a whole entry. */
export function footerLine(width: number, mark: (text: string) => string): string {
  const entries = (KEYS as readonly KeyBinding[]).flatMap(({ show, group, help, footer }) => {
    const words = group === 'display' ? help : footer;
    return words === undefined ? [] : [{ key: show.split(' ')[0]!, words }];
  });
  const cellsOf = (gap: number) =>
    entries.reduce((sum, { key, words }) => sum + key.length + words.length + 1 + gap, -gap);
  const gap = cellsOf(2) <= width ? 2 : 1;
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
