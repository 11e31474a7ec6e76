/**
 * Every form in which 32-bit code can write an instruction of IA-32 up to SSE2, found by asking the decoder about every opcode
 * of the one-byte and the two-byte map under every prefix that matters. A form is iced's `Code` (opcode, operand sizes), whether the
 * operand is a register or memory, the address size, and LOCK and REP where they mean something.
 */
import { Code, CpuidFeature, Decoder, Instruction, type Mnemonic, OpKind, Register } from 'iced-x86';
import { DECODER_OPTIONS } from '../../src/hypervisor/machine/cpu/decoder-options.js';

/** What the processor is: everything else that iced knows is a later one's. */
const BUILT: ReadonlySet<CpuidFeature> = new Set([
  CpuidFeature.INTEL8086,
  CpuidFeature.INTEL186,
  CpuidFeature.INTEL286,
  CpuidFeature.INTEL386,
  CpuidFeature.INTEL486,
  CpuidFeature.FPU,
  CpuidFeature.FPU287,
  CpuidFeature.FPU387,
  CpuidFeature.CMOV,
  CpuidFeature.CPUID,
  CpuidFeature.CX8,
  CpuidFeature.CLFSH,
  CpuidFeature.FXSR,
  CpuidFeature.MMX,
  CpuidFeature.MSR,
  CpuidFeature.MULTIBYTENOP,
  CpuidFeature.PAUSE,
  CpuidFeature.RDPMC,
  CpuidFeature.SEP,
  CpuidFeature.SSE,
  CpuidFeature.SSE2,
  CpuidFeature.TSC,
]);

/** An encoding: everything up to ModRM. Of memory operands that byte stands for all with its middle digit. */
export interface Encoding {
  readonly prefixes: readonly number[];
  readonly opcode: readonly number[];
  /** Absent where the instruction has none. */
  readonly modrm: number | undefined;
}

export interface Form {
  readonly key: string;
  readonly mnemonic: Mnemonic;
  readonly encodings: readonly Encoding[];
}

const LOCK = 0xf0;
const REPNE = 0xf2;
const REP = 0xf3;
const PREFIXES: readonly (readonly number[])[] = [[], [0x66], [0x67], [0x66, 0x67]].flatMap(sizes =>
  [[], [LOCK], [REPNE], [REP]].map(other => [...sizes, ...other]),
);
const NO_OPCODES: ReadonlySet<number> = new Set([
  ...[0x0f, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, LOCK, REPNE, REP],
]);

/** The memory operand of an instruction has 16-bit addresses. */
function hasNarrowAddress(ins: Instruction): boolean {
  for (let i = 0; i < ins.opCount; i++) {
    const kind = ins.opKind(i);
    if (kind === OpKind.MemorySegSI || kind === OpKind.MemorySegDI || kind === OpKind.MemoryESDI) return true;
    if (kind !== OpKind.Memory) continue;
    const { memoryBase: base, memoryIndex: index } = ins;
    return ins.memoryDisplSize === 2 || isWord(base) || isWord(index);
  }
  return false;
}

export const isWord = (register: Register): boolean => register >= Register.AX && register <= Register.DI;

function hasMemory(ins: Instruction): boolean {
  for (let i = 0; i < ins.opCount; i++) {
    if (ins.opKind(i) === OpKind.Memory) return true;
  }
  return false;
}

/** Name of the form of a decoded instruction; undefined if the processor does not have it. */
export function formOf(ins: Instruction): string | undefined {
  if (ins.isInvalid) return undefined;
  const features = ins.cpuidFeatures();
  if (!features.every(feature => BUILT.has(feature))) return undefined;
  const words = [Code[ins.code]!];
  if (hasMemory(ins)) words.push('memory');
  if (hasNarrowAddress(ins)) words.push('a16');
  if (ins.hasLockPrefix) words.push('lock');
  if (ins.isStringInstruction) {
    if (ins.hasRepnePrefix) words.push('repne');
    else if (ins.hasRepPrefix) words.push('rep');
  }
  return words.join(' ');
}

/** Forms of all instructions in a piece of code. */
export function formsOf(code: ArrayLike<number>, bitness: 16 | 32): string[] {
  const decoder = new Decoder(bitness, Uint8Array.from(code as number[]), DECODER_OPTIONS);
  const forms: string[] = [];
  while (decoder.canDecode) {
    const ins = decoder.decode();
    const form = formOf(ins);
    if (form !== undefined) forms.push(form);
    ins.free();
  }
  decoder.free();
  return forms;
}

/** ModRM bytes that may say something of their own: every register form, and memory without displacement at [EBX] or [BX]. */
const MODRM = Array.from({ length: 256 }, (_, modrm) => modrm);
const modrmBytes = (narrow: boolean): number[] =>
  MODRM.filter(modrm => modrm >= 0xc0 || (modrm < 0x40 && (modrm & 7) === (narrow ? 7 : 3)));

/** All forms. */
export function allForms(): readonly Form[] {
  const found = new Map<string, { mnemonic: Mnemonic; encodings: Encoding[] }>();
  const ins = new Instruction();
  const bytes = new Uint8Array(16);
  const visit = (prefixes: readonly number[], opcode: readonly number[]) => {
    for (const modrm of modrmBytes(prefixes.includes(0x67))) {
      bytes.fill(0);
      bytes.set([...prefixes, ...opcode, modrm, 1, 2, 3, 4, 5, 6, 7]);
      const decoder = new Decoder(32, bytes, DECODER_OPTIONS);
      decoder.decodeOut(ins);
      const form = formOf(ins);
      const offsets = form === undefined ? undefined : decoder.getConstantOffsets(ins);
      const own =
        ins.length - (offsets?.immediateSize ?? 0) - (offsets?.immediateSize2 ?? 0) - (offsets?.displacementSize ?? 0);
      offsets?.free();
      decoder.free();
      if (form === undefined) continue;
      const hasModrm = own > prefixes.length + opcode.length;
      const entry = found.get(form) ?? { mnemonic: ins.mnemonic, encodings: [] };
      found.set(form, entry);
      entry.encodings.push({ prefixes, opcode, modrm: hasModrm ? modrm : undefined });
      if (!hasModrm) return;
    }
  };
  for (const prefixes of PREFIXES) {
    for (let op = 0; op < 256; op++) {
      if (!NO_OPCODES.has(op)) visit(prefixes, [op]);
      visit(prefixes, [0x0f, op]);
    }
  }
  ins.free();
  return [...found].map(([key, { mnemonic, encodings }]) => {
    // REP and REPNE that say nothing are left out where they are no part of the opcode.
    const plain = encodings.filter(({ prefixes }) => !prefixes.includes(REP) && !prefixes.includes(REPNE));
    return { key, mnemonic, encodings: plain.length > 0 ? plain : encodings };
  });
}
