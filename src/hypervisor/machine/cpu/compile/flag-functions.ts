/**
 * The lazy flags as WebAssembly functions, for where their kind is known only when the code runs: the interpreter has them inside
 * its module, compiled code imports them. The formulas are those of `flags.ts`.
 *
 *     carry(kind, result, a, b) -> CF          overflow(kind, result, a, b) -> OF
 *     image(kind, result, a, b) -> the six flags at their places in EFLAGS
 *     condition(kind, result, a, b, cc) -> 0 or 1
 */
import { FlagOp } from '../flags.js';
import { Flag } from '../state.js';
import { ANY_MEMORY, Nest } from './nest.js';
import { assembleModule, type FunctionBody, Type, W } from './wasm-writer.js';

const [KIND, RESULT, A, B, CC] = [0, 1, 2, 3, 4];
const I = Type.I32;
/** Signatures: without and with a condition. */
export const FLAG_TYPE = { parameters: [I, I, I, I], results: [I] } as const;
export const CONDITION_TYPE = { parameters: [I, I, I, I, I], results: [I] } as const;

/** Order of the functions in a module. */
export const FlagFunction = { CARRY: 0, OVERFLOW: 1, IMAGE: 2, CONDITION: 3 } as const;

type Push = () => void;

export interface FlagFunctions {
  readonly carry: unknown;
  readonly image: unknown;
  readonly condition: unknown;
}

let module: WebAssembly.Module | undefined;

/** The functions alone, for compiled code. */
export function makeFlagFunctions(memory: WebAssembly.Memory): FlagFunctions {
  module ??= new WebAssembly.Module(
    assembleModule({
      ...ANY_MEMORY,
      types: [FLAG_TYPE, CONDITION_TYPE],
      imports: [],
      table: false,
      functions: flagFunctions(0, 0, 1),
    }),
  );
  const { exports } = new WebAssembly.Instance(module, { m: { memory } });
  return {
    carry: exports[FlagFunction.CARRY],
    image: exports[FlagFunction.IMAGE],
    condition: exports[FlagFunction.CONDITION],
  };
}

/** Bodies for a module whose function number `first` is the first of them, with the indices of their two types. */
export function flagFunctions(first: number, flagType: number, conditionType: number): readonly FunctionBody[] {
  const body = (type: number, emit: (f: FlagEmitter) => void): FunctionBody => {
    const f = new FlagEmitter(first);
    emit(f);
    return { type, locals: [], code: f.w.done() };
  };
  return [
    body(flagType, f => f.carry()),
    body(flagType, f => f.overflow()),
    body(flagType, f => f.image()),
    body(conditionType, f => f.condition()),
  ];
}

class FlagEmitter extends Nest {
  constructor(private readonly first: number) {
    super(1024);
  }

