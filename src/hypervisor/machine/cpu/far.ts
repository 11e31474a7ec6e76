/**
 * Far transfers: JMP, CALL and RET to other code segments, call gates, IRET, SYSENTER, SYSEXIT (SDM vol. 3, 5.8; vol. 2, the
 * instructions). Each is a helper of a `SYSTEM` op: it sets `nextEip` and answers `Result`.
 *
 * `size` is the operand size in bytes: the width of stack words, and of the offset that a return pops.
 *
 * Task switches are in `tasks.ts`, real and virtual-8086 mode in `real-mode.ts` and `virtual-8086.ts`.
 */
import { Dr6 } from './breakpoints.js';
import { type Core, Result } from './core.js';
import { afterTaskSwitch, innerStack, roomFor } from './exceptions.js';
import { INSTRUCTIONS, READABLE, WRITABLE } from './layout.js';
import { callFarReal, interruptReturnReal, isReal, jumpFarReal, returnFarReal, usesParagraphs } from './real-mode.js';
import {
  attrOf,
  baseOf,
  type Descriptor,
  dplOf,
  dropInnerSegments,
  install,
  isNull,
  limitOf,
  markAccessed,
  newDescriptor,
  readDescriptor,
} from './segments.js';
import { Attr, Flag, S, Seg, segAttr, segSelector, Vector } from './state.js';
import { isTaskGate, isTaskState, Switch } from './task-state.js';
import { returnToTask, transferToTask } from './tasks.js';
import { returnAgain } from './transitions.js';
import { enterVirtual } from './virtual-8086.js';

const CODE_SEGMENT = Attr.S | Attr.CODE;

function gp(cpu: Core, code: number): number {
  cpu.raise(Vector.GP, code);
  return Result.FAULT;
}

function notBuilt(cpu: Core, text: string, code: number): number {
  cpu.wiring.onUnimplemented({ eip: cpu.s[S.EIP]! >>> 0, bytes: [], text });
  return gp(cpu, code);
}

/**
 * An instruction that may switch tasks. It is complete when the new task is there: EIP is its first instruction, also for a fault of the new
 * task. If it began with TF set the trap behind it is taken there.
 */
function switchingTasks(cpu: Core, instruction: () => number): number {
  const stepped = (cpu.s[S.EFLAGS]! & Flag.TF) !== 0;
  const result = instruction();
  if (!cpu.transitions.switched) return result;
  cpu.transitions.switched = false;
  cpu.clock[INSTRUCTIONS]! += 1;
  if (result !== Result.DONE) return result;
  if (stepped) {
    cpu.s[S.DR6] = cpu.s[S.DR6]! | Dr6.BS;
    cpu.breakpoints.taskTrap = true;
  }
  return afterTaskSwitch(cpu);
}

/** Checks a code descriptor that is reached directly by JMP or CALL; the selector's RPL becomes the CPL. */
function checkDirect(cpu: Core, selector: number, descriptor: Descriptor): boolean {
  const attr = attrOf(descriptor);
  const cpl = cpu.s[S.CPL]!;
  const code = selector & 0xfffc;
  const dpl = dplOf(attr);
  if ((attr & Attr.DOWN_CONFORMING) !== 0) {
    if (dpl > cpl) return cpu.raise(Vector.GP, code);
  } else if ((selector & 3) > cpl || dpl !== cpl) {
    return cpu.raise(Vector.GP, code);
  }
  return (attr & Attr.P) !== 0 || cpu.raise(Vector.NP, code);
}

/** Offset `bytes` above the top of the stack, as an offset into SS. */
function stackOffset(cpu: Core, bytes: number): number {
  const offset = (cpu.s[S.ESP]! + bytes) | 0;
  return (cpu.s[segAttr(Seg.SS)]! & Attr.DB) !== 0 ? offset : offset & 0xffff;
}

function setStackPointer(cpu: Core, value: number): void {
  const big = (cpu.s[segAttr(Seg.SS)]! & Attr.DB) !== 0;
  cpu.s[S.ESP] = big ? value : (cpu.s[S.ESP]! & ~0xffff) | (value & 0xffff);
}

/** An instruction pointer or other value that was pushed with operand size `size`. */
const popped = (value: number, size: number): number => (size === 2 ? value & 0xffff : value);

