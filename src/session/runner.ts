/**
 * Runs a host in slices short enough that whoever waits for an answer hardly notices. Used by the worker, and directly by
 * commands that have no console to keep alive.
 *
 * A slice ends after `SLICE_MS` of real time, but never inside a quantum: commands only take effect between quanta, and a
 * quantum of a busy host takes as long as the simulation needs for it.
 */
import { performance } from 'node:perf_hooks';
import type { Host, HostEvent } from '../hypervisor/index.js';
import { Pacer, SpeedMeter } from './pacer.js';
import type { Pace } from './protocol.js';

/** Real time of one slice, ms. */
const SLICE_MS = 10;
/** Rest between two slices while virtual time keeps up with real time, ms. */
const REST_MS = 5;

export interface RunnerHooks {
  /** After every quantum, with the events of that quantum. Returning `stop` ends the run here. */
  onQuantum(events: readonly HostEvent[]): 'go' | 'stop';
  /** After every slice. */
  onSlice?(): void;
}

export class Runner {
  readonly #host: Host;
  readonly #pacer: Pacer;
  readonly #meter = new SpeedMeter();
  readonly #hooks: RunnerHooks;
  #stopped = false;

  constructor(host: Host, pace: Pace, hooks: RunnerHooks) {
    this.#host = host;
    this.#hooks = hooks;
    this.#pacer = new Pacer(pace, performance.now());
  }

  /** Virtual seconds per real second over the last moments. */
  get speed(): number {
    return this.#meter.speed;
  }

  /** Ends `run` after the current quantum. */
  stop(): void {
    this.#stopped = true;
  }

  /**
   * Runs until a hook or `stop` says so, giving way to the event loop between slices. Whatever the host throws comes out
   * of the promise.
   */
  async run(): Promise<void> {
    while (!this.#stopped) {
      const ahead = this.#slice();
      this.#hooks.onSlice?.();
      if (this.#stopped) return;
      await (ahead
        ? new Promise(resolve => setTimeout(resolve, REST_MS))
        : new Promise(resolve => setImmediate(resolve)));
    }
  }

  /** True when virtual time has caught up with what the pace allows. */
  #slice(): boolean {
    const host = this.#host;
    const quantumMs = (host.quantumCycles / host.cyclesPerSecond) * 1000;
    const startMs = performance.now();
    let leftMs = this.#pacer.grant(startMs);
    while (leftMs >= quantumMs) {
      host.advance(host.nowCycles + host.quantumCycles);
      leftMs -= quantumMs;
      this.#pacer.spend(quantumMs);
      if (this.#hooks.onQuantum(host.drainEvents()) === 'stop') this.#stopped = true;
      if (this.#stopped || performance.now() - startMs >= SLICE_MS) break;
    }
    this.#meter.mark(performance.now(), (host.nowCycles / host.cyclesPerSecond) * 1000);
    return leftMs < quantumMs;
  }
}
