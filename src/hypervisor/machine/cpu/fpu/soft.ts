/**
 * Arithmetic on 80-bit floating-point numbers, exact and then rounded once to any of the formats of x87 and SSE (SDM vol. 1,
 * 4.8 and 8.5). Integers only: the same on every computer, and no allocation except for square roots.
 *
 * A number is an `Extended`: sign and biased exponent in `se`, the significand with its explicit integer bit in `hi` and `lo`
 * (signed 32-bit integers). Functions write their result to `out` and answer the exceptions (`Raise`, with `Raise.UP`).
 *
 * `mode` holds the six exception masks, rounding control from bit 6 on, and `FLUSH`. A masked overflow or underflow delivers
 * what the manual says; an unmasked one delivers the result with its exponent wrapped by `Format.wrap`.
 */
import { highUnsigned } from '../arith.js';
import { Raise } from './state.js';

export class Extended {
  se = 0;
  hi = 0;
  lo = 0;

  set(se: number, hi: number, lo: number): void {
    this.se = se;
    this.hi = hi | 0;
    this.lo = lo | 0;
  }

  copy(from: Extended): void {
    this.se = from.se;
    this.hi = from.hi;
    this.lo = from.lo;
  }
}

export interface Format {
  readonly bits: 24 | 53 | 64;
  /** Biased (16383) exponents of the smallest and the largest normal number. */
  readonly min: number;
  readonly max: number;
  /** Added to (taken from) the exponent where underflow (overflow) is not masked. */
  readonly wrap: number;
}

export const BIAS = 16383;
const WRAP = 24576;
export const SINGLE: Format = { bits: 24, min: BIAS - 126, max: BIAS + 127, wrap: 192 };
export const DOUBLE: Format = { bits: 53, min: BIAS - 1022, max: BIAS + 1023, wrap: 1536 };
const EXTENDED64: Format = { bits: 64, min: 1, max: 0x7ffe, wrap: WRAP };
const EXTENDED53: Format = { bits: 53, min: 1, max: 0x7ffe, wrap: WRAP };
const EXTENDED24: Format = { bits: 24, min: 1, max: 0x7ffe, wrap: WRAP };
/** Formats of register results by precision control; the reserved value behaves as full precision. */
export const BY_PRECISION: readonly Format[] = [EXTENDED24, EXTENDED64, EXTENDED53, EXTENDED64];
export const FULL: Format = EXTENDED64;

export const Rounding = { NEAREST: 0, DOWN: 1, UP: 2, ZERO: 3 } as const;
/** Mode bit: a tiny result becomes zero (MXCSR.FTZ with underflow masked). */
export const FLUSH = 0x100;

const SIGN = 0x8000;
const TOP = 0x80000000 | 0;

// ---- classes

export const exponentOf = (x: Extended): number => x.se & 0x7fff;
export const isZero = (x: Extended): boolean => (x.se & 0x7fff) === 0 && (x.hi | x.lo) === 0;
/** Pseudo-NaN, pseudo-infinity, unnormal: the 387 and later refuse them. */
export const isUnsupported = (x: Extended): boolean => (x.se & 0x7fff) !== 0 && x.hi >= 0;
export const isInfinite = (x: Extended): boolean => (x.se & 0x7fff) === 0x7fff && x.hi === TOP && x.lo === 0;
export const isNan = (x: Extended): boolean => (x.se & 0x7fff) === 0x7fff && x.hi < 0 && ((x.hi << 1) | x.lo) !== 0;
export const isSignaling = (x: Extended): boolean => isNan(x) && (x.hi & 0x40000000) === 0;
/** Denormal or pseudo-denormal. */
export const isDenormal = (x: Extended): boolean => (x.se & 0x7fff) === 0 && (x.hi | x.lo) !== 0;

/** The QNaN floating-point indefinite. */
export function setIndefinite(out: Extended): void {
  out.set(0xffff, 0xc0000000, 0);
}

export const setInfinity = (out: Extended, sign: number): void => out.set(sign | 0x7fff, TOP, 0);
export const setZero = (out: Extended, sign: number): void => out.set(sign, 0, 0);

