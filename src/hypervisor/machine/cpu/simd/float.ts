/**
 * SSE and SSE2 arithmetic on singles and doubles (SDM vol. 1, 10.4 and 11.4; exceptions in 11.5). Bits 8..11 of `a` are the number of
 * lanes, 12..15 the operation.
 *
 * A lane is computed twice over at most: JavaScript's own arithmetic is right where rounding is to nearest and the only exception
 * is inexactness that MXCSR already shows and masks; of singles too, since a double has more than twice their digits. All else
 * goes through the soft arithmetic of x87.
 */
import type { Core } from '../core.js';
import { FlagOp } from '../flags.js';
import { fromDouble, fromSingle, packDoubleHigh, packDoubleLow, packSingle } from '../fpu/convert.js';
import {
  add,
  compare,
  DOUBLE,
  divide,
  Extended,
  FLUSH,
  type Format,
  isNan,
  isZero,
  multiply,
  SINGLE,
  squareRoot,
} from '../fpu/soft.js';
import { F, type FpuState, MxcsrBit, Raise } from '../fpu/state.js';
import { Cr4, Flag, S, Vector } from '../state.js';
import { begin } from './access.js';

/** Operations; the first ones as in the encoding of opcodes 0F 58 to 0F 5F. */
export const Float = { ADD: 0, MULTIPLY: 1, SUBTRACT: 4, MINIMUM: 5, DIVIDE: 6, MAXIMUM: 7, SQRT: 8 } as const;

const SIGN = 0x8000;
const x = new Extended();
const y = new Extended();
const z = new Extended();

const BEFORE = Raise.INVALID | Raise.DENORMAL | Raise.ZERO_DIVIDE;
/** Masks and rounding of MXCSR in the form of `soft.ts`. */
export const modeOf = (mxcsr: number): number =>
  ((mxcsr >> 7) & Raise.ALL) |
  (((mxcsr >> 13) & 3) << 6) |
  ((mxcsr & MxcsrBit.FLUSH_TO_ZERO) !== 0 && (mxcsr & (Raise.UNDERFLOW << 7)) !== 0 ? FLUSH : 0);

/** Enters exceptions into MXCSR; false with #XM pending (or #UD, where the system does not expect #XM). */
export function settle(cpu: Core, raised: number): boolean {
  const { w } = cpu.fpu;
  const unmasked = raised & ~(w[F.MXCSR] >> 7) & Raise.ALL;
  // A fault from before the computation hides what the computation would have raised.
  w[F.MXCSR] |= raised & ((unmasked & BEFORE) !== 0 ? BEFORE : Raise.ALL);
  if (unmasked === 0) return true;
  return cpu.raise((cpu.s[S.CR4] & Cr4.OSXMMEXCPT) !== 0 ? Vector.XM : Vector.UD);
}

/** MXCSR for which JavaScript's arithmetic may serve: all masked, to nearest, no DAZ and FTZ, inexactness noted. */
const plain = (mxcsr: number): boolean => (mxcsr & 0xffe0) === 0x1fa0;

const SMALLEST_SINGLE = 2 ** -126;
const LARGEST_SINGLE = (2 - 2 ** -23) * 2 ** 127;
const SMALLEST_DOUBLE = 2 ** -1022;
const LARGEST_DOUBLE = Number.MAX_VALUE;

function quick(operation: number, a: number, b: number): number {
  switch (operation) {
    case Float.ADD:
      return a + b;
    case Float.MULTIPLY:
      return a * b;
    case Float.SUBTRACT:
      return a - b;
    case Float.DIVIDE:
      return a / b;
    case Float.SQRT:
      return Math.sqrt(b);
    default:
      return Number.NaN;
  }
}

/** Reads an operand; denormals are zeros where MXCSR says so. Answers `Raise.DENORMAL` or 0. */
function single(bits: number, mxcsr: number, out: Extended): number {
  const denormal = fromSingle(bits, out);
  if (denormal === 0 || (mxcsr & MxcsrBit.DENORMALS_ARE_ZERO) === 0) return denormal;
  out.set(out.se & SIGN, 0, 0);
  return 0;
}

function double(high: number, low: number, mxcsr: number, out: Extended): number {
  const denormal = fromDouble(high, low, out);
  if (denormal === 0 || (mxcsr & MxcsrBit.DENORMALS_ARE_ZERO) === 0) return denormal;
  out.set(out.se & SIGN, 0, 0);
  return 0;
}

const signaling = (v: Extended): boolean => isNan(v) && (v.hi & 0x40000000) === 0;

