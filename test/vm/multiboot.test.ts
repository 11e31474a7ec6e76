import { describe, expect, test } from 'vitest';
import { UsageError } from '../../src/hypervisor/index.js';
import { memoryMap } from '../../src/hypervisor/vm/memory-map.js';
import { BOOTLOADER_MAGIC, loadMultiboot, parseMultiboot } from '../../src/hypervisor/vm/multiboot.js';
import { elfImage, flatImage } from './images.js';

const MIB = 1048576;
const code = Uint8Array.of(0xf4, 0xeb, 0xfd);
const parse = (image: Uint8Array) => parseMultiboot('kernel', image);

describe('images', () => {
  test('an ELF kernel linked high starts at the physical address of its entry', () => {
    const image = parse(elfImage(code, { linear: 0xc0100000, physical: 0x100000, memoryBytes: 0x3000 }));
    expect(image.entry).toBe(0x100000 + 12);
    expect(image.segments).toHaveLength(1);
    expect(image.segments[0]).toMatchObject({ physical: 0x100000, memoryBytes: 0x3000 });
  });

  test('a flat image starts where its header says', () => {
    const image = parse(flatImage(code, 0x200000));
    expect(image.entry).toBe(0x200020);
    expect(image.segments[0]!.bytes.at(-1)).toBe(0xfd);
  });

  const good = elfImage(code, { linear: 0x100000, physical: 0x100000, memoryBytes: 0x1000 });
  const edit = (change: (view: DataView) => void, image = good) => {
    const copy = image.slice();
    change(new DataView(copy.buffer));
    return copy;
  };
  const headerAt = 0x60;
  const cases: readonly (readonly [string, Uint8Array, RegExp])[] = [
    ['empty', new Uint8Array(0), /is empty/],
    ['text', new TextEncoder().encode('#!/bin/sh\n'.repeat(100)), /not a multiboot image/],
    ['a wrong checksum', edit(v => v.setUint32(headerAt + 8, 1, true)), /not a multiboot image/],
    ['only its first bytes', good.subarray(0, headerAt + 8), /not a multiboot image/],
    ['without its segment', good.subarray(0, good.length - 2), /truncated \(segment contents\)/],
    ['64-bit', edit(v => v.setUint8(4, 2)), /not a 32-bit ELF/],
    ['big-endian', edit(v => v.setUint8(5, 2)), /little-endian/],
    ['an object file', edit(v => v.setUint16(16, 1, true)), /not an executable/],
    ['for ARM', edit(v => v.setUint16(18, 40, true)), /another processor \(ELF machine 40\)/],
    ['without program headers', edit(v => v.setUint16(44, 0, true)), /no program headers/],
    ['program headers outside', edit(v => v.setUint32(28, 0x7ffffff0, true)), /truncated \(program headers\)/],
    ['an entry outside', edit(v => v.setUint32(24, 0x900000, true)), /entry point 0x900000 is outside/],
    [
      'unknown requirements',
      edit(v => {
        v.setUint32(headerAt + 4, 0x4, true);
        v.setUint32(headerAt + 8, -(0x1badb002 + 0x4), true);
      }),
      /unsupported features \(flags 0x4\)/,
    ],
    ['a flat image cut off', flatImage(code, 0x200000, { loadEnd: 0x201000 }), /truncated/],
    ['a flat image whose bss ends early', flatImage(code, 0x200000, { bssEnd: 0x200001 }), /bss ends before/],
  ];
  test.each(cases)('%s: one line that says so', (_, image, reason) => {
    expect(() => parse(image)).toThrow(UsageError);
    expect(() => parse(image)).toThrow(reason);
    expect(() => parse(image)).toThrow(/^image kernel: [^\n]*$/);
  });
});

describe('loading', () => {
  const load = (physical: number, memoryBytes: number, commandLine = 'kernel x=1') => {
    const image = parse(elfImage(code, { linear: physical, physical, memoryBytes: 0x2000 }));
    const memory = new Uint8Array(memoryBytes);
    const start = loadMultiboot(image, commandLine, { memoryBytes, write: (to, bytes) => memory.set(bytes, to) });
    expect(start.eax).toBe(BOOTLOADER_MAGIC);
    return { memory, view: new DataView(memory.buffer), at: start.ebx! };
  };
  const text = (memory: Uint8Array, at: number) => {
    let s = '';
    for (let i = at; memory[i] !== 0; i++) s += String.fromCharCode(memory[i]!);
    return s;
  };

  test('the information names command line, loader and memory as the specification lays them out', () => {
    const { memory, view, at } = load(0x100000, 64 * MIB);
    expect(view.getUint32(at, true)).toBe(0x245);
    expect(view.getUint32(at + 4, true)).toBe(639);
    expect(view.getUint32(at + 8, true)).toBe(64384);
    expect(text(memory, view.getUint32(at + 16, true))).toBe('kernel x=1');
    expect(text(memory, view.getUint32(at + 64, true))).toBe('vmitop');
    const entries: string[] = [];
    const mapAt = view.getUint32(at + 48, true);
    for (let e = mapAt; e < mapAt + view.getUint32(at + 44, true); e += view.getUint32(e, true) + 4) {
      entries.push([4, 12, 20].map(offset => view.getUint32(e + offset, true).toString(16)).join(' '));
    }
    // What QEMU 7.2 with SeaBIOS reports for 64 MB.
    expect(entries).toEqual([
      '0 9fc00 1',
      '9fc00 400 2',
      'f0000 10000 2',
      '100000 3ee0000 1',
      '3fe0000 20000 2',
      'fffc0000 40000 2',
    ]);
  });

  test('the usable entries of the map do not reach beyond memory', () => {
    for (const mib of [4, 16, 512]) {
      for (const { base, length, type } of memoryMap(mib * MIB)) {
        if (type === 1) expect(base + length).toBeLessThanOrEqual(mib * MIB);
      }
    }
  });

  test('the information keeps clear of an image in low memory', () => {
    const { memory, view, at } = load(0x8000, 16 * MIB);
    expect(at >= 0xa000 || at + 0x1000 <= 0x8000).toBe(true);
    expect(memory[0x8000 + 12]).toBe(0xf4);
    expect(text(memory, view.getUint32(at + 64, true))).toBe('vmitop');
  });

  test('an image that does not fit is refused', () => {
    expect(() => load(0x3ff000, 4 * MIB)).toThrow(/needs memory at 0x3ff000-0x401000, which a VM of 4 MiB lacks/);
    expect(() => load(0xb8000, 4 * MIB)).toThrow(/needs memory at 0xb8000/);
  });

  test('a command line that does not fit is refused', () => {
    expect(() => load(0x100000, 4 * MIB, 'x'.repeat(5000))).toThrow(/command line is too long \(5000 characters\)/);
  });
});
