/**
 * The architectural state of one hardware thread, laid out in linear memory so that interpreter, compiled code and
 * monitors share it without copying.
 *
 * `Context` is hardware: it has no notion of why it runs. What a monitor adds is only where ring 0 leads. A machine that
 * belongs to its guest delivers every event through the guest's IDT. A machine that belongs to a monitor has the monitor's
 * own GDT, IDT, TSS and page tables loaded; an event whose gate leads to ring 0 reaches the monitor, which is TypeScript
 * and not simulated code: `run` then returns (`ring0Escapes`). Gates that lead to ring 1 or 3 are delivered by hardware in
 * both cases.
 */
import type { CostProfile } from '../costs/profile.js';
import type { MachineMemory } from '../memory.js';

/** Word (int32) indices into `Context.s`. General registers come first and in the encoding order of the manual. */
export const S = {
  EAX: 0,
  ECX: 1,
  EDX: 2,
  EBX: 3,
  ESP: 4,
  EBP: 5,
  ESI: 6,
  EDI: 7,
  EIP: 8,
  /** All of EFLAGS but the six arithmetic flags, which may be held lazily; use `readEflags` and `writeEflags`. */
  EFLAGS: 9,
  /** Lazy arithmetic flags: which operation last set them, its result and operands (meaning: `cpu/flags.ts`). */
  FLAG_OP: 10,
  FLAG_RESULT: 11,
  FLAG_A: 12,
  FLAG_B: 13,
  CPL: 14,
  CR0: 15,
  CR2: 16,
  CR3: 17,
  CR4: 18,
  GDT_BASE: 19,
  GDT_LIMIT: 20,
  IDT_BASE: 21,
  IDT_LIMIT: 22,
  SYSENTER_CS: 23,
  SYSENTER_ESP: 24,
  SYSENTER_EIP: 25,
  /** 1 for the one instruction after STI or MOV SS (SDM vol. 3, 6.8.3). */
  INTERRUPT_SHADOW: 26,
  /** Level of the INTR pin (0 or 1). */
  INTR: 27,
  DR0: 28,
  DR1: 29,
  DR2: 30,
  DR3: 31,
  DR6: 32,
  DR7: 33,
  /** In VMX non-root operation (`vmx/`): `Shape.NON_ROOT`, else 0. */
  NON_ROOT: 34,
  /** In non-root operation: vectors of exceptions that exit. 0 in root operation. */
  EXCEPTION_BITMAP: 35,
  /** Linear address of the last page fault. CR2 gets it when the fault is delivered or leads to ring 0. */
  FAULT_LINEAR: 36,
  /** Eight segment registers (`Seg` order), four words each: selector, base, limit (byte granular), attributes. */
  SEG: 40,
  /** Temporaries of the IR; dead between instructions. */
  TEMP: 72,
  /** Four page-directory-pointer registers, in use with CR4.PAE (`PageWalker.readPointers`). */
  PDPTE: 128,
  WORDS: 136,
} as const;

/** Segment register numbers, in the encoding order of the manual; then TR and LDTR. */
export const Seg = { ES: 0, CS: 1, SS: 2, DS: 3, FS: 4, GS: 5, TR: 6, LDTR: 7 } as const;
export type SegIndex = (typeof Seg)[keyof typeof Seg];

export const segSelector = (seg: number): number => S.SEG + seg * 4;
export const segBase = (seg: number): number => S.SEG + seg * 4 + 1;
export const segLimit = (seg: number): number => S.SEG + seg * 4 + 2;
export const segAttr = (seg: number): number => S.SEG + seg * 4 + 3;

/**
 * Segment attributes as in bits 8..23 of a descriptor's high dword, shifted down by 8 (SDM vol. 3, 3.4.5), that is the
 * form which VMX calls access rights. A register that holds a null selector has P clear.
 */
export const Attr = {
  TYPE: 0x000f,
  /** Type bit 0. */
  ACCESSED: 0x0001,
  /** Type bit 1: writable (data), readable (code). */
  WRITE_READ: 0x0002,
  /** Type bit 2: expand-down (data), conforming (code). */
  DOWN_CONFORMING: 0x0004,
  /** Type bit 3. */
  CODE: 0x0008,
  /** 1: code or data; 0: system. */
  S: 0x0010,
  DPL_SHIFT: 5,
  DPL: 0x0060,
  P: 0x0080,
  AVL: 0x1000,
  /** Default operand size / big stack. */
  DB: 0x4000,
  /** Granularity; the limit word of `Context` is already in bytes. */
  G: 0x8000,
} as const;

export const Flag = {
  CF: 1 << 0,
  PF: 1 << 2,
  AF: 1 << 4,
  ZF: 1 << 6,
  SF: 1 << 7,
  TF: 1 << 8,
  IF: 1 << 9,
  DF: 1 << 10,
  OF: 1 << 11,
  IOPL: 3 << 12,
  NT: 1 << 14,
  RF: 1 << 16,
  VM: 1 << 17,
  AC: 1 << 18,
  VIF: 1 << 19,
  VIP: 1 << 20,
  ID: 1 << 21,
  /** CF, PF, AF, ZF, SF, OF. */
  ARITHMETIC: 0x8d5,
  /** Bit 1 always reads as one. */
  FIXED: 0x2,
} as const;

export const Cr0 = {
  PE: 1,
  MP: 2,
  EM: 4,
  TS: 8,
  ET: 16,
  NE: 32,
  WP: 1 << 16,
  AM: 1 << 18,
  NW: 1 << 29,
  CD: 1 << 30,
  PG: 1 << 31,
} as const;
export const Cr4 = {
  VME: 1,
  PVI: 2,
  TSD: 4,
  DE: 8,
  PSE: 16,
  PAE: 32,
  MCE: 64,
  PGE: 128,
  PCE: 256,
  OSFXSR: 512,
  OSXMMEXCPT: 1024,
} as const;

