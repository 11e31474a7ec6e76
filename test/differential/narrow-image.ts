/**
 * The third image for QEMU and for us: instructions in 16-bit code, made from opcode bytes at random. `narrow-harness.S` runs
 * them in real mode and in protected mode with 16-bit and 32-bit code and stack segments, and leaves one record of
 * `NARROW_WORDS` words a case at `RESULTS`. Segments have large limits, since QEMU does not check limits of data segments;
 * limits are tested elsewhere.
 */
import { Decoder, DecoderOptions } from 'iced-x86';
import { Prng } from '../../src/hypervisor/base/prng.js';

export const NARROW_SEED = 386;
export const NARROW_FIELDS = [
  'edi',
  'esi',
  'ebp',
  'esp',
  'ebx',
  'edx',
  'ecx',
  'eax',
  'vector',
  'error',
  'eip',
  'cs',
  'eflags',
  'es:ds',
  'gs:fs',
  'memory',
] as const;
export const NARROW_WORDS = NARROW_FIELDS.length;

/** As the harness numbers them. */
const MODES = [
  'real mode',
  '16-bit code',
  '16-bit code, 32-bit stack',
  '32-bit code, 16-bit stack',
  'virtual-8086 mode',
  'virtual-8086 mode, IOPL 3',
] as const;
const REAL = 0;
const VIRTUAL = 4;
const CASES = [2600, 1400, 500, 900, 400, 1000] as const;
const CODE_BYTES = 22;

export interface NarrowCase {
  readonly text: string;
  readonly code: Uint8Array;
  readonly bitness: 16 | 32;
  /** Bits of EFLAGS that are compared. */
  readonly flagsMask: number;
}

const ARITHMETIC = 0x8d5;
const INTERESTING = [0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, -1, -2];

