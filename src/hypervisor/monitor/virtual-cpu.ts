/**
 * The virtual CPU: what the guest believes about its processor, and the account of where its cycles went.
 *
 * The general registers, CR2's last fault address, the arithmetic flags, DF, TF, AC and ID always live in the hardware thread.
 * IF, IOPL and NT are virtual: the vCPU page holds them, so that ring-1 code can change them without the monitor. All the rest
 * is here. EIP, CPL and the segment registers are valid here only while the guest is *out* (`inHardware` false): `enter` of a
 * technique loads them into hardware, `capture` takes them back.
 *
 *     guest in  --exit--> monitor --capture--> guest out --(inject, emulate)--> --enter--> guest in
 *
 * Segment registers hold the guest's selectors. Hidden parts may be the guest's own (set by injection and emulation) or as
 * hardware had them (captured): `descriptors.harden` turns either into what hardware may hold.
 */
import { assert } from '../base/assert.js';
import type { Mpn } from '../base/pages.js';
import type { CostName } from '../machine/costs/profile.js';
import type { HardwareThread } from '../machine/cpu/processor.js';
import { Attr, Flag, S, Seg } from '../machine/cpu/state.js';
import { PDPTES } from '../machine/mmu/walk.js';
import { CAUSE_INDEX, CAUSE_NAMES, type Cause } from '../stats/causes.js';
import { DR7_FIXED } from './debug-registers.js';
import { DecodedPlaces } from './decoded.js';
import { Descriptors } from './descriptors.js';
import { GuestMemory, GuestPhysical } from './guest-memory.js';
import { HOLE_BASE, VCPU_PAGE_LINEAR } from './hole.js';
import type { MonitoredVm } from './monitored-vm.js';
import { ShadowMmu } from './shadow.js';
import { ShadowSet } from './shadow-set.js';
import { TraceBook, Traces } from './traces.js';
import { VcpuPage } from './vcpu-page.js';

/** EFLAGS bits that the vCPU page holds: IF in `VIF`, the others in `VFLAGS`. */
const VIRTUAL_FLAGS = Flag.IOPL | Flag.NT;

/** What the vCPUs of one VM share: watched pages always, shadow tables where the technique wants it (VMI: one set for all). */
export interface SharedPaging {
  readonly traces?: TraceBook;
  /** A set that goes by `traces`. */
  readonly shadows?: ShadowSet;
}

export class VirtualCpu {
  readonly vm: MonitoredVm;
  readonly thread: HardwareThread;
  /** Cycles by name of cost: `thread.charge(costs.shadowFill)`. */
  readonly costs: Readonly<Record<CostName, number>>;
  readonly traces: Traces;
  readonly physical: GuestPhysical;
  readonly memory: GuestMemory;
  readonly shadow: ShadowMmu;
  readonly descriptors: Descriptors;
  /** Of instructions that trapped. */
  readonly places = new DecodedPlaces();

  /** Machine page of the vCPU page, and its machine address. */
  readonly pageMpn: Mpn;
  readonly page: number;

  /** True between `enter` and `capture`: EIP, CPL and segment registers live in hardware. Techniques keep it. */
  inHardware = false;
  eip = 0;
  /** Privilege level that the guest believes to have: 0 or 3 under BT, 1 or 3 under VMI. */
  cpl = 0;
  /** Level at which the guest's kernel believes to run: 0 until a technique lowers it openly (VMI: 1). */
  kernelCpl: 0 | 1 = 0;
  /** Four words per segment register in `Seg` order: selector, base, limit in bytes, attributes (`Attr`). Valid while out. */
  readonly segments = new Int32Array(8 * 4);

