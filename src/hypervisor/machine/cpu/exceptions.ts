/**
 * Delivery of exceptions and interrupts through the IDT (SDM vol. 3, chapter 6): interrupt and trap gates, ring stacks from
 * the TSS, task gates (`tasks.ts`), faults during delivery, double and triple fault.
 */
import { exceptionExits, vectoringOf } from '../vmx/intercepts.js';
import { Dr7 } from './breakpoints.js';
import { Core, Result } from './core.js';
import { Source } from './event-source.js';
import { INSTRUCTIONS } from './layout.js';
import { deliverReal, isReal } from './real-mode.js';
import {
  attrOf,
  baseOf,
  type Descriptor,
  dplOf,
  install,
  isNull,
  limitOf,
  markAccessed,
  readDescriptor,
} from './segments.js';
import { Attr, Flag, S, Seg, segAttr, segBase, segLimit, segSelector, Vector } from './state.js';
import { deliverToTask } from './tasks.js';
import { deliverAgain } from './transitions.js';

export { Source };

const CLASS_BENIGN = 0;
const CLASS_CONTRIBUTORY = 1;
const CLASS_PAGE_FAULT = 2;

/** SDM vol. 3, table 6-4. */
function classOf(vector: number): number {
  if (vector === Vector.PF) return CLASS_PAGE_FAULT;
  return vector === Vector.DE || (vector >= Vector.TS && vector <= Vector.GP) ? CLASS_CONTRIBUTORY : CLASS_BENIGN;
}

/** Delivers the pending fault of the instruction at EIP. Answers as `deliver`. */
export function deliverFault(cpu: Core): number {
  const vector = cpu.faultVector;
  const code = cpu.faultCode;
  cpu.faultVector = -1;
  // A fetch that ended the run instead.
  if (cpu.exit !== null) return Result.EXIT;
  return deliver(cpu, vector, code, Source.FAULT, cpu.s[S.EIP]!);
}

/**
 * Delivers one event; `returnEip` is what the frame will hold. Answers `Result.DELIVERED` (EIP is the handler's), or
 * `Result.EXIT`. `injected`: by a VM entry, which asks no exception bitmap. A fault during the delivery of a software interrupt is a fault of the instruction at EIP.
 */
export function deliver(
  cpu: Core,
  vector: number,
  code: number,
  source: number,
  returnEip: number,
  injected = false,
): number {
  let at = vector;
  let errorCode = code;
  let from = source;
  let eip = returnEip;
  cpu.vectoring = null;
  // Entering the handler of a debug exception ends general detection (SDM vol. 3, 17.2.4).
  if (vector === Vector.DB && source !== Source.SOFTWARE) cpu.s[S.DR7] = cpu.s[S.DR7]! & ~Dr7.GD;
  // What a faulting instruction has accessed was no access; what the delivery accesses is.
  if (source === Source.FAULT) cpu.breakpoints.hits = 0;
  for (;;) {
    if (cpu.s[S.NON_ROOT] !== 0 && !(injected && at === vector && cpu.vectoring === null)) {
      if (exceptionExits(cpu, at, errorCode, from)) return Result.EXIT;
    }
    if (at === Vector.PF && from === Source.FAULT) cpu.s[S.CR2] = cpu.s[S.FAULT_LINEAR]!;
    const result = attempt(cpu, at, errorCode, from, eip);
    if (cpu.s[S.NON_ROOT] !== 0)
      cpu.vectoring = result === Result.DELIVERED ? null : vectoringOf(cpu, at, errorCode, from, eip);
    if (result !== Result.FAULT) return result;
    const nested = cpu.faultVector;
    const nestedCode = cpu.faultCode;
    cpu.faultVector = -1;
    // The second of two exceptions exits as itself, not as the double fault that it would become.
    if (cpu.s[S.NON_ROOT] !== 0 && exceptionExits(cpu, nested, nestedCode, Source.FAULT)) return Result.EXIT;
    if (at === Vector.DF) return shutDown(cpu, nested);
    const first = from === Source.SOFTWARE || from === Source.EXTERNAL ? CLASS_BENIGN : classOf(at);
    const second = classOf(nested);
    const double =
      (first === CLASS_CONTRIBUTORY && second === CLASS_CONTRIBUTORY) ||
      (first === CLASS_PAGE_FAULT && second !== CLASS_BENIGN);
    if (source === Source.SOFTWARE || cpu.transitions.switched) eip = cpu.s[S.EIP]!;
    cpu.transitions.switched = false;
    at = double ? Vector.DF : nested;
    errorCode = double ? 0 : nestedCode;
    from = Source.FAULT;
  }
}

