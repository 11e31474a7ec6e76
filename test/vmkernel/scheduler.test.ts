import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/hypervisor/base/prng.js';
import type { CpuAllocation } from '../../src/hypervisor/vmkernel/allocation.js';
import { Scheduler, TIME_SLICE_MS } from '../../src/hypervisor/vmkernel/scheduler.js';
import { type Guest, type GuestResult, World } from '../../src/hypervisor/vmkernel/world.js';

const HZ = 1_000_000;
const QUANTUM = HZ / 1000;
const SLICE = (HZ * TIME_SLICE_MS) / 1000;

/** A guest that does what a list of steps says: run so long, then halt so long; and overruns deadlines a little. */
class ScriptedGuest implements Guest {
  readonly dispatchCycles: number;
  kernelCycles = 0;
  ran = 0;
  stoppedAt: number | undefined;
  readonly runs: { from: number; to: number }[] = [];
  #left = 0;
  #halt = 0;

  constructor(
    readonly next: () => { run: number; halt: number } | 'forever' | 'stop',
    dispatchCycles = 7,
    readonly overrun = 0,
  ) {
    this.dispatchCycles = dispatchCycles;
  }

  run(from: number, until: number): GuestResult {
    if (this.#left === 0) {
      const step = this.next();
      if (step === 'stop') return { kind: 'stopped', atCycles: from };
      this.#left = step === 'forever' ? Infinity : step.run;
      this.#halt = step === 'forever' ? 0 : step.halt;
    }
    const took = Math.min(this.#left, Math.max(0, until - from) + this.overrun);
    this.ran += took;
    this.#left -= took;
    this.runs.push({ from, to: from + took });
    if (this.#left > 0) return { kind: 'deadline', atCycles: from + took };
    return { kind: 'halted', atCycles: from + took, wakeAtCycles: from + took + this.#halt };
  }

  onStopped(at: number): void {
    this.stoppedAt = at;
  }
}

const allocation = (shares = 1000, reservation = 0, limit = 1): CpuAllocation => ({ shares, reservation, limit });
const worldOf = (id: number, guest: Guest, shares = 1000, reservation = 0, limit = 1) =>
  new World(id, `vmm0:${id}`, 'vmm', allocation(shares, reservation, limit), 0, guest);

const runTo = (scheduler: Scheduler, quanta: number, after: (now: number) => void = () => {}, from = 0) => {
  for (let i = 1; i <= quanta; i++) {
    scheduler.advance(from + i * QUANTUM);
    after(from + i * QUANTUM);
  }
};

describe('the times of a world sum to the time that passed', () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])('whatever its guest does (seed %i)', seed => {
    const prng = new Prng(seed);
    const scheduler = new Scheduler(1 + prng.below(3), HZ, 0);
    const worlds = Array.from({ length: 5 }, (_, id) =>
      worldOf(
        id,
        new ScriptedGuest(
          () => ({ run: 1 + prng.below(3 * SLICE), halt: prng.below(2 * SLICE) }),
          prng.below(20),
          prng.below(40),
        ),
        1 + prng.below(3000),
        prng.below(3) / 10,
        prng.below(2) === 0 ? 1 : 0.3 + prng.below(7) / 10,
      ),
    );
    for (const world of worlds) scheduler.add(world, 0);
    runTo(scheduler, 300, now => {
      let used = 0;
      for (const world of worlds) {
        const sample = world.sample(now);
        expect(sample.runCycles + sample.readyCycles + sample.waitCycles + sample.costopCycles).toBe(now);
        for (const figure of [sample.runCycles, sample.readyCycles, sample.waitCycles]) {
          expect(figure).toBeGreaterThanOrEqual(0);
        }
        expect(sample.usedCycles).toBe(sample.runCycles + sample.sysCycles - sample.overlapCycles);
        used += sample.usedCycles;
      }
      // A pCPU's time is its worlds' time, but for switches that are still going on.
      const busy = scheduler.pcpuSamples(now).reduce((sum, pcpu) => sum + pcpu.usedCycles, 0);
      expect(Math.abs(busy - used)).toBeLessThanOrEqual(3 * 20);
    });
  });

  test('no pCPU runs two worlds at a time', () => {
    const prng = new Prng(99);
    const guests = Array.from(
      { length: 4 },
      () => new ScriptedGuest(() => ({ run: 1 + prng.below(5 * QUANTUM), halt: prng.below(5 * QUANTUM) }), 11, 13),
    );
    const scheduler = new Scheduler(1, HZ, 0);
    for (const [id, guest] of guests.entries()) scheduler.add(worldOf(id, guest), 0);
    runTo(scheduler, 500);
    const runs = guests.flatMap(guest => guest.runs).sort((a, b) => a.from - b.from);
    expect(runs.length).toBeGreaterThan(100);
    for (let i = 1; i < runs.length; i++) expect(runs[i]!.from).toBeGreaterThanOrEqual(runs[i - 1]!.to);
  });
});

