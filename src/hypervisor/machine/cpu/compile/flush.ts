/**
 * What INVLPG and MOV to CR3 do to the TLBs, as `Tlb.flushPage` and `Tlb.flushNonGlobal` do it:
 *
 *     flushPage(cpu, linear) -> 1, or 0 with nothing changed where a 4 MiB page may have to go
 *     flushNonGlobal(cpu)
 */
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
  LARGE_AT,
  LINE_INFO,
  LINE_PAGE,
  NO_TAG,
  SET_WORDS,
  SetWord,
  TlbInfo,
} from '../../mmu/tlb.js';
import { FETCH_AT, TLB_AT } from '../layout.js';
import { placeOffset } from './emit-places.js';
import { type FunctionBody, Type, V, W } from './wasm-writer.js';
import { Words } from './words.js';

/** Distances from the thread's state of one TLB: its sets, what is behind them, and its places. */
interface Table {
  readonly sets: number;
  readonly setsAt: number;
  readonly tailAt: number;
  readonly places: number;
  readonly placesAt: number;
}

const TABLES: readonly Table[] = [
  {
    sets: DATA_LINES / 4,
    setsAt: TLB_AT + DATA_SETS_AT,
    tailAt: TLB_AT + DATA_SETS_AT + DATA_SETS_BYTES,
    places: DATA_PLACES,
    placesAt: TLB_AT,
  },
  {
    sets: FETCH_LINES / 4,
    setsAt: TLB_AT + FETCH_SETS_AT,
    tailAt: TLB_AT + FETCH_SETS_AT + FETCH_SETS_BYTES,
    places: FETCH_PLACES,
    placesAt: FETCH_AT,
  },
];

const SET_SHIFT = Math.log2(SET_WORDS * 4);
const CPU = 0;

class FlushWords extends Words {
  /** Empties the line at `line` + `setsAt`, and the place of its page, which is in a local, where that holds it. */
  drop({ setsAt, places, placesAt }: Table, line: number, page: number, place: number): void {
    const { w } = this;
    this.storeAt(line, setsAt + SetWord.PAGE * 4, () => w.i32(NO_TAG));
    this.storeAt(line, setsAt + SetWord.INFO * 4, () => w.i32(0));
    w.get(page);
    placeOffset(w, places);
    w.get(CPU);
    this.add();
    w.tee(place);
    w.memory(W.I32_LOAD, placesAt + LINE_PAGE * 4, 2);
    w.get(page);
    w.op(W.I32_EQ);
    this.if();
    w.get(place);
    w.i32(NO_TAG);
    w.simd(V.SPLAT);
    w.vector(V.STORE, placesAt);
    this.storeAt(place, placesAt + LINE_PAGE * 4, () => w.i32(NO_TAG));
    this.storeAt(place, placesAt + LINE_INFO * 4, () => w.i32(0));
    this.end();
  }

  /** Pushes a mask of the ways of a set that hold what `page` pushes. */
  waysWith(setsAt: number, set: number, page: () => void): void {
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

  flushPage(): void {
    const [LINEAR, PAGE, SET, MASK, LINE, PLACE] = [1, 2, 3, 4, 5, 6];
    const { w } = this;
    w.get(LINEAR);
    this.right(22);
    w.get(CPU);
    this.add();
    w.memory(W.I32_LOAD8_U, TLB_AT + LARGE_AT);
    this.answerIf(0);
    w.get(LINEAR);
    this.and(-4096);
    w.set(PAGE);
    for (const table of TABLES) {
      w.get(PAGE);
      this.right(12 - SET_SHIFT);
      this.and((table.sets - 1) << SET_SHIFT);
      w.get(CPU);
      this.add();
      w.set(SET);
      this.waysWith(table.setsAt, SET, () => w.get(PAGE));
      w.tee(MASK);
      this.if();
      this.lineOf(SET, MASK, LINE);
      this.drop(table, LINE, PAGE, PLACE);
      this.end();
    }
    w.i32(1);
  }

  flushNonGlobal(): void {
    const [BITS, SET, MASK, LINE, PLACE, PAGE] = [1, 2, 3, 4, 5, 6];
    const { w } = this;
    /** Repeats `body` for each bit of a mask, which loses them, lowest first. */
    const eachBit = (mask: number, body: () => void) => {
      w.get(mask);
      this.if();
      const again = this.openLoop();
      body();
      w.get(mask);
      w.get(mask);
      w.i32(1);
      w.op(W.I32_SUB);
      w.op(W.I32_AND);
      w.tee(mask);
      this.brIf(again);
      this.end();
      this.end();
    };
    for (const table of TABLES) {
      for (let word = 0; word < table.sets / 32; word++) {
        const filled = (table.tailAt + FILLED_AT) / 4 + word;
        this.loadState(filled);
        w.set(BITS);
        this.storeState(filled, () => w.i32(0));
        eachBit(BITS, () => {
          w.get(BITS);
          w.op(W.I32_CTZ);
          w.i32(word * 32);
          this.add();
          this.left(SET_SHIFT);
          w.get(CPU);
          this.add();
          w.set(SET);
          // Lines that hold a page, which is not global.
          this.waysWith(table.setsAt, SET, () => w.i32(NO_TAG));
          w.i32(15);
          w.op(W.I32_XOR);
          w.set(MASK);
          eachBit(MASK, () => {
            this.lineOf(SET, MASK, LINE);
            this.loadAt(LINE, table.setsAt + SetWord.INFO * 4);
            this.and(TlbInfo.GLOBAL);
            w.op(W.I32_EQZ);
            this.if();
            this.loadAt(LINE, table.setsAt + SetWord.PAGE * 4);
            w.set(PAGE);
            this.drop(table, LINE, PAGE, PLACE);
            this.end();
          });
        });
      }
    }
  }
}

/** Bodies of `flushPage` and `flushNonGlobal`; `types`: indices of their signatures. */
export function flushFunctions(types: readonly [page: number, all: number]): readonly FunctionBody[] {
  const body = (type: number, locals: number, emit: (f: FlushWords) => void): FunctionBody => {
    const f = new FlushWords(2048);
    emit(f);
    return { type, locals: [{ count: locals, type: Type.I32 }], code: f.w.done() };
  };
  return [body(types[0], 5, f => f.flushPage()), body(types[1], 6, f => f.flushNonGlobal())];
}
