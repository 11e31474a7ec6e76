/**
 * Shadow paging: the tables that hardware walks while a guest runs, derived from the guest's tables and the pmap.
 */
import type { Lpn, Mpn, Ppn } from '../base/pages.js';
import type { MappedWalk } from './guest-walk.js';
import type { VirtualCpu } from './virtual-cpu.js';

/** What a page fault of hardware means for the guest. */
export type PageFault =
  /** The guest's own tables cause it: it must hear of it. */
  | { readonly kind: 'true'; readonly errorCode: number }
  /** Only the shadow lacks it: `fill`. */
  | {
      readonly kind: 'hidden';
      readonly lpn: Lpn;
      readonly ppn: Ppn;
      readonly walk: MappedWalk;
      readonly write: boolean;
    }
  /** A supervisor store to a read-only page with CR0.WP clear: allowed to the guest, never to the shadow. */
  | { readonly kind: 'unprotected'; readonly lpn: Lpn; readonly ppn: Ppn; readonly walk: MappedWalk }
  /** A store to a watched page. */
  | { readonly kind: 'trace'; readonly lpn: Lpn; readonly ppn: Ppn; readonly walk: MappedWalk }
  /** Device memory, or nothing at all, is there. */
  | { readonly kind: 'mmio'; readonly lpn: Lpn; readonly ppn: Ppn; readonly walk: MappedWalk; readonly write: boolean }
  /** A store to ROM, which drops it. */
  | { readonly kind: 'rom'; readonly lpn: Lpn; readonly ppn: Ppn; readonly walk: MappedWalk };

export class ShadowMmu {
  readonly #vcpu: VirtualCpu;

  constructor(vcpu: VirtualCpu) {
    this.#vcpu = vcpu;
  }

  /** Machine page of the shadow directory in use. */
  get root(): Mpn {
    void this.#vcpu;
    throw new Error('being written');
  }

  /** Maps a page of the hole for every address space, supervisor-only. `linear` >= HOLE_BASE. */
  mapHole(_linear: number, _mpn: Mpn, _writable: boolean): void {
    throw new Error('being written');
  }

  /** The guest wrote CR3 (`vcpu.cr3` is set): finds or makes the shadow directory and loads it. */
  loadCr3(): void {
    throw new Error('being written');
  }

  /** The guest changed paging bits (`vcpu.cr0`, `vcpu.cr4` are set): PG, WP, PSE or PGE. */
  pagingChanged(): void {
    throw new Error('being written');
  }

  /** The guest asked for INVLPG. */
  invalidatePage(_linear: number): void {
    throw new Error('being written');
  }

  /** The guest asked for a flush; `global`: global pages too. */
  flush(_global: boolean): void {
    throw new Error('being written');
  }

  /** Classifies a page fault that hardware reported. Charges the guest walk. Changes nothing. */
  classify(_linear: number, _errorCode: number): PageFault {
    throw new Error('being written');
  }

  /** Repairs a hidden fault: sets accessed and dirty bits of the guest, fills directory and table entry. */
  fill(_fault: PageFault & { kind: 'hidden' }): void {
    throw new Error('being written');
  }

  /** Machine address behind a linear one if the shadow in use already allows the access. Free, changes nothing. */
  lookup(_linear: number, _write: boolean, _user: boolean): number | undefined {
    throw new Error('being written');
  }

  /**
   * VMI AllocatePage: changes of this page table come by `entryChanged`, so it is not traced. Makes its shadow at once where
   * there is memory. Announcing twice is allowed.
   */
  announce(_ppn: Ppn, _level: 'table' | 'directory'): void {
    throw new Error('being written');
  }

  /** VMI ReleasePage: the page is no page table any more. Unknown pages are accepted. */
  release(_ppn: Ppn): void {
    throw new Error('being written');
  }

  isAnnounced(_ppn: Ppn): boolean {
    throw new Error('being written');
  }

  /** One guest entry, at this guest-physical address, has changed: brings every shadow of it up to date. */
  entryChanged(_entryPhysical: number): void {
    throw new Error('being written');
  }

  /** Drops every shadow (paging mode changed, audits of audits). The next entry starts from an empty directory. */
  retireAll(): void {
    throw new Error('being written');
  }

  /** Recomputes every shadow entry, the trace bookkeeping and the TLB. One finding a line. */
  audit(): string[] {
    throw new Error('being written');
  }

  destroy(): void {
    throw new Error('being written');
  }
}
