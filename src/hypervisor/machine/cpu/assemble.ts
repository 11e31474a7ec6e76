/**
 * A small 32-bit assembler in Intel syntax, for the monitor's own code (ROM stubs, emulation sequences) and for tests.
 *
 * Encoding is iced-x86's: a line is parsed into operands, matched against the operand kinds that iced's opcode table lists
 * for the mnemonic, and the shortest encoding that accepts the operands wins. Nothing here knows what an instruction does.
 *
 *     const { bytes, labels } = assemble(0x1000, `
 *       start:  mov eax, gs:[ecx*8+0x10]   ; a comment
 *               jnz start                  ; direct jumps are long unless "short" is written
 *               jmp short done
 *               lock xadd [ebx], eax
 *               rep movsd
 *               db 0x90, 0x90
 *               dd done
 *       done:   int 0xf0
 *     `);
 *
 * Memory size is taken from a register operand or from `byte|word|dword|qword`; `eax` and friends, segment registers,
 * `cr0`, `dr7` are named as in the manual; far pointers are `sel:offset`. Symbols may be used wherever a number may, also
 * as `symbol+n`. Errors throw with the line.
 */
import {
  Code,
  CodeExt,
  Encoder,
  Instruction,
  OpCodeOperandKind as K,
  MemoryOperand,
  Mnemonic,
  Register,
} from 'iced-x86';

export interface Assembled {
  readonly bytes: Uint8Array;
  /** Addresses of the labels. */
  readonly labels: ReadonlyMap<string, number>;
}

type Operand =
  | { readonly kind: 'reg'; readonly reg: Register; readonly size: number }
  | { readonly kind: 'imm'; readonly value: number; readonly short: boolean; readonly symbolic: boolean }
  | { readonly kind: 'far'; readonly selector: number; readonly offset: number }
  | {
      readonly kind: 'mem';
      readonly size: number;
      readonly base: Register;
      readonly index: Register;
      readonly scale: number;
      readonly displacement: number;
      readonly segment: Register;
      readonly symbolic: boolean;
    };

const names = (list: string, size: number): [string, number][] => list.split(' ').map(name => [name, size]);
const REGISTER_SIZES = new Map<string, number>([
  ...names('al cl dl bl ah ch dh bh', 1),
  ...names('ax cx dx bx sp bp si di es cs ss ds fs gs', 2),
  ...names('eax ecx edx ebx esp ebp esi edi cr0 cr2 cr3 cr4 dr0 dr1 dr2 dr3 dr6 dr7', 4),
]);
const registerNamed = (name: string): Register =>
  (Register as unknown as Record<string, Register>)[name.toUpperCase()]!;
const SIZES: Readonly<Record<string, number>> = { byte: 1, word: 2, dword: 4, fword: 6, qword: 8 };
const MNEMONIC_ALIASES: Readonly<Record<string, string>> = {
  jz: 'je',
  jnz: 'jne',
  jc: 'jb',
  jnc: 'jae',
  jnae: 'jb',
  jnb: 'jae',
  jna: 'jbe',
  jnbe: 'ja',
  jnge: 'jl',
  jnl: 'jge',
  jng: 'jle',
  jnle: 'jg',
  jpe: 'jp',
  jpo: 'jnp',
  setz: 'sete',
  setnz: 'setne',
  setc: 'setb',
  setnc: 'setae',
  cmovz: 'cmove',
  cmovnz: 'cmovne',
  cmovc: 'cmovb',
  cmovnc: 'cmovae',
  retn: 'ret',
  loopz: 'loope',
  loopnz: 'loopne',
  pusha: 'pushad',
  popa: 'popad',
  pushf: 'pushfd',
  popf: 'popfd',
  iret: 'iretd',
  sal: 'shl',
  callf: 'call',
  jmpf: 'jmp',
};
/** Implicit operands which iced's opcode table lists but nobody writes. */
const STRING_CODES: Readonly<Record<string, string>> = {
  movsb: 'createMovsb',
  movsw: 'createMovsw',
  movsd: 'createMovsd',
  stosb: 'createStosb',
  stosw: 'createStosw',
  stosd: 'createStosd',
  lodsb: 'createLodsb',
  lodsw: 'createLodsw',
  lodsd: 'createLodsd',
  scasb: 'createScasb',
  scasw: 'createScasw',
  scasd: 'createScasd',
  cmpsb: 'createCmpsb',
  cmpsw: 'createCmpsw',
  cmpsd: 'createCmpsd',
  insb: 'createInsb',
  insw: 'createInsw',
  insd: 'createInsd',
  outsb: 'createOutsb',
  outsw: 'createOutsw',
  outsd: 'createOutsd',
};

