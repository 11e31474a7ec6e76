/**
 * A set of shadow tables, for one vCPU or for several: the pages, what links them, and how they come and go.
 *
 * One shadow belongs to one guest table page, not to an address space: a table that many directories share is shadowed once, and a
 * directory keeps its shadow while other address spaces run. Page tables are shared by every vCPU of the set; a directory is one vCPU's
 * own, since the monitor's hole in it is (`ShadowMmu.directories`).
 *
 * The set knows no hardware thread. Whoever causes work passes itself as `by` and pays for it; whose TLB lines go is found out from the
 * directories that lead to a table (`shadow-flush.ts`).
 *
 * Memory is bounded: when `shadowPagesMax` is reached the shadow that was used least recently goes, unless a vCPU has it loaded.
 */
import { assert } from '../base/assert.js';
import type { Ppn } from '../base/pages.js';
import { Cr4 } from '../machine/cpu/state.js';
import { isLarge, Pte } from './guest-walk.js';
import type { MonitoredVm } from './monitored-vm.js';
import { ReverseMap } from './reverse-map.js';
import type { ShadowMmu } from './shadow.js';
import { directoryEntry, isGlobal, leafEntry, targetOf } from './shadow-entries.js';
import { flushLeaf, flushTable } from './shadow-flush.js';
import { ShadowFollower } from './shadow-follow.js';
import { type DirectoryKind, type LeafKind, ShadowTable, type ShadowTraits } from './shadow-table.js';
import { formatOf, PAE, type TableFormat, TWO_LEVEL } from './table-format.js';
import type { TraceBook } from './traces.js';
import type { VirtualCpu } from './virtual-cpu.js';

const leafKey = (ppn: Ppn, global: boolean, format: TableFormat): number =>
  ppn * 4 + (format === PAE ? 2 : 0) + (global ? 1 : 0);

