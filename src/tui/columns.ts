/**
 * The columns of the screens with a row for each VM, declared once: heading, width, help, cell, sort order and the order in which columns leave
 * when the terminal is narrow. Titles and meanings are esxtop 3.5's; MODE, GUEST, SHADOW, TC and the timer screen are ours.
 * A column exists only where samples hold its figure: no balloon and no swap yet, hence no MCTLSZ, SWCUR and OVHDUW.
 */
import type { Mode, VmSample } from '../hypervisor/index.js';
import { decimal, printable } from './format.js';
import type { CpuShares, Row, VmRow } from './rows.js';

/** Screens with a row for each VM. */
export type VmScreenId = 'cpu' | 'memory' | 'timer';
export type ScreenId = VmScreenId | 'exits' | 'code';

/** A column of rows `R`, which are sorted by rows `S`: worlds stay below their VM. */
export interface Column<R = Row, S = VmRow> {
  readonly id: string;
  readonly title: string;
  /** Cells, with the blank in front. */
  readonly width: number;
  /** Text columns are left-aligned and may shrink to this width when every row's text fits. */
  readonly textWidthMin?: number;
  readonly help: string;
  /** Columns leave in rising order of this figure; `Infinity` stays. */
  readonly keep: number;
  readonly cell: (row: R) => string;
  /** Rows sort by falling figure, or by rising one when `rising`; without it the column does not sort. */
  readonly sort?: (row: S) => number;
  readonly rising?: true;
  /** True when experienced eyes would stop at this cell (thresholds of the well-known esxtop cards). */
  readonly alarm?: (row: R) => boolean;
}

export const PERCENT_WIDTH = 7;

function share(
  id: keyof CpuShares,
  title: string,
  keep: number,
  help: string,
  alarm?: (percent: number) => boolean,
): Column {
  return {
    id,
    title,
    width: PERCENT_WIDTH,
    keep,
    help,
    cell: row => decimal(row.cpu[id], PERCENT_WIDTH - 1),
    sort: row => row.cpu[id],
    ...(alarm ? { alarm: (row: Row) => row.kind === 'world' && alarm(row.cpu[id]) } : {}),
  };
}

export const MODE_LABELS: Readonly<Record<Mode, string>> = { native: 'native', bt: 'BT', hv: 'HV', vmi: 'VMI' };

/**
 * How the guest runs now. In brackets while the VM is off: what the next power-on begins with. `*`: the configuration changed and
 * the next power-on will differ.
 */
export function modeText({ vm }: { readonly vm: VmSample }): string {
  if (vm.power !== 'on') return `(${MODE_LABELS[vm.vmiConfigured ? 'vmi' : vm.monitor]})`;
  // Without VMI the mode is the monitor that the guest was powered on with.
  const same = vm.vmiConfigured === vm.vmiEnabled && (vm.vmiConfigured || vm.mode === vm.monitor);
  return same ? MODE_LABELS[vm.mode] : `${MODE_LABELS[vm.mode]}*`;
}

function guestText(row: Row): string {
  if (row.kind === 'vm') return printable(row.vm.guestState);
  const { state, pcpu } = row.world;
  return state === 'run' && pcpu !== undefined ? `run cpu${pcpu}` : state;
}

const GID: Column = {
  id: 'gid',
  title: 'GID',
  width: 5,
  keep: 60,
  help: 'group of worlds: every VM is one',
  cell: row => String(row.vm.gid),
  sort: row => row.vm.gid,
  rising: true,
};

const NAME: Column = {
  id: 'name',
  title: 'NAME',
  width: 17,
  textWidthMin: 9,
  keep: Number.POSITIVE_INFINITY,
  help: 'VM, or world of an expanded VM',
  // `vmm0:web01` below web01 is vmm0: the rest would cost a narrow terminal another column.
  cell: row => printable(row.kind === 'vm' ? row.vm.name : ` ${row.world.name.split(':')[0]}`),
};

const MODE: Column = {
  id: 'mode',
  title: 'MODE',
  width: 9,
  textWidthMin: 6,
  keep: 100,
  help: 'BT, HV, VMI or native; (off: at power-on); * changes at next power-on',
  cell: row => (row.kind === 'vm' ? modeText(row) : ''),
};

export const CPU_COLUMNS: readonly Column[] = [
  {
    id: 'id',
    title: 'ID',
    width: 6,
    keep: 20,
    help: 'world id; the group id on the row of a VM',
    cell: row => String(row.kind === 'vm' ? row.vm.gid : row.world.id),
  },
  GID,
  NAME,
  {
    id: 'nwld',
    title: 'NWLD',
    width: 5,
    keep: 30,
    help: 'worlds in the row',
    cell: row => String(row.kind === 'vm' ? row.vm.worlds.filter(world => world.state !== 'off').length : 1),
  },
  share('used', '%USED', 110, 'processor time charged'),
  share('run', '%RUN', 80, 'scheduled on a pCPU'),
  share('sys', '%SYS', 70, 'vmkernel work on its behalf'),
  share('wait', '%WAIT', 50, 'blocked, %IDLE included'),
  share('ready', '%RDY', 90, 'runnable, but no pCPU is free', percent => percent >= 10),
  share('idle', '%IDLE', 55, 'the vCPU halted, nothing to do'),
  share('overlap', '%OVRLP', 15, 'scheduled while the vmkernel worked for others'),
  share('costop', '%CSTP', 14, 'held back for a sibling vCPU', percent => percent >= 3),
  share('maxLimited', '%MLMTD', 16, 'held back by its limit; part of %RDY', percent => percent > 0),
  MODE,
  {
    id: 'guest',
    title: 'GUEST',
    // The longest program name: the columns do not move when a program starts.
    width: 13,
    textWidthMin: 13,
    keep: 105,
    help: 'booting, idle, the running program, off, crashed; state of a world',
    cell: guestText,
    alarm: row => row.vm.power === 'crashed',
  },
];

