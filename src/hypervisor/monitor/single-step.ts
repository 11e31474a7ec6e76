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
import type { RefusedFault } from './page-fault.js';
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

export type StepResult =
  /** Done: hardware is at the next instruction (or at the same, for a repeated string). */
  | { readonly kind: 'done' }
  /** The instruction faults for the guest: state as before it. */
  | { readonly kind: 'true'; readonly errorCode: number; readonly linear: number }
  /** It ended in something else, to be handled like any exit. */
  | { readonly kind: 'exit'; readonly exit: Exit };

export class SingleStep {
  readonly #vcpu: VirtualCpu;
  /** Holds a copy of a ROM page while an instruction stores to it in vain. */
  #scratch: Mpn | undefined;

  constructor(vcpu: VirtualCpu) {
    this.#vcpu = vcpu;
  }

  /** `first`: the fault that hardware reported at the current EIP. */
  run(first: RefusedFault, linear: number): StepResult {
    const { vcpu } = this;
    const { thread, costs, vm } = vcpu;
    thread.charge(costs.decode + costs.emulate);
    const overrides: Override[] = [];
    const watched: Watched[] = [];
    const accessesBefore = vm.mmioWindow.accesses;
    vm.mmioWindow.beginInstruction();
    this.#open(first, linear, overrides, watched);
    let result: StepResult | undefined;
    while (result === undefined) {
      const exit = thread.step();
      if (exit.kind === 'stepped') result = { kind: 'done' };
      else if (exit.kind !== 'monitor' || exit.vector !== Vector.PF) result = { kind: 'exit', exit };
      else {
        const at = thread.s[S.FAULT_LINEAR]! >>> 0;
        vm.mmioWindow.restartInstruction();
        const fault = vcpu.shadow.classify(at, exit.errorCode);
        if (fault.kind === 'true') result = { kind: 'true', errorCode: fault.errorCode, linear: at };
        else if (fault.kind === 'hidden') vcpu.shadow.fill(fault);
        else this.#open(fault, at, overrides, watched);
      }
    }
    for (const override of overrides.reverse()) vcpu.shadow.endOverride(override);
    const accesses = vm.mmioWindow.accesses - accessesBefore;
    if (accesses > 0) this.#settleDevicePrice(accesses);
    for (const range of watched) this.#report(range);
    return result;
  }

  get vcpu(): VirtualCpu {
    return this.#vcpu;
  }

  #open(fault: RefusedFault, linear: number, overrides: Override[], watched: Watched[]): void {
    const { vcpu } = this;
    const { vm, shadow } = vcpu;
    assert(overrides.length < OVERRIDES_MAX, 'one instruction keeps faulting');
    if (fault.kind === 'mmio') {
      overrides.push(shadow.beginOverride(fault, vm.mmioWindow.frameFor(fault.ppn), fault.write));
      return;
    }
    vcpu.thread.charge(vcpu.costs.guestMemoryAccess);
    const mpn = vm.pmap.mpnFor(fault.ppn)!;
    if (fault.kind === 'rom') {
      this.#scratch ??= vm.allocateMonitorPage('tables');
      vm.memory.writeBytes(this.#scratch << 12, vm.memory.pageBytes(mpn));
      overrides.push(shadow.beginOverride(fault, this.#scratch, true));
      return;
    }
    overrides.push(shadow.beginOverride(fault, mpn, true));
    if (fault.kind !== 'trace') return;
    const offset = linear & 4095;
    const from = Math.max(0, offset - REACH);
    const machine = (mpn << 12) | from;
    const length = Math.min(4096, offset + REACH) - from;
    watched.push({ ppn: fault.ppn, from, machine, before: vm.memory.bytes(machine, length).slice() });
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
