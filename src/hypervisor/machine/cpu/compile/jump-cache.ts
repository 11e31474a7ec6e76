/**
 * Where compiled code looks for the region behind a jump that it cannot follow by itself: a direct-mapped table in linear memory,
 * one for each shape, from the machine address of a block to a table index and an entry number. It only saves time: what is
 * not here the run loop finds.
 */
import type { MachineMemory } from '../../memory.js';
import { SHAPES } from '../layout.js';

export const JUMP_CACHE_SLOTS = 4096;
/** Words of a slot: machine address (or -1), table index, entry number, unused. */
const SLOT_WORDS = 4;

export const JUMP_CACHE_BYTES = JUMP_CACHE_SLOTS * SLOT_WORDS * 4;

/** Machine address of the table of a shape. */
export type JumpCacheAt = (shape: number) => number;

export class JumpCache {
  readonly #words: Int32Array;
  readonly #base: number;

  constructor(memory: MachineMemory) {
    const bytes = JUMP_CACHE_SLOTS * SLOT_WORDS * 4;
    this.#base = memory.reserve(bytes * SHAPES);
    this.#words = new Int32Array(memory.wasm.buffer, this.#base, (bytes / 4) * SHAPES);
    this.#words.fill(-1);
  }

  at(shape: number): number {
    return this.#base + shape * JUMP_CACHE_SLOTS * SLOT_WORDS * 4;
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

  #slot(shape: number, machine: number): number {
    return (shape * JUMP_CACHE_SLOTS + ((machine ^ (machine >>> 12)) & (JUMP_CACHE_SLOTS - 1))) * SLOT_WORDS;
  }
}
