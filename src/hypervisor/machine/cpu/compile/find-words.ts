/** What the parts of `find` (`find-page.ts`) share: its parameters and locals, and questions that several of them ask. */
import { CODE_LINE_SHIFT } from '../../memory.js';
import { Pte } from '../../mmu/walk.js';
import { Cr0, S } from '../state.js';
import { Access } from './emit-memory.js';
import { TlbWords } from './tlb-words.js';
import { type Local, Type, W } from './wasm-writer.js';

/** Parameters, then words, then vectors. */
export const F = {
  CPU: 0,
  EA: 1,
  PACKED: 2,
  LINEAR: 3,
  PAGE: 4,
  PLACE: 5,
  /** `Pte.RW` for a write. */
  WRITE: 6,
  /** Bits that an entry and a line must have: `Pte.US` for CPL 3; `Pte.D`, and `Pte.RW` where it counts, for a write. */
  NEED: 7,
  CR0: 8,
  /** Addresses of the set and of the line, less where the sets begin; LINE is 0 while the page is in none. */
  SET: 9,
  LINE: 10,
  PDE_AT: 11,
  PDE: 12,
  PTE_AT: 13,
  PTE: 14,
  /** What both levels allow. */
  RIGHTS: 15,
  /** Physical page. */
  PHYSICAL: 16,
  INFO: 17,
  ADDEND: 18,
  /** Bits of the lines of the page that hold code. */
  CODE: 19,
  X: 20,
  OLD_PLACE: 21,
  FILL: 22,
  AGES: 23,
  OLDEST: 24,
} as const;

export const FIND_LOCALS: readonly Local[] = [
  { count: F.AGES - F.LINEAR, type: Type.I32 },
  { count: 2, type: Type.V128 },
];

/** From `Access.WRITE` to `Pte.RW`, from `Pte.RW` to `Pte.D`, from `Pte.US` to `Pte.RW`, from `Cr0.WP` to `Pte.RW`. */
const WRITE_TO_RW = Math.clz32(Pte.RW) - Math.clz32(Access.WRITE);
const RW_TO_D = Math.clz32(Pte.RW) - Math.clz32(Pte.D);
const US_TO_RW = Math.clz32(Pte.RW) - Math.clz32(Pte.US);
const WP_TO_RW = Math.clz32(Pte.RW) - Math.clz32(Cr0.WP);

export class FindWords extends TlbWords {
  constructor(private readonly codeLinesAt: number) {
    super(2048);
  }

  /** WRITE, NEED and CR0. */
  need(): void {
    const { w } = this;
    this.loadState(S.CR0);
    w.set(F.CR0);
    w.get(F.PACKED);
    this.right(WRITE_TO_RW);
    this.and(Pte.RW);
    w.set(F.WRITE);
    // CPL 3 is the one whose successor has the bit.
    this.loadState(S.CPL);
    w.i32(1);
    this.add();
    this.and(Pte.US);
    w.tee(F.NEED);
    w.get(F.NEED);
    this.right(US_TO_RW);
    // Supervisor writes obey RW only with CR0.WP (SDM vol. 3, 4.6.1).
    w.get(F.CR0);
    this.right(WP_TO_RW);
    this.or();
    w.get(F.WRITE);
    w.op(W.I32_AND);
    this.or();
    w.get(F.WRITE);
    this.left(RW_TO_D);
    this.or();
    w.set(F.NEED);
  }

  /** Pops what an entry or line has, and pushes those of its bits that it lacks of NEED and `more`. */
  lacks(more = 0): void {
    const { w } = this;
    w.i32(-1);
    w.op(W.I32_XOR);
    w.get(F.NEED);
    if (more !== 0) {
      w.i32(more);
      this.or();
    }
    w.op(W.I32_AND);
  }

  /** CODE, from PAGE and ADDEND. Stores to lines with code are for TypeScript, and so is the walk for them. */
  leaveCode(): void {
    const { w } = this;
    w.get(F.PAGE);
    w.get(F.ADDEND);
    this.add();
    this.codeLines();
    w.set(F.CODE);
    w.get(F.WRITE);
    this.if();
    w.get(F.CODE);
    this.if();
    // An operand is in one line or in two neighbours.
    const bit = (push: () => void) => {
      w.i32(1);
      push();
      this.right(CODE_LINE_SHIFT);
      w.op(W.I32_SHL);
    };
    bit(() => w.get(F.LINEAR));
    bit(() => {
      w.get(F.LINEAR);
      w.get(F.PACKED);
      this.right(4);
      this.and(15);
      this.add();
      w.i32(1);
      w.op(W.I32_SUB);
    });
    this.or();
    w.get(F.CODE);
    w.op(W.I32_AND);
    this.answerIf(0);
    this.end();
    this.end();
  }

  /** Pops a machine address and pushes the word of its page in `MachineMemory.codeLines`. */
  codeLines(): void {
    this.right(12);
    this.left(2);
    this.w.memory(W.I32_LOAD, this.codeLinesAt, 2);
  }
}
