/**
 * What generated code does with the state of a thread beyond its registers, as `Core` and `segments.ts` do it: time by ring, the cycle
 * of the next event, segment registers and what is derived from them.
 */
import { DATA_PLACES } from '../../mmu/tlb.js';
import { FlagOp } from '../flags.js';
import {
  CLOCK_AT,
  CYCLES,
  DEADLINE,
  ESCAPES,
  FETCH_PAGE,
  FETCH_SAFE,
  FLAT_LIMIT,
  LIMIT,
  NO_PAGE,
  POLL_AT,
  PRICES,
  PRICES_AT,
  READABLE,
  RING_MARK,
  RINGS,
  SHAPE,
  Shape,
  TLB_AT,
  WRITABLE,
} from '../layout.js';
import { Attr, Cr0, Flag, S, Seg, segAttr, segBase, segLimit, segSelector } from '../state.js';
import { ADDEND, placeOffset } from './emit-places.js';
import { W } from './wasm-writer.js';
import { Words } from './words.js';

const CPU = 0;
/** `READABLE` of a segment that ends at 4 GiB. */
const WHOLE_LIMIT = 0xfffffffd;
/** `FETCH_SAFE` of a code segment that ends there (`Core.setSegment`). */
const WHOLE_FETCH_SAFE = 0xffffffff - 0x10ff;
const FLAT_ATTR = Attr.G | Attr.DB | Attr.P | Attr.S;
/** Equal to a page's tag only if a word, or a whole descriptor, is aligned. */
export const WORD_MASK = -4096 | 3;
export const DESCRIPTOR_MASK = -4096 | 7;

export class ThreadWords extends Words {
  /** Pushes the address of the place of a linear address, relative to `TLB_AT`. */
  placeOf(linear: number): void {
    this.w.get(linear);
    placeOffset(this.w, DATA_PLACES);
    this.w.get(CPU);
    this.add();
  }

  /**
   * Leaves the host address of what is at a linear address in `host`, answering 0 if its place has not the tag of this number, or it is
   * not aligned as `mask` says.
   */
  find(linear: number, mask: number, host: number, tag = 0): void {
    const { w } = this;
    this.placeOf(linear);
    w.tee(host);
    w.memory(W.I32_LOAD, TLB_AT + tag * 4, 2);
    w.get(linear);
    this.and(mask);
    w.op(W.I32_NE);
    this.answerIf(0);
    w.get(linear);
    this.loadAt(host, ADDEND);
    this.add();
    w.set(host);
  }

  // ---- time

  /** Pushes a price, a 64-bit float. */
  price(name: (typeof PRICES)[number]): void {
    this.w.get(CPU);
    this.w.memory(W.F64_LOAD, PRICES_AT + PRICES.indexOf(name) * 8, 3);
  }

  clock(index: number): void {
    this.w.get(CPU);
    this.w.memory(W.F64_LOAD, CLOCK_AT + index * 8, 3);
  }

  /** clock[index] += the double that `value` pushes. */
  advance(index: number, value: () => void): void {
    this.w.get(CPU);
    this.clock(index);
    value();
    this.w.op(W.F64_ADD);
    this.w.memory(W.F64_STORE, CLOCK_AT + index * 8, 3);
  }

  /** `Core.accountRing`; `at` is a local for the address of the ring's cycles. */
  accountRing(at: number): void {
    const { w } = this;
    const ofRing = CLOCK_AT + RINGS * 8;
    this.loadState(S.CPL);
    this.left(3);
    w.get(CPU);
    this.add();
    w.tee(at);
    w.get(at);
    w.memory(W.F64_LOAD, ofRing, 3);
    this.clock(CYCLES);
    this.clock(RING_MARK);
    w.op(W.F64_SUB);
    w.op(W.F64_ADD);
    w.memory(W.F64_STORE, ofRing, 3);
    w.get(CPU);
    this.clock(CYCLES);
    w.memory(W.F64_STORE, CLOCK_AT + RING_MARK * 8, 3);
  }