function shutDown(cpu: Core, nested: number): number {
  const s = cpu.s;
  const hex = (value: number) => `0x${(value >>> 0).toString(16)}`;
  cpu.exit = {
    kind: 'shutdown',
    reason:
      `triple fault: exception ${nested} while delivering a double fault at ${hex(s[segSelector(Seg.CS)]!)}:${hex(s[S.EIP]!)}, ` +
      `ESP ${hex(s[S.ESP]!)}, CR2 ${hex(s[S.CR2]!)}, CR3 ${hex(s[S.CR3]!)}`,
  };
  return Result.EXIT;
}

/**
 * The image of EFLAGS that a delivery pushes. Faults set RF in it, so that the instruction does not meet its breakpoint again, except
 * the breakpoint's own #DB; it is clear for traps and software interrupts (SDM vol. 3, 17.3.1.1). Hardware sets it for every fault. Here
 * it is set only while breakpoints are enabled, since it has no other effect: the monitors inject without it, and
 * a guest must read the same frames under all of them.
 */
function pushedFlags(cpu: Core, vector: number, source: number): number {
  const flags = cpu.readEflags();
  if (!cpu.breakpoints.active) return flags;
  if (source === Source.FAULT) return vector === Vector.DB ? flags : flags | Flag.RF;
  return source === Source.EXTERNAL ? flags : flags & ~Flag.RF;
}

