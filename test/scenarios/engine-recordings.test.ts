/**
 * What guests do, in recordings: every program of the guest image, sessions at its shell, a BIOS, and guests that misbehave, in every mode
 * that they run in. A host that never compiles, one that compiles each block on its second execution and one that compiles what is hot make
 * the same recording byte for byte, with the same events at the same cycles and the same memory at the end.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { beforeAll, describe, expect, test } from 'vitest';
import { loadGuestImage } from '../../src/guest/image.js';
import { createHost, formatRecording, type Host, type Mode, recordingOf } from '../../src/hypervisor/index.js';
import { type EngineOptions, engineDefaults } from '../../src/hypervisor/machine/cpu/code-cache.js';
import { RECORDINGS, Typist } from '../oracle/qemu.js';
import { fillsCodeCache, jumpsThroughMemory, patchesWhatIsHot } from './engine-guests.js';
import { HOSTILE } from './hostile-guests.js';
import { MODES, runGuest } from './run-guest.js';

const SETTINGS = ['always', 'normal'] as const;
const SAMPLE_MS = 2;
/** Of guests that never end: those that fill their own tables with noise need some, those that patch themselves are slow. */
const QUANTA = 4;
const SLOW_QUANTA = 1;
const BIOS = new Uint8Array(gunzipSync(readFileSync(new URL('../../fixtures/rom/bios.bin.gz', import.meta.url))));

interface Scenario {
  readonly name: string;
  /** Runs it on a new host. */
  readonly run: () => Outcome;
}

interface Outcome {
  readonly host: Host;
  readonly images: Readonly<Record<string, Uint8Array>>;
  readonly events: readonly unknown[];
}

/** Everything that can be seen of a scenario, as text. */
function record({ run }: Scenario, tiering: NonNullable<EngineOptions['tiering']>) {
  const before = engineDefaults.tiering;
  engineDefaults.tiering = tiering;
  try {
    const { host, images, events } = run();
    const text = [
      formatRecording(recordingOf(host), images),
      ...events.map(event => JSON.stringify(event)),
      ...host.sample().vms.map(({ name, power }) => `${name}: ${power === 'on' ? host.guestDigest(name) : power}`),
    ].join('\n');
    return { text, engine: host.engine };
  } finally {
    engineDefaults.tiering = before;
  }
}

/** The surroundings of the first character in which two texts differ. */
function firstDifference(a: string, b: string): readonly string[] | undefined {
  if (a === b) return undefined;
  let at = 0;
  while (a[at] === b[at]) at += 1;
  return [a, b].map(text => text.slice(Math.max(0, at - 200), at + 60));
}

function guestImage(mode: Mode, append: string, typed?: ConstructorParameters<typeof Typist>[0]): () => Outcome {
  return () => {
    const { host, events } = runGuest({ mode, append, typist: new Typist(typed), sampleIntervalMs: SAMPLE_MS });
    return { host, images: { guest: loadGuestImage() }, events };
  };
}

/** A host with this guest alone, for some quanta. */
function alone(image: Uint8Array, mode: Mode, quanta: number, rom = false): () => Outcome {
  return () => {
    const images = { image };
    const monitor = mode === 'vmi' ? 'bt' : mode;
    const vm = { name: 'vm', memoryMib: 16, monitor, vmi: mode === 'vmi', image: 'image', rom, append: '' } as const;
    const host = createHost({
      name: 'test',
      pcpus: 1,
      memoryMib: 256,
      costs: 'xeon-5160',
      images,
      vms: [{ ...vm, powerOn: true }],
      sampleIntervalMs: SAMPLE_MS,
    });
    for (let i = 0; i < quanta && host.anyPoweredOn; i++) host.advance(host.nowCycles + host.quantumCycles);
    return { host, images, events: host.drainEvents() };
  };
}

const MISBEHAVING: Readonly<Record<string, Uint8Array>> = {
  'hot code that is patched': patchesWhatIsHot,
  'more code than is compiled at once': fillsCodeCache(60, 20),
  'jumps through memory': jumpsThroughMemory(100),
};

const SCENARIOS: readonly Scenario[] = [
  ...RECORDINGS.flatMap(({ name, append, typed }) =>
    MODES.map(mode => ({ name: `${name}, ${mode}`, run: guestImage(mode, append, typed) })),
  ),
  ...HOSTILE.flatMap(({ name, image, modes = MODES }) =>
    modes.map(mode => ({ name: `${name}, ${mode}`, run: alone(image, mode, QUANTA) })),
  ),
  ...Object.entries(MISBEHAVING).flatMap(([name, image]) =>
    MODES.map(mode => ({ name: `${name}, ${mode}`, run: alone(image, mode, SLOW_QUANTA) })),
  ),
  { name: 'a BIOS', run: alone(BIOS, 'native', 1000, true) },
];

let compilations = 0;

describe.each(SCENARIOS)('$name', scenario => {
  let interpreted: ReturnType<typeof record>;

  beforeAll(() => {
    interpreted = record(scenario, 'never');
    expect(interpreted.engine.compilations).toBe(0);
  });

  test.each(SETTINGS)('%s: as a host that never compiles', setting => {
    const { text, engine } = record(scenario, setting);
    expect(firstDifference(text, interpreted.text)).toBeUndefined();
    compilations += engine.compilations;
  });
});

test('much of it was compiled', () => {
  expect(compilations).toBeGreaterThan(1000);
});
