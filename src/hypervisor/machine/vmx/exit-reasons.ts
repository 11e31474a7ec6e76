/** Basic exit reasons (SDM vol. 3, appendix C) that first-generation hardware has. */
export const ExitReason = {
  EXCEPTION: 0,
  EXTERNAL_INTERRUPT: 1,
  TRIPLE_FAULT: 2,
  INTERRUPT_WINDOW: 7,
  TASK_SWITCH: 9,
  CPUID: 10,
  HLT: 12,
  INVD: 13,
  INVLPG: 14,
  RDTSC: 16,
  VMCALL: 18,
  VMCLEAR: 19,
  VMLAUNCH: 20,
  VMPTRLD: 21,
  VMPTRST: 22,
  VMREAD: 23,
  VMRESUME: 24,
  VMWRITE: 25,
  VMXOFF: 26,
  VMXON: 27,
  CONTROL_REGISTER: 28,
  DEBUG_REGISTER: 29,
  IO: 30,
  RDMSR: 31,
  WRMSR: 32,
  INVALID_GUEST_STATE: 33,
} as const;
export type ExitReason = (typeof ExitReason)[keyof typeof ExitReason];

/** Bit 31 of the exit reason: the VM entry failed (SDM vol. 3, 24.9.1). */
export const ENTRY_FAILURE = 1 << 31;

/** VM-instruction errors (SDM vol. 3, 30.4). */
export const VmError = {
  VMCLEAR_ADDRESS: 2,
  VMLAUNCH_NOT_CLEAR: 4,
  VMRESUME_NOT_LAUNCHED: 5,
  INVALID_CONTROLS: 7,
  INVALID_HOST_STATE: 8,
  VMPTRLD_ADDRESS: 9,
  VMPTRLD_REVISION: 11,
  UNSUPPORTED_FIELD: 12,
  READ_ONLY_FIELD: 13,
} as const;
export type VmError = (typeof VmError)[keyof typeof VmError];

/** Kinds of control-register access in the exit qualification (SDM vol. 3, table 27-3). */
export const CrAccess = { MOV_TO: 0, MOV_FROM: 1, CLTS: 2, LMSW: 3 } as const;
/** Where its parts are. */
export const CrQualification = { ACCESS_SHIFT: 4, REGISTER_SHIFT: 8, SOURCE_SHIFT: 16 } as const;

/** Exit qualification of I/O instructions (SDM vol. 3, table 27-5). The low three bits are the width less one. */
export const IoQualification = {
  WIDTH: 7,
  IN: 1 << 3,
  STRING: 1 << 4,
  REP: 1 << 5,
  IMMEDIATE: 1 << 6,
  PORT_SHIFT: 16,
} as const;

/** Exit qualification of MOV DR (SDM vol. 3, table 27-4). The low three bits are the debug register. */
export const DrQualification = { NUMBER: 7, FROM: 1 << 4, REGISTER_SHIFT: 8 } as const;
