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
  /** Accesses that hardware made through the window; only rises. */
  accesses = 0;
  /** Accesses of the instruction under way that have reached their devices. */
  readonly #done: { readonly physical: number; readonly value: number }[] = [];
  #replayed = 0;

  constructor(readonly devices: MmioBus) {}

  /** A new instruction is about to be carried out. */
  beginInstruction(): void {
    this.#done.length = 0;
    this.#replayed = 0;
  }

  /**
   * The instruction has faulted on something else and runs again from its start: the accesses that were made already are
   * answered from memory, since a device may not like to be asked twice.
   */
  restartInstruction(): void {
    this.#replayed = 0;
  }

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
    const done = this.#replay(physical);
    if (done !== undefined) return done;
    const guest = this.#guestPhysical(physical);
    const value = guest === undefined ? 2 ** (8 * width) - 1 : this.devices.read(guest, width);
    this.#remember(physical, value);
    return value;
  }

  write(physical: number, width: 1 | 2 | 4, value: number): void {
    this.accesses += 1;
    if (this.#replay(physical) !== undefined) return;
    const guest = this.#guestPhysical(physical);
    if (guest !== undefined) this.devices.write(guest, width, value);
    this.#remember(physical, value);
  }

  #replay(physical: number): number | undefined {
    const done = this.#done[this.#replayed];
    if (done === undefined || done.physical !== physical) return undefined;
    this.#replayed += 1;
    return done.value;
  }

  #remember(physical: number, value: number): void {
    this.#done.push({ physical, value });
    this.#replayed = this.#done.length;
  }

  #guestPhysical(physical: number): number | undefined {
    const slot = (physical >>> PAGE_SHIFT) - WINDOW_FRAME;
    const ppn = slot >= 0 && slot < WINDOW_FRAMES ? this.#ppns[slot]! : -1;
    return ppn < 0 ? undefined : ((ppn << PAGE_SHIFT) | (physical & 0xfff)) >>> 0;
  }
}
