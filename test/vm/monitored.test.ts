/** The same hand-made guests natively, under binary translation, with hardware assist, and with the VMI ROM on offer. */
import { describe, expect, test } from 'vitest';
import { createHost, type Host, type HostConfig, type HostEvent } from '../../src/hypervisor/index.js';
import { causesSum } from '../../src/hypervisor/vm/virtual-machine.js';
import { ECHO, image, SLOW_MULTIPLY, SPIN, TICKER } from './programs.js';

const MODES = ['native', 'bt', 'hv', 'offered'] as const;
type Mode = (typeof MODES)[number];

const vm = (name: string, mode: Mode, source: string, memoryMib = 8): HostConfig['vms'][number] => ({
  name,
  memoryMib,
  monitor: mode === 'offered' ? 'bt' : mode,
  vmi: mode === 'offered',
  image: source,
  append: '',
  powerOn: true,
});

const SOURCES = { ticker: TICKER(50), echo: ECHO, spin: SPIN, busy: TICKER(150, 'imul eax, eax') };
const images = Object.fromEntries(Object.entries(SOURCES).map(([name, source]) => [name, image(source)]));
const hostWith = (vms: HostConfig['vms'], more: Partial<HostConfig> = {}): Host =>
  createHost({
    name: 'test',
    pcpus: 1,
    memoryMib: 128,
    costs: 'xeon-5160',
    costOverrides: SLOW_MULTIPLY,
    images,
    vms,
    sampleIntervalMs: 10,
    ...more,
  });

const runQuanta = (host: Host, quanta: number) => host.advance(host.nowCycles + quanta * host.quantumCycles);
const consoleOf = (events: readonly HostEvent[]) =>
  events.map(event => (event.kind === 'console' ? event.text : '')).join('');

describe.each(MODES)('%s', mode => {
  test('a guest that counts its timer interrupts prints the same and ends', () => {
    const host = hostWith([vm('vm', mode, 'ticker')]);
    runQuanta(host, 70);
    expect(consoleOf(host.drainEvents())).toBe('.....');
    const sample = host.sample().vms[0]!;
    expect(sample).toMatchObject({ power: 'off', mode: mode === 'offered' ? 'bt' : mode, vmiActive: false });
    expect(sample.timer.delivered).toBe(50);
  });

  test('causes sum to what was charged, which is what the world used', () => {
    const host = hostWith([vm('vm', mode, 'ticker')]);
    runQuanta(host, 70);
    const sample = host.sample().vms[0]!;
    expect(causesSum(sample.causes)).toBe(sample.chargedCycles);
    const world = sample.worlds[0]!;
    expect(world.usedCycles).toBe(sample.chargedCycles);
    expect(world.runCycles + world.sysCycles - world.overlapCycles).toBe(world.usedCycles);
    expect(sample.causes.scheduling > 0).toBe(mode !== 'native');
    expect(sample.causes.interrupt > 0).toBe(mode !== 'native');
  });

  test('typed text wakes it; off and on again gives every page back', () => {
    const host = hostWith([vm('vm', mode, 'echo')]);
    runQuanta(host, 3);
    const free = () => host.sample().host.memory;
    for (let i = 0; i < 3; i++) {
      host.execute({ kind: 'type', vm: 'vm', text: 'hello' });
      runQuanta(host, 3);
      expect(consoleOf(host.drainEvents())).toBe('>hello');
      host.execute({ kind: 'powerOff', vm: 'vm' });
      expect(free().otherKb).toBe(0);
      host.execute({ kind: 'powerOn', vm: 'vm' });
      runQuanta(host, 3);
    }
  });
});

test('the end state of the guest is the same in every mode', () => {
  const digests = MODES.map(mode => {
    const host = hostWith([vm('vm', mode, 'echo')]);
    runQuanta(host, 3);
    host.execute({ kind: 'type', vm: 'vm', text: 'xyz' });
    runQuanta(host, 3);
    return host.guestDigest('vm');
  });
  expect(new Set(digests).size).toBe(1);
  expect(digests[0]).toMatch(/^[0-9a-f]{16}$/);
});

