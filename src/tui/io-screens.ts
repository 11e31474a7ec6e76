/**
 * The disk and network screens, as lists of fields under esxtop's letters. A VM's disks are images and its network cards are ports of the
 * host's switch, so there are no paths, no uplinks and no adapters of the host.
 */
import { type Column, type Field, field, figure, GID, noField, type OfVm, ownField, VM_NAME } from './columns.js';
import { printable } from './format.js';
import { type DiskRow, type PortRow, SWITCH_NAME } from './io-rows.js';

type DiskColumn = Column<DiskRow, DiskRow>;
type PortColumn = Column<PortRow, PortRow>;

const text = <R extends OfVm>(
  id: string,
  title: string,
  width: number,
  textWidthMin: number,
  keep: number,
  help: string,
  cell: (row: R) => string,
): Column<R, R> => ({ id, title, width, textWidthMin, keep, help, cell: row => printable(cell(row)) });

const disk = figure<DiskRow>;
const IO_STATS: readonly DiskColumn[] = [
  disk(
    'commands',
    'CMDS/s',
    9,
    2,
    'Commands/sec',
    100,
    'reads, writes and flushes, per second',
    row => row.rates.commands,
  ),
  disk('reads', 'READS/s', 9, 2, 'Reads/sec', 90, 'reads per second', row => row.rates.reads),
  disk('writes', 'WRITES/s', 9, 2, 'Writes/sec', 90, 'writes per second', row => row.rates.writes),
  disk('readMb', 'MBREAD/s', 9, 2, 'MBytes Read/sec', 80, 'MB read, per second', row => row.rates.readMb),
  disk('writeMb', 'MBWRTN/s', 9, 2, 'MBytes Written/sec', 80, 'MB written, per second', row => row.rates.writeMb),
];
const latency = (
  id: keyof DiskRow['rates'],
  title: string,
  width: number,
  counter: string,
  help: string,
  alarm?: true,
): DiskColumn => ({
  ...disk(id, title, width, 2, counter, 85, help, row => row.rates[id]),
  // As the well-known cards have it.
  ...(alarm && { alarm: (row: DiskRow) => row.rates[id] >= 25 }),
});

/** A part of a VM: by the VM and what it is called there. */
const ofVm = (id: string, title: string, help: string, name: (row: DiskRow) => string | undefined): DiskColumn => ({
  ...text<DiskRow>(id, title, 29, 16, Number.POSITIVE_INFINITY, help, row => `${row.vm.name} ${name(row) ?? ''}`),
  sort: row => row.vm.gid,
  rising: true,
});

/** What batch files have of the devices already. */
const uncounted = (columns: readonly DiskColumn[]): DiskColumn[] => columns.map(({ counter: _, ...column }) => column);

const QUEUE_STATS: readonly DiskColumn[] = [
  disk(
    'active',
    'ACTV',
    5,
    0,
    'Active Commands',
    95,
    'commands that wait for the disk or are served',
    row => row.outstanding,
  ),
];
const COMMAND_LATENCIES: readonly DiskColumn[] = [
  latency('deviceMs', 'DAVG/cmd', 9, 'Average Device MilliSec/Command', 'served by the disk, ms for a command', true),
  latency('queueMs', 'QAVG/cmd', 9, 'Average Queue MilliSec/Command', 'waiting for the disk, ms for a command'),
  latency('guestMs', 'GAVG/cmd', 9, 'Average Guest MilliSec/Command', 'both together', true),
];
const READ_LATENCY = latency('readMs', 'GAVG/rd', 8, 'Average Guest MilliSec/Read', 'ms for a read', true);
const WRITE_LATENCY = latency('writeMs', 'GAVG/wr', 8, 'Average Guest MilliSec/Write', 'ms for a write', true);
const ERRORS = disk(
  'errors',
  'ERR/s',
  7,
  2,
  'Errors/sec',
  70,
  'commands that failed, per second',
  row => row.rates.errors,
);

/** The host has no adapters of its own, since disks are images: these are the ones that its VMs see. */
export const DISK_ADAPTER_FIELDS: readonly Field<DiskColumn>[] = [
  field('ADAPTR', 'Adapter Name', [ofVm('adapter', 'ADAPTR', 'VM and virtual adapter', row => row.adapter)]),
  noField('PATH', 'Path Name'),
  field('NPTH', 'Num of Paths', [
    {
      id: 'paths',
      title: 'NPTH',
      width: 5,
      keep: 60,
      help: 'virtual disks of the adapter: each has one path',
      cell: row => String(row.count),
      sort: row => row.count,
      counter: { name: 'Paths', places: 0, of: row => row.count },
    },
  ]),
  field('QSTATS', 'Queue Stats', QUEUE_STATS, false),
  field('IOSTATS', 'I/O Stats', IO_STATS),
  noField('RESVSTATS', 'Reserve Stats'),
  field('LATSTATS/cmd', 'Overall Latency Stats (ms)', COMMAND_LATENCIES),
  field('LATSTATS/rd', 'Read Latency Stats (ms)', [READ_LATENCY], false),
  field('LATSTATS/wr', 'Write Latency Stats (ms)', [WRITE_LATENCY], false),
  field('ERRSTATS/s', 'Error Stats', [ERRORS], false),
  noField('PAESTATS/s', 'PAE Stats'),
  noField('SPLTSTATS/s', 'Split Stats'),
];

