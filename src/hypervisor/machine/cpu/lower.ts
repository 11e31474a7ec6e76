/**
 * From decoded instructions to IR: the one place that says what an instruction means. `Lowering` is the builder that the
 * families (`lower-*.ts`) write with; `decode.ts` drives it over the instructions of one block.
 *
 * A family function emits the ops of one instruction and adds up its static cost; the helper of a `SYSTEM` op charges by itself.
 */
import { ConditionCode, type Instruction, MemorySize, OpKind, Register } from 'iced-x86';
import type { CostName } from '../costs/profile.js';
import { type InlineHelperName, inlineHelperNumber } from './inline-helpers.js';
import { OP_WORDS, Op } from './ir.js';
import { TEMPS, ZERO } from './layout.js';
import { S, Seg } from './state.js';
import { type HelperName, helperNumber } from './system.js';

export type Lower = (low: Lowering, ins: Instruction) => void;

/** Where a memory operand is: the arguments of a memory op. */
export interface Place {
  readonly seg: number;
  readonly base: number;
  readonly index: number;
  readonly shift: number;
  readonly disp: number;
  /** The address size is 16 bits: whatever is added to the address must be cut again. */
  readonly narrow?: true;
}

const LOADS = { 1: Op.LOAD8, 2: Op.LOAD16, 4: Op.LOAD32 } as const;
const STORES = { 1: Op.STORE8, 2: Op.STORE16, 4: Op.STORE32 } as const;
export type Size = 1 | 2 | 4;

export const isMemory = (ins: Instruction, operand: number): boolean => ins.opKind(operand) === OpKind.Memory;
export const isGeneral32 = (register: Register): boolean => register >= Register.EAX && register <= Register.EDI;
export const isSegment = (register: Register): boolean => register >= Register.ES && register <= Register.GS;

/** Size in bytes of a general or segment register. */
export function registerSize(register: Register): Size {
  if (register >= Register.AL && register <= Register.BH) return 1;
  return isGeneral32(register) ? 4 : 2;
}

/** Number 0..7 of a general register of any size, as `S` orders them; AH..BH give their 32-bit register. */
export function registerNumber(register: Register): number {
  if (isGeneral32(register)) return register - Register.EAX;
  if (register >= Register.AX && register <= Register.DI) return register - Register.AX;
  return (register - Register.AL) & 3;
}

const isHighByte = (register: Register): boolean => register >= Register.AH && register <= Register.BH;

/** The low four bits of Jcc, SETcc and CMOVcc. iced orders its condition codes alike, after `None`. */
export const conditionOf = (ins: Instruction): number => ins.conditionCode - ConditionCode.o;

export class Lowering {
  /** Next free word of `code`. */
  at = 0;
  /** 0 or `Mode` bits. */
  stack16 = false;
  code16 = false;
  /** Distance of the current instruction and the one after it from the block's EIP. */
  delta = 0;
  nextDelta = 0;
  /** The current instruction emitted a terminator. */
  ended = false;
  /** Static cycles of the current instruction. */
  cost = 0;
  costs: Readonly<Record<CostName, number>>;
  /** Bytes of the block: those of the current instruction begin at `delta`. */
  window = new Uint8Array(0);
  #temp: number = S.TEMP;

  constructor(
    readonly code: Int32Array,
    costs: Readonly<Record<CostName, number>>,
  ) {
    this.costs = costs;
  }

  begin(delta: number, nextDelta: number): void {
    this.delta = delta;
    this.nextDelta = nextDelta;
    this.cost = 0;
    this.ended = false;
    this.#temp = S.TEMP;
  }

  emit(op: number, d = 0, a = 0, b = 0, c = 0, e = 0, f = 0, g = 0): void {
    const { code, at } = this;
    code[at] = op;
    code[at + 1] = d;
    code[at + 2] = a;
    code[at + 3] = b;
    code[at + 4] = c;
    code[at + 5] = e;
    code[at + 6] = f;
    code[at + 7] = g;
    this.at = at + OP_WORDS;
  }

  temp(): number {
    const temp = this.#temp++;
    if (temp >= S.TEMP + TEMPS) throw new Error('an instruction needs more temporaries than there are');
    return temp;
  }

