/**
 * The cases that a real processor has been asked (`record.ts`) and the machine is asked (`recorded.test.ts`): one instruction, a state
 * and a memory operand each. Everything follows from seeds, so only the answers are kept.
 */
import { EXTENDED, type Ext, Random, randomExtended } from './values.js';

export const MEMORY_BYTES = 512;

export interface Case {
  readonly name: string;
  readonly code: readonly number[];
  /** EAX, ECX, EDX, EBX. */
  readonly regs: readonly number[];
  readonly eflags: number;
  /** Offset of EDI in the memory. */
  readonly offset: number;
  readonly fx: Uint8Array;
  readonly memory: Uint8Array;
}

/** Builds one case. */
export class Builder {
  readonly fx = new Uint8Array(512);
  readonly memory = new Uint8Array(MEMORY_BYTES);
  readonly #image = new DataView(this.fx.buffer);
  readonly #operand = new DataView(this.memory.buffer);
  regs: number[] = [0, 0, 0, 0];
  eflags = 0;
  offset = 64;
  #top = 0;

  constructor(readonly random: Random) {
    for (let i = 0; i < MEMORY_BYTES; i += 4) this.#operand.setUint32(i, random.word(), true);
    for (let i = 160; i < 288; i += 4) this.#image.setUint32(i, random.word(), true);
    this.regs = [random.word(), random.word(), random.word(), random.word()];
    this.eflags = random.word() & 0x8d5;
    this.control = 0x37f;
    this.mxcsr = 0x1f80;
    this.#top = random.below(8);
    this.status = random.word() & 0x4700;
    this.fx[4] = 0;
  }

  set control(value: number) {
    this.#image.setUint16(0, value, true);
  }

  set mxcsr(value: number) {
    this.#image.setUint32(24, value, true);
  }

  /** Without TOP. */
  set status(value: number) {
    this.#image.setUint16(2, value | (this.#top << 11), true);
  }

