/**
 * What INVLPG and MOV to CR3 do to the TLBs, as `Tlb.flushPage` and `Tlb.flushNonGlobal` do it:
 *
 *     flushPage(cpu, linear) -> 1, or 0 with nothing changed where a 4 MiB page may have to go
 *     flushNonGlobal(cpu)
 */
import { LARGE_AT, NO_TAG, SetWord, TlbInfo } from '../../mmu/tlb.js';
import { TLB_AT } from '../layout.js';
import { DATA_TABLE, FETCH_TABLE, SET_SHIFT, type TlbTable, TlbWords } from './tlb-words.js';
import { type FunctionBody, Type, W } from './wasm-writer.js';

const TABLES = [DATA_TABLE, FETCH_TABLE] as const;
const CPU = 0;

class FlushWords extends TlbWords {
  /** Empties a line, and the place of its page, which is in a local. */
  drop(table: TlbTable, line: number, page: number, place: number): void {
    this.storeAt(line, table.setsAt + SetWord.PAGE * 4, () => this.w.i32(NO_TAG));
    this.storeAt(line, table.setsAt + SetWord.INFO * 4, () => this.w.i32(0));
    this.dropPlace(table, page, place);
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
      this.setOf(table, PAGE);
      w.set(SET);
      this.waysWith(table, SET, () => w.get(PAGE));
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
        const filled = table.filledAt / 4 + word;
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
          this.waysWith(table, SET, () => w.i32(NO_TAG));
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