  /** `Core.updatePoll`. */
  updatePoll(): void {
    const { w } = this;
    w.get(CPU);
    w.i32(0);
    w.op(W.F64_CONVERT_I32_S);
    this.clock(DEADLINE);
    this.loadState(S.INTR);
    this.loadState(ESCAPES);
    w.op(W.I32_GT_U);
    this.loadState(S.EFLAGS);
    this.right(Math.log2(Flag.IF));
    w.op(W.I32_AND);
    w.op(W.SELECT);
    w.memory(W.F64_STORE, CLOCK_AT + POLL_AT * 8, 3);
  }

  /** `Core.writeEflags` with the value in a local. */
  writeEflags(value: number): void {
    const { w } = this;
    this.storeState(S.EFLAGS, () => {
      w.get(value);
      this.and(~Flag.ARITHMETIC);
      w.i32(Flag.FIXED);
      this.or();
    });
    this.storeState(S.FLAG_OP, () => w.i32(FlagOp.IMAGE));
    this.storeState(S.FLAG_RESULT, () => {
      w.get(value);
      this.and(Flag.ARITHMETIC);
    });
    this.updatePoll();
  }

  /** `cyclesToPoll` into its state word. */
  noteLimit(stretch: number): void {
    const { w } = this;
    const bound = (value: number) => {
      w.i32(value);
      w.op(W.F64_CONVERT_I32_S);
    };
    this.storeState(LIMIT, () => {
      this.clock(POLL_AT);
      this.clock(CYCLES);
      w.op(W.F64_SUB);
      w.op(W.F64_CEIL);
      bound(stretch);
      w.op(W.F64_MIN);
      bound(-stretch);
      w.op(W.F64_MAX);
      w.truncate();
    });
  }

  // ---- segments

  /** Pushes whether this is protected mode, not virtual-8086 mode, as 0 or not. `flags` pushes EFLAGS. */
  isProtected(flags: () => void = () => this.loadState(S.EFLAGS)): void {
    const { w } = this;
    this.loadState(S.CR0);
    this.and(Cr0.PE);
    flags();
    this.right(Math.log2(Flag.VM));
    this.and(1);
    w.op(W.I32_GT_U);
  }

  /** A data segment register becomes null (`Core.setSegment` with zeros), but for its selector word and the shape. */
  emptySegment(seg: number): void {
    const { w } = this;
    for (const word of [segBase(seg), segBase(seg) + 1, segAttr(seg), READABLE + seg, WRITABLE + seg]) {
      this.storeState(word, () => w.i32(0));
    }
  }

  /**
   * `enterFlat` of `far.ts`: CPL with the flat CS and SS of SYSENTER and SYSEXIT. `selector` is a local, as is `at`, of which
   * both are lost.
   */
  enterFlat(selector: number, ring: number, at: number): void {
    const { w } = this;
    const attr = FLAT_ATTR | (ring << Attr.DPL_SHIFT);
    const segment = (seg: number, plus: number, type: number) => {
      this.storeState(segSelector(seg), () => {
        w.get(selector);
        w.i32(plus);
        this.add();
        w.i32(ring);
        this.or();
      });
      this.storeState(segBase(seg), () => w.i32(0));
      this.storeState(segLimit(seg), () => w.i32(-1));
      this.storeState(segAttr(seg), () => w.i32(attr | type));
      this.storeState(READABLE + seg, () => w.i32(WHOLE_LIMIT));
    };
    this.accountRing(at);
    this.storeState(S.CPL, () => w.i32(ring));
    segment(Seg.SS, 8, Attr.WRITE_READ | Attr.ACCESSED);
    this.storeState(WRITABLE + Seg.SS, () => w.i32(WHOLE_LIMIT));
    segment(Seg.CS, 0, Attr.CODE | Attr.WRITE_READ | Attr.ACCESSED);
    this.storeState(WRITABLE + Seg.CS, () => w.i32(0));
    this.storeState(FETCH_SAFE, () => w.i32(WHOLE_FETCH_SAFE));
    this.storeState(FETCH_PAGE, () => w.i32(NO_PAGE));
    this.updateShape(selector, at);
  }

