/**
 * Arithmetic that is too long to be inlined in an engine: shifts and rotates by a variable count, multiplication, division,
 * bit scans, decimal adjustments (SDM vol. 2, the instructions by name).
 *
 * `up` is 32 minus the operand's bits. Operands are sign-extended, results too. Flags that the manual leaves undefined get
 * the value that falls out; they are never left to chance.
 */

import { arithmeticFlags, carryFlag, FlagOp } from './flags.js';
import { Decimal } from './ir.js';
import { Flag, S } from './state.js';

function setCarryOverflow(s: Int32Array, result: number, carry: number, overflow: number): void {
  s[S.FLAG_OP] = FlagOp.CARRY_OVERFLOW;
  s[S.FLAG_RESULT] = result;
  s[S.FLAG_A] = carry;
  s[S.FLAG_B] = overflow;
}

/** Changes CF and OF alone. */
function replaceCarryOverflow(s: Int32Array, carry: number, overflow: number): void {
  const others = arithmeticFlags(s) & ~(Flag.CF | Flag.OF);
  s[S.FLAG_OP] = FlagOp.IMAGE;
  s[S.FLAG_RESULT] = others | carry | (overflow << 11);
}

export function setCarry(s: Int32Array, carry: number): void {
  const others = arithmeticFlags(s) & ~Flag.CF;
  s[S.FLAG_OP] = FlagOp.IMAGE;
  s[S.FLAG_RESULT] = others | carry;
}

export function shl(s: Int32Array, a: number, by: number, up: number): number {
  const count = by & 31;
  if (count === 0) return a;
  const bits = 32 - up;
  const carry = count <= bits ? (a >>> (bits - count)) & 1 : 0;
  const result = ((a << count) << up) >> up;
  setCarryOverflow(s, result, carry, (result >>> 31) ^ carry);
  return result;
}

export function shr(s: Int32Array, a: number, by: number, up: number): number {
  const count = by & 31;
  if (count === 0) return a;
  const unsigned = (a << up) >>> up;
  const result = ((unsigned >>> count) << up) >> up;
  const before = unsigned >>> (count - 1);
  setCarryOverflow(s, result, before & 1, (before << up) >>> 31);
  return result;
}

export function sar(s: Int32Array, a: number, by: number, _up: number): number {
  const count = by & 31;
  if (count === 0) return a;
  const result = a >> count;
  setCarryOverflow(s, result, (a >> (count - 1)) & 1, 0);
  return result;
}

/** Rotates left by `count` < bits. */
function rotate(a: number, count: number, up: number): number {
  if (count === 0) return a;
  const bits = 32 - up;
  const unsigned = (a << up) >>> up;
  return (((unsigned << count) | (unsigned >>> (bits - count))) << up) >> up;
}

export function rol(s: Int32Array, a: number, by: number, up: number): number {
  if ((by & 31) === 0) return a;
  const result = rotate(a, by & (31 - up), up);
  const carry = result & 1;
  replaceCarryOverflow(s, carry, (result >>> 31) ^ carry);
  return result;
}

export function ror(s: Int32Array, a: number, by: number, up: number): number {
  if ((by & 31) === 0) return a;
  const bits = 32 - up;
  const result = rotate(a, (bits - (by & (bits - 1))) & (bits - 1), up);
  const carry = result >>> 31;
  replaceCarryOverflow(s, carry, carry ^ (((result << up) >>> 30) & 1));
  return result;
}

/** Count of a rotation through carry: modulo bits + 1. */
function carryCount(by: number, up: number): number {
  return (by & 31) % (33 - up);
}

export function rcl(s: Int32Array, a: number, by: number, up: number): number {
  let carry = carryFlag(s);
  let value = a;
  const count = carryCount(by, up);
  if (count === 0) return a;
  for (let i = 0; i < count; i++) {
    const out = value >>> 31;
    value = (((value << 1) | carry) << up) >> up;
    carry = out;
  }
  replaceCarryOverflow(s, carry, (a ^ value) >>> 31);
  return value;
}

export function rcr(s: Int32Array, a: number, by: number, up: number): number {
  let carry = carryFlag(s);
  let value = a;
  const count = carryCount(by, up);
  if (count === 0) return a;
  const top = 31 - up;
  for (let i = 0; i < count; i++) {
    const out = value & 1;
    value = ((((((value << up) >>> up) >>> 1) | (carry << top)) << up) >> up) | 0;
    carry = out;
  }
  replaceCarryOverflow(s, carry, (a ^ value) >>> 31);
  return value;
}

/** A 16-bit count above 16 is undefined; the source then enters a second time, as on P6. */
export function shld(s: Int32Array, a: number, b: number, by: number, up: number): number {
  const count = by & 31;
  if (count === 0) return a;
  let result: number;
  let carry: number;
  if (up === 0) {
    result = (a << count) | (b >>> (32 - count));
    carry = (a >>> (32 - count)) & 1;
  } else {
    const wide = count <= 16 ? (a << 16) | (b & 0xffff) : (b << 16) | (a & 0xffff);
    const shift = count <= 16 ? count : count - 16;
    result = (wide << shift) >> 16;
    carry = (wide >>> (32 - shift)) & 1;
  }
  setCarryOverflow(s, result, carry, (a ^ result) >>> 31);
  return result;
}

