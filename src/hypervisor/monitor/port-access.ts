/** Port I/O of the guest: IN, OUT, INS and OUTS on the virtual devices, with the guest's IOPL and I/O permission map. */
import { Flag, S, Seg, Vector } from '../machine/cpu/state.js';
import { AGAIN, type Effect, NEXT } from './effect.js';
import { fault, type GuestFault, isFault } from './guest-fault.js';
import type { Width } from './guest-memory.js';
import { linearOf, load, store } from './operands.js';
import type { VirtualCpu } from './virtual-cpu.js';

/** SDM vol. 1, 18.5.2: kernel and sufficient IOPL pass; else the permission map of the guest's TSS decides. */
export function checkPortAccess(vcpu: VirtualCpu, port: number, width: Width): GuestFault | undefined {
  if (vcpu.cpl === vcpu.kernelCpl || vcpu.cpl <= vcpu.iopl) return undefined;
  const type = vcpu.attr(Seg.TR) & 0x9f;
  const limit = vcpu.limit(Seg.TR);
  const refused = fault(Vector.GP, 0);
  if ((type !== 0x89 && type !== 0x8b) || limit < 0x67) return refused;
  const base = vcpu.base(Seg.TR);
  const map = vcpu.memory.read((base + 0x66) >>> 0, 2, false);
  if (isFault(map)) return map;
  const at = map + (port >>> 3);
  if (at + 1 > limit) return refused;
  const bits = vcpu.memory.read((base + at) >>> 0, 2, false);
  if (isFault(bits)) return bits;
  return ((bits >>> (port & 7)) & ((1 << width) - 1)) === 0 ? undefined : refused;
}

/** Reads a virtual device's port, without permission check. Charges `deviceAccess`. */
export function readPort(vcpu: VirtualCpu, port: number, width: Width): number {
  vcpu.thread.charge(vcpu.costs.deviceAccess);
  vcpu.vm.counters.portAccesses += 1;
  return vcpu.vm.ports.read(port, width);
}

export function writePort(vcpu: VirtualCpu, port: number, width: Width, value: number): void {
  vcpu.thread.charge(vcpu.costs.deviceAccess);
  vcpu.vm.counters.portAccesses += 1;
  const unsigned = width === 4 ? value >>> 0 : value & (width === 2 ? 0xffff : 0xff);
  vcpu.vm.ports.write(port, width, unsigned);
}

export function portIn(vcpu: VirtualCpu, port: number, width: Width): Effect {
  const refused = checkPortAccess(vcpu, port, width);
  if (refused !== undefined) return refused;
  const value = readPort(vcpu, port, width);
  const mask = width === 4 ? -1 : width === 2 ? 0xffff : 0xff;
  const s = vcpu.thread.s;
  s[S.EAX] = (s[S.EAX]! & ~mask) | (value & mask);
  return NEXT;
}

export function portOut(vcpu: VirtualCpu, port: number, width: Width): Effect {
  const refused = checkPortAccess(vcpu, port, width);
  if (refused !== undefined) return refused;
  writePort(vcpu, port, width, vcpu.thread.s[S.EAX]!);
  return NEXT;
}

/** One element of INS (`input`) or OUTS from segment `seg`; `repeat`: counts ECX down and asks to come again. 32-bit addresses. */
export function stringPort(vcpu: VirtualCpu, input: boolean, width: Width, seg: number, repeat: boolean): Effect {
  const s = vcpu.thread.s;
  const port = s[S.EDX]! & 0xffff;
  const refused = checkPortAccess(vcpu, port, width);
  if (refused !== undefined) return refused;
  if (repeat && s[S.ECX] === 0) return NEXT;
  const register = input ? S.EDI : S.ESI;
  if (input) {
    // The device must not be asked before it is sure that the answer can be stored.
    const linear = linearOf(vcpu, Seg.ES, s[S.EDI]!, width, true);
    if (isFault(linear)) return linear;
    const last = vcpu.memory.translate((linear + width - 1) >>> 0, true, vcpu.isUser);
    const first = vcpu.memory.translate(linear, true, vcpu.isUser);
    if (isFault(first)) return first;
    if (isFault(last)) return last;
    const broken = store(vcpu, Seg.ES, s[S.EDI]!, width, readPort(vcpu, port, width));
    if (broken !== undefined) return broken;
  } else {
    const value = load(vcpu, seg, s[S.ESI]!, width);
    if (isFault(value)) return value;
    writePort(vcpu, port, width, value);
  }
  s[register] = (s[register]! + ((vcpu.eflags & Flag.DF) !== 0 ? -width : width)) | 0;
  if (!repeat) return NEXT;
  s[S.ECX] = (s[S.ECX]! - 1) | 0;
  return s[S.ECX] === 0 ? NEXT : AGAIN;
}
