/**
 * The README's pictures are what `vmitop snapshot` makes of the default host: same bytes. Each is taken at a virtual time at which there is
 * something to see. `npm run docs:screens` makes them anew; look at them before they are committed.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ROOT, runCli } from './run-cli.js';

const SCREENS = `${ROOT}docs/screens`;
const DOWN = '\u001b[B';

/** File and arguments; the keys are pressed when the time has come. */
const PICTURES: Readonly<Record<string, readonly string[]>> = {
  // Programs run in build01 (VMI) and build02 (BT).
  'cpu.svg': ['--at', '0.02', '-d', '0.01', '--size', '112x24'],
  'memory.svg': ['--screen', 'memory', '--at', '0.5', '-d', '0.1', '--size', '112x24'],
  'timer.svg': ['--screen', 'timer', '--at', '2', '--size', '112x24'],
  // build01, and build02 as the fifth of the others.
  'exits.svg': ['--at', '0.1', '-d', '0.01', '--keys', `${DOWN.repeat(4)}x+5T`, '--size', '138x30'],
  // web02, which is under BT.
  'code.svg': ['--at', '0.1', '--keys', `${DOWN}b`, '--size', '112x30'],
  // web01's.
  'guest.svg': ['--at', '0.1', '--keys', 'A', '--size', '112x30'],
};

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'vmitop-screens-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const bless = process.env['BLESS'] === '1';

test.each(Object.entries(PICTURES))('%s', { timeout: 120_000 }, async (file, args) => {
  if (bless) mkdirSync(SCREENS, { recursive: true });
  const path = join(bless ? SCREENS : folder, file);
  const { code, stderr } = await runCli(['snapshot', ...args, '-o', path], { timeoutMs: 100_000 });
  expect(stderr).toBe('');
  expect(code).toBe(0);
  expect(readFileSync(path, 'utf8')).toBe(readFileSync(join(SCREENS, file), 'utf8'));
});

test('the README shows each of them, with words for who cannot see it, and they are small', () => {
  const readme = readFileSync(`${ROOT}README.md`, 'utf8');
  const shown = [...readme.matchAll(/!\[([^\]]{20,})\]\(docs\/screens\/([^)]+)\)/g)].map(([, , file]) => file);
  expect(shown.sort()).toEqual(Object.keys(PICTURES).sort());
  expect(readdirSync(SCREENS).sort()).toEqual(Object.keys(PICTURES).sort());
  const bytes = shown.reduce((sum, file) => sum + readFileSync(join(SCREENS, file!)).length, 0);
  expect(bytes).toBeLessThan(300 * 1024);
});
