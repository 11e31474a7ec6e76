/**
 * The descriptor tables that hardware really uses while a guest runs, all in the monitor's hole:
 *
 *     GDT   the guest's, copied entry by entry: DPL 0 raised to 1, limits cut to end below the hole, system descriptors hidden;
 *           the monitor's own selectors at the end, where no guest table reaches
 *     LDT   likewise, when the guest has one
 *     IDT   every vector leads to the monitor (ring 0), except the direct gates into ring 1 that VMI asks for
 *     TSS   the ring-0 stack (never used: the monitor is no simulated code) and the ring-1 stack for direct gates
 *
 * Hardware's TR and LDTR hold the guest's selectors, since STR and SLDT read them at any privilege level.
 *
 * The guest's gates are looked at when an event is delivered, not before: every vector can be raised by INT n from ring 3 and
 * reaches the monitor, which checks the guest's own gate. The two vectors of ring-1 code have DPL 1; see `inject.ts` for INT n
 * with them from user code.
 *
 * Hidden from hardware (loading one is #GP or #NP, which reaches the monitor): system descriptors, and segments that paging or a
 * cut limit cannot keep out of the hole, that is expand-down segments of 4 GiB. A segment whose base lies high and whose limit
 * wraps around loses the part beyond the wrap.
 *
 * Copies are kept equal by traces on the guest's table. A trace covers a page, though, and what else the guest has in that page (a boot loader
 * its stack) pays for each store. So a table is given up when stores beside it have become as many as it has entries: the copies go, and
 * the trace. The next load of a segment finds no descriptor, and the fault makes the copies again. Whatever the guest does, it pays for
 * copies no more than about as much as for stores. User code reads tables without a fault (LAR, LSL, VERR, VERW): it is never entered
 * without the copies.
 */
import type { Mpn, Ppn } from '../base/pages.js';
import { Attr, S, Seg } from '../machine/cpu/state.js';
import { type GuestFault, isFault } from './guest-fault.js';
import { walk } from './guest-walk.js';
import {
  CALLOUT_VECTOR,
  GUEST_LIMIT_BT,
  HYPERCALL_VECTOR,
  MONITOR_GDT_BYTES,
  MONITOR_GDT_LINEAR,
  MONITOR_IDT_LINEAR,
  MONITOR_LDT_LINEAR,
  MONITOR_TSS_LINEAR,
  MonitorSelector,
} from './hole.js';
import { packDescriptor, type SegmentParts, unpackDescriptor } from './segment-descriptor.js';
import type { VirtualCpu } from './virtual-cpu.js';

/** A descriptor as read from a guest table. */
export interface GuestDescriptor extends SegmentParts {
  readonly low: number;
  readonly high: number;
  /** Linear address in the guest. */
  readonly at: number;
}

type TableName = 'gdt' | 'ldt';

const TABLE_LINEAR: Readonly<Record<TableName, number>> = { gdt: MONITOR_GDT_LINEAR, ldt: MONITOR_LDT_LINEAR };
const TABLE_PAGES = MONITOR_GDT_BYTES >>> 12;
const TSS_BYTES = 104;
const TSS_ATTR = Attr.P | 0xb;
const CODE = Attr.P | Attr.S | Attr.CODE | Attr.WRITE_READ | Attr.ACCESSED | Attr.DB | Attr.G;
const DATA = Attr.P | Attr.S | Attr.WRITE_READ | Attr.ACCESSED | Attr.DB | Attr.G;
const RING1 = 1 << Attr.DPL_SHIFT;
/** First descriptor index of the monitor's own selectors. */
const FIRST_OWN_INDEX = MonitorSelector.TC_CODE >>> 3;
const GATE_INTERRUPT = 0x8e00;
const GATE_TRAP = 0x8f00;

