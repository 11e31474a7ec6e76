/**
 * Task switches of the guest (SDM vol. 3, 7.3), which no monitor lets hardware do: deprivileged kernels do not see hardware's task register,
 * and in VMX non-root operation every switch exits. What the processor does natively is in `machine/cpu/tasks.ts`; this is the same, step by
 * step, on the virtual CPU. The guest must be out.
 *
 * All that can fail before the switch is read and probed first and is a fault of the old task, of which nothing has changed. What the new
 * task's own registers are wrong about is a fault of the new task: `vcpu.eip` is its first instruction then.
 *
 * Not built, as natively: a new task in virtual-8086 mode.
 */
import { Dr6 } from '../machine/cpu/breakpoints.js';
import { Attr, Cr0, Flag, S, Seg, Vector } from '../machine/cpu/state.js';
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
} from '../machine/cpu/task-state.js';
import { hasBreakpoints } from './debug-registers.js';
import type { GuestDescriptor } from './descriptors.js';
import { type Effect, JUMPED } from './effect.js';
import { fault, type GuestFault, isFault } from './guest-fault.js';
import type { Width } from './guest-memory.js';
import { dplOf, install, isNull, markAccessed, push, readDescriptor, rplOf } from './guest-segments.js';
import { writeControlRegister } from './system-registers.js';
import type { VirtualCpu } from './virtual-cpu.js';

/** How a task is switched to. */
export interface TaskSwitch {
  /** `Switch.CALL`, `RETURN` or `JUMP`; an event is a CALL. */
  readonly kind: number;
  /** Saved as the old task's EIP and EFLAGS. */
  readonly returnEip: number;
  readonly flags: number;
  /** The EXT bit of error codes: 1 for what the guest's program did not ask for. */
  readonly external: number;
  /** Of an event that has one: on the new task's stack. */
  readonly errorCode?: number | undefined;
}

/** A fault tells by `switched` whose it is. */
export type Switched = { readonly switched: boolean; readonly fault: GuestFault | undefined };

/** The old task goes on, with the fault if there is one. */
export const stays = (trouble: GuestFault | undefined): Switched => ({ switched: false, fault: trouble });

/** The available task state that a task gate's selector names (SDM vol. 2, "JMP", "CALL" and "INT"). */
export function taskBehindGate(vcpu: VirtualCpu, selector: number, external: number): GuestDescriptor | GuestFault {
  const code = (selector & 0xfffc) | external;
  if ((selector & 4) !== 0 || isNull(selector)) return fault(Vector.GP, code);
  const task = readDescriptor(vcpu, selector, Vector.GP, external);
  return isFault(task) ? task : available(task, code);
}

function available(task: GuestDescriptor, code: number): GuestDescriptor | GuestFault {
  if (!isAvailable(task.attr)) return fault(Vector.GP, code);
  return (task.attr & Attr.P) !== 0 ? task : fault(Vector.NP, code);
}

/** As the effect of an instruction. */
export const effectOf = ({ fault: trouble }: Switched): Effect => trouble ?? JUMPED;

/** Far JMP or CALL to what `descriptor` describes: a task state or a task gate. */
export function transferToTask(
  vcpu: VirtualCpu,
  selector: number,
  descriptor: GuestDescriptor,
  kind: number,
  returnEip: number,
): Effect {
  const { attr } = descriptor;
  const code = selector & 0xfffc;
  const dpl = dplOf(vcpu, attr);
  if (dpl < vcpu.cpl || dpl < (selector & 3)) return fault(Vector.GP, code);
  let target = selector;
  let task: GuestDescriptor | GuestFault;
  if (isTaskGate(attr)) {
    if ((attr & Attr.P) === 0) return fault(Vector.NP, code);
    target = descriptor.low >>> 16;
    task = taskBehindGate(vcpu, target, 0);
  } else {
    task = (selector & 4) !== 0 ? fault(Vector.GP, code) : available(descriptor, code);
  }
  if (isFault(task)) return task;
  return effectOf(switchTask(vcpu, target, task, { kind, returnEip, flags: vcpu.eflags, external: 0 }));
}

/** IRET with NT: back to the task that the running one was called from. */
export function returnToTask(vcpu: VirtualCpu, returnEip: number): Effect {
  const selector = vcpu.memory.read(vcpu.base(Seg.TR) >>> 0, 2, false);
  if (isFault(selector)) return selector;
  const code = selector & 0xfffc;
  if ((selector & 4) !== 0 || isNull(selector)) return fault(Vector.TS, code);
  const task = readDescriptor(vcpu, selector, Vector.TS);
  if (isFault(task)) return task;
  if (!isBusy(task.attr)) return fault(Vector.TS, code);
  if ((task.attr & Attr.P) === 0) return fault(Vector.NP, code);
  const how = { kind: Switch.RETURN, returnEip, flags: vcpu.eflags, external: 0 };
  return effectOf(switchTask(vcpu, selector, task, how));
}

