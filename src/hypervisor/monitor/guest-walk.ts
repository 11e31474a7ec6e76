/**
 * A walk of the guest's own page tables by software (SDM vol. 3, 4.3 and 4.4), in either format.
 *
 * `walk` answers in full and touches nothing; the shadow, injection, the debugger and the audits share it. `markUsed` is the
 * other half of what hardware does: it sets accessed and dirty bits.
 */
import type { Ppn } from '../base/pages.js';
import { Cr0, Cr4, PfError } from '../machine/cpu/state.js';
import { formatOf, isReserved, PAE, pdeIndex, pteIndex, readEntry, type TableReader } from './table-format.js';

/** Bits of a page-directory or page-table entry (SDM vol. 3, tables 4-4 to 4-6). */
export const Pte = {
  P: 1,
  W: 2,
  U: 4,
  PWT: 8,
  PCD: 16,
  A: 32,
  D: 64,
  /** Page size, in a directory entry. */
  PS: 128,
  G: 256,
  FRAME: 0xfffff000 | 0,
} as const;

/** What a guest entry must have for a shadow of it to exist. */
export const PRESENT_MASK = Pte.P | Pte.A;

/** The registers that decide how a linear address is translated. */
export interface PagingState {
  readonly cr0: number;
  readonly cr3: number;
  readonly cr4: number;
  /** The four page-directory-pointer registers, for PAE paging. */
  readonly pointers: Int32Array;
}

/** Does a directory entry of this value map a page by itself? Those of PAE tables need no CR4.PSE. */
export const isLarge = (pde: number, cr4: number): boolean => (pde & Pte.PS) !== 0 && (cr4 & (Cr4.PSE | Cr4.PAE)) !== 0;

export interface Access {
  readonly write: boolean;
  /** Made at CPL 3, and not an implicit supervisor access (descriptor tables, TSS). */
  readonly user: boolean;
}

export interface MappedWalk {
  readonly kind: 'mapped';
  readonly ppn: Ppn;
  /** 0 with paging off. */
  readonly pde: number;
  /** The page-table entry; for a large page the directory entry again; 0 with paging off. */
  readonly pte: number;
  /** Guest-physical address of the directory entry, -1 with paging off. */
  readonly pdeAt: number;
  /** Guest-physical address of the page-table entry, -1 for a large page or with paging off. */
  readonly pteAt: number;
  readonly large: boolean;
  /** Both levels allow writes (CR0.WP is not applied). */
  readonly writable: boolean;
  readonly user: boolean;
  readonly dirty: boolean;
  readonly global: boolean;
  /** Table levels read: 0, 1 or 2. */
  readonly levels: number;
}

export interface FaultWalk {
  readonly kind: 'fault';
  readonly level: 'pde' | 'pte';
  /** As the processor would report it (SDM vol. 3, 4.7). */
  readonly errorCode: number;
  readonly pde: number;
  /** Guest-physical address of the directory entry, -1 where no directory is present. */
  readonly pdeAt: number;
  readonly levels: number;
}

export type Walk = MappedWalk | FaultWalk;

const IDENTITY = {
  pde: 0,
  pte: 0,
  pdeAt: -1,
  pteAt: -1,
  large: false,
  writable: true,
  user: true,
  dirty: true,
} as const;

/** Translates `linear` for `access`, in the guest's own tables. */
export function walk(tables: TableReader, state: PagingState, linear: number, access: Access): Walk {
  if ((state.cr0 & Cr0.PG) === 0) {
    return { kind: 'mapped', ppn: (linear >>> 12) as Ppn, ...IDENTITY, global: false, levels: 0 };
  }
  const wanted = (access.write ? PfError.W : 0) | (access.user ? PfError.U : 0);
  const format = formatOf(state.cr4);
  const reserved = wanted | PfError.P | PfError.RSVD;
  const absent = (at: number) => (isReserved(tables, format, at) ? reserved : wanted);
  const directory = format === PAE ? state.pointers[linear >>> 30]! : state.cr3;
  if (format === PAE && (directory & Pte.P) === 0) {
    return { kind: 'fault', level: 'pde', errorCode: wanted, pde: 0, pdeAt: -1, levels: 0 };
  }
  const pdeAt = ((directory & Pte.FRAME) >>> 0) + (pdeIndex(format, linear) << format.entryShift);
  const pde = readEntry(tables, format, pdeAt);
  if ((pde & Pte.P) === 0) return { kind: 'fault', level: 'pde', errorCode: absent(pdeAt), pde, pdeAt, levels: 1 };

  const large = isLarge(pde, state.cr4);
  let pte = pde;
  let pteAt = -1;
  if (large) {
    if ((pde & format.largeReserved) !== 0) {
      return { kind: 'fault', level: 'pde', errorCode: reserved, pde, pdeAt, levels: 1 };
    }
  } else {
    pteAt = ((pde & Pte.FRAME) >>> 0) + (pteIndex(format, linear) << format.entryShift);
    pte = readEntry(tables, format, pteAt);
    if ((pte & Pte.P) === 0) return { kind: 'fault', level: 'pte', errorCode: absent(pteAt), pde, pdeAt, levels: 2 };
  }

  const both = pde & pte;
  const writable = (both & Pte.W) !== 0;
  const user = (both & Pte.U) !== 0;
  const levels = large ? 1 : 2;
  const readOnly = access.write && !writable && (access.user || (state.cr0 & Cr0.WP) !== 0);
  if ((access.user && !user) || readOnly) {
    return { kind: 'fault', level: large ? 'pde' : 'pte', errorCode: wanted | PfError.P, pde, pdeAt, levels };
  }
  const frame = large ? (pde & format.largeFrame) | (linear & ~format.largeFrame & Pte.FRAME) : pte & Pte.FRAME;
  return {
    kind: 'mapped',
    ppn: (frame >>> 12) as Ppn,
    pde,
    pte,
    pdeAt,
    pteAt,
    large,
    writable,
    user,
    dirty: (pte & Pte.D) !== 0,
    global: (pte & Pte.G) !== 0 && (state.cr4 & Cr4.PGE) !== 0,
    levels,
  };
}

/** Where accessed and dirty bits are set. */
export interface TableWriter {
  /** Ors `bits` into a table entry without waking traces: accessed and dirty bits only ever widen what a shadow may hold. */
  setEntryBits(physical: number, bits: number): void;
}

/**
 * Sets accessed bits, and for a write the dirty bit, as hardware does when it uses the translation (SDM vol. 3, 4.8). A walk that
 * faults has used the directory entry all the same if it went on to the page table.
 */
export function markUsed(tables: TableWriter, found: Walk, write: boolean): void {
  if (found.pdeAt < 0) return;
  const leaf = Pte.A | (write ? Pte.D : 0);
  if (found.kind === 'mapped' && found.large) {
    if ((found.pde & leaf) !== leaf) tables.setEntryBits(found.pdeAt, leaf);
    return;
  }
  if (found.kind === 'fault' && found.level === 'pde') return;
  if ((found.pde & Pte.A) === 0) tables.setEntryBits(found.pdeAt, Pte.A);
  if (found.kind === 'mapped' && (found.pte & leaf) !== leaf) tables.setEntryBits(found.pteAt, leaf);
}
