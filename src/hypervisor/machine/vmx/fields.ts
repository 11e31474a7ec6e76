/**
 * The fields of a VMCS by their encodings (SDM vol. 3, appendix B). Bits 14:13 of an encoding are the width, bits 11:10 the kind of
 * data; bit 0 asks for the high half of a 64-bit field.
 */
export const Field = {
  // Guest selectors, in the order ES, CS, SS, DS, FS, GS, LDTR, TR; host selectors likewise, without LDTR.
  GUEST_ES_SELECTOR: 0x0800,
  HOST_ES_SELECTOR: 0x0c00,
  HOST_CS_SELECTOR: 0x0c02,
  HOST_SS_SELECTOR: 0x0c04,
  HOST_DS_SELECTOR: 0x0c06,
  HOST_FS_SELECTOR: 0x0c08,
  HOST_GS_SELECTOR: 0x0c0a,
  HOST_TR_SELECTOR: 0x0c0c,
  IO_BITMAP_A: 0x2000,
  IO_BITMAP_B: 0x2002,
  TSC_OFFSET: 0x2010,
  LINK_POINTER: 0x2800,
  PIN_CONTROLS: 0x4000,
  CPU_CONTROLS: 0x4002,
  EXCEPTION_BITMAP: 0x4004,
  PAGE_FAULT_MASK: 0x4006,
  PAGE_FAULT_MATCH: 0x4008,
  CR3_TARGET_COUNT: 0x400a,
  EXIT_CONTROLS: 0x400c,
  ENTRY_CONTROLS: 0x4012,
  ENTRY_INTERRUPTION: 0x4016,
  ENTRY_ERROR_CODE: 0x4018,
  ENTRY_INSTRUCTION_BYTES: 0x401a,
  INSTRUCTION_ERROR: 0x4400,
  EXIT_REASON: 0x4402,
  EXIT_INTERRUPTION: 0x4404,
  EXIT_ERROR_CODE: 0x4406,
  VECTORING: 0x4408,
  VECTORING_ERROR_CODE: 0x440a,
  EXIT_INSTRUCTION_BYTES: 0x440c,
  GUEST_ES_LIMIT: 0x4800,
  GUEST_GDTR_LIMIT: 0x4810,
  GUEST_IDTR_LIMIT: 0x4812,
  GUEST_ES_RIGHTS: 0x4814,
  GUEST_INTERRUPTIBILITY: 0x4824,
  GUEST_ACTIVITY: 0x4826,
  GUEST_SYSENTER_CS: 0x482a,
  HOST_SYSENTER_CS: 0x4c00,
  CR0_MASK: 0x6000,
  CR4_MASK: 0x6002,
  CR0_SHADOW: 0x6004,
  CR4_SHADOW: 0x6006,
  CR3_TARGET_0: 0x6008,
  EXIT_QUALIFICATION: 0x6400,
  GUEST_CR0: 0x6800,
  GUEST_CR3: 0x6802,
  GUEST_CR4: 0x6804,
  GUEST_ES_BASE: 0x6806,
  GUEST_GDTR_BASE: 0x6816,
  GUEST_IDTR_BASE: 0x6818,
  GUEST_DR7: 0x681a,
  GUEST_RSP: 0x681c,
  GUEST_RIP: 0x681e,
  GUEST_RFLAGS: 0x6820,
  GUEST_PENDING_DEBUG: 0x6822,
  GUEST_SYSENTER_ESP: 0x6824,
  GUEST_SYSENTER_EIP: 0x6826,
  HOST_CR0: 0x6c00,
  HOST_CR3: 0x6c02,
  HOST_CR4: 0x6c04,
  HOST_GDTR_BASE: 0x6c0c,
  HOST_IDTR_BASE: 0x6c0e,
  HOST_RSP: 0x6c14,
  HOST_RIP: 0x6c16,
} as const;
export type Field = (typeof Field)[keyof typeof Field];

/** CR3 targets that the hardware compares with. */
export const CR3_TARGETS = 4;
/** Registers of the guest-state area, in its order; and hardware's segment numbers (`Seg`) in that order. */
export const GUEST_SEGMENTS = [0, 1, 2, 3, 4, 5, 7, 6] as const;
const HOST_SEGMENTS = 7;

/** Encoding of one of a row of fields that are two apart. */
export const nth = (first: number, index: number): number => first + 2 * index;

const row = (first: number, count: number): number[] => Array.from({ length: count }, (_, i) => nth(first, i));

/** Every field that this hardware has, each once. */
export const FIELDS: readonly number[] = [
  ...new Set<number>([
    ...Object.values(Field),
    ...row(Field.GUEST_ES_SELECTOR, GUEST_SEGMENTS.length),
    ...row(Field.HOST_ES_SELECTOR, HOST_SEGMENTS),
    ...row(Field.GUEST_ES_LIMIT, GUEST_SEGMENTS.length),
    ...row(Field.GUEST_ES_RIGHTS, GUEST_SEGMENTS.length),
    ...row(Field.GUEST_ES_BASE, GUEST_SEGMENTS.length),
    ...row(Field.CR3_TARGET_0, CR3_TARGETS),
  ]),
];

/** 64 bits wide: two words. */
export const isWide = (field: number): boolean => ((field >>> 13) & 3) === 1;
/** Written by the processor alone. */
export const isReadOnly = (field: number): boolean => ((field >>> 10) & 3) === 1;