test('ticks that a descheduled guest misses are owed and delivered when it runs again', () => {
  const host = hostWith([vm('ticker', 'bt', 'busy'), vm('a', 'bt', 'spin'), vm('b', 'bt', 'spin')]);
  let most = 0;
  for (let i = 0; i < 600 && host.sample().vms[0]!.power === 'on'; i++) {
    runQuanta(host, 1);
    const { timer } = host.sample().vms[0]!;
    most = Math.max(most, timer.backlog);
    if (timer.backlog > 0) expect(timer.lagCycles).toBeGreaterThan(0);
  }
  // A slice of the other two is 50 ms long: some fifty ticks of 1 ms.
  expect(most).toBeGreaterThan(20);
  const { timer, power } = host.sample().vms[0]!;
  expect(power).toBe('off');
  expect(timer.delivered).toBe(150);
  expect(timer.stolenCycles).toBeGreaterThan(0.04 * host.cyclesPerSecond);
});

test('a VM for which the host has no page left is stopped alone, with a readable reason', () => {
  // Touches one byte of every page up to 60 MiB.
  const greedy = image(`
    main: mov edi, 0x200000
    next: mov byte [edi], 1
          add edi, 4096
          cmp edi, 0x3c00000
          jb next
    stay: imul eax, eax
          jmp stay`);
  const host = hostWith(
    [vm('ticker', 'bt', 'ticker'), vm('greedy', 'bt', 'greedy', 62), vm('also', 'bt', 'greedy', 62)],
    {
      memoryMib: 64,
      images: { ...images, greedy },
    },
  );
  runQuanta(host, 300);
  const [ticker, ...others] = host.sample().vms;
  expect(ticker).toMatchObject({ power: 'off' });
  expect(ticker!.timer.delivered).toBe(50);
  const crashed = others.filter(({ power }) => power === 'crashed');
  expect(crashed.length).toBeGreaterThan(0);
  expect(crashed[0]!.crashReason).toMatch(/^out of machine memory: the host has no page left$/);
});

test('how callers cut time changes nothing under the monitor either', () => {
  const run = (cut: (host: Host) => void) => {
    const host = hostWith([vm('ticker', 'bt', 'ticker'), vm('spin', 'offered', 'spin'), vm('echo', 'bt', 'echo')], {
      sampleIntervalMs: 7,
    });
    runQuanta(host, 2);
    host.execute({ kind: 'type', vm: 'echo', text: 'ab' });
    cut(host);
    return { samples: JSON.stringify(host.drainSamples()), events: JSON.stringify(host.drainEvents()) };
  };
  const whole = run(host => host.advance(100 * host.quantumCycles));
  const single = run(host => {
    while (host.nowCycles < 100 * host.quantumCycles) {
      runQuanta(host, 1);
      host.sample();
    }
  });
  expect(single).toEqual(whole);
});

test('the monitor is another one from the next power-on', () => {
  const host = hostWith([vm('vm', 'bt', 'echo'), vm('alone', 'native', 'echo')]);
  const monitors = () => {
    const { mode, monitor } = host.sample().vms[0]!;
    return { mode, monitor };
  };
  expect(host.execute({ kind: 'setMonitor', vm: 'vm', monitor: 'hv' })).toEqual({ ok: true });
  expect(monitors()).toEqual({ mode: 'bt', monitor: 'hv' });
  host.drainEvents();
  host.execute({ kind: 'reset', vm: 'vm' });
  expect(monitors()).toEqual({ mode: 'hv', monitor: 'hv' });
  expect(host.drainEvents()).toContainEqual(
    expect.objectContaining({ kind: 'power', vm: 'vm', state: 'on', reason: 'hardware assist' }),
  );
  runQuanta(host, 2);
  expect(host.audit('vm')).toEqual([]);
  host.execute({ kind: 'setMonitor', vm: 'vm', monitor: 'bt' });
  host.execute({ kind: 'reset', vm: 'vm' });
  expect(monitors()).toEqual({ mode: 'bt', monitor: 'bt' });
  runQuanta(host, 2);
  expect(host.audit('vm')).toEqual([]);
  expect(host.execute({ kind: 'setMonitor', vm: 'alone', monitor: 'hv' })).toEqual({
    ok: false,
    reason: 'alone runs natively: there is no monitor to choose',
  });
});

test('VMI is offered from the next power-on', () => {
  const host = hostWith([vm('vm', 'bt', 'echo')]);
  expect(host.execute({ kind: 'setVmi', vm: 'vm', enabled: true })).toEqual({ ok: true });
  expect(host.sample().vms[0]).toMatchObject({ vmiConfigured: true, vmiEnabled: false });
  host.execute({ kind: 'reset', vm: 'vm' });
  expect(host.sample().vms[0]).toMatchObject({ vmiConfigured: true, vmiEnabled: true, vmiActive: false, mode: 'bt' });
});