/** JMP ptr16:16, ptr16:32 and the same from memory. */
export function jumpFar(cpu: Core, selector: number, offset: number): number {
  if (usesParagraphs(cpu)) return jumpFarReal(cpu, selector, offset);
  if (isNull(selector)) return gp(cpu, 0);
  const descriptor = newDescriptor();
  if (!readDescriptor(cpu, selector, descriptor, Vector.GP)) return Result.FAULT;
  const attr = attrOf(descriptor);
  if ((attr & CODE_SEGMENT) === CODE_SEGMENT) {
    if (!checkDirect(cpu, selector, descriptor)) return Result.FAULT;
    return enterCode(cpu, selector, offset, descriptor);
  }
  if ((attr & 0x17) !== 0x04) {
    return isTaskState(attr) || isTaskGate(attr)
      ? switchingTasks(cpu, () => transferToTask(cpu, selector, descriptor, Switch.JUMP))
      : gp(cpu, selector & 0xfffc);
  }
  const gate = openGate(cpu, selector, descriptor);
  if (gate === undefined) return Result.FAULT;
  const cpl = cpu.s[S.CPL]!;
  const dpl = dplOf(attrOf(gate.code));
  const conforming = (attrOf(gate.code) & Attr.DOWN_CONFORMING) !== 0;
  if (conforming ? dpl > cpl : dpl !== cpl) return gp(cpu, gate.selector & 0xfffc);
  return enterCode(cpu, gate.selector, gate.offset, gate.code);
}

function enterCode(cpu: Core, selector: number, offset: number, descriptor: Descriptor): number {
  if (offset >>> 0 > limitOf(descriptor) >>> 0) return gp(cpu, 0);
  if (!markAccessed(cpu, descriptor)) return Result.FAULT;
  install(cpu, Seg.CS, (selector & 0xfffc) | cpu.s[S.CPL]!, descriptor);
  cpu.nextEip = offset;
  cpu.spend(cpu.costs.cycles.farTransfer);
  return Result.DONE;
}

/** Checks a call gate (16 or 32 bits wide) and reads the code descriptor behind it (SDM vol. 3, 5.8.4). */
function openGate(cpu: Core, selector: number, gate: Descriptor) {
  const attr = attrOf(gate);
  const dpl = dplOf(attr);
  if (dpl < cpu.s[S.CPL]! || dpl < (selector & 3)) {
    cpu.raise(Vector.GP, selector & 0xfffc);
    return undefined;
  }
  if ((attr & Attr.P) === 0) {
    cpu.raise(Vector.NP, selector & 0xfffc);
    return undefined;
  }
  const target = gate.low >>> 16;
  if (isNull(target)) {
    cpu.raise(Vector.GP, 0);
    return undefined;
  }
  const code = newDescriptor();
  if (!readDescriptor(cpu, target, code, Vector.GP)) return undefined;
  const codeAttr = attrOf(code);
  if ((codeAttr & CODE_SEGMENT) !== CODE_SEGMENT || dplOf(codeAttr) > cpu.s[S.CPL]!) {
    cpu.raise(Vector.GP, target & 0xfffc);
    return undefined;
  }
  if ((codeAttr & Attr.P) === 0) {
    cpu.raise(Vector.NP, target & 0xfffc);
    return undefined;
  }
  const size = (attr & 8) !== 0 ? 4 : 2;
  const offset = size === 4 ? (gate.high & 0xffff0000) | (gate.low & 0xffff) : gate.low & 0xffff;
  return { selector: target, offset, code, size, words: gate.high & 0x1f };
}

