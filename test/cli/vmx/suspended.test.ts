/** Files of suspended VMs, and the console's door. */
import {
  existsSync,
  linkSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { hostConfig, inventoryOf } from '../../../src/cli/inventory.js';
import { askConsole, Door } from '../../../src/cli/vmx/door.js';
import { createVm, deleteVm, openFolder, setInVm } from '../../../src/cli/vmx/folder.js';
import { readState, SuspendedFiles, stateFileOf, writeState } from '../../../src/cli/vmx/suspended.js';
import {
  type Command,
  type CommandResult,
  createHost,
  type HostEvent,
  type PowerState,
  type Sample,
} from '../../../src/hypervisor/index.js';
import { Tui } from '../../tui/pty-screen.js';
import { LAUNCHER, runCli } from '../run-cli.js';

let lab: string;
let tui: Tui | undefined;
beforeEach(() => {
  lab = mkdtempSync(join(tmpdir(), 'vmitop-suspended-'));
  createVm(lab, 'web01', []);
});
afterEach(() => {
  tui?.close();
  tui = undefined;
  rmSync(lab, { recursive: true, force: true });
});

const STATE = Uint8Array.from({ length: 100_000 }, (_, i) => (i >> 8) ^ (i * 7));
const fileOf = () => openFolder(lab).vms[0]!;
const power = (state: PowerState): HostEvent => ({ kind: 'power', atCycles: 0, vm: 'web01', state, reason: '' });

async function keep(states: readonly PowerState[], state = STATE): Promise<string> {
  let said = '';
  const files = new SuspendedFiles(openFolder(lab));
  for (const each of states) {
    files.take({ events: [power(each)], suspended: each === 'suspended' ? [{ vm: 'web01', state }] : [] });
  }
  const stderr = { write: (text: string) => (said += text) };
  await files.finish({ stderr } as never);
  return said;
}

test('a suspended VM is a file from the suspension until it goes on or is switched off', async () => {
  const path = stateFileOf(fileOf());
  expect(path).toBe(join(lab, 'web01', 'web01.vmss'));
  expect(await keep(['on', 'suspended'])).toBe('');
  expect(readState(path)).toEqual(STATE);
  expect(inventoryOf(openFolder(lab)).vms[0]).toMatchObject({ suspended: path });
  expect(() => setInVm(lab, fileOf(), [['memsize', '32']])).toThrow('the VM is suspended');
  for (const last of ['on', 'off'] as const) {
    expect(await keep(['suspended', last])).toBe('');
    expect(existsSync(path)).toBe(false);
  }
  expect(inventoryOf(openFolder(lab)).vms[0]).not.toHaveProperty('suspended');
  // The last word counts, however long compressing takes.
  await keep(['suspended', 'on', 'suspended']);
  expect(readState(path)).toEqual(STATE);
  expect(deleteVm(fileOf())).toEqual([]);
});

test('a file that is cut off, changed, foreign or cannot be written is one line', async () => {
  const path = stateFileOf(fileOf());
  await keep(['suspended']);
  const whole = readFileSync(path);
  truncateSync(path, whole.length - 1);
  expect(() => readState(path)).toThrow(`${path}: is cut off or damaged`);
  writeFileSync(path, Buffer.concat([whole.subarray(0, -1), Buffer.of(whole.at(-1)! ^ 1)]));
  expect(() => readState(path)).toThrow(`${path}: is cut off or damaged`);
  writeFileSync(path, 'something else');
  expect(() => readState(path)).toThrow(`${path}: is no suspended VM`);
  rmSync(path);
  expect(() => readState(path)).toThrow(`${path}: no such file`);
  rmSync(join(lab, 'web01', 'web01.vmx'));
  createVm(lab, 'gone', []);
  const files = new SuspendedFiles(openFolder(lab));
  rmSync(join(lab, 'gone'), { recursive: true });
  let said = '';
  files.take({
    events: [{ ...power('suspended'), vm: 'gone' } as HostEvent],
    suspended: [{ vm: 'gone', state: STATE }],
  });
  await files.finish({ stderr: { write: (text: string) => (said += text) } } as never);
  expect(said).toBe(`vmitop: ${join(lab, 'gone', 'gone.vmss')}: no such file\n`);
});

const sessionOf = (commands: Command[], answer: CommandResult = { ok: true }) => ({
  execute: (command: Command) => {
    commands.push(command);
    return Promise.resolve(answer);
  },
  latest: () => ({ vms: [{ name: 'web01', power: 'suspended' }] }) as unknown as Sample,
});

test('the door passes commands on, says what the VMs do, and refuses what is no request', async () => {
  expect(await askConsole(lab, { kind: 'states' })).toBeUndefined();
  const commands: Command[] = [];
  const door = (await Door.open(lab, sessionOf(commands))) as Door;
  expect(statSync(join(lab, '.vmitop.sock')).mode & 0o777).toBe(0o600);
  expect(await askConsole(lab, { kind: 'states' })).toEqual({ ok: true, states: { web01: 'suspended' } });
  expect(await askConsole(lab, { kind: 'resume', vm: 'web01' })).toEqual({ ok: true });
  expect(commands).toEqual([{ kind: 'resume', vm: 'web01' }]);
  const raw = (text: string) =>
    new Promise<string>(resolve => {
      const socket = createConnection(join(lab, '.vmitop.sock'), () => socket.write(text));
      let answer = '';
      socket.on('data', piece => {
        answer += piece;
      });
      socket.on('close', () => resolve(answer));
    });
  for (const text of ['hello\n', '{"kind":"removeVm","vm":"web01"}\n', '{"kind":"reset"}\n'])
    expect(JSON.parse(await raw(text))).toEqual({ ok: false, reason: 'the request is none' });
  expect(await raw('x'.repeat(2000))).toBe('');
  expect(commands).toHaveLength(1);
  expect(await Door.open(lab, sessionOf([]))).toContain('another console has it open');
  await door.close();
  expect(existsSync(join(lab, '.vmitop.sock'))).toBe(false);
});

test('a socket that nobody listens to is replaced, and a folder too deep has none', async () => {
  const path = join(lab, '.vmitop.sock');
  const dead = createServer();
  await new Promise<void>(resolve => dead.listen(join(lab, 'dead.sock'), resolve));
  // What a killed process leaves behind: the file outlives its listener.
  linkSync(join(lab, 'dead.sock'), path);
  await new Promise(resolve => dead.close(resolve));
  expect(existsSync(path)).toBe(true);
  const door = await Door.open(lab, sessionOf([], { ok: false, reason: 'because' }));
  expect(door).toBeInstanceOf(Door);
  expect(await askConsole(lab, { kind: 'reset', vm: 'web01' })).toEqual({ ok: false, reason: 'because' });
  await (door as Door).close();
  expect(await Door.open(join(lab, 'x'.repeat(100)), sessionOf([]))).toContain('too long for a socket');
});

test('a VM is suspended in one console and goes on in the next', { timeout: 60_000 }, async () => {
  const vm = async (...words: string[]) => {
    const { code, stdout, stderr } = await runCli(['vm', ...words, '--inventory', lab]);
    return [code, stdout, stderr];
  };
  expect(await vm('suspend', 'web01')).toEqual([2, '', expect.stringContaining(`no console has ${lab} open`)]);
  const open = async (text: string | RegExp) => {
    tui = new Tui(process.execPath, [LAUNCHER, '--inventory', lab], { cols: 110, rows: 24 });
    await tui.until(text, { timeoutMs: 30_000 });
    return tui;
  };
  let console = await open(/web01 .* BT +idle/);
  expect(await vm('suspend', 'web01')).toEqual([0, 'suspend() = 1\n', '']);
  await console.until(/web01 .* suspended/);
  expect((await vm('list'))[1]).toMatch(/^1 +web01 .* suspended/m);
  expect(await vm('suspend', 'web01')).toEqual([2, '', 'vmitop: vm suspend: web01 is suspended\n']);
  console.send('q');
  expect((await console.exited).exitCode).toBe(0);
  expect((await vm('list'))[1]).toMatch(/^1 +web01 .* suspended/m);
  console = await open(/web01 .* suspended/);
  console.send('p');
  await console.until(/Power of web01 \(suspended\)[\s\S]*resume[\s\S]*discard/);
  console.send('\x1b');
  expect(await vm('start', 'web01')).toEqual([0, 'start() = 1\n', '']);
  await console.until(/web01 .* BT +idle/);
  console.send('p');
  await console.until(/Power of web01 \(on\)[\s\S]*suspend/);
  console.send('\x1b');
  expect(await vm('stop', 'web01')).toEqual([0, 'stop() = 1\n', '']);
  await console.until(/web01 .* \(BT\) +off/);
  console.send('q');
  expect((await console.exited).exitCode).toBe(0);
  expect(existsSync(join(lab, 'web01', 'web01.vmss'))).toBe(false);
});

test('a recording that begins with a suspended VM has a copy of it, and can be repeated', {
  timeout: 60_000,
}, async () => {
  const host = createHost(hostConfig(inventoryOf(openFolder(lab)), 1000));
  const second = host.cyclesPerSecond;
  host.advance(0.02 * second);
  expect(host.execute({ kind: 'suspend', vm: 'web01' })).toEqual({ ok: true });
  await writeState(stateFileOf(fileOf()), host.suspendedState('web01')!);
  const [recording, script] = [join(lab, 'session.rec'), join(lab, 'script')];
  writeFileSync(script, 'at 5 resume web01\nat 400 end\n');
  const words = ['record', recording, '--inventory', lab, '--script', script, '-d', '0.1'];
  expect(await runCli(words)).toMatchObject({ code: 0, stderr: '' });
  // As when a console lets it go on.
  rmSync(stateFileOf(fileOf()));
  expect(readState(`${recording}.web01.vmss`)).toEqual(host.suspendedState('web01'));
  expect(await runCli(['verify', recording])).toMatchObject({ code: 0, stdout: 'identical: 4 samples, 1 commands\n' });
  const replayed = await runCli(['replay', recording]);
  expect(replayed.stdout).toMatch(/web01 .* idle/);
  truncateSync(`${recording}.web01.vmss`, 1000);
  expect(await runCli(['verify', recording])).toMatchObject({ code: 2, stdout: '' });
});
