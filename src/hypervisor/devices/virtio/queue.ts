/**
 * A split virtqueue from the device's side (Virtual I/O Device 1.1, 2.6), where legacy drivers put it (2.6.2): three parts in one range of
 * guest memory, from a page that the driver names.
 *
 *     descriptors   16 bytes each: address, length, flags, next
 *     available     flags, index, heads of chains that the driver offers        (next page boundary)
 *     used          flags, index, heads and lengths of chains that are done
 *
 * Whatever a driver writes there may be nonsense. `pop` follows nothing outside memory, comes to an end on every chain, and says what is wrong
 * as a value; the owner then stops the device.
 */
import type { Archive } from '../../base/archive.js';
import type { BusMemory } from '../device.js';

export interface Segment {
  readonly address: number;
  readonly length: number;
}

export type Popped =
  | { readonly kind: 'chain'; readonly chain: Chain }
  | { readonly kind: 'empty' }
  | { readonly kind: 'broken'; readonly reason: string };

const PAGE_BYTES = 4096;
const DESCRIPTOR_BYTES = 16;
const USED_ELEMENT_BYTES = 8;
/** Flags and index before the ring itself. */
const RING_AT = 4;
const Flag = { NEXT: 1, WRITE: 2, INDIRECT: 4 } as const;
const AVAILABLE_NO_INTERRUPT = 1;
const INDEX_MASK = 0xffff;

interface Descriptor extends Segment {
  /** High half of the address. */
  readonly high: number;
  readonly flags: number;
  readonly next: number;
}

/** What one chain of descriptors describes: bytes for the device to read, then room for it to write. */
export class Chain {
  readonly readableBytes: number;
  readonly writableBytes: number;

  constructor(
    readonly memory: BusMemory,
    readonly head: number,
    readonly readable: readonly Segment[],
    readonly writable: readonly Segment[],
  ) {
    this.readableBytes = total(readable);
    this.writableBytes = total(writable);
  }

  /** The chain, or the one that the archive holds. */
  static exchange(archive: Archive, memory: BusMemory, chain: Chain | undefined): Chain {
    const segment = (known: Segment | undefined): Segment => ({
      address: archive.number(known?.address ?? 0),
      length: archive.number(known?.length ?? 0),
    });
    const head = archive.number(chain?.head ?? 0);
    const readable = archive.list(chain?.readable ?? [], segment);
    return new Chain(memory, head, readable, archive.list(chain?.writable ?? [], segment));
  }

  /** Bytes of the readable part; the range must lie within it. */
  read(offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    pieces(this.readable, offset, length, (address, done, count) => bytes.set(this.memory.read(address, count), done));
    return bytes;
  }

  /** Fills a range of the writable part; it must lie within it. */
  write(offset: number, bytes: Uint8Array): void {
    pieces(this.writable, offset, bytes.length, (address, done, count) =>
      this.memory.write(address, bytes.subarray(done, done + count)),
    );
  }
}

const total = (segments: readonly Segment[]): number => segments.reduce((sum, { length }) => sum + length, 0);

function pieces(
  segments: readonly Segment[],
  offset: number,
  length: number,
  visit: (address: number, done: number, count: number) => void,
): void {
  let done = 0;
  let skip = offset;
  for (const segment of segments) {
    if (done === length) return;
    if (skip >= segment.length) {
      skip -= segment.length;
      continue;
    }
    const count = Math.min(segment.length - skip, length - done);
    visit(segment.address + skip, done, count);
    done += count;
    skip = 0;
  }
}

export class Virtqueue {
  readonly size: number;
  /** The driver may offer chains by a table of their own (VIRTIO_F_INDIRECT_DESC was accepted). */
  indirectAllowed = false;
  readonly #memory: BusMemory;
  readonly #memoryBytes: number;
  #page = 0;
  #availableTaken = 0;
  #usedIndex = 0;

  /** `size`: a power of two. */
  constructor(memory: BusMemory, memoryBytes: number, size: number) {
    this.#memory = memory;
    this.#memoryBytes = memoryBytes;
    this.size = size;
  }

  /** Page of guest memory where the queue begins; 0: there is none. */
  get page(): number {
    return this.#page;
  }

  /** The driver has put the queue somewhere; it begins empty. */
  place(page: number): void {
    this.#page = page;
    this.#availableTaken = 0;
    this.#usedIndex = 0;
  }

  /** Does the driver want to hear of chains that are done? */
  get interruptWanted(): boolean {
    return this.#page !== 0 && (this.#word(this.#available) & AVAILABLE_NO_INTERRUPT) === 0;
  }