  /** Gives ST(i) a value. */
  stack(i: number, [se, significand]: Ext): this {
    this.fx[4] = this.fx[4]! | (1 << ((this.#top + i) & 7));
    return this.hidden(i, [se, significand]);
  }

  /** Bits of a register that stays empty. */
  hidden(i: number, [se, significand]: Ext): this {
    this.#image.setBigUint64(32 + i * 16, significand, true);
    this.#image.setUint16(40 + i * 16, se, true);
    return this;
  }

  xmm(i: number, low: bigint, high: bigint): this {
    this.#image.setBigUint64(160 + i * 16, low, true);
    this.#image.setBigUint64(168 + i * 16, high, true);
    return this;
  }

  operand(value: bigint, bytes: number, at = 0): this {
    for (let i = 0; i < bytes; i++) this.memory[this.offset + at + i] = Number((value >> BigInt(8 * i)) & 0xffn);
    return this;
  }

  build(name: string, code: readonly number[]): Case {
    const { regs, eflags, offset, fx, memory } = this;
    return { name, code, regs, eflags, offset, fx, memory };
  }
}

/** Control words: nearest with everything masked most often. */
export function randomControl(random: Random): number {
  const rounding = random.below(4) << 10;
  const precision = random.pick([0x300, 0x300, 0x200, 0x000]);
  const masks = random.below(3) === 0 ? random.below(64) : 0x3f;
  return 0x40 | rounding | precision | masks;
}

const hex = (code: readonly number[]) => code.map(byte => byte.toString(16).padStart(2, '0')).join(' ');

type Generator_ = Generator<Case, void, undefined>;

/** [mnemonic, bytes] of instructions of ST(0) and ST(i). */
const PAIRS: readonly (readonly [string, number, number])[] = [
  ['fadd st, st1', 0xd8, 0xc1],
  ['fmul st, st1', 0xd8, 0xc9],
  ['fsub st, st1', 0xd8, 0xe1],
  ['fsubr st, st1', 0xd8, 0xe9],
  ['fdiv st, st1', 0xd8, 0xf1],
  ['fdivr st, st1', 0xd8, 0xf9],
];

export function* dyadic(): Generator_ {
  const random = new Random(1);
  for (const [name, first, second] of PAIRS) {
    const all = name.startsWith('fsubr') || name.startsWith('fdivr') ? [] : EXTENDED;
    for (const x of all) {
      for (const y of EXTENDED) {
        if (random.below(3) !== 0) continue;
        const b = new Builder(random).stack(0, x).stack(1, y);
        if (random.below(3) === 0) b.control = randomControl(random);
        yield b.build(`${name} ${show(x)} ${show(y)}`, [first, second]);
      }
    }
    for (let i = 0; i < 500; i++) {
      const x = randomExtended(random);
      let y = randomExtended(random);
      // Near misses: cancellation, and exponents that differ by about the significand's length.
      if (random.below(3) === 0) y = [(x[0] & 0x7fff) ^ (random.below(2) << 15), x[1] ^ BigInt(random.below(16))];
      const b = new Builder(random).stack(0, x).stack(1, y);
      b.control = randomControl(random);
      yield b.build(`${name} ${show(x)} ${show(y)}`, [first, second]);
    }
  }
}

const show = ([se, significand]: Ext): string => `${se.toString(16)}:${significand.toString(16)}`;

/** All other forms that work on the stack alone; register bytes D8..DF with a ModRM byte of C0 and above. */
const STACK_FORMS: readonly (readonly [number, number, number])[] = [
  // first byte, first ModRM, last ModRM
  [0xd8, 0xc0, 0xff],
  [0xd9, 0xc0, 0xcf],
  [0xd9, 0xd0, 0xd0],
  [0xd9, 0xd8, 0xdf],
  [0xd9, 0xe0, 0xe1],
  [0xd9, 0xe4, 0xe5],
  [0xd9, 0xe8, 0xee],
  [0xd9, 0xf4, 0xf8],
  [0xd9, 0xfa, 0xfa],
  [0xd9, 0xfc, 0xfd],
  [0xda, 0xc0, 0xdf],
  [0xda, 0xe9, 0xe9],
  [0xdb, 0xc0, 0xdf],
  [0xdb, 0xe2, 0xe3],
  [0xdb, 0xe8, 0xf7],
  [0xdc, 0xc0, 0xff],
  [0xdd, 0xc0, 0xc7],
  [0xdd, 0xd0, 0xef],
  [0xde, 0xc0, 0xcf],
  [0xde, 0xd9, 0xd9],
  [0xde, 0xe0, 0xff],
  [0xdf, 0xc0, 0xc7],
  [0xdf, 0xd0, 0xdf],
  [0xdf, 0xe0, 0xe0],
  [0xdf, 0xe8, 0xf7],
];

/** Registers of which some are empty. */
function partlyFilled(random: Random): Builder {
  const b = new Builder(random);
  const empties = random.below(3) === 0;
  for (let i = 0; i < 8; i++) {
    const value = random.below(4) === 0 ? random.pick(EXTENDED) : randomExtended(random);
    if (empties ? random.below(2) === 0 : i < 6) b.stack(i, value);
    else b.hidden(i, value);
  }
  return b;
}

export function* stackForms(): Generator_ {
  const random = new Random(2);
  for (const [first, from, to] of STACK_FORMS) {
    for (let modrm = from; modrm <= to; modrm++) {
      const single = from === to || first === 0xd9;
      for (let i = 0; i < (single && modrm !== 0xd0 ? 100 : 14); i++) {
        const b = partlyFilled(random);
        if (random.below(2) === 0) b.control = randomControl(random);
        // FXTRACT, FPREM and FSCALE more often with a free register and two operands.
        const code = [first, modrm];
        yield b.build(hex(code), code);
      }
    }
  }
  // FPREM, FPREM1, FSCALE: pairs whose exponents are near, and far.
  for (const modrm of [0xf5, 0xf8, 0xfd]) {
    for (let i = 0; i < 500; i++) {
      const y = randomExtended(random);
      let x = randomExtended(random);
      if (random.below(2) === 0)
        x = [Math.min(0x7ffe, Math.max(1, (y[0] & 0x7fff) + random.below(200) - 20)), x[1] | (1n << 63n)];
      if (modrm === 0xfd && random.below(2) === 0) {
        yield scaleCase(random, x);
        continue;
      }
      const b = new Builder(random).stack(0, x).stack(1, y);
      b.control = randomControl(random);
      yield b.build(`${hex([0xd9, modrm])} ${show(x)} ${show(y)}`, [0xd9, modrm]);
    }
  }
}

/** FSCALE with a power that matters. */
function scaleCase(random: Random, x: Ext): Case {
  const power = 0x3fff + random.below(17);
  const y: Ext = [power | (random.below(2) << 15), (1n << 63n) | (BigInt(random.word()) << 31n)];
  const b = new Builder(random).stack(0, x).stack(1, y);
  b.control = randomControl(random);
  return b.build(`fscale ${show(x)} ${show(y)}`, [0xd9, 0xfd]);
}

const MEMORY_FORMS: readonly (readonly [number, number])[] = [0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf].flatMap(
  first => [0, 1, 2, 3, 4, 5, 6, 7].map(reg => [first, reg] as const),
);
/** No instructions, or images of which parts are addresses: those have cases of their own. */
const NOT_HERE = new Set(['d9/1', 'd9/4', 'd9/6', 'db/4', 'db/6', 'dd/4', 'dd/5', 'dd/6']);

export function* memoryForms(random: Random, single: () => number, double: () => bigint): Generator_ {
  for (const [first, reg] of MEMORY_FORMS) {
    if (NOT_HERE.has(`${first.toString(16)}/${reg}`)) continue;
    const code = [first, (reg << 3) | 7];
    for (let i = 0; i < 160; i++) {
      const b = partlyFilled(random);
      if (random.below(2) === 0) b.control = randomControl(random);
      operandFor(b, first, reg, single, double);
      yield b.build(hex(code), code);
    }
  }
}

function operandFor(b: Builder, first: number, reg: number, single: () => number, double: () => bigint): void {
  const { random } = b;
  if (first === 0xd8 || (first === 0xd9 && reg < 4)) b.operand(BigInt(single()), 4);
  else if (first === 0xdc || (first === 0xdd && reg < 4)) b.operand(double(), 8);
  else if (first === 0xdb && reg >= 5) {
    const [se, significand] = random.pick(EXTENDED);
    b.operand((BigInt(se) << 64n) | significand, 10);
  } else if (first === 0xdf && reg === 4) {
    let digits = 0n;
    for (let i = 0; i < 18; i++) digits = (digits << 4n) | BigInt(random.below(10));
    b.operand(digits | (BigInt(random.pick([0, 0x80])) << 72n), 10);
  } else if (random.below(3) === 0) {
    b.operand(BigInt(random.pick([0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0x8000, 0x7fff])), 4);
  }
}

/** FLDENV, FRSTOR, FXRSTOR: addresses in the image are zero, since a 64-bit processor keeps them otherwise. */
export function* images(): Generator_ {
  const random = new Random(4);
  for (const prefix of [[], [0x66]]) {
    const step = prefix.length === 0 ? 4 : 2;
    for (const [first, reg] of [
      [0xd9, 4],
      [0xdd, 4],
      [0xd9, 6],
      [0xdd, 6],
    ] as const) {
      const code = [...prefix, first, (reg << 3) | 7];
      for (let i = 0; i < 60; i++) {
        const b = partlyFilled(random);
        b.control = randomControl(random);
        const environment = step * 7;
        for (let k = 0; k < environment; k++) b.operand(0n, 1, k);
        b.operand(BigInt(randomControl(random)), 2);
        b.operand(BigInt(random.word() & 0x7fff), 2, step);
        b.operand(BigInt(random.word() & 0xffff), 2, step * 2);
        for (let k = 0; k < 8; k++) {
          const [se, significand] = random.pick(EXTENDED);
          b.operand((BigInt(se) << 64n) | significand, 10, environment + k * 10);
        }
        yield b.build(hex(code), code);
      }
    }
  }
  for (const reg of [0, 1]) {
    const code = [0x0f, 0xae, (reg << 3) | 7];
    for (let i = 0; i < 60; i++) {
      const b = partlyFilled(random);
      b.control = randomControl(random);
      if (random.below(8) === 0) b.offset += 4;
      const other = partlyFilled(random);
      other.mxcsr = random.below(6) === 0 ? 0x10000 | random.word() : random.word() & 0xffff;
      if (reg === 1) b.memory.set(other.fx.subarray(0, MEMORY_BYTES - b.offset), b.offset);
      yield b.build(hex(code), code);
    }
  }
}

const TRANSCENDENTAL = [0xf0, 0xf1, 0xf2, 0xf3, 0xf9, 0xfb, 0xfe, 0xff];

/** FSIN to FYL2XP1, with arguments for which the manual promises something. */
export function* transcendental(): Generator_ {
  const random = new Random(5);
  for (const modrm of TRANSCENDENTAL) {
    for (let i = 0; i < 500; i++) {
      let x = i < EXTENDED.length ? EXTENDED[i]! : randomExtended(random);
      const y = random.below(6) === 0 ? random.pick(EXTENDED) : randomExtended(random);
      if (i >= EXTENDED.length && random.below(3) !== 0) {
        x = [(x[0] & 0x8000) | (0x3fff + random.below(12) - 8), x[1] | (1n << 63n)];
      }
      const magnitude = x[0] & 0x7fff;
      if (modrm === 0xf0 && magnitude >= 0x3fff && magnitude < 0x7fff) x = [(x[0] & 0x8000) | 0x3ffe, x[1]];
      if (modrm === 0xf9 && magnitude >= 0x3ffd && magnitude < 0x7fff) x = [(x[0] & 0x8000) | 0x3ffc, x[1]];
      const b = new Builder(random).stack(0, x).stack(1, y);
      yield b.build(`${hex([0xd9, modrm])} ${show(x)} ${show(y)}`, [0xd9, modrm]);
    }
  }
}
