/** Where generated code finds the place of a page in a TLB table (`mmu/tlb.ts`). */
import { DATA_ADDEND, FETCH_MACHINE } from '../../mmu/tlb.js';
import { FETCH_AT, TLB_AT } from '../layout.js';
import { W, type WasmWriter } from './wasm-writer.js';

/** Distances from thread + place offset to the addend of a data place and to the machine page of an instruction place. */
export const ADDEND = TLB_AT + DATA_ADDEND * 4;
export const MACHINE_PAGE = FETCH_AT + FETCH_MACHINE * 4;

/**
 * Pops a linear address and pushes the byte offset of its page's place in a table of so many places of 32 bytes: page number
 * modulo `places`, times 32, in two instructions.
 */
export function placeOffset(w: WasmWriter, places: number): void {
  w.i32(7);
  w.op(W.I32_SHR_U);
  w.i32((places - 1) << 5);
  w.op(W.I32_AND);
}