/** What follows an opcode. `i` one byte, `v` an immediate of operand size, `w` a word, `s` a count below 16, `o` an offset of address size. */
interface Shape {
  readonly opcode: readonly number[];
  readonly modrm?: { readonly digits?: readonly number[]; readonly memoryOnly?: boolean; readonly byte?: boolean };
  readonly tail?: string;
  /** Not with a 32-bit operand size: it would leave the code segment. */
  readonly narrowOnly?: boolean;
  /** Not with a 16-bit operand size: the result is undefined. */
  readonly wideOnly?: boolean;
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

function shapes(): Shape[] {
  const list: Shape[] = [];
  const add = (opcode: number[], more: Omit<Shape, 'opcode'> = {}) => list.push({ opcode, ...more });
  const byteRm = { byte: true };
  for (let op = 0; op < 8; op++) {
    add([op * 8], { modrm: byteRm });
    add([op * 8 + 1], { modrm: {} });
    add([op * 8 + 2], { modrm: byteRm });
    add([op * 8 + 3], { modrm: {} });
    add([op * 8 + 4], { tail: 'i' });
    add([op * 8 + 5], { tail: 'v' });
  }
  for (const op of [0x06, 0x0e, 0x16, 0x1e, 0x07, 0x1f, 0x27, 0x2f, 0x37, 0x3f]) add([op]);
  for (const op of [...range(0x40, 0x5b), ...range(0x5d, 0x5f), 0x60, 0x61, 0x60, 0x61])
    if (op !== 0x44 && op !== 0x4c) add([op]);
  add([0x62], { modrm: { memoryOnly: true } });
  add([0x63], { modrm: {} });
  add([0x68], { tail: 'v' });
  add([0x69], { modrm: {}, tail: 'v' });
  add([0x6a], { tail: 'i' });
  add([0x6b], { modrm: {}, tail: 'i' });
  for (const op of range(0x70, 0x7f)) add([op], { tail: 'j' });
  for (const op of [0x80, 0x82]) add([op], { modrm: { digits: range(0, 7), byte: true }, tail: 'i' });
  for (let i = 0; i < 3; i++) add([0x81], { modrm: { digits: range(0, 7) }, tail: 'v' });
  for (let i = 0; i < 3; i++) add([0x83], { modrm: { digits: range(0, 7) }, tail: 'i' });
  for (const op of [0x84, 0x86, 0x88, 0x8a]) add([op], { modrm: byteRm });
  for (const op of [0x85, 0x87, 0x89, 0x8b]) for (let i = 0; i < 3; i++) add([op], { modrm: {} });
  for (let i = 0; i < 3; i++) add([0x8c], { modrm: { digits: range(0, 7) } });
  add([0x8e], { modrm: { digits: [0, 1, 3, 4, 5] } });
  add([0x8d], { modrm: { memoryOnly: true } });
  add([0x8d], { modrm: {} });
  for (let i = 0; i < 3; i++) add([0x8f], { modrm: { digits: [0] } });
  for (const op of [0x90, 0x91, 0x92, 0x93, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f]) add([op]);
  for (const op of range(0xa0, 0xa3)) add([op], { tail: 'o' });
  for (const op of [...range(0xa4, 0xa7), ...range(0xaa, 0xaf)]) for (let i = 0; i < 4; i++) add([op]);
  add([0xa8], { tail: 'i' });
  add([0xa9], { tail: 'v' });
  for (const op of [0xb0, 0xb4, 0xb7]) add([op], { tail: 'i' });
  for (const op of [0xb8, 0xbb, 0xbf]) add([op], { tail: 'v' });
  for (const op of [0xc0, 0xd0, 0xd2])
    for (let i = 0; i < 4; i++) add([op], { modrm: { digits: range(0, 7), byte: true }, tail: op === 0xc0 ? 'i' : '' });
  for (const op of [0xc1, 0xd1, 0xd3])
    for (let i = 0; i < 6; i++) add([op], { modrm: { digits: range(0, 7) }, tail: op === 0xc1 ? 'i' : '' });
  for (let i = 0; i < 2; i++) add([0xc2], { tail: 'w', narrowOnly: true });
  for (let i = 0; i < 3; i++) add([0xc3], { narrowOnly: true });
  for (const op of [0xc4, 0xc5]) add([op], { modrm: { memoryOnly: true } });
  add([0xc6], { modrm: { digits: [0], byte: true }, tail: 'i' });
  add([0xc7], { modrm: { digits: [0] }, tail: 'v' });
  for (let i = 0; i < 3; i++) add([0xc8], { tail: 'en' });
  for (let i = 0; i < 4; i++) add([0xc9]);
  add([0xcc]);
  for (let i = 0; i < 4; i++) add([0xcd], { tail: 'n' });
  add([0xce]);
  for (const op of [0xd4, 0xd5]) add([op], { tail: 'i' });
  add([0xd7]);
  for (const op of [0xe0, 0xe1, 0xe2, 0xe3]) for (let i = 0; i < 3; i++) add([op], { tail: 'j' });
  for (const op of [0xe8, 0xe9]) for (let i = 0; i < 3; i++) add([op], { tail: 'J' });
  for (let i = 0; i < 3; i++) add([0xeb], { tail: 'j' });
  for (const op of [0xf5, 0xf8, 0xf9, 0xfc, 0xfd]) add([op]);
  // Not 1: QEMU has no TEST there.
  for (const digit of [0, 2, 3, 4, 5, 6, 7]) {
    add([0xf6], { modrm: { digits: [digit], byte: true }, tail: digit === 0 ? 'i' : '' });
    add([0xf7], { modrm: { digits: [digit] }, tail: digit === 0 ? 'v' : '' });
  }
  add([0xfe], { modrm: { digits: [0, 1], byte: true } });
  for (let i = 0; i < 2; i++) add([0xff], { modrm: { digits: [0, 1, 6] } });
  for (let i = 0; i < 4; i++) add([0xff], { modrm: { digits: [2, 4] }, narrowOnly: true });
  add([0x0f, 0x00], { modrm: { digits: [0, 1, 4, 5] } });
  add([0x0f, 0x01], { modrm: { digits: [0, 1], memoryOnly: true } });
  add([0x0f, 0x01], { modrm: { digits: [4] } });
  for (const op of [0x02, 0x03]) add([0x0f, op], { modrm: {} });
  for (const op of range(0x40, 0x4f)) add([0x0f, op], { modrm: {} });
  for (const op of range(0x80, 0x8f)) add([0x0f, op], { tail: 'J' });
  for (const op of range(0x90, 0x9f)) add([0x0f, op], { modrm: byteRm });
  for (const op of [0xa0, 0xa1, 0xa8, 0xa9]) add([0x0f, op]);
  for (const op of [0xa3, 0xab, 0xb3, 0xbb]) for (let i = 0; i < 2; i++) add([0x0f, op], { modrm: {} });
  for (const op of [0xa4, 0xac]) for (let i = 0; i < 2; i++) add([0x0f, op], { modrm: {}, tail: 's' });
  // A count above the width leaves the result undefined.
  for (const op of [0xa5, 0xad]) for (let i = 0; i < 2; i++) add([0x0f, op], { modrm: {}, wideOnly: true });
  for (const op of [0xaf, 0xb1, 0xc1, 0xbc, 0xbd]) add([0x0f, op], { modrm: {} });
  for (const op of [0xb0, 0xc0, 0xb6, 0xbe]) add([0x0f, op], { modrm: { byte: op < 0xb6 || op === 0xc0 } });
  for (const op of [0xb7, 0xbf]) add([0x0f, op], { modrm: {} });
  for (const op of [0xb4, 0xb5]) add([0x0f, op], { modrm: { memoryOnly: true } });
  for (let i = 0; i < 3; i++) add([0x0f, 0xba], { modrm: { digits: [4, 5, 6, 7] }, tail: 'i' });
  add([0x0f, 0xc7], { modrm: { digits: [1], memoryOnly: true } });
  for (const op of [0xc8, 0xcb, 0xcf]) for (let i = 0; i < 2; i++) add([0x0f, op], { wideOnly: true });
  return list;
}

/** Chosen ones, as bytes in hexadecimal: above all far transfers, whose targets must be known. */
const REAL_CASES = [
  'ea 00 10 00 30', // jmp 3000:1000
  'ea 00 02 10 30', // jmp 3010:0200
  '66 ea 00 10 00 00 00 30',
  '9a 00 10 00 30', // call
  '66 9a 00 10 00 00 00 30',
  '68 00 30 68 34 12 cb', // retf
  '68 00 30 68 34 12 ca 04 00',
  '66 68 00 30 00 00 66 68 34 12 00 00 66 cb',
  '68 d7 7c 68 00 30 68 34 12 cf', // iret: FLAGS with IOPL, NT, no TF, no IF
  '68 d7 00 68 00 30 68 34 12 cf',
  '66 68 d7 00 24 00 66 68 00 30 00 00 66 68 34 12 00 00 66 cf', // iretd: AC, ID
  'c7 06 00 03 00 10 c7 06 02 03 00 30 ff 2e 00 03', // jmp far [300]
  'c7 06 00 03 00 10 c7 06 02 03 00 30 ff 1e 00 03', // call far [300]
  'cd 05',
  'cd 57',
  'ce',
  'b8 00 02 50 9d ce',
  'b8 00 0a 50 9d ce',
  'b8 d7 0c 50 66 9d', // a 32-bit POPF takes what lies above, too
  '0f 01 e0', // smsw ax
  '66 0f 01 e0',
  '0f 01 26 00 03',
  '0f 20 c0',
  '0f 00 c0', // sldt: #UD here
  '0f 00 1e 00 03', // ltr
  '0f 02 c3',
  '0f 03 c3',
  '63 c3',
  '0f 0b',
  'f0 f0 01 07',
  '8e c8', // mov cs, ax
  'b8 34 12 8e d8 8e c0 8e e0 8e e8 8c db',
  'b8 00 50 8e d0 66 bc 00 03 00 00 50 58', // mov ss
  'c7 06 00 03 00 03 c7 06 02 03 00 50 0f b2 26 00 03 50', // lss sp, [300]
  '66 66 66 66 66 66 66 66 66 66 66 66 66 66 90',
  '66 66 66 66 66 66 66 66 66 66 66 66 66 66 66 90', // 16 bytes
  '2e 2e 2e 2e 2e 2e 2e 2e 2e 2e 81 06 00 03 34 12',
  '2e 2e 2e 2e 2e 2e 2e 2e 2e 2e 2e 81 06 00 03 34',
];
const PROTECTED_CASES = [
  'ea 00 10 18 00',
  '66 ea 00 10 00 00 18 00',
  'ea 00 10 20 00', // to 32-bit code
  '66 ea 00 10 00 00 20 00',
  '9a 00 10 18 00',
  '66 9a 00 10 00 00 18 00',
  '9a 00 10 20 00',
  'ea 00 10 60 00', // conforming
  '9a 00 10 60 00',
  '9a 00 00 68 00', // call gates
  '9a 00 00 70 00',
  'ea 00 00 68 00',
  'ea 00 00 70 00',
  '66 9a 00 00 00 00 68 00',
  'ea 00 10 28 00', // data
  'ea 00 10 00 00', // null
  'ea 00 10 98 00', // an LDT
  'ea 00 10 f8 07', // beyond the table
  '6a 18 68 00 10 cb',
  '6a 20 68 00 10 cb',
  '6a 18 68 00 10 ca 06 00',
  '66 6a 18 66 68 00 10 00 00 66 cb',
  '6a 28 68 00 10 cb',
  '68 d7 0c 6a 18 68 00 10 cf',
  '68 d7 38 6a 18 68 00 10 cf',
  '66 68 d7 00 24 00 66 6a 18 66 68 00 10 00 00 66 cf',
  '66 68 d7 00 24 00 66 6a 20 66 68 00 10 00 00 66 cf',
  'cd 40', // 16-bit interrupt gate
  'cd 4f',
  'cd 50', // 16-bit trap gate
  'cd 57',
  'cd 58',
  'b8 30 00 8e d8 8e c0 8e e0 8e e8 8c db',
  'b8 78 00 8e d8', // not present
  'b8 78 00 8e d0',
  'b8 80 00 8e d0', // read-only
  'b8 18 00 8e d0', // code
  'b8 18 00 8e d8',
  'b8 00 00 8e d8',
  'b8 00 00 8e d0',
  'b8 98 00 8e d8',
  'b8 68 00 0f 02 c0', // lar, lsl, verr, verw
  'b8 70 00 0f 02 c0',
  'b8 90 00 0f 02 c0',
  'b8 98 00 0f 02 c0',
  'b8 60 00 66 0f 02 c0',
  'b8 80 00 66 0f 03 c0',
  'b8 88 00 0f 03 c0',
  'b8 90 00 0f 03 c0',
  'b8 98 00 0f 03 c0',
  'b8 68 00 0f 03 c0',
  'b8 80 00 0f 00 e0',
  'b8 80 00 0f 00 e8',
  'b8 60 00 0f 00 e0',
  'b8 60 00 0f 00 e8',
  'b8 88 00 0f 00 e8',
  'b8 90 00 0f 00 d8 0f 00 c8', // ltr of a 16-bit TSS, str
  'b8 90 00 0f 00 d8', // again: busy
  'b8 98 00 0f 00 d0 66 0f 00 c0', // lldt, sldt
];

export interface NarrowImage {
  readonly bytes: Uint8Array;
  readonly cases: readonly NarrowCase[];
}

/** Bits that the manual leaves undefined, or defines only for some counts. */
function undefinedFlags(code: Uint8Array, bitness: number): number {
  const decoder = new Decoder(bitness, code, DecoderOptions.None);
  const ins = decoder.decode();
  let bits = 0;
  const map = [0x800, 0x80, 0x40, 0x10, 1, 4];
  map.forEach((flag, i) => {
    if (ins.rflagsUndefined & (1 << i)) bits |= flag;
  });
  const text = ins.toString();
  if (/^(lock )?(sh[lr]d?|sar|sal|ro[lr]|rc[lr]) /.test(text)) bits |= 0x810;
  // Shifts by more than the operand's width.
  if (/^(lock )?sh[lr]d? /.test(text)) bits |= 1;
  if (/^(lock )?(div|idiv|aa[ms]|aa[ad]|da[as]) ?/.test(text)) bits |= ARITHMETIC;
  if (/^(lock )?bt[src]? /.test(text)) bits |= ARITHMETIC & ~0x41;
  ins.free();
  decoder.free();
  return bits;
}

function textOf(code: Uint8Array, bitness: number): string {
  const decoder = new Decoder(bitness, code, DecoderOptions.None);
  const ins = decoder.decode();
  const text = ins.toString();
  const hex = [...code.subarray(0, 12)].map(byte => byte.toString(16).padStart(2, '0')).join(' ');
  ins.free();
  decoder.free();
  return `${text} (${hex})`;
}

const le = (value: number, bytes: number): number[] =>
  Array.from({ length: bytes }, (_, i) => (value >> (8 * i)) & 255);

/** QEMU 7.2 lets most instructions have a LOCK that may not, and fails on some. */
function lockable(code: readonly number[], bitness: number): boolean {
  const decoder = new Decoder(bitness, Uint8Array.of(0xf0, ...code), DecoderOptions.None);
  const ins = decoder.decode();
  const valid = !ins.isInvalid;
  ins.free();
  decoder.free();
  return valid;
}

class Maker {
  readonly prng: Prng;
  readonly shapes = shapes();

