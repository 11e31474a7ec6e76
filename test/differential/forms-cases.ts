/**
 * A few executions of every form (`forms.ts`) in ring 3, from random states: the cases that a real processor has been asked
 * (`record-forms.ts`) and the machine is asked (`forms.test.ts`). Everything follows from a seed, so only the answers are kept.
 */
import { Code, Decoder, type Instruction, MemorySizeExt, Mnemonic, OpKind, Register } from 'iced-x86';
import { Prng } from '../../src/hypervisor/base/prng.js';
import { DECODER_OPTIONS } from '../../src/hypervisor/machine/cpu/decoder-options.js';
import { allForms, type Encoding, type Form, isWord } from './forms.js';

/** Below 64 KiB, so that 16-bit addresses and targets reach them. A page each; nothing else is mapped for ring 3. */
export const FORM_CODE = 0xa000;
export const FORM_DATA = 0xb000;
export const FORM_MEMORY_BYTES = 512;
export const FORM_CODE_BYTES = 32;
/** Linux's: flat segments of ring 3. */
export const FORM_CS = 0x23;
export const FORM_DS = 0x2b;

const SEED = 20070618;
const COPIES = 3;
const ARITHMETIC = 0x8d5;
const DF = 0x400;
const ID = 0x200000;
const IOPL = 0x3000;
/** About where memory operands are, and the stack. */
const OPERAND = FORM_DATA + 0x100;
const STACK = FORM_DATA + 0x1a0;
/** Where jumps through registers and memory go: behind the instruction, among INT3. */
const TARGET = FORM_CODE + 0x40;
const INTERESTING = [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff];
const IS_DIVISION = /^(Div|Idiv)_/;
const TAKES_BIT_OFFSET = /^Bt.?_rm(16|32)_r/;
const SELECTORS = [FORM_DS, FORM_CS, 0, 3, 0x18, 0x28, 0xfff8];

export interface FormCase {
  readonly form: string;
  readonly text: string;
  readonly code: Uint8Array;
  /** EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI. */
  readonly registers: readonly number[];
  readonly eflags: number;
  readonly memory: Uint8Array;
  /** Bits of EFLAGS that the manual defines. */
  readonly flagsMask: number;
}

/** Not for ring 3 of somebody else's system: they enter a kernel, or tell of the processor, of time and of the host's tables. */
const NOT_HERE: ReadonlySet<Mnemonic> = new Set([
  Mnemonic.Sysenter,
  Mnemonic.Cpuid,
  Mnemonic.Rdtsc,
  Mnemonic.Sgdt,
  Mnemonic.Sidt,
  Mnemonic.Sldt,
  Mnemonic.Str,
  Mnemonic.Smsw,
]);

class State {
  readonly registers: number[];
  readonly memory = new Uint8Array(FORM_MEMORY_BYTES);
  readonly eflags: number;
  readonly #view = new DataView(this.memory.buffer);

  /** A benign state lets the instruction complete. */
  constructor(
    readonly prng: Prng,
    readonly benign: boolean,
  ) {
    for (let at = 0; at < FORM_MEMORY_BYTES; at += 4) this.#view.setUint32(at, this.value(), true);
    const near = () => OPERAND + prng.below(16) * 4;
    this.registers = [this.value(), this.value(), this.value(), near(), STACK, near(), near(), near()];
    this.eflags = (prng.u32() & (ARITHMETIC | DF)) | 0x202;
  }

  value(): number {
    return this.prng.below(2) === 0 ? this.prng.pick(INTERESTING) : this.prng.u32();
  }

  /** A number of a few bits, of either sign. */
  small(limit: number): number {
    return this.prng.below(limit * 2) - limit;
  }

  codeSelector(): number {
    return this.benign ? FORM_CS : this.prng.pick([FORM_CS, ...SELECTORS]);
  }

  dataSelector(): number {
    return this.benign ? FORM_DS : this.prng.pick(SELECTORS);
  }

  /** Values of `bytes` bytes each, one behind the other; the upper half of the last word stays. */
  put(address: number, bytes: number, ...values: number[]): void {
    values.forEach((value, i) => {
      const at = address - FORM_DATA + i * bytes;
      if (bytes === 2) this.#view.setUint16(at, value & 0xffff, true);
      else this.#view.setUint32(at, value >>> 0, true);
    });
  }