/** CALL ptr16:16, ptr16:32 and the same from memory, directly or through a call gate. */
export function callFar(cpu: Core, selector: number, offset: number, size: number): number {
  if (usesParagraphs(cpu)) return callFarReal(cpu, selector, offset, size);
  const s = cpu.s;
  if (isNull(selector)) return gp(cpu, 0);
  const descriptor = newDescriptor();
  if (!readDescriptor(cpu, selector, descriptor, Vector.GP)) return Result.FAULT;
  const attr = attrOf(descriptor);
  if ((attr & CODE_SEGMENT) === CODE_SEGMENT) {
    if (!checkDirect(cpu, selector, descriptor)) return Result.FAULT;
    return callSameRing(cpu, selector, offset, descriptor, size);
  }
  if ((attr & 0x17) !== 0x04) {
    return isTaskState(attr) || isTaskGate(attr)
      ? switchingTasks(cpu, () => transferToTask(cpu, selector, descriptor, Switch.CALL))
      : gp(cpu, selector & 0xfffc);
  }
  const gate = openGate(cpu, selector, descriptor);
  if (gate === undefined) return Result.FAULT;
  const newCpl = dplOf(attrOf(gate.code));
  const conforming = (attrOf(gate.code) & Attr.DOWN_CONFORMING) !== 0;
  if (conforming || newCpl === s[S.CPL]) return callSameRing(cpu, gate.selector, gate.offset, gate.code, gate.size);
  if (newCpl === 0 && cpu.ring0Escapes) return notBuilt(cpu, 'call gate into the monitor', selector & 0xfffc);

  const { stack } = cpu.transitions;
  if (!innerStack(cpu, newCpl, stack, 0)) return Result.FAULT;
  const { pointer, pointerSelector } = cpu.transitions;
  const words = [cpu.nextEip, s[segSelector(Seg.CS)]!];
  for (let i = 0; i < gate.words; i++) {
    words.push(cpu.load(Seg.SS, stackOffset(cpu, i * gate.size), gate.size));
    if (cpu.faultVector >= 0) return Result.FAULT;
  }
  words.push(s[S.ESP]!, s[segSelector(Seg.SS)]!);
  const mask = (attrOf(stack) & Attr.DB) !== 0 ? -1 : 0xffff;
  const bottom = (pointer - words.length * gate.size) & mask;
  if (!roomFor(limitOf(stack), attrOf(stack), bottom, words.length * gate.size)) {
    cpu.raise(Vector.SS, pointerSelector & 0xfffc);
    return Result.FAULT;
  }
  if (gate.offset >>> 0 > limitOf(gate.code) >>> 0) return gp(cpu, 0);
  for (let i = 0; i < words.length; i++) {
    cpu.writeLinear((baseOf(stack) + bottom + i * gate.size) | 0, gate.size, words[i]!, newCpl === 3);
    if (cpu.faultVector >= 0) return Result.FAULT;
  }
  if (!markAccessed(cpu, gate.code)) return Result.FAULT;
  cpu.setCpl(newCpl);
  install(cpu, Seg.CS, (gate.selector & 0xfffc) | newCpl, gate.code);
  install(cpu, Seg.SS, pointerSelector, stack);
  s[S.ESP] = bottom;
  cpu.nextEip = gate.offset;
  cpu.spend(cpu.costs.cycles.callGateToInner);
  return Result.DONE;
}

function callSameRing(cpu: Core, selector: number, offset: number, descriptor: Descriptor, size: number): number {
  const s = cpu.s;
  if (offset >>> 0 > limitOf(descriptor) >>> 0) return gp(cpu, 0);
  cpu.store(Seg.SS, stackOffset(cpu, -size), size, s[segSelector(Seg.CS)]!);
  if (cpu.faultVector >= 0) return Result.FAULT;
  cpu.store(Seg.SS, stackOffset(cpu, -2 * size), size, cpu.nextEip);
  if (cpu.faultVector >= 0) return Result.FAULT;
  const result = enterCode(cpu, selector, offset, descriptor);
  if (result === Result.DONE) setStackPointer(cpu, stackOffset(cpu, -2 * size));
  return result;
}

/** RETF and RETF imm16. */
export function returnFar(cpu: Core, release: number, size: number): number {
  if (usesParagraphs(cpu)) return returnFarReal(cpu, release, size);
  const eip = popped(cpu.load(Seg.SS, stackOffset(cpu, 0), size), size);
  if (cpu.faultVector >= 0) return Result.FAULT;
  const selector = cpu.load(Seg.SS, stackOffset(cpu, size), size) & 0xffff;
  if (cpu.faultVector >= 0) return Result.FAULT;
  const code = newDescriptor();
  if (!checkReturn(cpu, selector, code)) return Result.FAULT;
  const rpl = selector & 3;
  const s = cpu.s;
  if (rpl === s[S.CPL]) {
    if (eip >>> 0 > limitOf(code) >>> 0) return gp(cpu, 0);
    if (!markAccessed(cpu, code)) return Result.FAULT;
    setStackPointer(cpu, (s[S.ESP]! + 2 * size + release) | 0);
    install(cpu, Seg.CS, selector, code);
    cpu.nextEip = eip;
    cpu.spend(cpu.costs.cycles.farTransfer);
    return Result.DONE;
  }
  const esp = popped(cpu.load(Seg.SS, stackOffset(cpu, 2 * size + release), size), size);
  if (cpu.faultVector >= 0) return Result.FAULT;
  const ss = cpu.load(Seg.SS, stackOffset(cpu, 3 * size + release), size) & 0xffff;
  if (cpu.faultVector >= 0) return Result.FAULT;
  if (!returnOutward(cpu, selector, code, eip, ss, (esp + release) | 0, cpu.costs.cycles.farReturnToOuter)) {
    return Result.FAULT;
  }
  return Result.DONE;
}

