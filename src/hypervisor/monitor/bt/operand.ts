/** Memory operands of decoded instructions, for what the monitor does in the guest's place. */
import { type Instruction, Register } from 'iced-x86';
import { Attr, Seg } from '../../machine/cpu/state.js';
import type { VirtualCpu } from '../virtual-cpu.js';

const SEGMENTS: ReadonlyMap<Register, number> = new Map([
  [Register.ES, Seg.ES],
  [Register.CS, Seg.CS],
  [Register.SS, Seg.SS],
  [Register.DS, Seg.DS],
  [Register.FS, Seg.FS],
  [Register.GS, Seg.GS],
]);

/** Value of a general register, unsigned, by its size. */
export function readRegister(s: Int32Array, register: Register): number {
  if (register >= Register.EAX && register <= Register.EDI) return s[register - Register.EAX]! >>> 0;
  if (register >= Register.AX && register <= Register.DI) return s[register - Register.AX]! & 0xffff;
  if (register >= Register.AL && register <= Register.BL) return s[register - Register.AL]! & 0xff;
  if (register >= Register.AH && register <= Register.BH) return (s[register - Register.AH]! >>> 8) & 0xff;
  return 0;
}

export function writeRegister(s: Int32Array, register: Register, value: number): void {
  if (register >= Register.EAX && register <= Register.EDI) s[register - Register.EAX] = value;
  else if (register >= Register.AX && register <= Register.DI) {
    s[register - Register.AX] = (s[register - Register.AX]! & ~0xffff) | (value & 0xffff);
  } else if (register >= Register.AL && register <= Register.BL) {
    s[register - Register.AL] = (s[register - Register.AL]! & ~0xff) | (value & 0xff);
  } else if (register >= Register.AH && register <= Register.BH) {
    s[register - Register.AH] = (s[register - Register.AH]! & ~0xff00) | ((value & 0xff) << 8);
  }
}

/** Offset of a ModRM memory operand in its segment. */
export function effectiveAddress(s: Int32Array, instruction: Instruction): number {
  const base = readRegister(s, instruction.memoryBase);
  const index = Math.imul(readRegister(s, instruction.memoryIndex), instruction.memoryIndexScale);
  const sum = (base + index + Number(BigInt.asIntN(32, instruction.memoryDisplacement))) >>> 0;
  const narrow =
    (instruction.memoryBase >= Register.AX && instruction.memoryBase <= Register.DI) ||
    (instruction.memoryIndex >= Register.AX && instruction.memoryIndex <= Register.DI);
  return narrow ? sum & 0xffff : sum;
}

/** Linear address of a ModRM memory operand, without checks. The guest must be out. */
export function linearOperand(vcpu: VirtualCpu, instruction: Instruction): number {
  const seg = SEGMENTS.get(instruction.memorySegment) ?? Seg.DS;
  return (vcpu.base(seg) + effectiveAddress(vcpu.thread.s, instruction)) >>> 0;
}

/** As `linearOperand` for a store of `width` bytes; undefined where the segment is not a plain one that allows it. */
export function writableOperand(vcpu: VirtualCpu, instruction: Instruction, width: number): number | undefined {
  const seg = SEGMENTS.get(instruction.memorySegment) ?? Seg.DS;
  const attr = vcpu.attr(seg);
  const wanted = Attr.P | Attr.S | Attr.WRITE_READ;
  if ((attr & (wanted | Attr.CODE | Attr.DOWN_CONFORMING)) !== wanted) return undefined;
  const offset = effectiveAddress(vcpu.thread.s, instruction);
  return offset + width - 1 > vcpu.limit(seg) ? undefined : (vcpu.base(seg) + offset) >>> 0;
}
