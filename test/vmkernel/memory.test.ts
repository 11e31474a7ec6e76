import { beforeEach, describe, expect, test } from 'vitest';
import { Prng } from '../../src/hypervisor/base/prng.js';
import { MachineMemory, RESERVED_BYTES } from '../../src/hypervisor/machine/memory.js';
import { hostMemorySample, memoryState } from '../../src/hypervisor/vmkernel/host-memory.js';
import { LoadAverage } from '../../src/hypervisor/vmkernel/load-average.js';
import { MpnAllocator } from '../../src/hypervisor/vmkernel/mpn-allocator.js';

const PAGES = 256;

describe('machine pages', () => {
  let memory: MachineMemory;
  let allocator: MpnAllocator;
  beforeEach(() => {
    memory = new MachineMemory(RESERVED_BYTES + PAGES * 4096);
    allocator = new MpnAllocator(memory);
  });

  test('are handed out once, never from the reserved range, until there are none', () => {
    const seen = new Set<number>();
    for (let mpn = allocator.allocate(); mpn !== undefined; mpn = allocator.allocate()) {
      expect(mpn).toBeGreaterThanOrEqual(RESERVED_BYTES / 4096);
      expect(seen.has(mpn)).toBe(false);
      seen.add(mpn);
    }
    expect(seen.size).toBe(PAGES);
    expect(allocator.freePages).toBe(0);
  });

  test('come back zeroed', () => {
    const mpn = allocator.allocate()!;
    memory.fill(mpn * 4096, 4096, 0xaa);
    allocator.free(mpn);
    const again = allocator.allocate()!;
    expect(again).toBe(mpn);
    expect(memory.pageBytes(again).every(byte => byte === 0)).toBe(true);
  });

  test('a page cannot be freed twice', () => {
    const mpn = allocator.allocate()!;
    allocator.free(mpn);
    expect(() => allocator.free(mpn)).toThrow(/is free/);
  });

  test('contiguous ranges and single pages share the space', () => {
    const range = allocator.allocateContiguous(200)!;
    expect(allocator.allocateContiguous(57)).toBeUndefined();
    const singles = Array.from({ length: 56 }, () => allocator.allocate()!);
    expect(allocator.allocate()).toBeUndefined();
    allocator.freeContiguous(range, 200);
    const rest = Array.from({ length: 200 }, () => allocator.allocate()!);
    expect(new Set([...singles, ...rest]).size).toBe(PAGES);
    for (const mpn of [...singles, ...rest]) allocator.free(mpn);
    expect(allocator.allocateContiguous(PAGES)).toBeDefined();
  });

  test('any order of taking and giving back keeps the books', () => {
    const prng = new Prng(5);
    const singles: number[] = [];
    const ranges: { first: number; pages: number }[] = [];
    const owned = () => singles.length + ranges.reduce((sum, range) => sum + range.pages, 0);
    for (let i = 0; i < 3000; i++) {
      switch (prng.below(4)) {
        case 0:
        case 1: {
          const mpn = allocator.allocate();
          if (mpn !== undefined) singles.push(mpn);
          else expect(owned()).toBe(PAGES);
          break;
        }
        case 2: {
          const pages = 1 + prng.below(40);
          const first = allocator.allocateContiguous(pages);
          if (first !== undefined) ranges.push({ first, pages });
          break;
        }
        default: {
          const single = singles.splice(prng.below(singles.length + 1), 1 + prng.below(8));
          for (const mpn of single) allocator.free(mpn as never);
          const range = prng.below(2) === 0 ? ranges.pop() : undefined;
          if (range !== undefined) allocator.freeContiguous(range.first as never, range.pages);
        }
      }
      expect(allocator.freePages).toBe(PAGES - owned());
    }
    const all = [
      ...singles,
      ...ranges.flatMap(({ first, pages }) => Array.from({ length: pages }, (_, n) => first + n)),
    ];
    expect(new Set(all).size).toBe(all.length);
  });
});

describe('host memory', () => {
  test('the state words follow the thresholds', () => {
    expect([0.5, 0.04, 0.0399, 0.02, 0.0199, 0.01, 0.0099].map(memoryState)).toEqual([
      'high',
      'high',
      'soft',
      'soft',
      'hard',
      'hard',
      'low',
    ]);
  });

  test('the sizes add up, and a tight backing shows in the state', () => {
    const sample = hostMemorySample(1_000_000, 300_000, 90_000, { freePages: 3, pageCount: 100 });
    expect(sample.kernelKb + sample.otherKb + sample.freeKb).toBe(sample.totalKb);
    expect(sample.state).toBe('soft');
  });
});

test('load averages approach the load, the short one first', () => {
  const load = new LoadAverage();
  for (let second = 0; second < 60; second++) load.addSecond(1);
  const [one, five, fifteen] = load.averages;
  // After one time constant: 1 - 1/e.
  expect(one).toBeCloseTo(0.632, 3);
  expect(five).toBeCloseTo(1 - Math.exp(-60 / 300), 6);
  expect(fifteen).toBeCloseTo(1 - Math.exp(-60 / 900), 6);
});
