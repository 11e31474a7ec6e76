/**
 * The translation look-aside buffers: 256 data lines and 128 instruction lines, each in sets of four ways, as in a Core 2. Of a
 * full set the line filled first goes. Hardware comes near to the line used longest ago, which would have to be noted at every
 * access.
 *
 * What hits and what misses is decided by these sets alone. For engines there is more: a larger direct-mapped table in linear
 * memory with a place for each page, where a page's line is copied so that one comparison finds it. A line in a set whose place
 * is taken by another page is copied back when it is asked for (`bringDataHome`, `bringFetchHome`), free of charge: the
 * places have no meaning to the machine. A place never holds a page that is not in its set.
 *
 * A place is eight words. Of the data:
 *
 *     0  tag for supervisor reads      2  tag for user reads      4  addend: machine - linear     6  physical page | `TlbInfo`
 *     1  tag for supervisor writes     3  tag for user writes     5  tag of the line itself
 *
 * Words 0..3 are what engines compare: a tag is there only when such an access needs nothing but the bytes. A page that
 * is not yet dirty, is a device or holds decoded code has no write tag, so that such stores take the slow path, which asks
 * words 5 and 6. Whether an access misses (and costs a walk) is decided by words 5 and 6 alone: never by decoded code.
 *
 * Of the instructions: 0 tag for supervisor fetches, 1 tag for user fetches, 4 machine page, and 5 and 6 as above.
 */

import type { TlbEntry } from '../cpu/processor.js';
import type { MachineMemory } from '../memory.js';
import { Pte } from './walk.js';

/** Places of engines' tables; the bits of a page number that say where. */
export const DATA_PLACES = 4096;
export const FETCH_PLACES = 1024;
/** Lines of the hardware. */
export const DATA_LINES = 256;
export const FETCH_LINES = 128;
/**
 * Never equal to an address masked for its page and its alignment, nor is any other word with one of these bits. Generated code
 * sets such bits in a page's address to say that there is no tag.
 */
export const NO_TAG = 8;
export const NO_TAG_BITS = 0xff8;

export const DATA_ADDEND = 4;
export const FETCH_MACHINE = 4;
export const LINE_PAGE = 5;
export const LINE_INFO = 6;
const PLACE_WORDS = 8;
const WAYS = 4;
export const DATA_BYTES = DATA_PLACES * PLACE_WORDS * 4;
const PLACES_BYTES = DATA_BYTES + FETCH_PLACES * PLACE_WORDS * 4;
/**
 * A set is 64 bytes, four words of each kind: pages (`NO_TAG` where a line is free), information, `machine - linear` or machine
 * pages, and numbers of the fills. Behind the sets of a TLB: the number of the last fill, and `Filled`.
 */
export const SET_WORDS = 16;
export const SetWord = { PAGE: 0, INFO: 4, MACHINE: 8, FILL: 12 } as const;
const setsBytes = (lines: number): number => (lines / WAYS) * SET_WORDS * 4 + 64;
/** Distances in bytes from the end of the sets. */
export const FILLS_AT = 0;
export const FILLED_AT = 16;
/** Distances from the start of the data places. */
export const DATA_SETS_AT = PLACES_BYTES;
export const DATA_SETS_BYTES = (DATA_LINES / WAYS) * SET_WORDS * 4;
export const FETCH_SETS_AT = DATA_SETS_AT + setsBytes(DATA_LINES);
export const FETCH_SETS_BYTES = (FETCH_LINES / WAYS) * SET_WORDS * 4;
export const LARGE_AT = FETCH_SETS_AT + setsBytes(FETCH_LINES);
export const TLB_BYTES = LARGE_AT + 1024;

/** Low bits of the information word: where entries of page tables have them too they are the same. */
export const TlbInfo = {
  WRITABLE: Pte.RW,
  USER: Pte.US,
  DEVICE: 0x10,
  DIRTY: Pte.D,
  LARGE: Pte.PS,
  GLOBAL: Pte.G,
} as const;

/** First word of the place of `linear` in the data table. */
export const dataLine = (linear: number): number => ((linear >>> 12) & (DATA_PLACES - 1)) << 3;
/** First word of the place of `linear` in the instruction table. */
export const fetchLine = (linear: number): number => ((linear >>> 12) & (FETCH_PLACES - 1)) << 3;

/** Sets that may hold a line, in two bitmaps: by lines that a CR3 load drops, and by global ones. */
class Filled {
  readonly #local: Int32Array;
  readonly #global: Int32Array;
  readonly #mask: number;

