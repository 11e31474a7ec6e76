/**
 * A world: what the vmkernel schedules. At every instant it is in exactly one state, so that the times in its states sum to
 * the time that it exists:
 *
 *     run + ready + wait + costop = elapsed        wait includes idle; costop is 0 while every VM has one virtual CPU
 *
 * As on ESX 3.5, guest work is charged to the vmm world of a virtual CPU; its vcpu world and the VM's vmx world wait. Device
 * emulation, which the real vmx does in part, happens in the monitor here and is charged there.
 */
import { assert } from '../base/assert.js';
import type { WorldSample } from '../stats/sample.js';
import { AllocationClocks, type CpuAllocation } from './allocation.js';

export type WorldKind = WorldSample['kind'];
export type WorldState = Exclude<WorldSample['state'], 'unknown'>;

/** How a stretch of guest execution ended. */
export type GuestResult =
  | { readonly kind: 'deadline'; readonly atCycles: number }
  /** Nothing to do before `wakeAtCycles` (Infinity: until somebody calls `wake`). */
  | { readonly kind: 'halted'; readonly atCycles: number; readonly wakeAtCycles: number }
  /** Not to be run any more; `onStopped` says why to its owner. */
  | { readonly kind: 'stopped'; readonly atCycles: number };

/** What runs in a schedulable world. */
export interface Guest {
  /** Runs from `fromCycles` (the pCPU's time) until `untilCycles` or a little later. Never throws for guest trouble. */
  run(fromCycles: number, untilCycles: number): GuestResult;
  /** The result `stopped` takes effect: power off, reset or crash. Called at a time when worlds may change state. */
  onStopped(atCycles: number): void;
  /** Price of putting it on a pCPU, in cycles: scheduling and world switch; 0 where no vmkernel is below. */
  readonly dispatchCycles: number;
  /** Cycles of vmkernel work that ran while the world was scheduled (device timers), since the world exists. */
  readonly kernelCycles: number;
}

export class World {
  readonly id: number;
  readonly name: string;
  readonly kind: WorldKind;
  readonly guest: Guest | undefined;
  readonly clocks: AllocationClocks;
  /** Charged time over shares: the ready world with the smallest one is next. */
  pass = 0;
  /** Its place among the worlds of the host, by when they were added: decides between equals. */
  order = 0;
  /** While ready: from when on it may be put on a pCPU. */
  readyAtCycles = 0;
  /** While idle: when it becomes ready by itself. */
  wakeAtCycles = Infinity;
  /** It has woken from a halt and did not run since. */
  justWoken = false;
  /** Input has arrived since it last ran. */
  inputPending = false;
  /** Input will arrive that came up since it last ran: it does not sleep for longer. */
  inputAtCycles = Infinity;
  /** Index of the pCPU on which it runs or ran last. */
  pcpu: number | undefined;
  switches = 0;
  migrations = 0;
  quantumExpiries = 0;
  wakeups = 0;
  #state: WorldState = 'off';
  #since = 0;
  /** vmkernel work for this world outside its run time, in cycles. */
  #dispatch = 0;
  readonly #times: Record<WorldState, number> = { run: 0, ready: 0, wait: 0, idle: 0, off: 0 };

  /** Ready, but over its limit: until when, and how long it was in all. */
  #limitedUntil = 0;
  #limited = 0;

  constructor(id: number, name: string, kind: WorldKind, allocation: CpuAllocation, nowCycles: number, guest?: Guest) {
    this.id = id;
    this.name = name;
    this.kind = kind;
    this.clocks = new AllocationClocks(allocation);
    this.guest = guest;
    this.#since = nowCycles;
  }

  get state(): WorldState {
    return this.#state;
  }

  /** When the present state began. */
  get sinceCycles(): number {
    return this.#since;
  }

  /** Changes state at a time that is not before the last change. */
  enter(state: WorldState, atCycles: number): void {
    assert(atCycles >= this.#since, 'a world changes state in the past');
    this.#limited += this.#limitedSince(atCycles);
    this.#times[this.#state] += atCycles - this.#since;
    this.#state = state;
    this.#since = atCycles;
    this.#limitedUntil = atCycles;
  }

  /** It is ready and would run, but for its limit, from the beginning of the present state until then. */
  limitUntil(cycles: number): void {
    this.#limitedUntil = Math.max(this.#since, cycles);
  }

  /** Part of the present state up to a time. */
  #limitedSince(nowCycles: number): number {
    return Math.max(0, Math.min(nowCycles, this.#limitedUntil) - this.#since);
  }

  /** Cycles in which it was ready, and kept from running by its limit. */
  limitedCycles(nowCycles: number): number {
    return this.#limited + this.#limitedSince(nowCycles);
  }

  chargeDispatch(cycles: number): void {
    this.#dispatch += cycles;
  }

  /** vmkernel work for this world outside its run time, in cycles. */
  get dispatchChargedCycles(): number {
    return this.#dispatch;
  }

  /** Cycles in a state up to `nowCycles`, which is not before the last change of state. */
  cyclesIn(state: WorldState, nowCycles: number): number {
    return this.#times[state] + (state === this.#state ? nowCycles - this.#since : 0);
  }

  sample(nowCycles: number): WorldSample {
    const runCycles = this.cyclesIn('run', nowCycles);
    const idleCycles = this.cyclesIn('idle', nowCycles);
    // Timer work for this world while it is scheduled is system time, and overlaps its run time.
    const overlapCycles = Math.min(this.guest?.kernelCycles ?? 0, runCycles);
    const sysCycles = this.#dispatch + overlapCycles;
    return {
      id: this.id,
      name: this.name,
      kind: this.kind,
      state: this.#state,
      pcpu: this.#state === 'run' ? this.pcpu : undefined,
      usedCycles: runCycles + sysCycles - overlapCycles,
      runCycles,
      sysCycles,
      waitCycles: this.cyclesIn('wait', nowCycles) + idleCycles,
      idleCycles,
      readyCycles: this.cyclesIn('ready', nowCycles),
      overlapCycles,
      costopCycles: 0,
      maxLimitedCycles: this.limitedCycles(nowCycles),
      switches: this.switches,
      migrations: this.migrations,
      quantumExpiries: this.quantumExpiries,
      wakeups: this.wakeups,
    };
  }
}
