/**
 * The screens with rows, as lists of fields. Titles, letters and meanings are esxtop's, of 3.5 where that has the screen; fields of our own
 * and the timer screen come after them. A column exists only where samples hold its figure.
 */
import type { Sample } from '../hypervisor/index.js';
import {
  type Column,
  type Field,
  field,
  figure,
  GID,
  guestText,
  MODE,
  NAME,
  noField,
  ownField,
  PERCENT_WIDTH,
  type ScreenId,
  share,
  size,
  VM_NAME,
  type VmScreenId,
} from './columns.js';
import { decimal, fixed, NO_FIGURE, printable } from './format.js';
import { DISK_ADAPTER_FIELDS, DISK_DEVICE_FIELDS, DISK_VM_FIELDS, NETWORK_FIELDS } from './io-screens.js';
import { type CpuRow, type EventRates, type InterruptRow, type Row, ratio, type VmRow } from './rows.js';

const ID: Column = {
  id: 'id',
  title: 'ID',
  width: 6,
  keep: 20,
  help: 'world id; the group id on the row of a VM',
  cell: row => String(row.kind === 'world' ? row.world.id : row.vm.gid),
};

const members = (row: CpuRow): number =>
  row.kind === 'world' ? 1 : row.vm.worlds.filter(world => world.state !== 'off').length;

const NWLD: Column = {
  id: 'nwld',
  title: 'NWLD',
  width: 5,
  keep: 30,
  help: 'worlds in the row',
  cell: row => String(members(row)),
};

const GUEST: Column = {
  id: 'guest',
  title: 'GUEST',
  // The longest program name: the columns do not move when a program starts.
  width: 13,
  textWidthMin: 13,
  keep: 105,
  help: 'booting, idle, the running program, off, crashed; state of a world',
  cell: guestText,
  alarm: row => row.vm.power === 'crashed',
};

/** What happened to a world, per second. */
const event = (id: keyof EventRates, title: string, counter: string, keep: number, help: string): Column =>
  figure<CpuRow>(id, title, 8, 2, counter, keep, help, row => row.events[id]) as Column;

/** An allocation of the VM: of no one world. */
function allocation(id: string, title: string, counter: string, help: string, of: (row: VmRow) => number): Column {
  return {
    id,
    title,
    width: 7,
    keep: 78,
    help,
    cell: row => (row.kind === 'vm' ? fixed(of(row), 0) : NO_FIGURE),
    sort: of,
    counter: { name: counter, places: 0, of: row => (row.kind === 'vm' ? of(row) : 0), vmOnly: true },
  };
}

export const CPU_FIELDS: readonly Field[] = [
  field('ID', 'Id', [ID]),
  field('GID', 'Group Id', [GID]),
  field('NAME', 'Name', [NAME]),
  field('NWLD', 'Num Members', [{ ...NWLD, counter: { name: 'Members', places: 0, of: members, vmOnly: true } }]),
  field('%STATE TIMES', 'CPU State Times', [
    share('used', '%USED', '% Used', 110, 'processor time charged'),
    share('run', '%RUN', '% Run', 80, 'scheduled on a pCPU'),
    share('sys', '%SYS', '% System', 70, 'vmkernel work on its behalf'),
    share('wait', '%WAIT', '% Wait', 50, 'blocked, %IDLE included'),
    share('ready', '%RDY', '% Ready', 90, 'runnable, but no pCPU is free', percent => percent >= 10),
    share('idle', '%IDLE', '% Idle', 55, 'the vCPU halted, nothing to do'),
    share('overlap', '%OVRLP', '% Overlap', 15, 'scheduled while the vmkernel worked for others'),
    share('costop', '%CSTP', '% CoStop', 14, 'held back for a sibling vCPU', percent => percent >= 3),
    share('maxLimited', '%MLMTD', '% Max Limited', 16, 'held back by its limit; part of %RDY', percent => percent > 0),
  ]),
  field(
    'EVENT COUNTS/s',
    'CPU Event Counts',
    [
      event('switches', 'SWTCH/s', 'Switches/sec', 85, 'times a world was put on a pCPU, per second'),
      event('migrations', 'MIG/s', 'Migrates/sec', 84, 'of them on another pCPU than before'),
      event('quantumExpiries', 'QEXP/s', 'Quantum Expires/sec', 83, 'ends of a time slice with others waiting'),
      event('wakeups', 'WAKE/s', 'Wakeups/sec', 82, 'times a halted world became runnable'),
    ],
    false,
  ),
  field(
    'CPU ALLOC',
    'CPU Allocations',
    [
      allocation('amin', 'AMIN', 'Alloc Min', 'reservation, MHz', row => row.vm.cpu.minMhz),
      allocation('amax', 'AMAX', 'Alloc Max', 'limit, MHz; -1: none', row => row.vm.cpu.maxMhz ?? -1),
      allocation('ashrs', 'ASHRS', 'Alloc Shares', 'shares', row => row.vm.cpu.shares),
    ],
    false,
  ),
  field(
    'SUMMARY STATS',
    'CPU Summary Stats',
    [
      {
        id: 'timers',
        title: 'TIMER/s',
        width: 8,
        keep: 81,
        help: 'vmkernel timers that came due for the VM, per second',
        cell: row => (row.kind === 'vm' ? decimal(row.timer.hostTimersPerSecond, 7) : '-'),
        sort: row => row.timer.hostTimersPerSecond,
        counter: {
          name: 'Timers/sec',
          places: 2,
          of: row => (row.kind === 'vm' ? row.timer.hostTimersPerSecond : 0),
          vmOnly: true,
        },
      },
    ],
    false,
  ),
  field('MODE', 'Technique that runs the guest', [MODE]),
  field('GUEST', 'What the guest does', [GUEST]),
];

