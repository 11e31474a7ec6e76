/** Conversions of SSE and SSE2 (SDM vol. 1, 10.4.4 and 11.4.1.6). Bits 8..11 of `a` are the number of lanes. */
import type { Core } from '../core.js';
import {
  fromDouble,
  fromInteger,
  fromSingle,
  integer,
  packDoubleHigh,
  packDoubleLow,
  packSingle,
  toInteger,
} from '../fpu/convert.js';
import { DOUBLE, Extended, type Format, isInfinite, isNan, isZero, Rounding, round, SINGLE } from '../fpu/soft.js';
import { F, type FpuState, MxcsrBit, Raise } from '../fpu/state.js';
import { begin, enterMmx, mmxAvailable, sealMmx, sseAvailable } from './access.js';
import { modeOf, settle } from './float.js';

const TRUNCATE = 0x1000;
const DOUBLES = 0x2000;

const x = new Extended();
const z = new Extended();

/** Lane `i` of the source; answers `Raise.DENORMAL` or 0. */
function read(f: FpuState, at: number, i: number, doubles: boolean): number {
  const { w } = f;
  const denormal = doubles ? fromDouble(w[at + 2 * i + 1], w[at + 2 * i], x) : fromSingle(w[at + i], x);
  if (denormal === 0 || (w[F.MXCSR] & MxcsrBit.DENORMALS_ARE_ZERO) === 0) return denormal;
  x.set(x.se & 0x8000, 0, 0);
  return 0;
}

/** Rounds x to a format, into z; NaNs keep their leading bits. */
function convert(format: Format, mode: number, denormal: number): number {
  if (isNan(x)) {
    z.set(x.se, x.hi | 0x40000000, x.lo);
    return (x.hi & 0x40000000) === 0 ? Raise.INVALID : 0;
  }
  if (isInfinite(x) || isZero(x)) {
    z.copy(x);
    return 0;
  }
  return denormal | round(x, format, mode, z);
}

/** One lane to a 32-bit integer into the result area. */
function toWord(f: FpuState, i: number, rounding: number): number {
  const flags = toInteger(x, 32, rounding);
  f.w[F.RESULT + i] = (flags & Raise.INVALID) !== 0 ? 0x80000000 : integer.low;
  return flags;
}

const roundingOf = (f: FpuState, a: number): number =>
  (a & TRUNCATE) !== 0 ? Rounding.ZERO : (f.w[F.MXCSR] >> 13) & 3;

/** CVT(T)PS2DQ, CVT(T)PD2DQ: to the words of an XMM register; upper ones that are not written become zero. */
function toWords(cpu: Core, a: number, b: number, c: number, d: number): boolean {
  if (!begin(cpu, false, c, d)) return false;
  const f = cpu.fpu;
  const raised = wordsOf(f, a, b);
  if (raised !== 0 && !settle(cpu, raised)) return false;
  const lanes = (a >> 8) & 15;
  for (let i = 0; i < 4; i++) f.w[(a & 0xff) + i] = i < lanes ? f.w[F.RESULT + i] : 0;
  return true;
}

function wordsOf(f: FpuState, a: number, b: number): number {
  const rounding = roundingOf(f, a);
  const lanes = (a >> 8) & 15;
  let raised = 0;
  for (let i = 0; i < lanes; i++) {
    read(f, b, i, (a & DOUBLES) !== 0);
    raised |= toWord(f, i, rounding);
  }
  return raised;
}

/** CVT(T)SS2SI, CVT(T)SD2SI: to a general register. */
function toGeneral(cpu: Core, a: number, b: number, c: number, d: number): boolean {
  if (!begin(cpu, false, c, d)) return false;
  const raised = wordsOf(cpu.fpu, a, b);
  if (raised !== 0 && !settle(cpu, raised)) return false;
  cpu.s[a & 0xff] = cpu.fpu.w[F.RESULT];
  return true;
}

/** CVT(T)PS2PI, CVT(T)PD2PI: to an MMX register. */
function toMmx(cpu: Core, a: number, b: number, c: number, d: number): boolean {
  if (!sseAvailable(cpu) || !mmxAvailable(cpu) || !begin(cpu, false, c, d)) return false;
  const f = cpu.fpu;
  const raised = wordsOf(f, a, b);
  // The change to MMX state is not undone by #XM.
  enterMmx(f);
  if (raised !== 0 && !settle(cpu, raised)) return false;
  const to = a & 0xff;
  f.w[to] = f.w[F.RESULT];
  f.w[to + 1] = f.w[F.RESULT + 1];
  sealMmx(f, to);
  return true;
}

