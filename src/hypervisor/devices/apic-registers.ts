/** Registers of a local APIC, as numbers (SDM vol. 3, chapter "Advanced Programmable Interrupt Controller"), and the sets of vectors that three of them show. */

/** Offsets of registers, each a double word. */
export const ApicRegister = {
  ID: 0x20,
  VERSION: 0x30,
  TPR: 0x80,
  APR: 0x90,
  PPR: 0xa0,
  EOI: 0xb0,
  LDR: 0xd0,
  DFR: 0xe0,
  SVR: 0xf0,
  ISR: 0x100,
  TMR: 0x180,
  IRR: 0x200,
  ESR: 0x280,
  ICR_LOW: 0x300,
  ICR_HIGH: 0x310,
  LVT_TIMER: 0x320,
  LVT_THERMAL: 0x330,
  LVT_PERFORMANCE: 0x340,
  LVT_LINT0: 0x350,
  LVT_LINT1: 0x360,
  LVT_ERROR: 0x370,
  INITIAL_COUNT: 0x380,
  CURRENT_COUNT: 0x390,
  DIVIDE: 0x3e0,
} as const;
const R = ApicRegister;

/** Of a Pentium 4 and later. */
export const APIC_VERSION = 0x14;
export const LVT_MASKED = 0x10000;
export const LVT_PERIODIC = 0x20000;
export const LVT_LEVEL = 0x8000;
/** Read-only: a level has been accepted and not ended. */
export const LVT_REMOTE_IRR = 0x4000;
export const MODE_MASK = 0x700;
export const ApicMode = { FIXED: 0x000, LOWEST: 0x100, NMI: 0x400, EXT_INT: 0x700 } as const;
/** Bits of each entry that can be written. */
export const LVT: ReadonlyMap<number, number> = new Map([
  [R.LVT_TIMER, 0x300ff],
  [R.LVT_THERMAL, 0x107ff],
  [R.LVT_PERFORMANCE, 0x107ff],
  [R.LVT_LINT0, 0x1a7ff],
  [R.LVT_LINT1, 0x1a7ff],
  [R.LVT_ERROR, 0x100ff],
]);

/** 256 bits, by vector. */
export class VectorSet {
  readonly words = new Uint32Array(8);

  has(vector: number): boolean {
    return ((this.words[vector >>> 5]! >>> (vector & 31)) & 1) !== 0;
  }

  add(vector: number): void {
    this.words[vector >>> 5]! |= 1 << (vector & 31);
  }

  delete(vector: number): void {
    this.words[vector >>> 5]! &= ~(1 << (vector & 31));
  }

  clear(): void {
    this.words.fill(0);
  }

  /** -1 for the empty set. */
  get highest(): number {
    for (let word = 7; word >= 0; word--) {
      const bits = this.words[word]!;
      if (bits !== 0) return word * 32 + 31 - Math.clz32(bits);
    }
    return -1;
  }
}
