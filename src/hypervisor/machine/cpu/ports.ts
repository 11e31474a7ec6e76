/** Port I/O: permission (SDM vol. 1, 18.5) and the access itself, with its price paid before the device sees it. */
import type { Core } from './core.js';
import { Flag, S, Seg, segAttr, segBase, segLimit, Vector } from './state.js';

/** IOPL (not in virtual-8086 mode), then the I/O permission bitmap of the 32-bit TSS. False with the fault pending. */
export function ioAllowed(cpu: Core, port: number, width: number): boolean {
  const s = cpu.s;
  const virtual = (s[S.EFLAGS]! & Flag.VM) !== 0;
  if (!virtual && s[S.CPL]! <= ((s[S.EFLAGS]! >>> 12) & 3)) return true;
  const type = s[segAttr(Seg.TR)]! & 0x9f;
  const limit = s[segLimit(Seg.TR)]! >>> 0;
  if ((type !== 0x89 && type !== 0x8b) || limit < 0x67) return cpu.raise(Vector.GP, 0);
  const base = s[segBase(Seg.TR)]!;
  const map = cpu.readLinear((base + 0x66) | 0, 2, false) & 0xffff;
  if (cpu.faultVector >= 0) return false;
  const at = map + (port >>> 3);
  // Hardware always reads two bytes, so a bitmap ends with a byte of ones.
  if (at + 1 > limit) return cpu.raise(Vector.GP, 0);
  const bits = cpu.readLinear((base + at) | 0, 2, false);
  if (cpu.faultVector >= 0) return false;
  return ((bits >>> (port & 7)) & ((1 << width) - 1)) === 0 || cpu.raise(Vector.GP, 0);
}

export function portIn(cpu: Core, port: number, width: number): number {
  cpu.spend(cpu.costs.cycles.portIo);
  cpu.accountRing();
  cpu.counters.portReads += 1;
  if (cpu.breakpoints.active) cpu.breakpoints.port(port, width);
  return cpu.wiring.ports.read(port, width as 1 | 2 | 4) | 0;
}

export function portOut(cpu: Core, port: number, width: number, value: number): void {
  cpu.spend(cpu.costs.cycles.portIo);
  cpu.accountRing();
  cpu.counters.portWrites += 1;
  if (cpu.breakpoints.active) cpu.breakpoints.port(port, width);
  const unsigned = width === 4 ? value >>> 0 : value & (width === 2 ? 0xffff : 0xff);
  cpu.wiring.ports.write(port, width as 1 | 2 | 4, unsigned);
}
