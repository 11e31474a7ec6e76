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
  tui.send('q');
  expect((await tui.exited).exitCode).toBe(0);
});

test.each([
  ['none.rec', () => undefined, 'no such file'],
  ['cut.rec', () => readFileSync(recording).subarray(0, -200), 'cut off'],
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
