/**
 * Real-address mode (SDM vol. 3, chapter 20): a selector is a paragraph number, events go through the interrupt vector table,
 * there are no rings. Limits and attributes stay what they were, as on processors since the 486: a segment that protected mode
 * has left with a 4 GiB limit keeps it ("unreal mode").
 *
 * The functions answer `Result` as the helpers of `SYSTEM` ops do, or false with a fault pending. Error codes are
 * never pushed here.
 */
import { type Core, Result } from './core.js';
import { INSTRUCTIONS } from './layout.js';
import { Attr, Cr0, Flag, S, Seg, segAttr, segLimit, segSelector, Vector } from './state.js';
import { loadSegmentVirtual } from './virtual-8086.js';

export const isReal = (cpu: Core): boolean => (cpu.s[S.CR0]! & Cr0.PE) === 0;
/** Selectors are paragraph numbers: in real and in virtual-8086 mode. */
export const usesParagraphs = (cpu: Core): boolean => isReal(cpu) || (cpu.s[S.EFLAGS]! & Flag.VM) !== 0;

/** Present, writable, accessed data: what every segment register allows in real mode. */
const REAL_ATTR = Attr.P | Attr.S | Attr.WRITE_READ | Attr.ACCESSED;

/**
 * Loads a segment register, CS too. One that protected mode has left null becomes usable with a limit of 64 KiB. In
 * virtual-8086 mode limits and attributes are fixed.
 */
export function loadSegmentReal(cpu: Core, seg: number, selector: number): void {
  const s = cpu.s;
  const attr = s[segAttr(seg)]!;
  if (!isReal(cpu)) {
    loadSegmentVirtual(cpu, seg, selector);
    return;
  }
  const usable = (attr & Attr.P) !== 0;
  cpu.setSegment(
    seg,
    selector & 0xffff,
    (selector & 0xffff) << 4,
    usable ? s[segLimit(seg)]! : 0xffff,
    usable ? attr : REAL_ATTR,
  );
}

/** After CR0.PE was cleared: code may be written again through CS, whose base, limit and size stay until the next far jump. */
export function enterReal(cpu: Core): void {
  const s = cpu.s;
  const kept = s[segAttr(Seg.CS)]! & (Attr.DB | Attr.G);
  cpu.setSegment(Seg.CS, s[segSelector(Seg.CS)]!, s[S.SEG + Seg.CS * 4 + 1]!, s[segLimit(Seg.CS)]!, REAL_ATTR | kept);
}

function gp(cpu: Core): number {
  cpu.raise(Vector.GP, 0);
  return Result.FAULT;
}

function stackOffset(cpu: Core, bytes: number): number {
  const offset = (cpu.s[S.ESP]! + bytes) | 0;
  return (cpu.s[segAttr(Seg.SS)]! & Attr.DB) !== 0 ? offset : offset & 0xffff;
}

function moveStack(cpu: Core, bytes: number): void {
  const s = cpu.s;
  const esp = (s[S.ESP]! + bytes) | 0;
  s[S.ESP] = (s[segAttr(Seg.SS)]! & Attr.DB) !== 0 ? esp : (s[S.ESP]! & ~0xffff) | (esp & 0xffff);
}

const beyondLimit = (cpu: Core, offset: number): boolean => offset >>> 0 > cpu.s[segLimit(Seg.CS)]! >>> 0;

export function jumpFarReal(cpu: Core, selector: number, offset: number): number {
  if (beyondLimit(cpu, offset)) return gp(cpu);
  loadSegmentReal(cpu, Seg.CS, selector);
  cpu.nextEip = offset;
  cpu.spend(cpu.costs.cycles.farTransfer);
  return Result.DONE;
}

export function callFarReal(cpu: Core, selector: number, offset: number, size: number): number {
  const s = cpu.s;
  if (beyondLimit(cpu, offset)) return gp(cpu);
  if (!cpu.probe(Seg.SS, stackOffset(cpu, -2 * size), size, true)) return Result.FAULT;
  cpu.store(Seg.SS, stackOffset(cpu, -size), size, s[segSelector(Seg.CS)]!);
  if (cpu.faultVector >= 0) return Result.FAULT;
  cpu.store(Seg.SS, stackOffset(cpu, -2 * size), size, cpu.nextEip);
  moveStack(cpu, -2 * size);
  return jumpFarReal(cpu, selector, offset);
}

