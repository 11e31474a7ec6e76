/** Shadow paging on a real hardware thread: the permission matrix executed, traces, address spaces, bounds, announcements. */
import { describe, expect, it } from 'vitest';
import type { Ppn } from '../../src/hypervisor/base/pages.js';
import { Prng } from '../../src/hypervisor/base/prng.js';
import { assemble } from '../../src/hypervisor/machine/cpu/assemble.js';
import { Cr0, Cr4, S } from '../../src/hypervisor/machine/cpu/state.js';
import { HOLE_BASE, TC_LINEAR } from '../../src/hypervisor/monitor/hole.js';
import { MonitorLoop } from '../../src/hypervisor/monitor/loop.js';
import { A, D, DirectTechnique, G, P, PS, TestVm, U, W } from './test-vm.js';

const DIRECTORY = 0x10000;
const TABLE = 0x11000;
const HIGH = 0x00c00000;

/** A directory whose entry 3 is the one under test; entry 0 maps low memory for code and stack, 4 MiB, user and supervisor. */
function spaceWith(test: TestVm, pde: number, pte: number): void {
  test.write32(DIRECTORY, 0 | P | W | U | PS | A | D);
  test.write32(DIRECTORY + 12, pde | ((pde & PS) !== 0 ? 0x00400000 : TABLE));
  test.write32(TABLE + 12, 0x30000 | pte);
}

describe('the hole', () => {
  it('maps and unmaps pages in every address space', () => {
    const test = new TestVm();
    spaceWith(test, P | W | U | A, P | W | U | A | D);
    test.enablePaging(DIRECTORY);
    const { shadow } = test.vcpu;
    const mpn = test.vm.allocateMonitorPage('tc');
    const pages = test.monitorPages.size;
    const entry = (linear: number) => {
      const pde = test.memory.readI32((shadow.root << 12) + (linear >>> 22) * 4);
      return test.memory.readI32(((pde >>> 12) << 12) + ((linear >>> 12) & 1023) * 4);
    };
    const bits = (linear: number) => entry(linear) & (P | W | U);
    shadow.mapHole(TC_LINEAR, mpn, false);
    shadow.mapHole(TC_LINEAR + 0x5000, mpn, true);
    expect([bits(TC_LINEAR), bits(TC_LINEAR + 0x5000)]).toEqual([P, P | W]);
    shadow.mapHole(TC_LINEAR, mpn, true);
    expect(bits(TC_LINEAR)).toBe(P | W);
    shadow.unmapHole(TC_LINEAR);
    expect([entry(TC_LINEAR), bits(TC_LINEAR + 0x5000)]).toEqual([0, P | W]);
    expect(() => shadow.unmapHole(TC_LINEAR)).toThrow(/not mapped/);
    expect([test.monitorPages.size, shadow.audit()]).toEqual([pages, []]);
  });
});

