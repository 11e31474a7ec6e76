/** What a bus master reaches: a VM's RAM and ROM through its physical map, and nothing else. */
import { describe, expect, test } from 'vitest';
import { type Ppn, ppnOf } from '../../src/hypervisor/base/pages.js';
import type { BusMemory } from '../../src/hypervisor/devices/device.js';
import { MachineMemory, RESERVED_BYTES } from '../../src/hypervisor/machine/memory.js';
import { MappedMemory } from '../../src/hypervisor/vm/bus-memory.js';
import { VmHost } from '../../src/hypervisor/vm/host.js';
import { image, PROLOGUE } from './programs.js';

const MEMORY_MIB = 16;
const RAM_END = MEMORY_MIB << 20;

describe.each(['native', 'bt', 'hv'] as const)('of a VM under %s', monitor => {
  function memoryOf(vmi = false): { readonly memory: BusMemory; readonly host: VmHost } {
    let memory: BusMemory | undefined;
    const images = { image: image(`${PROLOGUE}\nmain: jmp off`) };
    const vm = { name: 'vm', memoryMib: MEMORY_MIB, monitor, vmi, image: 'image', append: '', powerOn: true } as const;
    const config = {
      name: 'h',
      pcpus: 1,
      memoryMib: 256,
      costs: 'xeon-5160',
      images,
      vms: [vm],
      sampleIntervalMs: 1000,
    };
    const host = new VmHost(config, [
      board => {
        memory = board.memory;
      },
    ]);
    return { memory: memory!, host };
  }

  test('bytes across pages, at any alignment, are in memory', () => {
    const { memory, host } = memoryOf();
    const bytes = Uint8Array.from({ length: 9001 }, (_, i) => i * 7);
    const before = host.guestDigest('vm');
    memory.write(0x200ffb, bytes);
    expect(memory.read(0x200ffb, 9001)).toEqual(bytes);
    expect([...memory.read(0x200ffa, 2)]).toEqual([0, 0]);
    expect(host.guestDigest('vm')).not.toBe(before);
  });

  test('what is read is a copy', () => {
    const { memory } = memoryOf();
    memory.read(0x200000, 4).fill(1);
    expect([...memory.read(0x200000, 4)]).toEqual([0, 0, 0, 0]);
  });

  test('beyond RAM and where adapters are there is nothing', () => {
    const { memory } = memoryOf();
    const bytes = new Uint8Array(16).fill(0x55);
    for (const [at, there] of [
      [RAM_END - 8, 8],
      [RAM_END, 0],
      [0x9fff8, 8],
      [0xb8000, 0],
      [0xffff8, 0],
      [0xfffffff8, 0],
      [0x7ffffff8, 0],
    ] as const) {
      memory.write(at, bytes);
      const expected = [...new Uint8Array(there).fill(0x55), ...new Uint8Array(16 - there).fill(0xff)];
      // Behind the adapters, and behind 4 GiB, RAM begins again.
      const after =
        at === 0xffff8 || at === 0xfffffff8
          ? [...new Uint8Array(8).fill(0xff), ...new Uint8Array(8).fill(0x55)]
          : expected;
      expect([...memory.read(at, 16)]).toEqual(after);
    }
  });

  test('a ROM is read and not written', () => {
    if (monitor === 'native') return;
    const { memory } = memoryOf(true);
    const rom = memory.read(0xc0000, 0x20000);
    const at = rom.findIndex((byte, i) => byte === 0x55 && rom[i + 1] === 0xaa);
    expect(at).toBeGreaterThanOrEqual(0);
    memory.write(0xc0000 + at, Uint8Array.of(1, 2, 3));
    expect(memory.read(0xc0000, 0x20000)).toEqual(rom);
  });
});

test('whoever watches a page hears of each part that lies in it, after the bytes are there', () => {
  const memory = new MachineMemory(RESERVED_BYTES + (1 << 20));
  const heard: number[][] = [];
  const frame = (ppn: Ppn) => RESERVED_BYTES + ((ppn & 15) << 12);
  const mapped = new MappedMemory(memory, {
    frame,
    written: (ppn, offset, length) => heard.push([ppn, offset, length, memory.read8(frame(ppn) + offset)]),
  });
  mapped.write(0x3ffe, Uint8Array.of(9, 8, 7, 6));
  expect(heard).toEqual([
    [ppnOf(0x3000), 0xffe, 2, 9],
    [ppnOf(0x4000), 0, 2, 7],
  ]);
});
