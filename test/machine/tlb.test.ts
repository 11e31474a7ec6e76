/** Sets of four ways: what stays, what goes, and that the place of a line within its set means nothing. */
import { describe, expect, test } from 'vitest';
import { S } from '../../src/hypervisor/machine/cpu/state.js';
import { MachineMemory, RESERVED_BYTES } from '../../src/hypervisor/machine/memory.js';
import {
  DATA_LINES,
  DATA_PLACES,
  dataLine,
  FETCH_LINES,
  FETCH_PLACES,
  fetchLine,
  LINE_PAGE,
  Tlb,
  TlbInfo,
} from '../../src/hypervisor/machine/mmu/tlb.js';
import { CODE, DATA, HANDLERS, Machine } from './fixture.js';

const RIGHTS = TlbInfo.USER | TlbInfo.WRITABLE | TlbInfo.DIRTY;

describe.each([
  { side: 'data', lines: DATA_LINES, places: DATA_PLACES },
  { side: 'instructions', lines: FETCH_LINES, places: FETCH_PLACES },
])('$side', ({ side, lines, places }) => {
  const isData = side === 'data';
  const make = () => {
    const tlb = new Tlb(new MachineMemory(RESERVED_BYTES + 0x10000));
    return {
      tlb,
      /** True for a miss. As an engine asks: the home, then the set; a miss fills. */
      touch(page: number): boolean {
        const linear = page << 12;
        const home = isData ? dataLine(linear) : fetchLine(linear);
        const array = isData ? tlb.data : tlb.fetch;
        if (array[home + LINE_PAGE] === linear) return false;
        if (isData ? tlb.bringDataHome(home, linear) : tlb.bringFetchHome(home, linear)) return false;
        if (isData) tlb.fillData(linear, linear, RIGHTS, 0x1000, true);
        else tlb.fillFetch(linear, linear, RIGHTS, 0x1000);
        return true;
      },
      pages: () => tlb.entries().map(({ linearPage }) => linearPage),
    };
  };
  const set = (page: number) => page & (lines / 4 - 1);

  test('four pages with the same home fit together, in any order of use', () => {
    const { touch, pages } = make();
    const four = [0x48, 0xc0148, 0xc0248, 0xfc148].map(page => page - set(page) + 5);
    expect(four.map(page => touch(page))).toEqual([true, true, true, true]);
    for (const page of [0, 3, 1, 3, 2, 0, 2, 1].map(i => four[i]!)) expect(touch(page)).toBe(false);
    expect(pages().sort((a, b) => a - b)).toEqual(four);
  });

  test('of five the one that was filled first goes, wherever it was moved meanwhile', () => {
    const { touch, pages } = make();
    const five = [0, 1, 2, 3, 4].map(i => 7 + i * places);
    for (const page of five.slice(0, 4)) touch(page);
    touch(five[0]!);
    expect(touch(five[4]!)).toBe(true);
    expect(pages()).not.toContain(five[0]);
    expect(five.slice(1).map(page => touch(page))).toEqual([false, false, false, false]);
    expect(touch(five[0]!)).toBe(true);
    expect(pages()).not.toContain(five[1]);
  });

  test('behaves as sets of queues do, with invalidations, for random pages', () => {
    const { tlb, touch, pages } = make();
    const queues = new Map<number, number[]>();
    let random = 12345;
    const next = (below: number) => {
      random = (Math.imul(random, 1103515245) + 12345) >>> 0;
      return (random >>> 8) % below;
    };
    for (let step = 0; step < 20_000; step++) {
      // Few sets, so that they overflow.
      const page = next(4) + next(9) * (next(2) === 0 ? lines / 4 : places);
      const queue = queues.get(set(page)) ?? [];
      queues.set(set(page), queue);
      const at = queue.indexOf(page);
      if (next(10) === 0) {
        tlb.flushPage(page << 12);
        if (at >= 0) queue.splice(at, 1);
        continue;
      }
      expect(touch(page), `step ${step}`).toBe(at < 0);
      if (at < 0) queue.push(page);
      if (queue.length > 4) queue.shift();
    }
    expect(pages().sort((a, b) => a - b)).toEqual([...queues.values()].flat().sort((a, b) => a - b));
  });
});

