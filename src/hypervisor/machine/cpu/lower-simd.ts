/** Lowering of MMX, SSE and SSE2 instructions. All work is the helpers' (`simd/`); here operands and prices are found. */
import { type Instruction, MemorySizeExt, Mnemonic, OpKind, Register } from 'iced-x86';
import type { CostName } from '../costs/profile.js';
import { memoryArgument, NO_MEMORY } from './fpu/operands.js';
import { F } from './fpu/state.js';
import type { InlineHelperName } from './inline-helpers.js';
import { Op } from './ir.js';
import { isGeneral32, isMemory, type Lower, type Lowering, registerNumber } from './lower.js';
import { IMMEDIATE } from './simd/access.js';
import { Float } from './simd/float.js';
import type { SIMD_INTEGER } from './simd/integer.js';
import { S } from './state.js';

const isMmx = (register: Register): boolean => register >= Register.MM0 && register <= Register.MM7;
const isXmm = (register: Register): boolean => register >= Register.XMM0 && register <= Register.XMM7;

/** First word of an MMX or XMM register. */
const wordOf = (register: Register): number =>
  isMmx(register) ? (register - Register.MM0) * 4 : F.XMM + (register - Register.XMM0) * 4;

/** Operands of 16 bytes must be aligned but for a few moves. */
const UNALIGNED = new Set([Mnemonic.Movups, Mnemonic.Movupd, Mnemonic.Movdqu]);

/** Emits a helper whose source is the operand `from`: a vector register or memory. */
function withSource(low: Lowering, ins: Instruction, helper: InlineHelperName, a: number, from: number): void {
  if (isMemory(ins, from)) {
    low.spend('load');
    withMemory(low, ins, helper, a, F.OPERAND);
  } else {
    low.inline(helper, a, wordOf(ins.opRegister(from)), NO_MEMORY);
  }
}

function withMemory(low: Lowering, ins: Instruction, helper: InlineHelperName, a: number, b: number): void {
  const place = low.place(ins);
  const bytes = MemorySizeExt.size(ins.memorySize);
  const argument = memoryArgument(place.seg, bytes, bytes === 16 && !UNALIGNED.has(ins.mnemonic));
  low.inline(helper, a, b, argument, low.address(place));
}

/** The immediate, which is always the last operand. */
const immediateOf = (low: Lowering, ins: Instruction): number => (low.immediate(ins, ins.opCount - 1) & 0xff) << 16;

// ---- moves

/** Between vector registers and memory, `bytes` at a time; of a load to a whole XMM register the rest becomes zero. */
const move: Lower = (low, ins) => {
  low.spend('fpMove');
  if (isMemory(ins, 0)) {
    low.spend('store');
    return withMemory(low, ins, 'simdStore', wordOf(ins.opRegister(1)), 0);
  }
  const to = wordOf(ins.opRegister(0));
  if (isMemory(ins, 1)) {
    low.spend('load');
    return withMemory(low, ins, 'simdLoad', to | (1 << 8), 0);
  }
  const from = wordOf(ins.opRegister(1));
  const whole = isMmx(ins.opRegister(0)) ? 2 : 4;
  const scalar = SCALAR_WORDS.get(ins.mnemonic);
  // MOVQ clears the upper half; MOVSS and MOVSD between registers keep it.
  const flags = ins.mnemonic === Mnemonic.Movq && whole === 4 ? 0x1200 : (scalar ?? whole) << 8;
  low.inline('simdCopy', to | flags, from, NO_MEMORY);
};

const SCALAR_WORDS = new Map([
  [Mnemonic.Movss, 1],
  [Mnemonic.Movsd, 2],
]);

/** MOVLPS, MOVHPS, MOVLPD, MOVHPD: eight bytes in memory and one half of a register. */
function moveHalf(upper: boolean): Lower {
  const offset = upper ? 2 : 0;
  return (low, ins) => {
    low.spend('fpMove');
    const toMemory = isMemory(ins, 0);
    low.spend(toMemory ? 'store' : 'load');
    const register = wordOf(ins.opRegister(toMemory ? 1 : 0));
    withMemory(low, ins, toMemory ? 'simdStore' : 'simdLoad', register + offset, 0);
  };
}

