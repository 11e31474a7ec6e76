/** The common ends of a region's function: on to another region, and back to whoever called with everything in the state words. */
import { FETCH_SAFE, LIMIT } from '../layout.js';
import { S } from '../state.js';
import { emitFetchPage, pushMachine, USER_TAG } from './emit-fetch.js';
import { addSpent, storeFlags, storeRegisters } from './emit-ops.js';
import { ELSEWHERE, type Frame, Global, Helper, L, Leave } from './frame.js';
import { pushJumpEntry, pushJumpIndex, seekJump } from './jump-cache.js';
import { W } from './wasm-writer.js';

/**
 * To `TARGET`, which is within the code segment. A page that misses, and what the jump cache of the shape at `jumpCacheAt` does not
 * know, is the caller's.
 */
export function emitTransfer(f: Frame, jumpCacheAt: number): void {
  const { w } = f;
  w.i32(Leave.GOTO);
  w.set(L.CODE);
  // X: machine address of the target's page.
  w.op(W.GLOBAL_GET);
  w.u(Global.PAGE);
  w.set(L.X);
  w.get(L.TARGET);
  w.i32(-4096);
  w.op(W.I32_AND);
  w.tee(L.Y);
  w.get(L.BASE);
  w.op(W.I32_NE);
  f.if();
  w.get(L.TARGET);
  f.loadState(FETCH_SAFE);
  w.op(W.I32_GE_U);
  f.brIf(f.exitDepth);
  const addTag = () => {
    if (!f.user) return;
    w.i32(USER_TAG);
    w.op(W.I32_ADD);
  };
  emitFetchPage(f, { page: L.Y, place: L.LINE, machine: L.X }, addTag, f.exitDepth);
  f.end();
  pushMachine(f, L.X, L.TARGET);
  w.set(L.X);
  seekJump(f, { machine: L.X, slot: L.Z }, jumpCacheAt, () => {}, f.exitDepth);
  pushJumpEntry(w, L.Z, jumpCacheAt);
  w.set(L.ENTRY);
  pushJumpIndex(w, L.Z, jumpCacheAt);
  w.tee(L.Z);
  w.op(W.GLOBAL_GET);
  w.u(Global.SELF);
  w.op(W.I32_EQ);
  f.if();
  w.get(L.Y);
  w.set(L.BASE);
  f.br(f.dispatchDepth);
  f.end();
  storeRegisters(f);
  if (f.writesFlags) storeFlags(f);
  w.get(L.CPU);
  w.get(L.ENTRY);
  w.get(L.TARGET);
  w.get(L.SPENT);
  w.get(L.Z);
  f.tailCall(Helper.GOTO);
}

/** On with whatever is at EIP: everything is in the state words. */
export function goToEip(f: Frame): void {
  f.w.get(L.CPU);
  f.tailCall(Helper.DISPATCH);
}

/** With the exit code in its local: registers, flags and clock to the state words; a fault is raised here, if it can be. */
export function emitLeave(f: Frame): void {
  const { w } = f;
  storeRegisters(f);
  if (f.writesFlags) storeFlags(f);
  f.storeState(S.EIP, () => w.get(L.TARGET));
  addSpent(f);
  w.get(L.CODE);
  w.i32(Leave.GOTO);
  w.op(W.I32_EQ);
  f.if();
  f.storeState(LIMIT, () => {
    f.loadState(LIMIT);
    w.get(L.SPENT);
    w.op(W.I32_WRAP_I64);
    w.op(W.I32_SUB);
  });
  goToEip(f);
  f.end();
  w.get(L.CODE);
  w.i32(Leave.FAULT);
  w.op(W.I32_EQ);
  f.if();
  w.get(L.CPU);
  f.call(Helper.FAULT);
  w.tee(L.CODE);
  w.i32(ELSEWHERE);
  w.op(W.I32_EQ);
  f.if();
  goToEip(f);
  f.end();
  f.end();
  w.get(L.CODE);
}
