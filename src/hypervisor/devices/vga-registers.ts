/**
 * The registers of a VGA in text mode 3 (IBM, VGA technical reference; ports 3C0h to 3DFh, colour). They keep what is written and mean
 * nothing but where the screen begins and where the cursor is: the picture is text, whatever the timing says.
 */
import type { Archive } from '../base/archive.js';
import type { PortDevice, PortWidth, VirtualClock } from './device.js';

export const VGA_PORT = 0x3c0;
export const VGA_PORTS = 0x20;

const Port = {
  ATTRIBUTE: 0x00,
  ATTRIBUTE_READ: 0x01,
  MISCELLANEOUS_WRITE: 0x02,
  SEQUENCER: 0x04,
  PALETTE_MASK: 0x06,
  PALETTE_READ_INDEX: 0x07,
  PALETTE_INDEX: 0x08,
  PALETTE_DATA: 0x09,
  MISCELLANEOUS_READ: 0x0c,
  GRAPHICS: 0x0e,
  CRTC: 0x14,
  STATUS: 0x1a,
} as const;
const Crtc = { START_HIGH: 0x0c, START_LOW: 0x0d, CURSOR_HIGH: 0x0e, CURSOR_LOW: 0x0f } as const;
/** While set, registers 0 to 7 of the CRTC cannot be written but for one bit. */
const CRTC_PROTECT_AT = 0x11;
const CRTC_PROTECT = 0x80;

/** As the BIOS sets mode 3: 720 by 400, characters of 9 by 16. */
const CRTC = [
  ...[0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00, 0x00, 0x00, 0x50],
  ...[0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff],
];
const SEQUENCER = [0x03, 0x00, 0x03, 0x00, 0x02];
const GRAPHICS = [0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x00, 0xff];
const ATTRIBUTE = [
  ...[0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f],
  ...[0x0c, 0x00, 0x0f, 0x08, 0x00],
];
const ATTRIBUTE_INDEX = 0x1f;
const MISCELLANEOUS = 0x67;
const PALETTE_BYTES = 768;

/** 449 lines of 900 dots at 28.322 MHz; 400 lines are shown. */
const FRAME_HZ = 28_322_000 / (449 * 900);
const SHOWN = 400 / 449;
const DISPLAY_OFF = 0x01;
const VERTICAL_RETRACE = 0x08;

class Indexed {
  index = 0;
  readonly #values: Uint8Array;

  constructor(values: readonly number[]) {
    this.#values = Uint8Array.from(values);
  }

