/**
 * Task switches by hardware (SDM vol. 3, 7.3): far JMP and CALL to a task state or through a task gate, task gates in the IDT, IRET
 * with NT. Both task states may be 16 or 32 bits wide.
 *
 * All that can fail before the switch is read and probed first and is a fault of the old task. What the new task's own registers
 * are wrong about is a fault of the new task, with its EIP. Its price is the sum of what it does: loads, stores, segment loads.
 *
 * Where a monitor owns ring 0 it switches tasks itself (`monitor/task-switch.ts`). Not built: a new task in virtual-8086 mode, which is reported
 * and answered with #GP.
 */
import { taskSwitchExits } from '../vmx/intercepts.js';
import { Dr6 } from './breakpoints.js';
import { type Core, Result } from './core.js';
import { attrOf, type Descriptor, dplOf, install, isNull, limitOf, markAccessed, readDescriptor } from './segments.js';
import { Attr, Cr0, Flag, S, Seg, segAttr, segBase, segLimit, segSelector, Vector } from './state.js';
import {
  BUSY,
  isAvailable,
  isBusy,
  isTaskGate,
  LOADABLE,
  LOCAL_ENABLES,
  layoutOf,
  Switch,
  savedBytes,
} from './task-state.js';

function fault(cpu: Core, vector: number, code: number): number {
  cpu.raise(vector, code);
  return Result.FAULT;
}

/**
 * Reads the descriptor of an available task state through a task gate's selector (SDM vol. 2, "JMP", "CALL" and "INT"). False with
 * the fault pending.
 */
function throughGate(cpu: Core, selector: number, into: Descriptor, external: number): boolean {
  const code = (selector & 0xfffc) | external;
  if ((selector & 4) !== 0 || isNull(selector)) return cpu.raise(Vector.GP, code);
  if (!readDescriptor(cpu, selector, into, Vector.GP, external)) return false;
  return available(cpu, into, code);
}

function available(cpu: Core, descriptor: Descriptor, code: number): boolean {
  const attr = attrOf(descriptor);
  if (!isAvailable(attr)) return cpu.raise(Vector.GP, code);
  return (attr & Attr.P) !== 0 || cpu.raise(Vector.NP, code);
}

/**
 * Far JMP or CALL to what `descriptor` describes, a task state or a task gate: `Result` as of a `SYSTEM` helper. EIP is still at
 * the instruction.
 */
export function transferToTask(cpu: Core, selector: number, descriptor: Descriptor, kind: number): number {
  const attr = attrOf(descriptor);
  const code = selector & 0xfffc;
  if (dplOf(attr) < cpu.s[S.CPL]! || dplOf(attr) < (selector & 3)) return fault(cpu, Vector.GP, code);
  let target = selector;
  if (isTaskGate(attr)) {
    if ((attr & Attr.P) === 0) return fault(cpu, Vector.NP, code);
    target = descriptor.low >>> 16;
    if (!throughGate(cpu, target, descriptor, 0)) return Result.FAULT;
  } else if ((selector & 4) !== 0) {
    return fault(cpu, Vector.GP, code);
  } else if (!available(cpu, descriptor, code)) {
    return Result.FAULT;
  }
  return switchTask(cpu, target, descriptor, kind, cpu.nextEip, cpu.readEflags(), 0);
}

/** An event through a task gate whose privilege and presence have been checked. `flags` is the image to save. */
export function deliverToTask(
  cpu: Core,
  selector: number,
  returnEip: number,
  flags: number,
  external: number,
  errorCode: number | undefined,
): number {
  const descriptor = cpu.transitions.code;
  if (!throughGate(cpu, selector, descriptor, external)) return Result.FAULT;
  if (cpu.s[S.NON_ROOT] !== 0) return taskSwitchExits(cpu, selector, Switch.TASK_GATE);
  const result = switchTask(cpu, selector, descriptor, Switch.CALL, returnEip, flags, external);
  if (result !== Result.DONE || errorCode === undefined) return result;
  const { s } = cpu;
  const size = layoutOf(s[segAttr(Seg.TR)]!).width;
  const big = (s[segAttr(Seg.SS)]! & Attr.DB) !== 0;
  const esp = (s[S.ESP]! - size) | 0;
  cpu.store(Seg.SS, big ? esp : esp & 0xffff, size, errorCode);
  if (cpu.faultVector >= 0) return Result.FAULT;
  s[S.ESP] = big ? esp : (s[S.ESP]! & ~0xffff) | (esp & 0xffff);
  return Result.DONE;
}

