/** The host in its worker thread, seen from the near end. Runs from sources, through the worker's bootstrap. */
import { afterEach, describe, expect, test } from 'vitest';
import { type HostConfig, MonitorBug, UsageError, type VmConfig } from '../../src/hypervisor/index.js';
import { HostSession, type SessionOptions } from '../../src/session/client.js';
import type { Progress } from '../../src/session/protocol.js';
import { POWER_OFF, print, SPIN, tinyImage } from '../cli/tiny-image.js';

const vm = (name: string, image: string, powerOn = true): VmConfig => ({
  name,
  memoryMib: 8,
  monitor: 'native',
  vmi: false,
  image,
  append: '',
  powerOn,
});

const config = (...vms: VmConfig[]): HostConfig => ({
  name: 'esx',
  pcpus: 2,
  memoryMib: 512,
  costs: 'xeon-5160',
  images: {
    hello: tinyImage([...print('hello\n'), ...POWER_OFF]),
    spin: tinyImage([...print('round and round\n'), ...SPIN]),
  },
  vms,
  sampleIntervalMs: 5,
});

let session: HostSession | undefined;
const open = async (options: SessionOptions): Promise<HostSession> => {
  session = new HostSession(options);
  await session.ready;
  return session;
};
afterEach(() => session?.close());

/** Resolves when `holds` does, at one of the session's changes. */
const until = (subject: HostSession, holds: () => boolean): Promise<void> =>
  new Promise((resolve, reject) => {
    const check = (): void => {
      if (subject.error()) reject(subject.error());
      else if (!holds()) return;
      stop();
      resolve();
    };
    const stop = subject.subscribe(check);
    check();
  });

