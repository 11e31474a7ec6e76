/** Colour text memory of a VGA at 0xB8000: 32 KiB of character and attribute pairs; the first 80 by 25 are the screen. */
import type { Archive } from '../base/archive.js';
import type { MmioDevice, PortWidth } from './device.js';

export const VGA_TEXT_BASE = 0xb8000;
export const VGA_TEXT_BYTES = 0x8000;
export const VGA_COLUMNS = 80;
export const VGA_ROWS = 25;

export class VgaText implements MmioDevice {
  readonly #bytes = new Uint8Array(VGA_TEXT_BYTES);

  readMmio(offset: number, width: PortWidth): number {
    let value = 0;
    for (let i = width - 1; i >= 0; i--) value = value * 256 + (this.#bytes[offset + i] ?? 0xff);
    return value;
  }

  writeMmio(offset: number, width: PortWidth, value: number): void {
    for (let i = 0; i < width && offset + i < VGA_TEXT_BYTES; i++) this.#bytes[offset + i] = value >>> (8 * i);
  }

  exchange(archive: Archive): void {
    archive.bytes(this.#bytes);
  }

  /**
   * The screen as text, trailing blanks removed; what is not printable ASCII shows as a blank. `start`: the character at its upper left,
   * counted from the start of the memory, around whose end it goes.
   */
  text(start = 0): string[] {
    return Array.from({ length: VGA_ROWS }, (_, row) => {
      let line = '';
      for (let column = 0; column < VGA_COLUMNS; column++) {
        const code = this.#bytes[((start + row * VGA_COLUMNS + column) * 2) % VGA_TEXT_BYTES]!;
        line += code > 0x20 && code < 0x7f ? String.fromCharCode(code) : ' ';
      }
      return line.trimEnd();
    });
  }
}
