/** Functions of the finder's module, by their numbers (`block-finder.ts`), and what some of them share. */
import { CODE_LINE_SHIFT } from '../../memory.js';
import { type CacheLayout, Header, Mode, RETIRED, SLOTS, WALKED_LINES, Walked } from '../cache-layout.js';
import type { Nest } from './nest.js';
import { W, type WasmWriter } from './wasm-writer.js';

export const Call = { WATCH: 0, PROVIDE: 1, MATCH: 2, FILL: 3, ENLIST: 4, SEEK: 5 } as const;

/** Machine address and mode are in locals. Pushes the byte offset of the slot: `slotOf` in generated code. */
export function pushSlot(w: WasmWriter, machine: number, mode: number): void {
  w.get(machine);
  w.i32(2);
  w.op(W.I32_SHR_U);
  w.get(machine);
  w.i32(15);
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

/** Pushes the byte offset of what is remembered of the line of the machine address in a local (`Walked`). */
export function pushWalked(w: WasmWriter, machine: number): void {
  w.get(machine);
  w.i32(CODE_LINE_SHIFT);
  w.op(W.I32_SHR_U);
  w.i32(WALKED_LINES - 1);
  w.op(W.I32_AND);
  w.i32(Math.log2(Walked.WORDS * 4));
  w.op(W.I32_SHL);
}

/** Answers with the block in the slot at the offset in `slot` if it lives. Leaves the retired one, or 0, in `header`. */
export function answerBlock(
  n: Nest,
  layout: CacheLayout,
  { machine, mode, slot, header }: Readonly<Record<'machine' | 'mode' | 'slot' | 'header', number>>,
): void {
  const { w } = n;
  n.loadAt(slot, layout.slotsAt);
  w.set(header);
  const searched = n.open();
  const search = n.openLoop();
  w.get(header);
  w.op(W.I32_EQZ);
  n.brIf(searched);
  n.loadAt(header, Header.MACHINE * 4);
  w.get(machine);
  w.op(W.I32_EQ);
  n.loadAt(header, Header.MODE * 4);
  w.get(mode);
  w.op(W.I32_EQ);
  w.op(W.I32_AND);
  n.if();
  n.loadAt(header, Header.HEAT * 4);
  w.i32(RETIRED);
  w.op(W.I32_EQ);
  n.brIf(searched);
  w.get(header);
  w.op(W.RETURN);
  n.end();
  n.loadAt(header, Header.CHAIN * 4);
  w.set(header);
  n.br(search);
  n.end();
  n.end();
}

/** Pushes the root of the trie for the mode in a local: `Templates.root`, where CODE16 is bit 2 and STACK16 bit 0. */
export function pushRoot(w: WasmWriter, mode: number): void {
  w.get(mode);
  w.i32(Math.log2(Mode.CODE16) - 1);
  w.op(W.I32_SHR_U);
  w.i32(2);
  w.op(W.I32_AND);
  w.get(mode);
  w.i32(Mode.STACK16);
  w.op(W.I32_AND);
  w.op(W.I32_OR);
}
