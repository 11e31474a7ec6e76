/**
 * The frame of a compiled region: its parameters and locals, what it calls and imports, and the writer with the book-keeping that all
 * emitters share (open blocks, where the guest is, which kind the lazy flags are of).
 */
import { MARK_WORDS } from '../cache-layout.js';
import { TEMPS } from '../layout.js';
import { S } from '../state.js';
import { Nest } from './nest.js';
import { UNKNOWN_KIND } from './op-facts.js';
import type { SourceBlock } from './region-source.js';
import { Type, W } from './wasm-writer.js';

/** Parameters of a region, then its locals. */
export const L = {
  /** Address of the thread's state words. */
  CPU: 0,
  /** Number of the entry to go to. */
  ENTRY: 1,
  /** EIP on entry. */
  EIP: 2,
  /** i64: instructions completed << 32 | cycles, since compiled code was entered. */
  SPENT: 3,
  /** Eight general registers. */
  REGISTERS: 4,
  FLAG_OP: 12,
  FLAG_RESULT: 13,
  FLAG_A: 14,
  FLAG_B: 15,
  /** EIP of the page's first byte. */
  BASE: 16,
  /** Least offset that the flat segments do not pass. */
  FLAT: 17,
  ADDRESS: 18,
  LINE: 19,
  /** Host address of the operand that LOAD_FOR_STORE found, 0 if it took the slow path. */
  HOST: 20,
  VALUE: 21,
  /** EIP to leave with, or to go to. */
  TARGET: 22,
  /** Exit code; for a transfer, the table index of the region to go to, or -1. */
  CODE: 23,
  X: 24,
  Y: 25,
  Z: 26,
  TEMPS: 27,
  WIDE: 27 + TEMPS,
} as const;

export const LOCALS = [
  { count: L.WIDE - L.REGISTERS, type: Type.I32 },
  { count: 1, type: Type.I64 },
] as const;

/** Signature of a region: `(cpu, entry, eip, spent) -> exit code`. */
export const REGION_TYPE = {
  parameters: [Type.I32, Type.I32, Type.I32, Type.I64],
  results: [Type.I32],
} as const;

/** Why compiled code returns. EIP and clock are exact; what the instruction at EIP would commit is not committed. */
export const Leave = {
  /** EIP is the next instruction; no event point. */
  GOTO: 0,
  /** As `GOTO`, at an event point. */
  EVENT: 1,
  /** A fault of the instruction at EIP is pending. */
  FAULT: 2,
  /** The instruction at EIP is for the interpreter: device memory, a store to compiled code, something rare. */
  INTERPRET: 3,
  /** A SYSTEM op, whose index is in `EXIT_OP`; EIP is at the instruction, the clock as before its helper. */
  SYSTEM: 4,
  /** `run` returns; the thread has the exit. */
  EXIT: 5,
  /** EIP is the next instruction and no event is due; there was no compiled code at hand for it. */
  UNKNOWN: 6,
} as const;
/** What the helper of a SYSTEM op answers for "go on at EIP, wherever that is: no event is due". */
export const ELSEWHERE = -1;

const I = Type.I32;
export const TYPES = [
  REGION_TYPE,
  { parameters: [I, I, I], results: [I] },
  { parameters: [I, I, I, I], results: [] },
  { parameters: [I, I, I, I], results: [I] },
  { parameters: [I, I, I, I, I], results: [I] },
  { parameters: [I], results: [I] },
  { parameters: [I, I, I, Type.I64, I], results: [I] },
] as const;

/**
 * What regions call: its place in a table of helpers, and the number of its type. Not imports: for every signature among the imported
 * functions of a module V8 makes a wrapper, in case that somebody imports JavaScript, and that took longer than all the rest of
 * a small region (0.9 ms of 1.1; 0.1 ms without). Not the table of the regions either: V8 keeps a copy of each table for each
 * instance that imports it (20 bytes an entry), so that many regions would take their number's square.
 */
export const Helper = {
  /** A region by its place in the table of regions: its parameters, then the place. */
  GOTO: { index: 0, type: 6 },
  DISPATCH: { index: 1, type: 5 },
  LOAD: { index: 2, type: 1 },
  STORE: { index: 3, type: 2 },
  GENERIC: { index: 4, type: 5 },
  CARRY: { index: 5, type: 3 },
  CONDITION: { index: 6, type: 4 },
  IMAGE: { index: 7, type: 3 },
  SYSTEM: { index: 8, type: 1 },
  FAULT: { index: 9, type: 5 },
  LOAD_SEGMENT: { index: 10, type: 1 },
  REPEAT: { index: 11, type: 1 },
} as const;
export type Helper = (typeof Helper)[keyof typeof Helper];

/**
 * Imported globals: the machine address of the page, and the region's own index in the table. Behind them, for blocks with ops that
 * helpers execute, where the ops of the block begin (`Frame.pushOp`). All else is the same in every page with the same code.
 */
export const GLOBALS = ['page', 'self'] as const;
export const Global = { PAGE: 0, SELF: 1, OPS: GLOBALS.length } as const;
/** Name of the global for a block, by its number among these. */
export const opsGlobal = (number: number): string => `ops${number}`;

