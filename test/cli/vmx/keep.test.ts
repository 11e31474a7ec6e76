/** What the console changes of a VM is in its file, and nothing else is. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openFolder } from '../../../src/cli/vmx/folder.js';
import { keepIn } from '../../../src/cli/vmx/keep.js';
import type { Command } from '../../../src/hypervisor/index.js';

const TEXT =
  '# mine\r\nmemsize = "64"\r\nVMI.present = "FALSE"  # for now\r\nmonitor.virtual_exec="automatic"\r\nx = "y"';

let lab: string;
let path: string;
beforeEach(() => {
  lab = mkdtempSync(join(tmpdir(), 'vmitop-keep-'));
  path = join(lab, 'web.vmx');
  writeFileSync(path, TEXT);
});
afterEach(() => rmSync(lab, { recursive: true, force: true }));

test.each<[Command, string, string]>([
  [{ kind: 'setVmi', vm: 'web', enabled: true }, 'VMI.present = "FALSE"', 'VMI.present = "TRUE"'],
  [{ kind: 'setMonitor', vm: 'web', monitor: 'hv' }, '"automatic"', '"hardware"'],
  [{ kind: 'setMonitor', vm: 'web', monitor: 'bt' }, '"automatic"', '"software"'],
])('%j changes one line', (command, before, after) => {
  expect(keepIn(openFolder(lab))(command)).toEqual({ ok: true });
  expect(readFileSync(path, 'utf8')).toBe(TEXT.replace(before, after));
});

test.each<Command>([
  { kind: 'powerOn', vm: 'web' },
  { kind: 'type', vm: 'web', text: 'x' },
  { kind: 'setSampleInterval', ms: 10 },
  { kind: 'setVmi', vm: 'another', enabled: true },
])('%j changes nothing', command => {
  expect(keepIn(openFolder(lab))(command)).toEqual({ ok: true });
  expect(readFileSync(path, 'utf8')).toBe(TEXT);
});

test('CPU resources: each figure that is given in its key, as it is read again', () => {
  const keep = keepIn(openFolder(lab));
  expect(keep({ kind: 'setCpu', vm: 'web', shares: 2000, limitMhz: 900 })).toEqual({ ok: true });
  expect(readFileSync(path, 'utf8')).toContain('sched.cpu.shares = "2000"');
  keep({ kind: 'setCpu', vm: 'web', reservationMhz: 100, limitMhz: null });
  const { settings } = openFolder(lab).vms[0]!;
  expect(settings).toMatchObject({ cpuShares: 2000, cpuReservationMhz: 100, cpuLimitMhz: 'unlimited' });
});

test('what was written since the folder was read stays', () => {
  const keep = keepIn(openFolder(lab));
  writeFileSync(path, TEXT.replace('"64"', '"128"'));
  keep({ kind: 'setVmi', vm: 'web', enabled: true });
  expect(readFileSync(path, 'utf8')).toBe(TEXT.replace('"64"', '"128"').replace('"FALSE"', '"TRUE"'));
});

test('a file that cannot be changed refuses the command with the reason', () => {
  const keep = keepIn(openFolder(lab));
  writeFileSync(path, `${TEXT}\r\nvmitop.native = "TRUE"`);
  expect(keep({ kind: 'setVmi', vm: 'web', enabled: true })).toEqual({
    ok: false,
    reason: `${path}:3: vmi.present: needs a monitor, and with vmitop.native the VM has none`,
  });
  rmSync(path);
  expect(keep({ kind: 'setVmi', vm: 'web', enabled: true })).toEqual({ ok: false, reason: `${path}: no such file` });
});

test.skipIf(process.getuid?.() === 0)('a folder that cannot be written is told by its file', () => {
  const keep = keepIn(openFolder(lab));
  chmodSync(lab, 0o500);
  try {
    expect(keep({ kind: 'setVmi', vm: 'web', enabled: true })).toEqual({
      ok: false,
      reason: `${path}: permission denied`,
    });
  } finally {
    chmodSync(lab, 0o700);
  }
});

test('the host has the word about the monitor of a native VM', () => {
  writeFileSync(path, 'vmitop.native = "TRUE"\n');
  expect(keepIn(openFolder(lab))({ kind: 'setMonitor', vm: 'web', monitor: 'hv' })).toEqual({ ok: true });
  expect(readFileSync(path, 'utf8')).toBe('vmitop.native = "TRUE"\n');
});
