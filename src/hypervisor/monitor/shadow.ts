/**
 * Shadow paging: the tables that hardware walks while a guest runs, derived from the guest's tables and the pmap.
 *
 *     guest   CR3 --> page directory (PPN) --> page table (PPN) --> page (PPN)
 *                          |                        |                 | pmap
 *     shadow  CR3 --> directory (MPN) ------> table (MPN) ------> page (MPN)
 *
 * This is one vCPU's part of it: which directory is loaded, what hardware's control registers hold, what a page fault means. The tables
 * are those of a shadow set, of this vCPU alone or shared with others (`shadow-set.ts`); how they follow the guest's is in
 * `shadow-follow.ts`. The rules:
 *
 *  - A shadow entry exists only when the guest's entry is present and its accessed bit is set; it is writable only when the
 *    guest's is writable and dirty, the page is RAM and nobody watches it. So the first access and the first write fault, and
 *    `fill` sets accessed and dirty bits exactly when hardware would have.
 *  - The guest's W and U bits of both levels are kept at their level; hardware's own check combines them. Hardware always has
 *    WP set: a supervisor store to a read-only page with the guest's WP clear is carried out one instruction at a time.
 *  - Directory entries of the hole belong to the monitor in every shadow directory.
 *  - Hardware has PGE set always; entries are global when the guest's are, and the hole is.
 *  - TLB lines of other vCPUs that a change makes wrong are dropped at once; the interrupts that takes are paid for on the way back into
 *    the guest, one for each vCPU however many lines it lost.
 *
 * What it does not do: large shadow pages (a 4 MiB guest page is a table of 1024 small entries) and PAE. A guest that maps
 * something into the hole finds it not present there.
 */
import { assert } from '../base/assert.js';
import { lpnOf, type Mpn, PAGE_OFFSET_MASK, type Ppn, ppnOf } from '../base/pages.js';
import { Cr0, Cr4, PfError } from '../machine/cpu/state.js';
import type { MachineMemory } from '../machine/memory.js';
import { type MappedWalk, markUsed, PRESENT_MASK, Pte, pdeIndex, pteIndex, walk } from './guest-walk.js';
import { HoleTable } from './hole-table.js';
import type { HiddenFault, PageFault, RefusedFault } from './page-fault.js';
import { auditShadow } from './shadow-audit.js';
import { prefetchLeaves, prefetchLinks } from './shadow-prefetch.js';
import type { ShadowSet } from './shadow-set.js';
import type { ShadowTable } from './shadow-table.js';
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

/** Key of the directory without paging, where the others have their guest page. */
const IDENTITY = -1;
const keyOf = ({ kind, ppn }: ShadowTable): number => (kind === 'directory' ? ppn : IDENTITY);

export class ShadowMmu {
  readonly vcpu: VirtualCpu;
  readonly set: ShadowSet;
  readonly hole: HoleTable;
  /** This vCPU's shadow directories, by guest page; `IDENTITY` for the one without paging. */
  readonly directories = new Map<number, ShadowTable>();
  /** The one that hardware has loaded. */
  rootTable: ShadowTable | undefined;
  readonly #memory: MachineMemory;
  /** Other vCPUs whose TLB lines this one has dropped since it last ran the guest. */
  readonly #shotDown = new Set<ShadowMmu>();
  #mode = 0;

  constructor(vcpu: VirtualCpu, set: ShadowSet) {
    this.vcpu = vcpu;
    this.set = set;
    this.#memory = vcpu.vm.memory;
    this.hole = new HoleTable(vcpu.vm, vcpu.holeBase);
    set.join(this);
  }

  /** Machine page of the shadow directory in use. */
  get root(): Mpn {
    return this.#current().mpn;
  }

  /** Machine pages that hold shadows of the set. */
  get pageCount(): number {
    return this.set.pageCount;
  }

  /** Maps a page of the hole for every address space, supervisor-only. */
  mapHole(linear: number, mpn: Mpn, writable: boolean): void {
    this.hole.map(linear, mpn, writable);
    this.vcpu.thread.flushTlbPage(linear);
  }

  /** Takes a page of the hole from every address space. */
  unmapHole(linear: number): void {
    this.hole.unmap(linear);
    this.vcpu.thread.flushTlbPage(linear);
  }

  // Address spaces.

