/** Whom `seek` makes a block for: code without templates, so that it answers 0 where it would make one. */
import { expect, test } from 'vitest';
import { KEEP_AFTER, PATIENCE, slotOf } from '../../../src/hypervisor/machine/cpu/cache-layout.js';
import { CodeCache } from '../../../src/hypervisor/machine/cpu/code-cache.js';
import { WALK } from '../../../src/hypervisor/machine/cpu/compile/emit-seek.js';
import { MachineMemory, RESERVED_BYTES } from '../../../src/hypervisor/machine/memory.js';

const newFinder = () => new CodeCache(new MachineMemory(RESERVED_BYTES + (2 << 20))).finder;

/** Addresses of one slot. */
function rivals(count: number): number[] {
  const found: number[] = [];
  const slot = slotOf(RESERVED_BYTES, 0);
  for (let at = RESERVED_BYTES; found.length < count; at++) if (slotOf(at, 0) === slot) found.push(at);
  return found;
}

/** The turn in which each of them gets its block, all being executed in turns; -1 for none in so many. */
function turnsOf(addresses: readonly number[], turns: number): number[] {
  const finder = newFinder();
  const got = addresses.map(() => -1);
  for (let turn = 1; turn <= turns; turn++) {
    addresses.forEach((at, i) => {
      // A block that is there is found without being counted.
      if (got[i]! < 0 && finder.seek(at, 0) !== WALK) got[i] = turn;
    });
  }
  return got;
}

test('code gets a block once it was executed so often', () => {
  expect(turnsOf([RESERVED_BYTES], KEEP_AFTER + 2)).toEqual([KEEP_AFTER + 1]);
});

test('those of one slot who are executed in turns get theirs one after the other', () => {
  const got = turnsOf(rivals(4), 10 * KEEP_AFTER);
  expect(got[0]).toBe(KEEP_AFTER + 1);
  expect(got.every(turn => turn > 0)).toBe(true);
  expect(new Set(got).size).toBe(got.length);
});

test('who came once is forgotten for somebody who comes again', () => {
  const [once, often] = rivals(2);
  const finder = newFinder();
  finder.seek(once!, 0);
  let executions = 1;
  while (finder.seek(often!, 0) === WALK) executions += 1;
  expect(executions).toBe(PATIENCE + KEEP_AFTER + 1);
});