  constructor(seed: number) {
    this.prng = new Prng(seed);
  }

  /** Bytes of one random instruction, and whether addresses may have anything above bit 15. */
  instruction(mode: number): { readonly code: number[]; readonly wide: boolean; readonly repeated: boolean } {
    const { prng } = this;
    const shape = prng.pick(this.shapes);
    const code: number[] = [];
    const code32 = mode === 3;
    const operandPrefix = prng.below(4) === 0;
    const addressPrefix = prng.below(4) === 0;
    const wideOperand = operandPrefix !== code32;
    const wide = addressPrefix !== code32;
    if (wideOperand ? shape.narrowOnly : shape.wideOnly) return this.instruction(mode);
    if (operandPrefix) code.push(0x66);
    if (addressPrefix) code.push(0x67);
    if (prng.below(5) === 0) {
      // QEMU lets code be written through CS in protected mode, too.
      code.push(prng.pick([0x26, 0x36, 0x3e, 0x64, 0x65, ...(mode === REAL || mode >= VIRTUAL ? [0x2e] : [])]));
    }
    const op = shape.opcode[0]!;
    const string = shape.opcode.length === 1 && ((op >= 0xa4 && op <= 0xa7) || (op >= 0xaa && op <= 0xaf));
    const repeated = string && prng.below(2) === 0;
    if (repeated) code.push(prng.pick([0xf2, 0xf3]));
    const lockAt = code.length;
    code.push(...shape.opcode);
    if (shape.modrm) {
      const modrm = this.#modrm(shape.modrm, wide);
      const bitOffset = shape.opcode.length === 2 && [0xa3, 0xab, 0xb3, 0xbb].includes(shape.opcode[1]!);
      // A bit offset in ECX reaches far out of the segment where addresses have 32 bits.
      if (modrm === undefined || (bitOffset && wide && modrm[0]! < 0xc0)) return this.instruction(mode);
      code.push(...modrm);
    }
    for (const kind of shape.tail ?? '') {
      if (kind === 'i') code.push(prng.below(256));
      else if (kind === 'v')
        code.push(...le(prng.below(2) ? prng.pick(INTERESTING) : prng.u32() | 0, wideOperand ? 4 : 2));
      else if (kind === 'w') code.push(prng.below(32), 0);
      else if (kind === 'o') code.push(...le(prng.below(0x200), wide ? 4 : 2));
      else if (kind === 'e') code.push(prng.below(64), 0);
      else if (kind === 's') code.push(prng.below(16));
      else if (kind === 'n') code.push(prng.below(op === 0xcd ? 0x58 : 6));
      else if (kind === 'j') code.push(2 + prng.below(120));
      // A near branch with a 16-bit operand may go anywhere in the segment: INT3 is everywhere.
      else if (kind === 'J')
        code.push(...(wideOperand ? le(0x100 + prng.below(0x1000), 4) : le(0x40 + prng.below(0xff00), 2)));
    }
    if (prng.below(20) === 0 && lockable(code, code32 ? 32 : 16)) code.splice(lockAt, 0, 0xf0);
    return { code, wide, repeated };
  }

