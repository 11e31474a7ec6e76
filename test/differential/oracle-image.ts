/**
 * A multiboot image that executes thousands of single instructions, each from a known state, and leaves what every one of
 * them did in a table of results. The same image runs in QEMU once (`record.ts`, results committed under fixtures/oracle/)
 * and on our processor in every test run: the tables must be equal, except for bits that the manual leaves undefined.
 *
 *     for each case:   load flags and registers -> the instruction -> store registers, flags, a checksum of the operand memory
 *     on an exception: the handler stores the same, plus vector, error code, CR2 and EIP relative to the instruction
 *
 * After the last case the image writes the table to port 0xE9 (QEMU's debug console) and halts with interrupts off.
 */
import { Decoder, DecoderOptions } from 'iced-x86';
import { Prng } from '../../src/hypervisor/base/prng.js';
import { assemble } from '../../src/hypervisor/machine/cpu/assemble.js';

export const LOAD_ADDRESS = 0x100000;
/** Operand memory: 64 bytes, filled anew before every case. */
export const SCRATCH = 0x80000;
export const RESULTS = 0x1000000;
export const RECORD_WORDS = 14;
const STACK_TOP = 0x90000;
const RESUME = 0x70000;
const CASE_EIP = 0x70004;
const IDT = 0x60000;

/** Names of the words of one record, in order. */
export const RECORD_FIELDS = [
  'eax',
  'ecx',
  'edx',
  'ebx',
  'esp',
  'ebp',
  'esi',
  'edi',
  'eflags',
  'vector',
  'error',
  'eip',
  'cr2',
  'memory',
] as const;

export interface OracleCase {
  readonly text: string;
  readonly code: Uint8Array;
  /** Bits of EFLAGS that the manual defines after this instruction. */
  readonly flagsMask: number;
  /** Bits of EAX that the manual defines: LAR leaves those of the limit open. */
  readonly eaxMask: number;
}

export interface OracleImage {
  readonly bytes: Uint8Array;
  readonly cases: readonly OracleCase[];
}

const ARITHMETIC = 0x8d5;
const INTERESTING = [
  0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffffe,
];

export interface Template {
  readonly text: string;
  /** Keep ECX small where it counts iterations. */
  readonly ecxBelow?: number;
  /** Bits that are undefined only in some cases which iced does not tell apart. */
  readonly undefinedFlags?: number;
  readonly repeat?: number;
}

const R32 = ['eax', 'ecx', 'edx', 'ebp', 'esi', 'edi'];
const R16 = ['ax', 'cx', 'dx', 'bp', 'si', 'di'];
const R8 = ['al', 'cl', 'dl', 'ah', 'ch', 'dh'];
const CONDITIONS = ['o', 'no', 'b', 'ae', 'e', 'ne', 'be', 'a', 's', 'ns', 'p', 'np', 'l', 'ge', 'le', 'g'];
// Memory operands go through EBX, which points into the scratch area.
const MEM = ['[ebx]', '[ebx+4]', '[ebx-3]'];

