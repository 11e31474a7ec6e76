/**
 * Segment registers and the stack of the virtual CPU, with the checks that the guest's processor would make (SDM vol. 3,
 * chapters 3 and 5). The guest must be out.
 *
 * A kernel that was openly lowered to CPL 1 (VMI) still has descriptors and frames that say 0: levels below `kernelCpl` count
 * as `kernelCpl` everywhere, and selectors that are loaded get that RPL.
 */
import { Attr, Seg, Vector } from '../machine/cpu/state.js';
import type { GuestDescriptor } from './descriptors.js';
import { fault, type GuestFault, isFault } from './guest-fault.js';
import type { Width } from './guest-memory.js';
import type { VirtualCpu } from './virtual-cpu.js';

const CODE_SEGMENT = Attr.S | Attr.CODE;

export const isNull = (selector: number): boolean => (selector & 0xfffc) === 0;
export const isCode = (attr: number): boolean => (attr & CODE_SEGMENT) === CODE_SEGMENT;
export const isConforming = (attr: number): boolean => (attr & Attr.DOWN_CONFORMING) !== 0;
export const isWritableData = (attr: number): boolean =>
  (attr & (CODE_SEGMENT | Attr.WRITE_READ)) === (Attr.S | Attr.WRITE_READ);

/** Privilege level of a descriptor, no lower than the guest's kernel. */
export const dplOf = (vcpu: VirtualCpu, attr: number): number =>
  Math.max((attr >>> Attr.DPL_SHIFT) & 3, vcpu.kernelCpl);

/** RPL of a selector, no lower than the guest's kernel. */
export const rplOf = (vcpu: VirtualCpu, selector: number): number => Math.max(selector & 3, vcpu.kernelCpl);

/** The descriptor of a selector that is about to be loaded, or `vector` with the selector as error code. */
export function readDescriptor(
  vcpu: VirtualCpu,
  selector: number,
  vector: number,
  external = 0,
): GuestDescriptor | GuestFault {
  return vcpu.descriptors.read(selector) ?? fault(vector, (selector & 0xfffc) | external);
}

/** Sets the accessed bit of a code or data descriptor in the guest's table. */
export function markAccessed(vcpu: VirtualCpu, descriptor: GuestDescriptor): GuestFault | undefined {
  const bit = Attr.ACCESSED << 8;
  if ((descriptor.high & bit) !== 0) return undefined;
  return vcpu.memory.write((descriptor.at + 4) >>> 0, 4, (descriptor.high | bit) >>> 0, false);
}

/** Loads a segment register from a checked descriptor. */
export function install(vcpu: VirtualCpu, seg: number, selector: number, from: GuestDescriptor): void {
  vcpu.setSegment(seg, selector, from.base, from.limit, from.attr | Attr.ACCESSED);
}

/** MOV, POP and LxS into ES, DS, FS, GS or SS (SDM vol. 2, "MOV"). Does not set the interrupt shadow. */
export function loadDataSegment(vcpu: VirtualCpu, seg: number, selector: number): GuestFault | undefined {
  if (isNull(selector)) {
    if (seg === Seg.SS) return fault(Vector.GP, 0);
    vcpu.setSegment(seg, selector, 0, 0, 0);
    return undefined;
  }
  const found = readDescriptor(vcpu, selector, Vector.GP);
  if (isFault(found)) return found;
  const code = selector & 0xfffc;
  const { attr } = found;
  const dpl = dplOf(vcpu, attr);
  let loaded = selector;
  if (seg === Seg.SS) {
    if (rplOf(vcpu, selector) !== vcpu.cpl || !isWritableData(attr) || dpl !== vcpu.cpl) return fault(Vector.GP, code);
    if ((attr & Attr.P) === 0) return fault(Vector.SS, code);
    loaded = code | vcpu.cpl;
  } else {
    const readable = (attr & Attr.CODE) === 0 || (attr & Attr.WRITE_READ) !== 0;
    if ((attr & Attr.S) === 0 || !readable) return fault(Vector.GP, code);
    const open = (attr & (Attr.CODE | Attr.DOWN_CONFORMING)) === (Attr.CODE | Attr.DOWN_CONFORMING);
    if (!open && ((selector & 3) > dpl || vcpu.cpl > dpl)) return fault(Vector.GP, code);
    if ((attr & Attr.P) === 0) return fault(Vector.NP, code);
  }
  const broken = markAccessed(vcpu, found);
  if (broken !== undefined) return broken;
  install(vcpu, seg, loaded, found);
  return undefined;
}

/** After a return to an outer ring: data registers that the new CPL must not use become null (SDM vol. 2, "RET"). */
export function dropInnerSegments(vcpu: VirtualCpu): void {
  for (const seg of [Seg.ES, Seg.DS, Seg.FS, Seg.GS]) {
    const attr = vcpu.attr(seg);
    if ((attr & Attr.P) === 0) continue;
    const open = (attr & (Attr.CODE | Attr.DOWN_CONFORMING)) === (Attr.CODE | Attr.DOWN_CONFORMING);
    if (!open && dplOf(vcpu, attr) < vcpu.cpl) vcpu.setSegment(seg, 0, 0, 0, 0);
  }
}

/** Do `size` bytes from offset `first` (may be negative: wrapped) lie within a stack segment? */
export function roomFor(limit: number, attr: number, first: number, size: number): boolean {
  const big = (attr & Attr.DB) !== 0;
  const low = big ? first >>> 0 : first & 0xffff;
  const high = low + size - 1;
  if (!isConforming(attr)) return high <= limit >>> 0;
  return low > limit >>> 0 && high <= (big ? 0xffffffff : 0xffff);
}