/** Reads and checks the code descriptor that a return goes to. */
function checkReturn(cpu: Core, selector: number, code: Descriptor): boolean {
  if (isNull(selector)) return cpu.raise(Vector.GP, 0);
  if (!readDescriptor(cpu, selector, code, Vector.GP)) return false;
  const attr = attrOf(code);
  const rpl = selector & 3;
  const error = selector & 0xfffc;
  if ((attr & CODE_SEGMENT) !== CODE_SEGMENT || rpl < cpu.s[S.CPL]!) return cpu.raise(Vector.GP, error);
  const dpl = dplOf(attr);
  if ((attr & Attr.DOWN_CONFORMING) !== 0 ? dpl > rpl : dpl !== rpl) return cpu.raise(Vector.GP, error);
  return (attr & Attr.P) !== 0 || cpu.raise(Vector.NP, error);
}

/** The common part of far and interrupt returns to an outer ring: stack, CS, CPL, data registers. Commits last; the time
 *  is that of the ring which executed the instruction. */
function returnOutward(
  cpu: Core,
  selector: number,
  code: Descriptor,
  eip: number,
  stackSelector: number,
  esp: number,
  cost: number,
): boolean {
  const rpl = selector & 3;
  if (isNull(stackSelector)) return cpu.raise(Vector.GP, 0);
  const { stack } = cpu.transitions;
  if (!readDescriptor(cpu, stackSelector, stack, Vector.GP)) return false;
  const attr = attrOf(stack);
  const error = stackSelector & 0xfffc;
  const writableData = (attr & (Attr.S | Attr.CODE | Attr.WRITE_READ)) === (Attr.S | Attr.WRITE_READ);
  if ((stackSelector & 3) !== rpl || !writableData || dplOf(attr) !== rpl) return cpu.raise(Vector.GP, error);
  if ((attr & Attr.P) === 0) return cpu.raise(Vector.SS, error);
  if (eip >>> 0 > limitOf(code) >>> 0) return cpu.raise(Vector.GP, 0);
  if (!markAccessed(cpu, code) || !markAccessed(cpu, stack)) return false;
  cpu.spend(cost);
  cpu.setCpl(rpl);
  install(cpu, Seg.CS, selector, code);
  install(cpu, Seg.SS, stackSelector, stack);
  setStackPointer(cpu, esp);
  dropInnerSegments(cpu);
  cpu.nextEip = eip;
  return true;
}

/** IRET and IRETD (SDM vol. 2, "IRET"). */
export function interruptReturn(cpu: Core, size = 4): number {
  if (size === 4 && returnAgain(cpu)) return Result.DONE;
  if (usesParagraphs(cpu)) return interruptReturnReal(cpu, size);
  const s = cpu.s;
  const cpl = s[S.CPL]!;
  if ((s[S.EFLAGS]! & Flag.NT) !== 0) return switchingTasks(cpu, () => returnToTask(cpu));
  const eip = popped(cpu.load(Seg.SS, stackOffset(cpu, 0), size), size);
  if (cpu.faultVector >= 0) return Result.FAULT;
  const selector = cpu.load(Seg.SS, stackOffset(cpu, size), size) & 0xffff;
  if (cpu.faultVector >= 0) return Result.FAULT;
  let image = popped(cpu.load(Seg.SS, stackOffset(cpu, 2 * size), size), size);
  if (cpu.faultVector >= 0) return Result.FAULT;
  if ((image & Flag.VM) !== 0 && cpl === 0) return enterVirtual(cpu, eip, selector, image);
  const { code } = cpu.transitions;
  if (!checkReturn(cpu, selector, code)) return Result.FAULT;
  const rpl = selector & 3;
  const iopl = (s[S.EFLAGS]! >>> 12) & 3;
  if (rpl === cpl) {
    if (eip >>> 0 > limitOf(code) >>> 0) return gp(cpu, 0);
    if (!markAccessed(cpu, code)) return Result.FAULT;
    setStackPointer(cpu, (s[S.ESP]! + 3 * size) | 0);
    install(cpu, Seg.CS, selector, code);
    cpu.nextEip = eip;
    cpu.spend(cpu.costs.cycles.iretSameRing);
    if (size === 4) cpu.transitions.noteReturn(s, selector, cpl, false, cpu.costs.cycles.iretSameRing);
  } else {
    const esp = popped(cpu.load(Seg.SS, stackOffset(cpu, 3 * size), size), size);
    if (cpu.faultVector >= 0) return Result.FAULT;
    const ss = cpu.load(Seg.SS, stackOffset(cpu, 4 * size), size) & 0xffff;
    if (cpu.faultVector >= 0) return Result.FAULT;
    if (!returnOutward(cpu, selector, code, eip, ss, esp, cpu.costs.cycles.iretToOuter)) return Result.FAULT;
    if (size === 4) cpu.transitions.noteReturn(s, selector, cpl, true, cpu.costs.cycles.iretToOuter);
  }
  const writable = Flag.TF | Flag.DF | Flag.NT | Flag.RF | Flag.AC | Flag.ID;
  // RF matters to instruction breakpoints alone, and only the one-at-a-time way uses it up.
  if (!cpu.breakpoints.active) image &= ~Flag.RF;
  const all = writable | (cpl <= iopl ? Flag.IF : 0) | (cpl === 0 ? Flag.IOPL | Flag.VIF | Flag.VIP : 0);
  const mask = size === 2 ? all & 0xffff : all;
  cpu.writeEflags((image & (mask | Flag.ARITHMETIC)) | (s[S.EFLAGS]! & ~(mask | Flag.ARITHMETIC)));
  return Result.DONE;
}