  gdtBase = 0;
  gdtLimit = 0xffff;
  idtBase = 0;
  idtLimit = 0x3ff;
  sysenterCs = 0;
  sysenterEsp = 0;
  sysenterEip = 0;
  /** DR0 to DR3 and DR7; DR6 is hardware's (`debug-registers.ts`). */
  readonly debugRegisters = Int32Array.of(0, 0, 0, 0, 0, 0, 0, DR7_FIXED);
  /** Ring-0 stack for events from user mode where it is not read from the guest's TSS (VMI UpdateKernelStack). */
  kernelStack: { readonly ss: number; readonly esp: number } | undefined;
  /** The page-directory-pointer registers (`loadPointers`). */
  readonly pointers = new Int32Array(PDPTES);
  /** Keep the copies of the guest's descriptor tables current by traces (BT); VMI guests announce changes instead. */
  watchesDescriptors = true;
  /** Hardware goes by the monitor's copies of the guest's descriptor tables; with hardware assist by the guest's own. */
  usesOwnTables = true;
  /** Set by the loop: what one linear page, or any, means has changed (INVLPG; CR3, flush, paging mode). */
  onMappingChanged: (linear?: number) => void = () => {};
  /** STI or MOV SS was the last instruction: no interrupt before the next one has completed (SDM vol. 3, 6.8.3). */
  interruptShadow = false;

  #cr0 = 0x60000010 | 0;
  #cr2 = 0;
  #cr3 = 0;
  #cr4 = 0;
  /** Making the first shadows and tables is shadow work. */
  #cause: Cause = 'hiddenFault';
  #exitUnnamed = false;
  #entryIsFree = false;
  /** Cycles by ring up to the last booking, and when this vCPU was made. */
  readonly #accounted = new Float64Array(4);
  readonly #accountedAtStart: number;
  /**
   * Cycles by `CAUSE_INDEX` that are booked and not in `vm.causes` yet, whose numbers V8 keeps in an object each: a VM that runs for
   * some microseconds at a time would find none of them in the host's caches.
   */
  readonly #unsettled = new Float64Array(CAUSE_NAMES.length);
  #settledCycles = 0;
  #instructions: number;
  #tlbMisses: number;

  /**
   * `holeBase`: from where on linear space is the monitor's (`hole.ts`). `shared`: what a further vCPU has in common with the first one
   * of its VM.
   */
  constructor(
    vm: MonitoredVm,
    thread: HardwareThread,
    readonly holeBase: number = HOLE_BASE,
    shared: SharedPaging = {},
  ) {
    this.vm = vm;
    this.thread = thread;
    this.costs = vm.costs.cycles;
    this.#accounted.set(thread.cyclesByRing);
    this.#accountedAtStart = sumOf(this.#accounted);
    this.#instructions = thread.instructions;
    this.#tlbMisses = thread.counters.tlbMisses;
    this.pageMpn = vm.allocateMonitorPage('tables');
    this.page = this.pageMpn << 12;
    const book = shared.traces ?? new TraceBook();
    this.traces = new Traces(book, this);
    this.physical = new GuestPhysical(vm, this.traces);
    this.memory = new GuestMemory(this);
    this.cr0 = this.#cr0;
    this.shadow = new ShadowMmu(this, shared.shadows ?? new ShadowSet(vm, book));
    this.shadow.mapHole(VCPU_PAGE_LINEAR, this.pageMpn, true);
    this.descriptors = new Descriptors(this);
    this.descriptors.install();
    this.shadow.pagingChanged();
    this.eflags = Flag.FIXED;
  }

  /** Gives every machine page of the monitor back. The vCPU is of no use afterwards. */
  destroy(): void {
    this.shadow.destroy();
    this.descriptors.destroy();
    this.traces.destroy();
    this.vm.freeMonitorPage(this.pageMpn, 'tables');
  }

  // Control registers: mirrored into the vCPU page, where the ROM reads them. Setting one has no further effect: see `privileged.ts`.

  get cr0(): number {
    return this.#cr0;
  }
  set cr0(value: number) {
    this.#cr0 = value | 0;
    this.vm.memory.write32(this.page + VcpuPage.CR0, value);
  }
  get cr2(): number {
    return this.#cr2;
  }
  set cr2(value: number) {
    this.#cr2 = value | 0;
    this.vm.memory.write32(this.page + VcpuPage.CR2, value);
  }
  get cr3(): number {
    return this.#cr3;
  }
  set cr3(value: number) {
    this.#cr3 = value | 0;
    this.vm.memory.write32(this.page + VcpuPage.CR3, value);
  }
  get cr4(): number {
    return this.#cr4;
  }
  set cr4(value: number) {
    this.#cr4 = value | 0;
    this.vm.memory.write32(this.page + VcpuPage.CR4, value);
  }

