/** Every instruction of x87, MMX, SSE and SSE2 that 32-bit code can have is built. */
import { Code, CpuidFeature, Instruction, Mnemonic } from 'iced-x86';
import { expect, test } from 'vitest';
import { CONTROL } from '../../../src/hypervisor/machine/cpu/lower-control.js';
import { DATA } from '../../../src/hypervisor/machine/cpu/lower-data.js';
import { FPU } from '../../../src/hypervisor/machine/cpu/lower-fpu.js';
import { withSimd } from '../../../src/hypervisor/machine/cpu/lower-simd.js';

const FEATURES: ReadonlySet<CpuidFeature> = new Set([
  CpuidFeature.FPU,
  CpuidFeature.FPU287,
  CpuidFeature.FPU387,
  CpuidFeature.MMX,
  CpuidFeature.SSE,
  CpuidFeature.SSE2,
  CpuidFeature.FXSR,
]);

/** FWAIT and its successor in one, which decodes as two instructions; what only 64-bit code has; hints, which are decoded as reserved NOPs. */
const NOT_DECODED = [
  'Finit',
  'Fclex',
  'Fstcw',
  'Fstsw',
  'Fstenv',
  'Fsave',
  'Feni',
  'Fdisi',
  'Fsetpm',
  'Fxsave64',
  'Fxrstor64',
  'Prefetchnta',
  'Prefetcht0',
  'Prefetcht1',
  'Prefetcht2',
];

test('no instruction of the features that CPUID shows is missing', () => {
  const built = withSimd([...DATA, ...CONTROL, ...FPU]);
  const instruction = new Instruction();
  const missing = new Set<string>();
  let seen = 0;
  for (const key of Object.keys(Code).map(Number)) {
    if (Number.isNaN(key)) continue;
    instruction.code = key;
    if (![...instruction.cpuidFeatures()].some(feature => FEATURES.has(feature))) continue;
    seen += 1;
    if (!built.has(instruction.mnemonic)) missing.add(Mnemonic[instruction.mnemonic]!);
  }
  expect(seen).toBeGreaterThan(400);
  expect([...missing].sort()).toEqual([...NOT_DECODED].sort());
});
