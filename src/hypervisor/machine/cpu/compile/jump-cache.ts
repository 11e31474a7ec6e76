/**
 * Where compiled code looks for the region behind a jump that it cannot follow by itself: a direct-mapped table in linear memory,
 * one for each shape, from the machine address of a block to a table index and an entry number. It only saves time: what is
 * not here the run loop finds.
 */
import type { MachineMemory } from '../../memory.js';
import { SHAPES } from '../layout.js';
import { W, type WasmWriter } from './wasm-writer.js';

const JUMP_CACHE_SLOTS = 4096;
/** Words of a slot: machine address (or -1), table index, entry number, unused. */
const SLOT_WORDS = 4;

export const JUMP_CACHE_BYTES = JUMP_CACHE_SLOTS * SLOT_WORDS * 4;

/** Machine address of the table of a shape. */
export type JumpCacheAt = (shape: number) => number;

/** Pushes the byte offset of the slot for the machine address in a local: `JumpCache.#slot` in generated code. */
export function pushJumpSlot(w: WasmWriter, machine: number): void {
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
