/**
 * The timer of a local APIC (SDM vol. 3, "APIC Timer"): counts down from the initial count at the bus clock over a divisor; at zero it
 * expires, and in periodic mode begins again. Nothing is stepped: the count that a read returns is computed from the clock.
 */
import type { Archive } from '../base/archive.js';
import { exchangeTimer, type TimerHandle, type VirtualClock } from './device.js';

/** What VMware's virtual hardware has (Linux prints it: "Host bus clock speed read from hypervisor"). */
export const APIC_BUS_HZ = 66_000_000;

const DIVISORS = [2, 4, 8, 16, 32, 64, 128, 1] as const;

export class ApicTimer {
  readonly #clock: VirtualClock;
  readonly #expired: (times: number) => void;
  #timer: TimerHandle | undefined;
  #initial = 0;
  #divideConfiguration = 0;
  #periodic = false;
  /** Clock when counting began, and what was to count then. */
  #startCycles = 0;
  #first = 0;
  /** Expiries since then. */
  #count = 0;

  /** `expired(times)`: more than once if nobody looked in between. */
  constructor(clock: VirtualClock, expired: (times: number) => void) {
    this.#clock = clock;
    this.#expired = expired;
  }

  get initialCount(): number {
    return this.#initial;
  }

  /** 0 stops the timer. */
  set initialCount(value: number) {
    this.#initial = value;
    this.#start(value);
  }

  /** Bits 0, 1 and 3 choose the divisor. */
  get divideConfiguration(): number {
    return this.#divideConfiguration;
  }

  set divideConfiguration(value: number) {
    const remaining = this.currentCount;
    this.#divideConfiguration = value & 0xb;
    if (this.#timer !== undefined) this.#start(remaining);
  }

  set periodic(periodic: boolean) {
    this.#periodic = periodic;
  }

  get currentCount(): number {
    if (this.#timer === undefined) return 0;
    const next = this.#first + this.#count * this.#initial;
    return Math.max(0, next - this.#ticksSince(this.#clock.nowCycles));
  }

  /** It will expire. */
  get isRunning(): boolean {
    return this.#timer !== undefined;
  }

  /** Expiries per second; 0 for a timer that stands still or expires once. */
  get hz(): number {
    return this.#timer !== undefined && this.#periodic ? APIC_BUS_HZ / (this.#divisor * this.#initial) : 0;
  }

  /** In cycles. */
  get period(): number {
    return (this.#initial * this.#divisor * this.#clock.cyclesPerSecond) / APIC_BUS_HZ;
  }

  exchange(archive: Archive): void {
    this.#initial = archive.number(this.#initial);
    this.#divideConfiguration = archive.number(this.#divideConfiguration);
    this.#periodic = archive.flag(this.#periodic);
    this.#startCycles = archive.number(this.#startCycles);
    this.#first = archive.number(this.#first);
    this.#count = archive.number(this.#count);
    this.#timer = exchangeTimer(archive, this.#clock, this.#timer, now => this.#due(now));
  }

  get #divisor(): number {
    const value = this.#divideConfiguration;
    return DIVISORS[(value & 3) | ((value & 8) >>> 1)]!;
  }

  #start(count: number): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (count === 0) return;
    this.#startCycles = this.#clock.nowCycles;
    this.#first = count;
    this.#count = 0;
    this.#arm();
  }

  #arm(): void {
    const at = this.#startCycles + this.#cyclesOf(this.#first + this.#count * this.#initial);
    this.#timer = this.#clock.at(at, now => this.#due(now));
  }

  #due(nowCycles: number): void {
    this.#timer = undefined;
    let times = 1;
    if (this.#periodic && this.#initial > 0) {
      times = 1 + Math.floor((this.#ticksSince(nowCycles) - this.#first) / this.#initial) - this.#count;
      this.#count += times;
      this.#arm();
    }
    this.#expired(times);
  }

  /** Whole ticks from the start to `cycles`. Exact: the products exceed what a double counts singly. */
  #ticksSince(cycles: number): number {
    const elapsed = BigInt(Math.floor(cycles - this.#startCycles));
    return Number((elapsed * BigInt(APIC_BUS_HZ)) / BigInt(this.#clock.cyclesPerSecond * this.#divisor));
  }

  /** First cycle, from the start, at which so many ticks are over. */
  #cyclesOf(ticks: number): number {
    const hz = BigInt(APIC_BUS_HZ);
    return Number((BigInt(ticks) * BigInt(this.#clock.cyclesPerSecond * this.#divisor) + hz - 1n) / hz);
  }
}
