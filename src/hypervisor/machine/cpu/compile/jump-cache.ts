/**
 * Where compiled code looks for the region behind a jump that it cannot follow by itself: a direct-mapped table in linear memory,
 * one for each shape, from the machine address of a block to a table index and an entry number. It only saves time: what is
 * not here the run loop finds.
 */
import type { MachineMemory } from '../../memory.js';
import { SHAPES } from '../layout.js';
import type { Nest } from './nest.js';
import { W, type WasmWriter } from './wasm-writer.js';

const JUMP_CACHE_SLOTS = 4096;
/** Words of a slot: machine address (or -1), table index, entry number, unused. */
const SLOT_WORDS = 4;

export const JUMP_CACHE_BYTES = JUMP_CACHE_SLOTS * SLOT_WORDS * 4;

/** Words of a slot, as byte offsets. */
const INDEX = 4;
const ENTRY = 8;

/**
 * Leaves the byte offset of the slot for the machine address in a local in another one, or branches to `missing` where the slot has
 * something else. `at`: of the tables of the first shape; `addShape` adds the distance of another one to what is on the stack.
 */
export function seekJump(
  n: Nest,
  { machine, slot }: { readonly machine: number; readonly slot: number },
  at: number,
  addShape: () => void,
  missing: number,
): void {
  const { w } = n;
  pushSlot(w, machine);
  addShape();
  w.tee(slot);
  w.memory(W.I32_LOAD, at, 2);
  w.get(machine);
  w.op(W.I32_NE);
  n.brIf(missing);
}

/** Pushes the number of the entry, from the slot that `seekJump` left. */
export function pushJumpEntry(w: WasmWriter, slot: number, at: number): void {
  w.get(slot);
  w.memory(W.I32_LOAD, at + ENTRY, 2);
}

/** Pushes the region's table index. */
export function pushJumpIndex(w: WasmWriter, slot: number, at: number): void {
  w.get(slot);
  w.memory(W.I32_LOAD, at + INDEX, 2);
}

/** Pushes the byte offset of the slot for the machine address in a local: `JumpCache.#slot` in generated code. */
function pushSlot(w: WasmWriter, machine: number): void {
  w.get(machine);
  w.get(machine);
  w.i32(12);
  w.op(W.I32_SHR_U);
  w.op(W.I32_XOR);
  w.i32(JUMP_CACHE_SLOTS - 1);
  w.op(W.I32_AND);
  w.i32(31 - Math.clz32(SLOT_WORDS * 4));
  w.op(W.I32_SHL);
}

export class JumpCache {
  readonly #words: Int32Array;
  readonly #base: number;

  constructor(memory: MachineMemory) {
    this.#base = memory.reserve(JUMP_CACHE_BYTES * SHAPES);
    this.#words = new Int32Array(memory.wasm.buffer, this.#base, (JUMP_CACHE_BYTES / 4) * SHAPES);
    this.#words.fill(-1);
  }

  at(shape: number): number {
    return this.#base + shape * JUMP_CACHE_BYTES;
  }

  add(shape: number, machine: number, index: number, entry: number): void {
    const slot = this.#slot(shape, machine);
    this.#words[slot] = machine;
    this.#words[slot + 1] = index;
    this.#words[slot + 2] = entry;
  }

  remove(shape: number, machine: number, index: number): void {
    const slot = this.#slot(shape, machine);
    if (this.#words[slot] === machine && this.#words[slot + 1] === index) this.#words[slot] = -1;
  }

  /** Forgets everything: code is found by the run loop again. */
  clear(): void {
    this.#words.fill(-1);
  }

  #slot(shape: number, machine: number): number {
    return (shape * JUMP_CACHE_SLOTS + ((machine ^ (machine >>> 12)) & (JUMP_CACHE_SLOTS - 1))) * SLOT_WORDS;
  }
}
