/**
 * What a region is made of: the blocks that are compiled together, with a copy of their ops. Whoever makes the region
 * (`build-region.ts`) needs nothing else, and so may be another thread.
 */
import type { CostProfile } from '../../costs/profile.js';
import { MARK_WORDS, Mode } from '../cache-layout.js';
import type { Block, CodeCache } from '../code-cache.js';
import { OP_WORDS, Op } from '../ir.js';
import { estimatedBytes, isCompilable } from './op-facts.js';

/**
 * A compilation takes the slow computer that this was measured on a millisecond, and another one for each 25 blocks with 7 KiB of
 * WebAssembly; V8's optimizer takes longer still, while the region runs as it is. What is left out becomes a region of its own
 * when it is hot. A single block is below the bound.
 */
const BLOCKS_MAX = 50;
export const BYTES_MAX = 14 << 10;

/** Those whom one calls by address share its heat: what was executed warm >> CALLED_SHIFT times may be one of them. */
const CALLED_SHIFT = 3;

/** A decoded block as the compiler sees it. */
export interface SourceBlock {
  readonly machine: number;
  readonly bytes: number;
  readonly instructions: number;
  /** Static cycles of all its instructions. */
  readonly cycles: number;
  /** Somebody has come in here other than over a link. */
  readonly entered: boolean;
  /** Indices of its first op and of its marks. */
  readonly start: number;
  readonly marks: number;
}

/** Can be sent to another thread. */
export interface RegionSource {
  /** State of the thread that it is for (`Shape`). */
  readonly shape: number;
  /** The one that got hot is the first. */
  readonly blocks: readonly SourceBlock[];
  /** Ops and marks of the blocks. */
  readonly code: Int32Array;
  readonly costs: CostProfile['cycles'];
  readonly memoryPages: number;
  /** Machine address of the shape's jump cache. */
  readonly jumpCacheAt: number;
}

/**
 * The blocks that are compiled with `start`; none if not even that block can be. Those within its reach, behind calls and system
 * instructions too, and what else of the page has been entered at least `warm` times, so that jumps by address stay within. What
 * is an entry of compiled code already is left where it is, unless it is in a loop with `start`: it would be optimized once more.
 */
export function collectBlocks(cache: CodeCache, start: Block, shape: number, warm: number): readonly Block[] {
  const loop = loopOf(cache, start);
  const found = new Map<number, Block>();
  const isDone = (block: Block) => block.region?.shape === shape && block !== start && !loop.has(block.machine);
  collect(cache, found, [start], isDone);
  if (found.size === 0) return [];
  const byAddress = [...found.values()].some(block => callsByAddress(cache.code, block));
  const enough = byAddress ? warm >> CALLED_SHIFT : warm;
  const others = cache.blocksIn(start.machine >>> 12);
  const warmed = others.filter(block => block.entered && block.region === null && block.heat >= enough);
  collect(cache, found, warmed, isDone);
  return [...found.values()];
}

/** Adds decoded, compilable blocks of the page within reach of `starts`. */
function collect(
  cache: CodeCache,
  found: Map<number, Block>,
  starts: readonly Block[],
  isDone: (block: Block) => boolean,
): void {
  const { code } = cache;
  const pending = [...starts];
  let bytes = 0;
  for (const block of found.values()) bytes += expectedBytes(code, block);
  for (let i = 0; i < pending.length && found.size < BLOCKS_MAX; i++) {
    const block = pending[i]!;
    if (found.has(block.machine) || isDone(block)) continue;
    const expected = expectedBytes(code, block);
    if (expected === 0) continue;
    bytes += expected;
    if (bytes > BYTES_MAX) break;
    found.set(block.machine, block);
    pending.push(...successors(cache, block));
  }
}

/** The blocks that control reaches from a block without leaving the page, if they are decoded. */
function successors(cache: CodeCache, block: Block): readonly Block[] {
  const { code } = cache;
  const page = block.machine & -4096;
  const { taken, fall } = targets(code, block);
  const behind = comesBack(code, block) ? block.machine + block.bytes - page : -1;
  return [taken, fall, behind]
    .filter(offset => offset >= 0 && offset < 4096)
    .map(offset => cache.find(page + offset, Mode.PLAIN))
    .filter(next => next !== undefined);
}

/** So many blocks are looked at for the loop around one. */
const LOOP_SEARCH_MAX = 4 * BLOCKS_MAX;

/**
 * Machine addresses of the blocks in a loop with `start`: they can be reached from it, and it from them. A block that jumps by address
 * is taken to return to whoever has called something.
 */
