/**
 * BIOS images. The whole image is read-only memory that ends at 4 GiB, where the reset vector points; its last 128 KiB also
 * lie below 1 MiB, in RAM, as a chip set leaves them whose shadow RAM is open for reading and writing.
 */
import { UsageError } from '../base/assert.js';

const SIZES = [64, 128, 256].map(kib => kib * 1024);
export const FIRST_MIB = 0x100000;
export const LOW_ROM_BYTES_MAX = 128 * 1024;
/** Page behind the ROM: 4 GiB. */
export const ROM_END_PAGE = 0x100000;
/** First page of shadow RAM, up to 1 MiB: adapter ROMs and the BIOS. */
export const SHADOW_FIRST_PAGE = 0xc0;

/** A BIOS instead of a kernel: the machine starts at the reset vector, in real mode. Nothing else is loaded. */
export interface RomImage {
  readonly kind: 'rom';
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** Throws `UsageError` that names the image and what is wrong with it. */
export function parseRom(name: string, bytes: Uint8Array): RomImage {
  if (!SIZES.includes(bytes.length)) {
    throw new UsageError(`image ${name}: a BIOS has 64, 128 or 256 KiB, not ${bytes.length} bytes`);
  }
  return { kind: 'rom', name, bytes };
}
