import { beforeAll, describe, expect, test } from 'vitest';
import {
  createHost,
  formatRecording,
  type Host,
  type HostConfig,
  type HostEvent,
  parseRecording,
  type Recording,
  RecordingWriter,
  recordingOf,
  UsageError,
  verifyRecording,
} from '../../src/hypervisor/index.js';
import { assemble } from '../../src/hypervisor/machine/cpu/assemble.js';
import { flatImage } from '../vm/images.js';

const LOAD = 0x100000;
/** Works for a while, says so, and starts over; the constant is what a test changes. */
const worker = (loops: number) =>
  flatImage(
    assemble(
      LOAD + 32,
      `main: mov ecx, ${loops}
       loop1: wbinvd
       dec ecx
       jnz loop1
       mov edx, 0x3f8
       mov al, 46
       out dx, al
       jmp main`,
    ).bytes,
    LOAD,
  );

const images = { worker: worker(100) };
const config: HostConfig = {
  name: 'test',
  pcpus: 2,
  memoryMib: 64,
  costs: 'xeon-5160',
  images,
  vms: [
    { name: 'one', memoryMib: 4, monitor: 'native', vmi: false, image: 'worker', append: 'a', powerOn: true },
    { name: 'two', memoryMib: 4, monitor: 'native', vmi: false, image: 'worker', append: 'b', powerOn: false },
  ],
  sampleIntervalMs: 5,
};

function session(): Host {
  const host = createHost(config);
  host.advance(12 * host.quantumCycles);
  host.execute({ kind: 'powerOn', vm: 'two' });
  host.execute({ kind: 'powerOff', vm: 'nobody' });
  host.advance(31 * host.quantumCycles);
  host.execute({ kind: 'setSampleInterval', ms: 3 });
  host.execute({ kind: 'reset', vm: 'one' });
  host.advance(50 * host.quantumCycles);
  return host;
}

