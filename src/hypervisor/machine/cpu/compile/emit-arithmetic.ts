/**
 * Shifts, rotates, products, divisions and single bits as WebAssembly, for compiled code and for the interpreter alike: what they mean
 * is said in `arith.ts`. Where operands, result and flags are, the `ArithmeticFrame` says.
 *
 * `up` is 32 minus the operand's bits; operands are sign-extended. `live`: somebody may want the flags.
 */
import { FlagOp } from '../flags.js';
import { Op } from '../ir.js';
import { Flag, S, Vector } from '../state.js';
import { Type, W, type WasmWriter } from './wasm-writer.js';

export interface ArithmeticFrame {
  readonly w: WasmWriter;
  /** Locals: those of the lazy flags, which hold nothing of the op's flags before one of the methods below says so, and free ones. */
  readonly locals: {
    readonly RESULT: number;
    readonly A: number;
    readonly B: number;
    readonly X: number;
    readonly Y: number;
    readonly Z: number;
    /** An i64. */
    readonly WIDE: number;
  };
  if(type?: number): void;
  else(): void;
  end(): void;
  /** Pushes the value of an operand. */
  push(operand: number): void;
  /** Pops the value of an operand. */
  pop(operand: number): void;
  loadState(word: number): void;
  pushRegister(register: number): void;
  popRegister(register: number): void;
  /** Pushes the six flags as they are, at their places in EFLAGS. */
  pushImage(): void;
  /** The flags are what their locals hold, of this kind. */
  setFlags(kind: number): void;
  /** Announces that flags are set on one of several paths: on that one, `setFlagsHere` does it. */
  maySetFlags(): void;
  setFlagsHere(kind: number): void;
  /** Pops a condition; if it holds the op, of which nothing is done yet, is somebody else's. */
  giveUpIf(): void;
  /** Pops a condition; if it holds the op, of which nothing is done yet, raises an exception without error code. */
  faultIf(vector: number): void;
}

type Push = () => void;

/** Pushes a count from 1 to 31, and one less. */
interface Count {
  readonly all: Push;
  readonly less: Push;
}

export const constantCount = (w: WasmWriter, count: number): Count => ({
  all: () => w.i32(count),
  less: () => w.i32(count - 1),
});

export const localCount = (w: WasmWriter, local: number): Count => ({
  all: () => w.get(local),
  less: () => {
    w.get(local);
    w.i32(1);
    w.op(W.I32_SUB);
  },
});

/** Sign-extends what is pushed from the operand's size. */
export function narrow(w: WasmWriter, up: number): void {
  if (up !== 0) w.op(up === 16 ? W.I32_EXTEND16_S : W.I32_EXTEND8_S);
}

const maskOf = (up: number): number => (up === 16 ? 0xffff : 0xff);

function pushUnsigned(f: ArithmeticFrame, up: number): void {
  const { w } = f;
  w.get(f.locals.X);
  if (up !== 0) {
    w.i32(maskOf(up));
    w.op(W.I32_AND);
  }
}

function topBit(w: WasmWriter): void {
  w.i32(31);
  w.op(W.I32_SHR_U);
}

/** Pushes what SHL, SHR or SAR makes of X. */
function pushShifted(f: ArithmeticFrame, op: number, count: Push, up: number): void {
  const { w } = f;
  if (op === Op.SHR) pushUnsigned(f, up);
  else w.get(f.locals.X);
  count();
  w.op(op === Op.SHL ? W.I32_SHL : op === Op.SHR ? W.I32_SHR_U : W.I32_SHR_S);
  if (op !== Op.SAR) narrow(w, up);
}

/** Result and flags of a shift of X into their locals. */
function shiftWithFlags(f: ArithmeticFrame, op: number, { all, less }: Count, up: number): void {
  const { w } = f;
  const { RESULT, A, B, X } = f.locals;
  pushShifted(f, op, all, up);
  w.set(RESULT);
  // CF: the last bit shifted out.
  if (op === Op.SHL) {
    w.get(X);
    w.i32(up);
    w.op(W.I32_SHL);
    less();
    w.op(W.I32_SHL);
    topBit(w);
    w.tee(A);
    w.get(RESULT);
    topBit(w);
    w.op(W.I32_XOR);
    w.set(B);
    return;
  }
  const before = () => {
    if (op === Op.SHR) pushUnsigned(f, up);
    else w.get(X);
    less();
    w.op(op === Op.SHR ? W.I32_SHR_U : W.I32_SHR_S);
  };
  before();
  w.i32(1);
  w.op(W.I32_AND);
  w.set(A);
  // OF: the top bit of the operand if it moved by one, 0 of a signed shift.
  if (op === Op.SHR) {
    before();
    w.i32(up);
    w.op(W.I32_SHL);
    topBit(w);
  } else {
    w.i32(0);
  }
  w.set(B);
}

