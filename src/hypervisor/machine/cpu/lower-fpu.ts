/** Lowering of x87 instructions and of the state images. All work is the helpers' (`fpu/`); here operands and prices are found. */
import { type Instruction, MemorySize, Mnemonic, OpKind, Register } from 'iced-x86';
import type { CostName } from '../costs/profile.js';
import { Operation, QUIET, Source } from './fpu/arithmetic.js';
import { memoryArgument, NO_MEMORY } from './fpu/operands.js';
import { Dyadic, Monadic, Pushing } from './fpu/unary.js';
import type { InlineHelperName } from './inline-helpers.js';
import { isMemory, type Lower, type Lowering } from './lower.js';

const POP = 0x80;
/** Opcode of FWAIT, which is not of the escape group. */
const FWAIT = 0x9b;
const TO_REGISTER = 0x40;

/** Kind and size in bytes of memory operands. */
const SOURCES = new Map<MemorySize, readonly [source: number, bytes: number]>([
  [MemorySize.Float32, [Source.SINGLE, 4]],
  [MemorySize.Float64, [Source.DOUBLE, 8]],
  [MemorySize.Float80, [Source.EXTENDED, 10]],
  [MemorySize.Int16, [Source.INT16, 2]],
  [MemorySize.Int32, [Source.INT32, 4]],
  [MemorySize.Int64, [Source.INT64, 8]],
  [MemorySize.Bcd, [Source.DECIMAL, 10]],
]);

/** The low three bits of the opcode's first byte and all of its second one, as bits 16 to 26. */
function opcodeBits(low: Lowering): number {
  let at = low.delta;
  while ((low.window[at] & 0xf8) !== 0xd8) {
    if (low.window[at] === FWAIT) return 0;
    at += 1;
  }
  return (((low.window[at] & 7) << 8) | low.window[at + 1]) << 16;
}

/** Emits a helper with a memory operand. */
function withMemory(low: Lowering, ins: Instruction, helper: InlineHelperName, a: number, bytes: number): void {
  const place = low.place(ins);
  low.inline(helper, a, memoryArgument(place.seg, bytes, false), low.address(place), low.delta);
}

/** An instruction of registers alone. */
function plain(helper: InlineHelperName, cost: CostName, a = 0): Lower {
  return low => {
    low.spend(cost);
    low.inline(helper, a | opcodeBits(low), NO_MEMORY, 0, low.delta);
  };
}

/** Number of an x87 register operand; ST(1) where the operand is implied. */
function stackRegister(ins: Instruction, operand: number): number {
  if (operand >= ins.opCount) return 1;
  return ins.opKind(operand) === OpKind.Register ? ins.opRegister(operand) - Register.ST0 : 1;
}

function arithmetic(operation: number, cost: CostName, pop = 0): Lower {
  return (low, ins) => {
    low.spend(cost);
    const a = (operation << 3) | pop | opcodeBits(low);
    if (isMemory(ins, 0)) {
      low.spend('load');
      const [source, bytes] = SOURCES.get(ins.memorySize)!;
      return withMemory(low, ins, 'x87Arithmetic', a | (source << 8), bytes);
    }
    const to = stackRegister(ins, 0);
    const from = stackRegister(ins, 1);
    // ST(i) is the destination if the second operand is ST(0); of FADD ST(0), ST(0) both are right.
    const reversed = ins.opRegister(1) === Register.ST0;
    low.inline('x87Arithmetic', a | (reversed ? TO_REGISTER | to : from), NO_MEMORY, 0, low.delta);
  };
}

const load: Lower = (low, ins) => {
  const a = opcodeBits(low);
  low.spend('fpMove');
  if (!isMemory(ins, 0)) return low.inline('x87Load', a | (ins.opRegister(0) - Register.ST0), NO_MEMORY, 0, low.delta);
  low.spend(ins.memorySize === MemorySize.Bcd ? 'fpTranscendental' : 'load');
  const [source, bytes] = SOURCES.get(ins.memorySize)!;
  withMemory(low, ins, 'x87Load', a | (source << 8), bytes);
};

