/**
 * The entry and exit loop: timers, pending interrupts, run, dispatch, account, again.
 *
 *     due timers -> deliver an interrupt if the guest may take one -> technique.enter -> exit
 *         page fault: classified here (true, hidden, trace, MMIO, ...)     everything else: technique.handle
 *
 * The loop knows no technique: how guest kernel code is executed is behind `Technique`.
 *
 * Interrupts are delivered at exits, and only there. Whoever sets the virtual interrupt flag without the monitor (translated
 * code, the ROM) tests PENDING, which is set here while an interrupt waits. Within the shadow of STI or MOV SS nothing is
 * delivered: the technique ends `enter` behind the next instruction while an interrupt waits.
 *
 * After a page fault hardware may stand in the middle of something (translated code carries one guest instruction out by
 * several). Only an exit at the deadline is a boundary for certain, so runs end there, and so does waiting for an interrupt.
 */
import { MonitorBug } from '../base/assert.js';
import { PAGE_SHIFT, ppnOf } from '../base/pages.js';
import { type Exit, PfError, S, Vector } from '../machine/cpu/state.js';
import type { Cause } from '../stats/causes.js';
import { BeyondLimits } from './beyond-limits.js';
import { resumeFlag } from './debug-registers.js';
import { deliver, type Event } from './inject.js';
import { MachineMemoryExhausted } from './monitored-vm.js';
import type { RefusedFault } from './page-fault.js';
import { SingleStep, type StepResult } from './single-step.js';
import type { Outcome, Technique } from './technique.js';
import type { VirtualCpu } from './virtual-cpu.js';

export type LoopResult =
  /** `untilCycles` is reached. */
  | { readonly kind: 'deadline' }
  /** Halted; nothing to do before `wakeAtCycles` (Infinity: until some input raises an interrupt). */
  | { readonly kind: 'halted'; readonly wakeAtCycles: number }
  /** The VM cannot go on: one readable line. */
  | { readonly kind: 'stopped'; readonly reason: string };

const RESUME: Outcome = { kind: 'resume' };
/** Hidden faults in a row on one page, without an instruction completed, after which something must be wrong. */
const REPEATS_MAX = 64;
/** The same on any pages: a REP may touch every page of two operands before it completes, and each twice. */
const FAULTS_WITHOUT_PROGRESS_MAX = 4 * 0x100000;
const hex = (value: number): string => `0x${(value >>> 0).toString(16)}`;

export class MonitorLoop {
  readonly vcpu: VirtualCpu;
  technique: Technique;
  /** The guest waits in HLT. */
  halted = false;
  readonly #step: SingleStep;
  readonly #beyond: BeyondLimits;
  readonly #onVmiInit: (vcpu: VirtualCpu) => Technique;
  #lastHiddenPage = -1;
  #lastHiddenAt = -1;
  #repeats = 0;
  #withoutProgress = 0;
  #stopped: LoopResult | undefined;
  /** The last exit was at an instruction boundary of the guest: nothing is half done in hardware. */
  #atBoundary = true;
  /** The exit by which the next timer is run has been charged. */
  #timerPaid = false;

  /** `onVmiInit` makes the technique that takes over when the guest's kernel has called the ROM's Init. */
  constructor(vcpu: VirtualCpu, technique: Technique, onVmiInit: (vcpu: VirtualCpu) => Technique) {
    this.vcpu = vcpu;
    this.technique = technique;
    this.#onVmiInit = onVmiInit;
    this.#step = new SingleStep(vcpu, () => this.technique.afterStep?.() ?? false);
    this.#beyond = new BeyondLimits(vcpu, this.#step);
    vcpu.traces.listen('code', (ppn, offset, length) => this.technique.onCodeWritten(ppn, offset, length));
    vcpu.onMappingChanged = () => this.technique.onMappingChanged();
  }

