/**
 * A virtio block device (Virtual I/O Device 1.1, 5.2): read, write, flush and the disk's name. A request is what a driver sees until the
 * drive says that it is done; its bytes move then.
 *
 *     to read: type, reserved, sector (16 bytes), data to write        to write: data that was read, status (1 byte)
 */
import type { Archive } from '../../base/archive.js';
import { exchangeTimer, type TimerHandle, type VirtualClock } from '../device.js';
import type { DiskDrive, Transfer } from '../disk-drive.js';
import { type DiskImage, SECTOR_BYTES } from '../disk-image.js';
import { Chain } from './queue.js';
import { type VirtioDevice, VirtioKind, type VirtioTransport } from './transport.js';

export const BLOCK_QUEUE_SIZE = 128;
const QUEUE = 0;
const HEADER_BYTES = 16;
const STATUS_BYTES = 1;
const ID_BYTES = 20;
const Feature = { SEGMENTS: 1 << 2, FLUSH: 1 << 9 } as const;
const RequestType = { READ: 0, WRITE: 1, FLUSH: 4, GET_ID: 8 } as const;
const Status = { OK: 0, ERROR: 1, UNSUPPORTED: 2 } as const;
/** Pieces in which data moves: a request may be as large as the disk. */
const PIECE_BYTES = 64 * 1024;
/** Header and status take a descriptor each. */
const SEGMENTS_MAX = BLOCK_QUEUE_SIZE - 2;

/** What became of requests; rises until the VM is powered off. */
export interface DiskFigures {
  reads: number;
  writes: number;
  flushes: number;
  readBytes: number;
  writeBytes: number;
  errors: number;
  outstanding: number;
  queueCycles: number;
  deviceCycles: number;
  readCycles: number;
  writeCycles: number;
}

export const zeroDiskFigures = (): DiskFigures => ({
  reads: 0,
  writes: 0,
  flushes: 0,
  readBytes: 0,
  writeBytes: 0,
  errors: 0,
  outstanding: 0,
  queueCycles: 0,
  deviceCycles: 0,
  readCycles: 0,
  writeCycles: 0,
});

interface Request {
  readonly chain: Chain;
  readonly kind: (typeof KINDS)[number];
  readonly offset: number;
  readonly length: number;
  readonly arrivedCycles: number;
}

const KINDS = ['read', 'write', 'flush', 'id', 'error', 'unsupported'] as const;

/** One that the drive is at, or that waits for it. */
interface Pending {
  readonly request: Request;
  readonly startCycles: number;
  readonly endCycles: number;
  timer: TimerHandle | undefined;
}

export interface BlockWiring {
  readonly transport: VirtioTransport;
  readonly clock: VirtualClock;
  readonly image: DiskImage;
  readonly drive: DiskDrive;
  /** Name of the disk for the guest: up to 20 characters of ASCII. */
  readonly id: string;
  readonly figures: DiskFigures;
}

export class VirtioBlock implements VirtioDevice {
  readonly kind = VirtioKind.block;
  readonly features = Feature.SEGMENTS | Feature.FLUSH;
  readonly queueSizes = [BLOCK_QUEUE_SIZE];
  readonly configuration: Uint8Array;
  readonly #wiring: BlockWiring;
  readonly #pending = new Set<Pending>();

  constructor(wiring: BlockWiring) {
    this.#wiring = wiring;
    const configuration = new DataView(new ArrayBuffer(16));
    // Capacity in sectors, largest segment (not offered), segments of a request.
    configuration.setBigUint64(0, BigInt(wiring.image.sizeBytes / SECTOR_BYTES), true);
    configuration.setUint32(12, SEGMENTS_MAX, true);
    this.configuration = new Uint8Array(configuration.buffer);
  }