  /** The virtual interrupt flag. */
  get interruptsEnabled(): boolean {
    return this.vm.memory.readI32(this.page + VcpuPage.VIF) !== 0;
  }
  set interruptsEnabled(enabled: boolean) {
    this.vm.memory.write32(this.page + VcpuPage.VIF, enabled ? Flag.IF : 0);
  }
  /** Whoever sets VIF in ring 1 tests this word and asks the monitor when it is set. */
  get pending(): boolean {
    return this.vm.memory.readI32(this.page + VcpuPage.PENDING) !== 0;
  }
  set pending(waiting: boolean) {
    this.vm.memory.write32(this.page + VcpuPage.PENDING, waiting ? 1 : 0);
  }

  /** EFLAGS as the guest would see it, whether it is in or out. */
  get eflags(): number {
    const hardware = this.thread.readEflags() & ~(Flag.IF | VIRTUAL_FLAGS | Flag.VIF | Flag.VIP);
    const virtual = this.vm.memory.readI32(this.page + VcpuPage.VFLAGS) & VIRTUAL_FLAGS;
    return hardware | virtual | (this.interruptsEnabled ? Flag.IF : 0) | Flag.FIXED;
  }
  /** Sets every bit without privilege checks. Hardware's own IF stays set, its IOPL 0 and NT clear. */
  set eflags(value: number) {
    this.vm.memory.write32(this.page + VcpuPage.VFLAGS, value & VIRTUAL_FLAGS);
    this.interruptsEnabled = (value & Flag.IF) !== 0;
    const hardware = value & ~(VIRTUAL_FLAGS | Flag.VM | Flag.VIF | Flag.VIP);
    this.thread.writeEflags(hardware | Flag.IF | Flag.FIXED);
  }
  get iopl(): number {
    return (this.vm.memory.readI32(this.page + VcpuPage.VFLAGS) >> 12) & 3;
  }

  /** The guest's time-stamp counter. */
  get timeStamp(): number {
    return this.thread.cycles + this.thread.timeStampOffset;
  }

  get esp(): number {
    return this.thread.s[S.ESP]!;
  }
  set esp(value: number) {
    this.thread.s[S.ESP] = value;
  }

  /** True when the guest's user code runs: accesses are user accesses. */
  get isUser(): boolean {
    return this.cpl === 3;
  }

  selector(seg: number): number {
    return this.segments[seg * 4]!;
  }
  base(seg: number): number {
    return this.segments[seg * 4 + 1]!;
  }
  /** In bytes, unsigned. */
  limit(seg: number): number {
    return this.segments[seg * 4 + 2]! >>> 0;
  }
  attr(seg: number): number {
    return this.segments[seg * 4 + 3]!;
  }
  setSegment(seg: number, selector: number, base: number, limit: number, attr: number): void {
    const at = seg * 4;
    this.segments[at] = selector;
    this.segments[at + 1] = base;
    this.segments[at + 2] = limit;
    this.segments[at + 3] = attr;
  }
  setSelector(seg: number, selector: number): void {
    this.segments[seg * 4] = selector;
  }

  /** Copies segment registers of hardware here, as they are. SS loses the RPL by which hardware differs from the guest. */
  pullSegments(segs: readonly number[]): void {
    const { segments } = this;
    const { s } = this.thread;
    for (let i = 0; i < segs.length; i++) {
      const seg = segs[i]!;
      const from = S.SEG + seg * 4;
      const to = seg * 4;
      const keep = seg === Seg.SS && this.cpl === 0 ? ~3 : -1;
      segments[to] = s[from]! & keep;
      segments[to + 1] = s[from + 1]!;
      segments[to + 2] = s[from + 2]!;
      segments[to + 3] = s[from + 3]!;
    }
  }

  /** Loads segment registers into hardware: limits truncated, DPL 0 and the RPL of CS and SS raised to 1. */
  pushSegments(segs: readonly number[]): void {
    const { segments, thread } = this;
    const { s } = thread;
    for (let i = 0; i < segs.length; i++) {
      const seg = segs[i]!;
      const at = seg * 4;
      const now = S.SEG + at;
      const attr = segments[at + 3]!;
      let selector = segments[at]!;
      if ((seg === Seg.CS || seg === Seg.SS) && (selector & 0xfffc) !== 0 && this.cpl < 3)
        selector = (selector & ~3) | 1;
      // Most of the time the guest comes back with the segments that hardware had when it left.
      const hardened = (attr & Attr.P) === 0 || (attr & Attr.DPL) !== 0;
      const same =
        hardened &&
        s[now] === selector &&
        s[now + 1] === segments[at + 1] &&
        s[now + 2] === segments[at + 2] &&
        s[now + 3] === attr;
      if (same) continue;
      const hard = this.descriptors.harden(segments[at + 1]!, segments[at + 2]!, attr);
      thread.setSegment(seg, selector, hard.base, hard.limit, hard.attr);
    }
  }