  /** ModRM, SIB and displacement; undefined if it would write SP or reach outside what is known. */
  #modrm(wanted: NonNullable<Shape['modrm']>, wide: boolean): number[] | undefined {
    const { prng } = this;
    const reg = wanted.digits ? prng.pick(wanted.digits) : prng.below(8);
    const memory = wanted.memoryOnly || prng.below(2) === 0;
    if (reg === 4 && !wanted.byte && !wanted.digits) return undefined;
    if (!memory) {
      const rm = prng.below(8);
      return rm === 4 && !wanted.byte ? undefined : [0xc0 | (reg << 3) | rm];
    }
    const mod = prng.below(3);
    if (!wide) {
      const rm = prng.below(8);
      const head = (mod << 6) | (reg << 3) | rm;
      if (mod === 1) return [head, prng.below(256)];
      if (mod === 2) return [head, ...le(prng.below(3) ? prng.below(0x200) : -prng.below(0x80), 2)];
      return rm === 6 ? [head, ...le(prng.below(0x300), 2)] : [head];
    }
    const displacement = mod === 1 ? [prng.below(128)] : mod === 2 ? le(prng.below(0x200), 4) : [];
    if (prng.below(3) === 0) {
      const index = prng.pick([3, 4, 6, 7]);
      return [(mod << 6) | (reg << 3) | 4, (prng.below(2) << 6) | (index << 3) | prng.pick([3, 6, 7]), ...displacement];
    }
    if (mod === 0 && prng.below(4) === 0) return [(reg << 3) | 5, ...le(prng.below(0x300), 4)];
    return [(mod << 6) | (reg << 3) | prng.pick(mod === 0 ? [3, 6, 7] : [3, 5, 6, 7]), ...displacement];
  }
}

