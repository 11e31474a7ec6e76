/**
 * Far transfers of the guest: IRET, far JMP, CALL and RET, call gates, SYSENTER and SYSEXIT (SDM vol. 3, 5.8; vol. 2, the
 * instructions). All with 32-bit operands and the guest out; nothing is changed before the last check has passed.
 *
 * What leads to another task is `task-switch.ts`. Virtual-8086 mode is not built: an IRET to it is logged and answered with #GP.
 */
import { Attr, Flag, S, Seg, Vector } from '../machine/cpu/state.js';
import { isTaskGate, isTaskState, Switch } from '../machine/cpu/task-state.js';
import { hasBreakpoints } from './debug-registers.js';
import type { GuestDescriptor } from './descriptors.js';
import { type Effect, JUMPED } from './effect.js';
import { fault, type GuestFault, isFault } from './guest-fault.js';
import {
  dplOf,
  dropInnerSegments,
  innerStack,
  install,
  isCode,
  isConforming,
  isNull,
  isWritableData,
  markAccessed,
  moveStack,
  peekStack,
  pokeStack,
  readDescriptor,
  rplOf,
  setStackPointer,
  writeFrame,
} from './guest-segments.js';
import { returnToTask, transferToTask } from './task-switch.js';
import type { VirtualCpu } from './virtual-cpu.js';

const gp = (code: number): GuestFault => fault(Vector.GP, code);

function notBuilt(vcpu: VirtualCpu, what: string, code: number): GuestFault {
  vcpu.vm.log(`not built: ${what} at 0x${(vcpu.eip >>> 0).toString(16)}`);
  return gp(code);
}

// Returns.

/** Reads and checks the code descriptor that a return goes to. */
function checkReturn(vcpu: VirtualCpu, selector: number): GuestDescriptor | GuestFault {
  if (isNull(selector)) return gp(0);
  const code = readDescriptor(vcpu, selector, Vector.GP);
  if (isFault(code)) return code;
  const error = selector & 0xfffc;
  const rpl = rplOf(vcpu, selector);
  if (!isCode(code.attr) || rpl < vcpu.cpl) return gp(error);
  const dpl = dplOf(vcpu, code.attr);
  if (isConforming(code.attr) ? dpl > rpl : dpl !== rpl) return gp(error);
  return (code.attr & Attr.P) !== 0 ? code : fault(Vector.NP, error);
}

/** The common part of far and interrupt returns to an outer ring: stack, CS, CPL, data registers. */
function returnOutward(
  vcpu: VirtualCpu,
  selector: number,
  code: GuestDescriptor,
  eip: number,
  stackSelector: number,
  esp: number,
): GuestFault | undefined {
  const rpl = selector & 3;
  if (isNull(stackSelector)) return gp(0);
  const stack = readDescriptor(vcpu, stackSelector, Vector.GP);
  if (isFault(stack)) return stack;
  const error = stackSelector & 0xfffc;
  if ((stackSelector & 3) !== rpl || !isWritableData(stack.attr) || dplOf(vcpu, stack.attr) !== rpl) return gp(error);
  if ((stack.attr & Attr.P) === 0) return fault(Vector.SS, error);
  if (eip >>> 0 > code.limit >>> 0) return gp(0);
  const broken = markAccessed(vcpu, code) ?? markAccessed(vcpu, stack);
  if (broken !== undefined) return broken;
  vcpu.cpl = rpl;
  install(vcpu, Seg.CS, selector, code);
  install(vcpu, Seg.SS, stackSelector, stack);
  setStackPointer(vcpu, esp);
  dropInnerSegments(vcpu);
  vcpu.eip = eip | 0;
  return undefined;
}

/**
 * IRETD: all frames (same ring, to an outer ring), and with NT back to another task, which is left with `behind` for its EIP. Restores IF and
 * IOPL as far as the guest's CPL allows.
 */
