/**
 * Decoded blocks of a host, shared by all its hardware threads. A block is known by the machine address of its first byte
 * and the mode that its meaning depends on. It is dropped when any byte that it was decoded from is written, and only then.
 *
 * Code never decides what an event costs: a block that is there saves the decoding and nothing else.
 */

import { assert } from '../../base/assert.js';
import type { CostProfile } from '../costs/profile.js';
import { linesOf, type MachineMemory } from '../memory.js';
import type { Tlb } from '../mmu/tlb.js';
import {
  BLOCK_BYTES_MAX,
  type CacheLayout,
  CODE_WORDS,
  Header,
  MARK_WORDS,
  Mail,
  PATCHED_MAX,
  Page,
  RETIRED,
  reserveCache,
  slotOf,
} from './cache-layout.js';
import { BlockFinder } from './compile/block-finder.js';
import { Compiler, type Region, Tiering } from './compile/compiler.js';
import { WasmInterpreter } from './compile/interpreter.js';
import type { Workshop } from './compile/workshop.js';
import type { BlockDecoder } from './decode.js';
import { OP_WORDS, Op } from './ir.js';
import { FETCH_MACHINE } from './layout.js';

/** A block as TypeScript sees it: made when somebody asks for it, from its header. */
export class Block {
  /** Index of the first op in `CodeCache.code`, -1 once retired. */
  start: number;
  readonly machine: number;
  readonly mode: number;
  readonly bytes: number;
  readonly instructions: number;
  /** Static cycles of all its instructions. */
  readonly cycles: number;
  /** Index of the marks in `CodeCache.code`. */
  readonly marks: number;
  /** Machine page of the part behind a page end, or -1. */
  readonly secondPage: number;
  /** Compiled code that can be entered here, and the number of the entry. */
  region: Region | null = null;
  entry = -1;
  /** All compiled code that this block is part of. */
  readonly regions: Region[] = [];
  /** So many drops of its page the block has waited for before it is compiled (`Compiler`). */
  waitedFor = 0;

  constructor(
    private readonly code: Int32Array,
    /** Index of the header in `code`. */
    readonly header: number,
  ) {
    this.start = header + Header.WORDS;
    this.machine = code[header + Header.MACHINE]!;
    this.mode = code[header + Header.MODE]!;
    this.bytes = code[header + Header.BYTES]!;
    this.instructions = code[header + Header.INSTRUCTIONS]!;
    this.cycles = code[header + Header.CYCLES]!;
    this.marks = code[header + Header.MARKS]!;
    this.secondPage = code[header + Header.SECOND_PAGE]!;
  }

  get heat(): number {
    return this.start < 0 ? RETIRED : this.code[this.header + Header.HEAT]!;
  }

  set heat(value: number) {
    if (this.start >= 0) this.code[this.header + Header.HEAT] = Math.min(value, RETIRED);
  }

  get entered(): boolean {
    return this.start >= 0 && this.code[this.header + Header.ENTERED] !== 0;
  }

  set entered(value: boolean) {
    if (this.start >= 0) this.code[this.header + Header.ENTERED] = value ? 1 : 0;
  }
}

/** How the engine of a host works. Nothing observable depends on it but the time that it takes. */
export interface EngineOptions {
  /**
   * When blocks are compiled: when they are hot (`normal`), on their first execution, or not at all; `reference` leaves everything
   * to the reference interpreter.
   */
  readonly tiering?: keyof typeof Tiering;
  /** Bound of the memory for compiled code, in bytes. */
  readonly codeBytesMax?: number;
  /** Bound of the memory for decoded blocks, in bytes: 96 KiB at least, `CODE_WORDS` words at most. */
  readonly decodedBytesMax?: number;
}
/** What holds where an option or a workshop is not given. The test suite changes it to run as a whole in another setting. */
export const engineDefaults: Required<{ -readonly [K in keyof EngineOptions]: EngineOptions[K] }> & {
  workshop: (() => Workshop) | undefined;
} = {
  workshop: undefined,
  tiering: 'normal',
  codeBytesMax: 256 << 20,
  decodedBytesMax: CODE_WORDS * 4,
};

