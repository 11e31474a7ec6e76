/** The layout of a region's blocks: on any graph every edge goes forward, or back to the header of a loop around it. */
import { describe, expect, test } from 'vitest';
import {
  arrange,
  firstOf,
  type Item,
  isLoop,
  itemIn,
  Loop,
  routeTo,
  successors,
} from '../../../src/hypervisor/machine/cpu/compile/loop-tree.js';
import { Node } from '../../../src/hypervisor/machine/cpu/compile/region-plan.js';
import type { SourceBlock } from '../../../src/hypervisor/machine/cpu/compile/region-source.js';

/** Nodes with these successors, by number: `[taken, fall]`, -1 for none. */
function graph(edges: readonly (readonly [number, number])[]): Node[] {
  const nodes = edges.map((_, index) => new Node({ machine: index * 16, marks: 0 } as SourceBlock));
  edges.forEach(([taken, fall], index) => {
    const node = nodes[index]!;
    node.taken = nodes[taken] ?? null;
    node.fall = nodes[fall] ?? null;
    for (const to of successors(node)) to.predecessors.push(node);
  });
  return nodes;
}

function layout(items: readonly Item[]): Node[] {
  const order = items.flatMap(item => (isLoop(item) ? layout(item.items) : [item]));
  order.forEach((node, index) => {
    node.position = index;
  });
  return order;
}

/** As numbers; a loop is a list in brackets. */
const shown = (items: readonly Item[]): string =>
  items.map(item => (isLoop(item) ? `[${shown(item.items)}]` : `${item.offset / 16}`)).join(' ');

const shownGraph = (edges: readonly (readonly [number, number])[]) => shown(arrange(graph(edges)));

describe('loops', () => {
  test('a block that repeats itself', () => {
    expect(
      shownGraph([
        [-1, 1],
        [1, 2],
        [-1, -1],
      ]),
    ).toBe('0 [1] 2');
  });

  test('a loop in a loop', () => {
    expect(
      shownGraph([
        [-1, 1],
        [-1, 2],
        [2, 3],
        [1, 4],
        [-1, -1],
      ]),
    ).toBe('0 [1 [2] 3] 4');
  });

  test('a loop whose test is at its end begins where it is entered', () => {
    // 0 jumps to the test 2; 2 goes back to the body 1.
    expect(
      shownGraph([
        [2, -1],
        [-1, 2],
        [1, 3],
        [-1, -1],
      ]),
    ).toBe('0 [2 1] 3');
  });

  test('nobody enters by an edge: the outermost loop begins where its longest edge leads', () => {
    expect(
      shownGraph([
        [-1, 1],
        [1, 2],
        [0, -1],
      ]),
    ).toBe('[0 [1] 2]');
  });

  test('two ways in', () => {
    expect(
      shownGraph([
        [1, 2],
        [-1, 2],
        [1, 3],
        [-1, -1],
      ]),
    ).toBe('0 [1 2] 3');
  });
});

test('on random graphs each block is laid out once and no edge goes backward but to a header', () => {
  let seed = 1;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  let back = 0;
  for (let round = 0; round < 300; round++) {
    const size = 1 + random(40);
    const to = () => (random(5) === 0 ? -1 : random(size));
    const nodes = graph(Array.from({ length: size }, (_, i) => [to(), random(3) === 0 ? to() : i + 1] as const));
    const items = arrange(nodes);
    const order = layout(items);
    expect(new Set(order).size).toBe(size);
    expect(order.length).toBe(size);
    for (const node of nodes) {
      for (const next of successors(node)) {
        const route = routeTo(node, next);
        if (route.back !== null) {
          expect(route.back).toBeInstanceOf(Loop);
          expect(route.back.header).toBe(next);
          expect(itemIn(route.back, node)).toBeDefined();
          back += 1;
        } else {
          expect(firstOf(route.item).position).toBeGreaterThan(node.position);
        }
      }
    }
  }
  expect(back).toBeGreaterThan(1000);
});
