/** Conversions between 80-bit numbers and the other formats of memory operands (SDM vol. 1, 4.2, 4.7 and 8.1.2). */
import { BIAS, Extended, exponentOf, isDenormal, isZero, Rounding, setZero } from './soft.js';
import { Raise } from './state.js';

const SIGN = 0x8000;
const TOP = 0x80000000 | 0;

/** Exact; answers `Raise.DENORMAL` for a denormal. A signaling NaN stays one. */
export function fromSingle(bits: number, out: Extended): number {
  const sign = (bits >>> 16) & SIGN;
  const exponent = (bits >>> 23) & 0xff;
  const fraction = bits & 0x7fffff;
  if (exponent === 0) {
    if (fraction === 0) {
      setZero(out, sign);
      return 0;
    }
    const shift = Math.clz32(fraction);
    out.set(sign | (BIAS - 126 + 8 - shift), fraction << shift, 0);
    return Raise.DENORMAL;
  }
  out.set(sign | (exponent === 0xff ? 0x7fff : exponent + BIAS - 127), TOP | (fraction << 8), 0);
  return 0;
}

export function fromDouble(high: number, low: number, out: Extended): number {
  const sign = (high >>> 16) & SIGN;
  const exponent = (high >>> 20) & 0x7ff;
  const fraction = high & 0xfffff;
  if (exponent === 0) {
    if ((fraction | low) === 0) {
      setZero(out, sign);
      return 0;
    }
    // The 52 bits of the fraction, normalized; bit 51 weighs 2^-1023.
    let hi = (fraction << 12) | (low >>> 20);
    let lo = low << 12;
    let exp = BIAS - 1023;
    if (hi === 0) {
      hi = lo;
      lo = 0;
      exp -= 32;
    }
    const shift = Math.clz32(hi);
    if (shift !== 0) hi = (hi << shift) | (lo >>> (32 - shift));
    out.set(sign | (exp - shift), hi, lo << shift);
    return Raise.DENORMAL;
  }
  out.set(
    sign | (exponent === 0x7ff ? 0x7fff : exponent + BIAS - 1023),
    TOP | (fraction << 11) | (low >>> 21),
    low << 11,
  );
  return 0;
}

/** The single-precision image of a number that is of that precision already; of a NaN, its leading bits. */
export function packSingle(x: Extended): number {
  const sign = (x.se & SIGN) << 16;
  const exp = x.se & 0x7fff;
  if (exp === 0x7fff) return sign | 0x7f800000 | ((x.hi >>> 8) & 0x7fffff);
  if (x.hi >= 0) return sign | (x.hi >>> 8);
  return sign | ((exp - BIAS + 127) << 23) | ((x.hi >>> 8) & 0x7fffff);
}

/** High word of the double-precision image; the low one is `packDoubleLow`. */
export function packDoubleHigh(x: Extended): number {
  const sign = (x.se & SIGN) << 16;
  const exp = x.se & 0x7fff;
  const fraction = (x.hi >>> 11) & 0xfffff;
  if (exp === 0x7fff) return sign | 0x7ff00000 | fraction;
  return x.hi >= 0 ? sign | fraction : sign | ((exp - BIAS + 1023) << 20) | fraction;
}

export const packDoubleLow = (x: Extended): number => (x.lo >>> 11) | (x.hi << 21);

/** Any 64-bit integer. */
export function fromInteger(high: number, low: number, out: Extended): void {
  let hi = high;
  let lo = low;
  const sign = hi < 0 ? SIGN : 0;
  if (sign !== 0) {
    lo = -lo | 0;
    hi = lo === 0 ? -hi | 0 : ~hi;
  }
  if ((hi | lo) === 0) {
    setZero(out, 0);
    return;
  }
  let exp = BIAS + 63;
  if (hi === 0) {
    hi = lo;
    lo = 0;
    exp -= 32;
  }
  const shift = Math.clz32(hi);
  if (shift !== 0) {
    hi = (hi << shift) | (lo >>> (32 - shift));
    lo <<= shift;
  }
  out.set(sign | (exp - shift), hi, lo);
}

/** Result of `toInteger`: a 64-bit two's complement number. */
export const integer = { high: 0, low: 0 };

/**
 * Rounds to an integer of `bits` bits. Answers `Raise.INVALID` (and nothing in `integer`) if it does not fit or is no number, or
 * `Raise.PRECISION` with `Raise.UP`.
 */
