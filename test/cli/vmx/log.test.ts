/** vmware.log: what is in it, how logs follow one another, and what happens when they cannot be written. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openFolder } from '../../../src/cli/vmx/folder.js';
import { VmLogs } from '../../../src/cli/vmx/log.js';
import { type HostEvent, POWER_ON_REASONS } from '../../../src/hypervisor/index.js';
import { runCli } from '../run-cli.js';

/** Cycles of a millisecond. */
const MS = 1000;

let lab: string;
beforeEach(() => {
  lab = mkdtempSync(join(tmpdir(), 'vmitop-log-'));
});
afterEach(() => rmSync(lab, { recursive: true, force: true }));

function put(vm: string, ...lines: string[]): void {
  mkdirSync(join(lab, vm));
  writeFileSync(join(lab, vm, `${vm}.vmx`), lines.map(line => `${line}\n`).join(''));
}
const logs = () => new VmLogs(openFolder(lab), 1000 * MS);
const read = (name = 'vmware.log') =>
  readFileSync(join(lab, 'web', name), 'utf8')
    .trimEnd()
    .split('\n');

const on = (ms: number, how: keyof typeof POWER_ON_REASONS = 'bt'): HostEvent => ({
  kind: 'power',
  atCycles: ms * MS,
  vm: 'web',
  state: 'on',
  reason: POWER_ON_REASONS[how],
});
const off = (ms: number): HostEvent => ({
  kind: 'power',
  atCycles: ms * MS,
  vm: 'web',
  state: 'off',
  reason: 'by command',
});
const message = (ms: number, line: string): HostEvent => ({ kind: 'log', atCycles: ms * MS, vm: 'web', line });

test('has power, the monitor, messages and findings, each with the time of the host', () => {
  put('web');
  logs().take([
    on(0, 'vmi'),
    message(1500, 'vmitop: boot done'),
    { kind: 'console', atCycles: 0, vm: 'web', text: 'hello\n' },
    { kind: 'guest', atCycles: 0, vm: 'web', state: 'idle' },
    { kind: 'audit', atCycles: 60_000 * MS, vm: 'web', finding: 'odd\u001b[1m' },
    message(0, 'of nobody'),
    off(3_600_000),
  ]);
  expect(read()).toEqual([
    'Apr 01 09:00:00.000: vmx| Powered on: BT, VMI offered',
    'Apr 01 09:00:00.000: vmx| MONITOR MODE: allowed modes          : BT HV',
    'Apr 01 09:00:00.000: vmx| MONITOR MODE: user requested modes   : BT',
    'Apr 01 09:00:00.000: vmx| MONITOR MODE: guestOS preferred modes: BT HWMMU HV',
    'Apr 01 09:00:00.000: vmx| MONITOR MODE: filtered list          : BT',
    "Apr 01 09:00:00.000: vmx| HV Settings: virtual exec = 'software'; virtual mmu = 'software'",
    'Apr 01 09:00:01.500: vmx| vmitop: boot done',
    'Apr 01 09:01:00.000: vmx| audit: odd·[1m',
    'Apr 01 09:00:00.000: vmx| of nobody',
    'Apr 01 10:00:00.000: vmx| Powered off: by command',
  ]);
});

describe('the modes', () => {
  test.each<[string[], keyof typeof POWER_ON_REASONS, string, string, string]>([
    [[], 'bt', 'BT HV HWMMU', 'BT HV', 'software'],
    [['monitor.virtual_exec = "software"'], 'bt', 'BT', 'BT', 'software'],
    [['monitor.virtual_exec = "hardware"'], 'hv', 'HV HWMMU', 'HV', 'hardware'],
    [['monitor.virtual_exec = "hardware"', 'monitor.virtual_mmu = "software"'], 'hv', 'HV', 'HV', 'hardware'],
    [['monitor.virtual_mmu = "software"'], 'bt', 'BT HV', 'BT HV', 'software'],
    // Changed for this session only.
    [['monitor.virtual_exec = "hardware"'], 'bt', 'BT', 'BT', 'software'],
  ])('%j, powered on by %s', (lines, how, requested, chosen, exec) => {
    put('web', ...lines);
    logs().take([on(0, how)]);
    const [, , asked, , filtered, settings] = read();
    expect(asked).toMatch(new RegExp(`: ${requested}$`));
    expect(filtered).toMatch(new RegExp(`: ${chosen}$`));
    expect(settings).toContain(`virtual exec = '${exec}'`);
  });

  test('are none for a native VM', () => {
    put('web', 'vmitop.native = "TRUE"');
    logs().take([on(0, 'native')]);
    expect(read()).toEqual(['Apr 01 09:00:00.000: vmx| Powered on: native']);
  });
});

describe('logs follow one another', () => {
  test('a new one at each power-on, not at a reset, six old ones', () => {
    put('web');
    const subject = logs();
    for (let round = 0; round < 8; round++) {
      subject.take([on(10 * round), message(10 * round + 1, `round ${round}`)]);
      subject.take([off(10 * round + 5)]);
    }
    subject.take([on(100)]);
    subject.take([message(101, 'before the reset'), off(102), on(102), message(103, 'behind it')]);
    const names = readdirSync(join(lab, 'web')).filter(name => name !== 'web.vmx');
    expect(names.sort()).toEqual([...[3, 4, 5, 6, 7, 8].map(n => `vmware-${n}.log`), 'vmware.log']);
    expect(read('vmware-8.log').join('\n')).toContain('round 7');
    const text = read().join('\n');
    expect(text).toMatch(/before the reset\n.*Powered off.*\n.*Powered on[\s\S]*behind it$/);
    expect(text).not.toContain('round');
  });

  test('the log of a session before is put aside', () => {
    put('web');
    logs().take([on(0), message(1, 'first')]);
    logs().take([on(0), message(1, 'second')]);
    expect(read('vmware-1.log').at(-1)).toContain('first');
    expect(read().at(-1)).toContain('second');
  });
});

test('a VM without a folder of its own has none', () => {
  writeFileSync(join(lab, 'web.vmx'), '');
  logs().take([on(0)]);
  expect(readdirSync(lab)).toEqual(['web.vmx']);
});

test('a log that cannot be written is told once, and ends no session', () => {
  put('web');
  mkdirSync(join(lab, 'web/vmware.log/x'), { recursive: true });
  rmSync(join(lab, 'web/web.vmx'));
  writeFileSync(join(lab, 'web/web.vmx'), '');
  const subject = logs();
  subject.take([message(0, 'early')]);
  subject.take([on(1), message(2, 'late')]);
  expect(subject.troubles).toEqual([`${lab}/web/vmware.log: is a directory`]);
});

test('the same session writes the same log', async () => {
  put('web', 'vmi.present = "TRUE"', 'memsize = "32"');
  const run = () => runCli(['top', '--inventory', lab, '-n', '1', '-d', '0.005']);
  expect((await run()).code).toBe(0);
  expect((await run()).code).toBe(0);
  expect(read()).toEqual(read('vmware-1.log'));
  expect(read().join('\n')).toMatch(/VMI: activated[\s\S]*vmitop: boot done/);
});
