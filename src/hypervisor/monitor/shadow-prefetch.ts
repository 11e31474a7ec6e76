/**
 * Prefetch: at a hidden fault the monitor is there already and has the guest's table in its cache, so it fills neighbouring entries, too.
 * It fills what would have been filled at the first access without any change of the guest's tables, and nothing else: entries that are
 * present and accessed, and of pages that have machine memory. So the guest sees no difference but the time.
 *
 * A window is the entries of one cache line of the guest's table, which begins at a multiple of their number. Each filled entry is charged as any other, and its reading.
 */
import { PRESENT_MASK } from './guest-walk.js';
import type { ShadowSet } from './shadow-set.js';
import type { ShadowTable } from './shadow-table.js';
import { readEntry } from './table-format.js';
import type { VirtualCpu } from './virtual-cpu.js';

const CACHE_LINE_BYTES = 64;
/** Entries of a window. */
const windowOf = ({ format }: ShadowTable): number => CACHE_LINE_BYTES >>> format.entryShift;

/** Fills the empty neighbours of entry `index` of a table. Those of a large page are all its directory entry's: nothing is read. */
export function prefetchLeaves(set: ShadowSet, by: VirtualCpu, table: ShadowTable, index: number): void {
  const fromGuest = table.kind === 'table';
  const window = windowOf(table);
  const first = index & -window;
  for (let at = first; at < first + window; at++) {
    if (table.entry(at) !== 0) continue;
    const source = fromGuest ? readEntry(by.physical, table.format, table.guestAt(at)) : (table.ppn | at) << 12;
    if (fromGuest && (source & PRESENT_MASK) !== PRESENT_MASK) continue;
    const entry = set.leafEntry(table, source, false);
    if (entry === undefined) continue;
    if (fromGuest) by.thread.charge(by.costs.guestMemoryAccess);
    set.storeLeaf(by, table, at, source, entry);
    set.vm.counters.shadowPrefetches += 1;
  }
}

/** Links the empty neighbours of entry `index` of a directory to the tables that have shadows. */
export function prefetchLinks(set: ShadowSet, by: VirtualCpu, directory: ShadowTable, index: number): void {
  if (directory.kind !== 'directory') return;
  const window = windowOf(directory);
  const first = index & -window;
  for (let at = first; at < Math.min(first + window, directory.guestEntries); at++) {
    if (directory.entry(at) !== 0) continue;
    set.follower.syncDirectoryEntry(by, directory, at);
    if (directory.entry(at) === 0) continue;
    by.thread.charge(by.costs.guestMemoryAccess);
    set.vm.counters.shadowPrefetches += 1;
  }
}