  // Accounting.

  /**
   * Charges the way back into the guest (`vmmExit` and the IRET to an outer ring) and books everything that ring 0 has cost so
   * far on the cause named last. Every `enter` of a technique calls it once, right before `thread.run`. Free where the run was
   * only cut in two (`continueFree`).
   */
  chargeEntry(): void {
    if (!this.#entryIsFree) this.thread.charge(this.costs.vmmExit + this.costs.iretToOuter);
    this.account(this.#cause);
  }

  /**
   * The loop: the run ended only because its caller wanted it cut there. Going on is free, unless something is booked before:
   * then the guest really was left.
   */
  continueFree(): void {
    this.#entryIsFree = true;
  }

  /**
   * Books the ring-0 cycles since the last booking on `cause`, and names it for what follows up to the next call. Cycles of
   * rings 1 to 3 go to the guest, always.
   */
  account(cause: Cause): void {
    this.#book(cause);
    this.#cause = cause;
    this.#exitUnnamed = false;
    this.#entryIsFree = false;
  }

  /**
   * Books what is left, of every ring, when the loop returns to its caller, and settles it with the VM, whose causes then sum to the
   * cycles charged. Unlike `account` it says nothing about the guest: a run that was cut at the deadline still goes on free of charge.
   */
  settleAccount(): void {
    this.#book(this.#cause);
    const { causes, counters } = this.vm;
    const unsettled = this.#unsettled;
    for (let index = 0; index < unsettled.length; index++) {
      const cycles = unsettled[index]!;
      if (cycles === 0) continue;
      causes[CAUSE_NAMES[index]!] += cycles;
      this.#settledCycles += cycles;
      unsettled[index] = 0;
    }
    const { instructions } = this.thread;
    const { tlbMisses } = this.thread.counters;
    if (instructions !== this.#instructions) counters.instructions += instructions - this.#instructions;
    if (tlbMisses !== this.#tlbMisses) counters.tlbMisses += tlbMisses - this.#tlbMisses;
    this.#instructions = instructions;
    this.#tlbMisses = tlbMisses;
  }

  #book(cause: Cause): void {
    const rings = this.thread.cyclesByRing;
    const booked = this.#accounted;
    const unsettled = this.#unsettled;
    unsettled[CAUSE_INDEX[cause]]! += rings[0]! - booked[0]!;
    unsettled[CAUSE_INDEX.guestKernel]! += rings[1]! - booked[1]! + (rings[2]! - booked[2]!);
    unsettled[CAUSE_INDEX.guestUser]! += rings[3]! - booked[3]!;
    for (let ring = 0; ring < 4; ring++) booked[ring] = rings[ring]!;
  }

  /**
   * Hardware assist: the guest has run at its own privilege levels. Books what it has spent, so that what ring 0 spends from now on is
   * the monitor's again. Names no cause.
   */
  accountGuest(): void {
    this.#book('guestKernel');
  }

  /** Names the cause of what follows without booking what was before. */
  get cause(): Cause {
    return this.#cause;
  }

  /** The loop: an exit has happened, and nobody has said what it costs to whom. */
  markExit(): void {
    this.#exitUnnamed = true;
  }

  /** True until `account` is called after an exit. */
  get isExitUnnamed(): boolean {
    return this.#exitUnnamed;
  }

  /** Cycles charged since this vCPU was made and booked by now: what its bookings must sum to. */
  get chargedCycles(): number {
    return sumOf(this.#accounted) - this.#accountedAtStart;
  }

  /** After `settleAccount`. Throws `MonitorBug` unless every cycle that was charged to this vCPU is settled, once. */
  checkAccount(): void {
    assert(this.#settledCycles === this.chargedCycles, 'causes do not sum to the cycles charged');
  }
}

const sumOf = (rings: Float64Array): number => rings[0]! + rings[1]! + rings[2]! + rings[3]!;