/** x87's rule for NaN operands (SDM vol. 1, table 4-7). One of the two is a NaN, none is unsupported. */
export function propagate(x: Extended, y: Extended, out: Extended): number {
  const xNan = isNan(x);
  const yNan = isNan(y);
  const xSignaling = isSignaling(x);
  const ySignaling = isSignaling(y);
  let chosen = x;
  if (!xNan) chosen = y;
  else if (yNan) {
    if (xSignaling !== ySignaling) chosen = xSignaling ? y : x;
    else {
      const order = unsignedOrder(x.hi | 0x40000000, x.lo, y.hi | 0x40000000, y.lo);
      if (order < 0) chosen = y;
      else if (order === 0) chosen = x.se < y.se ? x : y;
    }
  }
  out.set(chosen.se, chosen.hi | 0x40000000, chosen.lo);
  return xSignaling || ySignaling ? Raise.INVALID : 0;
}

/**
 * The operands that decide without arithmetic: unsupported and NaN. Answers -1 if there is none, else `out` is set and the
 * exceptions are returned.
 */
export function refuse(x: Extended, y: Extended, out: Extended): number {
  if ((x.se & 0x7fff) !== 0x7fff && (y.se & 0x7fff) !== 0x7fff && !isUnsupported(x) && !isUnsupported(y)) return -1;
  if (isUnsupported(x) || isUnsupported(y)) return invalid(out);
  return isNan(x) || isNan(y) ? propagate(x, y, out) : -1;
}

export function invalid(out: Extended): number {
  setIndefinite(out);
  return Raise.INVALID;
}

function unsignedOrder(ah: number, al: number, bh: number, bl: number): number {
  if (ah !== bh) return ah >>> 0 < bh >>> 0 ? -1 : 1;
  if (al !== bl) return al >>> 0 < bl >>> 0 ? -1 : 1;
  return 0;
}

// ---- unpacked significands: results of the functions below

let rh = 0;
let rl = 0;
/** Bits below the significand; the last one stands for all further ones. */
let rx = 0;
let re = 0;

/** Shifts hi:lo:ext right by n, keeping a sticky last bit. */
function shiftRightJam(hi: number, lo: number, ext: number, n: number): void {
  if (n === 0) {
    rh = hi;
    rl = lo;
    rx = ext;
  } else if (n < 32) {
    rx = (ext >>> n) | (lo << (32 - n)) | (ext << (32 - n) !== 0 ? 1 : 0);
    rl = (lo >>> n) | (hi << (32 - n));
    rh = hi >>> n;
  } else if (n < 64) {
    const m = n & 31;
    const lost = ext | (m === 0 ? 0 : lo << (32 - m));
    rx = m === 0 ? lo : (lo >>> m) | (hi << (32 - m));
    if (lost !== 0) rx |= 1;
    rl = hi >>> m;
    rh = 0;
  } else if (n < 96) {
    const m = n & 31;
    const lost = ext | lo | (m === 0 ? 0 : hi << (32 - m));
    rx = (hi >>> m) | (lost !== 0 ? 1 : 0);
    rl = 0;
    rh = 0;
  } else {
    rx = (hi | lo | ext) !== 0 ? 1 : 0;
    rl = 0;
    rh = 0;
  }
  rh |= 0;
  rl |= 0;
  rx |= 0;
}

/** Exponent (16383-biased, as of a normal number) and normalized significand of a finite number other than zero. */
function unpack(x: Extended): void {
  re = x.se & 0x7fff;
  rh = x.hi;
  rl = x.lo;
  if (re === 0) {
    re = 1;
    rx = 0;
    normalize();
  }
}

function normalize(): void {
  if (rh === 0) {
    rh = rl;
    rl = rx;
    rx = 0;
    re -= 32;
    if (rh === 0) {
      rh = rl;
      rl = 0;
      re -= 32;
    }
  }
  const n = Math.clz32(rh);
  if (n === 0) return;
  rh = (rh << n) | (rl >>> (32 - n));
  rl = (rl << n) | (rx >>> (32 - n));
  rx <<= n;
  re -= n;
}

/**
 * Rounds sign, exponent and a significand of 96 bits, whose last bit is sticky, to `format`. The significand is normalized or
 * zero. The exponent may be out of range. A denormal result of a narrow format is left unnormalized, with exponent
 * `format.min`, as `packSingle` and `packDouble` expect.
 */
