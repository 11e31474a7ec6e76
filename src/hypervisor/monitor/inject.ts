/**
 * Delivers an exception, a software interrupt or an external interrupt to the guest through its own IDT, as its processor
 * would (SDM vol. 3, 6.12.1): gate checks, stack switch by the guest's TSS, frame, virtual IF, CR2, double and triple faults.
 *
 * It knows 32-bit interrupt and trap gates, and task gates (`task-switch.ts`). 16-bit gates are logged and answered with #GP, as a bad gate
 * would be.
 */
import { Dr7 } from '../machine/cpu/breakpoints.js';
import { Attr, Flag, Seg, Vector } from '../machine/cpu/state.js';
import { Switch } from '../machine/cpu/task-state.js';
import { hasBreakpoints } from './debug-registers.js';
import { fault, type GuestFault, isFault } from './guest-fault.js';
import {
  dplOf,
  innerStack,
  install,
  isCode,
  isConforming,
  isNull,
  markAccessed,
  readDescriptor,
  writeFrame,
} from './guest-segments.js';
import { type Switched, stays, switchTask, taskBehindGate } from './task-switch.js';
import type { VirtualCpu } from './virtual-cpu.js';

export interface Event {
  readonly vector: number;
  /** Undefined where the vector has none. */
  readonly errorCode?: number | undefined;
  /** 'software': INT n, INT3, INTO: `vcpu.eip` is behind the instruction. 'exception': at it (faults) or behind it (traps). */
  readonly kind: 'exception' | 'software' | 'external';
  /** For #PF. */
  readonly cr2?: number | undefined;
  /** For 'software': length of the instruction, so that a fault of the delivery can name it. Default 2. */
  readonly instructionBytes?: number;
}

/** 'delivered' may mean that a double fault was delivered instead. */
export type Delivery = { readonly kind: 'delivered' } | { readonly kind: 'stopped'; readonly reason: string };

const DELIVERED: Delivery = { kind: 'delivered' };

/** The event that a fault is. */
export const eventOf = (trouble: GuestFault): Event => ({
  kind: 'exception',
  vector: trouble.vector,
  errorCode: trouble.errorCode,
  cr2: trouble.cr2,
});

/**
 * The guest must be out (captured). Afterwards `vcpu.eip`, `cpl`, CS, SS, ESP and the virtual flags are those of the guest's
 * handler. Charges `injectEvent` and every guest memory access.
 */
export function deliver(vcpu: VirtualCpu, event: Event): Delivery {
  vcpu.thread.charge(vcpu.costs.injectEvent);
  // Entering the handler of a debug exception ends general detection (SDM vol. 3, 17.2.4).
  if (event.vector === Vector.DB && event.kind === 'exception') vcpu.debugRegisters[7]! &= ~Dr7.GD;
  let current = event;
  for (;;) {
    if (current.cr2 !== undefined) vcpu.cr2 = current.cr2;
    const { fault: trouble, switched } = attempt(vcpu, current);
    if (trouble === undefined) return DELIVERED;
    if (current.vector === Vector.DF && current.kind === 'exception') {
      return { kind: 'stopped', reason: tripleFault(vcpu, trouble.vector) };
    }
    // The fault of a software interrupt's delivery is a fault of the instruction.
    if (current.kind === 'software' && !switched) vcpu.eip = (vcpu.eip - (current.instructionBytes ?? 2)) | 0;
    if (trouble.cr2 !== undefined) vcpu.cr2 = trouble.cr2;
    current = isDouble(current, trouble) ? { kind: 'exception', vector: Vector.DF, errorCode: 0 } : eventOf(trouble);
  }
}

/** Does a fault in the delivery of an event make a double fault (SDM vol. 3, tables 6-4 and 6-5)? */
export function isDouble(first: Pick<Event, 'kind' | 'vector'>, second: { readonly vector: number }): boolean {
  if (first.kind !== 'exception') return false;
  const isContributory = (vector: number) => vector === Vector.DE || (vector >= Vector.TS && vector <= Vector.GP);
  if (first.vector === Vector.PF) return second.vector === Vector.PF || isContributory(second.vector);
  return isContributory(first.vector) && isContributory(second.vector);
}

const hex = (value: number): string => `0x${(value >>> 0).toString(16)}`;

/** Why a VM stops that could not deliver a double fault. The guest is out. */
export function tripleFault(vcpu: VirtualCpu, vector: number): string {
  return (
    `triple fault: exception ${vector} while delivering a double fault at ${hex(vcpu.selector(Seg.CS))}:` +
    `${hex(vcpu.eip)}, ESP ${hex(vcpu.esp)}, CR2 ${hex(vcpu.cr2)}, CR3 ${hex(vcpu.cr3)}`
  );
}

/**
 * The image of EFLAGS in the frame. As the processor has it (`exceptions.ts`), RF is in it only while the guest has breakpoints: of
 * faults, but not of the breakpoint's own #DB.
 */
export function pushedFlags(vcpu: VirtualCpu, event: Pick<Event, 'kind' | 'vector'>): number {
  const flags = vcpu.eflags;
  if (!hasBreakpoints(vcpu)) return flags;
  if (event.kind === 'exception') return event.vector === Vector.DB ? flags : flags | Flag.RF;
  return event.kind === 'external' ? flags : flags & ~Flag.RF;
}