interface Form {
  readonly code: Code;
  readonly kinds: readonly K[];
}

/**
 * iced has some 4,700 codes, and tells what each is in a dozen calls. The names of a code and of its mnemonic begin alike: only codes
 * with the two first letters of a mnemonic are asked.
 */
const LETTERS = 2;
let codesByLetters: Map<string, Code[]> | undefined;
function codesLike(mnemonic: string): readonly Code[] {
  if (codesByLetters === undefined) {
    codesByLetters = new Map();
    for (const [name, value] of Object.entries(Code)) {
      if (typeof value !== 'number') continue;
      const letters = name.slice(0, LETTERS).toLowerCase();
      const list = codesByLetters.get(letters);
      if (list === undefined) codesByLetters.set(letters, [value]);
      else list.push(value);
    }
  }
  return codesByLetters.get(mnemonic.slice(0, LETTERS)) ?? [];
}

/** Every 32-bit encoding of a mnemonic (lower case). */
const formsByMnemonic = new Map<string, readonly Form[]>();
function formsOf(mnemonic: string): readonly Form[] {
  const known = formsByMnemonic.get(mnemonic);
  if (known !== undefined) return known;
  const forms: Form[] = [];
  for (const code of codesLike(mnemonic)) {
    const info = CodeExt.opCode(code);
    if (
      info.isInstruction &&
      info.mode32 &&
      info.encoding === 0 &&
      Mnemonic[info.mnemonic]!.toLowerCase() === mnemonic
    ) {
      forms.push({ code, kinds: Array.from({ length: info.opCount }, (_, i) => info.opKind(i)) });
    }
    info.free();
  }
  formsByMnemonic.set(mnemonic, forms);
  return forms;
}

const FIXED: ReadonlyMap<K, Register> = new Map([
  [K.al, Register.AL],
  [K.cl, Register.CL],
  [K.ax, Register.AX],
  [K.dx, Register.DX],
  [K.eax, Register.EAX],
  [K.es, Register.ES],
  [K.cs, Register.CS],
  [K.ss, Register.SS],
  [K.ds, Register.DS],
  [K.fs, Register.FS],
  [K.gs, Register.GS],
]);
const REGISTER_KINDS: ReadonlyMap<K, number> = new Map([
  [K.r8_reg, 1],
  [K.r8_or_mem, 1],
  [K.r8_opcode, 1],
  [K.r16_reg, 2],
  [K.r16_or_mem, 2],
  [K.r16_opcode, 2],
  [K.r16_rm, 2],
  [K.r32_reg, 4],
  [K.r32_or_mem, 4],
  [K.r32_opcode, 4],
  [K.r32_rm, 4],
]);
const MEMORY_KINDS: ReadonlyMap<K, number> = new Map([
  [K.mem, 0],
  [K.r8_or_mem, 1],
  [K.r16_or_mem, 2],
  [K.r32_or_mem, 4],
]);

/** How well an operand fits a kind: undefined not at all, else the immediate's width in bytes (0 for other operands). */
function matchOperand(kind: K, operand: Operand, operandSize: number): number | undefined {
  if (operand.kind === 'reg') {
    if (FIXED.has(kind)) return FIXED.get(kind) === operand.reg ? 0 : undefined;
    const name = Register[operand.reg]!;
    if (kind === K.seg_reg) return /^[CDEFGS]S$/.test(name) ? 0 : undefined;
    if (kind === K.cr_reg) return name.startsWith('CR') ? 0 : undefined;
    if (kind === K.dr_reg) return name.startsWith('DR') ? 0 : undefined;
    if (/^([CDEFGS]S|[CD]R\d)$/.test(name)) return undefined;
    return REGISTER_KINDS.get(kind) === operand.size ? 0 : undefined;
  }
  if (operand.kind === 'mem') {
    const size = MEMORY_KINDS.get(kind);
    if (size === undefined) return undefined;
    return size === 0 || operand.size === 0 || operand.size === size ? 0 : undefined;
  }
  if (operand.kind === 'far') return kind === K.farbr4_2 ? 0 : undefined;
  const { value, short, symbolic } = operand;
  const signed8 = value >= -128 && value <= 127;
  switch (kind) {
    // Long unless asked otherwise; JECXZ and LOOP have no long form.
    case K.br32_1:
      return short ? 1 : 100;
    case K.br32_4:
      return short ? undefined : 4;
    case K.imm8_const_1:
      return value === 1 && !symbolic ? 0 : undefined;
    case K.imm8:
      return !symbolic && value >= -128 && value <= 255 ? 1 : undefined;
    case K.imm8sex16:
    case K.imm8sex32: {
      const wrapped = operandSize === 2 ? (value << 16) >> 16 : value | 0;
      return !symbolic && (signed8 || (wrapped >= -128 && wrapped <= 127)) ? 1 : undefined;
    }
    case K.imm16:
      return !symbolic && value >= -32768 && value <= 65535 ? 2 : undefined;
    case K.imm32:
      return 4;
    default:
      return undefined;
  }
}