export function roundPack(
  sign: number,
  exponent: number,
  high: number,
  low: number,
  below: number,
  format: Format,
  mode: number,
  out: Extended,
): number {
  const { bits, min } = format;
  let exp = exponent;
  let hi = high;
  let lo = low;
  let ext = below;
  let flags = 0;
  let tiny = false;
  if ((hi | lo | ext) === 0) {
    setZero(out, sign);
    return 0;
  }
  if (exp < min) {
    tiny = exp < min - 1 || !reachesNextPower(sign, hi, lo, ext, bits, mode);
    if (tiny && (mode & Raise.UNDERFLOW) === 0) {
      exp += format.wrap;
      flags = Raise.UNDERFLOW;
      tiny = false;
      if (exp < min) {
        setZero(out, sign);
        return flags | Raise.PRECISION;
      }
    } else if (tiny && (mode & FLUSH) !== 0) {
      setZero(out, sign);
      return Raise.UNDERFLOW | Raise.PRECISION;
    } else {
      shiftRightJam(hi, lo, ext, min - exp);
      hi = rh;
      lo = rl;
      ext = rx;
      exp = min;
    }
  }
  const tail = tailOf(hi, lo, ext, bits);
  if (tail !== 0) {
    flags |= Raise.PRECISION;
    if (tiny) flags |= Raise.UNDERFLOW;
  }
  const up = roundsUp(sign, tail, bits === 64 ? lo & 1 : bits === 53 ? lo & 0x800 : hi & 0x100, mode);
  if (bits === 53) lo &= ~0x7ff;
  else if (bits === 24) {
    hi &= ~0xff;
    lo = 0;
  }
  if (up) {
    flags |= Raise.UP;
    let carry = true;
    if (bits === 24) hi = (hi + 0x100) | 0;
    else {
      lo = (lo + (bits === 64 ? 1 : 0x800)) | 0;
      carry = lo === 0;
      if (carry) hi = (hi + 1) | 0;
    }
    if (carry && hi === 0) {
      hi = TOP;
      exp += 1;
    }
  }
  if (exp > format.max) {
    if ((mode & Raise.OVERFLOW) === 0) {
      if (exp - format.wrap > format.max) {
        setInfinity(out, sign);
        return flags | Raise.OVERFLOW | Raise.PRECISION | Raise.UP;
      }
      out.set(sign | (exp - format.wrap), hi, lo);
      return flags | Raise.OVERFLOW;
    }
    return overflow(sign, bits, format.max, mode, out);
  }
  if (min === 1 && exp === 1 && hi >= 0) exp = 0;
  if ((hi | lo) === 0) exp = 0;
  out.set(sign | exp, hi, lo);
  return flags;
}

function overflow(sign: number, bits: number, max: number, mode: number, out: Extended): number {
  const rc = (mode >> 6) & 3;
  if (rc === Rounding.NEAREST || (rc === Rounding.DOWN && sign !== 0) || (rc === Rounding.UP && sign === 0)) {
    setInfinity(out, sign);
    return Raise.OVERFLOW | Raise.PRECISION | Raise.UP;
  }
  out.set(sign | max, bits === 24 ? -0x100 : -1, bits === 64 ? -1 : bits === 53 ? -0x800 : 0);
  return Raise.OVERFLOW | Raise.PRECISION;
}

/** The bits that do not fit, moved to the top of a word; its last bit is sticky. */
function tailOf(hi: number, lo: number, ext: number, bits: number): number {
  if (bits === 64) return ext;
  if (bits === 53) return (lo << 21) | (ext !== 0 ? 1 : 0);
  return (hi << 24) | ((lo | ext) !== 0 ? 1 : 0);
}

function roundsUp(sign: number, tail: number, odd: number, mode: number): boolean {
  switch ((mode >> 6) & 3) {
    case Rounding.NEAREST:
      return tail < 0 && (tail << 1 !== 0 || odd !== 0);
    case Rounding.DOWN:
      return sign !== 0 && tail !== 0;
    case Rounding.UP:
      return sign === 0 && tail !== 0;
    default:
      return false;
  }
}

