/**
 * The order in which blocks are compiled together (`region-source.ts` says which), and what is known of the flags between
 * them. A region is decoded blocks of one machine page; it becomes one WebAssembly function. Its blocks are laid out as a tree of loops
 * (`loop-tree.ts`): an edge forward is a `br` out of nested blocks, one to a header a `br` to a `loop`. Callers come in through a
 * dispatch at the function's top.
 */
import { Op } from '../ir.js';
import { arrange, firstOf, type Item, isLoop, type Loop, routeTo, successors } from './loop-tree.js';
import { flagsLiveBefore, kindAfter, UNKNOWN_KIND } from './op-facts.js';
import { comesBack, type RegionSource, type SourceBlock, targets, terminatorOf } from './region-source.js';

export class Node {
  /** Offset in the page. */
  readonly offset: number;
  /** Index of the terminator's op. */
  readonly terminator: number;
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

  constructor(readonly block: SourceBlock) {
    this.offset = block.machine & 4095;
    this.terminator = terminatorOf(block);
  }
}

export interface RegionPlan {
  readonly items: readonly Item[];
  /** One for each block of the source, in its order. */
  readonly nodes: readonly Node[];
  /** Nodes that callers and the dispatch can enter, by number. */
  readonly entries: readonly Node[];
}

export function planRegion({ code, blocks }: RegionSource): RegionPlan {
  const nodes = blocks.map(block => new Node(block));
  const byOffset = new Map(nodes.map(node => [node.offset, node]));
  for (const node of nodes) link(code, byOffset, node);
  const wanted = new Set<Node>([nodes[0]!]);
  for (const node of nodes) {
    const behind = byOffset.get(node.offset + node.block.bytes);
    if (behind !== undefined && comesBack(code, node.block)) wanted.add(behind);
    // Where a jump or a branch of the region leads, others come only by chance: after an event, or when it was decoded.
    const called = node.predecessors.every(other => comesBack(code, other.block) && other.taken === node);
    if (called && node.block.entered) wanted.add(node);
  }
  const items = arrange(nodes);
  const entries = number(items, wanted);
  analyseFlags(code, nodes);
  return { items, nodes, entries };
}

const isBackward = (code: Int32Array, node: Node): boolean => code[node.terminator + 2] !== 0;

function link(code: Int32Array, byOffset: ReadonlyMap<number, Node>, node: Node): void {
  const { taken, fall } = targets(code, node.block);
  node.taken = byOffset.get(taken) ?? null;
  node.fall = byOffset.get(fall) ?? null;
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
function analyseFlags(code: Int32Array, nodes: readonly Node[]): void {
  for (const node of nodes) node.flagsLiveIn = false;
  for (let changed = true; changed; ) {
    changed = false;
    for (const node of nodes) {
      const live = flagsLiveBefore(code, node.block.start, node.block.marks, flagsLiveOut(code, node));
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
      const out = kindAfter(code, node.block.start, node.block.marks, node.kindIn);
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
export function flagsLiveOut(code: Int32Array, node: Node): boolean {
  switch (code[node.terminator]) {
    case Op.JUMP:
      return isBackward(code, node) || node.taken === null || node.taken.flagsLiveIn;
    case Op.NEXT:
      return node.fall === null || node.fall.flagsLiveIn;
    case Op.BRANCH:
    case Op.BRANCH_IF:
    case Op.BRANCH_LOOP:
      return (
        isBackward(code, node) ||
        node.taken === null ||
        node.fall === null ||
        node.taken.flagsLiveIn ||
        node.fall.flagsLiveIn
      );
    default:
      return true;
  }
}
