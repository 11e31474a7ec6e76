/** Lowering of arithmetic, logic, shifts, bits and conditions (SDM vol. 2, the instructions by name). */
import { type Instruction, Mnemonic } from 'iced-x86';
import { Decimal, Op } from './ir.js';
import { conditionOf, isMemory, type Lower, type Lowering, registerNumber, type Size } from './lower.js';
import { S } from './state.js';

const up = (size: Size): number => 32 - size * 8;

/** Price of an instruction whose destination operand 0 may be memory that it reads and writes. */
function spendModify(low: Lowering, ins: Instruction): void {
  if (ins.hasLockPrefix) low.spend('lockedAccess');
  else low.spend(isMemory(ins, 0) ? 'readModifyWrite' : 'simple');
}

/** Two-operand ALU instruction: 32-bit forms (register, immediate) and the form for any size. */
function binary(word: number, wordImmediate: number, any: number): Lower {
  return (low, ins) => {
    const size = low.size(ins, 0);
    if (isMemory(ins, 0)) {
      spendModify(low, ins);
      const place = low.place(ins);
      const source = low.read(ins, 1, size);
      const old = low.loadForStore(place, size);
      const result = low.temp();
      if (size === 4) low.emit(word, result, old, source);
      else low.emit(any, result, old, source, up(size));
      low.store(place, size, result, true);
      return;
    }
    const register = ins.opRegister(0);
    if (!isMemory(ins, 1)) low.spend('simple');
    if (size === 4) {
      const d = registerNumber(register);
      if (low.isImmediate(ins, 1)) low.emit(wordImmediate, d, d, low.immediate(ins, 1));
      else low.emit(word, d, d, low.read(ins, 1, 4));
      return;
    }
    const source = low.read(ins, 1, size);
    const result = low.temp();
    low.emit(any, result, low.readRegister(register), source, up(size));
    low.writeRegister(register, result);
  };
}

/** ADC and SBB: one op for all sizes. */
function withCarry(op: number): Lower {
  return (low, ins) => {
    const size = low.size(ins, 0);
    const memory = isMemory(ins, 0);
    const place = memory ? low.place(ins) : undefined;
    if (memory) spendModify(low, ins);
    else if (!isMemory(ins, 1)) low.spend('simple');
    const source = low.read(ins, 1, size);
    const old = place ? low.loadForStore(place, size) : low.readRegister(ins.opRegister(0));
    const result = low.temp();
    low.emit(op, result, old, source, up(size));
    if (place) low.store(place, size, result, true);
    else low.writeRegister(ins.opRegister(0), result);
  };
}

/** CMP and TEST. */
function compare(word: number, wordImmediate: number, any: number): Lower {
  return (low, ins) => {
    const size = low.size(ins, 0);
    if (!isMemory(ins, 0) && !isMemory(ins, 1)) low.spend('simple');
    const left = low.read(ins, 0, size);
    if (size === 4 && low.isImmediate(ins, 1)) {
      low.emit(wordImmediate, 0, left, low.immediate(ins, 1));
      return;
    }
    low.emit(size === 4 ? word : any, 0, left, low.read(ins, 1, size), up(size));
  };
}

/** INC, DEC, NEG, NOT: one operand, read and written. */
function unary(any: number, word: number): Lower {
  return (low, ins) => {
    const size = low.size(ins, 0);
    spendModify(low, ins);
    const op = size === 4 ? word : any;
    if (isMemory(ins, 0)) {
      const place = low.place(ins);
      const old = low.loadForStore(place, size);
      const result = low.temp();
      low.emit(op, result, old, 0, up(size));
      low.store(place, size, result, true);
      return;
    }
    const register = ins.opRegister(0);
    if (size === 4) {
      low.emit(op, registerNumber(register), registerNumber(register), 0, 0);
      return;
    }
    const old = low.readRegister(register);
    const result = low.temp();
    low.emit(op, result, old, 0, up(size));
    low.writeRegister(register, result);
  };
}

const SHIFT_IMMEDIATE = new Map<number, number>([
  [Op.SHL, Op.SHL32I],
  [Op.SHR, Op.SHR32I],
  [Op.SAR, Op.SAR32I],
]);

