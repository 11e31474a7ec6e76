/**
 * Lazy arithmetic flags (SDM vol. 1, 3.4.3.1). An operation leaves its kind, operands and result in four state words; a
 * flag is computed when somebody asks.
 *
 * Operands and result of 8- and 16-bit operations are kept sign-extended to 32 bits. Sign extension preserves both the
 * signed and the unsigned order, so one formula serves all three sizes.
 */
import { Flag, S } from './state.js';

/** Kinds of operation in `S.FLAG_OP`. */
export const FlagOp = {
  /** RESULT is an image of the six flags at their EFLAGS places. */
  IMAGE: 0,
  /** CF = OF = AF = 0. */
  LOGIC: 1,
  ADD: 2,
  SUB: 3,
  /** Addition with a carry in of 1. */
  ADD_CARRY: 4,
  /** Subtraction with a borrow in of 1. */
  SUB_BORROW: 5,
  /** A is the operand, B the carry from before. */
  INC: 6,
  DEC: 7,
  /** A is CF, B is OF (0 or 1), AF = 0. */
  CARRY_OVERFLOW: 8,
} as const;

/** CF as 0 or 1. */
export function carryFlag(s: Int32Array): number {
  const a = s[S.FLAG_A]!;
  switch (s[S.FLAG_OP]) {
    case FlagOp.IMAGE:
      return s[S.FLAG_RESULT]! & 1;
    case FlagOp.LOGIC:
      return 0;
    case FlagOp.ADD:
      return s[S.FLAG_RESULT]! >>> 0 < a >>> 0 ? 1 : 0;
    case FlagOp.SUB:
      return a >>> 0 < s[S.FLAG_B]! >>> 0 ? 1 : 0;
    case FlagOp.ADD_CARRY:
      return s[S.FLAG_RESULT]! >>> 0 <= a >>> 0 ? 1 : 0;
    case FlagOp.SUB_BORROW:
      return a >>> 0 <= s[S.FLAG_B]! >>> 0 ? 1 : 0;
    case FlagOp.CARRY_OVERFLOW:
      return a;
    default:
      return s[S.FLAG_B]!;
  }
}

/** OF as 0 or 1. */
export function overflowFlag(s: Int32Array): number {
  const a = s[S.FLAG_A]!;
  const b = s[S.FLAG_B]!;
  const result = s[S.FLAG_RESULT]!;
  switch (s[S.FLAG_OP]) {
    case FlagOp.IMAGE:
      return (result >>> 11) & 1;
    case FlagOp.LOGIC:
      return 0;
    case FlagOp.ADD:
    case FlagOp.ADD_CARRY:
      return ((a ^ result) & (b ^ result)) >>> 31;
    case FlagOp.SUB:
    case FlagOp.SUB_BORROW:
      return ((a ^ b) & (a ^ result)) >>> 31;
    case FlagOp.INC:
      return (~a & result) >>> 31;
    case FlagOp.DEC:
      return (a & ~result) >>> 31;
    default:
      return b;
  }
}

export function zeroFlag(s: Int32Array): number {
  const result = s[S.FLAG_RESULT]!;
  return s[S.FLAG_OP] === FlagOp.IMAGE ? (result >>> 6) & 1 : result === 0 ? 1 : 0;
}

export function signFlag(s: Int32Array): number {
  const result = s[S.FLAG_RESULT]!;
  return s[S.FLAG_OP] === FlagOp.IMAGE ? (result >>> 7) & 1 : result >>> 31;
}

/** PF: even parity of the low byte. 0x9669 is the table of the parities of four bits. */
export function parityFlag(s: Int32Array): number {
  const result = s[S.FLAG_RESULT]!;
  if (s[S.FLAG_OP] === FlagOp.IMAGE) return (result >>> 2) & 1;
  return (0x9669 >>> ((result ^ (result >>> 4)) & 15)) & 1;
}

function adjustFlag(s: Int32Array): number {
  const result = s[S.FLAG_RESULT]!;
  switch (s[S.FLAG_OP]) {
    case FlagOp.IMAGE:
      return (result >>> 4) & 1;
    case FlagOp.LOGIC:
    case FlagOp.CARRY_OVERFLOW:
      return 0;
    case FlagOp.INC:
      return (result & 15) === 0 ? 1 : 0;
    case FlagOp.DEC:
      return (result & 15) === 15 ? 1 : 0;
    default:
      return ((s[S.FLAG_A]! ^ s[S.FLAG_B]! ^ result) >>> 4) & 1;
  }
}

/** The six arithmetic flags at their places in EFLAGS. */
export function arithmeticFlags(s: Int32Array): number {
  if (s[S.FLAG_OP] === FlagOp.IMAGE) return s[S.FLAG_RESULT]! & Flag.ARITHMETIC;
  return (
    carryFlag(s) |
    (parityFlag(s) << 2) |
    (adjustFlag(s) << 4) |
    (zeroFlag(s) << 6) |
    (signFlag(s) << 7) |
    (overflowFlag(s) << 11)
  );
}

export function setArithmeticFlags(s: Int32Array, image: number): void {
  s[S.FLAG_OP] = FlagOp.IMAGE;
  s[S.FLAG_RESULT] = image & Flag.ARITHMETIC;
}

/** Condition `cc` as in the low four bits of Jcc (SDM vol. 2, appendix B.1.4.7). */
export function condition(s: Int32Array, cc: number): boolean {
  let holds: boolean;
  const subtraction = s[S.FLAG_OP] === FlagOp.SUB;
  switch (cc >> 1) {
    case 0:
      holds = overflowFlag(s) !== 0;
      break;
    case 1:
      holds = subtraction ? s[S.FLAG_A]! >>> 0 < s[S.FLAG_B]! >>> 0 : carryFlag(s) !== 0;
      break;
    case 2:
      holds = zeroFlag(s) !== 0;
      break;
    case 3:
      holds = subtraction ? s[S.FLAG_A]! >>> 0 <= s[S.FLAG_B]! >>> 0 : (carryFlag(s) | zeroFlag(s)) !== 0;
      break;
    case 4:
      holds = signFlag(s) !== 0;
      break;
    case 5:
      holds = parityFlag(s) !== 0;
      break;
    case 6:
      holds = subtraction ? s[S.FLAG_A]! < s[S.FLAG_B]! : signFlag(s) !== overflowFlag(s);
      break;
    default:
      holds = subtraction ? s[S.FLAG_A]! <= s[S.FLAG_B]! : zeroFlag(s) !== 0 || signFlag(s) !== overflowFlag(s);
  }
  return holds === ((cc & 1) === 0);
}

/** Flags of a comparison of sign-extended operands of `size` bytes. */
export function setSub(s: Int32Array, left: number, right: number, size: number): void {
  const up = 32 - size * 8;
  s[S.FLAG_OP] = FlagOp.SUB;
  s[S.FLAG_RESULT] = ((left - right) << up) >> up;
  s[S.FLAG_A] = left;
  s[S.FLAG_B] = right;
}