/** SHL, SHR or SAR by a count that is not 0. */
export function emitShift(
  f: ArithmeticFrame,
  op: number,
  d: number,
  a: number,
  count: Count,
  up: number,
  live: boolean,
): void {
  const { w } = f;
  f.push(a);
  w.set(f.locals.X);
  if (live) {
    shiftWithFlags(f, op, count, up);
    f.setFlags(FlagOp.CARRY_OVERFLOW);
    w.get(f.locals.RESULT);
  } else {
    pushShifted(f, op, count.all, up);
  }
  f.pop(d);
}

/** By the low five bits of `b`; a count of 0 changes nothing. */
export function emitShiftVariable(
  f: ArithmeticFrame,
  op: number,
  d: number,
  a: number,
  b: number,
  up: number,
  live: boolean,
): void {
  const { w } = f;
  const { RESULT, X, Y } = f.locals;
  pushCount(f, a, b);
  const count = localCount(w, Y);
  if (!live) {
    pushShifted(f, op, count.all, up);
    f.pop(d);
    return;
  }
  f.maySetFlags();
  w.get(Y);
  f.if(Type.I32);
  shiftWithFlags(f, op, count, up);
  f.setFlagsHere(FlagOp.CARRY_OVERFLOW);
  w.get(RESULT);
  f.else();
  w.get(X);
  f.end();
  f.pop(d);
}

/** `a` into X, the low five bits of `count` into Y. */
function pushCount(f: ArithmeticFrame, a: number, count: number): void {
  const { w } = f;
  f.push(count);
  w.i32(31);
  w.op(W.I32_AND);
  w.set(f.locals.Y);
  f.push(a);
  w.set(f.locals.X);
}

/**
 * ROL or ROR by the low five bits of `b`; a count of 0 changes nothing, another multiple of the size changes CF and OF. `always`: the
 * count is known not to be 0.
 */
export function emitRotate(
  f: ArithmeticFrame,
  left: boolean,
  d: number,
  a: number,
  b: number,
  up: number,
  always: boolean,
  live: boolean,
): void {
  const { w } = f;
  const { RESULT, A, Y, Z } = f.locals;
  pushCount(f, a, b);
  pushUnsigned(f, up);
  if (up !== 0) {
    // The operand twice (16 bits) or four times (8 bits) in a word: rotating that leaves the result in the low bits.
    w.i32(up === 16 ? 0x10001 : 0x1010101);
    w.op(W.I32_MUL);
  }
  w.get(Y);
  w.op(left ? W.I32_ROTL : W.I32_ROTR);
  narrow(w, up);
  if (!live) {
    f.pop(d);
    return;
  }
  w.set(Z);
  if (!always) {
    f.maySetFlags();
    w.get(Y);
    f.if();
  }
  f.pushImage();
  w.i32(~(Flag.CF | Flag.OF));
  w.op(W.I32_AND);
  // CF
  w.get(Z);
  if (left) {
    w.i32(1);
    w.op(W.I32_AND);
  } else {
    topBit(w);
  }
  w.tee(A);
  w.op(W.I32_OR);
  // OF: CF xor the top bit; to the right, the two top bits.
  w.get(Z);
  if (!left) {
    w.i32(up + 1);
    w.op(W.I32_SHL);
  }
  topBit(w);
  w.get(A);
  w.op(W.I32_XOR);
  w.i32(11);
  w.op(W.I32_SHL);
  w.op(W.I32_OR);
  w.set(RESULT);
  if (always) {
    f.setFlags(FlagOp.IMAGE);
  } else {
    f.setFlagsHere(FlagOp.IMAGE);
    f.end();
  }
  w.get(Z);
  f.pop(d);
}

