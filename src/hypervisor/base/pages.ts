/**
 * The three page-number types and the only conversions between addresses and page numbers.
 *
 * LPN: what a program addresses (linear address / 4096). PPN: what a guest kernel believes to be a frame. MPN: where the
 * bytes are in the host's machine memory. Mixing two of them does not compile. Byte addresses are plain numbers named
 * `linear`, `physical` and `machine`.
 */
declare const unit: unique symbol;
type PageNumber<Kind extends string> = number & { readonly [unit]: Kind };

export type Lpn = PageNumber<'linear'>;
export type Ppn = PageNumber<'physical'>;
export type Mpn = PageNumber<'machine'>;

export const PAGE_SHIFT = 12;
export const PAGE_SIZE = 4096;
export const PAGE_OFFSET_MASK = 4095;

export const lpnOf = (linear: number): Lpn => (linear >>> PAGE_SHIFT) as Lpn;
export const ppnOf = (physical: number): Ppn => (physical >>> PAGE_SHIFT) as Ppn;

/** First byte of a page, as an unsigned number. */
export const pageBase = (page: Lpn | Ppn | Mpn): number => (page << PAGE_SHIFT) >>> 0;
export const pageOffset = (address: number): number => address & PAGE_OFFSET_MASK;
