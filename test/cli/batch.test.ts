/** `vmitop batch`: files that our own strict reader of esxtop's format accepts, the same ones every time, whole lines always. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readPdhCsv } from './pdh-csv.js';
import { runCli } from './run-cli.js';
import { POWER_OFF, print, SPIN, tinyImage } from './tiny-image.js';

let folder: string;
const file = (name: string): string => join(folder, name);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'vmitop-batch-'));
  writeFileSync(file('hello.elf'), tinyImage([...print('hello\n'), ...POWER_OFF]));
  writeFileSync(file('spin.elf'), tinyImage([...print('round\n'), ...SPIN]));
  const vms = [
    { name: 'short', image: file('hello.elf'), memoryMib: 16 },
    { name: 'busy', image: file('spin.elf'), memoryMib: 16, monitor: 'native' },
    { name: 'guest', append: 'hz=250', vmi: true, start: 'getppid' },
    { name: 'off', memoryMib: 32, powerOn: false },
  ];
  writeFileSync(file('lab.json'), JSON.stringify({ name: 'esx07.lab', pcpus: 2, memoryMib: 512, vms }));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const batch = (...words: string[]) => runCli(['batch', '--inventory', file('lab.json'), ...words]);

/** The value of a counter in a row. */
function value(text: string, row: number, path: string): number {
  const { paths, rows } = readPdhCsv(text);
  expect(paths).toContain(path);
  return Number(rows[row]![paths.indexOf(path)]);
}

test('of a recording has the bytes that a batch of the same session has', { timeout: 60_000 }, async () => {
  writeFileSync(file('session.script'), 'at 61 end\n');
  const recorded = ['record', file('session.rec'), '--inventory', file('lab.json'), '-d', '0.005'];
  expect((await runCli([...recorded, '--script', file('session.script')])).code).toBe(0);
  for (const words of [[], ['-a'], ['-n', '3']]) {
    const live = await batch('-d', '0.005', ...(words[0] === '-n' ? words : ['-n', '12', ...words]));
    const replayed = await runCli(['batch', '-R', file('session.rec'), ...words]);
    expect([replayed.code, replayed.stderr]).toEqual([0, '']);
    expect(replayed.stdout).toBe(live.stdout);
  }
  const both = await runCli(['batch', '-R', file('session.rec'), '-d', '1']);
  expect([both.code, both.stdout]).toEqual([2, '']);
  const none = await runCli(['batch', '-R', file('lab.json')]);
  expect([none.code, none.stdout]).toEqual([2, '']);
});

