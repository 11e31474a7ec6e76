/**
 * From a linear address to machine memory, where the comparison in line has failed: the page may be in the TLB's sets but not in its
 * place, its place may lack the tag, or it has to be walked for. This does what `Core.translate`, `Tlb` and `PageWalker` do, with
 * the same charge, the same replacement and the same accessed and dirty bits, for accesses that succeed and reach RAM:
 *
 *     find(cpu, ea, packed) -> machine address, or 0
 *
 * Whatever it answers 0 to it leaves untouched: faults, devices, operands across a page end, stores to where code may be.
 */

import { CODE_LINE_SHIFT } from '../../memory.js';
import {
  DATA_LINES,
  DATA_PLACES,
  DATA_SETS_AT,
  DATA_SETS_BYTES,
  FILLED_AT,
  FILLS_AT,
  LARGE_AT,
  LINE_INFO,
  LINE_PAGE,
  NO_TAG,
  SET_WORDS,
  SetWord,
  TlbInfo,
} from '../../mmu/tlb.js';
import { Pte } from '../../mmu/walk.js';
import {
  CLOCK_AT,
  CYCLES,
  FAULT_CODE,
  FAULT_VECTOR,
  LIMIT,
  MISS_COST,
  MISSES,
  PHYSICAL_BASE,
  PHYSICAL_BYTES,
  READABLE,
  STATUS,
  TLB_AT,
} from '../layout.js';
import { Cr0, Cr4, S, Vector } from '../state.js';
import { Access } from './emit-memory.js';
import { ADDEND as PLACE_ADDEND, placeOffset } from './emit-places.js';
import { Leave } from './frame.js';
import { type Local, Type, V, W } from './wasm-writer.js';
import { Words } from './words.js';

/** No machine address: those are aligned to pages where they begin. */
export const FAULTED = -1;

/** Bits 21..13 of a 4 MiB entry. */
const LARGE_RESERVED = 0x3fe000;
/** The hole below 1 MiB, where adapters may be. */
const ADAPTERS_FIRST = 0xa0000;
const ADAPTERS_BYTES = 0x60000;
const WP_SHIFT = 31 - Math.clz32(Cr0.WP);
const DIRTY_SHIFT = 31 - Math.clz32(TlbInfo.DIRTY);
const DIRTY_BIT = 31 - Math.clz32(Pte.D);
/** From CR4.PSE to PS in an entry. */
const PSE_TO_PS = Math.clz32(Cr4.PSE) - Math.clz32(Pte.PS);

const SETS = DATA_LINES / 4;
const SET_SHIFT = 31 - Math.clz32(SET_WORDS * 4);
const SETS_AT = TLB_AT + DATA_SETS_AT;
const TAIL_AT = SETS_AT + DATA_SETS_BYTES;
const inSet = (word: number): number => SETS_AT + word * 4;
const inPlace = (word: number): number => TLB_AT + word * 4;

const CPU = 0;
const EA = 1;
const PACKED = 2;
const LINEAR = 3;
const PAGE = 4;
const PLACE = 5;
/** 1 for a write; 8 for CPL 3: the distance of its tags. */
const WRITE = 6;
const USER = 7;
/** Bits that the rights of the entries must have. */
const NEED = 8;
/** Addresses of the set and of the line, less `SETS_AT`; LINE is 0 while the page is in none. */
const SET = 9;
const LINE = 10;
const PDE_AT = 11;
const PDE = 12;
const PTE_AT = 13;
const PTE = 14;
const RIGHTS = 15;
const PHYSICAL = 16;
const INFO = 17;
const ADDEND = 18;
const X = 19;
/** 1 if the page holds no code and, once it is known, is dirty: it may have write tags. */
const QUIET = 20;
const OLD_PLACE = 21;
const AGES = 22;
const OLDEST = 23;

export const FIND_LOCALS: readonly Local[] = [
  { count: AGES - LINEAR, type: Type.I32 },
  { count: 2, type: Type.V128 },
];

class FindWriter extends Words {
  constructor(private readonly codeLinesAt: number) {
    super(2048);
  }

  code(): Uint8Array {
    const { w } = this;
    this.#address();
    this.open();
    this.#held();
    this.end();
    this.#walk();
    this.#charge();
    this.#fill();
    this.#place();
    this.#machine();
    return w.done();
  }

