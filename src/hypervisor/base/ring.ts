/** A bounded first-in, first-out log: the newest `capacity` items; older ones are dropped and counted. */
export class Ring<T> {
  readonly #items: T[] = [];
  #dropped = 0;

  constructor(readonly capacity: number) {}

  push(item: T): void {
    this.#items.push(item);
    if (this.#items.length > this.capacity) {
      this.#items.shift();
      this.#dropped += 1;
    }
  }

  get dropped(): number {
    return this.#dropped;
  }

  /** Oldest first. The caller must not change it. */
  items(): readonly T[] {
    return this.#items;
  }

  /** Takes everything out, oldest first. */
  drain(): T[] {
    return this.#items.splice(0);
  }
}