/** MOVHLPS and MOVLHPS. */
function moveAcross(to: number, from: number): Lower {
  return (low, ins) => {
    low.spend('fpMove');
    low.inline('simdCopy', (wordOf(ins.opRegister(0)) + to) | 0x200, wordOf(ins.opRegister(1)) + from, NO_MEMORY);
  };
}

const crossMove: Lower = (low, ins) => {
  low.spend('fpMove');
  low.inline('simdCross', wordOf(ins.opRegister(0)), wordOf(ins.opRegister(1)), NO_MEMORY);
};

const movd: Lower = (low, ins) => {
  const to = ins.opKind(0) === OpKind.Register ? ins.opRegister(0) : Register.None;
  const from = ins.opKind(1) === OpKind.Register ? ins.opRegister(1) : Register.None;
  if (isGeneral32(from)) {
    low.spend('fpMove');
    return low.inline('simdFromGeneral', wordOf(to), registerNumber(from), NO_MEMORY);
  }
  if (isGeneral32(to)) {
    low.spend('fpMove');
    return low.inline('simdToGeneral', wordOf(from), registerNumber(to), NO_MEMORY);
  }
  return move(low, ins);
};

/** MOVNTI is a store of a general register. */
const moveNonTemporal: Lower = (low, ins) => {
  low.spend('store');
  low.store(low.place(ins), 4, registerNumber(ins.opRegister(1)));
};

/** CLFLUSH faults as a load; there is no cache to flush. */
const flushLine: Lower = (low, ins) => {
  low.spend('load');
  low.load(low.place(ins), 1);
};

function signMask(lane: number): Lower {
  return (low, ins) => {
    low.spend('fpMove');
    const from = wordOf(ins.opRegister(1));
    low.inline('simdSignMask', from | (lane << 8), registerNumber(ins.opRegister(0)), NO_MEMORY);
  };
}

const extractWord: Lower = (low, ins) => {
  low.spend('fpMove');
  const a = wordOf(ins.opRegister(1)) | immediateOf(low, ins);
  low.inline('simdExtractWord', a, registerNumber(ins.opRegister(0)), NO_MEMORY);
};

const insertWord: Lower = (low, ins) => {
  low.spend('fpMove');
  const a = wordOf(ins.opRegister(0)) | immediateOf(low, ins);
  if (!isMemory(ins, 1)) return low.inline('simdInsertWord', a, registerNumber(ins.opRegister(1)), NO_MEMORY);
  low.spend('load');
  withMemory(low, ins, 'simdInsertWord', a, 0);
};

/** MASKMOVQ, MASKMOVDQU: to DS:EDI, or DI where addresses are 16 bits wide. */
const maskedStore: Lower = (low, ins) => {
  low.spend('fpMove', 'store');
  const from = ins.opRegister(1);
  let address: number = S.EDI;
  if (ins.opKind(0) === OpKind.MemorySegDI) {
    address = low.temp();
    low.emit(Op.AND_MASK, address, S.EDI, 0xffff);
  }
  const argument = memoryArgument(ins.memorySegment - Register.ES, isMmx(from) ? 8 : 16, false);
  low.inline('simdMaskedStore', wordOf(from), wordOf(ins.opRegister(2)), argument, address);
};

const loadMxcsr: Lower = (low, ins) => {
  low.spend('load', 'fpControl');
  withMemory(low, ins, 'simdLoadMxcsr', 0, 0);
};
const storeMxcsr: Lower = (low, ins) => {
  low.spend('store', 'fpMove');
  withMemory(low, ins, 'simdStore', F.MXCSR, 0);
};

// ---- integers

function integers(helper: keyof typeof SIMD_INTEGER, cost: CostName = 'fpMove'): Lower {
  return (low, ins) => {
    low.spend(cost);
    const to = wordOf(ins.opRegister(0));
    const last = ins.opCount - 1;
    const immediate = low.isImmediate(ins, last);
    // Shifts by an immediate have no source.
    if (immediate && last === 1) return low.inline(helper, to | immediateOf(low, ins) | IMMEDIATE, to, NO_MEMORY);
    withSource(low, ins, helper, immediate ? to | immediateOf(low, ins) : to, 1);
  };
}

