/**
 * Helpers of `SYSTEM` ops: instructions that touch privileged state, devices or control flow beyond a jump. A helper finds
 * the state as of the instruction's start (EIP at it, cycles and instructions exact), may leave a fault pending before it
 * commits anything, charges what it costs, and answers `Result`.
 *
 * Arguments are the constants of the op; those named `...At` are word indices of registers or temporaries.
 */
import { intercept, ownedControl, visibleControl } from '../vmx/intercepts.js';
import { Dr6, Dr7, STACK_SHADOW } from './breakpoints.js';
import { type Core, Result } from './core.js';
import { deliver, Source } from './exceptions.js';
import { callFar, interruptReturn, jumpFar, returnFar, sysenter, sysexit, visible } from './far.js';
import { FlagOp, zeroFlag } from './flags.js';
import { CYCLES, INSTRUCTIONS } from './layout.js';
import { ioAllowed, portIn, portOut } from './ports.js';
import { enterReal, isReal } from './real-mode.js';
import {
  attrOf,
  install,
  isNull,
  limitOf,
  loadSegment,
  newDescriptor,
  peekDescriptor,
  readDescriptor,
} from './segments.js';
import { enterFrame } from './stack-frame.js';
import { Attr, CR4_BUILT, Cr0, Cr4, Flag, S, Seg, segAttr, segSelector, Vector } from './state.js';
import { repeatString } from './strings.js';

type Helper = (cpu: Core, a: number, b: number, c: number, d: number) => number;

function fault(cpu: Core, vector: number, code = 0): number {
  cpu.raise(vector, code);
  return Result.FAULT;
}

const privileged = (cpu: Core): boolean => cpu.s[S.CPL] === 0 || cpu.raise(Vector.GP, 0);
const iopl = (cpu: Core): number => (cpu.s[S.EFLAGS]! >>> 12) & 3;

/** Coprocessor kinds of `unimplemented`. */
export const Coprocessor = { NONE: 0, SIMD: 1 } as const;

/** A report and #UD; of later SSE, #NM first where a lazy switch is due. */
function unimplemented(cpu: Core, kind: number): number {
  const cr0 = cpu.s[S.CR0]!;
  const switched = (cr0 & Cr0.TS) !== 0;
  const emulated = (cr0 & Cr0.EM) !== 0;
  if (kind === Coprocessor.SIMD && !emulated && switched) return fault(cpu, Vector.NM);
  cpu.reportUnimplemented();
  return fault(cpu, Vector.UD);
}

function interrupt(cpu: Core, vector: number): number {
  return deliver(cpu, vector, 0, Source.SOFTWARE, cpu.nextEip);
}

/** INT1: a trap without privilege check. */
function int1(cpu: Core): number {
  cpu.clock[INSTRUCTIONS]! += 1;
  return deliver(cpu, Vector.DB, 0, Source.TRAP, cpu.nextEip);
}

function halt(cpu: Core): number {
  if (!privileged(cpu)) return Result.FAULT;
  // The single-step trap behind it would end the halt at once.
  if ((cpu.s[S.EFLAGS]! & Flag.TF) !== 0) {
    cpu.spend(cpu.costs.cycles.hlt);
    return Result.DONE;
  }
  cpu.s[S.EIP] = cpu.nextEip;
  cpu.spend(cpu.costs.cycles.hlt);
  cpu.clock[INSTRUCTIONS]! += 1;
  cpu.exit = { kind: 'halt' };
  return Result.EXIT;
}

function clearInterrupts(cpu: Core): number {
  if (cpu.s[S.CPL]! > iopl(cpu)) return fault(cpu, Vector.GP);
  cpu.s[S.EFLAGS] = cpu.s[S.EFLAGS]! & ~Flag.IF;
  cpu.updatePoll();
  cpu.spend(cpu.costs.cycles.cliSti);
  return Result.DONE;
}

function setInterrupts(cpu: Core): number {
  if (cpu.s[S.CPL]! > iopl(cpu)) return fault(cpu, Vector.GP);
  if ((cpu.s[S.EFLAGS]! & Flag.IF) === 0) cpu.s[S.INTERRUPT_SHADOW] = 1;
  cpu.s[S.EFLAGS] = cpu.s[S.EFLAGS]! | Flag.IF;
  cpu.updatePoll();
  cpu.spend(cpu.costs.cycles.cliSti);
  return Result.DONE;
}

