/**
 * State that is written down and put back by the same code: `exchange` of a device goes through its fields once, each with
 * `this.#field = archive.number(this.#field)`. A `StateWriter` notes the value and gives it back, a `StateReader` gives the noted one. So nothing
 * can be saved in one order and restored in another. What is forgotten is forgotten in both, which only the guest's behaviour shows.
 *
 * Everything is a double, little-endian, but bytes: those of texts, and arrays whose size both sides know.
 */
import { UsageError } from './assert.js';

export interface Archive {
  /** Values come from the archive. */
  readonly restores: boolean;
  number(value: number): number;
  flag(value: boolean): boolean;
  optional(value: number | undefined): number | undefined;
  text(value: string): string;
  /** In place: both sides have as many. */
  bytes(values: ArrayBufferView): void;
  /** In order. Restoring, `exchange` is called for as many as there were, with nothing. */
  list<T>(items: Iterable<T>, exchange: (item: T | undefined) => T): T[];
  numbers(values: Iterable<number>): number[];
  /** What follows belongs to `name`: restoring, it must. */
  section(name: string): void;
}

/** Has state that an archive can hold. */
export interface Stateful {
  exchange(archive: Archive): void;
}

const FIRST_BYTES = 65_536;

abstract class ArchiveBase {
  abstract number(value: number): number;
  abstract list<T>(items: Iterable<T>, exchange: (item: T | undefined) => T): T[];

  flag(value: boolean): boolean {
    return this.number(value ? 1 : 0) !== 0;
  }

  optional(value: number | undefined): number | undefined {
    return this.flag(value !== undefined) ? this.number(value ?? 0) : undefined;
  }

  numbers(values: Iterable<number>): number[] {
    return this.list(values, value => this.number(value ?? 0));
  }
}

export class StateWriter extends ArchiveBase implements Archive {
  readonly restores = false;
  #data = new Uint8Array(FIRST_BYTES);
  #view = new DataView(this.#data.buffer);
  #length = 0;

  /** What was written so far: a copy. */
  get result(): Uint8Array {
    return this.#data.slice(0, this.#length);
  }

  number(value: number): number {
    this.#room(8);
    this.#view.setFloat64(this.#length, value, true);
    this.#length += 8;
    return value;
  }

  /** Code units above 255 do not occur: these are names and what a guest has sent byte by byte. */
  text(value: string): string {
    this.number(value.length);
    this.bytes(Uint8Array.from(value, letter => letter.charCodeAt(0)));
    return value;
  }

  bytes(values: ArrayBufferView): void {
    this.#room(values.byteLength);
    this.#data.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), this.#length);
    this.#length += values.byteLength;
  }

  list<T>(items: Iterable<T>, exchange: (item: T | undefined) => T): T[] {
    const all = [...items];
    this.number(all.length);
    return all.map(exchange);
  }

  section(name: string): void {
    this.text(name);
  }

  #room(bytes: number): void {
    if (this.#length + bytes <= this.#data.length) return;
    const grown = new Uint8Array(Math.max(2 * this.#data.length, this.#length + bytes));
    grown.set(this.#data.subarray(0, this.#length));
    this.#data = grown;
    this.#view = new DataView(grown.buffer);
  }
}

/** Throws `UsageError` where the bytes are not what is asked for: they come from a file. */
export class StateReader extends ArchiveBase implements Archive {
  readonly restores = true;
  readonly #data: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(data: Uint8Array) {
    super();
    this.#data = data;
    this.#view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  }

  number(): number {
    return this.#view.getFloat64(this.#take(8), true);
  }

  text(): string {
    const length = this.#count();
    const at = this.#take(length);
    let text = '';
    for (let i = 0; i < length; i++) text += String.fromCharCode(this.#data[at + i]!);
    return text;
  }

  bytes(values: ArrayBufferView): void {
    const at = this.#take(values.byteLength);
    const into = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    into.set(this.#data.subarray(at, at + values.byteLength));
  }

  list<T>(_items: Iterable<T>, exchange: (item: T | undefined) => T): T[] {
    return Array.from({ length: this.#count() }, () => exchange(undefined));
  }

  section(name: string): void {
    const at = this.#at;
    const found = this.text();
    if (found !== name) throw new UsageError(`the state is damaged at byte ${at}: ${name} is not there`);
  }

  #count(): number {
    const count = this.number();
    if (!Number.isInteger(count) || count < 0 || count > this.#data.length)
      throw new UsageError(`the state is damaged at byte ${this.#at - 8}: no number of things is ${count}`);
    return count;
  }

  #take(bytes: number): number {
    const at = this.#at;
    if (at + bytes > this.#data.length) throw new UsageError('the state is cut off');
    this.#at = at + bytes;
    return at;
  }
}
