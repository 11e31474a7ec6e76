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
 * Of a guest with PAE paging hardware's tables are PAE tables, too. What the guest's four page-directory-pointer registers hold is
 * read when it loads them (`VirtualCpu.pointers`), and from then on they name four directories; hardware loads its own from a page
 * of this vCPU's.
 *
 * What it does not do: large shadow pages (a large guest page is a table of small entries). A guest that maps something into the hole
 * finds it not present there.
 */
import { assert } from '../base/assert.js';
import { lpnOf, type Mpn, PAGE_OFFSET_MASK, type Ppn, ppnOf } from '../base/pages.js';
import { Cr0, Cr4, PfError } from '../machine/cpu/state.js';
import type { MachineMemory } from '../machine/memory.js';
import { type MappedWalk, markUsed, PRESENT_MASK, Pte, walk } from './guest-walk.js';
import { HoleTable } from './hole-table.js';
import type { HiddenFault, PageFault, RefusedFault } from './page-fault.js';
import { auditShadow } from './shadow-audit.js';
import { prefetchLeaves, prefetchLinks } from './shadow-prefetch.js';
import type { ShadowSet } from './shadow-set.js';
import type { ShadowTable } from './shadow-table.js';
import { formatOf, PAE, pdeIndex, pteIndex, readEntry, slotOf, type TableFormat, TWO_LEVEL } from './table-format.js';
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

/** Keys of the directories that are made from no guest page. */
const IDENTITY = -1;
const EMPTY = -2;
const directoryKey = (ppn: number, slot: number): number => ppn * 4 + slot;
const keyOf = ({ kind, ppn, slot }: ShadowTable): number =>
  kind === 'identityDirectory' ? IDENTITY : kind === 'emptyDirectory' ? EMPTY : directoryKey(ppn, slot);

export class ShadowMmu {
  readonly vcpu: VirtualCpu;
  readonly set: ShadowSet;
  readonly hole: HoleTable;
  /** This vCPU's shadow directories, by guest page and slot, or `IDENTITY` or `EMPTY`. */
  readonly directories = new Map<number, ShadowTable>();
  /** Format of the tables that hardware has loaded: without paging that of the identity tables. */
  format: TableFormat = TWO_LEVEL;
  /** The directories that hardware has loaded, by slot. */
  readonly roots: (ShadowTable | undefined)[] = [undefined, undefined, undefined, undefined];
  /** Where hardware loads its page-directory-pointer registers from, once there was PAE paging. */
  #pointers: Mpn | undefined;
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

  /** Machine page that hardware's CR3 names: the shadow directory in use, or the page-directory pointers. */
  get root(): Mpn {
    const root = this.format === PAE ? this.#pointers : this.roots[0]?.mpn;
    assert(root !== undefined, 'no shadow directory is loaded');
    return root;
  }

  /** Hardware has loaded this directory of the vCPU's. */
  isLoaded(directory: ShadowTable): boolean {
    return this.roots[directory.slot] === directory;
  }

  /** The shadow of a guest's directory, as the one of a slot. */
  directoryOf(ppn: Ppn, slot: number): ShadowTable | undefined {
    return this.directories.get(directoryKey(ppn, slot));
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
    this.#loadRoots();
    this.#loadHardwareCr3();
    vcpu.onMappingChanged();
  }

