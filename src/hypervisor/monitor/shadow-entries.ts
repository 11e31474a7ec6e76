/**
 * What hardware finds in a shadow entry that is made from a guest entry: pure functions, which the shadow set stores by and the audit
 * checks by.
 *
 * The guest's W and U bits stay at their level, except that a large page keeps both in the shadow's directory entry, where its dirty bit
 * decides about W, too. What a guest entry means depends on CR4 of the vCPU that walks it.
 */
import type { Mpn, Ppn } from '../base/pages.js';
import { Cr4 } from '../machine/cpu/state.js';
import { isLarge, PRESENT_MASK, Pte } from './guest-walk.js';
import type { MonitoredVm } from './monitored-vm.js';
import type { ShadowTable } from './shadow-table.js';
import { formatOf } from './table-format.js';
import type { TraceBook } from './traces.js';

/** The entry's G bit counts, and is set. */
export const isGlobal = (entry: number, cr4: number): boolean => (entry & Pte.G) !== 0 && (cr4 & Cr4.PGE) !== 0;

/** A shadow of this directory entry may exist. */
export const isUsable = (pde: number, cr4: number): boolean =>
  (pde & PRESENT_MASK) === PRESENT_MASK && !(isLarge(pde, cr4) && (pde & formatOf(cr4).largeReserved) !== 0);

/** First guest page of the large page, or guest page of the page table, that a directory entry leads to. */
export const targetOf = (pde: number, cr4: number): Ppn =>
  ((pde & (isLarge(pde, cr4) ? formatOf(cr4).largeFrame : Pte.FRAME)) >>> 12) as Ppn;

/** Hardware entry for a guest directory entry (or an identity one): the guest's W and U; a large page is read-only until dirty. */
export function directoryEntry(child: ShadowTable, source: number): number {
  const base = (child.mpn << 12) | PRESENT_MASK;
  if (child.kind === 'identityTable') return base | Pte.W | Pte.U;
  const writable = child.kind !== 'large' || (source & Pte.D) !== 0;
  return base | (source & Pte.U) | (writable ? source & Pte.W : 0);
}

/**
 * Hardware entry for a leaf made from `source`, or undefined while the page has no frame or may not be mapped. `back`: give RAM that
 * nobody has touched yet its machine page.
 */
export function leafEntry(
  vm: MonitoredVm,
  traces: TraceBook,
  table: ShadowTable,
  source: number,
  back: boolean,
): number | undefined {
  const ppn = (source >>> 12) as Ppn;
  const mpn: Mpn | undefined = back ? vm.pmap.mpnFor(ppn) : vm.pmap.mpnIfBacked(ppn);
  if (mpn === undefined) return undefined;
  const open = vm.pmap.kindOf(ppn) === 'ram' && !traces.isWatched(ppn);
  const base = (mpn << 12) | PRESENT_MASK | Pte.D;
  if (table.kind !== 'table') return base | Pte.U | (open ? Pte.W : 0) | (table.global ? Pte.G : 0);
  const writable = open && (source & Pte.D) !== 0 && (source & Pte.W) !== 0;
  return base | (source & Pte.U) | (writable ? Pte.W : 0) | (table.global ? source & Pte.G : 0);
}