  /** Replaces the low half of a register. */
  setWord(register: number, value: number): void {
    this.registers[register] = ((this.registers[register]! & 0xffff0000) | (value & 0xffff)) >>> 0;
  }
}

const le = (value: number, bytes: number): number[] =>
  Array.from({ length: bytes }, (_, i) => (value >> (8 * i)) & 255);

/** ModRM, SIB and displacement of a memory operand in the window; sets the registers that it needs. */
function memoryOperand(state: State, reg: number, narrow: boolean): number[] {
  const { prng, registers } = state;
  const displacement = state.small(32);
  const head = (mod: number, rm: number) => (mod << 6) | (reg << 3) | rm;
  if (narrow) {
    // What is above bit 15 must not matter.
    for (const i of [3, 5, 6, 7]) registers[i] = (registers[i]! | (prng.u32() << 16)) >>> 0;
    const rm = prng.below(8);
    if (rm < 4) state.setWord(rm & 1 ? 7 : 6, state.small(16));
    if (prng.below(3) === 0) return [head(0, 6), ...le(OPERAND, 2)];
    return prng.below(2) === 0 ? [head(1, rm), ...le(displacement, 1)] : [head(2, rm), ...le(displacement, 2)];
  }
  const base = prng.pick([3, 5, 6, 7]);
  switch (prng.below(6)) {
    case 0:
      return base === 5 ? [head(1, 5), 0] : [head(0, base)];
    case 1:
      return [head(1, base), ...le(displacement, 1)];
    case 2:
      return [head(2, base), ...le(displacement, 4)];
    case 3:
      return [head(0, 5), ...le(OPERAND, 4)];
    case 4:
      // ESP as the base, and no index.
      return [head(1, 4), 0x24, ...le(displacement, 1)];
    default: {
      const index = prng.below(3);
      registers[index] = state.small(4) >>> 0;
      return [head(1, 4), (prng.below(4) << 6) | (index << 3) | base, ...le(displacement, 1)];
    }
  }
}

const nameOf = (ins: Instruction): string => Code[ins.code]!;
const isDoubleShift = (ins: Instruction): boolean => /^Sh[lr]d/.test(nameOf(ins));
const isSegment = (register: Register): boolean => register >= Register.ES && register <= Register.GS;

/** Bytes of immediates, distances and far pointers. */
function tail(state: State, ins: Instruction, direct: number): number[] {
  const { prng } = state;
  const bytes: number[] = [];
  for (let i = 0; i < ins.opCount; i++) {
    switch (ins.opKind(i)) {
      case OpKind.Immediate8:
        bytes.push(immediate8(state, ins));
        break;
      case OpKind.Immediate8_2nd:
        bytes.push(prng.below(5));
        break;
      case OpKind.Immediate8to16:
      case OpKind.Immediate8to32:
        bytes.push(prng.below(256));
        break;
      case OpKind.Immediate16:
        // What ENTER and RET move the stack by is small.
        bytes.push(...le(/^(Enter|Ret)/.test(nameOf(ins)) ? prng.below(16) * 4 : state.value(), 2));
        break;
      case OpKind.Immediate32:
        bytes.push(...le(state.value(), 4));
        break;
      case OpKind.NearBranch16:
      case OpKind.NearBranch32:
        bytes.push(...le(prng.below(64), direct));
        break;
      case OpKind.FarBranch16:
        bytes.push(...le(TARGET, 2), ...le(state.codeSelector(), 2));
        break;
      case OpKind.FarBranch32:
        bytes.push(...le(TARGET, 4), ...le(state.codeSelector(), 2));
        break;
      case OpKind.Memory:
        // An absolute offset, which is no ModRM byte's.
        if (ins.memoryBase === Register.None && direct > 0) bytes.push(...le(OPERAND, direct));
        break;
      default:
    }
  }
  return bytes;
}

