/**
 * The host's machine memory: one linear memory, counted in 4 KiB machine pages (MPN).
 *
 * The low pages belong to the simulator itself (processor state, TLBs): they are handed out by `reserve` and never to a
 * VM. Everything above is machine memory proper, whose allocation is the vmkernel's business.
 *
 * The operating system commits pages of the underlying shared memory when they are first touched, so a large memory that
 * is never touched costs address space only.
 *
 * Whoever stores through this class need not think about code caches: a store to a page that holds decoded code is
 * reported to `onCodeWrite` (who invalidates the blocks it touches).
 */
import { assert } from '../base/assert.js';
import type { Mpn } from '../base/pages.js';

const WASM_PAGE = 65536;
/** Machine addresses stay below 2^31, so that they are small integers in every engine. */
export const MACHINE_MEMORY_BYTES_MAX = 0x7fff0000;
/** Low memory that belongs to the simulator (contexts, TLBs, decoded code), in bytes. */
export const RESERVED_BYTES = 96 * 1024 * 1024;

/** Bytes of a line of `MachineMemory.codeLines`, as a power of two: 32 lines, the bits of a word, make a page. */
export const CODE_LINE_SHIFT = 7;

/** Bits of the lines of a page that a range within it lies on. */
export function linesOf(machine: number, length: number): number {
  const first = (machine >>> CODE_LINE_SHIFT) & 31;
  const last = ((machine + length - 1) >>> CODE_LINE_SHIFT) & 31;
  return (-1 << first) & (-1 >>> (31 - last));
}

export class MachineMemory {
  readonly wasm: WebAssembly.Memory;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
  readonly f64: Float64Array;
  readonly sizeBytes: number;
  readonly pageCount: number;
  /** One word per MPN: a bit for each line of the page from which the code cache holds decoded code. */
  readonly codeLines: Int32Array;
  /** Called before the bytes change; `machine` and `length` never cross a page. */
  onCodeWrite: (machine: number, length: number) => void = () => {};
  #reservedTop = 4096;
  /** What was given back, by its size. */
  readonly #released = new Map<number, number[]>();

  constructor(sizeBytes: number) {
    const rounded = Math.ceil(sizeBytes / WASM_PAGE) * WASM_PAGE;
    assert(rounded > RESERVED_BYTES && rounded <= MACHINE_MEMORY_BYTES_MAX, 'machine memory size out of range');
    this.wasm = new WebAssembly.Memory({ initial: rounded / WASM_PAGE, maximum: rounded / WASM_PAGE, shared: true });
    const buffer = this.wasm.buffer;
    this.u8 = new Uint8Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.f64 = new Float64Array(buffer);
    this.sizeBytes = rounded;
    this.pageCount = rounded >>> 12;
    this.codeLines = new Int32Array(buffer, this.reserve(this.pageCount * 4), this.pageCount);
  }

  /** Takes zeroed bytes of the simulator's own low memory, 64-byte aligned. Returns the machine address. */
  reserve(bytes: number): number {
    const again = this.#released.get(bytes)?.pop();
    if (again !== undefined) {
      this.u8.fill(0, again, again + bytes);
      return again;
    }
    const at = this.#reservedTop;
    this.#reservedTop = (at + bytes + 63) & ~63;
    assert(this.#reservedTop <= RESERVED_BYTES, 'simulator memory exhausted');
    return at;
  }

  /** Takes back what `reserve` gave. */
  release(machine: number, bytes: number): void {
    const same = this.#released.get(bytes);
    if (same === undefined) this.#released.set(bytes, [machine]);
    else same.push(machine);
  }

  /** Reads are unsigned. Any alignment; no page-crossing restriction, since machine addresses are linear here. */
  read8(machine: number): number {
    return this.u8[machine]!;
  }

  read16(machine: number): number {
    return this.u8[machine]! | (this.u8[machine + 1]! << 8);
  }

  read32(machine: number): number {
    return this.readI32(machine) >>> 0;
  }

  /** As `read32`, as a signed 32-bit integer. */
  readI32(machine: number): number {
    if ((machine & 3) === 0) return this.i32[machine >>> 2]!;
    const u8 = this.u8;
    return u8[machine]! | (u8[machine + 1]! << 8) | (u8[machine + 2]! << 16) | (u8[machine + 3]! << 24);
  }

  write8(machine: number, value: number): void {
    if (this.codeLines[machine >>> 12] !== 0) this.onCodeWrite(machine, 1);
    this.u8[machine] = value;
  }

  write16(machine: number, value: number): void {
    this.#announce(machine, 2);
    this.u8[machine] = value;
    this.u8[machine + 1] = value >>> 8;
  }

  write32(machine: number, value: number): void {
    if ((machine & 3) === 0) {
      if (this.codeLines[machine >>> 12] !== 0) this.onCodeWrite(machine, 4);
      this.i32[machine >>> 2] = value;
      return;
    }
    this.#announce(machine, 4);
    const u8 = this.u8;
    u8[machine] = value;
    u8[machine + 1] = value >>> 8;
    u8[machine + 2] = value >>> 16;
    u8[machine + 3] = value >>> 24;
  }

  writeBytes(machine: number, bytes: Uint8Array): void {
    this.#announce(machine, bytes.length);
    this.u8.set(bytes, machine);
  }

  fill(machine: number, length: number, value: number): void {
    this.#announce(machine, length);
    this.u8.fill(value, machine, machine + length);
  }

  /** A view, not a copy. */
  bytes(machine: number, length: number): Uint8Array {
    return this.u8.subarray(machine, machine + length);
  }

  pageBytes(mpn: Mpn): Uint8Array {
    return this.bytes(mpn << 12, 4096);
  }

  #announce(machine: number, length: number): void {
    let at = machine;
    const end = machine + length;
    while (at < end) {
      const pageEnd = Math.min(end, (at | 4095) + 1);
      if (this.codeLines[at >>> 12] !== 0) this.onCodeWrite(at, pageEnd - at);
      at = pageEnd;
    }
  }
}