const activePercent = ({ vm }: VmRow): number => 100 * ratio(vm.memory.touchedKb, vm.memory.sizeKb);

export const MEMORY_FIELDS: readonly Field<Column<VmRow>>[] = [
  field('ID', 'Id', [ID], false),
  field('GID', 'Group Id', [GID]),
  field('NAME', 'Name', [NAME]),
  field('NWLD', 'Num Members', [NWLD], false),
  noField('MEM ALLOC', 'Memory Allocations'),
  noField('NUMA STATS', 'Numa Statistics'),
  field('SIZE', 'Memory Size', [
    size('memsz', 'MEMSZ', 'Memory Size MBytes', 110, 'configured size, MB', row => row.vm.memory.sizeKb),
    size(
      'grant',
      'GRANT',
      'Memory Granted Size MBytes',
      100,
      'guest memory backed so far, MB',
      row => row.vm.memory.grantedKb,
    ),
    size(
      'sztgt',
      'SZTGT',
      'Target Size MBytes',
      50,
      'what the vmkernel wants it to have, MB',
      row => row.vm.memory.targetKb,
    ),
    size('tchd', 'TCHD', 'Touched MBytes', 70, 'touched lately, MB', row => row.vm.memory.touchedKb),
  ]),
  field('ACTV', 'Memory Active Estimates', [
    {
      ...figure<VmRow>(
        'actv',
        '%ACTV',
        PERCENT_WIDTH,
        2,
        '% Active Estimate',
        55,
        'share of MEMSZ touched lately',
        activePercent,
      ),
    },
  ]),
  noField('MCTL', 'Memory Ctl (balloon)'),
  noField('SWAP STATS', 'Swap Statistics'),
  noField('CPT', 'Checkpoint Statistics'),
  noField('COW', 'Copy-on-write (page sharing)'),
  field('OVHD', 'Overhead Memory', [
    size('ovhd', 'OVHD', 'Overhead MBytes', 90, 'the monitor’s own memory for it, MB', row => row.vm.memory.overheadKb),
    size(
      'ovhdmax',
      'OVHDMAX',
      'Overhead Max MBytes',
      60,
      'overhead reserved for it, MB',
      row => row.vm.memory.overheadMaxKb,
    ),
  ]),
  field('MONITOR', 'what OVHD holds', [
    size('shadow', 'SHADOW', 'Shadow KBytes', 80, 'of OVHD: shadow page tables, MB', row => row.vm.memory.shadowKb),
    size(
      'tc',
      'TC',
      'Translation Cache KBytes',
      75,
      'of OVHD: translation cache and its maps, MB',
      row => row.vm.memory.tcKb,
    ),
  ]),
];

const SOURCE: Column<VmRow> = {
  id: 'source',
  title: 'SOURCE',
  width: 10,
  keep: 100,
  help: 'what ticks: pit, vmi-alarm, none',
  textWidthMin: 8,
  cell: row => printable(row.vm.timer.source),
};

const rate = figure<VmRow>;
export const TIMER_FIELDS: readonly Field<Column<VmRow>>[] = [
  GID,
  NAME as Column<VmRow>,
  MODE as Column<VmRow>,
  SOURCE,
  rate(
    'requested',
    'REQ/s',
    8,
    1,
    'Requested Interrupts/sec',
    90,
    'interrupts the guest asked for, per second; 0 while stopped',
    row => row.vm.timer.requestedHz,
  ),
  rate(
    'delivered',
    'DLVD/s',
    8,
    1,
    'Delivered Interrupts/sec',
    95,
    'timer interrupts delivered, per second',
    row => row.timer.deliveredPerSecond,
  ),
  rate('backlog', 'BACKLOG', 8, 0, 'Backlog', 80, 'ticks owed and not delivered yet', row => row.vm.timer.backlog),
  rate(
    'lag',
    'LAG(ms)',
    9,
    2,
    'Lag MilliSec',
    75,
    'how far the guest’s tick count is behind real time',
    row => row.timer.lagMs,
  ),
  rate(
    'stolen',
    'STOLEN(ms)',
    11,
    2,
    'Stolen MilliSec',
    40,
    'time stolen from the guest since the last update',
    row => row.timer.stolenMs,
  ),
  rate(
    'stolenShare',
    '%STLN',
    PERCENT_WIDTH,
    2,
    '% Stolen',
    70,
    'stolen time in percent',
    row => row.timer.stolenPercent,
  ),
  rate('wake', 'WAKE/s', 8, 1, 'Wakeups/sec', 65, 'wake-ups from halt, per second', row => row.timer.wakeupsPerSecond),
].map(ownField);

