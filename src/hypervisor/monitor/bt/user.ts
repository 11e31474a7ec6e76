/** Exits of directly executed user code, and exceptions that are the guest's own. The guest is out when these run. */
import { type Exit, Flag, Vector } from '../../machine/cpu/state.js';
import { singleStepTrap } from '../debug-registers.js';
import type { Effect } from '../effect.js';
import { deliver, hiddenSoftwareInterrupt } from '../inject.js';
import { emulate, sysenter } from '../privileged.js';
import type { Outcome } from '../technique.js';
import type { VirtualCpu } from '../virtual-cpu.js';

const RESUME: Outcome = { kind: 'resume' };

export class UserExits {
  readonly #vcpu: VirtualCpu;

  constructor(vcpu: VirtualCpu) {
    this.#vcpu = vcpu;
  }

  handle(exit: Exit): Outcome {
    const vcpu = this.#vcpu;
    const { counters } = vcpu.vm;
    if (exit.kind === 'sysenter') {
      vcpu.account('syscall');
      vcpu.thread.charge(vcpu.costs.vmmEntry);
      counters.syscallsForwarded += 1;
      const effect = sysenter(vcpu);
      // A fault is at the instruction (0F 34).
      if (effect.kind === 'fault') vcpu.eip = (vcpu.eip - 2) >>> 0;
      return this.#effect(effect);
    }
    if (exit.kind !== 'monitor') return { kind: 'stopped', reason: `unexpected ${exit.kind} in user code` };
    const { vector } = exit;
    if (exit.software) return this.#softwareInterrupt(vector);
    if (vector === Vector.GP && exit.errorCode !== 0) {
      // The monitor's own vectors are closed to ring 3, but they are ordinary ones to the guest.
      const hidden = hiddenSoftwareInterrupt(vcpu, exit.errorCode);
      if (hidden !== undefined) return this.#softwareInterrupt(hidden.vector);
    }
    if (vector === Vector.GP && exit.errorCode === 0) {
      // CLI, STI, IN and OUT are allowed to user code that the guest's IOPL or I/O bitmap lets do it.
      vcpu.account('trap');
      vcpu.thread.charge(vcpu.costs.vmmEntry);
      const steps = (vcpu.eflags & Flag.TF) !== 0;
      const effect = emulate(vcpu);
      if (effect !== undefined && effect.kind !== 'fault') {
        counters.trappedInstructions += 1;
        return this.#effect(steps && effect.kind === 'next' ? singleStepTrap(vcpu) : effect);
      }
      vcpu.account('trap');
    } else {
      vcpu.account('trueFault');
      vcpu.thread.charge(vcpu.costs.vmmEntry);
    }
    vcpu.account('trueFault');
    counters.forwardedFaults += 1;
    return this.forward(vector, exit.hasErrorCode ? exit.errorCode : undefined);
  }

  /** Delivers an exception to the guest. */
  forward(vector: number, errorCode: number | undefined): Outcome {
    const delivery = deliver(this.#vcpu, { vector, errorCode, kind: 'exception' });
    return delivery.kind === 'delivered' ? RESUME : delivery;
  }

  #softwareInterrupt(vector: number): Outcome {
    const vcpu = this.#vcpu;
    const breakpoint = vector === Vector.BP || vector === Vector.OF;
    vcpu.account(breakpoint ? 'trueFault' : 'syscall');
    vcpu.thread.charge(vcpu.costs.vmmEntry);
    if (breakpoint) vcpu.vm.counters.forwardedFaults += 1;
    else vcpu.vm.counters.syscallsForwarded += 1;
    const delivery = deliver(vcpu, { vector, kind: 'software', instructionBytes: breakpoint ? 1 : 2 });
    return delivery.kind === 'delivered' ? RESUME : delivery;
  }

  #effect(effect: Effect): Outcome {
    switch (effect.kind) {
      case 'halt':
        return { kind: 'halted' };
      case 'stopped':
        return effect;
      case 'fault':
        this.#vcpu.vm.counters.forwardedFaults += 1;
        return this.forward(effect.vector, effect.errorCode);
      default:
        return RESUME;
    }
  }
}