describe('permission matrix', () => {
  it('gives hardware exactly what the guest tables allow, with exact accessed and dirty bits', () => {
    const test = new TestVm();
    const bits = [P, W, U, A, D];
    let checked = 0;
    for (let n = 0; n < 1 << 11; n++) {
      const pick = (from: number, list: readonly number[]) =>
        list.reduce((sum, bit, i) => sum | ((n >> (from + i)) & 1 ? bit : 0), 0);
      const pde = pick(0, [W, U, PS]) | P;
      const pte = pick(3, bits);
      const wp = ((n >> 8) & 1) !== 0;
      const write = ((n >> 9) & 1) !== 0;
      const user = ((n >> 10) & 1) !== 0;
      const large = (pde & PS) !== 0;
      if (large && pte !== 0) continue;
      spaceWith(test, pde, pte);
      test.enablePaging(DIRECTORY, wp ? Cr0.WP : 0);

      const entries = large ? [pde] : [pde, pte];
      const isWritable = entries.every(e => (e & W) !== 0);
      const base = (write ? 2 : 0) + (user ? 4 : 0);
      let expected = 'mapped';
      if (entries.some(e => (e & P) === 0)) expected = `true ${base}`;
      else if (user && !entries.every(e => (e & U) !== 0)) expected = `true ${base + 1}`;
      else if (write && !isWritable) expected = user || wp ? `true ${base + 1}` : 'unprotected';

      const note = `pde ${pde} pte ${pte} wp ${wp} write ${write} user ${user}`;
      expect(test.touch(HIGH + 0x3040, write, user), note).toBe(expected);
      if (expected === 'mapped') {
        const guestPde = test.read32(DIRECTORY + 12);
        const guestPte = test.read32(TABLE + 12);
        expect((guestPde & A) !== 0, note).toBe(true);
        if (large) expect((guestPde & D) !== 0, note).toBe(write);
        else expect(guestPte & (A | D), note).toBe(A | (pte & D) | (write ? D : 0));
        // What was not asked for must not be allowed before it faults: a first write has to set the dirty bit.
        if (!write && !large && (pte & D) === 0) {
          expect(test.vcpu.shadow.lookup(HIGH + 0x3040, true, false), note).toBeUndefined();
        }
      } else {
        // A fault of the page table's entry leaves the directory entry used; the "unprotected" store has not been made yet.
        const usedPde = expected !== 'unprotected' && !large ? A : 0;
        expect(test.read32(DIRECTORY + 12) & 0xfff, note).toBe(pde | usedPde);
        expect(test.read32(TABLE + 12) & 0xfff, note).toBe(pte);
      }
      expect(test.vcpu.shadow.audit(), note).toEqual([]);
      test.vcpu.shadow.retireAll();
      checked += 1;
    }
    expect(checked).toBe(1024 + 32);
  }, 60_000);
});

/** A loop over guest code at 0x1000, flat, in an address space made by `spaceWith`. */
function run(test: TestVm, source: string, options: { user?: boolean; cycles?: number } = {}) {
  test.write(0x1000, assemble(0x1000, source).bytes);
  const technique = new DirectTechnique(test.vcpu);
  const loop = new MonitorLoop(test.vcpu, technique, () => technique);
  test.vcpu.eip = 0x1000;
  test.vcpu.esp = 0x8000;
  return { loop, technique, result: loop.run(test.thread.cycles + (options.cycles ?? 2_000_000)) };
}

