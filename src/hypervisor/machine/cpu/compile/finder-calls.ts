/** Functions of the finder's module, by their numbers (`block-finder.ts`), and what two of them share. */
import { SLOTS } from '../cache-layout.js';
import { W, type WasmWriter } from './wasm-writer.js';

export const Call = { WATCH: 0, PROVIDE: 1, MATCH: 2, FILL: 3, ENLIST: 4, SIGNED: 5 } as const;

/** Pops a machine address; the mode is in a local. Pushes the byte offset of the slot: `slotOf` in generated code. */
export function pushSlot(w: WasmWriter, machine: number, mode: number): void {
  w.get(machine);
  w.get(machine);
  w.i32(13);
  w.op(W.I32_SHR_U);
  w.op(W.I32_XOR);
  w.get(mode);
  w.i32(11);
  w.op(W.I32_SHL);
  w.op(W.I32_XOR);
  w.i32(SLOTS - 1);
  w.op(W.I32_AND);
  w.i32(2);
  w.op(W.I32_SHL);
}
