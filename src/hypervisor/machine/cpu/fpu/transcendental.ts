/**
 * FSIN, FCOS, FSINCOS, FPTAN, FPATAN, F2XM1, FYL2X and FYL2XP1 in fixed point with 192 bits, rounded once: the error stays below one unit
 * in the last place of an 80-bit result by far. The manual promises one unit (SDM vol. 1, 8.3.10), so results may differ from a
 * given processor's in the last bit of 64; rounding to double hides that but for ties.
 *
 * Arguments of trigonometric functions are reduced by pi rounded to 66 bits, as hardware does (SDM vol. 1, 8.3.8).
 */
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
  refuse,
  roundBig,
  setInfinity,
  setZero,
} from './soft.js';
import { Raise, Status } from './state.js';

const SIGN = 0x8000;
const P = 192n;
const BITS = 192;
const ONE = 1n << P;
/** 4 * 0.C90FDAA22168C234C, that is pi to 66 bits. */
const PI = 0xc90fdaa22168c234cn << (P - 66n);
const HALF_PI = PI >> 1n;
const TRUE_PI = arctangentInverse(5n, 16n) - arctangentInverse(239n, 4n);
const LN2 = logarithmOf2();

/** factor * atan(1/n), by its series. */
function arctangentInverse(n: bigint, factor: bigint): bigint {
  let power = (factor * ONE) / n;
  let sum = power;
  for (let k = 3n, sign = -1n; power !== 0n; k += 2n, sign = -sign) {
    power /= n * n;
    sum += (sign * power) / k;
  }
  return sum;
}

/** ln 2 = 2 atanh(1/3). */
function logarithmOf2(): bigint {
  let power = (2n * ONE) / 3n;
  let sum = power;
  for (let k = 3n; power !== 0n; k += 2n) {
    power /= 9n;
    sum += power / k;
  }
  return sum;
}

const times = (a: bigint, b: bigint): bigint => (a * b) >> P;

/** Magnitude of a finite number in fixed point, with `extra` more bits; bits below are lost. */
function fixed(x: Extended, extra = 0): bigint {
  const shift = Math.max(exponentOf(x), 1) - BIAS - 63 + BITS + extra;
  return shift >= 0 ? bigSignificand(x) << BigInt(shift) : bigSignificand(x) >> BigInt(-shift);
}

/** Rounds a positive fixed-point number that is inexact. */
function deliver(sign: number, value: bigint, mode: number, out: Extended, extra = 0): number {
  return roundBig(sign, BIAS + 63 - BITS - extra, value, true, FULL, mode, out);
}

/** x * (1 - tiny) or x * (1 + tiny): what a function that starts as x gives for very small x. */
function nearly(x: Extended, larger: boolean, mode: number, out: Extended): number {
  const shifted = bigSignificand(x) << 64n;
  const exponent = Math.max(exponentOf(x), 1) - 64;
  return roundBig(x.se & SIGN, exponent, larger ? shifted : shifted - 1n, true, FULL, mode, out);
}

/** |x| mod pi/2 and the quadrant. */
let reduced = 0n;
let quadrant = 0;
function reduce(x: Extended): void {
  const value = fixed(x);
  const turns = value / HALF_PI;
  reduced = value - turns * HALF_PI;
  quadrant = Number(turns & 3n);
}

function sine(angle: bigint): bigint {
  const square = times(angle, angle);
  let term = angle;
  let sum = angle;
  for (let k = 2n; term !== 0n; k += 2n) {
    term = times(term, square) / (k * (k + 1n));
    sum += (k & 2n) !== 0n ? -term : term;
  }
  return sum;
}

function cosine(angle: bigint): bigint {
  const square = times(angle, angle);
  let term = ONE;
  let sum = ONE;
  for (let k = 1n; term !== 0n; k += 2n) {
    term = times(term, square) / (k * (k + 1n));
    sum += (k & 2n) !== 0n ? term : -term;
  }
  return sum;
}

/** Special operands of the trigonometric functions: -1 if none. */
function trigonometric(x: Extended, out: Extended): number {
  const special = refuse(x, x, out);
  if (special >= 0) return special;
  if (isInfinite(x)) return invalid(out);
  if (exponentOf(x) >= BIAS + 63) {
    out.copy(x);
    return Status.C2;
  }
  return -1;
}

