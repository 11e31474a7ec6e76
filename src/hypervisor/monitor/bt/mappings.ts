/**
 * Units stand for the frames that their addresses led to when they were made. Whenever a mapping may have changed, the frames
 * of the pages that have units are compared before translated code runs again: a kernel whose text is mapped alike in every
 * address space keeps its units and chains across CR3 loads. As a shadow entry, a unit exists only while the guest's entries have
 * their accessed bits set: a guest that has cleared one sees it set by the next fetch, which is when the unit is made again.
 */
import { Cr0 } from '../../machine/cpu/state.js';
import { type MappedWalk, Pte, walk } from '../guest-walk.js';
import { formatOf, PAE, pdeIndex, readEntry } from '../table-format.js';
import type { VirtualCpu } from '../virtual-cpu.js';
import type { TranslationCache } from './cache.js';

/** Page-table entries in one cache line: what one priced read covers. */
const ENTRIES_PER_LINE = 16;

/**
 * What the last comparison of all pages has read. An address space that has the same words in the same places maps the same: then the next
 * comparison is done with reading.
 */
interface Comparison {
  readonly cr0: number;
  readonly cr4: number;
  /** `TranslationCache.pageChanges`: the pages are still those that have units. */
  readonly pageChanges: number;
  readonly pages: readonly number[];
  readonly pdes: readonly number[];
  /** -1 for a large page, and with paging off. */
  readonly pteAts: readonly number[];
  readonly ptes: readonly number[];
  /** Cache lines of page tables. */
  readonly lines: number;
}

export class Mappings {
  readonly #vcpu: VirtualCpu;
  readonly #cache: TranslationCache;
  /** Linear pages to compare. */
  #stale: 'all' | Set<number> = new Set();
  #last: Comparison | undefined;
  /** The address space that all units were compared in, or made in since. */
  #checkedCr3: number;

  constructor(vcpu: VirtualCpu, cache: TranslationCache) {
    this.#vcpu = vcpu;
    this.#cache = cache;
    this.#checkedCr3 = vcpu.cr3;
  }

  /** The guest has loaded CR3, and its units count as up to date all the same: for audits. */
  get misses(): boolean {
    const { cr0, cr3 } = this.#vcpu;
    return (cr0 & Cr0.PG) !== 0 && this.#stale !== 'all' && this.#checkedCr3 !== cr3;
  }

  changed(): void {
    this.#stale = 'all';
  }

  /** Carries out INVLPG for `linear`: whatever is reported meanwhile, only this page's mapping has changed. */
  withOnePageChanged<T>(linear: number, invalidate: () => T): T {
    const before = this.#stale;
    const result = invalidate();
    if (before !== 'all') before.add(linear >>> 12);
    this.#stale = before;
    return result;
  }

  /** Retires units whose pages lead to other frames than those they were made from. Charges the reading of the tables. */
  check(): void {
    const stale = this.#stale;
    if (stale !== 'all' && stale.size === 0) return;
    this.#stale = new Set();
    const vcpu = this.#vcpu;
    if (stale === 'all') this.#checkedCr3 = vcpu.cr3;
    const same = stale === 'all' && this.#last !== undefined && this.#isSame(this.#last);
    const lines = same ? this.#last!.lines : this.#compare(stale);
    vcpu.thread.charge(vcpu.costs.guestWalkLevel * lines);
  }

  /** Returns how many cache lines of page tables it has read. */
  #compare(stale: 'all' | Set<number>): number {
    const vcpu = this.#vcpu;
    const { cr0, cr4 } = vcpu;
    const [pages, pdes, pteAts, ptes]: number[][] = [[], [], [], []];
    const lines = new Set<number>();
    const wrong: number[] = [];
    for (const lpn of stale === 'all' ? this.#cache.mappedPages() : stale) {
      const ppn = this.#cache.frameOf(lpn);
      if (ppn === undefined) continue;
      const found = walk(vcpu.physical, vcpu, (lpn << 12) >>> 0, { write: false, user: false });
      // Directory entries have negative numbers, table entries the others.
      if (found.levels > 0) lines.add(-1 - (lpn >>> 10));
      if (found.levels > 1) lines.add(Math.floor(lpn / ENTRIES_PER_LINE));
      if (found.kind === 'fault' || found.ppn !== ppn || !isAccessed(found)) {
        wrong.push(lpn);
        continue;
      }
      pages!.push(lpn);
      pdes!.push(found.pde);
      pteAts!.push(found.pteAt);
      ptes!.push(found.pte);
    }
    for (const lpn of wrong) for (const tu of this.#cache.unitsOnLpn(lpn)) this.#cache.retire(tu);
    // Once retired, the wrong ones are no longer read.
    if (stale === 'all') {
      const { pageChanges } = this.#cache;
      const complete = wrong.length === 0;
      this.#last = complete
        ? { cr0, cr4, pageChanges, pages: pages!, pdes: pdes!, pteAts: pteAts!, ptes: ptes!, lines: lines.size }
        : undefined;
    }
    return lines.size;
  }

  #isSame(last: Comparison): boolean {
    const { cr0, cr3, cr4, physical, pointers } = this.#vcpu;
    if (last.cr0 !== cr0 || last.cr4 !== cr4 || last.pageChanges !== this.#cache.pageChanges) return false;
    if ((cr0 & Cr0.PG) === 0) return true;
    const format = formatOf(cr4);
    const { pages, pdes, pteAts, ptes } = last;
    let [readAt, pde] = [-1, 0];
    for (let i = 0; i < pages.length; i++) {
      const linear = (pages[i]! << 12) >>> 0;
      const directory = format === PAE ? pointers[linear >>> 30]! : cr3;
      if (format === PAE && (directory & Pte.P) === 0) return false;
      const pdeAt = ((directory & Pte.FRAME) >>> 0) + (pdeIndex(format, linear) << format.entryShift);
      if (pdeAt !== readAt) [readAt, pde] = [pdeAt, readEntry(physical, format, pdeAt)];
      if (pde !== pdes[i]) return false;
      if (pteAts[i]! >= 0 && readEntry(physical, format, pteAts[i]!) !== ptes[i]) return false;
    }
    return true;
  }
}

/** Both levels have been used before, as far as there are levels. */
const isAccessed = ({ pde, pte, levels }: MappedWalk): boolean => levels === 0 || (pde & pte & Pte.A) !== 0;