/** POPF: the value is in a temporary; ESP moves here, after nothing can fault. */
function popFlags(cpu: Core, valueAt: number, size: number): number {
  const s = cpu.s;
  const cpl = s[S.CPL]!;
  let mask: number = Flag.ARITHMETIC | Flag.TF | Flag.DF | Flag.NT | Flag.AC | Flag.ID;
  if (cpl === 0) mask |= Flag.IOPL;
  if (cpl <= iopl(cpu)) mask |= Flag.IF;
  if (size === 2) mask &= 0xffff;
  const old = cpu.readEflags();
  cpu.writeEflags(((s[valueAt]! & mask) | (old & ~mask)) & ~Flag.RF);
  moveStack(cpu, size, (s[segAttr(Seg.SS)]! & Attr.DB) !== 0);
  cpu.spend(cpu.costs.cycles.popf);
  return Result.DONE;
}

function moveStack(cpu: Core, bytes: number, big: boolean): void {
  const s = cpu.s;
  const esp = (s[S.ESP]! + bytes) | 0;
  s[S.ESP] = big ? esp : (s[S.ESP]! & ~0xffff) | (esp & 0xffff);
}

/** MOV Sreg; POP Sreg when `popBytes` is not 0; LxS when `registerAt` is not negative. */
function loadSegmentHelper(cpu: Core, seg: number, selectorAt: number, popBytes: number, pair: number): number {
  const s = cpu.s;
  // POP SS moves the stack pointer by the width of the old stack.
  const big = (s[segAttr(Seg.SS)]! & Attr.DB) !== 0;
  if (!loadSegment(cpu, seg, s[selectorAt]! & 0xffff)) return Result.FAULT;
  if (pair !== 0) {
    const mask = (pair & 0x100) !== 0 ? 0xffff : -1;
    const register = pair & 7;
    s[register] = (s[register]! & ~mask) | (s[(pair >> 16) & 0xff]! & mask);
  }
  if (popBytes !== 0) moveStack(cpu, popBytes, big);
  if (seg === Seg.SS && pair === 0) s[S.INTERRUPT_SHADOW] = STACK_SHADOW;
  cpu.spend(cpu.costs.cycles.segmentLoad);
  return Result.DONE;
}

function readControl(cpu: Core, control: number, register: number): number {
  if (!privileged(cpu)) return Result.FAULT;
  const value = control === 0 || control === 4 ? visibleControl(cpu, control) : cpu.s[control === 2 ? S.CR2 : S.CR3]!;
  cpu.s[register] = value;
  cpu.spend(cpu.costs.cycles.simple);
  return Result.DONE;
}

function writeControl(cpu: Core, control: number, register: number): number {
  if (!privileged(cpu)) return Result.FAULT;
  const costs = cpu.costs.cycles;
  const value = cpu.s[register]!;
  switch (control) {
    case 0: {
      const paging = (value & Cr0.PG) !== 0;
      if ((paging && (value & Cr0.PE) === 0) || ((value & Cr0.NW) !== 0 && (value & Cr0.CD) === 0)) {
        return fault(cpu, Vector.GP);
      }
      const wasReal = isReal(cpu);
      const known = value & (0x1f | Cr0.NE | Cr0.WP | Cr0.AM | Cr0.NW | Cr0.CD | Cr0.PG);
      if (!cpu.setCr0(ownedControl(cpu, 0, known))) return fault(cpu, Vector.GP);
      if (!wasReal && isReal(cpu)) enterReal(cpu);
      cpu.spend(costs.movCr0);
      return Result.DONE;
    }
    case 2:
      cpu.s[S.CR2] = value;
      cpu.spend(costs.movCr2);
      return Result.DONE;
    case 3:
      if (!cpu.loadCr3(value)) return fault(cpu, Vector.GP);
      cpu.spend(costs.movCr3);
      return Result.DONE;
    default: {
      if ((value & ~CR4_BUILT) !== 0 || !cpu.setCr4(ownedControl(cpu, 4, value))) return fault(cpu, Vector.GP);
      cpu.breakpoints.update(cpu);
      cpu.spend(costs.movCr4);
      return Result.DONE;
    }
  }
}

