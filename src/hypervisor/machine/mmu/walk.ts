/**
 * The hardware page walk: two levels of real tables in machine memory, 4 KiB and (with CR4.PSE) 4 MiB pages, no PAE
 * (SDM vol. 3, 4.3).
 *
 * The accessed flag of a directory entry is set as soon as the walk goes on to its page table, that of the entry that maps the
 * page by a successful walk, the dirty flag by a successful walk for a write (4.8). Tables outside RAM read as zero, that is not present: an open bus would be a choice too,
 * but nothing sane depends on it.
 */
import type { MachineMemory } from '../memory.js';

/** Bits of page-directory and page-table entries (SDM vol. 3, tables 4-4 to 4-6). */
export const Pte = { P: 1, RW: 2, US: 4, PWT: 8, PCD: 16, A: 32, D: 64, PS: 128, G: 256 } as const;

/** Bits 21..13 of a 4 MiB entry: reserved here, since physical addresses have 32 bits (no PSE-36). */
const LARGE_RESERVED = 0x003fe000;

const CR0_WP = 1 << 16;
const CR4_PSE = 16;
const CR4_PGE = 128;

/** What the last `walk` found. One per walker and overwritten by each walk, so that a walk allocates nothing. */
export class WalkResult {
  /** Physical base of the 4 KiB page that holds the address, as a signed word. */
  page = 0;
  /** RW and US of both levels combined. */
  writable = false;
  user = false;
  global = false;
  dirty = false;
  /** Part of a 4 MiB page. */
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
   * Walks for one access. Returns true and fills `result`, or returns false with `result.errorCode`. With `markUsed` false
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
    const out = this.result;
    const access = (write ? 2 : 0) | (user ? 4 : 0);
    const pdeAt = ((cr3 & -4096) | ((linear >>> 20) & 0xffc)) >>> 0;
    const pde = this.#read(pdeAt);
    if ((pde & Pte.P) === 0) return this.#fault(access);
    if ((pde & Pte.PS) !== 0 && (cr4 & CR4_PSE) !== 0) {
      if ((pde & LARGE_RESERVED) !== 0) return this.#fault(access | 9);
      if (!this.#allowed(pde, cr0, write, user)) return this.#fault(access | 1);
      const used = pde | Pte.A | (write ? Pte.D : 0);
      if (markUsed && used !== pde) this.#write(pdeAt, used);
      out.page = (pde & 0xffc00000) | (linear & 0x003ff000);
      this.#describe(pde, used, cr4);
      out.large = true;
      return true;
    }
    if (markUsed && (pde & Pte.A) === 0) this.#write(pdeAt, pde | Pte.A);
    const pteAt = ((pde & -4096) | ((linear >>> 10) & 0xffc)) >>> 0;
    const pte = this.#read(pteAt);
    if ((pte & Pte.P) === 0) return this.#fault(access);
    const rights = pde & pte;
    if (!this.#allowed(rights, cr0, write, user)) return this.#fault(access | 1);
    const used = pte | Pte.A | (write ? Pte.D : 0);
    if (markUsed && used !== pte) this.#write(pteAt, used);
    out.page = pte & -4096;
    this.#describe((pte & ~(Pte.RW | Pte.US)) | (rights & (Pte.RW | Pte.US)), used, cr4);
    out.large = false;
    return true;
  }

  #describe(entry: number, used: number, cr4: number): void {
    const out = this.result;
    out.writable = (entry & Pte.RW) !== 0;
    out.user = (entry & Pte.US) !== 0;
    out.global = (entry & Pte.G) !== 0 && (cr4 & CR4_PGE) !== 0;
    out.dirty = (used & Pte.D) !== 0;
  }

  /** SDM vol. 3, 4.6.1: supervisor writes obey RW only with CR0.WP. */
  #allowed(rights: number, cr0: number, write: boolean, user: boolean): boolean {
    if (user && (rights & Pte.US) === 0) return false;
    if (!write || (rights & Pte.RW) !== 0) return true;
    return !user && (cr0 & CR0_WP) === 0;
  }

  #fault(errorCode: number): false {
    this.result.errorCode = errorCode;
    return false;
  }

  #read(physical: number): number {
    // Entries are aligned: both bases are, and the offset into a table is a multiple of 4.
    return physical < this.physicalBytes ? this.memory.i32[(this.physicalBase + physical) >>> 2]! : 0;
  }

  #write(physical: number, value: number): void {
    this.memory.write32(this.physicalBase + physical, value);
  }
}
