/** INVLPG and MOV to CR3 in WebAssembly against `Tlb`: the same lines of two machines go, and the same places. */
import { describe, expect, test } from 'vitest';
import { flushFunctions } from '../../../src/hypervisor/machine/cpu/compile/flush.js';
import { ANY_MEMORY } from '../../../src/hypervisor/machine/cpu/compile/nest.js';
import { assembleModule, Type } from '../../../src/hypervisor/machine/cpu/compile/wasm-writer.js';
import { TLB_AT } from '../../../src/hypervisor/machine/cpu/layout.js';
import { Cr4, S } from '../../../src/hypervisor/machine/cpu/state.js';
import { TLB_BYTES } from '../../../src/hypervisor/machine/mmu/tlb.js';
import { Machine, PAGE_DIRECTORY } from '../fixture.js';

const GLOBAL = 0x100;
const LARGE = 0x400000;

/** Two 4 KiB page tables with some pages global, and a 4 MiB page behind them. */
function machineWithPages(): Machine {
  const machine = new Machine();
  for (let page = 0; page < 2048; page++)
    machine.write32(0x40000 + page * 4, (page << 12) | 7 | (page % 3 ? 0 : GLOBAL));
  machine.enablePaging();
  for (let page = 0; page < 2048; page += 3) machine.write32(0x40000 + page * 4, (page << 12) | 7 | GLOBAL);
  machine.write32(PAGE_DIRECTORY + 8, LARGE | 0x87);
  machine.cpu.setCr4(Cr4.PSE | Cr4.PGE);
  return machine;
}

function generated({ memory, cpu }: Machine) {
  const I = Type.I32;
  const types = [
    { parameters: [I, I], results: [I] },
    { parameters: [I], results: [] },
  ];
  const wasm = assembleModule({ ...ANY_MEMORY, types, imports: [], table: false, functions: flushFunctions([0, 1]) });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(wasm), { m: { memory: memory.wasm } });
  const at = cpu.s.byteOffset;
  return {
    flushPage: (linear: number) => (exports['0'] as (cpu: number, linear: number) => number)(at, linear),
    flushNonGlobal: () => (exports['1'] as (cpu: number) => void)(at),
  };
}

const tlb = ({ memory, cpu }: Machine) => Buffer.from(memory.bytes(cpu.s.byteOffset + TLB_AT, TLB_BYTES));

describe.each([1, 2, 3, 4])('random accesses, number %i', seed => {
  test('what is flushed is what TypeScript flushes', () => {
    const [ours, reference] = [machineWithPages(), machineWithPages()];
    const flush = generated(ours);
    let state = seed;
    const random = (below: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    const flushed = { pages: 0, left: 0, all: 0 };
    for (let i = 0; i < 6000; i++) {
      // Few pages, so that what is flushed is often there; 16 MiB apart are of one place, but only 8 MiB are mapped.
      const linear = random(random(8) === 0 ? 0xc00000 : 0x60000) >>> 0;
      const kind = random(40);
      for (const { cpu } of [ours, reference]) {
        if (kind > 20) cpu.translate(linear, kind % 2 === 0, false);
        else if (kind > 4) cpu.fetch(linear);
      }
      if (kind === 0) {
        flush.flushNonGlobal();
        reference.cpu.tlb.flushNonGlobal();
        flushed.all += 1;
      } else if (kind <= 4) {
        const before = tlb(ours);
        if (flush.flushPage(linear) === 0) {
          expect(tlb(ours).equals(before)).toBe(true);
          ours.cpu.tlb.flushPage(linear);
          flushed.left += 1;
        } else {
          flushed.pages += 1;
        }
        reference.cpu.tlb.flushPage(linear);
      }
      if (kind <= 4) expect(tlb(ours).equals(tlb(reference))).toBe(true);
    }
    expect(Object.values(flushed).every(count => count > 0)).toBe(true);
    expect(ours.cpu.s[S.CR2]).toBe(reference.cpu.s[S.CR2]);
  });
});
