/** Lazy flags in locals: conditions and single flags from what the last operation left. The formulas are those of `flags.ts`. */
import { FlagOp } from '../flags.js';
import { type Frame, Helper, L } from './frame.js';
import { UNKNOWN_KIND } from './op-facts.js';
import { Type, W } from './wasm-writer.js';

function pushState(f: Frame): void {
  const { w } = f;
  if (f.kind === UNKNOWN_KIND) w.get(L.FLAG_OP);
  else w.i32(f.kind);
  w.get(L.FLAG_RESULT);
  w.get(L.FLAG_A);
  w.get(L.FLAG_B);
}

/** Pushes CF as 0 or 1. */
export function pushCarry(f: Frame): void {
  const { w } = f;
  switch (f.kind) {
    case FlagOp.IMAGE:
      w.get(L.FLAG_RESULT);
      w.i32(1);
      w.op(W.I32_AND);
      return;
    case FlagOp.LOGIC:
      w.i32(0);
      return;
    case FlagOp.ADD:
      w.get(L.FLAG_RESULT);
      w.get(L.FLAG_A);
      w.op(W.I32_LT_U);
      return;
    case FlagOp.SUB:
      w.get(L.FLAG_A);
      w.get(L.FLAG_B);
      w.op(W.I32_LT_U);
      return;
    case FlagOp.CARRY_OVERFLOW:
      w.get(L.FLAG_A);
      return;
    case FlagOp.INC:
    case FlagOp.DEC:
      w.get(L.FLAG_B);
      return;
    default:
      // A loop that counts with INC or DEC and sets no other flags passes the carry on, time after time.
      w.get(L.FLAG_OP);
      w.i32(FlagOp.INC);
      w.op(W.I32_SUB);
      w.i32(2);
      w.op(W.I32_LT_U);
      f.if(Type.I32);
      w.get(L.FLAG_B);
      f.else();
      pushState(f);
      f.call(Helper.CARRY);
      f.end();
  }
}

/** Pushes the six flags at their places in EFLAGS. */
export function pushImage(f: Frame): void {
  if (f.kind === FlagOp.IMAGE) {
    f.w.get(L.FLAG_RESULT);
    return;
  }
  pushState(f);
  f.call(Helper.IMAGE);
}

/** Pushes condition `cc` (low four bits of Jcc) as 0 or 1. */
export function pushCondition(f: Frame, cc: number): void {
  const { w } = f;
  const negate = (cc & 1) !== 0;
  const compare = (code: number, inverse: number) => w.op(negate ? inverse : code);
  const operands = () => {
    w.get(L.FLAG_A);
    w.get(L.FLAG_B);
  };
  if (f.kind === FlagOp.SUB) {
    switch (cc >> 1) {
      case 1:
        operands();
        compare(W.I32_LT_U, W.I32_GE_U);
        return;
      case 2:
        operands();
        compare(W.I32_EQ, W.I32_NE);
        return;
      case 3:
        operands();
        compare(W.I32_LE_U, W.I32_GT_U);
        return;
      case 6:
        operands();
        compare(W.I32_LT_S, W.I32_GE_S);
        return;
      case 7:
        operands();
        compare(W.I32_LE_S, W.I32_GT_S);
        return;
      default:
    }
  }
  if (f.kind !== UNKNOWN_KIND && f.kind !== FlagOp.IMAGE) {
    switch (cc >> 1) {
      case 1:
        pushCarry(f);
        if (negate) w.op(W.I32_EQZ);
        return;
      case 2:
        w.get(L.FLAG_RESULT);
        w.i32(0);
        compare(W.I32_EQ, W.I32_NE);
        return;
      case 4:
        w.get(L.FLAG_RESULT);
        w.i32(0);
        compare(W.I32_LT_S, W.I32_GE_S);
        return;
      case 3:
        if (f.kind === FlagOp.LOGIC) {
          w.get(L.FLAG_RESULT);
          w.i32(0);
          compare(W.I32_EQ, W.I32_NE);
          return;
        }
        pushCarry(f);
        w.get(L.FLAG_RESULT);
        w.op(W.I32_EQZ);
        w.op(W.I32_OR);
        if (negate) w.op(W.I32_EQZ);
        return;
      case 6:
      case 7:
        if (f.kind === FlagOp.LOGIC) {
          w.get(L.FLAG_RESULT);
          w.i32(0);
          if (cc >> 1 === 6) compare(W.I32_LT_S, W.I32_GE_S);
          else compare(W.I32_LE_S, W.I32_GT_S);
          return;
        }
        break;
      default:
    }
  }
  pushState(f);
  w.i32(cc);
  f.call(Helper.CONDITION);
}
