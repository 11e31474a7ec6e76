/**
 * A virtio network card (Virtual I/O Device 1.1, 5.1) without offloads: whole Ethernet frames, each behind a header of 10 bytes in which
 * nothing is said. The card takes whatever comes by; a guest's kernel drops what is for others.
 */
import { type VirtioDevice, VirtioKind, type VirtioTransport } from './transport.js';

export const NET_QUEUE_SIZE = 256;
const RECEIVE = 0;
const TRANSMIT = 1;
const HEADER_BYTES = 10;
const MAC_BYTES = 6;
/** Two addresses and a type; with a tag of 802.1Q and a full payload. Without the checksum, which hardware adds. */
const FRAME_BYTES_MIN = 14;
const FRAME_BYTES_MAX = 1518;
const Feature = { MAC: 1 << 5, STATUS: 1 << 16 } as const;
const LINK_UP = 1;

/** What became of frames; rises until the VM is powered off. */
export interface NicFigures {
  sentPackets: number;
  sentBytes: number;
  sentDropped: number;
  receivedPackets: number;
  receivedBytes: number;
  receivedDropped: number;
}

export const zeroNicFigures = (): NicFigures => ({
  sentPackets: 0,
  sentBytes: 0,
  sentDropped: 0,
  receivedPackets: 0,
  receivedBytes: 0,
  receivedDropped: 0,
});

export interface NetWiring {
  readonly transport: VirtioTransport;
  /** Six bytes. */
  readonly mac: Uint8Array;
  readonly figures: NicFigures;
  /** To the switch. */
  send(frame: Uint8Array): void;
}

export class VirtioNet implements VirtioDevice {
  readonly kind = VirtioKind.network;
  readonly features = Feature.MAC | Feature.STATUS;
  readonly queueSizes = [NET_QUEUE_SIZE, NET_QUEUE_SIZE];
  readonly configuration: Uint8Array;
  readonly #wiring: NetWiring;

  constructor(wiring: NetWiring) {
    this.#wiring = wiring;
    this.configuration = new Uint8Array(MAC_BYTES + 2);
    this.configuration.set(wiring.mac);
    this.configuration[MAC_BYTES] = LINK_UP;
  }

  notified(queue: number): void {
    // New buffers to receive into are looked at when a frame comes.
    if (queue !== TRANSMIT) return;
    const { transport, figures } = this.#wiring;
    let done = 0;
    for (;;) {
      const chain = transport.pop(TRANSMIT);
      if (chain === undefined) break;
      const length = chain.readableBytes - HEADER_BYTES;
      if (length < 0) {
        transport.fail('a frame without its header');
        return;
      }
      if (length >= FRAME_BYTES_MIN && length <= FRAME_BYTES_MAX) {
        figures.sentPackets += 1;
        figures.sentBytes += length;
        this.#wiring.send(chain.read(HEADER_BYTES, length));
      } else {
        figures.sentDropped += 1;
      }
      transport.push(TRANSMIT, chain, 0);
      done += 1;
    }
    if (done > 0) transport.interrupt(TRANSMIT);
  }

  /** A frame has come in whole. */
  receive(frame: Uint8Array): void {
    const { transport, figures } = this.#wiring;
    const chain = transport.pop(RECEIVE);
    if (chain === undefined || chain.writableBytes < HEADER_BYTES + frame.length) {
      if (chain !== undefined) transport.unpop(RECEIVE);
      figures.receivedDropped += 1;
      return;
    }
    const bytes = new Uint8Array(HEADER_BYTES + frame.length);
    bytes.set(frame, HEADER_BYTES);
    chain.write(0, bytes);
    figures.receivedPackets += 1;
    figures.receivedBytes += frame.length;
    transport.push(RECEIVE, chain, bytes.length);
    transport.interrupt(RECEIVE);
  }

  /** The switch knows of no reset; frames on their way are dropped for want of a buffer. */
  reset(): void {}

  /** All of its state is in the queues. */
  exchange(): void {}
}
