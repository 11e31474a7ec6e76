/**
 * The hardware page walk over real tables in machine memory (SDM vol. 3): two levels of 32-bit entries with pages of 4 KiB and, with
 * CR4.PSE, 4 MiB (4.3); with CR4.PAE four registers and two levels of 64-bit entries with pages of 4 KiB and 2 MiB (4.4).
 *
 * The accessed flag of a directory entry is set as soon as the walk goes on to its page table, that of the entry that maps the
 * page by a successful walk, the dirty flag by a successful walk for a write (4.8). Tables outside RAM read as zero, that is not present: an open bus would be a choice too,
 * but nothing sane depends on it.
 *
 * With PAE physical addresses have 36 bits, as on a processor that has no leaf 80000008 of CPUID. There is no execute-disable bit: bit 63
 * of an entry is reserved. Nothing is ever above 4 GiB, so what leads there is led to `NOWHERE`.
 */
import type { MachineMemory } from '../memory.js';

/** Bits of page-directory and page-table entries (SDM vol. 3, tables 4-4 to 4-6 and 4-8 to 4-11). */
export const Pte = { P: 1, RW: 2, US: 4, PWT: 8, PCD: 16, A: 32, D: 64, PS: 128, G: 256 } as const;

/** Bits 21..13 of a 4 MiB entry: reserved here, since physical addresses have 32 bits (no PSE-36). */
const LARGE_RESERVED = 0x003fe000;

/** Reserved bits of 64-bit entries: 63..36 of any, in the upper word; 20..13 of a 2 MiB one; 8..5, 2 and 1 of a page-directory pointer. */
export const PAE_HIGH_RESERVED = 0xfffffff0;
export const PAE_LARGE_RESERVED = 0x001fe000;
export const PDPTE_RESERVED = 0x1e6;
export const PDPTES = 4;
/** Physical address of 2 MiB that no machine has RAM or a device at. */
export const NOWHERE = 0xd0000000;

const CR0_WP = 1 << 16;
const CR4_PSE = 16;
const CR4_PGE = 128;
/** Bits of an access, and of its error code. */
const WRITE = 2;
const USER = 4;
/** Of an error code: the entries were present, and one has a reserved bit set. */
const PRESENT = 1;
const RESERVED = 9;

/** What the last `walk` found. One per walker and overwritten by each walk, so that a walk allocates nothing. */
export class WalkResult {
  /** Physical base of the 4 KiB page that holds the address, as a signed word. */
  page = 0;
  /** RW and US of both levels combined. */
  writable = false;
  user = false;
  global = false;
  dirty = false;
  /** Part of a page of 2 or 4 MiB. */
  large = false;
  /** Page-fault error code (SDM vol. 3, 4.7); meaningful after a fault only. */
  errorCode = 0;
}

export class PageWalker {
  readonly result = new WalkResult();

  constructor(
    private readonly memory: MachineMemory,
    private readonly physicalBase: number,
    private readonly physicalBytes: number,
  ) {}

  /**
   * Walks two levels for one access. Returns true and fills `result`, or returns false with `result.errorCode`. With `markUsed` false
   * nothing is written (a debugger's or decoder's look ahead).
   */
  walk(
    cr0: number,
    cr3: number,
    cr4: number,
    linear: number,
    write: boolean,
    user: boolean,
    markUsed: boolean,
  ): boolean {
    const access = (write ? WRITE : 0) | (user ? USER : 0);
    const pdeAt = ((cr3 & -4096) | ((linear >>> 20) & 0xffc)) >>> 0;
    const pde = this.#read(pdeAt);
    if ((pde & Pte.P) === 0) return this.#fault(access);
    if ((pde & Pte.PS) !== 0 && (cr4 & CR4_PSE) !== 0) {
      if ((pde & LARGE_RESERVED) !== 0) return this.#fault(access | RESERVED);
      this.result.page = (pde & 0xffc00000) | (linear & 0x003ff000);
      this.result.large = true;
      return this.#map(pdeAt, pde, pde, access, cr0, cr4, markUsed);
    }
    if (markUsed && (pde & Pte.A) === 0) this.#write(pdeAt, pde | Pte.A);
    const pteAt = ((pde & -4096) | ((linear >>> 10) & 0xffc)) >>> 0;
    const pte = this.#read(pteAt);
    if ((pte & Pte.P) === 0) return this.#fault(access);
    this.result.page = pte & -4096;
    this.result.large = false;
    return this.#map(pteAt, pte, pde & pte, access, cr0, cr4, markUsed);
  }

