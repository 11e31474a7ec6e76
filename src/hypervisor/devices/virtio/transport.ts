/**
 * The legacy interface of virtio over PCI (Virtual I/O Device 1.1, 4.1.4.8): registers behind one I/O base address register, INTx, no MSI-X.
 * Every driver since virtio 0.9 speaks it; revision 0 and a device number from 1000h on tell them to.
 *
 *     00h features of the device   08h page of the queue      0eh queue selected   12h status      14h configuration of the
 *     04h features accepted        0ch size of the queue      10h notify a queue   13h interrupt       kind of device
 */
import type { Archive } from '../../base/archive.js';
import { assert } from '../../base/assert.js';
import type { BusMemory, PortDevice, PortWidth } from '../device.js';
import type { CardIdentity } from '../pci.js';
import { type Chain, Virtqueue } from './queue.js';

const VENDOR = 0x1af4;
const FIRST_DEVICE = 0x1000;
/** Kinds of device (chapter 5), which are subsystem numbers here, with the class of the PCI function. */
export const VirtioKind = {
  network: { subsystem: 1, classCode: 0x020000 },
  block: { subsystem: 2, classCode: 0x010000 },
} as const;

/** Features of the ring (chapter 6). */
const Feature = { ANY_LAYOUT: 0x08000000, INDIRECT: 0x10000000 } as const;
const Register = {
  DEVICE_FEATURES: 0x00,
  DRIVER_FEATURES: 0x04,
  QUEUE_PAGE: 0x08,
  QUEUE_SIZE: 0x0c,
  QUEUE_SELECT: 0x0e,
  QUEUE_NOTIFY: 0x10,
  STATUS: 0x12,
  INTERRUPT: 0x13,
  CONFIGURATION: 0x14,
} as const;
const STATUS_NEEDS_RESET = 0x40;
const Interrupt = { QUEUE: 1, CONFIGURATION: 2 } as const;

/** What is behind the registers: one kind of device. */
export interface VirtioDevice {
  readonly kind: (typeof VirtioKind)[keyof typeof VirtioKind];
  /** Of this kind, bits 0 to 23. */
  readonly features: number;
  readonly queueSizes: readonly number[];
  /** Registers of this kind. */
  readonly configuration: Uint8Array;
  /** The driver has offered chains on a queue. */
  notified(queue: number): void;
  /** Whatever goes on is given up. */
  reset(): void;
  exchange(archive: Archive): void;
}

export interface VirtioWiring {
  readonly memory: BusMemory;
  readonly memoryBytes: number;
  /** Level of INTA#. */
  setInterrupt(level: boolean): void;
  /** A line of the VM's log. */
  log(line: string): void;
}

export const identityOf = ({ subsystem, classCode }: VirtioDevice['kind']): CardIdentity => ({
  vendor: VENDOR,
  device: FIRST_DEVICE + subsystem - 1,
  revision: 0,
  classCode,
  subsystemVendor: VENDOR,
  subsystem,
});

export class VirtioTransport implements PortDevice {
  readonly #name: string;
  readonly #wiring: VirtioWiring;
  #device: VirtioDevice | undefined;
  #queues: readonly Virtqueue[] = [];
  #accepted = 0;
  #selected = 0;
  #status = 0;
  #interrupt = 0;

  /** `name`: for the log. */
  constructor(name: string, wiring: VirtioWiring) {
    this.#name = name;
    this.#wiring = wiring;
  }

  /** Before anything else. */
  attach(device: VirtioDevice): void {
    this.#device = device;
    const { memory, memoryBytes } = this.#wiring;
    this.#queues = device.queueSizes.map(size => new Virtqueue(memory, memoryBytes, size));
  }

  // For the kind of device.

  get memory(): BusMemory {
    return this.#wiring.memory;
  }

