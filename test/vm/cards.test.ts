/** Disks and network cards of VMs on a host: between VMs, over power-ons, in samples. The guests go round or sleep; the test is their driver. */
import { describe, expect, test } from 'vitest';
import { type HostConfig, type Sample, UsageError, type VmConfig } from '../../src/hypervisor/index.js';
import type { Board } from '../../src/hypervisor/vm/board.js';
import { VmHost } from '../../src/hypervisor/vm/host.js';
import { image, PROLOGUE } from './programs.js';

/** Halts for ever, with interrupts on and every line masked. */
const IDLE = image(`${PROLOGUE}
main:
    mov al, 0xff
    out 0x21, al
    out 0xa1, al
    sti
wait:
    hlt
    jmp wait`);
const BUSY = image(`${PROLOGUE}
main:
    jmp main`);
const DISK = Uint8Array.from({ length: 64 * 512 }, (_, i) => i >>> 5);
/** Places in guest memory. */
const [QUEUE_0, QUEUE_1, BUFFER] = [0x300000, 0x310000, 0x320000];
const [SLOT_0, SLOT_1] = [0xc000, 0xc040];
const Port = { ACCEPT: 4, PAGE: 8, SELECT: 14, NOTIFY: 16, STATUS: 18 };

function hostWith(vms: readonly Partial<VmConfig>[]): { host: VmHost; boards: Board[] } {
  const boards: Board[] = [];
  const config: HostConfig = {
    name: 'h',
    pcpus: 2,
    memoryMib: 256,
    costs: 'xeon-5160',
    images: { image: BUSY, idle: IDLE, disk: DISK },
    vms: vms.map((some, index) => ({
      name: `vm${index}`,
      memoryMib: 16,
      monitor: 'bt',
      vmi: false,
      image: 'image',
      append: '',
      powerOn: true,
      ...some,
    })),
    sampleIntervalMs: 1000,
  };
  const host = new VmHost(config, [board => void boards.push(board)]);
  // Long enough for the guests to halt.
  for (let i = 0; i < 20; i++) quantum(host);
  return { host, boards };
}

const quantum = (host: VmHost): void => host.advance(host.nowCycles + host.quantumCycles);
const words = (...values: number[]): Uint8Array => new Uint8Array(Uint32Array.from(values).buffer);

/** Gives a card its queues and offers one buffer of a descriptor each in the first of them. */
function drive(
  board: Board,
  base: number,
  queue: number,
  at: number,
  size: number,
  buffers: readonly [number, number, number][],
) {
  board.ports.write(base + Port.SELECT, 2, queue);
  board.ports.write(base + Port.PAGE, 4, at / 4096);
  buffers.forEach(([address, length, write], index) => {
    const next = index + 1 < buffers.length ? 1 : 0;
    board.memory.write(at + 16 * index, words(address, 0, length, (write ? 2 : 0) | next | ((index + 1) << 16)));
  });
  // Flags 0, index 1, head 0.
  board.memory.write(at + 16 * size, words(0x10000, 0));
  board.ports.write(base + Port.STATUS, 1, 7);
}

const usedIndex = (board: Board, at: number, size: number): number => {
  const used = Math.ceil((at + 16 * size + 6 + 2 * size) / 4096) * 4096;
  return board.memory.read(used + 2, 2)[0]!;
};

const vmOf = (host: VmHost, name: string): Sample['vms'][number] => host.sample().vms.find(vm => vm.name === name)!;

