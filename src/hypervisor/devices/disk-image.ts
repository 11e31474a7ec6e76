/**
 * Contents of a virtual disk: an image that never changes, and above it the blocks that a guest has written. So a run begins from the same
 * bytes each time, and several VMs may have one image.
 */
import type { Archive } from '../base/archive.js';

const BLOCK_BYTES = 4096;
export const SECTOR_BYTES = 512;

export class DiskImage {
  readonly #base: Uint8Array;
  readonly #written = new Map<number, Uint8Array>();

  /** Whole sectors. */
  constructor(base: Uint8Array) {
    this.#base = base;
  }

  get sizeBytes(): number {
    return this.#base.length;
  }

  /** Blocks of 4 KiB that differ from the image, or did once. */
  get writtenBlocks(): number {
    return this.#written.size;
  }

  /** The range must lie within the disk. */
  read(offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.#pieces(offset, length, (block, within, done, count) => {
      const written = this.#written.get(block);
      const at = block * BLOCK_BYTES + within;
      bytes.set(
        written === undefined ? this.#base.subarray(at, at + count) : written.subarray(within, within + count),
        done,
      );
    });
    return bytes;
  }

  /** The range must lie within the disk. */
  write(offset: number, bytes: Uint8Array): void {
    this.#pieces(offset, bytes.length, (block, within, done, count) => {
      let written = this.#written.get(block);
      if (written === undefined) {
        written = new Uint8Array(BLOCK_BYTES);
        written.set(this.#base.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES));
        this.#written.set(block, written);
      }
      written.set(bytes.subarray(done, done + count), within);
    });
  }

  /** The written blocks; the image itself must be the same one. */
  exchange(archive: Archive): void {
    const blocks = archive.list(this.#written, (entry): [number, Uint8Array] => {
      const [block, bytes] = entry ?? [0, new Uint8Array(BLOCK_BYTES)];
      const number = archive.number(block);
      archive.bytes(bytes);
      return [number, bytes];
    });
    if (!archive.restores) return;
    this.#written.clear();
    for (const [block, bytes] of blocks) this.#written.set(block, bytes);
  }

  #pieces(
    offset: number,
    length: number,
    visit: (block: number, within: number, done: number, count: number) => void,
  ): void {
    for (let done = 0; done < length; ) {
      const within = (offset + done) % BLOCK_BYTES;
      const count = Math.min(BLOCK_BYTES - within, length - done);
      visit((offset + done - within) / BLOCK_BYTES, within, done, count);
      done += count;
    }
  }
}
