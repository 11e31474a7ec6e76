/** A driver of the legacy interface, written from the other side's chapters: memory, queues, and buffers in them. */
import { Prng } from '../../../src/hypervisor/base/prng.js';
import type { BusMemory, PortDevice } from '../../../src/hypervisor/devices/device.js';
import { type VirtioDevice, VirtioTransport } from '../../../src/hypervisor/devices/virtio/transport.js';

export const MEMORY_BYTES = 1 << 20;
/** Queues lie at the start of memory, 64 KiB for each; what is behind is for buffers. */
const QUEUE_BYTES = 0x10000;
const BUFFERS_AT = 0x40000;
export const Port = {
  FEATURES: 0,
  ACCEPT: 4,
  PAGE: 8,
  SIZE: 12,
  SELECT: 14,
  NOTIFY: 16,
  STATUS: 18,
  ISR: 19,
  CONFIG: 20,
};
export const Flag = { NEXT: 1, WRITE: 2, INDIRECT: 4 };
const INDIRECT = 0x10000000;
const READY = 0x07;

export class FlatMemory implements BusMemory {
  readonly bytes = new Uint8Array(MEMORY_BYTES);
  readonly view = new DataView(this.bytes.buffer);
  /** Accesses that left memory: a device must not make any. */
  outside = 0;

  read(physical: number, length: number): Uint8Array {
    this.#check(physical, length);
    return this.bytes.slice(physical, physical + length);
  }

  write(physical: number, bytes: Uint8Array): void {
    this.#check(physical, bytes.length);
    this.bytes.set(bytes.subarray(0, Math.max(0, MEMORY_BYTES - physical)), physical);
  }

  #check(physical: number, length: number): void {
    if (physical < 0 || physical + length > MEMORY_BYTES) this.outside += 1;
  }
}

/** A buffer of a chain: bytes for the device, or room for so many from it. */
export type Buffer = Uint8Array | number;

export interface RawDescriptor {
  readonly address: number;
  readonly high?: number;
  readonly length: number;
  readonly flags: number;
  readonly next?: number;
}

export interface Used {
  readonly head: number;
  readonly written: number;
  /** Contents of the buffers for the device to write, one behind the other, in full. */
  readonly bytes: Uint8Array;
}

interface Queue {
  readonly size: number;
  readonly base: number;
  free: number[];
  available: number;
  used: number;
  readonly offered: Map<number, { readonly taken: number[]; readonly writable: { address: number; length: number }[] }>;
}

export class Driver {
  readonly memory = new FlatMemory();
  readonly log: string[] = [];
  readonly transport: VirtioTransport;
  level = false;
  #queues: Queue[] = [];
  #next = BUFFERS_AT;

  constructor(make: (transport: VirtioTransport) => VirtioDevice) {
    this.transport = new VirtioTransport('card', {
      memory: this.memory,
      memoryBytes: MEMORY_BYTES,
      setInterrupt: level => {
        this.level = level;
      },
      log: line => this.log.push(line),
    });
    this.transport.attach(make(this.transport));
  }

  get port(): PortDevice {
    return this.transport;
  }

  get status(): number {
    return this.port.readPort(Port.STATUS, 1);
  }

  /** Resets the device, accepts all that it offers (but for chains by table, unless `indirect`), and gives it its queues. */
  start(indirect = true): void {
    const { port } = this;
    port.writePort(Port.STATUS, 1, 0);
    this.memory.bytes.fill(0);
    this.#next = BUFFERS_AT;
    const offered = port.readPort(Port.FEATURES, 4);
    port.writePort(Port.ACCEPT, 4, indirect ? offered : (offered & ~INDIRECT) >>> 0);
    this.#queues = [];
    for (let index = 0; ; index++) {
      port.writePort(Port.SELECT, 2, index);
      const size = port.readPort(Port.SIZE, 2);
      if (size === 0) break;
      const base = QUEUE_BYTES * (index + 1);
      port.writePort(Port.PAGE, 4, base / 4096);
      const free = Array.from({ length: size }, (_, i) => i);
      this.#queues.push({ size, base, free, available: 0, used: 0, offered: new Map() });
    }
    port.writePort(Port.STATUS, 1, READY);
  }

