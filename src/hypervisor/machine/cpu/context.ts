/**
 * One hardware thread: `Core` (state and memory) plus the engine that advances it.
 *
 * `run` alternates between finding the block at EIP and having it executed (`run.ts`). Events are looked at only at event points,
 * which the guest's code alone defines: on entry, after taken backward branches, indirect jumps, `SYSTEM` instructions, between
 * the pages of a repeated string, and after a delivery.
 */
import { assert } from '../../base/assert.js';
import { ExitReason } from '../vmx/exit-reasons.js';
import { Vmx } from '../vmx/vmx.js';
import { MARK_WORDS, Mode } from './cache-layout.js';
import type { Block, CodeCache } from './code-cache.js';
import { Core, Result } from './core.js';
import { BlockDecoder, INSTRUCTION_BYTES_MAX, NEEDS_NEXT_PAGE } from './decode.js';
import { deliver, Source } from './exceptions.js';
import { INLINE_HELPER_LIST } from './inline-helpers.js';
import {
  CYCLES,
  EXCEPTIONS,
  FETCH_MACHINE,
  FETCH_PAGE,
  FETCH_SAFE,
  INSTRUCTIONS,
  MISS_COST,
  MISS_CYCLES,
  MISSES,
} from './layout.js';
import type { HardwareThread } from './processor.js';
import { run } from './run.js';
import { Attr, type ContextWiring, type Exit, Flag, S, Seg, segAttr, segBase, segLimit, Vector } from './state.js';

const DEADLINE: Exit = { kind: 'deadline' };
const WINDOW_OPEN: Exit = {
  kind: 'vmExit',
  reason: ExitReason.INTERRUPT_WINDOW,
  qualification: 0,
  instructionBytes: 0,
};

export class Context extends Core implements HardwareThread {
  readonly vmx = new Vmx(this);
  readonly decoder: BlockDecoder;
  /** The interrupt shadow that the running instruction is in. */
  heldShadow = 0;
  /** Block and op of a memory access in the middle of a block. */
  #block: Block | null = null;
  #pc = 0;
  /** Op of a helper that compiled code has called, or -1; its block is looked for where a device wants to know the place. */
  #inlinePc = -1;

  constructor(
    wiring: ContextWiring,
    readonly codeCache: CodeCache,
  ) {
    super(wiring);
    assert(codeCache.memory === wiring.memory, 'code cache of another memory');
    codeCache.attach(this.tlb, wiring.costs);
    // The reference goes the long way.
    if (codeCache.interpreter !== null) this.replay = codeCache.compiler.events;
    this.decoder = codeCache.decoder ??= new BlockDecoder(codeCache, wiring.costs);
  }

  override release(): void {
    this.codeCache.detach(this.tlb);
    super.release();
  }

  run(deadlineCycles: number): Exit {
    this.deadlineCycles = deadlineCycles;
    const { blocksInvalidated, blocksDecoded } = this.codeCache;
    this.clock[MISS_COST] = this.costs.cycles.tlbMiss;
    this.s[MISS_CYCLES] = Math.ceil(this.costs.cycles.tlbMiss);
    this.codeCache.compiler.current = this;
    const exit = run(this);
    this.counters.tlbMisses += this.clock[MISSES]!;
    this.clock[MISSES] = 0;
    this.counters.exceptions += this.clock[EXCEPTIONS]!;
    this.clock[EXCEPTIONS] = 0;
    this.counters.blocksInvalidated += this.codeCache.blocksInvalidated - blocksInvalidated;
    this.counters.blocksDecoded += this.codeCache.blocksDecoded - blocksDecoded;
    this.accountRing();
    return exit;
  }

  step(): Exit {
    this.stepping = true;
    const exit = this.run(Number.POSITIVE_INFINITY);
    this.stepping = false;
    return exit;
  }

  /** An event point past `POLL_AT`: delivers an interrupt, or answers why `run` must return, or null to go on. */
  takeEvents(): Exit | null {
    const s = this.s;
    if (this.stepping) return null;
    if (this.clock[CYCLES]! >= this.deadlineCycles) return DEADLINE;
    const takeable =
      s[S.INTR] !== 0 && (s[S.EFLAGS]! & Flag.IF) !== 0 && s[S.INTERRUPT_SHADOW] === 0 && !this.ring0Escapes;
    if (!takeable) return null;
    if (s[S.NON_ROOT] !== 0) return WINDOW_OPEN;
    this.spend(this.costs.cycles.interruptAcknowledge);
    const vector = this.wiring.interrupts.acknowledge();
    this.updatePoll();
    return deliver(this, vector, 0, Source.EXTERNAL, s[S.EIP]!) === Result.EXIT ? this.takeExit() : null;
  }

  /** The block at EIP, or null with a fault pending. `single` asks for one instruction alone. */
  find(single: boolean): Block | null {
    const s = this.s;
    const eip = s[S.EIP]! >>> 0;
    const mode =
      ((s[segAttr(Seg.SS)]! & Attr.DB) === 0 ? Mode.STACK16 : 0) |
      ((s[segAttr(Seg.CS)]! & Attr.DB) === 0 ? Mode.CODE16 : 0) |
      (single ? Mode.SINGLE : 0);
    if (eip >= s[FETCH_SAFE]! >>> 0) return this.#findCautiously(eip, mode);
    return this.#findAt((s[S.EIP]! + s[segBase(Seg.CS)]!) | 0, mode);
  }

