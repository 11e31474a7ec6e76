/**
 * x87 loads, stores, arithmetic and comparisons. Arguments of the helpers:
 *
 *     a  bits 0..2 ST(i), 3..5 operation, 6 the destination is ST(i), 7 pop, 8..10 source (`Source`), from bit 16 on the opcode
 *     b  memory operand (`operands.ts`) or `NO_MEMORY`
 *     c  word that holds its offset
 *     d  distance of the instruction from the block's EIP
 */
import type { Core } from '../core.js';
import { FlagOp } from '../flags.js';
import { Flag, S } from '../state.js';
import {
  fromDecimal,
  fromDouble,
  fromInteger,
  fromSingle,
  integer,
  packDoubleHigh,
  packDoubleLow,
  packSingle,
  toDecimal,
  toInteger,
} from './convert.js';
import { fetchOperand, storeOperand } from './operands.js';
import {
  add,
  BY_PRECISION,
  compare,
  DOUBLE,
  divide,
  Extended,
  isDenormal,
  isInfinite,
  isNan,
  isSignaling,
  isUnsupported,
  multiply,
  Rounding,
  round,
  SINGLE,
  setIndefinite,
} from './soft.js';
import { get, isEmpty, modeOf, note, pop, push, put, ready, settle, slot, stackOverflow, underflow } from './stack.js';
import { F, type FpuState, Raise, Status } from './state.js';

/** Where an operand is from, or a result goes. */
export const Source = {
  REGISTER: 0,
  SINGLE: 1,
  DOUBLE: 2,
  EXTENDED: 3,
  INT16: 4,
  INT32: 5,
  INT64: 6,
  DECIMAL: 7,
} as const;
/** Operations, in the order of the encoding (SDM vol. 2, table A-8); the comparisons are elsewhere. */
export const Operation = {
  ADD: 0,
  MULTIPLY: 1,
  SUBTRACT: 4,
  SUBTRACT_REVERSE: 5,
  DIVIDE: 6,
  DIVIDE_REVERSE: 7,
} as const;

const SIGN = 0x8000;
const x = new Extended();
const y = new Extended();
const z = new Extended();

/** Converts what `fetchOperand` left; answers `Raise.DENORMAL` or 0. */
function convert(f: FpuState, source: number, out: Extended): number {
  const { w } = f;
  const low = w[F.OPERAND];
  switch (source) {
    case Source.SINGLE:
      return fromSingle(low, out);
    case Source.DOUBLE:
      return fromDouble(w[F.OPERAND + 1], low, out);
    case Source.EXTENDED:
      out.set(w[F.OPERAND + 2] & 0xffff, w[F.OPERAND + 1], low);
      return 0;
    case Source.INT16:
      fromInteger((low << 16) >> 31, (low << 16) >> 16, out);
      return 0;
    case Source.INT32:
      fromInteger(low >> 31, low, out);
      return 0;
    case Source.INT64:
      fromInteger(w[F.OPERAND + 1], low, out);
      return 0;
    default:
      fromDecimal(f.u8, F.OPERAND * 4, out);
      return 0;
  }
}

/** FADD, FMUL, FSUB, FDIV and their kin. */
function arithmetic(cpu: Core, a: number, b: number, c: number, d: number): boolean {
  if (!ready(cpu)) return false;
  const f = cpu.fpu;
  const { w } = f;
  const source = (a >> 8) & 7;
  const i = a & 7;
  let denormal = 0;
  if (source !== Source.REGISTER) {
    if (!fetchOperand(cpu, b, cpu.s[c], w, F.OPERAND)) return false;
    denormal = convert(f, source, y);
  }
  note(cpu, a, b, c, d);
  const toRegister = (a & 0x40) !== 0;
  const to = toRegister ? i : 0;
  if (isEmpty(f, 0) || (source === Source.REGISTER && isEmpty(f, i))) {
    if (!underflow(f, z)) return true;
  } else {
    get(f, to, x);
    if (source === Source.REGISTER) get(f, toRegister ? 0 : i, y);
    const control = w[F.CONTROL];
    const format = BY_PRECISION[(control >> 8) & 3];
    const mode = modeOf(control);
    let flags: number;
    switch ((a >> 3) & 7) {
      case Operation.ADD:
        flags = add(x, y, 0, format, mode, denormal, z);
        break;
      case Operation.MULTIPLY:
        flags = multiply(x, y, format, mode, denormal, z);
        break;
      case Operation.SUBTRACT:
        flags = add(x, y, SIGN, format, mode, denormal, z);
        break;
      case Operation.SUBTRACT_REVERSE:
        flags = add(y, x, SIGN, format, mode, denormal, z);
        break;
      case Operation.DIVIDE:
        flags = divide(x, y, format, mode, denormal, z);
        break;
      default:
        flags = divide(y, x, format, mode, denormal, z);
    }
    if (!settle(f, flags)) return true;
  }
  put(f, to, z);
  if ((a & 0x80) !== 0) pop(f);
  return true;
}

