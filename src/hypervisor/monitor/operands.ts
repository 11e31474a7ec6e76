/** Decoding and operands of instructions that the monitor carries out for the guest, by iced-x86. The guest must be out. */
import { OpKind, Register } from 'iced-x86';
import { Attr, S, Seg, Vector } from '../machine/cpu/state.js';
import type { Decoded } from './decoded.js';
import { fault, type GuestFault, isFault } from './guest-fault.js';
import type { Width } from './guest-memory.js';
import { roomFor } from './guest-segments.js';
import type { VirtualCpu } from './virtual-cpu.js';

export interface GeneralRegister {
  /** 0..7 in the encoding order of the manual. */
  readonly index: number;
  readonly bytes: Width;
  /** 8 for AH, CH, DH, BH. */
  readonly shift: number;
}

const WORDS = ['AX', 'CX', 'DX', 'BX', 'SP', 'BP', 'SI', 'DI'];
const BYTES = ['AL', 'CL', 'DL', 'BL', 'AH', 'CH', 'DH', 'BH'];
const byName = (name: string): number => Register[name as keyof typeof Register];

const GENERAL: ReadonlyMap<number, GeneralRegister> = new Map<number, GeneralRegister>([
  ...WORDS.map((name, index) => [byName(`E${name}`), { index, bytes: 4, shift: 0 }] as const),
  ...WORDS.map((name, index) => [byName(name), { index, bytes: 2, shift: 0 }] as const),
  ...BYTES.map((name, index) => [byName(name), { index: index & 3, bytes: 1, shift: index < 4 ? 0 : 8 }] as const),
]);
const SEGMENTS: ReadonlyMap<number, number> = new Map(
  (['ES', 'CS', 'SS', 'DS', 'FS', 'GS'] as const).map(name => [byName(name), Seg[name]]),
);

export const segmentOf = (register: Register): number | undefined => SEGMENTS.get(register);
/** Number of a control or debug register, by its family's first member. */
export const numberIn = (register: Register, first: Register): number => register - first;

const MAX_INSTRUCTION = 15;

/**
 * Decodes the instruction at the guest's EIP. #PF of the fetch, #UD where the bytes are none, #GP beyond the
 * end of the code segment. Charges `decode` and the fetch.
 */
export function decodeAt(vcpu: VirtualCpu): Decoded | GuestFault {
  vcpu.thread.charge(vcpu.costs.decode);
  const room = vcpu.limit(Seg.CS) - (vcpu.eip >>> 0) + 1;
  if (room <= 0) return fault(Vector.GP, 0);
  const linear = (vcpu.base(Seg.CS) + vcpu.eip) >>> 0;
  const wanted = Math.min(MAX_INSTRUCTION, room);
  const bytes = vcpu.memory.fetch(linear, wanted, vcpu.isUser);
  if (isFault(bytes)) return bytes;
  const instruction = vcpu.places.decode(bytes, vcpu.eip);
  if (instruction !== undefined) return instruction;
  // Too few bytes: the rest of the instruction is on a page that is not there, or behind the segment's end.
  if (bytes.length < wanted) {
    const next = vcpu.memory.fetch((linear + bytes.length) >>> 0, 1, vcpu.isUser);
    if (isFault(next)) return next;
  }
  return wanted < MAX_INSTRUCTION && bytes.length === wanted ? fault(Vector.GP, 0) : fault(Vector.UD);
}

/** As many bytes of the instruction at hardware's EIP as can be fetched; undefined for none. Charges the fetch. The guest is in. */
export function fetchHere(vcpu: VirtualCpu): Uint8Array | undefined {
  const { s } = vcpu.thread;
  const linear = (s[S.EIP]! + s[S.SEG + Seg.CS * 4 + 1]!) >>> 0;
  const bytes = vcpu.memory.fetch(linear, MAX_INSTRUCTION, s[S.CPL] === 3);
  return isFault(bytes) ? undefined : bytes;
}

export function readRegister(vcpu: VirtualCpu, register: Register): number {
  const known = GENERAL.get(register);
  if (known === undefined) return 0;
  const value = vcpu.thread.s[known.index]! >>> known.shift;
  return known.bytes === 4 ? value >>> 0 : value & (known.bytes === 2 ? 0xffff : 0xff);
}