  /** Two bitmaps of two words each at `at`. */
  constructor(memory: MachineMemory, at: number, sets: number) {
    this.#local = new Int32Array(memory.wasm.buffer, at, sets >>> 5);
    this.#global = new Int32Array(memory.wasm.buffer, at + 8, sets >>> 5);
    this.#mask = sets - 1;
  }

  add(page: number, global: boolean): void {
    const set = page & this.#mask;
    (global ? this.#global : this.#local)[set >>> 5]! |= 1 << (set & 31);
  }

  /** The first set from `from` on that may hold a line (a global one counts if `globalToo`), or -1. */
  next(from: number, globalToo: boolean): number {
    const local = this.#local;
    const global = this.#global;
    let mask = -1 << (from & 31);
    for (let word = from >>> 5; word < local.length; word++) {
      const bits = (globalToo ? local[word]! | global[word]! : local[word]!) & mask;
      if (bits !== 0) return (word << 5) + 31 - Math.clz32(bits & -bits);
      mask = -1;
    }
    return -1;
  }

  clear(globalToo: boolean): void {
    this.#local.fill(0);
    if (globalToo) this.#global.fill(0);
  }
}

/**
 * The lines of one TLB: sets of four ways with the page, its information and where it is in machine memory. They are in linear
 * memory because generated code fills lines too (`cpu/compile/find-page.ts`). A line is the index of its page's word.
 */
class Sets {
  readonly words: Int32Array;
  /** Number of the last fill; wraps around. */
  readonly #fills: Int32Array;
  readonly filled: Filled;
  readonly #mask: number;

  constructor(memory: MachineMemory, at: number, lines: number) {
    const sets = lines / WAYS;
    this.words = new Int32Array(memory.wasm.buffer, at, sets * SET_WORDS);
    const end = at + this.words.byteLength;
    this.#fills = new Int32Array(memory.wasm.buffer, end + FILLS_AT, 1);
    this.filled = new Filled(memory, end + FILLED_AT, sets);
    this.#mask = sets - 1;
    for (let set = 0; set < sets; set++) this.words.fill(NO_TAG, set * SET_WORDS, set * SET_WORDS + WAYS);
  }