describe('a session', () => {
  test('asks whoever keeps configurations first: a refusal is the answer, and the host learns nothing', async () => {
    const asked: string[] = [];
    const commands: string[] = [];
    const subject = await open({
      config: config(vm('a', 'hello', false)),
      keep: command => {
        asked.push(command.kind);
        return command.kind === 'setVmi' ? { ok: false, reason: 'the disk is full' } : { ok: true };
      },
      onProgress: progress => commands.push(...progress.commands.map(({ command }) => command.kind)),
    });
    expect(await subject.execute({ kind: 'setVmi', vm: 'a', enabled: false })).toEqual({
      ok: false,
      reason: 'the disk is full',
    });
    expect(await subject.execute({ kind: 'setSampleInterval', ms: 5 })).toEqual({ ok: true });
    await subject.close();
    expect(asked).toEqual(['setVmi', 'setSampleInterval']);
    expect(commands).toEqual(['setSampleInterval']);
  });

  test('brings samples, events and console text', async () => {
    const subject = await open({ config: config(vm('a', 'hello')), pace: 'max' });
    await until(subject, () => subject.events().some(event => event.kind === 'power' && event.state === 'off'));
    expect(subject.consoleText('a')).toBe('hello\n');
    expect(subject.consoleText('nobody')).toBe('');
    await until(subject, () => subject.previous() !== undefined);
    const [before, now] = [subject.previous()!, subject.latest()!];
    expect(now.atCycles).toBeGreaterThan(before.atCycles);
    expect(now.vms[0]).toMatchObject({ name: 'a', power: 'off', mode: 'native' });
    expect(subject.events().some(event => event.kind === 'console')).toBe(false);
    expect(subject.speed()).toBeGreaterThan(0);
  });

  test('answers commands while a guest keeps the host busy', async () => {
    const subject = await open({ config: config(vm('a', 'spin'), vm('b', 'hello', false)) });
    await until(subject, () => subject.consoleText('a') !== '');
    expect(await subject.execute({ kind: 'powerOn', vm: 'b' })).toEqual({ ok: true });
    expect(await subject.execute({ kind: 'powerOn', vm: 'ghost' })).toMatchObject({ ok: false });
    await until(subject, () => subject.consoleText('b') === 'hello\n');
  });

  test('refresh brings the state of now, without waiting for the interval', async () => {
    const lazy = { ...config(vm('a', 'hello')), sampleIntervalMs: 3_600_000 };
    const subject = await open({ config: lazy });
    expect(subject.latest()).toBeUndefined();
    subject.refresh();
    await until(subject, () => subject.latest() !== undefined);
    expect(subject.latest()!.vms[0]!.name).toBe('a');
  });

  test('hands everything over, in order and once, to whoever records', async () => {
    const heard: Progress[] = [];
    const subject = await open({
      config: config(vm('a', 'hello')),
      pace: 'max',
      onProgress: progress => heard.push(progress),
    });
    await until(subject, () => subject.consoleText('a') !== '');
    await subject.execute({ kind: 'setSampleInterval', ms: 7 });
    await until(subject, () => heard.reduce((sum, { samples }) => sum + samples.length, 0) > 50);
    await subject.close();
    const sequences = heard.flatMap(({ samples }) => samples.map(({ sequence }) => sequence));
    expect(sequences).toEqual(sequences.map((_, index) => sequences[0]! + index));
    const commands = heard.flatMap(progress => progress.commands);
    expect(commands.map(({ command }) => command)).toEqual([{ kind: 'setSampleInterval', ms: 7 }]);
    const intervals = heard
      .flatMap(({ samples }) => samples)
      .filter(({ atCycles }) => atCycles > commands[0]!.atCycles);
    expect(intervals[1]!.atCycles - intervals[0]!.atCycles).toBe(7 * 3_000_000);
    // The last word is spoken after the last quantum.
    expect(heard.at(-1)!.nowCycles).toBeGreaterThanOrEqual(heard.at(-1)!.samples.at(-1)?.atCycles ?? 0);
  });

  test('a paced session keeps to real time', async () => {
    const subject = await open({ config: config(vm('a', 'hello')), pace: 1 });
    await new Promise(resolve => setTimeout(resolve, 600));
    const seconds = subject.nowCycles() / 3e9;
    expect(seconds).toBeGreaterThan(0.1);
    expect(seconds).toBeLessThan(1.5);
    expect(subject.speed()).toBeLessThan(1.2);
  });

  test('a configuration that cannot be used is the user’s error here, too', async () => {
    const bad = config(vm('a', 'nowhere'));
    await expect(new HostSession({ config: bad }).ready).rejects.toThrow(UsageError);
    await expect(new HostSession({ config: bad }).ready).rejects.toThrow('nowhere');
    await expect(new HostSession({ config: bad }).ready).rejects.not.toThrow(MonitorBug);
  });

  test('is asked for translations, beside commands', async () => {
    const subject = await open({ config: config(vm('a', 'spin')) });
    const [command, code, nobody] = await Promise.all([
      subject.execute({ kind: 'setVmi', vm: 'a', enabled: false }),
      subject.disassemble('a', 0x100000),
      subject.disassemble('b', 0x100000),
    ]);
    expect(command).toEqual({ ok: true });
    expect(code).toEqual({ ok: false, reason: expect.stringMatching(/^a runs natively: .* nothing is translated$/) });
    expect(nobody).toEqual({ ok: false, reason: 'no VM is called "b"' });
  });

  test('is asked for text screens', async () => {
    const subject = await open({ config: config(vm('a', 'spin')) });
    const [screen, nobody] = await Promise.all([subject.screen('a'), subject.screen('b')]);
    expect(screen).toMatchObject({ ok: true, cursor: { row: 1, column: 0 } });
    expect(nobody).toEqual({ ok: false, reason: 'no VM is called "b"' });
  });

  test('after close nothing runs, and commands are refused', async () => {
    const subject = await open({ config: config(vm('a', 'spin')) });
    await subject.close();
    await subject.close();
    await expect(subject.execute({ kind: 'reset', vm: 'a' })).rejects.toThrow('closed');
    expect(subject.failure()).toBeUndefined();
  });
});