/** What is known of a block before it has a header. */
export interface NewBlock {
  readonly machine: number;
  readonly mode: number;
  readonly bytes: number;
  readonly instructions: number;
  readonly cycles: number;
  /** Index of the marks, behind the ops at `CodeCache.top`. */
  readonly marks: number;
  readonly secondPage: number;
}

/**
 * Retired blocks keep their places for so many more writes to lines of their page that hit no block: code that is patched is executed
 * again.
 */
const QUIET_WRITES = 16;
/** So many blocks, each killed at most so many bytes behind the one before, are a sweep through a page. */
const SWEPT_BLOCKS = 4;
const SWEEP_STEP_MAX = 128;

export class CodeCache {
  /** Where everything is for generated code. */
  readonly layout: CacheLayout;
  /** Headers, ops and marks of templates and of all blocks. */
  readonly code: Int32Array;
  /** Machine address of `code`. */
  readonly codeAt: number;
  /** Blocks that somebody has asked for since everything was dropped last, by their number. */
  readonly numbered: (Block | undefined)[] = [undefined];
  blocksInvalidated = 0;
  /** Index of the next block's first op; whoever lowers a block moves it behind its marks. */
  top = 0;
  /** Decodes for all threads; the first one makes it. */
  decoder: BlockDecoder | undefined;
  readonly finder: BlockFinder;
  readonly compiler: Compiler;
  /** Runs what is not compiled; null where the reference interpreter does. */
  readonly interpreter: WasmInterpreter | null;
  readonly #words: Int32Array;
  /** Where a write last killed a block, and how many such writes have gone on from the one before. */
  #sweptTo = 0;
  #sweptBlocks = 0;
  #tlbs: Tlb[] = [];
  #costs: CostProfile | undefined;

  constructor(
    readonly memory: MachineMemory,
    options: EngineOptions = {},
    /** Builds compiled code (`Compiler`). */
    workshop = engineDefaults.workshop?.(),
  ) {
    const { tiering, codeBytesMax, decodedBytesMax } = { ...engineDefaults, ...options };
    this.layout = reserveCache(memory, decodedBytesMax);
    this.#words = memory.i32;
    this.codeAt = this.layout.codeAt;
    this.code = new Int32Array(memory.wasm.buffer, this.codeAt, (this.layout.codeEnd - this.codeAt) >> 2);
    // Where the first execution is compiled already, it needs a block.
    this.finder = new BlockFinder(memory, this.layout, Tiering[tiering] > 1, mpn => {
      for (const tlb of this.#tlbs) tlb.dropWriteTags(mpn << 12);
    });
    this.compiler = new Compiler(this, Tiering[tiering], codeBytesMax, workshop);
    this.interpreter = tiering === 'reference' ? null : new WasmInterpreter(this);
    memory.onCodeWrite = (machine, length) => this.invalidate(machine, length);
    this.#reset();
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

  /** Prices of the threads. There is at least one. */
  get costs(): CostProfile {
    const costs = this.#costs;
    assert(costs !== undefined, 'a code cache without threads');
    return costs;
  }

  /** Blocks decoded so far. */
  get blocksDecoded(): number {
    return this.#words[(this.layout.mailAt >> 2) + Mail.DECODED]!;
  }

  /** Memory that blocks take. */
  get decodedBytes(): number {
    return this.#end - this.layout.blocksAt;
  }

  /** Machine address behind the last block. */
  get #end(): number {
    return this.#words[(this.layout.mailAt >> 2) + Mail.END]!;
  }

  set #end(value: number) {
    this.#words[(this.layout.mailAt >> 2) + Mail.END] = value;
  }

