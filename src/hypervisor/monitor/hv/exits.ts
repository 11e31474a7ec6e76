/**
 * What the monitor does about exits other than page faults, by their reason. The instruction is known from reason and qualification;
 * only string I/O has to be decoded, whose segment this hardware does not tell.
 */
import { Cr0, type Exit, Flag, S, Vector } from '../../machine/cpu/state.js';
import { Switch } from '../../machine/cpu/task-state.js';
import { InterruptionType } from '../../machine/vmx/controls.js';
import {
  CrAccess,
  CrQualification,
  DrQualification,
  ExitReason,
  IoQualification,
} from '../../machine/vmx/exit-reasons.js';
import { Field } from '../../machine/vmx/fields.js';
import { debugRegisterIndex, readDebugRegister, singleStepTrap, writeDebugRegister } from '../debug-registers.js';
import { type Effect, HALT, NEXT } from '../effect.js';
import { fault, isFault } from '../guest-fault.js';
import type { Width } from '../guest-memory.js';
import { readDescriptor } from '../guest-segments.js';
import { type Delivery, type Event, eventOf, pushedFlags } from '../inject.js';
import { readPort, writePort } from '../port-access.js';
import { cpuid, emulate } from '../privileged.js';
import {
  loadMachineStatus,
  readControlRegister,
  readMsr,
  writeControlRegister,
  writeMsr,
} from '../system-registers.js';
import { effectOf, switchTask } from '../task-switch.js';
import type { Outcome } from '../technique.js';
import type { VirtualCpu } from '../virtual-cpu.js';

const RESUME: Outcome = { kind: 'resume' };
type VmExit = Extract<Exit, { kind: 'vmExit' }>;

/** An event for the VM-entry interruption information. */
export interface Injection {
  readonly vector: number;
  /** `InterruptionType`. */
  readonly type: number;
  readonly errorCode: number | undefined;
  /** Of the instruction that caused it; 0 for what no instruction asked for. */
  readonly instructionBytes: number;
}

/** The events that the next entry would deliver. */
export interface Events {
  /** What an exit has interrupted. */
  readonly interrupted: Injection | undefined;
  forget(): void;
  inject(event: Event): Delivery;
}

const isException = (event: Injection | undefined): boolean => event?.type === InterruptionType.HARDWARE_EXCEPTION;

export class ExitHandlers {
  readonly #vcpu: VirtualCpu;
  readonly #events: Events;

  constructor(vcpu: VirtualCpu, events: Events) {
    this.#vcpu = vcpu;
    this.#events = events;
  }

  /** `capture` takes the guest out. */
  handle(exit: Exit, capture: () => void): Outcome {
    const vcpu = this.#vcpu;
    if (exit.kind === 'monitor') return this.#forward(exit, capture);
    if (exit.kind !== 'vmExit') return { kind: 'stopped', reason: `unexpected ${exit.kind} under hardware assist` };
    vcpu.account(exit.reason === ExitReason.INTERRUPT_WINDOW ? 'injection' : 'trap');
    vcpu.thread.charge(vcpu.costs.vmmEntry);
    // The loop delivers the interrupt that waits, now that the guest takes it.
    if (exit.reason === ExitReason.INTERRUPT_WINDOW) return RESUME;
    capture();
    vcpu.vm.counters.trappedInstructions += 1;
    return this.#finish(exit, this.#perform(exit));
  }