/** FLD, FILD, FBLD. */
function load(cpu: Core, a: number, b: number, c: number, d: number): boolean {
  if (!ready(cpu)) return false;
  const f = cpu.fpu;
  const source = (a >> 8) & 7;
  if (b >= 0 && !fetchOperand(cpu, b, cpu.s[c], f.w, F.OPERAND)) return false;
  note(cpu, a, b, c, d);
  if (source === Source.REGISTER && isEmpty(f, a & 7)) {
    if (!underflow(f, z)) return true;
  } else if (!isEmpty(f, 7)) {
    if (!stackOverflow(f, z)) return true;
  } else if (source === Source.REGISTER) {
    get(f, a & 7, z);
    settle(f, 0);
  } else {
    let flags = convert(f, source, z);
    if (source <= Source.DOUBLE && isSignaling(z)) {
      z.hi |= 0x40000000;
      flags = Raise.INVALID;
    }
    if (!settle(f, flags)) return true;
  }
  push(f);
  put(f, 0, z);
  return true;
}

/** Significands and exponents of FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2 and FLDZ: nearest, and what directed rounding subtracts or adds. */
const CONSTANTS: readonly (readonly [se: number, hi: number, lo: number, down: number, up: number])[] = [
  [0x3fff, 0x80000000, 0x00000000, 0, 0],
  [0x4000, 0xd49a784b, 0xcd1b8afe, 0, 1],
  [0x3fff, 0xb8aa3b29, 0x5c17f0bc, -1, 0],
  [0x4000, 0xc90fdaa2, 0x2168c235, -1, 0],
  [0x3ffd, 0x9a209a84, 0xfbcff799, -1, 0],
  [0x3ffe, 0xb17217f7, 0xd1cf79ac, -1, 0],
  [0, 0, 0, 0, 0],
];

/** FLD1 and the other constants: number in bits 0..2. */
function loadConstant(cpu: Core, a: number, b: number, c: number, d: number): boolean {
  if (!ready(cpu)) return false;
  const f = cpu.fpu;
  note(cpu, a, b, c, d);
  if (!isEmpty(f, 7)) {
    if (!stackOverflow(f, z)) return true;
  } else {
    const constant = CONSTANTS[a & 7];
    const rounding = (f.w[F.CONTROL] >> 10) & 3;
    const shift = rounding === Rounding.NEAREST ? 0 : rounding === Rounding.UP ? constant[4] : constant[3];
    z.set(constant[0], constant[1], constant[2] + shift);
    settle(f, 0);
  }
  push(f);
  put(f, 0, z);
  return true;
}

/** `store`: bit 3. */
export const QUIET = 8;