/** Megabytes of `kb`, with two decimals as esxtop does. */
function size(id: string, title: string, keep: number, help: string, kb: (row: VmRow) => number): Column<VmRow> {
  return { id, title, width: 9, keep, help, cell: row => decimal(kb(row) / 1024, 8), sort: kb };
}

export const MEMORY_COLUMNS: readonly Column<VmRow>[] = [
  GID,
  NAME,
  size('memsz', 'MEMSZ', 110, 'configured size, MB', row => row.vm.memory.sizeKb),
  size('grant', 'GRANT', 100, 'guest memory backed so far, MB', row => row.vm.memory.grantedKb),
  size('sztgt', 'SZTGT', 50, 'what the vmkernel wants it to have, MB', row => row.vm.memory.targetKb),
  size('tchd', 'TCHD', 70, 'touched lately, MB', row => row.vm.memory.touchedKb),
  {
    id: 'actv',
    title: '%ACTV',
    width: PERCENT_WIDTH,
    keep: 55,
    help: 'share of MEMSZ touched lately',
    cell: row => decimal(activePercent(row), PERCENT_WIDTH - 1),
    sort: activePercent,
  },
  size('ovhd', 'OVHD', 90, 'the monitor’s own memory for it, MB', row => row.vm.memory.overheadKb),
  size('ovhdmax', 'OVHDMAX', 60, 'overhead reserved for it, MB', row => row.vm.memory.overheadMaxKb),
  size('shadow', 'SHADOW', 80, 'of OVHD: shadow page tables, MB', row => row.vm.memory.shadowKb),
  size('tc', 'TC', 75, 'of OVHD: translation cache and its maps, MB', row => row.vm.memory.tcKb),
];

function activePercent({ vm }: VmRow): number {
  return vm.memory.sizeKb > 0 ? (100 * vm.memory.touchedKb) / vm.memory.sizeKb : 0;
}

export const TIMER_COLUMNS: readonly Column<VmRow>[] = [
  GID,
  NAME,
  MODE,
  {
    id: 'source',
    title: 'SOURCE',
    width: 10,
    keep: 100,
    help: 'what ticks: pit, vmi-alarm, none',
    textWidthMin: 8,
    cell: row => printable(row.vm.timer.source),
  },
  {
    id: 'requested',
    title: 'REQ/s',
    width: 8,
    keep: 90,
    help: 'interrupts the guest asked for, per second; 0 while stopped',
    cell: row => decimal(row.vm.timer.requestedHz, 7, 1),
    sort: row => row.vm.timer.requestedHz,
  },
  {
    id: 'delivered',
    title: 'DLVD/s',
    width: 8,
    keep: 95,
    help: 'timer interrupts delivered, per second',
    cell: row => decimal(row.timer.deliveredPerSecond, 7, 1),
    sort: row => row.timer.deliveredPerSecond,
  },
  {
    id: 'backlog',
    title: 'BACKLOG',
    width: 8,
    keep: 80,
    help: 'ticks owed and not delivered yet',
    cell: row => decimal(row.vm.timer.backlog, 7, 0),
    sort: row => row.vm.timer.backlog,
  },
  {
    id: 'lag',
    title: 'LAG(ms)',
    width: 9,
    keep: 75,
    help: 'how far the guest’s tick count is behind real time',
    cell: row => decimal(row.timer.lagMs, 8),
    sort: row => row.timer.lagMs,
  },
  {
    id: 'stolen',
    title: 'STOLEN(ms)',
    width: 11,
    keep: 40,
    help: 'time stolen from the guest since the last update',
    cell: row => decimal(row.timer.stolenMs, 10),
  },
  {
    id: 'stolenShare',
    title: '%STLN',
    width: PERCENT_WIDTH,
    keep: 70,
    help: 'stolen time in percent',
    cell: row => decimal(row.timer.stolenPercent, PERCENT_WIDTH - 1),
    sort: row => row.timer.stolenPercent,
  },
  {
    id: 'wake',
    title: 'WAKE/s',
    width: 8,
    keep: 65,
    help: 'wake-ups from halt, per second',
    cell: row => decimal(row.timer.wakeupsPerSecond, 7, 1),
    sort: row => row.timer.wakeupsPerSecond,
  },
];

/** The screens of VMs. Only the CPU screen shows worlds, as in esxtop; its rows may be of either kind. */
export const SCREENS = {
  cpu: { title: 'CPU', columns: CPU_COLUMNS, sort: 'gid' },
  memory: { title: 'memory', columns: MEMORY_COLUMNS as readonly Column[], sort: 'gid' },
  timer: { title: 'timer', columns: TIMER_COLUMNS as readonly Column[], sort: 'gid' },
} as const satisfies Record<VmScreenId, { title: string; columns: readonly Column[]; sort: string }>;