export const DISK_DEVICE_FIELDS: readonly Field<DiskColumn>[] = [
  field('DEVICE', 'Device Name', [ofVm('device', 'DEVICE', 'VM and virtual disk', row => row.disk?.name)]),
  noField('ID', 'Path/World/Partition Id'),
  noField('NUM', 'Num of Objects'),
  noField('SHARES', 'Shares'),
  noField('BLKSZ', 'Block Size (bytes)'),
  field('QSTATS', 'Queue Stats', QUEUE_STATS),
  field('IOSTATS', 'I/O Stats', uncounted(IO_STATS)),
  noField('RESVSTATS', 'Reserve Stats'),
  field('LATSTATS/cmd', 'Overall Latency Stats (ms)', COMMAND_LATENCIES),
  field('LATSTATS/rd', 'Read Latency Stats (ms)', [READ_LATENCY], false),
  field('LATSTATS/wr', 'Write Latency Stats (ms)', [WRITE_LATENCY], false),
  field('ERRSTATS/s', 'Error Stats', [ERRORS], false),
  noField('PAESTATS/s', 'PAE Stats'),
  noField('SPLTSTATS/s', 'Split Stats'),
  noField('VAAISTATS', 'VAAI Stats'),
  noField('VAAILATSTATS', 'VAAI Latency Stats'),
];

export const DISK_VM_FIELDS: readonly Field<DiskColumn>[] = [
  field('ID', 'Id', [{ ...GID, id: 'id', title: 'ID', help: 'group id' }], false),
  field('GID', 'Group Id', [GID]),
  field('VMNAME', 'VM Name', [{ ...VM_NAME, title: 'VMNAME' }]),
  field('VDEVNAME', 'Virtual Device Name', [
    text('vdevname', 'VDEVNAME', 10, 10, 95, 'virtual disk of an expanded VM (e)', row => row.disk?.name ?? '-'),
  ]),
  field('NVDISK', 'Num of Virtual Disks', [
    {
      id: 'nvdisk',
      title: 'NVDISK',
      width: 7,
      keep: 60,
      help: 'virtual disks of the row',
      cell: row => String(row.count),
      sort: row => row.count,
    },
  ]),
  field('IOSTATS', 'I/O Stats', IO_STATS),
  field('LATSTATS/rd', 'Read Latency Stats (ms)', [
    latency('readMs', 'LAT/rd', 7, 'Average MilliSec/Read', 'ms for a read', true),
  ]),
  field('LATSTATS/wr', 'Write Latency Stats (ms)', [
    latency('writeMs', 'LAT/wr', 7, 'Average MilliSec/Write', 'ms for a write', true),
  ]),
];

const port = figure<PortRow>;
const dropped = (percent: (row: PortRow) => number) => ({ alarm: (row: PortRow) => percent(row) >= 1 });

export const NETWORK_FIELDS: readonly Field<PortColumn>[] = [
  field('PORT-ID', 'Port Id', [
    {
      id: 'port',
      title: 'PORT-ID',
      width: 9,
      keep: 90,
      help: 'port of the virtual switch',
      cell: row => String(row.nic.port),
      sort: row => row.nic.port,
      rising: true,
    },
  ]),
  noField('UPLINK', 'Uplink'),
  noField('UP', 'Link Up, Speed, Full Duplex'),
  field('USED-BY', 'Used By', [
    text(
      'usedBy',
      'USED-BY',
      24,
      16,
      Number.POSITIVE_INFINITY,
      'world and VM',
      row => `${row.vm.worlds[0]?.id ?? row.vm.gid}:${row.vm.name}`,
    ),
  ]),
  noField('TEAM-PNIC', 'Team Uplink Physical Nic Name'),
  field('DNAME', 'Device Name', [text('dname', 'DNAME', 10, 10, 60, 'the virtual switch', () => SWITCH_NAME)]),
  ownField(
    port(
      'sentPackets',
      'PKTTX/s',
      10,
      2,
      'Packets Transmitted/sec',
      100,
      'packets sent, per second',
      row => row.sentPackets,
    ),
  ),
  ownField(port('sentMb', 'MbTX/s', 9, 2, 'MBits Transmitted/sec', 95, 'megabits sent, per second', row => row.sentMb)),
  ownField(
    port(
      'receivedPackets',
      'PKTRX/s',
      10,
      2,
      'Packets Received/sec',
      100,
      'packets received, per second',
      row => row.receivedPackets,
    ),
  ),
  ownField(
    port(
      'receivedMb',
      'MbRX/s',
      9,
      2,
      'MBits Received/sec',
      95,
      'megabits received, per second',
      row => row.receivedMb,
    ),
  ),
  ownField({
    ...port(
      'sentDropped',
      '%DRPTX',
      8,
      2,
      '% Outbound Packets Dropped',
      80,
      'share of the sent packets that was dropped',
      row => row.sentDroppedPercent,
    ),
    ...dropped(row => row.sentDroppedPercent),
  }),
  ownField({
    ...port(
      'receivedDropped',
      '%DRPRX',
      8,
      2,
      '% Received Packets Dropped',
      80,
      'share of the packets for it that found no buffer',
      row => row.receivedDroppedPercent,
    ),
    ...dropped(row => row.receivedDroppedPercent),
  }),
  field(
    'NIC',
    'the network card, and its address',
    [
      text('nic', 'NIC', 11, 11, 50, 'network card of the VM', row => row.nic.name),
      text('mac', 'MAC', 19, 19, 40, 'its address', row => row.nic.mac),
    ],
    false,
  ),
];
