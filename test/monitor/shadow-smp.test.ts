/** Shadow paging with two virtual CPUs: what one changes, the other's TLB must not contradict, whether they share tables or not. */
import { describe, expect, it, test } from 'vitest';
import type { Ppn } from '../../src/hypervisor/base/pages.js';
import { Prng } from '../../src/hypervisor/base/prng.js';
import { assemble } from '../../src/hypervisor/machine/cpu/assemble.js';
import { Cr0, Cr4, S } from '../../src/hypervisor/machine/cpu/state.js';
import { MonitorLoop } from '../../src/hypervisor/monitor/loop.js';
import type { VirtualCpu } from '../../src/hypervisor/monitor/virtual-cpu.js';
import { A, D, DirectTechnique, G, P, PS, TestVm, U, W } from './test-vm.js';

const DIRECTORY = 0x10000;
const TABLE = 0x11000;
const OTHER_DIRECTORY = 0x12000;
const HIGH = 0x00c00000;
const ALL = P | W | U | A | D;

/** A guest with two processors that run whatever they are told, one instruction sequence at a time. */
class Pair {
  readonly test: TestVm;
  readonly one: VirtualCpu;
  readonly two: VirtualCpu;
  readonly #loops = new Map<VirtualCpu, MonitorLoop>();

  constructor(shadows: 'shared' | 'own', shadowPagesMax = 64) {
    this.test = new TestVm({ shadowPagesMax });
    this.one = this.test.vcpu;
    this.two = this.test.addVcpu(shadows);
    for (const vcpu of [this.one, this.two]) {
      const technique = new DirectTechnique(vcpu);
      this.#loops.set(vcpu, new MonitorLoop(vcpu, technique, () => technique));
    }
    for (const directory of [DIRECTORY, OTHER_DIRECTORY]) this.test.write32(directory, PS | ALL);
    this.test.write32(DIRECTORY + 12, TABLE | P | W | U | A);
    for (let page = 0; page < 8; page++) {
      this.test.write32(TABLE + 4 * page, (0x30000 + page * 4096) | ALL);
      this.test.write32(0x30000 + page * 4096, page + 1);
    }
    for (const vcpu of [this.one, this.two]) this.test.enablePaging(DIRECTORY, Cr0.WP, undefined, vcpu);
  }

  /** Runs the source in the kernel of one processor up to its HLT; answers EAX and the cycles it took. */
  run(vcpu: VirtualCpu, source: string): { readonly eax: number; readonly cycles: number } {
    const at = vcpu === this.one ? 0x1000 : 0x2000;
    this.test.write(at, assemble(at, `${source}\nhlt`).bytes);
    const loop = this.#loops.get(vcpu)!;
    loop.technique.capture();
    loop.halted = false;
    vcpu.eip = at;
    vcpu.esp = at + 0x6000;
    const before = vcpu.thread.cycles;
    expect(loop.run(before + 5_000_000).kind).toBe('halted');
    return { eax: vcpu.thread.s[S.EAX]! >>> 0, cycles: vcpu.thread.cycles - before };
  }

  read(vcpu: VirtualCpu, linear: number): number {
    return this.run(vcpu, `mov eax, [${linear}]`).eax;
  }

  hasLine(vcpu: VirtualCpu, linear: number): boolean {
    return vcpu.thread.tlbEntries().some(line => line.linearPage === linear >>> 12);
  }

  audit(): string[] {
    return [this.one, this.two].flatMap(vcpu => vcpu.shadow.audit());
  }
}