describe('a recording', () => {
  let recording: Recording;
  let text: string;
  beforeAll(() => {
    recording = recordingOf(session());
    text = formatRecording(recording, images);
  });

  test('holds what was accepted, and every sample', () => {
    expect(recording.commands.map(({ command }) => command.kind)).toEqual(['powerOn', 'setSampleInterval', 'reset']);
    // Every 5 ms to 31 ms, every 3 ms from there to 50 ms.
    expect(recording.samples).toHaveLength(6 + 6);
  });

  test('verifies', () => {
    expect(verifyRecording(recording, images)).toEqual({ identical: true, samples: 12, commands: 3, differences: [] });
  });

  test('survives its text form', () => {
    expect(parseRecording(text, 'x')).toEqual(recording);
  });

  test('is the same text when it is written while the session goes on', () => {
    const host = createHost(config);
    const writer = new RecordingWriter();
    const lines = [writer.header(config)];
    let logged = 0;
    for (const { atCycles, command } of [
      ...recording.commands,
      { atCycles: recording.endCycles, command: undefined },
    ]) {
      while (host.nowCycles < atCycles) {
        host.advance(host.nowCycles + host.quantumCycles);
        for (const sample of host.drainSamples()) lines.push(writer.sample(sample));
      }
      if (command !== undefined) host.execute(command);
      for (; logged < host.commandLog.length; logged++) lines.push(writer.command(host.commandLog[logged]!));
    }
    lines.push(writer.end(host.nowCycles));
    expect(`${lines.join('\n')}\n`).toBe(text);
  });

  test('does not verify after one price has changed, and says which and where', () => {
    const result = verifyRecording(recording, images, { costOverrides: { portIo: 3001 } });
    expect(result.identical).toBe(false);
    expect(result.differences).toEqual([expect.stringMatching(/^cost profile "xeon-5160" is not the recorded one/)]);
    expect(result.divergence).toMatchObject({ sequence: 0, path: expect.stringMatching(/^vms\[one\]\./) });
    expect(result.divergence!.atSeconds).toBe(0.005);
    expect(result.divergence!.recorded).not.toBe(result.divergence!.replayed);
  });

  test('does not verify with another image', () => {
    const result = verifyRecording(recording, { worker: worker(101) });
    expect(result.identical).toBe(false);
    expect(result.differences).toEqual([expect.stringMatching(/^image "worker" is not the recorded one/)]);
    expect(result.divergence!.path).toMatch(/^vms\[/);
    expect(() => verifyRecording(recording, {})).toThrow(/needs the image "worker"/);
  });

  test('a sample that was changed is found by its field', () => {
    const samples = recording.samples.slice();
    const sample = JSON.parse(samples[7]!);
    sample.vms[1].counters.instructions += 1;
    samples[7] = JSON.stringify(sample);
    const result = verifyRecording({ ...recording, samples }, images);
    expect(result.samples).toBe(7);
    expect(result.divergence).toMatchObject({ sequence: 7, path: 'vms[two].counters.instructions' });
  });

  test('a missing sample, an extra one and a refused command are divergences', () => {
    const without = { ...recording, samples: recording.samples.slice(0, -1) };
    expect(verifyRecording(without, images).divergence).toMatchObject({ path: 'sample', recorded: 'nothing' });
    const more = { ...recording, samples: [...recording.samples, recording.samples[0]!] };
    expect(verifyRecording(more, images).divergence).toMatchObject({ path: 'sample', replayed: 'nothing' });
    const commands = [{ atCycles: 0, command: { kind: 'powerOn', vm: 'one' } as const }];
    expect(verifyRecording({ ...recording, commands }, images).divergence).toMatchObject({
      path: 'command powerOn',
      replayed: 'refused: one is on already',
    });
  });

  test('holds events, which verifying does not ask for', () => {
    const events: HostEvent[] = [
      { kind: 'power', atCycles: 5, vm: 'one', state: 'on', reason: 'native' },
      { kind: 'console', atCycles: recording.commands[0]!.atCycles, vm: 'one', text: '.' },
    ];
    const written = formatRecording({ ...recording, events }, images);
    expect(parseRecording(written, 'x')).toEqual({ ...recording, events });
    const lines = written.split('\n').map(line => line.slice(0, 20));
    // The console's text came of the command of the same cycle.
    expect(lines.slice(1, 6).map(line => /"kind":"(\w+)/.exec(line)![1])).toEqual([
      ...['event', 'sample', 'sample', 'command', 'event'],
    ]);
    expect(verifyRecording({ ...recording, events }, images)).toMatchObject({ identical: true, samples: 12 });
  });

  describe('that was not ended, where it is taken for what it holds', () => {
    const taken = (lines: string[]) => parseRecording(lines.join('\n'), 'x', { cutOff: 'taken' });
    const whole = () => text.trimEnd().split('\n');

    test('has everything up to its last whole line, and says what is missing', () => {
      const lines = whole().slice(0, -3);
      const cut = taken([...lines.slice(0, -1), lines.at(-1)!.slice(0, -1)]);
      expect(cut.cutOff).toBe(`recording x:${lines.length}: is cut off in the middle`);
      const held = cut.samples.length;
      expect(cut.samples).toEqual(recording.samples.slice(0, held));
      expect(held + cut.commands.length).toBe(lines.length - 2);
      expect(cut.endCycles).toBe(JSON.parse(cut.samples.at(-1)!).atCycles);
    });

    test('misses nothing but its end', () => {
      const { cutOff, ...rest } = taken(whole().slice(0, -1));
      expect(cutOff).toMatch(/without the end of its session$/);
      expect(rest).toEqual({ ...recording, endCycles: rest.endCycles });
      expect(taken(whole())).not.toHaveProperty('cutOff');
    });

    test('is still refused where it is damaged before its end, and without a whole first line', () => {
      const lines = whole();
      expect(() => taken(lines.map((line, i) => (i === 2 ? line.slice(0, 50) : line)))).toThrow(
        /^recording x:3: is not JSON$/,
      );
      expect(() => taken([lines[0]!.slice(0, 50)])).toThrow(UsageError);
    });
  });

  const broken: readonly (readonly [string, (lines: string[]) => string[], RegExp])[] = [
    ['empty', () => [], /^recording x: is empty$/],
    ['another file', () => ['hello'], /^recording x:1: is /],
    [
      'another version',
      lines => [lines[0]!.replace('"version":1', '"version":2'), ...lines.slice(1)],
      /^recording x:1: version: /,
    ],
    ['cut off', lines => [...lines.slice(0, 4), lines[4]!.slice(0, 50)], /^recording x:5: is cut off in the middle$/],
    ['without its end', lines => lines.slice(0, -1), /without the end of its session$/],
    [
      'edited',
      lines => lines.map((line, i) => (i === 2 ? line.replace('"sequence":1', '"sequence":9') : line)),
      /^recording x:3: does not fit its hash/,
    ],
    ['with a line taken out', lines => lines.filter((_, i) => i !== 3), /^recording x:4: does not fit its hash/],
    [
      'with an unknown command',
      lines => [lines[0]!, '{"kind":"command","atCycles":0,"command":{"kind":"explode"},"hash":""}'],
      /^recording x:2: command/,
    ],
  ];
  test.each(broken)('%s: one line that says where', (_, damage, reason) => {
    const lines = damage(text.trimEnd().split('\n'));
    const damaged = lines.length === 0 ? '' : `${lines.join('\n')}\n`;
    expect(() => parseRecording(damaged, 'x')).toThrow(UsageError);
    expect(() => parseRecording(damaged, 'x')).toThrow(reason);
    expect(() => parseRecording(damaged, 'x')).toThrow(/^[^\n]*$/);
  });
});
