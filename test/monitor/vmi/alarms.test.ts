import { describe, expect, test } from 'vitest';
import type { TimerHandle, VirtualClock } from '../../../src/hypervisor/devices/device.js';
import { VmiTimer } from '../../../src/hypervisor/monitor/vmi/alarms.js';
import { AlarmFlag, CycleCounter } from '../../../src/hypervisor/monitor/vmi/rom-layout.js';

const HZ = 3_000_000_000;
const MS = HZ / 1000;
const PERIODIC_AVAILABLE = CycleCounter.AVAILABLE | AlarmFlag.PERIODIC;

class FakeClock implements VirtualClock {
  nowCycles = 5 * MS;
  readonly cyclesPerSecond = HZ;
  #timers: { at: number; callback: (now: number) => void }[] = [];

  at(atCycles: number, callback: (now: number) => void): TimerHandle {
    const timer = { at: atCycles, callback };
    this.#timers.push(timer);
    return { atCycles, place: 0, cancel: () => (this.#timers = this.#timers.filter(other => other !== timer)) };
  }

  /** Time passes; due timers run in order, late ones at the end of the step (as when the vCPU was not running). */
  pass(cycles: number): void {
    this.nowCycles += cycles;
    for (;;) {
      const due = this.#timers.filter(timer => timer.at <= this.nowCycles).sort((a, b) => a.at - b.at)[0];
      if (!due) return;
      this.#timers = this.#timers.filter(timer => timer !== due);
      due.callback(this.nowCycles);
    }
  }

  get pending(): number {
    return this.#timers.length;
  }
}

function setUp() {
  const clock = new FakeClock();
  const edges: boolean[] = [];
  let lvtTimer = 0;
  const stolen = { stolenCycles: 0 };
  const timer = new VmiTimer({
    clock,
    irq0: { set: level => edges.push(level) },
    lvtTimer: () => {
      lvtTimer += 1;
    },
    stolen,
    poweredOnAtCycles: clock.nowCycles,
    wallclockAtPowerOn: 1_200_000_000,
  });
  const run = (cycles: number) => clock.pass(cycles);
  const steal = (cycles: number) => {
    stolen.stolenCycles += cycles;
    clock.pass(cycles);
  };
  return { clock, edges, timer, run, steal, lvtTimer: () => lvtTimer };
}

describe('VMI counters', () => {
  test('real = stolen + available at all times, and real starts at 0', () => {
    const { timer, run, steal } = setUp();
    expect(timer.read(CycleCounter.REAL)).toBe(0);
    for (const [ran, stole] of [
      [7, 0],
      [100, 33],
      [0, 5],
    ] as const) {
      run(ran);
      steal(stole);
      const [real, available, stolen] = [0, 1, 2].map(counter => timer.read(counter));
      expect(available! + stolen!).toBe(real);
    }
    expect([0, 1, 2, 3, 255].map(counter => timer.read(counter))).toEqual([145, 107, 38, 0, 0]);
  });

  test('the wall clock follows real time from power-on', () => {
    const { timer, run, steal } = setUp();
    run(HZ);
    steal(HZ / 2);
    expect(timer.wallclockNs()).toBe(1_200_000_001_500_000_000n);
  });
});

describe('alarms', () => {
  test('a one-shot fires once, at its expiry, with a rising edge on IRQ 0', () => {
    const { timer, run, edges, clock } = setUp();
    timer.set(CycleCounter.REAL, 10 * MS, 0);
    run(10 * MS - 1);
    expect(edges).toEqual([]);
    run(1);
    expect(edges).toEqual([false, true]);
    run(100 * MS);
    expect(timer.fired).toBe(1);
    expect(clock.pending).toBe(0);
    expect(timer.cancel(CycleCounter.REAL)).toBe(false);
  });

  test('an expiry that is reached already fires at once, not after one period', () => {
    const { timer, run } = setUp();
    run(50 * MS);
    timer.set(CycleCounter.REAL | AlarmFlag.PERIODIC, 50 * MS, 10 * MS);
    expect(timer.fired).toBe(1);
    run(10 * MS);
    expect(timer.fired).toBe(2);
    timer.set(CycleCounter.REAL, 0, 0);
    expect(timer.fired).toBe(3);
  });

  test('period 0 makes a periodic alarm one-shot, and a one-shot ignores its period', () => {
    const { timer, run } = setUp();
    timer.set(CycleCounter.REAL | AlarmFlag.PERIODIC, 1 * MS, 0);
    timer.set(CycleCounter.AVAILABLE, 1 * MS, 1 * MS);
    run(20 * MS);
    expect(timer.fired).toBe(2);
  });

  test('setting an armed alarm replaces it; the two counters are independent', () => {
    const { timer, run } = setUp();
    timer.set(CycleCounter.REAL, 1 * MS, 0);
    timer.set(CycleCounter.REAL, 5 * MS, 0);
    timer.set(CycleCounter.AVAILABLE, 2 * MS, 0);
    run(1 * MS);
    expect(timer.fired).toBe(0);
    run(1 * MS);
    expect(timer.fired).toBe(1);
    run(3 * MS);
    expect(timer.fired).toBe(2);
  });

  test('an alarm on available time waits for stolen time to be made up', () => {
    const { timer, run, steal } = setUp();
    timer.set(PERIODIC_AVAILABLE, 10 * MS, 10 * MS);
    run(4 * MS);
    steal(20 * MS);
    expect(timer.fired).toBe(0);
    run(6 * MS - 1);
    expect(timer.fired).toBe(0);
    run(1);
    expect(timer.fired).toBe(1);
  });

  test('missed periods collapse into one interrupt and the phase is kept', () => {
    const { timer, run } = setUp();
    timer.set(CycleCounter.REAL | AlarmFlag.PERIODIC, 1 * MS, 2 * MS);
    run(12 * MS);
    expect(timer.fired).toBe(1);
    run(1 * MS - 1);
    expect(timer.fired).toBe(1);
    run(1);
    expect(timer.fired).toBe(2);
  });

  test('cancel looks at the counter only and tells whether it stopped something', () => {
    const { timer, run, clock } = setUp();
    timer.set(PERIODIC_AVAILABLE, 1 * MS, 1 * MS);
    run(3 * MS);
    expect(timer.cancel(CycleCounter.AVAILABLE | AlarmFlag.WIRED_LVTT)).toBe(true);
    expect(timer.cancel(PERIODIC_AVAILABLE)).toBe(false);
    expect(timer.cancel(CycleCounter.STOLEN)).toBe(false);
    expect(clock.pending).toBe(0);
  });

  test('stolen time and unknown counters have no alarm', () => {
    const { timer, run, clock } = setUp();
    timer.set(CycleCounter.STOLEN | AlarmFlag.PERIODIC, 0, 1);
    timer.set(0x77, 0, 1);
    run(100 * MS);
    expect(timer.fired).toBe(0);
    expect(clock.pending).toBe(0);
  });

  test('an alarm wired to LVTT goes to the local APIC, not to IRQ 0', () => {
    const { timer, run, edges, lvtTimer } = setUp();
    timer.set(CycleCounter.REAL | AlarmFlag.WIRED_LVTT, 1 * MS, 0);
    run(1 * MS - 1);
    expect(lvtTimer()).toBe(0);
    run(1 * MS);
    expect([edges, lvtTimer()]).toEqual([[], 1]);
  });

  test('a period below the resolution is stretched, and an expiry beyond 2^53 never comes', () => {
    const { timer, clock } = setUp();
    timer.set(CycleCounter.REAL | AlarmFlag.PERIODIC, 0, 1);
    for (let i = 0; i < 1000; i++) clock.pass(30);
    expect(timer.fired).toBe(2);
    timer.set(CycleCounter.REAL, 2 ** 63, 0);
    expect(clock.pending).toBe(0);
    expect(timer.cancel(CycleCounter.REAL)).toBe(true);
  });

  test('the sample shows rate, lag and stolen time', () => {
    const { timer, steal } = setUp();
    timer.set(PERIODIC_AVAILABLE, 10 * MS, 10 * MS);
    steal(3 * MS);
    expect(timer.sample()).toEqual({
      source: 'vmi-alarm',
      requestedHz: 100,
      backlog: 0,
      lagCycles: 0,
      stolenCycles: 3 * MS,
    });
    timer.stop();
    expect(timer.sample().requestedHz).toBe(0);
  });
});