  /** The line that holds a page, or -1. */
  find(page: number): number {
    const { words } = this;
    const first = ((page >>> 12) & this.#mask) * SET_WORDS;
    for (let line = first; line < first + WAYS; line++) if (words[line] === page) return line;
    return -1;
  }

  /** The line where a page that is in none goes: a free one, else the one filled first, whose page the caller drops. */
  choose(page: number): number {
    const { words } = this;
    const first = ((page >>> 12) & this.#mask) * SET_WORDS;
    const number = (this.#fills[0]! + 1) | 0;
    let victim = first;
    let age = -1;
    for (let line = first; line < first + WAYS; line++) {
      if (words[line] === NO_TAG) {
        victim = line;
        break;
      }
      const other = (number - words[line + SetWord.FILL]!) >>> 0;
      if (other <= age) continue;
      age = other;
      victim = line;
    }
    this.#fills[0] = number;
    words[victim + SetWord.FILL] = number;
    return victim;
  }

  /** Empties a line; answers the page that it held. */
  empty(line: number): number {
    const page = this.words[line]!;
    this.words[line] = NO_TAG;
    this.words[line + SetWord.INFO] = 0;
    return page;
  }
}

export class Tlb {
  /** Places of data pages. */
  readonly data: Int32Array;
  /** Places of instruction pages. */
  readonly fetch: Int32Array;
  readonly #dataSets: Sets;
  readonly #fetchSets: Sets;
  /** One byte per 4 MiB of linear space: some line may be part of a 4 MiB page there. */
  readonly #large: Uint8Array;
  /** Pages with data breakpoints. */
  #watched: readonly number[] = [];

  /** `at`: machine address of `TLB_BYTES` bytes of the simulator's own memory. */
  constructor(
    private readonly memory: MachineMemory,
    at = memory.reserve(TLB_BYTES),
  ) {
    this.data = new Int32Array(memory.wasm.buffer, at, DATA_BYTES >>> 2);
    this.fetch = new Int32Array(memory.wasm.buffer, at + DATA_BYTES, (PLACES_BYTES - DATA_BYTES) >>> 2);
    this.#dataSets = new Sets(memory, at + DATA_SETS_AT, DATA_LINES);
    this.#fetchSets = new Sets(memory, at + FETCH_SETS_AT, FETCH_LINES);
    this.#large = new Uint8Array(memory.wasm.buffer, at + LARGE_AT, 1024);
    for (let place = 0; place < this.data.length; place += PLACE_WORDS) dropPlace(this.data, place);
    for (let place = 0; place < this.fetch.length; place += PLACE_WORDS) dropPlace(this.fetch, place);
  }

  /** Puts the line for a data page into its place, if there is one in its set. It has no write tags before the next store. */
  bringDataHome(place: number, page: number): boolean {
    const line = this.#dataSets.find(page);
    if (line < 0) return false;
    const info = this.#dataSets.words[line + SetWord.INFO]!;
    const data = this.data;
    const ram = (info & TlbInfo.DEVICE) === 0 && !this.#watched.includes(page);
    data[place] = ram ? page : NO_TAG;
    data[place + 1] = NO_TAG;
    data[place + 2] = ram && (info & TlbInfo.USER) !== 0 ? page : NO_TAG;
    data[place + 3] = NO_TAG;
    data[place + DATA_ADDEND] = this.#dataSets.words[line + SetWord.MACHINE]!;
    data[place + LINE_PAGE] = page;
    data[place + LINE_INFO] = info;
    return true;
  }

  /** Would a data access to the page of this address do without a walk, rights apart? No effect. */
  holdsData(linear: number): boolean {
    return this.#dataSets.find(linear & -4096) >= 0;
  }

  /** As `bringDataHome`, for an instruction page. */
  bringFetchHome(place: number, page: number): boolean {
    const line = this.#fetchSets.find(page);
    if (line < 0) return false;
    const { words } = this.#fetchSets;
    this.#placeFetch(place, page, words[line + SetWord.INFO]!, words[line + SetWord.MACHINE]!);
    return true;
  }

  #placeFetch(place: number, page: number, info: number, machinePage: number): void {
    const fetch = this.fetch;
    fetch[place] = page;
    fetch[place + 1] = (info & TlbInfo.USER) !== 0 ? page : NO_TAG;
    fetch[place + FETCH_MACHINE] = machinePage;
    fetch[place + LINE_PAGE] = page;
    fetch[place + LINE_INFO] = info;
  }

  /** Notes a page in its set. */
  #enter(sets: Sets, places: Int32Array, page: number, info: number, machine: number): void {
    let line = sets.find(page);
    if (line < 0) {
      line = sets.choose(page);
      this.#drop(sets, places, line);
      sets.words[line] = page;
    }
    sets.words[line + SetWord.INFO] = info;
    sets.words[line + SetWord.MACHINE] = machine;
    sets.filled.add(page >>> 12, (info & TlbInfo.GLOBAL) !== 0);
    if ((info & TlbInfo.LARGE) !== 0) this.#large[page >>> 22] = 1;
  }

  /** Replaces a data line. `machinePage` is ignored for a device. `writeProtect` is CR0.WP. */
  fillData(linear: number, physicalPage: number, info: number, machinePage: number, writeProtect: boolean): void {
    const place = dataLine(linear);
    const page = linear & -4096;
    const addend = (machinePage - page) | 0;
    this.#enter(this.#dataSets, this.data, page, physicalPage | info, addend);
    this.data[place + DATA_ADDEND] = addend;
    this.data[place + LINE_PAGE] = page;
    this.data[place + LINE_INFO] = physicalPage | info;
    this.retag(place, writeProtect);
  }

  /** Computes the four access tags of a place from the rights of its page and from what the page holds now. */
  retag(place: number, writeProtect: boolean): void {
    const data = this.data;
    const page = data[place + LINE_PAGE]!;
    const info = data[place + LINE_INFO]!;
    const ram = (info & TlbInfo.DEVICE) === 0 && !this.#watched.includes(page);
    const user = (info & TlbInfo.USER) !== 0;
    const writable = (info & TlbInfo.WRITABLE) !== 0;
    const quiet =
      ram && (info & TlbInfo.DIRTY) !== 0 && this.memory.codeLines[(page + data[place + DATA_ADDEND]!) >>> 12] === 0;
    data[place] = ram ? page : NO_TAG;
    data[place + 1] = quiet && (writable || !writeProtect) ? page : NO_TAG;
    data[place + 2] = ram && user ? page : NO_TAG;
    data[place + 3] = quiet && user && writable ? page : NO_TAG;
  }

  /** From now on these pages have no access tags, so that every access to them takes the slow path. */
  watch(pages: readonly number[], writeProtect: boolean): void {
    const changed = [...this.#watched, ...pages];
    this.#watched = pages;
    for (const page of changed) {
      const place = dataLine(page);
      if (this.data[place + LINE_PAGE] === page) this.retag(place, writeProtect);
    }
  }

  fillFetch(linear: number, physicalPage: number, info: number, machinePage: number): void {
    const page = linear & -4096;
    this.#enter(this.#fetchSets, this.fetch, page, physicalPage | info, machinePage);
    this.#placeFetch(fetchLine(linear), page, physicalPage | info, machinePage);
  }

  /** The page begins to hold decoded code: stores must be seen from now on. */
  dropWriteTags(machinePage: number): void {
    const { data } = this;
    const { words, filled } = this.#dataSets;
    for (let set = filled.next(0, true); set >= 0; set = filled.next(set + 1, true)) {
      for (let line = set * SET_WORDS; line < set * SET_WORDS + WAYS; line++) {
        const page = words[line]!;
        if (page === NO_TAG || ((page + words[line + SetWord.MACHINE]!) & -4096) !== machinePage) continue;
        const place = dataLine(page);
        if (data[place + LINE_PAGE] !== page) continue;
        data[place + 1] = NO_TAG;
        data[place + 3] = NO_TAG;
      }
    }
  }

  /** MOV to CR3 (SDM vol. 3, 4.10.4.1). */
  flushNonGlobal(): void {
    this.#flush(this.#dataSets, this.data, false);
    this.#flush(this.#fetchSets, this.fetch, false);
  }

  flush(): void {
    this.#flush(this.#dataSets, this.data, true);
    this.#flush(this.#fetchSets, this.fetch, true);
    this.#large.fill(0);
  }

  /** Costs as much as was filled since the last time. */
  #flush(sets: Sets, places: Int32Array, globalToo: boolean): void {
    const { filled, words } = sets;
    for (let set = filled.next(0, globalToo); set >= 0; set = filled.next(set + 1, globalToo)) {
      for (let line = set * SET_WORDS; line < set * SET_WORDS + WAYS; line++) {
        if (words[line] === NO_TAG) continue;
        if (globalToo || (words[line + SetWord.INFO]! & TlbInfo.GLOBAL) === 0) this.#drop(sets, places, line);
      }
    }
    filled.clear(globalToo);
  }

  /** INVLPG: global or not; a 4 MiB page goes as a whole (SDM vol. 3, 4.10.4.1). */
  flushPage(linear: number): void {
    const large = this.#large[linear >>> 22] !== 0;
    this.#flushPage(this.#dataSets, this.data, linear, large);
    this.#flushPage(this.#fetchSets, this.fetch, linear, large);
    if (large) this.#large[linear >>> 22] = 0;
  }

  /** The page, and, where `large`, all lines of a 4 MiB page that it may be part of. */
  #flushPage(sets: Sets, places: Int32Array, linear: number, large: boolean): void {
    const line = sets.find(linear & -4096);
    if (line >= 0) this.#drop(sets, places, line);
    if (!large) return;
    const region = linear & -0x400000;
    for (const other of linesOf(sets)) {
      if ((sets.words[other + SetWord.INFO]! & TlbInfo.LARGE) === 0) continue;
      if ((sets.words[other]! & -0x400000) === region) this.#drop(sets, places, other);
    }
  }