/** What a task state holds, and the T bit. */
interface NewTask {
  readonly cr3: number;
  readonly eip: number;
  readonly flags: number;
  readonly registers: readonly number[];
  readonly selectors: readonly number[];
  readonly ldt: number;
  readonly trap: boolean;
}

function readTask(vcpu: VirtualCpu, { base, attr }: GuestDescriptor): NewTask | GuestFault {
  const layout = layoutOf(attr);
  const { width } = layout;
  let trouble: GuestFault | undefined;
  const read = (offset: number, size: Width): number => {
    if (trouble !== undefined || offset < 0) return 0;
    const value = vcpu.memory.read((base + offset) >>> 0, size, false);
    if (!isFault(value)) return value | 0;
    trouble = value;
    return 0;
  };
  const task = {
    cr3: read(layout.cr3, 4),
    eip: read(layout.eip, width),
    flags: read(layout.eip + width, width),
    registers: Array.from({ length: 8 }, (_, i) => read(layout.registers + i * width, width)),
    selectors: Array.from({ length: layout.segmentCount }, (_, i) => read(layout.segments + i * width, 2)),
    ldt: read(layout.ldt, 2),
    trap: (read(layout.trap, 2) & 1) !== 0,
  };
  return trouble ?? task;
}

/** Would stores to these bytes succeed? Sets dirty bits, as the stores will. */
function probe(vcpu: VirtualCpu, linear: number, bytes: number): GuestFault | undefined {
  for (const at of [linear, linear + bytes - 1]) {
    const place = vcpu.memory.translate(at >>> 0, true, false);
    if (isFault(place)) return place;
  }
  return undefined;
}

/** `task` is the checked descriptor of `selector`. */
export function switchTask(vcpu: VirtualCpu, selector: number, task: GuestDescriptor, how: TaskSwitch): Switched {
  const { kind, external } = how;
  const { s } = vcpu.thread;
  const code = (selector & 0xfffc) | external;
  const to = layoutOf(task.attr);
  if (task.limit >>> 0 < to.limit) return stays(fault(Vector.TS, code));
  const oldSelector = vcpu.selector(Seg.TR);
  const oldBase = vcpu.base(Seg.TR);
  const from = layoutOf(vcpu.attr(Seg.TR));
  if ((vcpu.attr(Seg.TR) & 0x95) !== 0x81 || vcpu.limit(Seg.TR) < from.limit) {
    return stays(fault(Vector.TS, (oldSelector & 0xfffc) | external));
  }
  const next = readTask(vcpu, task);
  if (isFault(next)) return stays(next);
  if ((next.flags & Flag.VM) !== 0) {
    vcpu.vm.log(`not built: task in virtual-8086 mode at 0x${(vcpu.eip >>> 0).toString(16)}`);
    return stays(fault(Vector.GP, code));
  }
  const oldAt = (vcpu.gdtBase + (oldSelector & 0xfff8) + 4) >>> 0;
  const trouble =
    probe(vcpu, oldBase + from.eip, savedBytes(from)) ??
    (kind === Switch.CALL ? undefined : probe(vcpu, oldAt, 4)) ??
    (kind === Switch.RETURN ? undefined : probe(vcpu, task.at + 4, 4)) ??
    (kind === Switch.CALL ? probe(vcpu, task.base, 2) : undefined);
  if (trouble !== undefined) return stays(trouble);

  save(vcpu, oldBase, how);
  if (kind !== Switch.CALL) {
    const high = vcpu.memory.read(oldAt, 4, false);
    store(vcpu, oldAt, 4, isFault(high) ? 0 : high & ~BUSY);
  }
  if (kind === Switch.CALL) store(vcpu, task.base, 2, oldSelector);
  if (kind !== Switch.RETURN) store(vcpu, task.at + 4, 4, task.high | BUSY);

  // From here on the new task runs, and faults are its own.
  vcpu.setSegment(Seg.TR, selector, task.base, task.limit, task.attr | 2);
  writeControlRegister(vcpu, 0, vcpu.cr0 | Cr0.TS);
  const paging = to.cr3 >= 0 && (vcpu.cr0 & Cr0.PG) !== 0;
  const pointers = paging ? writeControlRegister(vcpu, 3, next.cr3) : JUMPED;
  vcpu.debugRegisters[7]! &= ~LOCAL_ENABLES;
  const flags = (next.flags & LOADABLE) | (kind === Switch.CALL ? Flag.NT : 0);
  vcpu.eflags = hasBreakpoints(vcpu) ? flags : flags & ~Flag.RF;
  for (let i = 0; i < 8; i++) s[i] = next.registers[i]!;
  vcpu.interruptShadow = false;
  vcpu.eip = next.eip;
  vcpu.cpl = rplOf(vcpu, next.selectors[Seg.CS]!);
  // The selectors first: until its descriptor is good, a segment is unusable, CS but for its size.
  for (let seg = 0; seg < 6; seg++) {
    vcpu.setSegment(seg, next.selectors[seg] ?? 0, 0, 0, seg === Seg.CS ? Attr.DB : 0);
  }
  vcpu.setSegment(Seg.LDTR, next.ldt, 0, 0, 0);
  const late = isFault(pointers) ? pointers : loadNew(vcpu, next, external);
  if (vcpu.usesOwnTables) vcpu.descriptors.setLdt(vcpu.watchesDescriptors);
  if (late !== undefined) return { switched: true, fault: late };
  if (how.errorCode !== undefined) {
    const full = push(vcpu, to.width, how.errorCode);
    if (full !== undefined) return { switched: true, fault: full };
  }
  if (!next.trap) return { switched: true, fault: undefined };
  s[S.DR6]! |= Dr6.BT;
  return { switched: true, fault: fault(Vector.DB) };
}

