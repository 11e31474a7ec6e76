/**
 * The two formats of page tables (SDM vol. 3, 4.3 and 4.4). A shadow has the format of the guest's table: entries correspond one to one.
 *
 *     two-level   1 directory of 1024 entries, tables of 1024 entries, pages of 4 KiB and 4 MiB
 *     PAE         4 directories of 512 entries, named by registers; tables of 512 entries, pages of 4 KiB and 2 MiB
 *
 * The monitor holds an entry as one word in either format: machine memory and a guest's RAM end below 4 GiB, and there is no
 * execute-disable bit, so that nothing in the upper word of a PAE entry is of use (`readEntry`).
 */
import { Cr0, Cr4 } from '../machine/cpu/state.js';
import { NOWHERE, PAE_HIGH_RESERVED } from '../machine/mmu/walk.js';

export interface TableFormat {
  /** Binary logarithm of the bytes of an entry. */
  readonly entryShift: 2 | 3;
  /** Of a directory, and of a table. */
  readonly entries: 1024 | 512;
  readonly directories: 1 | 4;
  /** Binary logarithm of the bytes that a directory entry maps. */
  readonly directoryShift: 22 | 21;
  /** Address bits of a directory entry that maps a page by itself, and those of its bits that must be zero (bit 12 is PAT). */
  readonly largeFrame: number;
  readonly largeReserved: number;
}

export const TWO_LEVEL: TableFormat = {
  entryShift: 2,
  entries: 1024,
  directories: 1,
  directoryShift: 22,
  largeFrame: 0xffc00000 | 0,
  largeReserved: 0x003fe000,
};
export const PAE: TableFormat = {
  entryShift: 3,
  entries: 512,
  directories: 4,
  directoryShift: 21,
  largeFrame: 0xffe00000 | 0,
  largeReserved: 0x001fe000,
};
export const FORMATS: readonly TableFormat[] = [TWO_LEVEL, PAE];

/** What a guest with this CR4 has its tables in. */
export const formatOf = (cr4: number): TableFormat => ((cr4 & Cr4.PAE) === 0 ? TWO_LEVEL : PAE);

/** PAE paging is in use: the page-directory-pointer registers count. */
export const usesPointers = (cr0: number, cr4: number): boolean => (cr0 & Cr0.PG) !== 0 && (cr4 & Cr4.PAE) !== 0;

/** Which of the directories an address belongs to. */
export const slotOf = (format: TableFormat, linear: number): number => (format === PAE ? linear >>> 30 : 0);
/** Its entry in that directory, and in the table behind it. */
export const pdeIndex = (format: TableFormat, linear: number): number =>
  (linear >>> format.directoryShift) & (format.entries - 1);
export const pteIndex = (format: TableFormat, linear: number): number => (linear >>> 12) & (format.entries - 1);

/** Where tables are read from: guest-physical memory, which is zero outside RAM and ROM. Changes nothing, costs nothing. */
export interface TableReader {
  /** As a signed 32-bit integer. `physical` is a multiple of 4. */
  peekEntry(physical: number): number;
}

/**
 * A guest's entry as one word. What leads above 4 GiB leads to `NOWHERE`; an entry with a reserved bit in its upper word reads as not
 * present (`isReserved` tells).
 */
export function readEntry(tables: TableReader, format: TableFormat, at: number): number {
  const low = tables.peekEntry(at);
  if (format === TWO_LEVEL) return low;
  const high = tables.peekEntry(at + 4);
  if (high === 0) return low;
  return (high & PAE_HIGH_RESERVED) !== 0 ? low & ~1 : NOWHERE | (low & 0xfff);
}

/** The entry is present, and in its upper word a reserved bit is set. */
export const isReserved = (tables: TableReader, format: TableFormat, at: number): boolean =>
  format === PAE && (tables.peekEntry(at) & 1) !== 0 && (tables.peekEntry(at + 4) & PAE_HIGH_RESERVED) !== 0;