export function iret(vcpu: VirtualCpu, behind: number): Effect {
  const { cpl } = vcpu;
  const flags = vcpu.eflags;
  if ((flags & Flag.NT) !== 0) return returnToTask(vcpu, behind);
  const eip = peekStack(vcpu, 0, 4);
  if (isFault(eip)) return eip;
  const selector = peekStack(vcpu, 4, 2);
  if (isFault(selector)) return selector;
  const image = peekStack(vcpu, 8, 4);
  if (isFault(image)) return image;
  if ((image & Flag.VM) !== 0 && cpl === vcpu.kernelCpl) return notBuilt(vcpu, 'IRET to virtual-8086 mode', 0);
  const code = checkReturn(vcpu, selector);
  if (isFault(code)) return code;
  if (rplOf(vcpu, selector) === cpl) {
    if (eip >>> 0 > code.limit >>> 0) return gp(0);
    const broken = markAccessed(vcpu, code);
    if (broken !== undefined) return broken;
    moveStack(vcpu, 12);
    install(vcpu, Seg.CS, (selector & 0xfffc) | cpl, code);
    vcpu.eip = eip | 0;
  } else {
    const esp = peekStack(vcpu, 12, 4);
    if (isFault(esp)) return esp;
    const ss = peekStack(vcpu, 16, 2);
    if (isFault(ss)) return ss;
    const broken = returnOutward(vcpu, selector, code, eip, ss, esp);
    if (broken !== undefined) return broken;
  }
  const iopl = (flags >> 12) & 3;
  const mask =
    Flag.TF |
    Flag.DF |
    Flag.NT |
    (hasBreakpoints(vcpu) ? Flag.RF : 0) |
    Flag.AC |
    Flag.ID |
    Flag.ARITHMETIC |
    (cpl === vcpu.kernelCpl || cpl <= iopl ? Flag.IF : 0) |
    (cpl === vcpu.kernelCpl ? Flag.IOPL : 0);
  vcpu.eflags = (image & mask) | (flags & ~mask);
  return JUMPED;
}

/** RETF and RETF imm16; `release`: bytes of parameters. */
export function returnFar(vcpu: VirtualCpu, release: number): Effect {
  const eip = peekStack(vcpu, 0, 4);
  if (isFault(eip)) return eip;
  const selector = peekStack(vcpu, 4, 2);
  if (isFault(selector)) return selector;
  const code = checkReturn(vcpu, selector);
  if (isFault(code)) return code;
  if (rplOf(vcpu, selector) === vcpu.cpl) {
    if (eip >>> 0 > code.limit >>> 0) return gp(0);
    const broken = markAccessed(vcpu, code);
    if (broken !== undefined) return broken;
    moveStack(vcpu, 8 + release);
    install(vcpu, Seg.CS, (selector & 0xfffc) | vcpu.cpl, code);
    vcpu.eip = eip | 0;
    return JUMPED;
  }
  const esp = peekStack(vcpu, 8 + release, 4);
  if (isFault(esp)) return esp;
  const ss = peekStack(vcpu, 12 + release, 2);
  if (isFault(ss)) return ss;
  return returnOutward(vcpu, selector, code, eip, ss, (esp + release) | 0) ?? JUMPED;
}

// Jumps and calls.

/** Checks a code descriptor that is reached directly by JMP or CALL. */
function checkDirect(vcpu: VirtualCpu, selector: number, code: GuestDescriptor): GuestFault | undefined {
  const error = selector & 0xfffc;
  const dpl = dplOf(vcpu, code.attr);
  if (isConforming(code.attr)) {
    if (dpl > vcpu.cpl) return gp(error);
  } else if (rplOf(vcpu, selector) > vcpu.cpl || dpl !== vcpu.cpl) {
    return gp(error);
  }
  return (code.attr & Attr.P) !== 0 ? undefined : fault(Vector.NP, error);
}

