/** Cases of MMX, SSE and SSE2. Registers are MM1 or XMM1 (destination) and MM2 or XMM2 (source); memory is at [EDI]. */
import { Builder, type Case } from './cases.js';
import { type Ext, Random, randomDouble, randomSingle } from './values.js';

type Cases = Generator<Case, void, undefined>;

const REGISTERS = 0xca;
const MEMORY = 0x0f;
const hex = (code: readonly number[]) => code.map(byte => byte.toString(16).padStart(2, '0')).join(' ');

const EDGES = [
  0n,
  0xffffffffffffffffn,
  0x8000800080008000n,
  0x7fff7fff7fff7fffn,
  0x8000000080000000n,
  0x7f80ff0180007fffn,
  1n,
];

function quad(random: Random): bigint {
  const bits = (BigInt(random.word()) << 32n) | BigInt(random.word());
  return random.below(4) === 0 ? random.pick(EDGES) : random.below(3) === 0 ? bits & random.pick(EDGES) : bits;
}

/** MXCSR: as at reset, or with inexactness noted, or anything. */
function control(random: Random): number {
  const kind = random.below(4);
  if (kind === 0) return 0x1f80;
  if (kind === 1) return 0x1fa0;
  const modes = (random.below(4) << 13) | (random.below(4) === 0 ? 0x8000 : 0) | (random.below(4) === 0 ? 0x40 : 0);
  return modes | (random.below(3) === 0 ? random.below(64) << 7 : 0x1f80) | random.below(64);
}

/** A state with all MMX and XMM registers full; once in a while an x87 exception is pending. */
function state(random: Random, lane: () => bigint): Builder {
  const b = new Builder(random);
  if (random.below(30) === 0) {
    b.control = 0x340;
    b.status = 0x8081;
  }
  for (let i = 0; i < 8; i++) {
    const value: Ext = [random.word() & 0xffff, lane()];
    if (random.below(3) === 0) b.hidden(i, value);
    else b.stack(i, value);
  }
  for (let i = 0; i < 8; i++) b.xmm(i, lane(), lane());
  b.operand(lane() | (lane() << 64n), 16);
  b.mxcsr = control(random);
  return b;
}

/** [prefix or 0, opcode, with immediate] of instructions with a register and a register or memory. */
type Form = readonly [prefix: number, opcode: number, immediate: boolean];

const both = (opcodes: readonly number[], prefixes: readonly number[], immediate = false): Form[] =>
  prefixes.flatMap(prefix => opcodes.map((opcode): Form => [prefix, opcode, immediate]));
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

const INTEGER_FORMS: readonly Form[] = [
  ...both(
    [
      ...range(0x60, 0x6b),
      ...range(0x74, 0x76),
      ...range(0xd1, 0xd5),
      ...range(0xd8, 0xe5),
      ...range(0xe8, 0xef),
      ...range(0xf1, 0xf6),
      ...range(0xf8, 0xfe),
    ],
    [0, 0x66],
  ),
  ...both([0x6c, 0x6d], [0x66]),
  ...both([0x70], [0, 0x66, 0xf2, 0xf3], true),
  ...both([0xc6], [0, 0x66], true),
  ...both([0x14, 0x15, 0x54, 0x55, 0x56, 0x57], [0, 0x66]),
  // Moves to a register.
  ...both([0x10], [0, 0x66, 0xf2, 0xf3]),
  ...both([0x12, 0x16], [0]),
  ...both([0x28], [0, 0x66]),
  ...both([0x6f], [0, 0x66, 0xf3]),
  ...both([0x7e], [0xf3]),
];

/** Moves to memory or a register. */
const STORE_FORMS: readonly Form[] = [
  ...both([0x11], [0, 0x66, 0xf2, 0xf3]),
  ...both([0x29], [0, 0x66]),
  ...both([0x7f], [0, 0x66, 0xf3]),
  ...both([0xd6], [0x66]),
];

/** Forms of which only one side may be memory; ModRM bytes spelled out. */
const OTHER_FORMS: readonly (readonly number[])[] = [
  [0x0f, 0x12, 0xca],
  [0x0f, 0x16, 0xca],
  [0x66, 0x0f, 0x12, MEMORY],
  [0x66, 0x0f, 0x16, MEMORY],
  ...[0x13, 0x17, 0x2b].flatMap(opcode => [
    [0x0f, opcode, MEMORY],
    [0x66, 0x0f, opcode, MEMORY],
  ]),
  [0x0f, 0xe7, MEMORY],
  [0x66, 0x0f, 0xe7, MEMORY],
  [0x0f, 0xc3, MEMORY],
  [0xf3, 0x0f, 0xd6, REGISTERS],
  [0xf2, 0x0f, 0xd6, REGISTERS],
  ...[0x6e, 0x7e].flatMap(opcode => [
    [0x0f, opcode, REGISTERS],
    [0x0f, opcode, MEMORY],
    [0x66, 0x0f, opcode, REGISTERS],
    [0x66, 0x0f, opcode, MEMORY],
  ]),
  [0x0f, 0xd7, REGISTERS],
  [0x66, 0x0f, 0xd7, REGISTERS],
  [0x0f, 0x50, REGISTERS],
  [0x66, 0x0f, 0x50, REGISTERS],
  [0x0f, 0xf7, REGISTERS],
  [0x66, 0x0f, 0xf7, REGISTERS],
  [0x0f, 0x77],
  [0x0f, 0xae, 0x17],
  [0x0f, 0xae, 0x1f],
];