describe.each(['native', 'bt', 'hv'] as const)('under %s', monitor => {
  test('a frame goes from one VM to the others, and wakes them at its time', () => {
    const { host, boards } = hostWith([
      { monitor, nics: 1 },
      { monitor, nics: 1, image: 'idle' },
      { monitor, nics: 1, powerOn: false },
    ]);
    const [a, b] = boards as [Board, Board];
    drive(b, SLOT_0, 0, QUEUE_0, 256, [[BUFFER, 2048, 1]]);
    const frame = Uint8Array.from({ length: 100 }, (_, i) => (i < 6 ? 0xff : i));
    a.memory.write(BUFFER, Uint8Array.of(...new Uint8Array(10), ...frame));
    drive(a, SLOT_0, 1, QUEUE_1, 256, [[BUFFER, 110, 0]]);
    const wakeups = vmOf(host, 'vm1').worlds[0]!.wakeups;
    const sentAt = a.clock.nowCycles;
    a.ports.write(SLOT_0 + Port.NOTIFY, 2, 1);
    expect(usedIndex(a, QUEUE_1, 256)).toBe(1);
    // 3000 cycles for the frame and 50 for each of its two lines.
    expect(b.clock.nextAt).toBe(sentAt + 3100);
    quantum(host);
    expect(usedIndex(b, QUEUE_0, 256)).toBe(1);
    expect([...b.memory.read(BUFFER, 110)]).toEqual([...new Uint8Array(10), ...frame]);
    expect(vmOf(host, 'vm1').worlds[0]!.wakeups).toBe(wakeups + 1);
    const [card0, card1, card2] = ['vm0', 'vm1', 'vm2'].map(name => vmOf(host, name).nics[0]!);
    expect(card0).toMatchObject({
      name: 'ethernet0',
      mac: '00:0c:29:00:10:00',
      port: 1,
      sentPackets: 1,
      sentBytes: 100,
    });
    expect(card1).toMatchObject({ mac: '00:0c:29:00:11:00', port: 2, receivedPackets: 1, receivedBytes: 100 });
    // It is off: nobody counts.
    expect(card2).toMatchObject({ port: 3, receivedPackets: 0, receivedDropped: 0 });
  });

  test('what is written to a disk outlives power-ons, and nobody else sees it', () => {
    const { host, boards } = hostWith([
      { monitor, disks: ['disk', 'disk'] },
      { monitor, disks: ['disk'] },
    ]);
    const readSector = (board: Board, base: number): number[] => {
      board.memory.write(BUFFER, words(0, 0, 3, 0));
      drive(board, base, 0, QUEUE_0, 128, [
        [BUFFER, 16, 0],
        [BUFFER + 0x1000, 512, 1],
        [BUFFER + 0x2000, 1, 1],
      ]);
      board.ports.write(base + Port.NOTIFY, 2, 0);
      for (let i = 0; i < 40 && usedIndex(board, QUEUE_0, 128) === 0; i++) quantum(host);
      return [...board.memory.read(BUFFER + 0x1000, 512)];
    };
    const original = [...DISK.subarray(3 * 512, 4 * 512)];
    const written = original.map(byte => byte ^ 0x55);
    const [first] = boards as [Board];
    first.memory.write(BUFFER, words(1, 0, 3, 0));
    first.memory.write(BUFFER + 0x1000, Uint8Array.from(written));
    drive(first, SLOT_0, 0, QUEUE_0, 128, [
      [BUFFER, 16, 0],
      [BUFFER + 0x1000, 512, 0],
      [BUFFER + 0x2000, 1, 1],
    ]);
    first.ports.write(SLOT_0 + Port.NOTIFY, 2, 0);
    expect(vmOf(host, 'vm0').disks[0]).toMatchObject({
      name: 'scsi0:0',
      image: 'disk',
      sizeKb: 32,
      outstanding: 1,
      writes: 0,
    });
    for (let i = 0; i < 40; i++) quantum(host);
    expect(vmOf(host, 'vm0').disks[0]).toMatchObject({ outstanding: 0, writes: 1, writeBytes: 512 });
    expect(host.execute({ kind: 'reset', vm: 'vm0' })).toEqual({ ok: true });
    const again = boards.at(-1)!;
    expect(readSector(again, SLOT_0)).toEqual(written);
    expect(vmOf(host, 'vm0').disks.map(({ name, reads, writes }) => [name, reads, writes])).toEqual([
      ['scsi0:0', 1, 0],
      ['scsi0:1', 0, 0],
    ]);
    // Another disk with the same image, and another VM's.
    host.execute({ kind: 'reset', vm: 'vm0' });
    expect(readSector(boards.at(-1)!, SLOT_1)).toEqual(original);
    expect(readSector(boards[1]!, SLOT_0)).toEqual(original);
    // What the drive was doing when the VM was switched off is lost.
    const last = boards.at(-1)!;
    drive(last, SLOT_0, 0, QUEUE_0, 128, [
      [BUFFER, 16, 0],
      [BUFFER + 0x1000, 512, 1],
      [BUFFER + 0x2000, 1, 1],
    ]);
    last.ports.write(SLOT_0 + Port.NOTIFY, 2, 0);
    expect(vmOf(host, 'vm0').disks[0]!.outstanding).toBe(1);
    host.execute({ kind: 'powerOff', vm: 'vm0' });
    expect(vmOf(host, 'vm0').disks[0]!.outstanding).toBe(0);
  });
});