export class Descriptors {
  readonly #vcpu: VirtualCpu;
  /** Last byte that a guest segment may reach: `GUEST_LIMIT_BT` or `GUEST_LIMIT_VMI`. Set it before `setGdt`. */
  guestLimit = GUEST_LIMIT_BT;
  /** Machine pages of each table, by page; the GDT's middle is one shared page of zeroes until the guest needs it. */
  readonly #pages: Readonly<Record<TableName, Mpn[]>> = { gdt: [], ldt: [] };
  readonly #zeroPage: Mpn;
  readonly #idtPage: Mpn;
  readonly #tssPage: Mpn;
  readonly #direct = new Set<number>();
  /** Guest pages of the loaded tables that are watched. */
  readonly #watched: Readonly<Record<TableName, Ppn[]>> = { gdt: [], ldt: [] };
  /** Descriptors that the guest's tables have now: shadow entries beyond are null. */
  readonly #lengths: Record<TableName, number> = { gdt: 0, ldt: 0 };
  /** Copies whose accessed bit the guest has clear: hardware may set it. */
  readonly #unaccessed: Readonly<Record<TableName, Set<number>>> = { gdt: new Set(), ldt: new Set() };
  /** Stores into the pages of a table, beside it, since it was copied. */
  readonly #beside: Record<TableName, number> = { gdt: 0, ldt: 0 };
  /** Tables that have been given up until the guest needs them. */
  readonly #givenUp = new Set<TableName>();
  #tcPresent = true;