  /**
   * Near the end of the code segment. A page that ends well before the segment does is safe, since blocks are linked within
   * their page only; else instructions come one at a time, each checked.
   */
  #findCautiously(eip: number, mode: number): Block | null {
    const s = this.s;
    const limit = s[segLimit(Seg.CS)]! >>> 0;
    if (eip > limit) return this.#nothing(Vector.GP);
    const linear = (s[S.EIP]! + s[segBase(Seg.CS)]!) | 0;
    if (eip + 4096 - (linear & 4095) + INSTRUCTION_BYTES_MAX <= limit) return this.#findAt(linear, mode);
    const block = this.#findAt(linear, mode | Mode.SINGLE);
    if (block !== null && eip + block.bytes - 1 > limit) return this.#nothing(Vector.GP);
    return block;
  }

  #nothing(vector: number): null {
    this.raise(vector, 0);
    return null;
  }

  #findAt(linear: number, mode: number): Block | null {
    if ((linear & -4096) !== this.s[FETCH_PAGE] && !this.fetch(linear)) return null;
    const machine = this.s[FETCH_MACHINE]! + (linear & 4095);
    const header = this.codeCache.finder.provide(machine, mode);
    return header !== 0 ? this.codeCache.blockAt(header) : this.#decode(linear, machine, mode);
  }

  #decode(linear: number, machine: number, mode: number): Block | null {
    const block = this.decoder.decode(machine, mode, -1);
    if (block !== NEEDS_NEXT_PAGE) return block;
    if (!this.fetch(((linear & -4096) + 4096) | 0)) return null;
    const second = this.s[FETCH_MACHINE]!;
    const straddling = this.decoder.decode(machine, mode, second);
    assert(straddling !== NEEDS_NEXT_PAGE, 'the next page was given');
    return straddling;
  }

  /** For an instruction that goes on in the next page: makes that page the current one of instruction fetch. */
  fetchNextPage(block: Block): boolean {
    const linear = (this.s[S.EIP]! + this.s[segBase(Seg.CS)]!) | 0;
    assert((linear & 4095) + block.bytes > 4096, 'a block that ends within its page');
    return this.fetch(((linear & -4096) + 4096) | 0);
  }

  /** The exit that a helper or a delivery left. */
  takeExit(): Exit {
    const exit = this.exit;
    assert(exit !== null, 'an exit without a reason');
    this.exit = null;
    // The instruction that left non-root operation has not been executed: interrupts are still held off for it.
    if (this.s[S.NON_ROOT] !== 0) this.s[S.INTERRUPT_SHADOW] = this.heldShadow;
    this.heldShadow = 0;
    return exit;
  }

  // ---- memory operations in the middle of a block that miss the fast path

  slowLoad(seg: number, offset: number, size: number, block: Block, pc: number): number {
    this.#block = block;
    this.#pc = pc;
    const value = this.load(seg, offset, size);
    this.#block = null;
    if (block.start < 0) this.codeCache.cut(block, pc);
    return value;
  }

  slowLoadForStore(seg: number, offset: number, size: number, block: Block, pc: number): number {
    this.#block = block;
    this.#pc = pc;
    const value = this.loadForStore(seg, offset, size);
    this.#block = null;
    if (block.start < 0) this.codeCache.cut(block, pc);
    return value;
  }

  /** A store may hit the running block itself: then the block ends behind the instruction that stored. */
  slowStore(seg: number, offset: number, size: number, value: number, block: Block, pc: number): void {
    this.#block = block;
    this.#pc = pc;
    this.store(seg, offset, size, value);
    this.#block = null;
    if (block.start < 0) this.codeCache.cut(block, pc);
  }

  /** Executes the `HELPER` op at `pc`. False with a fault pending. */
  callInline(block: Block, pc: number): boolean {
    this.#block = block;
    this.#pc = pc;
    const completed = this.#helper(pc);
    this.#block = null;
    if (block.start < 0) this.codeCache.cut(block, pc);
    return completed;
  }

  /** As above, for compiled code. */
  callInlineAt(pc: number): boolean {
    this.#inlinePc = pc;
    const completed = this.#helper(pc);
    this.#inlinePc = -1;
    this.#block = null;
    return completed;
  }

  #helper(pc: number): boolean {
    const code = this.codeCache.code;
    return INLINE_HELPER_LIST[code[pc + 1]!]!(this, code[pc + 2]!, code[pc + 3]!, code[pc + 4]!, code[pc + 5]!);
  }

  /** A device sees the time and place of the instruction that reaches it. */
  protected override enterDevice(): void {
    if (this.#inlinePc >= 0) this.#findInline();
    this.#shift(1);
    this.accountRing();
  }

  protected override leaveDevice(): void {
    this.#shift(-1);
  }

  /** The block that compiled code is in, whose EIP is in its word: regions are made of blocks that live, on the current page. */
  #findInline(): void {
    const s = this.s;
    this.#block = this.codeCache.find(s[FETCH_MACHINE]! + (s[S.EIP]! & 4095), Mode.PLAIN) ?? null;
    this.#pc = this.#inlinePc;
    this.#inlinePc = -1;
  }

  #shift(sign: number): void {
    const block = this.#block;
    if (block === null) return;
    const index = this.codeCache.instructionAt(block, this.#pc);
    const mark = block.marks + index * MARK_WORDS;
    const code = this.codeCache.code;
    this.s[S.EIP] = this.s[S.EIP]! + sign * code[mark + 1]!;
    this.clock[CYCLES]! += sign * code[mark + 2]!;
    this.clock[INSTRUCTIONS]! += sign * index;
  }

  protected override describeInstruction(bytes: number[]): string {
    const narrow = (this.s[segAttr(Seg.CS)]! & Attr.DB) === 0;
    return this.decoder.describe(bytes, narrow ? 16 : 32);
  }
}
