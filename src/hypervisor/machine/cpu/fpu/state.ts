/**
 * State of the x87 unit, MMX and SSE of one hardware thread (SDM vol. 1, 8.1, 9.2 and 10.2), in linear memory.
 *
 * An x87 register is 16 bytes, as in an FXSAVE image: the significand in words 0 and 1, sign and exponent in word 2. They are
 * indexed by physical number; ST(i) is register (TOP + i) mod 8, and MM(i) is the significand of register i.
 */
import type { MachineMemory } from '../../memory.js';

/** Word (int32) indices into `FpuState.w`. */
export const F = {
  /** Eight x87 registers of four words. */
  REGISTERS: 0,
  /** Eight XMM registers of four words. */
  XMM: 32,
  /** A memory operand on its way in or out, 16 bytes. */
  OPERAND: 64,
  /** A result that is not yet committed, 16 bytes. */
  RESULT: 68,
  CONTROL: 72,
  /** Status word without TOP. */
  STATUS: 73,
  TOP: 74,
  /** Bit n: physical register n is not empty. */
  VALID: 75,
  /** Last instruction that was not a control instruction: address, selector and the low 11 bits of its opcode. */
  INSTRUCTION: 76,
  INSTRUCTION_SELECTOR: 77,
  OPCODE: 78,
  /** Its memory operand. */
  DATA: 79,
  DATA_SELECTOR: 80,
  MXCSR: 81,
  WORDS: 96,
} as const;

/** Exceptions, at the places that they have in the status word, the control word and MXCSR. */
export const Raise = {
  INVALID: 1,
  DENORMAL: 2,
  ZERO_DIVIDE: 4,
  OVERFLOW: 8,
  UNDERFLOW: 16,
  PRECISION: 32,
  ALL: 63,
  /** Stack fault (status word only); C1 says whether the stack overflowed. */
  STACK: 64,
  /** C1: the result was rounded away from zero, or the stack overflowed. */
  UP: 0x200,
} as const;

/** Condition codes and summary bits of the status word. */
export const Status = {
  C0: 0x100,
  C1: 0x200,
  C2: 0x400,
  C3: 0x4000,
  CONDITIONS: 0x4700,
  SUMMARY: 0x80,
  BUSY: 0x8000,
} as const;

export const MXCSR_DEFAULT = 0x1f80;
/** All bits of MXCSR that this processor has (FXSAVE reports it; others are refused with #GP). */
export const MXCSR_MASK = 0xffff;
export const MxcsrBit = { DENORMALS_ARE_ZERO: 0x40, FLUSH_TO_ZERO: 0x8000 } as const;

export class FpuState {
  readonly w: Int32Array;
  readonly u8: Uint8Array;
  readonly i8: Int8Array;
  readonly u16: Uint16Array;
  readonly i16: Int16Array;
  readonly f32: Float32Array;
  readonly f64: Float64Array;

  constructor(memory: MachineMemory) {
    const bytes = F.WORDS * 4;
    const at = memory.reserve(bytes);
    const buffer = memory.wasm.buffer;
    this.w = new Int32Array(buffer, at, F.WORDS);
    this.u8 = new Uint8Array(buffer, at, bytes);
    this.i8 = new Int8Array(buffer, at, bytes);
    this.u16 = new Uint16Array(buffer, at, bytes / 2);
    this.i16 = new Int16Array(buffer, at, bytes / 2);
    this.f32 = new Float32Array(buffer, at, F.WORDS);
    this.f64 = new Float64Array(buffer, at, bytes / 8);
    this.reset();
  }

  /** State after RESET (SDM vol. 3, table 9-1): registers hold +0 and are not empty. */
  reset(): void {
    this.w.fill(0);
    this.w[F.CONTROL] = 0x40;
    this.w[F.VALID] = 0xff;
    this.w[F.MXCSR] = MXCSR_DEFAULT;
  }

  /** FNINIT; the registers keep their bits. */
  initialize(): void {
    const { w } = this;
    w[F.CONTROL] = 0x37f;
    w[F.STATUS] = 0;
    w[F.TOP] = 0;
    w[F.VALID] = 0;
    w[F.INSTRUCTION] = 0;
    w[F.INSTRUCTION_SELECTOR] = 0;
    w[F.OPCODE] = 0;
    w[F.DATA] = 0;
    w[F.DATA_SELECTOR] = 0;
  }

  /** Status word with TOP. */
  get status(): number {
    return this.w[F.STATUS] | (this.w[F.TOP] << 11);
  }

  set status(value: number) {
    this.w[F.STATUS] = value & 0xc7ff & ~0x3800;
    this.w[F.TOP] = (value >>> 11) & 7;
    this.summarize();
  }

  get control(): number {
    return this.w[F.CONTROL];
  }

  /** Bit 6 always reads as one. */
  set control(value: number) {
    this.w[F.CONTROL] = (value & 0x1f7f) | 0x40;
    this.summarize();
  }

  /** Sets the summary bits from the flags and the masks. */
  summarize(): void {
    const { w } = this;
    const pending = (w[F.STATUS] & ~w[F.CONTROL] & Raise.ALL) !== 0;
    w[F.STATUS] = (w[F.STATUS] & ~(Status.SUMMARY | Status.BUSY)) | (pending ? Status.SUMMARY | Status.BUSY : 0);
  }
}