/** From words at `from`: exact doubles, or rounded singles. Answers the exceptions. */
function fromWords(f: FpuState, from: Int32Array, at: number, lanes: number, doubles: boolean): number {
  const { w } = f;
  let raised = 0;
  for (let i = 0; i < lanes; i++) {
    const value = from[at + i];
    fromInteger(value >> 31, value, x);
    raised |= convert(doubles ? DOUBLE : SINGLE, modeOf(w[F.MXCSR]), 0);
    deposit(f, i, doubles);
  }
  return raised;
}

/** z into lane `i` of the result area, which has room for two doubles or four singles. */
function deposit(f: FpuState, i: number, doubles: boolean): void {
  const { w } = f;
  if (doubles) {
    w[F.RESULT + 2 * i] = packDoubleLow(z);
    w[F.RESULT + 2 * i + 1] = packDoubleHigh(z);
  } else {
    w[F.RESULT + i] = packSingle(z);
  }
}

function commit(f: FpuState, to: number, words: number, clearUpper: boolean): void {
  const { w } = f;
  for (let i = 0; i < words; i++) w[to + i] = w[F.RESULT + i];
  if (clearUpper) for (let i = words; i < 4; i++) w[to + i] = 0;
}

/** CVTDQ2PS, CVTDQ2PD. */
function wordsToFloat(cpu: Core, a: number, b: number, c: number, d: number): boolean {
  if (!begin(cpu, false, c, d)) return false;
  const doubles = (a & DOUBLES) !== 0;
  const lanes = (a >> 8) & 15;
  const raised = fromWords(cpu.fpu, cpu.fpu.w, b, lanes, doubles);
  if (raised !== 0 && !settle(cpu, raised)) return false;
  commit(cpu.fpu, a & 0xff, doubles ? lanes * 2 : lanes, false);
  return true;
}

/** CVTSI2SS, CVTSI2SD: the source is a general register (`b`) or memory. */
function generalToFloat(cpu: Core, a: number, b: number, c: number, d: number): boolean {
  if (!begin(cpu, false, c, d)) return false;
  const doubles = (a & DOUBLES) !== 0;
  const raised = fromWords(cpu.fpu, c >= 0 ? cpu.fpu.w : cpu.s, c >= 0 ? F.OPERAND : b, 1, doubles);
  if (raised !== 0 && !settle(cpu, raised)) return false;
  commit(cpu.fpu, a & 0xff, doubles ? 2 : 1, false);
  return true;
}

/** CVTPI2PS, CVTPI2PD: the source is an MMX register or memory, which does not touch the MMX state. */
function mmxToFloat(cpu: Core, a: number, b: number, c: number, d: number): boolean {
  if (!sseAvailable(cpu) || (c < 0 && !mmxAvailable(cpu)) || !begin(cpu, false, c, d)) return false;
  const doubles = (a & DOUBLES) !== 0;
  const raised = fromWords(cpu.fpu, cpu.fpu.w, b, 2, doubles);
  if (c < 0) enterMmx(cpu.fpu);
  if (raised !== 0 && !settle(cpu, raised)) return false;
  commit(cpu.fpu, a & 0xff, doubles ? 4 : 2, false);
  return true;
}

/** CVTPS2PD, CVTPD2PS, CVTSS2SD, CVTSD2SS: `DOUBLES` says what the source is. CVTPD2PS clears the upper half. */
function resize(cpu: Core, a: number, b: number, c: number, d: number): boolean {
  if (!begin(cpu, false, c, d)) return false;
  const f = cpu.fpu;
  const doubles = (a & DOUBLES) !== 0;
  const lanes = (a >> 8) & 15;
  const mode = modeOf(f.w[F.MXCSR]);
  let raised = 0;
  for (let i = 0; i < lanes; i++) {
    const denormal = read(f, b, i, doubles);
    raised |= convert(doubles ? SINGLE : DOUBLE, mode, denormal);
    deposit(f, i, !doubles);
  }
  if (raised !== 0 && !settle(cpu, raised)) return false;
  commit(f, a & 0xff, doubles ? lanes : lanes * 2, doubles && lanes === 2);
  return true;
}

export const SIMD_CONVERT = {
  convertToWords: toWords,
  convertToGeneral: toGeneral,
  convertToMmx: toMmx,
  convertFromWords: wordsToFloat,
  convertFromGeneral: generalToFloat,
  convertFromMmx: mmxToFloat,
  convertSize: resize,
};
