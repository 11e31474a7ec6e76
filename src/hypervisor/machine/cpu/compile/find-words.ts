/** What the parts of the search for a page (`find-page.ts`) share: parameters and locals, and questions that several of them ask. */
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
  /** What is stored, for those that store; else a word of theirs. */
  VALUE: 3,
  LINEAR: 4,
  PAGE: 5,
  PLACE: 6,
  /** `Pte.US` for CPL 3. */
  USER: 7,
  /** Bits that an entry and a line must have: USER, and for a write `Pte.D` and, where it counts, `Pte.RW`. */
  NEED: 8,
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

/** Behind so many parameters. */
export const findLocals = (parameters: number): readonly Local[] => [
  { count: F.AGES - parameters, type: Type.I32 },
  { count: 2, type: Type.V128 },
];

/** From `Pte.US` and from `Cr0.WP` to `Pte.RW`. */
const US_TO_RW = Math.clz32(Pte.RW) - Math.clz32(Pte.US);
const WP_TO_RW = Math.clz32(Pte.RW) - Math.clz32(Cr0.WP);

export class FindWords extends TlbWords {
  /** Depth of the block behind which an access is refused that is not for generated code; it has had no effect. */
  protected refused = 0;

  constructor(private readonly codeLinesAt: number) {
    super(2048);
  }

  /** Pops a condition; the access is refused where it holds. */
  refuseIf(): void {
    this.brIf(this.refused);
  }

  /** Pushes something other than 0 for a write. */
  writes(): void {
    this.w.get(F.PACKED);
    this.and(Access.WRITE);
  }

  /** USER and NEED. */
  need(): void {
    const { w } = this;
    // CPL 3 is the one whose successor has the bit.
    this.loadState(S.CPL);
    w.i32(1);
    this.add();
    this.and(Pte.US);
    w.tee(F.USER);
    w.set(F.NEED);
    this.writes();
    this.if();
    // Supervisor writes obey RW only with CR0.WP (SDM vol. 3, 4.6.1).
    w.get(F.USER);
    this.right(US_TO_RW);
    this.loadState(S.CR0);
    this.right(WP_TO_RW);
    this.or();
    this.and(Pte.RW);
    w.get(F.USER);
    this.or();
    w.i32(Pte.D);
    this.or();
    w.set(F.NEED);
    this.end();
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

  /** CODE, from PAGE and ADDEND. Refuses stores to lines with code, and so the walk for them. */
  leaveCode(): void {
    const { w } = this;
    w.get(F.PAGE);
    w.get(F.ADDEND);
    this.add();
    this.codeLines();
    w.set(F.CODE);
    this.writes();
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
    this.refuseIf();
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