  /** `dropInnerSegments`. */
  dropInnerSegments(): void {
    const { w } = this;
    for (const seg of [Seg.ES, Seg.DS, Seg.FS, Seg.GS]) {
      const attr = () => this.loadState(segAttr(seg));
      const masked = (mask: number, value: number, code: number) => {
        attr();
        this.and(mask);
        w.i32(value);
        w.op(code);
      };
      masked(Attr.P, 0, W.I32_NE);
      masked(Attr.CODE | Attr.DOWN_CONFORMING, Attr.CODE | Attr.DOWN_CONFORMING, W.I32_NE);
      w.op(W.I32_AND);
      attr();
      this.right(Attr.DPL_SHIFT);
      this.and(3);
      this.loadState(S.CPL);
      w.op(W.I32_LT_U);
      w.op(W.I32_AND);
      this.if();
      this.storeState(segSelector(seg), () => w.i32(0));
      this.emptySegment(seg);
      this.end();
    }
  }

  /** `Core.updateShape`, with two locals of its own; what operating systems use comes first. */
  updateShape(least: number, shape: number): void {
    const { w } = this;
    const data = [Seg.ES, Seg.SS, Seg.DS];
    this.loadState(segBase(Seg.CS));
    for (const seg of data) {
      this.loadState(segBase(seg));
      this.or();
    }
    data.forEach((seg, index) => {
      this.loadState(WRITABLE + seg);
      if (index > 0) w.op(W.I32_AND);
    });
    w.i32(WHOLE_LIMIT);
    w.op(W.I32_XOR);
    this.or();
    w.op(W.I32_EQZ);
    this.#runsWide();
    w.op(W.I32_AND);
    this.if();
    this.storeState(FLAT_LIMIT, () => w.i32(WHOLE_LIMIT));
    this.storeState(SHAPE, () => {
      this.#whoRuns();
      w.i32(Shape.FLAT | Shape.WHOLE);
      this.or();
    });
    this.else();
    this.#updateOtherShape(least, shape);
    this.end();
  }

  /** Pushes whether code and stack are 32 bits wide, and code is long enough for blocks. */
  #runsWide(): void {
    const { w } = this;
    this.loadState(FETCH_SAFE);
    w.i32(0);
    w.op(W.I32_NE);
    this.loadState(segAttr(Seg.CS));
    this.loadState(segAttr(Seg.SS));
    w.op(W.I32_AND);
    this.right(Math.log2(Attr.DB));
    w.op(W.I32_AND);
  }

  /** Pushes `Shape.USER` at CPL 3, with `Shape.NON_ROOT` there. */
  #whoRuns(): void {
    this.loadState(S.CPL);
    this.w.i32(3);
    this.w.op(W.I32_EQ);
    this.loadState(S.NON_ROOT);
    this.or();
  }

  #updateOtherShape(least: number, shape: number): void {
    const { w } = this;
    const limit = (seg: number) => this.loadState(WRITABLE + seg);
    w.i32(-1);
    w.set(shape);
    this.loadState(segBase(Seg.CS));
    w.op(W.I32_EQZ);
    this.#runsWide();
    w.op(W.I32_AND);
    this.if();
    this.#whoRuns();
    w.set(shape);
    for (const seg of [Seg.ES, Seg.SS, Seg.DS]) this.loadState(segBase(seg));
    this.or();
    this.or();
    w.op(W.I32_EQZ);
    this.if();
    limit(Seg.ES);
    w.set(least);
    for (const seg of [Seg.SS, Seg.DS]) {
      limit(seg);
      w.get(least);
      limit(seg);
      w.get(least);
      w.op(W.I32_LT_U);
      w.op(W.SELECT);
      w.set(least);
    }
    w.get(shape);
    w.i32(Shape.FLAT);
    w.i32(0);
    w.get(least);
    w.op(W.SELECT);
    this.or();
    w.i32(Shape.WHOLE);
    w.i32(0);
    w.get(least);
    w.i32(WHOLE_LIMIT);
    w.op(W.I32_EQ);
    w.op(W.SELECT);
    this.or();
    w.set(shape);
    this.storeState(FLAT_LIMIT, () => w.get(least));
    this.end();
    this.end();
    this.storeState(SHAPE, () => w.get(shape));
  }
}
