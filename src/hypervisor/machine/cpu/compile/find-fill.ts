/** What goes before and behind the walk for a page, in either TLB: its set is asked, and notes what was found (`Tlb.#enter`). */
import { NO_TAG, SetWord, TlbInfo } from '../../mmu/tlb.js';
import { WalkWords } from './find-walk.js';
import { F } from './find-words.js';
import type { TlbTable } from './tlb-words.js';
import { V, W } from './wasm-writer.js';

export class FillWords extends WalkWords {
  /** `table` is the one that is filled; the others are `WalkWords`'. */
  constructor(
    protected readonly table: TlbTable,
    codeLinesAt: number,
    faulted: (() => void) | null,
  ) {
    super(codeLinesAt, faulted);
  }

  /** Distance of a word of a line. */
  protected inSet(word: number): number {
    return this.table.setsAt + word * 4;
  }

  /** Distance of a word of a place. */
  protected inPlace(word: number): number {
    return this.table.placesAt + word * 4;
  }

  /** PLACE and SET of PAGE. */
  protected locate(): void {
    const { w, table } = this;
    this.placeOf(table, F.PAGE);
    w.set(F.PLACE);
    this.setOf(table, F.LINEAR);
    w.set(F.SET);
  }

  /** LINE and its INFO where the set has the page; branches to `walk` where that does not suffice, or there is none (LINE is 0 then). */
  protected seekLine(walk: number): void {
    const { w } = this;
    this.waysWith(this.table, F.SET, () => w.get(F.PAGE));
    w.tee(F.X);
    w.op(W.I32_EQZ);
    this.brIf(walk);
    this.lineOf(F.SET, F.X, F.LINE);
    this.loadAt(F.LINE, this.inSet(SetWord.INFO));
    w.tee(F.INFO);
    this.lacks();
    this.brIf(walk);
  }

  /** The line: the page's own, a free one, or the one filled first (`Sets.choose`). */
  fill(): void {
    const { w } = this;
    const noted = this.open();
    w.get(F.LINE);
    w.op(W.I32_EQZ);
    this.if();
    this.#choose();
    this.storeAt(F.LINE, this.inSet(SetWord.PAGE), () => w.get(F.PAGE));
    this.storeAt(F.LINE, this.inSet(SetWord.FILL), () => w.get(F.FILL));
    w.get(F.X);
    this.brIf(noted);
    this.end();
    this.#noteFilled();
    this.end();
    this.storeAt(F.LINE, this.inSet(SetWord.INFO), () => w.get(F.INFO));
    this.storeAt(F.LINE, this.inSet(SetWord.MACHINE), () => w.get(F.ADDEND));
  }

  /** LINE for a page that is in none; X says whether `Filled` has its set already. */
  #choose(): void {
    const { w, table } = this;
    const fills = table.fillsAt / 4;
    this.loadState(fills);
    w.i32(1);
    this.add();
    w.set(F.FILL);
    this.storeState(fills, () => w.get(F.FILL));
    this.waysWith(table, F.SET, () => w.i32(NO_TAG));
    w.tee(F.X);
    this.if();
    this.lineOf(F.SET, F.X, F.LINE);
    w.i32(0);
    w.set(F.X);
    this.else();
    // The greatest distance from this fill.
    w.get(F.FILL);
    w.simd(V.SPLAT);
    w.get(F.SET);
    w.vector(V.LOAD, this.inSet(SetWord.FILL));
    w.simd(V.SUB);
    w.tee(F.AGES);
    for (let copy = 0; copy < 3; copy++) w.get(F.AGES);
    w.shuffleWords([2, 3, 0, 1]);
    w.simd(V.MAX_U);
    w.tee(F.OLDEST);
    w.get(F.OLDEST);
    w.get(F.OLDEST);
    w.shuffleWords([1, 0, 3, 2]);
    w.simd(V.MAX_U);
    w.simd(V.EQ);
    w.simd(V.BITMASK);
    w.set(F.X);
    this.lineOf(F.SET, F.X, F.LINE);
    // Whom it held loses its place.
    this.loadAt(F.LINE, this.inSet(SetWord.PAGE));
    w.set(F.X);
    this.dropPlace(table, F.X, F.OLD_PLACE);
    this.loadAt(F.LINE, this.inSet(SetWord.INFO));
    w.get(F.INFO);
    w.op(W.I32_XOR);
    this.and(TlbInfo.GLOBAL);
    w.op(W.I32_EQZ);
    w.set(F.X);
    this.end();
  }

  /** `Filled.add`: two words of local sets, two of global ones. */
  #noteFilled(): void {
    const { w, table } = this;
    const at = F.X;
    const globalToBytes = Math.clz32(8) - Math.clz32(TlbInfo.GLOBAL);
    w.get(F.PAGE);
    this.right(12 + 5 - 2);
    this.and((table.sets / 32 - 1) << 2);
    w.get(F.INFO);
    this.and(TlbInfo.GLOBAL);
    this.right(globalToBytes);
    this.add();
    w.get(F.CPU);
    this.add();
    w.set(at);
    this.storeAt(at, table.filledAt, () => {
      this.loadAt(at, table.filledAt);
      w.i32(1);
      w.get(F.PAGE);
      this.right(12);
      w.op(W.I32_SHL);
      this.or();
    });
  }
}
