/**
 * CPUID of the virtual processor: one of a few of Intel's, reduced to what the simulated hardware really has (SDM vol. 2, CPUID; no SSE3,
 * no execute-disable bit; machine checks never come). It is the same natively and under every monitor.
 *
 * A model changes what the guest is told, not what the processor does: an instruction that an older one did not have is not refused, and
 * prices are those of the host's processor.
 *
 * Floating-point state belongs to the hardware thread, of which every vCPU has its own, and the monitors carry CR0.TS, EM and MP to
 * hardware. One thing shows a guest where it is: the x87 instruction pointer that a kernel's own floating-point code leaves in a state
 * image is an address of the translation cache under BT.
 */
import type { CostProfile } from '../machine/costs/profile.js';

type Registers = readonly [eax: number, ebx: number, ecx: number, edx: number];

const Feature = {
  FPU: 1 << 0,
  DE: 1 << 2,
  PSE: 1 << 3,
  TSC: 1 << 4,
  MSR: 1 << 5,
  PAE: 1 << 6,
  MCE: 1 << 7,
  CX8: 1 << 8,
  APIC: 1 << 9,
  SEP: 1 << 11,
  MTRR: 1 << 12,
  PGE: 1 << 13,
  MCA: 1 << 14,
  CMOV: 1 << 15,
  PAT: 1 << 16,
  MMX: 1 << 23,
  FXSR: 1 << 24,
  SSE: 1 << 25,
  SSE2: 1 << 26,
} as const;
const SINCE_PENTIUM_2 =
  Feature.FPU |
  Feature.DE |
  Feature.PSE |
  Feature.TSC |
  Feature.MSR |
  Feature.PAE |
  Feature.MCE |
  Feature.CX8 |
  Feature.SEP |
  Feature.MTRR |
  Feature.PGE |
  Feature.MCA |
  Feature.CMOV |
  Feature.PAT |
  Feature.MMX |
  Feature.FXSR;
const SINCE_PENTIUM_4 = SINCE_PENTIUM_2 | Feature.SSE | Feature.SSE2;

interface Model {
  /** Leaf 1, EAX: family, model and stepping. */
  readonly signature: number;
  /** Leaf 1, EDX. */
  readonly features: number;
  /** Leaf 2: what caches and TLBs the processor has, as descriptors. Absent: leaf 1 is the last one. */
  readonly caches?: Registers;
  /** Leaves 80000002 to 80000004; `host`: that of the processor whose prices the host uses. Absent: there are no extended leaves. */
  readonly brand?: string | 'host';
}

/** Signatures and cache descriptors as the processors give them (Intel, Application Note 485). */
const MODELS = {
  /** Deschutes with 512 KiB. */
  pentium2: {
    signature: 0x0652,
    features: SINCE_PENTIUM_2,
    caches: [0x03020101, 0, 0, 0x0c040843],
  },
  /** A 672: Prescott with 2 MiB, the first with VT-x. */
  pentium4: {
    signature: 0x0f4a,
    features: SINCE_PENTIUM_4,
    caches: [0x605b5001, 0, 0, 0x007d7040],
    brand: 'Intel(R) Pentium(R) 4 CPU 3.80GHz',
  },
  /** Woodcrest. */
  'xeon-5160': { signature: 0x06f6, features: SINCE_PENTIUM_4, brand: 'host' },
} as const satisfies Record<string, Model>;

export type CpuModel = keyof typeof MODELS;
export const CPU_MODELS = Object.keys(MODELS) as [CpuModel, ...CpuModel[]];
export const DEFAULT_CPU: CpuModel = 'xeon-5160';

/** Leaf 1, EBX. */
const APIC_ID_SHIFT = 24;
const BRAND_BYTES = 48;
const EXTENDED = 0x80000000;
const BRAND_FIRST = 0x80000002;
const EXTENDED_LAST = 0x80000004;

const word = (text: string, at: number): number =>
  [0, 1, 2, 3].reduce((value, i) => value | ((at + i < text.length ? text.charCodeAt(at + i) : 0) << (8 * i)), 0);

/**
 * CPUID as a processor of this model answers it. `apicId`: that of the local APIC now, undefined while there
 * is none or it is disabled.
 */
export function cpuidOf(
  costs: CostProfile,
  name: CpuModel = DEFAULT_CPU,
  apicId: () => number | undefined = () => undefined,
): (leaf: number, subleaf: number) => Registers {
  const model: Model = MODELS[name];
  const vendor = 'GenuineIntel';
  const brand = (model.brand === 'host' ? costs.cpu : (model.brand ?? '')).slice(0, BRAND_BYTES - 1);
  const { features } = model;
  const identity = (): Registers => {
    const id = apicId();
    if (id === undefined) return [model.signature, 0, 0, features];
    return [model.signature, id << APIC_ID_SHIFT, 0, features | Feature.APIC];
  };
  return leaf => {
    const index = leaf >>> 0;
    if (index === 0) return [model.caches === undefined ? 1 : 2, word(vendor, 0), word(vendor, 8), word(vendor, 4)];
    if (index === 1) return identity();
    if (model.brand !== undefined) {
      if (index === EXTENDED) return [EXTENDED_LAST | 0, 0, 0, 0];
      if (index === EXTENDED + 1) return [0, 0, 0, 0];
      if (index >= BRAND_FIRST && index <= EXTENDED_LAST) {
        const at = (index - BRAND_FIRST) * 16;
        return [word(brand, at), word(brand, at + 4), word(brand, at + 8), word(brand, at + 12)];
      }
    }
    // Leaves beyond the last one answer as the last basic one does.
    return model.caches ?? identity();
  };
}