function immediate8({ prng }: State, ins: Instruction): number {
  if (ins.mnemonic === Mnemonic.Int) return 0x20 + prng.below(0x60);
  // A count above a width of 16 bits leaves the result open.
  if (isDoubleShift(ins)) return prng.below(17);
  return prng.below(3) === 0 ? prng.below(32) : prng.below(256);
}

/** Puts into registers, memory and on the stack what lets an instruction get further than its first check. */
function prepare(state: State, ins: Instruction): void {
  const { prng, registers } = state;
  const aligned = MemorySizeExt.size(ins.memorySize) >= 16 && (state.benign || prng.below(2) === 0);
  if (aligned && ins.memoryBase !== Register.None) {
    // Most operands of 16 bytes and more have to be.
    registers[numberOf(ins.memoryBase)]! -= addressOf(state, ins) & 15;
  }
  const name = nameOf(ins);
  const stackBytes = /^(Ret[nf]|Iret|Pop|Popf)w/.test(name) ? 2 : 4;
  const flags = (prng.u32() & (ARITHMETIC | DF | ID | IOPL)) | 2;
  const inMemory = ins.opKind(0) === OpKind.Memory;
  const pointerBytes = /(m1616|rm16)$/.test(name) ? 2 : 4;
  if (name.startsWith('Retn')) state.put(STACK, stackBytes, TARGET);
  else if (name.startsWith('Retf')) state.put(STACK, stackBytes, TARGET, state.codeSelector());
  else if (name.startsWith('Iret')) state.put(STACK, stackBytes, TARGET, state.codeSelector(), flags);
  else if (name.startsWith('Popf')) state.put(STACK, stackBytes, flags);
  else if (/^Pop[wd]_[D-GS]S$/.test(name)) state.put(STACK, stackBytes, state.dataSelector());
  // The upper half is zero or stays what it was, depending on the processor (SDM vol. 2, "PUSH").
  else if (/^Pushd_[C-GS]S$/.test(name)) state.put(STACK - 4, 4, 0);
  else if (/^(Enter|Leave)/.test(name)) registers[5] = STACK - prng.below(8) * 4;
  else if (/^(Loop|J.*cxz)/.test(name)) registers[1] = prng.pick([0, 1, 2, 0x10000, 0x10001, 0xffff]);
  else if (TAKES_BIT_OFFSET.test(name)) bitOffset(state, ins);
  else if (name === 'Cmpxchg8b_m64') {
    if (prng.below(2) === 0) state.put(addressOf(state, ins), 4, registers[0]!, registers[2]!);
  } else if (/^(Call|Jmp)_(rm|m16)/.test(name)) {
    if (inMemory) state.put(addressOf(state, ins), pointerBytes, TARGET, state.codeSelector());
    else registers[numberOf(ins.op0Register)] = TARGET | (pointerBytes === 2 ? prng.u32() << 16 : 0);
  } else if (/^L[defgs]s_r/.test(name)) {
    state.put(addressOf(state, ins), pointerBytes, state.value(), state.dataSelector());
  } else if (isSegment(ins.op0Register) && name.startsWith('Mov')) {
    selectorOperand(state, ins, 1);
  } else if (/^(Lar|Lsl)/.test(name)) selectorOperand(state, ins, 1);
  else if (/^Ver/.test(name)) selectorOperand(state, ins, 0);
  else if (IS_DIVISION.test(name) && state.benign) divisible(state, ins);
  else if (name.startsWith('Bound') && state.benign) {
    const index = registers[numberOf(ins.op0Register)]!;
    state.put(addressOf(state, ins), name.endsWith('1616') ? 2 : 4, index, index);
  } else if (isDoubleShift(ins)) registers[1] = ((registers[1]! & ~31) | prng.below(17)) >>> 0;
  else if (ins.isStringInstruction) registers[1] = prng.below(7);
}

const numberOf = (register: Register): number => register - (isWord(register) ? Register.AX : Register.EAX);

/** A dividend of a few bits, and a divisor in memory or another register that is not zero. */
function divisible(state: State, ins: Instruction): void {
  const { registers } = state;
  if (ins.opKind(0) === OpKind.Memory) state.put(addressOf(state, ins), 4, 0x07070707);
  else registers[1] = registers[3] = 0x07070707;
  registers[0] = state.prng.below(200);
  registers[2] = 0;
}

