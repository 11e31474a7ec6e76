/**
 * The two ways between TypeScript and regions that no other generated function has: in by a table index, one call that never
 * changes for V8, and out to a function that only tables of WebAssembly functions hold.
 *
 *     enter(cpu, entry, eip, limit, index) -> exit code
 *     generic(at) -> what the function of this name answers
 */
import { REGION_TYPE } from './frame.js';
import { ANY_MEMORY } from './nest.js';
import { assembleModule, Type, W, WasmWriter } from './wasm-writer.js';

export interface Trampoline {
  enter(cpu: number, entry: number, eip: number, limit: number, index: number): number;
  readonly generic: unknown;
}

const I = Type.I32;
const TYPES = [REGION_TYPE, { parameters: [I, I, I, I, I], results: [I] }, { parameters: [I], results: [I] }] as const;

export function makeTrampoline(
  memory: WebAssembly.Memory,
  table: WebAssembly.Table,
  generic: (at: number) => number,
): Trampoline {
  const wasm = assembleModule({
    ...ANY_MEMORY,
    types: TYPES,
    imports: [{ name: 'generic', type: 2 }],
    functions: [
      { type: 1, locals: [], code: enterCode() },
      { type: 2, locals: [], code: genericCode() },
    ],
  });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(wasm), { m: { memory, table, generic } });
  return { enter: exports['0'] as Trampoline['enter'], generic: exports['1'] };
}

function enterCode(): Uint8Array {
  const w = new WasmWriter(64);
  w.get(0);
  w.get(1);
  w.get(2);
  w.i64(0, 0);
  w.get(3);
  w.get(4);
  w.op(W.CALL_INDIRECT);
  w.u(0);
  w.u(0);
  return w.done();
}

function genericCode(): Uint8Array {
  const w = new WasmWriter(16);
  w.get(0);
  w.call(0);
  return w.done();
}
