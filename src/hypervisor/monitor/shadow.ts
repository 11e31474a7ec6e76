/**
 * Shadow paging: the tables that hardware walks while a guest runs, derived from the guest's tables and the pmap.
 *
 *     guest   CR3 --> page directory (PPN) --> page table (PPN) --> page (PPN)
 *                          |                        |                 | pmap
 *     shadow  CR3 --> directory (MPN) ------> table (MPN) ------> page (MPN)
 *
 * One shadow belongs to one guest table page, not to an address space: a table that many directories share is shadowed once,
 * and a directory keeps its shadow while other address spaces run. The rules:
 *
 *  - A shadow entry exists only when the guest's entry is present and its accessed bit is set; it is writable only when the
 *    guest's is writable and dirty, the page is RAM and nobody watches it. So the first access and the first write fault, and
 *    `fill` sets accessed and dirty bits exactly when hardware would have.
 *  - The guest's W and U bits of both levels are kept at their level; hardware's own check combines them. Hardware always has
 *    WP set: a supervisor store to a read-only page with the guest's WP clear is carried out one instruction at a time.
 *  - The page of every guest table with a shadow is watched (a trace), so shadows change with the guest's store and need no
 *    work at INVLPG or CR3 loads. Tables that the guest announces (VMI) are not watched: their changes come by
 *    `entryChanged`, and between a store and its announcement shadows may lag, as a TLB may.
 *  - Directory entries of the hole belong to the monitor in every shadow directory.
 *  - Hardware has PGE set always; entries are global when the guest's are, and the hole is.
 *
 * Memory is bounded: when `shadowPagesMax` is reached the shadow that was used least recently goes.
 *
 * What it does not do: large shadow pages (a 4 MiB guest page is a table of 1024 small entries) and PAE. A guest that maps
 * something into the hole finds it not present there.
 */
import { assert } from '../base/assert.js';
import { lpnOf, type Mpn, PAGE_OFFSET_MASK, type Ppn, ppnOf } from '../base/pages.js';
import { Cr0, Cr4, PfError } from '../machine/cpu/state.js';
import type { MachineMemory } from '../machine/memory.js';
import {
  LARGE_RESERVED,
  type MappedWalk,
  markUsed,
  PRESENT_MASK,
  Pte,
  pdeIndex,
  pteIndex,
  walk,
} from './guest-walk.js';
import { HoleTables } from './hole-tables.js';
import type { HiddenFault, PageFault, RefusedFault } from './page-fault.js';
import { ReverseMap } from './reverse-map.js';
import { auditShadow } from './shadow-audit.js';
import { ENTRIES, type ShadowKind, ShadowTable } from './shadow-table.js';
import type { VirtualCpu } from './virtual-cpu.js';

export type { HiddenFault, PageFault, RefusedFault } from './page-fault.js';

/** A shadow entry that maps something else for the time of one instruction. */
export interface Override {
  readonly linear: number;
  readonly pdeAt: number;
  readonly pde: number;
  readonly pteAt: number;
  readonly pte: number;
}

/** Writes to a table page without any use in between after which it is taken for reused memory. */
const HITS_WITHOUT_USE_MAX = 8;
/** Up to so many lines are flushed one by one; beyond, the whole TLB goes. */
const FLUSH_ONE_BY_ONE_MAX = 32;
const PRESENT = PRESENT_MASK;

