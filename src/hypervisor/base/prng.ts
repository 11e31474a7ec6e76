/** Seeded pseudo-random numbers (xorshift128, Marsaglia 2003): the only randomness under `src/hypervisor`. */
export class Prng {
  #a: number;
  #b = 0x9e3779b9 | 0;
  #c = 0x243f6a88 | 0;
  #d = 0xb7e15162 | 0;

  constructor(readonly seed: number) {
    this.#a = seed | 0;
    for (let i = 0; i < 16; i++) this.u32();
  }

  /** Uniform over 0 .. 2^32-1. */
  u32(): number {
    const t = this.#a ^ (this.#a << 11);
    this.#a = this.#b;
    this.#b = this.#c;
    this.#c = this.#d;
    this.#d = this.#d ^ (this.#d >>> 19) ^ t ^ (t >>> 8);
    return this.#d >>> 0;
  }

  /** Uniform over 0 .. bound-1. */
  below(bound: number): number {
    return this.u32() % bound;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }
}
