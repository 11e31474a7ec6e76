/** Facts about ops that the compiler's analyses need: which touch the flags, which can leave the region, which are native. */
import { FlagOp } from '../flags.js';
import { OP_WORDS, Op } from '../ir.js';

/** The kind of the lazy flags is known only when the code runs: it is in its local. */
export const UNKNOWN_KIND = -1;

const FlagUse = {
  NONE: 0,
  /** Wants the flags: reads them, or may leave the region before it is done. */
  WANTS: 1,
  /** Replaces all of them without a look. */
  REPLACES: 2,
  /** Replaces them, and wants the old ones if somebody wants the new ones. */
  PASSES: 3,
} as const;

const uses = new Uint8Array(128);
const kinds = new Int8Array(128).fill(-2);
const native = new Uint8Array(128);
const generic = new Uint8Array(128);

function facts(ops: readonly number[], use: number, kind = -2): void {
  for (const op of ops) {
    uses[op] = use;
    kinds[op] = kind;
    native[op] = 1;
  }
}

facts(
  [Op.MOV, Op.MOVI, Op.SIGN, Op.ZERO_EXTEND, Op.INSERT, Op.LEA, Op.EIP, Op.SELECTOR, Op.SELECT_EQUAL],
  FlagUse.NONE,
);
facts(
  [Op.NOT, Op.BSWAP, Op.AND_MASK, Op.SHIFT_RIGHT_SIGNED, Op.STRING_STEP, Op.DIRECTION, Op.STORE_CHECKED],
  FlagUse.NONE,
);
facts([Op.LOAD32, Op.LOAD16, Op.LOAD8, Op.LOAD16Z, Op.LOAD8Z, Op.LOAD_FOR_STORE], FlagUse.WANTS);
facts([Op.STORE32, Op.STORE16, Op.STORE8, Op.CHECK_TARGET, Op.CHECK_TARGET_DIRECT], FlagUse.WANTS);
facts([Op.SELECT, Op.SET_CONDITION, Op.BRANCH, Op.BRANCH_LOOP, Op.JUMP_INDIRECT, Op.SYSTEM], FlagUse.WANTS);
facts([Op.JUMP, Op.BRANCH_IF, Op.NEXT], FlagUse.NONE);
facts([Op.ADD32, Op.ADD32I, Op.ADD], FlagUse.REPLACES, FlagOp.ADD);
facts([Op.SUB32, Op.SUB32I, Op.SUB, Op.CMP32, Op.CMP32I, Op.CMP, Op.NEG], FlagUse.REPLACES, FlagOp.SUB);
facts(
  [Op.AND32, Op.AND32I, Op.AND, Op.OR32, Op.OR32I, Op.OR, Op.XOR32, Op.XOR32I, Op.XOR],
  FlagUse.REPLACES,
  FlagOp.LOGIC,
);
facts([Op.TEST32, Op.TEST32I, Op.TEST, Op.BSF, Op.BSR], FlagUse.REPLACES, FlagOp.LOGIC);
facts([Op.INC32, Op.INC], FlagUse.PASSES, FlagOp.INC);
facts([Op.DEC32, Op.DEC], FlagUse.PASSES, FlagOp.DEC);
facts([Op.SHL32I, Op.SHR32I, Op.SAR32I, Op.IMUL, Op.MULTIPLY], FlagUse.REPLACES, FlagOp.CARRY_OVERFLOW);
facts([Op.ADC, Op.SBB], FlagUse.WANTS, UNKNOWN_KIND);
// A count of zero leaves the flags alone, so their kind is known only when the code runs.
facts([Op.SHL, Op.SHR, Op.SAR], FlagUse.PASSES, UNKNOWN_KIND);
facts([Op.ROL, Op.ROR, Op.SHLD, Op.SHRD], FlagUse.PASSES, UNKNOWN_KIND);
facts([Op.READ_FLAGS], FlagUse.WANTS);
facts([Op.BIT, Op.CARRY], FlagUse.PASSES, FlagOp.IMAGE);
facts([Op.DIVIDE], FlagUse.WANTS);
// Done by the interpreter's own function, with the state spilled around it.
for (const op of [Op.RCL, Op.RCR, Op.LAHF, Op.SAHF, Op.DECIMAL, Op.HELPER]) {
  uses[op] = FlagUse.WANTS;
  kinds[op] = UNKNOWN_KIND;
  generic[op] = 1;
}

export const isCompilable = (op: number): boolean => native[op] === 1 || generic[op] === 1;
export const isGeneric = (op: number): boolean => generic[op] === 1;
/** Sizes of some ops other than 32 bits are generic too. */
export const isNarrowArithmetic = (op: number, up: number): boolean =>
  up !== 0 && (op === Op.MULTIPLY || op === Op.DIVIDE || op === Op.SHLD || op === Op.SHRD);

/** Bytes of WebAssembly that ops become, about, where it is not the usual dozen: what touches memory, or spills the state. */
const bytes = new Uint16Array(128).fill(12);
const take = (ops: readonly number[], count: number): void => {
  for (const op of ops) bytes[op] = count;
};
take([Op.LOAD32, Op.LOAD16, Op.LOAD8, Op.LOAD16Z, Op.LOAD8Z, Op.STORE32, Op.STORE16, Op.STORE8], 110);
take([Op.LOAD_FOR_STORE], 120);
take([Op.STORE_CHECKED, Op.ADC, Op.SBB, Op.SHL, Op.SHR, Op.SAR, Op.ROL, Op.ROR, Op.BRANCH, Op.JUMP_INDIRECT], 50);
take([Op.SHLD, Op.SHRD, Op.DIVIDE], 100);
take([Op.SYSTEM, Op.RCL, Op.RCR, Op.LAHF, Op.SAHF, Op.DECIMAL, Op.HELPER], 330);

/** Bytes of WebAssembly that an op becomes, about. Emitting and compiling them takes time in proportion. */
export const estimatedBytes = (op: number): number => bytes[op]!;

/** Are the flags wanted before the ops from `start` to `end`, if they are (not) wanted behind them? */
export function flagsLiveBefore(code: Int32Array, start: number, end: number, liveOut: boolean): boolean {
  let live = liveOut;
  for (let at = end - OP_WORDS; at >= start; at -= OP_WORDS) live = flagsLiveAcross(code, at, live);
  return live;
}

/** As above, for one op. */
export function flagsLiveAcross(code: Int32Array, at: number, liveAfter: boolean): boolean {
  const op = code[at]!;
  if (isNarrowArithmetic(op, code[at + 4]!)) return true;
  const use = uses[op];
  if (use === FlagUse.WANTS) return true;
  return use === FlagUse.REPLACES ? false : liveAfter;
}

/** Kind of the lazy flags behind the ops from `start` to `end`. */
export function kindAfter(code: Int32Array, start: number, end: number, before: number): number {
  for (let at = end - OP_WORDS; at >= start; at -= OP_WORDS) {
    const op = code[at]!;
    if (isNarrowArithmetic(op, code[at + 4]!)) return UNKNOWN_KIND;
    if (kinds[op] !== -2) return kinds[op]!;
  }
  return before;
}