  /** As `walk`, from the register for the address that `readPointers` has loaded. */
  walkPae(
    cr0: number,
    pointer: number,
    cr4: number,
    linear: number,
    write: boolean,
    user: boolean,
    markUsed: boolean,
  ): boolean {
    const access = (write ? WRITE : 0) | (user ? USER : 0);
    if ((pointer & Pte.P) === 0) return this.#fault(access);
    const pdeAt = ((pointer & -4096) | ((linear >>> 18) & 0xff8)) >>> 0;
    const pde = this.#read(pdeAt);
    if ((pde & Pte.P) === 0) return this.#fault(access);
    const pdeHigh = this.#read(pdeAt + 4);
    if ((pdeHigh & PAE_HIGH_RESERVED) !== 0) return this.#fault(access | RESERVED);
    if ((pde & Pte.PS) !== 0) {
      if ((pde & PAE_LARGE_RESERVED) !== 0) return this.#fault(access | RESERVED);
      this.result.page = (pdeHigh === 0 ? pde & 0xffe00000 : NOWHERE) | (linear & 0x001ff000);
      this.result.large = true;
      return this.#map(pdeAt, pde, pde, access, cr0, cr4, markUsed);
    }
    if (markUsed && (pde & Pte.A) === 0) this.#write(pdeAt, pde | Pte.A);
    const pteAt = (frameOf(pde, pdeHigh) | ((linear >>> 9) & 0xff8)) >>> 0;
    const pte = this.#read(pteAt);
    if ((pte & Pte.P) === 0) return this.#fault(access);
    const pteHigh = this.#read(pteAt + 4);
    if ((pteHigh & PAE_HIGH_RESERVED) !== 0) return this.#fault(access | RESERVED);
    this.result.page = frameOf(pte, pteHigh);
    this.result.large = false;
    return this.#map(pteAt, pte, pde & pte, access, cr0, cr4, markUsed);
  }

  /** `readPointers` from this memory. */
  readPointers(cr3: number, registers: Int32Array): boolean {
    return readPointers(physical => this.#read(physical), cr3, registers);
  }

  /** Ends a walk at the entry that maps the page: `rights` are those of all levels. */
  #map(
    at: number,
    entry: number,
    rights: number,
    access: number,
    cr0: number,
    cr4: number,
    markUsed: boolean,
  ): boolean {
    if (!this.#allowed(rights, access, cr0)) return this.#fault(access | PRESENT);
    const used = entry | Pte.A | ((access & WRITE) !== 0 ? Pte.D : 0);
    if (markUsed && used !== entry) this.#write(at, used);
    const out = this.result;
    out.writable = (rights & Pte.RW) !== 0;
    out.user = (rights & Pte.US) !== 0;
    out.global = (entry & Pte.G) !== 0 && (cr4 & CR4_PGE) !== 0;
    out.dirty = (used & Pte.D) !== 0;
    return true;
  }

  /** SDM vol. 3, 4.6.1: supervisor writes obey RW only with CR0.WP. */
  #allowed(rights: number, access: number, cr0: number): boolean {
    const user = (access & USER) !== 0;
    if (user && (rights & Pte.US) === 0) return false;
    if ((access & WRITE) === 0 || (rights & Pte.RW) !== 0) return true;
    return !user && (cr0 & CR0_WP) === 0;
  }

  #fault(errorCode: number): false {
    this.result.errorCode = errorCode;
    return false;
  }

  #read(physical: number): number {
    // Words of entries are aligned: both bases are, and the offset into a table is a multiple of 4.
    return physical < this.physicalBytes ? this.memory.i32[(this.physicalBase + physical) >>> 2]! : 0;
  }

  #write(physical: number, value: number): void {
    this.memory.write32(this.physicalBase + physical, value);
  }
}

/** Physical address in an entry of 64 bits. */
const frameOf = (low: number, high: number): number => (high === 0 ? low & -4096 : NOWHERE | 0);

/**
 * Loads the four page-directory-pointer registers from the table that CR3 names, a word each (what leads above 4 GiB leads to `NOWHERE`).
 * `read` reads a word of physical memory. False, and nothing loaded, where a present one has a reserved bit set: #GP(0) then (4.4.1).
 */
export function readPointers(read: (physical: number) => number, cr3: number, registers: Int32Array): boolean {
  const at = (cr3 & -32) >>> 0;
  const entries = Array.from({ length: PDPTES }, (_, i) => [read(at + i * 8), read(at + i * 8 + 4)] as const);
  const isBad = ([low, high]: readonly [number, number]) =>
    (low & Pte.P) !== 0 && ((low & PDPTE_RESERVED) !== 0 || (high & PAE_HIGH_RESERVED) !== 0);
  if (entries.some(isBad)) return false;
  for (const [i, [low, high]] of entries.entries()) registers[i] = frameOf(low, high) | (low & Pte.P);
  return true;
}
