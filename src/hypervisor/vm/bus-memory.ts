/** Guest memory for bus masters, page by page through the VM's physical map, whichever way the VM is run. */
import { PAGE_OFFSET_MASK, PAGE_SIZE, type Ppn, ppnOf } from '../base/pages.js';
import type { BusMemory } from '../devices/device.js';
import type { MachineMemory } from '../machine/memory.js';

/** A VM's physical map. */
export interface PhysicalMap {
  /** Machine address of a page that can be read, or written; undefined where it cannot. May back the page. */
  frame(ppn: Ppn, write: boolean): number | undefined;
  /** Bytes of a page have changed; the range lies within the page. */
  written(ppn: Ppn, offset: number, length: number): void;
}

export class MappedMemory implements BusMemory {
  readonly #memory: MachineMemory;
  readonly #map: PhysicalMap;

  constructor(memory: MachineMemory, map: PhysicalMap) {
    this.#memory = memory;
    this.#map = map;
  }

  read(physical: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length).fill(0xff);
    this.#pieces(physical, length, (ppn, offset, done, count) => {
      const frame = this.#map.frame(ppn, false);
      if (frame !== undefined) bytes.set(this.#memory.bytes(frame + offset, count), done);
    });
    return bytes;
  }

  write(physical: number, bytes: Uint8Array): void {
    this.#pieces(physical, bytes.length, (ppn, offset, done, count) => {
      const frame = this.#map.frame(ppn, true);
      if (frame === undefined) return;
      // Tells the code cache.
      this.#memory.writeBytes(frame + offset, bytes.subarray(done, done + count));
      this.#map.written(ppn, offset, count);
    });
  }

  /** Cuts a range at page ends. Addresses wrap at 4 GiB. */
  #pieces(
    physical: number,
    length: number,
    visit: (ppn: Ppn, offset: number, done: number, count: number) => void,
  ): void {
    for (let done = 0; done < length; ) {
      const at = (physical + done) >>> 0;
      const offset = at & PAGE_OFFSET_MASK;
      const count = Math.min(length - done, PAGE_SIZE - offset);
      visit(ppnOf(at), offset, done, count);
      done += count;
    }
  }
}
