/** Bad input gets one line that names what and why, and exit code 2. */

import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LAUNCHER, ROOT, runCli } from './run-cli.js';
import { POWER_OFF, tinyImage } from './tiny-image.js';

let folder: string;
const file = (name: string): string => join(folder, name);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'vmitop-bad-'));
  const guest = readFileSync(`${ROOT}fixtures/guest.elf`);
  writeFileSync(file('empty.elf'), '');
  writeFileSync(file('text.elf'), 'this is no kernel\n'.repeat(100));
  writeFileSync(file('header-only.elf'), guest.subarray(0, 40));
  writeFileSync(file('truncated.elf'), guest.subarray(0, guest.length >> 1));
  writeFileSync(file('bios.bin'), new Uint8Array(65536));
  writeFileSync(file('no-multiboot.elf'), tinyImage(POWER_OFF, { magic: 0x12345678 }));
  writeFileSync(file('no-json.json'), '{ "vms": [');
  writeFileSync(file('no-vms.json'), '{}');
  writeFileSync(file('unknown-field.json'), '{ "vms": [{ "name": "a", "colour": "red" }] }');
  writeFileSync(file('twice.json'), '{ "vms": [{ "name": "a" }, { "name": "a" }] }');
  writeFileSync(file('native-vmi.json'), '{ "vms": [{ "name": "a", "monitor": "native", "vmi": true }] }');
  writeFileSync(file('monitor.json'), '{ "vms": [{ "name": "a", "monitor": "qemu" }] }');
  writeFileSync(file('no-image.json'), '{ "vms": [{ "name": "a", "image": "nowhere.elf" }] }');
  writeFileSync(file('bad-image.json'), JSON.stringify({ vms: [{ name: 'a', image: file('text.elf') }] }));
  writeFileSync(file('costs.json'), '{ "costs": "8086", "vms": [{ "name": "a" }] }');
  mkdirSync(file('empty-lab'));
  mkdirSync(file('lab/web'), { recursive: true });
  writeFileSync(file('lab/web/web.vmx'), '# first\nmemsize = "63"\n');
  writeFileSync(file('empty.rec'), '');
  writeFileSync(file('text.rec'), 'not a recording\n');
  writeFileSync(file('other.rec'), '{"some":"json"}\n');
  writeFileSync(file('verb.script'), 'at 0 explode web01\n');
  writeFileSync(file('ghost.script'), 'when ghost idle end\n');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Words with `@name` for a file of the test's folder, what the line must name, and what it must say. */