  carry(): void {
    const compare = (code: number, left: number, right: number) => () => this.#binary(code, left, right);
    this.#byKind({
      [FlagOp.IMAGE]: () => this.#imageBit(0),
      [FlagOp.LOGIC]: () => this.w.i32(0),
      [FlagOp.ADD]: compare(W.I32_LT_U, RESULT, A),
      [FlagOp.SUB]: compare(W.I32_LT_U, A, B),
      [FlagOp.ADD_CARRY]: compare(W.I32_LE_U, RESULT, A),
      [FlagOp.SUB_BORROW]: compare(W.I32_LE_U, A, B),
      [FlagOp.INC]: () => this.w.get(B),
      [FlagOp.DEC]: () => this.w.get(B),
      [FlagOp.CARRY_OVERFLOW]: () => this.w.get(A),
    });
  }

  overflow(): void {
    /** Top bit of what two pairs of words differ in. */
    const both = (left: number, right: number, other: number, last: number) => () => {
      this.#binary(W.I32_XOR, left, right);
      this.#binary(W.I32_XOR, other, last);
      this.w.op(W.I32_AND);
      this.#topBit();
    };
    /** Top bit of the one word that is not that of the other. */
    const changed = (to: number, from: number) => () => {
      this.#binary(W.I32_XOR, to, from);
      this.w.get(to);
      this.w.op(W.I32_AND);
      this.#topBit();
    };
    this.#byKind({
      [FlagOp.IMAGE]: () => this.#imageBit(11),
      [FlagOp.LOGIC]: () => this.w.i32(0),
      [FlagOp.ADD]: both(A, RESULT, B, RESULT),
      [FlagOp.SUB]: both(A, B, A, RESULT),
      [FlagOp.ADD_CARRY]: both(A, RESULT, B, RESULT),
      [FlagOp.SUB_BORROW]: both(A, B, A, RESULT),
      [FlagOp.INC]: changed(RESULT, A),
      [FlagOp.DEC]: changed(A, RESULT),
      [FlagOp.CARRY_OVERFLOW]: () => this.w.get(B),
    });
  }

  image(): void {
    const { w } = this;
    w.get(KIND);
    w.i32(FlagOp.IMAGE);
    w.op(W.I32_EQ);
    this.#answerIf(() => {
      w.get(RESULT);
      w.i32(Flag.ARITHMETIC);
      w.op(W.I32_AND);
    });
    const at = (bit: number) => {
      w.i32(bit);
      w.op(W.I32_SHL);
      w.op(W.I32_OR);
    };
    this.#call(FlagFunction.CARRY);
    this.#parity();
    at(2);
    this.#adjust();
    at(4);
    this.#zero();
    at(6);
    this.#sign();
    at(7);
    this.#call(FlagFunction.OVERFLOW);
    at(11);
  }

  condition(): void {
    const { w } = this;
    const compare = (code: number) => () => this.#binary(code, A, B);
    const withZero = (code: number) => () => {
      w.get(RESULT);
      w.i32(0);
      w.op(code);
    };
    const or = (left: Push, right: Push) => () => {
      left();
      right();
      w.op(W.I32_OR);
    };
    const xor = (left: Push, right: Push) => () => {
      left();
      right();
      w.op(W.I32_XOR);
    };
    const zero = withZero(W.I32_EQ);
    const sign = withZero(W.I32_LT_S);
    const parity = () => this.#parity();
    const never = () => w.i32(0);
    const carry = () => this.#call(FlagFunction.CARRY);
    const overflow = () => this.#call(FlagFunction.OVERFLOW);
    const less = xor(sign, overflow);
    const bit = (at: number) => () => this.#imageBit(at);
    const lessInImage = xor(bit(7), bit(11));
    this.#ofKind(FlagOp.SUB, [
      overflow,
      compare(W.I32_LT_U),
      zero,
      compare(W.I32_LE_U),
      sign,
      parity,
      compare(W.I32_LT_S),
      compare(W.I32_LE_S),
    ]);
    this.#ofKind(FlagOp.LOGIC, [never, never, zero, zero, sign, parity, sign, withZero(W.I32_LE_S)]);
    this.#ofKind(FlagOp.IMAGE, [
      bit(11),
      bit(0),
      bit(6),
      or(bit(0), bit(6)),
      bit(7),
      bit(2),
      lessInImage,
      or(bit(6), lessInImage),
    ]);
    this.#byCondition([overflow, carry, zero, or(carry, zero), sign, parity, less, or(zero, less)]);
    w.op(W.UNREACHABLE);
  }

  // ---- single flags of what is no image

  #zero(): void {
    this.w.get(RESULT);
    this.w.op(W.I32_EQZ);
  }

  #sign(): void {
    this.w.get(RESULT);
    this.#topBit();
  }

  /** Bit n of 0x9669 is set if n has an even number of bits set. */
  #parity(): void {
    const { w } = this;
    w.i32(0x9669);
    w.get(RESULT);
    w.get(RESULT);
    w.i32(4);
    w.op(W.I32_SHR_U);
    w.op(W.I32_XOR);
    w.i32(15);
    w.op(W.I32_AND);
    w.op(W.I32_SHR_U);
    w.i32(1);
    w.op(W.I32_AND);
  }

  #adjust(): void {
    const { w } = this;
    const lowDigit = (digit: number) => {
      w.get(RESULT);
      w.i32(15);
      w.op(W.I32_AND);
      w.i32(digit);
      w.op(W.I32_EQ);
    };
    /** Pushes `yes` for one kind, else `no`. */
    const choose = (kind: number, yes: Push, no: Push) => {
      yes();
      no();
      w.get(KIND);
      w.i32(kind);
      w.op(W.I32_EQ);
      w.op(W.SELECT);
    };
    const none = () => w.i32(0);
    const borrowed = () => {
      this.#binary(W.I32_XOR, A, B);
      w.get(RESULT);
      w.op(W.I32_XOR);
      w.i32(4);
      w.op(W.I32_SHR_U);
      w.i32(1);
      w.op(W.I32_AND);
    };
    choose(
      FlagOp.INC,
      () => lowDigit(0),
      () =>
        choose(
          FlagOp.DEC,
          () => lowDigit(15),
          () => choose(FlagOp.LOGIC, none, () => choose(FlagOp.CARRY_OVERFLOW, none, borrowed)),
        ),
    );
  }

  // ---- parts

  #binary(code: number, left: number, right: number): void {
    this.w.get(left);
    this.w.get(right);
    this.w.op(code);
  }

  #topBit(): void {
    this.w.i32(31);
    this.w.op(W.I32_SHR_U);
  }

  #imageBit(at: number): void {
    const { w } = this;
    w.get(RESULT);
    w.i32(at);
    w.op(W.I32_SHR_U);
    w.i32(1);
    w.op(W.I32_AND);
  }

  #call(number: number): void {
    for (const local of [KIND, RESULT, A, B]) this.w.get(local);
    this.w.call(this.first + number);
  }

  /** Pops a condition; where it holds, the function answers what `value` pushes. */
  #answerIf(value: Push): void {
    this.if();
    value();
    this.w.op(W.RETURN);
    this.end();
  }

  #byKind(values: Readonly<Record<number, Push>>): void {
    const kinds = Object.values(FlagOp);
    this.#table(
      () => this.w.get(KIND),
      kinds.map(kind => values[kind]!),
    );
    this.w.op(W.UNREACHABLE);
  }

  /** Answers conditions where the flags are of one kind; else goes on behind. */
  #ofKind(kind: number, values: readonly Push[]): void {
    this.w.get(KIND);
    this.w.i32(kind);
    this.w.op(W.I32_EQ);
    this.if();
    this.#byCondition(values);
    this.end();
  }

  /** One value for each pair of conditions, of which the odd one is the contrary of the even. */
  #byCondition(values: readonly Push[]): void {
    const { w } = this;
    this.#table(
      () => {
        w.get(CC);
        w.i32(1);
        w.op(W.I32_SHR_U);
      },
      values.map(value => () => {
        value();
        w.get(CC);
        w.i32(1);
        w.op(W.I32_AND);
        w.op(W.I32_XOR);
      }),
    );
  }

  /** Answers the value whose number `index` pushes. */
  #table(index: Push, values: readonly Push[]): void {
    const { w } = this;
    const labels = values.map(() => 0);
    const rest = this.open();
    for (let i = values.length - 1; i >= 0; i--) labels[i] = this.open();
    index();
    w.op(W.BR_TABLE);
    w.u(labels.length);
    for (const label of labels) w.u(this.depth - label);
    w.u(this.depth - rest);
    for (const value of values) {
      this.end();
      value();
      w.op(W.RETURN);
    }
    this.end();
  }
}