function loopOf(cache: CodeCache, start: Block): ReadonlySet<number> {
  const { code } = cache;
  const reached = new Map([[start.machine, start]]);
  const predecessors = new Map<number, number[]>();
  const returns: number[] = [];
  const behindCalls: number[] = [];
  // A map may grow while it is visited.
  for (const block of reached.values()) {
    const { machine } = block;
    const isReturn = code[terminatorOf(block)] === Op.JUMP_INDIRECT;
    if (isReturn) returns.push(machine);
    if (comesBack(code, block)) behindCalls.push(machine + block.bytes);
    for (const next of successors(cache, block)) {
      const others = predecessors.get(next.machine);
      if (others === undefined) predecessors.set(next.machine, [machine]);
      else others.push(machine);
      if (reached.size < LOOP_SEARCH_MAX) reached.set(next.machine, next);
    }
  }
  for (const behind of behindCalls) predecessors.get(behind)?.push(...returns);
  const loop = new Set([start.machine]);
  for (const machine of loop) for (const other of predecessors.get(machine) ?? []) loop.add(other);
  return loop;
}

/** Bytes of WebAssembly that a block becomes, about, or 0 where one of its ops is not for the compiler. */
function expectedBytes(code: Int32Array, block: Block): number {
  if (block.mode !== Mode.PLAIN || block.secondPage >= 0 || block.start < 0) return 0;
  let bytes = 0;
  for (let at = block.start; at < block.marks; at += OP_WORDS) {
    const op = code[at]!;
    if (!isCompilable(op)) return 0;
    bytes += estimatedBytes(op);
  }
  return bytes;
}

/** Index of the op that ends a block. */
export const terminatorOf = (block: SourceBlock): number => block.marks - OP_WORDS;

/** Page offsets of the direct successors, -1 for none; they may lie outside of the page. */
export function targets(code: Int32Array, block: SourceBlock): { readonly taken: number; readonly fall: number } {
  const at = terminatorOf(block);
  const offset = block.machine & 4095;
  switch (code[at]) {
    case Op.JUMP:
      return { taken: offset + code[at + 1]!, fall: -1 };
    case Op.BRANCH:
    case Op.BRANCH_IF:
    case Op.BRANCH_LOOP:
      return { taken: offset + code[at + 1]!, fall: offset + block.bytes };
    case Op.NEXT:
      return { taken: -1, fall: offset + code[at + 1]! };
    case Op.SYSTEM:
      return { taken: -1, fall: offset + block.bytes };
    default:
      return { taken: -1, fall: -1 };
  }
}

/** Does somebody come back behind the block: from a call, or from a helper, whoever it was that it called? */
export function comesBack(code: Int32Array, block: SourceBlock): boolean {
  const op = code[terminatorOf(block)];
  if (op === Op.JUMP) return code[lastInstruction(code, block)] === Op.CHECK_TARGET_DIRECT;
  return op === Op.SYSTEM || callsByAddress(code, block);
}

/** A call by address, unlike a jump or a return, stores where to come back. */
function callsByAddress(code: Int32Array, block: SourceBlock): boolean {
  const end = terminatorOf(block);
  if (code[end] !== Op.JUMP_INDIRECT) return false;
  for (let at = lastInstruction(code, block); at < end; at += OP_WORDS) if (code[at] === Op.STORE32) return true;
  return false;
}

/** Index of the first op of a block's last instruction. */
const lastInstruction = (code: Int32Array, block: SourceBlock): number =>
  code[block.marks + (block.instructions - 1) * MARK_WORDS]!;

/** Copies of blocks, one behind the other, with their ops and marks. */
export function copyBlocks(
  code: Int32Array,
  blocks: readonly Block[],
): { readonly code: Int32Array; readonly blocks: readonly SourceBlock[] } {
  const wordsOf = ({ start, marks, instructions }: Block) => marks + instructions * MARK_WORDS - start;
  const copy = new Int32Array(blocks.reduce((sum, block) => sum + wordsOf(block), 0));
  let at = 0;
  const copied = blocks.map((block): SourceBlock => {
    const { machine, bytes, instructions, cycles, entered, start } = block;
    const words = wordsOf(block);
    copy.set(code.subarray(start, start + words), at);
    const distance = at - start;
    const marks = block.marks + distance;
    for (let i = 0; i < instructions; i++) copy[marks + i * MARK_WORDS]! += distance;
    at += words;
    return { machine, bytes, instructions, cycles, entered, start: start + distance, marks };
  });
  return { code: copy, blocks: copied };
}