/** What CR4 may hold: features that CPUID shows (TSD and PCE have no bit there). */
export const CR4_BUILT =
  Cr4.TSD | Cr4.DE | Cr4.PSE | Cr4.PAE | Cr4.MCE | Cr4.PGE | Cr4.PCE | Cr4.OSFXSR | Cr4.OSXMMEXCPT;

/** Exception vectors (SDM vol. 3, table 6-1). */
export const Vector = {
  DE: 0,
  DB: 1,
  NMI: 2,
  BP: 3,
  OF: 4,
  BR: 5,
  UD: 6,
  NM: 7,
  DF: 8,
  TS: 10,
  NP: 11,
  SS: 12,
  GP: 13,
  PF: 14,
  MF: 16,
  AC: 17,
  XM: 19,
} as const;

/** Page-fault error code bits (SDM vol. 3, 4.7). */
export const PfError = { P: 1, W: 2, U: 4, RSVD: 8 } as const;

/**
 * Why `Processor.run` returned. Except for `halt`, the context is at an instruction boundary with EIP at the instruction
 * that caused the exit (a fault) or at the next one to execute (everything else, including INT n and SYSENTER).
 */
export type Exit =
  /** `cycles` reached the deadline at a point where events are taken. */
  | { readonly kind: 'deadline' }
  /** HLT was executed at CPL 0; EIP is past it. */
  | { readonly kind: 'halt' }
  /** Only from `step`: one instruction was executed without further event. */
  | { readonly kind: 'stepped' }
  /**
   * An exception, an INT n or an INT3/INTO went through a gate of the loaded IDT that leads to ring 0, and ring 0 is the
   * monitor's. The price of the delivery is charged. State is that of the interrupted code: for a fault EIP is at the
   * faulting instruction, for a software interrupt and a trap behind it. `S.FAULT_LINEAR` is set for #PF.
   *
   * In VMX non-root operation: the exception bitmap wants it. The guest's CR2 is untouched, nothing is charged.
   */
  | {
      readonly kind: 'monitor';
      readonly vector: number;
      /** 0 where the vector has none. */
      readonly errorCode: number;
      readonly hasErrorCode: boolean;
      /** INT n, INT3 or INTO executed by the context. */
      readonly software: boolean;
    }
  /** SYSENTER, and ring 0 is the monitor's. EIP is behind the instruction. */
  | { readonly kind: 'sysenter' }
  /**
   * VMX non-root operation ended for another reason than an exception, which is a `monitor` exit (SDM vol. 3, 25.1 and 25.2).
   * EIP is at the instruction, if it is one.
   */
  | {
      readonly kind: 'vmExit';
      /** Basic exit reason (SDM vol. 3, appendix C). */
      readonly reason: number;
      /** Exit qualification, as an int32 (SDM vol. 3, 27.2.1). */
      readonly qualification: number;
      /** Length of the instruction in bytes, 0 where none is to blame. */
      readonly instructionBytes: number;
    }
  /** Control got to the page of the host's own routines (`HardwareThread.routinePage`). EIP is there; nothing is charged. */
  | { readonly kind: 'routine' }
  /** Triple fault: hardware would assert SHUTDOWN. */
  | { readonly kind: 'shutdown'; readonly reason: string };

/** Port I/O as the processor sees it. Values are unsigned; `width` is 1, 2 or 4 bytes. */
export interface PortBus {
  read(port: number, width: 1 | 2 | 4): number;
  write(port: number, width: 1 | 2 | 4, value: number): void;
}

/** Physical addresses that are no RAM. `physical` is what the page tables hold, before `physicalBase` is added. */
export interface MmioBus {
  read(physical: number, width: 1 | 2 | 4): number;
  write(physical: number, width: 1 | 2 | 4, value: number): void;
}

/** The interrupt controller's side of an interrupt-acknowledge cycle. */
export interface InterruptSource {
  /** Returns the vector; the controller moves the request to in-service and may lower INTR. */
  acknowledge(): number;
}

/** An instruction that is not built: reported, then #UD. */
export interface UnimplementedReport {
  readonly eip: number;
  readonly bytes: readonly number[];
  readonly text: string;
}

export interface ContextWiring {
  readonly memory: MachineMemory;
  readonly costs: CostProfile;
  readonly ports: PortBus;
  readonly mmio: MmioBus;
  readonly interrupts: InterruptSource;
  /** Machine address of physical address 0; page-aligned. 0 where a monitor owns the machine. */
  readonly physicalBase: number;
  /**
   * Bytes of RAM from physical 0. Physical addresses at or above it go to `mmio`, as do those that `isDeviceMemory`
   * claims below it.
   */
  readonly physicalBytes: number;
  isDeviceMemory(physicalPage: number): boolean;
  /** Machine address of a page of device memory that instructions may come from (a ROM), else -1. Data accesses go to `mmio`. */
  romPage?(physicalPage: number): number;
  /** An event that leads to ring 0 makes `run` return. */
  readonly ring0Escapes: boolean;
  onUnimplemented(report: UnimplementedReport): void;
  /** CPUID as this processor answers it; leaf and subleaf in, four registers out (EAX, EBX, ECX, EDX). */
  cpuid(leaf: number, subleaf: number): readonly [number, number, number, number];
  /** RDMSR and WRMSR of registers other than the three SYSENTER MSRs and the TSC; `undefined` or false means #GP(0). */
  readMsr(index: number): readonly [low: number, high: number] | undefined;
  writeMsr(index: number, low: number, high: number): boolean;
}