// The guest's stack, by SS and ESP.

const stackMask = (vcpu: VirtualCpu): number => ((vcpu.attr(Seg.SS) & Attr.DB) !== 0 ? -1 : 0xffff);

/** Reads at `bytes` above the top of the stack. */
export function peekStack(vcpu: VirtualCpu, bytes: number, width: Width): number | GuestFault {
  const offset = (vcpu.esp + bytes) & stackMask(vcpu);
  if (!roomFor(vcpu.limit(Seg.SS), vcpu.attr(Seg.SS), offset, width)) return fault(Vector.SS, 0);
  return vcpu.memory.read((vcpu.base(Seg.SS) + offset) >>> 0, width, vcpu.isUser);
}

/** Writes at `bytes` above the top of the stack (below: negative). */
export function pokeStack(vcpu: VirtualCpu, bytes: number, width: Width, value: number): GuestFault | undefined {
  const offset = (vcpu.esp + bytes) & stackMask(vcpu);
  if (!roomFor(vcpu.limit(Seg.SS), vcpu.attr(Seg.SS), offset, width)) return fault(Vector.SS, 0);
  return vcpu.memory.write((vcpu.base(Seg.SS) + offset) >>> 0, width, value, vcpu.isUser);
}

/** Moves ESP by `bytes`, or SP on a small stack. */
export function moveStack(vcpu: VirtualCpu, bytes: number): void {
  const mask = stackMask(vcpu);
  vcpu.esp = (vcpu.esp & ~mask) | ((vcpu.esp + bytes) & mask);
}

/** Sets ESP, or SP on a small stack. */
export function setStackPointer(vcpu: VirtualCpu, value: number): void {
  const mask = stackMask(vcpu);
  vcpu.esp = (vcpu.esp & ~mask) | (value & mask);
}

/** PUSH; ESP changes only on success. */
export function push(vcpu: VirtualCpu, width: 2 | 4, value: number): GuestFault | undefined {
  const broken = pokeStack(vcpu, -width, width, value);
  if (broken === undefined) moveStack(vcpu, -width);
  return broken;
}

/** Stack for a transfer into the inner ring `ring`. */
export interface InnerStack {
  readonly selector: number;
  readonly esp: number;
  readonly descriptor: GuestDescriptor;
}

/**
 * The stack of an inner ring, from the guest's 32-bit TSS (or the one that was registered), with its descriptor checked (SDM
 * vol. 3, 6.12.1 and 5.8.5). `external` is the EXT bit for error codes.
 */
export function innerStack(vcpu: VirtualCpu, ring: number, external: number): InnerStack | GuestFault {
  let esp: number | GuestFault;
  let selector: number | GuestFault;
  if (ring === vcpu.kernelCpl && vcpu.kernelStack !== undefined) {
    esp = vcpu.kernelStack.esp;
    selector = vcpu.kernelStack.ss;
  } else {
    const type = vcpu.attr(Seg.TR) & 0x9f;
    // A lowered kernel's stack is where it always was: in the slot of ring 0.
    const slot = 4 + (ring === vcpu.kernelCpl ? 0 : ring) * 8;
    if ((type !== 0x89 && type !== 0x8b) || slot + 5 > vcpu.limit(Seg.TR)) {
      return fault(Vector.TS, (vcpu.selector(Seg.TR) & 0xfffc) | external);
    }
    const at = (vcpu.base(Seg.TR) + slot) >>> 0;
    esp = vcpu.memory.read(at, 4, false);
    if (isFault(esp)) return esp;
    selector = vcpu.memory.read((at + 4) >>> 0, 2, false);
    if (isFault(selector)) return selector;
  }
  if (isNull(selector)) return fault(Vector.TS, external);
  const descriptor = readDescriptor(vcpu, selector, Vector.TS, external);
  if (isFault(descriptor)) return descriptor;
  const code = (selector & 0xfffc) | external;
  const { attr } = descriptor;
  if (rplOf(vcpu, selector) !== ring || dplOf(vcpu, attr) !== ring || !isWritableData(attr)) {
    return fault(Vector.TS, code);
  }
  if ((attr & Attr.P) === 0) return fault(Vector.SS, code);
  const broken = markAccessed(vcpu, descriptor);
  return broken ?? { selector: (selector & 0xfffc) | ring, esp: esp | 0, descriptor };
}

/**
 * Writes `words` (lowest address first) below `top` of a stack segment as ring `ring` would, checking room first. Answers the
 * new stack offset.
 */
export function writeFrame(
  vcpu: VirtualCpu,
  stack: { readonly base: number; readonly limit: number; readonly attr: number },
  top: number,
  words: readonly number[],
  ring: number,
  overflow: GuestFault,
): number | GuestFault {
  const mask = (stack.attr & Attr.DB) !== 0 ? -1 : 0xffff;
  const size = words.length * 4;
  if (!roomFor(stack.limit, stack.attr, (top & mask) - size, size)) return overflow;
  const bottom = (top - size) & mask;
  for (let i = words.length - 1; i >= 0; i--) {
    const at = (stack.base + ((bottom + i * 4) & mask)) >>> 0;
    const broken = vcpu.memory.write(at, 4, words[i]! >>> 0, ring === 3);
    if (broken !== undefined) return broken;
  }
  return bottom;
}
