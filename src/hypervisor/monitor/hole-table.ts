/** The page table of the monitor's hole, which every shadow directory of a vCPU has as its last entry. */
import { assert } from '../base/assert.js';
import type { Mpn } from '../base/pages.js';
import { PRESENT_MASK, Pte, pdeIndex, pteIndex } from './guest-walk.js';
import { NO_HOLE } from './hole.js';
import type { MonitoredVm } from './monitored-vm.js';
import type { ShadowTable } from './shadow-table.js';

export class HoleTable {
  /** First linear address of the hole: from there on all is the monitor's. */
  readonly base: number;
  /** Its entry in a directory, behind the last one where there is no hole. */
  readonly index: number;
  /** Undefined where there is no hole. */
  readonly mpn: Mpn | undefined;
  readonly #vm: MonitoredVm;

  /** `base`: `HOLE_BASE`, or `NO_HOLE` where hardware keeps monitor and guest apart; `map` and `unmap` then do nothing. */
  constructor(vm: MonitoredVm, base: number) {
    this.#vm = vm;
    this.base = base;
    this.index = base / 0x400000;
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
    assert(pdeIndex(linear) === this.index, 'not in the hole');
    const { i32 } = this.#vm.memory;
    const at = (this.mpn << 10) + pteIndex(linear);
    assert(entry !== 0 || i32[at] !== 0, 'not mapped in the hole');
    i32[at] = entry;
  }

  /** Writes the hole's entry into a shadow directory. */
  enter(directory: ShadowTable): void {
    if (this.mpn !== undefined) directory.set(this.index, this.directoryEntry);
  }

  /** What a shadow directory has at `index`. */
  get directoryEntry(): number {
    return this.mpn === undefined ? 0 : (this.mpn << 12) | PRESENT_MASK | Pte.W;
  }

  destroy(): void {
    if (this.mpn !== undefined) this.#vm.freeMonitorPage(this.mpn, 'tables');
  }
}
