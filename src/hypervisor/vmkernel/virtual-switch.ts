/**
 * The host's virtual switch: it learns from source addresses behind which port a card is (IEEE 802.1D, 7.8), sends a frame there, and what is
 * for a group or for somebody unknown to all ports but the one it came from.
 *
 * Forwarding is the vmkernel's work in virtual time: so long for each frame, so long for each cache line that is copied, one frame after the
 * other for each port; the copying costs time, and no VM pays for it. A receiver that has run ahead of the sender within a quantum gets a frame as soon as it runs again. Everything
 * happens in the order in which the scheduler runs the worlds, which is the same in every run.
 */
import { assert } from '../base/assert.js';

/** What is behind a port. */
export interface Receiver {
  /** `atCycles`: when the last byte has been copied. The frame must not be changed: others may get it too. */
  deliver(frame: Uint8Array, atCycles: number): void;
  /** A frame came while too many waited. */
  overrun(): void;
}

export interface SwitchCosts {
  /** Of one frame on one port, in cycles. */
  readonly frameForward: number;
  /** Of 64 bytes of it. */
  readonly frameCopyLine: number;
}

interface Port {
  readonly receiver: Receiver;
  /** When the frames that wait for the port will be through, soonest first. */
  readonly waiting: number[];
  busyUntilCycles: number;
}

interface Learned {
  readonly port: number;
  readonly atCycles: number;
}

const LINE_BYTES = 64;
/** 802.1D, table 7-5: the recommended ageing time. */
const AGEING_SECONDS = 300;
/** A guest may invent addresses; older ones give way then. */
const LEARNED_MAX = 1024;
/** Frames that wait for one port: as many as a card has buffers for. */
const WAITING_MAX = 256;
const ADDRESS_BYTES = 6;
const GROUP = 0x01;

export class VirtualSwitch {
  readonly #costs: SwitchCosts;
  readonly #ageingCycles: number;
  readonly #ports = new Map<number, Port>();
  /** By address; oldest first. */
  readonly #learned = new Map<string, Learned>();

  constructor(costs: SwitchCosts, cyclesPerSecond: number) {
    this.#costs = costs;
    this.#ageingCycles = AGEING_SECONDS * cyclesPerSecond;
  }

  /** A new port; its number, the first that is free. */
  connect(receiver: Receiver): number {
    let port = 1;
    while (this.#ports.has(port)) port += 1;
    this.#ports.set(port, { receiver, waiting: [], busyUntilCycles: 0 });
    return port;
  }

  disconnect(port: number): void {
    assert(this.#ports.delete(port), 'no such port');
    for (const [address, learned] of this.#learned) if (learned.port === port) this.#learned.delete(address);
  }

  /** A frame, at least its two addresses, comes in at a port. The caller does not change it any more. */
  send(from: number, frame: Uint8Array, atCycles: number): void {
    const destination = addressAt(frame, 0);
    const source = addressAt(frame, ADDRESS_BYTES);
    if ((frame[ADDRESS_BYTES]! & GROUP) === 0) this.#learn(source, from, atCycles);
    const known = (frame[0]! & GROUP) === 0 ? this.#portOf(destination, atCycles) : undefined;
    if (known !== undefined) {
      if (known !== from) this.#forward(known, frame, atCycles);
      return;
    }
    for (const port of this.#ports.keys()) if (port !== from) this.#forward(port, frame, atCycles);
  }

  #forward(number: number, frame: Uint8Array, atCycles: number): void {
    const port = this.#ports.get(number)!;
    const { frameForward, frameCopyLine } = this.#costs;
    const { waiting, receiver } = port;
    while (waiting.length > 0 && waiting[0]! <= atCycles) waiting.shift();
    if (waiting.length >= WAITING_MAX) {
      receiver.overrun();
      return;
    }
    const lines = Math.ceil(frame.length / LINE_BYTES);
    port.busyUntilCycles = Math.max(atCycles, port.busyUntilCycles) + frameForward + lines * frameCopyLine;
    waiting.push(port.busyUntilCycles);
    receiver.deliver(frame, port.busyUntilCycles);
  }

  #learn(address: string, port: number, atCycles: number): void {
    this.#learned.delete(address);
    if (this.#learned.size >= LEARNED_MAX) {
      const [oldest] = this.#learned.keys();
      this.#learned.delete(oldest!);
    }
    this.#learned.set(address, { port, atCycles });
  }

  #portOf(address: string, atCycles: number): number | undefined {
    const learned = this.#learned.get(address);
    if (learned === undefined) return undefined;
    return atCycles - learned.atCycles > this.#ageingCycles ? undefined : learned.port;
  }
}

const addressAt = (frame: Uint8Array, at: number): string =>
  Array.from(frame.subarray(at, at + ADDRESS_BYTES), byte => byte.toString(16).padStart(2, '0')).join(':');
