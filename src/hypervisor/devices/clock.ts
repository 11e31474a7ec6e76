/**
 * The clock of one virtual machine's devices: virtual time plus the timers that devices have set. Whoever runs the machine
 * asks `nextAt` for the deadline and calls `runDue` when it is reached; devices only see the `VirtualClock` side.
 *
 * A callback may come late (the virtual CPU was descheduled, or the processor was between event points). Devices are told
 * the time at which they run, and must cope: nothing here replays missed instants.
 */
import { assert } from '../base/assert.js';
import type { TimerHandle, VirtualClock } from './device.js';

interface Timer {
  readonly atCycles: number;
  readonly callback: (nowCycles: number) => void;
}

export class DeviceClock implements VirtualClock {
  readonly cyclesPerSecond: number;
  /** Called whenever a timer is set, so that a run in progress can end in time for it. */
  onSet: (atCycles: number) => void = () => {};
  readonly #now: () => number;
  /** Soonest first; equal times in the order in which they were set. */
  readonly #timers: Timer[] = [];

  constructor(cyclesPerSecond: number, now: () => number) {
    this.cyclesPerSecond = cyclesPerSecond;
    this.#now = now;
  }

  get nowCycles(): number {
    return this.#now();
  }

  /** When the next timer is due, in cycles; `Infinity` when none is set. */
  get nextAt(): number {
    return this.#timers.length > 0 ? this.#timers[0]!.atCycles : Infinity;
  }

  at(atCycles: number, callback: (nowCycles: number) => void): TimerHandle {
    assert(Number.isFinite(atCycles), 'a timer needs a finite time');
    const timer: Timer = { atCycles, callback };
    const timers = this.#timers;
    let index = timers.length;
    while (index > 0 && timers[index - 1]!.atCycles > atCycles) index -= 1;
    timers.splice(index, 0, timer);
    this.onSet(atCycles);
    return {
      cancel: () => {
        const found = timers.indexOf(timer);
        if (found >= 0) timers.splice(found, 1);
      },
    };
  }

  /** Fires every timer that is due, including those that the callbacks set for the same instant. Returns how many fired. */
  runDue(nowCycles: number): number {
    let fired = 0;
    while (this.#timers.length > 0 && this.#timers[0]!.atCycles <= nowCycles) {
      const timer = this.#timers.shift()!;
      timer.callback(nowCycles);
      fired += 1;
    }
    return fired;
  }
}
