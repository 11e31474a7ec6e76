/** x87 instructions on the stack alone: FCHS to FYL2XP1, FXAM, FCMOV, stack pointer and tags. Arguments as in `arithmetic.ts`. */
import type { Core } from '../core.js';
import { condition } from '../flags.js';
import { roundToInteger } from './convert.js';
import { extract, NO_QUOTIENT, remainder, scale } from './remainder.js';
import {
  BIAS,
  BY_PRECISION,
  Extended,
  isDenormal,
  isInfinite,
  isNan,
  isUnsupported,
  isZero,
  refuse,
  squareRoot,
} from './soft.js';
import { get, isEmpty, modeOf, note, pop, push, put, ready, settle, slot, stackOverflow, underflow } from './stack.js';
import { F, Raise, Status } from './state.js';
import { f2xm1, fcos, fpatan, fsin, ftan, fyl2x, fyl2xp1 } from './transcendental.js';

const x = new Extended();
const y = new Extended();
const z = new Extended();
const second = new Extended();

/** Functions of ST(0) into ST(0); number in bits 0..2. */
export const Monadic = { SQRT: 0, RNDINT: 1, SIN: 2, COS: 3, F2XM1: 4 } as const;
/** Functions of ST(0) and ST(1). The first three replace ST(0); the others replace ST(1) and pop. */
export const Dyadic = { PREM: 0, PREM1: 1, SCALE: 2, PATAN: 3, YL2X: 4, YL2XP1: 5 } as const;
/** Functions that replace ST(0) and push a second result. */
export const Pushing = { XTRACT: 0, SINCOS: 1, PTAN: 2 } as const;

/** FCHS (0) and FABS (1): no exceptions but stack underflow. */
function sign(cpu: Core, a: number, b: number, c: number, d: number): boolean {
  if (!ready(cpu)) return false;
  const f = cpu.fpu;
  note(cpu, a, b, c, d);
  if (isEmpty(f, 0)) {
    if (underflow(f, z)) put(f, 0, z);
    return true;
  }
  const at = slot(f, 0) + 2;
  f.w[at] = (a & 1) !== 0 ? f.w[at] & 0x7fff : (f.w[at] & 0xffff) ^ 0x8000;
  f.w[F.STATUS] &= ~Status.C1;
  return true;
}

function monadic(cpu: Core, a: number, b: number, c: number, d: number): boolean {
  if (!ready(cpu)) return false;
  const f = cpu.fpu;
  note(cpu, a, b, c, d);
  if (isEmpty(f, 0)) {
    if (underflow(f, z)) put(f, 0, z);
    return true;
  }
  const control = f.w[F.CONTROL];
  const mode = modeOf(control);
  get(f, 0, x);
  let flags: number;
  switch (a & 7) {
    case Monadic.SQRT:
      flags = squareRoot(x, BY_PRECISION[(control >> 8) & 3], mode, 0, z);
      break;
    case Monadic.RNDINT:
      flags = refuse(x, x, z);
      if (flags < 0) flags = roundToInteger(x, (control >> 10) & 3, z);
      break;
    case Monadic.SIN:
      flags = fsin(x, mode, z);
      break;
    case Monadic.COS:
      flags = fcos(x, mode, z);
      break;
    default:
      flags = f2xm1(x, mode, z);
  }
  if ((a & 7) === Monadic.SIN || (a & 7) === Monadic.COS) setC2(f.w, flags);
  if (settle(f, flags)) put(f, 0, z);
  return true;
}

function setC2(w: Int32Array, flags: number): void {
  w[F.STATUS] = (w[F.STATUS] & ~Status.C2) | (flags & Status.C2);
}

function dyadic(cpu: Core, a: number, b: number, c: number, d: number): boolean {
  if (!ready(cpu)) return false;
  const f = cpu.fpu;
  const { w } = f;
  note(cpu, a, b, c, d);
  const kind = a & 7;
  const pops = kind >= Dyadic.PATAN;
  if (isEmpty(f, 0) || isEmpty(f, 1)) {
    if (kind <= Dyadic.PREM1) w[F.STATUS] &= ~Status.C2;
    if (!underflow(f, z)) return true;
  } else {
    const mode = modeOf(w[F.CONTROL]);
    get(f, 0, x);
    get(f, 1, y);
    let flags: number;
    switch (kind) {
      case Dyadic.PREM:
      case Dyadic.PREM1: {
        flags = remainder(x, y, kind === Dyadic.PREM1, mode, z);
        w[F.STATUS] &= ~Status.C2;
        if (!settle(f, flags & ~Raise.UP)) return true;
        const kept = (flags & NO_QUOTIENT) !== 0 ? Status.C0 | Status.C3 : 0;
        w[F.STATUS] = (w[F.STATUS] & ~(Status.CONDITIONS & ~kept)) | (flags & Status.CONDITIONS);
        put(f, 0, z);
        return true;
      }
      case Dyadic.SCALE:
        flags = scale(x, y, mode, z);
        break;
      case Dyadic.PATAN:
        flags = fpatan(x, y, mode, z);
        break;
      case Dyadic.YL2X:
        flags = fyl2x(x, y, mode, z);
        break;
      default:
        flags = fyl2xp1(x, y, mode, z);
    }
    if (!settle(f, flags)) return true;
  }
  if (pops) pop(f);
  put(f, 0, z);
  return true;
}