class Line {
  constructor(
    readonly text: string,
    readonly number: number,
  ) {}
  fail(why: string): never {
    throw new Error(`line ${this.number}: ${why}: ${this.text.trim()}`);
  }
}

type Symbols = (name: string, line: Line) => number;

/** A sum of numbers and symbols, as int32 or unsigned. */
function evaluate(text: string, symbols: Symbols, line: Line): { value: number; symbolic: boolean } {
  const terms = text.replace(/\s+/g, '').match(/[+-]?[^+-]+/g) ?? line.fail('empty expression');
  let value = 0;
  let symbolic = false;
  for (const term of terms) {
    const sign = term.startsWith('-') ? -1 : 1;
    const body = term.replace(/^[+-]/, '');
    if (/^(0x[0-9a-f]+|\d+)$/i.test(body)) value += sign * Number(body);
    else if (/^[a-z_.$][\w.$]*$/i.test(body)) {
      value += sign * symbols(body, line);
      symbolic = true;
    } else line.fail(`bad expression "${text}"`);
  }
  return { value, symbolic };
}

function parseOperand(text: string, symbols: Symbols, line: Line): Operand {
  const memory =
    /^(?:(byte|word|dword|fword|qword)\s+)?(?:ptr\s+)?(?:([c-gs]s)\s*:)?\s*\[(?:([c-gs]s)\s*:)?(.*)\]$/i.exec(text);
  if (memory) {
    let base: Register = Register.None;
    let index: Register = Register.None;
    let scale = 1;
    const rest: string[] = [];
    for (const term of memory[4]!.replace(/\s+/g, '').match(/[+-]?[^+-]+/g) ?? []) {
      const body = term.replace(/^\+/, '').toLowerCase();
      const scaled = /^(e\w\w)\*([1248])$/.exec(body);
      if (scaled) {
        index = registerNamed(scaled[1]!);
        scale = Number(scaled[2]);
      } else if (REGISTER_SIZES.get(body) === 4) {
        if (base === Register.None) base = registerNamed(body);
        else index = registerNamed(body);
      } else rest.push(term.startsWith('-') || term.startsWith('+') ? term : `+${term}`);
    }
    const { value, symbolic } = rest.length ? evaluate(rest.join(''), symbols, line) : { value: 0, symbolic: false };
    const segment = memory[2] ?? memory[3];
    return {
      kind: 'mem',
      size: memory[1] ? SIZES[memory[1].toLowerCase()]! : 0,
      base,
      index,
      scale,
      displacement: value | 0,
      segment: segment ? registerNamed(segment) : Register.None,
      symbolic,
    };
  }
  const size = REGISTER_SIZES.get(text.toLowerCase());
  if (size !== undefined) return { kind: 'reg', reg: registerNamed(text), size };
  const far = /^([^[\]]+):([^[\]]+)$/.exec(text);
  if (far) {
    return {
      kind: 'far',
      selector: evaluate(far[1]!, symbols, line).value,
      offset: evaluate(far[2]!, symbols, line).value,
    };
  }
  const short = /^short\s+(.*)$/i.exec(text);
  return { kind: 'imm', short: short !== null, ...evaluate(short?.[1] ?? text, symbols, line) };
}

function memoryOperand(operand: Extract<Operand, { kind: 'mem' }>): MemoryOperand {
  const bare = operand.base === Register.None && operand.index === Register.None;
  const size = bare || operand.symbolic ? 4 : operand.displacement === 0 ? 0 : 1;
  return new MemoryOperand(
    operand.base,
    operand.index,
    operand.scale,
    BigInt(operand.displacement),
    size,
    false,
    operand.segment,
  );
}