/** Rounding with an unbounded exponent would carry into the next power of two. */
function reachesNextPower(sign: number, hi: number, lo: number, ext: number, bits: number, mode: number): boolean {
  if (bits === 24 ? hi >>> 8 !== 0xffffff : hi !== -1 || (bits === 64 ? lo !== -1 : lo >>> 11 !== 0x1fffff))
    return false;
  return roundsUp(sign, tailOf(hi, lo, ext, bits), 1, mode);
}

/** Rounds a register value to `format`; the value is finite. */
export function round(x: Extended, format: Format, mode: number, out: Extended): number {
  if (isZero(x)) {
    out.copy(x);
    return 0;
  }
  unpack(x);
  return roundPack(x.se & SIGN, re, rh, rl, 0, format, mode, out);
}

/** Rounds (-1)^sign * significand * 2^(exponent - BIAS - 63), where the significand is any positive integer. */
export function roundBig(
  sign: number,
  exponent: number,
  significand: bigint,
  sticky: boolean,
  format: Format,
  mode: number,
  out: Extended,
): number {
  const length = significand.toString(16).length * 4;
  const shift = length - 96;
  const kept = shift > 0 ? significand >> BigInt(shift) : significand << BigInt(-shift);
  const lost = sticky || (shift > 0 && kept << BigInt(shift) !== significand);
  rh = Number(kept >> 64n) | 0;
  rl = Number((kept >> 32n) & 0xffffffffn) | 0;
  rx = Number(kept & 0xffffffffn) | 0;
  re = exponent + shift + 32;
  normalize();
  return roundPack(sign, re, rh, rl, lost ? rx | 1 : rx, format, mode, out);
}

export const bigSignificand = (x: Extended): bigint => (BigInt(x.hi >>> 0) << 32n) | BigInt(x.lo >>> 0);

// ---- arithmetic. `denormal` is what the conversion of a memory operand has found.

/** x + y, or x - y where `negate` is the sign bit. */
export function add(
  x: Extended,
  y: Extended,
  negate: number,
  format: Format,
  mode: number,
  denormal: number,
  out: Extended,
): number {
  const special = refuse(x, y, out);
  if (special >= 0) return special;
  const sx = x.se & SIGN;
  const sy = (y.se ^ negate) & SIGN;
  const flags = denormal | (isDenormal(x) || isDenormal(y) ? Raise.DENORMAL : 0);
  const infiniteX = (x.se & 0x7fff) === 0x7fff;
  const infiniteY = (y.se & 0x7fff) === 0x7fff;
  if (infiniteX || infiniteY) {
    if (infiniteX && infiniteY && sx !== sy) return invalid(out);
    setInfinity(out, infiniteX ? sx : sy);
    return flags;
  }
  const down = ((mode >> 6) & 3) === Rounding.DOWN ? SIGN : 0;
  if (isZero(y)) {
    if (isZero(x)) {
      setZero(out, sx === sy ? sx : down);
      return flags;
    }
    return flags | round(x, format, mode, out);
  }
  unpack(y);
  let eb = re;
  let bh = rh;
  let bl = rl;
  if (isZero(x)) return flags | roundPack(sy, eb, bh, bl, 0, format, mode, out);
  unpack(x);
  let ea = re;
  let ah = rh;
  let al = rl;
  let sign = sx;
  if (ea < eb || (ea === eb && unsignedOrder(ah, al, bh, bl) < 0)) {
    // Swapped one by one: an array would be allocated.
    let other = ea;
    ea = eb;
    eb = other;
    other = ah;
    ah = bh;
    bh = other;
    other = al;
    al = bl;
    bl = other;
    sign = sy;
  }
  shiftRightJam(bh, bl, 0, ea - eb);
  re = ea;
  if (sx === sy) {
    const low = (al >>> 0) + (rl >>> 0);
    const high = (ah >>> 0) + (rh >>> 0) + (low > 0xffffffff ? 1 : 0);
    if (high > 0xffffffff) {
      const ext = rx;
      shiftRightJam(high | 0, low | 0, ext, 1);
      rh |= TOP;
      re += 1;
    } else {
      rh = high | 0;
      rl = low | 0;
    }
  } else {
    // The larger one has no bits below its significand.
    const borrow = rx !== 0 ? 1 : 0;
    rx = -rx | 0;
    const low = (al >>> 0) - (rl >>> 0) - borrow;
    rh = (ah - rh - (low < 0 ? 1 : 0)) | 0;
    rl = low | 0;
    if ((rh | rl | rx) === 0) {
      setZero(out, down);
      return flags;
    }
    normalize();
  }
  return flags | roundPack(sign, re, rh, rl, rx, format, mode, out);
}

