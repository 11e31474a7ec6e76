/**
 * Finds the template of an instruction by its bytes, and puts into its ops what differs from one instruction to the next: into a copy,
 * where a block is made, or where they lie, to be executed at once (`templates.ts`, `block-finder.ts`, `emit-interpreter.ts`).
 */
import type { CacheLayout } from '../cache-layout.js';
import { OP_WORDS } from '../ir.js';
import { Field, Kind, Operand, Patch } from '../template-layout.js';
import { Nest } from './nest.js';
import { Type, W } from './wasm-writer.js';

/** Locals: where the instruction is, what ends there, a node of the trie to begin with, and one more. Pushes what `match` answers. */
interface Descent {
  readonly at: number;
  readonly end: number;
  readonly node: number;
  readonly next: number;
}

function pushMatch(n: Nest, layout: CacheLayout, { at, end, node, next }: Descent): void {
  const { w } = n;
  const found = n.open(Type.I32);
  const loop = n.openLoop();
  w.i32(-1);
  w.get(at);
  w.get(end);
  w.op(W.I32_GE_U);
  n.brIf(found);
  w.op(W.DROP);
  w.get(node);
  w.i32(10);
  w.op(W.I32_SHL);
  w.get(at);
  w.memory(W.I32_LOAD8_U, 0);
  w.i32(2);
  w.op(W.I32_SHL);
  w.op(W.I32_ADD);
  w.memory(W.I32_LOAD, layout.trieAt, 2);
  w.tee(next);
  w.i32(0);
  w.op(W.I32_GT_S);
  n.if();
  w.get(next);
  w.set(node);
  w.get(at);
  w.i32(1);
  w.op(W.I32_ADD);
  w.set(at);
  n.br(loop);
  n.end();
  n.end();
  w.i32(0);
  w.get(next);
  w.op(W.I32_SUB);
  n.end();
}

export function emitMatch(layout: CacheLayout): Uint8Array {
  const n = new Nest(128);
  pushMatch(n, layout, { at: 0, end: 1, node: 2, next: 3 });
  return n.w.done();
}

/**
 * The template in a local becomes the one that can be filled in for the instruction at `at`: itself, or the one for its immediate.
 * `elseIf` pops a condition under which there is none.
 */
export function emitReady(
  n: Nest,
  { at, template }: { readonly at: number; readonly template: number },
  elseIf: () => void,
): void {
  const { w } = n;
  const isNot = (kind: number) => {
    n.loadAt(template, Field.KIND * 4);
    w.i32(kind);
    w.op(W.I32_NE);
  };
  isNot(Kind.READY);
  n.if();
  isNot(Kind.BY_IMMEDIATE);
  elseIf();
  w.get(at);
  n.loadAt(template, Field.IMMEDIATE_AT * 4);
  w.op(W.I32_ADD);
  w.memory(W.I32_LOAD8_U, 0);
  w.i32(2);
  w.op(W.I32_SHL);
  n.loadAt(template, Field.EXACT_AT * 4);
  w.op(W.I32_ADD);
  w.memory(W.I32_LOAD, 0, 2);
  w.tee(template);
  w.op(W.I32_EQZ);
  elseIf();
  isNot(Kind.READY);
  elseIf();
  n.end();
}

/**
 * Does the patches from the address in `patch` to that in `end` on the ops at that in `ops`, for the instruction at `at`. `delta`:
 * its distance from its block's EIP, if it is not 0.
 */
function emitPatches(
  n: Nest,
  locals: {
    readonly patch: number;
    readonly end: number;
    readonly ops: number;
    readonly at: number;
    readonly delta?: number;
    readonly word: number;
  },
): void {
  const { w } = n;
  const op = (code: number) => w.op(code);
  const { patch, end, ops, at, delta, word } = locals;
  const part = (word: number) => n.loadAt(patch, word * 4);
  const up = () => {
    part(Patch.HOW);
    w.i32(Operand.UP_SHIFT);
    op(W.I32_SHR_U);
  };
  const done = n.open();
  const loop = n.openLoop();
  w.get(patch);
  w.get(end);
  op(W.I32_GE_U);
  n.brIf(done);
  w.get(ops);
  part(Patch.WHERE);
  op(W.I32_ADD);
  // Up to three bytes behind the instruction are shifted out.
  w.get(at);
  part(Patch.HOW);
  w.i32(Operand.PLACE);
  op(W.I32_AND);
  op(W.I32_ADD);
  w.memory(W.I32_LOAD, 0);
  up();
  op(W.I32_SHL);
  up();
  op(W.I32_SHR_S);
  part(Patch.MASK);
  op(W.I32_AND);
  if (delta !== undefined) {
    w.get(delta);
    part(Patch.HOW);
    w.i32(31);
    op(W.I32_SHR_S);
    op(W.I32_AND);
    op(W.I32_ADD);
  }
  w.tee(word);
  part(Patch.ADD);
  op(W.I32_ADD);
  w.get(word);
  part(Patch.OTHER);
  op(W.I32_ADD);
  op(W.I32_OR);
  part(Patch.HOW);
  w.i32(Operand.DOWN_SHIFT);
  op(W.I32_SHR_U);
  op(W.I32_SHR_U);
  part(Patch.KEEP);
  op(W.I32_AND);
  w.memory(W.I32_STORE, 0, 2);
  w.get(patch);
  w.i32(Patch.WORDS * 4);
  op(W.I32_ADD);
  w.set(patch);
  n.br(loop);
  n.end();
  n.end();
}

