/** Instructions filled in from templates have the ops that decoding and lowering give them. */
import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/hypervisor/base/prng.js';
import { Mode } from '../../src/hypervisor/machine/cpu/cache-layout.js';
import { CodeCache } from '../../src/hypervisor/machine/cpu/code-cache.js';
import { BlockDecoder } from '../../src/hypervisor/machine/cpu/decode.js';
import { MachineMemory, RESERVED_BYTES } from '../../src/hypervisor/machine/memory.js';
import { COSTS } from './fixture.js';

const PAGES = 4;
const BASE = RESERVED_BYTES;

const memories = [1, 2].map(() => new MachineMemory(RESERVED_BYTES + PAGES * 4096));
const caches = [new CodeCache(memories[0]!), new CodeCache(memories[1]!)] as const;
const filled = new BlockDecoder(caches[0], COSTS, true);
const inFull = new BlockDecoder(caches[1], COSTS, false);

/** Puts the same bytes into both memories. */
function write(machine: number, bytes: Uint8Array): void {
  for (const memory of memories) memory.writeBytes(machine, bytes);
}

/** What a decoder makes of the bytes at `machine`: everything that engines see. */
function blockOf(cache: CodeCache, decoder: BlockDecoder, machine: number, mode: number) {
  const block = decoder.decode(machine, mode, -1);
  if (typeof block === 'string') return block;
  const { bytes, instructions, cycles, start, marks } = block;
  const ops = [...cache.code.subarray(start, marks)];
  const rows = [...cache.code.subarray(marks, marks + 3 * instructions)].map((word, i) =>
    i % 3 ? word : word - start,
  );
  cache.top = start;
  return { bytes, instructions, cycles, ops, rows };
}

function compare(machine: number, mode: number, what: string): void {
  const a = blockOf(caches[0], filled, machine, mode);
  const b = blockOf(caches[1], inFull, machine, mode);
  expect(a, what).toEqual(b);
}

const MODES = [0, Mode.STACK16, Mode.CODE16, Mode.CODE16 | Mode.STACK16];

/** One instruction of random bytes, but such that all opcodes and addressing forms come often. */
function instruction(prng: Prng): number[] {
  const bytes: number[] = [];
  while (prng.below(3) === 0) bytes.push(prng.pick([0x66, 0x67, 0x2e, 0x65, 0xf0, 0xf2, 0xf3]));
  if (prng.below(4) === 0) bytes.push(0x0f);
  bytes.push(prng.below(256), prng.below(256));
  const extreme = () => prng.pick([0, 1, 0x7f, 0x80, 0xff, prng.below(256)]);
  for (let i = 0; i < 10; i++) bytes.push(extreme());
  return bytes;
}

describe('templates', () => {
  test.each(MODES)(
    'random instructions in mode %d',
    mode => {
      const seed = 1000 + mode;
      const prng = new Prng(seed);
      for (let i = 0; i < 2500; i++) {
        const bytes = instruction(prng);
        write(BASE, Uint8Array.from([...bytes, 0xf4, 0xf4, 0xf4, 0xf4]));
        compare(BASE, mode, `seed ${seed}, instruction ${i}: ${bytes.map(byte => byte.toString(16)).join(' ')}`);
      }
    },
    60_000,
  );

  test('the same heads over and over, with other displacements, immediates and places', () => {
    const prng = new Prng(7);
    const heads = Array.from({ length: 300 }, () => instruction(prng).slice(0, 1 + prng.below(4)));
    for (let round = 0; round < 15; round++) {
      const bytes: number[] = [];
      while (bytes.length < 200) {
        bytes.push(...prng.pick(heads));
        for (let i = prng.below(9); i > 0; i--) bytes.push(prng.pick([0, 0x20, 0x80, 0xff, prng.below(256)]));
      }
      write(BASE, Uint8Array.from(bytes));
      const mode = prng.pick(MODES);
      for (let at = 0; at < 180; at++) compare(BASE + at, mode, `round ${round}, at ${at}`);
    }
  }, 100_000);

  test('an instruction that reaches into the next page is not filled in', () => {
    const code = [0xb8, 1, 2, 3, 4]; // mov eax, imm32
    for (let i = 0; i < 8; i++) {
      write(BASE + 64 * i, Uint8Array.from([...code, 0xf4]));
      compare(BASE + 64 * i, 0, `copy ${i}`);
    }
    write(BASE + 4096 - 3, Uint8Array.from(code));
    expect(filled.decode(BASE + 4096 - 3, 0, -1)).toBe('needs next page');
  });

  test('conditional branches know whether they lead backward, wherever they are', () => {
    for (let distance = -128; distance < 128; distance += 1) {
      write(BASE, Uint8Array.from([0x90, 0x74, distance & 255, 0xf4]));
      compare(BASE, 0, `je ${distance}`);
      write(
        BASE,
        Uint8Array.from([0x0f, 0x84, distance & 255, distance < 0 ? 255 : 0, distance >> 31, distance >> 31, 0xf4]),
      );
      compare(BASE, 0, `je near ${distance}`);
    }
  });
});