/** Appends the table of cases to the harness. The same harness always gives the same image. */
export function buildNarrowImage(harness: Uint8Array): NarrowImage {
  const maker = new Maker(NARROW_SEED);
  const { prng } = maker;
  const table: number[] = [];
  const cases: NarrowCase[] = [];
  const value = () => (prng.below(2) ? prng.pick(INTERESTING) : prng.u32() | 0);
  const add = (mode: number, code: readonly number[], wide: boolean, repeated: boolean) => {
    const upper = () => (wide ? 0 : prng.u32() & 0xffff0000);
    const pointer = () => (0x100 + prng.below(0x100)) | upper();
    // Where the stack is 32 bits wide, nothing may lie above bit 15 of its pointers.
    const stackUpper = mode === 2 || wide ? 0 : prng.u32() & 0xffff0000;
    const bx = !wide && prng.below(6) === 0 ? 0xff80 + prng.below(0x80) : 0;
    const count = repeated ? prng.below(6) | upper() : value();
    const words = [
      mode,
      (prng.u32() & (ARITHMETIC | (prng.below(3) === 0 ? 0x400 : 0))) | 2,
      pointer(), // EDI
      pointer(), // ESI
      (0x100 + prng.below(0x100)) | stackUpper, // EBP
      (0x300 + prng.below(0x80)) | stackUpper, // ESP
      bx === 0 ? pointer() : bx | upper(),
      value(), // EDX
      count,
      value(), // EAX
    ];
    for (const word of words) table.push(...le(word, 4));
    const bytes = [...code.slice(0, CODE_BYTES)];
    bytes.push(0xcd, 0x30);
    while (bytes.length < 24) bytes.push(0xcc);
    table.push(...bytes);
    const bitness = mode === 3 ? 32 : 16;
    const own = Uint8Array.from(code);
    cases.push({
      text: `${MODES[mode]}: ${textOf(own, bitness)}`,
      code: own,
      bitness,
      flagsMask: ~undefinedFlags(own, bitness) & (ARITHMETIC | 0x7700),
    });
  };
  const chosen = (mode: number, list: readonly string[]) => {
    for (const text of list)
      add(
        mode,
        text.split(' ').map(byte => Number.parseInt(byte, 16)),
        false,
        false,
      );
  };
  for (const mode of [REAL, VIRTUAL, VIRTUAL + 1]) chosen(mode, REAL_CASES);
  for (const mode of [1, 2]) chosen(mode, PROTECTED_CASES);
  CASES.forEach((cases, mode) => {
    for (let i = 0; i < cases; i++) {
      const { code, wide, repeated } = maker.instruction(mode);
      add(mode, code, wide, repeated);
    }
  });
  const bytes = new Uint8Array(harness.length + 4 + table.length);
  bytes.set(harness);
  bytes.set(le(cases.length, 4), harness.length);
  bytes.set(table, harness.length + 4);
  return { bytes, cases };
}
