/**
 * From wherever EIP is into the compiled code that is there, without TypeScript: the fetch page as `Core.fetch` has it,
 * then the jump cache of the thread's shape. Else into the interpreter, which comes back here when it gets to compiled code.
 *
 *     dispatch(cpu) -> exit code; `Leave.UNKNOWN` where the run loop has to find the block at EIP
 *
 * No event may be due, and `LIMIT` must be up to date.
 */
import { FETCH_MACHINE, FETCH_PAGE, FETCH_SAFE, SHAPE } from '../layout.js';
import { S } from '../state.js';
import { emitFetchPage, pushMachine, USER_TAG } from './emit-fetch.js';
import { FETCH_LOCALS, FETCH_TYPE, fetchCode } from './find-fetch.js';
import { REGION_TYPE } from './frame.js';
import { JUMP_CACHE_BYTES, pushJumpEntry, pushJumpIndex, seekJump } from './jump-cache.js';
import { Nest } from './nest.js';
import { assembleModule, Type, W } from './wasm-writer.js';

/** Index in the table of the interpreter, `(cpu) -> exit code`. */
export const INTERPRETER = 0;

export type Dispatch = (cpu: number) => number;

/** Number of `fetch` of `find-fetch.ts`. */
const FETCH = 1;

const CPU = 0;
const EIP = 1;
const PAGE = 2;
const MACHINE = 3;
const SLOT = 4;

/** `codeLinesAt`: machine address of `MachineMemory.codeLines`. */
export function makeDispatch(
  memory: WebAssembly.Memory,
  memoryPages: number,
  table: WebAssembly.Table,
  jumpCacheAt: number,
  codeLinesAt: number,
): Dispatch {
  const wasm = assembleModule({
    types: [REGION_TYPE, { parameters: [Type.I32], results: [Type.I32] }, FETCH_TYPE],
    imports: [],
    memoryPages,
    functions: [
      { type: 1, locals: [{ count: 4, type: Type.I32 }], code: dispatchCode(jumpCacheAt) },
      { type: 2, locals: FETCH_LOCALS, code: fetchCode(codeLinesAt) },
    ],
  });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(wasm), { m: { memory, table } });
  return exports['0'] as Dispatch;
}

function dispatchCode(jumpCacheAt: number): Uint8Array {
  const n = new Nest(256);
  const { w } = n;
  const state = (word: number) => n.loadState(word);
  const unknown = n.open();
  /** Pops a condition; if it holds there is no compiled code. */
  const unknownIf = () => n.brIf(unknown);
  state(SHAPE);
  w.i32(0);
  w.op(W.I32_LT_S);
  unknownIf();
  state(S.EIP);
  w.tee(EIP);
  state(FETCH_SAFE);
  w.op(W.I32_GE_U);
  unknownIf();
  w.get(EIP);
  w.i32(-4096);
  w.op(W.I32_AND);
  w.tee(PAGE);
  state(FETCH_PAGE);
  w.op(W.I32_EQ);
  n.if();
  state(FETCH_MACHINE);
  w.set(MACHINE);
  n.else();
  const addTag = () => {
    state(S.CPL);
    w.i32(3);
    w.op(W.I32_EQ);
    w.i32(Math.log2(USER_TAG));
    w.op(W.I32_SHL);
    w.op(W.I32_ADD);
  };
  const fetched = n.open();
  const missing = n.open();
  emitFetchPage(n, { page: PAGE, place: SLOT, machine: MACHINE }, addTag, missing);
  n.br(fetched);
  n.end();
  w.get(CPU);
  w.get(EIP);
  w.i32(0);
  w.call(FETCH);
  w.tee(MACHINE);
  w.op(W.I32_EQZ);
  unknownIf();
  n.end();
  n.end();
  pushMachine(n, MACHINE, EIP);
  w.set(MACHINE);
  const addShape = () => {
    state(SHAPE);
    w.i32(JUMP_CACHE_BYTES);
    w.op(W.I32_MUL);
    w.op(W.I32_ADD);
  };
  seekJump(n, { machine: MACHINE, slot: SLOT }, jumpCacheAt, addShape, unknown);
  w.get(CPU);
  pushJumpEntry(w, SLOT, jumpCacheAt);
  w.get(EIP);
  w.i64(0, 0);
  pushJumpIndex(w, SLOT, jumpCacheAt);
  w.op(W.RETURN_CALL_INDIRECT);
  w.u(0);
  w.u(0);
  n.end();
  w.get(CPU);
  w.i32(INTERPRETER);
  w.op(W.RETURN_CALL_INDIRECT);
  w.u(1);
  w.u(0);
  return w.done();
}