  /** Offers a chain without telling the device. `shuffle`: descriptors in no order. Returns its head. */
  offer(index: number, buffers: readonly Buffer[], { indirect = false, shuffle = new Prng(1) } = {}): number {
    const queue = this.#queues[index]!;
    const count = indirect ? 1 : buffers.length;
    const taken = Array.from({ length: count }, () => queue.free.splice(shuffle.below(queue.free.length), 1)[0]!);
    const places = indirect ? buffers.map((_, i) => i) : taken;
    const table = indirect ? this.allocate(16 * buffers.length) : queue.base;
    const writable: { address: number; length: number }[] = [];
    buffers.forEach((buffer, i) => {
      const length = typeof buffer === 'number' ? buffer : buffer.length;
      const address = this.allocate(length);
      if (typeof buffer === 'number') writable.push({ address, length });
      else this.memory.bytes.set(buffer, address);
      const flags = (typeof buffer === 'number' ? Flag.WRITE : 0) | (i + 1 < buffers.length ? Flag.NEXT : 0);
      this.describe(table, places[i]!, { address, length, flags, next: places[i + 1] ?? 0 });
    });
    const head = taken[0]!;
    if (indirect)
      this.describe(queue.base, head, { address: table, length: 16 * buffers.length, flags: Flag.INDIRECT });
    queue.offered.set(head, { taken, writable });
    this.offerHead(index, head);
    return head;
  }

  /** Puts any number into the ring of available chains. */
  offerHead(index: number, head: number): void {
    const queue = this.#queues[index]!;
    const ring = queue.base + 16 * queue.size;
    this.memory.view.setUint16(ring + 4 + 2 * (queue.available % queue.size), head, true);
    this.setAvailable(index, queue.available + 1);
  }

  /** Claims that so many chains were offered ever. */
  setAvailable(index: number, available: number): void {
    const queue = this.#queues[index]!;
    queue.available = available & 0xffff;
    this.memory.view.setUint16(queue.base + 16 * queue.size + 2, queue.available, true);
  }

  setNoInterrupt(index: number, flag: boolean): void {
    const queue = this.#queues[index]!;
    this.memory.view.setUint16(queue.base + 16 * queue.size, flag ? 1 : 0, true);
  }

  /** Writes a descriptor of a queue's table, or of another one. */
  describe(table: number, index: number, { address, high = 0, length, flags, next = 0 }: RawDescriptor): void {
    const at = table + 16 * index;
    const { view } = this.memory;
    view.setUint32(at, address, true);
    view.setUint32(at + 4, high, true);
    view.setUint32(at + 8, length, true);
    view.setUint16(at + 12, flags, true);
    view.setUint16(at + 14, next, true);
  }

  tableOf(index: number): number {
    return this.#queues[index]!.base;
  }

  allocate(length: number): number {
    const at = this.#next;
    this.#next += Math.max(16, length + 15) & ~15;
    if (this.#next > MEMORY_BYTES) throw new Error('the test uses too much memory');
    return at;
  }

  /** Memory of buffers is free again: nothing is offered. */
  rewind(): void {
    this.#next = BUFFERS_AT;
  }

  notify(index: number): void {
    this.port.writePort(Port.NOTIFY, 2, index);
  }

  /** Chains that were done since the last call. */
  used(index: number): Used[] {
    const queue = this.#queues[index]!;
    const at = Math.ceil((queue.base + 16 * queue.size + 6 + 2 * queue.size) / 4096) * 4096;
    const { view, bytes } = this.memory;
    const done: Used[] = [];
    for (; queue.used !== view.getUint16(at + 2, true); queue.used = (queue.used + 1) & 0xffff) {
      const element = at + 4 + 8 * (queue.used % queue.size);
      const head = view.getUint32(element, true);
      const offered = queue.offered.get(head);
      if (offered === undefined) throw new Error(`the device is done with ${head}, which was not offered`);
      queue.offered.delete(head);
      queue.free.push(...offered.taken);
      const parts = offered.writable.map(({ address, length }) => [...bytes.subarray(address, address + length)]);
      done.push({ head, written: view.getUint32(element + 4, true), bytes: Uint8Array.from(parts.flat()) });
    }
    return done;
  }
}
