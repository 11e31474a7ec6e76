/**
 * What the monitor does for each call that reached it: one table. The registers are those of the call, [ESP] is the ROM's
 * return address, S1 and S2 are the stack words above it.
 *
 * A handler charges what it does beyond the dispatch, through the parts it uses. It may return a fault of the guest (an argument
 * could not be read): the guest gets the exception with EIP at the ROM's INT, so that the call is made again if its handler
 * mends the cause.
 */
import type { Ppn } from '../../base/pages.js';
import { Cr0, Flag, S, Seg } from '../../machine/cpu/state.js';
import { debugRegisterIndex, readDebugRegister, writeDebugRegister } from '../debug-registers.js';
import type { Effect } from '../effect.js';
import { fault, type GuestFault, isFault } from '../guest-fault.js';
import { cpuid, iret, writeControlRegister } from '../privileged.js';
import { readMsr, writeMsr } from '../system-registers.js';
import { PAE } from '../table-format.js';
import type { Outcome } from '../technique.js';
import type { VirtualCpu } from '../virtual-cpu.js';
import type { VmiTimer } from './alarms.js';
import { CALL, type CallName } from './calls.js';
import { type DirectGates, reloadSegments } from './guest-tables.js';
import { portCall } from './port-calls.js';
import { FlushFlag, PageFlag, VmiPage } from './rom-layout.js';
import type { UpdateQueue } from './update-queue.js';

/** What handlers work on. */
export interface VmiGuest {
  readonly vcpu: VirtualCpu;
  readonly queue: UpdateQueue;
  readonly gates: DirectGates;
  readonly timer: VmiTimer;
  readonly power: VmiPower;
  readonly apic: VmiApic | undefined;
}

/** The local APIC of the vCPU, by offsets of its registers; values are unsigned. */
export interface VmiApic {
  read(register: number): number;
  write(register: number, value: number): void;
}

/** The guest asks for the end of its machine; it takes effect after this exit. */
export interface VmiPower {
  shutdown(): void;
  reboot(hard: boolean): void;
}

/** Nothing: go on behind the call. `again`: make the same call once more (a string that was cut). */
export type HypercallResult = undefined | GuestFault | Outcome | { readonly kind: 'again' };

export interface Hypercall {
  readonly name: CallName;
  /** Needs the guest out: it looks at or changes segment registers, EIP or CPL. */
  readonly captures: boolean;
  readonly run: (guest: VmiGuest) => HypercallResult;
}

const reg = (guest: VmiGuest, index: number): number => guest.vcpu.thread.s[index]!;
const setEax = (guest: VmiGuest, value: number): undefined => {
  guest.vcpu.thread.s[S.EAX] = value;
};
const setEdxEax = (guest: VmiGuest, high: number, low: number): undefined => {
  guest.vcpu.thread.s[S.EDX] = high;
  guest.vcpu.thread.s[S.EAX] = low;
};

/** The n-th stack argument (1 or 2), a word above the return address. */
const stackArgument = (guest: VmiGuest, n: number): number | GuestFault =>
  guest.vcpu.memory.read((guest.vcpu.esp + 4 * n) >>> 0, 4, false);

const unsigned64 = (low: number, high: number): number => (high >>> 0) * 2 ** 32 + (low >>> 0);

/** Effects of privileged instructions that can come out of these calls: go on, or a fault. */
const faultOf = (effect: Effect): HypercallResult =>
  effect.kind === 'fault' || effect.kind === 'stopped' ? effect : undefined;

function setControlRegister(guest: VmiGuest, register: number, value: number): HypercallResult {
  guest.queue.settle();
  return faultOf(writeControlRegister(guest.vcpu, register, value));
}

/** Reads the {u16 limit, u32 base} that LGDT and LIDT take. */
function tablePointer(guest: VmiGuest): { limit: number; base: number } | GuestFault {
  const at = reg(guest, S.EAX) >>> 0;
  const limit = guest.vcpu.memory.read(at, 2, false);
  if (isFault(limit)) return limit;
  const base = guest.vcpu.memory.read((at + 2) >>> 0, 4, false);
  return isFault(base) ? base : { limit, base };
}

function storeTablePointer(guest: VmiGuest, limit: number, base: number): HypercallResult {
  const at = reg(guest, S.EAX) >>> 0;
  const broken = guest.vcpu.memory.write(at, 2, limit & 0xffff, false);
  return broken ?? guest.vcpu.memory.write((at + 2) >>> 0, 4, base >>> 0, false);
}

