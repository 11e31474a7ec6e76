/** docs/console.md says what there is: every key, every column, the configuration file as it is written. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { formatConfig } from '../../src/tui/config-file.js';
import { EXITS_COLUMNS } from '../../src/tui/exits.js';
import { KEYS, type KeyBinding } from '../../src/tui/keys.js';
import { columnsOf } from '../../src/tui/screens.js';
import { defaultConfig, SCREEN_IDS } from '../../src/tui/state.js';

const TEXT = readFileSync(new URL('../../docs/console.md', import.meta.url), 'utf8');
/** Columns that every table of VMs has, and that nobody needs to be told of. */
const PLAIN = new Set(['ID', 'GID', 'NAME', 'NWLD', 'MODE', 'DEVICE', 'VMNAME']);

test('every key', () => {
  const named: Readonly<Record<string, string>> = {
    PgUp: 'PgUp',
    PgDn: 'PgDn',
    space: 'space',
    '^L': '`^L`',
    '^Z': '`^Z`',
  };
  for (const { show } of KEYS as readonly KeyBinding[]) {
    for (const key of show.split(' ')) {
      expect(TEXT, key).toContain(/^(?:up|down|left|right)$/.test(key) ? key : (named[key] ?? `\`${key}\``));
    }
  }
});

test('every column', () => {
  const columns = SCREEN_IDS.flatMap(screen => columnsOf(screen).map(({ title }) => title));
  const words = new Set(TEXT.split(/[\s|;,.]+/));
  for (const title of [...columns, ...EXITS_COLUMNS.map(column => column.title)]) {
    if (!PLAIN.has(title)) expect(words, title).toContain(title);
  }
});

test('the lines of the configuration file', () => {
  const letters = formatConfig(defaultConfig()).split('\n').slice(0, 10);
  const block = [...TEXT.matchAll(/^ {4}(\w+) +(\d+) /gm)].filter(([, word]) => /^[a-z]+$/i.test(word!));
  expect(block.map(([, word]) => word)).toEqual(letters);
  expect(block.map(([, , place]) => Number(place))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});
