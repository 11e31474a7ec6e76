/** Machines with random page tables, two of which with one seed are alike. */
import { CYCLES, MISS_COST, MISSES } from '../../../src/hypervisor/machine/cpu/layout.js';
import { Cr0, Cr4, S } from '../../../src/hypervisor/machine/cpu/state.js';
import { Machine, PAGE_DIRECTORY } from '../fixture.js';

export const TABLES = 0x40000;
export const TABLE_COUNT = 4;
export const FRAMES = 0x100000;
const FRAME_COUNT = 64;

/** Numbers from a seed (a linear congruence modulo 2^32). */
export function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return below => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** A machine whose tables have all kinds of entries; some pages are not there, are large, or lie beyond RAM. */
export function machineFor(seed: number): Machine {
  const random = randomFrom(seed);
  const machine = new Machine();
  const { memory, base } = machine;
  const entry = (frame: number) => {
    const rights = random(8) === 0 ? 0 : 1;
    const used = random(4) * 0x20;
    return (frame | rights | (random(4) * 2) | used | (random(4) === 0 ? 0x100 : 0)) >>> 0;
  };
  for (let table = 0; table < TABLE_COUNT; table++) {
    const large = table === TABLE_COUNT - 1;
    memory.write32(base + PAGE_DIRECTORY + table * 4, large ? entry(0) | 0x80 : entry(TABLES + table * 4096) | 1);
    for (let page = 0; page < 1024; page++) {
      const frame = random(32) === 0 ? 0xf0000000 : FRAMES + random(FRAME_COUNT) * 4096;
      memory.write32(base + TABLES + table * 4096 + page * 4, entry(random(64) === 0 ? 0xb8000 : frame));
    }
  }
  const { s } = machine.cpu;
  s[S.CR0]! |= Cr0.PG | (seed & 1 ? Cr0.WP : 0);
  s[S.CR3] = PAGE_DIRECTORY;
  s[S.CR4]! |= Cr4.PSE | (seed & 2 ? Cr4.PGE : 0);
  machine.cpu.clock[MISS_COST] = machine.cpu.costs.cycles.tlbMiss;
  // Two lines of code in a frame, so that stores beside them and to them differ.
  memory.codeLines[(base + FRAMES) >>> 12] = 0x11;
  return machine;
}

/** What the accesses must leave equal. */
export function state({ cpu, memory, base }: Machine): unknown {
  return {
    lines: cpu.tlb.entries(),
    cycles: cpu.clock[CYCLES],
    misses: cpu.counters.tlbMisses + cpu.clock[MISSES]!,
    directory: [...memory.bytes(base + PAGE_DIRECTORY, 64)],
    tables: Buffer.from(memory.bytes(base + TABLES, TABLE_COUNT * 4096)).toString('base64'),
  };
}
