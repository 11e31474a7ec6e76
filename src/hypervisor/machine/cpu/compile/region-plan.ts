/**
 * What is compiled together, and in which order. A region is made of decoded blocks of one machine page that reach one another;
 * it becomes one WebAssembly function.
 *
 * Its blocks are laid out so that most edges go forward: a forward edge is a plain `br` out of nested blocks. An innermost
 * loop that is entered only through its header becomes a `loop`. Every other edge backward goes through the dispatch at the
 * function's top, where callers come in too.
 */
import { type Block, type CodeCache, Mode } from '../code-cache.js';
import { OP_WORDS, Op } from '../ir.js';
import { flagsLiveBefore, isCompilable, kindAfter, UNKNOWN_KIND } from './op-facts.js';

/** Larger regions would make the optimizer slow out of proportion. */
const BLOCKS_MAX = 120;
const OPS_MAX = 2500;

export class Node {
  /** Offset in the page. */
  readonly offset: number;
  taken: Node | null = null;
  fall: Node | null = null;
  readonly predecessors: Node[] = [];
  /** Somebody outside, an event exit, or an edge backward comes in here through the dispatch: its number, or -1. */
  entry = -1;
  loop: Loop | null = null;
  position = -1;
  flagsLiveIn = true;
  /** Kind of the lazy flags on entry where all ways in agree, else `UNKNOWN_KIND`. */
  kindIn: number = UNKNOWN_KIND;
  /** Target of a forward branch other than by falling through. */
  labelled = false;

  constructor(
    readonly block: Block,
    /** Index of the terminator's op. */
    readonly terminator: number,
  ) {
    this.offset = block.machine & 4095;
  }
}

/** An innermost loop entered only through its header. */
export interface Loop {
  readonly header: Node;
  readonly body: readonly Node[];
}

export type Item = Node | Loop;
export const isLoop = (item: Item): item is Loop => 'body' in item;
export const headOf = (item: Item): Node => (isLoop(item) ? item.header : item);

export interface RegionPlan {
  readonly shape: number;
  /** Machine address of the page. */
  readonly page: number;
  readonly items: readonly Item[];
  readonly nodes: readonly Node[];
  /** Nodes that callers and the dispatch can enter, by number. */
  readonly entries: readonly Node[];
}

/** The region around `start`, or null if not even that block can be compiled. */
export function planRegion(cache: CodeCache, start: Block, shape: number): RegionPlan | null {
  const nodes = collect(cache, start);
  if (nodes.size === 0) return null;
  const wanted = new Set<Node>([nodes.get(start.machine)!]);
  for (const node of nodes.values()) {
    link(cache, nodes, node);
    if (node.block.entered) wanted.add(node);
  }
  for (const node of nodes.values()) {
    // An event taken at a branch backward, or whatever a helper did, is followed by an entry there.
    if (node.taken !== null && isBackward(cache, node)) wanted.add(node.taken);
    const behind = nodes.get(node.block.machine + node.block.bytes);
    if (behind !== undefined && node.fall !== behind) wanted.add(behind);
    // Behind a helper, whoever it was that it called in comes back there.
    if (cache.code[node.terminator] === Op.SYSTEM && node.fall !== null) wanted.add(node.fall);
  }
  const items = arrange(wanted);
  const entries = number(items, wanted);
  analyseFlags(cache, [...nodes.values()]);
  return { shape, page: start.machine & -4096, items, nodes: [...nodes.values()], entries };
}

const isBackward = (cache: CodeCache, node: Node): boolean => cache.code[node.terminator + 2] !== 0;

/** Decoded, compilable blocks of the page within reach, behind calls and system instructions too. */
function collect(cache: CodeCache, start: Block): Map<number, Node> {
  const nodes = new Map<number, Node>();
  const pending = [start];
  let ops = 0;
  for (let i = 0; i < pending.length && nodes.size < BLOCKS_MAX && ops < OPS_MAX; i++) {
    const block = pending[i]!;
    if (nodes.has(block.machine)) continue;
    const count = compilableOps(cache, block);
    if (count === 0) continue;
    ops += count;
    const node = new Node(block, block.marks - OP_WORDS);
    nodes.set(block.machine, node);
    const page = block.machine & -4096;
    const reach = (machine: number) => {
      if ((machine & -4096) !== page) return;
      const next = cache.peek(machine, Mode.PLAIN);
      if (next !== undefined) pending.push(next);
    };
    const { taken } = targets(cache, node);
    if (taken >= 0) reach(page + taken);
    reach(block.machine + block.bytes);
  }
  return nodes;
}