describe('traces', () => {
  it('sees each store to a page table and keeps the shadow equal', () => {
    const test = new TestVm();
    spaceWith(test, P | W | U | A, P | W | U | A | D);
    test.enablePaging(DIRECTORY);
    const { technique } = run(
      test,
      `mov dword [${HIGH + 0x3000}], 0x1111      ; uses the entry
       mov dword [${TABLE + 12}], ${0x31000 | P | W | U | A | D}
       mov eax, [${HIGH + 0x3000}]
       mov dword [${HIGH + 0x3004}], 0x2222
       and dword [${TABLE + 12}], ${~(A | D)}
       mov dword [${HIGH + 0x3008}], 0x3333
       mov byte [${TABLE + 12}], 0
       hlt`,
    );
    expect(technique.traceHits).toBe(3);
    expect(test.vm.counters.traceFaults).toBe(3);
    expect(test.thread.s[S.EAX]).toBe(0);
    expect(test.read32(0x30000)).toBe(0x1111);
    expect(test.read32(0x31004)).toBe(0x2222);
    expect(test.read32(0x31008)).toBe(0x3333);
    // Cleared by the guest, set again by its next store, then the low byte cleared.
    expect(test.read32(TABLE + 12)).toBe(0x31000);
    expect(test.vcpu.shadow.lookup(HIGH + 0x3000, false, false)).toBeUndefined();
    expect(test.vcpu.shadow.audit()).toEqual([]);
  });

  it('follows a store that spans two watched pages and one that comes through another mapping', () => {
    const test = new TestVm();
    // The table's last entry and the next page (a second table) are written by one store.
    test.write32(DIRECTORY, P | W | U | PS | A | D);
    test.write32(DIRECTORY + 12, TABLE | P | W | U | A);
    test.write32(DIRECTORY + 16, (TABLE + 0x1000) | P | W | U | A);
    test.write32(TABLE + 4092, 0x30000 | P | W | U | A | D);
    test.write32(TABLE + 4096, 0x31000 | P | W | U | A | D);
    // Entry 5 of the first table maps that table itself.
    test.write32(TABLE + 20, TABLE | P | W | U | A | D);
    test.enablePaging(DIRECTORY);
    const { technique } = run(
      test,
      `mov eax, [${HIGH + 0x3ff000}]
       mov eax, [${HIGH + 0x400000}]
       mov dword [${TABLE + 4094}], 0x70001003
       mov dword [${HIGH + 0x5000 + 24}], 0x1234
       hlt`,
    );
    expect(technique.traceHits).toBeGreaterThanOrEqual(2);
    expect(test.read32(TABLE + 4092)).toBe(0x10030067);
    expect(test.read32(TABLE + 4096)).toBe(0x37000);
    expect(test.read32(TABLE + 24)).toBe(0x1234);
    expect(test.vcpu.shadow.audit()).toEqual([]);
  });

  it('stops watching a table that nothing leads to, and a directory that is written without being used', () => {
    const test = new TestVm();
    spaceWith(test, P | W | U | A, P | W | U | A | D);
    test.enablePaging(DIRECTORY);
    expect(test.touch(HIGH + 0x3000, true, true)).toBe('mapped');
    const { traces } = test.vcpu;
    expect(traces.isWatched((TABLE >> 12) as Ppn)).toBe(true);
    test.write32(DIRECTORY + 12, 0);
    expect(traces.isWatched((TABLE >> 12) as Ppn)).toBe(false);
    // Another address space runs; the old directory's page becomes ordinary memory.
    test.write32(0x20000, P | W | U | PS | A | D);
    test.vcpu.cr3 = 0x20000;
    test.vcpu.shadow.loadCr3();
    expect(traces.isWatched((DIRECTORY >> 12) as Ppn)).toBe(true);
    for (let i = 0; i < 12; i++) test.write32(DIRECTORY + 4 * i, 0xdead0000 + i * 2);
    expect(traces.isWatched((DIRECTORY >> 12) as Ppn)).toBe(false);
    expect(test.vcpu.shadow.audit()).toEqual([]);
  });
});

describe('bounded memory', () => {
  it('lets a guest that uses more tables than may have shadows go on, slowly', () => {
    const test = new TestVm({ shadowPagesMax: 16 });
    const REGIONS = 40;
    test.write32(DIRECTORY, P | W | U | PS | A | D);
    for (let n = 0; n < REGIONS; n++) {
      const table = 0x100000 + n * 0x1000;
      test.write32(DIRECTORY + 4 * (3 + n), table | P | W | U);
      test.write32(table, (0x200000 + n * 0x1000) | P | W | U);
      test.write32(0x200000 + n * 0x1000, n);
    }
    test.enablePaging(DIRECTORY);
    // Three rounds over all regions, each adding one to every word; one instruction reaches into two regions.
    const { result } = run(
      test,
      `xor eax, eax
       mov ebp, 3
   round: mov edi, ${HIGH}
       mov ecx, ${REGIONS}
   next: add eax, [edi]
       inc dword [edi]
       mov esi, ${HIGH}
       push dword [edi]
       pop dword [esi+4]
       add edi, 0x400000
       dec ecx
       jnz next
       dec ebp
       jnz round
       hlt`,
    );
    expect(result.kind).toBe('halted');
    expect(test.thread.s[S.EAX]).toBe(3 * ((REGIONS * (REGIONS - 1)) / 2) + REGIONS * (0 + 1 + 2));
    expect(test.read32(0x200004)).toBe(REGIONS - 1 + 3);
    for (let n = 0; n < REGIONS; n++) {
      expect(test.read32(0x200000 + n * 0x1000)).toBe(n + 3);
      expect(test.read32(0x100000 + n * 0x1000) & (A | D)).toBe(A | D);
    }
    // Each round makes most of the tables again, but no more often than they are needed.
    const { shadowDrops, hiddenFaults } = test.vm.counters;
    expect(shadowDrops).toBeGreaterThan(2 * (REGIONS - 16));
    expect(hiddenFaults).toBeLessThan(3 * 4 * REGIONS);
    expect(test.vcpu.shadow.pageCount).toBeLessThanOrEqual(16);
    expect(test.vcpu.shadow.audit()).toEqual([]);
  });
});

