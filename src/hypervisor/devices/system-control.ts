/**
 * The small ports of a PC's system board: system control port B (0x61), POST code (0x80), system control port A (0x92), the
 * ports by which virtual machines are switched off (0x604 and 0xB004: the ACPI power control of QEMU's and Bochs's boards; 0xF4:
 * QEMU's debug exit).
 */
import type { Archive } from '../base/archive.js';
import type { PortDevice, PortWidth, VirtualClock } from './device.js';

export type PowerRequest =
  | { readonly kind: 'powerOff' }
  | { readonly kind: 'reset' }
  | { readonly kind: 'debugExit'; readonly value: number };

export type PowerSignal = (request: PowerRequest) => void;

/** What port 0x61 controls and shows of the interval timer. */
export interface SpeakerTimer {
  setGate2(level: boolean): void;
  readonly output2: boolean;
}

/** Port 0x61: bits 0 and 1 gate the speaker timer and the speaker; 4 toggles with memory refresh; 5 is the timer's output. */
export class SystemControlB implements PortDevice {
  readonly #timer: SpeakerTimer;
  readonly #clock: VirtualClock;
  #bits = 0;

  constructor(timer: SpeakerTimer, clock: VirtualClock) {
    this.#timer = timer;
    this.#clock = clock;
  }

  readPort(_offset: number, _width: PortWidth): number {
    const microseconds = Math.floor((this.#clock.nowCycles * 1e6) / this.#clock.cyclesPerSecond);
    // Refresh requests come about every 15 us.
    const refresh = Math.floor(microseconds / 15) % 2 === 0 ? 0 : 0x10;
    return this.#bits | refresh | (this.#timer.output2 ? 0x20 : 0);
  }

  writePort(_offset: number, _width: PortWidth, value: number): void {
    this.#bits = value & 0x0f;
    this.#timer.setGate2((value & 1) !== 0);
  }

  exchange(archive: Archive): void {
    this.#bits = archive.number(this.#bits);
  }
}

/** Port 0x92: bit 0 resets, bit 1 is the A20 gate (kept and shown; address line 20 is always open here). */
export class SystemControlA implements PortDevice {
  readonly #signal: PowerSignal;
  #a20 = 0x02;

  constructor(signal: PowerSignal) {
    this.#signal = signal;
  }

  readPort(): number {
    return this.#a20;
  }

  writePort(_offset: number, _width: PortWidth, value: number): void {
    this.#a20 = value & 0x02;
    if ((value & 1) !== 0) this.#signal({ kind: 'reset' });
  }

  exchange(archive: Archive): void {
    this.#a20 = archive.number(this.#a20);
  }
}

/** Port 0x80: writes are the usual I/O delay; the last code can be read back. */
export class PostCode implements PortDevice {
  #code = 0;

  readPort(): number {
    return this.#code;
  }

  writePort(_offset: number, _width: PortWidth, value: number): void {
    this.#code = value;
  }

  exchange(archive: Archive): void {
    this.#code = archive.number(this.#code);
  }
}

/** ACPI power control: the value 0x2000 (sleep enable, type 0) switches off. Reads as 0. */
export class PowerPort implements PortDevice {
  readonly #signal: PowerSignal;

  constructor(signal: PowerSignal) {
    this.#signal = signal;
  }

  readPort(): number {
    return 0;
  }

  writePort(_offset: number, width: PortWidth, value: number): void {
    if (width >= 2 && (value & 0xffff) === 0x2000) this.#signal({ kind: 'powerOff' });
  }
}

/** Any write ends the machine with the value as its result. */
export class DebugExit implements PortDevice {
  readonly #signal: PowerSignal;

  constructor(signal: PowerSignal) {
    this.#signal = signal;
  }

  readPort(): number {
    return 0xffffffff;
  }

  writePort(_offset: number, _width: PortWidth, value: number): void {
    this.#signal({ kind: 'debugExit', value });
  }
}
