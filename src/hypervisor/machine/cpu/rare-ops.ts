/**
 * The ops of `interpret.ts` that touch nothing but the state words. Most are the interpreters' and compiled code's alike: called
 * where generated code has none of its own. Each answers false with a fault pending.
 */
import {
  bit,
  bitScan,
  decimal,
  divide,
  imul,
  lahf,
  multiply,
  rcl,
  rcr,
  rol,
  ror,
  sahf,
  sar,
  setCarry,
  shl,
  shld,
  shr,
  shrd,
} from './arith.js';
import type { Core } from './core.js';
import { carryFlag, condition, FlagOp } from './flags.js';
import { Op } from './ir.js';
import { Cr0, Flag, S, Vector } from './state.js';

export type RareOp = (cpu: Core, s: Int32Array, code: Int32Array, at: number) => boolean;

const TABLE: Readonly<Record<number, RareOp>> = {
  [Op.SELECT]: (_cpu, s, code, at) => {
    s[code[at + 1]] = s[condition(s, code[at + 4]) ? code[at + 2] : code[at + 3]];
    return true;
  },
  [Op.SELECT_EQUAL]: (_cpu, s, code, at) => {
    s[code[at + 1]] = s[s[code[at + 2]] === s[code[at + 3]] ? code[at + 4] : code[at + 5]];
    return true;
  },
  [Op.NOT]: (_cpu, s, code, at) => {
    s[code[at + 1]] = ~s[code[at + 2]];
    return true;
  },
  [Op.BSWAP]: (_cpu, s, code, at) => {
    const a = s[code[at + 2]];
    s[code[at + 1]] = (a << 24) | ((a & 0xff00) << 8) | ((a >>> 8) & 0xff00) | (a >>> 24);
    return true;
  },
  [Op.SHIFT_RIGHT_SIGNED]: (_cpu, s, code, at) => {
    s[code[at + 1]] = s[code[at + 2]] >> code[at + 3];
    return true;
  },
  [Op.STRING_STEP]: (_cpu, s, code, at) => {
    s[code[at + 1]] = (s[S.EFLAGS] & Flag.DF) !== 0 ? -code[at + 2] : code[at + 2];
    return true;
  },
  [Op.CHECK_IOPL]: (cpu, s) =>
    (s[S.EFLAGS] & Flag.VM) === 0 || (s[S.EFLAGS] & Flag.IOPL) === Flag.IOPL || cpu.raise(Vector.GP, 0),
  [Op.CHECK_PROTECTED]: (cpu, s) =>
    ((s[S.CR0] & Cr0.PE) !== 0 && (s[S.EFLAGS] & Flag.VM) === 0) || cpu.raise(Vector.UD),
  [Op.ADD]: (_cpu, s, code, at) => {
    const a = s[code[at + 2]];
    const b = s[code[at + 3]];
    const up = code[at + 4];
    const result = ((a + b) << up) >> up;
    s[S.FLAG_OP] = FlagOp.ADD;
    s[S.FLAG_RESULT] = result;
    s[S.FLAG_A] = a;
    s[S.FLAG_B] = b;
    s[code[at + 1]] = result;
    return true;
  },
  [Op.SUB]: (_cpu, s, code, at) => {
    const a = s[code[at + 2]];
    const b = s[code[at + 3]];
    const up = code[at + 4];
    const result = ((a - b) << up) >> up;
    s[S.FLAG_OP] = FlagOp.SUB;
    s[S.FLAG_RESULT] = result;
    s[S.FLAG_A] = a;
    s[S.FLAG_B] = b;
    s[code[at + 1]] = result;
    return true;
  },
  [Op.CMP]: (_cpu, s, code, at) => {
    const a = s[code[at + 2]];
    const b = s[code[at + 3]];
    const up = code[at + 4];
    const result = ((a - b) << up) >> up;
    s[S.FLAG_OP] = FlagOp.SUB;
    s[S.FLAG_RESULT] = result;
    s[S.FLAG_A] = a;
    s[S.FLAG_B] = b;
    return true;
  },
  [Op.AND]: (_cpu, s, code, at) => {
    const a = s[code[at + 2]];
    const b = s[code[at + 3]];
    const result = a & b;
    s[S.FLAG_OP] = FlagOp.LOGIC;
    s[S.FLAG_RESULT] = result;
    s[code[at + 1]] = result;
    return true;
  },
  [Op.OR]: (_cpu, s, code, at) => {
    const a = s[code[at + 2]];
    const b = s[code[at + 3]];
    const result = a | b;
    s[S.FLAG_OP] = FlagOp.LOGIC;
    s[S.FLAG_RESULT] = result;
    s[code[at + 1]] = result;
    return true;
  },
  [Op.XOR]: (_cpu, s, code, at) => {
    const a = s[code[at + 2]];
    const b = s[code[at + 3]];
    const result = a ^ b;
    s[S.FLAG_OP] = FlagOp.LOGIC;
    s[S.FLAG_RESULT] = result;
    s[code[at + 1]] = result;
    return true;
  },
  [Op.TEST]: (_cpu, s, code, at) => {
    const a = s[code[at + 2]];
    const b = s[code[at + 3]];
    const result = a & b;
    s[S.FLAG_OP] = FlagOp.LOGIC;
    s[S.FLAG_RESULT] = result;
    return true;
  },
  [Op.ADC]: (_cpu, s, code, at) => {
    const a = s[code[at + 2]];
    const b = s[code[at + 3]];
    const up = code[at + 4];
    const carry = carryFlag(s);
    const result = ((a + b + carry) << up) >> up;
    s[S.FLAG_OP] = carry !== 0 ? FlagOp.ADD_CARRY : FlagOp.ADD;
    s[S.FLAG_RESULT] = result;
    s[S.FLAG_A] = a;
    s[S.FLAG_B] = b;
    s[code[at + 1]] = result;
    return true;
  },
  [Op.SBB]: (_cpu, s, code, at) => {
    const a = s[code[at + 2]];
    const b = s[code[at + 3]];
    const up = code[at + 4];
    const carry = carryFlag(s);
    const result = ((a - b - carry) << up) >> up;
    s[S.FLAG_OP] = carry !== 0 ? FlagOp.SUB_BORROW : FlagOp.SUB;
    s[S.FLAG_RESULT] = result;
    s[S.FLAG_A] = a;
    s[S.FLAG_B] = b;
    s[code[at + 1]] = result;
    return true;
  },
  [Op.INC]: (_cpu, s, code, at) => {
    const a = s[code[at + 2]];
    const up = code[at + 4];
    const result = ((a + 1) << up) >> up;
    s[S.FLAG_B] = carryFlag(s);
    s[S.FLAG_OP] = FlagOp.INC;
    s[S.FLAG_RESULT] = result;
    s[S.FLAG_A] = a;
    s[code[at + 1]] = result;
    return true;
  },
  [Op.DEC]: (_cpu, s, code, at) => {
    const a = s[code[at + 2]];
    const up = code[at + 4];
    const result = ((a - 1) << up) >> up;
    s[S.FLAG_B] = carryFlag(s);
    s[S.FLAG_OP] = FlagOp.DEC;
    s[S.FLAG_RESULT] = result;
    s[S.FLAG_A] = a;
    s[code[at + 1]] = result;
    return true;
  },
  [Op.SHL]: (_cpu, s, code, at) => {
    s[code[at + 1]] = shl(s, s[code[at + 2]], s[code[at + 3]], code[at + 4]);
    return true;
  },
  [Op.SHR]: (_cpu, s, code, at) => {
    s[code[at + 1]] = shr(s, s[code[at + 2]], s[code[at + 3]], code[at + 4]);
    return true;
  },
  [Op.SAR]: (_cpu, s, code, at) => {
    s[code[at + 1]] = sar(s, s[code[at + 2]], s[code[at + 3]], code[at + 4]);
    return true;
  },
  [Op.ROL]: (_cpu, s, code, at) => {
    s[code[at + 1]] = rol(s, s[code[at + 2]], s[code[at + 3]], code[at + 4]);
    return true;
  },
  [Op.ROR]: (_cpu, s, code, at) => {
    s[code[at + 1]] = ror(s, s[code[at + 2]], s[code[at + 3]], code[at + 4]);
    return true;
  },
  [Op.RCL]: (_cpu, s, code, at) => {
    s[code[at + 1]] = rcl(s, s[code[at + 2]], s[code[at + 3]], code[at + 4]);
    return true;
  },
  [Op.RCR]: (_cpu, s, code, at) => {
    s[code[at + 1]] = rcr(s, s[code[at + 2]], s[code[at + 3]], code[at + 4]);
    return true;
  },
  [Op.NEG]: (_cpu, s, code, at) => {
    const b = s[code[at + 2]];
    const up = code[at + 4];
    const result = (-b << up) >> up;
    s[S.FLAG_OP] = FlagOp.SUB;
    s[S.FLAG_RESULT] = result;
    s[S.FLAG_A] = 0;
    s[S.FLAG_B] = b;
    s[code[at + 1]] = result;
    return true;
  },
  [Op.SHLD]: (_cpu, s, code, at) => {
    s[code[at + 1]] = shld(s, s[code[at + 2]], s[code[at + 3]], s[code[at + 5]], code[at + 4]);
    return true;
  },
  [Op.SHRD]: (_cpu, s, code, at) => {
    s[code[at + 1]] = shrd(s, s[code[at + 2]], s[code[at + 3]], s[code[at + 5]], code[at + 4]);
    return true;
  },
  [Op.IMUL]: (_cpu, s, code, at) => {
    s[code[at + 1]] = imul(s, s[code[at + 2]], s[code[at + 3]], code[at + 4]);
    return true;
  },
  [Op.MULTIPLY]: (_cpu, s, code, at) => {
    multiply(s, s[code[at + 2]], code[at + 4], code[at + 5] !== 0);
    return true;
  },
  [Op.DIVIDE]: (cpu, s, code, at) => {
    if (!divide(s, s[code[at + 2]], code[at + 4], code[at + 5] !== 0)) {
      cpu.raise(Vector.DE);
      return false;
    }
    return true;
  },
  [Op.BIT]: (_cpu, s, code, at) => {
    s[code[at + 1]] = bit(s, s[code[at + 2]], s[code[at + 3]], code[at + 4], code[at + 5]);
    return true;
  },
  [Op.BSF]: (_cpu, s, code, at) => {
    s[code[at + 1]] = bitScan(s, s[code[at + 2]], s[code[at + 3]], code[at + 4], code[at] === Op.BSR);
    return true;
  },
  [Op.BSR]: (_cpu, s, code, at) => {
    s[code[at + 1]] = bitScan(s, s[code[at + 2]], s[code[at + 3]], code[at + 4], code[at] === Op.BSR);
    return true;
  },
  [Op.SET_CONDITION]: (_cpu, s, code, at) => {
    s[code[at + 1]] = condition(s, code[at + 2]) ? 1 : 0;
    return true;
  },
  [Op.CARRY]: (_cpu, s, code, at) => {
    setCarry(s, code[at + 1] === 2 ? carryFlag(s) ^ 1 : code[at + 1]);
    return true;
  },
  [Op.DIRECTION]: (_cpu, s, code, at) => {
    s[S.EFLAGS] = code[at + 1] !== 0 ? s[S.EFLAGS] | Flag.DF : s[S.EFLAGS] & ~Flag.DF;
    return true;
  },
  [Op.LAHF]: (_cpu, s) => {
    lahf(s);
    return true;
  },
  [Op.SAHF]: (_cpu, s) => {
    sahf(s);
    return true;
  },
  [Op.READ_FLAGS]: (cpu, s, code, at) => {
    s[code[at + 1]] = cpu.readEflags() & ~(Flag.VM | Flag.RF);
    return true;
  },
  [Op.DECIMAL]: (cpu, s, code, at) => {
    if (!decimal(s, code[at + 1], code[at + 2])) {
      cpu.raise(Vector.DE);
      return false;
    }
    return true;
  },
};

/** By op number; ops that are not here are in the switch. */
export const RARE_OPS: readonly RareOp[] = Array.from(
  { length: 128 },
  (_, op) =>
    TABLE[op] ??
    (cpu => {
      return cpu.bug(`no such IR op: ${op}`);
    }),
);