describe('a 4 MiB page', () => {
  it('is clean as a whole until its first store, and again when the guest says so', () => {
    const test = new TestVm();
    spaceWith(test, P | W | U | PS, 0);
    test.enablePaging(DIRECTORY);
    const { shadow } = test.vcpu;
    const pde = () => test.read32(DIRECTORY + 12) & (A | D);
    test.touch(HIGH + 0x3000, false, true);
    test.touch(HIGH + 0x8000, false, true);
    expect([pde(), shadow.lookup(HIGH + 0x3000, true, true)]).toEqual([A, undefined]);
    test.touch(HIGH + 0x3000, true, true);
    // The dirty bit is one for all of its pages.
    expect(pde()).toBe(A | D);
    expect(shadow.lookup(HIGH + 0x8000, true, true)).toBeDefined();
    test.write32(DIRECTORY + 12, test.read32(DIRECTORY + 12) & ~D);
    expect(shadow.lookup(HIGH + 0x8000, true, true)).toBeUndefined();
    expect(shadow.lookup(HIGH + 0x8000, false, true)).toBeDefined();
    test.touch(HIGH + 0x8000, true, true);
    expect(pde()).toBe(A | D);
    // Split into 4 KiB pages by the guest itself.
    test.write32(TABLE + 4 * 8, 0x31000 | P | U | A);
    test.write32(DIRECTORY + 12, TABLE | P | W | U | A);
    expect([test.touch(HIGH + 0x8000, true, true), test.touch(HIGH + 0x8000, false, true)]).toEqual([
      'true 7',
      'mapped',
    ]);
    expect(shadow.lookup(HIGH + 0x8000, false, true)).toBe(test.vm.pmap.mpnFor(0x31 as Ppn)! << 12);
    expect(shadow.audit()).toEqual([]);
  });
});

describe('the WP corner', () => {
  it('lets a supervisor write to a read-only page with WP clear, once per instruction, and never user code', () => {
    const test = new TestVm();
    spaceWith(test, P | U | A, P | U | A);
    test.enablePaging(DIRECTORY, 0);
    const { result } = run(test, `mov dword [${HIGH + 0x3000}], 0x55\nadd dword [${HIGH + 0x3000}], 1\nhlt`);
    expect(result.kind).toBe('halted');
    expect(test.read32(0x30000)).toBe(0x56);
    expect(test.read32(TABLE + 12) & D).toBe(D);
    expect(test.vcpu.shadow.lookup(HIGH + 0x3000, true, false)).toBeUndefined();
    expect(test.touch(HIGH + 0x3000, true, true)).toBe('true 7');
    expect(test.vcpu.shadow.audit()).toEqual([]);
  });
});