  exchange(archive: Archive): void {
    this.index = archive.number(this.index);
    archive.bytes(this.#values);
  }

  at(index: number): number {
    return this.#values[index] ?? 0;
  }

  read(): number {
    return this.at(this.index);
  }

  write(value: number): void {
    if (this.index < this.#values.length) this.#values[this.index] = value;
  }
}

export class VgaRegisters implements PortDevice {
  readonly #clock: VirtualClock;
  readonly #sequencer = new Indexed(SEQUENCER);
  readonly #graphics = new Indexed(GRAPHICS);
  readonly #attribute = new Indexed(ATTRIBUTE);
  readonly #crtc = new Indexed(CRTC);
  readonly #palette = new Uint8Array(PALETTE_BYTES);
  #miscellaneous = MISCELLANEOUS;
  #paletteAt = 0;
  #paletteMask = 0xff;
  /** Port 3C0h takes an index next, not a value: a read of the status makes it so. */
  #attributeTakesIndex = true;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  /** Character at the upper left of the screen, and the one that the cursor is on, counted from the start of text memory. */
  get start(): number {
    return (this.#crtc.at(Crtc.START_HIGH) << 8) | this.#crtc.at(Crtc.START_LOW);
  }

  get cursor(): number {
    return (this.#crtc.at(Crtc.CURSOR_HIGH) << 8) | this.#crtc.at(Crtc.CURSOR_LOW);
  }

  readPort(offset: number, _width: PortWidth): number {
    switch (offset) {
      case Port.ATTRIBUTE:
        return this.#attribute.index;
      case Port.ATTRIBUTE_READ:
        return this.#attribute.at(this.#attribute.index & ATTRIBUTE_INDEX);
      case Port.SEQUENCER:
        return this.#sequencer.index;
      case Port.SEQUENCER + 1:
        return this.#sequencer.read();
      case Port.PALETTE_MASK:
        return this.#paletteMask;
      case Port.PALETTE_INDEX:
        return Math.floor(this.#paletteAt / 3);
      case Port.PALETTE_DATA:
        return this.#palette[this.#nextPalette()]!;
      case Port.MISCELLANEOUS_READ:
        return this.#miscellaneous;
      case Port.GRAPHICS:
        return this.#graphics.index;
      case Port.GRAPHICS + 1:
        return this.#graphics.read();
      case Port.CRTC:
        return this.#crtc.index;
      case Port.CRTC + 1:
        return this.#crtc.read();
      case Port.STATUS:
        this.#attributeTakesIndex = true;
        return this.#status();
      default:
        return 0xff;
    }
  }

  writePort(offset: number, _width: PortWidth, value: number): void {
    switch (offset) {
      case Port.ATTRIBUTE:
        if (this.#attributeTakesIndex) this.#attribute.index = value & 0x3f;
        else this.#writeAttribute(value);
        this.#attributeTakesIndex = !this.#attributeTakesIndex;
        break;
      case Port.MISCELLANEOUS_WRITE:
        this.#miscellaneous = value;
        break;
      case Port.SEQUENCER:
        this.#sequencer.index = value & 7;
        break;
      case Port.SEQUENCER + 1:
        this.#sequencer.write(value);
        break;
      case Port.PALETTE_MASK:
        this.#paletteMask = value;
        break;
      case Port.PALETTE_READ_INDEX:
      case Port.PALETTE_INDEX:
        this.#paletteAt = value * 3;
        break;
      case Port.PALETTE_DATA:
        this.#palette[this.#nextPalette()] = value & 0x3f;
        break;
      case Port.GRAPHICS:
        this.#graphics.index = value & 0xf;
        break;
      case Port.GRAPHICS + 1:
        this.#graphics.write(value);
        break;
      case Port.CRTC:
        this.#crtc.index = value & 0x1f;
        break;
      case Port.CRTC + 1:
        this.#writeCrtc(value);
        break;
      default:
        break;
    }
  }

  exchange(archive: Archive): void {
    for (const registers of [this.#sequencer, this.#graphics, this.#attribute, this.#crtc]) registers.exchange(archive);
    archive.bytes(this.#palette);
    this.#miscellaneous = archive.number(this.#miscellaneous);
    this.#paletteAt = archive.number(this.#paletteAt);
    this.#paletteMask = archive.number(this.#paletteMask);
    this.#attributeTakesIndex = archive.flag(this.#attributeTakesIndex);
  }

  /** Bit 5 of the index says that the palette is shown; it is no part of the number. */
  #writeAttribute(value: number): void {
    const { index } = this.#attribute;
    this.#attribute.index = index & ATTRIBUTE_INDEX;
    this.#attribute.write(value);
    this.#attribute.index = index;
  }

  #writeCrtc(value: number): void {
    const { index } = this.#crtc;
    const isProtected = (this.#crtc.at(CRTC_PROTECT_AT) & CRTC_PROTECT) !== 0;
    if (!isProtected || index > 7) this.#crtc.write(value);
    else if (index === 7) this.#crtc.write((this.#crtc.read() & ~0x10) | (value & 0x10));
  }

  #nextPalette(): number {
    const at = this.#paletteAt;
    this.#paletteAt = (at + 1) % PALETTE_BYTES;
    return at;
  }

  #status(): number {
    const frames = (this.#clock.nowCycles / this.#clock.cyclesPerSecond) * FRAME_HZ;
    return frames - Math.floor(frames) < SHOWN ? 0 : DISPLAY_OFF | VERTICAL_RETRACE;
  }
}