/** To bytes that were probed. */
function store(vcpu: VirtualCpu, linear: number, width: Width, value: number): void {
  vcpu.memory.write(linear >>> 0, width, value >>> 0, false);
}

function save(vcpu: VirtualCpu, base: number, { kind, returnEip, flags }: TaskSwitch): void {
  const { s } = vcpu.thread;
  const { width, eip, registers, segments, segmentCount } = layoutOf(vcpu.attr(Seg.TR));
  store(vcpu, base + eip, width, returnEip);
  store(vcpu, base + eip + width, width, kind === Switch.RETURN ? flags & ~Flag.NT : flags);
  for (let i = 0; i < 8; i++) store(vcpu, base + registers + i * width, width, s[i]!);
  for (let i = 0; i < segmentCount; i++) store(vcpu, base + segments + i * width, 2, vcpu.selector(i));
}

/** LDT, segments and the limit of EIP of the new task. */
function loadNew(vcpu: VirtualCpu, { ldt, selectors, eip }: NewTask, external: number): GuestFault | undefined {
  const trouble = loadLdt(vcpu, ldt, external);
  if (trouble !== undefined) return trouble;
  for (const seg of [Seg.CS, Seg.SS, Seg.ES, Seg.DS, Seg.FS, Seg.GS]) {
    const wrong = loadTaskSegment(vcpu, seg, selectors[seg] ?? 0, external);
    if (wrong !== undefined) return wrong;
  }
  return eip >>> 0 > vcpu.limit(Seg.CS) ? fault(Vector.GP, external) : undefined;
}

function loadLdt(vcpu: VirtualCpu, selector: number, external: number): GuestFault | undefined {
  if (isNull(selector)) return undefined;
  const code = (selector & 0xfffc) | external;
  if ((selector & 4) !== 0) return fault(Vector.TS, code);
  const table = readDescriptor(vcpu, selector, Vector.TS, external);
  if (isFault(table)) return table;
  if ((table.attr & 0x1f) !== 0x02 || (table.attr & Attr.P) === 0) return fault(Vector.TS, code);
  vcpu.setSegment(Seg.LDTR, selector, table.base, table.limit, table.attr);
  return undefined;
}

/** A segment register of the new task (SDM vol. 3, table 7-1): #TS for what is wrong, #NP and #SS for what is absent. */
function loadTaskSegment(vcpu: VirtualCpu, seg: number, selector: number, external: number): GuestFault | undefined {
  const code = (selector & 0xfffc) | external;
  if (isNull(selector)) return seg === Seg.CS || seg === Seg.SS ? fault(Vector.TS, code) : undefined;
  const found = readDescriptor(vcpu, selector, Vector.TS, external);
  if (isFault(found)) return found;
  const { attr } = found;
  const [rpl, dpl] = [rplOf(vcpu, selector), dplOf(vcpu, attr)];
  const isCode = (attr & Attr.CODE) !== 0;
  const right = (attr & Attr.WRITE_READ) !== 0;
  const conforming = isCode && (attr & Attr.DOWN_CONFORMING) !== 0;
  let good = (attr & Attr.S) !== 0;
  if (seg === Seg.CS) good &&= isCode && (conforming ? dpl <= rpl : dpl === rpl);
  else if (seg === Seg.SS) good &&= !isCode && right && dpl === vcpu.cpl && rpl === vcpu.cpl;
  else good &&= (!isCode || right) && (conforming || (dpl >= vcpu.cpl && dpl >= rpl));
  if (!good) return fault(Vector.TS, code);
  if ((attr & Attr.P) === 0) return fault(seg === Seg.SS ? Vector.SS : Vector.NP, code);
  const loaded = seg === Seg.CS || seg === Seg.SS ? (selector & 0xfffc) | rpl : selector;
  const broken = markAccessed(vcpu, found);
  if (broken === undefined) install(vcpu, seg, loaded, found);
  return broken;
}