export function shrd(s: Int32Array, a: number, b: number, by: number, up: number): number {
  const count = by & 31;
  if (count === 0) return a;
  let result: number;
  let carry: number;
  if (up === 0) {
    result = (a >>> count) | (b << (32 - count));
    carry = (a >>> (count - 1)) & 1;
  } else {
    const wide = count <= 16 ? (b << 16) | (a & 0xffff) : (a << 16) | (b & 0xffff);
    const shift = count <= 16 ? count : count - 16;
    result = ((wide >>> shift) << 16) >> 16;
    carry = (wide >>> (shift - 1)) & 1;
  }
  setCarryOverflow(s, result, carry, (a ^ result) >>> 31);
  return result;
}

/** High word of an unsigned 32 x 32 product. */
export function highUnsigned(a: number, b: number): number {
  const a0 = a & 0xffff;
  const a1 = a >>> 16;
  const b0 = b & 0xffff;
  const b1 = b >>> 16;
  // No sum reaches 2^32.
  const middle = a1 * b0 + ((a0 * b0) >>> 16);
  const other = a0 * b1 + (middle & 0xffff);
  return (a1 * b1 + (middle >>> 16) + (other >>> 16)) | 0;
}

/** High word of a signed product. */
function highSigned(a: number, b: number): number {
  return (highUnsigned(a, b) - (a < 0 ? b : 0) - (b < 0 ? a : 0)) | 0;
}

/** Two- and three-operand IMUL: the truncated product; CF = OF = it does not fit. */
export function imul(s: Int32Array, a: number, b: number, up: number): number {
  const product = Math.imul(a, b);
  const result = (product << up) >> up;
  const lost = up === 0 ? (highSigned(a, b) !== result >> 31 ? 1 : 0) : product !== result ? 1 : 0;
  setCarryOverflow(s, result, lost, lost);
  return result;
}

/** One-operand MUL and IMUL: AX = AL * a; DX:AX = AX * a; EDX:EAX = EAX * a. */
export function multiply(s: Int32Array, a: number, up: number, signed: boolean): void {
  const eax = s[S.EAX]!;
  if (up === 0) {
    const low = Math.imul(eax, a);
    const high = signed ? highSigned(eax, a) : highUnsigned(eax, a);
    const lost = high !== (signed ? low >> 31 : 0) ? 1 : 0;
    s[S.EAX] = low;
    s[S.EDX] = high;
    setCarryOverflow(s, low, lost, lost);
    return;
  }
  const left = signed ? (eax << up) >> up : (eax << up) >>> up;
  const right = signed ? a : (a << up) >>> up;
  const product = Math.imul(left, right);
  const result = (product << up) >> up;
  const lost = (signed ? result : (product << up) >>> up) !== (signed ? product : product >>> 0) ? 1 : 0;
  if (up === 24) {
    s[S.EAX] = (eax & ~0xffff) | (product & 0xffff);
  } else {
    s[S.EAX] = (eax & ~0xffff) | (product & 0xffff);
    s[S.EDX] = (s[S.EDX]! & ~0xffff) | (product >>> 16);
  }
  setCarryOverflow(s, result, lost, lost);
}

/** DIV and IDIV. False for #DE, with nothing changed. */
export function divide(s: Int32Array, a: number, up: number, signed: boolean): boolean {
  if (a === 0) return false;
  if (up === 0) return signed ? divideSigned(s, a) : divideUnsigned(s, a >>> 0);
  const wide = up === 24;
  const raw = wide ? s[S.EAX]! & 0xffff : ((s[S.EDX]! & 0xffff) << 16) | (s[S.EAX]! & 0xffff);
  const dividend = signed ? (wide ? (raw << 16) >> 16 : raw) : raw >>> 0;
  const divisor = signed ? a : (a << up) >>> up;
  const quotient = Math.trunc(dividend / divisor);
  const half = 2 ** (31 - up);
  if (signed ? quotient < -half || quotient >= half : quotient >= 2 * half) return false;
  const remainder = dividend - quotient * divisor;
  if (wide) {
    s[S.EAX] = (s[S.EAX]! & ~0xffff) | (quotient & 0xff) | ((remainder & 0xff) << 8);
  } else {
    s[S.EAX] = (s[S.EAX]! & ~0xffff) | (quotient & 0xffff);
    s[S.EDX] = (s[S.EDX]! & ~0xffff) | (remainder & 0xffff);
  }
  return true;
}

