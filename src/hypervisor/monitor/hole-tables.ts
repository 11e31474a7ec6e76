/** The page tables of the monitor's hole: made when they are first needed, entered into every shadow directory. */
import { assert } from '../base/assert.js';
import type { Mpn } from '../base/pages.js';
import { PRESENT_MASK, Pte, pdeIndex, pteIndex } from './guest-walk.js';
import { NO_HOLE } from './hole.js';
import type { MonitoredVm } from './monitored-vm.js';
import type { ShadowTable } from './shadow-table.js';

export class HoleTables {
  /** First linear address, and first directory index, of the hole: from there on all is the monitor's. */
  readonly base: number;
  readonly firstIndex: number;
  readonly #vm: MonitoredVm;
  readonly #tables = new Map<number, Mpn>();
  /** Pages that a table maps, by directory index. */
  readonly #counts = new Map<number, number>();

  /** `base`: `HOLE_BASE`, or `NO_HOLE` where hardware keeps monitor and guest apart; `map` then does nothing. */
  constructor(vm: MonitoredVm, base: number) {
    this.#vm = vm;
    this.base = base;
    this.firstIndex = base / 0x400000;
  }

  /** By directory index. */
  get tables(): ReadonlyMap<number, Mpn> {
    return this.#tables;
  }

  /** Maps one page, supervisor-only and global. True when a table was added, which directories must then be told. */
  map(linear: number, mpn: Mpn, writable: boolean): boolean {
    if (this.base === NO_HOLE) return false;
    assert(linear >>> 0 >= this.base, 'not in the hole');
    const index = pdeIndex(linear);
    const known = this.#tables.get(index);
    const table = known ?? this.#vm.allocateMonitorPage('tables');
    this.#tables.set(index, table);
    const flags = PRESENT_MASK | Pte.D | Pte.G | (writable ? Pte.W : 0);
    const { i32 } = this.#vm.memory;
    const at = (table << 10) + pteIndex(linear);
    if (i32[at] === 0) this.#counts.set(index, (this.#counts.get(index) ?? 0) + 1);
    i32[at] = (mpn << 12) | flags;
    return known === undefined;
  }

  /** Takes a mapping away. True when its table was given back with it, which directories must then be told. */
  unmap(linear: number): boolean {
    const index = pdeIndex(linear);
    const table = this.#tables.get(index);
    const { i32 } = this.#vm.memory;
    assert(table !== undefined && i32[(table << 10) + pteIndex(linear)] !== 0, 'not mapped in the hole');
    i32[(table << 10) + pteIndex(linear)] = 0;
    const count = this.#counts.get(index)! - 1;
    this.#counts.set(index, count);
    if (count > 0) return false;
    this.#vm.freeMonitorPage(table, 'tables');
    this.#tables.delete(index);
    return true;
  }

  /** Writes the hole's entries into a shadow directory. */
  enter(directory: ShadowTable): void {
    for (const [index, table] of this.#tables) directory.set(index, (table << 12) | PRESENT_MASK | Pte.W);
  }

  destroy(): void {
    for (const table of this.#tables.values()) this.#vm.freeMonitorPage(table, 'tables');
    this.#tables.clear();
    this.#counts.clear();
  }
}