/** Instructions whose names are those of their helpers. */
const INTEGER_NAMES: readonly (readonly [Mnemonic, keyof typeof SIMD_INTEGER])[] = [
  [Mnemonic.Paddb, 'paddb'],
  [Mnemonic.Paddw, 'paddw'],
  [Mnemonic.Paddd, 'paddd'],
  [Mnemonic.Paddq, 'paddq'],
  [Mnemonic.Paddsb, 'paddsb'],
  [Mnemonic.Paddsw, 'paddsw'],
  [Mnemonic.Paddusb, 'paddusb'],
  [Mnemonic.Paddusw, 'paddusw'],
  [Mnemonic.Psubb, 'psubb'],
  [Mnemonic.Psubw, 'psubw'],
  [Mnemonic.Psubd, 'psubd'],
  [Mnemonic.Psubq, 'psubq'],
  [Mnemonic.Psubsb, 'psubsb'],
  [Mnemonic.Psubsw, 'psubsw'],
  [Mnemonic.Psubusb, 'psubusb'],
  [Mnemonic.Psubusw, 'psubusw'],
  [Mnemonic.Pand, 'pand'],
  [Mnemonic.Pandn, 'pandn'],
  [Mnemonic.Por, 'por'],
  [Mnemonic.Pxor, 'pxor'],
  [Mnemonic.Andps, 'pand'],
  [Mnemonic.Andnps, 'pandn'],
  [Mnemonic.Orps, 'por'],
  [Mnemonic.Xorps, 'pxor'],
  [Mnemonic.Andpd, 'pand'],
  [Mnemonic.Andnpd, 'pandn'],
  [Mnemonic.Orpd, 'por'],
  [Mnemonic.Xorpd, 'pxor'],
  [Mnemonic.Pcmpeqb, 'pcmpeqb'],
  [Mnemonic.Pcmpeqw, 'pcmpeqw'],
  [Mnemonic.Pcmpeqd, 'pcmpeqd'],
  [Mnemonic.Pcmpgtb, 'pcmpgtb'],
  [Mnemonic.Pcmpgtw, 'pcmpgtw'],
  [Mnemonic.Pcmpgtd, 'pcmpgtd'],
  [Mnemonic.Pavgb, 'pavgb'],
  [Mnemonic.Pavgw, 'pavgw'],
  [Mnemonic.Pmaxub, 'pmaxub'],
  [Mnemonic.Pminub, 'pminub'],
  [Mnemonic.Pmaxsw, 'pmaxsw'],
  [Mnemonic.Pminsw, 'pminsw'],
  [Mnemonic.Psllw, 'psllw'],
  [Mnemonic.Psrlw, 'psrlw'],
  [Mnemonic.Psraw, 'psraw'],
  [Mnemonic.Pslld, 'pslld'],
  [Mnemonic.Psrld, 'psrld'],
  [Mnemonic.Psrad, 'psrad'],
  [Mnemonic.Psllq, 'psllq'],
  [Mnemonic.Psrlq, 'psrlq'],
  [Mnemonic.Pslldq, 'pslldq'],
  [Mnemonic.Psrldq, 'psrldq'],
  [Mnemonic.Packsswb, 'packsswb'],
  [Mnemonic.Packuswb, 'packuswb'],
  [Mnemonic.Packssdw, 'packssdw'],
  [Mnemonic.Punpcklbw, 'punpcklbw'],
  [Mnemonic.Punpcklwd, 'punpcklwd'],
  [Mnemonic.Punpckldq, 'punpckldq'],
  [Mnemonic.Punpcklqdq, 'punpcklqdq'],
  [Mnemonic.Punpckhbw, 'punpckhbw'],
  [Mnemonic.Punpckhwd, 'punpckhwd'],
  [Mnemonic.Punpckhdq, 'punpckhdq'],
  [Mnemonic.Punpckhqdq, 'punpckhqdq'],
  [Mnemonic.Unpcklps, 'punpckldq'],
  [Mnemonic.Unpckhps, 'punpckhdq'],
  [Mnemonic.Unpcklpd, 'punpcklqdq'],
  [Mnemonic.Unpckhpd, 'punpckhqdq'],
  [Mnemonic.Pshufd, 'pshufd'],
  [Mnemonic.Pshufw, 'pshufw'],
  [Mnemonic.Pshuflw, 'pshuflw'],
  [Mnemonic.Pshufhw, 'pshufhw'],
  [Mnemonic.Shufps, 'shufps'],
  [Mnemonic.Shufpd, 'shufpd'],
];
const MULTIPLIES: readonly (readonly [Mnemonic, keyof typeof SIMD_INTEGER])[] = [
  [Mnemonic.Pmullw, 'pmullw'],
  [Mnemonic.Pmulhw, 'pmulhw'],
  [Mnemonic.Pmulhuw, 'pmulhuw'],
  [Mnemonic.Pmuludq, 'pmuludq'],
  [Mnemonic.Pmaddwd, 'pmaddwd'],
  [Mnemonic.Psadbw, 'psadbw'],
];