/** A bit offset beyond the operand, but within the window. */
function bitOffset(state: State, ins: Instruction): void {
  const number = numberOf(ins.op1Register);
  if (ins.opKind(0) !== OpKind.Memory || number === numberOf(ins.memoryIndex)) return;
  if (isWord(ins.op1Register)) state.setWord(number, state.small(300));
  else state.registers[number] = state.small(300) >>> 0;
}

function selectorOperand(state: State, ins: Instruction, operand: number): void {
  const selector = state.dataSelector();
  if (ins.opKind(operand) === OpKind.Memory) state.put(addressOf(state, ins), 2, selector);
  else state.setWord(numberOf(ins.opRegister(operand)), selector);
}

function addressOf({ registers }: State, ins: Instruction): number {
  const { memoryBase, memoryIndex, memoryIndexScale } = ins;
  const read = (register: Register) => (register === Register.None ? 0 : registers[numberOf(register)]!);
  const displacement = Number(BigInt.asIntN(32, ins.memoryDisplacement));
  const sum = read(memoryBase) + read(memoryIndex) * memoryIndexScale + displacement;
  return isWord(memoryBase) || ins.memoryDisplSize === 2 ? sum & 0xffff : sum >>> 0;
}

/** Bits that the manual leaves undefined, or defines only for some counts. */
function undefinedFlags(ins: Instruction): number {
  let bits = 0;
  [0x800, 0x80, 0x40, 0x10, 1, 4].forEach((flag, i) => {
    if (ins.rflagsUndefined & (1 << i)) bits |= flag;
  });
  const name = nameOf(ins);
  if (/^(Sh|Sa|Ro|Rc)/.test(name)) bits |= 0x810;
  // Shifts by more than the operand's width.
  if (/^Sh/.test(name)) bits |= 1;
  return bits;
}

function makeCase(prng: Prng, form: Form, encoding: Encoding, benign: boolean): FormCase {
  const state = new State(prng, benign);
  const narrow = encoding.prefixes.includes(0x67);
  // Flat segments, so an override changes nothing; but the stack's faults are another's.
  const override = prng.below(6) === 0 ? [prng.pick([0x26, 0x36, 0x3e])] : [];
  const head = [...override, ...encoding.prefixes, ...encoding.opcode];
  if (encoding.modrm !== undefined) {
    // Divisors are to be ECX or EBX, or a byte of them.
    if (encoding.modrm >= 0xc0)
      head.push(benign && IS_DIVISION.test(form.key) ? (encoding.modrm & ~6) | 1 : encoding.modrm);
    // A bit offset in a register of the address would reach pages that are not the test's.
    else
      head.push(
        ...memoryOperand(state, TAKES_BIT_OFFSET.test(form.key) ? prng.below(3) : (encoding.modrm >> 3) & 7, narrow),
      );
  }
  const code = new Uint8Array(FORM_CODE_BYTES).fill(0xcc);
  const decode = (bytes: Uint8Array) => {
    const decoder = new Decoder(32, bytes, DECODER_OPTIONS);
    const ins = decoder.decode();
    decoder.free();
    return ins;
  };
  code.set(head);
  const first = decode(code);
  code.set(tail(state, first, encoding.modrm === undefined ? first.length - head.length : 0), head.length);
  first.free();
  const ins = decode(code);
  code.fill(0xcc, ins.length);
  prepare(state, ins);
  const { registers, eflags, memory } = state;
  const flagsMask = ~undefinedFlags(ins) & (ARITHMETIC | DF | ID);
  const result = { form: form.key, text: ins.toString(), code, registers, eflags, memory, flagsMask };
  ins.free();
  return result;
}

/** The cases, in order. `covered` says which forms other recordings show. */
export function* formCases(covered: ReadonlySet<string>): Generator<FormCase, void, undefined> {
  const prng = new Prng(SEED);
  for (const form of allForms()) {
    if (covered.has(form.key) || NOT_HERE.has(form.mnemonic)) continue;
    for (let copy = 0; copy < COPIES; copy++) yield makeCase(prng, form, prng.pick(form.encodings), copy === 0);
  }
}
