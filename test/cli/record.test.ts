/** `vmitop record` and `verify`: a scripted session, its file, and what changes to either side do. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DEMONSTRATION } from '../../src/cli/demonstration.js';
import type { Sample } from '../../src/hypervisor/index.js';
import { runCli } from './run-cli.js';
import { POWER_OFF, print, SPIN, tinyImage } from './tiny-image.js';

let folder: string;
const file = (name: string): string => join(folder, name);

const SCRIPT = `
# vm a prints and goes off by itself; it is started again with VMI offered.
at 3 vmi a on
at 10 power-on a
at 15 interval 2
at 20 power-off b
at 30 end
`;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'vmitop-record-'));
  writeFileSync(file('hello.elf'), tinyImage([...print('hello\n'), ...POWER_OFF]));
  writeFileSync(file('spin.elf'), tinyImage([...print('round\n'), ...SPIN]));
  const vms = [
    { name: 'a', image: file('hello.elf'), memoryMib: 16 },
    { name: 'b', image: file('spin.elf'), memoryMib: 16, monitor: 'native' },
  ];
  writeFileSync(file('lab.json'), JSON.stringify({ pcpus: 1, memoryMib: 512, vms }));
  writeFileSync(file('session.script'), SCRIPT);
  const words = ['record', file('session.rec'), '--inventory', file('lab.json'), '--delay', '0.005'];
  recorded = await runCli([...words, '--script', file('session.script')]);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let recorded: Awaited<ReturnType<typeof runCli>>;

describe('a scripted recording', () => {
  test('says what it holds', () => {
    // Samples at 5, 10 and 15 ms, then at every second one from the change of the interval to the end.
    expect(recorded).toEqual({
      code: 0,
      stdout: `recorded: 10 samples, 4 commands in ${file('session.rec')}\n`,
      stderr: '',
    });
  });

  test('verifies', async () => {
    const { code, stdout } = await runCli(['verify', file('session.rec')]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'identical: 10 samples, 4 commands\n' });
  });

  test('keeps commands at their cycles, in order with the samples', () => {
    const lines = readFileSync(file('session.rec'), 'utf8').trimEnd().split('\n');
    const all = lines.map(
      line => JSON.parse(line) as { kind: string; atCycles?: number; sample?: { atCycles: number } },
    );
    const entries = all.filter(({ kind }) => kind !== 'event');
    expect(entries.length).toBeLessThan(all.length);
    expect(entries[0]!.kind).toBe('header');
    const ms = entries.slice(1).map(entry => [entry.kind, (entry.atCycles ?? entry.sample!.atCycles) / 3_000_000]);
    expect(ms.slice(0, 6)).toEqual([
      ['command', 3],
      ['sample', 5],
      ['sample', 10],
      ['command', 10],
      ['sample', 15],
      ['command', 15],
    ]);
    expect(ms.at(-1)).toEqual(['end', 30]);
  });

  test('one changed cost is found, with the sample and the field', async () => {
    const { code, stdout } = await runCli(['verify', file('session.rec'), '--cost', 'portIo=2999']);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^different: sample 0 at 0\.005000 s: \S+: recorded \S+, now \S+\n/);
    expect(stdout).toContain('cost profile');
  });

  test('one changed instruction of the guest is found', async () => {
    const original = readFileSync(file('spin.elf'));
    try {
      // jmp $ becomes imul eax, eax; jmp $-3: the console shows the same, but a cycle is no instruction any more.
      writeFileSync(file('spin.elf'), tinyImage([...print('round\n'), 0x0f, 0xaf, 0xc0, 0xeb, 0xfb]));
      const { code, stdout } = await runCli(['verify', file('session.rec')]);
      expect(code).toBe(1);
      expect(stdout).toMatch(/^different: sample \d+ at /);
      expect(stdout).toContain('spin.elf" is not the recorded one');
    } finally {
      writeFileSync(file('spin.elf'), original);
    }
  });

  test.each([
    ['cut off in the middle of a line', (text: string) => text.slice(0, text.length >> 1)],
    ['without its end', (text: string) => text.split('\n').slice(0, -2).join('\n')],
    ['with a figure changed', (text: string) => text.replace(/"usedCycles":\d+/, '"usedCycles":1')],
  ])('a file %s is refused with the line', async (_, damage) => {
    writeFileSync(file('broken.rec'), damage(readFileSync(file('session.rec'), 'utf8')));
    const { code, stdout, stderr } = await runCli(['verify', file('broken.rec')]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/^vmitop: recording .*broken\.rec:\d+: [^\n]+\n$/);
  });
});

test('an interrupted recording is complete up to where it came', async () => {
  writeFileSync(file('long.script'), 'at 1000000 end\n');
  const words = [
    'record',
    file('cut.rec'),
    '--inventory',
    file('lab.json'),
    '--script',
    file('long.script'),
    '--delay',
    '0.001',
  ];
  const child = runCli(words, {
    interruptWhen: () =>
      existsSync(file('cut.rec')) && readFileSync(file('cut.rec'), 'utf8').includes('"kind":"sample"'),
  });
  expect((await child).code).toBe(130);
  const { code, stdout } = await runCli(['verify', file('cut.rec')]);
  expect(stdout).toMatch(/^identical: \d+ samples, 0 commands\n$/);
  expect(code).toBe(0);
});

test('a boot, a VMI toggle, a restart and programs verify; one changed cost shows where', async () => {
  // The session that `vmitop record` plays by itself, on a host of two VMs.
  const vms = [{ name: 'web01', vmi: true }, { name: 'web02' }];
  writeFileSync(file('two.json'), JSON.stringify({ pcpus: 2, memoryMib: 1024, vms }));
  writeFileSync(file('demonstration.script'), DEMONSTRATION);
  const words = ['record', file('two.rec'), '--inventory', file('two.json'), '--script', file('demonstration.script')];
  expect(await runCli(words)).toMatchObject({ code: 0, stderr: '' });
  const lines = readFileSync(file('two.rec'), 'utf8').trimEnd().split('\n');
  const kinds = lines.flatMap(line => (JSON.parse(line) as { command?: { kind: string } }).command?.kind ?? []);
  expect(kinds).toEqual(['setSampleInterval', 'type', 'setVmi', 'powerOff', 'powerOn', 'type', 'type']);
  const samples = lines.flatMap(line => (JSON.parse(line) as { sample?: Sample }).sample ?? []);
  expect(new Set(samples.map(sample => sample.vms[0]!.mode))).toEqual(new Set(['vmi', 'bt']));

  expect((await runCli(['verify', file('two.rec')])).stdout).toBe(
    `identical: ${samples.length} samples, ${kinds.length} commands\n`,
  );
  const changed = await runCli(['verify', file('two.rec'), '--cost', 'shadowFill=121']);
  expect(changed.code).toBe(1);
  expect(changed.stdout).toMatch(/^different: sample 0 at 0\.\d+ s: \S+: recorded \S+, now \S+\n/);
}, 600_000);

test('an own inventory without a terminal needs a script', async () => {
  const { code, stderr } = await runCli(['record', file('none.rec'), '--inventory', file('lab.json')]);
  expect(code).toBe(2);
  expect(stderr).toBe('vmitop: record: without a terminal, an inventory of your own needs --script\n');
  expect(() => readFileSync(file('none.rec'))).toThrow();
});

test('the disk of a recording is found again, and seen to be another one', async () => {
  // Larger than any kernel may be.
  const disk = new Uint8Array(65 << 20);
  writeFileSync(file('disk.img'), disk);
  const vms = [{ name: 'b', image: file('spin.elf'), memoryMib: 16, disks: [file('disk.img')], nics: 1 }];
  writeFileSync(file('disk.json'), JSON.stringify({ pcpus: 1, memoryMib: 512, vms }));
  writeFileSync(file('disk.script'), 'at 3 reset b\nat 5 end\n');
  const words = ['record', file('disk.rec'), '--inventory', file('disk.json'), '--delay', '0.001'];
  expect(await runCli([...words, '--script', file('disk.script')])).toMatchObject({ code: 0, stderr: '' });
  expect((await runCli(['verify', file('disk.rec')])).stdout).toBe('identical: 5 samples, 1 commands\n');
  disk[12_345] = 1;
  writeFileSync(file('disk.img'), disk);
  const changed = await runCli(['verify', file('disk.rec')]);
  expect(changed.code).toBe(1);
  expect(changed.stdout).toMatch(
    /^different inputs, but identical samples: 5 samples, 1 commands\nimage "\S+disk\.img" is not the recorded one/,
  );
});
