/**
 * Memory operands of up to 512 bytes: between the guest's memory and `FpuState`, all checks before the first byte.
 *
 * A helper gets its operand's place as a word with the segment and a word index whose value is the offset.
 */
import type { Core } from '../core.js';
import { S, segBase, Vector } from '../state.js';

/** Packs what the lowering knows of a memory operand; registers have `NO_MEMORY`. Alignment to 16 bytes if `aligned`. */
export const memoryArgument = (seg: number, bytes: number, aligned: boolean): number =>
  seg | (bytes << 4) | (aligned ? ALIGNED : 0);
export const NO_MEMORY = -1;
const ALIGNED = 1 << 14;

export const segmentOf = (argument: number): number => argument & 7;
/** The same place, of another size. */
export const withBytes = (argument: number, bytes: number): number => (argument & ~(0x3ff << 4)) | (bytes << 4);

/** Segment, alignment and page checks; answers the linear address (which may be negative). Test `cpu.faultVector` then. */
function check(cpu: Core, argument: number, offset: number, write: boolean): number {
  const seg = argument & 7;
  const bytes = (argument >> 4) & 0x3ff;
  if (!cpu.checkSegment(seg, offset, bytes, write)) return 0;
  const linear = (offset + cpu.s[segBase(seg)]) | 0;
  if ((argument & ALIGNED) !== 0 && (linear & 15) !== 0) cpu.raise(Vector.GP, 0);
  return linear;
}

/** Copies the operand to `to`, from word `at` on. False with the fault pending. */
export function fetchOperand(cpu: Core, argument: number, offset: number, to: Int32Array, at: number): boolean {
  const linear = check(cpu, argument, offset, false);
  if (cpu.faultVector >= 0) return false;
  const user = cpu.s[S.CPL] === 3;
  const bytes = (argument >> 4) & 0x3ff;
  if ((linear & 4095) + bytes <= 4096) {
    const machine = cpu.translate(linear, false, user);
    if (machine >= 0) {
      const memory = cpu.memory;
      if ((machine & 3) === 0 && bytes >= 4) {
        const words = memory.i32;
        const from = machine >>> 2;
        to[at] = words[from];
        if (bytes >= 8) to[at + 1] = words[from + 1];
        if (bytes === 16) {
          to[at + 2] = words[from + 2];
          to[at + 3] = words[from + 3];
        } else if (bytes > 8) {
          for (let i = 8; i < bytes; i += 4) {
            to[at + (i >> 2)] = bytes - i >= 4 ? words[from + (i >> 2)] : memory.read16(machine + i);
          }
        }
        return true;
      }
      for (let i = 0; i < bytes; i += 4) to[at + (i >> 2)] = piece(cpu, machine + i, bytes - i);
      return true;
    }
    if (cpu.faultVector >= 0) return false;
  } else if (!cpu.probeLinear(linear, bytes, false, user)) {
    return false;
  }
  for (let i = 0; i < bytes; i += 4) {
    const size = bytes - i >= 4 ? 4 : bytes - i >= 2 ? 2 : 1;
    to[at + (i >> 2)] = cpu.readLinear((linear + i) | 0, size, user);
  }
  return true;
}

function piece(cpu: Core, machine: number, left: number): number {
  return left >= 4 ? cpu.memory.readI32(machine) : left >= 2 ? cpu.memory.read16(machine) : cpu.memory.read8(machine);
}

/** All checks of the store that follows. False with the fault pending. */
export function probeOperand(cpu: Core, argument: number, offset: number): boolean {
  const linear = check(cpu, argument, offset, true);
  if (cpu.faultVector >= 0) return false;
  return cpu.probeLinear(linear, (argument >> 4) & 0x3ff, true, cpu.s[S.CPL] === 3);
}

/** Stores the operand from word `at` of `from`, after all checks. False with the fault pending. */
export function storeOperand(cpu: Core, argument: number, offset: number, from: Int32Array, at: number): boolean {
  const linear = check(cpu, argument, offset, true);
  if (cpu.faultVector >= 0) return false;
  const user = cpu.s[S.CPL] === 3;
  const bytes = (argument >> 4) & 0x3ff;
  if ((linear & 4095) + bytes <= 4096) {
    const machine = cpu.translate(linear, true, user);
    if (machine >= 0) {
      const memory = cpu.memory;
      for (let i = 0; i < bytes; i += 4) {
        const value = from[at + (i >> 2)];
        if (bytes - i >= 4) memory.write32(machine + i, value);
        else if (bytes - i >= 2) memory.write16(machine + i, value);
        else memory.write8(machine + i, value);
      }
      return true;
    }
    if (cpu.faultVector >= 0) return false;
  } else if (!cpu.probeLinear(linear, bytes, true, user)) {
    return false;
  }
  for (let i = 0; i < bytes; i += 4) {
    const size = bytes - i >= 4 ? 4 : bytes - i >= 2 ? 2 : 1;
    cpu.writeLinear((linear + i) | 0, size, from[at + (i >> 2)], user);
  }
  return true;
}
