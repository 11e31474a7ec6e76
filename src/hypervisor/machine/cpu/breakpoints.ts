/**
 * The debug registers at work (SDM vol. 3, 17.2 and 17.3): breakpoints on instructions, data and ports, and what DR6 says.
 *
 * Nothing of it is on the way of ordinary accesses. While DR7 enables any breakpoint, instructions are executed one at a time and
 * not by compiled code, and lines of watched pages have no access tags in the data TLB: each access there takes the slow path,
 * which asks `access`. Whether and what an access misses is not changed by it.
 */
import type { Core } from './core.js';
import { Cr0, Cr4, Flag, S, Seg, segBase } from './state.js';

export const Dr6 = { HITS: 0xf, BD: 1 << 13, BS: 1 << 14, BT: 1 << 15 } as const;
export const Dr7 = { LOCAL: 0x55, ENABLES: 0xff, GD: 1 << 13 } as const;

/** The R/W field of a breakpoint. */
const Kind = { CODE: 0, WRITE: 1, PORT: 2, READ_WRITE: 3 } as const;
/** `S.INTERRUPT_SHADOW` after MOV SS and POP SS, which hold debug traps off as well; after STI it is 1. */
export const STACK_SHADOW = 2;

/** Bytes by LEN field. The third is 8 on processors of this kind (SDM vol. 3, 17.2.5). */
const BYTES = [1, 2, 8, 4];

export class Breakpoints {
  /** DR7 enables any breakpoint. */
  active = false;
  /** DR6 bits of data and port breakpoints that the running instruction has met. */
  hits = 0;
  /**
   * A trap is due before the first instruction of the task just switched to: it asks for one (SDM vol. 3, 17.3.1.5), or the instruction that
   * has switched was stepped. DR6 says so already.
   */
  taskTrap = false;
  /** The debug registers as they were last looked at: DR0..DR3, DR7, and CR4. */
  readonly #seen = new Int32Array(6);

  /** Takes notice of the debug registers, after anything that may have changed them. */
  update(cpu: Core): void {
    const s = cpu.s;
    if (!this.active && (s[S.DR7]! & Dr7.ENABLES) === 0) return;
    const seen = this.#seen;
    const before = seen.join();
    for (let i = 0; i < 4; i++) seen[i] = s[S.DR0 + i]!;
    seen[4] = s[S.DR7]!;
    seen[5] = s[S.CR4]!;
    if (before === seen.join()) return;
    this.active = (s[S.DR7]! & Dr7.ENABLES) !== 0;
    const pages: number[] = [];
    for (let i = 0; i < 4; i++) {
      if (this.#enabled(i) && (this.#kind(i) & 1) !== 0) pages.push(s[S.DR0 + i]! & -4096);
    }
    cpu.tlb.watch(pages, (s[S.CR0]! & Cr0.WP) !== 0);
  }

  #enabled(i: number): boolean {
    return ((this.#seen[4]! >>> (2 * i)) & 3) !== 0;
  }

  #kind(i: number): number {
    return (this.#seen[4]! >>> (16 + 4 * i)) & 3;
  }

  #matches(i: number, first: number, size: number): boolean {
    const bytes = BYTES[(this.#seen[4]! >>> (18 + 4 * i)) & 3]!;
    const low = (this.#seen[i]! & -bytes) >>> 0;
    return low < first + size && first < low + bytes;
  }

  /** Of an access to linear memory. */
  access(linear: number, size: number, write: boolean): void {
    for (let i = 0; i < 4; i++) {
      const kind = this.#kind(i);
      if (!this.#enabled(i) || (kind !== Kind.READ_WRITE && !(kind === Kind.WRITE && write))) continue;
      if (this.#matches(i, linear >>> 0, size)) this.hits |= 1 << i;
    }
  }

  /** Of an access to a port; only with CR4.DE. */
  port(port: number, size: number): void {
    if ((this.#seen[5]! & Cr4.DE) === 0) return;
    for (let i = 0; i < 4; i++) {
      if (this.#enabled(i) && this.#kind(i) === Kind.PORT && this.#matches(i, port, size)) this.hits |= 1 << i;
    }
  }

  /**
   * Before the instruction at EIP: true if a breakpoint there is met, which DR6 then says; the caller delivers #DB as a fault.
   * RF suppresses it and is used up (SDM vol. 3, 17.3.1.1), MOV SS before it suppresses it too (6.8.3).
   */
  stopsAt(cpu: Core): boolean {
    const s = cpu.s;
    if ((s[S.EFLAGS]! & Flag.RF) !== 0) {
      s[S.EFLAGS] = s[S.EFLAGS]! & ~Flag.RF;
      return false;
    }
    if (s[S.INTERRUPT_SHADOW] === STACK_SHADOW) return false;
    const linear = (s[S.EIP]! + s[segBase(Seg.CS)]!) | 0;
    let bits = 0;
    for (let i = 0; i < 4; i++) {
      if (this.#enabled(i) && this.#kind(i) === Kind.CODE && this.#seen[i] === linear) bits |= 1 << i;
    }
    if (bits !== 0) s[S.DR6] = (s[S.DR6]! & ~Dr6.HITS) | bits;
    return bits !== 0;
  }

  /**
   * After an instruction that began with TF set (`step`) or that met a breakpoint: true if #DB is due now, which DR6 then says. After
   * MOV SS it is put off until the next instruction is done (a single step is lost, as on hardware).
   */
  afterInstruction(cpu: Core, step: boolean): boolean {
    const s = cpu.s;
    if (s[S.INTERRUPT_SHADOW] === STACK_SHADOW) return false;
    if (this.hits !== 0) s[S.DR6] = (s[S.DR6]! & ~Dr6.HITS) | this.hits;
    this.hits = 0;
    if (step) s[S.DR6] = s[S.DR6]! | Dr6.BS;
    return true;
  }
}
