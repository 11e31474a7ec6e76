/**
 * CPUID of the virtual processor: a Core-microarchitecture Xeon reduced to what the simulated hardware really has (SDM vol. 2,
 * CPUID; no SSE3, APIC or MTRR, no execute-disable bit). It is the same natively and under every monitor but for PAE: a VM with the VMI
 * ROM does not have it, since the calls for page tables know two-level paging only.
 *
 * Floating-point state belongs to the hardware thread, of which every vCPU has its own, and the monitors carry CR0.TS, EM and MP to
 * hardware. One thing shows a guest where it is: the x87 instruction pointer that a kernel's own floating-point code leaves in a state
 * image is an address of the translation cache under BT.
 */
import type { CostProfile } from '../machine/costs/profile.js';

type Registers = readonly [eax: number, ebx: number, ecx: number, edx: number];

/** Family 6, model 15, stepping 6: Woodcrest. */
const SIGNATURE = 0x06f6;
const Feature = {
  FPU: 1 << 0,
  DE: 1 << 2,
  PSE: 1 << 3,
  TSC: 1 << 4,
  MSR: 1 << 5,
  PAE: 1 << 6,
  CX8: 1 << 8,
  SEP: 1 << 11,
  PGE: 1 << 13,
  CMOV: 1 << 15,
  MMX: 1 << 23,
  FXSR: 1 << 24,
  SSE: 1 << 25,
  SSE2: 1 << 26,
} as const;
const FEATURES =
  Feature.FPU |
  Feature.DE |
  Feature.PSE |
  Feature.TSC |
  Feature.MSR |
  Feature.PAE |
  Feature.CX8 |
  Feature.SEP |
  Feature.PGE |
  Feature.CMOV |
  Feature.MMX |
  Feature.FXSR |
  Feature.SSE |
  Feature.SSE2;
/** Where a guest may go on under VMI. */
export const VMI_FEATURES = FEATURES & ~Feature.PAE;
const BRAND_BYTES = 48;

const word = (text: string, at: number): number =>
  [0, 1, 2, 3].reduce((value, i) => value | ((at + i < text.length ? text.charCodeAt(at + i) : 0) << (8 * i)), 0);

/** CPUID as a processor answers it that has the features of `features` (leaf 1, EDX). */
export function cpuidOf(costs: CostProfile, features = FEATURES): (leaf: number, subleaf: number) => Registers {
  const vendor = 'GenuineIntel';
  const brand = costs.cpu.slice(0, BRAND_BYTES - 1);
  return leaf => {
    const index = leaf >>> 0;
    switch (index) {
      case 0:
        return [1, word(vendor, 0), word(vendor, 8), word(vendor, 4)];
      case 0x80000000:
        return [0x80000004 | 0, 0, 0, 0];
      case 0x80000001:
        return [0, 0, 0, 0];
      case 0x80000002:
      case 0x80000003:
      case 0x80000004: {
        const at = (index - 0x80000002) * 16;
        return [word(brand, at), word(brand, at + 4), word(brand, at + 8), word(brand, at + 12)];
      }
      default:
        // Leaves beyond the last one answer as the last basic one does.
        return [SIGNATURE, 0, 0, features];
    }
  };
}
