/**
 * Virtual time against real time. This folder is the only place that knows both clocks: the host is told how far to run and
 * never learns why. All functions take the real time as an argument, so tests own it.
 */
import type { Pace } from './protocol.js';

/** Real time that may be made up for at most, ms: a host that could not keep up does not sprint afterwards. */
const CREDIT_MS_MAX = 20;

/** Grants virtual time at no more than `pace` times real time. */
export class Pacer {
  readonly #pace: Pace;
  #lastMs: number;
  #creditMs = 0;

  constructor(pace: Pace, nowMs: number) {
    this.#pace = pace;
    this.#lastMs = nowMs;
  }

  /** Virtual ms that may run now; unlimited with pace `max`. */
  grant(nowMs: number): number {
    if (this.#pace === 'max') return Number.POSITIVE_INFINITY;
    const elapsedMs = Math.max(0, nowMs - this.#lastMs);
    this.#lastMs = nowMs;
    this.#creditMs = Math.min(this.#creditMs + elapsedMs * this.#pace, CREDIT_MS_MAX * Math.max(1, this.#pace));
    return this.#creditMs;
  }

  /** Tells how much of the grant was used, in virtual ms. */
  spend(virtualMs: number): void {
    if (this.#pace !== 'max') this.#creditMs -= virtualMs;
  }
}

/** Span over which the speed is measured, real ms. */
const WINDOW_MS = 1_500;

/** Virtual against real time over a sliding window. */
export class SpeedMeter {
  readonly #marks: { readonly realMs: number; readonly virtualMs: number }[] = [];

  mark(realMs: number, virtualMs: number): void {
    this.#marks.push({ realMs, virtualMs });
    // The oldest mark stays until the next one is old enough too: the window never shrinks below its span.
    while (this.#marks.length > 2 && realMs - this.#marks[1]!.realMs >= WINDOW_MS) this.#marks.shift();
  }

  /** Virtual seconds per real second; 0 until two marks are apart. */
  get speed(): number {
    const first = this.#marks[0];
    const last = this.#marks[this.#marks.length - 1];
    if (!first || !last || last.realMs <= first.realMs) return 0;
    return (last.virtualMs - first.virtualMs) / (last.realMs - first.realMs);
  }
}