describe.each(['shared', 'own'] as const)('two vCPUs with %s shadow tables', shadows => {
  it('see each other’s changes of page tables, in their TLBs', () => {
    const pair = new Pair(shadows);
    const { one, two, test: guest } = pair;
    expect([pair.read(one, HIGH + 0x3000), pair.read(two, HIGH + 0x3000)]).toEqual([4, 4]);
    expect(pair.hasLine(two, HIGH + 0x3000)).toBe(true);
    pair.run(one, `mov dword [${TABLE + 12}], ${0x35000 | ALL}`);
    expect(pair.hasLine(two, HIGH + 0x3000)).toBe(false);
    expect([pair.read(two, HIGH + 0x3000), pair.read(one, HIGH + 0x3000)]).toEqual([6, 6]);
    // The other way round, and a whole table at once.
    pair.run(two, `mov dword [${DIRECTORY + 12}], 0`);
    expect(pair.hasLine(one, HIGH + 0x3000)).toBe(false);
    expect(one.shadow.lookup(HIGH + 0x3000, false, false)).toBeUndefined();
    expect(pair.audit()).toEqual([]);
    expect(guest.read32(DIRECTORY + 12)).toBe(0);
  });

  it('lose their writable lines of a page that one of them watches', () => {
    const pair = new Pair(shadows);
    const { one, two } = pair;
    pair.run(two, `mov dword [${HIGH + 0x3000}], 7`);
    one.traces.watch(0x33 as Ppn, 'code');
    expect(pair.hasLine(two, HIGH + 0x3000)).toBe(false);
    const before = pair.test.vm.counters.traceFaults;
    const heard: number[] = [];
    one.traces.listen('code', (_, offset) => heard.push(offset));
    two.traces.listen('code', (_, offset) => heard.push(offset));
    pair.run(two, `mov dword [${HIGH + 0x3010}], 8`);
    expect(pair.test.vm.counters.traceFaults).toBe(before + 1);
    // Both have translations, perhaps: both are told.
    expect(heard).toEqual([0x10, 0x10]);
    one.traces.unwatch(0x33 as Ppn, 'code');
    expect(pair.audit()).toEqual([]);
  });

  it('pay for one interrupt where lines of the other go, and for none where none can be', () => {
    const pair = new Pair(shadows);
    const { one, two } = pair;
    const { tlbShootdown } = one.costs;
    const store = (page: number, entry: number) => `mov dword [${TABLE + 4 * page}], ${entry}`;
    const change = `${store(4, 0x36000 | ALL)}\n${store(4, 0x34000 | ALL)}`;
    for (const vcpu of [one, two]) for (const page of [3, 4]) pair.read(vcpu, HIGH + page * 4096);
    pair.run(one, change);
    // Two stores, each in its own stay in the monitor.
    for (const vcpu of [one, two]) pair.read(vcpu, HIGH + 4 * 4096);
    const seen = pair.run(one, change).cycles;
    // The other vCPU is in another address space: it has no line.
    two.cr3 = OTHER_DIRECTORY;
    two.shadow.loadCr3();
    pair.read(one, HIGH + 4 * 4096);
    const alone = pair.run(one, change).cycles;
    expect(seen - alone).toBe(2 * tlbShootdown);
    // Nor is the other told of more rights than it has: a line that allows less is repaired when it is in the way.
    two.cr3 = DIRECTORY;
    two.shadow.loadCr3();
    pair.run(one, store(5, 0x35000 | (ALL & ~W)));
    for (const vcpu of [one, two]) pair.read(vcpu, HIGH + 5 * 4096);
    pair.run(one, store(5, 0x35000 | ALL));
    expect(pair.hasLine(two, HIGH + 5 * 4096)).toBe(true);
    pair.run(two, `mov dword [${HIGH + 5 * 4096}], 99`);
    expect(pair.read(one, HIGH + 5 * 4096)).toBe(99);
    expect(pair.audit()).toEqual([]);
  });

  it('change their paging modes one by one', () => {
    const pair = new Pair(shadows);
    const { one, two, test: guest } = pair;
    for (const vcpu of [one, two]) pair.read(vcpu, HIGH + 0x3000);
    two.cr4 = Cr4.PSE;
    two.shadow.pagingChanged();
    expect(one.shadow.lookup(HIGH + 0x3000, true, true)).toBeDefined();
    expect(two.shadow.lookup(HIGH + 0x3000, true, true)).toBeUndefined();
    // From now on G means something to one of them only.
    pair.run(one, `mov dword [${TABLE + 12}], ${0x33000 | ALL | G}`);
    for (const vcpu of [one, two]) expect(pair.read(vcpu, HIGH + 0x3000)).toBe(4);
    const isGlobal = (vcpu: VirtualCpu) =>
      vcpu.thread.tlbEntries().find(line => line.linearPage === (HIGH + 0x3000) >>> 12)!.global;
    expect([isGlobal(one), isGlobal(two)]).toEqual([true, false]);
    pair.run(two, `mov dword [${TABLE + 12}], ${0x36000 | ALL}`);
    for (const vcpu of [one, two]) expect(pair.read(vcpu, HIGH + 0x3000)).toBe(7);
    two.cr0 = Cr0.PE | Cr0.ET;
    two.shadow.pagingChanged();
    expect([pair.read(two, 0x36000), pair.read(one, HIGH + 0x3000)]).toEqual([7, 7]);
    expect(pair.audit()).toEqual([]);
    two.traces.listen('code', () => expect.unreachable('a vCPU that is no more has heard of a store'));
    two.destroy();
    one.traces.watch(0x36 as Ppn, 'code');
    pair.run(one, `mov dword [${HIGH + 0x3000}], 7`);
    one.traces.unwatch(0x36 as Ppn, 'code');
    expect(pair.read(one, HIGH + 0x3000)).toBe(7);
    expect(one.shadow.audit()).toEqual([]);
    one.destroy();
    expect(guest.monitorPages.size).toBe(0);
  });

  it('stay right when the bound makes one drop what the other uses', () => {
    const pair = new Pair(shadows, 16);
    const { one, two, test: guest } = pair;
    for (let n = 0; n < 30; n++) {
      const directory = 0x100000 + n * 0x2000;
      guest.write32(directory, PS | ALL);
      guest.write32(directory + 12, (directory + 0x1000) | P | W | U | A);
      guest.write32(directory + 0x1000, (0x30000 + (n % 8) * 4096) | ALL);
      one.cr3 = directory;
      one.shadow.loadCr3();
      expect(pair.read(one, HIGH)).toBe((n % 8) + 1);
      expect(pair.read(two, HIGH + 0x5000)).toBe(6);
      expect(one.shadow.pageCount).toBeLessThanOrEqual(16);
      expect(pair.audit()).toEqual([]);
    }
    expect(guest.vm.counters.shadowDrops).toBeGreaterThan(20);
    expect(guest.vm.counters.shadowPages).toBe(
      shadows === 'shared' ? one.shadow.pageCount : one.shadow.pageCount + two.shadow.pageCount,
    );
  });
});

