/**
 * What compiled code calls for memory without leaving WebAssembly: loads and stores whose comparison in line has failed, and
 * repeated string instructions. What they do not cover is left untouched to `slow-paths.ts`.
 *
 *     load(cpu, ea, packed) -> value
 *     store(cpu, ea, packed, value)
 *
 * `packed`: `Access` bits, the segment and the size. `find` is of `find-page.ts`, `repeat` of `repeat.ts`.
 */
import { Access } from './emit-memory.js';
import { findCode } from './find-page.js';
import { FAULTED } from './find-walk.js';
import { FIND_LOCALS } from './find-words.js';
import { REPEAT_LOCALS, repeatCode } from './repeat.js';
import { assembleModule, Type, W, WasmWriter } from './wasm-writer.js';

export interface Runtime {
  readonly find: unknown;
  readonly load: unknown;
  readonly store: unknown;
  readonly repeat: unknown;
}

/** `codeLinesAt`: machine address of `MachineMemory.codeLines`. */
export function makeRuntime(
  memory: WebAssembly.Memory,
  memoryPages: number,
  table: WebAssembly.Table,
  codeLinesAt: number,
  slow: { load(ea: number, packed: number): number; store(ea: number, packed: number, value: number): void },
): Runtime {
  const I = Type.I32;
  const find = 2;
  const wasm = assembleModule({
    types: [
      { parameters: [I, I], results: [I] },
      { parameters: [I, I, I], results: [] },
      { parameters: [I, I, I], results: [I] },
      { parameters: [I, I, I, I], results: [] },
      { parameters: [I, I, I, I, I], results: [I] },
    ],
    imports: [
      { name: 'load', type: 0 },
      { name: 'store', type: 1 },
    ],
    memoryPages,
    functions: [
      { type: 2, locals: FIND_LOCALS, code: findCode(codeLinesAt) },
      { type: 2, locals: [{ count: 1, type: I }], code: loadCode(find) },
      { type: 3, locals: [{ count: 1, type: I }], code: storeCode(find) },
      { type: 4, locals: REPEAT_LOCALS, code: repeatCode(find) },
    ],
  });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(wasm), { m: { memory, table, ...slow } });
  return { find: exports['0'], load: exports['1'], store: exports['2'], repeat: exports['3'] };
}

/** Finds the host address of an access, or lets `slow` do all of it; a fault has left its status. The function returns then. */
function findOr(w: WasmWriter, find: number, host: number, slow: () => void): void {
  w.get(0);
  w.get(1);
  w.get(2);
  w.i32(Access.FAULTS);
  w.op(W.I32_OR);
  w.call(find);
  w.tee(host);
  // 0 or `FAULTED`.
  w.i32(-FAULTED);
  w.op(W.I32_ADD);
  w.i32(1 - FAULTED);
  w.op(W.I32_LT_U);
  w.if();
  slow();
  w.op(W.RETURN);
  w.end();
}

function loadCode(find: number): Uint8Array {
  const w = new WasmWriter(256);
  const host = 3;
  findOr(w, find, host, () => {
    w.get(host);
    w.if(Type.I32);
    w.i32(0);
    w.else();
    w.get(1);
    w.get(2);
    w.call(0);
    w.end();
  });
  bySize(w, 2, size => {
    if (size === 4) {
      w.get(host);
      w.memory(W.I32_LOAD, 0);
      w.op(W.RETURN);
      return;
    }
    w.get(2);
    w.i32(Access.SIGNED);
    w.op(W.I32_AND);
    w.if();
    w.get(host);
    w.memory(size === 2 ? W.I32_LOAD16_S : W.I32_LOAD8_S, 0);
    w.op(W.RETURN);
    w.end();
    w.get(host);
    w.memory(size === 2 ? W.I32_LOAD16_U : W.I32_LOAD8_U, 0);
    w.op(W.RETURN);
  });
  w.op(W.UNREACHABLE);
  return w.done();
}

function storeCode(find: number): Uint8Array {
  const w = new WasmWriter(256);
  const host = 4;
  findOr(w, find, host, () => {
    w.get(host);
    w.op(W.I32_EQZ);
    w.if();
    w.get(1);
    w.get(2);
    w.get(3);
    w.call(1);
    w.end();
  });
  bySize(w, 2, size => {
    w.get(host);
    w.get(3);
    w.memory(size === 4 ? W.I32_STORE : size === 2 ? W.I32_STORE16 : W.I32_STORE8, 0);
    w.op(W.RETURN);
  });
  return w.done();
}

/** Emits `body` for 4, 2 and 1 bytes; each returns. */
function bySize(w: WasmWriter, packed: number, body: (size: number) => void): void {
  for (const size of [4, 2]) {
    w.get(packed);
    w.i32(size << 4);
    w.op(W.I32_AND);
    w.if();
    body(size);
    w.end();
  }
  body(1);
}