/** MOV to and from debug registers. DR4 and DR5 are DR6 and DR7 unless CR4.DE. */
function debugRegister(cpu: Core, number: number, register: number, write: number): number {
  if (!privileged(cpu)) return Result.FAULT;
  let index = number;
  if (index === 4 || index === 5) {
    if ((cpu.s[S.CR4]! & Cr4.DE) !== 0) return fault(cpu, Vector.UD);
    index += 2;
  }
  const at = index < 4 ? S.DR0 + index : index === 6 ? S.DR6 : S.DR7;
  const s = cpu.s;
  if ((s[S.DR7]! & Dr7.GD) !== 0) {
    s[S.DR6] = s[S.DR6]! | Dr6.BD;
    return fault(cpu, Vector.DB);
  }
  if (write === 0) s[register] = s[at]!;
  else if (index === 6) s[at] = (s[register]! & 0xe00f) | (0xffff0ff0 | 0);
  else if (index === 7) s[at] = (s[register]! & 0xffff2fff) | 0x400;
  else s[at] = s[register]!;
  if (write !== 0) cpu.breakpoints.update(cpu);
  cpu.spend(cpu.costs.cycles.movDr);
  return Result.DONE;
}

function clearTaskSwitched(cpu: Core): number {
  if (!privileged(cpu)) return Result.FAULT;
  cpu.s[S.CR0] = cpu.s[S.CR0]! & ~Cr0.TS;
  cpu.spend(cpu.costs.cycles.clts);
  return Result.DONE;
}

/** LMSW sets the low four bits of CR0 and cannot clear PE. */
function loadMachineStatus(cpu: Core, valueAt: number): number {
  if (!privileged(cpu)) return Result.FAULT;
  const cr0 = cpu.s[S.CR0]!;
  cpu.setCr0(ownedControl(cpu, 0, (cr0 & ~0xe) | (cpu.s[valueAt]! & 0xf)));
  cpu.spend(cpu.costs.cycles.movCr0);
  return Result.DONE;
}

/** LGDT (which 0) and LIDT (1). */
function loadTable(cpu: Core, which: number, seg: number, addressAt: number, narrow: number): number {
  if (!privileged(cpu)) return Result.FAULT;
  const at = cpu.s[addressAt]!;
  const limit = cpu.load(seg, at, 2) & 0xffff;
  if (cpu.faultVector >= 0) return Result.FAULT;
  const base = cpu.load(seg, (at + 2) | 0, 4);
  if (cpu.faultVector >= 0) return Result.FAULT;
  cpu.s[which === 0 ? S.GDT_LIMIT : S.IDT_LIMIT] = limit;
  cpu.s[which === 0 ? S.GDT_BASE : S.IDT_BASE] = narrow !== 0 ? base & 0xffffff : base;
  cpu.spend(cpu.costs.cycles.descriptorTableLoad);
  return Result.DONE;
}

/** SGDT and SIDT: no privilege needed, which is why they betray a deprivileged kernel. */
function storeTable(cpu: Core, which: number, seg: number, addressAt: number): number {
  const s = cpu.s;
  const at = s[addressAt]!;
  if (!cpu.probe(seg, (at + 2) | 0, 4, true)) return Result.FAULT;
  cpu.store(seg, at, 2, s[which === 0 ? S.GDT_LIMIT : S.IDT_LIMIT]!);
  if (cpu.faultVector >= 0) return Result.FAULT;
  cpu.store(seg, (at + 2) | 0, 4, s[which === 0 ? S.GDT_BASE : S.IDT_BASE]!);
  cpu.spend(2 * cpu.costs.cycles.store);
  return cpu.faultVector >= 0 ? Result.FAULT : Result.DONE;
}

/** LLDT (SDM vol. 2, "LLDT"). */
function loadLocalTable(cpu: Core, selectorAt: number): number {
  if (!privileged(cpu)) return Result.FAULT;
  const selector = cpu.s[selectorAt]! & 0xffff;
  if (isNull(selector)) {
    cpu.setSegment(Seg.LDTR, selector, 0, 0, 0);
    cpu.spend(cpu.costs.cycles.taskRegisterLoad);
    return Result.DONE;
  }
  const code = selector & 0xfffc;
  const descriptor = newDescriptor();
  if ((selector & 4) !== 0) return fault(cpu, Vector.GP, code);
  if (!readDescriptor(cpu, selector, descriptor, Vector.GP)) return Result.FAULT;
  const attr = attrOf(descriptor);
  if ((attr & 0x1f) !== 0x02) return fault(cpu, Vector.GP, code);
  if ((attr & Attr.P) === 0) return fault(cpu, Vector.NP, code);
  install(cpu, Seg.LDTR, selector, descriptor);
  cpu.spend(cpu.costs.cycles.taskRegisterLoad);
  return Result.DONE;
}

