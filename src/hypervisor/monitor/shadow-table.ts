/**
 * One page of shadow: a real x86 page table or directory in machine memory, and what the monitor must know about each of its
 * entries besides the bits that hardware reads. Directories belong to one vCPU, since each holds that vCPU's hole; tables do not.
 *
 *     kind               made from                               entries lead to
 *     directory          a guest page directory                  tables and large tables
 *     table              a guest page table                      machine pages
 *     large              2 or 4 MiB of guest-physical memory     machine pages (the directory entry holds W and U)
 *     emptyDirectory     nothing: the register is not present    nothing but the hole (PAE)
 *     identityDirectory  nothing: the guest's paging is off      identity tables
 *     identityTable      4 MiB of guest-physical memory          machine pages
 */
import type { Mpn, Ppn } from '../base/pages.js';
import type { MachineMemory } from '../machine/memory.js';
import type { ShadowMmu } from './shadow.js';
import type { TableFormat } from './table-format.js';

export type DirectoryKind = 'directory' | 'emptyDirectory' | 'identityDirectory';
export type LeafKind = 'table' | 'large' | 'identityTable';
export type ShadowKind = DirectoryKind | LeafKind;

export interface ShadowTraits {
  readonly format: TableFormat;
  readonly global: boolean;
  /** Of a directory. */
  readonly slot?: number;
  readonly owner: ShadowMmu | undefined;
}

export class ShadowTable {
  readonly kind: ShadowKind;
  /** directory, table: the guest page it shadows. large, identityTable: first guest page that it maps. */
  readonly ppn: Ppn;
  readonly mpn: Mpn;
  readonly format: TableFormat;
  /** Of a directory: which of the format's it is, from the lowest addresses on. */
  readonly slot: number;
  /** The first entries, which the guest's correspond to; behind them are the monitor's. */
  readonly guestEntries: number;
  /**
   * The guest entry from which each present shadow entry was made (large, identityTable: the PPN shifted to entry form). An
   * entry whose shadow is absent holds 0.
   */
  readonly sources: Int32Array;
  /** Machine addresses of the shadow directory entries that lead here. */
  readonly parents = new Set<number>();
  /** large: entries are global pages, as the directory entry says. table: the guest's global bits count (CR4.PGE). */
  readonly global: boolean;
  /** Of a directory: whose it is. */
  readonly owner: ShadowMmu | undefined;
  /** The guest page is watched for writes on behalf of this shadow. */
  traced = false;
  /** Sequence number of the last use: what eviction goes by. */
  lastUse = 0;
  /** Trace hits since the last use: a page that is only ever written is no page table any more. */
  hitsSinceUse = 0;
  /** Some entry has been global: its TLB lines outlive a CR3 load. */
  mayHoldGlobals = false;
  /** Present entries. */
  count = 0;
  readonly #i32: Int32Array;
  readonly #base: number;
  readonly #shift: number;

  constructor(
    memory: MachineMemory,
    kind: ShadowKind,
    ppn: Ppn,
    mpn: Mpn,
    { format, global, slot = 0, owner }: ShadowTraits,
  ) {
    this.kind = kind;
    this.ppn = ppn;
    this.mpn = mpn;
    this.format = format;
    this.slot = slot;
    this.global = global;
    this.owner = owner;
    this.guestEntries = owner === undefined ? format.entries : owner.hole.firstIndex(format, slot);
    this.sources = new Int32Array(format.entries);
    this.#i32 = memory.i32;
    this.#base = mpn << 10;
    this.#shift = format.entryShift - 2;
  }

  entry(index: number): number {
    return this.#i32[this.#base + (index << this.#shift)]!;
  }

  /** Stores the hardware entry only. The upper word of a PAE entry is zero, as in a new page. */
  set(index: number, value: number): void {
    this.#i32[this.#base + (index << this.#shift)] = value;
  }

  /** Machine address of an entry. */
  at(index: number): number {
    return (this.mpn << 12) | (index << this.format.entryShift);
  }

  /** The reverse: the entry at a machine address, or at an offset in the page. */
  indexAt(at: number): number {
    return (at & 4095) >>> this.format.entryShift;
  }

  /** directory, table: guest-physical address of the guest's entry. */
  guestAt(index: number): number {
    return ((this.ppn << 12) | (index << this.format.entryShift)) >>> 0;
  }

  /** First linear address that entry `index` of a directory maps. */
  linearOf(index: number): number {
    return (this.slot << 30) | (index << this.format.directoryShift);
  }

  /** The guest page that entry `index` of a leaf table maps, according to its source. */
  ppnOf(index: number): Ppn {
    return (this.sources[index]! >>> 12) as Ppn;
  }
}
