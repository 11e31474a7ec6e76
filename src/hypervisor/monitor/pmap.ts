/**
 * The pmap: PPN to MPN of one VM. RAM pages get a machine page when they are first touched.
 *
 * RAM is one array; everything else (ROM images, device memory) is few pages at any address and lives in a map, to which the array
 * refers where such a page takes the place of RAM. What is in neither is absent: it reads all ones and drops stores, as a bus
 * without a device does.
 */
import { assert } from '../base/assert.js';
import { type Mpn, PAGE_SIZE, type Ppn } from '../base/pages.js';

export type FrameKind =
  /** Backed by a machine page, at least once it has been touched. */
  | 'ram'
  /** Backed; stores by the guest are dropped. */
  | 'rom'
  /** Accesses go to the MMIO bus. */
  | 'device'
  /** Nothing answers. */
  | 'absent';

const UNBACKED = -1;
/** Not RAM: the map knows what it is. */
const SPECIAL = -2;

export class Pmap {
  readonly ramPages: number;
  readonly #ram: Int32Array;
  readonly #special = new Map<number, { readonly kind: 'rom' | 'device'; readonly mpn: number }>();
  readonly #touched: Uint8Array;
  readonly #allocate: (ppn: Ppn) => Mpn;
  #backed = 0;
  #touchedCount = 0;

  /** `allocate` returns a zeroed machine page (or throws `MachineMemoryExhausted`). */
  constructor(memoryBytes: number, allocate: (ppn: Ppn) => Mpn) {
    assert(memoryBytes > 0 && memoryBytes % PAGE_SIZE === 0, 'guest memory is not a whole number of pages');
    this.ramPages = memoryBytes / PAGE_SIZE;
    this.#ram = new Int32Array(this.ramPages).fill(UNBACKED);
    this.#touched = new Uint8Array(this.ramPages);
    this.#allocate = allocate;
  }

  kindOf(ppn: Ppn): FrameKind {
    const inRam = ppn < this.ramPages;
    if (inRam && this.#ram[ppn] !== SPECIAL) return 'ram';
    return this.#special.get(ppn)?.kind ?? 'absent';
  }

  /** The machine page behind a RAM or ROM page, backing it now if nothing touched it before; undefined for the other kinds. */
  mpnFor(ppn: Ppn): Mpn | undefined {
    const known = ppn < this.ramPages ? this.#ram[ppn]! : SPECIAL;
    if (known === SPECIAL) return this.#romAt(ppn);
    if (this.#touched[ppn] === 0) {
      this.#touched[ppn] = 1;
      this.#touchedCount += 1;
    }
    if (known !== UNBACKED) return known as Mpn;
    const mpn = this.#allocate(ppn);
    this.#ram[ppn] = mpn;
    this.#backed += 1;
    return mpn;
  }

  /** As `mpnFor`, but changes nothing: undefined also for RAM that was never touched. */
  mpnIfBacked(ppn: Ppn): Mpn | undefined {
    const known = ppn < this.ramPages ? this.#ram[ppn]! : SPECIAL;
    if (known === SPECIAL) return this.#romAt(ppn);
    return known === UNBACKED ? undefined : (known as Mpn);
  }

  /** Puts a ROM page (already filled) or device memory at a page. Must happen before the guest runs. */
  setRom(ppn: Ppn, mpn: Mpn): void {
    this.#setSpecial(ppn, 'rom', mpn);
  }

  setDevice(ppn: Ppn): void {
    this.#setSpecial(ppn, 'device', UNBACKED);
  }

  #setSpecial(ppn: Ppn, kind: 'rom' | 'device', mpn: number): void {
    if (ppn < this.ramPages) {
      assert(this.#ram[ppn]! < 0, 'a page of RAM that is in use becomes something else');
      this.#ram[ppn] = SPECIAL;
    }
    this.#special.set(ppn, { kind, mpn });
  }

  #romAt(ppn: Ppn): Mpn | undefined {
    const special = this.#special.get(ppn);
    return special?.kind === 'rom' ? (special.mpn as Mpn) : undefined;
  }

  /** Every backed RAM page, in order of PPN: for release, digests and audits. */
  *backedPages(): IterableIterator<readonly [ppn: Ppn, mpn: Mpn]> {
    for (let ppn = 0; ppn < this.ramPages; ppn++) {
      const mpn = this.#ram[ppn]!;
      if (mpn >= 0) yield [ppn as Ppn, mpn as Mpn];
    }
  }

  /** RAM pages that have a machine page. */
  get backedPageCount(): number {
    return this.#backed;
  }

  /**
   * RAM pages looked up since `resetTouched`. A page whose shadow entry exists already is looked up no more, so after a reset
   * this counts only what was mapped anew: a lower bound.
   */
  get touchedPageCount(): number {
    return this.#touchedCount;
  }

  resetTouched(): void {
    this.#touched.fill(0);
    this.#touchedCount = 0;
  }
}
