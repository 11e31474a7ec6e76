/**
 * Decoded blocks of a host, shared by all its hardware threads. A block is known by the machine address of its first byte
 * and the mode that its meaning depends on. It is dropped when any byte that it was decoded from is written, and only then.
 *
 * Code never decides what an event costs: a block that is there saves the decoding and nothing else.
 */

import { assert } from '../../base/assert.js';
import type { CostProfile } from '../costs/profile.js';
import type { MachineMemory } from '../memory.js';
import type { Tlb } from '../mmu/tlb.js';
import { Compiler, type Region, Tiering } from './compile/compiler.js';
import { OP_WORDS, Op } from './ir.js';

/** What the meaning of a block depends on besides its bytes. */
export const Mode = {
  /** 32-bit code with a 32-bit stack. */
  PLAIN: 0,
  /** SS.B is 0: implicit stack accesses use SP. */
  STACK16: 1,
  /** One instruction only. */
  SINGLE: 2,
  /** CS.D is 0: operands and addresses are 16 bits wide unless prefixed. */
  CODE16: 4,
} as const;

/** Words of one entry of a block's instruction marks: first op, distance from the block's EIP, cycles before it. */
export const MARK_WORDS = 3;

export class Block {
  /** Successors over direct jumps within the page; a retired successor has `start` -1. */
  taken: Block | null = null;
  fall: Block | null = null;
  /** Executions so far, as the interpreter counts them for the compiler. */
  heat = 0;
  /** Somebody came here other than over a direct edge. */
  entered = false;
  /** Compiled code that can be entered here, and the number of the entry. */
  region: Region | null = null;
  entry = -1;
  /** All compiled code that this block is part of. */
  readonly regions: Region[] = [];

  constructor(
    /** Index of the first op in `CodeCache.code`, -1 once retired. */
    public start: number,
    readonly machine: number,
    readonly mode: number,
    readonly bytes: number,
    readonly instructions: number,
    /** Static cycles of all its instructions. */
    readonly cycles: number,
    /** Index of the marks in `CodeCache.code`. */
    readonly marks: number,
    /** Machine page of the part behind a page end, or -1. */
    readonly secondPage: number,
  ) {}
}

/** How the engine of a host works. Nothing observable depends on it but the time that it takes. */
export interface EngineOptions {
  /** When blocks are compiled: when they are hot (`normal`), on their first execution, or not at all. */
  readonly tiering?: keyof typeof Tiering;
  /** Bound of the memory for compiled code, in bytes. */
  readonly codeBytesMax?: number;
}
/** What holds where an option is not given. The test suite changes it to run as a whole in another setting. */
export const engineDefaults: Required<{ -readonly [K in keyof EngineOptions]: EngineOptions[K] }> = {
  tiering: 'normal',
  codeBytesMax: 256 << 20,
};

const CODE_WORDS = 4 << 20;
/** Room that one block may need: 48 instructions of 24 ops. */
const BLOCK_WORDS = 48 * (24 * OP_WORDS + MARK_WORDS) + 64;
const SLOTS = 1 << 15;

export class CodeCache {
  /** Ops and marks of all blocks. */
  readonly code = new Int32Array(CODE_WORDS);
  /** Hash of blocks by machine address and mode; the first look. */
  readonly slots: (Block | undefined)[] = new Array<Block | undefined>(SLOTS).fill(undefined);
  blocksInvalidated = 0;
  top = 0;
  #blocks = new Map<number, Block>();
  #byPage = new Map<number, Block[]>();
  #tlbs: Tlb[] = [];
  #costs: CostProfile | undefined;
  readonly compiler: Compiler;

  constructor(
    readonly memory: MachineMemory,
    options: EngineOptions = {},
  ) {
    this.compiler = new Compiler(
      this,
      Tiering[options.tiering ?? engineDefaults.tiering],
      options.codeBytesMax ?? engineDefaults.codeBytesMax,
    );
    memory.onCodeWrite = (machine, length) => this.invalidate(machine, length);
  }

