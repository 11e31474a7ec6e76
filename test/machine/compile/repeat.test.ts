/** REP MOVS and REP STOS in WebAssembly against TypeScript's: every length around which the pieces of a copy change, overlaps too. */
import { expect, test } from 'vitest';
import { Repeated } from '../../../src/hypervisor/machine/cpu/compile/repeat.js';
import { Result } from '../../../src/hypervisor/machine/cpu/core.js';
import { CYCLES, POLL_AT } from '../../../src/hypervisor/machine/cpu/layout.js';
import { S, Seg } from '../../../src/hypervisor/machine/cpu/state.js';
import { Repeat, repeatString, StringKind } from '../../../src/hypervisor/machine/cpu/strings.js';
import { DATA, Machine } from '../fixture.js';

type RepeatFunction = (cpu: number, packed: number, seg: number) => number;

const SOURCE = DATA + 0x1003;
/** Where the destination is: elsewhere, across the end of a page, and over the source from below, by less and by more than a piece. */
const DESTINATIONS = [DATA + 0x3001, DATA + 0x3fe1, SOURCE - 1, SOURCE - 5, SOURCE - 40];
const BYTES_MAX = 300;

/** A machine about to repeat, whose data are all different and whose next event is far away. */
function machineFor(to: number, elements: number): Machine {
  const machine = new Machine();
  const bytes = machine.memory.bytes(machine.base + DATA, 0x5000);
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 37) ^ (i >>> 8);
  const { cpu } = machine;
  cpu.clock[POLL_AT] = cpu.clock[CYCLES]! + 1e6;
  cpu.s[S.EAX] = 0x12345678;
  cpu.s[S.ESI] = SOURCE;
  cpu.s[S.EDI] = to;
  cpu.s[S.ECX] = elements;
  return machine;
}

const stateOf = ({ cpu, memory, base }: Machine): unknown => ({
  registers: [...cpu.s.subarray(0, 8)],
  cycles: cpu.clock[CYCLES],
  memory: Buffer.from(memory.bytes(base + DATA, 0x5000)).toString('base64'),
});

test.each([
  ['MOVS', StringKind.MOVS],
  ['STOS', StringKind.STOS],
] as const)('REP %s leaves what TypeScript leaves', (_, kind) => {
  let done = 0;
  for (const to of DESTINATIONS) {
    const generated = machineFor(to, 0);
    const reference = machineFor(to, 0);
    const repeat = generated.cache.compiler.runtime.repeat as RepeatFunction;
    for (const size of [1, 2, 4]) {
      const packed = kind | (size << 4);
      for (let elements = 0; elements * size <= BYTES_MAX; elements++) {
        for (const { cpu } of [generated, reference]) {
          cpu.s[S.ESI] = SOURCE;
          cpu.s[S.EDI] = to;
          cpu.s[S.ECX] = elements;
        }
        const answer = repeat(generated.cpu.s.byteOffset, packed, Seg.DS);
        const rest = () => repeatString(generated.cpu, packed | (Repeat.REP << 8), Seg.DS);
        if (answer === Repeated.DONE) done += 1;
        else while (rest() !== Result.DONE);
        while (repeatString(reference.cpu, packed | (Repeat.REP << 8), Seg.DS) !== Result.DONE);
        expect(generated.cpu.s[S.ECX], `${elements} of ${size} to ${to.toString(16)}`).toBe(0);
        if (elements % 7 === 0) expect(stateOf(generated)).toEqual(stateOf(reference));
      }
      expect(stateOf(generated)).toEqual(stateOf(reference));
    }
  }
  // Else the comparison says little.
  expect(done).toBeGreaterThan(1500);
});