describe('device memory, ROM and nothing', () => {
  it('reaches devices by single instructions, drops stores to ROM, reads ones where nothing is', () => {
    const test = new TestVm();
    test.vm.pmap.setDevice(0xb8 as Ppn);
    const rom = test.vm.allocateMonitorPage('tables');
    test.memory.write32(rom << 12, 0x4d4f52);
    test.vm.pmap.setRom(0xc0 as Ppn, rom);
    test.vcpu.shadow.pagingChanged();
    const { result } = run(
      test,
      `mov eax, [0xb8010]
       mov word [0xb8020], 0x0741
       mov ebx, [0xc0000]
       add dword [0xc0000], 5
       mov ecx, [0xc0000]
       mov esi, 0xb8000
       mov edi, 0x9000
       movsd
       push dword [0xb8004]
       hlt`,
    );
    expect(result.kind).toBe('halted');
    expect(test.thread.s[S.EAX]).toBe((0x11223344 + 0xb8010) | 0);
    expect(test.thread.s[S.EBX]).toBe(0x4d4f52);
    expect(test.thread.s[S.ECX]).toBe(0x4d4f52);
    expect(test.read32(0x9000)).toBe(0x11223344 + 0xb8000);
    expect(test.read32(0x7ffc)).toBe(0x11223344 + 0xb8004);
    expect(test.mmioLog).toEqual(['read b8010 4', 'write b8020 2 741', 'read b8000 4', 'read b8004 4']);
    expect(test.vm.counters.mmioFaults).toBe(5);
    expect(test.vcpu.shadow.audit()).toEqual([]);
  });

  it('gives #UD for code that is not there', () => {
    const test = new TestVm();
    test.write32(0x2000 + 6 * 8, (0x08 << 16) | 0x1100);
    test.write32(0x2000 + 6 * 8 + 4, 0x8e00);
    test.write32(0x3008, 0x0000ffff);
    test.write32(0x300c, 0x00cf9b00);
    test.write32(0x3010, 0x0000ffff);
    test.write32(0x3014, 0x00cf9300);
    test.vcpu.gdtBase = 0x3000;
    test.vcpu.gdtLimit = 0x17;
    test.vcpu.idtBase = 0x2000;
    test.vcpu.descriptors.setGdt(true);
    test.write(0x1100, assemble(0x1100, 'mov eax, [esp]\nhlt').bytes);
    const { result } = run(test, 'jmp 0x40000000');
    expect(result.kind).toBe('halted');
    expect(test.thread.s[S.EAX]).toBe(0x40000000);
  });
});