export class ShadowMmu {
  readonly vcpu: VirtualCpu;
  readonly #memory: MachineMemory;
  /** By guest page; 'large' by first guest page and global bit (`largeKey`); identity tables by first guest page. */
  readonly #shadows: Readonly<Record<ShadowKind, Map<number, ShadowTable>>> = {
    directory: new Map(),
    table: new Map(),
    large: new Map(),
    identityDirectory: new Map(),
    identityTable: new Map(),
  };
  readonly #byMpn = new Map<number, ShadowTable>();
  readonly #reverse = new ReverseMap();
  readonly #announced = new Map<number, 'table' | 'directory'>();
  readonly #hole: HoleTables;
  #root: ShadowTable | undefined;
  #uses = 0;
  #mode = 0;

  constructor(vcpu: VirtualCpu) {
    this.vcpu = vcpu;
    this.#memory = vcpu.vm.memory;
    this.#hole = new HoleTables(vcpu.vm, vcpu.holeBase);
    assert(vcpu.vm.shadowPagesMax >= 16, 'too few shadow pages');
    vcpu.traces.onFirstWatch = ppn => this.#protect(ppn);
    vcpu.traces.listen('table', (ppn, offset, length) => this.#tableWritten(ppn, offset, length));
  }

  /** Machine page of the shadow directory in use. */
  get root(): Mpn {
    return this.#current().mpn;
  }

  /** Machine pages that hold shadows. */
  get pageCount(): number {
    return this.#byMpn.size;
  }

  /** Maps a page of the hole for every address space, supervisor-only. */
  mapHole(linear: number, mpn: Mpn, writable: boolean): void {
    const added = this.#hole.map(linear, mpn, writable);
    if (added) for (const shadow of this.#byMpn.values()) if (shadow.isDirectory) this.#hole.enter(shadow);
    this.vcpu.thread.flushTlbPage(linear);
  }

  /** Takes a page of the hole from every address space. */
  unmapHole(linear: number): void {
    if (this.#hole.unmap(linear)) {
      for (const shadow of this.#byMpn.values()) if (shadow.isDirectory) shadow.set(pdeIndex(linear), 0);
    }
    this.vcpu.thread.flushTlbPage(linear);
  }

  /** For the audit. */
  get hole(): HoleTables {
    return this.#hole;
  }

  // Address spaces.

  /** The guest wrote CR3 (`vcpu.cr3` is set): finds or makes the shadow directory and loads it. */
  loadCr3(): void {
    const { vcpu } = this;
    vcpu.thread.charge(vcpu.costs.shadowSwitch + vcpu.costs.movCr3);
    vcpu.vm.counters.shadowSwitches += 1;
    if ((vcpu.cr0 & Cr0.PG) === 0) return;
    this.#root = this.#directoryFor(ppnOf(vcpu.cr3));
    vcpu.thread.loadCr3(this.root << 12);
    vcpu.onMappingChanged();
  }

  /** The guest changed paging bits (`vcpu.cr0`, `vcpu.cr4` are set): PG, PE, WP, PSE or PGE. Call it also after other changes. */
  pagingChanged(): void {
    const { vcpu } = this;
    const paging = (vcpu.cr0 & Cr0.PG) !== 0;
    const mode = (paging ? 1 : 0) | (vcpu.cr4 & (Cr4.PSE | Cr4.PGE));
    // What an entry means depends on these bits: shadows made under others are of no use.
    if (mode !== this.#mode) this.retireAll();
    this.#mode = mode;
    this.#root = paging ? this.#directoryFor(ppnOf(vcpu.cr3)) : this.#identityDirectory();
    this.loadControl();
    vcpu.thread.loadCr3(this.root << 12);
    vcpu.thread.flushTlb();
    vcpu.onMappingChanged();
  }

  /** Loads hardware's CR0 and CR4: what shadow paging needs, and the guest's bits that change what instructions do. */
  loadControl(): void {
    const { cr0, cr4, thread } = this.vcpu;
    thread.setCr0(Cr0.PE | Cr0.PG | Cr0.WP | Cr0.ET | (cr0 & (Cr0.MP | Cr0.EM | Cr0.TS | Cr0.NE | Cr0.AM)));
    thread.setCr4(Cr4.PSE | Cr4.PGE | (cr4 & (Cr4.TSD | Cr4.DE | Cr4.OSFXSR | Cr4.OSXMMEXCPT)));
  }

  /**
   * The guest asked for INVLPG. Shadows of traced tables are current anyway; an entry of an announced table is compared with the
   * guest's, since a store may have come without its announcement.
   */
  invalidatePage(linear: number): void {
    const { vcpu } = this;
    vcpu.thread.charge(vcpu.costs.invlpg);
    if (linear >>> 0 >= this.#hole.base) return;
    vcpu.thread.flushTlbPage(linear);
    vcpu.onMappingChanged(linear >>> 0);
    const root = this.#current();
    if (root.kind !== 'directory') return;
    const pdi = pdeIndex(linear);
    if (this.#announced.has(root.ppn)) this.#syncDirectoryEntry(root, pdi);
    const child = this.#child(root, pdi);
    if (child?.kind === 'table' && this.#announced.has(child.ppn)) this.#syncTableEntry(child, pteIndex(linear));
  }

  /**
   * The guest asked for a flush of the address space; `global`: global pages too. Announced tables are not scanned: the
   * protocol obliges the guest to announce each change (vmi-abi 4.3).
   */
  flush(global: boolean): void {
    const { vcpu } = this;
    vcpu.thread.charge(vcpu.costs.movCr3);
    vcpu.thread.loadCr3(this.root << 12);
    if (global) vcpu.thread.flushTlb();
    vcpu.onMappingChanged();
  }

  // Faults.

  /**
   * Classifies a page fault that hardware reported. Charges the guest walk. Of a true fault, and of it alone, leaves the guest's
   * tables as hardware does: with the accessed bit of the directory entry that led to the page table.
   */
  classify(linear: number, errorCode: number): PageFault {
    const { vcpu } = this;
    const write = (errorCode & PfError.W) !== 0;
    const user = (errorCode & PfError.U) !== 0;
    if (linear >>> 0 >= this.#hole.base) return { kind: 'true', errorCode: errorCode & (PfError.W | PfError.U) };
    const found = walk(vcpu.physical, vcpu, linear, { write, user });
    vcpu.thread.charge(vcpu.costs.guestWalkLevel * found.levels);
    if (found.kind === 'fault') {
      markUsed(vcpu.physical, found, write);
      return { kind: 'true', errorCode: found.errorCode };
    }
    const { ppn } = found;
    const lpn = lpnOf(linear);
    const frame = vcpu.vm.pmap.kindOf(ppn);
    if (frame === 'device' || frame === 'absent') return { kind: 'mmio', lpn, ppn, walk: found, write };
    if (write) {
      if (frame === 'rom') return { kind: 'rom', lpn, ppn, walk: found };
      if (vcpu.traces.isWatched(ppn)) return { kind: 'trace', lpn, ppn, walk: found };
      if (!found.writable) return { kind: 'unprotected', lpn, ppn, walk: found };
    }
    return { kind: 'hidden', lpn, ppn, walk: found, write };
  }

  /** Repairs a hidden fault: sets accessed and dirty bits of the guest, fills directory and table entry. */
  fill(fault: HiddenFault): void {
    markUsed(this.vcpu.physical, fault.walk, fault.write);
    const linear = fault.lpn << 12;
    const table = this.#tableFor(linear, fault.walk);
    const index = pteIndex(linear);
    const frame = fault.ppn << 12;
    const source = table.kind === 'table' ? this.vcpu.physical.peek32(fault.walk.pteAt) : frame;
    this.#setLeaf(table, index, source);
  }

  /** Machine address behind a linear one if the shadow in use already allows the access. Free, changes nothing. */
  lookup(linear: number, write: boolean, user: boolean): number | undefined {
    if (linear >>> 0 >= this.#hole.base) return undefined;
    const i32 = this.#memory.i32;
    const pde = i32[(this.root << 10) + pdeIndex(linear)]!;
    if ((pde & Pte.P) === 0) return undefined;
    const pte = i32[((pde >>> 12) << 10) + pteIndex(linear)]!;
    const wanted = Pte.P | (write ? Pte.W : 0) | (user ? Pte.U : 0);
    if ((pde & pte & wanted) !== wanted) return undefined;
    return (pte & Pte.FRAME) | (linear & PAGE_OFFSET_MASK);
  }

  /**
   * Maps the page of a fault to `mpn`, writable, until `endOverride`: for one instruction that the monitor carries out. Sets
   * the guest's accessed and dirty bits.
   */
  beginOverride(fault: RefusedFault, mpn: Mpn, write: boolean): Override {
    markUsed(this.vcpu.physical, fault.walk, write);
    const linear = (fault.lpn << 12) >>> 0;
    const table = this.#tableFor(linear, fault.walk);
    const root = this.#current();
    const index = pteIndex(linear);
    const pdeAt = root.at(pdeIndex(linear));
    const pteAt = table.at(index);
    const override = { linear, pdeAt, pde: this.#memory.readI32(pdeAt), pteAt, pte: table.entry(index) };
    const user = fault.walk.user ? Pte.U : 0;
    this.#memory.i32[pdeAt >> 2]! |= Pte.W;
    this.#memory.i32[pteAt >> 2] = (mpn << 12) | PRESENT | Pte.D | Pte.W | user;
    this.vcpu.thread.flushTlbPage(linear);
    return override;
  }

  endOverride(override: Override): void {
    this.#memory.i32[override.pdeAt >> 2] = override.pde;
    this.#memory.i32[override.pteAt >> 2] = override.pte;
    this.vcpu.thread.flushTlbPage(override.linear);
  }

  // Announcements (VMI).

  /**
   * VMI AllocatePage: changes of this page table come by `entryChanged`, so it is not traced. Makes its shadow at once, empty,
   * so that announced entries need no fault later. Announcing twice is allowed.
   */
  announce(ppn: Ppn, level: 'table' | 'directory'): void {
    this.#announced.set(ppn, level);
    for (const kind of ['directory', 'table'] as const) {
      const known = this.#shadows[kind].get(ppn);
      if (known?.traced) this.#untrace(known);
    }
    if (this.#shadows[level].has(ppn)) return;
    this.#make(level, ppn, ppn, false);
  }

  /** VMI ReleasePage: the page is no page table any more. Unknown pages are accepted, as is the directory in use. */
  release(ppn: Ppn): void {
    this.#announced.delete(ppn);
    for (const kind of ['directory', 'table'] as const) {
      const shadow = this.#shadows[kind].get(ppn);
      if (shadow === undefined) continue;
      if (shadow !== this.#root) this.#retire(shadow);
      else if (!shadow.traced) {
        // Still in use: from here on it is watched like any other, after the stores that nobody announced are made good.
        this.#trace(shadow);
        for (let index = 0; index < this.#hole.firstIndex; index++) this.#syncDirectoryEntry(shadow, index);
      }
    }
  }

  isAnnounced(ppn: Ppn): boolean {
    return this.#announced.has(ppn);
  }

  /** One guest entry, at this guest-physical address, has changed: brings every shadow of it up to date. */
  entryChanged(entryPhysical: number): void {
    this.#sync(ppnOf(entryPhysical), (entryPhysical >>> 2) & 1023);
  }

  // Making shadows.

  #current(): ShadowTable {
    assert(this.#root !== undefined, 'no shadow directory is loaded');
    return this.#root;
  }

  #use(shadow: ShadowTable): ShadowTable {
    shadow.lastUse = ++this.#uses;
    shadow.hitsSinceUse = 0;
    return shadow;
  }

  #directoryFor(ppn: Ppn): ShadowTable {
    return this.#use(this.#shadows.directory.get(ppn) ?? this.#make('directory', ppn, ppn, false));
  }

  #identityDirectory(): ShadowTable {
    const known = this.#shadows.identityDirectory.get(0);
    return this.#use(known ?? this.#make('identityDirectory', 0, 0 as Ppn, false));
  }

  /** The leaf table that maps `linear`, made and linked if need be. */
  #tableFor(linear: number, found: MappedWalk): ShadowTable {
    const directory = this.#current();
    const index = pdeIndex(linear);
    const first = (found.ppn & ~1023) as Ppn;
    if (directory.kind === 'identityDirectory') {
      const table = this.#shadows.identityTable.get(first) ?? this.#make('identityTable', first, first, false);
      this.#link(directory, index, table, first << 12);
      return this.#use(table);
    }
    const pde = this.vcpu.physical.peek32(found.pdeAt);
    const table = this.#childOf(pde) ?? this.#makeChild(pde);
    this.#link(directory, index, table, pde);
    return this.#use(table);
  }

  #isLarge(pde: number): boolean {
    return (pde & Pte.PS) !== 0 && (this.vcpu.cr4 & Cr4.PSE) !== 0;
  }

  #largeKey(pde: number): number {
    return ((pde & Pte.LARGE_FRAME) >>> 12) | (this.#isGlobal(pde) ? 1 : 0);
  }

  #isGlobal(entry: number): boolean {
    return (entry & Pte.G) !== 0 && (this.vcpu.cr4 & Cr4.PGE) !== 0;
  }

  /** The shadow that a present guest directory entry leads to, if there is one already. */
  #childOf(pde: number): ShadowTable | undefined {
    return this.#isLarge(pde)
      ? this.#shadows.large.get(this.#largeKey(pde))
      : this.#shadows.table.get((pde & Pte.FRAME) >>> 12);
  }

  #makeChild(pde: number): ShadowTable {
    if (!this.#isLarge(pde)) {
      const ppn = ((pde & Pte.FRAME) >>> 12) as Ppn;
      return this.#make('table', ppn, ppn, false);
    }
    const first = ((pde & Pte.LARGE_FRAME) >>> 12) as Ppn;
    return this.#make('large', this.#largeKey(pde), first, this.#isGlobal(pde));
  }

  #make(kind: ShadowKind, key: number, ppn: Ppn, global: boolean): ShadowTable {
    const { vcpu } = this;
    if (this.#byMpn.size >= vcpu.vm.shadowPagesMax) this.#evict();
    const mpn = vcpu.vm.allocateMonitorPage('shadow');
    vcpu.thread.charge(vcpu.costs.shadowTableAllocate);
    const shadow = new ShadowTable(this.#memory, kind, ppn, mpn, global);
    this.#shadows[kind].set(key, shadow);
    this.#byMpn.set(mpn, shadow);
    vcpu.vm.counters.shadowPages = this.#byMpn.size;
    if (shadow.isDirectory) this.#hole.enter(shadow);
    if ((kind === 'directory' || kind === 'table') && !this.#announced.has(ppn)) this.#trace(shadow);
    return this.#use(shadow);
  }

  #trace(shadow: ShadowTable): void {
    shadow.traced = true;
    this.vcpu.traces.watch(shadow.ppn, 'table');
  }

  #untrace(shadow: ShadowTable): void {
    shadow.traced = false;
    this.vcpu.traces.unwatch(shadow.ppn, 'table');
  }

  // Entries.

  /** Hardware entry for a guest directory entry (or an identity one): the guest's W and U; a large page is read-only until dirty. */
  directoryEntry(child: ShadowTable, source: number): number {
    const base = (child.mpn << 12) | PRESENT;
    if (child.kind === 'identityTable') return base | Pte.W | Pte.U;
    const writable = child.kind !== 'large' || (source & Pte.D) !== 0;
    return base | (source & Pte.U) | (writable ? source & Pte.W : 0);
  }

  /** Hardware entry for a leaf made from `source`, or undefined while the page has no frame or may not be mapped. */
  leafEntry(table: ShadowTable, source: number, back: boolean): number | undefined {
    const ppn = (source >>> 12) as Ppn;
    const { pmap } = this.vcpu.vm;
    const mpn = back ? pmap.mpnFor(ppn) : pmap.mpnIfBacked(ppn);
    if (mpn === undefined) return undefined;
    const open = pmap.kindOf(ppn) === 'ram' && !this.vcpu.traces.isWatched(ppn);
    const base = (mpn << 12) | PRESENT | Pte.D;
    if (table.kind !== 'table') return base | Pte.U | (open ? Pte.W : 0) | (table.global ? Pte.G : 0);
    const writable = open && (source & Pte.D) !== 0 && (source & Pte.W) !== 0;
    return base | (source & Pte.U) | (writable ? Pte.W : 0) | (this.#isGlobal(source) ? Pte.G : 0);
  }

  #setLeaf(table: ShadowTable, index: number, source: number): void {
    const { vcpu } = this;
    const ppn = (source >>> 12) as Ppn;
    if (vcpu.vm.pmap.mpnIfBacked(ppn) === undefined) vcpu.thread.charge(vcpu.costs.allocatePage);
    const entry = this.leafEntry(table, source, true);
    assert(entry !== undefined, 'filling an entry that has no frame');
    this.#storeLeaf(table, index, source, entry);
  }

  #storeLeaf(table: ShadowTable, index: number, source: number, entry: number): void {
    const old = table.entry(index);
    if (old !== 0) {
      this.#flushLeaf(table, index, old);
      if (table.ppnOf(index) !== source >>> 12) {
        this.#reverse.remove(table.ppnOf(index), table.at(index));
        this.#reverse.add((source >>> 12) as Ppn, table.at(index));
      }
    } else {
      table.count += 1;
      this.#reverse.add((source >>> 12) as Ppn, table.at(index));
    }
    table.set(index, entry);
    table.sources[index] = source;
    if ((entry & Pte.G) !== 0) table.mayHoldGlobals = true;
    this.vcpu.thread.charge(this.vcpu.costs.shadowFill);
    this.vcpu.vm.counters.shadowFills += 1;
  }

  #dropLeaf(table: ShadowTable, index: number): void {
    const old = table.entry(index);
    if (old === 0) return;
    this.#forgetLeaf(table, index);
    this.#flushLeaf(table, index, old);
    this.vcpu.thread.charge(this.vcpu.costs.shadowEntryDrop);
  }

  /** Bookkeeping of a dropped entry, without TLB and charge. */
  #forgetLeaf(table: ShadowTable, index: number): void {
    this.#reverse.remove(table.ppnOf(index), table.at(index));
    table.set(index, 0);
    table.sources[index] = 0;
    table.count -= 1;
    this.vcpu.vm.counters.shadowDrops += 1;
  }

  /** Drops the TLB lines of one entry: lines of other address spaces went with the last CR3 load, unless global. */
  #flushLeaf(table: ShadowTable, index: number, entry: number): void {
    const current = this.#root?.mpn;
    for (const parent of table.parents) {
      if (parent >>> 12 !== current && (entry & Pte.G) === 0) continue;
      this.vcpu.thread.flushTlbPage((((parent >>> 2) & 1023) << 22) | (index << 12));
    }
  }

  #child(directory: ShadowTable, index: number): ShadowTable | undefined {
    const entry = directory.entry(index);
    return entry === 0 || index >= this.#hole.firstIndex ? undefined : this.#byMpn.get(entry >>> 12);
  }

  #link(directory: ShadowTable, index: number, child: ShadowTable, source: number): void {
    const old = this.#child(directory, index);
    if (old !== undefined && old !== child) this.#unlink(directory, index);
    const entry = this.directoryEntry(child, source);
    if (old === child) {
      directory.sources[index] = source;
      if (directory.entry(index) === entry) return;
      this.#flushTable(directory, index, child);
    } else {
      child.parents.add(directory.at(index));
      directory.count += 1;
    }
    directory.set(index, entry);
    directory.sources[index] = source;
    this.vcpu.thread.charge(this.vcpu.costs.shadowFill);
    this.vcpu.vm.counters.shadowFills += 1;
  }

  #unlink(directory: ShadowTable, index: number): void {
    const child = this.#child(directory, index);
    if (child === undefined) return;
    this.#flushTable(directory, index, child);
    directory.set(index, 0);
    directory.sources[index] = 0;
    directory.count -= 1;
    child.parents.delete(directory.at(index));
    this.vcpu.thread.charge(this.vcpu.costs.shadowEntryDrop);
    this.vcpu.vm.counters.shadowDrops += 1;
    // A table that nothing leads to any more is most likely free memory by now: stop watching it. Announced tables may wait.
    if (child.parents.size > 0 || (child.kind === 'table' && this.#announced.has(child.ppn))) return;
    this.#retire(child);
  }

  /** Drops the TLB lines that came through one directory entry. */
  #flushTable(directory: ShadowTable, index: number, child: ShadowTable): void {
    const { thread } = this.vcpu;
    const inUse = directory === this.#root;
    // Lines of other address spaces went with the last CR3 load, unless global; those may still be right for this one.
    if (!inUse && (!child.mayHoldGlobals || this.#root?.entry(index) === directory.entry(index))) return;
    if (inUse && child.count > FLUSH_ONE_BY_ONE_MAX) {
      thread.flushTlb();
      return;
    }
    for (let i = 0; i < ENTRIES; i++) {
      const entry = child.entry(i);
      if (entry !== 0 && (inUse || (entry & Pte.G) !== 0)) thread.flushTlbPage((index << 22) | (i << 12));
    }
  }

  // Keeping up with the guest.

  /** Takes write permission from every entry that maps a page which is watched from now on. */
  #protect(ppn: Ppn): void {
    for (const at of this.#reverse.entriesOf(ppn)) {
      const entry = this.#memory.readI32(at);
      if ((entry & Pte.W) === 0) continue;
      this.#memory.i32[at >> 2] = entry & ~Pte.W;
      this.#flushLeaf(this.#byMpn.get(at >>> 12)!, (at >>> 2) & 1023, entry);
      this.vcpu.thread.charge(this.vcpu.costs.traceProtect);
    }
  }

  /** A watched table page was written: synchronizes the entries that the bytes touch. */
  #tableWritten(ppn: Ppn, offset: number, length: number): void {
    const last = (offset + length - 1) >> 2;
    for (let index = offset >> 2; index <= last; index++) this.#sync(ppn, index);
    this.countStore(ppn);
  }

  /**
   * A store to a watched page, whether or not it changes anything. A table that is only ever written, and that the address space
   * in use does not reach, is most likely reused memory (a freed directory being cleared): its shadow and its trace go.
   */
  countStore(ppn: Ppn): void {
    for (const kind of ['directory', 'table'] as const) {
      const shadow = this.#shadows[kind].get(ppn);
      if (shadow === undefined || !shadow.traced) continue;
      shadow.hitsSinceUse += 1;
      if (shadow.hitsSinceUse > HITS_WITHOUT_USE_MAX && !this.#isReachable(shadow)) this.#retire(shadow);
    }
  }

  #isReachable(shadow: ShadowTable): boolean {
    if (shadow === this.#root) return true;
    const current = this.#root?.mpn;
    for (const parent of shadow.parents) if (parent >>> 12 === current) return true;
    return false;
  }

  #sync(ppn: Ppn, index: number): void {
    const directory = this.#shadows.directory.get(ppn);
    if (directory !== undefined) this.#syncDirectoryEntry(directory, index);
    const table = this.#shadows.table.get(ppn);
    if (table !== undefined) this.#syncTableEntry(table, index);
  }

  /** Makes one directory entry agree with the guest's: relinks at once what has a shadow and has been accessed, else unlinks. */
  #syncDirectoryEntry(directory: ShadowTable, index: number): void {
    if (index >= this.#hole.firstIndex) return;
    const pde = this.vcpu.physical.peek32(((directory.ppn << 12) | (index << 2)) >>> 0);
    const usable = (pde & PRESENT) === PRESENT && !(this.#isLarge(pde) && (pde & LARGE_RESERVED) !== 0);
    const child = usable ? this.#childOf(pde) : undefined;
    if (child === undefined) this.#unlink(directory, index);
    else this.#link(directory, index, child, pde);
  }

  /** Makes one table entry agree with the guest's: fills it at once if the guest has accessed it before, else drops it. */
  #syncTableEntry(table: ShadowTable, index: number): void {
    const pte = this.vcpu.physical.peek32(((table.ppn << 12) | (index << 2)) >>> 0);
    const entry = (pte & PRESENT) === PRESENT ? this.leafEntry(table, pte, false) : undefined;
    if (entry === undefined) this.#dropLeaf(table, index);
    else if (entry !== table.entry(index)) this.#storeLeaf(table, index, pte, entry);
    else if (table.ppnOf(index) === pte >>> 12) table.sources[index] = pte;
    else this.#storeLeaf(table, index, pte, entry);
  }

  // Dropping shadows.

  #evict(): void {
    let oldest: ShadowTable | undefined;
    for (const shadow of this.#byMpn.values()) {
      if (shadow !== this.#root && (oldest === undefined || shadow.lastUse < oldest.lastUse)) oldest = shadow;
    }
    assert(oldest !== undefined, 'no shadow page to evict');
    this.#retire(oldest);
  }

  /** Drops a shadow for ever: its entries, the entries that lead to it, its trace, its page. */
  #retire(shadow: ShadowTable): void {
    if (!this.#byMpn.delete(shadow.mpn)) return;
    const { vcpu } = this;
    if (shadow.isDirectory) {
      for (let index = 0; index < this.#hole.firstIndex; index++)
        if (shadow.entry(index) !== 0) this.#unlink(shadow, index);
    } else {
      for (const parent of shadow.parents) {
        const directory = this.#byMpn.get(parent >>> 12);
        assert(directory !== undefined, 'a shadow table has a parent that is gone');
        const index = (parent >>> 2) & 1023;
        this.#flushTable(directory, index, shadow);
        directory.set(index, 0);
        directory.sources[index] = 0;
        directory.count -= 1;
        vcpu.thread.charge(vcpu.costs.shadowEntryDrop);
        vcpu.vm.counters.shadowDrops += 1;
      }
      shadow.parents.clear();
      vcpu.thread.charge(vcpu.costs.shadowEntryDrop * shadow.count);
      for (let index = 0; shadow.count > 0; index++) if (shadow.entry(index) !== 0) this.#forgetLeaf(shadow, index);
    }
    if (shadow.traced) this.#untrace(shadow);
    const key = shadow.kind === 'large' ? shadow.ppn | (shadow.global ? 1 : 0) : shadow.ppn;
    this.#shadows[shadow.kind].delete(key);
    if (shadow === this.#root) this.#root = undefined;
    vcpu.vm.freeMonitorPage(shadow.mpn, 'shadow');
    vcpu.vm.counters.shadowPages = this.#byMpn.size;
  }

  /** Drops every shadow. `pagingChanged` must follow before the guest runs again. */
  retireAll(): void {
    for (const shadow of [...this.#byMpn.values()]) if (shadow.isDirectory) this.#retire(shadow);
    for (const shadow of [...this.#byMpn.values()]) this.#retire(shadow);
    assert(this.#reverse.size === 0, 'the reverse map outlived the shadows');
    this.vcpu.thread.flushTlb();
  }

  // Inspection.

  /** Recomputes every shadow entry, the trace bookkeeping and the TLB. One finding a line. Changes and charges nothing. */
  audit(): string[] {
    return auditShadow(this, [...this.#byMpn.values()], this.#reverse);
  }

  /** Gives every page back. */
  destroy(): void {
    this.retireAll();
    this.#hole.destroy();
  }
}
