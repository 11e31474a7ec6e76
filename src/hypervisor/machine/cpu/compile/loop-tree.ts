/**
 * The order in which a region's blocks are laid out: a tree of loops. A strongly connected part of the graph becomes a loop; without
 * the edges to its header it falls into smaller parts, and so on. Within a loop, as outside of all of them, every edge that does
 * not go to a header then goes forward.
 *
 * A loop may be entered elsewhere than at its header (behind a call in it, or because it has two ways in from outside): it then begins
 * with a dispatch of its own, by the number of the entry that is wanted.
 */
import type { Node } from './region-plan.js';

export class Loop {
  items: Item[] = [];
  /** Depth of its label in the item list of the loop around it is used: it is the target of a forward branch. */
  labelled = false;
  /** Numbers of the entries in it, from `firstEntry` up to but without `endEntry`. */
  firstEntry = 0;
  endEntry = 0;

  constructor(
    readonly header: Node,
    /** The loop around it. */
    readonly parent: Loop | null,
  ) {}

  /** Can it be entered elsewhere than at its header? */
  get dispatches(): boolean {
    return this.endEntry - this.firstEntry > 1;
  }
}

export type Item = Node | Loop;
export const isLoop = (item: Item): item is Loop => item instanceof Loop;

/** The first block of an item in the layout. */
export function firstOf(item: Item): Node {
  let first = item;
  while (isLoop(first)) first = first.items[0]!;
  return first;
}

/** How control goes from a block to another. */
export interface Route {
  /** Back to the header of this loop, around both; else null. */
  readonly back: Loop | null;
  /** Forward to this item. */
  readonly item: Item;
  /** The number of the entry must be known on arrival. */
  readonly dispatched: boolean;
}

export function routeTo(from: Node, to: Node): Route {
  for (let loop = from.loop; loop !== null; loop = loop.parent) {
    if (loop.header === to) return { back: loop, item: to, dispatched: loop.dispatches };
  }
  const item = itemIn(commonLoop(from, to), to);
  return { back: null, item, dispatched: isLoop(item) && item.dispatches };
}

/** The item of a loop's list (null: the region's) that a block in it is or is part of. */
export function itemIn(scope: Loop | null, node: Node): Item {
  let item: Item = node;
  for (let loop = node.loop; loop !== scope; loop = loop!.parent) item = loop!;
  return item;
}

function commonLoop(a: Node, b: Node): Loop | null {
  const around = new Set<Loop>();
  for (let loop = a.loop; loop !== null; loop = loop.parent) around.add(loop);
  let loop = b.loop;
  while (loop !== null && !around.has(loop)) loop = loop.parent;
  return loop;
}

export const successors = (node: Node): Node[] => {
  const to: Node[] = [];
  if (node.taken !== null) to.push(node.taken);
  if (node.fall !== null && node.fall !== node.taken) to.push(node.fall);
  return to;
};

/** Items of the region, or of a loop, in their order. */
export function arrange(nodes: readonly Node[], parent: Loop | null = null): Item[] {
  const items: Item[] = [];
  for (const part of components(nodes, parent?.header ?? null)) {
    const first = part[0]!;
    if (part.length === 1 && (first === parent?.header || !successors(first).includes(first))) {
      first.loop = parent;
      items.push(first);
      continue;
    }
    const loop = new Loop(chooseHeader(part), parent);
    loop.items = arrange(part, loop);
    items.push(loop);
  }
  return items;
}

/** The only block that edges from outside lead to, else the target of the longest edge backward: that of the outermost loop. */
function chooseHeader(part: readonly Node[]): Node {
  const inside = new Set(part);
  const entered = part.filter(node => node.predecessors.some(other => !inside.has(other)));
  if (entered.length === 1) return entered[0]!;
  const longest = (node: Node) =>
    Math.max(...node.predecessors.filter(other => inside.has(other)).map(other => other.offset - node.offset));
  return part.reduce((best, node) => (longest(node) > longest(best) ? node : best));
}

/**
 * Strongly connected parts, in an order in which edges go forward, without those to `header` (Tarjan). The way that falls through
 * is searched last, so that it comes directly behind where it can.
 */
function components(nodes: readonly Node[], header: Node | null): Node[][] {
  const parts: Node[][] = [];
  const inside = new Set(nodes);
  const number = new Map<Node, number>();
  const low = new Map<Node, number>();
  const stack: Node[] = [];
  const open = new Set<Node>();
  const visit = (node: Node): void => {
    const mine = number.size;
    number.set(node, mine);
    low.set(node, mine);
    stack.push(node);
    open.add(node);
    for (const to of successors(node)) {
      if (to === header || !inside.has(to)) continue;
      if (!number.has(to)) visit(to);
      if (open.has(to)) low.set(node, Math.min(low.get(node)!, low.get(to)!));
    }
    if (low.get(node) !== mine) return;
    const part: Node[] = [];
    for (let member: Node | undefined; member !== node; ) {
      member = stack.pop()!;
      open.delete(member);
      part.push(member);
    }
    parts.push(part);
  };
  if (header !== null) visit(header);
  // What is visited last comes first: the page's order.
  for (const node of [...nodes].sort((a, b) => b.offset - a.offset)) if (!number.has(node)) visit(node);
  return parts.reverse();
}
