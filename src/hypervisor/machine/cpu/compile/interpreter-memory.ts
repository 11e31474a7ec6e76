/** The interpreter's cases of loads and stores. */
import { DATA_PLACES } from '../../mmu/tlb.js';
import { Op } from '../ir.js';
import { READABLE, TLB_AT, WRITABLE } from '../layout.js';
import { segBase } from '../state.js';
import { Access } from './emit-memory.js';
import { ADDEND, placeOffset } from './emit-places.js';
import { pushAddress } from './interpreter-data.js';
import { Call, type Case, type InterpreterWriter, P } from './interpreter-writer.js';
import { W } from './wasm-writer.js';

type Size = 1 | 2 | 4;
const STORES: Readonly<Record<Size, number>> = { 1: W.I32_STORE8, 2: W.I32_STORE16, 4: W.I32_STORE };
const SIGNED_LOADS: Readonly<Record<Size, number>> = { 1: W.I32_LOAD8_S, 2: W.I32_LOAD16_S, 4: W.I32_LOAD };

export function memoryCases(o: InterpreterWriter): readonly Case[] {
  const { w } = o;
  /** Argument 1 becomes the operand; `code` loads it. */
  const load = (size: Size, write: boolean, code: number) => {
    findHost(o, size, write);
    o.put(1, () => {
      w.get(P.HOST);
      w.memory(code, 0);
    });
  };
  const store = (size: Size) => {
    findHost(o, size, true);
    w.get(P.HOST);
    o.push(1);
    w.memory(STORES[size], 0);
  };
  const one = (op: number, body: () => void): Case => ({
    ops: [op],
    emit: () => {
      body();
      o.next();
    },
  });
  return [
    one(Op.LOAD32, () => load(4, false, W.I32_LOAD)),
    one(Op.LOAD16, () => load(2, false, W.I32_LOAD16_S)),
    one(Op.LOAD8, () => load(1, false, W.I32_LOAD8_S)),
    one(Op.LOAD16Z, () => load(2, false, W.I32_LOAD16_U)),
    one(Op.LOAD8Z, () => load(1, false, W.I32_LOAD8_U)),
    one(Op.STORE32, () => store(4)),
    one(Op.STORE16, () => store(2)),
    one(Op.STORE8, () => store(1)),
    { ops: [Op.LOAD_FOR_STORE], emit: () => bySize(o, size => load(size, true, SIGNED_LOADS[size])) },
    { ops: [Op.STORE_CHECKED], emit: () => bySize(o, store) },
  ];
}

/** Emits `body` for each operand size, which is in argument 7. */
function bySize(o: InterpreterWriter, body: (size: Size) => void): void {
  for (const size of [4, 2] as const) {
    o.arg(7);
    o.w.i32(size);
    o.w.op(W.I32_EQ);
    o.if();
    body(size);
    o.next();
    o.end();
  }
  body(1);
  o.next();
}

/**
 * Host address of the op's operand into its local: by its place in the TLB, where one comparison says that the access is allowed and
 * within one page, and another that it is surely within the segment; else as `find` of `runtime.ts` has it, which walks the page tables.
 * What that does not cover is given up.
 */
function findHost(o: InterpreterWriter, size: Size, write: boolean): void {
  const { w } = o;
  const op = (code: number) => w.op(code);
  /** Pushes the thread's address plus the segment's number times so many bytes. */
  const ofSegment = (shift: number) => {
    o.arg(2);
    w.i32(shift);
    op(W.I32_SHL);
    w.get(P.CPU);
    op(W.I32_ADD);
  };
  pushAddress(o);
  w.tee(P.ADDRESS);
  ofSegment(4);
  w.memory(W.I32_LOAD, segBase(0) * 4, 2);
  op(W.I32_ADD);
  w.tee(P.LINEAR);
  placeOffset(w, DATA_PLACES);
  w.tee(P.LINE);
  w.get(P.TAGS);
  op(W.I32_ADD);
  w.memory(W.I32_LOAD, TLB_AT + (write ? 4 : 0), 2);
  w.get(P.LINEAR);
  if (size > 1) {
    w.i32(size - 1);
    op(W.I32_ADD);
  }
  w.i32(-4096);
  op(W.I32_AND);
  op(W.I32_NE);
  w.get(P.ADDRESS);
  ofSegment(2);
  w.memory(W.I32_LOAD, (write ? WRITABLE : READABLE) * 4, 2);
  op(W.I32_GE_U);
  op(W.I32_OR);
  o.if();
  w.get(P.CPU);
  w.get(P.ADDRESS);
  o.arg(2);
  w.i32((size << 4) | (write ? Access.WRITE : 0));
  op(W.I32_OR);
  w.call(Call.FIND);
  w.tee(P.HOST);
  op(W.I32_EQZ);
  o.giveUpIf();
  o.else();
  w.get(P.LINEAR);
  w.get(P.LINE);
  w.get(P.CPU);
  op(W.I32_ADD);
  w.memory(W.I32_LOAD, ADDEND, 2);
  op(W.I32_ADD);
  w.set(P.HOST);
  o.end();
}