let productHigh = 0;
let productLow = 0;

/** 32 x 32 bits unsigned, into `productHigh` and `productLow`, both unsigned. */
function multiply32(a: number, b: number): void {
  productHigh = highUnsigned(a, b) >>> 0;
  productLow = Math.imul(a, b) >>> 0;
}

export function multiply(
  x: Extended,
  y: Extended,
  format: Format,
  mode: number,
  denormal: number,
  out: Extended,
): number {
  const special = refuse(x, y, out);
  if (special >= 0) return special;
  const sign = (x.se ^ y.se) & SIGN;
  const infinite = (x.se & 0x7fff) === 0x7fff || (y.se & 0x7fff) === 0x7fff;
  const zero = isZero(x) || isZero(y);
  if (infinite && zero) return invalid(out);
  const flags = denormal | (isDenormal(x) || isDenormal(y) ? Raise.DENORMAL : 0);
  if (infinite) {
    setInfinity(out, sign);
    return flags;
  }
  if (zero) {
    setZero(out, sign);
    return flags;
  }
  unpack(y);
  const eb = re;
  const bh = rh;
  const bl = rl;
  unpack(x);
  const ah = rh;
  const al = rl;
  re += eb - BIAS + 1;
  multiply32(al, bl);
  const p0 = productLow;
  let p1 = productHigh;
  multiply32(ah, bl);
  p1 += productLow;
  let p2 = productHigh;
  multiply32(al, bh);
  p1 += productLow;
  p2 += productHigh;
  multiply32(ah, bh);
  p2 += productLow + Math.floor(p1 / 0x100000000);
  const p3 = productHigh + Math.floor(p2 / 0x100000000);
  rh = p3 | 0;
  rl = p2 | 0;
  rx = p1 | 0;
  if (rh >= 0) {
    rh = (rh << 1) | (rl >>> 31);
    rl = (rl << 1) | (rx >>> 31);
    rx = (rx << 1) | (p0 >>> 31);
    re -= 1;
    if (p0 << 1 !== 0) rx |= 1;
  } else if (p0 !== 0) rx |= 1;
  return flags | roundPack(sign, re, rh, rl, rx, format, mode, out);
}

/**
 * Quotient of two normalized significands (unsigned halves) into the unpacked result, normalized; lowers the exponent if it is less than
 * one. Long division with digits of 16 bits: a digit estimated with doubles is wrong by one at most.
 */
function divideSignificands(ah: number, al: number, bh: number, bl: number): void {
  const divisor = bh * 0x100000000 + bl;
  // The leading one: what is left is less than the divisor.
  let high = ah;
  let low = al;
  if (ah < bh || (ah === bh && al < bl)) {
    re -= 1;
    high = ah * 2 + (al >>> 31);
    low = (al << 1) >>> 0;
  }
  high -= bh;
  low -= bl;
  if (low < 0) {
    low += 0x100000000;
    high -= 1;
  }
  rh = TOP;
  rl = 0;
  rx = 0;
  for (let i = 0; i < 5; i++) {
    let digit = Math.floor(((high * 0x100000000 + low) * 0x10000) / divisor);
    // All products are below 2^48, so exact.
    low = low * 0x10000 - bl * digit;
    high = high * 0x10000 - bh * digit;
    const carry = Math.floor(low / 0x100000000);
    low -= carry * 0x100000000;
    high += carry;
    if (high < 0) {
      digit -= 1;
      low += bl;
      high += bh + (low > 0xffffffff ? 1 : 0);
      low %= 0x100000000;
    } else if (high > bh || (high === bh && low >= bl)) {
      digit += 1;
      low -= bl;
      high -= bh + (low < 0 ? 1 : 0);
      if (low < 0) low += 0x100000000;
    }
    switch (i) {
      case 0:
        rh |= digit << 15;
        break;
      case 1:
        rh |= digit >>> 1;
        rl = digit << 31;
        break;
      case 2:
        rl |= digit << 15;
        break;
      case 3:
        rl |= digit >>> 1;
        rx = digit << 31;
        break;
      default:
        rx |= digit << 15;
    }
  }
  if (high !== 0 || low !== 0) rx |= 1;
}

