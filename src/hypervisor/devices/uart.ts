/**
 * A 16550A serial port (National Semiconductor PC16550D data sheet). Transmission takes no time: the transmitter is always
 * empty again. Received bytes wait in an input queue of any length behind the 16-byte FIFO, as if flow control held the
 * sender back, so overruns do not happen.
 */
import type { Archive } from '../base/archive.js';
import type { IrqLine, PortDevice, PortWidth } from './device.js';

const Ier = { RECEIVED: 1, EMPTY: 2, LINE: 4, MODEM: 8 } as const;
const Mcr = { DTR: 1, RTS: 2, OUT1: 4, OUT2: 8, LOOP: 16 } as const;
const LSR_DATA_READY = 0x01;
/** Transmitter holding register and transmitter empty. */
const LSR_EMPTY = 0x60;
/** CTS, DSR and DCD: a terminal is connected. */
const MSR_CONNECTED = 0xb0;
const FIFO_BYTES = 16;
const TRIGGERS = [1, 4, 8, 14] as const;

export class Uart implements PortDevice {
  /** A byte that the guest has sent. */
  onTransmit: (byte: number) => void = () => {};
  readonly #irq: IrqLine;
  readonly #fifo: number[] = [];
  #input: number[] = [];
  #ier = 0;
  #fcr = 0;
  #lcr = 0;
  #mcr = 0;
  #scratch = 0;
  #divisor = 12;
  /** The "transmitter empty" interrupt is due: set by a change to empty, cleared by reading IIR or writing THR. */
  #emptyPending = false;
  /** Change bits of the modem status register since it was last read. */
  #modemDelta = 0;

  constructor(irq: IrqLine) {
    this.#irq = irq;
  }

  /** Bytes arrive on the line. */
  receive(bytes: readonly number[]): void {
    this.#input.push(...bytes);
    this.#refill();
    this.#update();
  }

  readPort(offset: number, _width: PortWidth): number {
    switch (offset) {
      case 0:
        return this.#divisorLatch() ? this.#divisor & 0xff : this.#readByte();
      case 1:
        return this.#divisorLatch() ? this.#divisor >>> 8 : this.#ier;
      case 2: {
        const id = this.#identify();
        if ((id & 0x0f) === 0x02) {
          this.#emptyPending = false;
          this.#update();
        }
        return id;
      }
      case 3:
        return this.#lcr;
      case 4:
        return this.#mcr;
      case 5:
        return LSR_EMPTY | (this.#fifo.length > 0 ? LSR_DATA_READY : 0);
      case 6: {
        const value = this.#modemStatus() | this.#modemDelta;
        this.#modemDelta = 0;
        this.#update();
        return value;
      }
      default:
        return this.#scratch;
    }
  }

  writePort(offset: number, _width: PortWidth, value: number): void {
    switch (offset) {
      case 0:
        if (this.#divisorLatch()) this.#divisor = (this.#divisor & 0xff00) | value;
        else this.#transmit(value);
        break;
      case 1:
        if (this.#divisorLatch()) {
          this.#divisor = (this.#divisor & 0x00ff) | (value << 8);
          break;
        }
        // Enabling the interrupt while the transmitter is empty raises it at once.
        if ((value & Ier.EMPTY) !== 0 && (this.#ier & Ier.EMPTY) === 0) this.#emptyPending = true;
        this.#ier = value & 0x0f;
        break;
      case 2:
        this.#fcr = value & 0xc9;
        if ((value & 2) !== 0) this.#fifo.length = 0;
        this.#refill();
        break;
      case 3:
        this.#lcr = value;
        break;
      case 4: {
        const before = this.#modemStatus();
        this.#mcr = value & 0x1f;
        const changed = (before ^ this.#modemStatus()) >>> 4;
        // Ring indicates only its trailing edge.
        const ringEnded = (changed & 4) !== 0 && (before & 0x40) !== 0;
        this.#modemDelta |= (changed & 0x0b) | (ringEnded ? 4 : 0);
        break;
      }
      case 7:
        this.#scratch = value;
        break;
      default:
        // LSR and MSR are read-only.
        break;
    }
    this.#update();
  }

  exchange(archive: Archive): void {
    this.#fifo.splice(0, this.#fifo.length, ...archive.numbers(this.#fifo));
    this.#input = archive.numbers(this.#input);
    this.#ier = archive.number(this.#ier);
    this.#fcr = archive.number(this.#fcr);
    this.#lcr = archive.number(this.#lcr);
    this.#mcr = archive.number(this.#mcr);
    this.#scratch = archive.number(this.#scratch);
    this.#divisor = archive.number(this.#divisor);
    this.#emptyPending = archive.flag(this.#emptyPending);
    this.#modemDelta = archive.number(this.#modemDelta);
  }

  #divisorLatch(): boolean {
    return (this.#lcr & 0x80) !== 0;
  }

  #fifoEnabled(): boolean {
    return (this.#fcr & 1) !== 0;
  }

  #readByte(): number {
    const byte = this.#fifo.shift() ?? 0;
    this.#refill();
    this.#update();
    return byte;
  }

  #transmit(byte: number): void {
    if ((this.#mcr & Mcr.LOOP) !== 0) {
      this.#input.push(byte);
      this.#refill();
    } else {
      this.onTransmit(byte);
    }
    this.#emptyPending = true;
  }

  #refill(): void {
    const room = (this.#fifoEnabled() ? FIFO_BYTES : 1) - this.#fifo.length;
    if (room <= 0 || this.#input.length === 0) return;
    this.#fifo.push(...this.#input.slice(0, room));
    this.#input = this.#input.slice(room);
  }

  #modemStatus(): number {
    if ((this.#mcr & Mcr.LOOP) === 0) return MSR_CONNECTED;
    // In loopback the four outputs are wired to the four inputs.
    const { DTR, RTS, OUT1, OUT2 } = Mcr;
    const mcr = this.#mcr;
    return (
      ((mcr & RTS) !== 0 ? 0x10 : 0) |
      ((mcr & DTR) !== 0 ? 0x20 : 0) |
      ((mcr & OUT1) !== 0 ? 0x40 : 0) |
      ((mcr & OUT2) !== 0 ? 0x80 : 0)
    );
  }

  /** IIR: the most urgent cause. A FIFO below its trigger level counts as timed out at once, since bytes take no time. */
  #identify(): number {
    const fifo = this.#fifoEnabled() ? 0xc0 : 0;
    if ((this.#ier & Ier.RECEIVED) !== 0 && this.#fifo.length > 0) {
      const trigger = this.#fifoEnabled() ? TRIGGERS[this.#fcr >>> 6]! : 1;
      return fifo | (this.#fifo.length >= trigger ? 0x04 : 0x0c);
    }
    if ((this.#ier & Ier.EMPTY) !== 0 && this.#emptyPending) return fifo | 0x02;
    if ((this.#ier & Ier.MODEM) !== 0 && this.#modemDelta !== 0) return fifo | 0x00;
    return fifo | 0x01;
  }

  /** OUT2 connects the interrupt output to the bus on a PC; loopback disconnects it. */
  #update(): void {
    const connected = (this.#mcr & (Mcr.OUT2 | Mcr.LOOP)) === Mcr.OUT2;
    this.#irq.set(connected && (this.#identify() & 1) === 0);
  }
}
