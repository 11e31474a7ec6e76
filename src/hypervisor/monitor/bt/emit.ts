/**
 * Emits the few x86 encodings that translations are made of. None of them changes a flag, except where the name says so.
 * Slots are linear addresses reached through GS.
 */
import { CALLOUT_VECTOR } from '../hole.js';

export const Reg = { EAX: 0, ECX: 1, EDX: 2, EBX: 3, ESP: 4, EBP: 5, ESI: 6, EDI: 7 } as const;

/** Bytes of a callout, and of an exit that can be patched into a jump. */
export const CALLOUT_BYTES = 2;
/** Of the call of a ring-1 routine. */
export const ROUTINE_BYTES = 16;
export const EXIT_BYTES = 5;

const GS = 0x65;

export class Emitter {
  readonly #bytes: number[] = [];

  /** `origin`: linear address of the first byte. */
  constructor(readonly origin: number) {}

  /** Offset of the next byte from `origin`. */
  get offset(): number {
    return this.#bytes.length;
  }

  take(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }

  raw(bytes: Iterable<number>): void {
    for (const byte of bytes) this.#bytes.push(byte & 255);
  }

  #dword(value: number): void {
    this.raw([value, value >>> 8, value >>> 16, value >>> 24]);
  }

  /** mov gs:[slot], reg */
  storeSlot(slot: number, reg: number): void {
    if (reg === Reg.EAX) this.raw([GS, 0xa3]);
    else this.raw([GS, 0x89, 0x05 | (reg << 3)]);
    this.#dword(slot);
  }

  /** mov reg, gs:[slot] */
  loadSlot(reg: number, slot: number): void {
    if (reg === Reg.EAX) this.raw([GS, 0xa1]);
    else this.raw([GS, 0x8b, 0x05 | (reg << 3)]);
    this.#dword(slot);
  }

  /** mov reg16, gs:[slot] */
  loadSlot16(reg: number, slot: number): void {
    this.raw([0x66, GS, 0x8b, 0x05 | (reg << 3)]);
    this.#dword(slot);
  }

  /** mov dword gs:[slot], value */
  setSlot(slot: number, value: number): void {
    this.raw([GS, 0xc7, 0x05]);
    this.#dword(slot);
    this.#dword(value);
  }

  /** pop dword gs:[slot] */
  popSlot(slot: number): void {
    this.raw([GS, 0x8f, 0x05]);
    this.#dword(slot);
  }

  /** push dword gs:[slot] */
  pushSlot(slot: number): void {
    this.raw([GS, 0xff, 0x35]);
    this.#dword(slot);
  }

  /** jmp dword gs:[slot] */
  jumpSlot(slot: number): void {
    this.raw([GS, 0xff, 0x25]);
    this.#dword(slot);
  }

  /** push imm32 */
  pushImmediate(value: number): void {
    this.raw([0x68]);
    this.#dword(value);
  }

  /** mov reg, imm32 */
  loadImmediate(reg: number, value: number): void {
    this.raw([0xb8 + reg]);
    this.#dword(value);
  }

  /** mov reg, [esp] */
  loadStackTop(reg: number): void {
    this.raw([0x8b, 0x04 | (reg << 3), 0x24]);
  }

  /** mov [esp], reg */
  storeStackTop(reg: number): void {
    this.raw([0x89, 0x04 | (reg << 3), 0x24]);
  }

  /** lea reg, [reg+displacement] */
  addImmediate(reg: number, displacement: number): void {
    if (reg === Reg.ESP) this.raw([0x8d, 0x80 | (reg << 3) | 4, 0x24]);
    else this.raw([0x8d, 0x80 | (reg << 3) | reg]);
    this.#dword(displacement);
  }

  /** lea reg, [reg+other+displacement] (`other` is not ESP) */
  addRegister(reg: number, other: number, displacement = 0): void {
    this.raw([0x8d, 0x84 | (reg << 3), reg | (other << 3)]);
    this.#dword(displacement);
  }

  /** movzx reg, word of other */
  zeroExtend16(reg: number, other: number): void {
    this.raw([0x0f, 0xb7, 0xc0 | (reg << 3) | other]);
  }

  /** mov reg, gs:[index*8+table] */
  loadIndexed8(reg: number, index: number, table: number): void {
    this.raw([GS, 0x8b, 0x04 | (reg << 3), 0xc5 | (index << 3)]);
    this.#dword(table);
  }

  /** test reg, imm32: changes the flags */
  testImmediate(reg: number, value: number): void {
    if (reg === Reg.EAX) this.raw([0xa9]);
    else this.raw([0xf7, 0xc0 | reg]);
    this.#dword(value);
  }

  /** and reg, imm32: changes the flags */
  andImmediate(reg: number, value: number): void {
    if (reg === Reg.EAX) this.raw([0x25]);
    else this.raw([0x81, 0xe0 | reg]);
    this.#dword(value);
  }

  /** jecxz to a place that is not known yet. Returns what `landShort` needs. */
  jecxz(): number {
    this.raw([0xe3, 0]);
    return this.offset;
  }

  /** A short jump by opcode (JECXZ, LOOP, Jcc rel8) to a place that is not known yet. */
  shortJump(opcode: number): number {
    this.raw([opcode, 0]);
    return this.offset;
  }

  /** Makes the short jump that ended at offset `from` land here. Only forward, at most 127 bytes. */
  landShort(from: number): void {
    this.#bytes[from - 1] = this.offset - from;
  }

  /** jcc rel32 to a place that is not known yet. */
  nearCondition(condition: number): number {
    this.raw([0x0f, 0x80 | condition, 0, 0, 0, 0]);
    return this.offset;
  }

  /** Makes the near jump that ended at offset `from` land here. */
  landNear(from: number): void {
    const distance = this.offset - from;
    for (let i = 0; i < 4; i++) this.#bytes[from - 4 + i] = (distance >>> (8 * i)) & 255;
  }

  /** jmp rel32 to a linear address */
  jump(linear: number): void {
    this.raw([0xe9]);
    this.#dword(linear - (this.origin + this.offset + 4));
  }

  /** int CALLOUT_VECTOR. Returns the offset of the INT. */
  callout(): number {
    const at = this.offset;
    this.raw([0xcd, CALLOUT_VECTOR]);
    return at;
  }

  /** A callout with room for the `jmp rel32` that chaining puts in its place. Returns its offset. */
  exit(): number {
    const at = this.callout();
    this.raw([0x90, 0x90, 0x90]);
    return at;
  }

  ud2(): void {
    this.raw([0x0f, 0x0b]);
  }
}
