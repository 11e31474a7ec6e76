/**
 * Guest memory from compiled code. The software TLB (`mmu/tlb.ts`) is asked in line; one comparison finds out whether the
 * access stays in its page and needs nothing but the bytes. Everything else is TypeScript (`slow-paths.ts`).
 */

import { DATA_PLACES } from '../../mmu/tlb.js';
import { FLAT_LIMIT, READABLE, STATUS, TLB_AT, WRITABLE, ZERO } from '../layout.js';
import { Seg, segBase } from '../state.js';
import { ADDEND, placeOffset } from './emit-places.js';
import { type Frame, Helper, L } from './frame.js';
import { Type, W } from './wasm-writer.js';

const WORD = 4;

/** How a slow path is asked: segment in bits 0..3, size in bits 4..7, and these. */
export const Access = {
  SIGNED: 0x100,
  /** A load for a store of the same operand, or that store, which needs no more checks. */
  PAIR: 0x200,
  /** Write rights are needed. */
  WRITE: 0x400,
  WRITE_SHIFT: 10,
  /**
   * Not the first access of its instruction. A walk here could push the page of the first out of the TLB; an interpreter that
   * then did the instruction again would miss there, and pay twice.
   */
  LATER: 0x800,
} as const;
const pack = (seg: number, size: number, bits: number): number => seg | (size << 4) | bits;

/** Notes one more access of the current instruction, and answers whether it is the first. */
function laterBit(f: Frame): number {
  f.accesses += 1;
  return f.accesses > 1 ? Access.LATER : 0;
}

/** Pushes base + (index << shift) + disp. */
export function pushAddress(f: Frame, base: number, index: number, shift: number, disp: number): void {
  const { w } = f;
  let offset = disp;
  let pushed = false;
  const term = (word: number, by: number) => {
    if (word === ZERO) return;
    const constant = f.constants.get(word);
    if (constant !== undefined) {
      offset = (offset + (constant << by)) | 0;
      return;
    }
    f.push(word);
    if (by !== 0) {
      w.i32(by);
      w.op(W.I32_SHL);
    }
    if (pushed) w.op(W.I32_ADD);
    pushed = true;
  };
  term(base, 0);
  term(index, shift);
  if (!pushed) {
    w.i32(offset);
  } else if (offset !== 0) {
    w.i32(offset);
    w.op(W.I32_ADD);
  }
}

const isFlat = (f: Frame, seg: number): boolean => f.flat && (seg === Seg.DS || seg === Seg.SS || seg === Seg.ES);

/**
 * Computes the address of the op at `at` into locals and pushes whether the fast path is good. Afterwards `L.ADDRESS` is the
 * offset, `L.VALUE` the linear address (the same local where they are equal) and `L.LINE` the address of the TLB line.
 */
function pushHit(f: Frame, at: number, size: number, write: boolean): number {
  const { w, code } = f;
  const seg = code[at + 2]!;
  pushAddress(f, code[at + 3]!, code[at + 4]!, code[at + 5]!, code[at + 6]!);
  const flat = isFlat(f, seg);
  const linear = flat ? L.ADDRESS : L.Z;
  w.tee(L.ADDRESS);
  if (!flat) {
    f.loadState(segBase(seg));
    w.op(W.I32_ADD);
    w.tee(linear);
  }
  placeOffset(w, DATA_PLACES);
  w.get(L.CPU);
  w.op(W.I32_ADD);
  w.tee(L.LINE);
  w.memory(W.I32_LOAD, TLB_AT + ((f.user ? 2 : 0) + (write ? 1 : 0)) * WORD, 2);
  w.get(linear);
  if (size > 1) {
    w.i32(size - 1);
    w.op(W.I32_ADD);
  }
  w.i32(-4096);
  w.op(W.I32_AND);
  w.op(W.I32_EQ);
  if (flat && f.whole) return linear;
  w.get(L.ADDRESS);
  if (flat) w.get(L.FLAT);
  else f.loadState((write ? WRITABLE : READABLE) + seg);
  w.op(W.I32_LT_U);
  w.op(W.I32_AND);
  return linear;
}

