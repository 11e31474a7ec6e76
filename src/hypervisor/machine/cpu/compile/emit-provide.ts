/**
 * The block at a machine address: the one that is there, or decoded from templates into the place of its retired predecessor or behind
 * the last block (`block-finder.ts`).
 */
import {
  BLOCK_BYTES_MAX,
  type CacheLayout,
  Header,
  INSTRUCTIONS_MAX,
  MARK_WORDS,
  Mail,
  Mode,
} from '../cache-layout.js';
import { OP_WORDS, Op } from '../ir.js';
import { Field, WINDOW_BYTES } from '../template-layout.js';
import { emitReady } from './emit-templates.js';
import { answerBlock, Call, pushRoot, pushSlot } from './finder-calls.js';
import { Nest } from './nest.js';
import { W } from './wasm-writer.js';

const [MACHINE, MODE, HEADER, TO, ROOM, BYTES, HERE, COUNT, CYCLES, TEMPLATE, MARK, ROOT, START, FRESH, ENDED] = [
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
];
export const PROVIDE_LOCALS = 13;

export function emitProvide(layout: CacheLayout): Uint8Array {
  const n = new Nest(2048);
  const { w } = n;
  const op = (code: number) => w.op(code);
  const unknownIf = () => {
    n.if();
    w.i32(0);
    op(W.RETURN);
    n.end();
  };
  const putHeader = (word: number, value: () => void) => n.storeAt(HEADER, word * 4, value);
  const addTo = (local: number, value: () => void) => {
    w.get(local);
    value();
    op(W.I32_ADD);
    w.set(local);
  };

  // HEADER: the retired block whose place it may take, or 0.
  pushSlot(w, MACHINE, MODE);
  w.set(HERE);
  answerBlock(n, layout, { machine: MACHINE, mode: MODE, slot: HERE, header: HEADER });

  w.get(MODE);
  w.i32(Mode.SINGLE);
  op(W.I32_AND);
  unknownIf();
  pushRoot(w, MODE);
  w.set(ROOT);
  // HERE: end of the page, or of the window.
  w.get(MACHINE);
  w.i32(4095);
  op(W.I32_OR);
  w.i32(1);
  op(W.I32_ADD);
  w.tee(HERE);
  w.get(MACHINE);
  w.i32(WINDOW_BYTES);
  op(W.I32_ADD);
  w.tee(BYTES);
  w.get(HERE);
  w.get(BYTES);
  op(W.I32_LT_U);
  op(W.SELECT);
  w.set(HERE);

  const restart = n.openLoop();
  w.get(HEADER);
  n.if();
  n.loadAt(HEADER, Header.ROOM * 4);
  w.set(ROOM);
  w.get(HEADER);
  w.i32(Header.WORDS * 4);
  op(W.I32_ADD);
  w.set(TO);
  n.else();
  w.i32(0);
  w.memory(W.I32_LOAD, layout.mailAt + Mail.END * 4, 2);
  w.i32(Header.WORDS * 4 + OP_WORDS * 4 - 1);
  op(W.I32_ADD);
  w.i32(-OP_WORDS * 4);
  op(W.I32_AND);
  w.tee(TO);
  w.i32(BLOCK_BYTES_MAX);
  op(W.I32_ADD);
  w.tee(ROOM);
  w.i32(layout.codeEnd);
  op(W.I32_GT_U);
  unknownIf();
  n.end();
  w.get(TO);
  w.set(START);
  w.get(MACHINE);
  w.set(BYTES);
  w.i32(0);
  w.set(COUNT);
  w.i32(0);
  w.set(CYCLES);
  w.i32(0);
  w.set(ENDED);
  w.i32(layout.scratchAt);
  w.set(MARK);

  // BYTES runs as a machine address.
  const decoded = n.open();
  const next = n.openLoop();
  w.get(COUNT);
  w.i32(INSTRUCTIONS_MAX);
  op(W.I32_GE_U);
  n.brIf(decoded);
  w.get(BYTES);
  w.get(HERE);
  w.get(ROOT);
  w.call(Call.MATCH);
  w.tee(TEMPLATE);
  w.i32(0);
  op(W.I32_LT_S);
  n.brIf(decoded);
  w.get(TEMPLATE);
  op(W.I32_EQZ);
  unknownIf();
  w.get(BYTES);
  n.loadAt(TEMPLATE, Field.LENGTH * 4);
  op(W.I32_ADD);
  w.get(HERE);
  op(W.I32_GT_U);
  n.brIf(decoded);
  emitReady(n, { at: BYTES, template: TEMPLATE }, unknownIf);
  // Ops, marks, and a NEXT must fit.
  w.get(TO);
  n.loadAt(TEMPLATE, Field.OPS_END * 4);
  op(W.I32_ADD);
  w.get(TEMPLATE);
  op(W.I32_SUB);
  w.get(MARK);
  op(W.I32_ADD);
  w.i32(MARK_WORDS * 4 - layout.scratchAt - Field.OPS * 4);
  op(W.I32_ADD);
  n.loadAt(TEMPLATE, Field.ENDS * 4);
  op(W.I32_EQZ);
  w.i32(Math.log2(OP_WORDS * 4));
  op(W.I32_SHL);
  op(W.I32_ADD);
  w.get(ROOM);
  op(W.I32_GT_U);
  n.if();
  // The predecessor's place is too small: it is given up.
  putHeader(Header.MODE, () => w.i32(-1));
  w.i32(0);
  w.set(HEADER);
  n.br(restart);
  n.end();
  n.storeAt(MARK, 0, () => {
    w.get(TO);
    w.i32(layout.codeAt);
    op(W.I32_SUB);
    w.i32(2);
    op(W.I32_SHR_U);
  });
  n.storeAt(MARK, 4, () => {
    w.get(BYTES);
    w.get(MACHINE);
    op(W.I32_SUB);
  });
  n.storeAt(MARK, 8, () => w.get(CYCLES));
  addTo(MARK, () => w.i32(MARK_WORDS * 4));
  w.get(TEMPLATE);
  w.get(BYTES);
  w.get(BYTES);
  w.get(MACHINE);
  op(W.I32_SUB);
  w.get(TO);
  w.call(Call.FILL);
  w.set(TO);
  addTo(BYTES, () => n.loadAt(TEMPLATE, Field.LENGTH * 4));
  addTo(CYCLES, () => n.loadAt(TEMPLATE, Field.COST * 4));
  addTo(COUNT, () => w.i32(1));
  n.loadAt(TEMPLATE, Field.ENDS * 4);
  w.tee(ENDED);
  op(W.I32_EQZ);
  n.brIf(next);
  n.end();
  n.end();
  n.end();

  w.get(COUNT);
  op(W.I32_EQZ);
  unknownIf();
  addTo(BYTES, () => {
    w.i32(0);
    w.get(MACHINE);
    op(W.I32_SUB);
  });
  w.get(ENDED);
  op(W.I32_EQZ);
  n.if();
  n.storeAt(TO, 0, () => w.i32(Op.NEXT));
  n.storeAt(TO, 4, () => w.get(BYTES));
  addTo(TO, () => w.i32(OP_WORDS * 4));
  n.end();
  w.get(TO);
  w.i32(layout.scratchAt);
  w.get(MARK);
  w.i32(layout.scratchAt);
  op(W.I32_SUB);
  w.copyMemory();
  // FRESH: is the place a new one?
  w.get(HEADER);
  op(W.I32_EQZ);
  n.if();
  w.i32(1);
  w.set(FRESH);
  w.get(START);
  w.i32(Header.WORDS * 4);
  op(W.I32_SUB);
  w.set(HEADER);
  putHeader(Header.ROOM, () => {
    w.get(TO);
    w.get(MARK);
    op(W.I32_ADD);
    w.i32(layout.scratchAt);
    op(W.I32_SUB);
  });
  n.end();
  putHeader(Header.CYCLES, () => w.get(CYCLES));
  putHeader(Header.INSTRUCTIONS, () => w.get(COUNT));
  putHeader(Header.BYTES, () => w.get(BYTES));
  putHeader(Header.MACHINE, () => w.get(MACHINE));
  putHeader(Header.MODE, () => w.get(MODE));
  putHeader(Header.MARKS, () => {
    w.get(TO);
    w.i32(layout.codeAt);
    op(W.I32_SUB);
    w.i32(2);
    op(W.I32_SHR_U);
  });
  putHeader(Header.SECOND_PAGE, () => w.i32(-1));
  w.get(HEADER);
  w.get(FRESH);
  w.call(Call.ENLIST);
  w.get(HEADER);
  return w.done();
}