test('flushes drop what the manual says and nothing else, for random pages of all kinds', () => {
  const tlb = new Tlb(new MachineMemory(RESERVED_BYTES + 0x10000));
  /** Every page that must be there, with its bits; sets are never filled beyond their four ways. */
  const model = { data: new Map<number, number>(), fetch: new Map<number, number>() };
  let random = 99;
  const next = (below: number) => {
    random = (Math.imul(random, 1103515245) + 12345) >>> 0;
    return (random >>> 8) % below;
  };
  const drop = (keep: (page: number, info: number) => boolean) => {
    for (const side of [model.data, model.fetch]) {
      for (const [page, info] of side) if (!keep(page, info)) side.delete(page);
    }
  };
  // 4 ways of 32 sets, in 8 regions of 4 MiB: no set of either side ever overflows.
  const pages = Array.from({ length: 128 }, (_, i) => (i & 31) + (i >>> 5) * 0x8000 + (i & 1) * 1024);
  for (let step = 0; step < 30_000; step++) {
    const page = pages[next(pages.length)]!;
    const linear = page << 12;
    switch (next(40)) {
      case 0:
        tlb.flush();
        drop(() => false);
        break;
      case 1:
      case 2:
        tlb.flushNonGlobal();
        drop((_, info) => (info & TlbInfo.GLOBAL) !== 0);
        break;
      case 3:
      case 4:
      case 5:
        tlb.flushPage(linear);
        drop((other, info) => other !== page && !((info & TlbInfo.LARGE) !== 0 && other >>> 10 === page >>> 10));
        break;
      default: {
        const info = RIGHTS | (next(3) === 0 ? TlbInfo.GLOBAL : 0) | (next(4) === 0 ? TlbInfo.LARGE : 0);
        if (next(2) === 0) {
          tlb.fillData(linear, linear, info, 0x1000, true);
          model.data.set(page, info);
        } else {
          tlb.fillFetch(linear, linear, info, 0x1000);
          model.fetch.set(page, info);
        }
      }
    }
    if (step % 10 !== 0) continue;
    const expected = [...model.data.keys(), ...model.fetch.keys()].map(page => page >>> 0).sort((a, b) => a - b);
    expect(
      tlb
        .entries()
        .map(({ linearPage }) => linearPage)
        .sort((a, b) => a - b),
      `step ${step}`,
    ).toEqual(expected);
  }
});

test('a page that begins to hold code loses its write tags wherever it is mapped', () => {
  const tlb = new Tlb(new MachineMemory(RESERVED_BYTES + 0x10000));
  const [a, b, other] = [0x400000, 0xc0001000 | 0, 0x7000];
  for (const [linear, machine] of [
    [a, 0x5000],
    [b, 0x5000],
    [other, 0x6000],
  ] as const) {
    tlb.fillData(linear, linear, RIGHTS, machine, true);
  }
  tlb.dropWriteTags(0x5000);
  const tags = (linear: number) => Array.from(tlb.data.subarray(dataLine(linear), dataLine(linear) + 4));
  for (const linear of [a, b]) {
    const [read, write, userRead, userWrite] = tags(linear);
    expect([read, userRead]).toEqual([linear, linear]);
    expect([write, userWrite]).not.toContain(linear);
  }
  expect(tags(other)).toEqual([other, other, other, other]);
});

test('a loop over code, data and stack pages with one home misses each once', () => {
  const machine = new Machine();
  machine.enablePaging();
  const [a, b, c] = [DATA, DATA + 0x100000, DATA + 0x200000];
  machine.load(`
    mov ecx, 100
    next: mov eax, [${a}]
    mov [${b}], eax
    add [${c}], eax
    dec ecx
    jnz next
    hlt`);
  machine.run();
  expect(machine.reg(S.ECX)).toBe(0);
  // Three pages of data, and the page of the code.
  expect(machine.cpu.counters.tlbMisses).toBe(4);
  expect(machine.cpu.tlbEntries().map(({ linearPage }) => linearPage)).toEqual(
    expect.arrayContaining([a, b, c, CODE].map(linear => linear >>> 12)),
  );
});

test.each([1, 2, 4])(
  'a string whose destination costs its source the TLB line faults where the source is gone: %i',
  size => {
    const machine = new Machine();
    const DIRECTORY = 0x40000;
    const TABLES = 0x41000;
    const { cpu } = machine;
    // Identity for 4 MiB; five pages with one set besides, all of which lead to DATA.
    const conflicting = [0, 1, 2, 3, 4].map(i => 0x400 + 7 + i * DATA_LINES);
    machine.write32(DIRECTORY, TABLES | 3);
    for (let page = 0; page < 1024; page++) machine.write32(TABLES + page * 4, (page << 12) | 3);
    const entryOf = (page: number) => TABLES + 0x1000 * (page >>> 10) + (page & 1023) * 4;
    for (const page of conflicting) {
      machine.write32(DIRECTORY + (page >>> 10) * 4, (TABLES + 0x1000 * (page >>> 10)) | 3);
      machine.write32(entryOf(page), DATA | 3);
    }
    const [source, ...rest] = conflicting.map(page => page << 12) as [number, ...number[]];
    const destination = rest.pop()!;
    // The source, then three others fill the set; its entry goes without INVLPG.
    const touches = [source, ...rest].map(linear => `mov eax, [${linear}]`).join('\n');
    machine.load(`
        mov eax, ${DIRECTORY}
        mov cr3, eax
        mov eax, cr0
        or eax, 0x80000000
        mov cr0, eax
        ${touches}
        mov dword [${entryOf(source >>> 12)}], 0
        mov eax, [${source}]
        mov esi, ${source}
        mov edi, ${destination}
        mov ecx, 1
        rep movs${{ 1: 'b', 2: 'w', 4: 'd' }[size]}
        hlt`);
    const handler = HANDLERS + 14 * 16;
    machine.write(handler, [0xf4]);
    // By steps, as a monitor carries instructions out: one element at a time, without generated code.
    let exit = cpu.step();
    while (exit.kind === 'stepped') exit = cpu.step();
    expect(exit.kind).toBe('halt');
    expect(cpu.s[S.EIP]).toBe(handler + 1);
    expect([cpu.s[S.CR2]! >>> 0, cpu.s[S.ECX], cpu.s[S.EDI]! >>> 0]).toEqual([source, 1, destination]);
  },
);