export class ShadowSet {
  readonly vm: MonitoredVm;
  readonly traces: TraceBook;
  /** The vCPUs that walk it. */
  readonly members: ShadowMmu[] = [];
  readonly reverse = new ReverseMap();
  /** How changes of the guest's tables get here. */
  readonly follower: ShadowFollower;
  /** By guest page (large, identity: the first one), format and global bit. */
  readonly #leaves: Readonly<Record<LeafKind, Map<number, ShadowTable>>> = {
    table: new Map(),
    large: new Map(),
    identityTable: new Map(),
  };
  readonly #byMpn = new Map<number, ShadowTable>();
  #uses = 0;

  constructor(vm: MonitoredVm, traces: TraceBook) {
    assert(vm.shadowPagesMax >= 16, 'too few shadow pages');
    this.vm = vm;
    this.traces = traces;
    this.follower = new ShadowFollower(this);
    traces.follow(this.follower);
  }

  /** Machine pages that hold shadows. */
  get pageCount(): number {
    return this.#byMpn.size;
  }

  /** Every shadow, in the order in which they were made. */
  get shadows(): Iterable<ShadowTable> {
    return this.#byMpn.values();
  }

  /** The shadow of a guest's page table. `global`: for vCPUs with CR4.PGE. */
  table(ppn: Ppn, global: boolean, format: TableFormat): ShadowTable | undefined {
    return this.#leaves.table.get(leafKey(ppn, global, format));
  }

  // Making shadows.

  /** Says that a shadow is in use: what eviction and the end of traces go by. */
  use(shadow: ShadowTable): ShadowTable {
    shadow.lastUse = ++this.#uses;
    shadow.hitsSinceUse = 0;
    return shadow;
  }

  /** A new directory of a vCPU's, empty but for the hole. */
  makeDirectory(owner: ShadowMmu, kind: DirectoryKind, ppn: Ppn, format: TableFormat, slot: number): ShadowTable {
    const directory = this.#make(owner.vcpu, kind, ppn, { format, global: false, slot, owner });
    owner.addDirectory(directory);
    if (kind === 'directory') this.#traceUnlessAnnounced(owner.vcpu, directory);
    return this.use(directory);
  }

  /** A new empty table. */
  makeLeaf(by: VirtualCpu, kind: LeafKind, ppn: Ppn, global: boolean, format: TableFormat): ShadowTable {
    const table = this.#make(by, kind, ppn, { format, global, owner: undefined });
    this.#leaves[kind].set(leafKey(ppn, global, format), table);
    if (kind === 'table') this.#traceUnlessAnnounced(by, table);
    return this.use(table);
  }

  #make(by: VirtualCpu, kind: ShadowTable['kind'], ppn: Ppn, traits: ShadowTraits): ShadowTable {
    const { vm } = this;
    if (this.#byMpn.size >= vm.shadowPagesMax) this.#evict(by);
    const mpn = vm.allocateMonitorPage('shadow');
    by.thread.charge(by.costs.shadowTableAllocate);
    const shadow = new ShadowTable(vm.memory, kind, ppn, mpn, traits);
    this.#byMpn.set(mpn, shadow);
    this.#countPages();
    return shadow;
  }

  #countPages(): void {
    let pages = 0;
    for (const { pageCount } of this.traces.followers) pages += pageCount;
    this.vm.counters.shadowPages = pages;
  }

  #traceUnlessAnnounced(by: VirtualCpu, shadow: ShadowTable): void {
    if (!this.follower.isAnnounced(shadow.ppn)) this.trace(by, shadow);
  }

  /** Watches the guest page of a shadow. */
  trace(by: VirtualCpu, shadow: ShadowTable): void {
    shadow.traced = true;
    this.traces.watch(by, shadow.ppn, 'table');
  }

  untrace(by: VirtualCpu, shadow: ShadowTable): void {
    shadow.traced = false;
    this.traces.unwatch(by, shadow.ppn, 'table');
  }

  /** The shadow that a present guest directory entry leads to under this CR4, if there is one already. */
  childOf(pde: number, cr4: number): ShadowTable | undefined {
    const ppn = targetOf(pde, cr4);
    return isLarge(pde, cr4)
      ? this.#leaves.large.get(leafKey(ppn, isGlobal(pde, cr4), formatOf(cr4)))
      : this.table(ppn, (cr4 & Cr4.PGE) !== 0, formatOf(cr4));
  }

  /** As `childOf`, made if need be. */
  needChildOf(by: VirtualCpu, pde: number, cr4: number): ShadowTable {
    const known = this.childOf(pde, cr4);
    if (known !== undefined) return known;
    const ppn = targetOf(pde, cr4);
    return isLarge(pde, cr4)
      ? this.makeLeaf(by, 'large', ppn, isGlobal(pde, cr4), formatOf(cr4))
      : this.makeLeaf(by, 'table', ppn, (cr4 & Cr4.PGE) !== 0, formatOf(cr4));
  }

  /** The table that maps 4 MiB of guest-physical memory from `first` one to one, made if need be. */
  needIdentityTable(by: VirtualCpu, first: Ppn): ShadowTable {
    const known = this.#leaves.identityTable.get(leafKey(first, false, TWO_LEVEL));
    return known ?? this.makeLeaf(by, 'identityTable', first, false, TWO_LEVEL);
  }

  // Entries of directories.

  /** What a directory entry leads to; undefined where it is empty or the monitor's. */
  child(directory: ShadowTable, index: number): ShadowTable | undefined {
    const entry = directory.entry(index);
    return entry === 0 || index >= directory.guestEntries ? undefined : this.#byMpn.get(entry >>> 12);
  }

  /** Makes a directory entry lead to a table, with the rights of `source`. */
  link(by: VirtualCpu, directory: ShadowTable, index: number, child: ShadowTable, source: number): void {
    const old = this.child(directory, index);
    if (old !== undefined && old !== child) this.unlink(by, directory, index);
    const entry = directoryEntry(child, source);
    if (old === child) {
      directory.sources[index] = source;
      if (directory.entry(index) === entry) return;
      flushTable(by, directory, index, child);
    } else {
      child.parents.add(directory.at(index));
      directory.count += 1;
    }
    directory.set(index, entry);
    directory.sources[index] = source;
    by.thread.charge(by.costs.shadowFill);
    this.vm.counters.shadowFills += 1;
  }

  /** Empties a directory entry. */
  unlink(by: VirtualCpu, directory: ShadowTable, index: number): void {
    const child = this.child(directory, index);
    if (child === undefined) return;
    this.#clearLink(by, directory, index, child);
    child.parents.delete(directory.at(index));
    // A table that nothing leads to any more is most likely free memory by now: stop watching it. Announced tables may wait.
    if (child.parents.size > 0 || (child.kind === 'table' && this.follower.isAnnounced(child.ppn))) return;
    this.retire(by, child);
  }

  #clearLink(by: VirtualCpu, directory: ShadowTable, index: number, child: ShadowTable): void {
    flushTable(by, directory, index, child);
    directory.set(index, 0);
    directory.sources[index] = 0;
    directory.count -= 1;
    by.thread.charge(by.costs.shadowEntryDrop);
    this.vm.counters.shadowDrops += 1;
  }

  // Entries of tables.

  /** Hardware entry for a leaf of `table` made from `source` as things are now. */
  leafEntry(table: ShadowTable, source: number, back: boolean): number | undefined {
    return leafEntry(this.vm, this.traces, table, source, back);
  }

  /** Fills a leaf, with a machine page for the guest page if it has none yet. */
  fillLeaf(by: VirtualCpu, table: ShadowTable, index: number, source: number): void {
    if (this.vm.pmap.mpnIfBacked((source >>> 12) as Ppn) === undefined) by.thread.charge(by.costs.allocatePage);
    const entry = this.leafEntry(table, source, true);
    assert(entry !== undefined, 'filling an entry that has no frame');
    this.storeLeaf(by, table, index, source, entry);
  }

  storeLeaf(by: VirtualCpu, table: ShadowTable, index: number, source: number, entry: number): void {
    const old = table.entry(index);
    if (old !== 0) {
      flushLeaf(by, this.#byMpn, table, index, old, entry);
      if (table.ppnOf(index) !== source >>> 12) {
        this.reverse.remove(table.ppnOf(index), table.at(index));
        this.reverse.add((source >>> 12) as Ppn, table.at(index));
      }
    } else {
      table.count += 1;
      this.reverse.add((source >>> 12) as Ppn, table.at(index));
    }
    table.set(index, entry);
    table.sources[index] = source;
    if ((entry & Pte.G) !== 0) table.mayHoldGlobals = true;
    by.thread.charge(by.costs.shadowFill);
    this.vm.counters.shadowFills += 1;
  }

  dropLeaf(by: VirtualCpu, table: ShadowTable, index: number): void {
    const old = table.entry(index);
    if (old === 0) return;
    this.#forgetLeaf(table, index);
    flushLeaf(by, this.#byMpn, table, index, old, 0);
    by.thread.charge(by.costs.shadowEntryDrop);
  }

  /** Bookkeeping of a dropped entry, without TLB and charge. */
  #forgetLeaf(table: ShadowTable, index: number): void {
    this.reverse.remove(table.ppnOf(index), table.at(index));
    table.set(index, 0);
    table.sources[index] = 0;
    table.count -= 1;
    this.vm.counters.shadowDrops += 1;
  }

  /** Takes write permission from every entry that maps a page. */
  protect(by: VirtualCpu, ppn: Ppn): void {
    for (const at of this.reverse.entriesOf(ppn)) {
      const entry = this.vm.memory.readI32(at);
      if ((entry & Pte.W) !== 0) this.#setProtection(by, at, entry, entry & ~Pte.W);
    }
  }

  /** Gives write permission back to the entries that map a page, where the guest has it: its next store needs no fault. */
  unprotect(by: VirtualCpu, ppn: Ppn): void {
    for (const at of this.reverse.entriesOf(ppn)) {
      const entry = this.vm.memory.readI32(at);
      const table = this.#byMpn.get(at >>> 12)!;
      const open = this.leafEntry(table, table.sources[table.indexAt(at)]!, false);
      if (open !== undefined && (open & ~entry & Pte.W) !== 0) this.#setProtection(by, at, entry, entry | Pte.W);
    }
  }

  #setProtection(by: VirtualCpu, at: number, before: number, after: number): void {
    const table = this.#byMpn.get(at >>> 12)!;
    const index = table.indexAt(at);
    table.set(index, after);
    flushLeaf(by, this.#byMpn, table, index, before, after);
    by.thread.charge(by.costs.traceProtect);
  }

  // Dropping shadows.

  #evict(by: VirtualCpu): void {
    let oldest: ShadowTable | undefined;
    for (const shadow of this.#byMpn.values()) {
      if (shadow.owner?.isLoaded(shadow) !== true && (oldest === undefined || shadow.lastUse < oldest.lastUse))
        oldest = shadow;
    }
    assert(oldest !== undefined, 'no shadow page to evict');
    this.retire(by, oldest);
  }

  /** Drops a shadow for ever: its entries, the entries that lead to it, its trace, its page. */
  retire(by: VirtualCpu, shadow: ShadowTable): void {
    const { owner } = shadow;
    if (this.#byMpn.get(shadow.mpn) !== shadow) return;
    if (owner === undefined) this.#emptyLeaf(by, shadow);
    else {
      for (let index = 0; index < shadow.guestEntries; index++)
        if (shadow.entry(index) !== 0) this.unlink(by, shadow, index);
    }
    this.#byMpn.delete(shadow.mpn);
    if (shadow.traced) this.untrace(by, shadow);
    if (owner !== undefined) owner.forgetDirectory(shadow);
    else this.#leaves[shadow.kind as LeafKind].delete(leafKey(shadow.ppn, shadow.global, shadow.format));
    this.vm.freeMonitorPage(shadow.mpn, 'shadow');
    this.#countPages();
  }

  #emptyLeaf(by: VirtualCpu, table: ShadowTable): void {
    for (const parent of table.parents) {
      const directory = this.#byMpn.get(parent >>> 12);
      assert(directory !== undefined, 'a shadow table has a parent that is gone');
      this.#clearLink(by, directory, directory.indexAt(parent), table);
    }
    table.parents.clear();
    by.thread.charge(by.costs.shadowEntryDrop * table.count);
    for (let index = 0; table.count > 0; index++) if (table.entry(index) !== 0) this.#forgetLeaf(table, index);
  }

  /** A vCPU begins to use the set. */
  join(member: ShadowMmu): void {
    this.members.push(member);
  }

  /** A vCPU whose shadows are retired does not use the set any more. Nobody can join it again behind the last one. */
  leave(member: ShadowMmu): void {
    this.members.splice(this.members.indexOf(member), 1);
    if (this.members.length === 0) this.traces.unfollow(this.follower);
  }

  /** Drops every directory of a vCPU, and the tables that no other vCPU's directories lead to. Its TLB lines must go, too. */
  retireFor(member: ShadowMmu): void {
    for (const directory of [...member.directories.values()]) this.retire(member.vcpu, directory);
    for (const shadow of [...this.#byMpn.values()]) {
      if (shadow.owner === undefined && shadow.parents.size === 0) this.retire(member.vcpu, shadow);
    }
    assert(this.#byMpn.size > 0 || this.reverse.size === 0, 'the reverse map outlived the shadows');
  }
}