  /** The guest wrote CR3 (`vcpu.cr3` is set): finds or makes the shadow directory and loads it. */
  loadCr3(): void {
    const { vcpu } = this;
    vcpu.thread.charge(vcpu.costs.shadowSwitch + vcpu.costs.movCr3);
    vcpu.vm.counters.shadowSwitches += 1;
    if ((vcpu.cr0 & Cr0.PG) === 0) return;
    this.rootTable = this.set.use(this.shadowOf(ppnOf(vcpu.cr3), 'directory'));
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
    this.rootTable = this.set.use(paging ? this.shadowOf(ppnOf(vcpu.cr3), 'directory') : this.#identityDirectory());
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
    if (linear >>> 0 >= this.hole.base) return;
    vcpu.thread.flushTlbPage(linear);
    vcpu.onMappingChanged(linear >>> 0);
    const root = this.#current();
    if (root.kind !== 'directory') return;
    const pdi = pdeIndex(linear);
    const { set } = this;
    const { follower } = set;
    if (follower.isAnnounced(root.ppn)) follower.syncDirectoryEntry(vcpu, root, pdi);
    const child = set.child(root, pdi);
    if (child?.kind === 'table' && follower.isAnnounced(child.ppn))
      follower.syncTableEntry(vcpu, child, pteIndex(linear));
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
    if (linear >>> 0 >= this.hole.base) return { kind: 'true', errorCode: errorCode & (PfError.W | PfError.U) };
    return this.#classify(linear, errorCode);
  }

  /** As `classify`, for an access to the hole that the guest's tables are to decide: there is no shadow of it, so nothing is hidden. */
  classifyHole(linear: number, errorCode: number): PageFault {
    assert(linear >>> 0 >= this.hole.base, 'not in the hole');
    return this.#classify(linear, errorCode);
  }

  #classify(linear: number, errorCode: number): PageFault {
    const { vcpu } = this;
    const write = (errorCode & PfError.W) !== 0;
    const user = (errorCode & PfError.U) !== 0;
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

  /**
   * Repairs a hidden fault: sets accessed and dirty bits of the guest, fills directory and table entry, and those of their neighbours
   * that the guest could not tell from filled ones.
   */
  fill(fault: HiddenFault): void {
    const { set, vcpu } = this;
    markUsed(vcpu.physical, fault.walk, fault.write);
    const linear = fault.lpn << 12;
    const directory = this.#current();
    const isNew = set.child(directory, pdeIndex(linear)) === undefined;
    const table = this.#tableFor(linear, fault.walk);
    const index = pteIndex(linear);
    const frame = fault.ppn << 12;
    const source = table.kind === 'table' ? vcpu.physical.peek32(fault.walk.pteAt) : frame;
    set.fillLeaf(vcpu, table, index, source);
    if (isNew) prefetchLinks(set, vcpu, directory, pdeIndex(linear));
    prefetchLeaves(set, vcpu, table, index);
  }

  /** Machine address behind a linear one if the shadow in use already allows the access. Free, changes nothing. */
  lookup(linear: number, write: boolean, user: boolean): number | undefined {
    if (linear >>> 0 >= this.hole.base) return undefined;
    const i32 = this.#memory.i32;
    const pde = i32[(this.root << 10) + pdeIndex(linear)]!;
    if ((pde & Pte.P) === 0) return undefined;
    const pte = i32[((pde >>> 12) << 10) + pteIndex(linear)]!;
    const wanted = Pte.P | (write ? Pte.W : 0) | (user ? Pte.U : 0);
    if ((pde & pte & wanted) !== wanted) return undefined;
    return (pte & Pte.FRAME) | (linear & PAGE_OFFSET_MASK);
  }

  /**
   * Maps the page of a fault to `mpn`, writable, until `endOverride`: for one instruction that the monitor carries out, while no other
   * vCPU of the set runs. Sets the guest's accessed and dirty bits.
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
    this.#memory.i32[pteAt >> 2] = (mpn << 12) | PRESENT_MASK | Pte.D | Pte.W | user;
    this.vcpu.thread.flushTlbPage(linear);
    return override;
  }

  endOverride(override: Override): void {
    this.#memory.i32[override.pdeAt >> 2] = override.pde;
    this.#memory.i32[override.pteAt >> 2] = override.pte;
    this.vcpu.thread.flushTlbPage(override.linear);
  }

  // Announcements (VMI).

  /** VMI AllocatePage: changes of this page table come by `entryChanged` from now on. */
  announce(ppn: Ppn, level: 'table' | 'directory'): void {
    this.set.follower.announce(this.vcpu, ppn, level);
  }

  /** VMI ReleasePage: the page is no page table any more. */
  release(ppn: Ppn): void {
    this.set.follower.release(this.vcpu, ppn);
  }

  /** One guest entry, at this guest-physical address, has changed: brings every shadow of it up to date. */
  entryChanged(entryPhysical: number): void {
    this.set.follower.entryChanged(this.vcpu, ppnOf(entryPhysical), (entryPhysical >>> 2) & 1023);
  }

  /** The guest has stored to a watched page, whether or not that changes anything. */
  countStore(ppn: Ppn): void {
    this.set.follower.countStore(this.vcpu, ppn);
  }

  // Directories and tables.

  #current(): ShadowTable {
    assert(this.rootTable !== undefined, 'no shadow directory is loaded');
    return this.rootTable;
  }

