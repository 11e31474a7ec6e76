/**
 * PCI configuration space by mechanism #1 (PCI Local Bus Specification 2.1, 3.7.4.1): a dword at 0xCF8 selects a function's register,
 * 0xCFC to 0xCFF are its bytes. Bus 0 alone. What no function answers reads as all ones.
 *
 * Narrower accesses at 0xCF8 are no configuration address; at 0xCF9 is the reset control of Intel's south bridges.
 */
import type { PortDevice, PortWidth } from './device.js';
import type { PowerSignal } from './system-control.js';

export const PCI_PORT = 0xcf8;
export const PCI_PORTS = 8;

/** One function of a device: 256 bytes of registers. */
export interface PciFunction {
  /** Aligned to its width. Values are unsigned. */
  read(register: number, width: PortWidth): number;
  write(register: number, width: PortWidth, value: number): void;
}

/** Registers that only say who somebody is. */
export class FixedFunction implements PciFunction {
  readonly #registers = new Uint8Array(256);

  /** `classCode`: base class, subclass and interface, 24 bits. */
  constructor(vendor: number, device: number, revision: number, classCode: number) {
    const view = new DataView(this.#registers.buffer);
    view.setUint16(0x00, vendor, true);
    view.setUint16(0x02, device, true);
    // Status: medium DEVSEL timing.
    view.setUint16(0x06, 0x0200, true);
    view.setUint32(0x08, ((classCode << 8) | revision) >>> 0, true);
  }

  read(register: number, width: PortWidth): number {
    let value = 0;
    for (let i = width - 1; i >= 0; i--) value = value * 256 + this.#registers[register + i]!;
    return value;
  }

  write(): void {}
}

/** An Intel 440FX, as on the board of QEMU and Bochs: the last one of its family without AGP, which kernels would look for. */
export const hostBridge = (): PciFunction => new FixedFunction(0x8086, 0x1237, 0x02, 0x060000);

const ENABLE = 0x80000000;
/** Bits of the address that can be written: bus, device, function and register. */
const ADDRESS = 0x80fffffc;
const DATA = 4;
const RESET_CONTROL = 1;
const RESET_CPU = 0x04;

export class PciHost implements PortDevice {
  readonly #signal: PowerSignal;
  /** By device << 3 | function. */
  readonly #functions = new Map<number, PciFunction>();
  #address = 0;

  constructor(signal: PowerSignal) {
    this.#signal = signal;
  }

  /** A function on bus 0. */
  add(device: number, fn: number, registers: PciFunction): void {
    this.#functions.set((device << 3) | fn, registers);
  }

  readPort(offset: number, width: PortWidth): number {
    if (offset >= DATA) return this.#selected()?.read(this.#register(offset), width) ?? 0xffffffff;
    return offset === 0 && width === 4 ? this.#address : 0xffffffff;
  }

  writePort(offset: number, width: PortWidth, value: number): void {
    if (offset >= DATA) this.#selected()?.write(this.#register(offset), width, value);
    else if (offset === 0 && width === 4) this.#address = (value & ADDRESS) >>> 0;
    else if (offset === RESET_CONTROL && width === 1 && (value & RESET_CPU) !== 0) this.#signal({ kind: 'reset' });
  }

  saveState(): { readonly address: number } {
    return { address: this.#address };
  }

  #register(offset: number): number {
    return (this.#address & 0xfc) + offset - DATA;
  }

  #selected(): PciFunction | undefined {
    const bus = (this.#address >>> 16) & 0xff;
    return this.#address >= ENABLE && bus === 0 ? this.#functions.get((this.#address >>> 8) & 0xff) : undefined;
  }
}
