/** RDTSC in compiled code: the clock as the reference has it at every one, offsets and privilege included. */
import { afterEach, expect, test } from 'vitest';
import { engineDefaults } from '../../../src/hypervisor/machine/cpu/code-cache.js';
import { S } from '../../../src/hypervisor/machine/cpu/state.js';
import { Machine } from '../fixture.js';

const before = { ...engineDefaults };
afterEach(() => {
  Object.assign(engineDefaults, before);
});

/** Sums what 500 RDTSCs say, with code of all prices in between. */
const SUM = `
        mov ecx, 500
 again: rdtsc
        add esi, eax
        adc edi, edx
        mov ebx, [0x20000]
        imul ebx, ecx
        test ecx, 3
        jnz odd
        xchg [0x20004], ebx
        div ecx
        rdtsc
        xor esi, eax
        xor edi, edx
 odd:   dec ecx
        jnz again
        hlt`;

/** ESI and EDI at the end, and the clock. */
function sums(tiering: 'reference' | 'always', source: string, startCycles: number): number[] {
  Object.assign(engineDefaults, { tiering });
  const machine = new Machine();
  machine.load(source);
  machine.cpu.cycles = startCycles;
  expect(machine.run().kind).toBe('halt');
  const { s } = machine.cpu;
  const compiled = machine.cache.compiler.compiled;
  if (tiering === 'always') expect(compiled).toBeGreaterThan(0);
  return [s[S.ESI]!, s[S.EDI]!, machine.cpu.cycles];
}

test.each([
  ['from 0', 0, ''],
  ['beyond 32 bits', 5 * 2 ** 32 - 700, ''],
  ['a clock between two cycles', 1000.75, ''],
  ['written by the guest', 12345, 'mov ecx, 0x10\nmov eax, 0xfffff000\nmov edx, 7\nwrmsr\n'],
  // The processor's counter has 64 bits; the model's doubles are exact up to 2^53, so the low half only shows a wrap.
  ['written below the clock', 1e6, 'mov ecx, 0x10\nxor eax, eax\nxor edx, edx\nwrmsr\n'],
])('%s', (_, startCycles, before) => {
  const source = `${before}${SUM}`;
  expect(sums('always', source, startCycles)).toEqual(sums('reference', source, startCycles));
});
