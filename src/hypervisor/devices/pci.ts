/**
 * PCI configuration space by mechanism #1 (PCI Local Bus Specification 2.1, 3.7.4.1): a dword at 0xCF8 selects a function's register,
 * 0xCFC to 0xCFF are its bytes. Bus 0 alone. What no function answers reads as all ones.
 *
 * Narrower accesses at 0xCF8 are no configuration address; at 0xCF9 is the reset control of Intel's south bridges.
 */
import type { Archive } from '../base/archive.js';
import type { PortBus, PortWindow } from './bus.js';
import type { IrqLine, PortDevice, PortWidth } from './device.js';
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

/** Offsets of registers (2.1, chapter 6), and of INTx's enable and state (2.3, 6.2.2 and 6.2.3). */
const Register = {
  COMMAND: 0x04,
  STATUS: 0x06,
  BAR0: 0x10,
  SUBSYSTEM: 0x2c,
  INTERRUPT_LINE: 0x3c,
  INTERRUPT_PIN: 0x3d,
} as const;
const Command = { IO: 0x001, BUS_MASTER: 0x004, INTX_DISABLE: 0x400 } as const;
const COMMAND_WRITABLE = Command.IO | Command.BUS_MASTER | Command.INTX_DISABLE;
const STATUS_INTX = 0x08;
const BAR_IS_IO = 0x01;
const PIN_A = 1;

export interface CardIdentity {
  readonly vendor: number;
  readonly device: number;
  readonly revision: number;
  /** Base class, subclass and interface, 24 bits. */
  readonly classCode: number;
  readonly subsystemVendor: number;
  readonly subsystem: number;
}

/**
 * A card with ports behind its first base address register, and INTA#. Masters the bus whatever its command register says of that:
 * drivers of the legacy virtio interface were known to forget it.
 */
export class PciCard implements PciFunction {
  readonly #fixed: FixedFunction;
  readonly #identity: CardIdentity;
  readonly #length: number;
  readonly #window: PortWindow;
  readonly #wire: IrqLine;
  #command = 0;
  #bar = 0;
  #interruptLine = 0;
  #interrupt = false;

  /** `length`: ports, a power of two from 4 to 256. */
  constructor(identity: CardIdentity, ports: PortBus, length: number, device: PortDevice, wire: IrqLine) {
    const { vendor, device: id, revision, classCode } = identity;
    this.#fixed = new FixedFunction(vendor, id, revision, classCode);
    this.#identity = identity;
    this.#length = length;
    this.#window = ports.window(length, device);
    this.#wire = wire;
  }

  /** What firmware leaves behind: ports at `base`, the number of the interrupt line for drivers to read, and both in use. */
  configure(base: number, interruptLine: number): void {
    this.#interruptLine = interruptLine;
    this.write(Register.BAR0, 4, base);
    this.write(Register.COMMAND, 2, Command.IO);
  }

  /** Raises or lowers INTA#. */
  setInterrupt(level: boolean): void {
    this.#interrupt = level;
    this.#update();
  }

  read(register: number, width: PortWidth): number {
    let value = 0;
    for (let i = width - 1; i >= 0; i--) value = value * 256 + this.#byte(register + i);
    return value;
  }

  write(register: number, width: PortWidth, value: number): void {
    for (let i = 0; i < width; i++) this.#setByte(register + i, Math.floor(value / 2 ** (8 * i)) & 0xff);
    this.#update();
  }

  exchange(archive: Archive): void {
    this.#command = archive.number(this.#command);
    this.#bar = archive.number(this.#bar);
    this.#interruptLine = archive.number(this.#interruptLine);
    this.#interrupt = archive.flag(this.#interrupt);
    if (archive.restores) this.#update();
  }

  #byte(register: number): number {
    const { subsystemVendor, subsystem } = this.#identity;
    const byteOf = (value: number, first: number): number => (value >>> (8 * (register - first))) & 0xff;
    if (register >= Register.COMMAND && register < Register.STATUS) return byteOf(this.#command, Register.COMMAND);
    if (register === Register.STATUS) return this.#fixed.read(register, 1) | (this.#interrupt ? STATUS_INTX : 0);
    if (register >= Register.BAR0 && register < Register.BAR0 + 4) return byteOf(this.#bar | BAR_IS_IO, Register.BAR0);
    if (register >= Register.SUBSYSTEM && register < Register.SUBSYSTEM + 4)
      return byteOf(subsystemVendor | (subsystem << 16), Register.SUBSYSTEM);
    if (register === Register.INTERRUPT_LINE) return this.#interruptLine;
    if (register === Register.INTERRUPT_PIN) return PIN_A;
    return this.#fixed.read(register, 1);
  }

  #setByte(register: number, value: number): void {
    const replaced = (old: number, first: number): number => {
      const shift = 8 * (register - first);
      return (old & ~(0xff << shift)) | (value << shift);
    };
    if (register >= Register.COMMAND && register < Register.STATUS)
      this.#command = replaced(this.#command, Register.COMMAND) & COMMAND_WRITABLE;
    // Of a base address only the bits above the card's size exist: all ones written come back as that size.
    else if (register >= Register.BAR0 && register < Register.BAR0 + 4)
      this.#bar = replaced(this.#bar, Register.BAR0) & -this.#length;
    else if (register === Register.INTERRUPT_LINE) this.#interruptLine = value;
  }

  #update(): void {
    this.#window.place((this.#command & Command.IO) !== 0 ? this.#bar >>> 0 : undefined);
    this.#wire.set(this.#interrupt && (this.#command & Command.INTX_DISABLE) === 0);
  }
}

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

  exchange(archive: Archive): void {
    this.#address = archive.number(this.#address);
  }

  #register(offset: number): number {
    return (this.#address & 0xfc) + offset - DATA;
  }

  #selected(): PciFunction | undefined {
    const bus = (this.#address >>> 16) & 0xff;
    return this.#address >= ENABLE && bus === 0 ? this.#functions.get((this.#address >>> 8) & 0xff) : undefined;
  }
}