  /** The linear address of an access within the segment and one page. */
  #address(): void {
    const { w } = this;
    w.get(PACKED);
    this.right(Access.WRITE_SHIFT);
    this.and(1);
    w.set(WRITE);
    // READABLE and WRITABLE are neighbours, eight words each.
    w.get(EA);
    w.get(WRITE);
    this.left(5);
    w.get(PACKED);
    this.and(15);
    this.left(2);
    this.add();
    w.get(CPU);
    this.add();
    w.memory(W.I32_LOAD, READABLE * 4, 2);
    w.op(W.I32_GE_U);
    this.answerIf(0);
    w.get(PACKED);
    this.and(15);
    this.left(4);
    w.get(CPU);
    this.add();
    w.memory(W.I32_LOAD, (S.SEG + 1) * 4, 2);
    w.get(EA);
    this.add();
    w.tee(LINEAR);
    this.and(4095);
    w.get(PACKED);
    this.right(4);
    this.and(15);
    this.add();
    w.i32(4096);
    w.op(W.I32_GT_U);
    this.answerIf(0);
    w.get(LINEAR);
    this.and(-4096);
    w.set(PAGE);
    this.#placeOf(PAGE);
    w.set(PLACE);
    this.loadState(S.CPL);
    w.i32(3);
    w.op(W.I32_EQ);
    this.left(3);
    w.set(USER);
    // Supervisor writes obey RW only with CR0.WP (SDM vol. 3, 4.6.1).
    this.#protects();
    w.get(USER);
    this.right(3);
    this.or();
    w.get(WRITE);
    w.op(W.I32_AND);
    this.left(1);
    w.get(USER);
    this.right(1);
    this.or();
    w.set(NEED);
  }

  /** Address relative to the thread of the place of a page. */
  #placeOf(page: number): void {
    this.w.get(page);
    placeOffset(this.w, DATA_PLACES);
    this.w.get(CPU);
    this.add();
  }

  /** Where a line has the page and suffices, it answers; else it leaves LINE behind. */
  #held(): void {
    const { w } = this;
    const walk = this.depth;
    w.get(LINEAR);
    this.right(12 - SET_SHIFT);
    this.and((SETS - 1) << SET_SHIFT);
    w.get(CPU);
    this.add();
    w.tee(SET);
    w.vector(V.LOAD, inSet(SetWord.PAGE));
    w.get(PAGE);
    w.simd(V.SPLAT);
    w.simd(V.EQ);
    w.simd(V.BITMASK);
    w.tee(X);
    w.op(W.I32_EQZ);
    this.brIf(walk);
    this.#lineOfMask(X);
    this.loadAt(LINE, inSet(SetWord.INFO));
    w.set(INFO);
    // `Core.#allowed`: an entry's rights in the order of the needs, then the dirty bit.
    w.get(INFO);
    this.and(TlbInfo.WRITABLE);
    w.get(INFO);
    this.and(TlbInfo.USER);
    this.left(2);
    this.or();
    w.set(RIGHTS);
    this.#lacksRights();
    w.get(WRITE);
    w.get(INFO);
    this.right(DIRTY_SHIFT);
    w.i32(-1);
    w.op(W.I32_XOR);
    w.op(W.I32_AND);
    this.or();
    this.brIf(walk);
    w.get(INFO);
    this.and(TlbInfo.DEVICE);
    this.answerIf(0);
    this.loadAt(LINE, inSet(SetWord.MACHINE));
    w.set(ADDEND);
    this.#leaveCode();
    this.#place();
    this.#machine();
    w.op(W.RETURN);
  }

  /** LINE from the mask of the way in its set. */
  #lineOfMask(mask: number): void {
    const { w } = this;
    w.get(mask);
    w.op(W.I32_CTZ);
    this.left(2);
    w.get(SET);
    this.add();
    w.set(LINE);
  }

  /** Pushes CR0.WP as 0 or 1. */
  #protects(): void {
    this.loadState(S.CR0);
    this.right(WP_SHIFT);
    this.and(1);
  }

  /** Pushes what RIGHTS lack of what is needed. */
  #lacksRights(): void {
    const { w } = this;
    w.get(RIGHTS);
    w.i32(-1);
    w.op(W.I32_XOR);
    w.get(NEED);
    w.op(W.I32_AND);
  }

  /** Stores to lines with code are for TypeScript, and so is the walk for them: QUIET says whether the page has none. */
  #leaveCode(): void {
    const { w } = this;
    w.get(PAGE);
    w.get(ADDEND);
    this.add();
    this.#codeLines();
    w.tee(X);
    w.op(W.I32_EQZ);
    w.tee(QUIET);
    w.get(WRITE);
    w.op(W.I32_LT_U);
    this.if();
    // An operand is in one line or in two neighbours.
    const bit = (push: () => void) => {
      w.i32(1);
      push();
      this.right(CODE_LINE_SHIFT);
      w.op(W.I32_SHL);
    };
    bit(() => w.get(LINEAR));
    bit(() => {
      w.get(LINEAR);
      w.get(PACKED);
      this.right(4);
      this.and(15);
      this.add();
      w.i32(1);
      w.op(W.I32_SUB);
    });
    this.or();
    w.get(X);
    w.op(W.I32_AND);
    this.answerIf(0);
    this.end();
  }

  /** Pops a machine address and pushes the word of its page in `MachineMemory.codeLines`. */
  #codeLines(): void {
    this.right(12);
    this.left(2);
    this.w.memory(W.I32_LOAD, this.codeLinesAt, 2);
  }

  /** `PageWalker.walk` without its effects: RIGHTS of both levels, PHYSICAL, INFO and ADDEND of the line. */
  #walk(): void {
    const { w } = this;
    this.loadState(S.CR0);
    w.i32(0);
    w.op(W.I32_GE_S);
    this.answerIf(0);
    this.#entry(() => this.loadState(S.CR3), 20, PDE_AT, PDE);
    w.get(PDE);
    this.and(Pte.PS);
    this.loadState(S.CR4);
    this.left(PSE_TO_PS);
    w.op(W.I32_AND);
    this.if();
    w.get(PDE);
    this.and(LARGE_RESERVED);
    this.answerIf(0);
    w.get(PDE_AT);
    w.set(PTE_AT);
    w.get(PDE);
    w.tee(PTE);
    w.set(RIGHTS);
    w.get(PDE);
    this.and(0xffc00000);
    w.get(LINEAR);
    this.and(0x003ff000);
    this.or();
    w.set(PHYSICAL);
    w.i32(TlbInfo.LARGE);
    w.set(INFO);
    this.else();
    this.#entry(() => w.get(PDE), 10, PTE_AT, PTE);
    w.get(PDE);
    w.get(PTE);
    w.op(W.I32_AND);
    w.set(RIGHTS);
    w.get(PTE);
    this.and(-4096);
    w.set(PHYSICAL);
    w.i32(0);
    w.set(INFO);
    this.end();
    this.#lacksRights();
    this.#faultIf(1);
    w.get(PHYSICAL);
    this.loadState(PHYSICAL_BYTES);
    w.op(W.I32_GE_U);
    w.get(PHYSICAL);
    w.i32(ADAPTERS_FIRST);
    w.op(W.I32_SUB);
    w.i32(ADAPTERS_BYTES);
    w.op(W.I32_LT_U);
    this.or();
    this.answerIf(0);
    this.loadState(PHYSICAL_BASE);
    w.get(PHYSICAL);
    this.add();
    w.get(PAGE);
    w.op(W.I32_SUB);
    w.set(ADDEND);
    this.#leaveCode();
    this.#markUsed();
    // Order of `PageWalker.#describe` and of `TlbInfo`.
    w.get(INFO);
    w.get(PHYSICAL);
    this.or();
    w.get(RIGHTS);
    this.and(TlbInfo.WRITABLE);
    this.or();
    w.get(RIGHTS);
    this.right(2);
    this.and(TlbInfo.USER);
    this.or();
    w.get(PTE);
    this.right(2);
    this.and(TlbInfo.DIRTY);
    this.or();
    w.get(PTE);
    this.right(6);
    this.loadState(S.CR4);
    this.right(5);
    w.op(W.I32_AND);
    this.and(TlbInfo.GLOBAL);
    this.or();
    w.set(INFO);
  }

  /** The present entry for the address in a table: its physical address and its value. */
  #entry(table: () => void, shift: number, at: number, value: number): void {
    const { w } = this;
    table();
    this.and(-4096);
    w.get(LINEAR);
    this.right(shift);
    this.and(0xffc);
    this.or();
    w.tee(at);
    this.loadState(PHYSICAL_BYTES);
    w.op(W.I32_GE_U);
    this.answerIf(0);
    w.get(at);
    this.loadState(PHYSICAL_BASE);
    this.add();
    w.tee(at);
    w.memory(W.I32_LOAD, 0, 2);
    w.tee(value);
    this.and(Pte.P);
    w.op(W.I32_EQZ);
    this.#faultIf(0);
  }

  /** Pops a condition; where it holds, the walk of this access has failed with `present` (0 or 1) in its error code. */
  #faultIf(present: number): void {
    const { w } = this;
    this.if();
    // The second access of an instruction is not walked for here, nor an entry marked (`Access.LATER`, `#markUsed`).
    w.get(PACKED);
    this.and(Access.FAULTS | Access.LATER);
    w.i32(Access.FAULTS);
    w.op(W.I32_NE);
    w.get(PDE);
    this.and(Pte.P | Pte.A);
    w.i32(Pte.P);
    w.op(W.I32_EQ);
    this.or();
    this.answerIf(0);
    this.#charge();
    this.storeState(S.CR2, () => w.get(LINEAR));
    this.storeState(FAULT_VECTOR, () => w.i32(Vector.PF));
    this.storeState(FAULT_CODE, () => {
      w.get(WRITE);
      this.left(1);
      w.get(USER);
      this.right(1);
      this.or();
      w.i32(present);
      this.or();
    });
    this.storeState(STATUS, () => w.i32(Leave.FAULT));
    this.answer(FAULTED);
    this.end();
  }

  /** Accessed and dirty bits, if they change; tables among code are for TypeScript. */
  #markUsed(): void {
    const { w } = this;
    w.get(PTE);
    w.get(WRITE);
    this.left(DIRTY_BIT);
    this.or();
    w.i32(Pte.A);
    this.or();
    w.tee(X);
    w.get(PTE);
    w.op(W.I32_NE);
    w.get(PDE);
    this.and(Pte.A);
    w.op(W.I32_EQZ);
    this.or();
    this.if();
    for (const at of [PDE_AT, PTE_AT]) {
      w.get(at);
      this.#codeLines();
    }
    this.or();
    this.answerIf(0);
    // In this order: they are the same entry in a 4 MiB page and may be where a directory is its own table.
    this.storeAt(PDE_AT, 0, () => {
      w.get(PDE);
      w.i32(Pte.A);
      this.or();
    });
    this.storeAt(PTE_AT, 0, () => w.get(X));
    w.get(X);
    w.set(PTE);
    this.end();
  }

  /** From here on the miss happens: its price. */
  #charge(): void {
    const { w } = this;
    const price = () => {
      w.get(CPU);
      w.memory(W.F64_LOAD, CLOCK_AT + MISS_COST * 8, 3);
    };
    const addToClock = (index: number, value: () => void) => {
      w.get(CPU);
      w.get(CPU);
      w.memory(W.F64_LOAD, CLOCK_AT + index * 8, 3);
      value();
      w.op(W.F64_ADD);
      w.memory(W.F64_STORE, CLOCK_AT + index * 8, 3);
    };
    addToClock(CYCLES, price);
    addToClock(MISSES, () => {
      w.i32(1);
      w.op(W.F64_CONVERT_I32_S);
    });
    // At most a cycle too early for a price with a fraction; whoever looks then sees that nothing is due.
    this.storeState(LIMIT, () => {
      this.loadState(LIMIT);
      price();
      w.op(W.F64_CEIL);
      w.truncate();
      w.op(W.I32_SUB);
    });
  }

  /** The line: the page's own, a free one, or the one filled first (`Sets.choose`). */
  #fill(): void {
    const { w } = this;
    w.get(LINE);
    w.op(W.I32_EQZ);
    this.if();
    this.#choose();
    this.end();
    this.storeAt(LINE, inSet(SetWord.INFO), () => w.get(INFO));
    this.storeAt(LINE, inSet(SetWord.MACHINE), () => w.get(ADDEND));
    // `Filled`: a bit for each set; two words of local sets, two of global ones.
    w.get(PAGE);
    this.right(12 + 5 - 2);
    this.and((SETS / 32 - 1) << 2);
    w.get(INFO);
    this.and(TlbInfo.GLOBAL);
    this.left(1);
    this.add();
    w.get(CPU);
    this.add();
    w.set(X);
    this.storeAt(X, TAIL_AT + FILLED_AT, () => {
      this.loadAt(X, TAIL_AT + FILLED_AT);
      w.i32(1);
      w.get(PAGE);
      this.right(12);
      w.op(W.I32_SHL);
      this.or();
    });
    w.get(INFO);
    this.and(TlbInfo.LARGE);
    this.if();
    w.get(PAGE);
    this.right(22);
    w.get(CPU);
    this.add();
    w.i32(1);
    w.memory(W.I32_STORE8, TLB_AT + LARGE_AT);
    this.end();
  }

  #choose(): void {
    const { w } = this;
    w.get(SET);
    w.vector(V.LOAD, inSet(SetWord.PAGE));
    w.i32(NO_TAG);
    w.simd(V.SPLAT);
    w.simd(V.EQ);
    w.simd(V.BITMASK);
    w.tee(X);
    w.op(W.I32_EQZ);
    this.if();
    // The greatest distance from the fill that is about to be numbered.
    this.loadState((TAIL_AT + FILLS_AT) / 4);
    w.i32(1);
    this.add();
    w.simd(V.SPLAT);
    w.get(SET);
    w.vector(V.LOAD, inSet(SetWord.FILL));
    w.simd(V.SUB);
    w.tee(AGES);
    for (let copy = 0; copy < 3; copy++) w.get(AGES);
    w.shuffleWords([2, 3, 0, 1]);
    w.simd(V.MAX_U);
    w.tee(OLDEST);
    w.get(OLDEST);
    w.get(OLDEST);
    w.shuffleWords([1, 0, 3, 2]);
    w.simd(V.MAX_U);
    w.simd(V.EQ);
    w.simd(V.BITMASK);
    w.set(X);
    this.end();
    this.#lineOfMask(X);
    // Whom it held loses its place.
    this.loadAt(LINE, inSet(SetWord.PAGE));
    w.tee(X);
    w.i32(NO_TAG);
    w.op(W.I32_NE);
    this.if();
    this.#placeOf(X);
    w.tee(OLD_PLACE);
    w.memory(W.I32_LOAD, inPlace(LINE_PAGE), 2);
    w.get(X);
    w.op(W.I32_EQ);
    this.if();
    w.get(OLD_PLACE);
    w.i32(NO_TAG);
    w.simd(V.SPLAT);
    w.vector(V.STORE, inPlace(0));
    this.storeAt(OLD_PLACE, inPlace(LINE_PAGE), () => w.i32(NO_TAG));
    this.end();
    this.end();
    this.storeAt(LINE, inSet(SetWord.PAGE), () => w.get(PAGE));
    this.storeState((TAIL_AT + FILLS_AT) / 4, () => {
      this.loadState((TAIL_AT + FILLS_AT) / 4);
      w.i32(1);
      this.add();
    });
    this.storeAt(LINE, inSet(SetWord.FILL), () => this.loadState((TAIL_AT + FILLS_AT) / 4));
  }

  /** The page's place and its tags (`Tlb.retag`). */
  #place(): void {
    const { w } = this;
    const tag = (number: number, condition: () => void) =>
      this.storeAt(PLACE, inPlace(number), () => {
        w.get(PAGE);
        w.i32(NO_TAG);
        condition();
        w.op(W.SELECT);
      });
    w.get(INFO);
    this.right(DIRTY_SHIFT);
    w.get(QUIET);
    w.op(W.I32_AND);
    w.set(QUIET);
    this.storeAt(PLACE, inPlace(0), () => w.get(PAGE));
    tag(1, () => {
      w.get(INFO);
      this.right(1);
      this.#protects();
      w.op(W.I32_EQZ);
      this.or();
      w.get(QUIET);
      w.op(W.I32_AND);
    });
    tag(2, () => {
      w.get(INFO);
      this.and(TlbInfo.USER);
    });
    tag(3, () => {
      w.get(INFO);
      this.right(1);
      w.get(INFO);
      w.op(W.I32_AND);
      w.get(QUIET);
      w.op(W.I32_AND);
    });
    this.storeAt(PLACE, PLACE_ADDEND, () => w.get(ADDEND));
    this.storeAt(PLACE, inPlace(LINE_PAGE), () => w.get(PAGE));
    this.storeAt(PLACE, inPlace(LINE_INFO), () => w.get(INFO));
  }

  /** Pushes the answer. */
  #machine(): void {
    this.w.get(LINEAR);
    this.w.get(ADDEND);
    this.add();
  }
}

/** Code of `find`, with `FIND_LOCALS`. `codeLinesAt`: machine address of `MachineMemory.codeLines`. */
export const findCode = (codeLinesAt: number): Uint8Array => new FindWriter(codeLinesAt).code();