describe('sharing', () => {
  test('equal shares get equal time, in slices', () => {
    const scheduler = new Scheduler(1, HZ, 0);
    const worlds = [0, 1, 2].map(id => worldOf(id, new ScriptedGuest(() => 'forever')));
    for (const world of worlds) scheduler.add(world, 0);
    runTo(scheduler, 3000);
    const runs = worlds.map(world => world.sample(3_000_000).runCycles);
    expect(Math.max(...runs) - Math.min(...runs)).toBeLessThanOrEqual(SLICE + 100);
    expect(worlds[0]!.quantumExpiries).toBeGreaterThan(15);
    expect(worlds[0]!.quantumExpiries).toBeLessThan(25);
  });

  test('twice the shares get twice the time', () => {
    const scheduler = new Scheduler(1, HZ, 0);
    const rich = worldOf(0, new ScriptedGuest(() => 'forever'), 2000);
    const poor = worldOf(1, new ScriptedGuest(() => 'forever'), 1000);
    scheduler.add(rich, 0);
    scheduler.add(poor, 0);
    runTo(scheduler, 6000);
    const ratio = rich.sample(6_000_000).runCycles / poor.sample(6_000_000).runCycles;
    expect(ratio).toBeGreaterThan(1.9);
    expect(ratio).toBeLessThan(2.1);
  });

  test('a world that slept long does not claim the time that it slept', () => {
    const scheduler = new Scheduler(1, HZ, 0);
    const steady = worldOf(0, new ScriptedGuest(() => 'forever'));
    let first = true;
    const sleeper = worldOf(
      1,
      new ScriptedGuest(() => {
        if (!first) return 'forever';
        first = false;
        return { run: 1, halt: 2_000_000 };
      }),
    );
    scheduler.add(sleeper, 0);
    scheduler.add(steady, 0);
    runTo(scheduler, 3000);
    expect(steady.sample(3_000_000).runCycles).toBeGreaterThan(2_000_000 + 400_000);
  });

  test('a world without rivals keeps its pCPU, and a second pCPU takes a second world at once', () => {
    const scheduler = new Scheduler(2, HZ, 0);
    const worlds = [0, 1].map(id => worldOf(id, new ScriptedGuest(() => 'forever')));
    for (const world of worlds) scheduler.add(world, 0);
    runTo(scheduler, 1000);
    for (const world of worlds) {
      expect(world.sample(1_000_000)).toMatchObject({ readyCycles: 7, migrations: 0, switches: 1, quantumExpiries: 0 });
    }
  });
});

describe('limits', () => {
  test.each([0.1, 0.25, 0.5, 0.9])('a world alone on its pCPU gets %d of it, and is limited the rest', limit => {
    const scheduler = new Scheduler(1, HZ, 0);
    const world = worldOf(0, new ScriptedGuest(() => 'forever'), 1000, 0, limit);
    scheduler.add(world, 0);
    let most = 0;
    let before = 0;
    runTo(scheduler, 20_000, now => {
      const { runCycles, readyCycles, maxLimitedCycles } = world.sample(now);
      // Never more than the limit and a slice of credit (which is used at the rate 1 - limit) beyond it.
      most = Math.max(most, runCycles - limit * now);
      expect(readyCycles - maxLimitedCycles).toBeLessThanOrEqual(7 * world.switches);
      expect(maxLimitedCycles).toBeGreaterThanOrEqual(before);
      before = maxLimitedCycles;
    });
    const { runCycles } = world.sample(20 * HZ);
    expect(most).toBeLessThanOrEqual(limit * SLICE + 2);
    expect(runCycles / (20 * HZ)).toBeGreaterThan(limit - 0.01);
    expect(runCycles / (20 * HZ)).toBeLessThan(limit + 0.01);
  });

  test('what a limit leaves goes to the others, whatever their shares', () => {
    const scheduler = new Scheduler(1, HZ, 0);
    const limited = worldOf(0, new ScriptedGuest(() => 'forever'), 100_000, 0, 0.2);
    const poor = worldOf(1, new ScriptedGuest(() => 'forever'), 1);
    for (const world of [limited, poor]) scheduler.add(world, 0);
    runTo(scheduler, 10_000);
    expect(limited.sample(10 * HZ).runCycles / (10 * HZ)).toBeCloseTo(0.2, 1);
    expect(poor.sample(10 * HZ).runCycles / (10 * HZ)).toBeCloseTo(0.8, 1);
    // Nobody waits for a pCPU that a limited world does not use.
    expect(poor.sample(10 * HZ).maxLimitedCycles).toBe(0);
  });

  test('a world that wants less than its limit is never limited', () => {
    const scheduler = new Scheduler(1, HZ, 0);
    const world = worldOf(0, new ScriptedGuest(() => ({ run: 3_000, halt: 7_000 })), 1000, 0, 0.4);
    scheduler.add(world, 0);
    runTo(scheduler, 5_000);
    expect(world.sample(5 * HZ)).toMatchObject({ maxLimitedCycles: 0 });
  });

  test('a limit that is lifted lets a limited world go at once', () => {
    const scheduler = new Scheduler(1, HZ, 0);
    const world = worldOf(0, new ScriptedGuest(() => 'forever'), 1000, 0, 0.01);
    scheduler.add(world, 0);
    runTo(scheduler, 1_000);
    expect(world.state).toBe('ready');
    const before = world.sample(HZ);
    scheduler.allocate(world, allocation(), HZ);
    runTo(scheduler, 1_000, undefined, HZ);
    const after = world.sample(2 * HZ);
    expect(after.runCycles - before.runCycles).toBe(HZ - 7);
    expect(after.maxLimitedCycles).toBe(before.maxLimitedCycles);
  });
});