/** Pushes the host address on the fast path. */
function pushHost(f: Frame, linear: number): void {
  f.w.get(linear);
  f.w.get(L.LINE);
  f.w.memory(W.I32_LOAD, ADDEND, 2);
  f.w.op(W.I32_ADD);
}

/** Behind a slow path: a status other than 0 leaves here. */
function afterSlow(f: Frame): void {
  const { w } = f;
  f.loadState(STATUS);
  w.tee(L.CODE);
  f.if();
  f.leaveHere();
  f.end();
}

const LOAD_OF: Readonly<Record<number, readonly [unsigned: number, signed: number]>> = {
  1: [W.I32_LOAD8_U, W.I32_LOAD8_S],
  2: [W.I32_LOAD16_U, W.I32_LOAD16_S],
  4: [W.I32_LOAD, W.I32_LOAD],
};

export function emitLoad(f: Frame, at: number, size: number, signed: boolean): void {
  const { w, code } = f;
  const linear = pushHit(f, at, size, false);
  f.if(Type.I32);
  pushHost(f, linear);
  w.memory(LOAD_OF[size]![signed ? 1 : 0], 0);
  f.else();
  w.get(L.CPU);
  w.get(L.ADDRESS);
  w.i32(pack(code[at + 2]!, size, (signed ? Access.SIGNED : 0) | laterBit(f)));
  f.call(Helper.LOAD);
  w.set(L.VALUE);
  afterSlow(f);
  w.get(L.VALUE);
  f.end();
  f.pop(code[at + 1]!);
}

const STORE_OF: Readonly<Record<number, number>> = { 1: W.I32_STORE8, 2: W.I32_STORE16, 4: W.I32_STORE };

export function emitStore(f: Frame, at: number, size: number): void {
  const { w, code } = f;
  const linear = pushHit(f, at, size, true);
  f.if();
  pushHost(f, linear);
  f.push(code[at + 1]!);
  w.memory(STORE_OF[size]!, 0);
  f.else();
  w.get(L.CPU);
  w.get(L.ADDRESS);
  w.i32(pack(code[at + 2]!, size, Access.WRITE | laterBit(f)));
  f.push(code[at + 1]!);
  f.call(Helper.STORE);
  afterSlow(f);
  f.end();
}

/** Leaves the host address in `L.HOST` for the store of the same operand, or 0 where it must be slow too. */
export function emitLoadForStore(f: Frame, at: number): void {
  const { w, code } = f;
  const size = code[at + 7]!;
  const linear = pushHit(f, at, size, true);
  f.if(Type.I32);
  pushHost(f, linear);
  w.tee(L.HOST);
  w.memory(LOAD_OF[size]![1], 0);
  f.else();
  w.get(L.CPU);
  w.get(L.ADDRESS);
  w.i32(pack(code[at + 2]!, size, Access.SIGNED | Access.PAIR | Access.WRITE | laterBit(f)));
  f.call(Helper.LOAD);
  w.set(L.VALUE);
  afterSlow(f);
  w.i32(0);
  w.set(L.HOST);
  w.get(L.VALUE);
  f.end();
  f.pop(code[at + 1]!);
}

/** The slow load has seen to it that this store can neither fault nor reach a device or compiled code. */
export function emitCheckedStore(f: Frame, at: number): void {
  const { w, code } = f;
  const size = code[at + 7]!;
  w.get(L.HOST);
  f.if();
  w.get(L.HOST);
  f.push(code[at + 1]!);
  w.memory(STORE_OF[size]!, 0);
  f.else();
  w.get(L.CPU);
  pushAddress(f, code[at + 3]!, code[at + 4]!, code[at + 5]!, code[at + 6]!);
  w.i32(pack(code[at + 2]!, size, Access.PAIR | Access.WRITE));
  f.push(code[at + 1]!);
  f.call(Helper.STORE);
  f.end();
}

/** Loads the limit of the flat segments into its local. */
export function emitFlatLimit(f: Frame): void {
  f.loadState(FLAT_LIMIT);
  f.w.set(L.FLAT);
}
