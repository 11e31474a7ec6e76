/**
 * Machine pages of the host: who has them is known to whoever took them; here they are only free or not.
 *
 *     | reserved | single pages, upwards ... bump |   free   | top ... contiguous ranges, downwards |
 *
 * Single pages back VMs page by page. Contiguous ranges are for machines that own their memory outright. Freed single pages
 * are reused first; the boundary moves back where the pages below it are free.
 */
import { assert } from '../base/assert.js';
import type { Mpn } from '../base/pages.js';
import { type MachineMemory, RESERVED_BYTES } from '../machine/memory.js';

interface Range {
  readonly first: number;
  readonly pages: number;
}

export class MpnAllocator {
  readonly pageCount: number;
  readonly #memory: MachineMemory;
  readonly #first = RESERVED_BYTES >>> 12;
  readonly #used: Uint8Array;
  /** Pages that were handed out before and may hold old bytes. */
  readonly #dirty: Uint8Array;
  /** Freed single pages; entries may be stale (used again, or above the boundary) and are checked when taken. */
  readonly #freed: number[] = [];
  /** Free ranges above `#top`, by address, never touching each other. */
  #ranges: Range[] = [];
  #bump: number;
  #top: number;
  #free: number;

  constructor(memory: MachineMemory) {
    this.#memory = memory;
    this.#used = new Uint8Array(memory.pageCount);
    this.#dirty = new Uint8Array(memory.pageCount);
    this.#bump = this.#first;
    this.#top = memory.pageCount;
    this.pageCount = memory.pageCount - this.#first;
    this.#free = this.pageCount;
  }

  get freePages(): number {
    return this.#free;
  }

  /** One zeroed page, or undefined when there is none left. */
  allocate(): Mpn | undefined {
    let page = -1;
    while (page < 0 && this.#freed.length > 0) {
      const candidate = this.#freed.pop()!;
      if (candidate < this.#bump && this.#used[candidate] === 0) page = candidate;
    }
    if (page < 0 && this.#bump < this.#top) {
      page = this.#bump;
      this.#bump += 1;
    }
    if (page < 0) {
      const range = this.#ranges.shift();
      if (range === undefined) return undefined;
      page = range.first;
      if (range.pages > 1) this.#ranges.unshift({ first: range.first + 1, pages: range.pages - 1 });
    }
    this.#take(page);
    return page as Mpn;
  }

  free(mpn: Mpn): void {
    assert(this.#used[mpn] === 1, 'freeing a machine page that is free');
    this.#used[mpn] = 0;
    this.#free += 1;
    if (mpn >= this.#top) {
      this.#giveRange(mpn, 1);
      return;
    }
    this.#freed.push(mpn);
    while (this.#bump > this.#first && this.#used[this.#bump - 1] === 0) this.#bump -= 1;
  }

  /** A zeroed run of pages, or undefined when no free run is long enough. Returns the first page. */
  allocateContiguous(pages: number): Mpn | undefined {
    const index = this.#ranges.findIndex(range => range.pages >= pages);
    let first: number;
    if (index >= 0) {
      const range = this.#ranges[index]!;
      first = range.first;
      const rest: Range[] = range.pages > pages ? [{ first: first + pages, pages: range.pages - pages }] : [];
      this.#ranges.splice(index, 1, ...rest);
    } else {
      if (this.#top - this.#bump < pages) return undefined;
      this.#top -= pages;
      first = this.#top;
    }
    for (let page = first; page < first + pages; page++) this.#take(page);
    return first as Mpn;
  }

  freeContiguous(first: Mpn, pages: number): void {
    for (let page: number = first; page < first + pages; page++) {
      assert(this.#used[page] === 1, 'freeing a machine page that is free');
      this.#used[page] = 0;
    }
    this.#free += pages;
    this.#giveRange(first, pages);
  }

  #take(page: number): void {
    assert(this.#used[page] === 0, 'machine page handed out twice');
    this.#used[page] = 1;
    this.#free -= 1;
    // Pages that were never handed out are zero already; writing zeros would only make the host's OS commit them.
    if (this.#dirty[page] === 1) this.#memory.fill(page * 4096, 4096, 0);
    this.#dirty[page] = 1;
  }

  #giveRange(first: number, pages: number): void {
    const sorted = [...this.#ranges, { first, pages }].sort((a, b) => a.first - b.first);
    const merged: Range[] = [];
    for (const range of sorted) {
      const last = merged.at(-1);
      if (last !== undefined && last.first + last.pages === range.first) {
        merged[merged.length - 1] = { first: last.first, pages: last.pages + range.pages };
      } else {
        merged.push(range);
      }
    }
    if (merged[0]?.first === this.#top) this.#top += merged.shift()!.pages;
    this.#ranges = merged;
  }
}