/** One attempt; changes nothing but memory below the stack unless it succeeds, or unless another task runs now. */
function attempt(vcpu: VirtualCpu, event: Event): Switched {
  const { memory, cpl } = vcpu;
  const external = event.kind === 'software' ? 0 : 1;
  const gateCode = event.vector * 8 + 2 + external;
  if (event.vector * 8 + 7 > vcpu.idtLimit >>> 0) return stays(fault(Vector.GP, gateCode));
  const gateAt = (vcpu.idtBase + event.vector * 8) >>> 0;
  const low = memory.read(gateAt, 4, false);
  if (isFault(low)) return stays(low);
  const high = memory.read((gateAt + 4) >>> 0, 4, false);
  if (isFault(high)) return stays(high);
  const type = (high >>> 8) & 0x1f;
  if (type !== 0x0e && type !== 0x0f && (type < 0x05 || type > 0x07)) return stays(fault(Vector.GP, gateCode));
  const gateDpl = Math.max((high >>> 13) & 3, vcpu.kernelCpl);
  if (event.kind === 'software' && gateDpl < cpl) return stays(fault(Vector.GP, gateCode));
  if ((high & 0x8000) === 0) return stays(fault(Vector.NP, gateCode));

  const selector = low >>> 16;
  if (type === 0x05) {
    const task = taskBehindGate(vcpu, selector, external);
    if (isFault(task)) return stays(task);
    const flags = pushedFlags(vcpu, event);
    const how = { kind: Switch.CALL, returnEip: vcpu.eip, flags, external, errorCode: event.errorCode };
    return switchTask(vcpu, selector, task, how);
  }
  if (type <= 0x07) {
    vcpu.vm.log(`not built: 16-bit gate in the IDT, vector ${event.vector}`);
    return stays(fault(Vector.GP, gateCode));
  }
  return stays(enterGate(vcpu, event, low, high));
}

/** Through a 32-bit interrupt or trap gate that may be used. */
function enterGate(vcpu: VirtualCpu, event: Event, low: number, high: number): GuestFault | undefined {
  const { cpl } = vcpu;
  const external = event.kind === 'software' ? 0 : 1;
  const selector = low >>> 16;
  if (isNull(selector)) return fault(Vector.GP, external);
  const code = readDescriptor(vcpu, selector, Vector.GP, external);
  if (isFault(code)) return code;
  const dpl = dplOf(vcpu, code.attr);
  if (!isCode(code.attr) || dpl > cpl) return fault(Vector.GP, (selector & 0xfffc) | external);
  if ((code.attr & Attr.P) === 0) return fault(Vector.NP, (selector & 0xfffc) | external);
  const ring = isConforming(code.attr) ? cpl : dpl;

  const words = [vcpu.eip, vcpu.selector(Seg.CS), pushedFlags(vcpu, event)];
  if (event.errorCode !== undefined) words.unshift(event.errorCode);
  const inner = ring < cpl ? innerStack(vcpu, ring, external) : undefined;
  if (isFault(inner)) return inner;
  const stack = inner?.descriptor ?? {
    base: vcpu.base(Seg.SS),
    limit: vcpu.limit(Seg.SS),
    attr: vcpu.attr(Seg.SS),
  };
  const top = inner?.esp ?? vcpu.esp;
  if (inner !== undefined) words.push(vcpu.esp, vcpu.selector(Seg.SS));
  const offset = (high & 0xffff0000) | (low & 0xffff);
  const overflow = fault(Vector.SS, (inner === undefined ? 0 : inner.selector & 0xfffc) | external);
  if (offset >>> 0 > code.limit >>> 0) return fault(Vector.GP, external);
  const bottom = writeFrame(vcpu, stack, top, words, ring, overflow);
  if (isFault(bottom)) return bottom;
  const broken = markAccessed(vcpu, code);
  if (broken !== undefined) return broken;

  vcpu.cpl = ring;
  install(vcpu, Seg.CS, (selector & 0xfffc) | ring, code);
  if (inner !== undefined) {
    install(vcpu, Seg.SS, inner.selector, inner.descriptor);
    vcpu.esp = bottom;
  } else {
    const mask = (stack.attr & Attr.DB) !== 0 ? -1 : 0xffff;
    vcpu.esp = (vcpu.esp & ~mask) | bottom;
  }
  vcpu.eip = offset;
  const isInterruptGate = ((high >>> 8) & 0x1f) === 0x0e;
  const cleared = Flag.TF | Flag.NT | Flag.RF | Flag.VM | (isInterruptGate ? Flag.IF : 0);
  vcpu.eflags = vcpu.eflags & ~cleared;
  vcpu.interruptShadow = false;
  return undefined;
}

/**
 * INT n with one of the monitor's own vectors from user code is #GP to hardware, whose gate has DPL 1. This answers the event
 * that the guest must see instead where its own gate would let user code in: `undefined` means that the #GP is right.
 * `instructionBytes` is 2; `vcpu.eip` (captured) is at the instruction and is moved behind it.
 */
export function hiddenSoftwareInterrupt(vcpu: VirtualCpu, errorCode: number): Event | undefined {
  const vector = errorCode >>> 3;
  if (!vcpu.isUser || (errorCode & 7) !== 2 || vector * 8 + 7 > vcpu.idtLimit >>> 0) return undefined;
  const bytes = vcpu.memory.fetch((vcpu.base(Seg.CS) + vcpu.eip) >>> 0, 2, true);
  if (isFault(bytes) || bytes.length < 2 || bytes[0] !== 0xcd || bytes[1] !== vector) return undefined;
  vcpu.eip = (vcpu.eip + 2) | 0;
  return { kind: 'software', vector, instructionBytes: 2 };
}
