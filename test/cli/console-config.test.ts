/** Where the configuration of the console comes from: a file that is named, the one at home, or none. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { formatConfig } from '../../src/tui/config-file.js';
import { defaultConfig } from '../../src/tui/state.js';
import { Tui } from '../tui/pty-screen.js';
import { readPdhCsv } from './pdh-csv.js';
import { LAUNCHER, runCli } from './run-cli.js';
import { POWER_OFF, print, tinyImage } from './tiny-image.js';

let home: string;
const file = (name: string): string => join(home, name);
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'vmitop-rc-'));
  writeFileSync(file('hello.elf'), tinyImage([...print('hello\n'), ...POWER_OFF]));
  const vms = [{ name: 'short', image: file('hello.elf'), memoryMib: 16, powerOn: false }];
  writeFileSync(file('lab.json'), JSON.stringify({ pcpus: 2, memoryMib: 512, vms }));
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

const batch = (...words: string[]) => runCli(['batch', '--inventory', file('lab.json'), '-n', '2', ...words], { home });
const objects = (text: string) => new Set(readPdhCsv(text).paths.map(path => /\\([A-Z][^\\(]*)/.exec(path)![1]));

test('the file at home is read, one that is named wins, and -d wins over both', async () => {
  const seconds = async (...words: string[]) => {
    const { stdout, stderr } = await batch(...words);
    expect(stderr).toBe('');
    const { times } = readPdhCsv(stdout);
    return times[1]! - times[0]!;
  };
  expect(await seconds()).toBe(5);
  writeFileSync(file('.vmitoprc'), 'abcdefgh\naBCdefGhijklM\n2m\n');
  writeFileSync(file('other.rc'), 'ABCDEFGH\nabcdefghijklm\n3c\n');
  expect(await seconds()).toBe(2);
  expect(await seconds('-c', file('other.rc'))).toBe(3);
  expect(await seconds('-d', '4', '-c', file('other.rc'))).toBe(4);
});

test('its fields are those of a batch file: a screen in lower case is not there, unless all are asked for', async () => {
  const memory = objects((await batch()).stdout);
  expect(memory).toContain('Group Memory');
  expect(memory).not.toContain('Group Cpu');
  expect(memory).not.toContain('Vcpu');
  const cpu = objects((await batch('-c', file('other.rc'))).stdout);
  expect(cpu).toContain('Group Cpu');
  expect(cpu).not.toContain('Group Memory');
  expect([...objects((await batch('-a')).stdout)]).toEqual(expect.arrayContaining(['Group Memory', 'Group Cpu']));
});

test('without a terminal the console’s first screen is printed as the file has it', async () => {
  writeFileSync(file('timer.rc'), `${formatConfig({ ...defaultConfig(), screen: 'timer', nameLength: 3 })}`);
  const top = (...words: string[]) => runCli(['top', '--inventory', file('lab.json'), '-n', '1', ...words], { home });
  const { stdout } = await top('-c', file('timer.rc'), '-d', '0.01');
  expect(stdout).toMatch(/\nSOURCES : no VM is on\n\n {2}GID NAM MODE .*\n {3}16 sho \(BT\)/);
  expect((await top('-d', '0.01')).stdout).toMatch(/\nPMEM .* MEMSZ /s);
});

test('one that cannot be used is one line', async () => {
  writeFileSync(file('bad.rc'), 'ABCDEFGG\nabcdefghijklm\n3c\n');
  for (const [path, reason] of [
    [file('bad.rc'), ':1: must have each letter of the cpu screen’s fields once: ABCDEFGG'],
    [file('none.rc'), ': no such file'],
  ] as const) {
    expect(await batch('-c', path)).toEqual({
      code: 2,
      stdout: '',
      stderr: `vmitop: configuration ${path}${reason}\n`,
    });
  }
});

test('the console begins as its file says, and W writes that file', { timeout: 120_000 }, async () => {
  const t = new Tui(process.execPath, [LAUNCHER, '--inventory', file('lab.json'), '-c', file('other.rc')], {
    cols: 100,
    env: { HOME: home },
  });
  try {
    await t.until(/NAME +%USED .*QEXP\/s/, { timeoutMs: 60_000 });
    t.send('#7\r');
    t.send('W');
    await t.until(`Default to : ${file('other.rc')}`);
    t.send('\r');
    await t.until('configuration written to');
    expect(readFileSync(file('other.rc'), 'utf8')).toMatch(
      /^ABCDEFGHIJ\nabcdefghijklmn\n[\s\S]*\nrows = 7\nname = 0\nmouse = 1\n3c\n$/,
    );
    t.send('W~/kept.rc\r');
    await t.until('configuration written to ~/kept.rc');
    expect(readFileSync(file('kept.rc'), 'utf8')).toBe(readFileSync(file('other.rc'), 'utf8'));
    t.send('W/nowhere/x\r');
    await t.until('/nowhere/x: no such file');
    t.send('q');
    expect((await t.exited).exitCode).toBe(0);
  } finally {
    t.close();
  }
});
