/**
 * The clock of one virtual machine's devices: virtual time plus the timers that devices have set. Whoever runs the machine
 * asks `nextAt` for the deadline and calls `runDue` when it is reached; devices only see the `VirtualClock` side.
 *
 * A callback may come late (the virtual CPU was descheduled, or the processor was between event points). Devices are told
 * the time at which they run, and must cope: nothing here replays missed instants.
 *
 * Devices live in the guest's time, whoever runs the machine in the host's. The two are the same until a VM is suspended: its time stands
 * still then, and `shiftCycles` is how far it is behind.
 */
import { assert } from '../base/assert.js';
import type { TimerHandle, VirtualClock } from './device.js';

interface Timer {
  readonly atCycles: number;
  readonly place: number;
  readonly callback: (nowCycles: number) => void;
}

export class DeviceClock implements VirtualClock {
  readonly cyclesPerSecond: number;
  /** The host's clock less the guest's: cycles for which the VM was suspended; below 0 on a host that was switched on later. */
  readonly shiftCycles: number;
  /** Called, in host time, whenever a timer is set, so that a run in progress can end in time for it. */
  onSet: (atCycles: number) => void = () => {};
  readonly #now: () => number;
  /** Soonest first; equal times by their place. */
  readonly #timers: Timer[] = [];
  #nextPlace = 0;

  /** `now` is the host's clock. */
  constructor(cyclesPerSecond: number, now: () => number, shiftCycles = 0) {
    this.cyclesPerSecond = cyclesPerSecond;
    this.#now = now;
    this.shiftCycles = shiftCycles;
  }

  get nowCycles(): number {
    return this.#now() - this.shiftCycles;
  }

  get hostCycles(): number {
    return this.#now();
  }

  /** When the next timer is due, in cycles of the host; `Infinity` when none is set. */
  get nextAt(): number {
    return this.#timers.length > 0 ? this.#timers[0]!.atCycles + this.shiftCycles : Infinity;
  }

  at(atCycles: number, callback: (nowCycles: number) => void, place = this.#nextPlace): TimerHandle {
    assert(Number.isFinite(atCycles), 'a timer needs a finite time');
    this.#nextPlace = Math.max(this.#nextPlace, place + 1);
    const timer: Timer = { atCycles, place, callback };
    const timers = this.#timers;
    let index = timers.length;
    const isLater = (other: Timer): boolean =>
      other.atCycles > atCycles || (other.atCycles === atCycles && other.place > place);
    while (index > 0 && isLater(timers[index - 1]!)) index -= 1;
    timers.splice(index, 0, timer);
    this.onSet(atCycles + this.shiftCycles);
    return {
      atCycles,
      place,
      cancel: () => {
        const found = timers.indexOf(timer);
        if (found >= 0) timers.splice(found, 1);
      },
    };
  }

  /** Fires every timer that is due, including those that the callbacks set for the same instant. `hostCycles`: now. Returns how many fired. */
  runDue(hostCycles: number): number {
    const nowCycles = hostCycles - this.shiftCycles;
    let fired = 0;
    while (this.#timers.length > 0 && this.#timers[0]!.atCycles <= nowCycles) {
      const timer = this.#timers.shift()!;
      timer.callback(nowCycles);
      fired += 1;
    }
    return fired;
  }
}