describe('reservations', () => {
  test('a poor world gets what is reserved for it, and its shares of the rest are the others’', () => {
    const scheduler = new Scheduler(1, HZ, 0);
    const poor = worldOf(0, new ScriptedGuest(() => 'forever'), 10, 0.6);
    const rich = worldOf(1, new ScriptedGuest(() => 'forever'), 10_000);
    for (const world of [poor, rich]) scheduler.add(world, 0);
    runTo(scheduler, 20_000);
    expect(poor.sample(20 * HZ).runCycles / (20 * HZ)).toBeGreaterThan(0.59);
    expect(poor.sample(20 * HZ).runCycles / (20 * HZ)).toBeLessThan(0.62);
  });

  test('two reservations that fill a pCPU are both kept', () => {
    const scheduler = new Scheduler(1, HZ, 0);
    const worlds = [
      worldOf(0, new ScriptedGuest(() => 'forever'), 1, 0.3),
      worldOf(1, new ScriptedGuest(() => 'forever'), 1000, 0.68),
      worldOf(2, new ScriptedGuest(() => 'forever'), 100_000),
    ];
    for (const world of worlds) scheduler.add(world, 0);
    runTo(scheduler, 20_000);
    const [a, b] = worlds.map(world => world.sample(20 * HZ).runCycles / (20 * HZ));
    expect(a).toBeGreaterThan(0.295);
    expect(b).toBeGreaterThan(0.675);
  });

  test('idle time is not reserved: who wakes does not get it back', () => {
    const scheduler = new Scheduler(1, HZ, 0);
    let first = true;
    const sleeper = worldOf(
      0,
      new ScriptedGuest(() => {
        if (!first) return 'forever';
        first = false;
        return { run: 1, halt: 10 * HZ };
      }),
      1000,
      0.5,
    );
    const rival = worldOf(1, new ScriptedGuest(() => 'forever'), 1000);
    for (const world of [sleeper, rival]) scheduler.add(world, 0);
    runTo(scheduler, 20_000);
    expect(sleeper.sample(20 * HZ).runCycles / (10 * HZ)).toBeLessThan(0.53);
  });

  test('a reservation that is given up leaves no debt', () => {
    const scheduler = new Scheduler(1, HZ, 0);
    const once = worldOf(0, new ScriptedGuest(() => 'forever'), 1000, 0.9);
    const rival = worldOf(1, new ScriptedGuest(() => 'forever'), 1000);
    for (const world of [once, rival]) scheduler.add(world, 0);
    runTo(scheduler, 10_000);
    const before = once.sample(10 * HZ).runCycles;
    scheduler.allocate(once, allocation(), 10 * HZ);
    runTo(scheduler, 4_000, undefined, 10 * HZ);
    expect((once.sample(14 * HZ).runCycles - before) / (4 * HZ)).toBeCloseTo(0.5, 1);
  });
});