function store(flags: number): Lower {
  return (low, ins) => {
    const a = flags | opcodeBits(low);
    low.spend('fpMove');
    if (!isMemory(ins, 0)) {
      return low.inline('x87Store', a | (ins.opRegister(0) - Register.ST0), NO_MEMORY, 0, low.delta);
    }
    low.spend(ins.memorySize === MemorySize.Bcd ? 'fpTranscendental' : 'store');
    const [source, bytes] = SOURCES.get(ins.memorySize)!;
    withMemory(low, ins, 'x87Store', a | (source << 8), bytes);
  };
}

function compare(flags: number): Lower {
  return (low, ins) => {
    const a = flags | opcodeBits(low);
    low.spend('fpAdd');
    if (ins.opCount > 0 && isMemory(ins, 0)) {
      low.spend('load');
      const [source, bytes] = SOURCES.get(ins.memorySize)!;
      return withMemory(low, ins, 'x87Compare', a | (source << 8), bytes);
    }
    low.inline('x87Compare', a | stackRegister(ins, ins.opCount - 1 < 1 ? 0 : 1), NO_MEMORY, 0, low.delta);
  };
}

function compareToFlags(flags: number): Lower {
  return (low, ins) => {
    low.spend('fpAdd');
    low.inline('x87CompareToFlags', flags | opcodeBits(low) | stackRegister(ins, 1), NO_MEMORY, 0, low.delta);
  };
}

const exchange: Lower = (low, ins) => {
  low.spend('fpMove');
  low.inline('x87Exchange', opcodeBits(low) | stackRegister(ins, 1), NO_MEMORY, 0, low.delta);
};

function conditionalMove(condition: number): Lower {
  return (low, ins) => {
    low.spend('fpMove');
    low.inline(
      'x87ConditionalMove',
      opcodeBits(low) | (condition << 8) | stackRegister(ins, 1),
      NO_MEMORY,
      0,
      low.delta,
    );
  };
}

const Stack = { NOP: 0, INCREMENT: 1, DECREMENT: 2, FREE: 3, FREE_POP: 4 } as const;
function stackControl(kind: number): Lower {
  return (low, ins) => {
    low.spend('fpMove');
    const register = ins.opCount > 0 ? stackRegister(ins, 0) : 0;
    low.inline('x87StackControl', opcodeBits(low) | (kind << 8) | register, NO_MEMORY, 0, low.delta);
  };
}

/** FNSTCW, FNSTSW (`which` 1). */
function storeWord(which: number): Lower {
  return (low, ins) => {
    low.spend('fpMove');
    if (!isMemory(ins, 0)) return low.inline('x87StoreWord', which, NO_MEMORY);
    low.spend('store');
    withMemory(low, ins, 'x87StoreWord', which, 2);
  };
}

const loadControl: Lower = (low, ins) => {
  low.spend('load', 'fpControl');
  withMemory(low, ins, 'x87LoadControl', 0, 2);
};

const IMAGES = new Map<MemorySize, readonly [wide: number, bytes: number]>([
  [MemorySize.FpuEnv14, [0, 14]],
  [MemorySize.FpuEnv28, [1, 28]],
  [MemorySize.FpuState94, [0, 94]],
  [MemorySize.FpuState108, [1, 108]],
]);

function image(helper: InlineHelperName, cost: CostName): Lower {
  return (low, ins) => {
    low.spend(cost);
    const [wide, bytes] = IMAGES.get(ins.memorySize)!;
    withMemory(low, ins, helper, wide, bytes);
  };
}

function extendedImage(helper: InlineHelperName, cost: CostName): Lower {
  return (low, ins) => {
    low.spend(cost);
    const place = low.place(ins);
    low.inline(helper, 0, memoryArgument(place.seg, 512, true), low.address(place));
  };
}

