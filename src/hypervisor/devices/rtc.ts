/**
 * MC146818 real-time clock with its CMOS memory: index at offset 0 (port 0x70), data at offset 1 (port 0x71).
 *
 * The date is a fixed epoch plus virtual time, so that every run sees the same dates. Writes to the clock registers are
 * dropped: a guest that sets its hardware clock keeps reading the host's. Periodic, alarm and update interrupts are not
 * raised; register C always reads as 0, "no interrupt".
 */
import type { Archive } from '../base/archive.js';
import { EPOCH_SECONDS } from '../base/epoch.js';
import type { PortDevice, PortWidth, VirtualClock } from './device.js';

export interface CivilTime {
  readonly year: number;
  /** 1..12. */
  readonly month: number;
  /** 1..31. */
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
  /** 1 is Sunday. */
  readonly weekday: number;
}

const isLeap = (year: number): boolean => (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
const DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] as const;

/** Gregorian calendar, UTC, no leap seconds. `seconds` counts from 1970-01-01 and is not negative. */
export function civilTime(seconds: number): CivilTime {
  const dayCount = Math.floor(seconds / 86_400);
  const inDay = seconds - dayCount * 86_400;
  let year = 1970;
  let day = dayCount;
  for (let length = 365; day >= length; length = isLeap(year) ? 366 : 365) {
    day -= length;
    year += 1;
  }
  let month = 0;
  for (;;) {
    const length = month === 1 && isLeap(year) ? 29 : DAYS[month]!;
    if (day < length) break;
    day -= length;
    month += 1;
  }
  return {
    year,
    month: month + 1,
    day: day + 1,
    hour: Math.floor(inDay / 3600),
    minute: Math.floor(inDay / 60) % 60,
    second: Math.floor(inDay) % 60,
    weekday: ((dayCount + 4) % 7) + 1,
  };
}

/** Status A: divider on, 32,768 Hz base, rate 1024 Hz. */
const STATUS_A = 0x26;
/** An update begins 244 us after UIP rises (data sheet); the date must not be read meanwhile. */
const UIP_SECONDS = 0.000244;

export class Rtc implements PortDevice {
  readonly #clock: VirtualClock;
  readonly #ram = new Uint8Array(128);
  #index = 0;
  /** Status B: 24-hour mode, BCD. */
  #statusB = 0x02;

  constructor(clock: VirtualClock, memoryBytes: number) {
    this.#clock = clock;
    const put16 = (at: number, value: number): void => {
      this.#ram[at] = value;
      this.#ram[at + 1] = value >>> 8;
    };
    put16(0x15, 640);
    const extendedKib = Math.min(0xffff, Math.max(0, (memoryBytes >>> 10) - 1024));
    put16(0x17, extendedKib);
    put16(0x30, extendedKib);
    // Memory above 16 MiB in units of 64 KiB.
    put16(0x34, Math.min(0xffff, Math.max(0, (memoryBytes - 0x1000000) / 65536)));
  }

  readPort(offset: number, _width: PortWidth): number {
    // The index port cannot be read back on a PC.
    return offset === 0 ? 0xff : this.#read(this.#index);
  }

  writePort(offset: number, _width: PortWidth, value: number): void {
    // Bit 7 gates NMI, of which this machine has no source.
    if (offset === 0) this.#index = value & 0x7f;
    else if (this.#index === 0x0b) this.#statusB = value & 0x7f;
    else if (this.#index >= 0x0e && this.#index !== 0x32) this.#ram[this.#index] = value;
  }

  exchange(archive: Archive): void {
    archive.bytes(this.#ram);
    this.#index = archive.number(this.#index);
    this.#statusB = archive.number(this.#statusB);
  }

  #read(index: number): number {
    const seconds = EPOCH_SECONDS + this.#clock.nowCycles / this.#clock.cyclesPerSecond;
    switch (index) {
      case 0x0a:
        return STATUS_A | (1 - (seconds % 1) <= UIP_SECONDS ? 0x80 : 0);
      case 0x0b:
        return this.#statusB;
      case 0x0c:
        return 0;
      case 0x0d:
        return 0x80;
      default:
        break;
    }
    if (index > 0x09 && index !== 0x32) return this.#ram[index]!;
    const time = civilTime(Math.floor(seconds));
    switch (index) {
      case 0x00:
        return this.#encode(time.second);
      case 0x02:
        return this.#encode(time.minute);
      case 0x04:
        return this.#encodeHour(time.hour);
      case 0x06:
        return this.#encode(time.weekday);
      case 0x07:
        return this.#encode(time.day);
      case 0x08:
        return this.#encode(time.month);
      case 0x09:
        return this.#encode(time.year % 100);
      case 0x32:
        return this.#encode(Math.floor(time.year / 100));
      default:
        // The alarm registers: "any time".
        return 0xc0;
    }
  }

  #encode(value: number): number {
    return (this.#statusB & 0x04) !== 0 ? value : (Math.floor(value / 10) << 4) | (value % 10);
  }

  #encodeHour(hour: number): number {
    if ((this.#statusB & 0x02) !== 0) return this.#encode(hour);
    return this.#encode(((hour + 11) % 12) + 1) | (hour >= 12 ? 0x80 : 0);
  }
}
