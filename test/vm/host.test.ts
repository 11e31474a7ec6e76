/** Hosts with native VMs that run small hand-made images end to end. */
import { describe, expect, test } from 'vitest';
import { createHost, type Host, type HostConfig, type HostEvent, UsageError } from '../../src/hypervisor/index.js';
import { causesSum } from '../../src/hypervisor/vm/virtual-machine.js';
import { ECHO, image, PROLOGUE, SLOW_MULTIPLY, SPIN, TICKER } from './programs.js';

const config = (sources: Record<string, string>, more: Partial<HostConfig> = {}): HostConfig => ({
  name: 'test',
  pcpus: 1,
  memoryMib: 128,
  costs: 'xeon-5160',
  costOverrides: SLOW_MULTIPLY,
  images: Object.fromEntries(Object.entries(sources).map(([name, source]) => [name, image(source)])),
  vms: Object.keys(sources).map(name => ({
    name,
    memoryMib: 8,
    monitor: 'native' as const,
    vmi: false,
    image: name,
    append: '',
    powerOn: true,
  })),
  sampleIntervalMs: 10,
  ...more,
});

const consoleOf = (events: readonly HostEvent[], vm: string) =>
  events.map(event => (event.kind === 'console' && event.vm === vm ? event.text : '')).join('');
const runQuanta = (host: Host, quanta: number) => host.advance(host.nowCycles + quanta * host.quantumCycles);

