import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import { listing } from '../../src/tui/components/listing.js';

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