/** LTR: the descriptor of an available TSS, 16-bit (type 1) or 32-bit (type 9), becomes busy. */
function loadTaskRegister(cpu: Core, selectorAt: number): number {
  if (!privileged(cpu)) return Result.FAULT;
  const selector = cpu.s[selectorAt]! & 0xffff;
  const code = selector & 0xfffc;
  const descriptor = newDescriptor();
  if (isNull(selector)) return fault(cpu, Vector.GP, 0);
  if ((selector & 4) !== 0) return fault(cpu, Vector.GP, code);
  if (!readDescriptor(cpu, selector, descriptor, Vector.GP)) return Result.FAULT;
  const attr = attrOf(descriptor);
  if ((attr & 0x17) !== 0x01) return fault(cpu, Vector.GP, code);
  if ((attr & Attr.P) === 0) return fault(cpu, Vector.NP, code);
  descriptor.high |= 0x200;
  cpu.writeLinear((descriptor.at + 4) | 0, 4, descriptor.high, false);
  if (cpu.faultVector >= 0) return Result.FAULT;
  install(cpu, Seg.TR, selector, descriptor);
  cpu.spend(cpu.costs.cycles.taskRegisterLoad);
  return Result.DONE;
}

function setZero(cpu: Core, zero: boolean): void {
  const flags = cpu.readEflags() & Flag.ARITHMETIC & ~Flag.ZF;
  cpu.s[S.FLAG_OP] = FlagOp.IMAGE;
  cpu.s[S.FLAG_RESULT] = flags | (zero ? Flag.ZF : 0);
}

/** System segment types that LAR (bit set) and LSL accept: SDM vol. 2, tables in "LAR" and "LSL". */
const LAR_TYPES = (1 << 1) | (1 << 2) | (1 << 3) | (1 << 4) | (1 << 5) | (1 << 9) | (1 << 11) | (1 << 12);
const LSL_TYPES = (1 << 1) | (1 << 2) | (1 << 3) | (1 << 9) | (1 << 11);

/** LAR (which 0), LSL (1): `size` is that of the destination register. */
function describeSegment(cpu: Core, which: number, selectorAt: number, register: number, size: number): number {
  const selector = cpu.s[selectorAt]! & 0xffff;
  const descriptor = newDescriptor();
  let found = !isNull(selector) && peekDescriptor(cpu, selector, descriptor);
  if (cpu.faultVector >= 0) return Result.FAULT;
  if (found) {
    const attr = attrOf(descriptor);
    const types = which === 0 ? LAR_TYPES : LSL_TYPES;
    if ((attr & Attr.S) === 0 && ((types >>> (attr & 15)) & 1) === 0) found = false;
    if (!visible(cpu, selector, descriptor)) found = false;
  }
  if (found) {
    const value = which === 0 ? descriptor.high & 0x00f0ff00 : limitOf(descriptor);
    const mask = size === 2 ? 0xffff : -1;
    cpu.s[register] = (cpu.s[register]! & ~mask) | (value & mask);
  }
  setZero(cpu, found);
  cpu.spend(cpu.costs.cycles.segmentLoad);
  return Result.DONE;
}

/** VERR (write 0), VERW (1). */
function verifySegment(cpu: Core, write: number, selectorAt: number): number {
  const selector = cpu.s[selectorAt]! & 0xffff;
  const descriptor = newDescriptor();
  let good = !isNull(selector) && peekDescriptor(cpu, selector, descriptor);
  if (cpu.faultVector >= 0) return Result.FAULT;
  if (good) {
    const attr = attrOf(descriptor);
    const code = (attr & Attr.CODE) !== 0;
    const right = (attr & Attr.WRITE_READ) !== 0;
    good =
      (attr & Attr.S) !== 0 && visible(cpu, selector, descriptor) && (write !== 0 ? !code && right : !code || right);
  }
  setZero(cpu, good);
  cpu.spend(cpu.costs.cycles.segmentLoad);
  return Result.DONE;
}

function invalidatePage(cpu: Core, seg: number, addressAt: number): number {
  if (!privileged(cpu)) return Result.FAULT;
  cpu.flushTlbPage((cpu.s[addressAt]! + cpu.s[S.SEG + seg * 4 + 1]!) | 0);
  cpu.spend(cpu.costs.cycles.invlpg);
  return Result.DONE;
}