/** IRET with NT: back to the task that the running one was called from. */
export function returnToTask(cpu: Core): number {
  const s = cpu.s;
  const selector = cpu.readLinear(s[segBase(Seg.TR)]!, 2, false) & 0xffff;
  if (cpu.faultVector >= 0) return Result.FAULT;
  const code = selector & 0xfffc;
  const descriptor = cpu.transitions.code;
  if ((selector & 4) !== 0 || isNull(selector)) return fault(cpu, Vector.TS, code);
  if (!readDescriptor(cpu, selector, descriptor, Vector.TS)) return Result.FAULT;
  const attr = attrOf(descriptor);
  if (!isBusy(attr)) return fault(cpu, Vector.TS, code);
  if ((attr & Attr.P) === 0) return fault(cpu, Vector.NP, code);
  return switchTask(cpu, selector, descriptor, Switch.RETURN, cpu.nextEip, cpu.readEflags(), 0);
}

function switchTask(
  cpu: Core,
  selector: number,
  descriptor: Descriptor,
  kind: number,
  returnEip: number,
  flags: number,
  external: number,
): number {
  const s = cpu.s;
  if (s[S.NON_ROOT] !== 0) return taskSwitchExits(cpu, selector, kind);
  const code = (selector & 0xfffc) | external;
  const to = layoutOf(attrOf(descriptor));
  if (limitOf(descriptor) >>> 0 < to.limit) return fault(cpu, Vector.TS, code);
  const oldAttr = s[segAttr(Seg.TR)]!;
  const from = layoutOf(oldAttr);
  const oldBase = s[segBase(Seg.TR)]!;
  if ((oldAttr & 0x95) !== 0x81 || s[segLimit(Seg.TR)]! >>> 0 < from.limit) {
    return fault(cpu, Vector.TS, (s[segSelector(Seg.TR)]! & 0xfffc) | external);
  }

  // Everything of the new task, while a fault is still the old one's.
  const newBase = (descriptor.high & 0xff000000) | ((descriptor.high & 0xff) << 16) | (descriptor.low >>> 16);
  const read = (offset: number, size: number): number => {
    if (cpu.faultVector >= 0) return 0;
    const value = cpu.readLinear((newBase + offset) | 0, size, false);
    return size === 2 ? value & 0xffff : value;
  };
  const { width } = to;
  const cr3 = to.cr3 < 0 ? 0 : read(to.cr3, 4);
  const eip = read(to.eip, width);
  const image = read(to.eip + width, width);
  const registers = Array.from({ length: 8 }, (_, i) => read(to.registers + i * width, width));
  const selectors = Array.from({ length: to.segmentCount }, (_, i) => read(to.segments + i * width, 2));
  const ldt = read(to.ldt, 2);
  const trap = to.trap >= 0 && (read(to.trap, 2) & 1) !== 0;
  if (cpu.faultVector >= 0) return Result.FAULT;
  if ((image & Flag.VM) !== 0 || cpu.ring0Escapes) {
    const text = cpu.ring0Escapes ? 'task switch under a monitor' : 'task in virtual-8086 mode';
    cpu.wiring.onUnimplemented({ eip: s[S.EIP]! >>> 0, bytes: [], text });
    return fault(cpu, Vector.GP, code);
  }
  const oldAt = (s[S.GDT_BASE]! + (s[segSelector(Seg.TR)]! & 0xfff8) + 4) | 0;
  if (!cpu.probeLinear((oldBase + from.eip) | 0, savedBytes(from), true, false)) return Result.FAULT;
  if (kind !== Switch.CALL && !cpu.probeLinear(oldAt, 4, true, false)) return Result.FAULT;
  if (kind !== Switch.RETURN && !cpu.probeLinear((descriptor.at + 4) | 0, 4, true, false)) return Result.FAULT;
  if (kind === Switch.CALL && !cpu.probeLinear(newBase, 2, true, false)) return Result.FAULT;

  const write = (at: number, size: number, value: number) => cpu.writeLinear(at | 0, size, value, false);
  if (kind !== Switch.CALL) write(oldAt, 4, cpu.readLinear(oldAt, 4, false) & ~BUSY);
  write(oldBase + from.eip, from.width, returnEip);
  write(oldBase + from.eip + from.width, from.width, kind === Switch.RETURN ? flags & ~Flag.NT : flags);
  for (let i = 0; i < 8; i++) write(oldBase + from.registers + i * from.width, from.width, s[i]!);
  for (let i = 0; i < from.segmentCount; i++) {
    write(oldBase + from.segments + i * from.width, 2, s[segSelector(i)]!);
  }
  if (kind === Switch.CALL) write(newBase, 2, s[segSelector(Seg.TR)]!);
  if (kind !== Switch.RETURN) {
    descriptor.high |= BUSY;
    write(descriptor.at + 4, 4, descriptor.high);
  }

  // From here on the new task runs, and faults are its own.
  const costs = cpu.costs.cycles;
  cpu.spend(2 * costs.taskRegisterLoad + 26 * costs.load + 18 * costs.store + selectors.length * costs.segmentLoad);
  install(cpu, Seg.TR, selector, descriptor);
  s[S.CR0] = s[S.CR0]! | Cr0.TS;
  let pointersAreGood = true;
  if (to.cr3 >= 0 && s[S.CR0]! < 0) {
    pointersAreGood = cpu.loadCr3(cr3);
    cpu.spend(costs.movCr3);
  }
  s[S.DR7] = s[S.DR7]! & ~LOCAL_ENABLES;
  cpu.breakpoints.update(cpu);
  let newFlags = (image & LOADABLE) | (kind === Switch.CALL ? Flag.NT : 0);
  if (!cpu.breakpoints.active) newFlags &= ~Flag.RF;
  cpu.writeEflags(newFlags);
  for (let i = 0; i < 8; i++) s[i] = registers[i]!;
  s[S.INTERRUPT_SHADOW] = 0;
  s[S.EIP] = eip;
  cpu.nextEip = eip;
  // The selectors first: until its descriptor is good, a segment is unusable, CS but for its size.
  for (let seg = 0; seg < 6; seg++) cpu.setSegment(seg, selectors[seg] ?? 0, 0, 0, seg === Seg.CS ? Attr.DB : 0);
  cpu.setSegment(Seg.LDTR, ldt, 0, 0, 0);
  cpu.setCpl(selectors[Seg.CS]! & 3);
  cpu.transitions.switched = true;
  if (!pointersAreGood) return fault(cpu, Vector.GP, 0);
  if (!loadLdt(cpu, ldt, external)) return Result.FAULT;
  for (const seg of [Seg.CS, Seg.SS, Seg.ES, Seg.DS, Seg.FS, Seg.GS]) {
    if (!loadTaskSegment(cpu, seg, selectors[seg] ?? 0, external)) return Result.FAULT;
  }
  if (eip >>> 0 > s[segLimit(Seg.CS)]! >>> 0) return fault(cpu, Vector.GP, external);
  if (trap) {
    s[S.DR6] = s[S.DR6]! | Dr6.BT;
    cpu.breakpoints.taskTrap = true;
  }
  return Result.DONE;
}

