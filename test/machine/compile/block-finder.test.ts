/** Whom `seek` makes a block for: code without templates, so that it answers 0 where it would make one. */
import { expect, test } from 'vitest';
import { WALKED_LINES } from '../../../src/hypervisor/machine/cpu/cache-layout.js';
import { CodeCache } from '../../../src/hypervisor/machine/cpu/code-cache.js';
import { WALK } from '../../../src/hypervisor/machine/cpu/compile/emit-seek.js';
import { CODE_LINE_SHIFT, MachineMemory, RESERVED_BYTES } from '../../../src/hypervisor/machine/memory.js';

const newFinder = (tiering: 'normal' | 'always' = 'normal') =>
  new CodeCache(new MachineMemory(RESERVED_BYTES + (8 << 20)), { tiering }).finder;

const AT = RESERVED_BYTES;
/** The execution in which the code at an address is given a block; -1 for none in so many. */
function executionsOf(finder: ReturnType<typeof newFinder>, at: number, most = 1000): number {
  for (let execution = 1; execution <= most; execution++) if (finder.seek(at, 0) !== WALK) return execution;
  return -1;
}

test('code gets a block when it is executed for the second time', () => {
  expect(executionsOf(newFinder(), AT)).toBe(2);
});

test('its neighbours in the line of code get theirs on their own account', () => {
  const finder = newFinder();
  for (let at = AT; at < AT + (1 << CODE_LINE_SHIFT); at += 4) expect(executionsOf(finder, at)).toBe(2);
});

test('code of other lines that are remembered in the same words gets its block early, never late', () => {
  const finder = newFinder();
  expect(finder.seek(AT, 0)).toBe(WALK);
  expect(executionsOf(finder, AT + (WALKED_LINES << CODE_LINE_SHIFT))).toBe(1);
});

test('without walking it gets a block at once', () => {
  expect(executionsOf(newFinder('always'), AT)).toBe(1);
});
