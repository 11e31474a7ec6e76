/** Finds the template of an instruction by its bytes, and writes the ops that it stands for (`templates.ts`, `block-finder.ts`). */
import type { CacheLayout } from '../cache-layout.js';
import { OP_WORDS } from '../ir.js';
import { Field, From, PATCH_WORDS } from '../template-layout.js';
import { Call } from './finder-calls.js';
import { Nest } from './nest.js';
import { Type, W } from './wasm-writer.js';

export function emitMatch(layout: CacheLayout): Uint8Array {
  const n = new Nest(128);
  const { w } = n;
  const [AT, END, NODE, NEXT] = [0, 1, 2, 3];
  const loop = n.openLoop();
  w.get(AT);
  w.get(END);
  w.op(W.I32_GE_U);
  n.if();
  w.i32(-1);
  w.op(W.RETURN);
  n.end();
  w.get(NODE);
  w.i32(10);
  w.op(W.I32_SHL);
  w.get(AT);
  w.memory(W.I32_LOAD8_U, 0);
  w.i32(2);
  w.op(W.I32_SHL);
  w.op(W.I32_ADD);
  w.memory(W.I32_LOAD, layout.trieAt, 2);
  w.tee(NEXT);
  w.i32(0);
  w.op(W.I32_GT_S);
  n.if();
  w.get(NEXT);
  w.set(NODE);
  w.get(AT);
  w.i32(1);
  w.op(W.I32_ADD);
  w.set(AT);
  n.br(loop);
  n.end();
  n.end();
  w.i32(0);
  w.get(NEXT);
  w.op(W.I32_SUB);
  return w.done();
}

export function emitFill(): Uint8Array {
  const n = new Nest(512);
  const { w } = n;
  const op = (code: number) => w.op(code);
  const [TEMPLATE, AT, DELTA, TO, FROM, PATCHES, END] = [0, 1, 2, 3, 4, 5, 6];
  const field = (number: number) => n.loadAt(TEMPLATE, number * 4);
  const step = (local: number, bytes: number) => {
    w.get(local);
    w.i32(bytes);
    op(W.I32_ADD);
    w.set(local);
  };
  const signed = (at: number, size: number) => {
    w.get(AT);
    field(at);
    op(W.I32_ADD);
    field(size);
    w.call(Call.SIGNED);
  };
  const displacement = () => signed(Field.DISPLACEMENT_AT, Field.DISPLACEMENT_SIZE);
  const immediate = () => signed(Field.IMMEDIATE_AT, Field.IMMEDIATE_SIZE);
  /** Cuts what was pushed to so many bytes: size 4 shifts by 0. */
  const unsigned = (value: () => void, size: number) => {
    const up = () => {
      w.i32(32);
      field(size);
      w.i32(3);
      op(W.I32_SHL);
      op(W.I32_SUB);
    };
    value();
    up();
    op(W.I32_SHL);
    up();
    op(W.I32_SHR_U);
  };
  const target = () => {
    w.get(DELTA);
    field(Field.LENGTH);
    op(W.I32_ADD);
    immediate();
    op(W.I32_ADD);
  };
  const word = () => {
    w.i32(0xffff);
    op(W.I32_AND);
  };
  const sources: Readonly<Record<number, () => void>> = {
    [From.DISPLACEMENT]: displacement,
    [From.DISPLACEMENT_WORD]: () => {
      displacement();
      word();
    },
    [From.IMMEDIATE]: immediate,
    [From.IMMEDIATE_ZERO]: () => unsigned(immediate, Field.IMMEDIATE_SIZE),
    [From.IMMEDIATE_2]: () =>
      unsigned(() => signed(Field.IMMEDIATE_2_AT, Field.IMMEDIATE_2_SIZE), Field.IMMEDIATE_2_SIZE),
    [From.DELTA]: () => w.get(DELTA),
    [From.TARGET]: target,
    [From.TARGET_WORD]: () => {
      target();
      word();
    },
    [From.BACKWARD]: () => {
      field(Field.LENGTH);
      immediate();
      op(W.I32_ADD);
      w.i32(0);
      op(W.I32_LE_S);
    },
  };

  field(Field.WORDS_AT);
  w.set(FROM);
  field(Field.PATCHES_AT);
  w.set(PATCHES);
  field(Field.PATCHES_END);
  w.set(END);
  // Patches name their words by their distance from the end of the ops.
  const copied = n.open();
  const copy = n.openLoop();
  w.get(FROM);
  w.get(PATCHES);
  op(W.I32_GE_U);
  n.brIf(copied);
  for (let offset = 0; offset < OP_WORDS * 4; offset += 8) {
    w.get(TO);
    w.get(FROM);
    w.memory(W.I64_LOAD, offset, 3);
    w.memory(W.I64_STORE, offset, 3);
  }
  step(TO, OP_WORDS * 4);
  step(FROM, OP_WORDS * 4);
  n.br(copy);
  n.end();
  n.end();
  const done = n.open();
  const loop = n.openLoop();
  w.get(PATCHES);
  w.get(END);
  op(W.I32_GE_U);
  n.brIf(done);
  w.get(TO);
  n.loadAt(PATCHES, 0);
  op(W.I32_ADD);
  const value = n.open(Type.I32);
  const labels = Object.keys(sources).map(() => n.open());
  n.loadAt(PATCHES, 4);
  op(W.BR_TABLE);
  w.u(labels.length - 1);
  for (let source = 0; source < labels.length; source++) w.u(n.depth - labels[labels.length - 1 - source]!);
  for (let source = 0; source < labels.length; source++) {
    n.end();
    sources[source]!();
    n.br(value);
  }
  w.op(W.UNREACHABLE);
  n.end();
  n.loadAt(PATCHES, 8);
  op(W.I32_ADD);
  w.memory(W.I32_STORE, 0, 2);
  step(PATCHES, PATCH_WORDS * 4);
  n.br(loop);
  n.end();
  n.end();
  w.get(TO);
  return w.done();
}

export function emitSigned(): Uint8Array {
  const n = new Nest(64);
  const { w } = n;
  const [AT, SIZE] = [0, 1];
  for (const [size, load] of [
    [4, W.I32_LOAD],
    [1, W.I32_LOAD8_S],
    [2, W.I32_LOAD16_S],
  ] as const) {
    w.get(SIZE);
    w.i32(size);
    w.op(W.I32_EQ);
    n.if();
    w.get(AT);
    w.memory(load, 0);
    w.op(W.RETURN);
    n.end();
  }
  w.i32(0);
  return w.done();
}
