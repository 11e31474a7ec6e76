/**
 * A recording of two VMs, one translated and one paravirtualized, is the same byte for byte whichever way the engine works: never
 * compiling, compiling at once or in a workshop, compiling what is hot, and with so little room that compiled code is dropped again and again.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { loadGuestImage } from '../../src/guest/image.js';
import {
  createHost,
  type EngineOptions,
  formatRecording,
  type HostConfig,
  type Recording,
  recordingOf,
  verifyRecording,
  type Workshop,
} from '../../src/hypervisor/index.js';
import { DelayedWorkshop } from '../delayed-workshop.js';

const images = { guest: loadGuestImage() };

function config(engine: EngineOptions): HostConfig {
  const vm = { memoryMib: 64, monitor: 'bt', image: 'guest', append: '', powerOn: true } as const;
  return {
    name: 'esx',
    pcpus: 2,
    memoryMib: 1024,
    costs: 'xeon-5160',
    images,
    vms: [
      { ...vm, name: 'web', vmi: false },
      { ...vm, name: 'db', vmi: true },
    ],
    sampleIntervalMs: 2,
    engine,
  };
}

/** Boots both, runs programs in both (processes, page faults, system calls), and says what the engine did. */
function record(engine: EngineOptions, workshop?: Workshop) {
  const host = createHost(config(engine), workshop);
  const idle = new Set<string>();
  let largest = 0;
  const quanta = (count: number) => {
    for (let i = 0; i < count; i++) {
      host.advance(host.nowCycles + host.quantumCycles);
      largest = Math.max(largest, host.engine.compiledBytes);
    }
  };
  for (let i = 0; i < 400 && idle.size < 2; i++) {
    quanta(1);
    for (const event of host.drainEvents()) if (event.kind === 'guest' && event.state === 'idle') idle.add(event.vm);
  }
  expect([...idle].sort()).toEqual(['db', 'web']);
  for (const vm of ['web', 'db']) {
    expect(host.execute({ kind: 'type', vm, text: 'nforkwait 3\n' })).toEqual({ ok: true });
  }
  quanta(20);
  expect(host.execute({ kind: 'type', vm: 'web', text: 'getppid 50\n' })).toEqual({ ok: true });
  quanta(20);
  const digests = ['web', 'db'].map(vm => host.guestDigest(vm));
  return { recording: recordingOf(host), digests, engine: host.engine, largest };
}

const SETTINGS: readonly (readonly [string, EngineOptions, Workshop?])[] = [
  ['at once', { tiering: 'always' }],
  ['at some time', { tiering: 'always' }, new DelayedWorkshop()],
  ['at some time, in 1 MiB', { tiering: 'always', codeBytesMax: 1 << 20 }, new DelayedWorkshop()],
  ['what is hot', { tiering: 'normal' }],
  ['what is hot, in 1 MiB', { tiering: 'normal', codeBytesMax: 1 << 20 }],
];

describe('a host that never compiles', () => {
  let reference: ReturnType<typeof record>;
  let text: string;

  beforeAll(() => {
    reference = record({ tiering: 'never' });
    text = formatRecording(reference.recording, images);
    expect(reference.engine).toMatchObject({ compiledBytes: 0, regions: 0, compilations: 0 });
  });

  for (const [name, engine, workshop] of SETTINGS) {
    test(`makes the same recording as one that compiles ${name}`, () => {
      const other = record(engine, workshop);
      expect(other.digests).toEqual(reference.digests);
      expect(firstDifference(other.recording, reference.recording)).toBeUndefined();
      expect(formatRecording(other.recording, images)).toBe(text);
      expect(other.engine.compilations).toBeGreaterThan(15);
      const bound = engine.codeBytesMax;
      // One region may be added before the bound is looked at.
      if (bound !== undefined) expect(other.largest).toBeLessThan(bound * 1.5);
    });
  }

  test('verifies with another setting', () => {
    expect(verifyRecording(reference.recording, images, { engine: { tiering: 'normal' } })).toMatchObject({
      identical: true,
      differences: [],
    });
  });
});

/** The first sample that differs, for a message that can be read. */
function firstDifference(a: Recording, b: Recording): unknown {
  for (const [i, sample] of a.samples.entries()) {
    const [x, y] = [JSON.stringify(sample), JSON.stringify(b.samples[i])];
    if (x !== y) {
      const at = [...x].findIndex((char, j) => char !== y?.[j]);
      return { sample: i, near: [x.slice(Math.max(0, at - 120), at + 60), y?.slice(Math.max(0, at - 120), at + 60)] };
    }
  }
  return undefined;
}