function setGdt(guest: VmiGuest): HypercallResult {
  const pointer = tablePointer(guest);
  if (isFault(pointer)) return pointer;
  guest.vcpu.gdtBase = pointer.base | 0;
  guest.vcpu.gdtLimit = pointer.limit;
  // Linux fills fresh tables by direct stores before it loads them: the whole table is read anew.
  guest.vcpu.descriptors.setGdt(false);
  reloadSegments(guest.vcpu);
  guest.gates.sync();
  return undefined;
}

function setIdt(guest: VmiGuest): HypercallResult {
  const pointer = tablePointer(guest);
  if (isFault(pointer)) return pointer;
  guest.vcpu.idtBase = pointer.base | 0;
  guest.vcpu.idtLimit = pointer.limit;
  guest.gates.sync();
  return undefined;
}

const GENERAL_PROTECTION = 13;
const NOT_PRESENT = 11;
/** System descriptor types (SDM vol. 3, table 3-2), with S and P as in `Attr`. */
const LDT = 0x82;
const TSS_AVAILABLE = 0x89;
const TSS_BUSY = 0x8b;
const PRESENT = 0x80;

/** LLDT and LTR: a system descriptor of the GDT, or the fault that the instruction would raise. */
function systemDescriptor(guest: VmiGuest, selector: number, types: readonly number[]) {
  const error = selector & 0xfffc;
  if ((selector & 4) !== 0 || error === 0) return fault(GENERAL_PROTECTION, error);
  const descriptor = guest.vcpu.descriptors.read(selector);
  if (descriptor === undefined) return fault(GENERAL_PROTECTION, error);
  if (isFault(descriptor)) return descriptor;
  if (!types.includes((descriptor.attr & 0x9f) | PRESENT)) return fault(GENERAL_PROTECTION, error);
  return (descriptor.attr & PRESENT) === 0 ? fault(NOT_PRESENT, error) : descriptor;
}

function setLdt(guest: VmiGuest): HypercallResult {
  const { vcpu } = guest;
  const selector = reg(guest, S.EAX) & 0xffff;
  if ((selector & 0xfffc) === 0) vcpu.setSegment(Seg.LDTR, selector, 0, 0, 0);
  else {
    const found = systemDescriptor(guest, selector, [LDT]);
    if (isFault(found)) return found;
    vcpu.setSegment(Seg.LDTR, selector, found.base, found.limit, found.attr);
  }
  vcpu.descriptors.setLdt(false);
  reloadSegments(vcpu, other => (other & 4) !== 0);
  return undefined;
}

/** Offsets of ESP0 and SS0 in a 32-bit TSS (SDM vol. 3, figure 7-2). */
const TSS_ESP0 = 4;
const TSS_SS0 = 8;

function setTr(guest: VmiGuest): HypercallResult {
  const { vcpu } = guest;
  const selector = reg(guest, S.EAX) & 0xffff;
  const found = systemDescriptor(guest, selector, [TSS_AVAILABLE, TSS_BUSY]);
  if (isFault(found)) return found;
  vcpu.setSegment(Seg.TR, selector, found.base, found.limit, found.attr | 2);
  vcpu.descriptors.install();
  const broken = vcpu.memory.write((found.at + 4) >>> 0, 4, found.high | 0x200, false);
  return broken ?? adoptTssStack(guest.vcpu, guest.queue);
}

/**
 * Until the first UpdateKernelStack the stack for entries from user mode is the one that the TSS names. Does nothing with an
 * unset task register or an unreadable TSS.
 */
export function adoptTssStack(vcpu: VirtualCpu, queue: UpdateQueue): undefined {
  if ((vcpu.attr(Seg.TR) & PRESENT) === 0 || vcpu.kernelStack !== undefined) return;
  const esp = vcpu.memory.read((vcpu.base(Seg.TR) + TSS_ESP0) >>> 0, 4, false);
  const ss = vcpu.memory.read((vcpu.base(Seg.TR) + TSS_SS0) >>> 0, 2, false);
  if (!isFault(esp) && !isFault(ss) && ss !== 0) queue.setKernelStack(ss, esp | 0);
}

/**
 * WriteGDTEntry, WriteLDTEntry and WriteIDTEntry alike: an 8-byte store to `table + 8 * entry`, and then whatever loaded table
 * lies there follows. The table pointer is used as given, since kernels have passed the wrong one of the three.
 */
