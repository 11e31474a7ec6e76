/** One guest under one monitor in every setting of the engine: all recordings have to be the same byte for byte. */
import { expect } from 'vitest';
import { formatRecording, type Mode, recordingOf } from '../../src/hypervisor/index.js';
import type { Adapter } from '../../src/hypervisor/vm/board.js';
import { VmHost } from '../../src/hypervisor/vm/host.js';
import { type EngineSetting, inSetting } from '../engine-setting.js';
import { image } from '../vm/programs.js';
import { consoleOf, findings } from './run-guest.js';

const QUANTA_MAX = 60;

function record(source: string, mode: Mode, adapters: readonly Adapter[], setting: EngineSetting) {
  const images = { image: image(source) };
  const monitor = mode === 'vmi' ? 'bt' : mode;
  const vm = { name: 'vm', memoryMib: 16, monitor, vmi: mode === 'vmi', image: 'image', append: '' } as const;
  const host = inSetting(
    setting,
    () =>
      new VmHost(
        {
          name: 'test',
          pcpus: 1,
          memoryMib: 256,
          costs: 'xeon-5160',
          images,
          vms: [{ ...vm, powerOn: true }],
          sampleIntervalMs: 1,
          auditEveryQuanta: 1,
        },
        adapters,
      ),
  );
  for (let i = 0; i < QUANTA_MAX && host.anyPoweredOn; i++) host.advance(host.nowCycles + host.quantumCycles);
  const events = host.drainEvents();
  expect(host.sample().vms[0]).toMatchObject({ power: 'off', crashReason: undefined });
  expect(findings(events)).toEqual([]);
  const text = [
    formatRecording(recordingOf(host), images),
    ...events.map(event => JSON.stringify(event)),
    host.guestDigest('vm'),
  ].join('\n');
  return { text, console: consoleOf(events), compilations: host.engine.compilations };
}

/**
 * Runs a program, which has to power off by itself: interpreted, compiled at once, compiled some time later, and compiled where
 * it is hot. Answers what it has printed.
 */
export function sameInEverySetting(source: string, mode: Mode, adapters: readonly Adapter[] = []): string {
  const interpreted = record(source, mode, adapters, 'never');
  for (const setting of ['always', 'later', 'normal'] as const) {
    const other = record(source, mode, adapters, setting);
    expect(other.console).toBe(interpreted.console);
    expect(other.text === interpreted.text).toBe(true);
    if (setting === 'always') expect(other.compilations).toBeGreaterThan(0);
  }
  return interpreted.console;
}
