/** The part of `find-page.ts` that walks: `PageWalker.walk` in generated code, and what a miss costs. */
import { LARGE_AT, TlbInfo } from '../../mmu/tlb.js';
import { Pte } from '../../mmu/walk.js';
import {
  CLOCK_AT,
  CYCLES,
  FAULT_CODE,
  FAULT_VECTOR,
  LIMIT,
  MISS_COST,
  MISS_CYCLES,
  MISSES,
  PHYSICAL_BASE,
  PHYSICAL_BYTES,
  STATUS,
  TLB_AT,
} from '../layout.js';
import { Cr4, S, Vector } from '../state.js';
import { Access } from './emit-memory.js';
import { F, FindWords } from './find-words.js';
import { Leave } from './frame.js';
import { W } from './wasm-writer.js';

/** Bits 21..13 of a 4 MiB entry. */
const LARGE_RESERVED = 0x3fe000;
/** The hole below 1 MiB, where adapters may be. */
const ADAPTERS_FIRST = 0xa0000;
const ADAPTERS_BYTES = 0x60000;
/** From CR4.PSE to PS and from CR4.PGE to G in an entry. */
const PSE_TO_PS = Math.clz32(Cr4.PSE) - Math.clz32(Pte.PS);
const PGE_TO_G = Math.clz32(Cr4.PGE) - Math.clz32(Pte.G);

/** From `Access.WRITE` to `Pte.RW`. */
const WRITE_TO_RW = Math.clz32(Pte.RW) - Math.clz32(Access.WRITE);

export class WalkWords extends FindWords {
  /** `faulted` pushes what the function answers when it has left a page fault pending; null where page faults are refused. */
  constructor(
    codeLinesAt: number,
    private readonly faulted: (() => void) | null,
  ) {
    super(codeLinesAt);
  }

  /**
   * Walks for the access and charges for it: INFO, ADDEND and CODE of the page are known then. Most walks find two entries that have
   * all it takes; they come first. The others fault, find a page of 4 MiB or have an entry to mark.
   */
  walk(): void {
    const { w } = this;
    this.loadState(S.CR0);
    w.i32(0);
    w.op(W.I32_GE_S);
    this.refuseIf();
    this.loadState(S.CR4);
    this.and(Cr4.PAE);
    this.refuseIf();
    const walked = this.open();
    const rest = this.open();
    this.#entry(() => this.loadState(S.CR3), 20, F.PDE_AT, F.PDE);
    w.get(F.PDE);
    this.and(Pte.P | Pte.PS);
    w.i32(Pte.P);
    w.op(W.I32_NE);
    this.brIf(rest);
    this.#entry(() => w.get(F.PDE), 10, F.PTE_AT, F.PTE);
    // A page is as dirty as its own entry says.
    w.get(F.PDE);
    w.i32(Pte.D);
    this.or();
    w.get(F.PTE);
    w.op(W.I32_AND);
    w.tee(F.RIGHTS);
    this.lacks(Pte.P | Pte.A);
    this.brIf(rest);
    w.get(F.PTE);
    this.and(-4096);
    w.set(F.PHYSICAL);
    this.#reach();
    this.#describe();
    this.br(walked);
    this.end();
    this.#rest();
    this.end();
    this.#charge();
  }