  entries(): TlbEntry[] {
    const found: TlbEntry[] = [];
    for (const sets of [this.#dataSets, this.#fetchSets]) {
      for (const line of linesOf(sets)) {
        const info = sets.words[line + SetWord.INFO]!;
        found.push({
          linearPage: sets.words[line]! >>> 12,
          physicalPage: info >>> 12,
          writable: (info & TlbInfo.WRITABLE) !== 0,
          user: (info & TlbInfo.USER) !== 0,
          global: (info & TlbInfo.GLOBAL) !== 0,
        });
      }
    }
    return found;
  }

  /** Empties a line, and its page's place where that holds it. */
  #drop(sets: Sets, places: Int32Array, line: number): void {
    const page = sets.empty(line);
    if (page === NO_TAG) return;
    const place = ((page >>> 12) & (places.length / PLACE_WORDS - 1)) * PLACE_WORDS;
    if (places[place + LINE_PAGE] === page) dropPlace(places, place);
  }
}

/** Lines that hold a page. */
function linesOf({ words }: Sets): number[] {
  const lines: number[] = [];
  for (let first = 0; first < words.length; first += SET_WORDS) {
    for (let line = first; line < first + WAYS; line++) if (words[line] !== NO_TAG) lines.push(line);
  }
  return lines;
}

function dropPlace(places: Int32Array, place: number): void {
  places[place] = NO_TAG;
  places[place + 1] = NO_TAG;
  places[place + 2] = NO_TAG;
  places[place + 3] = NO_TAG;
  places[place + LINE_PAGE] = NO_TAG;
  places[place + LINE_INFO] = 0;
}
