/** The page of an instruction fetch in WebAssembly against the one in TypeScript, on two machines with the same random page tables. */
import { describe, expect, test } from 'vitest';
import { FETCH_LOCALS, FETCH_TYPE, fetchCode } from '../../../src/hypervisor/machine/cpu/compile/find-fetch.js';
import { assembleModule } from '../../../src/hypervisor/machine/cpu/compile/wasm-writer.js';
import { CYCLES, FETCH_MACHINE, FETCH_PAGE, LIMIT, MISS_CYCLES } from '../../../src/hypervisor/machine/cpu/layout.js';
import { S } from '../../../src/hypervisor/machine/cpu/state.js';
import { fetchLine } from '../../../src/hypervisor/machine/mmu/tlb.js';
import type { Machine } from '../fixture.js';
import { machineFor, randomFrom, state, TABLE_COUNT } from './random-tables.js';

type Fetch = (cpu: number, linear: number, packed: number) => number;

/** More pages than the TLB has lines. */
const FETCHES = 4000;

function fetchOf({ memory }: Machine): Fetch {
  const wasm = assembleModule({
    types: [FETCH_TYPE],
    imports: [],
    memoryPages: memory.sizeBytes >>> 16,
    table: false,
    functions: [{ type: 0, locals: FETCH_LOCALS, code: fetchCode(memory.codeLines.byteOffset) }],
  });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(wasm), { m: { memory: memory.wasm } });
  return exports['0'] as Fetch;
}

describe.each([0, 1, 2, 3, 4, 5])('random tables, number %i', seed => {
  test('each fetch leaves what one in TypeScript leaves', () => {
    const generated = machineFor(seed);
    const reference = machineFor(seed);
    const both = [generated.cpu, reference.cpu];
    const fetch = fetchOf(generated);
    generated.cpu.s[MISS_CYCLES] = Math.ceil(generated.cpu.costs.cycles.tlbMiss);
    const random = randomFrom(seed + 200);
    let found = 0;
    for (let i = 0; i < FETCHES; i++) {
      const linear = random(TABLE_COUNT) * 0x400000 + random(random(2) === 0 ? 24 : 512) * 4096 + random(4096);
      const cpl = random(2) * 3;
      const flush = random(400) === 0;
      for (const cpu of both) {
        cpu.s[S.CPL] = cpl;
        if (flush) cpu.tlb.flushNonGlobal();
      }
      const { s } = generated.cpu;
      const limit = s[LIMIT]!;
      const cycles = generated.cpu.clock[CYCLES]!;
      const expected = reference.cpu.fetch(linear);
      const answer = fetch(s.byteOffset, linear, 0);
      if (answer === 0) {
        expect(generated.cpu.clock[CYCLES]).toBe(cycles);
        expect(generated.cpu.fetch(linear)).toBe(expected);
      } else {
        expect(expected).toBe(true);
        expect([answer, s[FETCH_MACHINE], s[FETCH_PAGE]]).toEqual([
          reference.cpu.s[FETCH_MACHINE],
          reference.cpu.s[FETCH_MACHINE],
          linear & -4096,
        ]);
        expect(limit - s[LIMIT]!).toBe(generated.cpu.clock[CYCLES]! - cycles);
        const home = fetchLine(linear);
        const place = ({ cpu }: Machine) => [0, 1, 4, 5, 6].map(word => cpu.tlb.fetch[home + word]);
        expect(place(generated)).toEqual(place(reference));
        found += 1;
      }
      for (const cpu of both) cpu.faultVector = -1;
    }
    expect(state(generated)).toEqual(state(reference));
    // Else the comparison says little.
    expect(found).toBeGreaterThan(FETCHES / 4);
  });
});
