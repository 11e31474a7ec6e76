/**
 * Machine frames beyond RAM, through which one guest instruction at a time reaches a virtual device.
 *
 * Shadow tables never map device memory, so every access to it faults. The monitor then lets the one instruction run with
 * the page mapped to a frame of this window: hardware finds no RAM there and calls its MMIO bus, which is this object, which
 * turns the window address back into the guest-physical one.
 */
import { type Mpn, PAGE_SHIFT, type Ppn } from '../base/pages.js';
import type { MmioBus } from '../machine/cpu/state.js';

/** First machine frame of the window: the last mebibyte of 32-bit machine space, far beyond any machine memory. */
const WINDOW_FRAME = 0xfff00;
const WINDOW_FRAMES = 256;

export class MmioWindow implements MmioBus {
  readonly #ppns = new Int32Array(WINDOW_FRAMES).fill(-1);
  readonly #frames = new Map<number, number>();
  #next = 0;
  /** Accesses that reached a device; only rises. */
  accesses = 0;

  constructor(readonly devices: MmioBus) {}

  /**
   * The window frame for a guest page. Frames are handed out round robin: a frame stays valid at least until 255 other pages
   * have asked, and one instruction touches far fewer.
   */
  frameFor(ppn: Ppn): Mpn {
    const known = this.#frames.get(ppn);
    if (known !== undefined) return (WINDOW_FRAME + known) as Mpn;
    const slot = this.#next;
    this.#next = (slot + 1) % WINDOW_FRAMES;
    this.#frames.delete(this.#ppns[slot]!);
    this.#ppns[slot] = ppn;
    this.#frames.set(ppn, slot);
    return (WINDOW_FRAME + slot) as Mpn;
  }

  read(physical: number, width: 1 | 2 | 4): number {
    this.accesses += 1;
    const guest = this.#guestPhysical(physical);
    return guest === undefined ? 2 ** (8 * width) - 1 : this.devices.read(guest, width);
  }

  write(physical: number, width: 1 | 2 | 4, value: number): void {
    this.accesses += 1;
    const guest = this.#guestPhysical(physical);
    if (guest !== undefined) this.devices.write(guest, width, value);
  }

  #guestPhysical(physical: number): number | undefined {
    const slot = (physical >>> PAGE_SHIFT) - WINDOW_FRAME;
    const ppn = slot >= 0 && slot < WINDOW_FRAMES ? this.#ppns[slot]! : -1;
    return ppn < 0 ? undefined : ((ppn << PAGE_SHIFT) | (physical & 0xfff)) >>> 0;
  }
}
