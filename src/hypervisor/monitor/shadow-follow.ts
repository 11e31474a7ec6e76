/**
 * How changes of the guest's tables reach a shadow set: by traces, which report each store, or by the guest's own announcements (VMI).
 *
 * The page of every guest table with a shadow is watched, so shadows change with the guest's store and need no work at INVLPG or CR3
 * loads. Tables that the guest announces are not watched: between a store and its announcement their shadows may lag, as a TLB may.
 * A change is brought to every shadow of the page: those of several vCPUs, and of a page that is directory and table at once.
 */
import type { Archive } from '../base/archive.js';
import type { Ppn } from '../base/pages.js';
import { PRESENT_MASK } from './guest-walk.js';
import { isUsable } from './shadow-entries.js';
import type { ShadowSet } from './shadow-set.js';
import type { ShadowTable } from './shadow-table.js';
import { FORMATS, PAE, readEntry } from './table-format.js';
import type { TraceFollower } from './traces.js';
import type { VirtualCpu } from './virtual-cpu.js';

/** Writes to a table page without any use in between after which it is taken for reused memory. */
const HITS_WITHOUT_USE_MAX = 8;

export class ShadowFollower implements TraceFollower {
  readonly #set: ShadowSet;
  readonly #announced = new Set<number>();

  constructor(set: ShadowSet) {
    this.#set = set;
  }

  get pageCount(): number {
    return this.#set.pageCount;
  }