// ---- floating point

type Kind = 'ps' | 'ss' | 'pd' | 'sd';
const LANES: Readonly<Record<Kind, number>> = { ps: 4, ss: 1, pd: 2, sd: 1 };
const doubles = (kind: Kind): boolean => kind === 'pd' || kind === 'sd';

function float(operation: number, cost: CostName, kind: Kind): Lower {
  return (low, ins) => {
    low.spend(cost);
    const a = wordOf(ins.opRegister(0)) | (LANES[kind] << 8) | (operation << 12);
    withSource(low, ins, doubles(kind) ? 'floatDouble' : 'floatSingle', a, 1);
  };
}

function compareLanes(kind: Kind): Lower {
  return (low, ins) => {
    low.spend('fpAdd');
    const a = wordOf(ins.opRegister(0)) | (LANES[kind] << 8) | (doubles(kind) ? 0x1000 : 0) | immediateOf(low, ins);
    withSource(low, ins, 'floatCompare', a, 1);
  };
}

function compareToFlags(flags: number): Lower {
  return (low, ins) => {
    low.spend('fpAdd');
    withSource(low, ins, 'floatCompareToFlags', wordOf(ins.opRegister(0)) | flags, 1);
  };
}

function approximation(root: boolean, kind: Kind): Lower {
  return (low, ins) => {
    low.spend('fpAdd');
    const a = wordOf(ins.opRegister(0)) | (LANES[kind] << 8) | (root ? 0x1000 : 0);
    withSource(low, ins, 'floatApproximation', a, 1);
  };
}

const TRUNCATE = 0x1000;
const DOUBLES = 0x2000;

/** A conversion: number of lanes, and `TRUNCATE` or `DOUBLES` (`simd/convert.ts`). */
function convert(helper: InlineHelperName, lanes: number, flags: number): Lower {
  return (low, ins) => {
    low.spend('fpAdd');
    const to = ins.opRegister(0);
    const a = (isGeneral32(to) ? registerNumber(to) : wordOf(to)) | (lanes << 8) | flags;
    if (!isMemory(ins, 1) && isGeneral32(ins.opRegister(1))) {
      return low.inline(helper, a, registerNumber(ins.opRegister(1)), NO_MEMORY);
    }
    withSource(low, ins, helper, a, 1);
  };
}