const CASES: readonly [words: string, ...says: string[]][] = [
  ['frobnicate', 'frobnicate'],
  ['boot', 'vmitop boot --help'],
  ['boot --rom @text.elf', '@text.elf', '64, 128 or 256 KiB'],
  ['boot --rom @nowhere.bin', '@nowhere.bin', 'no such file'],
  ['boot --rom @bios.bin --mode bt', '--rom', 'real mode'],
  ['boot guest --rom @bios.bin', '--rom', 'guest'],
  ['boot guest --colour red', 'colour'],
  ['boot guest extra', 'extra'],
  ['boot @nowhere.elf', '@nowhere.elf', 'no such file'],
  ['boot .', 'image .', 'is a directory'],
  ['boot @empty.elf', '@empty.elf'],
  ['boot @text.elf', '@text.elf'],
  ['boot @header-only.elf', '@header-only.elf'],
  ['boot @truncated.elf', '@truncated.elf'],
  ['boot @no-multiboot.elf', '@no-multiboot.elf', 'multiboot'],
  ['boot guest --mode kvm', 'kvm', 'native, bt, hv, vmi'],
  ['boot guest --memory 1', '--memory'],
  ['boot guest --memory lots', '--memory', 'lots'],
  ['boot guest --limit never', '--limit', 'never'],
  ['boot guest --limit 0', '--limit'],
  ['boot guest --speed warp', '--speed', 'warp'],
  ['boot guest --cost vmmEntry', '--cost', 'NAME=CYCLES'],
  ['boot guest --cost coffee=3', 'coffee'],
  ['boot guest --mode', 'mode'],
  ['boot guest --stats @nowhere/stats.json', '--stats', '@nowhere/stats.json'],
  ['boot --inventory @lab', 'name a VM'],
  ['boot web --inventory @lab', '@lab/web/web.vmx:2', 'memsize'],
  ['boot web --inventory @no-image.json', '@no-image.json', 'no VM is called "web"'],
  ['boot a --inventory @no-image.json', 'nowhere.elf', 'no such file'],
  ['boot a --inventory @no-image.json --memory 64', '--memory', 'the inventory says that of a'],
  ['bench coffee', 'coffee', 'getppid'],
  ['bench getppid --modes native,xen', 'xen'],
  ['bench getppid --cost coffee=3', 'coffee'],
  ['bench getppid --json @nowhere/out.json', '--json'],
  ['top --inventory @nowhere.json', '@nowhere.json', 'no such file'],
  ['top --inventory @no-json.json', '@no-json.json', 'JSON'],
  ['top --inventory @no-vms.json', '@no-vms.json', 'vms'],
  ['top --inventory @unknown-field.json', '@unknown-field.json', 'colour'],
  ['batch -d 1 -n 1 -d 2', '-d', 'is given more than once'],
  ['top --inventory @twice.json', '@twice.json', 'twice'],
  ['top --inventory @native-vmi.json', '@native-vmi.json', 'vmi'],
  ['top --inventory @monitor.json', '@monitor.json', 'monitor'],
  ['top --inventory @no-image.json', 'nowhere.elf', 'no such file'],
  ['top --inventory @bad-image.json', '@text.elf'],
  ['top --inventory @costs.json', '@costs.json', 'costs'],
  ['top --inventory @empty-lab', '@empty-lab', '0 VMs'],
  ['top --inventory @lab', '@lab/web/web.vmx:2', 'memsize', 'multiple of 4', '"63"'],
  ['record @out.rec --inventory @lab --script @ghost.script', '@lab/web/web.vmx:2'],
  ['vm', 'vmitop vm --help'],
  ['vm list', 'inventory'],
  ['vm list --inventory @nowhere', '@nowhere', 'must be a folder'],
  ['vm list --inventory @twice.json', '@twice.json', 'must be a folder'],
  ['vm list web --inventory @lab', 'web'],
  ['vm list --inventory @lab', '@lab/web/web.vmx:2', 'memsize'],
  ['vm explode web --inventory @lab', 'explode', 'list, create, set, start, stop, reset, suspend, resume, delete'],
  ['vm create --inventory @lab', 'vm create', 'name the VM'],
  ['vm create web --inventory @lab', '@lab/web/web.vmx', 'is there already'],
  ['vm create a/b --inventory @lab', 'a/b', '1 to 32 letters'],
  ['vm create new memsize=1 --inventory @lab', '@lab/new/new.vmx:6', 'memsize', '"1"'],
  ['vm set web --inventory @lab', 'vm set', 'KEY=VALUE'],
  ['vm set web memsize --inventory @lab', 'memsize', 'KEY=VALUE'],
  ['vm set web numvcpus=2 --inventory @lab', '@lab/web/web.vmx:2', 'memsize'],
  ['vm set web memsize=64 numvcpus=2 --inventory @lab', '@lab/web/web.vmx:3', 'numvcpus', 'not built'],
  ['vm set web vmitop.kernel=x memsize=64 --inventory @lab', '@lab/web/web.vmx:3', 'vmitop.kernel', 'vmitop.image'],
  ['vm set ghost memsize=64 --inventory @empty-lab', '@empty-lab', 'ghost'],
  ['vm delete ghost --inventory @empty-lab', '@empty-lab', 'ghost'],
  ['vm delete web now --inventory @lab', 'now'],
  ['top --delay 0', '--delay'],
  ['top --iterations 0', '--iterations'],
  ['record', 'vmitop record --help'],
  ['record @out.rec --script @nowhere.script', '@nowhere.script', 'no such file'],
  ['record @out.rec --script @verb.script', '@verb.script:1', 'explode'],
  ['record @out.rec --script @ghost.script', '@ghost.script:1', 'ghost'],
  ['record @nowhere/out.rec', '@nowhere/out.rec'],
  ['verify @nowhere.rec', '@nowhere.rec', 'no such file'],
  ['verify @empty.rec', '@empty.rec'],
  ['verify @text.rec', '@text.rec'],
  ['verify @other.rec', '@other.rec'],
];

describe.concurrent('one line, exit code 2', () => {
  test.each(CASES)('vmitop %s', async (words, ...says) => {
    const place = (word: string) => (word.startsWith('@') ? file(word.slice(1)) : word);
    const { code, stdout, stderr } = await runCli(words.split(' ').map(place));
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/^vmitop: [^\n]+\n$/);
    for (const text of says) expect(stderr).toContain(text.replace('@', text.startsWith('@') ? `${folder}/` : '@'));
  });
});

test('whatever was refused, the .vmx file is as it was', () => {
  expect(readFileSync(file('lab/web/web.vmx'), 'utf8')).toBe('# first\nmemsize = "63"\n');
  expect(readdirSync(file('lab'))).toEqual(['web']);
  expect(readdirSync(file('lab/web'))).toEqual(['web.vmx']);
});

test('a boot that cannot start leaves no statistics file behind', async () => {
  await runCli(['boot', file('text.elf'), '--stats', file('stats.json')]);
  expect(() => readFileSync(file('stats.json'))).toThrow();
});

test.each(['top', 'boot', 'bench', 'record', 'verify', 'vm', ''])(
  'vmitop %s --help shows examples and ends with 0',
  async command => {
    const { code, stdout, stderr } = await runCli([...(command ? [command] : []), '--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('Examples:');
    expect(stdout).toContain('--help');
  },
);

test('--version is the package’s', async () => {
  const { version } = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8')) as { version: string };
  expect((await runCli(['--version'])).stdout).toBe(`${version}\n`);
});

test('without dist/ the launcher says what to do', () => {
  mkdirSync(file('lonely/bin'), { recursive: true });
  copyFileSync(LAUNCHER, file('lonely/bin/vmitop.mjs'));
  const { status, stderr } = spawnSync(process.execPath, [file('lonely/bin/vmitop.mjs')], { encoding: 'utf8' });
  expect(status).toBe(2);
  expect(stderr).toBe('vmitop: dist/ is missing: run `npm run build` first\n');
});