/** FST, FSTP, FIST, FISTP, FISTTP (bit 6), FBSTP. */
function store(cpu: Core, a: number, b: number, c: number, d: number): boolean {
  if (!ready(cpu)) return false;
  const f = cpu.fpu;
  const { w } = f;
  const target = (a >> 8) & 7;
  const control = w[F.CONTROL];
  let flags = 0;
  if (isEmpty(f, 0)) {
    // The undocumented FSTP of D9 D8 pops an empty register without a word.
    if ((a & QUIET) !== 0) {
      note(cpu, a, b, c, d);
      settle(f, 0);
      pop(f);
      return true;
    }
    flags = Raise.INVALID | Raise.STACK;
    setIndefinite(x);
    indefinite(f, target, x);
  } else {
    get(f, 0, x);
    flags = deposit(f, target, (a & 0x40) !== 0 ? Rounding.ZERO : (control >> 10) & 3, modeOf(control));
  }
  const unmasked = flags & ~control;
  const stores = (unmasked & (Raise.INVALID | Raise.DENORMAL | Raise.OVERFLOW | Raise.UNDERFLOW)) === 0;
  if (target === Source.REGISTER) {
    note(cpu, a, b, c, d);
    if (!settle(f, flags)) return true;
    put(f, a & 7, x);
  } else {
    if (stores && !storeOperand(cpu, b, cpu.s[c], w, F.OPERAND)) return false;
    note(cpu, a, b, c, d);
    if (!settle(f, flags, true)) return true;
  }
  if ((a & 0x80) !== 0) pop(f);
  return true;
}

/** What an invalid operation stores. */
function indefinite(f: FpuState, target: number, out: Extended): void {
  const { w } = f;
  const at = F.OPERAND;
  switch (target) {
    case Source.SINGLE:
      w[at] = 0xffc00000;
      return;
    case Source.DOUBLE:
      w[at] = 0;
      w[at + 1] = 0xfff80000;
      return;
    case Source.INT16:
      w[at] = 0x8000;
      return;
    case Source.INT32:
      w[at] = 0x80000000;
      return;
    case Source.INT64:
      w[at] = 0;
      w[at + 1] = 0x80000000;
      return;
    case Source.DECIMAL:
      w[at] = 0;
      w[at + 1] = 0xc0000000;
      w[at + 2] = 0xffff;
      return;
    default:
      w[at] = out.lo;
      w[at + 1] = out.hi;
      w[at + 2] = out.se;
  }
}

/** Puts `x` in the target's format into the operand area; answers the exceptions. */
function deposit(f: FpuState, target: number, rounding: number, mode: number): number {
  const { w } = f;
  const at = F.OPERAND;
  if (target === Source.REGISTER || target === Source.EXTENDED) {
    indefinite(f, Source.EXTENDED, x);
    return 0;
  }
  let flags = 0;
  if (target <= Source.DOUBLE) {
    if (isUnsupported(x)) {
      indefinite(f, target, x);
      return Raise.INVALID;
    }
    if (isNan(x)) {
      if (isSignaling(x)) flags = Raise.INVALID;
      x.hi |= 0x40000000;
      z.copy(x);
    } else if (isInfinite(x)) {
      z.copy(x);
    } else {
      flags = round(x, target === Source.SINGLE ? SINGLE : DOUBLE, mode, z);
    }
    if (target === Source.SINGLE) {
      w[at] = packSingle(z);
    } else {
      w[at] = packDoubleLow(z);
      w[at + 1] = packDoubleHigh(z);
    }
    return flags;
  }
  if (target === Source.DECIMAL) flags = toDecimal(x, rounding, f.u8, at * 4);
  else flags = toInteger(x, target === Source.INT16 ? 16 : target === Source.INT32 ? 32 : 64, rounding);
  if ((flags & Raise.INVALID) !== 0) indefinite(f, target, x);
  else if (target !== Source.DECIMAL) {
    w[at] = integer.low;
    w[at + 1] = integer.high;
  }
  return flags;
}

/** Result of the comparison of x with y: condition codes C3, C2, C0; exceptions go to `compared`. */
let compared = 0;
function conditions(denormal: number, quiet: boolean): number {
  if (isUnsupported(x) || isUnsupported(y)) {
    compared = Raise.INVALID;
    return Status.C0 | Status.C2 | Status.C3;
  }
  if (isNan(x) || isNan(y)) {
    compared = !quiet || isSignaling(x) || isSignaling(y) ? Raise.INVALID : 0;
    return Status.C0 | Status.C2 | Status.C3;
  }
  compared = denormal | (isDenormal(x) || isDenormal(y) ? Raise.DENORMAL : 0);
  const order = compare(x, y);
  return order > 0 ? 0 : order < 0 ? Status.C0 : Status.C3;
}

