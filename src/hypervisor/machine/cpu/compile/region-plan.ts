/**
 * What is compiled together, and in which order. A region is made of decoded blocks of one machine page that reach one another;
 * it becomes one WebAssembly function. Its blocks are laid out as a tree of loops (`loop-tree.ts`): an edge forward is a `br` out of
 * nested blocks, one to a header a `br` to a `loop`. Callers come in through a dispatch at the function's top.
 */
import { MARK_WORDS, Mode } from '../cache-layout.js';
import type { Block, CodeCache } from '../code-cache.js';
import { OP_WORDS, Op } from '../ir.js';
import { arrange, firstOf, type Item, isLoop, type Loop, routeTo, successors } from './loop-tree.js';
import { estimatedBytes, flagsLiveBefore, isCompilable, kindAfter, UNKNOWN_KIND } from './op-facts.js';

/**
 * A compilation stalls the machine: on the slow computer that this was measured on for a millisecond, and another one for each
 * 25 blocks with 7 KiB of WebAssembly. V8's optimizer takes longer still, while the region runs as it is. What is left out
 * becomes a region of its own when it is hot. A single block is below the bound.
 */
const BLOCKS_MAX = 50;
export const BYTES_MAX = 14 << 10;

export class Node {
  /** Offset in the page. */
  readonly offset: number;
  taken: Node | null = null;
  fall: Node | null = null;
  readonly predecessors: Node[] = [];
  /** Somebody comes in here through a dispatch: its number, or -1. */
  entry = -1;
  /** The innermost loop around it. */
  loop: Loop | null = null;
  /** Place in the layout. */
  position = -1;
  flagsLiveIn = true;
  /** Kind of the lazy flags on entry where all ways in agree, else `UNKNOWN_KIND`. */
  kindIn: number = UNKNOWN_KIND;
  /** Target of a branch forward, or of a dispatch. */
  labelled = false;

  constructor(
    readonly block: Block,
    /** Index of the terminator's op. */
    readonly terminator: number,
  ) {
    this.offset = block.machine & 4095;
  }
}

export interface RegionPlan {
  readonly shape: number;
  /** Machine address of the page. */
  readonly page: number;
  readonly items: readonly Item[];
  readonly nodes: readonly Node[];
  /** Nodes that callers and the dispatch can enter, by number. */
  readonly entries: readonly Node[];
}

/**
 * The region around `start`, or null if not even that block can be compiled. What else of the page has been entered at least `warm`
 * times is part of it, so that jumps by address stay within, and so are older regions of the page that are no larger than what is new.
 */
export function planRegion(cache: CodeCache, start: Block, shape: number, warm: number): RegionPlan | null {
  const nodes = new Map<number, Node>();
  collect(cache, nodes, [start]);
  if (nodes.size === 0) return null;
  const others = cache.blocksIn(start.machine >>> 12).filter(block => block.entered);
  collect(
    cache,
    nodes,
    others.filter(block => block.region === null && block.heat >= warm),
  );
  const { size } = nodes;
  collect(
    cache,
    nodes,
    others.filter(({ region }) => region !== null && region.shape === shape && region.blocks.length <= size),
  );
  const wanted = new Set<Node>([nodes.get(start.machine)!]);
  for (const node of nodes.values()) link(cache, nodes, node);
  for (const node of nodes.values()) {
    const behind = nodes.get(node.block.machine + node.block.bytes);
    if (behind !== undefined && comesBack(cache, node)) wanted.add(behind);
    // Where a jump or a branch of the region leads, others come only by chance: after an event, or when it was decoded.
    const called = node.predecessors.every(other => comesBack(cache, other) && other.taken === node);
    if (called && node.block.entered) wanted.add(node);
  }
  const items = arrange([...nodes.values()]);
  const entries = number(items, wanted);
  analyseFlags(cache, [...nodes.values()]);
  return { shape, page: start.machine & -4096, items, nodes: [...nodes.values()], entries };
}

/** Does somebody come back behind the block: from a call, or from a helper, whoever it was that it called? */
function comesBack(cache: CodeCache, node: Node): boolean {
  const { code } = cache;
  const op = code[node.terminator];
  if (op === Op.SYSTEM || op === Op.JUMP_INDIRECT) return true;
  if (op !== Op.JUMP) return false;
  const { block } = node;
  const last = code[block.marks + (block.instructions - 1) * MARK_WORDS]!;
  return code[last] === Op.CHECK_TARGET_DIRECT;
}

const isBackward = (cache: CodeCache, node: Node): boolean => cache.code[node.terminator + 2] !== 0;

/** Adds decoded, compilable blocks of the page within reach of `starts`, behind calls and system instructions too. */
function collect(cache: CodeCache, nodes: Map<number, Node>, starts: readonly Block[]): void {
  const pending = [...starts];
  let bytes = 0;
  for (const { block } of nodes.values()) bytes += expectedBytes(cache, block);
  for (let i = 0; i < pending.length && nodes.size < BLOCKS_MAX; i++) {
    const block = pending[i]!;
    if (nodes.has(block.machine)) continue;
    const expected = expectedBytes(cache, block);
    if (expected === 0) continue;
    bytes += expected;
    if (bytes > BYTES_MAX) break;
    const node = new Node(block, block.marks - OP_WORDS);
    nodes.set(block.machine, node);
    const page = block.machine & -4096;
    const reach = (machine: number) => {
      if ((machine & -4096) !== page) return;
      const next = cache.find(machine, Mode.PLAIN);
      if (next !== undefined) pending.push(next);
    };
    const { taken, fall } = targets(cache, node);
    if (taken >= 0) reach(page + taken);
    if (fall >= 0) reach(page + fall);
    if (comesBack(cache, node)) reach(block.machine + block.bytes);
  }
}