  #reset(): void {
    this.#end = this.layout.blocksAt;
  }

  /** Index in `#words` of the slot of the hash for an address. */
  #slot(machine: number, mode: number): number {
    return (this.layout.slotsAt >> 2) + slotOf(machine, mode);
  }

  /** Index of the header of the block at an address, retired or not; -1 if there is none. */
  #headerOf(machine: number, mode: number): number {
    const { code } = this;
    let address = this.#words[this.#slot(machine, mode)]!;
    while (address !== 0) {
      const at = this.#indexOf(address);
      if (code[at + Header.MACHINE] === machine && code[at + Header.MODE] === mode) return at;
      address = code[at + Header.CHAIN]!;
    }
    return -1;
  }

  /** The live block at an address, with no effect. */
  find(machine: number, mode: number): Block | undefined {
    const at = this.#headerOf(machine, mode);
    return at < 0 || this.code[at + Header.HEAT] === RETIRED ? undefined : this.#block(at);
  }

  #indexOf(address: number): number {
    return (address - this.codeAt) >> 2;
  }

  #addressOf(index: number): number {
    return this.codeAt + index * 4;
  }

  /** Machine address of a block's header. */
  addressOf(block: Block): number {
    return this.#addressOf(block.header);
  }

  /** The block whose header is at a machine address. For a template, the one instruction that it is executed for now. */
  blockAt(address: number): Block {
    return this.#block(this.#indexOf(address));
  }

  #block(at: number): Block {
    const { code, numbered } = this;
    let number = code[at + Header.NUMBER]!;
    if (this.#addressOf(at) < this.layout.blocksAt) return new Block(code, at);
    if (number === 0) {
      number = numbered.length;
      numbered.push(undefined);
      code[at + Header.NUMBER] = number;
    }
    return (numbered[number] ??= new Block(code, at));
  }

  /** Makes room for one more block before it is lowered, its ops from `top` on; a full arena drops everything. */
  reserve(): void {
    if (this.#end + BLOCK_BYTES_MAX > this.layout.codeEnd) this.clear();
    this.top = (this.#indexOf(this.#end) + Header.WORDS + OP_WORDS - 1) & -OP_WORDS;
  }

  /** Adds the block whose ops are at `top`. */
  add(block: NewBlock): Block {
    const { code } = this;
    const { machine, mode, instructions } = block;
    const again = this.#headerOf(machine, mode);
    const end = block.marks + instructions * MARK_WORDS;
    let at = this.top - Header.WORDS;
    let { marks } = block;
    const fits =
      again >= 0 &&
      code[again + Header.SECOND_PAGE] === block.secondPage &&
      again + end - at <= this.#indexOf(code[again + Header.ROOM]!);
    if (fits) {
      // Into the place of its predecessor, to which others may still have links.
      const distance = again - at;
      for (let i = 0; i < instructions; i++) code[marks + i * MARK_WORDS]! += distance;
      code.copyWithin(again + Header.WORDS, this.top, end);
      at = again;
      marks += distance;
    } else if (again >= 0) {
      code[again + Header.MODE] = -1;
    }
    code[at + Header.CYCLES] = block.cycles;
    code[at + Header.INSTRUCTIONS] = instructions;
    code[at + Header.BYTES] = block.bytes;
    code[at + Header.MACHINE] = machine;
    code[at + Header.MODE] = mode;
    code[at + Header.MARKS] = marks;
    code[at + Header.SECOND_PAGE] = block.secondPage;
    if (!fits) code[at + Header.ROOM] = this.#addressOf(end);
    this.finder.enlist(this.#addressOf(at), fits ? 0 : 1);
    this.top = end;
    return this.#block(at);
  }

  /** Index in `#words` of what is known of a machine page (`Page`). */
  #page(mpn: number): number {
    return (this.layout.pagesAt >> 2) + mpn * Page.WORDS;
  }

  /** Drops every block that was decoded from one of these bytes. The range lies within a page. */
  invalidate(machine: number, length: number): void {
    const mpn = machine >>> 12;
    if ((this.memory.codeLines[mpn]! & linesOf(machine, length)) === 0) return;
    const page = this.#page(mpn);
    let patched = 0;
    this.#eachOn(mpn, at => {
      if (!this.#touches(at, machine, length)) return;
      this.#retireAt(at);
      patched |= this.#firstLine(at);
    });
    if (patched !== 0) {
      this.#words[page + Page.QUIET] = 0;
      this.#delay(mpn, patched);
      this.#markPage(mpn);
      this.#noteSweep(machine);
    } else if (++this.#words[page + Page.QUIET]! > QUIET_WRITES) {
      this.#leaveLines(mpn, linesOf(machine, length));
    }
  }

  /** From now on code that begins in some lines of the page is walked twice as often before it gets a block. */
  #delay(mpn: number, lines: number): void {
    const page = this.#page(mpn);
    this.#words[page + Page.PATCHED] = Math.min(this.#words[page + Page.PATCHED]! + 1, PATCHED_MAX);
    this.#words[page + Page.PATCHED_LINES]! |= lines;
  }

  /** Bit of the line in which a block begins. */
  #firstLine(at: number): number {
    return linesOf(this.code[at + Header.MACHINE]!, 1);
  }

  /**
   * Lines that are written again and again, but not where their blocks are: these are dropped as well, if they are not compiled. They come
   * back if they are executed, and if not, which is more likely, stores need not come here any more.
   */
  #leaveLines(mpn: number, lines: number): void {
    let left = 0;
    this.#eachOn(mpn, at => {
      const compiled = (this.numbered[this.code[at + Header.NUMBER]!]?.regions.length ?? 0) > 0;
      if (compiled || (this.#linesIn(at, mpn) & lines) === 0) return;
      this.#retireAt(at);
      left |= this.#firstLine(at);
    });
    this.#delay(mpn, left);
    this.#tidy(mpn);
  }

  /**
   * Blocks that are overwritten one behind the other: the page becomes something else. All of it is dropped, so that not each store of
   * the rest has to look for its block, unless it is the page that is being executed.
   */
  #noteSweep(machine: number): void {
    const step = machine - this.#sweptTo;
    this.#sweptTo = machine;
    this.#sweptBlocks = step > 0 && step <= SWEEP_STEP_MAX ? this.#sweptBlocks + 1 : 0;
    const mpn = machine >>> 12;
    const running = this.compiler.current?.s[FETCH_MACHINE] ?? -1;
    if (this.#sweptBlocks < SWEPT_BLOCKS || running >>> 12 === mpn) return;
    this.#eachOn(mpn, at => {
      if (this.#beginsOn(at, mpn)) this.#retireAt(at);
    });
    this.#words[this.#page(mpn) + Page.PATCHED] = 0;
    this.#words[this.#page(mpn) + Page.PATCHED_LINES] = 0;
    this.#tidy(mpn);
  }

  /** The live blocks that begin in a page. */
  blocksIn(mpn: number): Block[] {
    const found: Block[] = [];
    this.#eachOn(mpn, at => {
      if (this.#beginsOn(at, mpn)) found.push(this.#block(at));
    });
    return found;
  }

  /** Visits the live blocks on a page, of which `visit` may retire the one that it is given. */
  #eachOn(mpn: number, visit: (at: number) => void): void {
    const { code } = this;
    for (let address = this.#words[this.#page(mpn)]!; address !== 0; ) {
      const at = this.#indexOf(address);
      if (code[at + Header.HEAT] !== RETIRED) visit(at);
      address = code[at + this.#linkOnPage(at, mpn)]!;
    }
  }

  #beginsOn(at: number, mpn: number): boolean {
    return this.code[at + Header.MACHINE]! >>> 12 === mpn;
  }

  #linkOnPage(at: number, mpn: number): number {
    return this.#beginsOn(at, mpn) ? Header.PAGE_NEXT : Header.SECOND_NEXT;
  }

  /** Lines of a page that no live block is on hold no code any more: whoever writes there need not come here. */
  #markPage(mpn: number): void {
    let lines = 0;
    this.#eachOn(mpn, at => {
      lines |= this.#linesIn(at, mpn);
    });
    this.memory.codeLines[mpn] = lines;
  }

  /** Retired blocks of a page give up their places. */
  #tidy(mpn: number): void {
    const { code } = this;
    const page = this.#page(mpn);
    let next = this.#words[page]!;
    this.#words[page] = 0;
    this.#words[page + Page.QUIET] = 0;
    while (next !== 0) {
      const address = next;
      const at = this.#indexOf(address);
      const link = at + this.#linkOnPage(at, mpn);
      next = code[link]!;
      if (code[at + Header.HEAT] === RETIRED) {
        this.#unchain(at);
        code[at + Header.MODE] = -1;
        continue;
      }
      code[link] = this.#words[page]!;
      this.#words[page] = address;
    }
    this.#markPage(mpn);
  }

  /** Bits of the lines of a page that a block is on. */
  #linesIn(at: number, mpn: number): number {
    const { code } = this;
    const first = code[at + Header.MACHINE]!;
    const bytes = code[at + Header.BYTES]!;
    const inFirst = Math.min(bytes, (first | 4095) + 1 - first);
    const second = code[at + Header.SECOND_PAGE]!;
    const begun = first >>> 12 === mpn ? linesOf(first, inFirst) : 0;
    return begun | (second >>> 12 === mpn ? linesOf(second, bytes - inFirst) : 0);
  }

  #unchain(at: number): void {
    const { code } = this;
    const own = this.#addressOf(at);
    const slot = this.#slot(code[at + Header.MACHINE]!, code[at + Header.MODE]!);
    if (this.#words[slot] === own) {
      this.#words[slot] = code[at + Header.CHAIN]!;
      return;
    }
    for (let address = this.#words[slot]!; address !== 0; ) {
      const other = this.#indexOf(address);
      address = code[other + Header.CHAIN]!;
      if (address === own) code[other + Header.CHAIN] = code[at + Header.CHAIN]!;
    }
  }

  /** Drops all blocks. Nothing observable but the time that decoding takes. */
  clear(): void {
    this.compiler.dropAll();
    for (const block of this.numbered) if (block !== undefined) block.start = -1;
    this.numbered.length = 1;
    this.memory.codeLines.fill(0);
    this.#words.fill(0, this.#page(0), this.#page(this.memory.pageCount));
    // The slots, and what is remembered of lines that are walked.
    this.#words.fill(0, this.layout.slotsAt >> 2, this.layout.trieAt >> 2);
    this.#reset();
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

  #touches(at: number, machine: number, length: number): boolean {
    const { code } = this;
    const end = machine + length;
    const first = code[at + Header.MACHINE]!;
    const bytes = code[at + Header.BYTES]!;
    const second = code[at + Header.SECOND_PAGE]!;
    if (second < 0) return first < end && machine < first + bytes;
    const inFirst = (first | 4095) + 1 - first;
    if (first < end && machine < first + inFirst) return true;
    return second < end && machine < second + bytes - inFirst;
  }

  /** Drops one block. It stays listed under its pages until these hold no code any more. */
  retire(block: Block): void {
    if (block.start >= 0) this.#retireAt(block.header);
  }

  #retireAt(at: number): void {
    const { code } = this;
    const number = code[at + Header.NUMBER]!;
    const block = this.numbered[number];
    if (block !== undefined) {
      if (block.regions.length > 0) this.compiler.retire(block);
      block.start = -1;
      this.numbered[number] = undefined;
    }
    code[at + Header.HEAT] = RETIRED;
    this.blocksInvalidated += 1;
  }
}
