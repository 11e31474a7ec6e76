/** Operands that are interesting, and a generator of others. */

/** Deterministic 32-bit numbers (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** 0 .. 2^32 - 1. */
  word(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  }

  below(limit: number): number {
    return this.word() % limit;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

/** Sign and exponent, then the significand. */
export type Ext = readonly [se: number, significand: bigint];

const TOP = 1n << 63n;

/** Both signs of each are used. */
const POSITIVE: readonly Ext[] = [
  [0, 0n],
  [0x3fff, TOP],
  [0x3fff, 0xc000000000000000n],
  [0x4000, 0xc90fdaa22168c235n],
  [0x3ffb, 0xcccccccccccccccdn],
  [0x3ffe, TOP],
  [0x4000, 0xa000000000000000n],
  [0x3fff, 0xffffffffffffffffn],
  [0x3fff, TOP + 1n],
  [1, TOP],
  [0x7ffe, 0xffffffffffffffffn],
  [0, 1n],
  [0, 0x7fffffffffffffffn],
  [0, 0x0000123456789abcn],
  [0, TOP],
  [0, 0xc000000000000001n],
  [0x7fff, TOP],
  [0x7fff, 0xc000000000000000n],
  [0x7fff, 0xc000000000000123n],
  [0x7fff, 0x8000000000000001n],
  [0x7fff, 0xa000000000000123n],
  [0x7fff, 0n],
  [0x7fff, 0x4000000000000000n],
  [0x4005, 0x4000000000000000n],
  [0x403e, TOP],
  [0x403d, 0xffffffffffffffffn],
  [0x403e, 0xffffffffffffffffn],
  [0x401e, TOP],
  [0x401d, 0xffffffff00000000n],
  [0x401d, 0xfffffffe00000000n],
  [0x400d, 0xffff000000000000n],
  [0x400e, TOP],
  [0x400d, 0xfffe000000000000n],
  [0x403a, 0xde0b6b3a763fffe0n],
  [0x403a, 0xde0b6b3a76400000n],
  [0x43fe, 0xfffffffffffff800n],
  [0x43fe, 0xfffffffffffffc00n],
  [0x3c00, TOP],
  [0x3bff, 0xffffffffffffffffn],
  [0x3bce, TOP],
  [0x3bcd, TOP],
  [0x3bcd, TOP + 1n],
  [0x407e, 0xffffff0000000000n],
  [0x407e, 0xffffff8000000000n],
  [0x3f81, TOP],
  [0x3f80, 0xffffffffffffffffn],
  [0x3f6a, TOP],
  [0x3f69, TOP],
  [0x3fc0, 0x9249249249249249n],
  [0x4037, 0x9249249249249249n],
];

export const EXTENDED: readonly Ext[] = POSITIVE.flatMap(([se, significand]): Ext[] => [
  [se, significand],
  [se | 0x8000, significand],
]);

export function randomExtended(random: Random): Ext {
  const sign = random.below(2) << 15;
  const significand = TOP | (BigInt(random.word()) << 32n) | BigInt(random.word());
  switch (random.below(6)) {
    case 0:
      return [sign | random.below(0x7fff), significand];
    case 1:
      return [sign | (0x3fff + random.below(70) - 35), significand];
    case 2:
      return [sign | (0x3fff + random.below(8) - 4), significand & (0xffffffffn << 32n)];
    case 3:
      return [sign | (0x3fff + random.below(130) - 65), significand & (0x7ffn << 53n)];
    case 4:
      return [sign | (0x3c01 + random.below(40) - 60), significand];
    default:
      return random.pick(EXTENDED);
  }
}

export const SINGLES: readonly number[] = [
  0, 0x3f800000, 0x3fc00000, 0x40490fdb, 0x3dcccccd, 0x00800000, 0x7f7fffff, 1, 0x007fffff, 0x00000123, 0x7f800000,
  0x7fc00000, 0x7fc00123, 0x7f800001, 0x7fa00123, 0x4b000001, 0x4effffff, 0x4f000000, 0x3f7fffff, 0x3f800001,
  0x4b800001, 0x3effffff, 0x40200000, 0x1f800000, 0x5f800000, 0x20000001, 0x00800001,
].flatMap(bits => [bits, (bits | 0x80000000) >>> 0]);

export const DOUBLES: readonly bigint[] = [
  0n,
  0x3ff0000000000000n,
  0x3ff8000000000000n,
  0x400921fb54442d18n,
  0x3fb999999999999an,
  0x0010000000000000n,
  0x7fefffffffffffffn,
  1n,
  0x000fffffffffffffn,
  0x0000123400000000n,
  0x7ff0000000000000n,
  0x7ff8000000000000n,
  0x7ff8000000000123n,
  0x7ff0000000000001n,
  0x7ff4000000000123n,
  0x41dfffffffc00000n,
  0x41dfffffffe00000n,
  0x41e0000000000000n,
  0x3fefffffffffffffn,
  0x3ff0000000000001n,
  0x47efffffe0000000n,
  0x47efffffefffffffn,
  0x47effffff0000000n,
  0x3810000000000000n,
  0x380fffffffffffffn,
  0x380fffffe0000000n,
  0x36a0000000000000n,
  0x3690000000000000n,
  0x4004000000000000n,
  0x2000000000000001n,
  0x5ff0000000000000n,
  0x0010000000000001n,
  0x4330000000000001n,
  0x3ff0000010000000n,
  0x3ff0000030000000n,
].flatMap(bits => [bits, bits | (1n << 63n)]);

export function randomSingle(random: Random): number {
  switch (random.below(4)) {
    case 0:
      return random.word();
    case 1:
      return (random.pick([0, 0x80000000]) | ((127 + random.below(40) - 20) << 23) | (random.word() & 0x7fffff)) >>> 0;
    case 2:
      return (random.pick([0, 0x80000000]) | ((64 + random.below(5) - 2) << 23) | (random.word() & 0x7fffff)) >>> 0;
    default:
      return random.pick(SINGLES);
  }
}

export function randomDouble(random: Random): bigint {
  const sign = BigInt(random.below(2)) << 63n;
  const fraction = (BigInt(random.word() & 0xfffff) << 32n) | BigInt(random.word());
  switch (random.below(5)) {
    case 0:
      return (BigInt(random.word()) << 32n) | BigInt(random.word());
    case 1:
      return sign | (BigInt(1023 + random.below(60) - 30) << 52n) | fraction;
    case 2:
      return sign | (BigInt(512 + random.below(5) - 2) << 52n) | fraction;
    case 3:
      return sign | (BigInt(897 + random.below(30) - 24) << 52n) | fraction;
    default:
      return random.pick(DOUBLES);
  }
}
