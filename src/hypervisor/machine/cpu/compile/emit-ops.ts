/**
 * The ops of the IR as WebAssembly: the same meaning as in `interpret.ts` and `rare-ops.ts`, with registers in locals. Flags are left
 * in locals, and only where somebody may want them.
 */
import { FlagOp } from '../flags.js';
import { Op } from '../ir.js';
import { FAULT_VECTOR, FETCH_SAFE, ZERO } from '../layout.js';
import { Flag, S, segSelector } from '../state.js';
import {
  type ArithmeticFrame,
  constantCount,
  emitBit,
  emitBitScan,
  emitByteSwap,
  emitCarry,
  emitDivide,
  emitDoubleShift,
  emitImul,
  emitMultiply,
  emitReadFlags,
  emitRotate,
  emitShift,
  emitShiftVariable,
  narrow,
} from './emit-arithmetic.js';
import { pushCarry, pushCondition, pushImage } from './emit-flags.js';
import { emitCheckedStore, emitLoad, emitLoadForStore, emitStore, pushAddress } from './emit-memory.js';
import { type Frame, Helper, L, Leave, localOf } from './frame.js';
import { isGeneric, isNarrowArithmetic, UNKNOWN_KIND } from './op-facts.js';
import { W } from './wasm-writer.js';

