import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import { listing } from '../../src/tui/components/listing.js';
import { Tui } from './pty-screen.js';

const titles = ['Vmid', 'Name'];
const rows = [
  ['1', 'web01'],
  ['2', 'db'],
];
const WIDTH = 16;

test('a bordered table, as wide as its cells', () => {
  expect(stripVTControlCharacters(listing(titles, rows, WIDTH)!)).toBe(
    [
      '┌──────┬───────┐',
      '│ Vmid │ Name  │',
      '├──────┼───────┤',
      '│ 1    │ web01 │',
      '├──────┼───────┤',
      '│ 2    │ db    │',
      '└──────┴───────┘',
    ].join('\n'),
  );
});

test('none where it would not fit', () => {
  expect(listing(titles, rows, WIDTH - 1)).toBeUndefined();
});

test.each([
  [100, '│ Vmid │ Name  │ File '],
  [60, 'Vmid  Name   File '],
])('vmitop vm list on a terminal of %i columns', async (cols, heading) => {
  const lab = mkdtempSync(join(tmpdir(), 'vmitop-list-'));
  writeFileSync(join(lab, 'web01.vmx'), '');
  const program = fileURLToPath(new URL('../../bin/vmitop.js', import.meta.url));
  const t = new Tui(process.execPath, [program, 'vm', 'list', '--inventory', lab], { cols });
  try {
    expect((await t.exited).exitCode).toBe(0);
    await t.until('web01.vmx');
    expect(t.screen()).toContain(heading);
  } finally {
    t.close();
    rmSync(lab, { recursive: true, force: true });
  }
});