/** SHLD or SHRD of 32 bits by the low five bits of `c`; a count of 0 changes nothing. */
export function emitDoubleShift(
  f: ArithmeticFrame,
  left: boolean,
  d: number,
  a: number,
  b: number,
  c: number,
  live: boolean,
): void {
  const { w } = f;
  const { RESULT, A, B, X, Y, Z } = f.locals;
  pushCount(f, a, c);
  f.push(b);
  w.set(Z);
  const opposite = () => {
    w.i32(32);
    w.get(Y);
    w.op(W.I32_SUB);
  };
  if (live) f.maySetFlags();
  w.get(Y);
  f.if(Type.I32);
  w.get(X);
  w.get(Y);
  w.op(left ? W.I32_SHL : W.I32_SHR_U);
  w.get(Z);
  opposite();
  w.op(left ? W.I32_SHR_U : W.I32_SHL);
  w.op(W.I32_OR);
  if (live) {
    w.set(RESULT);
    w.get(X);
    if (left) opposite();
    else localCount(w, Y).less();
    w.op(W.I32_SHR_U);
    w.i32(1);
    w.op(W.I32_AND);
    w.set(A);
    w.get(X);
    w.get(RESULT);
    w.op(W.I32_XOR);
    topBit(w);
    w.set(B);
    f.setFlagsHere(FlagOp.CARRY_OVERFLOW);
    w.get(RESULT);
  }
  f.else();
  w.get(X);
  f.end();
  f.pop(d);
}

/** The truncated product; CF = OF = it does not fit. `cut` cuts what is pushed to the operand's size. */
export function emitImul(f: ArithmeticFrame, d: number, a: number, b: number, cut: Push, live: boolean): void {
  const { w } = f;
  const { RESULT, A, B, WIDE } = f.locals;
  f.push(a);
  if (!live) {
    f.push(b);
    w.op(W.I32_MUL);
    cut();
    f.pop(d);
    return;
  }
  w.op(W.I64_EXTEND_I32_S);
  f.push(b);
  w.op(W.I64_EXTEND_I32_S);
  w.op(W.I64_MUL);
  w.tee(WIDE);
  w.op(W.I32_WRAP_I64);
  cut();
  w.tee(RESULT);
  w.op(W.I64_EXTEND_I32_S);
  w.get(WIDE);
  w.op(W.I64_NE);
  w.tee(A);
  w.set(B);
  f.setFlags(FlagOp.CARRY_OVERFLOW);
  w.get(RESULT);
  f.pop(d);
}

/** EDX:EAX = EAX * a. */
export function emitMultiply(f: ArithmeticFrame, a: number, signed: boolean, live: boolean): void {
  const { w } = f;
  const { RESULT, A, B, X, WIDE } = f.locals;
  const extend = signed ? W.I64_EXTEND_I32_S : W.I64_EXTEND_I32_U;
  f.pushRegister(S.EAX);
  w.op(extend);
  f.push(a);
  w.op(extend);
  w.op(W.I64_MUL);
  w.tee(WIDE);
  w.i64(0, 32);
  w.op(W.I64_SHR_U);
  w.op(W.I32_WRAP_I64);
  w.set(X);
  w.get(X);
  f.popRegister(S.EDX);
  w.get(WIDE);
  w.op(W.I32_WRAP_I64);
  f.popRegister(S.EAX);
  if (!live) return;
  w.get(X);
  w.get(WIDE);
  w.op(W.I32_WRAP_I64);
  w.tee(RESULT);
  if (signed) {
    w.i32(31);
    w.op(W.I32_SHR_S);
  } else {
    w.op(W.DROP);
    w.i32(0);
  }
  w.op(W.I32_NE);
  w.tee(A);
  w.set(B);
  f.setFlags(FlagOp.CARRY_OVERFLOW);
}

/** EAX, EDX = EDX:EAX / a. What would fault is given up. */
export function emitDivide(f: ArithmeticFrame, a: number, signed: boolean): void {
  const { w } = f;
  const { X, Y, WIDE } = f.locals;
  f.push(a);
  w.tee(X);
  if (signed) {
    w.op(W.I32_EQZ);
    f.faultIf(Vector.DE);
    // With the smallest 64-bit dividend -1 would trap.
    w.get(X);
    w.i32(-1);
    w.op(W.I32_EQ);
    f.giveUpIf();
  } else {
    // Too large a quotient, or a division by zero: no quotient fits 32 bits if EDX >= the divisor.
    f.pushRegister(S.EDX);
    w.op(W.I32_LE_U);
    f.faultIf(Vector.DE);
  }
  f.pushRegister(S.EDX);
  w.op(W.I64_EXTEND_I32_U);
  w.i64(0, 32);
  w.op(W.I64_SHL);
  f.pushRegister(S.EAX);
  w.op(W.I64_EXTEND_I32_U);
  w.op(W.I64_OR);
  w.get(X);
  w.op(signed ? W.I64_EXTEND_I32_S : W.I64_EXTEND_I32_U);
  w.op(signed ? W.I64_DIV_S : W.I64_DIV_U);
  w.tee(WIDE);
  w.op(W.I32_WRAP_I64);
  w.set(Y);
  if (signed) {
    w.get(Y);
    w.op(W.I64_EXTEND_I32_S);
    w.get(WIDE);
    w.op(W.I64_NE);
    f.faultIf(Vector.DE);
  }
  // The remainder fits 32 bits, so its low word is enough.
  f.pushRegister(S.EAX);
  w.get(Y);
  w.get(X);
  w.op(W.I32_MUL);
  w.op(W.I32_SUB);
  f.popRegister(S.EDX);
  w.get(Y);
  f.popRegister(S.EAX);
}

