/** From a guest page to the shadow entries that map it, by machine address of the entry. */
import { assert } from '../base/assert.js';
import type { Ppn } from '../base/pages.js';

const NONE: readonly number[] = [];

export class ReverseMap {
  /** Most pages are mapped once or twice: a lone entry is stored without its array. */
  readonly #entries = new Map<number, number | number[]>();

  add(ppn: Ppn, entryAt: number): void {
    const known = this.#entries.get(ppn);
    if (known === undefined) this.#entries.set(ppn, entryAt);
    else if (typeof known === 'number') this.#entries.set(ppn, [known, entryAt]);
    else known.push(entryAt);
  }

  remove(ppn: Ppn, entryAt: number): void {
    const known = this.#entries.get(ppn);
    if (typeof known === 'number' || known === undefined) {
      assert(known === entryAt, 'reverse map lacks a shadow entry');
      this.#entries.delete(ppn);
      return;
    }
    const index = known.lastIndexOf(entryAt);
    assert(index >= 0, 'reverse map lacks a shadow entry');
    known[index] = known[known.length - 1]!;
    known.pop();
    if (known.length === 1) this.#entries.set(ppn, known[0]!);
  }

  /** Do not change the map while going through the answer. */
  entriesOf(ppn: Ppn): readonly number[] {
    const known = this.#entries.get(ppn);
    if (known === undefined) return NONE;
    return typeof known === 'number' ? [known] : known;
  }

  /** True when some entry satisfies the predicate. Slow: for audits. */
  holds(predicate: (entryAt: number) => boolean): boolean {
    for (const known of this.#entries.values()) {
      if (typeof known === 'number' ? predicate(known) : known.some(predicate)) return true;
    }
    return false;
  }

  /** Entries in all, for audits. */
  get size(): number {
    let size = 0;
    for (const known of this.#entries.values()) size += typeof known === 'number' ? 1 : known.length;
    return size;
  }
}