/** Bytes of WebAssembly that a block becomes, about, or 0 where one of its ops is not for the compiler. */
function expectedBytes(cache: CodeCache, block: Block): number {
  if (block.mode !== Mode.PLAIN || block.secondPage >= 0 || block.start < 0) return 0;
  const { code } = cache;
  let bytes = 0;
  for (let at = block.start; at < block.marks; at += OP_WORDS) {
    const op = code[at]!;
    if (!isCompilable(op)) return 0;
    bytes += estimatedBytes(op);
  }
  return bytes;
}

/** Page offsets of the direct successors, -1 for none; they may lie outside of the page. */
function targets(cache: CodeCache, node: Node): { taken: number; fall: number } {
  const { code } = cache;
  const at = node.terminator;
  switch (code[at]) {
    case Op.JUMP:
      return { taken: node.offset + code[at + 1]!, fall: -1 };
    case Op.BRANCH:
    case Op.BRANCH_IF:
    case Op.BRANCH_LOOP:
      return { taken: node.offset + code[at + 1]!, fall: node.offset + node.block.bytes };
    case Op.NEXT:
      return { taken: -1, fall: node.offset + code[at + 1]! };
    case Op.SYSTEM:
      return { taken: -1, fall: node.offset + node.block.bytes };
    default:
      return { taken: -1, fall: -1 };
  }
}

function link(cache: CodeCache, nodes: Map<number, Node>, node: Node): void {
  const { taken, fall } = targets(cache, node);
  const page = node.block.machine & -4096;
  const at = (offset: number) => (offset >= 0 && offset < 4096 ? (nodes.get(page + offset) ?? null) : null);
  node.taken = at(taken);
  node.fall = at(fall);
  node.taken?.predecessors.push(node);
  if (node.fall !== node.taken) node.fall?.predecessors.push(node);
}

/** Positions, labels, and the numbers of the entries: in the order of the layout, so that those in a loop follow one another. */
function number(items: readonly Item[], wanted: ReadonlySet<Node>): Node[] {
  const layout: Node[] = [];
  const entered = new Set(wanted);
  const list = (some: readonly Item[]) => {
    for (const item of some) {
      if (!isLoop(item)) {
        item.position = layout.length;
        layout.push(item);
        continue;
      }
      // An event taken on the way to it, or the loop around it, comes in there.
      entered.add(item.header);
      list(item.items);
    }
  };
  list(items);
  for (const node of layout) {
    for (const to of successors(node)) {
      const { back, item } = routeTo(node, to);
      if (back === null && isLoop(item)) entered.add(to);
    }
  }
  const entries = layout.filter(node => entered.has(node));
  entries.forEach((node, index) => {
    node.entry = index;
  });
  const count = (some: readonly Item[], first: number): number => {
    let next = first;
    for (const item of some) {
      if (isLoop(item)) {
        item.firstEntry = next;
        next = count(item.items, next);
        item.endEntry = next;
      } else if (item.entry >= 0) {
        next += 1;
      }
    }
    return next;
  };
  count(items, 0);
  for (const node of layout) {
    for (const to of successors(node)) {
      const { back, item } = routeTo(node, to);
      if (back === null && (to === node.taken || firstOf(item).position !== node.position + 1)) item.labelled = true;
    }
  }
  label(items);
  return entries;
}

/** Every dispatch branches to the items with an entry. */
function label(items: readonly Item[]): void {
  for (const item of items) {
    if (!isLoop(item)) {
      if (item.entry >= 0) item.labelled = true;
      continue;
    }
    item.labelled = true;
    // A loop in a loop has an entry at its header, so the outer one dispatches.
    if (item.dispatches) label(item.items);
  }
}

/** Which flags somebody may still want, backward; which kind they are of, forward. Both to a fixed point. */
function analyseFlags(cache: CodeCache, nodes: Node[]): void {
  for (const node of nodes) node.flagsLiveIn = false;
  for (let changed = true; changed; ) {
    changed = false;
    for (const node of nodes) {
      const live = flagsLiveBefore(cache.code, node.block.start, node.block.marks, flagsLiveOut(cache, node));
      if (live === node.flagsLiveIn) continue;
      node.flagsLiveIn = live;
      changed = true;
    }
  }
  const TOP = -3;
  for (const node of nodes) node.kindIn = node.entry >= 0 ? UNKNOWN_KIND : TOP;
  for (let changed = true; changed; ) {
    changed = false;
    for (const node of nodes) {
      if (node.kindIn === TOP) continue;
      const out = kindAfter(cache.code, node.block.start, node.block.marks, node.kindIn);
      for (const to of [node.taken, node.fall]) {
        if (to === null || to.kindIn === out || to.kindIn === UNKNOWN_KIND) continue;
        to.kindIn = to.kindIn === TOP ? out : UNKNOWN_KIND;
        changed = true;
      }
    }
  }
  for (const node of nodes) if (node.kindIn === TOP) node.kindIn = UNKNOWN_KIND;
}

/** Are the flags wanted behind the node? Every way out of the region wants them, an event exit too. */
export function flagsLiveOut(cache: CodeCache, node: Node): boolean {
  const { code } = cache;
  switch (code[node.terminator]) {
    case Op.JUMP:
      return isBackward(cache, node) || node.taken === null || node.taken.flagsLiveIn;
    case Op.NEXT:
      return node.fall === null || node.fall.flagsLiveIn;
    case Op.BRANCH:
    case Op.BRANCH_IF:
    case Op.BRANCH_LOOP:
      return (
        isBackward(cache, node) ||
        node.taken === null ||
        node.fall === null ||
        node.taken.flagsLiveIn ||
        node.fall.flagsLiveIn
      );
    default:
      return true;
  }
}
