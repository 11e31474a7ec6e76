/** docs/inventory.md has the tables of keys that the program follows. `BLESS=1` writes them. */
import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { FILE_KEYS, IGNORED_KEYS, VMX_KEYS, type VmxKey } from '../../../src/cli/vmx/keys.js';
import { ROOT } from '../run-cli.js';

const PATH = `${ROOT}docs/inventory.md`;

const table = (titles: readonly string[], rows: readonly (readonly string[])[]): string =>
  [titles, titles.map(() => '---'), ...rows].map(cells => `| ${cells.join(' | ')} |`).join('\n');

const otherwise = ({ otherwise: word }: VmxKey): string => {
  if (word === undefined) return '';
  return word === '' ? 'empty' : `\`${word}\``;
};

const TABLES: Readonly<Record<string, string>> = {
  keys: table(
    ['key', 'values', 'without it', 'meaning'],
    Object.values(VMX_KEYS).map((key: VmxKey) => [`\`${key.key}\``, key.values, otherwise(key), key.help]),
  ),
  ignored: table(
    ['key', 'why'],
    IGNORED_KEYS.map(({ key, reason }) => [`\`${key}\``, reason]),
  ),
  file: table(
    ['key', 'meaning'],
    FILE_KEYS.map(({ key, help }) => [`\`${key}\``, help]),
  ),
};

test.each(Object.entries(TABLES))('table %s', (name, expected) => {
  const text = readFileSync(PATH, 'utf8');
  const place = new RegExp(`(<!-- ${name} -->)([^]*?)(?=<!-- end -->)`);
  const found = place.exec(text);
  expect(found, `${PATH} has a place for it`).not.toBeNull();
  if (process.env['BLESS'] === '1') {
    writeFileSync(
      PATH,
      text.replace(place, (_, mark: string) => `${mark}\n\n${expected}\n\n`),
    );
    return;
  }
  expect(found![2]!.trim()).toBe(expected);
});