  constant(value: number): number {
    const temp = this.temp();
    this.emit(Op.MOVI, temp, value);
    return temp;
  }

  /** Adds to the static cost of the current instruction. */
  spend(...names: CostName[]): void {
    for (const name of names) this.cost += this.costs[name];
  }

  // ---- operands

  /** Place of the instruction's memory operand. 16-bit addresses are computed into a temporary. */
  place(ins: Instruction): Place {
    const seg = ins.memorySegment - Register.ES;
    const base = ins.memoryBase;
    const index = ins.memoryIndex;
    const disp = Number(BigInt.asIntN(32, ins.memoryDisplacement));
    const narrow = ins.memoryDisplSize === 2 || (base >= Register.AX && base <= Register.DI);
    if (narrow) {
      const address = this.temp();
      const word = (register: Register) => (register === Register.None ? ZERO : registerNumber(register));
      this.emit(Op.LEA, address, 0, word(base), word(index), 0, disp);
      this.emit(Op.AND_MASK, address, address, 0xffff);
      return { seg, base: address, index: ZERO, shift: 0, disp: 0, narrow: true };
    }
    return {
      seg,
      base: base === Register.None ? ZERO : registerNumber(base),
      index: index === Register.None ? ZERO : registerNumber(index),
      shift: 31 - Math.clz32(ins.memoryIndexScale),
      disp,
    };
  }

  /** The place `index << shift` bytes further on. */
  indexed(place: Place, index: number, shift: number): Place {
    const { seg } = place;
    if (!place.narrow) return { seg, base: this.address(place), index, shift, disp: 0 };
    const address = this.temp();
    this.emit(Op.LEA, address, 0, place.base, index, shift, place.disp);
    this.emit(Op.AND_MASK, address, address, 0xffff);
    return { seg, base: address, index: ZERO, shift: 0, disp: 0, narrow: true };
  }

  /** Effective address of a place, in a temporary. */
  address(place: Place): number {
    const temp = this.temp();
    this.emit(Op.LEA, temp, 0, place.base, place.index, place.shift, place.disp);
    return temp;
  }

  loadInto(d: number, place: Place, size: Size, op: number = LOADS[size]): void {
    this.emit(op, d, place.seg, place.base, place.index, place.shift, place.disp, size);
  }

  load(place: Place, size: Size): number {
    const temp = this.temp();
    this.loadInto(temp, place, size);
    return temp;
  }

  /** As `load`, but a 16-bit value is zero-extended: offsets. */
  loadZero(place: Place, size: 2 | 4): number {
    const temp = this.temp();
    this.loadInto(temp, place, size, size === 2 ? Op.LOAD16Z : Op.LOAD32);
    return temp;
  }

  loadForStore(place: Place, size: Size): number {
    const temp = this.temp();
    this.loadInto(temp, place, size, Op.LOAD_FOR_STORE);
    return temp;
  }

  store(place: Place, size: Size, value: number, checked = false): void {
    const op = checked ? Op.STORE_CHECKED : STORES[size];
    this.emit(op, value, place.seg, place.base, place.index, place.shift, place.disp, size);
  }

  /** Word that holds a register's value, sign-extended where it is narrow. */
  readRegister(register: Register): number {
    if (isGeneral32(register)) return registerNumber(register);
    const temp = this.temp();
    if (isSegment(register)) {
      this.emit(Op.SELECTOR, temp, register - Register.ES);
      return temp;
    }
    const number = registerNumber(register);
    if (registerSize(register) === 2) this.emit(Op.SIGN, temp, number, 16, 16);
    else this.emit(Op.SIGN, temp, number, isHighByte(register) ? 16 : 24, 24);
    return temp;
  }

  /** Stores the low bits of word `value` into a register. */
  writeRegister(register: Register, value: number): void {
    const number = registerNumber(register);
    if (isGeneral32(register)) {
      if (value !== number) this.emit(Op.MOV, number, value);
    } else if (registerSize(register) === 2) {
      this.emit(Op.INSERT, number, value, 0, 0xffff);
    } else {
      this.emit(Op.INSERT, number, value, isHighByte(register) ? 8 : 0, 0xff);
    }
  }

