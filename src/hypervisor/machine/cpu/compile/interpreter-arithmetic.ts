/** The interpreter's cases of ops that set flags. */
import { FlagOp } from '../flags.js';
import { Op } from '../ir.js';
import { S } from '../state.js';
import {
  emitBit,
  emitBitScan,
  emitCarry,
  emitDivide,
  emitDoubleShift,
  emitImul,
  emitMultiply,
  emitRotate,
  emitShift,
  emitShiftVariable,
} from './emit-arithmetic.js';
import { type Case, type InterpreterWriter, P } from './interpreter-writer.js';
import { W } from './wasm-writer.js';

/** Where an operation's second operand is: in a word, in the op itself, or in a word of an operand of any size. */
type Form = 'word' | 'immediate' | 'any';

export function arithmeticCases(o: InterpreterWriter): readonly Case[] {
  return [...sums(o), ...logic(o), ...steps(o), ...withCarry(o), ...shifts(o), ...products(o), ...bits(o)];
}

/** The result, which is in its local, goes to argument 1. */
function keep(o: InterpreterWriter): void {
  o.put(1, () => o.w.get(P.RESULT));
}

function sums(o: InterpreterWriter): readonly Case[] {
  const { w } = o;
  const sum = (name: number, kind: number, form: Form, stores: boolean): Case => ({
    ops: [name],
    emit: () => {
      o.push(2);
      w.tee(P.A);
      if (form === 'immediate') o.arg(3);
      else o.push(3);
      w.tee(P.B);
      w.op(kind === FlagOp.ADD ? W.I32_ADD : W.I32_SUB);
      if (form === 'any') o.narrow();
      w.set(P.RESULT);
      o.setFlags(kind);
      if (stores) keep(o);
      o.next();
    },
  });
  return [
    sum(Op.ADD32, FlagOp.ADD, 'word', true),
    sum(Op.ADD32I, FlagOp.ADD, 'immediate', true),
    sum(Op.ADD, FlagOp.ADD, 'any', true),
    sum(Op.SUB32, FlagOp.SUB, 'word', true),
    sum(Op.SUB32I, FlagOp.SUB, 'immediate', true),
    sum(Op.SUB, FlagOp.SUB, 'any', true),
    sum(Op.CMP32, FlagOp.SUB, 'word', false),
    sum(Op.CMP32I, FlagOp.SUB, 'immediate', false),
    sum(Op.CMP, FlagOp.SUB, 'any', false),
    {
      ops: [Op.NEG],
      emit: () => {
        w.i32(0);
        w.tee(P.A);
        o.push(2);
        w.tee(P.B);
        w.op(W.I32_SUB);
        o.narrow();
        w.set(P.RESULT);
        o.setFlags(FlagOp.SUB);
        keep(o);
        o.next();
      },
    },
  ];
}

function logic(o: InterpreterWriter): readonly Case[] {
  const { w } = o;
  const operation = (ops: readonly number[], code: number, form: Form, stores: boolean): Case => ({
    ops,
    emit: () => {
      o.push(2);
      if (form === 'immediate') o.arg(3);
      else o.push(3);
      w.op(code);
      w.set(P.RESULT);
      o.setFlags(FlagOp.LOGIC);
      if (stores) keep(o);
      o.next();
    },
  });
  return [
    operation([Op.AND32, Op.AND], W.I32_AND, 'word', true),
    operation([Op.AND32I], W.I32_AND, 'immediate', true),
    operation([Op.OR32, Op.OR], W.I32_OR, 'word', true),
    operation([Op.OR32I], W.I32_OR, 'immediate', true),
    operation([Op.XOR32, Op.XOR], W.I32_XOR, 'word', true),
    operation([Op.XOR32I], W.I32_XOR, 'immediate', true),
    operation([Op.TEST32, Op.TEST], W.I32_AND, 'word', false),
    operation([Op.TEST32I], W.I32_AND, 'immediate', false),
  ];
}

/** INC and DEC, which pass the carry on. */
function steps(o: InterpreterWriter): readonly Case[] {
  const { w } = o;
  const step = (name: number, by: 1 | -1, form: Form): Case => ({
    ops: [name],
    emit: () => {
      o.push(2);
      w.tee(P.A);
      w.i32(by);
      w.op(W.I32_ADD);
      if (form === 'any') o.narrow();
      w.set(P.RESULT);
      o.pushCarry();
      w.set(P.B);
      o.setFlags(by === 1 ? FlagOp.INC : FlagOp.DEC);
      keep(o);
      o.next();
    },
  });
  return [step(Op.INC32, 1, 'word'), step(Op.INC, 1, 'any'), step(Op.DEC32, -1, 'word'), step(Op.DEC, -1, 'any')];
}