function attempt(cpu: Core, vector: number, errorCode: number, source: number, returnEip: number): number {
  const s = cpu.s;
  const software = source === Source.SOFTWARE;
  const withCode = source === Source.FAULT && Core.hasErrorCode(vector);
  const costs = cpu.costs.cycles;
  const flags = pushedFlags(cpu, vector, source);
  if (deliverAgain(cpu, vector, software, withCode, errorCode, returnEip, flags)) {
    if (source === Source.EXTERNAL) cpu.counters.interrupts += 1;
    else cpu.counters.exceptions += 1;
    return Result.DELIVERED;
  }
  if (isReal(cpu)) return deliverReal(cpu, vector, software, source === Source.EXTERNAL, returnEip);
  const external = software ? 0 : 1;
  const gateCode = vector * 8 + 2 + external;
  if (vector * 8 + 7 > s[S.IDT_LIMIT]! >>> 0) return fault(cpu, Vector.GP, gateCode);
  const { gate, code, stack } = cpu.transitions;
  gate.at = (s[S.IDT_BASE]! + vector * 8) | 0;
  const gateLow = cpu.readLinear(gate.at, 4, false);
  if (cpu.faultVector >= 0) return Result.FAULT;
  const gateHigh = cpu.readLinear((gate.at + 4) | 0, 4, false);
  if (cpu.faultVector >= 0) return Result.FAULT;
  gate.low = gateLow;
  gate.high = gateHigh;
  const type = (gateHigh >>> 8) & 0x1f;
  if ((type & 0x16) !== 0x06) {
    if (type !== 0x05) return fault(cpu, Vector.GP, gateCode);
    if (software && ((gateHigh >>> 13) & 3) < s[S.CPL]!) return fault(cpu, Vector.GP, gateCode);
    if ((gateHigh & 0x8000) === 0) return fault(cpu, Vector.NP, gateCode);
    const pushed = withCode ? errorCode : undefined;
    const result = deliverToTask(cpu, gateLow >>> 16, returnEip, flags, external, pushed);
    if (result !== Result.DONE) return result;
    if (software) cpu.clock[INSTRUCTIONS]! += 1;
    if (source === Source.EXTERNAL) cpu.counters.interrupts += 1;
    else cpu.counters.exceptions += 1;
    return afterTaskSwitch(cpu);
  }
  // Interrupt and trap gates, 16 (6, 7) or 32 bits wide (E, F): width of the frame's words and of the target offset.
  const size = (type & 8) !== 0 ? 4 : 2;
  if (software && ((gateHigh >>> 13) & 3) < s[S.CPL]!) return fault(cpu, Vector.GP, gateCode);
  if ((gateHigh & 0x8000) === 0) return fault(cpu, Vector.NP, gateCode);

  const selector = gateLow >>> 16;
  const target = size === 4 ? (gateHigh & 0xffff0000) | (gateLow & 0xffff) : gateLow & 0xffff;
  if (isNull(selector)) return fault(cpu, Vector.GP, external);
  if (!readDescriptor(cpu, selector, code, Vector.GP, external)) return Result.FAULT;
  const attr = attrOf(code);
  const dpl = dplOf(attr);
  const cpl = s[S.CPL]!;
  if ((attr & (Attr.S | Attr.CODE)) !== (Attr.S | Attr.CODE) || dpl > cpl) {
    return fault(cpu, Vector.GP, (selector & 0xfffc) | external);
  }
  if ((attr & Attr.P) === 0) return fault(cpu, Vector.NP, (selector & 0xfffc) | external);
  const virtual = (flags & Flag.VM) !== 0;
  // Virtual-8086 mode is left for ring 0 only.
  if (virtual && ((attr & Attr.DOWN_CONFORMING) !== 0 || dpl !== 0))
    return fault(cpu, Vector.GP, (selector & 0xfffc) | external);
  const newCpl = (attr & Attr.DOWN_CONFORMING) !== 0 ? cpl : dpl;
  const cost = newCpl < cpl ? costs.exceptionToInner : costs.exceptionSameRing;

  if (newCpl === 0 && cpu.ring0Escapes) {
    if (source !== Source.FAULT) s[S.EIP] = returnEip;
    cpu.charge(cost);
    cpu.counters.exceptions += 1;
    if (software) cpu.clock[INSTRUCTIONS]! += 1;
    cpu.exit = { kind: 'monitor', vector, errorCode, hasErrorCode: withCode, software };
    return Result.EXIT;
  }

  const inner = newCpl < cpl;
  const bytes = ((virtual ? 9 : inner ? 5 : 3) + (withCode ? 1 : 0)) * size;
  let base: number;
  let top: number;
  let mask: number;
  if (inner) {
    if (!innerStack(cpu, newCpl, stack, external)) return Result.FAULT;
    base = baseOf(stack);
    top = cpu.transitions.pointer;
    mask = (attrOf(stack) & Attr.DB) !== 0 ? -1 : 0xffff;
    if (!roomFor(limitOf(stack), attrOf(stack), (top & mask) - bytes, bytes)) {
      return fault(cpu, Vector.SS, (cpu.transitions.pointerSelector & 0xfffc) | external);
    }
  } else {
    base = s[segBase(Seg.SS)]!;
    top = s[S.ESP]!;
    mask = (s[segAttr(Seg.SS)]! & Attr.DB) !== 0 ? -1 : 0xffff;
    if (!roomFor(s[segLimit(Seg.SS)]!, s[segAttr(Seg.SS)]!, (top & mask) - bytes, bytes)) {
      return fault(cpu, Vector.SS, external);
    }
  }
  if (target >>> 0 > limitOf(code) >>> 0) return fault(cpu, Vector.GP, external);
  // From the highest word down, as PUSH would.
  let at = top;
  const user = newCpl === 3;
  if (virtual) {
    for (const seg of [Seg.GS, Seg.FS, Seg.DS, Seg.ES]) {
      at = (at - size) & mask;
      cpu.writeLinear((base + at) | 0, size, s[segSelector(seg)]!, user);
      if (cpu.faultVector >= 0) return Result.FAULT;
    }
  }
  if (inner) {
    at = (at - size) & mask;
    cpu.writeLinear((base + at) | 0, size, s[segSelector(Seg.SS)]!, user);
    if (cpu.faultVector >= 0) return Result.FAULT;
    at = (at - size) & mask;
    cpu.writeLinear((base + at) | 0, size, s[S.ESP]!, user);
    if (cpu.faultVector >= 0) return Result.FAULT;
  }
  at = (at - size) & mask;
  cpu.writeLinear((base + at) | 0, size, flags, user);
  if (cpu.faultVector >= 0) return Result.FAULT;
  at = (at - size) & mask;
  cpu.writeLinear((base + at) | 0, size, s[segSelector(Seg.CS)]!, user);
  if (cpu.faultVector >= 0) return Result.FAULT;
  at = (at - size) & mask;
  cpu.writeLinear((base + at) | 0, size, returnEip, user);
  if (cpu.faultVector >= 0) return Result.FAULT;
  if (withCode) {
    at = (at - size) & mask;
    cpu.writeLinear((base + at) | 0, size, errorCode, user);
    if (cpu.faultVector >= 0) return Result.FAULT;
  }
  if (!markAccessed(cpu, code)) return Result.FAULT;

  cpu.setCpl(newCpl);
  install(cpu, Seg.CS, (selector & 0xfffc) | newCpl, code);
  if (inner) {
    install(cpu, Seg.SS, cpu.transitions.pointerSelector, stack);
    s[S.ESP] = at;
  } else {
    s[S.ESP] = (top & ~mask) | at;
  }
  s[S.EIP] = target;
  if (virtual) for (const seg of [Seg.ES, Seg.DS, Seg.FS, Seg.GS]) cpu.setSegment(seg, 0, 0, 0, 0);
  else cpu.transitions.noteDelivery(s, vector, software, cpl, inner, cost);
  s[S.EFLAGS] = s[S.EFLAGS]! & ~(Flag.TF | Flag.NT | Flag.RF | Flag.VM | ((type & 1) === 0 ? Flag.IF : 0));
  s[S.INTERRUPT_SHADOW] = 0;
  cpu.updatePoll();
  cpu.spend(cost);
  if (software) cpu.clock[INSTRUCTIONS]! += 1;
  if (source === Source.EXTERNAL) cpu.counters.interrupts += 1;
  else cpu.counters.exceptions += 1;
  return Result.DELIVERED;
}