describe('address spaces', () => {
  /** Directory `n` at 0x100000 + n * 0x2000 with one table behind it that maps `pages` pages. */
  function makeSpace(test: TestVm, n: number, pages: number): number {
    const directory = 0x100000 + n * 0x2000;
    test.write32(directory, P | W | U | PS | A | D);
    test.write32(directory + 12, (directory + 0x1000) | P | W | U | A);
    for (let i = 0; i < pages; i++) {
      test.write32(directory + 0x1000 + 4 * i, (0x200000 + ((n * 7 + i) % 64) * 4096) | P | W | U | A | D);
    }
    return directory;
  }

  it('keeps shadows across switches and within its bound', () => {
    const test = new TestVm({ shadowPagesMax: 16 });
    const first = makeSpace(test, 0, 8);
    test.enablePaging(first);
    expect(test.touch(HIGH, true, true)).toBe('mapped');
    const second = makeSpace(test, 1, 8);
    for (const cr3 of [second, first]) {
      test.vcpu.cr3 = cr3;
      test.vcpu.shadow.loadCr3();
    }
    // Still there: no fault needed.
    expect(test.vcpu.shadow.lookup(HIGH, true, true)).toBeDefined();
    for (let n = 2; n < 40; n++) {
      test.vcpu.cr3 = makeSpace(test, n, 8);
      test.vcpu.shadow.loadCr3();
      expect(test.touch(HIGH + 0x1000, true, true)).toBe('mapped');
      expect(test.touch(0x5000, true, true)).toBe('mapped');
      expect(test.vcpu.shadow.pageCount).toBeLessThanOrEqual(16);
      expect(test.vcpu.shadow.audit()).toEqual([]);
    }
    test.vcpu.destroy();
    expect(test.monitorPages.size).toBe(0);
  });

  it('stays exact under random edits of tables, directories and control registers', () => {
    for (const seed of [1, 2, 3, 4]) {
      const prng = new Prng(seed);
      const test = new TestVm({ shadowPagesMax: 20 });
      const spaces = Array.from({ length: 6 }, (_, n) => makeSpace(test, n, 16));
      test.enablePaging(spaces[0]!);
      const randomEntry = () =>
        prng.pick([0, P, P | W, P | U, P | W | U, P | W | U | A, P | W | A | D, P | U | A | G, P | W | U | A | D | G]);
      for (let step = 0; step < 1500; step++) {
        const space = prng.pick(spaces);
        switch (prng.below(10)) {
          case 0:
            test.vcpu.cr3 = space;
            test.vcpu.shadow.loadCr3();
            break;
          case 1: {
            const target = prng.below(3) === 0 ? 0x00400000 | PS : prng.pick(spaces) + 0x1000;
            test.write32(space + 4 * prng.pick([3, 4, 5]), target | randomEntry());
            break;
          }
          case 2:
          case 3:
          case 4:
            test.write32(space + 0x1000 + 4 * prng.below(16), (0x200000 + prng.below(64) * 4096) | randomEntry());
            break;
          case 5:
            // A table maps a table: stores to it are traced, whoever makes them.
            test.write32(space + 0x1000 + 4 * prng.below(16), (prng.pick(spaces) + 0x1000) | randomEntry());
            break;
          case 6:
            if (prng.below(20) === 0) {
              test.vcpu.cr4 = Cr4.PSE | (prng.below(2) === 0 ? Cr4.PGE : 0);
              test.vcpu.shadow.pagingChanged();
            } else test.vcpu.shadow.invalidatePage(HIGH + prng.below(48) * 4096);
            break;
          default:
            test.touch(
              HIGH + prng.pick([0, 0x400000, 0x800000]) + prng.below(16) * 4096,
              prng.below(2) === 0,
              prng.below(2) === 0,
            );
        }
        if (step % 10 === 0) expect(test.vcpu.shadow.audit(), `seed ${seed} step ${step}`).toEqual([]);
      }
      expect(test.vm.counters.shadowFills).toBeGreaterThan(200);
      test.vcpu.destroy();
      expect(test.monitorPages.size).toBe(0);
    }
  });
});

describe('announced tables', () => {
  it('are not traced, are filled by announcements, and may lag in between', () => {
    const test = new TestVm();
    spaceWith(test, P | W | U | A, P | W | U | A | D);
    test.enablePaging(DIRECTORY);
    const { shadow, traces } = test.vcpu;
    shadow.announce((TABLE >> 12) as Ppn, 'table');
    expect(traces.isWatched((TABLE >> 12) as Ppn)).toBe(false);
    expect(test.touch(HIGH + 0x3000, true, true)).toBe('mapped');
    // An announced entry is mapped without any fault.
    test.vm.pmap.mpnFor(0x32 as Ppn);
    test.write32(TABLE + 16, 0x32000 | P | W | U | A | D);
    expect(shadow.lookup(HIGH + 0x4000, true, true)).toBeUndefined();
    shadow.entryChanged(TABLE + 16);
    expect(shadow.lookup(HIGH + 0x4000, true, true)).toBeDefined();
    // Stored first, announced later: the shadow lags, the audit accepts that, and it is gone afterwards.
    test.write32(TABLE + 12, 0);
    expect(shadow.lookup(HIGH + 0x3000, true, true)).toBeDefined();
    expect(shadow.audit()).toEqual([]);
    shadow.invalidatePage(HIGH + 0x3000);
    expect(shadow.lookup(HIGH + 0x3000, true, true)).toBeUndefined();
    shadow.release((TABLE >> 12) as Ppn);
    expect(shadow.lookup(HIGH + 0x4000, true, true)).toBeUndefined();
    expect(test.touch(HIGH + 0x4000, true, true)).toBe('mapped');
    expect(traces.isWatched((TABLE >> 12) as Ppn)).toBe(true);
    shadow.release(0x700 as Ppn);
    expect(shadow.audit()).toEqual([]);
  });

  it('can be released while they are the directory in use', () => {
    const test = new TestVm();
    spaceWith(test, P | W | U | A, P | W | U | A | D);
    test.enablePaging(DIRECTORY);
    const { shadow, traces } = test.vcpu;
    shadow.announce((DIRECTORY >> 12) as Ppn, 'directory');
    expect(test.touch(HIGH + 0x3000, true, true)).toBe('mapped');
    test.write32(DIRECTORY + 12, 0);
    shadow.release((DIRECTORY >> 12) as Ppn);
    expect(traces.isWatched((DIRECTORY >> 12) as Ppn)).toBe(true);
    expect(shadow.lookup(HIGH + 0x3000, true, true)).toBeUndefined();
    expect(shadow.audit()).toEqual([]);
  });
});

