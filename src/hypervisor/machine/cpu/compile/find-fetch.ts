/**
 * The page of an instruction fetch where its place in the TLB lacks the tag: `Core.fetch` for pages in RAM, with the same charge, the same
 * replacement and the same accessed bits.
 *
 *     fetch(cpu, linear, 0) -> machine address of the page, which is that of the fetch then; 0 if nothing has been done
 */
import { LINE_INFO, FETCH_MACHINE as LINE_MACHINE, LINE_PAGE, NO_TAG, SetWord, TlbInfo } from '../../mmu/tlb.js';
import { FETCH_MACHINE, FETCH_PAGE } from '../layout.js';
import { FillWords } from './find-fill.js';
import { F, findLocals } from './find-words.js';
import { FETCH_TABLE } from './tlb-words.js';
import { type FunctionType, Type, W } from './wasm-writer.js';

/** The third parameter is `packed` of `find`: an access that reads. */
export const FETCH_TYPE: FunctionType = { parameters: [Type.I32, Type.I32, Type.I32], results: [Type.I32] };
export const FETCH_LOCALS = findLocals(FETCH_TYPE.parameters.length);

class FetchWriter extends FillWords {
  /** ADDEND is the machine address of the page, as lines of this table have it; only the walk leaves a true addend there. */
  code(): Uint8Array {
    const { w } = this;
    const found = this.open();
    this.refused = this.open();
    w.get(F.EA);
    w.tee(F.LINEAR);
    this.and(-4096);
    w.set(F.PAGE);
    this.locate();
    this.need();
    const walk = this.open();
    this.seekLine(walk);
    this.loadAt(F.LINE, this.inSet(SetWord.MACHINE));
    w.set(F.ADDEND);
    this.#place();
    this.br(found);
    this.end();
    this.walk();
    w.get(F.PAGE);
    w.get(F.ADDEND);
    this.add();
    w.set(F.ADDEND);
    this.fill();
    this.#place();
    this.br(found);
    this.end();
    w.i32(0);
    w.op(W.RETURN);
    this.end();
    this.storeState(FETCH_PAGE, () => w.get(F.PAGE));
    this.storeState(FETCH_MACHINE, () => w.get(F.ADDEND));
    w.get(F.ADDEND);
    return w.done();
  }

  /** `Tlb.#placeFetch`. */
  #place(): void {
    const { w } = this;
    const words: readonly (readonly [word: number, value: () => void])[] = [
      [0, () => w.get(F.PAGE)],
      [
        1,
        () => {
          w.get(F.PAGE);
          w.i32(NO_TAG);
          w.get(F.INFO);
          this.and(TlbInfo.USER);
          w.op(W.SELECT);
        },
      ],
      [LINE_MACHINE, () => w.get(F.ADDEND)],
      [LINE_PAGE, () => w.get(F.PAGE)],
      [LINE_INFO, () => w.get(F.INFO)],
    ];
    for (const [word, value] of words) this.storeAt(F.PLACE, this.inPlace(word), value);
  }
}

/** Of a function of `FETCH_TYPE` with `FETCH_LOCALS`. `codeLinesAt`: machine address of `MachineMemory.codeLines`. */
export const fetchCode = (codeLinesAt: number): Uint8Array => new FetchWriter(FETCH_TABLE, codeLinesAt, null).code();