  immediate(ins: Instruction, operand: number): number {
    switch (ins.opKind(operand)) {
      case OpKind.Immediate8:
        return (ins.immediate8 << 24) >> 24;
      case OpKind.Immediate8_2nd:
        return ins.immediate8_2nd;
      case OpKind.Immediate16:
        return (ins.immediate16 << 16) >> 16;
      case OpKind.Immediate8to16:
        return ins.immediate8to16;
      case OpKind.Immediate8to32:
        return ins.immediate8to32;
      default:
        return ins.immediate32 | 0;
    }
  }

  isImmediate(ins: Instruction, operand: number): boolean {
    const kind = ins.opKind(operand);
    return kind >= OpKind.Immediate8 && kind <= OpKind.Immediate8to32;
  }

  /** Word that holds an operand's value, sign-extended; a memory operand is loaded. */
  read(ins: Instruction, operand: number, size: Size): number {
    const kind = ins.opKind(operand);
    if (kind === OpKind.Register) return this.readRegister(ins.opRegister(operand));
    if (kind === OpKind.Memory) {
      this.spend('load');
      return this.load(this.place(ins), size);
    }
    return this.constant(this.immediate(ins, operand));
  }

  /** Size of an operand: a register's own, else that of the memory operand. */
  size(ins: Instruction, operand: number): Size {
    return ins.opKind(operand) === OpKind.Register ? registerSize(ins.opRegister(operand)) : memoryBytes(ins);
  }

  /** In front of what virtual-8086 mode allows with IOPL 3 only. Code there is 16-bit code. */
  checkIopl(): void {
    if (this.code16) this.emit(Op.CHECK_IOPL);
  }

  // ---- stack

  /** Place `offset` bytes above the stack pointer. */
  stackPlace(offset: number): Place {
    if (!this.stack16) return { seg: Seg.SS, base: S.ESP, index: ZERO, shift: 0, disp: offset };
    const address = this.temp();
    this.emit(Op.LEA, address, 0, S.ESP, ZERO, 0, offset);
    this.emit(Op.AND_MASK, address, address, 0xffff);
    return { seg: Seg.SS, base: address, index: ZERO, shift: 0, disp: 0 };
  }

  /** ESP += bytes, or SP where the stack is 16 bits wide. */
  moveStack(bytes: number): void {
    if (!this.stack16) {
      this.emit(Op.LEA, S.ESP, 0, S.ESP, ZERO, 0, bytes);
      return;
    }
    const temp = this.temp();
    this.emit(Op.LEA, temp, 0, S.ESP, ZERO, 0, bytes);
    this.emit(Op.INSERT, S.ESP, temp, 0, 0xffff);
  }

  push(value: number, size: 2 | 4): void {
    this.store(this.stackPlace(-size), size, value);
    this.moveStack(-size);
  }

  // ---- ends of blocks

  /** Emits a terminator. */
  end(op: number, d = 0, a = 0, b = 0, c = 0, e = 0, f = 0, g = 0): void {
    this.emit(op, d, a, b, c, e, f, g);
    this.ended = true;
  }

  jump(target: number): void {
    this.end(Op.JUMP, target, target <= this.delta ? 1 : 0);
  }

  /** Emits a call in the middle of a block, as the last op of the current instruction. Its cost is static: `spend`. */
  inline(helper: InlineHelperName, a = 0, b = 0, c = 0, d = 0): void {
    this.emit(Op.HELPER, inlineHelperNumber[helper], a, b, c, d);
  }

  system(helper: HelperName, a = 0, b = 0, c = 0, d = 0): void {
    this.end(Op.SYSTEM, helperNumber[helper], a, b, c, d, this.delta, this.nextDelta - this.delta);
  }
}

/** Bytes of the memory operand for the sizes that integer instructions use. */
function memoryBytes(ins: Instruction): Size {
  return MEMORY_BYTES.get(ins.memorySize) ?? 4;
}

const MEMORY_BYTES = new Map<MemorySize, Size>([
  [MemorySize.UInt8, 1],
  [MemorySize.Int8, 1],
  [MemorySize.UInt16, 2],
  [MemorySize.Int16, 2],
  [MemorySize.WordOffset, 2],
  [MemorySize.UInt32, 4],
  [MemorySize.Int32, 4],
  [MemorySize.DwordOffset, 4],
]);
