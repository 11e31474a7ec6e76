/**
 * The VM-execution, exit and entry controls (SDM vol. 3, 24.6 to 24.8) with what the first processors allowed: no secondary
 * controls, no MSR bitmaps, no nested paging, no VPID.
 */

export const PinControl = { EXTERNAL_INTERRUPT: 1 << 0, NMI: 1 << 3 } as const;

export const CpuControl = {
  INTERRUPT_WINDOW: 1 << 2,
  TSC_OFFSETTING: 1 << 3,
  HLT: 1 << 7,
  INVLPG: 1 << 9,
  RDTSC: 1 << 12,
  /** Must be one on this hardware, as must the next. */
  CR3_LOAD: 1 << 15,
  CR3_STORE: 1 << 16,
  MOV_DR: 1 << 23,
  UNCONDITIONAL_IO: 1 << 24,
  IO_BITMAPS: 1 << 25,
} as const;

export const ExitControl = { ACKNOWLEDGE_INTERRUPT: 1 << 15 } as const;

/** Bits that must be one, and bits that may be (the capability MSRs IA32_VMX_*_CTLS: SDM vol. 3, appendix A). */
export interface Allowed {
  readonly zero: number;
  readonly one: number;
}
const allowed = (zero: number, more: readonly number[]): Allowed => ({
  zero,
  one: more.reduce((bits, bit) => bits | bit, zero),
});
export const PIN_ALLOWED = allowed(0x16, Object.values(PinControl));
export const CPU_ALLOWED = allowed(0x0401e172, Object.values(CpuControl));
export const EXIT_ALLOWED = allowed(0x00036dff, Object.values(ExitControl));
export const ENTRY_ALLOWED = allowed(0x000011ff, []);

export const isAllowed = (value: number, { zero, one }: Allowed): boolean =>
  (value & zero) === zero && (value & ~one) === 0;

/** Interruption information, alike for injection, exits and vectoring (SDM vol. 3, 24.8.3, 24.9.2 and 24.9.3). */
export const Interruption = {
  VECTOR: 0xff,
  TYPE_SHIFT: 8,
  TYPE: 7 << 8,
  ERROR_CODE: 1 << 11,
  VALID: 1 << 31,
} as const;
export const InterruptionType = {
  EXTERNAL: 0,
  NMI: 2,
  HARDWARE_EXCEPTION: 3,
  SOFTWARE_INTERRUPT: 4,
  /** INT1. */
  PRIVILEGED_SOFTWARE_EXCEPTION: 5,
  /** INT3 and INTO. */
  SOFTWARE_EXCEPTION: 6,
} as const;

/** Interruptibility state (SDM vol. 3, table 24-3). */
export const Blocking = { STI: 1, MOV_SS: 2 } as const;

/** What the processor asks in the course of non-root operation: the controls of the current VMCS. */
export interface NonRootControls {
  readonly cpu: number;
  readonly cr0Mask: number;
  readonly cr0Shadow: number;
  readonly cr4Mask: number;
  readonly cr4Shadow: number;
  /** CR3 values whose load does not exit. */
  readonly cr3Targets: readonly number[];
  readonly pageFaultMask: number;
  readonly pageFaultMatch: number;
  /** Machine addresses of the I/O bitmaps. */
  readonly ioBitmapA: number;
  readonly ioBitmapB: number;
}

/** An event whose delivery has not been completed. */
export interface Vectoring {
  readonly vector: number;
  /** `InterruptionType`. */
  readonly type: number;
  readonly errorCode: number | undefined;
  /** Of a software interrupt or exception; else 0. */
  readonly instructionBytes: number;
}
