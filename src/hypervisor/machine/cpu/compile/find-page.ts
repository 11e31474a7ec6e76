/**
 * From a linear address to machine memory, where the comparison in line has failed: the page may be in the TLB's sets but not in its
 * place, its place may lack the tag, or it has to be walked for. This does what `Core.translate`, `Tlb` and `PageWalker` do, with
 * the same charge, the same replacement and the same accessed and dirty bits, for accesses that succeed and reach RAM. It refuses, and
 * leaves untouched, devices, operands across a page end, stores to where code may be, and faults where its user says so.
 *
 * Its users (`runtime.ts`) are functions that have it in line: a call would be a tenth of a miss.
 */

import { DATA_ADDEND, LINE_INFO, LINE_PAGE, NO_TAG, NO_TAG_BITS, SetWord, TlbInfo } from '../../mmu/tlb.js';
import { READABLE } from '../layout.js';
import { Cr0, S } from '../state.js';
import { Access } from './emit-memory.js';
import { FillWords } from './find-fill.js';
import { F } from './find-words.js';
import { DATA_TABLE } from './tlb-words.js';
import { W } from './wasm-writer.js';

/** Bits of the information word, moved to where a bit in a tag means that there is none. */
const TO_TAG = 2;
const tagBits = (info: number): number => (info << TO_TAG) & NO_TAG_BITS;
/** From CR0.WP to where `TlbInfo.WRITABLE` is in a tag. */
const WP_TO_TAG = Math.clz32(TlbInfo.WRITABLE << TO_TAG) - Math.clz32(Cr0.WP);

export class FindWriter extends FillWords {
  /** As `WalkWords`. */
  constructor(codeLinesAt: number, faulted: (() => void) | null) {
    super(DATA_TABLE, codeLinesAt, faulted);
  }

  /**
   * The function: `(cpu, ea, packed, ...)` with `findLocals`. `refuse` pushes its answer to what is refused, `use` that of an access that
   * has been found (`pushMachine`).
   */
  code(refuse: () => void, use: () => void): Uint8Array {
    const { w } = this;
    const found = this.open();
    this.refused = this.open();
    this.#address();
    this.need();
    const walk = this.open();
    this.#held(walk);
    this.#place();
    this.br(found);
    this.end();
    this.walk();
    this.fill();
    this.#place();
    this.br(found);
    this.end();
    refuse();
    w.op(W.RETURN);
    this.end();
    use();
    return w.done();
  }

  /** Pushes the machine address that was found. */
  pushMachine(): void {
    this.w.get(F.LINEAR);
    this.w.get(F.ADDEND);
    this.add();
  }

  /** The linear address of an access within the segment and one page, and where its page would be. */
  #address(): void {
    const { w } = this;
    // READABLE and WRITABLE are neighbours, eight words each.
    w.get(F.EA);
    w.get(F.PACKED);
    this.right(Access.WRITE_SHIFT - 3);
    this.and(8);
    w.get(F.PACKED);
    this.and(15);
    this.add();
    this.left(2);
    w.get(F.CPU);
    this.add();
    w.memory(W.I32_LOAD, READABLE * 4, 2);
    w.op(W.I32_GE_U);
    this.refuseIf();
    w.get(F.PACKED);
    this.and(15);
    this.left(4);
    w.get(F.CPU);
    this.add();
    w.memory(W.I32_LOAD, (S.SEG + 1) * 4, 2);
    w.get(F.EA);
    this.add();
    w.tee(F.LINEAR);
    this.and(4095);
    w.get(F.PACKED);
    this.right(4);
    this.and(15);
    this.add();
    w.i32(4096);
    w.op(W.I32_GT_U);
    this.refuseIf();
    w.get(F.LINEAR);
    this.and(-4096);
    w.set(F.PAGE);
    this.locate();
  }

  /** Where a line has the page and suffices, it knows all; else it leaves LINE behind and goes on behind `walk`. */
  #held(walk: number): void {
    const { w } = this;
    this.seekLine(walk);
    w.get(F.INFO);
    this.and(TlbInfo.DEVICE);
    this.refuseIf();
    this.loadAt(F.LINE, this.inSet(SetWord.MACHINE));
    w.set(F.ADDEND);
    this.leaveCode();
  }

  /** The page's place and its tags (`Tlb.retag`): the page's address, with bits for what is lacking (`NO_TAG`). */
  #place(): void {
    const { w } = this;
    const lacking = F.OLD_PLACE;
    const quiet = F.FILL;
    w.get(F.INFO);
    w.i32(-1);
    w.op(W.I32_XOR);
    this.left(TO_TAG);
    w.set(lacking);
    // For both kinds of stores: no code in the page, and it is dirty already.
    w.get(F.PAGE);
    w.i32(NO_TAG);
    w.op(W.I32_ADD);
    w.get(F.PAGE);
    w.get(F.CODE);
    w.op(W.SELECT);
    w.set(quiet);
    const tag = (number: number, from: number, needed: number, more: () => void = () => {}) =>
      this.storeAt(F.PLACE, this.inPlace(number), () => {
        w.get(from);
        w.get(lacking);
        this.and(tagBits(needed));
        more();
        this.or();
      });
    this.storeAt(F.PLACE, this.inPlace(0), () => w.get(F.PAGE));
    tag(1, quiet, TlbInfo.WRITABLE | TlbInfo.DIRTY, () => {
      this.loadState(S.CR0);
      this.right(WP_TO_TAG);
      this.and(tagBits(TlbInfo.WRITABLE));
      w.i32(tagBits(TlbInfo.DIRTY));
      this.or();
      w.op(W.I32_AND);
    });
    tag(2, F.PAGE, TlbInfo.USER);
    tag(3, quiet, TlbInfo.USER | TlbInfo.WRITABLE | TlbInfo.DIRTY);
    this.storeAt(F.PLACE, this.inPlace(DATA_ADDEND), () => w.get(F.ADDEND));
    this.storeAt(F.PLACE, this.inPlace(LINE_PAGE), () => w.get(F.PAGE));
    this.storeAt(F.PLACE, this.inPlace(LINE_INFO), () => w.get(F.INFO));
  }
}
