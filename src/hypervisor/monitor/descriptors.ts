/**
 * The descriptor tables that hardware really uses while a guest runs, all in the monitor's hole:
 *
 *     GDT   the guest's, copied entry by entry: DPL 0 raised to 1, limits cut to end below the hole, system descriptors hidden;
 *           the monitor's own selectors at the end, where no guest table reaches
 *     LDT   likewise, when the guest has one
 *     IDT   every vector leads to the monitor (ring 0), except the direct gates into ring 1 that VMI asks for
 *     TSS   the ring-0 stack (never used: the monitor is no simulated code) and the ring-1 stack for direct gates
 */
import type { Mpn } from '../base/pages.js';
import { GUEST_LIMIT_BT } from './hole.js';
import type { VirtualCpu } from './virtual-cpu.js';

export interface SegmentParts {
  readonly base: number;
  /** In bytes, as an int32. */
  readonly limit: number;
  /** `Attr`. */
  readonly attr: number;
}

/** A descriptor as read from a guest table. */
export interface GuestDescriptor extends SegmentParts {
  readonly low: number;
  readonly high: number;
  /** Linear address in the guest. */
  readonly at: number;
}

export class Descriptors {
  readonly #vcpu: VirtualCpu;
  /** Last byte that a guest segment may reach. */
  guestLimit = GUEST_LIMIT_BT;

  constructor(vcpu: VirtualCpu) {
    this.#vcpu = vcpu;
  }

  /** Machine pages behind hole addresses, for `ShadowMmu` to map: [linear, mpn]. */
  get holePages(): readonly (readonly [linear: number, mpn: Mpn])[] {
    void this.#vcpu;
    throw new Error('being written');
  }

  /** Loads GDTR, IDTR, TR and LDTR of hardware with the monitor's tables. Call once, and after `setLdt`. */
  install(): void {
    throw new Error('being written');
  }

  /** The guest loaded GDTR (`vcpu.gdtBase`, `gdtLimit` are set): copies the whole table, watches its pages if `watch`. */
  setGdt(_watch: boolean): void {
    throw new Error('being written');
  }

  /** The guest loaded LDTR (selector and hidden part in `vcpu.segments`): as `setGdt`. */
  setLdt(_watch: boolean): void {
    throw new Error('being written');
  }

  /** The guest loaded IDTR or changed gates: recomputes the DPL of the monitor's gates. Vectors default to all. */
  setIdt(_firstVector = 0, _lastVector = 255): void {
    throw new Error('being written');
  }

  /** One entry of the guest's GDT or LDT changed. `index` counts descriptors. */
  refresh(_table: 'gdt' | 'ldt', _index: number): void {
    throw new Error('being written');
  }

  /** Hardware delivers `vector` straight to ring 1 (VMI). `trap`: leave hardware IF set, as a trap gate does; always wanted. */
  setDirectGate(_vector: number, _selector: number, _offset: number, _dpl: number): void {
    throw new Error('being written');
  }

  /** The gate of `vector` leads to the monitor again. */
  clearDirectGate(_vector: number): void {
    throw new Error('being written');
  }

  isDirectGate(_vector: number): boolean {
    throw new Error('being written');
  }

  /** Stack for direct gates from ring 3: written into the monitor's TSS. RPL of `ss` is made 1. */
  setRing1Stack(_ss: number, _esp: number): void {
    throw new Error('being written');
  }

  /** Takes TC_CODE and TC_DATA away (VMI: ring-1 guest code must not be able to load them) or gives them back (BT). */
  setTcSegments(_present: boolean): void {
    throw new Error('being written');
  }

  /** Segment parts as hardware may hold them: DPL 0 becomes 1, the limit ends at `guestLimit`. Idempotent. */
  harden(_base: number, _limit: number, _attr: number): SegmentParts {
    throw new Error('being written');
  }

  /**
   * Reads a descriptor from the guest's GDT or LDT by selector, through guest memory (priced). Undefined where the selector is
   * beyond its table; a `GuestFault` where the table is not mapped.
   */
  read(_selector: number): GuestDescriptor | import('./guest-fault.js').GuestFault | undefined {
    throw new Error('being written');
  }

  /** Sets accessed bits in the guest's tables where hardware has set them in ours. Free: hardware would have stored them. */
  propagateAccessed(): void {
    throw new Error('being written');
  }

  audit(): string[] {
    throw new Error('being written');
  }

  destroy(): void {
    throw new Error('being written');
  }
}
