/** `vmitop top` without a terminal: samples as text. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runCli } from './run-cli.js';
import { POWER_OFF, print, SPIN, tinyImage } from './tiny-image.js';

let folder: string;
const file = (name: string): string => join(folder, name);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'vmitop-top-'));
  writeFileSync(file('hello.elf'), tinyImage([...print('hello\n'), ...POWER_OFF]));
  writeFileSync(file('spin.elf'), tinyImage([...print('round\n'), ...SPIN]));
  const vms = [
    { name: 'short', image: file('hello.elf'), memoryMib: 16 },
    { name: 'busy', image: file('spin.elf'), memoryMib: 16, monitor: 'native' },
  ];
  writeFileSync(file('lab.json'), JSON.stringify({ pcpus: 2, memoryMib: 512, vms }));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('prints as many samples as asked for and ends with 0', async () => {
  const { code, stdout, stderr } = await runCli(['top', '--inventory', file('lab.json'), '-n', '2', '-d', '0.01']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const samples = stdout.trimEnd().split(/\n(?=.* up )/);
  expect(samples).toHaveLength(2);
  for (const sample of samples) {
    expect(sample).toMatch(/PCPU\(%\):/);
    expect(sample).toMatch(/^ .*NAME .*%USED .*MODE .*GUEST/m);
    expect(sample).toMatch(/ short .* off$/m);
    // One pCPU of two is busy with a guest that never rests.
    const busy = /^.* busy .*$/m.exec(sample)![0];
    expect(busy).toMatch(/native/);
    expect(busy).toMatch(/ (?:9\d\.\d\d|100\.00) /);
  }
  for (const line of stdout.split('\n')) expect(line).toBe(line.trimEnd());
});

test('the same again gives the same text, but for the speed', async () => {
  const words = ['top', '--inventory', file('lab.json'), '-n', '2', '-d', '0.005'];
  const [once, again] = await Promise.all([runCli(words), runCli(words)]);
  const timeless = (text: string) => text.replaceAll(/speed [\d.]+x/g, 'speed');
  expect(timeless(again.stdout)).toBe(timeless(once.stdout));
});
