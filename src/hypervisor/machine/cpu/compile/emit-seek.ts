/**
 * The block at a machine address for the interpreter: the one that is there, or a new one if the code there was executed before, or `WALK`
 * (`block-finder.ts`). Code that is executed for the first time needs two words that it shares with its neighbours for that, and none of
 * the hash of blocks.
 */
import { CODE_LINE_SHIFT } from '../../memory.js';
import { type CacheLayout, Page, Walked } from '../cache-layout.js';
import { answerBlock, Call, pushSlot, pushWalked } from './finder-calls.js';
import { Nest } from './nest.js';
import { W } from './wasm-writer.js';

/** There is no block, and for now it is not worth to make one. */
export const WALK = 1;
export const SEEK_LOCALS = 5;

/** `walks`: the global that says whether code is walked. */
export function emitSeek(layout: CacheLayout, walks: number): Uint8Array {
  const n = new Nest(512);
  const { w } = n;
  const op = (code: number) => w.op(code);
  const [MACHINE, MODE, SLOT, HEADER, LINE, SEEN, BIT] = [0, 1, 2, 3, 4, 5, 6];
  const onceAt = layout.walkedAt + Walked.ONCE * 4;
  const countAt = layout.walkedAt + Walked.COUNT * 4;
  const pageOf = (wordBytes: number) => {
    w.get(MACHINE);
    w.i32(12);
    op(W.I32_SHR_U);
    w.i32(Math.log2(wordBytes));
    op(W.I32_SHL);
  };
  /** Pops a word with a bit for each line of the page, and pushes that of the line as 0 or 1. Shifts count modulo 32. */
  const bitOfLine = () => {
    w.get(MACHINE);
    w.i32(CODE_LINE_SHIFT);
    op(W.I32_SHR_U);
    op(W.I32_SHR_U);
    w.i32(1);
    op(W.I32_AND);
  };
  const walk = () => {
    w.i32(WALK);
    op(W.RETURN);
  };

  pageOf(4);
  w.memory(W.I32_LOAD, layout.codeLinesAt, 2);
  bitOfLine();
  n.if();
  pushSlot(w, MACHINE, MODE);
  w.set(SLOT);
  answerBlock(n, layout, { machine: MACHINE, mode: MODE, slot: SLOT, header: HEADER });
  n.end();

  w.op(W.GLOBAL_GET);
  w.u(walks);
  n.if();
  pushWalked(w, MACHINE);
  w.set(LINE);
  // SEEN: executions of a patched line; of any other, was there one at this address?
  pageOf(Page.WORDS * 4);
  w.memory(W.I32_LOAD, layout.pagesAt + Page.PATCHED_LINES * 4, 2);
  bitOfLine();
  n.if();
  n.loadAt(LINE, countAt);
  w.tee(SEEN);
  w.i32(1);
  pageOf(Page.WORDS * 4);
  w.memory(W.I32_LOAD, layout.pagesAt + Page.PATCHED * 4, 2);
  op(W.I32_SHL);
  op(W.I32_LT_S);
  n.if();
  n.storeAt(LINE, countAt, () => {
    w.get(SEEN);
    w.i32(1);
    op(W.I32_ADD);
  });
  walk();
  n.end();
  n.else();
  n.loadAt(LINE, onceAt);
  w.tee(SEEN);
  w.i32(1);
  w.get(MACHINE);
  w.i32(2);
  op(W.I32_SHR_U);
  op(W.I32_SHL);
  w.tee(BIT);
  op(W.I32_AND);
  op(W.I32_EQZ);
  n.if();
  n.storeAt(LINE, onceAt, () => {
    w.get(SEEN);
    w.get(BIT);
    op(W.I32_OR);
  });
  walk();
  n.end();
  n.end();
  n.end();
  // It counts as executed until there is a block: where it has to be decoded in full, the run loop comes here once more before.
  w.get(MACHINE);
  w.get(MODE);
  op(W.RETURN_CALL);
  w.u(Call.PROVIDE);
  return w.done();
}