export function instructionTemplates(prng: Prng): Template[] {
  const list: Template[] = [];
  const add = (text: string, more: Omit<Template, 'text'> = {}) => list.push({ text, ...more });
  const imm = (bits: number) =>
    bits === 8 ? prng.below(256) - 128 : prng.pick([...INTERESTING.slice(0, 11), prng.u32() >>> (32 - bits)]);
  const sizes = [
    { regs: R8, name: 'byte', bits: 8 },
    { regs: R16, name: 'word', bits: 16 },
    { regs: R32, name: 'dword', bits: 32 },
  ];
  for (const { regs, name, bits } of sizes) {
    const reg = () => prng.pick(regs);
    const mem = () => `${name} ${prng.pick(MEM)}`;
    const constant = () => (bits === 8 ? prng.below(128) : bits === 16 ? prng.below(0x8000) : imm(32));
    for (const op of ['add', 'or', 'adc', 'sbb', 'and', 'sub', 'xor', 'cmp']) {
      for (let i = 0; i < 6; i++) add(`${op} ${reg()}, ${reg()}`);
      for (let i = 0; i < 3; i++) add(`${op} ${reg()}, ${mem()}`);
      for (let i = 0; i < 3; i++) add(`${op} ${mem()}, ${reg()}`);
      for (let i = 0; i < 3; i++) add(`${op} ${reg()}, ${constant()}`);
      for (let i = 0; i < 2; i++) add(`${op} ${mem()}, ${constant()}`);
      if (op !== 'cmp') add(`lock ${op} ${mem()}, ${reg()}`);
    }
    for (let i = 0; i < 4; i++) add(`test ${reg()}, ${reg()}`);
    add(`test ${mem()}, ${constant()}`);
    for (const op of ['inc', 'dec', 'neg', 'not']) {
      for (let i = 0; i < 4; i++) add(`${op} ${reg()}`);
      for (let i = 0; i < 2; i++) add(`${op} ${mem()}`);
    }
    for (const op of ['shl', 'shr', 'sar', 'rol', 'ror', 'rcl', 'rcr']) {
      // OF is defined for counts of one only, AF never; shifts by more than the width leave CF undefined.
      const long = { undefinedFlags: 0x810 };
      for (let i = 0; i < 3; i++)
        add(`${op} ${reg()}, 1`, op.length === 3 && op[0] === 's' ? { undefinedFlags: 0x10 } : {});
      for (let i = 0; i < 8; i++) add(`${op} ${reg()}, ${prng.below(bits)}`, long);
      for (let i = 0; i < 4; i++) add(`${op} ${mem()}, ${prng.below(bits)}`, long);
      for (let i = 0; i < 8; i++)
        add(`${op} ${prng.pick(regs.filter(r => !/^[ce]?c[xlh]$/.test(r)))}, cl`, { ...long, ecxBelow: bits });
    }
    for (let i = 0; i < 6; i++) add(`mul ${reg()}`);
    for (let i = 0; i < 6; i++) add(`imul ${reg()}`);
    for (let i = 0; i < 2; i++) add(`mul ${mem()}`);
    for (let i = 0; i < 12; i++) add(`div ${reg()}`, { undefinedFlags: ARITHMETIC });
    for (let i = 0; i < 12; i++) add(`idiv ${reg()}`, { undefinedFlags: ARITHMETIC });
    for (let i = 0; i < 3; i++) add(`idiv ${mem()}`, { undefinedFlags: ARITHMETIC });
    for (let i = 0; i < 4; i++) add(`mov ${reg()}, ${reg()}`);
    for (let i = 0; i < 3; i++) add(`mov ${mem()}, ${reg()}`);
    for (let i = 0; i < 3; i++) add(`mov ${reg()}, ${mem()}`);
    add(`mov ${mem()}, ${constant()}`);
    for (let i = 0; i < 3; i++) add(`xchg ${reg()}, ${reg()}`);
    for (let i = 0; i < 3; i++) add(`xchg ${mem()}, ${reg()}`);
    for (let i = 0; i < 3; i++) add(`xadd ${mem()}, ${reg()}`);
    for (let i = 0; i < 3; i++) add(`lock xadd ${mem()}, ${reg()}`);
    for (let i = 0; i < 6; i++) add(`cmpxchg ${reg()}, ${reg()}`);
    for (let i = 0; i < 4; i++) add(`lock cmpxchg ${mem()}, ${reg()}`);
    if (bits > 8) {
      for (let i = 0; i < 6; i++) add(`imul ${reg()}, ${reg()}`);
      for (let i = 0; i < 4; i++) add(`imul ${reg()}, ${mem()}, ${constant()}`);
      for (const op of ['bt', 'bts', 'btr', 'btc']) {
        const undefinedFlags = ARITHMETIC & ~1 & ~0x40;
        for (let i = 0; i < 4; i++) add(`${op} ${reg()}, ${reg()}`, { undefinedFlags });
        for (let i = 0; i < 4; i++) add(`${op} ${mem()}, ${prng.below(256) & (bits - 1)}`, { undefinedFlags });
        // The bit offset in a register reaches outside the operand: ECX stays within the scratch area.
        for (let i = 0; i < 6; i++)
          add(`${op} ${mem()}, ${bits === 16 ? 'cx' : 'ecx'}`, { undefinedFlags, ecxBelow: 200 });
      }
      for (const op of ['bsf', 'bsr']) for (let i = 0; i < 5; i++) add(`${op} ${reg()}, ${reg()}`);
      for (const op of ['shld', 'shrd']) {
        for (let i = 0; i < 6; i++)
          add(`${op} ${reg()}, ${reg()}, ${1 + prng.below(bits - 1)}`, { undefinedFlags: 0x810 });
        for (let i = 0; i < 3; i++) add(`${op} ${mem()}, ${reg()}, cl`, { undefinedFlags: 0x810, ecxBelow: bits });
      }
      for (const cc of CONDITIONS) for (let i = 0; i < 3; i++) add(`cmov${cc} ${reg()}, ${reg()}`);
      for (const op of ['movzx', 'movsx']) {
        for (let i = 0; i < 4; i++) add(`${op} ${reg()}, ${prng.pick(R8)}`);
        for (let i = 0; i < 2; i++) add(`${op} ${reg()}, byte ${prng.pick(MEM)}`);
      }
    }
  }
  for (const op of ['movzx', 'movsx']) {
    for (let i = 0; i < 4; i++) add(`${op} ${prng.pick(R32)}, ${prng.pick(R16)}`);
    add(`${op} ${prng.pick(R32)}, word [ebx+2]`);
  }
  for (const cc of CONDITIONS) {
    for (let i = 0; i < 4; i++) add(`set${cc} ${prng.pick(R8)}`);
    add(`set${cc} byte [ebx+1]`);
    // A taken jump skips the increment.
    for (let i = 0; i < 4; i++) add(`j${cc} short $+3\ninc edx`);
  }
  for (const op of [
    'cbw',
    'cwde',
    'cwd',
    'cdq',
    'lahf',
    'sahf',
    'clc',
    'stc',
    'cmc',
    'cld',
    'std',
    'aaa',
    'aas',
    'daa',
    'das',
    'nop',
  ]) {
    const undefinedFlags = /^aa/.test(op) ? ARITHMETIC & ~0x11 : /^da/.test(op) ? 0x800 : 0;
    for (let i = 0; i < 6; i++) add(op, { undefinedFlags });
  }
  for (let i = 0; i < 6; i++) add(`aam ${10 + prng.below(6)}`, { undefinedFlags: 0x811 });
  for (let i = 0; i < 6; i++) add(`aad ${10 + prng.below(6)}`, { undefinedFlags: 0x811 });
  add('aam 0', { undefinedFlags: ARITHMETIC });
  for (const r of R32) add(`bswap ${r}`);
  for (let i = 0; i < 8; i++) {
    const [a, b] = [prng.pick(R32), prng.pick(R32)];
    add(`lea ${prng.pick(R32)}, [${a}+${b}*${prng.pick([1, 2, 4, 8])}+${prng.below(0x10000)}]`);
  }
  for (const r of ['eax', 'esi', 'esp']) add(`push ${r}`);
  for (const r of ['eax', 'ebp']) add(`push ${r}\npop ecx`);
  add('push dword [ebx]\npop edx');
  add('push 0x12345678\npop dword [ebx+4]');
  add('push -5\npop eax');
  add('push ax\npop dx');
  add('pushad\npopad');
  add('pushad\nadd esp, 32');
  add(`push ${STACK_TOP - 64}\npop esp`);
  add('push esp\npop eax');
  for (let i = 0; i < 6; i++) add('pushfd\npop eax');
  for (let i = 0; i < 12; i++) add('and eax, 0x40cd5\npush eax\npopfd', { undefinedFlags: 0x10 });
  add('enter 16, 0\nleave');
  add(`mov ebp, ${STACK_TOP - 64}\nenter 8, 3\nleave`);
  add('call $+7\nnop\nnop\npop eax');
  add('db 0xd7');
  for (let i = 0; i < 6; i++) add('lock cmpxchg8b [ebx]');
  add('mov eax, [ebx]\nmov edx, [ebx+4]\nlock cmpxchg8b [ebx]');
  for (const op of ['loop', 'loope', 'loopne', 'jecxz']) for (let i = 0; i < 3; i++) add(`${op} $+3\ninc edx`);
  for (const direction of ['cld', 'std']) {
    for (const op of [
      'movsb',
      'movsw',
      'movsd',
      'stosb',
      'stosw',
      'stosd',
      'lodsb',
      'lodsw',
      'lodsd',
      'scasb',
      'scasw',
      'scasd',
      'cmpsb',
      'cmpsw',
      'cmpsd',
    ]) {
      const setup = `${direction}\nmov esi, ${SCRATCH + 24}\nmov edi, ${SCRATCH + 32}\n`;
      add(`${setup}${op}`);
      add(`${setup}${/^(scas|cmps)/.test(op) ? 'repe ' : 'rep '}${op}`, { ecxBelow: 6, repeat: 2 });
      if (/^(scas|cmps)/.test(op)) add(`${setup}repne ${op}`, { ecxBelow: 6, repeat: 2 });
    }
  }
  for (const sreg of ['ds', 'es', 'fs', 'gs']) {
    add(`mov eax, 0x10\nmov ${sreg}, eax\nmov ecx, ${sreg}\nmov dx, ${sreg}`);
    add(`mov ax, 0x1b\nmov ${sreg}, ax\npush ${sreg}\npop eax\nmov cx, 0x10\nmov ${sreg}, cx`);
    add(`mov eax, 0x4000\nmov ${sreg}, eax`); // beyond the table: #GP(selector)
    add(`mov eax, 0x28\nmov ${sreg}, eax`); // not present
    add(`mov eax, 0x30\nmov ${sreg}, eax`); // a system descriptor
  }
  add('mov eax, 0\nmov ss, eax'); // null SS
  add('mov eax, 0x1b\nmov ss, eax'); // RPL 3 at CPL 0
  add('mov eax, 0x28\nmov ss, eax'); // not present: #SS
  add('int3');
  add('int 0x21');
  add('into', { repeat: 4 });
  add('ud2');
  add('bound eax, [ebx]', { repeat: 4 });
  add('mov eax, 0x12345\ndiv dl', { repeat: 3 });
  add('jmp 0x4000:0x100000');
  add('jmp 0x10:0x100000'); // a data segment
  add('call 0x28:0x100000');
  for (const selector of [0, 8, 0x10, 0x1b, 0x23, 0x28, 0x30, 0x38, 0x4000]) {
    add(`mov ecx, ${selector}\nlar eax, ecx`);
    add(`mov ecx, ${selector}\nlsl eax, ecx`);
    add(`mov ecx, ${selector}\nverr cx`);
    add(`mov ecx, ${selector}\nverw cx`);
  }
  for (let i = 0; i < 6; i++) add('arpl cx, dx');
  add('smsw eax');
  add('mov eax, cr0');
  add('mov eax, cr3');
  add('sldt eax');
  add('str eax');
  add('sgdt [ebx]');
  add('mov eax, 0x4000\nltr ax'); // beyond the table
  add('mov eax, 0x10\nltr ax');
  add('iretd', {}); // pops what lies on the stack: not a code selector
  return list;
}

