/**
 * Carries out the one instruction at hardware's EIP whose access hardware refused: a store to a watched page, an access to
 * device memory, a store to ROM, a supervisor store with the guest's WP clear.
 *
 * The page is mapped for this one instruction to what it shall reach (the page itself, writable; a window frame; a scratch copy),
 * hardware steps, and the mapping goes back to what it was. An instruction may touch several such pages: each fault on the way
 * adds one more override. Nothing is captured: the instruction runs where it is, in the TC or in guest code.
 *
 * The price is that of software which decodes and emulates the instruction: `decode`, `emulate`, and per page a
 * `guestMemoryAccess` or `deviceAccess`. What hardware charges for the step itself stays with the guest, except the chipset
 * access of MMIO, which a virtual device does not make.
 */
import { assert } from '../base/assert.js';
import type { Mpn, Ppn } from '../base/pages.js';
import { type Exit, S, Vector } from '../machine/cpu/state.js';
import { markUsed } from './guest-walk.js';
import type { PageFault, RefusedFault } from './page-fault.js';
import type { Override } from './shadow.js';
import type { VirtualCpu } from './virtual-cpu.js';

/** Bytes around the faulting address that one instruction can store to: FXSAVE writes up to 512, PUSHA 32 downward. */
const REACH = 512;
const OVERRIDES_MAX = 8;

interface Watched {
  readonly ppn: Ppn;
  readonly from: number;
  readonly machine: number;
  readonly before: Uint8Array;
}

interface Work {
  readonly overrides: Override[];
  readonly watched: Watched[];
}

/** Faults behind which the guest's tables lead to some page. */
type MappedFault = Exclude<PageFault, { kind: 'true' }>;

export type StepResult =
  /** Done: hardware is at the next instruction (or at the same, for a repeated string). */
  | { readonly kind: 'done' }
  /** The instruction faults for the guest: state as before it. */
  | { readonly kind: 'true'; readonly errorCode: number; readonly linear: number }
  /** It ended in something else, to be handled like any exit. */
  | { readonly kind: 'exit'; readonly exit: Exit };

export class SingleStep {
  readonly #vcpu: VirtualCpu;
  /** `Technique.afterStep`. */
  readonly #afterStep: () => boolean;
  /** Holds a copy of a ROM page while an instruction stores to it in vain. */
  #scratch: Mpn | undefined;

  constructor(vcpu: VirtualCpu, afterStep: () => boolean = () => false) {
    this.#vcpu = vcpu;
    this.#afterStep = afterStep;
  }

  /** `first`: the fault that hardware reported at the current EIP. */
  run(first: RefusedFault, linear: number): StepResult {
    return this.#carryOut(work => this.#open(first, linear, work));
  }

  /**
   * The instruction was refused by something else than paging. `prepare` arranges that it can run, with frames for the pages that it
   * reaches (of which the guest's accessed and dirty bits are set), `restore` takes back what it did.
   */
  runWith(prepare: (frameFor: (fault: MappedFault, linear: number) => Mpn) => void, restore: () => void): StepResult {
    return this.#carryOut(work => {
      prepare((fault, linear) => {
        markUsed(this.#vcpu.physical, fault.walk, 'write' in fault ? fault.write : true);
        return this.#frameFor(fault, linear, work);
      });
    }, restore);
  }

  #carryOut(prepare: (work: Work) => void, restore?: () => void): StepResult {
    const { vcpu } = this;
    const { thread, costs, vm } = vcpu;
    thread.charge(costs.decode + costs.emulate);
    const work: Work = { overrides: [], watched: [] };
    const accessesBefore = vm.mmioWindow.accesses;
    vm.mmioWindow.beginInstruction();
    prepare(work);
    let result: StepResult | undefined;
    while (result === undefined) {
      const exit = thread.step();
      const interrupted = this.#afterStep();
      if (exit.kind === 'stepped') result = { kind: 'done' };
      else if (exit.kind !== 'monitor' || exit.vector !== Vector.PF || interrupted) result = { kind: 'exit', exit };
      else {
        const at = thread.s[S.FAULT_LINEAR]! >>> 0;
        vm.mmioWindow.restartInstruction();
        const fault = vcpu.shadow.classify(at, exit.errorCode);
        if (fault.kind === 'true') result = { kind: 'true', errorCode: fault.errorCode, linear: at };
        else if (fault.kind === 'hidden') vcpu.shadow.fill(fault);
        else this.#open(fault, at, work);
      }
    }
    for (const override of work.overrides.reverse()) vcpu.shadow.endOverride(override);
    restore?.();
    const accesses = vm.mmioWindow.accesses - accessesBefore;
    if (accesses > 0) this.#settleDevicePrice(accesses);
    for (const range of work.watched) this.#report(range);
    return result;
  }

  get vcpu(): VirtualCpu {
    return this.#vcpu;
  }

  #open(fault: RefusedFault, linear: number, work: Work): void {
    assert(work.overrides.length < OVERRIDES_MAX, 'one instruction keeps faulting');
    const write = fault.kind !== 'mmio' || fault.write;
    work.overrides.push(this.#vcpu.shadow.beginOverride(fault, this.#frameFor(fault, linear, work), write));
  }

  /** What the instruction shall reach in place of the page at `linear`. */
  #frameFor(fault: MappedFault, linear: number, work: Work): Mpn {
    const { vcpu } = this;
    const { vm } = vcpu;
    if (fault.kind === 'mmio') return vm.mmioWindow.frameFor(fault.ppn);
    vcpu.thread.charge(vcpu.costs.guestMemoryAccess);
    const mpn = vm.pmap.mpnFor(fault.ppn)!;
    if (fault.kind === 'rom') {
      this.#scratch ??= vm.allocateMonitorPage('tables');
      vm.memory.writeBytes(this.#scratch << 12, vm.memory.pageBytes(mpn));
      return this.#scratch;
    }
    if (fault.kind === 'trace') {
      const offset = linear & 4095;
      const from = Math.max(0, offset - REACH);
      const machine = (mpn << 12) | from;
      const length = Math.min(4096, offset + REACH) - from;
      work.watched.push({ ppn: fault.ppn, from, machine, before: vm.memory.bytes(machine, length).slice() });
    }
    return mpn;
  }

  /** Tells the listeners of a trace which bytes changed. A store of the same value changes nothing and wakes nobody. */
  #report(range: Watched): void {
    const after = this.vcpu.vm.memory.bytes(range.machine, range.before.length);
    let first = -1;
    let last = -1;
    for (let i = 0; i < after.length; i++) {
      if (after[i] === range.before[i]) continue;
      if (first < 0) first = i;
      last = i;
    }
    if (first >= 0) this.vcpu.traces.written(range.ppn, range.from + first, last - first + 1);
  }

  /** Takes hardware's price of chipset accesses back and puts that of the virtual device in its place. */
  #settleDevicePrice(accesses: number): void {
    const { thread, costs } = this.vcpu;
    const ring = thread.s[S.CPL]!;
    const excess = Math.min(costs.mmioAccess * accesses, thread.cyclesByRing[ring]!);
    thread.cycles -= excess;
    thread.cyclesByRing[ring]! -= excess;
    thread.charge(costs.deviceAccess * accesses);
  }

  destroy(): void {
    if (this.#scratch !== undefined) this.vcpu.vm.freeMonitorPage(this.#scratch, 'tables');
    this.#scratch = undefined;
  }
}
