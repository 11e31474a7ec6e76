/** What is filled besides what was asked for: neighbours, and write permission when a watch ends. The guest's tables never show it. */
import { describe, expect, it } from 'vitest';
import type { Ppn } from '../../src/hypervisor/base/pages.js';
import { A, D, P, PS, TestVm, U, W } from './test-vm.js';

const DIRECTORY = 0x10000;
const TABLE = 0x11000;
const HIGH = 0x00c00000;
const ALL = P | W | U | A | D;
const frame = (page: number) => 0x30000 + page * 4096;

/** Entry 3 of the directory leads to `TABLE`, which maps pages from 0x30000 as told; the rest of its first 32 entries is in use. */
function tableWith(entries: Readonly<Record<number, number>>): TestVm {
  const test = new TestVm();
  test.write32(DIRECTORY, PS | ALL);
  test.write32(DIRECTORY + 12, TABLE | P | W | U | A);
  for (let page = 0; page < 32; page++) {
    const entry = entries[page] ?? ALL;
    test.write32(TABLE + 4 * page, entry === 0 ? 0 : frame(page) | entry);
    test.write32(frame(page), page);
  }
  test.enablePaging(DIRECTORY);
  return test;
}

const mapped = (test: TestVm, page: number, write = false) =>
  test.vcpu.shadow.lookup(HIGH + page * 4096, write, true) !== undefined;

describe('a hidden fault', () => {
  it('fills the neighbours that the guest has used before, and no others', () => {
    const test = tableWith({ 4: 0, 5: P | W | U, 6: P | U | A, 7: P | W | U | A, 8: 0x40000000 | ALL });
    test.vcpu.traces.watch((frame(9) >>> 12) as Ppn, 'code');
    const before = Array.from({ length: 32 }, (_, page) => test.read32(TABLE + 4 * page));
    expect(test.touch(HIGH + 3 * 4096, true, true)).toBe('mapped');
    const pages = Array.from({ length: 32 }, (_, page) => page);
    // Absent, never used, no RAM there; and what lies in another line of the table.
    expect(pages.filter(page => !mapped(test, page))).toEqual([4, 5, 8, ...pages.slice(16)]);
    // Read-only, clean, watched.
    expect(pages.slice(0, 16).filter(page => !mapped(test, page, true))).toEqual([4, 5, 6, 7, 8, 9]);
    expect(pages.map(page => test.read32(TABLE + 4 * page))).toEqual(before);
    expect(test.vm.counters.shadowPrefetches).toBe(12);
    expect(test.vcpu.shadow.audit()).toEqual([]);
  });

  it('gives no machine page to guest pages that nobody has touched', () => {
    const test = tableWith({});
    const untouched = 0x700000;
    test.write32(TABLE + 4 * 2, untouched | ALL);
    test.touch(HIGH, false, true);
    expect(mapped(test, 2)).toBe(false);
    expect(test.vm.pmap.mpnIfBacked((untouched >>> 12) as Ppn)).toBeUndefined();
    // The same through one directory entry for 4 MiB: of its first window one page is in use.
    test.write32(DIRECTORY + 16, 0x00400000 | PS | ALL);
    test.write32(0x00405000, 1);
    const { shadowPrefetches } = test.vm.counters;
    test.touch(HIGH + 0x400000, false, true);
    expect(test.vm.counters.shadowPrefetches - shadowPrefetches).toBe(1);
    expect(mapped(test, 0x405)).toBe(true);
    expect(mapped(test, 0x404)).toBe(false);
    expect(test.vcpu.shadow.audit()).toEqual([]);
  });

  it('charges each neighbour as an entry that is filled and one that is read', () => {
    const cycles = (neighbours: number) => {
      const test = tableWith(
        Object.fromEntries(Array.from({ length: 16 }, (_, page) => [page, page <= neighbours ? ALL : 0])),
      );
      const before = test.thread.cycles;
      test.touch(HIGH, false, true);
      return test.thread.cycles - before;
    };
    const { costs } = tableWith({}).vcpu;
    expect(cycles(5) - cycles(0)).toBe(5 * (costs.shadowFill + costs.guestMemoryAccess));
  });

  it('links the neighbouring entries of a new directory to the tables that other directories use', () => {
    const test = tableWith({});
    const NEW = 0x20000;
    test.write32(DIRECTORY + 16, (TABLE + 0x1000) | P | W | U | A);
    test.write32(DIRECTORY + 20, (TABLE + 0x2000) | P | W | U | A);
    for (const table of [1, 2, 3]) test.write32(TABLE + table * 0x1000, frame(table) | ALL);
    for (const index of [3, 4, 5]) test.touch(index * 0x400000, true, true);
    test.write32(NEW, PS | ALL);
    test.write32(NEW + 12, TABLE | P | W | U | A);
    test.write32(NEW + 16, (TABLE + 0x1000) | P | U | A);
    // Never used; and one that has no shadow.
    test.write32(NEW + 20, (TABLE + 0x2000) | P | W | U);
    test.write32(NEW + 24, (TABLE + 0x3000) | P | W | U | A);
    test.vcpu.cr3 = NEW;
    test.vcpu.shadow.loadCr3();
    const pages = test.vcpu.shadow.pageCount;
    expect(test.touch(HIGH, true, true)).toBe('mapped');
    const { shadow } = test.vcpu;
    expect([3, 4, 5, 6].map(index => shadow.lookup(index * 0x400000, false, true) !== undefined)).toEqual([
      true,
      true,
      false,
      false,
    ]);
    expect(shadow.lookup(HIGH + 0x400000, true, true)).toBeUndefined();
    expect([shadow.pageCount, shadow.audit()]).toEqual([pages, []]);
  });
});

describe('the end of a watch', () => {
  it('gives write permission back with the last user, where the guest has it', () => {
    const test = tableWith({ 6: P | U | A, 7: P | W | U | A });
    test.touch(HIGH, true, true);
    const { traces, costs, thread } = test.vcpu;
    for (const page of [3, 6, 7]) {
      const ppn = (frame(page) >>> 12) as Ppn;
      traces.watch(ppn, 'code');
      traces.watch(ppn, 'descriptors');
      expect(mapped(test, page, true)).toBe(false);
      traces.unwatch(ppn, 'code');
      expect(mapped(test, page, true)).toBe(false);
      const before = thread.cycles;
      traces.unwatch(ppn, 'descriptors');
      expect([mapped(test, page, true), thread.cycles - before]).toEqual(
        page === 3 ? [true, costs.traceProtect] : [false, 0],
      );
    }
    expect(test.vcpu.shadow.audit()).toEqual([]);
  });
});