/** Number of ops, or 0 where one of them is not for the compiler. */
function compilableOps(cache: CodeCache, block: Block): number {
  if (block.mode !== Mode.PLAIN || block.secondPage >= 0 || block.start < 0) return 0;
  const { code } = cache;
  for (let at = block.start; at < block.marks; at += OP_WORDS) if (!isCompilable(code[at]!)) return 0;
  return (block.marks - block.start) / OP_WORDS;
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

/** Innermost loops, then an order in which as many edges as possible go forward. */
function arrange(wanted: ReadonlySet<Node>): Item[] {
  for (const header of wanted) {
    if (header.loop !== null) continue;
    const loop = loopAt(header, wanted);
    if (loop === null) continue;
    for (const node of loop.body) node.loop = loop;
  }
  const order: Item[] = [];
  const seen = new Set<Item>();
  const itemOf = (node: Node): Item => node.loop ?? node;
  const visit = (first: Item) => {
    if (seen.has(first)) return;
    // Iterative postorder: guests can make deep graphs.
    const stack: { item: Item; next: Item[] }[] = [];
    const enter = (item: Item) => {
      seen.add(item);
      const next: Item[] = [];
      for (const node of isLoop(item) ? item.body : [item]) {
        for (const to of [node.taken, node.fall]) if (to !== null && itemOf(to) !== item) next.push(itemOf(to));
      }
      stack.push({ item, next });
    };
    enter(first);
    while (stack.length > 0) {
      const top = stack[stack.length - 1]!;
      const to = top.next.shift();
      if (to === undefined) {
        order.push(top.item);
        stack.pop();
      } else if (!seen.has(to)) {
        enter(to);
      }
    }
  };
  // The entry nearest to the page's start comes first in the end.
  const starts = [...wanted].sort((a, b) => b.offset - a.offset);
  for (const node of starts) visit(itemOf(node));
  return order.reverse();
}

/** The natural loop with this header, if nothing but the header is entered from outside and no other loop is in it. */
function loopAt(header: Node, wanted: ReadonlySet<Node>): Loop | null {
  const reachable = new Set<Node>([header]);
  const forward = [header];
  for (const node of forward) {
    for (const to of [node.taken, node.fall]) {
      // Beyond another entry it is another loop, perhaps the one around this.
      if (to === null || reachable.has(to) || wanted.has(to)) continue;
      reachable.add(to);
      forward.push(to);
    }
  }
  const body = new Set<Node>([header]);
  const pending = header.predecessors.filter(node => reachable.has(node));
  if (pending.length === 0) return null;
  for (const node of pending) {
    if (body.has(node)) continue;
    if (wanted.has(node) || node.loop !== null || !reachable.has(node)) return null;
    body.add(node);
    pending.push(...node.predecessors);
  }
  const order = topological(header, body);
  return order === null ? null : { header, body: order };
}

/** Order of a loop's body without the edges to the header, or null if there is another cycle. */
function topological(header: Node, body: ReadonlySet<Node>): Node[] | null {
  const waiting = new Map<Node, number>([...body].map(node => [node, 0]));
  const successors = (node: Node) => {
    const to = [node.taken, node.fall].filter((n): n is Node => n !== null && body.has(n) && n !== header);
    return to[0] === to[1] ? to.slice(0, 1) : to;
  };
  for (const node of body) for (const to of successors(node)) waiting.set(to, waiting.get(to)! + 1);
  if (waiting.get(header) !== 0) return null;
  const order: Node[] = [];
  const ready = [header];
  while (ready.length > 0) {
    const node = ready.pop()!;
    order.push(node);
    for (const to of successors(node)) {
      const left = waiting.get(to)! - 1;
      waiting.set(to, left);
      if (left === 0) ready.push(to);
    }
  }
  return order.length === body.size ? order : null;
}

/** Positions, labels, and the numbers of the entries. */
function number(items: readonly Item[], wanted: ReadonlySet<Node>): Node[] {
  let position = 0;
  for (const item of items) {
    if (isLoop(item)) for (const node of item.body) node.position = position++;
    else item.position = position++;
  }
  const entries: Node[] = [];
  const enter = (node: Node) => {
    if (node.entry >= 0) return;
    node.entry = entries.length;
    entries.push(node);
  };
  for (const node of wanted) enter(node);
  for (const item of items) {
    for (const node of isLoop(item) ? item.body : [item]) {
      for (const to of [node.taken, node.fall]) {
        if (to === null || (to.loop !== null && to === to.loop.header && to.loop === node.loop)) continue;
        if (to.position <= node.position) enter(to);
        else if (to.position !== node.position + 1 || to === node.taken) to.labelled = true;
      }
    }
  }
  return entries;
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
