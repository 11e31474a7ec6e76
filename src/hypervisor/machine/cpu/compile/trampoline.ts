/**
 * Into regions by their index, and out of them to TypeScript:
 *
 *     enter(cpu, entry, eip, index) -> exit code: from TypeScript, one call that never changes for V8
 *     goto(cpu, entry, eip, spent, index) -> exit code: from region to region, as a tail call
 *     generic(at) -> what the function of this name answers: tables take it only as a WebAssembly function
 */
import { Helper, TYPES } from './frame.js';
import { ANY_MEMORY } from './nest.js';
import { assembleModule, Type, W, WasmWriter } from './wasm-writer.js';

export interface Trampoline {
  enter(cpu: number, entry: number, eip: number, index: number): number;
  readonly goto: unknown;
  readonly generic: unknown;
}

const I = Type.I32;
const ENTER = TYPES.length;

/** `table`: of the regions. */
export function makeTrampoline(
  memory: WebAssembly.Memory,
  table: WebAssembly.Table,
  generic: (at: number) => number,
): Trampoline {
  const wasm = assembleModule({
    ...ANY_MEMORY,
    types: [...TYPES, { parameters: [I, I, I, I], results: [I] }],
    imports: [{ name: 'generic', type: Helper.GENERIC.type }],
    functions: [
      { type: ENTER, locals: [], code: enterCode() },
      { type: Helper.GOTO.type, locals: [], code: gotoCode() },
      { type: Helper.GENERIC.type, locals: [], code: genericCode() },
    ],
  });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(wasm), { m: { memory, table, generic } });
  return { enter: exports['0'] as Trampoline['enter'], goto: exports['1'], generic: exports['2'] };
}

function enterCode(): Uint8Array {
  const w = new WasmWriter(64);
  w.get(0);
  w.get(1);
  w.get(2);
  w.i64(0, 0);
  w.get(3);
  w.op(W.CALL_INDIRECT);
  w.u(0);
  w.u(0);
  return w.done();
}

function gotoCode(): Uint8Array {
  const w = new WasmWriter(64);
  const { parameters } = TYPES[Helper.GOTO.type];
  for (let i = 0; i < parameters.length; i++) w.get(i);
  w.op(W.RETURN_CALL_INDIRECT);
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