function enterCode(vcpu: VirtualCpu, selector: number, offset: number, code: GuestDescriptor): GuestFault | undefined {
  if (offset >>> 0 > code.limit >>> 0) return gp(0);
  const broken = markAccessed(vcpu, code);
  if (broken !== undefined) return broken;
  install(vcpu, Seg.CS, (selector & 0xfffc) | vcpu.cpl, code);
  vcpu.eip = offset | 0;
  return undefined;
}

interface OpenGate {
  readonly selector: number;
  readonly offset: number;
  readonly code: GuestDescriptor;
  /** Parameters to copy, in words. */
  readonly words: number;
}

/** Checks a 32-bit call gate and reads the code descriptor behind it (SDM vol. 3, 5.8.4). */
function openGate(vcpu: VirtualCpu, selector: number, gate: GuestDescriptor): OpenGate | GuestFault {
  const dpl = dplOf(vcpu, gate.attr);
  const error = selector & 0xfffc;
  if (dpl < vcpu.cpl || dpl < (selector & 3)) return gp(error);
  if ((gate.attr & Attr.P) === 0) return fault(Vector.NP, error);
  const target = gate.low >>> 16;
  if (isNull(target)) return gp(0);
  const code = readDescriptor(vcpu, target, Vector.GP);
  if (isFault(code)) return code;
  if (!isCode(code.attr) || dplOf(vcpu, code.attr) > vcpu.cpl) return gp(target & 0xfffc);
  if ((code.attr & Attr.P) === 0) return fault(Vector.NP, target & 0xfffc);
  return { selector: target, offset: (gate.high & 0xffff0000) | (gate.low & 0xffff), code, words: gate.high & 31 };
}

const CALL_GATE = 0x0c;

/** A task state or a task gate, or #GP for what is none. */
function notCode(vcpu: VirtualCpu, selector: number, target: GuestDescriptor, kind: number, returnEip: number): Effect {
  const isTask = isTaskState(target.attr) || isTaskGate(target.attr);
  return isTask ? transferToTask(vcpu, selector, target, kind, returnEip) : gp(selector & 0xfffc);
}

/** JMP ptr16:32 and m16:32. `returnEip` is behind the instruction: a task that is left keeps it. */
export function jumpFar(vcpu: VirtualCpu, selector: number, offset: number, returnEip: number): Effect {
  if (isNull(selector)) return gp(0);
  const target = readDescriptor(vcpu, selector, Vector.GP);
  if (isFault(target)) return target;
  if (isCode(target.attr)) {
    return checkDirect(vcpu, selector, target) ?? enterCode(vcpu, selector, offset, target) ?? JUMPED;
  }
  if ((target.attr & 0x1f) !== CALL_GATE) return notCode(vcpu, selector, target, Switch.JUMP, returnEip);
  const gate = openGate(vcpu, selector, target);
  if (isFault(gate)) return gate;
  const dpl = dplOf(vcpu, gate.code.attr);
  if (isConforming(gate.code.attr) ? dpl > vcpu.cpl : dpl !== vcpu.cpl) return gp(gate.selector & 0xfffc);
  return enterCode(vcpu, gate.selector, gate.offset, gate.code) ?? JUMPED;
}

