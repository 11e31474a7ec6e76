/**
 * Which TLB lines go when a shadow entry does, and in whose TLB.
 *
 * Lines came through a directory, a directory belongs to one vCPU, so a table's parents say exactly who may hold lines of it. Lines of
 * address spaces that are not in use went with the last CR3 load, unless they are global.
 */
import { Pte } from './guest-walk.js';
import type { ShadowTable } from './shadow-table.js';
import type { VirtualCpu } from './virtual-cpu.js';

/** Up to so many lines are flushed one by one; beyond, the whole TLB goes. */
const FLUSH_ONE_BY_ONE_MAX = 32;

/** What `before` allowed and `after` does not. */
const narrows = (before: number, after: number): boolean =>
  ((before ^ after) & Pte.FRAME) !== 0 || (before & ~after & (Pte.P | Pte.W | Pte.U | Pte.G)) !== 0;

/**
 * Drops the lines of entry `index`, which held `before` and holds `after` from now on, in every address space that `table` is part of.
 * A line that allows less than it might is harmless: other vCPUs, whom it would take an interrupt to tell, find out by a fault.
 */
export function flushLeaf(
  by: VirtualCpu,
  directories: ReadonlyMap<number, ShadowTable>,
  table: ShadowTable,
  index: number,
  before: number,
  after: number,
): void {
  const global = (before & Pte.G) !== 0;
  const matters = narrows(before, after);
  for (const parent of table.parents) {
    const directory = directories.get(parent >>> 12)!;
    const owner = directory.owner!;
    if (!global && !owner.isLoaded(directory)) continue;
    if (matters || owner.vcpu === by)
      owner.flushLine(by, directory.linearOf(directory.indexAt(parent)) | (index << 12));
  }
}

/** Drops the lines that came through one directory entry. */
export function flushTable(by: VirtualCpu, directory: ShadowTable, index: number, child: ShadowTable): void {
  const owner = directory.owner!;
  const inUse = owner.isLoaded(directory);
  // Global lines of an address space that is not in use may still be right for the one that is.
  if (!inUse && (!child.mayHoldGlobals || owner.roots[directory.slot]?.entry(index) === directory.entry(index))) return;
  if (inUse && child.count > FLUSH_ONE_BY_ONE_MAX) {
    owner.flushAll(by);
    return;
  }
  for (let i = 0; i < child.format.entries; i++) {
    const entry = child.entry(i);
    if (entry !== 0 && (inUse || (entry & Pte.G) !== 0)) owner.flushLine(by, directory.linearOf(index) | (i << 12));
  }
}