/** FCOM, FUCOM (bit 3), FICOM, FTST (bit 4); bit 7 pops once, bit 6 once more. */
function compareHelper(cpu: Core, a: number, b: number, c: number, d: number): boolean {
  if (!ready(cpu)) return false;
  const f = cpu.fpu;
  const { w } = f;
  const source = (a >> 8) & 7;
  let denormal = 0;
  if (source !== Source.REGISTER) {
    if (!fetchOperand(cpu, b, cpu.s[c], w, F.OPERAND)) return false;
    denormal = convert(f, source, y);
  }
  note(cpu, a, b, c, d);
  const test = (a & 0x10) !== 0;
  let codes: number = Status.C0 | Status.C2 | Status.C3;
  if (isEmpty(f, 0) || (source === Source.REGISTER && !test && isEmpty(f, a & 7))) {
    compared = Raise.INVALID | Raise.STACK;
  } else {
    get(f, 0, x);
    if (test) y.set(0, 0, 0);
    else if (source === Source.REGISTER) get(f, a & 7, y);
    codes = conditions(denormal, (a & 8) !== 0);
  }
  const delivers = settle(f, compared);
  w[F.STATUS] = (w[F.STATUS] & ~(Status.C0 | Status.C2 | Status.C3)) | codes;
  if (!delivers) return true;
  if ((a & 0x80) !== 0) pop(f);
  if ((a & 0x40) !== 0) pop(f);
  return true;
}

/** FCOMI, FUCOMI (bit 3), with a pop (bit 7). */
function compareToFlags(cpu: Core, a: number, b: number, c: number, d: number): boolean {
  if (!ready(cpu)) return false;
  const f = cpu.fpu;
  const { s } = cpu;
  note(cpu, a, b, c, d);
  let codes: number = Status.C0 | Status.C2 | Status.C3;
  if (isEmpty(f, 0) || isEmpty(f, a & 7)) {
    compared = Raise.INVALID | Raise.STACK;
  } else {
    get(f, 0, x);
    get(f, a & 7, y);
    codes = conditions(0, (a & 8) !== 0);
  }
  // C1 says something of the stack only.
  const kept = (compared & Raise.STACK) === 0 ? f.w[F.STATUS] & Status.C1 : 0;
  const delivers = settle(f, compared);
  f.w[F.STATUS] |= kept;
  s[S.FLAG_OP] = FlagOp.IMAGE;
  s[S.FLAG_RESULT] =
    ((codes & Status.C0) !== 0 ? Flag.CF : 0) |
    ((codes & Status.C2) !== 0 ? Flag.PF : 0) |
    ((codes & Status.C3) !== 0 ? Flag.ZF : 0);
  if (delivers && (a & 0x80) !== 0) pop(f);
  return true;
}

/** FXCH. */
function exchange(cpu: Core, a: number, b: number, c: number, d: number): boolean {
  if (!ready(cpu)) return false;
  const f = cpu.fpu;
  const i = a & 7;
  note(cpu, a, b, c, d);
  if (isEmpty(f, 0) || isEmpty(f, i)) {
    if (!underflow(f, z)) return true;
    x.copy(z);
    y.copy(z);
    if (!isEmpty(f, 0)) get(f, 0, x);
    if (!isEmpty(f, i)) get(f, i, y);
    put(f, 0, y);
    put(f, i, x);
    return true;
  }
  const { w } = f;
  const from = slot(f, 0);
  const to = slot(f, i);
  for (let k = 0; k < 3; k++) {
    const word = w[from + k];
    w[from + k] = w[to + k];
    w[to + k] = word;
  }
  w[F.STATUS] &= ~Status.C1;
  return true;
}

export const X87_ARITHMETIC = {
  x87Arithmetic: arithmetic,
  x87Load: load,
  x87Constant: loadConstant,
  x87Store: store,
  x87Compare: compareHelper,
  x87CompareToFlags: compareToFlags,
  x87Exchange: exchange,
};
