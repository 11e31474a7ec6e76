/**
 * The ops of the IR as WebAssembly: the same meaning as in `interpret.ts` and `rare-ops.ts`, with registers in locals. Flags are left
 * in locals, and only where somebody may want them.
 */
import { FlagOp } from '../flags.js';
import { Op } from '../ir.js';
import { FETCH_SAFE, LIMIT, ZERO } from '../layout.js';
import { Flag, S, segSelector } from '../state.js';
import { pushCarry, pushCondition, pushImage } from './emit-flags.js';
import { emitCheckedStore, emitLoad, emitLoadForStore, emitStore, pushAddress } from './emit-memory.js';
import { type Frame, Import, L, Leave, localOf } from './frame.js';
import { isGeneric, isNarrowArithmetic, UNKNOWN_KIND } from './op-facts.js';
import { Type, W } from './wasm-writer.js';

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
  const shiftUp = (up: number) => {
    if (up === 0) return;
    if (up === 16 || up === 24) {
      w.op(up === 16 ? W.I32_EXTEND16_S : W.I32_EXTEND8_S);
      return;
    }
    w.i32(up);
    w.op(W.I32_SHL);
    w.i32(up);
    w.op(W.I32_SHR_S);
  };
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
        shiftUp(up);
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
    shiftUp(up);
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
      if (b === c) {
        shiftUp(b);
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
      shiftUp(up);
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
      shiftUp(c);
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
      shiftUp(c);
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
      shiftBy(f, op, d, a, b, 0, live);
      return;
    case Op.SHL:
    case Op.SHR:
    case Op.SAR: {
      const count = f.constants.get(b);
      if (count !== undefined) {
        if ((count & 31) === 0) {
          f.push(a);
          f.pop(d);
          return;
        }
        const fixed = op === Op.SHL ? Op.SHL32I : op === Op.SHR ? Op.SHR32I : Op.SAR32I;
        shiftBy(f, fixed, d, a, count & 31, c, live);
        return;
      }
      shiftVariable(f, op, d, a, b, c, live);
      return;
    }
    case Op.ROL:
    case Op.ROR:
      rotate(f, op === Op.ROL, d, a, b, c, live);
      return;
    case Op.IMUL:
      imul(f, d, a, b, c, live);
      return;
    case Op.MULTIPLY:
      multiply(f, a, code[at + 5] !== 0, live);
      return;
    case Op.DIVIDE:
      divide(f, a, code[at + 5] !== 0);
      return;
    case Op.BIT: {
      const kind = code[at + 5]!;
      f.push(b);
      w.i32(31 - c);
      w.op(W.I32_AND);
      w.set(L.X);
      f.push(a);
      w.set(L.Y);
      if (live) {
        pushImage(f);
        w.i32(~Flag.CF);
        w.op(W.I32_AND);
        w.get(L.Y);
        w.get(L.X);
        w.op(W.I32_SHR_U);
        w.i32(1);
        w.op(W.I32_AND);
        w.op(W.I32_OR);
        w.set(L.FLAG_RESULT);
        f.kind = FlagOp.IMAGE;
      }
      w.get(L.Y);
      if (kind !== 0) {
        w.i32(1);
        w.get(L.X);
        w.op(W.I32_SHL);
        if (kind === 2) {
          w.i32(-1);
          w.op(W.I32_XOR);
        }
        w.op(kind === 1 ? W.I32_OR : kind === 2 ? W.I32_AND : W.I32_XOR);
      }
      f.pop(d);
      return;
    }
    case Op.BSF:
    case Op.BSR:
      f.push(a);
      w.set(L.X);
      f.push(b);
      if (op === Op.BSF) {
        w.get(L.X);
        w.op(W.I32_CTZ);
      } else {
        w.i32(31);
        w.get(L.X);
        if (c !== 0) {
          w.i32(c === 16 ? 0xffff : 0xff);
          w.op(W.I32_AND);
        }
        w.op(W.I32_CLZ);
        w.op(W.I32_SUB);
      }
      w.get(L.X);
      w.op(W.I32_EQZ);
      w.op(W.SELECT);
      if (live) {
        w.get(L.X);
        w.set(L.FLAG_RESULT);
        f.kind = FlagOp.LOGIC;
      }
      f.pop(d);
      return;
    case Op.SET_CONDITION:
      pushCondition(f, a);
      f.pop(d);
      return;
    case Op.CARRY:
      if (!live) return;
      pushImage(f);
      if (d === 2) {
        w.i32(Flag.CF);
        w.op(W.I32_XOR);
      } else {
        w.i32(d === 0 ? ~Flag.CF : Flag.CF);
        w.op(d === 0 ? W.I32_AND : W.I32_OR);
      }
      w.set(L.FLAG_RESULT);
      f.kind = FlagOp.IMAGE;
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

/** A shift by 1..31; `up` is 32 minus the operand's bits. */
function shiftBy(f: Frame, op: number, d: number, a: number, count: number, up: number, live: boolean): void {
  const { w } = f;
  const bits = 32 - up;
  const narrow = () => {
    if (up !== 0) w.op(up === 16 ? W.I32_EXTEND16_S : W.I32_EXTEND8_S);
  };
  const unsigned = () => {
    w.get(L.X);
    if (up !== 0) {
      w.i32(up === 16 ? 0xffff : 0xff);
      w.op(W.I32_AND);
    }
  };
  f.push(a);
  w.set(L.X);
  if (op === Op.SHL32I) {
    w.get(L.X);
    w.i32(count);
    w.op(W.I32_SHL);
    narrow();
  } else if (op === Op.SHR32I) {
    unsigned();
    w.i32(count);
    w.op(W.I32_SHR_U);
    narrow();
  } else {
    w.get(L.X);
    w.i32(count);
    w.op(W.I32_SHR_S);
  }
  if (!live) {
    f.pop(d);
    return;
  }
  w.set(L.FLAG_RESULT);
  // CF: the last bit shifted out.
  if (op === Op.SHL32I) {
    if (count > bits) {
      w.i32(0);
    } else {
      w.get(L.X);
      w.i32(bits - count);
      w.op(W.I32_SHR_U);
      w.i32(1);
      w.op(W.I32_AND);
    }
  } else {
    if (op === Op.SHR32I) unsigned();
    else w.get(L.X);
    w.i32(count - 1);
    w.op(op === Op.SHR32I ? W.I32_SHR_U : W.I32_SHR_S);
    w.i32(1);
    w.op(W.I32_AND);
  }
  w.set(L.FLAG_A);
  if (op === Op.SHL32I) {
    w.get(L.FLAG_RESULT);
    w.i32(31);
    w.op(W.I32_SHR_U);
    w.get(L.FLAG_A);
    w.op(W.I32_XOR);
  } else if (op === Op.SHR32I) {
    unsigned();
    w.i32(count - 1);
    w.op(W.I32_SHR_U);
    w.i32(up);
    w.op(W.I32_SHL);
    w.i32(31);
    w.op(W.I32_SHR_U);
  } else {
    w.i32(0);
  }
  w.set(L.FLAG_B);
  f.kind = FlagOp.CARRY_OVERFLOW;
  w.get(L.FLAG_RESULT);
  f.pop(d);
}

/** A shift by the low five bits of a register; a count of 0 changes nothing. */
function shiftVariable(f: Frame, op: number, d: number, a: number, b: number, up: number, live: boolean): void {
  const { w } = f;
  const bits = 32 - up;
  const mask = up === 16 ? 0xffff : 0xff;
  f.push(b);
  w.i32(31);
  w.op(W.I32_AND);
  w.set(L.Y);
  f.push(a);
  w.set(L.X);
  const unsigned = () => {
    w.get(L.X);
    if (up !== 0) {
      w.i32(mask);
      w.op(W.I32_AND);
    }
  };
  const shifted = () => {
    if (op === Op.SHR) unsigned();
    else w.get(L.X);
    w.get(L.Y);
    w.op(op === Op.SHL ? W.I32_SHL : op === Op.SHR ? W.I32_SHR_U : W.I32_SHR_S);
    if (up !== 0 && op !== Op.SAR) w.op(up === 16 ? W.I32_EXTEND16_S : W.I32_EXTEND8_S);
  };
  if (!live) {
    shifted();
    f.pop(d);
    return;
  }
  f.settleKind();
  f.kind = UNKNOWN_KIND;
  w.get(L.Y);
  f.if(Type.I32);
  shifted();
  w.set(L.FLAG_RESULT);
  if (op === Op.SHL) {
    // Bits beyond the operand's are 0 once the count is larger: shift the operand as the upper half of 64 bits.
    unsigned();
    w.op(W.I64_EXTEND_I32_U);
    w.get(L.Y);
    w.op(W.I64_EXTEND_I32_U);
    w.op(W.I64_SHL);
    w.i64(0, bits);
    w.op(W.I64_SHR_U);
    w.op(W.I32_WRAP_I64);
  } else {
    if (op === Op.SHR) unsigned();
    else w.get(L.X);
    w.get(L.Y);
    w.i32(1);
    w.op(W.I32_SUB);
    w.op(op === Op.SHR ? W.I32_SHR_U : W.I32_SHR_S);
  }
  w.i32(1);
  w.op(W.I32_AND);
  w.set(L.FLAG_A);
  if (op === Op.SHL) {
    w.get(L.FLAG_RESULT);
    w.i32(31);
    w.op(W.I32_SHR_U);
    w.get(L.FLAG_A);
    w.op(W.I32_XOR);
  } else if (op === Op.SHR) {
    unsigned();
    w.get(L.Y);
    w.i32(1);
    w.op(W.I32_SUB);
    w.op(W.I32_SHR_U);
    w.i32(up);
    w.op(W.I32_SHL);
    w.i32(31);
    w.op(W.I32_SHR_U);
  } else {
    w.i32(0);
  }
  w.set(L.FLAG_B);
  w.i32(FlagOp.CARRY_OVERFLOW);
  w.set(L.FLAG_OP);
  w.get(L.FLAG_RESULT);
  f.else();
  w.get(L.X);
  f.end();
  f.pop(d);
}

function rotate(f: Frame, left: boolean, d: number, a: number, b: number, up: number, live: boolean): void {
  const { w } = f;
  const bits = 32 - up;
  const constant = f.constants.get(b);
  if (constant !== undefined && (constant & 31) === 0) {
    f.push(a);
    f.pop(d);
    return;
  }
  f.push(a);
  w.set(L.X);
  f.push(b);
  w.i32(31);
  w.op(W.I32_AND);
  w.set(L.Y);
  const rotated = () => {
    if (up === 0) {
      w.get(L.X);
      w.get(L.Y);
      w.op(left ? W.I32_ROTL : W.I32_ROTR);
      return;
    }
    // The operand twice (16 bits) or four times (8 bits) in a word: rotating that leaves the result in the low bits.
    w.get(L.X);
    w.i32(up === 16 ? 0xffff : 0xff);
    w.op(W.I32_AND);
    w.i32(up === 16 ? 0x10001 : 0x1010101);
    w.op(W.I32_MUL);
    w.get(L.Y);
    w.i32(bits - 1);
    w.op(W.I32_AND);
    w.op(left ? W.I32_ROTL : W.I32_ROTR);
    w.op(up === 16 ? W.I32_EXTEND16_S : W.I32_EXTEND8_S);
  };
  if (!live) {
    rotated();
    f.pop(d);
    return;
  }
  const flags = () => {
    rotated();
    w.set(L.Z);
    pushImage(f);
    w.i32(~(Flag.CF | Flag.OF));
    w.op(W.I32_AND);
    // CF
    w.get(L.Z);
    if (left) {
      w.i32(1);
      w.op(W.I32_AND);
    } else {
      w.i32(31);
      w.op(W.I32_SHR_U);
    }
    w.tee(L.VALUE);
    w.op(W.I32_OR);
    // OF: CF xor the top bit; to the right, the two top bits.
    w.get(L.Z);
    if (!left) {
      w.i32(up + 1);
      w.op(W.I32_SHL);
    }
    w.i32(31);
    w.op(W.I32_SHR_U);
    w.get(L.VALUE);
    w.op(W.I32_XOR);
    w.i32(11);
    w.op(W.I32_SHL);
    w.op(W.I32_OR);
    w.set(L.FLAG_RESULT);
    w.i32(FlagOp.IMAGE);
    w.set(L.FLAG_OP);
  };
  if (constant !== undefined) {
    flags();
    f.kind = UNKNOWN_KIND;
    w.get(L.Z);
    f.pop(d);
    return;
  }
  f.settleKind();
  w.get(L.X);
  w.set(L.Z);
  w.get(L.Y);
  f.if();
  flags();
  f.end();
  f.kind = UNKNOWN_KIND;
  w.get(L.Z);
  f.pop(d);
}

function imul(f: Frame, d: number, a: number, b: number, up: number, live: boolean): void {
  const { w } = f;
  if (!live) {
    f.push(a);
    f.push(b);
    w.op(W.I32_MUL);
    if (up !== 0) w.op(up === 16 ? W.I32_EXTEND16_S : W.I32_EXTEND8_S);
    f.pop(d);
    return;
  }
  f.push(a);
  w.op(W.I64_EXTEND_I32_S);
  f.push(b);
  w.op(W.I64_EXTEND_I32_S);
  w.op(W.I64_MUL);
  w.tee(L.WIDE);
  w.op(W.I32_WRAP_I64);
  if (up !== 0) w.op(up === 16 ? W.I32_EXTEND16_S : W.I32_EXTEND8_S);
  w.tee(L.FLAG_RESULT);
  w.op(W.I64_EXTEND_I32_S);
  w.get(L.WIDE);
  w.op(W.I64_NE);
  w.tee(L.FLAG_A);
  w.set(L.FLAG_B);
  f.kind = FlagOp.CARRY_OVERFLOW;
  w.get(L.FLAG_RESULT);
  f.pop(d);
}

/** EDX:EAX = EAX * a. */
function multiply(f: Frame, a: number, signed: boolean, live: boolean): void {
  const { w } = f;
  const extend = signed ? W.I64_EXTEND_I32_S : W.I64_EXTEND_I32_U;
  f.push(S.EAX);
  w.op(extend);
  f.push(a);
  w.op(extend);
  w.op(W.I64_MUL);
  w.set(L.WIDE);
  w.get(L.WIDE);
  w.op(W.I32_WRAP_I64);
  f.pop(S.EAX);
  w.get(L.WIDE);
  w.i64(0, 32);
  w.op(W.I64_SHR_U);
  w.op(W.I32_WRAP_I64);
  f.pop(S.EDX);
  if (!live) return;
  f.push(S.EAX);
  w.set(L.FLAG_RESULT);
  f.push(S.EDX);
  if (signed) {
    f.push(S.EAX);
    w.i32(31);
    w.op(W.I32_SHR_S);
  } else {
    w.i32(0);
  }
  w.op(W.I32_NE);
  w.tee(L.FLAG_A);
  w.set(L.FLAG_B);
  f.kind = FlagOp.CARRY_OVERFLOW;
}

/** EAX, EDX = EDX:EAX / a. What would fault is the interpreter's. */
function divide(f: Frame, a: number, signed: boolean): void {
  const { w } = f;
  const extend = signed ? W.I64_EXTEND_I32_S : W.I64_EXTEND_I32_U;
  const dividend = () => {
    f.push(S.EDX);
    w.op(W.I64_EXTEND_I32_U);
    w.i64(0, 32);
    w.op(W.I64_SHL);
    f.push(S.EAX);
    w.op(W.I64_EXTEND_I32_U);
    w.op(W.I64_OR);
  };
  f.push(a);
  w.tee(L.X);
  if (signed) {
    // 0 would trap, and so would -1 with the smallest 64-bit dividend: both are in 0..-1 shifted to 0..1.
    w.i32(1);
    w.op(W.I32_ADD);
    w.i32(2);
    w.op(W.I32_LT_U);
  } else {
    // Too large a quotient, or a division by zero: no quotient fits 32 bits if EDX >= the divisor.
    f.push(S.EDX);
    w.op(W.I32_LE_U);
  }
  f.if();
  f.leaveHere(Leave.INTERPRET);
  f.end();
  dividend();
  w.get(L.X);
  w.op(extend);
  w.op(signed ? W.I64_DIV_S : W.I64_DIV_U);
  w.set(L.WIDE);
  w.get(L.WIDE);
  w.op(W.I32_WRAP_I64);
  w.set(L.Y);
  if (signed) {
    w.get(L.Y);
    w.op(W.I64_EXTEND_I32_S);
    w.get(L.WIDE);
    w.op(W.I64_NE);
    f.if();
    f.leaveHere(Leave.INTERPRET);
    f.end();
  }
  // The remainder fits 32 bits, so its low word is enough.
  f.push(S.EAX);
  w.get(L.Y);
  w.get(L.X);
  w.op(W.I32_MUL);
  w.op(W.I32_SUB);
  f.pop(S.EDX);
  w.get(L.Y);
  f.pop(S.EAX);
}

/** An op that the interpreter's own function executes on the state words: everything goes there and comes back. */
function emitGeneric(f: Frame, at: number): void {
  const { w } = f;
  spillTemps(f);
  f.settleKind();
  storeRegisters(f);
  storeFlags(f);
  f.storeState(S.EIP, () => f.pushEip(f.blockOffset));
  flushClock(f);
  w.i32(at);
  w.call(Import.GENERIC);
  w.set(L.CODE);
  f.loadState(LIMIT);
  w.set(L.LIMIT);
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
  const writes = op === Op.RCL || op === Op.RCR || op === Op.SHLD || op === Op.SHRD || op === Op.READ_FLAGS;
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