/** Flags that iced reports as undefined after `bytes`, as EFLAGS bits. */
function undefinedFlagsOf(bytes: Uint8Array): number {
  const decoder = new Decoder(32, bytes, DecoderOptions.None);
  let undefinedBits = 0;
  // RflagsBits of iced: OF 1, SF 2, ZF 4, AF 8, CF 16, PF 32.
  const map: readonly (readonly [number, number])[] = [
    [1, 0x800],
    [2, 0x80],
    [4, 0x40],
    [8, 0x10],
    [16, 1],
    [32, 4],
  ];
  while (decoder.canDecode) {
    const instruction = decoder.decode();
    for (const [bit, flag] of map) if (instruction.rflagsUndefined & bit) undefinedBits |= flag;
    instruction.free();
  }
  decoder.free();
  return undefinedBits;
}

class Bytes {
  readonly #chunks: number[] = [];
  get length(): number {
    return this.#chunks.length;
  }
  u8(...values: number[]): void {
    for (const value of values) this.#chunks.push(value & 255);
  }
  u32(value: number): void {
    this.u8(value, value >>> 8, value >>> 16, value >>> 24);
  }
  append(bytes: Iterable<number>): void {
    for (const byte of bytes) this.#chunks.push(byte);
  }
  take(): Uint8Array {
    return Uint8Array.from(this.#chunks);
  }
}

/** Multiboot header with address fields (Multiboot 0.6.96, 3.1.3), then `code`, which begins at `LOAD_ADDRESS + 32`. */
export function multiboot(code: Uint8Array): Uint8Array {
  const header = new Bytes();
  const flags = 0x10000;
  for (const word of [0x1badb002, flags, -(0x1badb002 + flags), LOAD_ADDRESS, LOAD_ADDRESS, 0, 0, LOAD_ADDRESS + 32])
    header.u32(word);
  const image = new Uint8Array(32 + code.length);
  image.set(header.take());
  image.set(code, 32);
  return image;
}

const descriptor = (base: number, limit: number, access: number, flags: number): number[] => [
  limit & 255,
  (limit >> 8) & 255,
  base & 255,
  (base >> 8) & 255,
  (base >> 16) & 255,
  access,
  ((limit >> 16) & 15) | (flags << 4),
  base >>> 24,
];

/** Writes the table of results, whose end is stored at `endAt`, to the debug console and stops QEMU, or the processor. */
export const writeResults = (endAt: number): string => `
        mov edx, 0xe9
        mov esi, ${RESULTS}
        mov ecx, [${endAt}]
        sub ecx, esi
 putc:  lodsb
        out dx, al
        dec ecx
        jnz putc
        mov edx, 0xf4
        mov eax, 0
        out dx, al
 stop:  cli
        hlt
        jmp stop
`;

function prologue(): string {
  const stubs = Array.from({ length: 48 }, (_, vector) => {
    const hasError = vector === 8 || (vector >= 10 && vector <= 14) || vector === 17;
    return `v${vector}: ${hasError ? '' : 'push 0\n'}push ${vector}\njmp fault`;
  }).join('\n');
  const gdt = [
    ...descriptor(0, 0, 0, 0),
    ...descriptor(0, 0xfffff, 0x9b, 0xc), // 08 code
    ...descriptor(0, 0xfffff, 0x93, 0xc), // 10 data
    ...descriptor(0, 0xfffff, 0xf3, 0xc), // 18 user data
    ...descriptor(0, 0xfffff, 0xfb, 0xc), // 20 user code
    ...descriptor(0, 0xfffff, 0x13, 0xc), // 28 data, not present
    ...descriptor(0x1000, 0x67, 0x89, 0), // 30 an available TSS
    ...descriptor(0x2000, 0x123, 0x91, 0x4), // 38 read-only data, byte granular
  ];
  return `
        mov esp, ${STACK_TOP}
        lgdt [gdtr]
        jmp 0x08:flush
 flush: mov eax, 0x10
        mov ds, eax
        mov es, eax
        mov ss, eax
        mov fs, eax
        mov gs, eax
        mov edi, ${IDT}   ; IDT: 48 interrupt gates
        mov esi, stubs
        mov ecx, 48
 gate:  mov eax, [esi]
        mov [edi], ax
        mov word [edi+2], 0x08
        mov word [edi+4], 0x8e00
        shr eax, 16
        mov [edi+6], ax
        add esi, 4
        add edi, 8
        dec ecx
        jnz gate
        lidt [idtr]
        mov edi, ${RESULTS}
        jmp cases
 ${stubs}
 ; Frame: vector, error, eip, cs, eflags. All general registers are still those of the case but ESP.
 fault: cld
        mov [${RESUME + 16}], ebp
        mov [${RESUME + 20}], eax
        mov ebp, [${RESUME + 8}]
        mov [ebp], eax
        mov [ebp+4], ecx
        mov [ebp+8], edx
        mov [ebp+12], ebx
        lea eax, [esp+20]
        mov [ebp+16], eax
        mov eax, [${RESUME + 16}]
        mov [ebp+20], eax
        mov [ebp+24], esi
        mov [ebp+28], edi
        mov eax, [esp+16]
        mov [ebp+32], eax
        mov eax, [esp]
        mov [ebp+36], eax
        mov eax, [esp+4]
        mov [ebp+40], eax
        mov eax, [esp+8]
        sub eax, [${CASE_EIP}]
        mov [ebp+44], eax
        mov eax, cr2
        mov [ebp+48], eax
        mov eax, 0x10
        mov ds, eax
        mov es, eax
        mov fs, eax
        mov gs, eax
        jmp dword [${RESUME}]
 ; Reached without a fault, by CALL, with the case's registers and flags.
 store: mov [${RESUME + 16}], ebp
        mov ebp, [${RESUME + 8}]
        mov [ebp], eax
        mov [ebp+4], ecx
        mov [ebp+8], edx
        mov [ebp+12], ebx
        mov eax, [esp]              ; return address
        mov [${RESUME}], eax
        lea eax, [esp+4]
        mov [ebp+16], eax
        mov eax, [${RESUME + 16}]
        mov [ebp+20], eax
        mov [ebp+24], esi
        mov [ebp+28], edi
        mov esp, ${STACK_TOP}
        pushfd
        pop dword [ebp+32]
        mov dword [ebp+36], -1
        mov dword [ebp+40], 0
        mov dword [ebp+44], 0
        mov dword [ebp+48], 0
        cld
        jmp dword [${RESUME}]
 ; Checksum of the operand memory into the record, then on to the next record.
 sum:   xor eax, eax
        mov esi, ${SCRATCH}
        mov ecx, 16
 sumup: rol eax, 5
        xor eax, [esi]
        add esi, 4
        dec ecx
        jnz sumup
        mov ebp, [${RESUME + 8}]
        mov [ebp+52], eax
        add ebp, ${RECORD_WORDS * 4}
        mov [${RESUME + 8}], ebp
        ret
 fill:  mov edi, ${SCRATCH}
        mov ecx, 16
 fillup: imul eax, eax, 1103515245
        add eax, 12345
        mov [edi], eax
        add edi, 4
        dec ecx
        jnz fillup
        ret
 finish:
 ${writeResults(RESUME + 8)}
 gdtr:  dw ${gdt.length - 1}
        dd gdt
 idtr:  dw ${48 * 8 - 1}
        dd ${IDT}
 gdt:   db ${gdt.join(', ')}
 stubs: dd ${Array.from({ length: 48 }, (_, vector) => `v${vector}`).join(', ')}
 cases: mov dword [${RESUME + 8}], ${RESULTS}
`;
}

/** Builds the image for `seed`, with the cases that `templates` makes; the same seed always gives the same bytes. */
export function buildOracleImage(seed: number, variants: number, templates = instructionTemplates): OracleImage {
  const prng = new Prng(seed);
  const head = assemble(LOAD_ADDRESS + 32, prologue());
  const code = new Bytes();
  code.append(head.bytes);
  const cases: OracleCase[] = [];
  // Words that become known only behind the instruction that holds them.
  const pending: { at: number; value: number }[] = [];
  const here = () => LOAD_ADDRESS + 32 + code.length;
  const call = (label: string) => {
    code.u8(0xe8);
    code.u32(head.labels.get(label)! - (here() + 4));
  };
  const storeImmediate = (address: number, value: number) => {
    code.u8(0xc7, 0x05);
    code.u32(address);
    code.u32(value);
  };
  const value = () => (prng.below(2) ? prng.pick(INTERESTING) : prng.u32());
  for (let variant = 0; variant < variants; variant++) {
    for (const template of templates(prng)) {
      for (let copy = 0; copy < (template.repeat ?? 1); copy++) {
        // MOV EAX,seed; CALL fill
        code.u8(0xb8);
        code.u32(prng.u32());
        call('fill');
        const resumeAt = code.length + 6;
        storeImmediate(RESUME, 0);
        const eipAt = code.length + 6;
        storeImmediate(CASE_EIP, 0);
        // PUSH flags; POPFD with random arithmetic flags and DF clear
        code.u8(0x68);
        code.u32((prng.u32() & ARITHMETIC) | 2);
        code.u8(0x9d);
        const registers = [0, 1, 2, 3, 5, 6, 7];
        for (const register of registers) {
          let number = value();
          if (register === 3) number = SCRATCH + 16;
          if (register === 1 && template.ecxBelow !== undefined) number = prng.below(template.ecxBelow);
          code.u8(0xb8 + register);
          code.u32(number);
        }
        const start = here();
        const { bytes } = assemble(start, template.text);
        code.append(bytes);
        call('store');
        const resume = here();
        call('sum');
        // MOV ESP, STACK_TOP (a fault may have left a frame)
        code.u8(0xbc);
        code.u32(STACK_TOP);
        pending.push({ at: resumeAt, value: resume }, { at: eipAt, value: start });
        cases.push({
          text: template.text.replaceAll('\n', '; '),
          code: bytes,
          flagsMask:
            ~(undefinedFlagsOf(bytes) | (template.undefinedFlags ?? 0)) & (ARITHMETIC | 0x400 | 0x200 | 0x7000),
          eaxMask: template.text.includes('lar eax') ? ~0xf0000 : ~0,
        });
      }
    }
  }
  code.u8(0xe9);
  code.u32(head.labels.get('finish')! - (here() + 4));
  const bytes = code.take();
  const view = new DataView(bytes.buffer);
  for (const { at, value: word } of pending) view.setUint32(at, word, true);
  return { bytes: multiboot(bytes), cases };
}
