/** Descriptor tables and loads of data segment registers (SDM vol. 3, chapters 3 and 5). */
import type { Core } from './core.js';
import { loadSegmentReal, usesParagraphs } from './real-mode.js';
import { Attr, S, Seg, segAttr, segBase, segLimit, Vector } from './state.js';
import { loadAgain } from './transitions.js';

// A module's own constants cost nothing; see core.ts.
const { CPL } = S;
const SEG_ATTR = S.SEG + 3;
const PRESENT = Attr.P;
const CONFORMING_CODE = Attr.CODE | Attr.DOWN_CONFORMING;

/** A descriptor as read from its table. One scratch object per use site's call chain: read, check, load, before the next read. */
export interface Descriptor {
  low: number;
  high: number;
  /** Linear address of the descriptor, a signed word. */
  at: number;
}

export const newDescriptor = (): Descriptor => ({ low: 0, high: 0, at: 0 });

/** Bits 8..23 of the high dword, as in `Attr`; the limit bits 16..19 in between are masked out. */
export const attrOf = (descriptor: Descriptor): number => (descriptor.high >>> 8) & 0xf0ff;
export const baseOf = (descriptor: Descriptor): number =>
  (descriptor.high & 0xff000000) | ((descriptor.high & 0xff) << 16) | (descriptor.low >>> 16);
/** Limit in bytes, as a signed word. */
export function limitOf(descriptor: Descriptor): number {
  const raw = (descriptor.high & 0xf0000) | (descriptor.low & 0xffff);
  return (descriptor.high & 0x800000) !== 0 ? (raw << 12) | 0xfff : raw;
}
export const dplOf = (attr: number): number => (attr >>> Attr.DPL_SHIFT) & 3;
export const isNull = (selector: number): boolean => (selector & 0xfffc) === 0;

/** Puts the linear address of the descriptor of `selector` into `into.at`. False if its table has no such whole entry. */
function locate(cpu: Core, selector: number, into: Descriptor): boolean {
  const s = cpu.s;
  const offset = selector & 0xfff8;
  if ((selector & 4) === 0) {
    into.at = (s[S.GDT_BASE]! + offset) | 0;
    return offset + 7 <= s[S.GDT_LIMIT]! >>> 0;
  }
  into.at = (s[segBase(Seg.LDTR)]! + offset) | 0;
  return (s[segAttr(Seg.LDTR)]! & Attr.P) !== 0 && offset + 7 <= s[segLimit(Seg.LDTR)]! >>> 0;
}

/** True if the table has such an entry; false with no fault pending if not, and with one if reading it faulted. */
export function peekDescriptor(cpu: Core, selector: number, into: Descriptor): boolean {
  if (!locate(cpu, selector, into)) return false;
  into.low = cpu.readLinear(into.at, 4, false);
  if (cpu.faultVector >= 0) return false;
  into.high = cpu.readLinear((into.at + 4) | 0, 4, false);
  return cpu.faultVector < 0;
}

/**
 * Reads a descriptor on behalf of a load. False with a fault pending: `vector` with the selector (plus `external`) as error code
 * if the table has no such entry, or #PF.
 */
export function readDescriptor(cpu: Core, selector: number, into: Descriptor, vector: number, external = 0): boolean {
  if (peekDescriptor(cpu, selector, into)) return true;
  if (cpu.faultVector >= 0) return false;
  return cpu.raise(vector, (selector & 0xfffc) | external);
}

/** Sets the accessed bit of a code or data descriptor in its table if it is clear (SDM vol. 3, 3.4.5.1). */
export function markAccessed(cpu: Core, descriptor: Descriptor): boolean {
  if ((descriptor.high & 0x100) !== 0) return true;
  descriptor.high |= 0x100;
  cpu.writeLinear((descriptor.at + 4) | 0, 4, descriptor.high, false);
  return cpu.faultVector < 0;
}

/** Copies a descriptor into a segment register; `selector` as it shall read. */
export function install(cpu: Core, seg: number, selector: number, descriptor: Descriptor): void {
  cpu.setSegment(seg, selector, baseOf(descriptor), limitOf(descriptor), attrOf(descriptor));
}

/** Descriptor of the load in progress. */
const loaded = newDescriptor();

/** MOV, POP and LxS into ES, DS, FS, GS or SS (SDM vol. 2, "MOV"). False with the fault pending, nothing changed. */
export function loadSegment(cpu: Core, seg: number, selector: number): boolean {
  if (usesParagraphs(cpu)) {
    loadSegmentReal(cpu, seg, selector);
    return true;
  }
  const cpl = cpu.s[S.CPL]!;
  if (isNull(selector)) {
    if (seg === Seg.SS) return cpu.raise(Vector.GP, 0);
    cpu.setSegment(seg, selector, 0, 0, 0);
    return true;
  }
  if (seg !== Seg.SS && loadAgain(cpu, seg, selector)) return true;
  const code = selector & 0xfffc;
  const descriptor = loaded;
  if (!readDescriptor(cpu, selector, descriptor, Vector.GP)) return false;
  const attr = attrOf(descriptor);
  const rpl = selector & 3;
  const dpl = dplOf(attr);
  if (seg === Seg.SS) {
    const writableData = (attr & (Attr.S | Attr.CODE | Attr.WRITE_READ)) === (Attr.S | Attr.WRITE_READ);
    if (rpl !== cpl || !writableData || dpl !== cpl) return cpu.raise(Vector.GP, code);
    if ((attr & Attr.P) === 0) return cpu.raise(Vector.SS, code);
  } else {
    const readable = (attr & Attr.CODE) === 0 || (attr & Attr.WRITE_READ) !== 0;
    if ((attr & Attr.S) === 0 || !readable) return cpu.raise(Vector.GP, code);
    const conforming = (attr & (Attr.CODE | Attr.DOWN_CONFORMING)) === (Attr.CODE | Attr.DOWN_CONFORMING);
    if (!conforming && (rpl > dpl || cpl > dpl)) return cpu.raise(Vector.GP, code);
    if ((attr & Attr.P) === 0) return cpu.raise(Vector.NP, code);
  }
  if (!markAccessed(cpu, descriptor)) return false;
  install(cpu, seg, selector, descriptor);
  if (seg !== Seg.SS && (selector & 4) === 0) cpu.transitions.noteLoad(cpu.s, seg, descriptor.low, descriptor.high);
  return true;
}

/** After a return to an outer ring: data registers that the new CPL must not use become null (SDM vol. 2, "RET", "IRET"). */
export function dropInnerSegments(cpu: Core): void {
  const s = cpu.s;
  dropInner(cpu, s, 0 /* ES */);
  dropInner(cpu, s, 3 /* DS */);
  dropInner(cpu, s, 4 /* FS */);
  dropInner(cpu, s, 5 /* GS */);
}

function dropInner(cpu: Core, s: Int32Array, seg: number): void {
  const attr = s[SEG_ATTR + seg * 4]!;
  if ((attr & PRESENT) === 0 || ((attr >>> 5) & 3) >= s[CPL]!) return;
  if ((attr & CONFORMING_CODE) !== CONFORMING_CODE) cpu.setSegment(seg, 0, 0, 0, 0);
}