/** Shifts and rotates by 1, an immediate or CL. */
function shift(op: number): Lower {
  return (low, ins) => {
    const size = low.size(ins, 0);
    spendModify(low, ins);
    const immediate = low.isImmediate(ins, 1);
    const count = immediate ? low.immediate(ins, 1) & 31 : 0;
    const fast = SHIFT_IMMEDIATE.get(op);
    const memory = isMemory(ins, 0);
    if (fast !== undefined && immediate && size === 4 && !memory && count !== 0) {
      const d = registerNumber(ins.opRegister(0));
      low.emit(fast, d, d, count);
      return;
    }
    const amount = immediate ? low.constant(count) : S.ECX;
    const place = memory ? low.place(ins) : undefined;
    const old = place ? low.loadForStore(place, size) : low.readRegister(ins.opRegister(0));
    const result = low.temp();
    low.emit(op, result, old, amount, up(size));
    if (place) low.store(place, size, result, true);
    else low.writeRegister(ins.opRegister(0), result);
  };
}

/** SHLD and SHRD. */
function doubleShift(op: number): Lower {
  return (low, ins) => {
    const size = low.size(ins, 0);
    low.spend('shiftDouble');
    const memory = isMemory(ins, 0);
    if (memory) low.spend('readModifyWrite');
    const amount = low.isImmediate(ins, 2) ? low.constant(low.immediate(ins, 2) & 31) : S.ECX;
    const place = memory ? low.place(ins) : undefined;
    const source = low.readRegister(ins.opRegister(1));
    const old = place ? low.loadForStore(place, size) : low.readRegister(ins.opRegister(0));
    const result = low.temp();
    low.emit(op, result, old, source, up(size), amount);
    if (place) low.store(place, size, result, true);
    else low.writeRegister(ins.opRegister(0), result);
  };
}

/** IMUL in its three forms: r/m; r, r/m; r, r/m, imm. */
const imul: Lower = (low, ins) => {
  low.spend('multiply');
  if (ins.opCount === 1) {
    const size = low.size(ins, 0);
    low.emit(Op.MULTIPLY, 0, low.read(ins, 0, size), 0, up(size), 1);
    return;
  }
  const register = ins.opRegister(0);
  const size = low.size(ins, 0);
  const a = ins.opCount === 3 ? low.read(ins, 1, size) : low.readRegister(register);
  const b = ins.opCount === 3 ? low.constant(low.immediate(ins, 2)) : low.read(ins, 1, size);
  const result = low.temp();
  low.emit(Op.IMUL, result, a, b, up(size));
  low.writeRegister(register, result);
};

const accumulate =
  (op: number, cost: 'multiply' | 'divide', signed: 0 | 1): Lower =>
  (low, ins) => {
    const size = low.size(ins, 0);
    low.spend(cost);
    low.emit(op, 0, low.read(ins, 0, size), 0, up(size), signed);
  };

/** BT, BTS, BTR, BTC. A register bit offset reaches memory beyond the operand (SDM vol. 2, "BT"). */
function bit(kind: number): Lower {
  return (low, ins) => {
    const size = low.size(ins, 0);
    const modifies = kind !== 0;
    if (modifies) spendModify(low, ins);
    else low.spend(isMemory(ins, 0) ? 'load' : 'simple');
    if (!isMemory(ins, 0)) {
      const index = low.read(ins, 1, size);
      const result = low.temp();
      low.emit(Op.BIT, result, low.readRegister(ins.opRegister(0)), index, up(size), kind);
      if (modifies) low.writeRegister(ins.opRegister(0), result);
      return;
    }
    let place = low.place(ins);
    const index = low.isImmediate(ins, 1) ? low.constant(low.immediate(ins, 1)) : low.read(ins, 1, size);
    if (!low.isImmediate(ins, 1)) {
      const unit = low.temp();
      low.emit(Op.SHIFT_RIGHT_SIGNED, unit, index, size === 4 ? 5 : 4);
      place = low.indexed(place, unit, size === 4 ? 2 : 1);
    }
    const old = modifies ? low.loadForStore(place, size) : low.load(place, size);
    const result = low.temp();
    low.emit(Op.BIT, result, old, index, up(size), kind);
    if (modifies) low.store(place, size, result, true);
  };
}

function bitScan(op: number): Lower {
  return (low, ins) => {
    const size = low.size(ins, 0);
    low.spend('bitScan');
    const source = low.read(ins, 1, size);
    const result = low.temp();
    low.emit(op, result, source, low.readRegister(ins.opRegister(0)), up(size));
    low.writeRegister(ins.opRegister(0), result);
  };
}

