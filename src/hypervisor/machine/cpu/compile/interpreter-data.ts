/** The interpreter's cases of ops that move data, choose between values, and check rights. */
import { Op } from '../ir.js';
import { Cr0, Flag, S, Seg, segLimit } from '../state.js';
import { emitByteSwap, emitReadFlags } from './emit-arithmetic.js';
import { type Case, type InterpreterWriter, P } from './interpreter-writer.js';
import { W } from './wasm-writer.js';

/** Pushes base + (index << shift) + disp. */
export function pushAddress(o: InterpreterWriter): void {
  const { w } = o;
  o.push(3);
  o.push(4);
  o.arg(5);
  w.op(W.I32_SHL);
  w.op(W.I32_ADD);
  o.arg(6);
  w.op(W.I32_ADD);
}

export function dataCases(o: InterpreterWriter): readonly Case[] {
  const { w } = o;
  const op = (code: number) => w.op(code);
  const emits = (name: number, body: () => void): Case => ({
    ops: [name],
    emit: () => {
      body();
      o.next();
    },
  });
  /** An op whose result is what `value` pushes. */
  const is = (name: number, value: () => void) => emits(name, () => o.put(1, value));
  const extension = (code: number) => () => {
    o.push(2);
    o.arg(3);
    op(W.I32_SHL);
    o.arg(4);
    op(code);
  };
  const flag = (mask: number) => {
    o.loadState(S.EFLAGS);
    w.i32(mask);
    op(W.I32_AND);
  };
  const checkTarget = (name: number, target: () => void) =>
    emits(name, () => {
      target();
      o.loadState(segLimit(Seg.CS));
      op(W.I32_GT_U);
      o.giveUpIf();
    });
  return [
    is(Op.MOV, () => o.push(2)),
    is(Op.MOVI, () => o.arg(2)),
    is(Op.SIGN, extension(W.I32_SHR_S)),
    is(Op.ZERO_EXTEND, extension(W.I32_SHR_U)),
    is(Op.INSERT, () => {
      // d ^ ((d ^ a << shift) & mask << shift)
      o.push(1);
      w.tee(P.X);
      w.get(P.X);
      o.push(2);
      o.arg(3);
      w.tee(P.Y);
      op(W.I32_SHL);
      op(W.I32_XOR);
      o.arg(4);
      w.get(P.Y);
      op(W.I32_SHL);
      op(W.I32_AND);
      op(W.I32_XOR);
    }),
    is(Op.LEA, () => pushAddress(o)),
    is(Op.EIP, () => {
      o.loadState(S.EIP);
      o.arg(2);
      op(W.I32_ADD);
    }),
    is(Op.SELECTOR, () => {
      o.arg(2);
      w.i32(4);
      op(W.I32_SHL);
      w.get(P.CPU);
      op(W.I32_ADD);
      w.memory(W.I32_LOAD, S.SEG * 4, 2);
    }),
    is(Op.SELECT, () => {
      o.push(2);
      o.push(3);
      o.pushCondition(4);
      op(W.SELECT);
    }),
    is(Op.SELECT_EQUAL, () => {
      o.push(4);
      o.push(5);
      o.push(2);
      o.push(3);
      op(W.I32_EQ);
      op(W.SELECT);
    }),
    is(Op.SET_CONDITION, () => o.pushCondition(2)),
    is(Op.NOT, () => {
      o.push(2);
      w.i32(-1);
      op(W.I32_XOR);
    }),
    emits(Op.BSWAP, () => emitByteSwap(o, 1, 2)),
    is(Op.AND_MASK, () => {
      o.push(2);
      o.arg(3);
      op(W.I32_AND);
    }),
    is(Op.SHIFT_RIGHT_SIGNED, () => {
      o.push(2);
      o.arg(3);
      op(W.I32_SHR_S);
    }),
    is(Op.STRING_STEP, () => {
      w.i32(0);
      o.arg(2);
      op(W.I32_SUB);
      o.arg(2);
      flag(Flag.DF);
      op(W.SELECT);
    }),
    emits(Op.DIRECTION, () =>
      o.storeState(S.EFLAGS, () => {
        flag(~Flag.DF);
        w.i32(Flag.DF);
        w.i32(0);
        o.arg(1);
        op(W.SELECT);
        op(W.I32_OR);
      }),
    ),
    emits(Op.READ_FLAGS, () => emitReadFlags(o, 1)),
    emits(Op.CHECK_IOPL, () => {
      flag(Flag.VM | Flag.IOPL);
      w.i32(Flag.VM);
      op(W.I32_SUB);
      // With VM set and an IOPL below 3: what is left of the IOPL is less than its bits.
      w.i32(Flag.IOPL);
      op(W.I32_LT_U);
      o.giveUpIf();
    }),
    emits(Op.CHECK_PROTECTED, () => {
      flag(Flag.VM);
      o.loadState(S.CR0);
      w.i32(Cr0.PE);
      op(W.I32_AND);
      op(W.I32_EQZ);
      op(W.I32_OR);
      o.giveUpIf();
    }),
    checkTarget(Op.CHECK_TARGET, () => o.push(2)),
    checkTarget(Op.CHECK_TARGET_DIRECT, () => {
      o.loadState(S.EIP);
      o.arg(1);
      op(W.I32_ADD);
    }),
  ];
}