/** Emits one op that is no terminator. `live`: the flags that it leaves may be wanted. */
export function emitOp(f: Frame, at: number, live: boolean): void {
  const { w, code } = f;
  const op = code[at]!;
  const d = code[at + 1]!;
  const a = code[at + 2]!;
  const b = code[at + 3]!;
  const c = code[at + 4]!;
  if (isGeneric(op) || isNarrowArithmetic(op, c)) {
    emitGeneric(f, at);
    return;
  }
  /** d = a operation b, with flags of `kind`. */
  const binary = (operation: number, kind: number, right: () => void, up: number, store: boolean) => {
    if (live) {
      if (kind === FlagOp.LOGIC) {
        f.push(a);
        right();
        w.op(operation);
        w.set(L.FLAG_RESULT);
        f.kind = kind;
      } else {
        // The operands may be the flags' locals of nobody else: read both before either is set.
        f.push(a);
        right();
        w.set(L.FLAG_B);
        w.tee(L.FLAG_A);
        w.get(L.FLAG_B);
        w.op(operation);
        narrow(w, up);
        w.set(L.FLAG_RESULT);
        f.kind = kind;
      }
      if (store) {
        w.get(L.FLAG_RESULT);
        f.pop(d);
      }
      return;
    }
    if (!store) return;
    f.push(a);
    right();
    w.op(operation);
    narrow(w, up);
    f.pop(d);
  };
  const word = () => f.push(b);
  const immediate = () => w.i32(b);

  switch (op) {
    case Op.MOV:
      f.push(a);
      f.pop(d);
      return;
    case Op.MOVI:
      if (d >= S.TEMP) {
        f.constants.set(d, a);
        f.defined.add(d);
        return;
      }
      w.i32(a);
      f.pop(d);
      return;
    case Op.SIGN:
      f.push(a);
      if (b === c && (b === 16 || b === 24)) {
        narrow(w, b);
      } else {
        w.i32(b);
        w.op(W.I32_SHL);
        w.i32(c);
        w.op(W.I32_SHR_S);
      }
      f.pop(d);
      return;
    case Op.ZERO_EXTEND:
      f.push(a);
      if (b === c) {
        w.i32(b === 24 ? 0xff : 0xffff);
        w.op(W.I32_AND);
      } else {
        w.i32(b);
        w.op(W.I32_SHL);
        w.i32(c);
        w.op(W.I32_SHR_U);
      }
      f.pop(d);
      return;
    case Op.INSERT: {
      const mask = c << b;
      f.push(d);
      w.i32(~mask);
      w.op(W.I32_AND);
      f.push(a);
      if (b !== 0) {
        w.i32(b);
        w.op(W.I32_SHL);
      }
      w.i32(mask);
      w.op(W.I32_AND);
      w.op(W.I32_OR);
      f.pop(d);
      return;
    }
    case Op.LEA:
      pushAddress(f, b, c, code[at + 5]!, code[at + 6]!);
      f.pop(d);
      return;
    case Op.EIP:
      f.pushEip(f.blockOffset + a);
      f.pop(d);
      return;
    case Op.SELECTOR:
      f.loadState(segSelector(a));
      f.pop(d);
      return;
    case Op.SELECT:
      f.push(a);
      f.push(b);
      pushCondition(f, c);
      w.op(W.SELECT);
      f.pop(d);
      return;
    case Op.SELECT_EQUAL:
      f.push(c);
      f.push(code[at + 5]!);
      f.push(a);
      f.push(b);
      w.op(W.I32_EQ);
      w.op(W.SELECT);
      f.pop(d);
      return;
    case Op.NOT:
      f.push(a);
      w.i32(-1);
      w.op(W.I32_XOR);
      f.pop(d);
      return;
    case Op.BSWAP:
      emitByteSwap(arithmetic(f), d, a);
      return;
    case Op.AND_MASK:
      f.push(a);
      w.i32(b);
      w.op(W.I32_AND);
      f.pop(d);
      return;
    case Op.SHIFT_RIGHT_SIGNED:
      f.push(a);
      w.i32(b);
      w.op(W.I32_SHR_S);
      f.pop(d);
      return;
    case Op.STRING_STEP:
      w.i32(-a);
      w.i32(a);
      f.loadState(S.EFLAGS);
      w.i32(Flag.DF);
      w.op(W.I32_AND);
      w.op(W.SELECT);
      f.pop(d);
      return;
    case Op.DIRECTION:
      f.storeState(S.EFLAGS, () => {
        f.loadState(S.EFLAGS);
        w.i32(d !== 0 ? Flag.DF : ~Flag.DF);
        w.op(d !== 0 ? W.I32_OR : W.I32_AND);
      });
      return;

    case Op.LOAD32:
      emitLoad(f, at, 4, true);
      return;
    case Op.LOAD16:
      emitLoad(f, at, 2, true);
      return;
    case Op.LOAD8:
      emitLoad(f, at, 1, true);
      return;
    case Op.LOAD16Z:
      emitLoad(f, at, 2, false);
      return;
    case Op.LOAD8Z:
      emitLoad(f, at, 1, false);
      return;
    case Op.STORE32:
      emitStore(f, at, 4);
      return;
    case Op.STORE16:
      emitStore(f, at, 2);
      return;
    case Op.STORE8:
      emitStore(f, at, 1);
      return;
    case Op.LOAD_FOR_STORE:
      emitLoadForStore(f, at);
      return;
    case Op.STORE_CHECKED:
      emitCheckedStore(f, at);
      return;

    case Op.ADD32:
      binary(W.I32_ADD, FlagOp.ADD, word, 0, true);
      return;
    case Op.ADD32I:
      binary(W.I32_ADD, FlagOp.ADD, immediate, 0, true);
      return;
    case Op.ADD:
      binary(W.I32_ADD, FlagOp.ADD, word, c, true);
      return;
    case Op.SUB32:
      binary(W.I32_SUB, FlagOp.SUB, word, 0, true);
      return;
    case Op.SUB32I:
      binary(W.I32_SUB, FlagOp.SUB, immediate, 0, true);
      return;
    case Op.SUB:
      binary(W.I32_SUB, FlagOp.SUB, word, c, true);
      return;
    case Op.CMP32:
      binary(W.I32_SUB, FlagOp.SUB, word, 0, false);
      return;
    case Op.CMP32I:
      binary(W.I32_SUB, FlagOp.SUB, immediate, 0, false);
      return;
    case Op.CMP:
      binary(W.I32_SUB, FlagOp.SUB, word, c, false);
      return;
    case Op.AND32:
    case Op.AND:
      binary(W.I32_AND, FlagOp.LOGIC, word, 0, true);
      return;
    case Op.AND32I:
      binary(W.I32_AND, FlagOp.LOGIC, immediate, 0, true);
      return;
    case Op.OR32:
    case Op.OR:
      binary(W.I32_OR, FlagOp.LOGIC, word, 0, true);
      return;
    case Op.OR32I:
      binary(W.I32_OR, FlagOp.LOGIC, immediate, 0, true);
      return;
    case Op.XOR32:
    case Op.XOR:
      binary(W.I32_XOR, FlagOp.LOGIC, word, 0, true);
      return;
    case Op.XOR32I:
      binary(W.I32_XOR, FlagOp.LOGIC, immediate, 0, true);
      return;
    case Op.TEST32:
    case Op.TEST:
      binary(W.I32_AND, FlagOp.LOGIC, word, 0, false);
      return;
    case Op.TEST32I:
      binary(W.I32_AND, FlagOp.LOGIC, immediate, 0, false);
      return;
    case Op.INC32:
    case Op.INC:
    case Op.DEC32:
    case Op.DEC: {
      const up = op === Op.INC32 || op === Op.DEC32 ? 0 : c;
      const down = op === Op.DEC32 || op === Op.DEC;
      if (live) {
        pushCarry(f);
        w.set(L.FLAG_B);
        f.push(a);
        w.set(L.FLAG_A);
        f.kind = down ? FlagOp.DEC : FlagOp.INC;
      }
      f.push(a);
      w.i32(down ? -1 : 1);
      w.op(W.I32_ADD);
      narrow(w, up);
      if (live) w.tee(L.FLAG_RESULT);
      f.pop(d);
      return;
    }
    case Op.NEG:
      if (live) {
        f.push(a);
        w.set(L.FLAG_B);
        w.i32(0);
        w.set(L.FLAG_A);
        f.kind = FlagOp.SUB;
      }
      w.i32(0);
      f.push(a);
      w.op(W.I32_SUB);
      narrow(w, c);
      if (live) w.tee(L.FLAG_RESULT);
      f.pop(d);
      return;
    case Op.ADC:
    case Op.SBB: {
      const add = op === Op.ADC;
      pushCarry(f);
      w.set(L.X);
      f.push(a);
      f.push(b);
      w.set(L.FLAG_B);
      w.tee(L.FLAG_A);
      w.get(L.FLAG_B);
      w.op(add ? W.I32_ADD : W.I32_SUB);
      w.get(L.X);
      w.op(add ? W.I32_ADD : W.I32_SUB);
      narrow(w, c);
      w.set(L.FLAG_RESULT);
      w.i32(add ? FlagOp.ADD_CARRY : FlagOp.SUB_BORROW);
      w.i32(add ? FlagOp.ADD : FlagOp.SUB);
      w.get(L.X);
      w.op(W.SELECT);
      w.set(L.FLAG_OP);
      f.kind = UNKNOWN_KIND;
      w.get(L.FLAG_RESULT);
      f.pop(d);
      return;
    }
    case Op.SHL32I:
    case Op.SHR32I:
    case Op.SAR32I:
      emitShift(arithmetic(f), VARIABLE_SHIFT[op], d, a, constantCount(w, b), 0, live);
      return;
    case Op.SHL:
    case Op.SHR:
    case Op.SAR: {
      const count = f.constants.get(b);
      if (count === undefined) {
        emitShiftVariable(arithmetic(f), op, d, a, b, c, live);
      } else if ((count & 31) !== 0) {
        emitShift(arithmetic(f), op, d, a, constantCount(w, count & 31), c, live);
      } else {
        f.push(a);
        f.pop(d);
      }
      return;
    }
    case Op.ROL:
    case Op.ROR: {
      const count = f.constants.get(b);
      if (count === undefined || (count & 31) !== 0) {
        emitRotate(arithmetic(f), op === Op.ROL, d, a, b, c, count !== undefined, live);
      } else {
        f.push(a);
        f.pop(d);
      }
      return;
    }
    case Op.SHLD:
    case Op.SHRD:
      emitDoubleShift(arithmetic(f), op === Op.SHLD, d, a, b, code[at + 5]!, live);
      return;
    case Op.IMUL:
      emitImul(arithmetic(f), d, a, b, () => narrow(w, c), live);
      return;
    case Op.MULTIPLY:
      emitMultiply(arithmetic(f), a, code[at + 5] !== 0, live);
      return;
    case Op.DIVIDE:
      emitDivide(arithmetic(f), a, code[at + 5] !== 0);
      return;
    case Op.BIT: {
      const kind = code[at + 5]!;
      const one = () => w.i32(1);
      const sets = kind === 1 || kind === 2 ? one : null;
      emitBit(arithmetic(f), d, a, b, () => w.i32(31 - c), sets, kind >= 2 ? one : null, live);
      return;
    }
    case Op.BSF:
    case Op.BSR:
      emitBitScan(arithmetic(f), op === Op.BSR, d, a, b, c === 0 ? null : () => w.i32(-1 >>> c), live);
      return;
    case Op.SET_CONDITION:
      pushCondition(f, a);
      f.pop(d);
      return;
    case Op.CARRY:
      if (live) emitCarry(arithmetic(f), d);
      return;
    case Op.READ_FLAGS:
      emitReadFlags(arithmetic(f), d);
      return;
    case Op.CHECK_TARGET:
      f.push(a);
      checkTarget(f);
      return;
    case Op.CHECK_TARGET_DIRECT: {
      const offset = f.blockOffset + d;
      if (offset >= 0 && offset < 4096) return;
      f.pushEip(offset);
      checkTarget(f);
      return;
    }
    default:
      throw new Error(`op ${op} is not for the compiler`);
  }
}

