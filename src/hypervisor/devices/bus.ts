/**
 * Routes port and memory-mapped accesses to devices. What nobody claims reads as all ones, as on a bus that floats high,
 * and swallows writes.
 */
import { assert } from '../base/assert.js';
import type { MmioDevice, PortDevice, PortWidth } from './device.js';

interface PortClaim {
  readonly device: PortDevice;
  readonly offset: number;
  /** A wider access is cut into accesses of this width at consecutive ports, as the ISA bus does. */
  readonly widthMax: PortWidth;
}

/** Ports that their owner moves about (PCI's base address registers). */
export interface PortWindow {
  /** First port, or nowhere. Where it lies over ports that are claimed, or over another window, these are not reached through it. */
  place(base: number | undefined): void;
}

interface MovableClaim {
  readonly length: number;
  readonly device: PortDevice;
  base: number | undefined;
}

interface MmioClaim {
  readonly base: number;
  readonly length: number;
  readonly device: MmioDevice;
}

const ones = (width: PortWidth): number => (width === 4 ? 0xffffffff : width === 2 ? 0xffff : 0xff);
const truncate = (value: number, width: PortWidth): number => (width === 4 ? value >>> 0 : value & ones(width));

export class PortBus {
  readonly #claims = new Map<number, PortClaim>();
  readonly #windows: MovableClaim[] = [];

  /** Ports `base` to `base + length - 1`. A port has one owner. */
  claim(base: number, length: number, device: PortDevice, widthMax: PortWidth = 1): void {
    for (let offset = 0; offset < length; offset++) {
      assert(!this.#claims.has(base + offset), 'port claimed twice');
      this.#claims.set(base + offset, { device, offset, widthMax });
    }
  }

  /** `length` ports that take accesses of any width, and are nowhere yet. */
  window(length: number, device: PortDevice): PortWindow {
    const window: MovableClaim = { length, device, base: undefined };
    this.#windows.push(window);
    return {
      place: base => {
        window.base = base;
      },
    };
  }

  read(port: number, width: PortWidth): number {
    const claim = this.#find(port);
    if (claim === undefined) {
      // The upper half of a wide access may belong to somebody.
      if (width === 1) return 0xff;
      const half = (width >>> 1) as PortWidth;
      return this.#join(this.read(port, half), this.read((port + half) & 0xffff, half), half);
    }
    if (width <= claim.widthMax) return truncate(claim.device.readPort(claim.offset, width), width);
    const half = (width >>> 1) as PortWidth;
    return this.#join(this.read(port, half), this.read((port + half) & 0xffff, half), half);
  }

  write(port: number, width: PortWidth, value: number): void {
    const claim = this.#find(port);
    if (claim !== undefined && width <= claim.widthMax) {
      claim.device.writePort(claim.offset, width, truncate(value, width));
      return;
    }
    if (width === 1) return;
    const half = (width >>> 1) as PortWidth;
    this.write(port, half, truncate(value, half));
    this.write((port + half) & 0xffff, half, value >>> (8 * half));
  }

  #find(port: number): PortClaim | undefined {
    const claim = this.#claims.get(port);
    if (claim !== undefined || this.#windows.length === 0) return claim;
    for (const { base, length, device } of this.#windows) {
      if (base !== undefined && port >= base && port < base + length)
        return { device, offset: port - base, widthMax: 4 };
    }
    return undefined;
  }

  #join(low: number, high: number, half: PortWidth): number {
    return (low + high * 2 ** (8 * half)) >>> 0;
  }
}

export class MmioBus {
  readonly #claims: MmioClaim[] = [];

  /** Physical addresses `base` to `base + length - 1`. */
  claim(base: number, length: number, device: MmioDevice): void {
    const free = this.#claims.every(claim => base + length <= claim.base || claim.base + claim.length <= base);
    assert(free, 'device memory claimed twice');
    this.#claims.push({ base, length, device });
  }

  /** True when the page belongs, in part or whole, to a device. */
  claims(physicalPage: number): boolean {
    const base = physicalPage * 4096;
    return this.#claims.some(claim => claim.base < base + 4096 && base < claim.base + claim.length);
  }

  read(physical: number, width: PortWidth): number {
    const claim = this.#find(physical);
    return claim === undefined ? ones(width) : truncate(claim.device.readMmio(physical - claim.base, width), width);
  }

  write(physical: number, width: PortWidth, value: number): void {
    const claim = this.#find(physical);
    claim?.device.writeMmio(physical - claim.base, width, truncate(value, width));
  }

  #find(physical: number): MmioClaim | undefined {
    return this.#claims.find(claim => physical >= claim.base && physical < claim.base + claim.length);
  }
}