/** CALL ptr16:32 and m16:32, directly or through a call gate. `returnEip` is behind the instruction. */
export function callFar(vcpu: VirtualCpu, selector: number, offset: number, returnEip: number): Effect {
  if (isNull(selector)) return gp(0);
  const target = readDescriptor(vcpu, selector, Vector.GP);
  if (isFault(target)) return target;
  if (isCode(target.attr)) {
    return checkDirect(vcpu, selector, target) ?? callSameRing(vcpu, selector, offset, target, returnEip);
  }
  if ((target.attr & 0x1f) !== CALL_GATE) return notCode(vcpu, selector, target, Switch.CALL, returnEip);
  const gate = openGate(vcpu, selector, target);
  if (isFault(gate)) return gate;
  const ring = dplOf(vcpu, gate.code.attr);
  if (isConforming(gate.code.attr) || ring === vcpu.cpl) {
    return callSameRing(vcpu, gate.selector, gate.offset, gate.code, returnEip);
  }
  const inner = innerStack(vcpu, ring, 0);
  if (isFault(inner)) return inner;
  const words = [returnEip, vcpu.selector(Seg.CS)];
  for (let i = 0; i < gate.words; i++) {
    const word = peekStack(vcpu, i * 4, 4);
    if (isFault(word)) return word;
    words.push(word);
  }
  words.push(vcpu.esp, vcpu.selector(Seg.SS));
  if (gate.offset >>> 0 > gate.code.limit >>> 0) return gp(0);
  const overflow = fault(Vector.SS, inner.selector & 0xfffc);
  const bottom = writeFrame(vcpu, inner.descriptor, inner.esp, words, ring, overflow);
  if (isFault(bottom)) return bottom;
  const broken = markAccessed(vcpu, gate.code);
  if (broken !== undefined) return broken;
  vcpu.cpl = ring;
  install(vcpu, Seg.CS, (gate.selector & 0xfffc) | ring, gate.code);
  install(vcpu, Seg.SS, inner.selector, inner.descriptor);
  vcpu.esp = bottom;
  vcpu.eip = gate.offset;
  return JUMPED;
}

function callSameRing(
  vcpu: VirtualCpu,
  selector: number,
  offset: number,
  code: GuestDescriptor,
  returnEip: number,
): Effect {
  if (offset >>> 0 > code.limit >>> 0) return gp(0);
  const broken =
    pokeStack(vcpu, -4, 4, vcpu.selector(Seg.CS)) ??
    pokeStack(vcpu, -8, 4, returnEip) ??
    enterCode(vcpu, selector, offset, code);
  if (broken !== undefined) return broken;
  moveStack(vcpu, -8);
  return JUMPED;
}

// Fast system calls.

/** Flat segments that SYSENTER and SYSEXIT load without reading a table (SDM vol. 2, "SYSENTER"). */
function flat(vcpu: VirtualCpu, seg: number, selector: number, ring: number): void {
  const type = seg === Seg.CS ? 0x0b : 0x03;
  const attr = Attr.G | Attr.DB | Attr.P | Attr.S | (ring << Attr.DPL_SHIFT) | type;
  vcpu.setSegment(seg, (selector & 0xfffc) | ring, 0, -1, attr);
}

/** SYSENTER by the guest, at any CPL; `vcpu.eip` may be behind it already (no return address is kept). */
export function sysenter(vcpu: VirtualCpu): Effect {
  const selector = vcpu.sysenterCs & 0xfffc;
  if (selector === 0) return gp(0);
  vcpu.eflags = vcpu.eflags & ~(Flag.VM | Flag.IF);
  vcpu.cpl = vcpu.kernelCpl;
  flat(vcpu, Seg.CS, selector, vcpu.kernelCpl);
  flat(vcpu, Seg.SS, selector + 8, vcpu.kernelCpl);
  vcpu.esp = vcpu.sysenterEsp;
  vcpu.eip = vcpu.sysenterEip;
  return JUMPED;
}

/** SYSEXIT by the guest's kernel: EIP from EDX, ESP from ECX. */
export function sysexit(vcpu: VirtualCpu): Effect {
  const selector = vcpu.sysenterCs & 0xfffc;
  if (selector === 0 || vcpu.cpl !== vcpu.kernelCpl) return gp(0);
  vcpu.cpl = 3;
  flat(vcpu, Seg.CS, selector + 16, 3);
  flat(vcpu, Seg.SS, selector + 24, 3);
  vcpu.esp = vcpu.thread.s[S.ECX]!;
  vcpu.eip = vcpu.thread.s[S.EDX]!;
  return JUMPED;
}
