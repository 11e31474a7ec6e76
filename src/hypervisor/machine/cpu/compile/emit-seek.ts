/**
 * The block at a machine address for the interpreter: the one that is there, or a new one if the code there was executed often enough
 * without one, or `WALK` (`block-finder.ts`).
 */
import { CODE_LINE_SHIFT } from '../../memory.js';
import { type CacheLayout, PATIENCE, Page, Seen } from '../cache-layout.js';
import { answerBlock, Call, pushSlot } from './finder-calls.js';
import { Nest } from './nest.js';
import { W } from './wasm-writer.js';

/** There is no block, and for now it is not worth to make one. */
export const WALK = 1;
export const SEEK_LOCALS = 5;

/** `keepAfter`: the global with the executions that need no block. */
export function emitSeek(layout: CacheLayout, keepAfter: number): Uint8Array {
  const n = new Nest(512);
  const { w } = n;
  const op = (code: number) => w.op(code);
  const [MACHINE, MODE, SLOT, HEADER, SEEN, ADDRESS, PAGE] = [0, 1, 2, 3, 4, 5, 6];
  const seenAt = layout.slotsAt + 4;
  const walkWith = (value: () => void) => {
    n.storeAt(SLOT, seenAt, value);
    w.i32(WALK);
    op(W.RETURN);
  };
  pushSlot(w, MACHINE, MODE);
  w.set(SLOT);
  answerBlock(n, layout, { machine: MACHINE, mode: MODE, slot: SLOT, header: HEADER });
  n.loadAt(SLOT, seenAt);
  w.set(SEEN);
  w.get(MACHINE);
  w.i32(Seen.ADDRESS_SHIFT);
  op(W.I32_SHR_U);
  w.tee(ADDRESS);
  w.get(SEEN);
  w.i32(Seen.ADDRESS_SHIFT);
  op(W.I32_SHR_U);
  op(W.I32_NE);
  n.if();
  // Somebody else's, who is not forgotten yet?
  w.get(SEEN);
  w.i32((1 << Seen.ADDRESS_SHIFT) - Seen.OTHERS);
  op(W.I32_AND);
  w.i32(PATIENCE * Seen.OTHERS);
  op(W.I32_LT_U);
  w.get(SEEN);
  w.i32(0);
  op(W.I32_NE);
  op(W.I32_AND);
  n.if();
  walkWith(() => {
    w.get(SEEN);
    w.i32(Seen.OTHERS);
    op(W.I32_ADD);
  });
  n.end();
  w.i32(0);
  w.set(SEEN);
  n.end();
  w.get(SEEN);
  w.i32(Seen.COUNT);
  op(W.I32_AND);
  w.op(W.GLOBAL_GET);
  w.u(keepAfter);
  // Shifted by PATCHED if the line is one of PATCHED_LINES.
  w.get(MACHINE);
  w.i32(12);
  op(W.I32_SHR_U);
  w.i32(Math.log2(Page.WORDS * 4));
  op(W.I32_SHL);
  w.tee(PAGE);
  w.memory(W.I32_LOAD, layout.pagesAt + Page.PATCHED * 4, 2);
  w.i32(0);
  n.loadAt(PAGE, layout.pagesAt + Page.PATCHED_LINES * 4);
  w.get(MACHINE);
  w.i32(CODE_LINE_SHIFT);
  op(W.I32_SHR_U);
  op(W.I32_SHR_U);
  w.i32(1);
  op(W.I32_AND);
  op(W.I32_SUB);
  op(W.I32_AND);
  op(W.I32_SHL);
  op(W.I32_LT_S);
  n.if();
  walkWith(() => {
    w.get(ADDRESS);
    w.i32(Seen.ADDRESS_SHIFT);
    op(W.I32_SHL);
    w.get(SEEN);
    w.i32(Seen.COUNT);
    op(W.I32_AND);
    w.i32(1);
    op(W.I32_ADD);
    op(W.I32_OR);
  });
  n.end();
  // It is seen as often until there is a block: where it has to be decoded in full, the run loop comes here once more before.
  w.get(MACHINE);
  w.get(MODE);
  op(W.RETURN_CALL);
  w.u(Call.PROVIDE);
  return w.done();
}