function loadLdt(cpu: Core, selector: number, external: number): boolean {
  if (isNull(selector)) return true;
  const descriptor = cpu.transitions.stack;
  const code = (selector & 0xfffc) | external;
  if ((selector & 4) !== 0) return cpu.raise(Vector.TS, code);
  if (!readDescriptor(cpu, selector, descriptor, Vector.TS, external)) return false;
  const attr = attrOf(descriptor);
  if ((attr & 0x1f) !== 0x02 || (attr & Attr.P) === 0) return cpu.raise(Vector.TS, code);
  install(cpu, Seg.LDTR, selector, descriptor);
  return true;
}

/** A segment register of the new task (SDM vol. 3, table 7-1): #TS for what is wrong, #NP and #SS for what is absent. */
function loadTaskSegment(cpu: Core, seg: number, selector: number, external: number): boolean {
  const code = (selector & 0xfffc) | external;
  if (isNull(selector)) return (seg !== Seg.CS && seg !== Seg.SS) || cpu.raise(Vector.TS, code);
  const descriptor = cpu.transitions.stack;
  if (!readDescriptor(cpu, selector, descriptor, Vector.TS, external)) return false;
  const attr = attrOf(descriptor);
  const cpl = cpu.s[S.CPL]!;
  const [rpl, dpl] = [selector & 3, dplOf(attr)];
  const isCode = (attr & Attr.CODE) !== 0;
  const right = (attr & Attr.WRITE_READ) !== 0;
  const conforming = isCode && (attr & Attr.DOWN_CONFORMING) !== 0;
  let good = (attr & Attr.S) !== 0;
  if (seg === Seg.CS) good &&= isCode && (conforming ? dpl <= rpl : dpl === rpl);
  else if (seg === Seg.SS) good &&= !isCode && right && dpl === cpl && rpl === cpl;
  else good &&= (!isCode || right) && (conforming || (dpl >= cpl && dpl >= rpl));
  if (!good) return cpu.raise(Vector.TS, code);
  if ((attr & Attr.P) === 0) return cpu.raise(seg === Seg.SS ? Vector.SS : Vector.NP, code);
  if (!markAccessed(cpu, descriptor)) return false;
  install(cpu, seg, selector, descriptor);
  return true;
}