const flagsOf = (x: Extended): number => (isDenormal(x) ? Raise.DENORMAL : 0);
/** Below it x^3 is less than 2^-66 x. */
const TINY = BIAS - 34;

export function fsin(x: Extended, mode: number, out: Extended): number {
  const special = trigonometric(x, out);
  if (special >= 0) return special;
  if (isZero(x)) {
    out.copy(x);
    return 0;
  }
  if (exponentOf(x) < TINY) return flagsOf(x) | nearly(x, false, mode, out);
  reduce(x);
  const value = (quadrant & 1) !== 0 ? cosine(reduced) : sine(reduced);
  const sign = (x.se & SIGN) ^ ((quadrant & 2) !== 0 ? SIGN : 0);
  return flagsOf(x) | deliver(sign, value, mode, out);
}

export function fcos(x: Extended, mode: number, out: Extended): number {
  const special = trigonometric(x, out);
  if (special >= 0) return special;
  if (isZero(x)) {
    out.set(BIAS, 0x80000000, 0);
    return 0;
  }
  if (exponentOf(x) < TINY) {
    return flagsOf(x) | roundBig(0, BIAS + 63 - BITS, ONE - 1n, true, FULL, mode, out);
  }
  reduce(x);
  const value = (quadrant & 1) !== 0 ? sine(reduced) : cosine(reduced);
  const sign = quadrant === 1 || quadrant === 2 ? SIGN : 0;
  return flagsOf(x) | deliver(sign, value, mode, out);
}

export function ftan(x: Extended, mode: number, out: Extended): number {
  const special = trigonometric(x, out);
  if (special >= 0) return special;
  if (isZero(x)) {
    out.copy(x);
    return 0;
  }
  if (exponentOf(x) < TINY) return flagsOf(x) | nearly(x, true, mode, out);
  reduce(x);
  const s = sine(reduced);
  const c = cosine(reduced);
  const odd = (quadrant & 1) !== 0;
  const sign = (x.se & SIGN) ^ (odd ? SIGN : 0);
  return flagsOf(x) | deliver(sign, odd ? (c << P) / s : (s << P) / c, mode, out);
}

/** atan of a fixed-point number between 0 and 1. */
function arctangent(value: bigint): bigint {
  // Two halvings of the angle bring it below 0.2.
  let t = value;
  for (let i = 0; i < 2; i++) t = (t << P) / (ONE + squareRootFixed(ONE + times(t, t)));
  const square = times(t, t);
  let power = t;
  let sum = t;
  for (let k = 3n, negative = true; power !== 0n; k += 2n, negative = !negative) {
    power = times(power, square);
    sum += negative ? -power / k : power / k;
  }
  return sum << 2n;
}

function squareRootFixed(value: bigint): bigint {
  const radicand = value << P;
  let root = BigInt(Math.floor(Math.sqrt(Number(value >> (P - 52n)) * 2 ** 52))) << (P - 52n);
  for (let i = 0; i < 3; i++) root = (root + radicand / root) >> 1n;
  return root;
}