export class Frame extends Nest {
  code: Int32Array = new Int32Array(0);
  /** Depth of the blocks that lead to the common ends. */
  exitDepth = 0;
  transferDepth = 0;
  dispatchDepth = 0;
  flat = false;
  whole = false;
  user = false;
  /** Page offset of the current block and instruction. */
  blockOffset = 0;
  offset = 0;
  /** Index of the current block's first op. */
  blockStart = 0;
  /** Blocks that have got a global so far: the index of the first op of each. */
  readonly opsStarts: number[] = [];
  /** Instructions and cycles of the block before the current instruction. */
  instructionsBefore = 0;
  cyclesBefore = 0;
  /** Memory operands of the current instruction so far. */
  accesses = 0;
  /** Page offset of, and the block's cycles before, the instruction behind the current one. */
  nextOffset = 0;
  nextCycles = 0;
  /** Kind of the lazy flags, or `UNKNOWN_KIND`: then it is in its local. */
  kind: number = UNKNOWN_KIND;
  /** Registers that the region writes. */
  written = 0;
  used = 0;
  writesFlags = false;
  /** Temporaries that are constants, within one instruction. */
  readonly constants = new Map<number, number>();
  /** Temporaries that the current instruction has defined. */
  readonly defined = new Set<number>();

  constructor() {
    super(16384);
  }

  // ---- leaving

  /** Begins an instruction: its place decides what an exit out of its middle says. */
  beginInstruction(block: SourceBlock, index: number): void {
    const { code } = this;
    const mark = block.marks + index * MARK_WORDS;
    const last = index + 1 === block.instructions;
    this.offset = this.blockOffset + code[mark + 1]!;
    this.cyclesBefore = code[mark + 2]!;
    this.nextOffset = this.blockOffset + (last ? block.bytes : code[mark + MARK_WORDS + 1]!);
    this.nextCycles = last ? block.cycles : code[mark + MARK_WORDS + 2]!;
    this.instructionsBefore = index;
    this.accesses = 0;
    this.constants.clear();
    this.defined.clear();
  }

  /** Pushes the EIP at an offset of the page. */
  pushEip(offset: number): void {
    this.w.get(L.BASE);
    if (offset !== 0) {
      this.w.i32(offset);
      this.w.op(W.I32_ADD);
    }
  }

  spend(instructions: number, cycles: number): void {
    if (instructions === 0 && cycles === 0) return;
    this.w.get(L.SPENT);
    this.w.i64(instructions, cycles);
    this.w.op(W.I64_ADD);
    this.w.set(L.SPENT);
  }

  /** Puts the flags' kind into its local, where it is not there already; only for the path that is being emitted. */
  settleKind(): void {
    if (this.kind === UNKNOWN_KIND) return;
    this.w.i32(this.kind);
    this.w.set(L.FLAG_OP);
  }

  /** Leaves at the current instruction, nothing of it committed. The exit code is in its local unless given. */
  leaveHere(code?: number): void {
    this.leaveAt(this.offset, this.instructionsBefore, this.cyclesBefore, code);
  }

  leaveAt(offset: number, instructions: number, cycles: number, code?: number): void {
    this.settleKind();
    this.pushEip(offset);
    this.w.set(L.TARGET);
    this.spend(instructions, cycles);
    if (code !== undefined) {
      this.w.i32(code);
      this.w.set(L.CODE);
    }
    this.br(this.exitDepth);
  }

  // ---- helpers

  /** Pushes the index of an op of the current block, for a helper. */
  pushOp(at: number): void {
    const { w, opsStarts, blockStart } = this;
    if (opsStarts.at(-1) !== blockStart) opsStarts.push(blockStart);
    w.op(W.GLOBAL_GET);
    w.u(Global.OPS + opsStarts.length - 1);
    if (at === blockStart) return;
    w.i32(at - blockStart);
    w.op(W.I32_ADD);
  }

  /** Calls what the arguments have been pushed for. */
  call({ index, type }: Helper): void {
    this.#callIndirect(W.CALL_INDIRECT, index, type);
  }

  /** As `call`, and returns what it returns. */
  tailCall({ index, type }: Helper): void {
    this.#callIndirect(W.RETURN_CALL_INDIRECT, index, type);
  }

  #callIndirect(code: number, index: number, type: number): void {
    this.w.i32(index);
    this.w.op(code);
    this.w.u(type);
    this.w.u(0);
  }

  // ---- words

  /** Pushes the value of a state word that an op names. */
  push(word: number): void {
    const constant = this.constants.get(word);
    if (constant !== undefined) this.w.i32(constant);
    else this.w.get(localOf(word));
  }

  /** Pops into a register or temporary. */
  pop(word: number): void {
    this.constants.delete(word);
    if (word >= S.TEMP) this.defined.add(word);
    this.w.set(localOf(word));
  }
}

export function localOf(word: number): number {
  return word < 8 ? L.REGISTERS + word : L.TEMPS + word - S.TEMP;
}
