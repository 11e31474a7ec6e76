/** The benchmark guest computes on our machine what it computes elsewhere, whatever the compiler does. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { loaderRom } from '../../bench/engine/bochs.js';
import type { Tiering } from '../../bench/engine/child.js';
import { runOurs } from '../../bench/engine/ours.js';
import { RowReader } from '../../bench/engine/rows.js';

const file = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(new URL(`../../bench/engine/${name}`, import.meta.url)));

/** Counts and checksums at scale 2, as QEMU 7.2, Bochs 2.7 and v86 0.5 print them, all the same. */
const EXPECTED = {
  loop: [20000, 'db4bbbf1'],
  sort: [1, '54a3826e'],
  sieve: [1, '000132a2'],
  crc: [1, '4e5de576'],
  calls: [1, '00001a6d'],
  indirect: [4000, 'a85ce9c7'],
  stream: [1, '33ddeb4c'],
  'chase-fit': [10000, '00810800'],
  'chase-miss': [2000, '009fffc0'],
  rep: [4, '797e6ee9'],
  int80: [300, 'ce2f54c7'],
  sysenter: [300, 'ce2f54c7'],
  fault: [131, 'f1fc0200'],
  divide: [200, '0000191f'],
  invlpg: [600, 'e477952c'],
  cr3: [120, '1c30e780'],
  fork: [1, 'de1d3d00'],
  smc: [100, '8fee8b17'],
  cold: [16, 'd27fec45'],
  warm: [147, '06d947a4'],
  idle: [1, '00000001'],
} as const;

function run(commandLine: string, tiering: Tiering) {
  const reader = new RowReader(() => ({ wallMs: 0, cpuMs: 0 }));
  const image = file('guest.elf');
  const { instructions, cycles } = runOurs({ imagePath: '', memoryMib: 64, commandLine, tiering }, image, reader);
  const rows = Object.fromEntries(reader.rows.map(({ name, count, check }) => [name, [count, check]]));
  return { rows, instructions, cycles, remarks: reader.remarks };
}

test('every row computes what other emulators compute', () => {
  const { rows, remarks } = run('scale=2', 'normal');
  expect(remarks).toEqual([]);
  expect(rows).toEqual(EXPECTED);
});

/** Rows whose shortest run is short. */
const SHORT =
  'loop,calls,indirect,chase-fit,chase-miss,rep,int80,sysenter,fault,divide,invlpg,cr3,fork,smc,cold,warm,idle';

test('compiling at once, when hot or never changes neither results nor counts of instructions and cycles', () => {
  const [never, normal, always] = (['never', 'normal', 'always'] as const).map(tiering =>
    run(`scale=2 warm=1 only=${SHORT}`, tiering),
  );
  expect(Object.keys(never!.rows)).toEqual(SHORT.split(','));
  expect(normal).toEqual(never);
  expect(always).toEqual(never);
});

describe('some rows by other means', () => {
  test('sieve counts the primes below a million, calls is the twentieth Fibonacci number', () => {
    const composite = new Uint8Array(1_000_000);
    let primes = 0;
    for (let i = 2; i < composite.length; i++) {
      if (composite[i] === 1) continue;
      primes += 1;
      for (let multiple = 2 * i; multiple < composite.length; multiple += i) composite[multiple] = 1;
    }
    expect(Number.parseInt(EXPECTED.sieve[1], 16)).toBe(primes);
    expect(Number.parseInt(EXPECTED.calls[1], 16)).toBe(6765);
  });

  test('crc is that of the bytes of the generator, bit by bit', () => {
    let seed = 7;
    let crc = ~0;
    for (let i = 0; i < 1048576; i++) {
      seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
      crc ^= seed >>> 24;
      for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    }
    expect((~crc >>> 0).toString(16).padStart(8, '0')).toBe(EXPECTED.crc[1]);
  });

  test('int80 and sysenter do the same work', () => {
    let result = 1;
    for (let left = 300; left > 0; left--) {
      result = (result + (left & 1 ? (result ^ (result >>> 3)) + 1 : result * 2 + 1)) >>> 0;
    }
    expect(result.toString(16)).toBe(EXPECTED.int80[1]);
    expect(EXPECTED.sysenter).toEqual(EXPECTED.int80);
  });
});

test('the loader of Bochs is an option ROM: signature, size, bytes that sum to zero, what the guest needs in its places', () => {
  const rom = loaderRom(file('bochs/loader.rom'), 0x10000c, 'scale=5 only=loop');
  expect([...rom.subarray(0, 2)]).toEqual([0x55, 0xaa]);
  expect(rom[2]! * 512).toBe(rom.length);
  expect(rom.reduce((sum, byte) => (sum + byte) & 0xff, 0)).toBe(0);
  const view = new DataView(rom.buffer);
  expect(view.getUint32(0x1f0, true)).toBe(0x10000c);
  const commandLineAt = view.getUint32(0x200 + 16, true) - 0xd0000;
  expect(Buffer.from(rom.subarray(commandLineAt, commandLineAt + 18)).toString('latin1')).toBe('scale=5 only=loop\0');
});