  constructor(vcpu: VirtualCpu) {
    this.#vcpu = vcpu;
    const { vm, shadow } = vcpu;
    this.#zeroPage = vm.allocateMonitorPage('tables');
    for (let page = 0; page < TABLE_PAGES; page++) {
      const own = page === 0 || page === TABLE_PAGES - 1;
      const mpn = own ? vm.allocateMonitorPage('tables') : this.#zeroPage;
      this.#pages.gdt.push(mpn);
      shadow.mapHole(MONITOR_GDT_LINEAR + page * 4096, mpn, true);
      this.#pages.ldt.push(this.#zeroPage);
      shadow.mapHole(MONITOR_LDT_LINEAR + page * 4096, this.#zeroPage, true);
    }
    this.#idtPage = vm.allocateMonitorPage('tables');
    shadow.mapHole(MONITOR_IDT_LINEAR, this.#idtPage, true);
    this.#tssPage = vm.allocateMonitorPage('tables');
    shadow.mapHole(MONITOR_TSS_LINEAR, this.#tssPage, true);
    vcpu.traces.listen('descriptors', (ppn, offset, length) => this.#written(ppn, offset, length));

    this.#own(MonitorSelector.MONITOR_CODE, { base: 0, limit: -1, attr: CODE });
    this.#own(MonitorSelector.TSS, { base: MONITOR_TSS_LINEAR | 0, limit: TSS_BYTES - 1, attr: TSS_ATTR });
    this.setTcSegments(true);
    for (let vector = 0; vector < 256; vector++) this.clearDirectGate(vector);
    // No I/O permission map: every IN and OUT of the guest faults (hardware's IOPL is 0).
    vm.memory.write16((this.#tssPage << 12) + 102, TSS_BYTES);
  }

  /** Loads GDTR, IDTR, TR and LDTR of hardware with the monitor's tables, under the guest's TR and LDTR selectors. */
  install(): void {
    const { thread } = this.#vcpu;
    const s = thread.s;
    s[S.GDT_BASE] = MONITOR_GDT_LINEAR | 0;
    s[S.GDT_LIMIT] = MONITOR_GDT_BYTES - 1;
    s[S.IDT_BASE] = MONITOR_IDT_LINEAR | 0;
    s[S.IDT_LIMIT] = 256 * 8 - 1;
    thread.setSegment(Seg.TR, this.#vcpu.selector(Seg.TR), MONITOR_TSS_LINEAR | 0, TSS_BYTES - 1, TSS_ATTR);
    const length = this.#lengths.ldt;
    const present = length > 0 ? Attr.P | 2 : 0;
    thread.setSegment(Seg.LDTR, this.#vcpu.selector(Seg.LDTR), MONITOR_LDT_LINEAR | 0, length * 8 - 1, present);
  }

  // The guest's tables.

  /** The guest loaded GDTR (`vcpu.gdtBase`, `gdtLimit` are set): copies the whole table; `watch`: traces its pages from now on. */
  setGdt(watch: boolean): void {
    this.#setTable('gdt', this.#vcpu.gdtLimit, watch);
  }

  /** The guest loaded LDTR (selector and hidden part in `vcpu.segments`): as `setGdt`, and reloads hardware's LDTR. */
  setLdt(watch: boolean): void {
    const present = (this.#vcpu.attr(Seg.LDTR) & Attr.P) !== 0;
    this.#setTable('ldt', present ? Math.min(this.#vcpu.limit(Seg.LDTR), 0xffff) : -1, watch);
    this.install();
  }

  /**
   * The guest loaded IDTR or changed gates. The monitor's gates do not depend on the guest's (see above), and direct gates are
   * the business of whoever set them: only gates beyond the new limit lead to the monitor again.
   */
  setIdt(): void {
    for (const vector of [...this.#direct]) if (vector * 8 + 7 > this.#vcpu.idtLimit) this.clearDirectGate(vector);
  }

  /** One entry of the guest's GDT or LDT changed. `index` counts descriptors. Charges `descriptorShadow`. */
  refresh(table: TableName, index: number): void {
    if (index >= this.#lengths[table] || this.#givenUp.has(table)) return;
    const { thread, costs, vm } = this.#vcpu;
    thread.charge(costs.descriptorShadow);
    const at = (this.#guestBase(table) + index * 8) >>> 0;
    const [low, high] = this.#hardened(this.#peek(at), this.#peek((at + 4) >>> 0));
    if (high !== 0 && (high & (Attr.ACCESSED << 8)) === 0) this.#unaccessed[table].add(index);
    else this.#unaccessed[table].delete(index);
    const page = index >>> 9;
    if (this.#pages[table][page] === this.#zeroPage) {
      if ((low | high) === 0) return;
      const mpn = vm.allocateMonitorPage('tables');
      this.#pages[table][page] = mpn;
      this.#vcpu.shadow.mapHole(TABLE_LINEAR[table] + page * 4096, mpn, true);
    }
    this.#store(table, index, low, high);
  }

  /**
   * Hardware refused a selector: `errorCode` is that of #TS, #NP, #SS or #GP. True where the table had been given up: it is copied again, and
   * the instruction is to be repeated.
   */
  restoreFor(errorCode: number): boolean {
    // Bit 1: a gate of the IDT; bit 2: the LDT.
    if (this.#givenUp.size === 0 || (errorCode & 0xfffa) === 0 || (errorCode & 2) !== 0) return false;
    const table = (errorCode & 4) !== 0 ? 'ldt' : 'gdt';
    if (!this.#givenUp.has(table)) return false;
    this.#copy(table);
    return true;
  }

  /** User code is about to be entered. */
  restoreAll(): void {
    for (const table of this.#givenUp) this.#copy(table);
  }

  #setTable(table: TableName, limit: number, watch: boolean): void {
    this.#unwatch(table);
    this.#givenUp.delete(table);
    const before = this.#lengths[table];
    const length = Math.min((limit + 1) >>> 3, table === 'gdt' ? FIRST_OWN_INDEX : 8192);
    this.#lengths[table] = length;
    for (let index = length; index < before; index++) this.#clear(table, index);
    this.#copy(table);
    if (watch) this.#watch(table);
  }

  /** Copies all entries. */
  #copy(table: TableName): void {
    const returns = this.#givenUp.delete(table);
    for (let index = 0; index < this.#lengths[table]; index++) this.refresh(table, index);
    // Only a table that is watched can have been given up.
    if (returns) this.#watch(table);
  }

  /** The copies of a table go, and its traces. */
  #giveUp(table: TableName): void {
    const { thread, costs } = this.#vcpu;
    this.propagateAccessed();
    this.#unwatch(table);
    thread.charge(costs.descriptorShadow * this.#lengths[table]);
    for (let index = 0; index < this.#lengths[table]; index++) this.#clear(table, index);
    this.#givenUp.add(table);
  }

  /** No descriptor. */
  #clear(table: TableName, index: number): void {
    this.#unaccessed[table].delete(index);
    if (this.#pages[table][index >>> 9] !== this.#zeroPage) this.#store(table, index, 0, 0);
  }

  #unwatch(table: TableName): void {
    for (const ppn of this.#watched[table].splice(0)) this.#vcpu.traces.unwatch(ppn, 'descriptors');
    this.#beside[table] = 0;
  }

  #watch(table: TableName): void {
    const { traces } = this.#vcpu;
    const length = this.#lengths[table];
    if (length === 0) return;
    const base = this.#guestBase(table);
    const first = base >>> 12;
    const last = (base + length * 8 - 1) / 4096;
    for (let page = first; page <= last; page++) {
      const physical = this.#translate((page << 12) >>> 0);
      if (physical === undefined) continue;
      const ppn = (physical >>> 12) as Ppn;
      this.#watched[table].push(ppn);
      traces.watch(ppn, 'descriptors');
    }
  }

  #guestBase(table: TableName): number {
    return (table === 'gdt' ? this.#vcpu.gdtBase : this.#vcpu.base(Seg.LDTR)) >>> 0;
  }

  /** A watched page of a table was written: rebuilds the entries that the bytes touch, or counts a store that touches none. */
  #written(ppn: Ppn, offset: number, length: number): void {
    for (const table of ['gdt', 'ldt'] as const) {
      if (!this.#watched[table].includes(ppn)) continue;
      const base = this.#guestBase(table);
      const entries = this.#lengths[table];
      let touched = false;
      for (let page = base >>> 12; page <= (base + entries * 8 - 1) / 4096; page++) {
        const linear = (page << 12) >>> 0;
        const physical = this.#translate(linear);
        if (physical === undefined || physical >>> 12 !== ppn) continue;
        const from = Math.max(0, (linear + offset - base) >> 3);
        const to = Math.min(entries - 1, (linear + offset + length - 1 - base) >> 3);
        for (let index = from; index <= to; index++) this.refresh(table, index);
        touched ||= from <= to;
      }
      if (touched) continue;
      this.#beside[table] += 1;
      if (this.#beside[table] >= entries && this.#vcpu.cpl !== 3) this.#giveUp(table);
    }
  }

  /** Guest-physical address without charge and without accessed bits; undefined where nothing is mapped. */
  #translate(linear: number): number | undefined {
    const found = walk(this.#vcpu.physical, this.#vcpu, linear, { write: false, user: false });
    return found.kind === 'fault' ? undefined : ((found.ppn << 12) | (linear & 4095)) >>> 0;
  }

  #peek(linear: number): number {
    const physical = this.#translate(linear);
    if (physical === undefined) return 0;
    if ((physical & 3) === 0) return this.#vcpu.physical.peek32(physical);
    // A table at an odd address: put the word together from its two neighbours.
    const shift = (physical & 3) * 8;
    const low = this.#vcpu.physical.peek32(physical & ~3) >>> shift;
    const next = this.#translate((linear & ~3) + 4);
    return next === undefined ? low : low | (this.#vcpu.physical.peek32(next & ~3) << (32 - shift));
  }

  // What hardware holds.

  #hardened(low: number, high: number): readonly [low: number, high: number] {
    if ((high & (Attr.P << 8)) === 0 || (high & (Attr.S << 8)) === 0) return [0, 0];
    return packDescriptor(this.harden(...this.#parts(low, high)));
  }

  #parts(low: number, high: number): [base: number, limit: number, attr: number] {
    const parts = unpackDescriptor(low, high);
    return [parts.base, parts.limit, parts.attr];
  }

  /** Segment parts as hardware may hold them: DPL 0 becomes 1, the limit ends at `guestLimit`. Idempotent. */
  harden(base: number, limit: number, attr: number): SegmentParts {
    if ((attr & Attr.P) === 0) return { base, limit, attr };
    const raised = (attr & Attr.DPL) === 0 ? attr | RING1 : attr;
    const room = this.guestLimit - (base >>> 0);
    const down = (attr & (Attr.CODE | Attr.DOWN_CONFORMING)) === Attr.DOWN_CONFORMING;
    if (down) {
      const top = (attr & Attr.DB) !== 0 ? 0xffffffff : 0xffff;
      return { base, limit, attr: top <= room ? raised : raised & ~Attr.P };
    }
    if (room < 0) return { base, limit: 0, attr: raised & ~Attr.P };
    return { base, limit: Math.min(limit >>> 0, room) | 0, attr: raised };
  }

  #store(table: TableName, index: number, low: number, high: number): void {
    const mpn = this.#pages[table][index >>> 9]!;
    const at = (mpn << 12) + (index & 511) * 8;
    this.#vcpu.vm.memory.write32(at, low);
    this.#vcpu.vm.memory.write32(at + 4, high);
  }

  #own(selector: number, parts: SegmentParts): void {
    this.#store('gdt', selector >>> 3, ...packDescriptor(parts));
  }

  /** Takes TC_CODE and TC_DATA away (VMI: ring-1 guest code must not be able to load them) or gives them back (BT). */
  setTcSegments(present: boolean): void {
    this.#tcPresent = present;
    for (const [selector, type] of [
      [MonitorSelector.TC_CODE, CODE],
      [MonitorSelector.TC_DATA, DATA],
    ] as const) {
      if (present) this.#own(selector, { base: 0, limit: -1, attr: type | RING1 });
      else this.#store('gdt', selector >>> 3, 0, 0);
    }
  }

  /** Hidden parts of TC_CODE and TC_DATA, for techniques that load them with `thread.setSegment`. */
  static readonly TC_CODE_PARTS: SegmentParts = { base: 0, limit: -1, attr: CODE | RING1 };
  static readonly TC_DATA_PARTS: SegmentParts = { base: 0, limit: -1, attr: DATA | RING1 };

  // Gates and stacks.

  #gate(vector: number, low: number, high: number): void {
    const at = (this.#idtPage << 12) + vector * 8;
    this.#vcpu.vm.memory.write32(at, low);
    this.#vcpu.vm.memory.write32(at + 4, high);
  }

  /**
   * Hardware delivers `vector` straight to ring 1 (VMI), through a trap gate: hardware's IF stays set. `selector` must name
   * ring-1 code of the guest; its RPL is made 1.
   */
  setDirectGate(vector: number, selector: number, offset: number, dpl: number): void {
    this.#direct.add(vector);
    const sel = (selector & ~3) | 1;
    this.#gate(vector, (sel << 16) | (offset & 0xffff), (offset & 0xffff0000) | GATE_TRAP | (dpl << 13));
  }

  /** The gate of `vector` leads to the monitor again. */
  clearDirectGate(vector: number): void {
    this.#direct.delete(vector);
    const dpl = vector === CALLOUT_VECTOR || vector === HYPERCALL_VECTOR ? 1 : 3;
    this.#gate(vector, MonitorSelector.MONITOR_CODE << 16, GATE_INTERRUPT | (dpl << 13));
  }

  isDirectGate(vector: number): boolean {
    return this.#direct.has(vector);
  }

  /** Stack for direct gates from ring 3: written into the monitor's TSS. RPL of `ss` is made 1. */
  setRing1Stack(ss: number, esp: number): void {
    const tss = this.#tssPage << 12;
    this.#vcpu.vm.memory.write32(tss + 12, esp);
    this.#vcpu.vm.memory.write32(tss + 16, (ss & 0xfffc) | 1);
  }

  // Reading the guest's tables.

  /**
   * Reads a descriptor from the guest's GDT or LDT by selector, through guest memory (priced). Undefined where the selector is
   * beyond its table; a `GuestFault` where the table is not mapped.
   */
  read(selector: number): GuestDescriptor | GuestFault | undefined {
    const vcpu = this.#vcpu;
    const at = this.#locate(selector);
    if (at === undefined) return undefined;
    const low = vcpu.memory.read(at, 4, false);
    if (isFault(low)) return low;
    const high = vcpu.memory.read((at + 4) >>> 0, 4, false);
    if (isFault(high)) return high;
    const parts = unpackDescriptor(low, high);
    return { base: parts.base, limit: parts.limit, attr: parts.attr, low: low | 0, high: high | 0, at };
  }

  /** Where the guest has the descriptor of a selector; undefined beyond its table. */
  #locate(selector: number): number | undefined {
    const vcpu = this.#vcpu;
    const local = (selector & 4) !== 0;
    if (local && (vcpu.attr(Seg.LDTR) & Attr.P) === 0) return undefined;
    const limit = local ? vcpu.limit(Seg.LDTR) : vcpu.gdtLimit >>> 0;
    if ((selector | 7) > limit) return undefined;
    return (this.#guestBase(local ? 'ldt' : 'gdt') + (selector & ~7)) >>> 0;
  }

  /** As `read`, but as the monitor looks for itself: without accessed bits in the guest's page tables. Undefined where none can be read. */
  peek(selector: number): SegmentParts | undefined {
    const vcpu = this.#vcpu;
    const at = this.#locate(selector);
    if (at === undefined) return undefined;
    vcpu.thread.charge(2 * vcpu.costs.guestMemoryAccess);
    return unpackDescriptor(this.#peek(at), this.#peek((at + 4) >>> 0));
  }

  /**
   * Sets accessed bits in the guest's tables where hardware has set them in ours, as it would have done to the guest's own.
   * Free. The loop calls it at the end of every run, before the guest's memory may be looked at from outside.
   */
  propagateAccessed(): void {
    const accessed = Attr.ACCESSED << 8;
    for (const table of ['gdt', 'ldt'] as const) {
      for (const index of this.#unaccessed[table]) {
        const mpn = this.#pages[table][index >>> 9]!;
        if ((this.#vcpu.vm.memory.readI32((mpn << 12) + (index & 511) * 8 + 4) & accessed) === 0) continue;
        this.#unaccessed[table].delete(index);
        const physical = this.#translate((this.#guestBase(table) + index * 8 + 4) >>> 0);
        if (physical === undefined || (physical & 3) !== 0) continue;
        this.#vcpu.physical.setEntryBits(physical, accessed);
      }
    }
  }

  /** Compares every watched table with the guest's. One finding a line. */
  audit(): string[] {
    const findings: string[] = [];
    const accessed = Attr.ACCESSED << 8;
    for (const table of ['gdt', 'ldt'] as const) {
      if (this.#watched[table].length === 0) continue;
      for (let index = 0; index < this.#lengths[table]; index++) {
        const at = (this.#guestBase(table) + index * 8) >>> 0;
        if (this.#translate(at) === undefined) continue;
        const [low, high] = this.#hardened(this.#peek(at), this.#peek((at + 4) >>> 0));
        const own = (this.#pages[table][index >>> 9]! << 12) + (index & 511) * 8;
        const { memory } = this.#vcpu.vm;
        if (memory.readI32(own) !== low || ((memory.readI32(own + 4) ^ high) & ~accessed) !== 0) {
          findings.push(`${table} entry ${index}: the monitor's copy does not match the guest's descriptor`);
        }
      }
    }
    const code = this.#vcpu.vm.memory.readI32((this.#pages.gdt[TABLE_PAGES - 1]! << 12) + 0xfe4);
    if ((code !== 0) !== this.#tcPresent) findings.push('TC_CODE is not as it was set');
    return findings;
  }

  destroy(): void {
    const { vm } = this.#vcpu;
    const pages = [...this.#pages.gdt, ...this.#pages.ldt].filter(mpn => mpn !== this.#zeroPage);
    for (const mpn of [...pages, this.#zeroPage, this.#idtPage, this.#tssPage]) vm.freeMonitorPage(mpn, 'tables');
  }
}