  /** A walk of any kind. */
  #rest(): void {
    const { w } = this;
    this.#present(F.PDE);
    w.get(F.PDE);
    this.and(Pte.PS);
    this.loadState(S.CR4);
    this.left(PSE_TO_PS);
    w.op(W.I32_AND);
    w.tee(F.X);
    this.if();
    w.get(F.PDE);
    this.and(LARGE_RESERVED);
    this.refuseIf();
    w.get(F.PDE_AT);
    w.set(F.PTE_AT);
    w.get(F.PDE);
    w.tee(F.PTE);
    w.set(F.RIGHTS);
    w.get(F.PDE);
    this.and(0xffc00000);
    w.get(F.LINEAR);
    this.and(0x003ff000);
    this.or();
    w.set(F.PHYSICAL);
    this.else();
    this.#entry(() => w.get(F.PDE), 10, F.PTE_AT, F.PTE);
    this.#present(F.PTE);
    w.get(F.PDE);
    w.get(F.PTE);
    w.op(W.I32_AND);
    w.set(F.RIGHTS);
    w.get(F.PTE);
    this.and(-4096);
    w.set(F.PHYSICAL);
    this.end();
    w.get(F.RIGHTS);
    this.lacks();
    this.and(Pte.RW | Pte.US);
    this.#faultIf(1);
    this.#reach();
    this.#markUsed();
    this.#describe();
    w.get(F.X);
    this.if();
    this.#noteLarge();
    this.end();
  }

  /** The line is part of a 4 MiB page. */
  #noteLarge(): void {
    const { w } = this;
    w.get(F.INFO);
    w.i32(TlbInfo.LARGE);
    this.or();
    w.set(F.INFO);
    w.get(F.PAGE);
    this.right(22);
    w.get(F.CPU);
    this.add();
    w.i32(1);
    w.memory(W.I32_STORE8, TLB_AT + LARGE_AT);
  }

  /** Where the page is, if in RAM: ADDEND and CODE. */
  #reach(): void {
    const { w } = this;
    w.get(F.PHYSICAL);
    this.loadState(PHYSICAL_BYTES);
    w.op(W.I32_GE_U);
    this.refuseIf();
    w.get(F.PHYSICAL);
    w.i32(ADAPTERS_FIRST);
    w.op(W.I32_SUB);
    w.i32(ADAPTERS_BYTES);
    w.op(W.I32_LT_U);
    this.refuseIf();
    this.loadState(PHYSICAL_BASE);
    w.get(F.PHYSICAL);
    this.add();
    w.get(F.PAGE);
    w.op(W.I32_SUB);
    w.set(F.ADDEND);
    this.leaveCode();
  }

  /** INFO of a 4 KiB page (`PageWalker.#describe`): its bits are those of the entries. */
  #describe(): void {
    const { w } = this;
    w.get(F.RIGHTS);
    this.and(Pte.RW | Pte.US);
    w.get(F.PHYSICAL);
    this.or();
    w.get(F.PTE);
    this.loadState(S.CR4);
    this.left(PGE_TO_G);
    this.and(Pte.G);
    w.i32(Pte.D);
    this.or();
    w.op(W.I32_AND);
    this.or();
    w.set(F.INFO);
  }

  /** The entry for the address in a table: its machine address and its value. Tables outside RAM are refused. */
  #entry(table: () => void, shift: number, at: number, value: number): void {
    const { w } = this;
    table();
    this.and(-4096);
    w.get(F.LINEAR);
    this.right(shift);
    this.and(0xffc);
    this.or();
    w.tee(at);
    this.loadState(PHYSICAL_BYTES);
    w.op(W.I32_GE_U);
    this.refuseIf();
    w.get(at);
    this.loadState(PHYSICAL_BASE);
    this.add();
    w.tee(at);
    w.memory(W.I32_LOAD, 0, 2);
    w.set(value);
  }

  #present(entry: number): void {
    this.w.get(entry);
    this.and(Pte.P);
    this.w.op(W.I32_EQZ);
    this.#faultIf(0);
  }

  /** Pops a condition; where it holds, the walk of this access has failed with `present` (0 or 1) in its error code. */
  #faultIf(present: number): void {
    const { w, faulted } = this;
    if (faulted === null) {
      this.refuseIf();
      return;
    }
    this.if();
    // The second access of an instruction is not walked for here, nor an entry marked (`Access.LATER`, `#markUsed`).
    w.get(F.PACKED);
    this.and(Access.LATER);
    w.get(F.PDE);
    this.and(Pte.P | Pte.A);
    w.i32(Pte.P);
    w.op(W.I32_EQ);
    this.or();
    this.refuseIf();
    this.#charge();
    this.storeState(S.FAULT_LINEAR, () => w.get(F.LINEAR));
    this.storeState(FAULT_VECTOR, () => w.i32(Vector.PF));
    // W/R and U/S have the places of RW and US (SDM vol. 3, 4.7).
    this.storeState(FAULT_CODE, () => {
      this.writes();
      this.right(WRITE_TO_RW);
      w.get(F.USER);
      this.or();
      w.i32(present);
      this.or();
    });
    this.storeState(STATUS, () => w.i32(Leave.FAULT));
    faulted();
    w.op(W.RETURN);
    this.end();
  }

  /** Accessed and dirty bits, if they change; tables among code are refused. */
  #markUsed(): void {
    const { w } = this;
    const used = F.FILL;
    w.get(F.PTE);
    w.get(F.NEED);
    this.and(Pte.D);
    this.or();
    w.i32(Pte.A);
    this.or();
    w.tee(used);
    w.get(F.PTE);
    w.op(W.I32_NE);
    w.get(F.PDE);
    this.and(Pte.A);
    w.op(W.I32_EQZ);
    this.or();
    this.if();
    for (const at of [F.PDE_AT, F.PTE_AT]) {
      w.get(at);
      this.codeLines();
    }
    this.or();
    this.refuseIf();
    // In this order: they are the same entry in a 4 MiB page and may be where a directory is its own table.
    this.storeAt(F.PDE_AT, 0, () => {
      w.get(F.PDE);
      w.i32(Pte.A);
      this.or();
    });
    this.storeAt(F.PTE_AT, 0, () => w.get(used));
    w.get(used);
    w.set(F.PTE);
    this.end();
  }

  /** From here on the miss happens: its price. */
  #charge(): void {
    const { w } = this;
    const addToClock = (index: number, value: () => void) => {
      w.get(F.CPU);
      w.get(F.CPU);
      w.memory(W.F64_LOAD, CLOCK_AT + index * 8, 3);
      value();
      w.op(W.F64_ADD);
      w.memory(W.F64_STORE, CLOCK_AT + index * 8, 3);
    };
    addToClock(CYCLES, () => {
      w.get(F.CPU);
      w.memory(W.F64_LOAD, CLOCK_AT + MISS_COST * 8, 3);
    });
    addToClock(MISSES, () => {
      w.i32(1);
      w.op(W.F64_CONVERT_I32_S);
    });
    // At most a cycle too early for a price with a fraction; whoever looks then sees that nothing is due.
    this.storeState(LIMIT, () => {
      this.loadState(LIMIT);
      this.loadState(MISS_CYCLES);
      w.op(W.I32_SUB);
    });
  }
}