/** Pops a target; one that is not sure to have a whole block before the segment's end is for the interpreter. */
export function checkTarget(f: Frame): void {
  f.loadState(FETCH_SAFE);
  f.w.op(W.I32_GE_U);
  f.if();
  f.leaveHere(Leave.INTERPRET);
  f.end();
}

const VARIABLE_SHIFT = { [Op.SHL32I]: Op.SHL, [Op.SHR32I]: Op.SHR, [Op.SAR32I]: Op.SAR } as const;

const ARITHMETIC_LOCALS = {
  RESULT: L.FLAG_RESULT,
  A: L.FLAG_A,
  B: L.FLAG_B,
  X: L.X,
  Y: L.Y,
  Z: L.Z,
  WIDE: L.WIDE,
} as const;

/** Operands, registers and flags are locals. */
const arithmetic = (f: Frame): ArithmeticFrame => ({
  w: f.w,
  locals: ARITHMETIC_LOCALS,
  if: type => f.if(type),
  else: () => f.else(),
  end: () => f.end(),
  push: word => f.push(word),
  pop: word => f.pop(word),
  loadState: word => f.loadState(word),
  pushRegister: register => f.push(register),
  popRegister: register => f.pop(register),
  pushImage: () => pushImage(f),
  setFlags: kind => {
    f.kind = kind;
  },
  maySetFlags: () => {
    f.settleKind();
    f.kind = UNKNOWN_KIND;
  },
  setFlagsHere: kind => {
    f.w.i32(kind);
    f.w.set(L.FLAG_OP);
  },
  giveUpIf: () => {
    f.if();
    f.leaveHere(Leave.INTERPRET);
    f.end();
  },
  faultIf: vector => {
    f.if();
    f.storeState(FAULT_VECTOR, () => f.w.i32(vector));
    f.leaveHere(Leave.FAULT);
    f.end();
  },
});