/** x operation y into z, with SSE's rule for NaN: the first operand's if it is one (SDM vol. 1, table 4-7). */
function compute(operation: number, format: Format, mode: number, denormal: number): number {
  const xNan = isNan(x);
  const yNan = isNan(y);
  if (operation === Float.MINIMUM || operation === Float.MAXIMUM) return choose(operation, denormal);
  if (operation === Float.SQRT) {
    if (!yNan) return squareRoot(y, format, mode, denormal, z);
    z.set(y.se, y.hi | 0x40000000, y.lo);
    return signaling(y) ? Raise.INVALID : 0;
  }
  if (xNan || yNan) {
    const from = xNan ? x : y;
    z.set(from.se, from.hi | 0x40000000, from.lo);
    return signaling(x) || signaling(y) ? Raise.INVALID : 0;
  }
  switch (operation) {
    case Float.ADD:
      return add(x, y, 0, format, mode, denormal, z);
    case Float.SUBTRACT:
      return add(x, y, SIGN, format, mode, denormal, z);
    case Float.MULTIPLY:
      return multiply(x, y, format, mode, denormal, z);
    default:
      return divide(x, y, format, mode, denormal, z);
  }
}

/** MIN and MAX: the second operand wins among zeros, and against NaN. The caller copies bits; `z.se` says which: 0 first, 1 second. */
function choose(operation: number, denormal: number): number {
  z.se = 1;
  if (isNan(x) || isNan(y)) return Raise.INVALID;
  if (isZero(x) && isZero(y)) return denormal;
  const order = compare(x, y);
  if (operation === Float.MINIMUM ? order < 0 : order > 0) z.se = 0;
  return denormal;
}

const choosing = (operation: number): boolean => operation === Float.MINIMUM || operation === Float.MAXIMUM;

/** With DAZ the chosen operand's zero is stored, not its denormal. */
const flushed = (bits: number, mxcsr: number): number =>
  (mxcsr & MxcsrBit.DENORMALS_ARE_ZERO) !== 0 && (bits & 0x7f800000) === 0 ? bits & 0x80000000 : bits;

function arithmeticSingle(cpu: Core, a: number, b: number, c: number, d: number): boolean {
  if (!begin(cpu, false, c, d)) return false;
  const f = cpu.fpu;
  const { w, f32 } = f;
  const to = a & 0xff;
  const lanes = (a >> 8) & 15;
  const operation = (a >> 12) & 15;
  const mxcsr = w[F.MXCSR];
  const fast = plain(mxcsr);
  let raised = 0;
  for (let i = 0; i < lanes; i++) {
    if (fast) {
      const left = f32[to + i];
      const right = f32[b + i];
      const result = Math.fround(quick(operation, left, right));
      const size = Math.abs(result);
      if (
        size >= SMALLEST_SINGLE * 2 &&
        size <= LARGEST_SINGLE &&
        (Math.abs(left) >= SMALLEST_SINGLE || left === 0 || operation === Float.SQRT) &&
        (Math.abs(right) >= SMALLEST_SINGLE || right === 0)
      ) {
        f32[F.RESULT + i] = result;
        continue;
      }
    }
    let denormal = operation === Float.SQRT ? 0 : single(w[to + i], mxcsr, x);
    denormal |= single(w[b + i], mxcsr, y);
    raised |= compute(operation, SINGLE, modeOf(mxcsr), denormal);
    w[F.RESULT + i] = choosing(operation) ? flushed(w[(z.se === 0 ? to : b) + i], mxcsr) : packSingle(z);
  }
  if (raised !== 0 && !settle(cpu, raised)) return false;
  for (let i = 0; i < lanes; i++) w[to + i] = w[F.RESULT + i];
  return true;
}

function arithmeticDouble(cpu: Core, a: number, b: number, c: number, d: number): boolean {
  if (!begin(cpu, false, c, d)) return false;
  const f = cpu.fpu;
  const { w, f64 } = f;
  const to = a & 0xff;
  const lanes = (a >> 8) & 15;
  const operation = (a >> 12) & 15;
  const mxcsr = w[F.MXCSR];
  const fast = plain(mxcsr);
  let raised = 0;
  for (let i = 0; i < lanes; i++) {
    if (fast) {
      const left = f64[(to >> 1) + i];
      const right = f64[(b >> 1) + i];
      const result = quick(operation, left, right);
      const size = Math.abs(result);
      if (
        size >= SMALLEST_DOUBLE * 2 &&
        size <= LARGEST_DOUBLE &&
        (Math.abs(left) >= SMALLEST_DOUBLE || left === 0 || operation === Float.SQRT) &&
        (Math.abs(right) >= SMALLEST_DOUBLE || right === 0)
      ) {
        f64[(F.RESULT >> 1) + i] = result;
        continue;
      }
    }
    const at = F.RESULT + 2 * i;
    const first = to + 2 * i;
    const second = b + 2 * i;
    let denormal = operation === Float.SQRT ? 0 : double(w[first + 1], w[first], mxcsr, x);
    denormal |= double(w[second + 1], w[second], mxcsr, y);
    raised |= compute(operation, DOUBLE, modeOf(mxcsr), denormal);
    if (choosing(operation)) {
      const chosen = z.se === 0 ? first : second;
      const zero = (mxcsr & MxcsrBit.DENORMALS_ARE_ZERO) !== 0 && (w[chosen + 1] & 0x7ff00000) === 0;
      w[at] = zero ? 0 : w[chosen];
      w[at + 1] = zero ? w[chosen + 1] & 0x80000000 : w[chosen + 1];
    } else {
      w[at] = packDoubleLow(z);
      w[at + 1] = packDoubleHigh(z);
    }
  }
  if (raised !== 0 && !settle(cpu, raised)) return false;
  for (let i = 0; i < lanes * 2; i++) w[to + i] = w[F.RESULT + i];
  return true;
}

