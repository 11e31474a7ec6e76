/** Registers that a kernel for this family touches are there, hold what they can hold, and do nothing else. */
import { describe, expect, test } from 'vitest';
import { Msrs } from '../../src/hypervisor/vm/msrs.js';

const PAT = 0x277;
const DEFAULT_TYPE = 0x2ff;
const FIRST_BASE = 0x200;
const FIRST_MASK = 0x201;

test('fast strings are reported on, no microcode update, platform 0', () => {
  const msrs = new Msrs();
  expect(msrs.read(0x1a0)![0] & 1).toBe(1);
  expect(msrs.read(0x8b)).toEqual([0, 0]);
  expect(msrs.read(0x17)).toEqual([0, 0]);
});

test('the microcode revision may be cleared; what could not be kept is refused', () => {
  const msrs = new Msrs();
  expect(msrs.write(0x8b, 7, 7)).toBe(true);
  expect(msrs.read(0x8b)).toEqual([0, 0]);
  const [low, high] = msrs.read(0x1a0)!;
  expect(msrs.write(0x1a0, low, high)).toBe(true);
  expect(msrs.write(0x1a0, low ^ 1, high)).toBe(false);
  expect(msrs.write(0x17, 0, 0)).toBe(false);
});

test('there are no banks of machine checks, and their status can be cleared alone', () => {
  const msrs = new Msrs();
  expect(msrs.read(0x179)).toEqual([0, 0]);
  expect([msrs.write(0x17a, 0, 0), msrs.write(0x17a, 4, 0), msrs.write(0x179, 0, 0)]).toEqual([true, false, false]);
  expect(msrs.read(0x400)).toBeUndefined();
});

test('what does not exist is not there', () => {
  const msrs = new Msrs();
  expect(msrs.read(0x251)).toBeUndefined();
  expect(msrs.write(0x251, 0, 0)).toBe(false);
});

describe('memory types', () => {
  /** The type of an address as the registers say it (SDM vol. 3, 12.11.4.1, as far as ranges do not overlap). */
  function typeOf(msrs: Msrs, address: number): number {
    const [control] = msrs.read(DEFAULT_TYPE)!;
    if ((control & 0x800) === 0) return 0;
    if (address < 0x100000 && (control & 0x400) !== 0) {
      const [register, size, start] =
        address < 0x80000
          ? [0x250, 0x10000, 0]
          : address < 0xc0000
            ? [0x258 + Math.floor((address - 0x80000) / 0x20000), 0x4000, 0x80000 + (address < 0xa0000 ? 0 : 0x20000)]
            : [0x268 + Math.floor((address - 0xc0000) / 0x8000), 0x1000, address & ~0x7fff];
      const which = Math.floor((address - start) / size);
      return (msrs.read(register)![which >> 2]! >>> ((which & 3) * 8)) & 0xff;
    }
    const count = msrs.read(0xfe)![0] & 0xff;
    for (let i = 0; i < count; i++) {
      const [base, mask] = [msrs.read(FIRST_BASE + 2 * i)!, msrs.read(FIRST_MASK + 2 * i)!];
      const matches = ((address ^ base[0]) & mask[0] & 0xfffff000) === 0 && (base[1] & mask[1]) === 0;
      if ((mask[0] & 0x800) !== 0 && matches) return base[0] & 0xff;
    }
    return control & 0xff;
  }

  test('are as firmware leaves them: memory is written back, adapters and devices are not cached', () => {
    const msrs = new Msrs();
    const [writeBack, uncacheable] = [6, 0];
    for (const address of [0, 0x7ffff, 0x80000, 0x9ffff, 0x100000, 0x3fffffff, 0xbfffffff]) {
      expect([address, typeOf(msrs, address)]).toEqual([address, writeBack]);
    }
    for (const address of [0xa0000, 0xb8000, 0xc0000, 0xfffff, 0xc0000000, 0xfee00000, 0xffffffff]) {
      expect([address, typeOf(msrs, address)]).toEqual([address, uncacheable]);
    }
  });

  test('are kept as written', () => {
    const msrs = new Msrs();
    for (const [index, low, high] of [
      [PAT, 0x00070106, 0x00070506],
      [DEFAULT_TYPE, 0, 0],
      [0x26f, 0x06060606, 0x05050505],
      [FIRST_BASE + 2, 0xd0000001, 0xf],
      [FIRST_MASK + 2, 0xf8000800, 0xf],
    ] as const) {
      expect([index, msrs.write(index, low, high), msrs.read(index)]).toEqual([index, true, [low, high]]);
    }
    expect(new Msrs().read(PAT)).toEqual([0x00070406, 0x00070406]);
  });

  test('are refused where the manual has #GP: unknown types and reserved bits', () => {
    const msrs = new Msrs();
    for (const [index, low, high] of [
      [PAT, 0x02070106, 0x00070506],
      [PAT, 0x00070106, 0x00080506],
      // Uncached (7) is a type of page tables alone.
      [DEFAULT_TYPE, 0xc07, 0],
      [DEFAULT_TYPE, 0xd06, 0],
      [DEFAULT_TYPE, 0xc06, 1],
      [0x250, 0x06060602, 0],
      [FIRST_BASE, 0xd0000002, 0],
      [FIRST_BASE, 0xd0000106, 0],
      [FIRST_MASK, 0xf8000801, 0],
      [FIRST_MASK, 0xf8000800, 0x10],
      // The capabilities are read-only; behind the last range there is none.
      [0xfe, 0x508, 0],
      [FIRST_BASE + 16, 0, 0],
    ] as const) {
      const before = msrs.read(index);
      expect([index, msrs.write(index, low, high)]).toEqual([index, false]);
      expect(msrs.read(index)).toEqual(before);
    }
  });
});