describe('halting', () => {
  test('a world that only works a little now and then does not wait a slice for a busy one', () => {
    const scheduler = new Scheduler(1, HZ, 0);
    const busy = worldOf(0, new ScriptedGuest(() => 'forever'));
    const light = worldOf(1, new ScriptedGuest(() => ({ run: 50, halt: 9_950 })));
    scheduler.add(busy, 0);
    scheduler.add(light, 0);
    runTo(scheduler, 2000);
    const sample = light.sample(2_000_000);
    // Woken about every 10 to 11 quanta, each time served within a quantum or two.
    expect(sample.wakeups).toBeGreaterThan(160);
    expect(sample.readyCycles / sample.wakeups).toBeLessThan(2 * QUANTUM);
    expect(busy.sample(2_000_000).runCycles).toBeGreaterThan(0.97 * 2_000_000);
  });

  test('waking often does not buy more than a fair share', () => {
    const scheduler = new Scheduler(1, HZ, 0);
    const busy = worldOf(0, new ScriptedGuest(() => 'forever'));
    const greedy = worldOf(1, new ScriptedGuest(() => ({ run: 20_000, halt: 1 })));
    scheduler.add(busy, 0);
    scheduler.add(greedy, 0);
    runTo(scheduler, 4000);
    expect(busy.sample(4_000_000).runCycles / 4_000_000).toBeGreaterThan(0.45);
  });

  test('a halted world wakes at its time and costs nothing meanwhile', () => {
    const scheduler = new Scheduler(1, HZ, 0);
    const guest = new ScriptedGuest(() => ({ run: 100, halt: 9_893 }));
    const world = worldOf(0, guest);
    scheduler.add(world, 0);
    runTo(scheduler, 100);
    // 7 of dispatch, 100 of run and 9,893 of halt are one period of 10,000.
    expect(world.wakeups).toBe(9);
    expect(world.sample(100_000)).toMatchObject({ runCycles: 1000, readyCycles: 70, idleCycles: 98_930 });
    expect(scheduler.pcpuSamples(100_000)[0]).toMatchObject({ idleCycles: 98_930, usedCycles: 1_070 });
  });

  test('input wakes a world that would sleep for ever, also while its halt has not taken effect', () => {
    const scheduler = new Scheduler(1, HZ, 0);
    const guest = new ScriptedGuest(() => ({ run: 990, halt: Infinity }), 7, 50);
    const world = worldOf(0, guest);
    scheduler.add(world, 0);
    scheduler.advance(QUANTUM);
    scheduler.advance(2 * QUANTUM);
    expect(world.state).toBe('idle');
    scheduler.wake(world, 2 * QUANTUM);
    expect(world.wakeups).toBe(1);
    // Dispatch 7 and 990 of work end within the quantum; 1,010 more overrun the next quantum's end.
    scheduler.advance(3 * QUANTUM);
    scheduler.wake(world, 3 * QUANTUM);
    scheduler.advance(5 * QUANTUM);
    expect(guest.ran).toBeGreaterThanOrEqual(3 * 990);
  });

  test('a stop is told at its time, and a removed world leaves its pCPU to others', () => {
    const scheduler = new Scheduler(1, HZ, 0);
    let step = 0;
    const guest = new ScriptedGuest(() => (step++ === 0 ? { run: 500, halt: 100 } : 'stop'));
    const world = worldOf(0, guest);
    guest.onStopped = at => {
      guest.stoppedAt = at;
      scheduler.remove(world, at);
    };
    const other = worldOf(1, new ScriptedGuest(() => 'forever'));
    scheduler.add(world, 0);
    runTo(scheduler, 10);
    expect(guest.stoppedAt).toBe(7 + 500 + 100 + 7);
    expect(world.state).toBe('off');
    scheduler.add(other, 10 * QUANTUM);
    runTo(scheduler, 10, undefined, 10 * QUANTUM);
    expect(other.sample(20 * QUANTUM).runCycles).toBe(10 * QUANTUM - 7);
    expect(world.cyclesIn('off', 20 * QUANTUM)).toBe(20 * QUANTUM - 614);
  });
});

describe('input that will arrive', () => {
  /** Halts for good after each 10 cycles. */
  const sleeper = () => new ScriptedGuest(() => ({ run: 10, halt: Infinity }), 0);

  test('wakes a halted world then, within the quantum, and no earlier', () => {
    const scheduler = new Scheduler(1, HZ, 0);
    const guest = sleeper();
    const world = worldOf(1, guest);
    scheduler.add(world, 0);
    scheduler.advance(QUANTUM);
    scheduler.wakeAt(world, QUANTUM + 500);
    scheduler.wakeAt(world, QUANTUM + 300);
    scheduler.wakeAt(world, QUANTUM + 400);
    scheduler.advance(2 * QUANTUM);
    expect(guest.runs.map(({ from }) => from)).toEqual([0, QUANTUM + 300]);
  });

  test.each([
    ['before it halts is there when it does', 5, 10],
    ['later ends its sleep', 700, 700],
  ])('for a world whose run is not over yet: what comes %s', (_what, at, from) => {
    const scheduler = new Scheduler(2, HZ, 0);
    const guest = sleeper();
    const world = worldOf(1, guest);
    // The other one runs after it, on its own processor, up to the end of the quantum; the halt has not taken effect then.
    const other = new ScriptedGuest(() => {
      scheduler.wakeAt(world, at);
      return 'forever';
    }, 0);
    scheduler.add(world, 0);
    scheduler.add(worldOf(2, other), 0);
    scheduler.advance(QUANTUM);
    expect(guest.runs.map(run => run.from)).toEqual([0, from]);
  });
});
