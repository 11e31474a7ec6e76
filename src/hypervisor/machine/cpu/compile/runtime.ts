/**
 * What compiled code calls for memory without leaving WebAssembly: loads and stores whose comparison in line has failed, and
 * repeated string instructions. What they do not cover is left untouched to `slow-paths.ts`.
 *
 *     find(cpu, ea, packed) -> machine address, or 0
 *     load(cpu, ea, packed) -> value
 *     store(cpu, ea, packed, value)
 *
 * `packed`: `Access` bits, the segment and the size. `repeat` is of `repeat.ts`.
 */
import { Access } from './emit-memory.js';
import { FindWriter } from './find-page.js';
import { F, findLocals } from './find-words.js';
import { REPEAT_LOCALS, repeatCode } from './repeat.js';
import { assembleModule, Type, W } from './wasm-writer.js';

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
    ],
    imports: [
      { name: 'load', type: 0 },
      { name: 'store', type: 1 },
    ],
    memoryPages,
    functions: [
      { type: 2, locals: findLocals(3), code: findCode(codeLinesAt) },
      { type: 2, locals: findLocals(3), code: loadCode(codeLinesAt) },
      { type: 3, locals: findLocals(4), code: storeCode(codeLinesAt) },
      { type: 2, locals: REPEAT_LOCALS, code: repeatCode(find) },
    ],
  });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(wasm), { m: { memory, table, ...slow } });
  return { find: exports['0'], load: exports['1'], store: exports['2'], repeat: exports['3'] };
}

/** Whatever is not for it is refused, page faults too. */
function findCode(codeLinesAt: number): Uint8Array {
  const f = new FindWriter(codeLinesAt, null);
  return f.code(
    () => f.w.i32(0),
    () => f.pushMachine(),
  );
}

function loadCode(codeLinesAt: number): Uint8Array {
  const f = new FindWriter(codeLinesAt, () => f.w.i32(0));
  const { w } = f;
  const load = (code: number) => {
    f.pushMachine();
    w.memory(code, 0);
    w.op(W.RETURN);
  };
  return f.code(
    () => {
      w.get(F.EA);
      w.get(F.PACKED);
      w.call(0);
    },
    () => {
      bySize(f, size => {
        if (size < 4) {
          w.get(F.PACKED);
          f.and(Access.SIGNED);
          f.if();
          load(size === 2 ? W.I32_LOAD16_S : W.I32_LOAD8_S);
          f.end();
        }
        load(size === 4 ? W.I32_LOAD : size === 2 ? W.I32_LOAD16_U : W.I32_LOAD8_U);
      });
      w.op(W.UNREACHABLE);
    },
  );
}

function storeCode(codeLinesAt: number): Uint8Array {
  const f = new FindWriter(codeLinesAt, () => {});
  const { w } = f;
  return f.code(
    () => {
      w.get(F.EA);
      w.get(F.PACKED);
      w.get(F.VALUE);
      w.call(1);
    },
    () =>
      bySize(f, size => {
        f.pushMachine();
        w.get(F.VALUE);
        w.memory(size === 4 ? W.I32_STORE : size === 2 ? W.I32_STORE16 : W.I32_STORE8, 0);
        w.op(W.RETURN);
      }),
  );
}

/** Emits `body` for 4, 2 and 1 bytes; each returns. */
function bySize(f: FindWriter, body: (size: number) => void): void {
  for (const size of [4, 2]) {
    f.w.get(F.PACKED);
    f.and(size << 4);
    f.if();
    body(size);
    f.end();
  }
  body(1);
}
