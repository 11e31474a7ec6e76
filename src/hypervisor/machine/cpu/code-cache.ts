/**
 * Decoded blocks of a host, shared by all its hardware threads. A block is known by the machine address of its first byte
 * and the mode that its meaning depends on. It is dropped when any byte that it was decoded from is written, and only then.
 *
 * Code never decides what an event costs: a block that is there saves the decoding and nothing else.
 */

import { assert } from '../../base/assert.js';
import type { CostProfile } from '../costs/profile.js';
import { CODE_LINE_SHIFT, type MachineMemory } from '../memory.js';
import type { Tlb } from '../mmu/tlb.js';
import { Compiler, type Region, Tiering } from './compile/compiler.js';
import { WasmInterpreter } from './compile/interpreter.js';
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

/** Words in front of a block's ops: what the WebAssembly interpreter has to know of it. */
export const Header = {
  /** Static cycles and instructions of the whole block; one 64-bit number to whoever adds both at once. */
  CYCLES: 0,
  INSTRUCTIONS: 1,
  /** Distance to the instruction behind it. */
  BYTES: 2,
  /** Machine addresses of the headers of the successors over direct jumps within the page; 0 for none. */
  TAKEN: 3,
  FALL: 4,
  /** Executions so far, as interpreters count them for the compiler; `RETIRED` once the block must not be entered. */
  HEAT: 5,
  /** -1 once retired. */
  MACHINE: 6,
  MODE: 7,
  /** Number of the block in `CodeCache.numbered`. */
  NUMBER: 8,
  /** 1: somebody came here other than over a direct edge within the page. */
  ENTERED: 9,
  WORDS: 10,
} as const;

/** Hotter than any block gets: nobody follows a link to one that is as hot. */
export const RETIRED = 0x7fffffff;

export class Block {
  /** Compiled code that can be entered here, and the number of the entry. */
  region: Region | null = null;
  entry = -1;
  /** All compiled code that this block is part of. */
  readonly regions: Region[] = [];
  /** So many drops of its page the block has waited for before it is compiled (`Compiler`). */
  waitedFor = 0;
  #code: Int32Array = NOT_IN_CACHE;

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

  /** Index of the header; only of a block that is not retired. */
  get header(): number {
    return this.start - Header.WORDS;
  }

  get heat(): number {
    return this.start < 0 ? RETIRED : this.#code[this.header + Header.HEAT]!;
  }

  set heat(value: number) {
    if (this.start >= 0) this.#code[this.header + Header.HEAT] = Math.min(value, RETIRED);
  }

  get entered(): boolean {
    return this.start >= 0 && this.#code[this.header + Header.ENTERED] !== 0;
  }

  set entered(value: boolean) {
    if (this.start >= 0) this.#code[this.header + Header.ENTERED] = value ? 1 : 0;
  }

  /** Writes the header. */
  enlist(code: Int32Array, number: number): void {
    this.#code = code;
    const at = this.header;
    code.fill(0, at, at + Header.WORDS);
    code[at + Header.CYCLES] = this.cycles;
    code[at + Header.INSTRUCTIONS] = this.instructions;
    code[at + Header.BYTES] = this.bytes;
    code[at + Header.MACHINE] = this.machine;
    code[at + Header.MODE] = this.mode;
    code[at + Header.NUMBER] = number;
  }

  /** Never to be entered again. Links to it may stay until all blocks are dropped. */
  retire(): void {
    if (this.start < 0) return;
    const at = this.header;
    this.#code[at + Header.HEAT] = RETIRED;
    this.#code[at + Header.MACHINE] = -1;
    this.start = -1;
  }
}

const NOT_IN_CACHE = new Int32Array(0);

/** How the engine of a host works. Nothing observable depends on it but the time that it takes. */
export interface EngineOptions {
  /**
   * When blocks are compiled: when they are hot (`normal`), on their first execution, or not at all; `reference` leaves everything
   * to the reference interpreter.
   */
  readonly tiering?: keyof typeof Tiering;
  /** Bound of the memory for compiled code, in bytes. */
  readonly codeBytesMax?: number;
}
/** What holds where an option is not given. The test suite changes it to run as a whole in another setting. */
export const engineDefaults: Required<{ -readonly [K in keyof EngineOptions]: EngineOptions[K] }> = {
  tiering: 'normal',
  codeBytesMax: 256 << 20,
};

const CODE_WORDS = 12 << 20;
/** Room that one block may need: 48 instructions of 24 ops. */
const BLOCK_WORDS = 48 * (24 * OP_WORDS + MARK_WORDS) + 64;
export const SLOTS = 1 << 15;
/** Words in front of the slots that the WebAssembly interpreter leaves its answers in. */
export const MAILBOX_WORDS = 16;

/** How many of a block's bytes lie in its first page. */
const inFirstPage = ({ machine, secondPage, bytes }: Block): number =>
  secondPage < 0 ? bytes : (machine | 4095) + 1 - machine;

export class CodeCache {
  /** Machine address of the cache's part of the simulator's memory: mailbox, slots, code. */
  readonly base: number;
  /** Headers, ops and marks of all blocks. */
  readonly code: Int32Array;
  /** Machine address of `code`. */
  readonly codeAt: number;
  /** Hash by machine address and mode, the first look: machine addresses of headers, or 0. */
  readonly slots: Int32Array;
  /** All blocks since everything was dropped last, retired ones too. */
  readonly numbered: Block[] = [];
  blocksInvalidated = 0;
  /** Index of the next block's first op; whoever lowers a block moves it behind its marks. */
  top = 0;
  /** End of the last block. */
  #end = 0;
  #blocks = new Map<number, Block>();
  /** Under each line that a block was decoded from (`MachineMemory.codeLines`). */
  readonly #byLine = new Map<number, Block[]>();
  #tlbs: Tlb[] = [];
  #costs: CostProfile | undefined;
  readonly compiler: Compiler;
  /** Runs what is not compiled; null where the reference interpreter does. */
  readonly interpreter: WasmInterpreter | null;