/** With an immediate byte behind them. */
const IMMEDIATE_FORMS: readonly (readonly number[])[] = [
  ...[0xd2, 0xe2, 0xf2].flatMap(modrm => [
    [0x0f, 0x71, modrm],
    [0x66, 0x0f, 0x71, modrm],
    [0x0f, 0x72, modrm],
    [0x66, 0x0f, 0x72, modrm],
  ]),
  ...[0xd2, 0xf2].flatMap(modrm => [
    [0x0f, 0x73, modrm],
    [0x66, 0x0f, 0x73, modrm],
  ]),
  [0x66, 0x0f, 0x73, 0xda],
  [0x66, 0x0f, 0x73, 0xfa],
  [0x0f, 0xc4, REGISTERS],
  [0x0f, 0xc4, MEMORY],
  [0x66, 0x0f, 0xc4, REGISTERS],
  [0x66, 0x0f, 0xc4, MEMORY],
  [0x0f, 0xc5, REGISTERS],
  [0x66, 0x0f, 0xc5, REGISTERS],
];

const bytesOf = ([prefix, opcode]: Form, modrm: number): number[] =>
  prefix === 0 ? [0x0f, opcode, modrm] : [prefix, 0x0f, opcode, modrm];

function* repeat(
  random: Random,
  code: readonly number[],
  times: number,
  lane: () => bigint,
  immediate?: () => number,
): Cases {
  for (let i = 0; i < times; i++) {
    const b = state(random, lane);
    const inMemory = (code.at(-1)! & 0xc0) === 0;
    // Addresses that are not multiples of 16 are refused or served.
    if (inMemory && random.below(4) === 0) {
      const operand = b.memory.slice(b.offset, b.offset + 16);
      b.offset += random.pick([1, 4, 8]);
      b.memory.set(operand, b.offset);
    }
    if (code.at(-2) === 0xae && random.below(2) === 0) b.operand(BigInt(random.word() & 0xffff), 4);
    const bytes = immediate === undefined ? code : [...code, immediate()];
    yield b.build(hex(bytes), bytes);
  }
}

export function* simdInteger(): Cases {
  const random = new Random(10);
  const lane = () => quad(random);
  /** Shift counts beyond the lanes' size are rare among random operands. */
  const small = () => (random.below(2) === 0 ? BigInt(random.below(70)) : quad(random));
  for (const form of INTEGER_FORMS) {
    const shift = (form[1] >= 0xd1 && form[1] <= 0xd3) || [0xe1, 0xe2, 0xf1, 0xf2, 0xf3].includes(form[1]);
    const immediate = form[2] ? () => random.below(256) : undefined;
    yield* repeat(random, bytesOf(form, REGISTERS), 14, shift ? small : lane, immediate);
    yield* repeat(random, bytesOf(form, MEMORY), 10, shift ? small : lane, immediate);
  }
  for (const form of STORE_FORMS) {
    yield* repeat(random, bytesOf(form, REGISTERS), 8, lane);
    yield* repeat(random, bytesOf(form, MEMORY), 14, lane);
  }
  for (const code of OTHER_FORMS) yield* repeat(random, code, 16, lane);
  for (const code of IMMEDIATE_FORMS) {
    yield* repeat(random, code, 16, lane, () => (random.below(2) === 0 ? random.below(20) : random.below(256)));
  }
}

const PREFIXES = [0, 0xf3, 0x66, 0xf2];

const FLOAT_FORMS: readonly Form[] = [
  ...both([0x51, 0x58, 0x59, 0x5a, 0x5c, 0x5d, 0x5e, 0x5f, 0x2a, 0x2c, 0x2d], PREFIXES),
  ...both([0xc2], PREFIXES, true),
  ...both([0x2e, 0x2f], [0, 0x66]),
  ...both([0x5b], [0, 0x66, 0xf3]),
  ...both([0xe6], [0x66, 0xf2, 0xf3]),
];

function floatLane(random: Random, form: Form): () => bigint {
  const singles = () => BigInt(randomSingle(random)) | (BigInt(randomSingle(random)) << 32n);
  const doubles = () => randomDouble(random);
  const narrow = form[0] === 0 || form[0] === 0xf3;
  const near = () => {
    // Integers and halves around the limits of 32 bits, in both formats.
    const value =
      random.pick([0.5, 1.5, 2.5, 2147483647, 2147483648, 2147483647.5, 123456.75, 0.25]) * random.pick([1, -1]);
    const view = new DataView(new ArrayBuffer(8));
    if (narrow) view.setFloat32(0, value, true);
    else view.setFloat64(0, value, true);
    const bits = view.getBigUint64(0, true);
    return narrow ? bits | (bits << 32n) : bits;
  };
  const words = [0x2c, 0x2d, 0x5b, 0xe6].includes(form[1]);
  const same = quad;
  return () => {
    if (words && random.below(3) === 0) return near();
    if (random.below(20) === 0) return same(random);
    return narrow ? singles() : doubles();
  };
}

export function* simdFloat(): Cases {
  const random = new Random(11);
  for (const form of FLOAT_FORMS) {
    const lane = floatLane(random, form);
    const immediate = form[2] ? () => random.below(8) : undefined;
    yield* repeat(random, bytesOf(form, REGISTERS), form[2] ? 200 : 150, lane, immediate);
    yield* repeat(random, bytesOf(form, MEMORY), 30, lane, immediate);
  }
}

/** RCP and RSQRT, whose results are approximations. */
export function* simdApproximation(): Cases {
  const random = new Random(12);
  for (const form of both([0x52, 0x53], [0, 0xf3])) {
    const lane = floatLane(random, form);
    yield* repeat(random, bytesOf(form, REGISTERS), 80, lane);
    yield* repeat(random, bytesOf(form, MEMORY), 20, lane);
  }
}