/** WBINVD, and INVD, which loses nothing here. */
function writeBack(cpu: Core): number {
  if (!privileged(cpu)) return Result.FAULT;
  cpu.spend(cpu.costs.cycles.wbinvd);
  return Result.DONE;
}

/** IN: port in DX if `portImm` is negative. */
function input(cpu: Core, width: number, portImm: number): number {
  const s = cpu.s;
  const port = portImm < 0 ? s[S.EDX]! & 0xffff : portImm;
  if (!ioAllowed(cpu, port, width)) return Result.FAULT;
  const value = portIn(cpu, port, width);
  const mask = width === 4 ? -1 : width === 2 ? 0xffff : 0xff;
  s[S.EAX] = (s[S.EAX]! & ~mask) | (value & mask);
  return Result.DONE;
}

function output(cpu: Core, width: number, portImm: number): number {
  const port = portImm < 0 ? cpu.s[S.EDX]! & 0xffff : portImm;
  if (!ioAllowed(cpu, port, width)) return Result.FAULT;
  portOut(cpu, port, width, cpu.s[S.EAX]!);
  return Result.DONE;
}

/** The time-stamp counter: the host's clock, moved by what the guest has written, modulo 2^64 as far as doubles are exact. */
function timeStamp(cpu: Core): number {
  const now = cpu.clock[CYCLES]! + cpu.timeStampOffset;
  return now < 0 ? now + 0x10000000000000000 : now;
}

/** Time before the instruction; the instruction's own cost comes after. */
function readTimeStamp(cpu: Core): number {
  if ((cpu.s[S.CR4]! & Cr4.TSD) !== 0 && cpu.s[S.CPL] !== 0) return fault(cpu, Vector.GP);
  const now = timeStamp(cpu);
  cpu.s[S.EAX] = (now % 0x100000000) | 0;
  cpu.s[S.EDX] = Math.floor(now / 0x100000000) | 0;
  cpu.spend(cpu.costs.cycles.rdtsc);
  return Result.DONE;
}

const MSR_TSC = 0x10;
const MSR_SYSENTER_CS = 0x174;
const MSR_SYSENTER_EIP = 0x176;
/** Order of the three SYSENTER registers by MSR number. */
const SYSENTER_WORDS = [S.SYSENTER_CS, S.SYSENTER_ESP, S.SYSENTER_EIP];

function readMsr(cpu: Core): number {
  if (!privileged(cpu)) return Result.FAULT;
  const s = cpu.s;
  const index = s[S.ECX]! >>> 0;
  let low = 0;
  let high = 0;
  if (index >= MSR_SYSENTER_CS && index <= MSR_SYSENTER_EIP) {
    low = s[SYSENTER_WORDS[index - MSR_SYSENTER_CS]!]!;
  } else if (index === MSR_TSC) {
    const now = timeStamp(cpu);
    low = (now % 0x100000000) | 0;
    high = Math.floor(now / 0x100000000) | 0;
  } else {
    const value = cpu.wiring.readMsr(index);
    if (value === undefined) return fault(cpu, Vector.GP);
    low = value[0] | 0;
    high = value[1] | 0;
  }
  s[S.EAX] = low;
  s[S.EDX] = high;
  cpu.spend(cpu.costs.cycles.msrAccess);
  return Result.DONE;
}

/** A write to the TSC moves the guest's counter against the host's clock; all 64 bits count (SDM vol. 3, 17.17.3). */
function writeMsr(cpu: Core): number {
  if (!privileged(cpu)) return Result.FAULT;
  const s = cpu.s;
  const index = s[S.ECX]! >>> 0;
  if (index >= MSR_SYSENTER_CS && index <= MSR_SYSENTER_EIP) {
    s[SYSENTER_WORDS[index - MSR_SYSENTER_CS]!] = s[S.EAX]!;
  } else if (index === MSR_TSC) {
    cpu.timeStampOffset = (s[S.EDX]! >>> 0) * 0x100000000 + (s[S.EAX]! >>> 0) - cpu.clock[CYCLES]!;
  } else if (!cpu.wiring.writeMsr(index, s[S.EAX]! >>> 0, s[S.EDX]! >>> 0)) {
    return fault(cpu, Vector.GP);
  }
  cpu.spend(cpu.costs.cycles.msrAccess);
  return Result.DONE;
}