/** Pops an offset and a selector, after `check` has accepted both; `words` is how many words the instruction pops. */
function popTarget(cpu: Core, size: number): { readonly eip: number; readonly selector: number } | undefined {
  const value = cpu.load(Seg.SS, stackOffset(cpu, 0), size);
  if (cpu.faultVector >= 0) return undefined;
  const eip = size === 2 ? value & 0xffff : value;
  const selector = cpu.load(Seg.SS, stackOffset(cpu, size), size) & 0xffff;
  if (cpu.faultVector >= 0) return undefined;
  if (beyondLimit(cpu, eip)) {
    cpu.raise(Vector.GP, 0);
    return undefined;
  }
  return { eip, selector };
}

export function returnFarReal(cpu: Core, release: number, size: number): number {
  const target = popTarget(cpu, size);
  if (target === undefined) return Result.FAULT;
  moveStack(cpu, 2 * size + release);
  loadSegmentReal(cpu, Seg.CS, target.selector);
  cpu.nextEip = target.eip;
  cpu.spend(cpu.costs.cycles.farTransfer);
  return Result.DONE;
}

/** IRET and IRETD: all flags but VM, VIF and VIP; the upper half stays with 16-bit operands (SDM vol. 2, "IRET"). */
export function interruptReturnReal(cpu: Core, size: number): number {
  const target = popTarget(cpu, size);
  if (target === undefined) return Result.FAULT;
  const image = cpu.load(Seg.SS, stackOffset(cpu, 2 * size), size);
  if (cpu.faultVector >= 0) return Result.FAULT;
  moveStack(cpu, 3 * size);
  loadSegmentReal(cpu, Seg.CS, target.selector);
  cpu.nextEip = target.eip;
  // In virtual-8086 mode IOPL is 3 here, and stays. RF matters to instruction breakpoints alone.
  const kept = (isReal(cpu) ? 0 : Flag.IOPL) | (cpu.breakpoints.active ? 0 : Flag.RF);
  const mask = (size === 2 ? 0x7fd5 : 0x257fd5) & ~kept;
  cpu.spend(cpu.costs.cycles.iretSameRing);
  cpu.writeEflags((image & mask) | (cpu.readEflags() & ~mask));
  return Result.DONE;
}

/**
 * Delivers one event through the vector table at IDTR: FLAGS, CS and IP as words; IF, TF, AC and RF cleared (SDM vol. 3,
 * 20.1.4). #GP if the table is too short for the vector, #SS if the stack has no room.
 */
export function deliverReal(
  cpu: Core,
  vector: number,
  software: boolean,
  external: boolean,
  returnEip: number,
): number {
  const s = cpu.s;
  const costs = cpu.costs.cycles;
  if (vector * 4 + 3 > s[S.IDT_LIMIT]! >>> 0) return gp(cpu);
  const entry = cpu.readLinear((s[S.IDT_BASE]! + vector * 4) | 0, 4, false);
  if (cpu.faultVector >= 0) return Result.FAULT;
  const words = [cpu.readEflags() & 0xffff, s[segSelector(Seg.CS)]!, returnEip & 0xffff];
  for (let i = 0; i < 3; i++) if (!cpu.probe(Seg.SS, stackOffset(cpu, -2 * (i + 1)), 2, true)) return Result.FAULT;
  if (beyondLimit(cpu, entry & 0xffff)) return gp(cpu);
  for (let i = 0; i < 3; i++) cpu.store(Seg.SS, stackOffset(cpu, -2 * (i + 1)), 2, words[i]!);
  moveStack(cpu, -6);
  loadSegmentReal(cpu, Seg.CS, entry >>> 16);
  s[S.EIP] = entry & 0xffff;
  s[S.EFLAGS] = s[S.EFLAGS]! & ~(Flag.IF | Flag.TF | Flag.AC | Flag.RF);
  s[S.INTERRUPT_SHADOW] = 0;
  cpu.updatePoll();
  cpu.spend(costs.exceptionSameRing + (external ? costs.interruptAcknowledge : 0));
  if (software) cpu.clock[INSTRUCTIONS]! += 1;
  if (external) cpu.counters.interrupts += 1;
  else cpu.counters.exceptions += 1;
  return Result.DELIVERED;
}