const CONSTANTS = [
  Mnemonic.Fld1,
  Mnemonic.Fldl2t,
  Mnemonic.Fldl2e,
  Mnemonic.Fldpi,
  Mnemonic.Fldlg2,
  Mnemonic.Fldln2,
  Mnemonic.Fldz,
];

export const FPU: readonly (readonly [Mnemonic, Lower])[] = [
  [Mnemonic.Fadd, arithmetic(Operation.ADD, 'fpAdd')],
  [Mnemonic.Faddp, arithmetic(Operation.ADD, 'fpAdd', POP)],
  [Mnemonic.Fiadd, arithmetic(Operation.ADD, 'fpAdd')],
  [Mnemonic.Fmul, arithmetic(Operation.MULTIPLY, 'fpMultiply')],
  [Mnemonic.Fmulp, arithmetic(Operation.MULTIPLY, 'fpMultiply', POP)],
  [Mnemonic.Fimul, arithmetic(Operation.MULTIPLY, 'fpMultiply')],
  [Mnemonic.Fsub, arithmetic(Operation.SUBTRACT, 'fpAdd')],
  [Mnemonic.Fsubp, arithmetic(Operation.SUBTRACT, 'fpAdd', POP)],
  [Mnemonic.Fisub, arithmetic(Operation.SUBTRACT, 'fpAdd')],
  [Mnemonic.Fsubr, arithmetic(Operation.SUBTRACT_REVERSE, 'fpAdd')],
  [Mnemonic.Fsubrp, arithmetic(Operation.SUBTRACT_REVERSE, 'fpAdd', POP)],
  [Mnemonic.Fisubr, arithmetic(Operation.SUBTRACT_REVERSE, 'fpAdd')],
  [Mnemonic.Fdiv, arithmetic(Operation.DIVIDE, 'fpDivide')],
  [Mnemonic.Fdivp, arithmetic(Operation.DIVIDE, 'fpDivide', POP)],
  [Mnemonic.Fidiv, arithmetic(Operation.DIVIDE, 'fpDivide')],
  [Mnemonic.Fdivr, arithmetic(Operation.DIVIDE_REVERSE, 'fpDivide')],
  [Mnemonic.Fdivrp, arithmetic(Operation.DIVIDE_REVERSE, 'fpDivide', POP)],
  [Mnemonic.Fidivr, arithmetic(Operation.DIVIDE_REVERSE, 'fpDivide')],
  [Mnemonic.Fld, load],
  [Mnemonic.Fild, load],
  [Mnemonic.Fbld, load],
  [Mnemonic.Fst, store(0)],
  [Mnemonic.Fstp, store(POP)],
  [Mnemonic.Fstpnce, store(POP | QUIET)],
  [Mnemonic.Fist, store(0)],
  [Mnemonic.Fistp, store(POP)],
  [Mnemonic.Fisttp, store(POP | TO_REGISTER)],
  [Mnemonic.Fbstp, store(POP)],
  [Mnemonic.Fcom, compare(0)],
  [Mnemonic.Fcomp, compare(POP)],
  [Mnemonic.Fcompp, compare(POP | TO_REGISTER)],
  [Mnemonic.Ficom, compare(0)],
  [Mnemonic.Ficomp, compare(POP)],
  [Mnemonic.Fucom, compare(8)],
  [Mnemonic.Fucomp, compare(8 | POP)],
  [Mnemonic.Fucompp, compare(8 | POP | TO_REGISTER)],
  [Mnemonic.Ftst, compare(16)],
  [Mnemonic.Fcomi, compareToFlags(0)],
  [Mnemonic.Fcomip, compareToFlags(POP)],
  [Mnemonic.Fucomi, compareToFlags(8)],
  [Mnemonic.Fucomip, compareToFlags(8 | POP)],
  [Mnemonic.Fxch, exchange],
  ...CONSTANTS.map((mnemonic, number): readonly [Mnemonic, Lower] => [
    mnemonic,
    plain('x87Constant', 'fpMove', number),
  ]),
  [Mnemonic.Fchs, plain('x87Sign', 'fpMove', 0)],
  [Mnemonic.Fabs, plain('x87Sign', 'fpMove', 1)],
  [Mnemonic.Fxam, plain('x87Examine', 'fpMove')],
  [Mnemonic.Fsqrt, plain('x87Monadic', 'fpSquareRoot', Monadic.SQRT)],
  [Mnemonic.Frndint, plain('x87Monadic', 'fpDivide', Monadic.RNDINT)],
  [Mnemonic.Fsin, plain('x87Monadic', 'fpTranscendental', Monadic.SIN)],
  [Mnemonic.Fcos, plain('x87Monadic', 'fpTranscendental', Monadic.COS)],
  [Mnemonic.F2xm1, plain('x87Monadic', 'fpTranscendental', Monadic.F2XM1)],
  [Mnemonic.Fprem, plain('x87Dyadic', 'fpDivide', Dyadic.PREM)],
  [Mnemonic.Fprem1, plain('x87Dyadic', 'fpDivide', Dyadic.PREM1)],
  [Mnemonic.Fscale, plain('x87Dyadic', 'fpDivide', Dyadic.SCALE)],
  [Mnemonic.Fpatan, plain('x87Dyadic', 'fpTranscendental', Dyadic.PATAN)],
  [Mnemonic.Fyl2x, plain('x87Dyadic', 'fpTranscendental', Dyadic.YL2X)],
  [Mnemonic.Fyl2xp1, plain('x87Dyadic', 'fpTranscendental', Dyadic.YL2XP1)],
  [Mnemonic.Fxtract, plain('x87Pushing', 'fpDivide', Pushing.XTRACT)],
  [Mnemonic.Fsincos, plain('x87Pushing', 'fpTranscendental', Pushing.SINCOS)],
  [Mnemonic.Fptan, plain('x87Pushing', 'fpTranscendental', Pushing.PTAN)],
  [Mnemonic.Fcmovb, conditionalMove(2)],
  [Mnemonic.Fcmove, conditionalMove(4)],
  [Mnemonic.Fcmovbe, conditionalMove(6)],
  [Mnemonic.Fcmovu, conditionalMove(10)],
  [Mnemonic.Fcmovnb, conditionalMove(3)],
  [Mnemonic.Fcmovne, conditionalMove(5)],
  [Mnemonic.Fcmovnbe, conditionalMove(7)],
  [Mnemonic.Fcmovnu, conditionalMove(11)],
  [Mnemonic.Fnop, stackControl(Stack.NOP)],
  [Mnemonic.Fincstp, stackControl(Stack.INCREMENT)],
  [Mnemonic.Fdecstp, stackControl(Stack.DECREMENT)],
  [Mnemonic.Ffree, stackControl(Stack.FREE)],
  [Mnemonic.Ffreep, stackControl(Stack.FREE_POP)],
  [Mnemonic.Wait, plain('x87Wait', 'simple')],
  [Mnemonic.Fninit, plain('x87Initialize', 'fpControl')],
  [Mnemonic.Fnclex, plain('x87ClearExceptions', 'fpControl')],
  [Mnemonic.Fneni, plain('x87Nothing', 'fpMove')],
  [Mnemonic.Fndisi, plain('x87Nothing', 'fpMove')],
  [Mnemonic.Fnsetpm, plain('x87Nothing', 'fpMove')],
  [Mnemonic.Fldcw, loadControl],
  [Mnemonic.Fnstcw, storeWord(0)],
  [Mnemonic.Fnstsw, storeWord(1)],
  [Mnemonic.Fnstenv, image('x87StoreEnvironment', 'fpEnvironment')],
  [Mnemonic.Fldenv, image('x87LoadEnvironment', 'fpEnvironment')],
  [Mnemonic.Fnsave, image('x87Save', 'fpSave')],
  [Mnemonic.Frstor, image('x87Restore', 'fpSave')],
  [Mnemonic.Fxsave, extendedImage('saveExtended', 'fpSaveExtended')],
  [Mnemonic.Fxrstor, extendedImage('restoreExtended', 'fpSaveExtended')],
];