export const FILL_LOCALS = 5;

export function emitFill(): Uint8Array {
  const n = new Nest(1024);
  const { w } = n;
  const op = (code: number) => w.op(code);
  const [TEMPLATE, AT, DELTA, TO, FROM, PATCH, END, OPS, WORD] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
  const step = (local: number) => {
    w.get(local);
    w.i32(OP_WORDS * 4);
    op(W.I32_ADD);
    w.set(local);
  };
  w.get(TO);
  w.set(OPS);
  n.loadAt(TEMPLATE, Field.OPS_AT * 4);
  w.set(FROM);
  n.loadAt(TEMPLATE, Field.OPS_END * 4);
  w.set(END);
  const copied = n.open();
  const copy = n.openLoop();
  w.get(FROM);
  w.get(END);
  op(W.I32_GE_U);
  n.brIf(copied);
  for (let offset = 0; offset < OP_WORDS * 4; offset += 8) {
    w.get(TO);
    w.get(FROM);
    w.memory(W.I64_LOAD, offset, 3);
    w.memory(W.I64_STORE, offset, 3);
  }
  step(TO);
  step(FROM);
  n.br(copy);
  n.end();
  n.end();
  n.loadAt(TEMPLATE, Field.PATCHES_AT * 4);
  w.set(PATCH);
  n.loadAt(TEMPLATE, Field.PATCHES_END * 4);
  w.set(END);
  emitPatches(n, { patch: PATCH, end: END, ops: OPS, at: AT, delta: DELTA, word: WORD });
  w.get(TO);
  return w.done();
}

export const STEP_LOCALS = 6;

/**
 * `step(at, root)`: the template of the instruction at a machine address, ready to be executed; 0 where it has none that can be filled in, or
 * goes on in the next page.
 */
export function emitStep(layout: CacheLayout): Uint8Array {
  const n = new Nest(1024);
  const { w } = n;
  const op = (code: number) => w.op(code);
  const [AT, NODE, TEMPLATE, END, PATCH, OPS, WORD, LAST] = [0, 1, 2, 3, 4, 5, 6, 7];
  /** Pops a condition; if it holds there is nothing to execute. */
  const noneIf = () => {
    n.if();
    w.i32(0);
    op(W.RETURN);
    n.end();
  };
  w.get(AT);
  w.set(LAST);
  w.get(AT);
  w.i32(4095);
  op(W.I32_OR);
  w.i32(1);
  op(W.I32_ADD);
  w.set(END);
  pushMatch(n, layout, { at: LAST, end: END, node: NODE, next: TEMPLATE });
  w.tee(TEMPLATE);
  w.i32(0);
  op(W.I32_LE_S);
  noneIf();
  w.get(AT);
  n.loadAt(TEMPLATE, Field.LENGTH * 4);
  op(W.I32_ADD);
  w.get(END);
  op(W.I32_GT_U);
  noneIf();
  emitReady(n, { at: AT, template: TEMPLATE }, noneIf);
  n.loadAt(TEMPLATE, Field.OPS_AT * 4);
  w.set(OPS);
  n.loadAt(TEMPLATE, Field.PATCHES_AT * 4);
  w.set(PATCH);
  n.loadAt(TEMPLATE, Field.STEP_PATCHES_END * 4);
  w.set(END);
  emitPatches(n, { patch: PATCH, end: END, ops: OPS, at: AT, word: WORD });
  w.get(TEMPLATE);
  return w.done();
}