function build(form: Form, operands: readonly Operand[], line: Line): Instruction {
  const [a, b, c] = operands;
  const { code } = form;
  if (a?.kind === 'imm' && (form.kinds[0] === K.br32_1 || form.kinds[0] === K.br32_4)) {
    return Instruction.createBranch(code, BigInt(a.value >>> 0));
  }
  if (a?.kind === 'far') return Instruction.createFarBranch(code, a.selector & 0xffff, a.offset >>> 0);
  const memory = operands.find(operand => operand.kind === 'mem');
  const mo = memory ? memoryOperand(memory) : undefined;
  const imm = (operand: Operand): number =>
    operand.kind === 'imm' ? operand.value | 0 : line.fail('immediate expected');
  const reg = (operand: Operand): Register => (operand.kind === 'reg' ? operand.reg : line.fail('register expected'));
  // Creating an instruction consumes its MemoryOperand.
  const shape = operands.map(operand => operand.kind[0]).join('');
  switch (shape) {
    case '':
      return Instruction.create(code);
    case 'r':
      return Instruction.createReg(code, reg(a!));
    case 'm':
      return Instruction.createMem(code, mo!);
    case 'i':
      return Instruction.createI32(code, imm(a!));
    case 'ii':
      return Instruction.createI32I32(code, imm(a!), imm(b!));
    case 'rr':
      return Instruction.createRegReg(code, reg(a!), reg(b!));
    case 'ri':
      return Instruction.createRegI32(code, reg(a!), imm(b!));
    case 'ir':
      return Instruction.createI32Reg(code, imm(a!), reg(b!));
    case 'rm':
      return Instruction.createRegMem(code, reg(a!), mo!);
    case 'mr':
      return Instruction.createMemReg(code, mo!, reg(b!));
    case 'mi':
      return Instruction.createMemI32(code, mo!, imm(b!));
    case 'rri':
      return Instruction.createRegRegI32(code, reg(a!), reg(b!), imm(c!));
    case 'rrr':
      return Instruction.createRegRegReg(code, reg(a!), reg(b!), reg(c!));
    case 'rmi':
      return Instruction.createRegMemI32(code, reg(a!), mo!, imm(c!));
    case 'mri':
      return Instruction.createMemRegI32(code, mo!, reg(b!), imm(c!));
    case 'mrr':
      return Instruction.createMemRegReg(code, mo!, reg(b!), reg(c!));
    default:
      return line.fail(`operands not supported (${shape})`);
  }
}

/** Picks the first form whose encoding is shortest, judging immediates by width and preferring accumulator short forms. */
function choose(mnemonic: string, operands: readonly Operand[], line: Line): Form {
  const operandSize = operands.reduce((size, o) => size || (o.kind === 'reg' || o.kind === 'mem' ? o.size : 0), 0);
  const first = operands[0];
  let best: Form | undefined;
  let bestCost = Infinity;
  for (const form of formsOf(mnemonic)) {
    if (form.kinds.length !== operands.length) continue;
    // Without any size, word and byte forms of memory operands would be ambiguous: the default is dword.
    const name = Code[form.code]!;
    if (
      operandSize === 0 &&
      first?.kind === 'mem' &&
      /(rm8|rm16|m16)/.test(name) &&
      !/^(Lgdt|Lidt|Sgdt|Sidt)/.test(name)
    )
      continue;
    if (/_m?ptr1616|_m1616|rel16|^(Push|Pop)[adf]*w$|^Pushw|^Popw|^Iretw|^Retnw|^Retfw/.test(name)) continue;
    if (/^(Push|Pop)w_|^Retnw|^Enterw|^Leavew|^Nopw|_16$|_CX$|486_/.test(name)) continue;
    let cost = 0;
    for (let i = 0; i < operands.length; i++) {
      const width = matchOperand(form.kinds[i]!, operands[i]!, operandSize);
      if (width === undefined) {
        cost = Infinity;
        break;
      }
      cost += width * 4 + (FIXED.has(form.kinds[i]!) ? 0 : 1);
    }
    if (/_imm16$/.test(name) && /^Push/.test(name)) continue;
    if (cost < bestCost) {
      best = form;
      bestCost = cost;
    }
  }
  return best ?? line.fail('no such instruction or operands');
}

const split = (text: string): string[] => {
  const parts: string[] = [];
  let depth = 0;
  let current = '';
  for (const char of text) {
    if (char === '[') depth += 1;
    if (char === ']') depth -= 1;
    if (char === ',' && depth === 0) {
      parts.push(current.trim());
      current = '';
    } else current += char;
  }
  if (current.trim() !== '') parts.push(current.trim());
  return parts;
};

