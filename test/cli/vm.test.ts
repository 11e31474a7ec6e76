/** `vmitop vm` on folders of its own. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runCli } from './run-cli.js';
import { print, SPIN, tinyImage } from './tiny-image.js';

let lab: string;
beforeEach(() => {
  lab = join(mkdtempSync(join(tmpdir(), 'vmitop-vm-')), 'lab');
});
afterEach(() => rmSync(join(lab, '..'), { recursive: true, force: true }));

const vm = async (...words: string[]): Promise<string> => {
  const { code, stdout, stderr } = await runCli(['vm', ...words, '--inventory', lab]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return stdout;
};

test('create, list, set and delete, as somebody would use them', async () => {
  expect(await vm('create', 'web01', 'vmi.present=TRUE', 'annotation=a=b, c')).toBe(`${lab}/web01/web01.vmx\n`);
  expect(await vm('create', 'db01', 'memsize=128')).toBe(`${lab}/db01/db01.vmx\n`);
  expect(await vm('list')).toBe(
    [
      'Vmid  Name   File             Guest OS       Version   MB  Mode  Power  Annotation',
      '1     db01   db01/db01.vmx    other26xlinux  vmx-04   128  bt    off',
      '2     web01  web01/web01.vmx  other26xlinux  vmx-04    64  vmi   off    a=b, c',
      '',
    ].join('\n'),
  );

  const path = `${lab}/db01/db01.vmx`;
  const before = readFileSync(path, 'utf8');
  expect(await vm('set', 'db01', 'MONITOR.virtual_exec=hardware', 'sched.mem.max=1000')).toBe(
    `${path}: monitor.virtual_exec = "hardware"\n${path}: sched.mem.max = "1000"\n`,
  );
  expect(readFileSync(path, 'utf8')).toBe(
    `${before.replace('virtual_exec = "automatic"', 'virtual_exec = "hardware"')}sched.mem.max = "1000"\n`,
  );
  expect((await vm('list', '--verbose')).split('\n').slice(3)).toEqual([
    '',
    'File           Ignored key    Value   Reason',
    'db01/db01.vmx  sched.mem.max  "1000"  the host has memory for all its VMs: nothing is reclaimed',
    '',
  ]);
  expect(JSON.parse(await vm('list', '--json'))).toMatchObject([
    { vmid: 1, name: 'db01', mode: 'hv', memoryMib: 128, ignored: [{ key: 'sched.mem.max', value: '1000' }] },
    { vmid: 2, name: 'web01', mode: 'vmi', ignored: [] },
  ]);

  writeFileSync(`${lab}/web01/disk.img`, '');
  expect(await vm('delete', 'web01')).toBe(`${lab}/web01/web01.vmx: deleted; its folder still holds disk.img\n`);
  expect(await vm('delete', 'db01')).toBe(`${path}: deleted\n`);
  expect(readdirSync(lab)).toEqual(['web01']);
  expect(await vm('list')).toBe('Vmid  Name  File  Guest OS  Version  MB  Mode  Power  Annotation\n');
});

test('top runs what vm made, in the modes of the files', async () => {
  mkdirSync(lab);
  writeFileSync(`${lab}/spin.elf`, tinyImage([...print('round\n'), ...SPIN]));
  const modes = {
    a: [],
    b: ['monitor.virtual_exec=hardware'],
    c: ['vmi.present=TRUE', 'monitor.virtual_exec=hardware'],
    d: ['vmitop.native=TRUE'],
    e: ['vmitop.powerOn=FALSE'],
  };
  for (const [name, settings] of Object.entries(modes)) {
    await vm('create', name, 'memsize=16', 'vmitop.image=../spin.elf', ...settings);
  }
  writeFileSync(`${lab}/host.json`, '{ "pcpus": 8, "memoryMib": 1024 }');
  const { code, stdout, stderr } = await runCli(['top', '--inventory', lab, '-n', '1', '-d', '0.002']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const mode = (name: string) => new RegExp(`^ .* ${name} .* (\\S+) +(\\S+)$`, 'm').exec(stdout)?.slice(1);
  expect(Object.keys(modes).map(mode)).toEqual([
    ['BT', 'booting'],
    ['HV', 'booting'],
    // A guest that asks for no VMI runs under binary translation, whatever is wished for beside it.
    ['BT', 'booting'],
    ['native', 'booting'],
    ['(BT)', 'off'],
  ]);
});

test('boot runs one of them in the foreground, by the name of its file, with what its file says', async () => {
  await vm('create', 'web', 'displayName=web 01', 'vmi.present=TRUE', 'vmitop.start=getppid 1');
  // The image of a VM that is not booted is not looked for.
  await vm('create', 'db', 'vmitop.image=nowhere.elf');
  const { code, stdout, stderr } = await runCli(['boot', 'web', '--inventory', lab, '--until', 'iterations: ok']);
  expect(code).toBe(0);
  expect(stdout).toContain('Booting paravirtualized kernel on vmi');
  expect(stdout).toMatch(/# getppid 1\r?\n/);
  expect(stderr).toContain('VMI: activated');
  const log = readFileSync(`${lab}/web/vmware.log`, 'utf8');
  expect(log).toContain('vmx| Powered on: BT, VMI offered\n');
  expect(log).toContain('vmx| vmitop: start getppid\n');
});