/** x / y. */
export function divide(
  x: Extended,
  y: Extended,
  format: Format,
  mode: number,
  denormal: number,
  out: Extended,
): number {
  const special = refuse(x, y, out);
  if (special >= 0) return special;
  const sign = (x.se ^ y.se) & SIGN;
  const infiniteX = (x.se & 0x7fff) === 0x7fff;
  const infiniteY = (y.se & 0x7fff) === 0x7fff;
  const flags = denormal | (isDenormal(x) || isDenormal(y) ? Raise.DENORMAL : 0);
  if (infiniteX) {
    if (infiniteY) return invalid(out);
    setInfinity(out, sign);
    return flags;
  }
  if (infiniteY) {
    setZero(out, sign);
    return flags;
  }
  if (isZero(y)) {
    if (isZero(x)) return invalid(out);
    setInfinity(out, sign);
    // Division by zero comes before the denormal operand.
    return Raise.ZERO_DIVIDE;
  }
  if (isZero(x)) {
    setZero(out, sign);
    return flags;
  }
  unpack(y);
  const eb = re;
  const bh = rh >>> 0;
  const bl = rl >>> 0;
  unpack(x);
  re += BIAS - eb;
  divideSignificands(rh >>> 0, rl >>> 0, bh, bl);
  return flags | roundPack(sign, re, rh, rl, rx, format, mode, out);
}

export function squareRoot(x: Extended, format: Format, mode: number, denormal: number, out: Extended): number {
  const special = refuse(x, x, out);
  if (special >= 0) return special;
  if (isZero(x)) {
    out.copy(x);
    return 0;
  }
  if ((x.se & SIGN) !== 0) return invalid(out);
  const flags = denormal | (isDenormal(x) ? Raise.DENORMAL : 0);
  if ((x.se & 0x7fff) === 0x7fff) {
    out.copy(x);
    return flags;
  }
  unpack(x);
  // value = significand * 2^(power); an even power leaves a root of 96 bits.
  const odd = (re - BIAS) & 1;
  const radicand = ((BigInt(rh >>> 0) << 32n) | BigInt(rl >>> 0)) << BigInt(127 + odd);
  const root = integerRoot(radicand);
  re = (re - BIAS - odd) / 2 + BIAS;
  rh = Number(root >> 64n) | 0;
  rl = Number((root >> 32n) & 0xffffffffn) | 0;
  rx = Number(root & 0xffffffffn) | (root * root !== radicand ? 1 : 0);
  return flags | roundPack(0, re, rh, rl, rx, format, mode, out);
}

/** Floor of the root of a number of 191 or 192 bits: a double's root, and one Newton step. */
function integerRoot(radicand: bigint): bigint {
  const estimate = BigInt(Math.floor(Math.sqrt(Number(radicand >> 96n)))) << 48n;
  let root = (estimate + radicand / estimate) >> 1n;
  root = (root + radicand / root) >> 1n;
  while (root * root > radicand) root -= 1n;
  while ((root + 1n) * (root + 1n) <= radicand) root += 1n;
  return root;
}

/** -1, 0 or 1; neither is a NaN or unsupported. Zeros are equal. */
export function compare(x: Extended, y: Extended): number {
  if (isZero(x) && isZero(y)) return 0;
  const negative = (x.se & SIGN) !== 0;
  if (negative !== ((y.se & SIGN) !== 0)) return negative ? -1 : 1;
  let order = Math.max(x.se & 0x7fff, isZero(x) ? 0 : 1) - Math.max(y.se & 0x7fff, isZero(y) ? 0 : 1);
  if (order === 0) order = unsignedOrder(x.hi, x.lo, y.hi, y.lo);
  return order === 0 ? 0 : order < 0 !== negative ? -1 : 1;
}
