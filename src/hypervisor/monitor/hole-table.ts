/** The page tables of the monitor's hole, in either format, to which the last entries of every address space of a vCPU lead. */
import { assert } from '../base/assert.js';
import type { Mpn } from '../base/pages.js';
import { PRESENT_MASK, Pte } from './guest-walk.js';
import { NO_HOLE } from './hole.js';
import type { MonitoredVm } from './monitored-vm.js';
import type { ShadowTable } from './shadow-table.js';
import { PAE, pdeIndex, pteIndex, slotOf, type TableFormat, TWO_LEVEL } from './table-format.js';

export class HoleTable {
  /** First linear address of the hole: from there on all is the monitor's. */
  readonly base: number;
  /** The table for two-level paging: of 4 MiB, as long as the hole. Undefined where there is no hole. */
  readonly mpn: Mpn | undefined;
  /** The tables for PAE paging, of 2 MiB each, once somebody has needed them. */
  #pae: readonly [Mpn, Mpn] | undefined;
  readonly #vm: MonitoredVm;

  /** `base`: `HOLE_BASE`, or `NO_HOLE` where hardware keeps monitor and guest apart; `map` and `unmap` then do nothing. */
  constructor(vm: MonitoredVm, base: number) {
    this.#vm = vm;
    this.base = base;
    this.mpn = base === NO_HOLE ? undefined : vm.allocateMonitorPage('tables');
  }

  /** Maps one page, supervisor-only and global. */
  map(linear: number, mpn: Mpn, writable: boolean): void {
    this.#set(linear, (mpn << 12) | PRESENT_MASK | Pte.D | Pte.G | (writable ? Pte.W : 0));
  }

  unmap(linear: number): void {
    this.#set(linear, 0);
  }

  #set(linear: number, entry: number): void {
    if (this.mpn === undefined) return;
    assert(linear >>> 0 >= this.base, 'not in the hole');
    const { i32 } = this.#vm.memory;
    const at = (this.mpn << 10) + pteIndex(TWO_LEVEL, linear);
    assert(entry !== 0 || i32[at] !== 0, 'not mapped in the hole');
    i32[at] = entry;
    if (this.#pae !== undefined) this.#copy(this.#pae, pteIndex(TWO_LEVEL, linear));
  }

  /** Number of the hole's first entry in a directory: behind the last one where it has none there. */
  firstIndex(format: TableFormat, slot: number): number {
    const { base } = this;
    return base === NO_HOLE || slotOf(format, base) !== slot ? format.entries : pdeIndex(format, base);
  }

  /** Writes the hole's entries into a shadow directory. */
  enter(directory: ShadowTable): void {
    for (let index = directory.guestEntries; index < directory.format.entries; index++) {
      directory.set(index, this.entry(directory, index));
    }
  }

  /** What a shadow directory has at `index`, which is the hole's. */
  entry({ format, guestEntries }: ShadowTable, index: number): number {
    const mpn = format === PAE ? this.#paeTables()[index - guestEntries] : this.mpn;
    assert(mpn !== undefined, 'not an entry of the hole');
    return (mpn << 12) | PRESENT_MASK | Pte.W;
  }

  #paeTables(): readonly [Mpn, Mpn] {
    if (this.#pae !== undefined) return this.#pae;
    const tables = [this.#vm.allocateMonitorPage('tables'), this.#vm.allocateMonitorPage('tables')] as const;
    for (let page = 0; page < TWO_LEVEL.entries; page++) this.#copy(tables, page);
    this.#pae = tables;
    return tables;
  }

  /** Makes the PAE tables have for a page of the hole what the other one has. */
  #copy(tables: readonly [Mpn, Mpn], page: number): void {
    const { i32 } = this.#vm.memory;
    const mpn = tables[page < PAE.entries ? 0 : 1];
    i32[(mpn << 10) + 2 * (page & (PAE.entries - 1))] = i32[(this.mpn! << 10) + page]!;
  }

  destroy(): void {
    for (const mpn of [this.mpn, ...(this.#pae ?? [])]) if (mpn !== undefined) this.#vm.freeMonitorPage(mpn, 'tables');
  }
}
