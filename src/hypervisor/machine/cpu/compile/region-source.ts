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
 * The blocks around `start` that are compiled with it; none if not even that block can be. What else of the page has been entered at
 * least `warm` times is among them, so that jumps by address stay within, and so is what older regions of the page have that
 * are no larger than what is new.
 */
export function collectBlocks(cache: CodeCache, start: Block, shape: number, warm: number): readonly Block[] {
  const found = new Map<number, Block>();
  collect(cache, found, [start]);
  if (found.size === 0) return [];
  const others = cache.blocksIn(start.machine >>> 12).filter(block => block.entered);
  collect(
    cache,
    found,
    others.filter(block => block.region === null && block.heat >= warm),
  );
  const { size } = found;
  collect(
    cache,
    found,
    others.filter(({ region }) => region !== null && region.shape === shape && region.blocks.length <= size),
  );
  return [...found.values()];
}

/** Adds decoded, compilable blocks of the page within reach of `starts`, behind calls and system instructions too. */
function collect(cache: CodeCache, found: Map<number, Block>, starts: readonly Block[]): void {
  const { code } = cache;
  const pending = [...starts];
  let bytes = 0;
  for (const block of found.values()) bytes += expectedBytes(code, block);
  for (let i = 0; i < pending.length && found.size < BLOCKS_MAX; i++) {
    const block = pending[i]!;
    if (found.has(block.machine)) continue;
    const expected = expectedBytes(code, block);
    if (expected === 0) continue;
    bytes += expected;
    if (bytes > BYTES_MAX) break;
    found.set(block.machine, block);
    const page = block.machine & -4096;
    const reach = (machine: number) => {
      if ((machine & -4096) !== page) return;
      const next = cache.find(machine, Mode.PLAIN);
      if (next !== undefined) pending.push(next);
    };
    const { taken, fall } = targets(code, block);
    if (taken >= 0) reach(page + taken);
    if (fall >= 0) reach(page + fall);
    if (comesBack(code, block)) reach(block.machine + block.bytes);
  }
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
  if (op === Op.SYSTEM || op === Op.JUMP_INDIRECT) return true;
  if (op !== Op.JUMP) return false;
  const last = code[block.marks + (block.instructions - 1) * MARK_WORDS]!;
  return code[last] === Op.CHECK_TARGET_DIRECT;
}

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
