/** Digests: of texts and images for recordings, and of guest memory, independent of which pages happen to be backed. */

/** Two 32-bit multiply-and-rotate lanes (constants of MurmurHash3's finalizer): for comparison, not against forgery. */
export class Digest {
  #a = 0x6d2b79f5;
  #b = 0x1b873593;

  word(value: number): void {
    this.#a = Math.imul(this.#a ^ value, 0x85ebca6b);
    this.#a = (this.#a << 13) | (this.#a >>> 19);
    this.#b = Math.imul((this.#b + value) | 0, 0xc2b2ae35);
    this.#b = (this.#b << 17) | (this.#b >>> 15);
    this.#b ^= this.#a;
  }

  words(values: Int32Array): void {
    for (let i = 0; i < values.length; i++) this.word(values[i]!);
  }

  bytes(values: Uint8Array): void {
    for (let i = 0; i < values.length; i++) this.word(values[i]!);
  }

  text(value: string): void {
    for (let i = 0; i < value.length; i++) this.word(value.charCodeAt(i));
  }

  toString(): string {
    return [this.#a, this.#b].map(lane => (lane >>> 0).toString(16).padStart(8, '0')).join('');
  }
}

export function bytesDigest(bytes: Uint8Array): string {
  const digest = new Digest();
  digest.bytes(bytes);
  return digest.toString();
}

export const isZero = (words: Int32Array): boolean => {
  for (let i = 0; i < words.length; i++) if (words[i] !== 0) return false;
  return true;
};

/** `pages` by rising page number; pages of zeros count as if they were not there. */
export function digestOf(pages: Iterable<readonly [ppn: number, words: Int32Array]>, registers: Int32Array): string {
  const digest = new Digest();
  digest.words(registers);
  for (const [ppn, words] of pages) {
    if (isZero(words)) continue;
    digest.word(ppn);
    digest.words(words);
  }
  return digest.toString();
}
