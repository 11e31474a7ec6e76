/** The TLBs (`mmu/tlb.ts`) in generated code: where their sets and places are, and how a page is looked up and dropped. */
import {
  DATA_LINES,
  DATA_PLACES,
  DATA_SETS_AT,
  DATA_SETS_BYTES,
  FETCH_LINES,
  FETCH_PLACES,
  FETCH_SETS_AT,
  FETCH_SETS_BYTES,
  FILLED_AT,
  FILLS_AT,
  LINE_PAGE,
  NO_TAG,
  SET_WORDS,
  SetWord,
} from '../../mmu/tlb.js';
import { FETCH_AT, TLB_AT } from '../layout.js';
import { placeOffset } from './emit-places.js';
import { V, W } from './wasm-writer.js';
import { Words } from './words.js';

/** One TLB: distances in bytes from the thread's state. */
export interface TlbTable {
  readonly sets: number;
  readonly setsAt: number;
  /** The number of the last fill, and `Filled`: a bit for each set. */
  readonly fillsAt: number;
  readonly filledAt: number;
  readonly places: number;
  readonly placesAt: number;
}

const DATA_END = TLB_AT + DATA_SETS_AT + DATA_SETS_BYTES;
export const DATA_TABLE: TlbTable = {
  sets: DATA_LINES / 4,
  setsAt: TLB_AT + DATA_SETS_AT,
  fillsAt: DATA_END + FILLS_AT,
  filledAt: DATA_END + FILLED_AT,
  places: DATA_PLACES,
  placesAt: TLB_AT,
};
const FETCH_END = TLB_AT + FETCH_SETS_AT + FETCH_SETS_BYTES;
export const FETCH_TABLE: TlbTable = {
  sets: FETCH_LINES / 4,
  setsAt: TLB_AT + FETCH_SETS_AT,
  fillsAt: FETCH_END + FILLS_AT,
  filledAt: FETCH_END + FILLED_AT,
  places: FETCH_PLACES,
  placesAt: FETCH_AT,
};

export const SET_SHIFT = Math.log2(SET_WORDS * 4);
const CPU = 0;

/** Sets, lines and places are addresses in locals, less where the table's begin. */
export class TlbWords extends Words {
  /** Pushes the place of a page. */
  placeOf({ places }: TlbTable, page: number): void {
    this.w.get(page);
    placeOffset(this.w, places);
    this.w.get(CPU);
    this.add();
  }

  /** Pushes the set of a linear address. */
  setOf({ sets }: TlbTable, linear: number): void {
    this.w.get(linear);
    this.right(12 - SET_SHIFT);
    this.and((sets - 1) << SET_SHIFT);
    this.w.get(CPU);
    this.add();
  }

  /** Pushes a mask of the ways of a set that hold what `page` pushes. */
  waysWith({ setsAt }: TlbTable, set: number, page: () => void): void {
    const { w } = this;
    w.get(set);
    w.vector(V.LOAD, setsAt + SetWord.PAGE * 4);
    page();
    w.simd(V.SPLAT);
    w.simd(V.EQ);
    w.simd(V.BITMASK);
  }

  /** The line of the lowest way in a mask. */
  lineOf(set: number, mask: number, line: number): void {
    const { w } = this;
    w.get(mask);
    w.op(W.I32_CTZ);
    this.left(2);
    w.get(set);
    this.add();
    w.set(line);
  }

  /** Empties the place of a page where that holds it; `place` is a local for its address. */
  dropPlace(table: TlbTable, page: number, place: number): void {
    const { w } = this;
    const { placesAt } = table;
    this.placeOf(table, page);
    w.tee(place);
    w.memory(W.I32_LOAD, placesAt + LINE_PAGE * 4, 2);
    w.get(page);
    w.op(W.I32_EQ);
    this.if();
    w.get(place);
    w.i32(NO_TAG);
    w.simd(V.SPLAT);
    w.vector(V.STORE, placesAt);
    // No page, and no rights in the word behind it.
    w.get(place);
    w.i64(0, NO_TAG);
    w.memory(W.I64_STORE, placesAt + LINE_PAGE * 4, 2);
    this.end();
  }
}