function divideUnsigned(s: Int32Array, divisor: number): boolean {
  const high = s[S.EDX]! >>> 0;
  const low = s[S.EAX]! >>> 0;
  if (high >= divisor) return false;
  if (high < 0x200000) {
    // The dividend is exact in a double; the rounded quotient is off by one at most.
    const dividend = high * 0x100000000 + low;
    let quotient = Math.floor(dividend / divisor);
    let remainder = dividend - quotient * divisor;
    if (remainder < 0) {
      quotient -= 1;
      remainder += divisor;
    }
    s[S.EAX] = quotient | 0;
    s[S.EDX] = remainder | 0;
    return true;
  }
  const dividend = (BigInt(high) << 32n) | BigInt(low);
  s[S.EAX] = Number(BigInt.asIntN(32, dividend / BigInt(divisor)));
  s[S.EDX] = Number(BigInt.asIntN(32, dividend % BigInt(divisor)));
  return true;
}

function divideSigned(s: Int32Array, divisor: number): boolean {
  const low = s[S.EAX]!;
  if (s[S.EDX] === low >> 31) {
    if (low === -0x80000000 && divisor === -1) return false;
    s[S.EAX] = (low / divisor) | 0;
    s[S.EDX] = (low % divisor) | 0;
    return true;
  }
  const dividend = (BigInt(s[S.EDX]!) << 32n) | BigInt(low >>> 0);
  const quotient = dividend / BigInt(divisor);
  if (quotient !== BigInt.asIntN(32, quotient)) return false;
  s[S.EAX] = Number(quotient);
  s[S.EDX] = Number(dividend % BigInt(divisor));
  return true;
}

/** BT (kind 0), BTS (1), BTR (2), BTC (3). */
export function bit(s: Int32Array, a: number, index: number, up: number, kind: number): number {
  const at = index & (31 - up);
  setCarry(s, (a >>> at) & 1);
  const mask = 1 << at;
  return kind === 0 ? a : kind === 1 ? a | mask : kind === 2 ? a & ~mask : a ^ mask;
}

/** BSF and BSR: ZF tells whether the source is zero; then the destination keeps its value. */
export function bitScan(s: Int32Array, a: number, keep: number, up: number, reverse: boolean): number {
  s[S.FLAG_OP] = FlagOp.LOGIC;
  s[S.FLAG_RESULT] = a;
  if (a === 0) return keep;
  const unsigned = (a << up) >>> up;
  return reverse ? 31 - Math.clz32(unsigned) : 31 - Math.clz32(unsigned & -unsigned);
}

export function lahf(s: Int32Array): void {
  const flags = (arithmeticFlags(s) & 0xd5) | 2;
  s[S.EAX] = (s[S.EAX]! & ~0xff00) | (flags << 8);
}

export function sahf(s: Int32Array): void {
  const overflow = arithmeticFlags(s) & Flag.OF;
  s[S.FLAG_OP] = FlagOp.IMAGE;
  s[S.FLAG_RESULT] = ((s[S.EAX]! >>> 8) & 0xd5) | overflow;
}

/** Sets AL or AX and the flags of a decimal adjustment: SF, ZF, PF of AL; CF and AF as given. */
function adjusted(s: Int32Array, al: number, carry: boolean, adjust: boolean): void {
  s[S.EAX] = (s[S.EAX]! & ~0xff) | (al & 0xff);
  s[S.FLAG_OP] = FlagOp.LOGIC;
  s[S.FLAG_RESULT] = (al << 24) >> 24;
  const flags = arithmeticFlags(s) | (carry ? Flag.CF : 0) | (adjust ? Flag.AF : 0);
  s[S.FLAG_OP] = FlagOp.IMAGE;
  s[S.FLAG_RESULT] = flags;
}

/** The six decimal instructions. False for #DE (AAM 0). */
export function decimal(s: Int32Array, kind: number, base: number): boolean {
  const flags = arithmeticFlags(s);
  const al = s[S.EAX]! & 0xff;
  const ah = (s[S.EAX]! >>> 8) & 0xff;
  const half = (al & 15) > 9 || (flags & Flag.AF) !== 0;
  const carry = (flags & Flag.CF) !== 0;
  const setAh = (value: number) => {
    s[S.EAX] = (s[S.EAX]! & ~0xff00) | ((value & 0xff) << 8);
  };
  switch (kind) {
    case Decimal.DAA:
    case Decimal.DAS: {
      const sign = kind === Decimal.DAA ? 1 : -1;
      const high = al > 0x99 || carry;
      const borrowed = kind === Decimal.DAS && half && al < 6;
      adjusted(s, al + (half ? 6 * sign : 0) + (high ? 0x60 * sign : 0), high || borrowed, half);
      return true;
    }
    case Decimal.AAA:
    case Decimal.AAS: {
      const sign = kind === Decimal.AAA ? 1 : -1;
      const ax = half ? (s[S.EAX]! & 0xffff) + sign * 0x106 : s[S.EAX]! & 0xffff;
      setAh(ax >>> 8);
      adjusted(s, ax & 15, half, half);
      return true;
    }
    case Decimal.AAM:
      if (base === 0) return false;
      setAh(Math.floor(al / base));
      adjusted(s, al % base, false, false);
      return true;
    default: {
      const value = (al + ah * base) & 0xff;
      setAh(0);
      adjusted(s, value, false, false);
      return true;
    }
  }
}