function writeEntry(guest: VmiGuest): HypercallResult {
  const { vcpu } = guest;
  const at = (reg(guest, S.EAX) + 8 * reg(guest, S.EDX)) >>> 0;
  const high = stackArgument(guest, 1);
  if (isFault(high)) return high;
  const broken = vcpu.memory.write(at, 4, reg(guest, S.ECX), false);
  if (broken !== undefined) return broken;
  const brokenHigh = vcpu.memory.write((at + 4) >>> 0, 4, high, false);
  if (brokenHigh !== undefined) return brokenHigh;

  const entryOf = (base: number, limit: number): number | undefined => {
    const offset = (at - base) >>> 0;
    return offset + 7 <= limit && (offset & 7) === 0 ? offset >>> 3 : undefined;
  };
  const gdtEntry = entryOf(vcpu.gdtBase, vcpu.gdtLimit);
  if (gdtEntry !== undefined) {
    vcpu.descriptors.refresh('gdt', gdtEntry);
    reloadSegments(vcpu, selector => (selector & 4) === 0 && selector >>> 3 === gdtEntry);
    if (gdtEntry === vcpu.selector(Seg.CS) >>> 3) guest.gates.sync();
  }
  const ldtEntry =
    (vcpu.attr(Seg.LDTR) & PRESENT) !== 0 ? entryOf(vcpu.base(Seg.LDTR), vcpu.limit(Seg.LDTR)) : undefined;
  if (ldtEntry !== undefined) {
    vcpu.descriptors.refresh('ldt', ldtEntry);
    reloadSegments(vcpu, selector => (selector & 4) !== 0 && selector >>> 3 === ldtEntry);
  }
  const gate = entryOf(vcpu.idtBase, vcpu.idtLimit);
  if (gate !== undefined && gate < 256) {
    guest.gates.sync(gate, gate);
  }
  return undefined;
}

const DEBUG_REGISTERS = 8;

/** SetDR and GetDR, with the faults of MOV DR. A register that does not exist reads 0 and keeps nothing. */
function accessDebugRegister(guest: VmiGuest, access: (index: number) => void): HypercallResult {
  const number = reg(guest, S.EAX) >>> 0;
  if (number >= DEBUG_REGISTERS) return undefined;
  const index = debugRegisterIndex(guest.vcpu, number);
  if (isFault(index)) return index;
  access(index);
  return undefined;
}

const setDr = (guest: VmiGuest): HypercallResult =>
  accessDebugRegister(guest, index => writeDebugRegister(guest.vcpu, index, reg(guest, S.EDX)));

function getDr(guest: VmiGuest): HypercallResult {
  let value = 0;
  const broken = accessDebugRegister(guest, index => {
    value = readDebugRegister(guest.vcpu, index);
  });
  return broken ?? setEax(guest, value);
}

const LINE_BYTES = 64;

/**
 * AllocatePage. CLONE and ZEROED are hints that may be wrong: the shadow is made from what the page really holds. CLONE names
 * the entries worth shadowing now, since the guest has copied them from a directory in use; without it each would be a hidden
 * fault of the new address space.
 */
function allocatePage(guest: VmiGuest): HypercallResult {
  const { vcpu } = guest;
  const pfn = reg(guest, S.EAX) >>> 0;
  const flags = reg(guest, S.EDX);
  const { format } = vcpu.shadow;
  // Tables of the other format are not in use. Pointers are read when CR3 is loaded: their page has no shadow.
  if (((flags & PageFlag.PAE) !== 0) !== (format === PAE) || !isRam(guest, pfn)) return undefined;
  if ((flags & PageFlag.PDP) !== 0 || (flags & (PageFlag.PD | PageFlag.PT)) === 0) return undefined;
  const isDirectory = (flags & PageFlag.PD) !== 0;
  if (!isDirectory || (flags & PageFlag.CLONE) === 0) {
    vcpu.shadow.announce(pfn as Ppn, isDirectory ? 'directory' : 'table');
    return undefined;
  }
  const first = stackArgument(guest, 1);
  if (isFault(first)) return first;
  const count = stackArgument(guest, 2);
  if (isFault(count)) return count;
  // Linux after 2.6.31 says this of the page of the four pointers, which is no directory.
  if (format === PAE && first === 3 && count === 1) return undefined;
  vcpu.shadow.announce(pfn as Ppn, 'directory');
  const end = Math.min(first + count, format.entries);
  for (let index = first; index < end; index++) {
    const offset = index << format.entryShift;
    if (offset % LINE_BYTES === 0) vcpu.thread.charge(vcpu.costs.guestMemoryAccess);
    vcpu.shadow.entryChanged(((pfn << 12) | offset) >>> 0);
  }
  return undefined;
}