export const INTERRUPT_FIELDS: readonly Field<Column<InterruptRow, InterruptRow>>[] = [
  ownField({
    id: 'vector',
    title: 'VECTOR',
    width: 7,
    keep: 80,
    help: 'vector that the guest has given the line',
    cell: row => (Number.isNaN(row.line.vector) ? NO_FIGURE : `0x${row.line.vector.toString(16)}`),
    sort: row => row.line.vector,
    rising: true,
    counter: { name: 'Vector', places: 0, of: row => row.line.vector },
  }),
  ownField(
    figure<InterruptRow>(
      'rate',
      'COUNT/s',
      10,
      2,
      'Interrupts/sec',
      110,
      'interrupts delivered, per second',
      row => row.perSecond,
    ),
  ),
  noField('COUNT_x', 'share of each CPU: a VM has one'),
  noField('TIME/int', 'time for an interrupt'),
  noField('TIME_x', 'the same on each CPU'),
  ownField({
    id: 'devices',
    title: 'DEVICES',
    width: 25,
    textWidthMin: 16,
    keep: 100,
    help: 'what is on the line',
    cell: row => printable(row.line.devices.join(', ') || '-'),
  }),
  ownField(GID),
  ownField(VM_NAME),
  ownField({
    id: 'irq',
    title: 'IRQ',
    width: 4,
    keep: 90,
    help: 'line of the VM’s interrupt controllers; LOC: the local APIC’s own',
    cell: row => String(row.line.irq ?? 'LOC'),
  }),
  ownField(
    figure<InterruptRow>(
      'count',
      'COUNT',
      11,
      0,
      'Interrupts',
      70,
      'interrupts delivered since power-on',
      row => row.line.delivered,
    ),
  ),
];

/** A screen's columns are for the kind of rows that it has. */
export type ScreenColumn = Column<Row, Row>;

export interface Screen {
  readonly title: string;
  readonly fields: readonly Field<ScreenColumn>[];
  /** Order of the fields before anybody chooses, if it is not that of their letters. */
  readonly order?: string;
  /** Column that sorts before anybody chooses. */
  readonly sort: string;
}

const screen = <C>(title: string, fields: readonly Field<C>[], order?: string, sort = 'gid'): Screen => ({
  title,
  fields: fields as unknown as readonly Field<ScreenColumn>[],
  sort,
  ...(order !== undefined && { order }),
});

/** Only the CPU screen shows worlds, as in esxtop; its rows may be of either kind. */
export const SCREENS: Readonly<Record<VmScreenId, Screen>> = {
  cpu: screen('CPU', CPU_FIELDS),
  memory: screen('memory', MEMORY_FIELDS),
  diskAdapter: screen('disk adapter', DISK_ADAPTER_FIELDS, undefined, 'adapter'),
  diskDevice: screen('disk device', DISK_DEVICE_FIELDS, undefined, 'device'),
  diskVm: screen('disk VM', DISK_VM_FIELDS),
  network: screen('network', NETWORK_FIELDS, undefined, 'port'),
  interrupt: screen('interrupt', INTERRUPT_FIELDS, 'GHIABJFcde'),
  timer: screen('timer', TIMER_FIELDS),
};

/** All columns of a screen that has rows, shown or not; none of other screens. */
export const columnsOf = (screen: ScreenId): readonly ScreenColumn[] =>
  (SCREENS as Partial<Record<ScreenId, Screen>>)[screen]?.fields.flatMap(({ columns }) => columns) ?? [];

/** The columns that a screen shows before anybody chooses. */
export const defaultColumns = (screen: VmScreenId): readonly ScreenColumn[] =>
  SCREENS[screen].fields.filter(({ shown }) => shown).flatMap(({ columns }) => columns);

/** Is there anything in a sample that the screen could show? */
export function hasRows(screen: ScreenId, now: Sample | undefined): boolean {
  switch (screen) {
    case 'diskAdapter':
    case 'diskDevice':
    case 'diskVm':
      return now?.vms.some(({ disks }) => disks.length > 0) ?? false;
    case 'network':
      return now?.vms.some(({ nics }) => nics.length > 0) ?? false;
    default:
      return true;
  }
}
