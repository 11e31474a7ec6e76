/** Rows of the disk and network screens. As everywhere, rates are differences between two samples; averages are over what ended between them. */
import type { Sample, VmDiskSample, VmNicSample, VmSample } from '../hypervisor/index.js';
import { elapsedCycles, ratio, rise, sameRun } from './rows.js';

export interface DiskRates {
  readonly commands: number;
  readonly reads: number;
  readonly writes: number;
  readonly readMb: number;
  readonly writeMb: number;
  readonly errors: number;
  /** Of a command: waiting for the disk, served by it, and both, in ms; 0 where none has ended. */
  readonly queueMs: number;
  readonly deviceMs: number;
  readonly guestMs: number;
  /** Of a read and of a write, both together. */
  readonly readMs: number;
  readonly writeMs: number;
}

/** A virtual disk, or all of a VM's. */
export interface DiskRow {
  readonly kind: 'disk';
  readonly key: string;
  readonly vm: VmSample;
  /** undefined: all of the VM's. */
  readonly disk: VmDiskSample | undefined;
  /** The virtual adapter, where the row is about all disks of one. */
  readonly adapter?: string;
  readonly count: number;
  readonly outstanding: number;
  readonly rates: DiskRates;
}

/** A port of the virtual switch. */
export interface PortRow {
  readonly kind: 'port';
  readonly key: string;
  readonly vm: VmSample;
  readonly nic: VmNicSample;
  readonly sentPackets: number;
  readonly sentMb: number;
  readonly receivedPackets: number;
  readonly receivedMb: number;
  /** Share of what was dropped in what should have gone, percent. */
  readonly sentDroppedPercent: number;
  readonly receivedDroppedPercent: number;
}

/** Every host has one virtual switch; this is what ESX calls its first. */
export const SWITCH_NAME = 'vSwitch0';

const MEBIBYTE = 1_048_576;

/** What rose in one disk between two samples. */
const DISK_SUMS = [
  'reads',
  'writes',
  'flushes',
  'readBytes',
  'writeBytes',
  'errors',
  'queueCycles',
  'deviceCycles',
  'readCycles',
  'writeCycles',
] as const satisfies readonly (keyof VmDiskSample)[];
type DiskRise = Record<(typeof DISK_SUMS)[number], number>;

const riseOf = (disk: VmDiskSample, before: VmDiskSample | undefined): DiskRise =>
  Object.fromEntries(DISK_SUMS.map(name => [name, rise(disk[name], before?.[name])])) as DiskRise;

function diskRates(rises: readonly DiskRise[], seconds: number, cyclesPerSecond: number): DiskRates {
  const all = (name: keyof DiskRise) => rises.reduce((sum, each) => sum + each[name], 0);
  const commands = all('reads') + all('writes') + all('flushes');
  const ms = (cycles: number, count: number) => (1000 * ratio(cycles, count)) / cyclesPerSecond;
  return {
    commands: ratio(commands, seconds),
    reads: ratio(all('reads'), seconds),
    writes: ratio(all('writes'), seconds),
    readMb: ratio(all('readBytes') / MEBIBYTE, seconds),
    writeMb: ratio(all('writeBytes') / MEBIBYTE, seconds),
    errors: ratio(all('errors'), seconds),
    queueMs: ms(all('queueCycles'), commands),
    deviceMs: ms(all('deviceCycles'), commands),
    guestMs: ms(all('queueCycles') + all('deviceCycles'), commands),
    readMs: ms(all('readCycles'), all('reads')),
    writeMs: ms(all('writeCycles'), all('writes')),
  };
}

/** The adapter of a virtual disk: `scsi0` of `scsi0:1`. */
const adapterOf = ({ name }: VmDiskSample): string => name.split(':')[0]!;

/** A row for each virtual adapter of a VM: the sums over its disks. */
export function adapterRows(now: Sample, before: Sample | undefined, vm: VmSample): DiskRow[] {
  return [...new Set(vm.disks.map(adapterOf))].map(adapter => {
    const disks = vm.disks.filter(disk => adapterOf(disk) === adapter);
    const { all } = diskRows(now, before, { ...vm, disks });
    return { ...all, key: `adapter ${adapter} ${vm.name}`, vm, adapter };
  });
}

/** All disks of a VM as one row, and one for each. */
export function diskRows(
  now: Sample,
  before: Sample | undefined,
  vm: VmSample,
): { readonly all: DiskRow; readonly each: readonly DiskRow[] } {
  const seconds = elapsedCycles(now, before) / now.cyclesPerSecond;
  const disksBefore = sameRun(vm, before)?.disks;
  const rises = vm.disks.map(disk =>
    riseOf(
      disk,
      disksBefore?.find(({ name }) => name === disk.name),
    ),
  );
  const row = (key: string, disk: VmDiskSample | undefined, of: readonly DiskRise[], outstanding: number): DiskRow => ({
    kind: 'disk',
    key,
    vm,
    disk,
    count: of.length,
    outstanding,
    rates: diskRates(of, seconds, now.cyclesPerSecond),
  });
  return {
    all: row(
      `vm ${vm.name}`,
      undefined,
      rises,
      vm.disks.reduce((sum, disk) => sum + disk.outstanding, 0),
    ),
    each: vm.disks.map((disk, index) => row(`disk ${disk.name} ${vm.name}`, disk, [rises[index]!], disk.outstanding)),
  };
}

/** The ports of a VM's network cards. */
export function portRows(now: Sample, before: Sample | undefined, vm: VmSample): PortRow[] {
  const seconds = elapsedCycles(now, before) / now.cyclesPerSecond;
  const nicsBefore = sameRun(vm, before)?.nics;
  return vm.nics.map(nic => {
    const nicBefore = nicsBefore?.find(({ port }) => port === nic.port);
    const rose = (name: Exclude<keyof VmNicSample, 'name' | 'mac' | 'port'>) => rise(nic[name], nicBefore?.[name]);
    const megabits = (bytes: number) => ratio((8 * bytes) / 1e6, seconds);
    const percent = (dropped: number, passed: number) => 100 * ratio(dropped, dropped + passed);
    return {
      kind: 'port',
      key: `port ${nic.name} ${vm.name}`,
      vm,
      nic,
      sentPackets: ratio(rose('sentPackets'), seconds),
      sentMb: megabits(rose('sentBytes')),
      receivedPackets: ratio(rose('receivedPackets'), seconds),
      receivedMb: megabits(rose('receivedBytes')),
      sentDroppedPercent: percent(rose('sentDropped'), rose('sentPackets')),
      receivedDroppedPercent: percent(rose('receivedDropped'), rose('receivedPackets')),
    };
  });
}