function releasePage(guest: VmiGuest): HypercallResult {
  const pfn = reg(guest, S.EAX) >>> 0;
  if (isRam(guest, pfn)) guest.vcpu.shadow.release(pfn as Ppn);
  return undefined;
}

const isRam = (guest: VmiGuest, pfn: number): boolean =>
  pfn < 1 << 20 && guest.vcpu.vm.pmap.kindOf(pfn as Ppn) === 'ram';

/** The ROM's slow path of IRET: an interrupt waits, or the frame asks for VM86. ESP is at the frame. */
function slowIret(guest: VmiGuest): HypercallResult {
  const { vcpu } = guest;
  const site = vcpu.vm.memory.readI32(vcpu.page + VmiPage.RETURN_SITE);
  // As before the call: a fault is the call site's (the guest has an exception-table entry there), interrupts are off.
  vcpu.eip = (site - CALL_BYTES) >>> 0;
  vcpu.interruptsEnabled = false;
  guest.queue.settleCpuState();
  const { iopl } = vcpu;
  const effect = iret(vcpu, site >>> 0);
  if (effect.kind === 'fault' || effect.kind === 'stopped') return effect;
  // IOPL is SetIOPLMask's alone: frames that hardware has pushed show its own.
  vcpu.eflags = (vcpu.eflags & ~Flag.IOPL) | (iopl << 12);
  // User mode always runs with interrupts enabled, as the fast path has it.
  if (vcpu.cpl === 3) vcpu.interruptsEnabled = true;
  return undefined;
}

/** Length of the CALL rel32 by which the guest reaches the ROM. */
export const CALL_BYTES = 5;

function setAlarm(guest: VmiGuest): HypercallResult {
  const periodLow = stackArgument(guest, 1);
  if (isFault(periodLow)) return periodLow;
  const periodHigh = stackArgument(guest, 2);
  if (isFault(periodHigh)) return periodHigh;
  guest.vcpu.thread.charge(guest.vcpu.costs.timerCallback);
  const expiry = unsigned64(reg(guest, S.EDX), reg(guest, S.ECX));
  guest.timer.set(reg(guest, S.EAX), expiry, unsigned64(periodLow, periodHigh));
  return undefined;
}

/**
 * The argument is an offset, as Linux has it, or the linear address of the register, as the ABI's text has it: the registers fill a page, so
 * both say the same. Where there is no local APIC, it is as if nobody answered on the bus.
 */
const apicRegister = (guest: VmiGuest): number => reg(guest, S.EAX) & 0xfff;

function apicRead(guest: VmiGuest): HypercallResult {
  guest.vcpu.thread.charge(guest.vcpu.costs.deviceAccess);
  return setEax(guest, (guest.apic?.read(apicRegister(guest)) ?? 0xffffffff) | 0);
}

function apicWrite(guest: VmiGuest): HypercallResult {
  guest.vcpu.thread.charge(guest.vcpu.costs.deviceAccess);
  guest.apic?.write(apicRegister(guest), reg(guest, S.EDX) >>> 0);
  return undefined;
}

const call = (name: CallName, run: Hypercall['run'], captures = false): Hypercall => ({ name, run, captures });
const capturing = (name: CallName, run: Hypercall['run']): Hypercall => call(name, run, true);

