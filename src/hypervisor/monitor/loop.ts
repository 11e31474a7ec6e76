/** The entry and exit loop: timers, pending interrupts, run, dispatch, account, again. */
import type { Technique } from './technique.js';
import type { VirtualCpu } from './virtual-cpu.js';

export type LoopResult =
  /** `untilCycles` is reached. */
  | { readonly kind: 'deadline' }
  /** Halted; nothing to do before `wakeAtCycles` (Infinity: until some input raises an interrupt). */
  | { readonly kind: 'halted'; readonly wakeAtCycles: number }
  /** The VM cannot go on: one readable line. */
  | { readonly kind: 'stopped'; readonly reason: string };

export class MonitorLoop {
  readonly vcpu: VirtualCpu;
  technique: Technique;
  /** The guest waits in HLT. */
  halted = false;

  /** `onVmiInit` makes the technique that takes over when the guest's kernel has called the ROM's Init. */
  constructor(vcpu: VirtualCpu, technique: Technique, _onVmiInit: (vcpu: VirtualCpu) => Technique) {
    this.vcpu = vcpu;
    this.technique = technique;
  }

  /** Runs the guest until `thread.cycles >= untilCycles`, or it halts or stops. */
  run(_untilCycles: number): LoopResult {
    throw new Error('being written');
  }

  /** Every audit that the monitor has; settles queued guest updates first. */
  audit(): string[] {
    throw new Error('being written');
  }
}