test('a card that nobody drives is silent: nothing is sent, and what comes is dropped', () => {
  const { host, boards } = hostWith([{ nics: 1 }, { nics: 2 }]);
  const a = boards[0]!;
  a.memory.write(BUFFER, new Uint8Array(110).fill(0xff));
  drive(a, SLOT_0, 1, QUEUE_1, 256, [[BUFFER, 110, 0]]);
  a.ports.write(SLOT_0 + Port.NOTIFY, 2, 1);
  quantum(host);
  expect(vmOf(host, 'vm1').nics.map(({ receivedDropped, mac }) => [receivedDropped, mac])).toEqual([
    [1, '00:0c:29:00:11:00'],
    [1, '00:0c:29:00:11:01'],
  ]);
});

test('nonsense from a guest is one line in its log', () => {
  const { host, boards } = hostWith([{ nics: 1 }]);
  host.drainEvents();
  const a = boards[0]!;
  drive(a, SLOT_0, 1, QUEUE_1, 256, [[0x7fffffff, 110, 0]]);
  for (let i = 0; i < 3; i++) a.ports.write(SLOT_0 + Port.NOTIFY, 2, 1);
  quantum(host);
  expect(host.drainEvents()).toMatchObject([
    { kind: 'log', vm: 'vm0', line: 'ethernet0: a buffer is outside memory: stopped until the guest resets it' },
  ]);
});

test('a port is free again when its VM is gone, or could not be powered on', () => {
  const { host } = hostWith([{ nics: 1 }, { nics: 1 }]);
  host.execute({ kind: 'powerOff', vm: 'vm0' });
  host.execute({ kind: 'removeVm', vm: 'vm0' });
  const { nics: _, ...base } = host.config.vms[0]!;
  expect(
    host.execute({ kind: 'addVm', config: { ...base, name: 'large', memoryMib: 256, monitor: 'native', nics: 2 } }),
  ).toMatchObject({ ok: false });
  host.execute({ kind: 'addVm', config: { ...base, name: 'new', nics: 2, powerOn: false } });
  expect(vmOf(host, 'new').nics.map(({ port }) => port)).toEqual([1, 3]);
});

test.each([
  [{ disks: ['none'] }, 'VM "vm0" names the image "none", which the host does not have'],
  [{ disks: ['image'] }, `disk image: must be whole sectors of 512 bytes, not ${BUSY.length} bytes`],
  [{ disks: ['disk', 'disk', 'disk', 'disk', 'disk'] }, 'VM "vm0": has 5 disks, and 4 are the most'],
  [{ nics: 5 }, 'VM "vm0": nics must be a whole number from 0 to 4: 5'],
])('%j cannot be', (some, message) => {
  expect(() => hostWith([some])).toThrow(new UsageError(message));
});