describe('a native machine', () => {
  test('halts between timer interrupts, which come at the programmed rate, and powers off', () => {
    const host = createHost(config({ ticker: TICKER(50) }));
    runQuanta(host, 40);
    expect(host.sample().vms[0]!.timer).toMatchObject({ source: 'pit', backlog: 0 });
    expect(host.sample().vms[0]!.timer.requestedHz).toBeCloseTo(1000, 0);
    runQuanta(host, 40);
    const events = host.drainEvents();
    expect(consoleOf(events, 'ticker')).toBe('.....');
    const off = events.find(event => event.kind === 'power' && event.state === 'off')!;
    // 50 periods of 1193 PIT ticks, counted from the program's start.
    expect(off.atCycles / host.cyclesPerSecond).toBeGreaterThan(50 * (1193 / 1193182));
    expect(off.atCycles / host.cyclesPerSecond).toBeLessThan(50 * (1193 / 1193182) + 0.0003);
    const [vm] = host.sample().vms;
    expect(vm).toMatchObject({ power: 'off', guestState: 'off' });
    expect(vm!.timer.delivered).toBe(50);
    expect(vm!.counters.wakeups).toBe(50);
    expect(host.anyPoweredOn).toBe(false);
  });

  test('counts the interrupts of each line, and keeps the counts when it is off', () => {
    const host = createHost(config({ ticker: TICKER(50), echo: ECHO }));
    const lines = () => host.sample().vms.map(({ interrupts }) => interrupts);
    // Of a PC without adapters; vectors are what the guest programs.
    expect(lines()[0]).toMatchObject([
      { irq: 0, devices: ['pit'], delivered: 0 },
      { irq: 1, devices: ['keyboard'], delivered: 0 },
      { irq: 4, devices: ['com1'], delivered: 0 },
    ]);
    runQuanta(host, 40);
    host.execute({ kind: 'type', vm: 'echo', text: 'abc' });
    runQuanta(host, 40);
    const [ticker, echo] = host.sample().vms;
    expect(ticker!.power).toBe('off');
    expect(ticker!.interrupts.map(({ delivered }) => delivered)).toEqual([50, 0, 0]);
    expect(ticker!.interrupts[0]!.delivered).toBe(ticker!.counters.timerInterrupts);
    expect(echo!.interrupts.find(({ irq }) => irq === 4)!.delivered).toBeGreaterThan(0);
    // They begin again with the next power-on.
    host.execute({ kind: 'powerOn', vm: 'ticker' });
    expect(lines()[0]!.map(({ delivered }) => delivered)).toEqual([0, 0, 0]);
  });

  test('its account is closed: causes sum to what its processor spent, and that is its run time', () => {
    const host = createHost(config({ ticker: TICKER(50) }));
    runQuanta(host, 100);
    const vm = host.sample().vms[0]!;
    expect(causesSum(vm.causes)).toBe(vm.chargedCycles);
    expect(vm.chargedCycles).toBe(vm.worlds[0]!.runCycles);
    expect(vm.causes.guestUser).toBe(0);
    // 50 ticks of some ten port accesses and a few instructions: three thousand cycles each, on a 3 GHz machine.
    expect(vm.chargedCycles).toBeLessThan(100 * 30_000);
    for (const world of vm.worlds) expect(world.state).toBe('off');
  });

  test('typed text arrives by interrupt and wakes the guest', () => {
    const host = createHost(config({ echo: ECHO }));
    runQuanta(host, 5);
    expect(host.sample().vms[0]!.worlds[0]!.state).toBe('idle');
    expect(host.execute({ kind: 'type', vm: 'echo', text: 'hello' })).toEqual({ ok: true });
    runQuanta(host, 5);
    expect(consoleOf(host.drainEvents(), 'echo')).toBe('>hello');
    host.execute({ kind: 'type', vm: 'echo', text: 'r' });
    runQuanta(host, 5);
    const events = host.drainEvents();
    expect(consoleOf(events, 'echo')).toBe('r>');
    expect(events.flatMap(event => (event.kind === 'power' ? [event.state] : []))).toEqual(['off', 'on']);
    host.execute({ kind: 'type', vm: 'echo', text: 'q' });
    runQuanta(host, 5);
    expect(host.anyPoweredOn).toBe(false);
    expect(host.execute({ kind: 'type', vm: 'echo', text: 'x' })).toEqual({ ok: false, reason: 'echo is off' });
  });

  test('a power-on starts from clean memory', () => {
    // Prints what it finds at 2 MiB, and leaves a mark there.
    const marker = `${PROLOGUE}
 main:  mov al, [0x200000]
        add al, 65
        mov byte [0x200000], 1
        call put
        jmp off`;
    const host = createHost(config({ marker }));
    runQuanta(host, 2);
    host.execute({ kind: 'powerOn', vm: 'marker' });
    runQuanta(host, 2);
    expect(consoleOf(host.drainEvents(), 'marker')).toBe('AA');
  });

  test('a triple fault stops it with a readable reason, and its neighbour does not notice', () => {
    const bad = `${PROLOGUE}
 main:  lidt [zero]
        ud2
 zero:  dw 0
        dd 0`;
    const alone = createHost(config({ ticker: TICKER(30) }, { pcpus: 2 }));
    const host = createHost(config({ ticker: TICKER(30), bad }, { pcpus: 2 }));
    for (const each of [alone, host]) runQuanta(each, 100);
    const [good, crashed] = host.sample().vms;
    expect(crashed).toMatchObject({ power: 'crashed', guestState: 'crashed' });
    expect(crashed!.crashReason).toMatch(/triple fault/i);
    expect(crashed!.crashReason).not.toContain('\n');
    expect(good!.counters).toEqual(alone.sample().vms[0]!.counters);
    expect(host.execute({ kind: 'reset', vm: 'bad' })).toEqual({
      ok: false,
      reason: 'bad is not running: it has crashed',
    });
    expect(host.execute({ kind: 'powerOn', vm: 'bad' })).toEqual({ ok: true });
  });
});