/** atan(y / x) in the quadrant of (x, y): FPATAN with ST(1) = y, ST(0) = x. */
export function fpatan(x: Extended, y: Extended, mode: number, out: Extended): number {
  const special = refuse(x, y, out);
  if (special >= 0) return special;
  const sign = y.se & SIGN;
  const left = (x.se & SIGN) !== 0;
  const flags = flagsOf(x) | flagsOf(y);
  if (isZero(y) || (isInfinite(x) && !isInfinite(y))) {
    if (left) return (isZero(y) ? flags : flags) | deliver(sign, TRUE_PI, mode, out);
    setZero(out, sign);
    return flags;
  }
  if (isInfinite(y)) {
    const angle = !isInfinite(x) ? TRUE_PI >> 1n : left ? (3n * TRUE_PI) >> 2n : TRUE_PI >> 2n;
    return flags | deliver(sign, angle, mode, out);
  }
  if (isZero(x)) return flags | deliver(sign, TRUE_PI >> 1n, mode, out);
  // The quotient of the magnitudes, to 192 significant bits at least.
  const distance = Math.max(exponentOf(y), 1) - Math.max(exponentOf(x), 1);
  if (distance > 140) return flags | deliver(sign, (TRUE_PI >> 1n) + (left ? 1n : -1n), mode, out);
  const a = bigSignificand(y);
  const b = bigSignificand(x);
  if (distance < -70) {
    if (left) return flags | deliver(sign, TRUE_PI - 1n, mode, out);
    // atan(q) = q(1 - tiny); q itself may be out of range.
    return (
      flags |
      roundBig(sign, BIAS + distance - 65, (a << 128n) / b - ((a << 128n) % b === 0n ? 1n : 0n), true, FULL, mode, out)
    );
  }
  const extra = 128;
  const over = distance >= 0 ? a << BigInt(distance) : a;
  const under = distance >= 0 ? b : b << BigInt(-distance);
  let angle: bigint;
  if (over <= under) {
    const quotient = (over << (P + BigInt(extra))) / under;
    // Small quotients keep their relative precision: atan q = q - q^3 / 3 + ...
    angle =
      distance < -60 ? quotient - cubeThird(quotient, extra) : arctangent(quotient >> BigInt(extra)) << BigInt(extra);
  } else {
    angle = ((TRUE_PI >> 1n) - arctangent((under << P) / over)) << BigInt(extra);
  }
  if (left) angle = (TRUE_PI << BigInt(extra)) - angle;
  return flags | deliver(sign, angle, mode, out, extra);
}

const cubeThird = (q: bigint, extra: number): bigint => {
  const p = P + BigInt(extra);
  return (((q * q) >> p) * q) / (3n << p);
};

/** e^t - 1 for |t| below 1, in fixed point with `extra` more bits. */
function exponentialMinusOne(t: bigint, p: bigint): bigint {
  let term = t;
  let sum = t;
  for (let k = 2n; term !== 0n && term !== -1n; k += 1n) {
    term = ((term * t) / k) >> p;
    sum += term;
  }
  return sum;
}

/** 2^x - 1 for |x| up to 1. Outside the manual leaves the result undefined: x itself is kept. */
export function f2xm1(x: Extended, mode: number, out: Extended): number {
  const special = refuse(x, x, out);
  if (special >= 0) return special;
  if (isZero(x)) {
    out.copy(x);
    return 0;
  }
  const exp = exponentOf(x);
  const negative = (x.se & SIGN) !== 0;
  if (isInfinite(x)) {
    if (negative) out.set(SIGN | BIAS, 0x80000000, 0);
    else out.copy(x);
    return 0;
  }
  const flags = flagsOf(x);
  if (exp > BIAS || (exp === BIAS && ((x.hi << 1) | x.lo) !== 0)) {
    out.copy(x);
    return flags;
  }
  if (exp === BIAS) {
    // 2^1 - 1 and 2^-1 - 1 are exact.
    out.set(negative ? SIGN | (BIAS - 1) : BIAS, 0x80000000, 0);
    return flags;
  }
  if (exp < BIAS - 70) {
    const product = bigSignificand(x) * (LN2 >> (P - 128n));
    return flags | roundBig(x.se & SIGN, Math.max(exp, 1) - 128, product, true, FULL, mode, out);
  }
  const extra = 72;
  const p = P + BigInt(extra);
  const t = (fixed(x, extra) * LN2) >> P;
  const value = exponentialMinusOne(negative ? -t : t, p);
  return flags | deliver(x.se & SIGN, value < 0n ? -value : value, mode, out, extra);
}

/** ln of (1 + z) / (1 - z), by its series, for a small z; `p` bits behind the point. */
function doubleArctanh(z: bigint, p: bigint): bigint {
  const square = (z * z) >> p;
  let power = z;
  let sum = z;
  for (let k = 3n; power !== 0n && power !== -1n; k += 2n) {
    power = (power * square) >> p;
    sum += power / k;
  }
  return sum << 1n;
}

/** log2 of m * 2^-63, a significand, between -0.5 and 0.5 after choosing the nearer power of two: with 256 bits behind the point. */
const LOG_BITS = 256n;
const LN2_LOG = LN2 << (LOG_BITS - P);

function logarithm2(numerator: bigint, denominator: bigint): bigint {
  const z = ((numerator - denominator) << LOG_BITS) / (numerator + denominator);
  return (doubleArctanh(z, LOG_BITS) << LOG_BITS) / LN2_LOG;
}