const HANDLERS: readonly Hypercall[] = [
  call('CPUID', guest => faultOf(cpuid(guest.vcpu))),
  // The fault of a register that does not exist is the call's.
  capturing('WRMSR', guest => faultOf(writeMsr(guest.vcpu))),
  capturing('RDMSR', guest => faultOf(readMsr(guest.vcpu))),
  capturing('SetGDT', setGdt),
  capturing('SetLDT', setLdt),
  capturing('SetIDT', setIdt),
  capturing('SetTR', setTr),
  call('GetGDT', guest => storeTablePointer(guest, guest.vcpu.gdtLimit, guest.vcpu.gdtBase)),
  call('GetLDT', guest => setEax(guest, guest.vcpu.selector(Seg.LDTR) & 0xffff)),
  call('GetIDT', guest => storeTablePointer(guest, guest.vcpu.idtLimit, guest.vcpu.idtBase)),
  call('GetTR', guest => setEax(guest, guest.vcpu.selector(Seg.TR) & 0xffff)),
  capturing('WriteGDTEntry', writeEntry),
  capturing('WriteLDTEntry', writeEntry),
  capturing('WriteIDTEntry', writeEntry),
  call('UpdateKernelStack', guest => {
    guest.queue.settleCpuState();
    guest.queue.setKernelStack(reg(guest, S.EAX), reg(guest, S.EDX));
    return undefined;
  }),
  capturing('SetCR0', guest => setControlRegister(guest, 0, reg(guest, S.EAX))),
  capturing('SetCR3', guest => setControlRegister(guest, 3, reg(guest, S.EAX))),
  capturing('SetCR4', guest => setControlRegister(guest, 4, reg(guest, S.EAX))),
  // CR0.TS is the guest's own affair and never deferred.
  capturing('CLTS', guest => faultOf(writeControlRegister(guest.vcpu, 0, guest.vcpu.cr0 & ~Cr0.TS))),
  // Caches are not the guest's to write back: nothing it can see depends on it.
  call('WBINVD', () => undefined),
  // Hardware's copies are loaded when the guest goes on.
  capturing('SetDR', setDr),
  capturing('GetDR', getDr),
  // The ROM has set VIF; what waits is delivered on the way back.
  call('EnableInterrupts', () => undefined),
  capturing('IRET', slowIret),
  capturing('Halt', guest => {
    guest.queue.settle();
    guest.vcpu.interruptsEnabled = true;
    return { kind: 'halted' };
  }),
  call('Reboot', guest => {
    guest.power.reboot(reg(guest, S.EAX) !== 0);
    guest.vcpu.interruptsEnabled = false;
    return { kind: 'halted' };
  }),
  call('Shutdown', guest => {
    guest.power.shutdown();
    guest.vcpu.interruptsEnabled = false;
    return { kind: 'halted' };
  }),
  // UpdatePxE arrives here too: the ROM puts its arguments into the registers of SetPxE, and has stored the entry.
  call('SetPxE', guest => {
    guest.queue.settleEntries();
    guest.queue.entryChanged(reg(guest, S.EDX) >>> 0);
    return undefined;
  }),
  call('AllocatePage', allocatePage),
  call('ReleasePage', releasePage),
  call('InvalPage', guest => {
    guest.queue.settle();
    guest.vcpu.shadow.invalidatePage(reg(guest, S.EAX) >>> 0);
    return undefined;
  }),
  call('FlushTLB', guest => {
    guest.queue.settle();
    guest.vcpu.shadow.flush((reg(guest, S.EAX) & FlushFlag.GLOBAL) !== 0);
    return undefined;
  }),
  call('SetLinearMapping', guest => {
    const pfn = stackArgument(guest, 1);
    if (isFault(pfn)) return pfn;
    guest.queue.setLinearMapping(reg(guest, S.EAX), reg(guest, S.EDX), reg(guest, S.ECX), pfn);
    return undefined;
  }),
  call('INL', guest => portCall(guest.vcpu, 'in', 4, false)),
  call('INB', guest => portCall(guest.vcpu, 'in', 1, false)),
  call('INW', guest => portCall(guest.vcpu, 'in', 2, false)),
  call('INSL', guest => portCall(guest.vcpu, 'in', 4, true)),
  call('INSB', guest => portCall(guest.vcpu, 'in', 1, true)),
  call('INSW', guest => portCall(guest.vcpu, 'in', 2, true)),
  call('OUTL', guest => portCall(guest.vcpu, 'out', 4, false)),
  call('OUTB', guest => portCall(guest.vcpu, 'out', 1, false)),
  call('OUTW', guest => portCall(guest.vcpu, 'out', 2, false)),
  call('OUTSL', guest => portCall(guest.vcpu, 'out', 4, true)),
  call('OUTSB', guest => portCall(guest.vcpu, 'out', 1, true)),
  call('OUTSW', guest => portCall(guest.vcpu, 'out', 2, true)),
  call('APICWrite', apicWrite),
  call('APICRead', apicRead),
  call('SetAlarm', setAlarm),
  call('CancelAlarm', guest => {
    guest.vcpu.thread.charge(guest.vcpu.costs.timerCallback);
    return setEax(guest, guest.timer.cancel(reg(guest, S.EAX)) ? 1 : 0);
  }),
  call('GetWallclockTime', guest => {
    const ns = guest.timer.wallclockNs();
    return setEdxEax(guest, Number(ns >> 32n) | 0, Number(ns & 0xffff_ffffn) | 0);
  }),
  // The wall clock is never corrected while the VM runs.
  call('WallclockUpdated', guest => setEax(guest, 0)),
  call('SetLazyMode', guest => {
    guest.queue.settle();
    return undefined;
  }),
];

/** By call index. */
export const HYPERCALLS: ReadonlyMap<number, Hypercall> = new Map(
  HANDLERS.map(handler => [CALL[handler.name], handler]),
);
