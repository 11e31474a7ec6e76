/**
 * Finds the template of an instruction by its bytes, and puts into its ops what differs from one instruction to the next: into a copy,
 * where a block is made, or where they lie, to be executed at once (`templates.ts`, `block-finder.ts`, `emit-interpreter.ts`).
 */
import type { CacheLayout } from '../cache-layout.js';
import { OP_WORDS } from '../ir.js';
import { Field, Head, How, Kind, Patch } from '../template-layout.js';
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
 * What the trie has in a local becomes the template that can be filled in for the instruction at `at`: itself, or the one for its
 * immediate. `elseIf` pops a condition under which there is none.
 */
export function emitReady(
  n: Nest,
  { at, template }: { readonly at: number; readonly template: number },
  elseIf: () => void,
): void {
  const { w } = n;
  const isHead = () => {
    n.loadAt(template, Head.KIND * 4);
    w.i32(0);
    w.op(W.I32_LT_S);
  };
  isHead();
  n.if();
  n.loadAt(template, Head.KIND * 4);
  w.i32(Kind.BY_IMMEDIATE);
  w.op(W.I32_NE);
  elseIf();
  w.get(at);
  n.loadAt(template, Head.IMMEDIATE_AT * 4);
  w.op(W.I32_ADD);
  w.memory(W.I32_LOAD8_U, 0);
  w.i32(2);
  w.op(W.I32_SHL);
  n.loadAt(template, Head.EXACT_AT * 4);
  w.op(W.I32_ADD);
  w.memory(W.I32_LOAD, 0, 2);
  w.tee(template);
  w.op(W.I32_EQZ);
  elseIf();
  isHead();
  elseIf();
  n.end();
}

interface PatchLocals {
  readonly patch: number;
  readonly ops: number;
  readonly opsOffset: number;
  readonly at: number;
  readonly delta?: number;
  readonly word: number;
  readonly how: number;
}

/**
 * Does the patch at `offset` bytes from the address in `patch` on the ops that begin `opsOffset` bytes behind the address in `ops`, for the
 * instruction at `at`. `delta`: its distance from its block's EIP, if it is not 0.
 */
function emitPatch(n: Nest, locals: PatchLocals, offset: number): void {
  const { w } = n;
  const op = (code: number) => w.op(code);
  const { patch, ops, opsOffset, at, delta, word, how } = locals;
  const part = (word: number) => n.loadAt(patch, offset + word * 4);
  /** Pushes `How` from a bit on; shifts count modulo 32. */
  const parts = (shift: number) => {
    w.get(how);
    w.i32(shift);
    op(W.I32_SHR_U);
  };
  part(Patch.HOW);
  w.set(how);
  w.get(ops);
  parts(How.WHERE_SHIFT);
  w.i32(How.WHERE);
  op(W.I32_AND);
  op(W.I32_ADD);
  // Up to three bytes behind the instruction are shifted out.
  w.get(at);
  w.get(how);
  w.i32(How.PLACE);
  op(W.I32_AND);
  op(W.I32_ADD);
  w.memory(W.I32_LOAD, 0);
  parts(How.UP_SHIFT);
  op(W.I32_SHL);
  parts(How.UP_SHIFT);
  op(W.I32_SHR_S);
  part(Patch.MASK);
  op(W.I32_AND);
  if (delta !== undefined) {
    w.get(delta);
    w.get(how);
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
  parts(How.DOWN_SHIFT);
  op(W.I32_SHR_U);
  part(Patch.KEEP);
  op(W.I32_AND);
  w.memory(W.I32_STORE, opsOffset, 2);
}

/** Does the patches from the address in the local `patch` up to that in `end`. */
function emitPatches(n: Nest, locals: PatchLocals, end: number): void {
  const { w } = n;
  const { patch } = locals;
  const done = n.open();
  const loop = n.openLoop();
  w.get(patch);
  w.get(end);
  w.op(W.I32_GE_U);
  n.brIf(done);
  emitPatch(n, locals, 0);
  w.get(patch);
  w.i32(Patch.WORDS * 4);
  w.op(W.I32_ADD);
  w.set(patch);
  n.br(loop);
  n.end();
  n.end();
}

/** PATCH: where the patches behind the ops of a template begin. */
function patchesBehindOps(n: Nest, template: number, patch: number): void {
  const { w } = n;
  n.loadAt(template, Field.OPS_END * 4);
  w.i32(OP_WORDS * 4);
  w.op(W.I32_ADD);
  w.set(patch);
}

export const FILL_LOCALS = 6;

export function emitFill(): Uint8Array {
  const n = new Nest(1024);
  const { w } = n;
  const op = (code: number) => w.op(code);
  const [TEMPLATE, AT, DELTA, TO, FROM, PATCH, END, OPS, WORD, HOW] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
  const step = (local: number) => {
    w.get(local);
    w.i32(OP_WORDS * 4);
    op(W.I32_ADD);
    w.set(local);
  };
  w.get(TO);
  w.set(OPS);
  w.get(TEMPLATE);
  w.i32(Field.OPS * 4);
  op(W.I32_ADD);
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
  const locals = { patch: TEMPLATE, ops: OPS, opsOffset: 0, at: AT, delta: DELTA, word: WORD, how: HOW };
  // Where the one that does nothing writes there is no `STEP` here.
  n.loadAt(TEMPLATE, (Field.PATCH + Patch.KEEP) * 4);
  n.if();
  emitPatch(n, locals, Field.PATCH * 4);
  n.end();
  patchesBehindOps(n, TEMPLATE, PATCH);
  n.loadAt(TEMPLATE, Field.PATCHES_END * 4);
  w.set(END);
  emitPatches(n, { ...locals, patch: PATCH }, END);
  w.get(TO);
  return w.done();
}

export const STEP_LOCALS = 7;

/**
 * `step(at, root)`: the template of the instruction at a machine address, ready to be executed; 0 where it has none that can be filled in, or
 * goes on in the next page.
 */
export function emitStep(layout: CacheLayout): Uint8Array {
  const n = new Nest(1024);
  const { w } = n;
  const op = (code: number) => w.op(code);
  const [AT, NODE, TEMPLATE, END, PATCH, WORD, LAST, HOW] = [0, 1, 2, 3, 4, 5, 6, 7];
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
  n.loadAt(TEMPLATE, Head.LENGTH * 4);
  op(W.I32_ADD);
  w.get(END);
  op(W.I32_GT_U);
  noneIf();
  emitReady(n, { at: AT, template: TEMPLATE }, noneIf);
  const locals = { patch: TEMPLATE, ops: TEMPLATE, opsOffset: Field.OPS * 4, at: AT, word: WORD, how: HOW };
  emitPatch(n, locals, Field.PATCH * 4);
  patchesBehindOps(n, TEMPLATE, PATCH);
  n.loadAt(TEMPLATE, Field.STEP_PATCHES_END * 4);
  w.set(END);
  emitPatches(n, { ...locals, patch: PATCH }, END);
  w.get(TEMPLATE);
  return w.done();
}