/** An op that the interpreter's own function executes on the state words: everything goes there and comes back. */
function emitGeneric(f: Frame, at: number): void {
  const { w } = f;
  spillTemps(f);
  f.settleKind();
  storeRegisters(f);
  storeFlags(f);
  f.storeState(S.EIP, () => f.pushEip(f.blockOffset));
  flushClock(f);
  f.pushOp(at);
  f.call(Helper.GENERIC);
  w.set(L.CODE);
  loadRegisters(f);
  loadFlags(f);
  f.kind = UNKNOWN_KIND;
  reloadTemp(f, at);
  w.get(L.CODE);
  f.if();
  leaveGeneric(f);
  f.end();
}

/** Behind a generic op that did not end well: at the instruction (a fault), or behind it (it wrote compiled code). */
function leaveGeneric(f: Frame): void {
  const { w } = f;
  w.get(L.CODE);
  w.i32(Leave.FAULT);
  w.op(W.I32_EQ);
  f.if();
  f.leaveHere();
  f.end();
  f.leaveAt(f.nextOffset, f.instructionsBefore + 1, f.nextCycles, Leave.GOTO);
}

/** Temporaries of the current instruction go to their state words. */
export function spillTemps(f: Frame): void {
  for (const temp of f.defined) f.storeState(temp, () => f.push(temp));
}

/** A temporary that the generic op wrote comes back. */
function reloadTemp(f: Frame, at: number): void {
  const op = f.code[at]!;
  const d = f.code[at + 1]!;
  const writes = op === Op.RCL || op === Op.RCR || op === Op.SHLD || op === Op.SHRD;
  if (!writes || d < S.TEMP || d === ZERO) return;
  f.loadState(d);
  f.pop(d);
}

export function storeRegisters(f: Frame): void {
  for (let register = 0; register < 8; register++) {
    if (((f.written >> register) & 1) !== 0) f.storeState(register, () => f.w.get(localOf(register)));
  }
}

export function loadRegisters(f: Frame): void {
  for (let register = 0; register < 8; register++) {
    if (((f.used >> register) & 1) === 0) continue;
    f.loadState(register);
    f.w.set(localOf(register));
  }
}

export function storeFlags(f: Frame): void {
  f.storeState(S.FLAG_OP, () => f.w.get(L.FLAG_OP));
  f.storeState(S.FLAG_RESULT, () => f.w.get(L.FLAG_RESULT));
  f.storeState(S.FLAG_A, () => f.w.get(L.FLAG_A));
  f.storeState(S.FLAG_B, () => f.w.get(L.FLAG_B));
}

export function loadFlags(f: Frame): void {
  for (const [word, local] of [
    [S.FLAG_OP, L.FLAG_OP],
    [S.FLAG_RESULT, L.FLAG_RESULT],
    [S.FLAG_A, L.FLAG_A],
    [S.FLAG_B, L.FLAG_B],
  ] as const) {
    f.loadState(word);
    f.w.set(local);
  }
}

/** Adds what was spent to the thread's clock and starts again from 0. */
export function flushClock(f: Frame): void {
  const { w } = f;
  addSpent(f);
  w.i64(0, 0);
  w.set(L.SPENT);
}

export function addSpent(f: Frame): void {
  const { w } = f;
  f.addToClock(0, () => {
    w.get(L.SPENT);
    w.op(W.I32_WRAP_I64);
  });
  f.addToClock(1, () => {
    w.get(L.SPENT);
    w.i64(0, 32);
    w.op(W.I64_SHR_U);
    w.op(W.I32_WRAP_I64);
  });
}
