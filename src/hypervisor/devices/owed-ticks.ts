/**
 * Catch-up. On hardware a tick whose predecessor is still waiting in the interrupt controller is lost. A guest that counts ticks would then
 * fall behind whenever its virtual CPU is descheduled, so the periodic timers of a virtual machine keep such ticks and deliver them later,
 * faster than nominal (VMware, "Timekeeping in VMware Virtual Machines"). The rate is limited to `CATCH_UP_FACTOR` times nominal, so
 * that the guest still gets work done; more than `BACKLOG_SECONDS_MAX` are given up.
 */
import type { Archive } from '../base/archive.js';
import { exchangeTimer, type TimerHandle, type VirtualClock } from './device.js';

/** estimate: published documents name no figure; 2 to 4 keeps most of the guest's time for its own work. */
const CATCH_UP_FACTOR = 3;
export const BACKLOG_SECONDS_MAX = 60;

export class OwedTicks {
  readonly #clock: VirtualClock;
  readonly #raise: () => void;
  #timer: TimerHandle | undefined;
  #count = 0;
  #inFlight = false;
  #raisedAtCycles = -Infinity;
  #periodCycles = Infinity;

  /** `raise` puts the request of one tick to the interrupt controller. */
  constructor(clock: VirtualClock, raise: () => void) {
    this.#clock = clock;
    this.#raise = raise;
  }

  /** Ticks that are owed, without the one that waits in the controller. */
  get count(): number {
    return this.#count;
  }

  /** A request waits to be acknowledged. */
  get inFlight(): boolean {
    return this.#inFlight;
  }

  /** So many ticks have fallen due, of a timer with this period. */
  add(ticks: number, periodCycles: number): void {
    this.#periodCycles = periodCycles;
    const max = Math.floor((BACKLOG_SECONDS_MAX * this.#clock.cyclesPerSecond) / periodCycles);
    this.#count = Math.min(this.#count + ticks, max);
    this.#deliver();
  }

  /** One request now, whatever is owed. */
  raise(): void {
    this.#inFlight = true;
    this.#raisedAtCycles = this.#clock.nowCycles;
    this.#raise();
  }

  /** The processor has taken the request. */
  acknowledged(): void {
    this.#inFlight = false;
    this.#deliver();
  }

  /** The request is no longer there. */
  withdrawn(): void {
    this.#inFlight = false;
  }

  /** Nothing is owed any more. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#count = 0;
  }

  exchange(archive: Archive): void {
    this.#timer = exchangeTimer(archive, this.#clock, this.#timer, () => this.#onTimer());
    this.#count = archive.number(this.#count);
    this.#inFlight = archive.flag(this.#inFlight);
    this.#raisedAtCycles = archive.number(this.#raisedAtCycles);
    this.#periodCycles = archive.number(this.#periodCycles);
  }

  #onTimer(): void {
    this.#timer = undefined;
    this.#deliver();
  }

  /** Delivers one owed tick now, or sets a timer for when the rate limit allows it. */
  #deliver(): void {
    if (this.#count === 0 || this.#inFlight || this.#timer !== undefined) return;
    const earliest = this.#raisedAtCycles + Math.floor(this.#periodCycles / CATCH_UP_FACTOR);
    if (earliest <= this.#clock.nowCycles) {
      this.#count -= 1;
      this.raise();
      return;
    }
    this.#timer = this.#clock.at(earliest, () => this.#onTimer());
  }
}