describe('the audit', () => {
  it('finds a corrupted entry of every kind, and nothing when it is put back', () => {
    const test = new TestVm();
    spaceWith(test, P | W | U | A, P | U | A);
    test.enablePaging(DIRECTORY);
    expect(test.touch(HIGH + 0x3000, false, true)).toBe('mapped');
    const { shadow } = test.vcpu;
    expect(shadow.audit()).toEqual([]);
    const root = shadow.root << 12;
    const pdeAt = root + 12;
    const pteAt = ((test.memory.readI32(pdeAt) >>> 12) << 12) + 12;
    const corruptions: [number, number, RegExp][] = [
      [pteAt, W, /entry 3: .* should be/],
      [pteAt, 0x1000, /entry 3: .* should be/],
      [pteAt, U, /entry 3: .* should be/],
      [pdeAt, W, /entry 3: .* should be/],
      [pdeAt, 0x7000, /leads to no shadow table/],
      [root + 4 * (HOLE_BASE >>> 22), U, /hole entry/],
      [pteAt + 4, 0x30000 | P, /should be|no frame|reverse map/],
    ];
    for (const [at, bits, message] of corruptions) {
      const good = test.memory.readI32(at);
      test.memory.write32(at, good ^ bits);
      const findings = shadow.audit();
      expect(
        findings.some(line => message.test(line)),
        `${bits.toString(16)}: ${findings.join('; ')}`,
      ).toBe(true);
      test.memory.write32(at, good);
      expect(shadow.audit()).toEqual([]);
    }
  });

  it('finds a guest store that nobody reported, a lost trace and a stale TLB line', () => {
    const test = new TestVm();
    spaceWith(test, P | W | U | A, P | W | U | A | D);
    test.enablePaging(DIRECTORY);
    run(test, `mov eax, [${HIGH + 0x3000}]\nhlt`);
    const { shadow, traces } = test.vcpu;
    expect(shadow.audit()).toEqual([]);
    expect(test.thread.tlbEntries().length).toBeGreaterThan(0);
    const machine = (test.vm.pmap.mpnFor((TABLE >> 12) as Ppn)! << 12) + 12;
    const good = test.memory.readI32(machine);
    test.memory.write32(machine, 0x31000 | P | W | U | A | D);
    expect(shadow.audit().join()).toMatch(/guest has .* now/);
    test.memory.write32(machine, good);
    traces.unwatch((TABLE >> 12) as Ppn, 'table');
    expect(shadow.audit().join()).toMatch(/trace has the wrong number/);
    traces.watch((TABLE >> 12) as Ppn, 'table');
    // The TLB still holds what the shadow no longer says.
    const pde = test.memory.readI32((shadow.root << 12) + 12);
    const pteAt = ((pde >>> 12) << 12) + 12;
    const pte = test.memory.readI32(pteAt);
    test.memory.write32(pteAt, pte + 0x5000);
    expect(shadow.audit().join()).toMatch(/TLB line for 00c03000/);
    test.memory.write32(pteAt, pte);
    expect(shadow.audit()).toEqual([]);
  });
});