function cpuid(cpu: Core): number {
  const s = cpu.s;
  const [a, b, c, d] = cpu.wiring.cpuid(s[S.EAX]! >>> 0, s[S.ECX]! >>> 0);
  s[S.EAX] = a | 0;
  s[S.EBX] = b | 0;
  s[S.ECX] = c | 0;
  s[S.EDX] = d | 0;
  cpu.spend(cpu.costs.cycles.cpuid);
  return Result.DONE;
}

/** CMPXCHG8B; `locked` decides the price alone. */
function compareExchange8(cpu: Core, seg: number, addressAt: number, locked: number): number {
  const s = cpu.s;
  const at = s[addressAt]!;
  if (!cpu.probe(seg, (at + 4) | 0, 4, true)) return Result.FAULT;
  const low = cpu.loadForStore(seg, at, 4);
  if (cpu.faultVector >= 0) return Result.FAULT;
  const high = cpu.load(seg, (at + 4) | 0, 4);
  if (cpu.faultVector >= 0) return Result.FAULT;
  const equal = low === s[S.EAX] && high === s[S.EDX];
  cpu.store(seg, at, 4, equal ? s[S.EBX]! : low);
  cpu.store(seg, (at + 4) | 0, 4, equal ? s[S.ECX]! : high);
  if (cpu.faultVector >= 0) return Result.FAULT;
  if (!equal) {
    s[S.EAX] = low;
    s[S.EDX] = high;
  }
  setZero(cpu, equal);
  cpu.spend(locked !== 0 ? cpu.costs.cycles.lockedAccess : 2 * cpu.costs.cycles.readModifyWrite);
  return Result.DONE;
}

/** BOUND: #BR if the signed index lies outside the pair in memory. */
function bound(cpu: Core, seg: number, addressAt: number, indexAt: number, size: number): number {
  const s = cpu.s;
  const up = 32 - size * 8;
  const low = (cpu.load(seg, s[addressAt]!, size) << up) >> up;
  if (cpu.faultVector >= 0) return Result.FAULT;
  const high = (cpu.load(seg, (s[addressAt]! + size) | 0, size) << up) >> up;
  if (cpu.faultVector >= 0) return Result.FAULT;
  const index = (s[indexAt]! << up) >> up;
  if (index < low || index > high) return fault(cpu, Vector.BR);
  cpu.spend(2 * cpu.costs.cycles.load + cpu.costs.cycles.branch);
  return Result.DONE;
}

/** INTO. */
function overflow(cpu: Core): number {
  if ((cpu.readEflags() & Flag.OF) !== 0) return deliver(cpu, Vector.OF, 0, Source.SOFTWARE, cpu.nextEip);
  cpu.spend(cpu.costs.cycles.branch);
  return Result.DONE;
}

function arpl(cpu: Core, destinationAt: number, sourceAt: number, outAt: number): number {
  const s = cpu.s;
  const lower = (s[destinationAt]! & 3) < (s[sourceAt]! & 3);
  s[outAt] = lower ? (s[destinationAt]! & ~3) | (s[sourceAt]! & 3) : s[destinationAt]!;
  setZero(cpu, lower);
  return Result.DONE;
}

/** ARPL r/m16, r16 with a register destination. */
function arplRegister(cpu: Core, destination: number, source: number): number {
  const s = cpu.s;
  const keep = s[destination]! & ~0xffff;
  arpl(cpu, destination, source, destination);
  s[destination] = keep | (s[destination]! & 0xffff);
  cpu.spend(cpu.costs.cycles.segmentLoad);
  return Result.DONE;
}

/** ARPL with a memory destination: the word has been loaded for a store into the temporary. */
function arplMemory(cpu: Core, seg: number, addressAt: number, valueAt: number, source: number): number {
  arpl(cpu, valueAt, source, valueAt);
  if (zeroFlag(cpu.s) !== 0) cpu.store(seg, cpu.s[addressAt]!, 2, cpu.s[valueAt]!);
  cpu.spend(cpu.costs.cycles.segmentLoad + cpu.costs.cycles.readModifyWrite);
  return cpu.faultVector >= 0 ? Result.FAULT : Result.DONE;
}