  /** Announces a hardware thread. All threads of a host are of one kind: cycles are part of the blocks. */
  attach(tlb: Tlb, costs: CostProfile): void {
    assert(this.#costs === undefined || this.#costs === costs, 'threads with different costs share a code cache');
    this.#costs = costs;
    this.#tlbs.push(tlb);
  }

  detach(tlb: Tlb): void {
    this.#tlbs = this.#tlbs.filter(other => other !== tlb);
  }

  static slotOf(machine: number, mode: number): number {
    return (machine ^ (machine >>> 13) ^ (mode << 11)) & (SLOTS - 1);
  }

  /** The live block at an address, with no effect. */
  peek(machine: number, mode: number): Block | undefined {
    return this.#blocks.get(machine * 8 + mode);
  }

  find(machine: number, mode: number): Block | undefined {
    const block = this.#blocks.get(machine * 8 + mode);
    if (block !== undefined) this.slots[CodeCache.slotOf(machine, mode)] = block;
    return block;
  }

  /** Makes room for one more block before it is lowered; a full arena drops everything. */
  reserve(): void {
    if (this.top + BLOCK_WORDS > CODE_WORDS) this.clear();
  }

  add(block: Block): void {
    this.#blocks.set(block.machine * 8 + block.mode, block);
    this.slots[CodeCache.slotOf(block.machine, block.mode)] = block;
    this.#watch(block.machine >>> 12, block);
    if (block.secondPage >= 0) this.#watch(block.secondPage >>> 12, block);
  }

  /** Drops every block that was decoded from one of these bytes. The range lies within a page. */
  invalidate(machine: number, length: number): void {
    const mpn = machine >>> 12;
    const blocks = this.#byPage.get(mpn);
    if (blocks === undefined) return;
    const kept = blocks.filter(block => {
      if (block.start >= 0 && this.#touches(block, machine, length)) this.retire(block);
      return block.start >= 0;
    });
    if (kept.length > 0) {
      this.#byPage.set(mpn, kept);
    } else {
      this.#byPage.delete(mpn);
      this.memory.holdsCode[mpn] = 0;
    }
  }

  /** Drops all blocks. Nothing observable but the time that decoding takes. */
  clear(): void {
    this.compiler.dropAll();
    for (const block of this.#blocks.values()) block.start = -1;
    for (const mpn of this.#byPage.keys()) this.memory.holdsCode[mpn] = 0;
    this.#blocks.clear();
    this.#byPage.clear();
    this.slots.fill(undefined);
    this.top = 0;
  }

  /** Index of the instruction whose ops include index `pc`. */
  instructionAt(block: Block, pc: number): number {
    let low = 0;
    let high = block.instructions - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.code[block.marks + middle * MARK_WORDS]! <= pc) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Ends the run through a retired block behind the instruction at `pc`. The block will not be entered again. */
  cut(block: Block, pc: number): void {
    const next = this.instructionAt(block, pc) + 1;
    if (next >= block.instructions) return;
    const mark = block.marks + next * MARK_WORDS;
    const at = this.code[mark]!;
    this.code[at] = Op.CUT;
    this.code[at + 1] = this.code[mark + 1]!;
    this.code[at + 2] = this.code[mark + 2]!;
    this.code[at + 3] = next;
  }

  #watch(mpn: number, block: Block): void {
    const blocks = this.#byPage.get(mpn);
    if (blocks !== undefined) {
      blocks.push(block);
      return;
    }
    this.#byPage.set(mpn, [block]);
    this.memory.holdsCode[mpn] = 1;
    for (const tlb of this.#tlbs) tlb.dropWriteTags(mpn << 12);
  }

  #touches(block: Block, machine: number, length: number): boolean {
    const end = machine + length;
    if (block.secondPage < 0) return block.machine < end && machine < block.machine + block.bytes;
    const inFirst = (block.machine | 4095) + 1 - block.machine;
    if (block.machine < end && machine < block.machine + inFirst) return true;
    return block.secondPage < end && machine < block.secondPage + block.bytes - inFirst;
  }

  /** Drops one block. It stays listed under its pages until these are written. */
  retire(block: Block): void {
    if (block.regions.length > 0) this.compiler.retire(block);
    block.start = -1;
    block.taken = null;
    block.fall = null;
    this.blocksInvalidated += 1;
    this.#blocks.delete(block.machine * 8 + block.mode);
    const slot = CodeCache.slotOf(block.machine, block.mode);
    if (this.slots[slot] === block) this.slots[slot] = undefined;
  }
}
