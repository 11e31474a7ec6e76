/** `vmitop boot` with hand-made guests: how it ends, and what goes where. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Sample } from '../../src/hypervisor/index.js';
import { linuxImage } from '../vm/linux-image.js';
import { runCli } from './run-cli.js';
import { POWER_OFF, print, SPIN, STACK, TRIPLE_FAULT, tinyImage } from './tiny-image.js';

let folder: string;
const file = (name: string): string => join(folder, name);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'vmitop-boot-'));
  writeFileSync(file('hello.elf'), tinyImage([...print('hello\n'), ...POWER_OFF]));
  writeFileSync(file('crash.elf'), tinyImage([...STACK, ...print('oh'), ...TRIPLE_FAULT]));
  const panic = '[    1.500000] Kernel panic - not syncing: no init\r\n[    1.6] CPU: 0\n';
  writeFileSync(file('panic.elf'), tinyImage([...print(panic), ...SPIN]));
  // mov ecx, 200000h; loop $; mov al, feh; out 64h, al: after a millisecond or so the keyboard controller's reset line.
  const reset = [0xb9, 0, 0, 0x20, 0, 0xe2, 0xfe, 0xb0, 0xfe, 0xe6, 0x64];
  writeFileSync(file('reset.elf'), tinyImage([...print('again\n'), ...reset, ...SPIN]));
  writeFileSync(file('vmlinuz'), linuxImage([0xf4]));
  writeFileSync(file('vmlinuz64'), linuxImage([0xf4], { extendedFlags: 1 }));
  writeFileSync(file('large.gz'), new Uint8Array(40 << 20));
  writeFileSync(file('half.img'), new Uint8Array(700));
  writeFileSync(file('disk.vmdk'), '# Disk DescriptorFile\nversion=1\n'.padEnd(512, ' '));
  writeFileSync(file('disk.img'), new Uint8Array(1024));
  writeFileSync(file('spin.elf'), tinyImage([...print('going round\n'), ...SPIN]));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.each(['native', 'bt', 'hv'])('in mode %s', mode => {
  test('0 when the guest powers off; its console is stdout', async () => {
    const { code, stdout, stderr } = await runCli(['boot', file('hello.elf'), '--mode', mode, '--quiet']);
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: 'hello\n', stderr: '' });
  });

  test('3 when it crashes, with the reason', async () => {
    const { code, stdout, stderr } = await runCli(['boot', file('crash.elf'), '--mode', mode, '--quiet']);
    expect({ code, stdout }).toEqual({ code: 3, stdout: 'oh' });
    expect(stderr).toMatch(/^vmitop: the guest crashed: .*triple fault.*\n$/i);
  });

  test('4 at the limit of virtual time, and the statistics say how far it came', async () => {
    const stats = file(`stats-${mode}.json`);
    const words = ['boot', file('spin.elf'), '--mode', mode, '--limit', '0.005', '--stats', stats, '--quiet'];
    const { code, stderr } = await runCli(words);
    expect(code).toBe(4);
    expect(stderr).toBe('vmitop: the limit of 0.005 s of virtual time is reached\n');
    const sample = JSON.parse(readFileSync(stats, 'utf8')) as Sample;
    expect(sample.atCycles / sample.cyclesPerSecond).toBeCloseTo(0.005, 3);
    const vm = sample.vms[0]!;
    expect(vm.mode).toBe(mode);
    const sum = Object.values(vm.causes).reduce((total, cycles) => total + cycles, 0);
    expect(sum).toBe(vm.chargedCycles);
    // Nothing but a jump to itself: the guest kernel's own cycles are nearly all there is.
    expect(vm.causes.guestKernel / vm.chargedCycles).toBeGreaterThan(0.9);
  });

  test('0 as soon as the text appears', async () => {
    const { code, stdout } = await runCli(['boot', file('spin.elf'), '--mode', mode, '--until', 'round', '--quiet']);
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'going round\n' });
  });
});

test('3 when its kernel panics, a virtual second later, with what it said', async () => {
  const { code, stdout, stderr } = await runCli(['boot', file('panic.elf'), '--mode', 'native', '--quiet']);
  expect(code).toBe(3);
  expect(stdout).toContain('CPU: 0');
  expect(stderr).toBe('vmitop: the guest crashed: kernel panic: no init\n');
});

test('3 when it resets itself for ever', async () => {
  const { code, stdout, stderr } = await runCli(['boot', file('reset.elf'), '--mode', 'native', '--quiet']);
  expect({ code, stdout }).toEqual({ code: 3, stdout: 'again\n'.repeat(5) });
  expect(stderr).toBe('vmitop: the guest crashed: it keeps resetting itself (5 times in a row)\n');
});

describe('2 and one line for what cannot be booted', () => {
  const cases: readonly (readonly [what: string, words: () => string[], line: () => string])[] = [
    [
      'a 64-bit kernel',
      () => [file('vmlinuz64')],
      () => `image ${file('vmlinuz64')}: is a 64-bit kernel, and this is a 32-bit machine`,
    ],
    [
      'an initrd larger than memory',
      () => [file('vmlinuz'), '--initrd', file('large.gz'), '--memory', '32'],
      () => `initrd ${file('large.gz')}: its 40 MiB do not fit beside kernel ${file('vmlinuz')} in a VM of 32 MiB`,
    ],
    ['no such initrd', () => [file('vmlinuz'), '--initrd', file('none')], () => `initrd ${file('none')}: no such file`],
    ['no such disk', () => [file('hello.elf'), '--disk', file('none')], () => `disk ${file('none')}: no such file`],
    [
      'a disk with half a sector',
      () => [file('hello.elf'), '--disk', file('half.img')],
      () => `disk ${file('half.img')}: must be whole sectors of 512 bytes, not 700 bytes`,
    ],
    [
      'the description of a disk',
      () => [file('hello.elf'), '--disk', file('disk.vmdk')],
      () => `disk ${file('disk.vmdk')}: only describes a disk: name the file that holds it (-flat.vmdk)`,
    ],
    [
      'too many disks',
      () => [file('hello.elf'), ...[1, 2, 3, 4, 5].flatMap(() => ['--disk', file('disk.img')])],
      () => 'VM "guest": has 5 disks, and 4 are the most',
    ],
    [
      'an initrd for a multiboot kernel',
      () => [file('hello.elf'), '--initrd', file('vmlinuz')],
      () => `image ${file('hello.elf')}: only Linux kernels take an initrd (${file('vmlinuz')})`,
    ],
  ];
  test.each(cases)('%s', async (_, words, line) => {
    const { code, stdout, stderr } = await runCli(['boot', ...words()]);
    expect({ code, stdout, stderr }).toEqual({ code: 2, stdout: '', stderr: `vmitop: ${line()}\n` });
  });
});

test('130 after SIGINT', async () => {
  const { code } = await runCli(['boot', file('spin.elf'), '--mode', 'native'], {
    onStdout: (text, kill) => {
      if (text.includes('round\n')) kill('SIGINT');
    },
  });
  expect(code).toBe(130);
});

test.each(['bt', 'hv', 'vmi'])('piped input reaches the shell of our own guest in mode %s', async mode => {
  const words = ['boot', 'guest', '--mode', mode, '--limit', '20', '--quiet'];
  const { code, stdout } = await runCli(words, { input: 'echo one; echo two\nhalt\n' });
  expect(code).toBe(0);
  expect(stdout.replaceAll('\r', '')).toMatch(/# echo one; echo two\none\ntwo\n# halt\n/);
});

test('a guest that was offered VMI says so in its boot messages', async () => {
  const words = ['boot', 'guest', '--quiet', '--until', 'Booting paravirtualized kernel on', '--limit', '20'];
  const [bt, vmi] = await Promise.all([runCli([...words, '--mode', 'bt']), runCli([...words, '--mode', 'vmi'])]);
  expect(bt.code).toBe(0);
  expect(bt.stdout).not.toContain('VMI: Found');
  expect(vmi.code).toBe(0);
  expect(vmi.stdout).toContain('VMI: Found');
});