  /** The next chain that the driver offers. */
  pop(): Popped {
    if (this.#page === 0) return { kind: 'empty' };
    if (!this.#inMemory(this.#base, this.#used - this.#base + RING_AT + USED_ELEMENT_BYTES * this.size))
      return broken('the queue is outside memory');
    const offered = (this.#word(this.#available + 2) - this.#availableTaken) & INDEX_MASK;
    if (offered === 0) return { kind: 'empty' };
    if (offered > this.size) return broken(`${offered} chains are offered by a queue of ${this.size}`);
    const head = this.#word(this.#available + RING_AT + 2 * (this.#availableTaken % this.size));
    const popped = this.#chain(head);
    if (popped.kind === 'chain') this.#availableTaken = (this.#availableTaken + 1) & INDEX_MASK;
    return popped;
  }

  /** The chain popped last was not used: it will be popped again. */
  unpop(): void {
    this.#availableTaken = (this.#availableTaken - 1) & INDEX_MASK;
  }

  /** A chain is done; `written` bytes of its writable part were filled, from the first. */
  push(chain: Chain, written: number): void {
    const element = new DataView(new ArrayBuffer(USED_ELEMENT_BYTES));
    element.setUint32(0, chain.head, true);
    element.setUint32(4, written, true);
    const at = this.#used + RING_AT + USED_ELEMENT_BYTES * (this.#usedIndex % this.size);
    this.#memory.write(at, new Uint8Array(element.buffer));
    this.#usedIndex = (this.#usedIndex + 1) & INDEX_MASK;
    this.#memory.write(this.#used + 2, Uint8Array.of(this.#usedIndex & 0xff, this.#usedIndex >>> 8));
  }

  exchange(archive: Archive): void {
    this.indirectAllowed = archive.flag(this.indirectAllowed);
    this.#page = archive.number(this.#page);
    this.#availableTaken = archive.number(this.#availableTaken);
    this.#usedIndex = archive.number(this.#usedIndex);
  }

  get #base(): number {
    return this.#page * PAGE_BYTES;
  }

  get #available(): number {
    return this.#base + DESCRIPTOR_BYTES * this.size;
  }

  get #used(): number {
    // Behind the ring of available chains is one more word (used_event).
    const end = this.#available + RING_AT + 2 * this.size + 2;
    return Math.ceil(end / PAGE_BYTES) * PAGE_BYTES;
  }

  #chain(head: number): Popped {
    if (head >= this.size) return broken(`the head ${head} is none of ${this.size} descriptors`);
    const first = this.#descriptor(this.#base, head);
    if ((first.flags & Flag.INDIRECT) === 0) return this.#follow(head, this.#base, this.size, head);
    if (!this.indirectAllowed) return broken('an indirect descriptor, which was not agreed on');
    if ((first.flags & Flag.NEXT) !== 0) return broken('an indirect descriptor has a next one');
    const { address, length, high } = first;
    if (high !== 0 || !this.#inMemory(address, length)) return broken('an indirect table is outside memory');
    if (length === 0 || length % DESCRIPTOR_BYTES !== 0) return broken(`an indirect table of ${length} bytes`);
    return this.#follow(head, address, length / DESCRIPTOR_BYTES, 0);
  }

  /** The chain from `start` on in a table of `count` descriptors. */
  #follow(head: number, table: number, count: number, start: number): Popped {
    const readable: Segment[] = [];
    const writable: Segment[] = [];
    let index = start;
    for (let steps = 0; steps < count; steps++) {
      const { address, high, length, flags, next } = this.#descriptor(table, index);
      if ((flags & Flag.INDIRECT) !== 0) return broken('an indirect descriptor within a chain');
      if (high !== 0 || !this.#inMemory(address, length)) return broken('a buffer is outside memory');
      if ((flags & Flag.WRITE) !== 0) writable.push({ address, length });
      else if (writable.length > 0) return broken('a buffer to read behind one to write');
      else readable.push({ address, length });
      if ((flags & Flag.NEXT) === 0) return { kind: 'chain', chain: new Chain(this.#memory, head, readable, writable) };
      if (next >= count) return broken(`the next descriptor ${next} is none of ${count}`);
      index = next;
    }
    return broken('a chain of descriptors has no end');
  }

  #descriptor(table: number, index: number): Descriptor {
    const bytes = this.#memory.read(table + DESCRIPTOR_BYTES * index, DESCRIPTOR_BYTES);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return {
      address: view.getUint32(0, true),
      high: view.getUint32(4, true),
      length: view.getUint32(8, true),
      flags: view.getUint16(12, true),
      next: view.getUint16(14, true),
    };
  }

  #word(address: number): number {
    const [low, high] = this.#memory.read(address, 2);
    return low! | (high! << 8);
  }

  #inMemory(address: number, length: number): boolean {
    return address + length <= this.#memoryBytes;
  }
}

const broken = (reason: string): Popped => ({ kind: 'broken', reason });