describe('the file', () => {
  test.each([1, 10, 60])(
    'of %i samples passes the strict reader, with all counters and with the shown ones',
    async n => {
      const words = ['-d', '0.005', '-n', String(n)];
      const [shown, all] = await Promise.all([batch(...words), batch(...words, '-a')]);
      for (const { code, stdout, stderr } of [shown, all]) {
        expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
        expect(readPdhCsv(stdout).rows).toHaveLength(n);
      }
      const few = readPdhCsv(shown.stdout).paths;
      const many = readPdhCsv(all.stdout).paths;
      expect(many).toEqual(expect.arrayContaining([...few]));
      const added = new Set(many.filter(path => !few.includes(path)).map(path => path.split('\\').at(-1)));
      expect([...added].sort()).toEqual(
        [
          ...['Switches/sec', 'Migrates/sec', 'Quantum Expires/sec', 'Wakeups/sec'],
          ...['Alloc Min', 'Alloc Max', 'Alloc Shares', 'Timers/sec'],
        ].sort(),
      );
    },
  );

  test('is the same whenever and wherever it is written', async () => {
    const words = ['-d', '0.01', '-n', '4', '-a'];
    const [once, again] = await Promise.all([batch(...words), batch(...words, '--output', file('out.csv'))]);
    expect(again).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(readFileSync(file('out.csv'), 'utf8')).toBe(once.stdout);
  });

  test('tells what happened: a pCPU that is busy, a VM that has gone off, one that was never on', async () => {
    const { stdout } = await batch('-d', '1', '-n', '2', '-a');
    const { host, times } = readPdhCsv(stdout);
    expect(host).toBe('esx07.lab');
    // The host is switched on at nine on the first of April 2008.
    expect(times).toEqual([1, 2].map(second => Date.UTC(2008, 3, 1, 9, 0, second) / 1000));
    const at = (path: string) => value(stdout, 1, `\\\\esx07.lab\\${path}`);
    expect(at('Group Cpu(17:busy)\\% Used')).toBe(100);
    expect(at('Vcpu(17:busy:1027:vmm0:busy)\\% Run')).toBe(100);
    expect(at('Group Cpu(16:short)\\Members')).toBe(0);
    expect(at('Group Cpu(18:guest)\\Members')).toBe(3);
    expect(at('Group Cpu(18:guest)\\Alloc Max')).toBe(-1);
    expect(at('Group Memory(19:off)\\Memory Size MBytes')).toBe(32);
    expect(at('Group Memory(19:off)\\Memory Granted Size MBytes')).toBe(0);
    expect(at('Memory\\Machine MBytes')).toBe(512);
    expect(at('Memory\\Kernel State')).toBe(0);
    expect(at('Physical Cpu Load\\Cpu Load (1 Minute Avg)')).toBeGreaterThan(0);
    expect(at('Vmkernel\\Worlds')).toBe(6);
    // Every cycle of the guest has a cause.
    const causes = readPdhCsv(stdout).paths.filter(path => /\\Vm Exits\(18:guest:[^_].*\\Cycles$/.test(path));
    const sum = causes.reduce((total, path) => total + value(stdout, 1, path), 0);
    expect(sum).toBe(at('Vm Exits(18:guest:_Total)\\Cycles'));
    expect(sum).toBeGreaterThan(0);
  });

  test('ends with a whole line after Ctrl-C', async () => {
    let pressed = false;
    const { code, stdout, stderr } = await runCli(['batch', '--inventory', file('lab.json'), '-d', '0.001'], {
      onStdout: (text, kill) => {
        if (pressed || text.split('\n').length <= 8) return;
        pressed = true;
        kill('SIGINT');
      },
    });
    expect({ code, stderr }).toEqual({ code: 130, stderr: '' });
    expect(readPdhCsv(stdout).rows.length).toBeGreaterThanOrEqual(7);
  });

  test.each([
    [['-n', '0'], '--samples 0: must be a whole number from 1 to 1000000'],
    [['-d', 'soon'], '--delay soon: must be at least 0.001 seconds'],
    [['--output', '/nowhere/x.csv'], '--output /nowhere/x.csv: no such file'],
  ])('is not begun with %j', async (words, reason) => {
    expect(await batch(...words)).toEqual({ code: 2, stdout: '', stderr: `vmitop: ${reason}\n` });
  });
});

describe('the strict reader refuses a file', () => {
  let good: string;
  beforeAll(async () => {
    good = (await batch('-d', '0.005', '-n', '3', '-a')).stdout;
    expect(readPdhCsv(good).rows).toHaveLength(3);
  });

  /** The text with the first match replaced; it must be there. */
  const broken = (what: string | RegExp, by: string): string => {
    const changed = good.replace(what, by);
    expect(changed).not.toBe(good);
    return changed;
  };
  const lineOf = (text: string, at: number, change: (line: string) => string): string =>
    text
      .split('\n')
      .map((line, index) => (index === at ? change(line) : line))
      .join('\n');

  test.each([
    ['of another version', () => broken('(PDH-CSV 4.0)', '(PDH-CSV 3.0)'), 'begins with'],
    ['of another time zone', () => broken('(UTC)(0)', '(CET)(-60)'), 'begins with'],
    ['with lines as on Windows', () => good.replaceAll('\n', '\r\n'), 'a carriage return'],
    ['cut within a line', () => good.slice(0, -20), 'the last line has no end'],
    ['cut within a line that was ended', () => `${good.slice(0, -20)}\n`, 'not a quoted cell'],
    ['with a cell missing', () => lineOf(good, 2, line => line.slice(0, line.lastIndexOf(','))), 'cells, not'],
    ['with a comma at a line’s end', () => lineOf(good, 1, line => `${line},`), 'a comma at its end'],
    ['with an empty last cell', () => lineOf(good, 1, line => `${line},""`), 'cells, not'],
    ['with an empty line', () => `${good}\n`, 'not a quoted cell'],
    ['with blanks between cells', () => broken('","', '", "'), 'not a quoted cell'],
    ['without quotes', () => broken(/"([\d.]+)"/, '$1'), 'not a quoted cell'],
    ['with a counter twice', () => broken('\\Kernel MBytes', '\\Machine MBytes'), 'is there twice'],
    ['with a counter that no esxtop has', () => broken('% Overlap', '% Overlapped'), 'no such counter'],
    ['with an object that no esxtop has', () => broken('\\Group Cpu(', '\\Guest Cpu('), 'no such object'],
    ['with a group without a name', () => broken('Group Cpu(16:short)', 'Group Cpu(16)'), 'instance of'],
    ['with a world without an id', () => broken(':1024:', ':'), 'instance of'],
    ['with a path of one backslash', () => broken('"\\\\esx07', '"\\esx07'), 'not a counter'],
    ['of two hosts', () => broken('"\\\\esx07', '"\\\\esx08'), 'another host'],
    ['with a comma in a name', () => good.replaceAll('16:short', '16:sho,rt'), 'characters of'],
    ['with a size with decimals', () => lineOf(good, 1, line => line.replace('"512"', '"512.00"')), '"512.00" for'],
    ['with a share without decimals', () => lineOf(good, 1, line => line.replace('"100.00"', '"100"')), '"100" for'],
    ['with three decimals', () => lineOf(good, 2, line => line.replace('"100.00"', '"100.001"')), '"100.001" for'],
    ['with an empty cell', () => lineOf(good, 1, line => line.replace('"512"', '""')), '"" for'],
    ['with no number', () => lineOf(good, 1, line => line.replace('"512"', '"NaN"')), '"NaN" for'],
    ['with a negative nothing', () => lineOf(good, 1, line => line.replace('"0.00"', '"-0.00"')), '"-0.00" for'],
    ['with a day that there is not', () => broken('"04/01/2008', '"04/31/2008'), 'not a timestamp'],
    ['with the day first', () => broken('"04/01/2008', '"2008/04/01'), 'not a timestamp'],
    ['with fractions of seconds', () => broken(/(\d\d:\d\d:\d\d)"/, '$1.500"'), 'not a timestamp'],
    ['that goes back in time', () => lineOf(good, 2, line => line.replace('09:', '08:')), 'goes back in time'],
    [
      'with memory that is not its parts',
      () => lineOf(good, 1, line => line.replace('"512"', '"600"')),
      'machine memory',
    ],
    ['with %USED that is not its parts', () => lineOf(good, 3, shiftUsed), 'used = run'],
  ])('%s', (_, text, complaint) => {
    expect(() => readPdhCsv(text())).toThrow(complaint);
  });

  /** The busy VM's %USED, five more. */
  function shiftUsed(line: string): string {
    const at = readPdhCsv(good).paths.indexOf('\\\\esx07.lab\\Group Cpu(17:busy)\\% Used');
    const cells = line.split(',');
    cells[at + 1] = '"95.00"';
    return cells.join(',');
  }
});