  constructor(
    readonly memory: MachineMemory,
    options: EngineOptions = {},
  ) {
    const { tiering, codeBytesMax } = { ...engineDefaults, ...options };
    const words = MAILBOX_WORDS + SLOTS;
    this.base = memory.reserve((words + CODE_WORDS) * 4);
    this.codeAt = this.base + words * 4;
    this.slots = new Int32Array(memory.wasm.buffer, this.base + MAILBOX_WORDS * 4, SLOTS);
    this.code = new Int32Array(memory.wasm.buffer, this.codeAt, CODE_WORDS);
    this.compiler = new Compiler(this, Tiering[tiering], codeBytesMax);
    this.interpreter = tiering === 'reference' ? null : new WasmInterpreter(this);
    memory.onCodeWrite = (machine, length) => this.invalidate(machine, length);
  }

  /** Announces a hardware thread. All threads of a host are of one kind: cycles are part of the blocks. */
  /** Prices of the threads. There is at least one. */
  get costs(): CostProfile {
    const costs = this.#costs;
    assert(costs !== undefined, 'a code cache without threads');
    return costs;
  }

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
    const { code } = this;
    const slot = CodeCache.slotOf(machine, mode);
    const at = (this.slots[slot]! - this.codeAt) >> 2;
    if (at >= 0 && code[at + Header.MACHINE] === machine && code[at + Header.MODE] === mode) {
      return this.numbered[code[at + Header.NUMBER]!];
    }
    const block = this.#blocks.get(machine * 8 + mode);
    if (block !== undefined) this.slots[slot] = this.addressOf(block);
    return block;
  }

  /** Machine address of a block's header. */
  addressOf(block: Block): number {
    return this.codeAt + block.header * 4;
  }

  /** The block whose header is at a machine address. */
  blockAt(address: number): Block {
    return this.numbered[this.code[((address - this.codeAt) >> 2) + Header.NUMBER]!]!;
  }

  /** Makes room for one more block before it is lowered, its ops from `top` on; a full arena drops everything. */
  reserve(): void {
    if (this.#end + BLOCK_WORDS > CODE_WORDS) this.clear();
    this.top = (this.#end + Header.WORDS + OP_WORDS - 1) & -OP_WORDS;
  }

  add(block: Block): void {
    this.#end = block.marks + block.instructions * MARK_WORDS;
    block.enlist(this.code, this.numbered.length);
    this.numbered.push(block);
    this.#blocks.set(block.machine * 8 + block.mode, block);
    this.slots[CodeCache.slotOf(block.machine, block.mode)] = this.addressOf(block);
    const inFirst = inFirstPage(block);
    this.#watch(block, block.machine, inFirst);
    if (inFirst < block.bytes) this.#watch(block, block.secondPage, block.bytes - inFirst);
  }

  /** Drops every block that was decoded from one of these bytes. The range lies within a page. */
  invalidate(machine: number, length: number): void {
    const last = (machine + length - 1) >>> CODE_LINE_SHIFT;
    for (let line = machine >>> CODE_LINE_SHIFT; line <= last; line++) {
      if (((this.memory.codeLines[line >>> 5]! >>> (line & 31)) & 1) === 0) continue;
      const blocks = this.#byLine.get(line)!;
      let kept = 0;
      for (const block of blocks) {
        if (block.start >= 0 && this.#touches(block, machine, length)) this.retire(block);
        if (block.start >= 0) blocks[kept++] = block;
      }
      if (kept < blocks.length) blocks.length = kept;
      if (kept > 0) continue;
      this.#byLine.delete(line);
      this.memory.codeLines[line >>> 5]! &= ~(1 << (line & 31));
    }
  }

  /** Drops all blocks. Nothing observable but the time that decoding takes. */
  clear(): void {
    this.compiler.dropAll();
    for (const block of this.#blocks.values()) block.retire();
    for (const line of this.#byLine.keys()) this.memory.codeLines[line >>> 5] = 0;
    this.#blocks.clear();
    this.#byLine.clear();
    this.slots.fill(0);
    this.numbered.length = 0;
    this.#end = 0;
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

  #watch(block: Block, machine: number, length: number): void {
    const { codeLines } = this.memory;
    const mpn = machine >>> 12;
    if (codeLines[mpn] === 0) for (const tlb of this.#tlbs) tlb.dropWriteTags(mpn << 12);
    const last = (machine + length - 1) >>> CODE_LINE_SHIFT;
    for (let line = machine >>> CODE_LINE_SHIFT; line <= last; line++) {
      const blocks = this.#byLine.get(line);
      if (blocks !== undefined) {
        blocks.push(block);
        continue;
      }
      this.#byLine.set(line, [block]);
      codeLines[mpn]! |= 1 << (line & 31);
    }
  }

  #touches(block: Block, machine: number, length: number): boolean {
    const end = machine + length;
    if (block.secondPage < 0) return block.machine < end && machine < block.machine + block.bytes;
    const inFirst = inFirstPage(block);
    if (block.machine < end && machine < block.machine + inFirst) return true;
    return block.secondPage < end && machine < block.secondPage + block.bytes - inFirst;
  }

  /** Drops one block. It stays listed under its lines until these are written. */
  retire(block: Block): void {
    if (block.regions.length > 0) this.compiler.retire(block);
    block.retire();
    this.blocksInvalidated += 1;
    this.#blocks.delete(block.machine * 8 + block.mode);
  }
}