const FLAT = Attr.G | Attr.DB | Attr.P | Attr.S;

/** CPL with the flat CS and SS that SYSENTER and SYSEXIT load without reading a table (SDM vol. 2, "SYSENTER"). */
function enterFlat(cpu: Core, selector: number, ring: number): void {
  const s = cpu.s;
  const attr = FLAT | (ring << Attr.DPL_SHIFT);
  cpu.accountRing();
  s[S.CPL] = ring;
  const stack = segSelector(Seg.SS);
  s[stack] = (selector + 8) | ring;
  s[stack + 1] = 0;
  s[stack + 2] = -1;
  s[stack + 3] = attr | 0x03;
  s[READABLE + Seg.SS] = s[WRITABLE + Seg.SS] = 0xfffffffd | 0;
  cpu.setSegment(Seg.CS, selector | ring, 0, -1, attr | 0x0b);
}

export function sysenter(cpu: Core): number {
  const s = cpu.s;
  const selector = s[S.SYSENTER_CS]! & 0xfffc;
  if (selector === 0 || isReal(cpu)) return gp(cpu, 0);
  const cost = cpu.costs.cycles.sysenter;
  if (cpu.ring0Escapes) {
    s[S.EIP] = cpu.nextEip;
    cpu.charge(cost);
    cpu.clock[INSTRUCTIONS]! += 1;
    cpu.exit = { kind: 'sysenter' };
    return Result.EXIT;
  }
  s[S.EFLAGS] = s[S.EFLAGS]! & ~(Flag.VM | Flag.IF);
  enterFlat(cpu, selector, 0);
  s[S.ESP] = s[S.SYSENTER_ESP]!;
  cpu.nextEip = s[S.SYSENTER_EIP]!;
  cpu.updatePoll();
  cpu.spend(cost);
  return Result.DONE;
}

export function sysexit(cpu: Core): number {
  const s = cpu.s;
  const selector = s[S.SYSENTER_CS]! & 0xfffc;
  if (selector === 0 || s[S.CPL] !== 0 || isReal(cpu)) return gp(cpu, 0);
  cpu.spend(cpu.costs.cycles.sysexit);
  enterFlat(cpu, selector + 16, 3);
  s[S.ESP] = s[S.ECX]!;
  cpu.nextEip = s[S.EDX]!;
  return Result.DONE;
}

/** Could `selector` be used at all by LAR, LSL, VERR, VERW? Shared with `system.ts`. */
export function visible(cpu: Core, selector: number, descriptor: Descriptor): boolean {
  const attr = attrOf(descriptor);
  if ((attr & (Attr.S | Attr.CODE | Attr.DOWN_CONFORMING)) === (Attr.S | Attr.CODE | Attr.DOWN_CONFORMING)) return true;
  const dpl = dplOf(attr);
  return dpl >= cpu.s[S.CPL]! && dpl >= (selector & 3);
}