const setcc: Lower = (low, ins) => {
  const value = low.temp();
  low.emit(Op.SET_CONDITION, value, conditionOf(ins));
  if (isMemory(ins, 0)) {
    low.spend('store');
    low.store(low.place(ins), 1, value);
  } else {
    low.spend('simple');
    low.writeRegister(ins.opRegister(0), value);
  }
};

/** CMOVcc: a memory source is loaded, and may fault, whatever the condition. */
const cmov: Lower = (low, ins) => {
  const size = low.size(ins, 0);
  if (!isMemory(ins, 1)) low.spend('simple');
  const source = low.read(ins, 1, size);
  const register = ins.opRegister(0);
  if (size === 4) {
    low.emit(Op.SELECT, registerNumber(register), source, registerNumber(register), conditionOf(ins));
    return;
  }
  const result = low.temp();
  low.emit(Op.SELECT, result, source, registerNumber(register), conditionOf(ins));
  low.writeRegister(register, result);
};

const xadd: Lower = (low, ins) => {
  const size = low.size(ins, 0);
  spendModify(low, ins);
  const register = ins.opRegister(1);
  const place = isMemory(ins, 0) ? low.place(ins) : undefined;
  const source = low.readRegister(register);
  const old = low.temp();
  if (place) low.loadInto(old, place, size, Op.LOAD_FOR_STORE);
  else low.emit(Op.MOV, old, low.readRegister(ins.opRegister(0)));
  const sum = low.temp();
  low.emit(Op.ADD, sum, old, source, up(size));
  if (place) low.store(place, size, sum, true);
  low.writeRegister(register, old);
  if (!place) low.writeRegister(ins.opRegister(0), sum);
};

/** CMPXCHG always writes its destination: the new value, or the old one back (SDM vol. 2, "CMPXCHG"). */
const cmpxchg: Lower = (low, ins) => {
  const size = low.size(ins, 0);
  spendModify(low, ins);
  const place = isMemory(ins, 0) ? low.place(ins) : undefined;
  const source = low.readRegister(ins.opRegister(1));
  const accumulator = low.temp();
  low.emit(Op.SIGN, accumulator, S.EAX, up(size), up(size));
  const old = low.temp();
  if (place) low.loadInto(old, place, size, Op.LOAD_FOR_STORE);
  else low.emit(Op.MOV, old, low.readRegister(ins.opRegister(0)));
  const result = low.temp();
  low.emit(Op.SELECT_EQUAL, result, accumulator, old, source, old);
  low.emit(Op.CMP, 0, accumulator, old, up(size));
  if (place) low.store(place, size, result, true);
  // The accumulator first: where destination and accumulator are one register, the destination's write must win.
  if (size === 4) low.emit(Op.MOV, S.EAX, old);
  else low.emit(Op.INSERT, S.EAX, old, 0, size === 2 ? 0xffff : 0xff);
  if (!place) low.writeRegister(ins.opRegister(0), result);
};

const decimal =
  (kind: number, cost: 'simple' | 'divide' | 'multiply' = 'simple'): Lower =>
  (low, ins) => {
    low.spend(cost);
    low.emit(Op.DECIMAL, kind, ins.opCount > 0 ? low.immediate(ins, 0) & 0xff : 0);
  };

const simple =
  (op: number, d = 0, a = 0, b = 0, c = 0): Lower =>
  low => {
    low.spend('simple');
    low.emit(op, d, a, b, c);
  };

const CONDITIONAL_SETS = [
  Mnemonic.Seto,
  Mnemonic.Setno,
  Mnemonic.Setb,
  Mnemonic.Setae,
  Mnemonic.Sete,
  Mnemonic.Setne,
  Mnemonic.Setbe,
  Mnemonic.Seta,
  Mnemonic.Sets,
  Mnemonic.Setns,
  Mnemonic.Setp,
  Mnemonic.Setnp,
  Mnemonic.Setl,
  Mnemonic.Setge,
  Mnemonic.Setle,
  Mnemonic.Setg,
];
const CONDITIONAL_MOVES = [
  Mnemonic.Cmovo,
  Mnemonic.Cmovno,
  Mnemonic.Cmovb,
  Mnemonic.Cmovae,
  Mnemonic.Cmove,
  Mnemonic.Cmovne,
  Mnemonic.Cmovbe,
  Mnemonic.Cmova,
  Mnemonic.Cmovs,
  Mnemonic.Cmovns,
  Mnemonic.Cmovp,
  Mnemonic.Cmovnp,
  Mnemonic.Cmovl,
  Mnemonic.Cmovge,
  Mnemonic.Cmovle,
  Mnemonic.Cmovg,
];