describe('time', () => {
  const run = (steps: (host: Host) => void) => {
    const host = createHost(
      config({ ticker: TICKER(500), spin: SPIN, other: SPIN, echo: ECHO }, { pcpus: 2, sampleIntervalMs: 7 }),
    );
    runQuanta(host, 3);
    host.execute({ kind: 'type', vm: 'echo', text: 'ab' });
    steps(host);
    host.guestDigest('spin');
    return { samples: JSON.stringify(host.drainSamples()), events: JSON.stringify(host.drainEvents()) };
  };

  test('how callers cut it changes nothing', () => {
    const target = (host: Host) => 123 * host.quantumCycles;
    const whole = run(host => host.advance(target(host)));
    const single = run(host => {
      while (host.nowCycles < target(host)) runQuanta(host, 1);
    });
    const odd = run(host => {
      while (host.nowCycles < target(host)) {
        host.advance(host.nowCycles + 1);
        host.sample();
      }
    });
    expect(single).toEqual(whole);
    expect(odd).toEqual(whole);
  });

  test('two spinning VMs share one pCPU evenly, and what one waits is its stolen time', () => {
    const host = createHost(config({ a: SPIN, b: SPIN }));
    runQuanta(host, 1000);
    const sample = host.sample();
    for (const vm of sample.vms) {
      const world = vm.worlds[0]!;
      expect(world.runCycles + world.readyCycles + world.waitCycles + world.costopCycles).toBe(sample.atCycles);
      expect(world.runCycles / sample.atCycles).toBeCloseTo(0.5, 1);
      expect(vm.timer.stolenCycles).toBe(world.readyCycles);
      expect(vm.worlds[1]).toMatchObject({ kind: 'vcpu', waitCycles: sample.atCycles, runCycles: 0 });
    }
    expect(sample.pcpus[0]).toMatchObject({ usedCycles: sample.atCycles, idleCycles: 0 });
    expect(sample.host.loadAverages[0]).toBeGreaterThan(0.016);
  });

  test('samples come at the interval, and at the new one after a change', () => {
    const host = createHost(config({ spin: SPIN }));
    runQuanta(host, 25);
    host.execute({ kind: 'setSampleInterval', ms: 3 });
    runQuanta(host, 10);
    const ms = host.drainSamples().map(sample => (sample.atCycles / host.cyclesPerSecond) * 1000);
    expect(ms).toEqual([10, 20, 28, 31, 34]);
    expect(host.execute({ kind: 'setSampleInterval', ms: 0 })).toMatchObject({ ok: false });
  });
});

describe('commands', () => {
  test('what is refused changes nothing and is not logged', () => {
    const host = createHost(config({ spin: SPIN }));
    const before = JSON.stringify(host.sample());
    const refused = [
      { kind: 'powerOn', vm: 'spin' },
      { kind: 'powerOff', vm: 'nobody' },
      { kind: 'removeVm', vm: 'spin' },
      { kind: 'setVmi', vm: 'spin', enabled: true },
      { kind: 'addVm', config: { ...config({ spin: SPIN }).vms[0]! } },
      { kind: 'addVm', config: { ...config({ spin: SPIN }).vms[0]!, name: 'big', memoryMib: 127 } },
    ] as const;
    const reasons = refused.map(command => {
      const result = host.execute(command);
      return result.ok ? 'ok' : result.reason;
    });
    expect(reasons).toEqual([
      'spin is on already',
      'no VM is called "nobody"',
      'spin is on: power it off first',
      'spin runs natively: there is no hypervisor that could offer VMI',
      'there is a VM called "spin" already',
      'the host has no 127 MiB of contiguous memory left',
    ]);
    expect(host.commandLog).toEqual([]);
    expect(JSON.stringify(host.sample())).toBe(before);
  });

  test('VMs come and go, and give their memory back', () => {
    const host = createHost(config({ spin: SPIN }));
    const big = { ...config({ spin: SPIN }).vms[0]!, name: 'big', memoryMib: 100 };
    for (let i = 0; i < 3; i++) {
      expect(host.execute({ kind: 'addVm', config: big })).toEqual({ ok: true });
      runQuanta(host, 2);
      expect(host.execute({ kind: 'powerOff', vm: 'big' })).toEqual({ ok: true });
      expect(host.execute({ kind: 'removeVm', vm: 'big' })).toEqual({ ok: true });
    }
    expect(host.sample().vms.map(vm => vm.name)).toEqual(['spin']);
    expect(host.commandLog).toHaveLength(9);
    expect(host.commandLog[3]!.atCycles).toBe(2 * host.quantumCycles);
  });

  test.each([
    ['an unknown cost profile', { costs: 'z80' }, /unknown cost profile "z80"/],
    ['no pCPU', { pcpus: 0 }, /pcpus must be/],
    ['an image that is not there', { images: {} }, /names the image "spin", which the host does not have/],
    ['an unknown cost', { costOverrides: { nonsense: 1 } }, /unknown cost "nonsense"/],
    [
      'a translation cache of half a page',
      { vms: [{ ...config({ spin: SPIN }).vms[0]!, tcKib: 6 }] },
      /tcKib must be a multiple of 4 from 4/,
    ],
  ])('a host with %s is not made', (_, change, reason) => {
    const broken = config({ spin: SPIN }, change as Partial<HostConfig>);
    expect(() => createHost(broken)).toThrow(UsageError);
    expect(() => createHost(broken)).toThrow(reason);
  });
});