  /** The next chain of a queue; none either once the device has stopped. */
  pop(queue: number): Chain | undefined {
    if (this.#stopped) return undefined;
    const popped = this.#queues[queue]!.pop();
    if (popped.kind === 'broken') this.fail(popped.reason);
    return popped.kind === 'chain' ? popped.chain : undefined;
  }

  unpop(queue: number): void {
    this.#queues[queue]!.unpop();
  }

  push(queue: number, chain: Chain, written: number): void {
    this.#queues[queue]!.push(chain, written);
  }

  /** Chains of a queue are done. */
  interrupt(queue: number): void {
    if (this.#queues[queue]!.interruptWanted) this.#raise(Interrupt.QUEUE);
  }

  /** The driver has written nonsense: the device does nothing more until it is reset (2.1.2). */
  fail(reason: string): void {
    if (this.#stopped) return;
    this.#wiring.log(`${this.#name}: ${reason}: stopped until the guest resets it`);
    this.#device!.reset();
    this.#status |= STATUS_NEEDS_RESET;
    this.#raise(Interrupt.CONFIGURATION);
  }

  // The ports.

  readPort(offset: number, width: PortWidth): number {
    if (offset >= Register.CONFIGURATION)
      return bytesAt(this.#kind.configuration, offset - Register.CONFIGURATION, width);
    const queue = this.#queues[this.#selected];
    switch (offset) {
      case Register.DEVICE_FEATURES:
        return this.#offered;
      case Register.DRIVER_FEATURES:
        return this.#accepted;
      case Register.QUEUE_PAGE:
        return queue?.page ?? 0;
      case Register.QUEUE_SIZE:
        return queue?.size ?? 0;
      case Register.QUEUE_SELECT:
        return this.#selected;
      case Register.STATUS:
        return this.#status;
      case Register.INTERRUPT: {
        // Reading it is the acknowledgement.
        const value = this.#interrupt;
        this.#interrupt = 0;
        this.#wiring.setInterrupt(false);
        return value;
      }
      default:
        return 0;
    }
  }

  writePort(offset: number, _width: PortWidth, value: number): void {
    switch (offset) {
      case Register.DRIVER_FEATURES: {
        this.#accepted = (value & this.#offered) >>> 0;
        const indirect = (this.#accepted & Feature.INDIRECT) !== 0;
        for (const queue of this.#queues) queue.indirectAllowed = indirect;
        break;
      }
      case Register.QUEUE_PAGE:
        this.#queues[this.#selected]?.place(value);
        break;
      case Register.QUEUE_SELECT:
        this.#selected = value & 0xffff;
        break;
      case Register.QUEUE_NOTIFY:
        if (value < this.#queues.length && !this.#stopped) this.#kind.notified(value);
        break;
      case Register.STATUS:
        if (value === 0) this.#reset();
        else this.#status = (value & 0xff & ~STATUS_NEEDS_RESET) | (this.#status & STATUS_NEEDS_RESET);
        break;
      default:
        // Configuration of our kinds cannot be written.
        break;
    }
  }

  /** With the device that is attached. */
  exchange(archive: Archive): void {
    this.#accepted = archive.number(this.#accepted);
    this.#selected = archive.number(this.#selected);
    this.#status = archive.number(this.#status);
    this.#interrupt = archive.number(this.#interrupt);
    for (const queue of this.#queues) queue.exchange(archive);
    this.#kind.exchange(archive);
  }

  get #kind(): VirtioDevice {
    assert(this.#device !== undefined, 'a virtio card without a device');
    return this.#device;
  }

  get #offered(): number {
    return (this.#kind.features | Feature.ANY_LAYOUT | Feature.INDIRECT) >>> 0;
  }

  get #stopped(): boolean {
    return (this.#status & STATUS_NEEDS_RESET) !== 0;
  }

  #raise(cause: number): void {
    this.#interrupt |= cause;
    this.#wiring.setInterrupt(true);
  }

  #reset(): void {
    this.#kind.reset();
    for (const queue of this.#queues) {
      queue.place(0);
      queue.indirectAllowed = false;
    }
    this.#accepted = 0;
    this.#selected = 0;
    this.#status = 0;
    this.#interrupt = 0;
    this.#wiring.setInterrupt(false);
  }
}

function bytesAt(bytes: Uint8Array, offset: number, width: PortWidth): number {
  let value = 0;
  for (let i = width - 1; i >= 0; i--) value = value * 256 + (bytes[offset + i] ?? 0);
  return value;
}
