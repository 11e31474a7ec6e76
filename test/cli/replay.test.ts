/** `vmitop replay` on a recording of `vmitop record`: as text, in a terminal at two sizes, and files that cannot be played. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Tui } from '../tui/pty-screen.js';
import { LAUNCHER, runCli } from './run-cli.js';

let folder = '';
let recording = '';
let tui: Tui | undefined;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'vmitop-replay-'));
  recording = join(folder, 'session.rec');
  writeFileSync(join(folder, 'one.json'), JSON.stringify({ vms: [{ name: 'one', vmi: true }] }));
  writeFileSync(join(folder, 'script'), 'at 0 interval 100\nat 250 vmi one off\nat 1000 end\n');
  const { code, stderr } = await runCli(['record', recording, '--inventory', 'one.json', '--script', 'script'], {
    cwd: folder,
  });
  expect([code, stderr]).toEqual([0, expect.any(String)]);
}, 60_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(() => {
  tui?.close();
  tui = undefined;
});

test('without a terminal: the samples as text, all or the first ones', async () => {
  const all = await runCli(['replay', recording]);
  expect([all.code, all.stderr]).toEqual([0, '']);
  expect(all.stdout.match(/^ 0:00:0[01] up [\d.]+ s/gm)).toHaveLength(10);
  expect(all.stdout).toMatch(/ up 0\.300 s[\s\S]* VMI\* +idle/);
  expect(all.stdout).not.toContain('speed');
  const two = await runCli(['replay', recording, '-n', '2']);
  expect(all.stdout.startsWith(two.stdout)).toBe(true);
  expect(two.stdout.match(/ up /g)).toHaveLength(2);
});

test.each([
  [80, 24],
  [160, 50],
])('%ix%i: pause, step, jump, speed, quit', { timeout: 60_000 }, async (cols, rows) => {
  tui = new Tui(process.execPath, [LAUNCHER, 'replay', recording, '--speed', '0.125'], { cols, rows });
  await tui.until('replay 0:00:00/0:00:01 1/8x', { timeoutMs: 30_000 });
  tui.send('P');
  await tui.until('0:00:01 paused');
  tui.send('j0.25\r');
  await tui.until('up 0.200 s');
  tui.send('}');
  await tui.until(/up 1\.000 s.*paused/);
  tui.send('[');
  await tui.until('up 0.900 s');
  tui.send('{');
  await tui.until('up 0.100 s');
  tui.send(']');
  await tui.until('up 0.200 s');
  tui.send('P<>');
  await tui.until('1/4x');
  tui.send('j100%\r');
  await tui.until('0:00:01 ended');
  tui.send('a');
  await tui.until('command setVmi enabled false');
  await tui.until(/one +guest +idle/);
  tui.send('A');
  await tui.until('Booting paravirtualized kernel on vmi');
  tui.send('\u001d');
  tui.send('q');
  expect((await tui.exited).exitCode).toBe(0);
});

test('a recording that was not ended is played as far as it goes', { timeout: 60_000 }, async () => {
  const path = join(folder, 'killed.rec');
  const lines = readFileSync(recording, 'utf8').split('\n');
  // In the middle of the fifth sample.
  const fifth = lines.findIndex(line => line.includes('"sequence":4'));
  writeFileSync(path, [...lines.slice(0, fifth), lines[fifth]!.slice(0, 1000)].join('\n'));
  const { code, stderr, stdout } = await runCli(['replay', path]);
  expect(code).toBe(0);
  expect(stdout.match(/ up [\d.]+ s/g)).toHaveLength(4);
  expect(stderr).toBe(`vmitop: recording ${path}:${fifth + 1}: is cut off in the middle; this is what it holds\n`);
  tui = new Tui(process.execPath, [LAUNCHER, 'replay', path, '--speed', '4'], { cols: 100, rows: 24 });
  await tui.until('0:00:00 cut off', { timeoutMs: 30_000 });
  tui.send('q');
  expect((await tui.exited).exitCode).toBe(0);
  const verified = await runCli(['verify', path]);
  expect([verified.code, verified.stdout]).toEqual([2, '']);
});

test('what batch mode wrote: as text, and in a terminal', { timeout: 60_000 }, async () => {
  const path = join(folder, 'one.csv');
  const words = ['batch', '-a', '-d', '0.1', '-n', '10', '--inventory', 'one.json', '--output', path];
  expect((await runCli(words, { cwd: folder })).code).toBe(0);
  const live = await runCli(['top', '--inventory', 'one.json', '-d', '0.1', '-n', '10', '--speed', 'max'], {
    cwd: folder,
  });
  const replayed = await runCli(['replay', path]);
  expect([replayed.code, replayed.stderr]).toEqual([0, '']);
  // The rows of the VM but for what the guest does, which is no counter.
  const rows = (text: string) => text.match(/^ +16 +16 one .*(?= (?:VMI|HV|BT) )/gm)?.map(row => row.trimEnd());
  expect(rows(replayed.stdout)).toHaveLength(10);
  expect(rows(replayed.stdout)).toEqual(rows(live.stdout));
  tui = new Tui(process.execPath, [LAUNCHER, 'replay', path, '--speed', '0.5'], { cols: 100, rows: 30 });
  await tui.until('replay 0:00:00/0:00:01', { timeoutMs: 30_000 });
  tui.send('Pj100%\r');
  await tui.until(/up 1\.000 s.*paused/);
  for (const [key, sign] of [
    ['m', 'VMKMEM/MB:'],
    ['i', 'COUNT/s'],
    ['t', 'DLVD/s'],
    ['x', 'guest kernel'],
    ['a', 'WHAT '],
    ['c', '%RDY'],
  ] as const) {
    tui.send(key);
    await tui.until(sign);
  }
  expect(tui.screen()).not.toMatch(/NaN|undefined/);
  tui.send('q');
  expect((await tui.exited).exitCode).toBe(0);
});

test.each([
  ['none.rec', () => undefined, 'no such file'],
  ['cut.rec', () => readFileSync(recording).subarray(0, 400), 'cut off in the middle'],
  ['cut.csv', () => '"(PDH-CSV 4.0) (UTC)(0)","\\\\a\\B\\C"\n"04/01/2008 09:00:01"\n', ':2: invalid record length'],
  ['other.rec', () => 'hello\n', ':1: '],
  [
    'changed.rec',
    () => readFileSync(recording, 'utf8').replace('"usedCycles":', '"usedCycles":1'),
    'does not fit its hash',
  ],
])('%s is refused in one line', async (name, make, reason) => {
  const path = join(folder, name);
  const content = make();
  if (content !== undefined) writeFileSync(path, content);
  const { code, stderr, stdout } = await runCli(['replay', path]);
  expect([code, stdout]).toEqual([2, '']);
  expect(stderr).toMatch(/^vmitop: [^\n]+\n$/);
  expect(stderr).toContain(path);
  expect(stderr).toContain(reason);
});
