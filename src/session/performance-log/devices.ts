/** Virtual disks and network cards of the VMs of a performance log. */
import type { VmDiskSample, VmNicSample } from '../../hypervisor/index.js';
import { either, type Figure, from, HZ, UNKNOWN, valuesOf } from './figures.js';
import type { LoggedVm } from './vms.js';

const MEBIBYTE = 1_048_576;
const CYCLES_PER_MS = HZ / 1000;

/** The disks of a VM; one for all of them where the log does not tell them apart. */
export function loggedDisks(vm: LoggedVm): ((row: number) => VmDiskSample)[] {
  // `Virtual Disk(VM:scsi0:0)`, `Vm Disk(GID:VM:scsi0:0)`.
  const rates = vm.parts('Virtual Disk').map(({ parts, object }) => ({ name: parts.slice(1).join(':'), object }));
  const queues = vm.parts('Vm Disk').map(({ parts, object }) => ({ name: parts.slice(2).join(':'), object }));
  const names = [...new Set([...rates, ...queues].map(({ name }) => name))];
  const each = names.length > 1 ? names.filter(name => name !== '') : names;
  return each.map(name => {
    const rate = vm.of(rates.find(candidate => candidate.name === name)?.object);
    const queue = vm.of(queues.find(candidate => candidate.name === name)?.object);
    const [commands, reads, writes] = ['Commands/sec', 'Reads/sec', 'Writes/sec'].map(counter =>
      rate.perSample(rate.at(counter)),
    ) as [Figure, Figure, Figure];
    /** An average for each of so many. */
    const cycles = (average: Figure, count: Figure): Figure =>
      rate.total(from([average, count], (ms, times) => ms * times * CYCLES_PER_MS));
    const averageOf = (kind: 'Read' | 'Write'): Figure =>
      either(rate.at(`Average MilliSec/${kind}`), queue.at(`Average Guest MilliSec/${kind}`));
    const values = valuesOf({
      reads: rate.total(reads),
      writes: rate.total(writes),
      flushes: rate.total(from([commands, reads, writes], (sum, read, written) => Math.max(0, sum - read - written))),
      readBytes: rate.sumOfRate('MBytes Read/sec', MEBIBYTE),
      writeBytes: rate.sumOfRate('MBytes Written/sec', MEBIBYTE),
      errors: queue.sumOfRate('Errors/sec'),
      outstanding: queue.at('Active Commands'),
      queueCycles: cycles(queue.at('Average Queue MilliSec/Command'), commands),
      deviceCycles: cycles(queue.at('Average Device MilliSec/Command'), commands),
      readCycles: cycles(averageOf('Read'), reads),
      writeCycles: cycles(averageOf('Write'), writes),
    } satisfies Record<Exclude<keyof VmDiskSample, 'name' | 'image' | 'sizeKb'>, Figure>);
    return row => ({
      name: name === '' ? '-' : name,
      image: '-',
      sizeKb: Number.NaN,
      ...values(row),
    });
  });
}

/** Ports of the virtual switch: `Network Port(vSwitch0:PORT:WORLD:VM)`. */
export function loggedNics(vm: LoggedVm): ((row: number) => VmNicSample)[] {
  return vm.parts('Network Port').map(({ parts, object }) => {
    const figures = vm.of(object);
    const passed = (counter: string): Figure => figures.perSample(figures.at(`Packets ${counter}/sec`));
    /** `percent` of what passed and what was dropped together. */
    const dropped = (counter: string, of: Figure): Figure =>
      of === UNKNOWN
        ? UNKNOWN
        : figures.total(
            from([figures.at(counter), of], (percent, packets) =>
              percent >= 100 ? Number(percent > 0) : (packets * percent) / (100 - percent),
            ),
          );
    const [sent, received] = [passed('Transmitted'), passed('Received')];
    const values = valuesOf({
      sentPackets: figures.total(sent),
      sentBytes: figures.sumOfRate('MBits Transmitted/sec', 1e6 / 8),
      sentDropped: dropped('% Outbound Packets Dropped', sent),
      receivedPackets: figures.total(received),
      receivedBytes: figures.sumOfRate('MBits Received/sec', 1e6 / 8),
      receivedDropped: dropped('% Received Packets Dropped', received),
    } satisfies Record<Exclude<keyof VmNicSample, 'name' | 'mac' | 'port'>, Figure>);
    return row => ({
      name: '-',
      mac: '-',
      port: Number(parts[1]),
      ...values(row),
    });
  });
}
