/** The smallest guests: multiboot ELF32 files made by hand, of one segment at 1 MiB that holds the header and then the code. */
const LOAD_AT = 0x100000;
const HEADER_OFFSET = 0x60;
const CODE_OFFSET = 0x70;

export interface TinyImageOptions {
  /** Replaces the multiboot magic, for files that are almost right. */
  readonly magic?: number;
}

/** `code` is entered at its first byte, in 32-bit protected mode without paging. */
export function tinyImage(code: readonly number[], { magic = 0x1badb002 }: TinyImageOptions = {}): Uint8Array {
  const bytes = new Uint8Array(CODE_OFFSET + code.length);
  const view = new DataView(bytes.buffer);
  // ELF header: 32-bit, little-endian, executable, 386; one program header behind it.
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, 3, true);
  view.setUint32(20, 1, true);
  view.setUint32(24, LOAD_AT + CODE_OFFSET, true);
  view.setUint32(28, 52, true);
  view.setUint16(40, 52, true);
  view.setUint16(42, 32, true);
  view.setUint16(44, 1, true);
  view.setUint16(46, 40, true);
  // PT_LOAD of the whole file.
  const segment = [1, 0, LOAD_AT, LOAD_AT, bytes.length, bytes.length, 7, 4096];
  for (const [at, word] of segment.entries()) view.setUint32(52 + 4 * at, word, true);
  view.setUint32(HEADER_OFFSET, magic, true);
  view.setUint32(HEADER_OFFSET + 4, 0, true);
  view.setUint32(HEADER_OFFSET + 8, -0x1badb002 >>> 0, true);
  bytes.set(code, CODE_OFFSET);
  return bytes;
}

/** out 0x604, 0x2000: power off. */
export const POWER_OFF = [0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x20, 0x66, 0xef, 0xf4] as const;

/** Writes text to COM1. */
export const print = (text: string): number[] => [
  0x66,
  0xba,
  0xf8,
  0x03, // mov dx, 0x3f8
  ...[...text].flatMap(character => [0xb0, character.charCodeAt(0), 0xee]), // mov al, c; out dx, al
];

/** An empty IDT, then ud2: no handler for any of the three faults. */
export const TRIPLE_FAULT = [
  0x6a,
  0x00,
  0x6a,
  0x00, // push 0; push 0
  0x0f,
  0x01,
  0x1c,
  0x24, // lidt [esp]
  0x0f,
  0x0b, // ud2
] as const;

/** mov esp, 0x80000: what comes first where code needs a stack. */
export const STACK = [0xbc, 0x00, 0x00, 0x08, 0x00] as const;

/** jmp to itself. */
export const SPIN = [0xeb, 0xfe] as const;
