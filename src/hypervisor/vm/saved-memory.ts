/** Guest memory that is put away: the pages that hold anything. */
import type { Archive } from '../base/archive.js';
import { isZero } from './digest.js';

const PAGE_BYTES = 4096;

type Page = readonly [ppn: number, words: Int32Array];

/** `pages` by page number; restoring, `write` gets the bytes of each, into memory that is zero. */
export function exchangeMemory(
  archive: Archive,
  pages: Iterable<Page>,
  write: (physical: number, bytes: Uint8Array) => void,
): void {
  const bytes = new Uint8Array(PAGE_BYTES);
  const used = archive.restores ? [] : [...pages].filter(([, words]) => !isZero(words));
  archive.list<Page>(used, page => {
    const ppn = archive.number(page?.[0] ?? 0);
    archive.bytes(page?.[1] ?? bytes);
    if (page === undefined) write(ppn * PAGE_BYTES, bytes);
    return page ?? [ppn, new Int32Array(0)];
  });
}