  /** The shadow of a guest's directory, for this vCPU, or of its page table, as this vCPU reads it: made if need be. */
  shadowOf(ppn: Ppn, level: 'directory' | 'table'): ShadowTable {
    const { set, vcpu } = this;
    if (level === 'directory') return this.directories.get(ppn) ?? set.makeDirectory(this, 'directory', ppn);
    const global = (vcpu.cr4 & Cr4.PGE) !== 0;
    return set.table(ppn, global) ?? set.makeLeaf(vcpu, 'table', ppn, global);
  }

  #identityDirectory(): ShadowTable {
    return this.directories.get(IDENTITY) ?? this.set.makeDirectory(this, 'identityDirectory', 0 as Ppn);
  }

  /** The leaf table that maps `linear`, made and linked if need be. */
  #tableFor(linear: number, found: MappedWalk): ShadowTable {
    const { set, vcpu } = this;
    const directory = this.#current();
    const index = pdeIndex(linear);
    if (directory.kind === 'identityDirectory') {
      const first = (found.ppn & ~1023) as Ppn;
      const table = set.needIdentityTable(vcpu, first);
      set.link(vcpu, directory, index, table, first << 12);
      return set.use(table);
    }
    const pde = vcpu.physical.peek32(found.pdeAt);
    const table = set.needChildOf(vcpu, pde, vcpu.cr4);
    set.link(vcpu, directory, index, table, pde);
    return set.use(table);
  }

  /** The set has made a directory for this vCPU. */
  addDirectory(directory: ShadowTable): void {
    this.directories.set(keyOf(directory), directory);
    this.hole.enter(directory);
  }

  /** A directory of this vCPU's is gone. */
  forgetDirectory(directory: ShadowTable): void {
    this.directories.delete(keyOf(directory));
    if (this.rootTable === directory) this.rootTable = undefined;
  }

  /** Drops every shadow that only this vCPU uses. `pagingChanged` must follow before the guest runs again. */
  retireAll(): void {
    this.set.retireFor(this);
    this.vcpu.thread.flushTlb();
  }

  // The TLB.

  /** `by` has changed what one of this vCPU's TLB lines may hold. */
  flushLine(by: VirtualCpu, linear: number): void {
    this.vcpu.thread.flushTlbPage(linear);
    if (by !== this.vcpu) by.shadow.#shotDown.add(this);
  }

  /** As `flushLine`, for more lines than are worth naming. */
  flushAll(by: VirtualCpu): void {
    this.vcpu.thread.flushTlb();
    if (by !== this.vcpu) by.shadow.#shotDown.add(this);
  }

  /**
   * Before the guest goes on: charges one interrupt to each other vCPU whose TLB lines this one has dropped since it left the guest.
   * That is when they are sent: nobody can tell before.
   */
  settleShootdowns(): void {
    if (this.#shotDown.size === 0) return;
    const { vcpu } = this;
    vcpu.thread.charge(vcpu.costs.tlbShootdown * this.#shotDown.size);
    this.#shotDown.clear();
  }

  // Inspection.

  /** Recomputes every shadow entry, the trace bookkeeping and the TLB. One finding a line. Changes and charges nothing. */
  audit(): string[] {
    return auditShadow(this);
  }

  /** Gives every page back. */
  destroy(): void {
    this.retireAll();
    this.hole.destroy();
    this.set.leave(this);
  }
}