// ---- comparisons

/** Of the operands in x and y: 0 equal, 1 less, 2 greater, 3 unordered. */
function relation(): number {
  if (isNan(x) || isNan(y)) return 3;
  const order = compare(x, y);
  return order === 0 ? 0 : order < 0 ? 1 : 2;
}

/** Predicates of CMPccPS by relation: bit n is relation n (SDM vol. 2, "CMPPS"). */
const PREDICATES = [0b0001, 0b0010, 0b0011, 0b1000, 0b1110, 0b1101, 0b1100, 0b0111];
/** Predicates that signal quiet NaNs too: LT, LE, NLT, NLE. */
const SIGNALS = 0b01100110;

/** CMPPS to CMPSD: lanes in bits 8..11, doubles in bit 12, predicate in the immediate. */
function compareLanes(cpu: Core, a: number, b: number, c: number, d: number): boolean {
  if (!begin(cpu, false, c, d)) return false;
  const { w } = cpu.fpu;
  const to = a & 0xff;
  const lanes = (a >> 8) & 15;
  const size = (a & 0x1000) !== 0 ? 2 : 1;
  const predicate = (a >> 16) & 7;
  let raised = 0;
  for (let i = 0; i < lanes; i++) {
    const denormal = readPair(cpu.fpu, to + i * size, b + i * size, size);
    const found = relation();
    if (found !== 3) raised |= denormal;
    else if (signaling(x) || signaling(y) || ((SIGNALS >> predicate) & 1) !== 0) raised |= Raise.INVALID;
    const mask = -((PREDICATES[predicate] >> found) & 1);
    w[F.RESULT + i * size] = mask;
    if (size === 2) w[F.RESULT + i * size + 1] = mask;
  }
  if (raised !== 0 && !settle(cpu, raised)) return false;
  for (let i = 0; i < lanes * size; i++) w[to + i] = w[F.RESULT + i];
  return true;
}

function readPair(f: FpuState, first: number, second: number, size: number): number {
  const { w } = f;
  const mxcsr = w[F.MXCSR];
  if (size === 1) return single(w[first], mxcsr, x) | single(w[second], mxcsr, y);
  return double(w[first + 1], w[first], mxcsr, x) | double(w[second + 1], w[second], mxcsr, y);
}

/** COMISS, COMISD, UCOMISS, UCOMISD: doubles in bit 12, quiet in bit 13. */
function compareToFlags(cpu: Core, a: number, b: number, c: number, d: number): boolean {
  if (!begin(cpu, false, c, d)) return false;
  const { s } = cpu;
  const denormal = readPair(cpu.fpu, a & 0xff, b, (a & 0x1000) !== 0 ? 2 : 1);
  const found = relation();
  let raised = found === 3 ? 0 : denormal;
  if (found === 3 && ((a & 0x2000) === 0 || signaling(x) || signaling(y))) raised = Raise.INVALID;
  if (raised !== 0 && !settle(cpu, raised)) return false;
  s[S.FLAG_OP] = FlagOp.IMAGE;
  s[S.FLAG_RESULT] = found === 3 ? Flag.ZF | Flag.PF | Flag.CF : found === 0 ? Flag.ZF : found === 1 ? Flag.CF : 0;
  return true;
}

// ---- approximations

/**
 * RCP and RSQRT: the exact value rounded to 12 bits. Processors answer from tables of their own, all within 1.5 * 2^-12; so does this.
 * No exceptions; denormal operands and results are zeros.
 */
function approximation(cpu: Core, a: number, b: number, c: number, d: number): boolean {
  if (!begin(cpu, false, c, d)) return false;
  const { w, f32 } = cpu.fpu;
  const to = a & 0xff;
  const lanes = (a >> 8) & 15;
  const root = (a & 0x1000) !== 0;
  for (let i = 0; i < lanes; i++) {
    const bits = w[b + i];
    const sign = bits & 0x80000000;
    const exponent = bits & 0x7f800000;
    if (exponent === 0) w[to + i] = sign | 0x7f800000;
    else if (exponent === 0x7f800000 && (bits & 0x7fffff) !== 0) w[to + i] = bits | 0x400000;
    else if (root && sign !== 0) w[to + i] = 0xffc00000;
    else if (exponent === 0x7f800000) w[to + i] = sign;
    else {
      f32[F.RESULT] = root ? 1 / Math.sqrt(f32[b + i]) : 1 / f32[b + i];
      const rounded = (w[F.RESULT] + 0x400) & ~0x7ff;
      w[to + i] = (rounded & 0x7f800000) === 0 ? sign : rounded;
    }
  }
  return true;
}

export const SIMD_FLOAT = {
  floatSingle: arithmeticSingle,
  floatDouble: arithmeticDouble,
  floatCompare: compareLanes,
  floatCompareToFlags: compareToFlags,
  floatApproximation: approximation,
};