  /** An exception that exits and is the guest's own affair. */
  #forward({ vector, errorCode, hasErrorCode }: Extract<Exit, { kind: 'monitor' }>, capture: () => void): Outcome {
    const vcpu = this.#vcpu;
    vcpu.account('trueFault');
    vcpu.thread.charge(vcpu.costs.vmmEntry);
    capture();
    vcpu.vm.counters.forwardedFaults += 1;
    return this.#raise({ kind: 'exception', vector, errorCode: hasErrorCode ? errorCode : undefined });
  }

  /** Carries the instruction out for the guest. Where EIP moves by itself that is said by the effect. */
  #perform(exit: VmExit): Effect {
    const vcpu = this.#vcpu;
    const { thread, costs } = vcpu;
    thread.vmx.read(Field.GUEST_RIP);
    thread.vmx.read(Field.EXIT_INSTRUCTION_BYTES);
    // Blocking by STI ends with the instruction, and TF traps behind it.
    thread.vmx.read(Field.GUEST_INTERRUPTIBILITY);
    thread.vmx.read(Field.GUEST_RFLAGS);
    if (exit.reason !== ExitReason.IO || (exit.qualification & IoQualification.STRING) === 0)
      thread.charge(costs.emulate);
    switch (exit.reason) {
      case ExitReason.CPUID:
        return cpuid(vcpu);
      case ExitReason.HLT:
        return HALT;
      case ExitReason.INVD:
        return NEXT;
      case ExitReason.INVLPG:
        vcpu.shadow.invalidatePage(this.#qualification() >>> 0);
        return NEXT;
      case ExitReason.RDMSR:
        return readMsr(vcpu);
      case ExitReason.WRMSR:
        return writeMsr(vcpu);
      case ExitReason.CONTROL_REGISTER:
        return this.#controlRegister(this.#qualification());
      case ExitReason.DEBUG_REGISTER:
        return this.#debugRegister(this.#qualification());
      case ExitReason.IO:
        return this.#io(this.#qualification());
      // The guest's processor has no VMX.
      case ExitReason.VMCALL:
      case ExitReason.VMCLEAR:
      case ExitReason.VMLAUNCH:
      case ExitReason.VMPTRLD:
      case ExitReason.VMPTRST:
      case ExitReason.VMREAD:
      case ExitReason.VMRESUME:
      case ExitReason.VMWRITE:
      case ExitReason.VMXOFF:
      case ExitReason.VMXON:
        return fault(Vector.UD);
      case ExitReason.TASK_SWITCH:
        return this.#switchTask(this.#qualification(), exit.instructionBytes);
      default:
        return { kind: 'stopped', reason: `unexpected VM exit, reason ${exit.reason}` };
    }
  }

  /**
   * Hardware has checked gate and task state and leaves the rest to software (SDM vol. 3, 25.4.2). Through a gate of the IDT it was an event
   * that led here: it is over when the new task has it, and what interrupted it if that fails.
   */
  #switchTask(qualification: number, instructionBytes: number): Effect {
    const vcpu = this.#vcpu;
    const selector = qualification & 0xffff;
    const source = qualification >>> 30;
    const interrupted = source === Switch.TASK_GATE ? this.#events.interrupted : undefined;
    const software = interrupted !== undefined && interrupted.instructionBytes > 0;
    const external = interrupted === undefined || software ? 0 : 1;
    const length = interrupted === undefined ? instructionBytes : interrupted.instructionBytes;
    const traced = interrupted === undefined && (vcpu.eflags & Flag.TF) !== 0;
    const task = readDescriptor(vcpu, selector, source === Switch.RETURN ? Vector.TS : Vector.GP, external);
    if (isFault(task)) return task;
    const kind = software ? 'software' : isException(interrupted) ? 'exception' : 'external';
    const switched = switchTask(vcpu, selector, task, {
      kind: interrupted === undefined ? source : Switch.CALL,
      returnEip: (vcpu.eip + length) | 0,
      flags: interrupted === undefined ? vcpu.eflags : pushedFlags(vcpu, { kind, vector: interrupted.vector }),
      external,
      errorCode: interrupted?.errorCode,
    });
    if (switched.fault === undefined) this.#events.forget();
    // An instruction that began with TF set traps in the new task.
    const isTrap = switched.fault === undefined || switched.fault.vector === Vector.DB;
    return traced && switched.switched && isTrap ? singleStepTrap(vcpu) : effectOf(switched);
  }

  #qualification(): number {
    return this.#vcpu.thread.vmx.read(Field.EXIT_QUALIFICATION);
  }

  #controlRegister(qualification: number): Effect {
    const vcpu = this.#vcpu;
    const { s } = vcpu.thread;
    const control = qualification & 15;
    const register = (qualification >>> CrQualification.REGISTER_SHIFT) & 15;
    switch ((qualification >>> CrQualification.ACCESS_SHIFT) & 3) {
      case CrAccess.MOV_TO:
        return writeControlRegister(vcpu, control, s[register]!);
      case CrAccess.MOV_FROM:
        s[register] = readControlRegister(vcpu, control);
        return NEXT;
      case CrAccess.CLTS:
        return writeControlRegister(vcpu, 0, vcpu.cr0 & ~Cr0.TS);
      default:
        return loadMachineStatus(vcpu, qualification >>> CrQualification.SOURCE_SHIFT);
    }
  }

  #debugRegister(qualification: number): Effect {
    const vcpu = this.#vcpu;
    const { s } = vcpu.thread;
    const index = debugRegisterIndex(vcpu, qualification & DrQualification.NUMBER);
    if (isFault(index)) return index;
    const register = (qualification >>> DrQualification.REGISTER_SHIFT) & 15;
    if ((qualification & DrQualification.FROM) !== 0) s[register] = readDebugRegister(vcpu, index);
    else writeDebugRegister(vcpu, index, s[register]!);
    return NEXT;
  }

  /** Hardware has checked IOPL and permission map before it exited. */
  #io(qualification: number): Effect {
    const vcpu = this.#vcpu;
    const { s } = vcpu.thread;
    if ((qualification & IoQualification.STRING) !== 0) {
      return emulate(vcpu) ?? { kind: 'stopped', reason: 'string I/O that is no string instruction' };
    }
    const port = qualification >>> IoQualification.PORT_SHIFT;
    const width = ((qualification & IoQualification.WIDTH) + 1) as Width;
    if ((qualification & IoQualification.IN) === 0) {
      writePort(vcpu, port, width, s[S.EAX]!);
      return NEXT;
    }
    const mask = width === 4 ? -1 : width === 2 ? 0xffff : 0xff;
    s[S.EAX] = (s[S.EAX]! & ~mask) | (readPort(vcpu, port, width) & mask);
    return NEXT;
  }

  #finish(exit: VmExit, effect: Effect): Outcome {
    const vcpu = this.#vcpu;
    // `emulate` has moved EIP itself.
    const decoded = exit.reason === ExitReason.IO && (exit.qualification & IoQualification.STRING) !== 0;
    switch (effect.kind) {
      case 'next':
      case 'halt':
        if (!decoded) {
          vcpu.eip = (vcpu.eip + exit.instructionBytes) >>> 0;
          vcpu.interruptShadow = false;
        }
        if (effect.kind === 'next' && (vcpu.eflags & Flag.TF) !== 0) return this.#raise(eventOf(singleStepTrap(vcpu)));
        return effect.kind === 'halt' ? { kind: 'halted' } : RESUME;
      case 'fault':
        if (effect.vector === Vector.PF) vcpu.vm.counters.trueFaults += 1;
        else vcpu.vm.counters.forwardedFaults += 1;
        return this.#raise(eventOf(effect));
      case 'stopped':
        return effect;
      default:
        return RESUME;
    }
  }

  #raise(event: Event): Outcome {
    const delivery = this.#events.inject(event);
    return delivery.kind === 'stopped' ? delivery : RESUME;
  }
}