/** Encodes one statement at `address`. */
function encode(statement: string, address: number, symbols: Symbols, line: Line): Uint8Array {
  let text = statement;
  let prefix = '';
  const prefixed = /^(lock|repe|repz|repne|repnz|rep)\s+(.*)$/i.exec(text);
  if (prefixed) {
    prefix = prefixed[1]!.toLowerCase();
    text = prefixed[2]!;
  }
  const [, rawMnemonic, rest] = /^(\w+)\s*(.*)$/s.exec(text) ?? line.fail('syntax');
  const written = rawMnemonic!.toLowerCase();
  const mnemonic = MNEMONIC_ALIASES[written] ?? written;
  const data = { db: 1, dw: 2, dd: 4 }[mnemonic];
  if (data !== undefined) {
    const out: number[] = [];
    for (const item of split(rest!)) {
      const { value } = evaluate(item, symbols, line);
      for (let i = 0; i < data; i++) out.push((value >>> (8 * i)) & 255);
    }
    return Uint8Array.from(out);
  }
  const operands = split(rest!).map(part => parseOperand(part, symbols, line));
  // iced lists these with the memory operand first; the operation is symmetric.
  if ((mnemonic === 'xchg' || mnemonic === 'test') && operands[1]?.kind === 'mem') operands.reverse();
  const creator = operands.length === 0 ? STRING_CODES[mnemonic] : undefined;
  let instruction: Instruction;
  if (creator) {
    const create = (Instruction as unknown as Record<string, (bits: number, a?: unknown, b?: unknown) => Instruction>)[
      creator
    ]!;
    instruction = create.length >= 3 ? create(32, Register.None, 0) : create(32, 0);
  } else {
    instruction = build(choose(mnemonic, operands, line), operands, line);
  }
  if (prefix === 'lock') instruction.hasLockPrefix = true;
  if (prefix === 'rep' || prefix === 'repe' || prefix === 'repz') instruction.hasRepPrefix = true;
  if (prefix === 'repne' || prefix === 'repnz') instruction.hasRepnePrefix = true;
  const encoder = new Encoder(32);
  try {
    encoder.encode(instruction, BigInt(address >>> 0));
    return encoder.takeBuffer();
  } catch (error) {
    return line.fail(String(error));
  } finally {
    encoder.free();
    instruction.free();
  }
}

/**
 * Assembles `source` for execution at linear address `origin` (unsigned). `symbols` are predefined names. Throws `Error` with
 * the line number and text for anything that cannot be encoded. `encoded`: statements whose bytes depend on nothing but their text;
 * whoever assembles several similar sources hands them on.
 */
export function assemble(
  origin: number,
  source: string,
  symbols: Readonly<Record<string, number>> = {},
  encoded: Map<string, Uint8Array> = new Map(),
): Assembled {
  const labels = new Map<string, number>();
  const statements: { readonly line: Line; readonly text: string }[] = [];
  const lines = source.split('\n');
  const layout: { label?: string; statement?: number }[] = [];
  lines.forEach((raw, at) => {
    const line = new Line(raw, at + 1);
    let text = raw.replace(/[;#].*$/, '').trim();
    for (;;) {
      const match = /^([a-z_.$][\w.$]*):(?!\S*\])\s*(.*)$/i.exec(text);
      if (match === null || REGISTER_SIZES.has(match[1]!.toLowerCase())) break;
      layout.push({ label: match[1]! });
      text = match[2]!;
    }
    if (text !== '') {
      layout.push({ statement: statements.length });
      statements.push({ line, text });
    }
  });
  // Lengths do not depend on label values (symbolic operands take their longest form), so two passes suffice.
  const known = (name: string): number | undefined => symbols[name] ?? labels.get(name);
  const pass = (final: boolean): Uint8Array[] => {
    let address = origin;
    const out: Uint8Array[] = [];
    for (const item of layout) {
      if (item.label !== undefined) labels.set(item.label, address);
      else {
        const { line, text } = statements[item.statement!]!;
        const here = address;
        let symbolic = false;
        const bytes =
          encoded.get(text) ??
          encode(
            text,
            here,
            (name, at) => {
              symbolic = true;
              if (name === '$') return here;
              const value = known(name);
              return value ?? (final ? at.fail(`unknown symbol "${name}"`) : here);
            },
            line,
          );
        // A direct branch to a number depends on the address as well.
        if (!symbolic && !/^(j|call|loop)/i.test(text)) encoded.set(text, bytes);
        out.push(bytes);
        address += bytes.length;
      }
    }
    return out;
  };
  pass(false);
  const chunks = pass(true);
  const bytes = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return { bytes, labels };
}
