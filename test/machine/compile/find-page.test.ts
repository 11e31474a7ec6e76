/**
 * The page walk in WebAssembly against the one in TypeScript: the same accesses on two machines with the same random page tables leave
 * the same TLB, the same tables and the same clock, whoever does them.
 */
import { describe, expect, test } from 'vitest';
import { Access } from '../../../src/hypervisor/machine/cpu/compile/emit-memory.js';
import { CYCLES, LIMIT, MISS_COST, MISS_CYCLES, MISSES } from '../../../src/hypervisor/machine/cpu/layout.js';
import { S, Seg } from '../../../src/hypervisor/machine/cpu/state.js';
import { dataLine, LINE_PAGE } from '../../../src/hypervisor/machine/mmu/tlb.js';
import { CODE, Machine, PAGE_DIRECTORY } from '../fixture.js';
import { FRAMES, machineFor, randomFrom, state, TABLE_COUNT, TABLES } from './random-tables.js';

type Find = (cpu: number, ea: number, packed: number) => number;

/** Accesses of a program; more pages than the TLB has lines. */
const ACCESSES = 4000;

describe.each([0, 1, 2, 3, 4, 5, 6, 7])('random tables, number %i', seed => {
  test('each access leaves what a walk in TypeScript leaves', () => {
    const generated = machineFor(seed);
    const reference = machineFor(seed);
    const find = generated.cache.compiler.runtime.find as Find;
    const random = randomFrom(seed + 100);
    let found = 0;
    for (let i = 0; i < ACCESSES; i++) {
      const linear = random(TABLE_COUNT) * 0x400000 + random(random(2) === 0 ? 24 : 512) * 4096 + random(4093);
      const write = random(3) === 0;
      const user = random(2) === 0;
      for (const { cpu } of [generated, reference]) cpu.s[S.CPL] = user ? 3 : 0;
      if (random(400) === 0) for (const { cpu } of [generated, reference]) cpu.tlb.flushNonGlobal();
      if (random(40) === 0) for (const { cpu } of [generated, reference]) cpu.tlb.flushPage(linear);
      const expected = reference.cpu.translate(linear, write, user);
      const packed = Seg.DS | (4 << 4) | (write ? Access.WRITE : 0);
      const answer = find(generated.cpu.s.byteOffset, linear, packed);
      if (answer === 0) {
        expect(generated.cpu.translate(linear, write, user)).toBe(expected);
      } else {
        expect(answer).toBe(expected);
        const home = dataLine(linear);
        const page = linear & -4096;
        // The four tags: what is not the page is no tag.
        const words = (machine: Machine) =>
          [...machine.cpu.tlb.data.subarray(home, home + LINE_PAGE + 2)].map((word, i) =>
            i < 4 ? word === page : word,
          );
        // The reference sets write tags with the first store only; what compiled code may do at once must be the same then.
        if (write) expect(words(generated)).toEqual(words(reference));
        found += 1;
      }
      for (const { cpu } of [generated, reference]) cpu.faultVector = -1;
    }
    expect(state(generated)).toEqual(state(reference));
    // Else the comparison says little.
    expect(found).toBeGreaterThan(ACCESSES / 4);
  });
});

test('a store to a line with code is left alone, one beside it is done, and so is a load', () => {
  const machine = new Machine();
  const { cpu, memory, base } = machine;
  const find = machine.cache.compiler.runtime.find as Find;
  memory.codeLines[(base + CODE) >>> 12] = 1 << 2;
  cpu.translate(CODE, false, false);
  const store = (offset: number) => find(cpu.s.byteOffset, CODE + offset, Seg.DS | (4 << 4) | Access.WRITE);
  expect(store(256)).toBe(0);
  expect(store(383)).toBe(0);
  expect(store(253)).toBe(0);
  expect(store(252)).toBe(base + CODE + 252);
  expect(store(384)).toBe(base + CODE + 384);
  expect(find(cpu.s.byteOffset, CODE + 256, Seg.DS | (4 << 4))).toBe(base + CODE + 256);
});

test('a miss is charged once, to the clock as it is and to the limit in whole cycles', () => {
  const machine = machineFor(0);
  const { cpu, memory, base } = machine;
  const find = machine.cache.compiler.runtime.find as Find;
  memory.write32(base + TABLES + 5 * 4, FRAMES | 0x21);
  memory.write32(base + PAGE_DIRECTORY, TABLES | 0x21);
  cpu.clock[MISS_COST] = 20.5;
  cpu.s[MISS_CYCLES] = 21;
  cpu.s[LIMIT] = 1000;
  const before = cpu.clock[CYCLES]!;
  for (let i = 0; i < 3; i++)
    expect(find(cpu.s.byteOffset, 0x5010 + i, Seg.DS | (4 << 4))).toBe(base + FRAMES + 0x10 + i);
  expect(cpu.clock[CYCLES]! - before).toBe(20.5);
  expect(cpu.clock[MISSES]).toBe(1);
  expect(cpu.s[LIMIT]).toBe(979);
});