  /**
   * Runs the guest until `thread.cycles >= untilCycles`, or it halts or stops. The thread's clock must be set to the pCPU's time
   * before. Every cycle is booked on its cause when this returns.
   */
  run(untilCycles: number): LoopResult {
    if (this.#stopped !== undefined) return this.#stopped;
    const { vcpu } = this;
    let result: LoopResult;
    try {
      result = this.#run(untilCycles);
    } catch (error) {
      if (!(error instanceof MachineMemoryExhausted)) throw error;
      result = { kind: 'stopped', reason: `out of machine memory: ${error.message}` };
    } finally {
      // Also of a monitor that breaks: its VM is sampled all the same.
      vcpu.settleAccount();
    }
    vcpu.descriptors.propagateAccessed();
    vcpu.checkAccount();
    if (result.kind === 'stopped') this.#stopped = result;
    return result;
  }

  #run(untilCycles: number): LoopResult {
    const { vcpu } = this;
    const { thread, vm } = vcpu;
    for (;;) {
      this.#runTimers();
      const { intr } = vm.interrupts;
      if (this.halted) {
        if (!intr || !vcpu.interruptsEnabled) return { kind: 'halted', wakeAtCycles: vm.nextTimerAt() };
        this.halted = false;
        vm.counters.wakeups += 1;
      }
      const clean = this.technique.atBoundary ?? (this.#atBoundary || !vcpu.inHardware);
      if ((thread.cycles >= untilCycles && clean) || vm.stopRequested) return { kind: 'deadline' };
      if (intr && vcpu.interruptsEnabled && !vcpu.interruptShadow && clean) {
        const outcome = this.#interrupt();
        if (outcome.kind === 'stopped') return outcome;
        continue;
      }
      vcpu.pending = intr;
      const timerAt = vm.nextTimerAt();
      // An interrupt that waits for a boundary alone is taken at the first one: a deadline that has passed leads there.
      const waits = intr && vcpu.interruptsEnabled && !clean;
      vcpu.shadow.settleShootdowns();
      const exit = this.technique.enter(waits ? 0 : Math.min(untilCycles, timerAt));
      vcpu.markExit();
      this.#atBoundary = exit.kind === 'deadline';
      if (exit.kind === 'deadline') {
        if (timerAt <= thread.cycles) this.#timerExit();
        else vcpu.continueFree();
        continue;
      }
      if (exit.kind !== 'routine') vm.counters.exits += 1;
      const outcome = this.#dispatch(exit);
      switch (outcome.kind) {
        case 'resume':
          break;
        case 'halted':
          this.halted = true;
          break;
        case 'vmiInit': {
          const before = this.technique;
          this.technique = this.#onVmiInit(vcpu);
          before.destroy?.();
          break;
        }
        case 'stopped':
          return outcome;
      }
    }
  }

  /** Timers that come due while the monitor runs; those that ended a run of the guest have been paid for by `#timerExit`. */
  #runTimers(): void {
    const { vcpu } = this;
    const fired = vcpu.vm.runTimers(vcpu.thread.cycles);
    if (fired === 0) return;
    vcpu.vm.counters.hostTimers += fired;
    const unpaid = this.#timerPaid ? fired - 1 : fired;
    this.#timerPaid = false;
    if (unpaid === 0) return;
    vcpu.account(vcpu.cause);
    vcpu.thread.charge(vcpu.costs.timerCallback * unpaid);
    vcpu.account('interrupt');
  }