test('shared tables are filled once: the second vCPU faults for its directory only', () => {
  const pair = new Pair('shared');
  const { counters } = pair.test.vm;
  const all = Array.from({ length: 8 }, (_, page) => `mov eax, [${HIGH + page * 4096}]`).join('\n');
  pair.run(pair.one, all);
  const before = counters.hiddenFaults;
  // Its code; the neighbouring entry of its directory, which leads to the eight pages, is linked on the way.
  pair.run(pair.two, all);
  expect(counters.hiddenFaults - before).toBe(1);
});

test('an announced table lags for both vCPUs until one of them announces the change', () => {
  const pair = new Pair('shared');
  const { one, two, test: guest } = pair;
  one.shadow.announce((TABLE >> 12) as Ppn, 'table');
  for (const vcpu of [one, two]) expect(pair.read(vcpu, HIGH + 0x3000)).toBe(4);
  guest.write32(TABLE + 12, 0x37000 | ALL);
  expect([pair.hasLine(two, HIGH + 0x3000), pair.read(two, HIGH + 0x3000)]).toEqual([true, 4]);
  one.shadow.entryChanged(TABLE + 12);
  expect(pair.hasLine(two, HIGH + 0x3000)).toBe(false);
  for (const vcpu of [one, two]) expect(pair.read(vcpu, HIGH + 0x3000)).toBe(8);
  one.shadow.release((TABLE >> 12) as Ppn);
  for (const vcpu of [one, two]) expect(pair.read(vcpu, HIGH + 0x3000)).toBe(8);
  expect(pair.audit()).toEqual([]);
});

test.each(['shared', 'own'] as const)('random edits by two vCPUs leave %s tables and both TLBs exact', shadows => {
  const prng = new Prng(7);
  const pair = new Pair(shadows, 20);
  const { one, two, test: guest } = pair;
  guest.write32(OTHER_DIRECTORY + 12, TABLE | P | W | U | A);
  for (let step = 0; step < 400; step++) {
    const vcpu = prng.pick([one, two]);
    const page = prng.below(8);
    switch (prng.below(6)) {
      case 0:
        vcpu.cr3 = prng.pick([DIRECTORY, OTHER_DIRECTORY]);
        vcpu.shadow.loadCr3();
        break;
      case 1: {
        const rights = prng.pick([P, P | W | A, P | W | U | A | D, ALL | G]);
        pair.run(vcpu, `mov dword [${TABLE + 4 * page}], ${(0x30000 + prng.below(8) * 4096) | rights}`);
        break;
      }
      case 2:
        pair.run(vcpu, `mov dword [${prng.pick([DIRECTORY, OTHER_DIRECTORY]) + 16}], ${prng.pick([0, TABLE | ALL])}`);
        break;
      case 3:
        // A page table through itself, under the second entry that leads to it where there is one.
        pair.run(vcpu, `mov dword [${TABLE + 4 * page}], ${TABLE | P | A}`);
        break;
      default: {
        const physical = guest.read32(TABLE + 4 * page) & ~4095;
        const expected = guest.read32(physical);
        expect(pair.read(vcpu, HIGH + page * 4096), `step ${step}`).toBe(expected);
      }
    }
    expect(pair.audit(), `step ${step}`).toEqual([]);
  }
});