export function toInteger(x: Extended, bits: number, rounding: number): number {
  const exp = exponentOf(x);
  const negative = (x.se & SIGN) !== 0;
  if (exp === 0x7fff || (exp !== 0 && x.hi >= 0) || exp > BIAS + 63) return Raise.INVALID;
  let hi = 0;
  let lo = 0;
  // Bits behind the point: the first one, and whether there are others.
  let half = false;
  let more = false;
  const shift = BIAS + 63 - exp;
  if (isZero(x)) {
    integer.high = 0;
    integer.low = 0;
    return 0;
  }
  if (shift === 0) {
    hi = x.hi;
    lo = x.lo;
  } else if (shift < 32) {
    hi = x.hi >>> shift;
    lo = (x.lo >>> shift) | (x.hi << (32 - shift));
    const lost = x.lo << (32 - shift);
    half = lost < 0;
    more = lost << 1 !== 0;
  } else if (shift < 64) {
    const n = shift & 31;
    lo = x.hi >>> n;
    const lost = n === 0 ? x.lo : (x.hi << (32 - n)) | (x.lo >>> n);
    half = lost < 0;
    more = lost << 1 !== 0 || (n !== 0 && x.lo << (32 - n) !== 0);
  } else {
    half = shift === 64 && x.hi < 0;
    more = shift !== 64 || ((x.hi << 1) | x.lo) !== 0;
  }
  hi |= 0;
  lo |= 0;
  const up =
    rounding === Rounding.NEAREST
      ? half && (more || (lo & 1) !== 0)
      : rounding === Rounding.DOWN
        ? negative && (half || more)
        : rounding === Rounding.UP
          ? !negative && (half || more)
          : false;
  if (up) {
    lo = (lo + 1) | 0;
    if (lo === 0) {
      hi = (hi + 1) | 0;
      if (hi === 0) return Raise.INVALID;
    }
  }
  if (!fits(hi, lo, bits, negative)) return Raise.INVALID;
  if (negative) {
    lo = -lo | 0;
    hi = lo === 0 ? -hi | 0 : ~hi;
  }
  integer.high = hi;
  integer.low = lo;
  return half || more ? Raise.PRECISION | (up ? Raise.UP : 0) : 0;
}

/** A magnitude, and whether a number of `bits` bits with that sign has it. */
function fits(hi: number, lo: number, bits: number, negative: boolean): boolean {
  if (bits === 64) return hi >= 0 || (negative && hi === TOP && lo === 0);
  const limit = bits === 32 ? 0x7fffffff : 0x7fff;
  return hi === 0 && lo >>> 0 <= limit + (negative ? 1 : 0);
}

/** FRNDINT of a finite number: the answer is an 80-bit number again. */
export function roundToInteger(x: Extended, rounding: number, out: Extended): number {
  const exp = exponentOf(x);
  if (exp >= BIAS + 63 || isZero(x)) {
    out.copy(x);
    return 0;
  }
  const sign = x.se & SIGN;
  scratch.copy(x);
  const flags = toInteger(scratch, 64, rounding);
  const negative = integer.high < 0;
  fromInteger(integer.high, integer.low, out);
  if (!negative) out.se = (out.se & 0x7fff) | sign;
  return flags | (isDenormal(x) ? Raise.DENORMAL : 0);
}

const scratch = new Extended();
const BCD_LIMIT = 10n ** 18n;

/** FBLD: 18 decimal digits in ten bytes, the sign in the last one. Digits above 9 are what their weights make of them. */
export function fromDecimal(bytes: Uint8Array, at: number, out: Extended): void {
  let value = 0n;
  for (let i = 8; i >= 0; i--) value = value * 100n + BigInt((bytes[at + i] >>> 4) * 10 + (bytes[at + i] & 15));
  fromInteger(Number(value >> 32n) | 0, Number(value & 0xffffffffn) | 0, out);
  out.se |= (bytes[at + 9] & 0x80) << 8;
}

/** FBSTP; answers as `toInteger`, with the packed digits in `bytes`. */
export function toDecimal(x: Extended, rounding: number, bytes: Uint8Array, at: number): number {
  const sign = x.se & SIGN;
  const flags = toInteger(x, 64, rounding);
  if ((flags & Raise.INVALID) !== 0) return flags;
  let value = BigInt.asIntN(64, (BigInt(integer.high) << 32n) | BigInt(integer.low >>> 0));
  if (value < 0n) value = -value;
  if (value >= BCD_LIMIT) return Raise.INVALID;
  let rest = value;
  for (let i = 0; i < 9; i++) {
    const two = Number(rest % 100n);
    bytes[at + i] = (Math.floor(two / 10) << 4) | (two % 10);
    rest /= 100n;
  }
  bytes[at + 9] = sign >>> 8;
  return flags;
}
