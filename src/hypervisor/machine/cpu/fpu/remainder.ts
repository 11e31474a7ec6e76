/** FPREM, FPREM1, FSCALE and FXTRACT (SDM vol. 2). */
import { fromInteger, integer, toInteger } from './convert.js';
import {
  BIAS,
  bigSignificand,
  type Extended,
  exponentOf,
  FULL,
  invalid,
  isDenormal,
  isInfinite,
  isZero,
  Rounding,
  refuse,
  round,
  roundBig,
  setInfinity,
  setZero,
} from './soft.js';
import { Raise, Status } from './state.js';

const SIGN = 0x8000;
/** In the answer of `remainder`: C0 and C3 stay as they are. */
export const NO_QUOTIENT = 0x10000;

/**
 * Remainder of x by y. `nearest` is FPREM1's rounding of the quotient. The answer holds, besides exceptions, C2 while the reduction is
 * incomplete, else the quotient's low bits in C0, C3 and C1. An incomplete step reduces the exponent by 32 to 63 so that the rest is a
 * multiple of 32.
 */
export function remainder(x: Extended, y: Extended, nearest: boolean, mode: number, out: Extended): number {
  const special = refuse(x, y, out);
  if (special >= 0) return special | NO_QUOTIENT;
  if (isInfinite(x) || isZero(y)) return invalid(out) | NO_QUOTIENT;
  const flags = isDenormal(x) || isDenormal(y) ? Raise.DENORMAL : 0;
  if (isZero(x) || isInfinite(y)) return flags | round(x, FULL, mode, out);
  let a = bigSignificand(x);
  let ea = Math.max(exponentOf(x), 1);
  while (a >> 63n === 0n) {
    a <<= 1n;
    ea -= 1;
  }
  let b = bigSignificand(y);
  let eb = Math.max(exponentOf(y), 1);
  while (b >> 63n === 0n) {
    b <<= 1n;
    eb -= 1;
  }
  const distance = ea - eb;
  let sign = x.se & SIGN;
  if (distance >= 64) {
    const step = (distance & 31) | 32;
    const rest = (a << BigInt(step)) % b;
    if (rest === 0n) {
      setZero(out, sign);
      return flags | Status.C2;
    }
    return flags | Status.C2 | (roundBig(sign, ea - step, rest, false, FULL, mode, out) & ~Raise.UP);
  }
  let quotient = 0n;
  let exponent = eb;
  let rest = a;
  if (distance >= 0) {
    rest = a << BigInt(distance);
    quotient = rest / b;
    rest -= quotient * b;
  } else {
    exponent = ea;
  }
  if (nearest && distance >= -1) {
    // In units of the smaller exponent; the divisor weighs twice as much where the dividend's exponent is one below.
    const divisor = distance < 0 ? b << 1n : b;
    const twice = rest << 1n;
    if (twice > divisor || (twice === divisor && (quotient & 1n) !== 0n)) {
      rest = divisor - rest;
      quotient += 1n;
      sign ^= SIGN;
    }
  }
  const q = Number(quotient & 7n);
  const codes = ((q & 4) !== 0 ? Status.C0 : 0) | ((q & 2) !== 0 ? Status.C3 : 0) | ((q & 1) !== 0 ? Status.C1 : 0);
  if (rest === 0n) {
    setZero(out, x.se & SIGN);
    return flags | codes;
  }
  return flags | codes | (roundBig(sign, exponent, rest, false, FULL, mode, out) & ~Raise.UP);
}

/** x * 2^trunc(y). */
export function scale(x: Extended, y: Extended, mode: number, out: Extended): number {
  const special = refuse(x, y, out);
  if (special >= 0) return special;
  const sign = x.se & SIGN;
  const flags = isDenormal(x) || isDenormal(y) ? Raise.DENORMAL : 0;
  if (isInfinite(y)) {
    const down = (y.se & SIGN) !== 0;
    if (down ? isInfinite(x) : isZero(x)) return invalid(out);
    if (down) setZero(out, sign);
    else setInfinity(out, sign);
    return flags;
  }
  if (isInfinite(x) || isZero(x)) {
    out.copy(x);
    return flags;
  }
  if (isZero(y)) return flags | round(x, FULL, mode, out);
  const fit = toInteger(y, 32, Rounding.ZERO);
  let by = (fit & Raise.INVALID) !== 0 ? ((y.se & SIGN) !== 0 ? -0x20000 : 0x20000) : integer.low;
  by = Math.max(-0x20000, Math.min(0x20000, by));
  return flags | roundBig(sign, Math.max(exponentOf(x), 1) + by, bigSignificand(x), false, FULL, mode, out);
}

/** Exponent into `exponent`, significand into `out`. */
export function extract(x: Extended, exponent: Extended, out: Extended): number {
  const special = refuse(x, x, out);
  if (special >= 0) {
    exponent.copy(out);
    return special;
  }
  const sign = x.se & SIGN;
  if (isInfinite(x)) {
    out.copy(x);
    setInfinity(exponent, 0);
    return 0;
  }
  if (isZero(x)) {
    out.copy(x);
    setInfinity(exponent, SIGN);
    return Raise.ZERO_DIVIDE;
  }
  const flags = isDenormal(x) ? Raise.DENORMAL : 0;
  let significand = bigSignificand(x);
  let exp = Math.max(exponentOf(x), 1);
  while (significand >> 63n === 0n) {
    significand <<= 1n;
    exp -= 1;
  }
  const value = exp - BIAS;
  fromInteger(value < 0 ? -1 : 0, value, exponent);
  out.set(sign | BIAS, Number(significand >> 32n) | 0, Number(significand & 0xffffffffn) | 0);
  return flags;
}