function pushing(cpu: Core, a: number, b: number, c: number, d: number): boolean {
  if (!ready(cpu)) return false;
  const f = cpu.fpu;
  note(cpu, a, b, c, d);
  const kind = a & 7;
  if (isEmpty(f, 0) || !isEmpty(f, 7)) {
    if (!(isEmpty(f, 0) ? underflow(f, z) : stackOverflow(f, z))) return true;
    second.copy(z);
  } else {
    const mode = modeOf(f.w[F.CONTROL]);
    get(f, 0, x);
    let flags: number;
    if (kind === Pushing.XTRACT) {
      flags = extract(x, z, second);
    } else {
      if (kind === Pushing.PTAN) {
        flags = ftan(x, mode, z);
        if (isNan(z)) second.copy(z);
        else second.set(BIAS, 0x80000000, 0);
      } else {
        flags = fsin(x, mode, z);
        flags = (flags & ~Raise.UP) | fcos(x, mode, second);
      }
      setC2(f.w, flags);
      if ((flags & Status.C2) !== 0) {
        f.w[F.STATUS] &= ~Status.C1;
        return true;
      }
    }
    if (!settle(f, flags)) return true;
  }
  put(f, 0, z);
  push(f);
  put(f, 0, second);
  return true;
}

/** FXAM. */
function examine(cpu: Core, a: number, b: number, c: number, d: number): boolean {
  if (!ready(cpu)) return false;
  const f = cpu.fpu;
  note(cpu, a, b, c, d);
  get(f, 0, x);
  let codes = (x.se & 0x8000) !== 0 ? Status.C1 : 0;
  if (isEmpty(f, 0)) codes |= Status.C3 | Status.C0;
  else if (isUnsupported(x)) codes |= 0;
  else if (isNan(x)) codes |= Status.C0;
  else if (isInfinite(x)) codes |= Status.C2 | Status.C0;
  else if (isZero(x)) codes |= Status.C3;
  else if (isDenormal(x)) codes |= Status.C3 | Status.C2;
  else codes |= Status.C2;
  f.w[F.STATUS] = (f.w[F.STATUS] & ~Status.CONDITIONS) | codes;
  return true;
}

/** FCMOVcc: condition in bits 8..11. */
function conditionalMove(cpu: Core, a: number, b: number, c: number, d: number): boolean {
  if (!ready(cpu)) return false;
  const f = cpu.fpu;
  note(cpu, a, b, c, d);
  if (isEmpty(f, 0) || isEmpty(f, a & 7)) {
    if (underflow(f, z)) put(f, 0, z);
    return true;
  }
  if (condition(cpu.s, (a >> 8) & 15)) {
    get(f, a & 7, x);
    put(f, 0, x);
  }
  return true;
}

/** FNOP (0), FINCSTP (1), FDECSTP (2), FFREE (3), FFREEP (4): kind in bits 8..10. */
function stackControl(cpu: Core, a: number, b: number, c: number, d: number): boolean {
  if (!ready(cpu)) return false;
  const f = cpu.fpu;
  const { w } = f;
  note(cpu, a, b, c, d);
  const kind = (a >> 8) & 7;
  if (kind === 1 || kind === 2) {
    w[F.TOP] = (w[F.TOP] + (kind === 1 ? 1 : 7)) & 7;
    w[F.STATUS] &= ~Status.C1;
  } else if (kind >= 3) {
    w[F.STATUS] &= ~Status.C1;
    w[F.VALID] &= ~(1 << ((w[F.TOP] + (a & 7)) & 7));
    if (kind === 4) pop(f);
  }
  return true;
}

export const X87_UNARY = {
  x87Sign: sign,
  x87Monadic: monadic,
  x87Dyadic: dyadic,
  x87Pushing: pushing,
  x87Examine: examine,
  x87ConditionalMove: conditionalMove,
  x87StackControl: stackControl,
};