/** Multiplies a fixed-point logarithm by y. */
function timesLogarithm(y: Extended, log: bigint, mode: number, out: Extended, exact: boolean): number {
  const sign = (y.se & SIGN) ^ (log < 0n ? SIGN : 0);
  const product = bigSignificand(y) * (log < 0n ? -log : log);
  return roundBig(sign, Math.max(exponentOf(y), 1) - Number(LOG_BITS), product, !exact, FULL, mode, out);
}

/** y * log2(x): ST(1) = y, ST(0) = x. */
export function fyl2x(x: Extended, y: Extended, mode: number, out: Extended): number {
  const special = refuse(x, y, out);
  if (special >= 0) return special;
  const ySign = y.se & SIGN;
  if ((x.se & SIGN) !== 0 && !isZero(x)) return invalid(out);
  const flags = flagsOf(x) | flagsOf(y);
  if (isZero(x)) {
    if (isZero(y)) return invalid(out);
    setInfinity(out, ySign ^ SIGN);
    return isInfinite(y) ? 0 : flags | Raise.ZERO_DIVIDE;
  }
  const one = exponentOf(x) === BIAS && x.hi === (0x80000000 | 0) && x.lo === 0;
  if (isInfinite(y)) {
    if (one) return invalid(out);
    setInfinity(out, ySign ^ (exponentOf(x) < BIAS ? SIGN : 0));
    return flags;
  }
  if (isInfinite(x)) {
    if (isZero(y)) return invalid(out);
    setInfinity(out, ySign);
    return flags;
  }
  if (one || isZero(y)) {
    setZero(out, ySign ^ (exponentOf(x) < BIAS ? SIGN : 0));
    return flags;
  }
  let significand = bigSignificand(x);
  let exponent = Math.max(exponentOf(x), 1) - BIAS;
  while (significand >> 63n === 0n) {
    significand <<= 1n;
    exponent -= 1;
  }
  const power = significand === 1n << 63n;
  // Above the root of two the next power is nearer, so that the sum never cancels.
  let unit = 1n << 63n;
  if (significand > 0xb504f333f9de6484n) {
    unit <<= 1n;
    exponent += 1;
  }
  const log = (BigInt(exponent) << LOG_BITS) + (power ? 0n : logarithm2(significand, unit));
  const raised = flags | timesLogarithm(y, log, mode, out, power);
  // Processors report an inexact result of exact logarithms too.
  return raised | Raise.PRECISION | (isDenormal(out) ? Raise.UNDERFLOW : 0);
}

/** y * log2(x + 1), for |x| below 1 - sqrt(1/2). Outside the manual leaves the result undefined: it is computed where it exists. */
export function fyl2xp1(x: Extended, y: Extended, mode: number, out: Extended): number {
  const special = refuse(x, y, out);
  if (special >= 0) return special;
  const sign = (x.se ^ y.se) & SIGN;
  const flags = flagsOf(x) | flagsOf(y);
  if (isInfinite(x)) {
    if ((x.se & SIGN) !== 0 || isZero(y)) return invalid(out);
    setInfinity(out, y.se & SIGN);
    return flags;
  }
  if (isInfinite(y)) {
    if (isZero(x)) return invalid(out);
    setInfinity(out, sign);
    return flags;
  }
  if (isZero(x) || isZero(y)) {
    setZero(out, sign);
    return flags;
  }
  const exp = Math.max(exponentOf(x), 1) - BIAS;
  const negative = (x.se & SIGN) !== 0;
  if (negative && exp >= 0) {
    out.copy(x);
    return flags;
  }
  if (exp < -70) {
    // log2(1 + x) = x / ln 2 (1 - tiny).
    const quotient = (bigSignificand(x) * bigSignificand(y) * ONE * ONE) / LN2;
    return flags | roundBig(sign, exp + Math.max(exponentOf(y), 1) - 63 - BITS, quotient, true, FULL, mode, out);
  }
  const size = bigSignificand(x) << (exp >= 0 ? BigInt(exp) : 0n);
  const one = exp >= 0 ? 1n << 63n : 1n << BigInt(63 - exp);
  const log = logarithm2(negative ? one - size : one + size, one);
  return flags | timesLogarithm(y, log, mode, out, false);
}