  /** A device timer came due while the guest ran: the host's own timer interrupt ended the run. */
  #timerExit(): void {
    const { vcpu } = this;
    const { costs } = vcpu;
    vcpu.vm.counters.exits += 1;
    if (this.technique.interrupted === undefined)
      vcpu.thread.charge(costs.exceptionToInner + costs.interruptAcknowledge);
    else this.technique.interrupted();
    vcpu.thread.charge(costs.vmmEntry + costs.timerCallback);
    vcpu.account('interrupt');
    this.#timerPaid = true;
  }

  /** Delivers the interrupt that the controller holds ready. */
  #interrupt(): Outcome {
    const { vcpu } = this;
    this.technique.capture();
    const vector = vcpu.vm.interrupts.acknowledge();
    vcpu.pending = false;
    vcpu.vm.counters.injections += 1;
    return this.#deliver({ kind: 'external', vector }, 'injection');
  }

  #deliver(event: Event, cause: Cause): Outcome {
    const { vcpu, technique } = this;
    const delivery = technique.inject?.(event) ?? deliver(vcpu, event);
    vcpu.account(cause);
    return delivery.kind === 'stopped' ? delivery : RESUME;
  }

  #dispatch(exit: Exit): Outcome {
    const { vcpu } = this;
    switch (exit.kind) {
      case 'shutdown':
        return { kind: 'stopped', reason: exit.reason };
      case 'halt':
      case 'stepped':
        throw new MonitorBug(`${exit.kind} at CPL ${vcpu.thread.s[S.CPL]}`);
      case 'monitor':
        if (exit.software) break;
        if (exit.vector === Vector.PF) return this.#pageFault(exit.errorCode);
        if ((exit.vector === Vector.GP || exit.vector === Vector.SS) && exit.errorCode === 0) {
          const outcome = this.#beyondLimits();
          if (outcome !== undefined) return outcome;
        }
        if (exit.vector >= Vector.TS && exit.vector <= Vector.GP && vcpu.descriptors.restoreFor(exit.errorCode)) {
          vcpu.thread.charge(vcpu.costs.vmmEntry);
          resumeFlag(vcpu);
          vcpu.vm.counters.hiddenFaults += 1;
          vcpu.account('hiddenFault');
          return RESUME;
        }
        break;
      default:
        break;
    }
    const outcome = this.technique.handle(exit);
    // A technique names causes itself; what it leaves is a trapped instruction.
    if (vcpu.isExitUnnamed) vcpu.account('trap');
    return outcome;
  }

  /** Page faults are the same under every technique. */
  #pageFault(errorCode: number): Outcome {
    const { vcpu, technique } = this;
    const { thread, vm, costs, shadow } = vcpu;
    const linear = thread.s[S.FAULT_LINEAR]! >>> 0;
    thread.charge(costs.vmmEntry);
    technique.settle?.();
    const fault = shadow.classify(linear, errorCode);
    // A fault of an event's delivery repeats no instruction.
    if (fault.kind !== 'true' && technique.atBoundary !== false) resumeFlag(vcpu);
    switch (fault.kind) {
      case 'true':
        vm.counters.trueFaults += 1;
        technique.capture();
        return this.#deliver(
          { kind: 'exception', vector: Vector.PF, errorCode: fault.errorCode, cr2: linear },
          'trueFault',
        );
      case 'hidden':
        vm.counters.hiddenFaults += 1;
        this.#countRepeats(linear);
        shadow.fill(fault);
        vcpu.account('hiddenFault');
        return RESUME;
      case 'unprotected':
        vm.counters.hiddenFaults += 1;
        return this.#stepOver(fault, linear, 'hiddenFault');
      case 'trace': {
        vm.counters.traceFaults += 1;
        thread.charge(costs.traceLookup);
        shadow.countStore(fault.ppn);
        const eip = thread.s[S.EIP];
        technique.onTraceHit();
        // The technique may have taken the guest elsewhere (a retranslated site): the store is then made there.
        if (vcpu.inHardware && thread.s[S.EIP] === eip) return this.#stepOver(fault, linear, 'traceFault');
        vcpu.account('traceFault');
        return RESUME;
      }
      case 'mmio':
        vm.counters.mmioFaults += 1;
        if (this.#isFetch(linear, errorCode)) return this.#fetchFromNothing();
        technique.onDeviceHit?.();
        return this.#stepOver(fault, linear, 'mmioFault');
      case 'rom':
        vm.counters.mmioFaults += 1;
        return this.#stepOver(fault, linear, 'mmioFault');
    }
  }

  #stepOver(fault: RefusedFault, linear: number, cause: Cause): Outcome {
    const event = this.technique.takeInterruptedEvent?.();
    if (event !== undefined) {
      // It was no instruction that hardware refused, but a store of an event's frame.
      const delivery = deliver(this.vcpu, event);
      this.vcpu.account(cause);
      return delivery.kind === 'stopped' ? delivery : RESUME;
    }
    this.technique.beginEmulation?.();
    return this.#stepped(this.#step.run(fault, linear), cause);
  }

  /** #GP or #SS without a selector: a limit that the monitor has cut short, perhaps. Undefined where the fault is the guest's. */
  #beyondLimits(): Outcome | undefined {
    const { vcpu } = this;
    const bytes = this.technique.instruction?.();
    const result = bytes && this.#beyond.carryOut(bytes);
    if (result === undefined) return undefined;
    vcpu.thread.charge(vcpu.costs.vmmEntry);
    vcpu.vm.counters.trappedInstructions += 1;
    return this.#stepped(result, 'trap');
  }

  #stepped(result: StepResult, cause: Cause): Outcome {
    const { vcpu, technique } = this;
    vcpu.account(cause);
    switch (result.kind) {
      case 'done':
        return RESUME;
      case 'true':
        vcpu.vm.counters.trueFaults += 1;
        technique.capture();
        return this.#deliver(
          { kind: 'exception', vector: Vector.PF, errorCode: result.errorCode, cr2: result.linear },
          'trueFault',
        );
      case 'exit':
        return this.#dispatch(result.exit);
    }
  }

  /** Was the access the fetch of the instruction itself? Then there is none to carry out. */
  #isFetch(linear: number, errorCode: number): boolean {
    if ((errorCode & PfError.W) !== 0) return false;
    const { s } = this.vcpu.thread;
    const at = (s[S.EIP]! + s[S.SEG + 5]!) >>> 0;
    return linear === at || (linear > at && linear - at < 15 && ppnOf(linear) !== ppnOf(at));
  }

  /** Code in device memory or nowhere: the bus reads ones, and FF FF is no instruction. */
  #fetchFromNothing(): Outcome {
    this.technique.capture();
    this.vcpu.vm.counters.forwardedFaults += 1;
    return this.#deliver({ kind: 'exception', vector: Vector.UD }, 'mmioFault');
  }

  /** Finds a monitor that repairs the same thing for ever. */
  #countRepeats(linear: number): void {
    const { thread } = this.vcpu;
    const page = linear >>> PAGE_SHIFT;
    const progress = thread.instructions !== this.#lastHiddenAt;
    this.#repeats = progress || page !== this.#lastHiddenPage ? 0 : this.#repeats + 1;
    this.#withoutProgress = progress ? 0 : this.#withoutProgress + 1;
    this.#lastHiddenPage = page;
    this.#lastHiddenAt = thread.instructions;
    if (this.#repeats > REPEATS_MAX || this.#withoutProgress > FAULTS_WITHOUT_PROGRESS_MAX) {
      throw new MonitorBug(`hidden fault at ${hex(linear)} does not go away, EIP ${hex(thread.s[S.EIP]!)}`);
    }
  }

  /**
   * Every audit that the monitor has. One finding a line. Changes nothing, so that no sample shows whether anybody has looked.
   * Updates that a VMI guest has queued stay queued: they concern announced tables, whose shadows need not be current.
   */
  audit(): string[] {
    const { vcpu, technique } = this;
    return [...vcpu.shadow.audit(), ...vcpu.descriptors.audit(), ...technique.audit()];
  }

  /** Right behind `run`: takes the guest out, with everything that it has handed over looked at. The VM is to be suspended. */
  takeOut(): void {
    this.technique.settle?.();
    this.technique.capture();
    this.vcpu.descriptors.propagateAccessed();
    this.vcpu.settleAccount();
  }

  /** Gives every page of the monitor back, except the technique's own. */
  destroy(): void {
    this.#step.destroy();
    this.vcpu.destroy();
  }
}
