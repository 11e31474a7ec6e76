/**
 * The I/O APIC of a PC (Intel 82093AA data sheet, 290566): 24 pins, each with a redirection entry that says which vector its interrupt has
 * and which local APIC takes it. Pin n is line n of the 8259s, but for the timer, which is on pin 2; pin 0, wired to the 8259s' output, has no use
 * beside LINT0 and is left open.
 *
 * Lines arrive here as asked for or not: the polarity that an entry names is that of the wire, which nobody sees.
 */
import type { Archive } from '../base/archive.js';
import { ApicMode } from './apic-registers.js';
import type { MmioDevice, PortWidth } from './device.js';

export const IO_APIC_BASE = 0xfec00000;
export const IO_APIC_BYTES = 4096;
export const IO_APIC_VERSION = 0x11;
/** The 8254's pin: its line 0 is taken by the 8259s. */
const TIMER_PIN = 2;
const PINS = 24;

/** What goes to the local APICs. */
export interface InterruptMessage {
  readonly vector: number;
  /** `ApicMode`. */
  readonly mode: number;
  readonly destination: number;
  /** The destination is a logical name, not a number. */
  readonly logical: boolean;
  readonly level: boolean;
  /** The processor has acknowledged it. */
  onAcknowledged(): void;
}

export interface IoApicWiring {
  readonly id: number;
  send(message: InterruptMessage): void;
  /** The processor has acknowledged an interrupt of this line of the 8259s. */
  onAcknowledged(irq: number): void;
}

const SELECT = 0x00;
const WINDOW = 0x10;
const Index = { ID: 0, VERSION: 1, ARBITRATION: 2, TABLE: 0x10 } as const;
const Entry = { MODE: 0x700, LOGICAL: 0x800, REMOTE_IRR: 0x4000, LEVEL: 0x8000, MASKED: 0x10000 } as const;
/** Delivery status and remote IRR are read-only. */
const ENTRY_WRITABLE = 0x1afff;

class Pin {
  low: number = Entry.MASKED;
  high = 0;
  asserted = false;
  /** An interrupt of a level was sent and not ended. */
  remoteIrr = false;
}

export const pinOf = (irq: number): number => (irq === 0 ? TIMER_PIN : irq);
const irqOf = (pin: number): number => (pin === TIMER_PIN ? 0 : pin);

export class IoApic implements MmioDevice {
  readonly #wiring: IoApicWiring;
  readonly #pins = Array.from({ length: PINS }, () => new Pin());
  /** What each pin says when its interrupt is acknowledged. */
  readonly #taken = this.#pins.map((_, number) => () => this.#wiring.onAcknowledged(irqOf(number)));
  #id: number;
  #selected = 0;

  constructor(wiring: IoApicWiring) {
    this.#wiring = wiring;
    this.#id = wiring.id << 24;
  }

  /** A line of the 8259s has changed. */
  setLine(irq: number, level: boolean): void {
    const number = pinOf(irq);
    const pin = this.#pins[number]!;
    const rises = level && !pin.asserted;
    pin.asserted = level;
    // The edge at a masked pin is lost.
    if (rises || (pin.low & Entry.LEVEL) !== 0) this.#deliver(number);
  }

  /** A local APIC has ended the interrupt of a level. */
  ended(vector: number): void {
    for (const [number, pin] of this.#pins.entries()) {
      if (!pin.remoteIrr || (pin.low & 0xff) !== vector) continue;
      pin.remoteIrr = false;
      if (pin.asserted && (pin.low & Entry.LEVEL) !== 0) this.#deliver(number);
    }
  }

  isMasked(irq: number): boolean {
    return (this.#pins[pinOf(irq)]!.low & Entry.MASKED) !== 0;
  }

  /** Undefined while the line's pin is masked. */
  vectorOf(irq: number): number | undefined {
    return this.isMasked(irq) ? undefined : this.#pins[pinOf(irq)]!.low & 0xff;
  }

  readMmio(offset: number, _width: PortWidth): number {
    if (offset === SELECT) return this.#selected;
    return offset === WINDOW ? this.#read() : 0;
  }

  writeMmio(offset: number, _width: PortWidth, value: number): void {
    if (offset === SELECT) this.#selected = value & 0xff;
    else if (offset === WINDOW) this.#write(value);
  }

  /** What the pins have local APICs call at an acknowledge, in the order of the pins. */
  get sources(): readonly (() => void)[] {
    return this.#taken;
  }

  exchange(archive: Archive): void {
    for (const pin of this.#pins) {
      pin.low = archive.number(pin.low);
      pin.high = archive.number(pin.high);
      pin.asserted = archive.flag(pin.asserted);
      pin.remoteIrr = archive.flag(pin.remoteIrr);
    }
    this.#id = archive.number(this.#id);
    this.#selected = archive.number(this.#selected);
  }

  #read(): number {
    switch (this.#selected) {
      case Index.ID:
      case Index.ARBITRATION:
        return this.#id >>> 0;
      case Index.VERSION:
        return ((PINS - 1) << 16) | IO_APIC_VERSION;
      default:
        break;
    }
    const pin = this.#pins[(this.#selected - Index.TABLE) >> 1];
    if (pin === undefined) return 0;
    if ((this.#selected & 1) !== 0) return pin.high >>> 0;
    return pin.low | (pin.remoteIrr ? Entry.REMOTE_IRR : 0);
  }

  #write(value: number): void {
    if (this.#selected === Index.ID) this.#id = value & 0x0f000000;
    const number = (this.#selected - Index.TABLE) >> 1;
    const pin = this.#pins[number];
    if (pin === undefined) return;
    if ((this.#selected & 1) !== 0) {
      pin.high = value & 0xff000000;
      return;
    }
    pin.low = value & ENTRY_WRITABLE;
    if ((pin.low & Entry.LEVEL) === 0) pin.remoteIrr = false;
    else if (pin.asserted) this.#deliver(number);
  }

  #deliver(number: number): void {
    const pin = this.#pins[number]!;
    const level = (pin.low & Entry.LEVEL) !== 0;
    if ((pin.low & Entry.MASKED) !== 0 || (level && (pin.remoteIrr || !pin.asserted))) return;
    const mode = pin.low & Entry.MODE;
    // What is no vectored interrupt (SMI, NMI, INIT, ExtINT) has no taker.
    if (mode !== ApicMode.FIXED && mode !== ApicMode.LOWEST) return;
    pin.remoteIrr = level;
    this.#wiring.send({
      vector: pin.low & 0xff,
      mode,
      destination: pin.high >>> 24,
      logical: (pin.low & Entry.LOGICAL) !== 0,
      level,
      onAcknowledged: this.#taken[number]!,
    });
  }
}