/** The trap that the task just switched to may ask for, before its first instruction. */
export function afterTaskSwitch(cpu: Core): number {
  cpu.transitions.switched = false;
  if (!cpu.breakpoints.taskTrap) return Result.DELIVERED;
  cpu.breakpoints.taskTrap = false;
  return deliver(cpu, Vector.DB, 0, Source.TRAP, cpu.s[S.EIP]!);
}

/**
 * Reads the stack of an inner ring from the TSS (32-bit, or 16-bit with words of half the size) into `transitions.pointer` and
 * `pointerSelector`, and its descriptor, with all checks (SDM vol. 3, 6.12.1 and 5.8.5). False with the fault pending.
 */
export function innerStack(cpu: Core, ring: number, descriptor: Descriptor, external: number): boolean {
  const s = cpu.s;
  const tr = s[segSelector(Seg.TR)]!;
  const type = s[segAttr(Seg.TR)]! & 0x9f;
  const width = (type & 8) !== 0 ? 4 : 2;
  const slot = width + ring * 2 * width;
  if ((type & 0x95) !== 0x81 || slot + width + 1 > s[segLimit(Seg.TR)]! >>> 0) {
    return cpu.raise(Vector.TS, (tr & 0xfffc) | external);
  }
  const at = (s[segBase(Seg.TR)]! + slot) | 0;
  const esp = cpu.readLinear(at, width, false);
  if (cpu.faultVector >= 0) return false;
  const selector = cpu.readLinear((at + width) | 0, 2, false) & 0xffff;
  if (cpu.faultVector >= 0) return false;
  const { transitions } = cpu;
  transitions.pointerAt = at;
  transitions.pointer = width === 4 ? esp : esp & 0xffff;
  transitions.pointerSelector = selector;
  if (isNull(selector)) return cpu.raise(Vector.TS, external);
  const code = (selector & 0xfffc) | external;
  if (!readDescriptor(cpu, selector, descriptor, Vector.TS, external)) return false;
  const attr = attrOf(descriptor);
  const writableData = (attr & (Attr.S | Attr.CODE | Attr.WRITE_READ)) === (Attr.S | Attr.WRITE_READ);
  if ((selector & 3) !== ring || dplOf(attr) !== ring || !writableData) return cpu.raise(Vector.TS, code);
  if ((attr & Attr.P) === 0) return cpu.raise(Vector.SS, code);
  return markAccessed(cpu, descriptor);
}

/** Do `size` bytes from offset `first` (may be negative: wrapped) lie within a stack segment? */
export function roomFor(limit: number, attr: number, first: number, size: number): boolean {
  const down = (attr & Attr.DOWN_CONFORMING) !== 0;
  const low = (attr & Attr.DB) !== 0 ? first >>> 0 : first & 0xffff;
  const high = low + size - 1;
  if (!down) return high <= limit >>> 0;
  return low > limit >>> 0 && high <= ((attr & Attr.DB) !== 0 ? 0xffffffff : 0xffff);
}

function fault(cpu: Core, vector: number, code: number): number {
  cpu.raise(vector, code);
  return Result.FAULT;
}
