/** `vmitop snapshot` as a shell runs it; what the pictures look like is test/tui/picture.test.tsx's and screens.test.ts's business. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runCli } from './run-cli.js';

let folder = '';
let inventory = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'vmitop-snapshot-'));
  inventory = join(folder, 'one.json');
  writeFileSync(
    inventory,
    JSON.stringify({
      vms: [
        { name: 'one', vmi: false },
        { name: 'off', vmi: true, powerOn: false },
      ],
    }),
  );
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const snapshot = (...words: string[]) =>
  runCli(['snapshot', '--inventory', inventory, ...words], { cwd: folder, timeoutMs: 60_000 });

test('keys are pressed one after the other, and commands are carried out', { timeout: 60_000 }, async () => {
  const { code, stderr } = await snapshot('--at', '0.05', '--keys', '\u001b[Bv', '-o', 'toggled.txt');
  expect([stderr, code]).toEqual(['', 0]);
  const text = readFileSync(join(folder, 'toggled.txt'), 'utf8');
  expect(text).toMatch(/^off: VMI: off$/m);
  expect(text).toMatch(/^> .* off .* \(BT\) +off$/m);
  // Sampled at 0.05 s of virtual time, and nothing of real time is in it.
  expect(text).toMatch(/^ 0:00:00 up 0\.050 s, 3 worlds; CPU load average: 0\.00, 0\.00, 0\.00$/m);
  expect(text).not.toContain('speed');
});

test('--screen and --size', { timeout: 60_000 }, async () => {
  const { code } = await snapshot('--at', '0.05', '--screen', 'memory', '--size', '90x24', '-o', 'memory.txt');
  expect(code).toBe(0);
  const lines = readFileSync(join(folder, 'memory.txt'), 'utf8').split('\n');
  expect(lines).toHaveLength(24);
  expect(lines[1]).toMatch(/^PMEM /);
});

test.each([
  [['-o', 'a.gif'], 'vmitop: a.gif: the name must end in one of .txt, .svg, .png\n'],
  [['-o', 'none/a.svg'], 'vmitop: none/a.svg: no such file\n'],
  [['-o', 'folder.svg'], 'vmitop: folder.svg: is a directory\n'],
  [['-o', 'a.svg', '--size', 'big'], 'vmitop: --size: must be COLUMNSxROWS, as in 120x34: big\n'],
  [['-o', 'a.svg', '--size', '79x24'], 'vmitop: --size, columns 79: must be a whole number from 80 to 300\n'],
  [['-o', 'a.svg', '--keys', 'q'], 'vmitop: --keys: q ends the console, and there is nothing to draw\n'],
  [['-o', 'a.svg', '--at', '0'], 'vmitop: --at 0: must be more than 0 seconds\n'],
  [['-o', 'a.svg', '--screen', 'moon'], /^vmitop: Invalid values:\n?/],
])('what cannot be used: %j', { timeout: 60_000 }, async (words, complaint) => {
  mkdirSync(join(folder, 'folder.svg'), { recursive: true });
  const { code, stderr, stdout } = await snapshot(...words);
  if (typeof complaint === 'string') expect(stderr).toBe(complaint);
  else expect(stderr).toMatch(complaint);
  expect([code, stdout]).toEqual([2, '']);
  expect(existsSync(join(folder, 'a.svg'))).toBe(false);
  expect(readdirSync(folder).filter(name => name.endsWith('.tmp'))).toEqual([]);
});