const LIST: readonly (readonly [Mnemonic, Lower])[] = [
  ...INTEGER_NAMES.map(([mnemonic, helper]): readonly [Mnemonic, Lower] => [mnemonic, integers(helper)]),
  ...MULTIPLIES.map(([mnemonic, helper]): readonly [Mnemonic, Lower] => [mnemonic, integers(helper, 'fpAdd')]),
  ...[
    Mnemonic.Movaps,
    Mnemonic.Movapd,
    Mnemonic.Movups,
    Mnemonic.Movupd,
    Mnemonic.Movdqa,
    Mnemonic.Movdqu,
    Mnemonic.Movss,
    Mnemonic.Movq,
    Mnemonic.Movntps,
    Mnemonic.Movntpd,
    Mnemonic.Movntdq,
    Mnemonic.Movntq,
  ].map((mnemonic): readonly [Mnemonic, Lower] => [mnemonic, move]),
  [Mnemonic.Movlps, moveHalf(false)],
  [Mnemonic.Movlpd, moveHalf(false)],
  [Mnemonic.Movhps, moveHalf(true)],
  [Mnemonic.Movhpd, moveHalf(true)],
  [Mnemonic.Movhlps, moveAcross(0, 2)],
  [Mnemonic.Movlhps, moveAcross(2, 0)],
  [Mnemonic.Movq2dq, crossMove],
  [Mnemonic.Movdq2q, crossMove],
  [Mnemonic.Movd, movd],
  [Mnemonic.Movnti, moveNonTemporal],
  [Mnemonic.Clflush, flushLine],
  [Mnemonic.Pmovmskb, signMask(1)],
  [Mnemonic.Movmskps, signMask(4)],
  [Mnemonic.Movmskpd, signMask(8)],
  [Mnemonic.Pextrw, extractWord],
  [Mnemonic.Pinsrw, insertWord],
  [Mnemonic.Maskmovq, maskedStore],
  [Mnemonic.Maskmovdqu, maskedStore],
  [Mnemonic.Ldmxcsr, loadMxcsr],
  [Mnemonic.Stmxcsr, storeMxcsr],
  [
    Mnemonic.Emms,
    low => {
      low.spend('fpControl');
      low.inline('simdEmptyMmx');
    },
  ],
  [Mnemonic.Addps, float(Float.ADD, 'fpAdd', 'ps')],
  [Mnemonic.Addss, float(Float.ADD, 'fpAdd', 'ss')],
  [Mnemonic.Addpd, float(Float.ADD, 'fpAdd', 'pd')],
  [Mnemonic.Addsd, float(Float.ADD, 'fpAdd', 'sd')],
  [Mnemonic.Mulps, float(Float.MULTIPLY, 'fpMultiply', 'ps')],
  [Mnemonic.Mulss, float(Float.MULTIPLY, 'fpMultiply', 'ss')],
  [Mnemonic.Mulpd, float(Float.MULTIPLY, 'fpMultiply', 'pd')],
  [Mnemonic.Mulsd, float(Float.MULTIPLY, 'fpMultiply', 'sd')],
  [Mnemonic.Subps, float(Float.SUBTRACT, 'fpAdd', 'ps')],
  [Mnemonic.Subss, float(Float.SUBTRACT, 'fpAdd', 'ss')],
  [Mnemonic.Subpd, float(Float.SUBTRACT, 'fpAdd', 'pd')],
  [Mnemonic.Subsd, float(Float.SUBTRACT, 'fpAdd', 'sd')],
  [Mnemonic.Minps, float(Float.MINIMUM, 'fpAdd', 'ps')],
  [Mnemonic.Minss, float(Float.MINIMUM, 'fpAdd', 'ss')],
  [Mnemonic.Minpd, float(Float.MINIMUM, 'fpAdd', 'pd')],
  [Mnemonic.Minsd, float(Float.MINIMUM, 'fpAdd', 'sd')],
  [Mnemonic.Divps, float(Float.DIVIDE, 'fpDivide', 'ps')],
  [Mnemonic.Divss, float(Float.DIVIDE, 'fpDivide', 'ss')],
  [Mnemonic.Divpd, float(Float.DIVIDE, 'fpDivide', 'pd')],
  [Mnemonic.Divsd, float(Float.DIVIDE, 'fpDivide', 'sd')],
  [Mnemonic.Maxps, float(Float.MAXIMUM, 'fpAdd', 'ps')],
  [Mnemonic.Maxss, float(Float.MAXIMUM, 'fpAdd', 'ss')],
  [Mnemonic.Maxpd, float(Float.MAXIMUM, 'fpAdd', 'pd')],
  [Mnemonic.Maxsd, float(Float.MAXIMUM, 'fpAdd', 'sd')],
  [Mnemonic.Sqrtps, float(Float.SQRT, 'fpSquareRoot', 'ps')],
  [Mnemonic.Sqrtss, float(Float.SQRT, 'fpSquareRoot', 'ss')],
  [Mnemonic.Sqrtpd, float(Float.SQRT, 'fpSquareRoot', 'pd')],
  [Mnemonic.Sqrtsd, float(Float.SQRT, 'fpSquareRoot', 'sd')],
  [Mnemonic.Rcpps, approximation(false, 'ps')],
  [Mnemonic.Rcpss, approximation(false, 'ss')],
  [Mnemonic.Rsqrtps, approximation(true, 'ps')],
  [Mnemonic.Rsqrtss, approximation(true, 'ss')],
  [Mnemonic.Cmpps, compareLanes('ps')],
  [Mnemonic.Cmpss, compareLanes('ss')],
  [Mnemonic.Cmppd, compareLanes('pd')],
  [Mnemonic.Comiss, compareToFlags(0)],
  [Mnemonic.Comisd, compareToFlags(0x1000)],
  [Mnemonic.Ucomiss, compareToFlags(0x2000)],
  [Mnemonic.Ucomisd, compareToFlags(0x3000)],
  [Mnemonic.Cvtps2dq, convert('convertToWords', 4, 0)],
  [Mnemonic.Cvttps2dq, convert('convertToWords', 4, TRUNCATE)],
  [Mnemonic.Cvtpd2dq, convert('convertToWords', 2, DOUBLES)],
  [Mnemonic.Cvttpd2dq, convert('convertToWords', 2, DOUBLES | TRUNCATE)],
  [Mnemonic.Cvtps2pi, convert('convertToMmx', 2, 0)],
  [Mnemonic.Cvttps2pi, convert('convertToMmx', 2, TRUNCATE)],
  [Mnemonic.Cvtpd2pi, convert('convertToMmx', 2, DOUBLES)],
  [Mnemonic.Cvttpd2pi, convert('convertToMmx', 2, DOUBLES | TRUNCATE)],
  [Mnemonic.Cvtss2si, convert('convertToGeneral', 1, 0)],
  [Mnemonic.Cvttss2si, convert('convertToGeneral', 1, TRUNCATE)],
  [Mnemonic.Cvtsd2si, convert('convertToGeneral', 1, DOUBLES)],
  [Mnemonic.Cvttsd2si, convert('convertToGeneral', 1, DOUBLES | TRUNCATE)],
  [Mnemonic.Cvtdq2ps, convert('convertFromWords', 4, 0)],
  [Mnemonic.Cvtdq2pd, convert('convertFromWords', 2, DOUBLES)],
  [Mnemonic.Cvtpi2ps, convert('convertFromMmx', 2, 0)],
  [Mnemonic.Cvtpi2pd, convert('convertFromMmx', 2, DOUBLES)],
  [Mnemonic.Cvtsi2ss, convert('convertFromGeneral', 1, 0)],
  [Mnemonic.Cvtsi2sd, convert('convertFromGeneral', 1, DOUBLES)],
  [Mnemonic.Cvtps2pd, convert('convertSize', 2, 0)],
  [Mnemonic.Cvtpd2ps, convert('convertSize', 2, DOUBLES)],
  [Mnemonic.Cvtss2sd, convert('convertSize', 1, 0)],
  [Mnemonic.Cvtsd2ss, convert('convertSize', 1, DOUBLES)],
];

/** The table of mnemonics, extended: MOVSD and CMPSD name string instructions too. */
export function withSimd(table: Iterable<readonly [Mnemonic, Lower]>): ReadonlyMap<Mnemonic, Lower> {
  const result = new Map(table);
  for (const [mnemonic, lower] of LIST) result.set(mnemonic, lower);
  const vector = (ins: Instruction) => isXmm(ins.opRegister(0)) || (ins.opCount > 1 && isXmm(ins.opRegister(1)));
  const choose = (mnemonic: Mnemonic, simd: Lower) => {
    const string = result.get(mnemonic)!;
    result.set(mnemonic, (low, ins) => (vector(ins) ? simd(low, ins) : string(low, ins)));
  };
  choose(Mnemonic.Movsd, move);
  choose(Mnemonic.Cmpsd, compareLanes('sd'));
  return result;
}