/**
 * BT, BTS, BTR and BTC: bit `b` of `a`, its number cut by what `mask` pushes, goes to CF. `sets` and `flips` push whether (1 or 0) the bit
 * is set in the result and whether it is then inverted; without them it is not.
 */
export function emitBit(
  f: ArithmeticFrame,
  d: number,
  a: number,
  b: number,
  mask: Push,
  sets: Push | null,
  flips: Push | null,
  live: boolean,
): void {
  const { w } = f;
  const { RESULT, X, Y } = f.locals;
  f.push(b);
  mask();
  w.op(W.I32_AND);
  w.set(X);
  f.push(a);
  w.set(Y);
  if (live) {
    f.pushImage();
    w.i32(~Flag.CF);
    w.op(W.I32_AND);
    w.get(Y);
    w.get(X);
    w.op(W.I32_SHR_U);
    w.i32(1);
    w.op(W.I32_AND);
    w.op(W.I32_OR);
    w.set(RESULT);
    f.setFlags(FlagOp.IMAGE);
  }
  w.get(Y);
  for (const [changes, code] of [
    [sets, W.I32_OR],
    [flips, W.I32_XOR],
  ] as const) {
    if (changes === null) continue;
    changes();
    w.get(X);
    w.op(W.I32_SHL);
    w.op(code);
  }
  f.pop(d);
}

/** BSF, or BSR of the bits that `mask` pushes (of all without it): `b` where `a` is zero. ZF says so. */
export function emitBitScan(
  f: ArithmeticFrame,
  reverse: boolean,
  d: number,
  a: number,
  b: number,
  mask: Push | null,
  live: boolean,
): void {
  const { w } = f;
  const { RESULT, X } = f.locals;
  f.push(a);
  w.set(X);
  f.push(b);
  if (reverse) w.i32(31);
  w.get(X);
  if (reverse && mask !== null) {
    mask();
    w.op(W.I32_AND);
  }
  w.op(reverse ? W.I32_CLZ : W.I32_CTZ);
  if (reverse) w.op(W.I32_SUB);
  w.get(X);
  w.op(W.I32_EQZ);
  w.op(W.SELECT);
  if (live) {
    w.get(X);
    w.set(RESULT);
    f.setFlags(FlagOp.LOGIC);
  }
  f.pop(d);
}

/** The four bytes in the other order. */
export function emitByteSwap(f: ArithmeticFrame, d: number, a: number): void {
  const { w } = f;
  f.push(a);
  w.i32(8);
  w.op(W.I32_ROTL);
  w.i32(0x00ff00ff);
  w.op(W.I32_AND);
  f.push(a);
  w.i32(8);
  w.op(W.I32_ROTR);
  w.i32(0xff00ff00);
  w.op(W.I32_AND);
  w.op(W.I32_OR);
  f.pop(d);
}

/** CLC, STC and CMC, by kind; `kind` 2 is CMC. */
export function emitCarry(f: ArithmeticFrame, kind: number): void {
  const { w } = f;
  f.pushImage();
  w.i32(kind === 0 ? ~Flag.CF : Flag.CF);
  w.op(kind === 0 ? W.I32_AND : kind === 1 ? W.I32_OR : W.I32_XOR);
  w.set(f.locals.RESULT);
  f.setFlags(FlagOp.IMAGE);
}

/** EFLAGS as PUSHF stores it: RF and VM are 0. */
export function emitReadFlags(f: ArithmeticFrame, d: number): void {
  const { w } = f;
  f.loadState(S.EFLAGS);
  w.i32(~(Flag.VM | Flag.RF));
  w.op(W.I32_AND);
  f.pushImage();
  w.op(W.I32_OR);
  f.pop(d);
}