export function writeRegister(vcpu: VirtualCpu, register: Register, value: number): void {
  const known = GENERAL.get(register);
  if (known === undefined) return;
  const mask = known.bytes === 4 ? -1 : (known.bytes === 2 ? 0xffff : 0xff) << known.shift;
  const s = vcpu.thread.s;
  s[known.index] = (s[known.index]! & ~mask) | ((value << known.shift) & mask);
}

/** Segment and offset of the memory operand. */
export function addressOf(vcpu: VirtualCpu, instruction: Decoded): { readonly seg: number; readonly offset: number } {
  const base = instruction.memoryBase;
  const index = instruction.memoryIndex;
  const offset =
    readRegister(vcpu, base) +
    readRegister(vcpu, index) * instruction.memoryIndexScale +
    instruction.memoryDisplacement;
  const narrow = GENERAL.get(base)?.bytes === 2 || GENERAL.get(index)?.bytes === 2 || instruction.memoryDisplSize === 2;
  return { seg: SEGMENTS.get(instruction.memorySegment) ?? Seg.DS, offset: (narrow ? offset & 0xffff : offset) | 0 };
}

/** Linear address of a data access after the segment's checks (SDM vol. 3, 5.3 and 5.5). */
export function linearOf(
  vcpu: VirtualCpu,
  seg: number,
  offset: number,
  bytes: number,
  write: boolean,
): number | GuestFault {
  const attr = vcpu.attr(seg);
  const vector = seg === Seg.SS ? Vector.SS : Vector.GP;
  if ((attr & Attr.P) === 0) return fault(vector, 0);
  const isCode = (attr & Attr.CODE) !== 0;
  if (write ? isCode || (attr & Attr.WRITE_READ) === 0 : isCode && (attr & Attr.WRITE_READ) === 0)
    return fault(vector, 0);
  // Only data segments expand down; bit 2 of a code segment means something else.
  if (
    !roomFor(
      vcpu.limit(seg),
      isCode ? attr & ~Attr.DOWN_CONFORMING : attr | (attr & Attr.DOWN_CONFORMING ? 0 : Attr.DB),
      offset,
      bytes,
    )
  ) {
    return fault(vector, 0);
  }
  return (vcpu.base(seg) + offset) >>> 0;
}

/** Reads guest memory through a segment register. */
export function load(vcpu: VirtualCpu, seg: number, offset: number, bytes: Width): number | GuestFault {
  const linear = linearOf(vcpu, seg, offset, bytes, false);
  return isFault(linear) ? linear : vcpu.memory.read(linear, bytes, vcpu.isUser);
}

export function store(
  vcpu: VirtualCpu,
  seg: number,
  offset: number,
  bytes: Width,
  value: number,
): GuestFault | undefined {
  const linear = linearOf(vcpu, seg, offset, bytes, true);
  return isFault(linear) ? linear : vcpu.memory.write(linear, bytes, value >>> 0, vcpu.isUser);
}

const opKind = ({ op0Kind, op1Kind }: Decoded, at: 0 | 1): OpKind => (at === 0 ? op0Kind : op1Kind);
const opRegister = ({ op0Register, op1Register }: Decoded, at: 0 | 1): Register =>
  at === 0 ? op0Register : op1Register;

/** Reads a register or memory operand of `bytes` bytes, zero-extended. */
export function readOperand(vcpu: VirtualCpu, instruction: Decoded, at: 0 | 1, bytes: Width): number | GuestFault {
  if (opKind(instruction, at) === OpKind.Register) {
    const value = readRegister(vcpu, opRegister(instruction, at));
    return bytes === 4 ? value : value & (bytes === 2 ? 0xffff : 0xff);
  }
  const { seg, offset } = addressOf(vcpu, instruction);
  return load(vcpu, seg, offset, bytes);
}

/** Writes a 16-bit result: memory takes a word, a 32-bit register the zero-extended value. */
export function writeWordOperand(
  vcpu: VirtualCpu,
  instruction: Decoded,
  at: 0 | 1,
  value: number,
): GuestFault | undefined {
  if (opKind(instruction, at) === OpKind.Register) {
    writeRegister(vcpu, opRegister(instruction, at), value);
    return undefined;
  }
  const { seg, offset } = addressOf(vcpu, instruction);
  return store(vcpu, seg, offset, 2, value);
}