  notified(): void {
    const { transport, clock, drive, figures } = this.#wiring;
    for (;;) {
      const chain = transport.pop(QUEUE);
      if (chain === undefined) return;
      if (chain.readableBytes < HEADER_BYTES || chain.writableBytes < STATUS_BYTES) {
        transport.fail('a block request without header or status');
        return;
      }
      const request = this.#requestOf(chain, clock.nowCycles);
      const { startCycles, endCycles } = drive.serve(request.arrivedCycles, transferOf(request));
      figures.outstanding += 1;
      const pending: Pending = { request, startCycles, endCycles, timer: undefined };
      pending.timer = clock.at(endCycles, () => this.#done(pending));
      this.#pending.add(pending);
    }
  }

  reset(): void {
    for (const { timer } of this.#pending) timer?.cancel();
    this.#pending.clear();
    this.#wiring.figures.outstanding = 0;
    this.#wiring.drive.abort(this.#wiring.clock.nowCycles);
  }

  /** With what the drive is at, and what it has written. */
  exchange(archive: Archive): void {
    const { clock, drive, image, figures, transport } = this.#wiring;
    const pending = archive.list(this.#pending, known => {
      const chain = Chain.exchange(archive, transport.memory, known?.request.chain);
      const request = {
        chain,
        kind: KINDS[archive.number(known === undefined ? 0 : KINDS.indexOf(known.request.kind))]!,
        offset: archive.number(known?.request.offset ?? 0),
        length: archive.number(known?.request.length ?? 0),
        arrivedCycles: archive.number(known?.request.arrivedCycles ?? 0),
      };
      const startCycles = archive.number(known?.startCycles ?? 0);
      const endCycles = archive.number(known?.endCycles ?? 0);
      const made: Pending = known ?? { request, startCycles, endCycles, timer: undefined };
      made.timer = exchangeTimer(archive, clock, made.timer, () => this.#done(made));
      return made;
    });
    drive.exchange(archive);
    image.exchange(archive);
    if (!archive.restores) return;
    this.#pending.clear();
    for (const request of pending) this.#pending.add(request);
    figures.outstanding = pending.length;
  }

  #done(pending: Pending): void {
    this.#pending.delete(pending);
    this.#complete(pending.request, pending.startCycles, pending.endCycles);
  }

  #requestOf(chain: Chain, arrivedCycles: number): Request {
    const header = new DataView(chain.read(0, HEADER_BYTES).buffer);
    const type = header.getUint32(0, true);
    // Exact below 2^53; what is not, is far behind the end of any disk.
    const offset = (header.getUint32(8, true) + header.getUint32(12, true) * 2 ** 32) * SECTOR_BYTES;
    const request = (kind: Request['kind'], length: number): Request => ({
      chain,
      kind,
      offset,
      length,
      arrivedCycles,
    });
    const within = (length: number): boolean =>
      length % SECTOR_BYTES === 0 && offset + length <= this.#wiring.image.sizeBytes;
    const toRead = chain.writableBytes - STATUS_BYTES;
    const toWrite = chain.readableBytes - HEADER_BYTES;
    switch (type) {
      case RequestType.READ:
        return within(toRead) ? request('read', toRead) : request('error', 0);
      case RequestType.WRITE:
        return within(toWrite) ? request('write', toWrite) : request('error', 0);
      case RequestType.FLUSH:
        return request('flush', 0);
      case RequestType.GET_ID:
        return toRead >= ID_BYTES ? request('id', ID_BYTES) : request('error', 0);
      default:
        return request('unsupported', 0);
    }
  }

  #complete(request: Request, startCycles: number, endCycles: number): void {
    const { transport, figures } = this.#wiring;
    const { chain, kind, length, arrivedCycles } = request;
    this.#move(request);
    figures.outstanding -= 1;
    const cycles = endCycles - arrivedCycles;
    if (kind === 'read') {
      figures.reads += 1;
      figures.readBytes += length;
      figures.readCycles += cycles;
    } else if (kind === 'write') {
      figures.writes += 1;
      figures.writeBytes += length;
      figures.writeCycles += cycles;
    } else if (kind === 'flush') {
      figures.flushes += 1;
    } else if (kind !== 'id') {
      figures.errors += 1;
    }
    if (kind === 'read' || kind === 'write' || kind === 'flush') {
      figures.queueCycles += startCycles - arrivedCycles;
      figures.deviceCycles += endCycles - startCycles;
    }
    const status = kind === 'error' ? Status.ERROR : kind === 'unsupported' ? Status.UNSUPPORTED : Status.OK;
    chain.write(chain.writableBytes - STATUS_BYTES, Uint8Array.of(status));
    const filled = kind === 'read' || kind === 'id' ? length : 0;
    transport.push(QUEUE, chain, filled + STATUS_BYTES);
    transport.interrupt(QUEUE);
  }

  /** Between memory and disk; what is written to is on the disk then. */
  #move({ chain, kind, offset, length }: Request): void {
    const { image, id } = this.#wiring;
    if (kind === 'id') {
      const bytes = new Uint8Array(ID_BYTES);
      bytes.set([...id.slice(0, ID_BYTES)].map(letter => letter.charCodeAt(0) & 0x7f));
      chain.write(0, bytes);
    }
    if (kind !== 'read' && kind !== 'write') return;
    for (let done = 0; done < length; done += PIECE_BYTES) {
      const count = Math.min(PIECE_BYTES, length - done);
      if (kind === 'read') chain.write(done, image.read(offset + done, count));
      else image.write(offset + done, chain.read(HEADER_BYTES + done, count));
    }
  }
}

const transferOf = ({ kind, offset, length }: Request): Transfer | undefined =>
  kind === 'read' || kind === 'write' ? { write: kind === 'write', offset, length } : undefined;