  tracedPages(): readonly Ppn[] {
    return [...this.#set.shadows].filter(shadow => shadow.traced).map(shadow => shadow.ppn);
  }

  // Traces.

  protect(by: VirtualCpu, ppn: Ppn): void {
    this.#set.protect(by, ppn);
  }

  unprotect(by: VirtualCpu, ppn: Ppn): void {
    this.#set.unprotect(by, ppn);
  }

  tableWritten(by: VirtualCpu, ppn: Ppn, offset: number, length: number): void {
    const first = offset & -4;
    for (let at = first; at < offset + length; at += 4) this.#sync(by, ppn, at, first);
    this.countStore(by, ppn);
  }

  /**
   * A store to a watched page, whether or not it changes anything. A table that is only ever written, and that no address space
   * in use reaches, is most likely reused memory (a freed directory being cleared): its shadow and its trace go.
   */
  countStore(by: VirtualCpu, ppn: Ppn): void {
    for (const shadow of this.#shadowsOf(ppn)) {
      if (!shadow.traced) continue;
      shadow.hitsSinceUse += 1;
      if (shadow.hitsSinceUse > HITS_WITHOUT_USE_MAX && !this.#isReachable(shadow)) this.#set.retire(by, shadow);
    }
  }

  #isReachable(shadow: ShadowTable): boolean {
    if (shadow.owner !== undefined) return shadow.owner.isLoaded(shadow);
    for (const { roots } of this.#set.members) {
      for (const parent of shadow.parents) if (roots.some(root => root?.mpn === parent >>> 12)) return true;
    }
    return false;
  }

  // Announcements.

  /**
   * Changes of this page table come by `entryChanged`, so it is not traced. Makes its shadow at once, empty, so that announced
   * entries need no fault later; but for a PAE directory, which has one for each of the gigabytes that it is used for. Announcing
   * twice is allowed.
   */
  announce(by: VirtualCpu, ppn: Ppn, level: 'table' | 'directory'): void {
    this.#announced.add(ppn);
    for (const known of this.#shadowsOf(ppn)) if (known.traced) this.#set.untrace(by, known);
    if (level === 'table' || by.shadow.format !== PAE) by.shadow.shadowOf(ppn, level);
  }

  /** The page is no page table any more. Unknown pages are accepted, as are directories in use. */
  release(by: VirtualCpu, ppn: Ppn): void {
    this.#announced.delete(ppn);
    for (const shadow of this.#shadowsOf(ppn)) {
      const { owner } = shadow;
      if (owner === undefined || !owner.isLoaded(shadow)) this.#set.retire(by, shadow);
      else if (!shadow.traced) {
        // Still in use: from here on it is watched like any other, after the stores that nobody announced are made good.
        this.#set.trace(by, shadow);
        for (let index = 0; index < shadow.guestEntries; index++) this.syncDirectoryEntry(by, shadow, index);
      }
    }
  }

  /** Which pages are announced. Restoring: before there are shadows. */
  exchange(archive: Archive): void {
    for (const ppn of archive.numbers(this.#announced)) this.#announced.add(ppn);
  }

  isAnnounced(ppn: Ppn): boolean {
    return this.#announced.has(ppn);
  }

  /** One guest entry, the one at this offset in a guest page, has changed: brings every shadow of it up to date. */
  entryChanged(by: VirtualCpu, ppn: Ppn, offset: number): void {
    this.#sync(by, ppn, offset, offset);
  }

  // Synchronizing.

  /** Every shadow that is made from a guest page. To retire one may be the end of another, which then holds nothing any more. */
  #shadowsOf(ppn: Ppn): readonly ShadowTable[] {
    const found: ShadowTable[] = [];
    this.#forEachShadow(ppn, shadow => found.push(shadow));
    return found;
  }

  /** Looks each shadow up when its turn comes: what happens to a directory may have been the end of a table. */
  #forEachShadow(ppn: Ppn, act: (shadow: ShadowTable) => void): void {
    for (const member of this.#set.members) {
      for (let slot = 0; slot < member.format.directories; slot++) {
        const directory = member.directoryOf(ppn, slot);
        if (directory !== undefined) act(directory);
      }
    }
    for (const format of FORMATS) {
      for (let global = 0; global < 2; global++) {
        const table = this.#set.table(ppn, global === 1, format);
        if (table !== undefined) act(table);
      }
    }
  }

  /** The word at an offset in a guest page has changed, in a store that began at `first`: an entry of two words changes once. */
  #sync(by: VirtualCpu, ppn: Ppn, offset: number, first: number): void {
    this.#forEachShadow(ppn, shadow => {
      const index = shadow.indexAt(offset);
      if (offset !== first && shadow.indexAt(offset - 4) === index) return;
      if (shadow.owner !== undefined) this.syncDirectoryEntry(by, shadow, index);
      else this.syncTableEntry(by, shadow, index);
    });
  }

  /** Makes one directory entry agree with the guest's: relinks at once what has a shadow and has been accessed, else unlinks. */
  syncDirectoryEntry(by: VirtualCpu, directory: ShadowTable, index: number): void {
    const { vcpu } = directory.owner!;
    if (index >= directory.guestEntries) return;
    const pde = readEntry(vcpu.physical, directory.format, directory.guestAt(index));
    const child = isUsable(pde, vcpu.cr4) ? this.#set.childOf(pde, vcpu.cr4) : undefined;
    if (child === undefined) this.#set.unlink(by, directory, index);
    else this.#set.link(by, directory, index, child, pde);
  }

  /** Makes one table entry agree with the guest's: fills it at once if the guest has accessed it before, else drops it. */
  syncTableEntry(by: VirtualCpu, table: ShadowTable, index: number): void {
    const set = this.#set;
    const pte = readEntry(by.physical, table.format, table.guestAt(index));
    const entry = (pte & PRESENT_MASK) === PRESENT_MASK ? set.leafEntry(table, pte, false) : undefined;
    if (entry === undefined) set.dropLeaf(by, table, index);
    else if (entry !== table.entry(index)) set.storeLeaf(by, table, index, pte, entry);
    else if (table.ppnOf(index) === pte >>> 12) {
      // That nothing changes is found out by computing the entry.
      by.thread.charge(by.costs.shadowFill);
      table.sources[index] = pte;
    } else set.storeLeaf(by, table, index, pte, entry);
  }
}