function withCarry(o: InterpreterWriter): readonly Case[] {
  const { w } = o;
  const operation = (name: number, code: number, without: number, withIt: number): Case => ({
    ops: [name],
    emit: () => {
      o.push(2);
      w.tee(P.A);
      o.push(3);
      w.tee(P.B);
      w.op(code);
      o.pushCarry();
      w.tee(P.X);
      w.op(code);
      o.narrow();
      w.set(P.RESULT);
      o.setFlags(without);
      w.get(P.X);
      o.if();
      o.storeState(S.FLAG_OP, () => w.i32(withIt));
      o.end();
      keep(o);
      o.next();
    },
  });
  return [
    operation(Op.ADC, W.I32_ADD, FlagOp.ADD, FlagOp.ADD_CARRY),
    operation(Op.SBB, W.I32_SUB, FlagOp.SUB, FlagOp.SUB_BORROW),
    {
      ops: [Op.CARRY],
      emit: () => {
        for (const kind of [0, 1]) {
          o.arg(1);
          w.i32(kind);
          w.op(W.I32_EQ);
          o.if();
          emitCarry(o, kind);
          o.next();
          o.end();
        }
        emitCarry(o, 2);
        o.next();
      },
    },
  ];
}

function shifts(o: InterpreterWriter): readonly Case[] {
  const { w } = o;
  /** Argument 3, from 1 to 31. */
  const constant = {
    all: () => o.arg(3),
    less: () => {
      o.arg(3);
      w.i32(1);
      w.op(W.I32_SUB);
    },
  };
  const byConstant = (name: number, shift: number): Case => ({
    ops: [name],
    emit: () => {
      emitShift(o, shift, 1, 2, constant, 0, true);
      o.next();
    },
  });
  const byWord = (name: number): Case => ({
    ops: [name],
    emit: () => o.byWidth(up => emitShiftVariable(o, name, 1, 2, 3, up, true)),
  });
  const rotation = (name: number): Case => ({
    ops: [name],
    emit: () => o.byWidth(up => emitRotate(o, name === Op.ROL, 1, 2, 3, up, false, true)),
  });
  const double = (name: number): Case => ({
    ops: [name],
    emit: () => {
      only32(o);
      emitDoubleShift(o, name === Op.SHLD, 1, 2, 3, 5, true);
      o.next();
    },
  });
  return [
    byConstant(Op.SHL32I, Op.SHL),
    byConstant(Op.SHR32I, Op.SHR),
    byConstant(Op.SAR32I, Op.SAR),
    ...[Op.SHL, Op.SHR, Op.SAR].map(byWord),
    ...[Op.ROL, Op.ROR].map(rotation),
    ...[Op.SHLD, Op.SHRD].map(double),
  ];
}

/** Gives up operands of 8 and 16 bits. */
function only32(o: InterpreterWriter): void {
  o.arg(4);
  o.giveUpIf();
}

function products(o: InterpreterWriter): readonly Case[] {
  const byAccumulator = (name: number, emit: (signed: boolean) => void): Case => ({
    ops: [name],
    emit: () => {
      only32(o);
      o.byChoice(5, emit);
    },
  });
  return [
    {
      ops: [Op.IMUL],
      emit: () => {
        emitImul(o, 1, 2, 3, () => o.narrow(), true);
        o.next();
      },
    },
    byAccumulator(Op.MULTIPLY, signed => emitMultiply(o, 2, signed, true)),
    byAccumulator(Op.DIVIDE, signed => emitDivide(o, 2, signed)),
  ];
}

function bits(o: InterpreterWriter): readonly Case[] {
  const { w } = o;
  const widthMask = () => {
    w.i32(-1);
    o.arg(4);
    w.op(W.I32_SHR_U);
  };
  const scan = (name: number): Case => ({
    ops: [name],
    emit: () => {
      emitBitScan(o, name === Op.BSR, 1, 2, 3, widthMask, true);
      o.next();
    },
  });
  return [
    {
      ops: [Op.BIT],
      emit: () => {
        const numberMask = () => {
          w.i32(31);
          o.arg(4);
          w.op(W.I32_SUB);
        };
        // Kinds 1 and 2 set the bit; 2, which so resets it, and 3 flip it.
        const sets = () => {
          o.arg(5);
          w.i32(1);
          w.op(W.I32_ADD);
          w.i32(1);
          w.op(W.I32_SHR_U);
          w.i32(1);
          w.op(W.I32_AND);
        };
        const flips = () => {
          o.arg(5);
          w.i32(1);
          w.op(W.I32_SHR_U);
        };
        emitBit(o, 1, 2, 3, numberMask, sets, flips, true);
        o.next();
      },
    },
    ...[Op.BSF, Op.BSR].map(scan),
  ];
}
