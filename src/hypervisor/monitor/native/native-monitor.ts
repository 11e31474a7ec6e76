/**
 * No monitor at all: the guest owns its machine, and this loop is only the wiring between processor, timers and interrupt
 * controller. It charges nothing. It is the baseline of every comparison.
 */
import { assertNever } from '../../base/assert.js';
import type { DeviceClock } from '../../devices/clock.js';
import type { HardwareThread } from '../../machine/cpu/processor.js';
import { Flag } from '../../machine/cpu/state.js';
import type { CauseCycles } from '../../stats/causes.js';
import type { Counters } from '../../stats/counters.js';
import type { LoopResult } from '../loop.js';

export interface NativeMachine {
  readonly thread: HardwareThread;
  readonly clock: DeviceClock;
  /** Level of the interrupt controller's output. */
  readonly intr: boolean;
  /** A device has switched the machine off or asked for a reset. */
  readonly stopRequested: boolean;
  readonly counters: Counters;
  readonly causes: CauseCycles;
}

export class NativeMonitor {
  readonly #machine: NativeMachine;
  readonly #accounted = new Float64Array(4);
  #instructions: number;
  #tlbMisses: number;
  #portAccesses: number;
  /** The processor is in HLT. */
  halted = false;

  constructor(machine: NativeMachine) {
    this.#machine = machine;
    const { thread, clock } = machine;
    this.#accounted.set(thread.cyclesByRing);
    this.#instructions = thread.instructions;
    this.#tlbMisses = thread.counters.tlbMisses;
    this.#portAccesses = thread.counters.portReads + thread.counters.portWrites;
    // A timer that the guest sets in the middle of a run ends the run in time.
    clock.onSet = atCycles => {
      if (atCycles < thread.deadlineCycles) thread.deadlineCycles = atCycles;
    };
  }

  /** Runs until `thread.cycles >= untilCycles`, or the machine halts or stops. */
  run(untilCycles: number): LoopResult {
    const { thread, clock } = this.#machine;
    for (;;) {
      clock.runDue(thread.cycles);
      if (this.#machine.stopRequested || thread.cycles >= untilCycles) return { kind: 'deadline' };
      if (this.halted) {
        const wakes = this.#machine.intr && (thread.readEflags() & Flag.IF) !== 0;
        if (!wakes) return { kind: 'halted', wakeAtCycles: clock.nextAt };
        this.halted = false;
        this.#machine.counters.wakeups += 1;
      }
      const exit = thread.run(Math.min(untilCycles, clock.nextAt));
      this.#account();
      switch (exit.kind) {
        case 'deadline':
        case 'stepped':
          break;
        case 'halt':
          this.halted = true;
          break;
        case 'shutdown':
          return { kind: 'stopped', reason: exit.reason };
        case 'monitor':
        case 'sysenter':
        case 'vmExit':
        case 'routine':
          return { kind: 'stopped', reason: `the processor left for a monitor that does not exist (${exit.kind})` };
        default:
          assertNever(exit);
      }
    }
  }

  /** Ring 3 is the user's, everything else the kernel's. */
  #account(): void {
    const { thread, causes, counters } = this.#machine;
    const rings = thread.cyclesByRing;
    const booked = this.#accounted;
    causes.guestUser += rings[3]! - booked[3]!;
    causes.guestKernel += rings[0]! - booked[0]! + (rings[1]! - booked[1]!) + (rings[2]! - booked[2]!);
    booked.set(rings);
    counters.instructions += thread.instructions - this.#instructions;
    this.#instructions = thread.instructions;
    counters.tlbMisses += thread.counters.tlbMisses - this.#tlbMisses;
    this.#tlbMisses = thread.counters.tlbMisses;
    const portAccesses = thread.counters.portReads + thread.counters.portWrites;
    counters.portAccesses += portAccesses - this.#portAccesses;
    this.#portAccesses = portAccesses;
  }
}
