/**
 * What the cases of the generated interpreter are written with: the locals of its function, the arguments of the op at PC, the state
 * words that they name, and the ways out of a case.
 *
 * Guest registers, temporaries and lazy flags stay in the state words.
 */
import { FlagOp } from '../flags.js';
import { OP_WORDS, Op } from '../ir.js';
import { S } from '../state.js';
import type { ArithmeticFrame } from './emit-arithmetic.js';
import { FlagFunction } from './flag-functions.js';
import { Nest } from './nest.js';
import { W } from './wasm-writer.js';

export const P = {
  /**
   * Parameters: state words; header of the first block, or 0 to begin at EIP; instructions << 32 | cycles; heat at which a block is
   * not entered.
   */
  CPU: 0,
  HEADER: 1,
  SPENT: 2,
  HOT: 3,
  PC: 4,
  /** State words, plus the distance from supervisor to user tags at CPL 3. */
  TAGS: 5,
  /** Lazy flags of the op at PC on their way to their state words. */
  RESULT: 6,
  A: 7,
  B: 8,
  /** A result on its way to the word that an argument names. */
  VALUE: 9,
  X: 10,
  Y: 11,
  Z: 12,
  /** Of a memory operand: offset in its segment, linear address, host address. */
  ADDRESS: 13,
  LINEAR: 14,
  HOST: 15,
  /** Offset of a place in a TLB table. */
  LINE: 16,
  /** Machine address of the link over which the block is left, or 0. */
  LINK: 17,
  /** Header of the next block. */
  NEXT: 18,
  /** Why the interpreter is left. */
  CODE: 19,
  /** `Mode` of the blocks. */
  MODE: 20,
  /** Of an instruction that is executed from its template: its machine address, and the root of the trie (`Templates.root`). */
  AT: 21,
  ROOT: 22,
  WIDE: 23,
} as const;

/** Functions of the module: imports, the interpreter, the ways in, flags. */
export const Call = {
  EXECUTE: 0,
  FIND: 1,
  SEEK: 2,
  PROVIDE: 3,
  DISPATCH: 4,
  SYSTEM: 5,
  FAULT: 6,
  INTERPRET: 7,
  ENTER: 8,
  HERE: 9,
  STEP: 10,
  FLAGS: 11,
} as const;

/** Code for some ops. It begins with PC at the op and ends in one of the ways out of a case. */
export interface Case {
  readonly ops: readonly number[];
  readonly emit: () => void;
}

const { RESULT, A, B, X, Y, Z, WIDE } = P;

export class InterpreterWriter extends Nest implements ArithmeticFrame {
  readonly locals = { RESULT, A, B, X, Y, Z, WIDE };
  /** Depths of the loop over ops, of the case of ops that have no code here, and of the case of `STEP`. */
  dispatchDepth = 0;
  genericDepth = 0;
  stepDepth = 0;

  constructor() {
    super(32768);
  }

  // ---- operands: the arguments of an op, by position

  /** Pushes argument `i` of the op. */
  arg(i: number): void {
    this.loadAt(P.PC, i * 4);
  }

  /** Pushes the address of the state word that argument `i` names. */
  place(i: number): void {
    const { w } = this;
    this.arg(i);
    w.i32(2);
    w.op(W.I32_SHL);
    w.get(P.CPU);
    w.op(W.I32_ADD);
  }

  /** Pushes the value of the state word that argument `i` names. */
  push(i: number): void {
    this.place(i);
    this.w.memory(W.I32_LOAD, 0, 2);
  }

  /** Stores what `value` pushes into the state word that argument `i` names. */
  put(i: number, value: () => void): void {
    this.place(i);
    value();
    this.w.memory(W.I32_STORE, 0, 2);
  }

  pop(i: number): void {
    this.w.set(P.VALUE);
    this.put(i, () => this.w.get(P.VALUE));
  }

  pushRegister(register: number): void {
    this.loadState(register);
  }

  popRegister(register: number): void {
    this.w.set(P.VALUE);
    this.storeState(register, () => this.w.get(P.VALUE));
  }

  /** Cuts what is pushed to the operand's size, sign-extended: argument 4 is 32 minus its bits. */
  narrow(): void {
    this.arg(4);
    this.w.op(W.I32_SHL);
    this.arg(4);
    this.w.op(W.I32_SHR_S);
  }

  // ---- flags

  #flags(): void {
    for (const word of [S.FLAG_OP, S.FLAG_RESULT, S.FLAG_A, S.FLAG_B]) this.loadState(word);
  }

  /** Pushes CF as 0 or 1. */
  pushCarry(): void {
    this.#flags();
    this.w.call(Call.FLAGS + FlagFunction.CARRY);
  }

  pushImage(): void {
    this.#flags();
    this.w.call(Call.FLAGS + FlagFunction.IMAGE);
  }

  /** Pushes whether the condition in argument `i` holds. */
  pushCondition(i: number): void {
    this.#flags();
    this.arg(i);
    this.w.call(Call.FLAGS + FlagFunction.CONDITION);
  }

  setFlags(kind: number): void {
    const { w } = this;
    this.storeState(S.FLAG_OP, () => w.i32(kind));
    this.storeState(S.FLAG_RESULT, () => w.get(RESULT));
    if (kind === FlagOp.LOGIC || kind === FlagOp.IMAGE) return;
    this.storeState(S.FLAG_A, () => w.get(A));
    this.storeState(S.FLAG_B, () => w.get(B));
  }

  maySetFlags(): void {
    // They are in their state words on every path.
  }

  setFlagsHere(kind: number): void {
    this.setFlags(kind);
  }

  // ---- out of a case

  /** On to the next op. Where code is walked that is a `STEP` more often than not, which is known without the jump through the table. */
  next(): void {
    this.#advance();
    this.arg(0);
    this.w.i32(Op.STEP);
    this.w.op(W.I32_EQ);
    this.brIf(this.stepDepth);
    this.br(this.dispatchDepth);
  }

  /** As `next`, behind the case of `STEP`. */
  nextOfAny(): void {
    this.#advance();
    this.br(this.dispatchDepth);
  }

  #advance(): void {
    const { w } = this;
    w.get(P.PC);
    w.i32(OP_WORDS * 4);
    w.op(W.I32_ADD);
    w.set(P.PC);
  }

  /** Pops a condition; if it holds, the op is for the reference interpreter's function. Nothing of it may be done. */
  giveUpIf(): void {
    this.brIf(this.genericDepth);
  }

  /** As `giveUpIf`: the op's function raises it. */
  faultIf(): void {
    this.giveUpIf();
  }

  /** Emits `body` for each operand size, argument 4 being 32 minus its bits. */
  byWidth(body: (up: number) => void): void {
    const { w } = this;
    for (const up of [0, 16]) {
      this.arg(4);
      w.i32(up);
      w.op(W.I32_EQ);
      this.if();
      body(up);
      this.next();
      this.end();
    }
    body(24);
    this.next();
  }

  /** Emits `body` for both values of an argument that is taken as a truth value. */
  byChoice(i: number, body: (chosen: boolean) => void): void {
    this.arg(i);
    this.if();
    body(true);
    this.next();
    this.end();
    body(false);
    this.next();
  }
}