export const ALU: readonly (readonly [Mnemonic, Lower])[] = [
  [Mnemonic.Add, binary(Op.ADD32, Op.ADD32I, Op.ADD)],
  [Mnemonic.Sub, binary(Op.SUB32, Op.SUB32I, Op.SUB)],
  [Mnemonic.And, binary(Op.AND32, Op.AND32I, Op.AND)],
  [Mnemonic.Or, binary(Op.OR32, Op.OR32I, Op.OR)],
  [Mnemonic.Xor, binary(Op.XOR32, Op.XOR32I, Op.XOR)],
  [Mnemonic.Adc, withCarry(Op.ADC)],
  [Mnemonic.Sbb, withCarry(Op.SBB)],
  [Mnemonic.Cmp, compare(Op.CMP32, Op.CMP32I, Op.CMP)],
  [Mnemonic.Test, compare(Op.TEST32, Op.TEST32I, Op.TEST)],
  [Mnemonic.Inc, unary(Op.INC, Op.INC32)],
  [Mnemonic.Dec, unary(Op.DEC, Op.DEC32)],
  [Mnemonic.Neg, unary(Op.NEG, Op.NEG)],
  [Mnemonic.Not, unary(Op.NOT, Op.NOT)],
  [Mnemonic.Shl, shift(Op.SHL)],
  [Mnemonic.Sal, shift(Op.SHL)],
  [Mnemonic.Shr, shift(Op.SHR)],
  [Mnemonic.Sar, shift(Op.SAR)],
  [Mnemonic.Rol, shift(Op.ROL)],
  [Mnemonic.Ror, shift(Op.ROR)],
  [Mnemonic.Rcl, shift(Op.RCL)],
  [Mnemonic.Rcr, shift(Op.RCR)],
  [Mnemonic.Shld, doubleShift(Op.SHLD)],
  [Mnemonic.Shrd, doubleShift(Op.SHRD)],
  [Mnemonic.Imul, imul],
  [Mnemonic.Mul, accumulate(Op.MULTIPLY, 'multiply', 0)],
  [Mnemonic.Div, accumulate(Op.DIVIDE, 'divide', 0)],
  [Mnemonic.Idiv, accumulate(Op.DIVIDE, 'divide', 1)],
  [Mnemonic.Bt, bit(0)],
  [Mnemonic.Bts, bit(1)],
  [Mnemonic.Btr, bit(2)],
  [Mnemonic.Btc, bit(3)],
  [Mnemonic.Bsf, bitScan(Op.BSF)],
  [Mnemonic.Bsr, bitScan(Op.BSR)],
  [Mnemonic.Xadd, xadd],
  [Mnemonic.Cmpxchg, cmpxchg],
  [Mnemonic.Daa, decimal(Decimal.DAA)],
  [Mnemonic.Das, decimal(Decimal.DAS)],
  [Mnemonic.Aaa, decimal(Decimal.AAA)],
  [Mnemonic.Aas, decimal(Decimal.AAS)],
  [Mnemonic.Aam, decimal(Decimal.AAM, 'divide')],
  [Mnemonic.Aad, decimal(Decimal.AAD, 'multiply')],
  [Mnemonic.Clc, simple(Op.CARRY, 0)],
  [Mnemonic.Stc, simple(Op.CARRY, 1)],
  [Mnemonic.Cmc, simple(Op.CARRY, 2)],
  [Mnemonic.Cld, simple(Op.DIRECTION, 0)],
  [Mnemonic.Std, simple(Op.DIRECTION, 1)],
  [Mnemonic.Lahf, simple(Op.LAHF)],
  [Mnemonic.Sahf, simple(Op.SAHF)],
  ...CONDITIONAL_SETS.map(mnemonic => [mnemonic, setcc] as const),
  ...CONDITIONAL_MOVES.map(mnemonic => [mnemonic, cmov] as const),
];
