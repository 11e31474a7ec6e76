import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Op } from '../../src/hypervisor/machine/cpu/ir.js';

test('the interpreter’s literal case labels are the numbers of the ops they name', () => {
  // Literals, since only they become a jump table; so the names are checked here.
  const source = readFileSync(new URL('../../src/hypervisor/machine/cpu/interpret.ts', import.meta.url), 'utf8');
  const labels = [...source.matchAll(/^ +case (\d+)(?: \/\* (\w+) \*\/:|: \/\* (\w+) \*\/)/gm)];
  expect(labels.length).toBe([...source.matchAll(/^ +case /gm)].length);
  for (const [label, number, name, before] of labels) {
    expect([label, (Op as Record<string, number>)[name ?? before!]]).toEqual([label, Number(number)]);
  }
  expect(source).not.toMatch(/case Op\./);
});