  /** Finds or makes the directories that the guest's registers name. */
  #loadRoots(): void {
    const { set, vcpu, roots } = this;
    if (this.format === TWO_LEVEL) {
      roots[0] = set.use(this.shadowOf(ppnOf(vcpu.cr3), 'directory'));
      return;
    }
    this.#pointers ??= vcpu.vm.allocateMonitorPage('tables');
    for (let slot = 0; slot < PAE.directories; slot++) {
      const pointer = vcpu.pointers[slot]!;
      const present = (pointer & Pte.P) !== 0;
      const needed = present || this.hole.firstIndex(PAE, slot) < PAE.entries;
      const root = present ? this.#directoryFor(ppnOf(pointer), slot) : needed ? this.#emptyDirectory(slot) : undefined;
      roots[slot] = root && set.use(root);
      // Hardware checks that the other bits are clear.
      this.#memory.i32[(this.#pointers << 10) + 2 * slot] = root === undefined ? 0 : (root.mpn << 12) | Pte.P;
    }
  }

  #loadHardwareCr3(): void {
    assert(this.vcpu.thread.loadCr3(this.root << 12), 'hardware refuses the page-directory pointers');
  }

  /** The guest changed paging bits (`vcpu.cr0`, `vcpu.cr4` are set): PG, PE, WP, PSE, PAE or PGE. Call it also after other changes. */
  pagingChanged(): void {
    const { vcpu } = this;
    const paging = (vcpu.cr0 & Cr0.PG) !== 0;
    const mode = (paging ? 1 : 0) | (vcpu.cr4 & (Cr4.PSE | Cr4.PAE | Cr4.PGE));
    // What an entry means depends on these bits: shadows made under others are of no use.
    if (mode !== this.#mode) this.retireAll();
    this.#mode = mode;
    this.format = paging ? formatOf(vcpu.cr4) : TWO_LEVEL;
    this.roots.fill(undefined);
    if (paging) this.#loadRoots();
    else this.roots[0] = this.set.use(this.#identityDirectory());
    // With PAE hardware reads what CR3 names when the bit is set, and whenever CR3 is loaded while it is.
    if (this.format === PAE) this.#loadHardwareCr3();
    this.loadControl();
    if (this.format !== PAE) this.#loadHardwareCr3();
    vcpu.thread.flushTlb();
    vcpu.onMappingChanged();
  }

  /** Loads hardware's CR0 and CR4: what shadow paging needs, and the guest's bits that change what instructions do. */
  loadControl(): void {
    const { cr0, cr4, thread } = this.vcpu;
    thread.setCr0(Cr0.PE | Cr0.PG | Cr0.WP | Cr0.ET | (cr0 & (Cr0.MP | Cr0.EM | Cr0.TS | Cr0.NE | Cr0.AM)));
    const format = this.format === PAE ? Cr4.PAE : 0;
    thread.setCr4(Cr4.PSE | Cr4.PGE | format | (cr4 & (Cr4.TSD | Cr4.DE | Cr4.OSFXSR | Cr4.OSXMMEXCPT)));
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
    const { format, set } = this;
    const root = this.roots[slotOf(format, linear)];
    if (root?.kind !== 'directory') return;
    const pdi = pdeIndex(format, linear);
    const { follower } = set;
    if (follower.isAnnounced(root.ppn)) follower.syncDirectoryEntry(vcpu, root, pdi);
    const child = set.child(root, pdi);
    if (child?.kind === 'table' && follower.isAnnounced(child.ppn))
      follower.syncTableEntry(vcpu, child, pteIndex(format, linear));
  }

  /**
   * The guest asked for a flush of the address space; `global`: global pages too. Announced tables are not scanned: the
   * protocol obliges the guest to announce each change (vmi-abi 4.3).
   */
  flush(global: boolean): void {
    const { vcpu } = this;
    vcpu.thread.charge(vcpu.costs.movCr3);
    this.#loadHardwareCr3();
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
    const { format, set, vcpu } = this;
    markUsed(vcpu.physical, fault.walk, fault.write);
    const linear = fault.lpn << 12;
    const directory = this.#directoryAt(linear);
    const isNew = set.child(directory, pdeIndex(format, linear)) === undefined;
    const table = this.#tableFor(linear, fault.walk);
    const index = pteIndex(format, linear);
    const frame = fault.ppn << 12;
    const source = table.kind === 'table' ? readEntry(vcpu.physical, format, fault.walk.pteAt) : frame;
    set.fillLeaf(vcpu, table, index, source);
    if (isNew) prefetchLinks(set, vcpu, directory, pdeIndex(format, linear));
    prefetchLeaves(set, vcpu, table, index);
  }

  /** Machine address behind a linear one if the shadow in use already allows the access. Free, changes nothing. */
  lookup(linear: number, write: boolean, user: boolean): number | undefined {
    if (linear >>> 0 >= this.hole.base) return undefined;
    const { format } = this;
    const directory = this.roots[slotOf(format, linear)];
    const pde = directory === undefined ? 0 : directory.entry(pdeIndex(format, linear));
    if ((pde & Pte.P) === 0) return undefined;
    const pte = this.#memory.i32[((pde >>> 12) << 10) + (pteIndex(format, linear) << (format.entryShift - 2))]!;
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
    const index = pteIndex(this.format, linear);
    const pdeAt = this.#directoryAt(linear).at(pdeIndex(this.format, linear));
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
    this.set.follower.entryChanged(this.vcpu, ppnOf(entryPhysical), entryPhysical & 0xffc);
  }

  /** The guest has stored to a watched page, whether or not that changes anything. */
  countStore(ppn: Ppn): void {
    this.set.follower.countStore(this.vcpu, ppn);
  }

  // Directories and tables.

  /** The directory in use for a linear address that the guest's tables map. */
  #directoryAt(linear: number): ShadowTable {
    const directory = this.roots[slotOf(this.format, linear)];
    assert(directory !== undefined, 'no shadow directory is loaded');
    return directory;
  }

  /** The shadow of a guest's directory, for this vCPU, or of its page table, as this vCPU reads it: made if need be. */
  shadowOf(ppn: Ppn, level: 'directory' | 'table'): ShadowTable {
    const { format, set, vcpu } = this;
    if (level === 'directory') return this.#directoryFor(ppn, 0);
    const global = (vcpu.cr4 & Cr4.PGE) !== 0;
    return set.table(ppn, global, format) ?? set.makeLeaf(vcpu, 'table', ppn, global, format);
  }

  #directoryFor(ppn: Ppn, slot: number): ShadowTable {
    return this.directoryOf(ppn, slot) ?? this.set.makeDirectory(this, 'directory', ppn, this.format, slot);
  }

  #identityDirectory(): ShadowTable {
    const known = this.directories.get(IDENTITY);
    return known ?? this.set.makeDirectory(this, 'identityDirectory', 0 as Ppn, TWO_LEVEL, 0);
  }

  /** For the register of the hole's slot, where the guest's is not present. */
  #emptyDirectory(slot: number): ShadowTable {
    return this.directories.get(EMPTY) ?? this.set.makeDirectory(this, 'emptyDirectory', 0 as Ppn, PAE, slot);
  }

  /** The leaf table that maps `linear`, made and linked if need be. */
  #tableFor(linear: number, found: MappedWalk): ShadowTable {
    const { format, set, vcpu } = this;
    const directory = this.#directoryAt(linear);
    const index = pdeIndex(format, linear);
    if (directory.kind === 'identityDirectory') {
      const first = (found.ppn & ~1023) as Ppn;
      const table = set.needIdentityTable(vcpu, first);
      set.link(vcpu, directory, index, table, first << 12);
      return set.use(table);
    }
    const pde = readEntry(vcpu.physical, format, found.pdeAt);
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
    if (this.isLoaded(directory)) this.roots[directory.slot] = undefined;
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
    if (this.#pointers !== undefined) this.vcpu.vm.freeMonitorPage(this.#pointers, 'tables');
    this.set.leave(this);
  }
}