/** SLDT, STR and SMSW into a register or as the value of a store: what the lowering asks for goes to a temporary. */
function systemWord(cpu: Core, which: number): number {
  const s = cpu.s;
  if (which === 0) return s[segSelector(Seg.LDTR)]!;
  return which === 1 ? s[segSelector(Seg.TR)]! : visibleControl(cpu, 0);
}

function storeSystemWord(cpu: Core, which: number, seg: number, addressAt: number): number {
  cpu.store(seg, cpu.s[addressAt]!, 2, systemWord(cpu, which));
  if (cpu.faultVector >= 0) return Result.FAULT;
  cpu.spend(cpu.costs.cycles.store);
  return Result.DONE;
}

function readSystemWord(cpu: Core, which: number, register: number, size: number): number {
  const mask = size === 2 ? 0xffff : -1;
  cpu.s[register] = (cpu.s[register]! & ~mask) | (systemWord(cpu, which) & mask);
  cpu.spend(cpu.costs.cycles.simple);
  return Result.DONE;
}

function jumpFarHelper(cpu: Core, selectorAt: number, offsetAt: number): number {
  return jumpFar(cpu, cpu.s[selectorAt]! & 0xffff, cpu.s[offsetAt]!);
}

function callFarHelper(cpu: Core, selectorAt: number, offsetAt: number, size: number): number {
  return callFar(cpu, cpu.s[selectorAt]! & 0xffff, cpu.s[offsetAt]!, size);
}

function invalidOpcode(cpu: Core): number {
  return fault(cpu, Vector.UD);
}

/** Helpers by number: the `helper` argument of a `SYSTEM` op. */
const HELPERS = {
  unimplemented,
  invalidOpcode,
  generalProtection: cpu => fault(cpu, Vector.GP),
  interrupt,
  int1,
  overflow,
  interruptReturn: (cpu, size) => interruptReturn(cpu, size),
  jumpFar: jumpFarHelper,
  callFar: callFarHelper,
  returnFar: (cpu, release, size) => returnFar(cpu, release, size),
  sysenter: cpu => sysenter(cpu),
  sysexit: cpu => sysexit(cpu),
  halt,
  clearInterrupts,
  setInterrupts,
  popFlags,
  loadSegment: loadSegmentHelper,
  readControl,
  writeControl,
  debugRegister,
  clearTaskSwitched,
  loadMachineStatus,
  loadTable,
  storeTable,
  loadLocalTable,
  loadTaskRegister,
  describeSegment,
  verifySegment,
  invalidatePage,
  writeBack,
  input,
  output,
  string: (cpu, packed, seg) => repeatString(cpu, packed, seg),
  readTimeStamp,
  readMsr,
  writeMsr,
  cpuid,
  // VMCALL, VMXON and their like (SDM vol. 3, 30.3), outside of VMX operation: CR4.VMXE is no bit that a guest can set.
  vmxInstruction: invalidOpcode,
  compareExchange8,
  bound,
  enter: enterFrame,
  arplRegister,
  arplMemory,
  storeSystemWord,
  readSystemWord,
} satisfies Record<string, Helper>;

export type HelperName = keyof typeof HELPERS;
export const HELPER_NAMES = Object.keys(HELPERS) as HelperName[];
const HELPER_LIST: readonly Helper[] = Object.values(HELPERS);
/**
 * Executes the SYSTEM op at `at`, EIP being at its instruction; a complete instruction is committed (EIP, count). Answers the
 * helper's `Result`.
 */
export function executeSystem(cpu: Core, code: Int32Array, at: number): number {
  const { s } = cpu;
  cpu.nextEip = (s[S.EIP]! + code[at + 7]!) | 0;
  if (s[S.NON_ROOT] !== 0) {
    const intercepted = intercept(cpu, HELPER_NAMES[code[at + 1]!]!, code, at);
    if (intercepted !== undefined) return finish(cpu, intercepted);
  }
  const result = HELPER_LIST[code[at + 1]!]!(cpu, code[at + 2]!, code[at + 3]!, code[at + 4]!, code[at + 5]!);
  return finish(cpu, result);
}

/** Commits a complete instruction. */
function finish(cpu: Core, result: number): number {
  if (result === Result.DONE) {
    cpu.s[S.EIP] = cpu.nextEip;
    cpu.clock[INSTRUCTIONS]! += 1;
  }
  return result;
}

export const helperNumber = Object.fromEntries(HELPER_NAMES.map((name, index) => [name, index])) as Record<
  HelperName,
  number
>;
