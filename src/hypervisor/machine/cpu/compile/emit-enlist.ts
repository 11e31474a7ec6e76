/** A block was decoded: it gets its place in the hash and under its pages, whose lines hold code from now on (`block-finder.ts`). */
import { CODE_LINE_SHIFT } from '../../memory.js';
import { type CacheLayout, Header, Mail, Page, Walked } from '../cache-layout.js';
import { Call, pushSlot, pushWalked } from './finder-calls.js';
import { Nest } from './nest.js';
import { W } from './wasm-writer.js';

export function emitEnlist(layout: CacheLayout): Uint8Array {
  const n = new Nest(512);
  const { w } = n;
  const op = (code: number) => w.op(code);
  const [HEADER, FRESH, A, B, FIRST, LAST] = [0, 1, 2, 3, 4, 5];
  for (const word of [Header.TAKEN, Header.FALL, Header.HEAT, Header.ENTERED]) {
    n.storeAt(HEADER, word * 4, () => w.i32(0));
  }
  w.i32(0);
  w.i32(0);
  w.memory(W.I32_LOAD, layout.mailAt + Mail.DECODED * 4, 2);
  w.i32(1);
  op(W.I32_ADD);
  w.memory(W.I32_STORE, layout.mailAt + Mail.DECODED * 4, 2);
  n.loadAt(HEADER, Header.MACHINE * 4);
  w.set(FIRST);
  n.loadAt(HEADER, Header.MODE * 4);
  w.set(B);
  pushSlot(w, FIRST, B);
  w.set(A);
  // Nobody walks there any more.
  pushWalked(w, FIRST);
  w.i32(0);
  w.memory(W.I32_STORE, layout.walkedAt + Walked.COUNT * 4, 2);
  w.get(FRESH);
  n.if();
  n.storeAt(HEADER, Header.NUMBER * 4, () => w.i32(0));
  w.i32(0);
  n.loadAt(HEADER, Header.ROOM * 4);
  w.memory(W.I32_STORE, layout.mailAt + Mail.END * 4, 2);
  // First in its slot.
  n.storeAt(HEADER, Header.CHAIN * 4, () => n.loadAt(A, layout.slotsAt));
  n.storeAt(A, layout.slotsAt, () => w.get(HEADER));
  n.end();
  /** First on the page of machine address FIRST, whose lines up to that of LAST hold code. */
  const list = (link: number) => {
    w.get(FRESH);
    n.if();
    w.get(FIRST);
    w.i32(12);
    op(W.I32_SHR_U);
    w.i32(Math.log2(Page.WORDS * 4));
    op(W.I32_SHL);
    w.set(A);
    n.storeAt(HEADER, link * 4, () => n.loadAt(A, layout.pagesAt));
    n.storeAt(A, layout.pagesAt, () => w.get(HEADER));
    n.storeAt(A, layout.pagesAt + Page.QUIET * 4, () => w.i32(0));
    n.end();
    w.get(FIRST);
    w.i32(12);
    op(W.I32_SHR_U);
    w.i32(2);
    op(W.I32_SHL);
    w.tee(A);
    w.memory(W.I32_LOAD, layout.codeLinesAt, 2);
    w.tee(B);
    op(W.I32_EQZ);
    n.if();
    w.get(FIRST);
    w.i32(12);
    op(W.I32_SHR_U);
    w.call(Call.WATCH);
    n.end();
    // As `linesOf`: shifts count modulo 32.
    n.storeAt(A, layout.codeLinesAt, () => {
      w.get(B);
      w.i32(-1);
      w.get(FIRST);
      w.i32(CODE_LINE_SHIFT);
      op(W.I32_SHR_U);
      op(W.I32_SHL);
      w.i32(-1);
      w.i32(31);
      w.get(LAST);
      w.i32(CODE_LINE_SHIFT);
      op(W.I32_SHR_U);
      op(W.I32_SUB);
      op(W.I32_SHR_U);
      op(W.I32_AND);
      op(W.I32_OR);
    });
  };
  w.get(FIRST);
  n.loadAt(HEADER, Header.BYTES * 4);
  op(W.I32_ADD);
  w.i32(1);
  op(W.I32_SUB);
  w.set(LAST);
  n.loadAt(HEADER, Header.SECOND_PAGE * 4);
  w.i32(0);
  op(W.I32_GE_S);
  n.if();
  w.get(FIRST);
  w.i32(4095);
  op(W.I32_OR);
  w.set(LAST);
  list(Header.PAGE_NEXT);
  n.loadAt(HEADER, Header.SECOND_PAGE * 4);
  w.tee(A);
  w.get(FIRST);
  n.loadAt(HEADER, Header.BYTES * 4);
  op(W.I32_ADD);
  w.i32(1);
  op(W.I32_SUB);
  w.i32(4095);
  op(W.I32_AND);
  op(W.I32_OR);
  w.set(LAST);
  w.get(A);
  w.set(FIRST);
  list(Header.SECOND_NEXT);
  n.else();
  list(Header.PAGE_NEXT);
  n.end();
  return w.done();
}
