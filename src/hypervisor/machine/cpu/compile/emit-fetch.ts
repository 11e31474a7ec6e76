/**
 * From an EIP to the code behind it, as generated code goes that way: the page of the instruction fetch by its place in the TLB, as
 * `Core.fetch` has it on a hit, then the region by the jump cache.
 */
import { FETCH_PLACES } from '../../mmu/tlb.js';
import { FETCH_AT, FETCH_MACHINE, FETCH_PAGE } from '../layout.js';
import { MACHINE_PAGE, placeOffset } from './emit-places.js';
import type { Nest } from './nest.js';
import { W } from './wasm-writer.js';

const CPU = 0;

/** Byte offset of the tag for user fetches; that for the supervisor's is at 0. */
export const USER_TAG = 4;

/**
 * Makes another page that of the fetch: `page` has its linear address, `machine` gets its machine address, `place` is scratch. Branches to
 * `missing` where its place does not have it. `addTag` adds the byte offset of the tag to the address on the stack.
 */
export function emitFetchPage(
  n: Nest,
  { page, place, machine }: { readonly page: number; readonly place: number; readonly machine: number },
  addTag: () => void,
  missing: number,
): void {
  const { w } = n;
  w.get(page);
  placeOffset(w, FETCH_PLACES);
  w.get(CPU);
  w.op(W.I32_ADD);
  w.tee(place);
  addTag();
  w.memory(W.I32_LOAD, FETCH_AT, 2);
  w.get(page);
  w.op(W.I32_NE);
  n.brIf(missing);
  n.loadAt(place, MACHINE_PAGE);
  w.set(machine);
  n.storeState(FETCH_PAGE, () => w.get(page));
  n.storeState(FETCH_MACHINE, () => w.get(machine));
}

/** Pushes the machine address of an EIP, both in locals, from that of its page. */
export function pushMachine(n: Nest, page: number, eip: number): void {
  const { w } = n;
  w.get(page);
  w.get(eip);
  w.i32(4095);
  w.op(W.I32_AND);
  w.op(W.I32_OR);
}
