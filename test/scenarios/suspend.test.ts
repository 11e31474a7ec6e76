/**
 * A guest that is suspended again and again, and resumed after a while, says and does what one says and does that nobody has disturbed; and what
 * was saved is saved again, byte for byte, as soon as it is restored.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { loadGuestImage } from '../../src/guest/image.js';
import { Prng } from '../../src/hypervisor/base/prng.js';
import { createHost, type Host, type HostEvent, type Mode } from '../../src/hypervisor/index.js';
import { normalizeConsole } from '../oracle/normalize.js';
import { RECORDINGS, Typist } from '../oracle/qemu.js';
import { consoleOf, findings, guestHost, MODES } from './run-guest.js';

const run = (host: Host, quanta: number) => host.advance(host.nowCycles + quanta * host.quantumCycles);
const suspend = (host: Host) => expect(host.execute({ kind: 'suspend', vm: 'vm' })).toEqual({ ok: true });
const resume = (host: Host) => expect(host.execute({ kind: 'resume', vm: 'vm' })).toEqual({ ok: true });

/** A host with the VM as it was suspended elsewhere. */
const hostWith = (state: Uint8Array, mode: Mode, append: string, memoryMib = 64): Host =>
  createHost({
    name: 'other',
    pcpus: 1,
    memoryMib: 512,
    costs: 'xeon-5160',
    images: { guest: loadGuestImage(), state },
    vms: [
      {
        ...{ name: 'vm', memoryMib, image: 'guest', append, suspended: 'state' },
        ...{ monitor: mode === 'vmi' ? ('bt' as const) : mode, vmi: mode === 'vmi' },
      },
    ],
    sampleIntervalMs: 1000,
  });

/** Runs a guest to its end, with breaks of random length at random times. */
function runWithBreaks(mode: Mode, append: string, typist: Typist, seed: number) {
  const random = new Prng(seed);
  const host = guestHost({ mode, append, auditEveryQuanta: 3 });
  const events: HostEvent[] = [];
  let breaks = 0;
  while (host.anyPoweredOn) {
    if (host.nowCycles > 120 * host.cyclesPerSecond) throw new Error(`still on:\n${consoleOf(events)}`);
    run(host, 1);
    events.push(...host.drainEvents());
    const typed = typist.next(consoleOf(events));
    if (typed !== undefined && host.anyPoweredOn) host.execute({ kind: 'type', vm: 'vm', text: typed });
    if (!host.anyPoweredOn || random.below(mode === 'vmi' ? 2 : 12) > 0) continue;
    suspend(host);
    breaks += 1;
    run(host, random.below(30));
    resume(host);
  }
  events.push(...host.drainEvents());
  return { events, breaks, vm: host.sample().vms[0]! };
}

describe.each(RECORDINGS)('the run "$name" with breaks says what it said in QEMU', ({ name, append, typed }) => {
  test.each(MODES)('%s', mode => {
    const { events, breaks, vm } = runWithBreaks(mode, append, new Typist(typed), 7);
    const expected = readFileSync(new URL(`../../fixtures/console/qemu-${name}.txt`, import.meta.url), 'utf8');
    expect(normalizeConsole(consoleOf(events))).toBe(expected);
    expect(findings(events)).toEqual([]);
    expect([vm.power, vm.vmiActive]).toEqual(['off', mode === 'vmi']);
    expect(breaks).toBeGreaterThan(mode === 'vmi' ? 1 : 2);
  });
});

const APPEND = 'run=nforkwait iterations=24';

describe.each(MODES)('the state of a VM: %s', mode => {
  const suspendedAt = (quanta: number): Host => {
    const host = guestHost({ mode, append: APPEND });
    run(host, quanta);
    suspend(host);
    return host;
  };

  test('is the same when it is saved again', () => {
    for (const quanta of [0, 1, 2, 4, 6]) {
      const host = suspendedAt(quanta);
      const first = host.suspendedState('vm')!;
      resume(host);
      suspend(host);
      expect(Buffer.compare(host.suspendedState('vm')!, first), `after ${quanta} quanta`).toBe(0);
    }
  });

  test('goes on in another host, which replays, as in its own', () => {
    const host = suspendedAt(6);
    const state = host.suspendedState('vm')!;
    const others = [3, 3].map(quanta => {
      const other = hostWith(state, mode, APPEND);
      expect(other.sample().vms[0]).toMatchObject({ power: 'suspended', mode, vmiActive: mode === 'vmi' });
      run(other, quanta);
      resume(other);
      return other;
    });
    run(host, 3);
    resume(host);
    const [own, ...rest] = [host, ...others].map(each => {
      each.drainEvents();
      const begun = each.nowCycles;
      while (each.anyPoweredOn) run(each, 1);
      const [vm] = each.sample().vms;
      const { worlds: _, timer: __, interrupts: ___, ...figures } = vm!;
      return {
        console: consoleOf(each.drainEvents()),
        digest: each.guestDigest('vm'),
        took: each.nowCycles - begun,
        figures,
      };
    });
    expect(own!.console).not.toBe('');
    for (const other of rest) {
      expect([other.console, other.digest, other.took]).toEqual([own!.console, own!.digest, own!.took]);
      expect(other.figures.counters).toEqual(own!.figures.counters);
      expect(other.figures.causes).toEqual(own!.figures.causes);
    }
  });
});

test('a state that does not fit is refused, and nothing happens', () => {
  const host = guestHost({ mode: 'native', append: APPEND });
  run(host, 3);
  suspend(host);
  const state = host.suspendedState('vm')!;
  const refusal = (...of: Parameters<typeof hostWith>) => {
    const host = hostWith(...of);
    expect(host.drainEvents()).toMatchObject([{ kind: 'log', line: expect.stringContaining('cannot go on: ') }]);
    const result = host.execute({ kind: 'resume', vm: 'vm' });
    expect(host.sample().vms[0]!.power).toBe('suspended');
    expect(host.commandLog).toEqual([]);
    return result.ok ? '' : result.reason;
  };
  expect(refusal(state, 'bt', APPEND)).toBe('the suspended state is of another VM: monitor was "native", is "bt"');
  expect(refusal(state, 'native', APPEND, 32)).toContain('memoryMib was 64, is 32');
  expect(refusal(Uint8Array.of(1, 2, 3), 'native', APPEND)).toContain('this is no suspended state');
  const cut = hostWith(state.subarray(0, state.length - 100), 'native', APPEND);
  expect(cut.execute({ kind: 'resume', vm: 'vm' })).toEqual({ ok: false, reason: 'the state is cut off' });
  expect(cut.sample().vms[0]!.power).toBe('suspended');
  expect(cut.execute({ kind: 'powerOn', vm: 'vm' })).toEqual({ ok: false, reason: 'vm is suspended: resume it' });
  expect(cut.execute({ kind: 'suspend', vm: 'vm' })).toEqual({ ok: false, reason: 'vm is suspended' });
  expect(cut.execute({ kind: 'setVmi', vm: 'vm', enabled: true })).toMatchObject({ ok: false });
  expect(cut.execute({ kind: 'powerOff', vm: 'vm' })).toEqual({ ok: true });
  expect(cut.execute({ kind: 'powerOn', vm: 'vm' })).toEqual({ ok: true });
});
