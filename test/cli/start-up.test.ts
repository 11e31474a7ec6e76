/** What the built program loads before it does anything: it decides how long people look at an empty screen. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT } from './run-cli.js';

/** The bundler puts all imports first; further down, the text may be that of a comment. */
const IMPORTS = /^(?:import\b[^;]*;\s*)*/;
const TARGET = /["']([^"']+)["'];/g;

/** Files and packages that a module imports, directly or not, without those that it may ask for later. */
function closureOf(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  const [imports] = IMPORTS.exec(readFileSync(file, 'utf8'))!;
  for (const [, target] of imports.matchAll(TARGET)) {
    if (target!.startsWith('.')) closureOf(join(dirname(file), target!), seen);
    else seen.add(target!);
  }
  return seen;
}

const namesIn = (closure: ReadonlySet<string>): string[] =>
  [...closure].map(file => file.slice(file.lastIndexOf('/') + 1));

test('the command line loads neither the machine nor the console', () => {
  const names = namesIn(closureOf(join(ROOT, 'dist/cli/main.js')));
  expect(names).toContain('yargs');
  expect(names.filter(name => /^(?:hypervisor|app|recorder)-/.test(name))).toEqual([]);
});

test('the console loads Ink from our own files, and no machine', () => {
  const folder = join(ROOT, 'dist/session');
  const app = readdirSync(folder).find(name => /^app-.*\.js$/.test(name));
  const packages = [...closureOf(join(folder, app!))].filter(
    name => !name.startsWith('/') && !name.startsWith('node:'),
  );
  expect(packages).not.toContain('ink');
  expect(packages).not.toContain('iced-x86');
});

test('the host thread loads the machine at once, and no console', () => {
  const names = namesIn(closureOf(join(ROOT, 'dist/session/worker.js')));
  expect(names.filter(name => name.startsWith('hypervisor-'))).toHaveLength(1);
  expect(names.filter(name => name.startsWith('app-'))).toEqual([]);
  // Importing CommonJS makes Node look for its exported names, in all of it.
  expect(names).not.toContain('iced-x86');
});

test('the licences of what is in our files are beside them', () => {
  const text = readFileSync(join(ROOT, 'dist/licences.txt'), 'utf8');
  for (const name of ['ink', 'react', 'react-reconciler', 'yoga-layout', 'zod']) {
    expect(text).toMatch(new RegExp(`^${name} \\d+\\.\\d+\\.\\d+ \\(MIT\\)$`, 'm'));
  }
});
