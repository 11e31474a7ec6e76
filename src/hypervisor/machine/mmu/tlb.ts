/**
 * The translation look-aside buffers, in linear memory: 256 data lines and 128 instruction lines, each in sets of four ways, as
 * in a Core 2.
 *
 * A page has a set (the low bits of its number), and among the four lines of the set one home (two bits more). Engines look at
 * the home alone; where another page is there, `bringDataHome` and `bringFetchHome` look through the set and swap the line
 * that they find into its home, free of charge: which line of its set a page is in has no meaning to the machine. Of a full set
 * the line filled first goes. Hardware comes near to the line used longest ago, which would have to be noted at every access.
 *
 * A line is eight words. Of the data:
 *
 *     0  tag for supervisor reads      2  tag for user reads      4  addend: machine - linear     6  physical page | `TlbInfo`
 *     1  tag for supervisor writes     3  tag for user writes     5  tag of the line itself       7  number of its fill
 *
 * Words 0..3 are what engines compare: a tag is there only when such an access needs nothing but the bytes. A page that
 * is not yet dirty, is a device or holds decoded code has no write tag, so that such stores take the slow path, which asks
 * words 5 and 6. Whether an access misses (and costs a walk) is decided by words 5 and 6 alone: never by decoded code.
 *
 * Sets, not lines, are what invalidations look for: `Filled` knows which sets may hold anything, since lines change places within
 * their set only. So a flush costs as much as was filled since the last one.
 *
 * Of the instructions: 0 tag for supervisor fetches, 1 tag for user fetches, 4 machine page, and 5 to 7 as above.
 */

import type { TlbEntry } from '../cpu/processor.js';
import type { MachineMemory } from '../memory.js';

export const DATA_LINES = 256;
export const FETCH_LINES = 128;
/** Never equal to an address masked for its page and its alignment. */
export const NO_TAG = 8;

export const DATA_ADDEND = 4;
export const FETCH_MACHINE = 4;
export const LINE_PAGE = 5;
export const LINE_INFO = 6;
const LINE_FILL = 7;
const LINE_WORDS = 8;
const WAYS = 4;
/** Words from a line to the next one of its set. */
const DATA_WAY = (DATA_LINES / WAYS) * LINE_WORDS;
const FETCH_WAY = (FETCH_LINES / WAYS) * LINE_WORDS;

/** Low bits of the information word. */
export const TlbInfo = { USER: 1, WRITABLE: 2, GLOBAL: 4, LARGE: 8, DIRTY: 16, DEVICE: 32 } as const;

/** First word of the home of `linear` among the data lines. */
export const dataLine = (linear: number): number => ((linear >>> 12) & (DATA_LINES - 1)) << 3;
/** First word of the home of `linear` among the instruction lines. */
export const fetchLine = (linear: number): number => ((linear >>> 12) & (FETCH_LINES - 1)) << 3;

/** Sets that may hold a line, in two bitmaps: by lines that a CR3 load drops, and by global ones. */
class Filled {
  readonly #local: Int32Array;
  readonly #global: Int32Array;
  readonly #mask: number;

  constructor(sets: number) {
    this.#local = new Int32Array(sets >>> 5);
    this.#global = new Int32Array(sets >>> 5);
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

export class Tlb {
  readonly data: Int32Array;
  readonly fetch: Int32Array;
  /** Of the data and of the instruction lines together; wraps around. */
  #fills = 0;
  readonly #dataSets = new Filled(DATA_LINES / WAYS);
  readonly #fetchSets = new Filled(FETCH_LINES / WAYS);
  /** One byte per 4 MiB of linear space: some line may be part of a 4 MiB page there. */
  readonly #large = new Uint8Array(1024);

  constructor(private readonly memory: MachineMemory) {
    const at = memory.reserve((DATA_LINES + FETCH_LINES) * LINE_WORDS * 4);
    this.data = new Int32Array(memory.wasm.buffer, at, DATA_LINES * LINE_WORDS);
    this.fetch = new Int32Array(memory.wasm.buffer, at + DATA_LINES * LINE_WORDS * 4, FETCH_LINES * LINE_WORDS);
    for (let line = 0; line < this.data.length; line += LINE_WORDS) this.#dropData(line);
    for (let line = 0; line < this.fetch.length; line += LINE_WORDS) this.#dropFetch(line);
  }

  /** Makes the data line for `page` the one at its home, if there is one in its set. */
  bringDataHome(home: number, page: number): boolean {
    return bringHome(this.data, home, page);
  }

  /** As `bringDataHome`, for the instruction lines. */
  bringFetchHome(home: number, page: number): boolean {
    return bringHome(this.fetch, home, page);
  }

  /** Frees the home of a page for its line: another page there goes to the place of the line that gives way. */
  #makeRoom(lines: Int32Array, home: number, page: number): void {
    if (lines[home + LINE_PAGE] === page || bringHome(lines, home, page)) return;
    const step = lines.length / WAYS;
    let victim = home;
    for (let way = 0; way < WAYS; way++) {
      const line = home ^ (way * step);
      if (lines[line + LINE_PAGE] === NO_TAG) {
        victim = line;
        break;
      }
      if (((lines[line + LINE_FILL]! - lines[victim + LINE_FILL]!) | 0) < 0) victim = line;
    }
    if (victim !== home) lines.copyWithin(victim, home, home + LINE_WORDS);
    this.#fills = (this.#fills + 1) | 0;
    lines[home + LINE_FILL] = this.#fills;
  }

  /** Replaces a data line. `machinePage` is ignored for a device. `writeProtect` is CR0.WP. */
  fillData(linear: number, physicalPage: number, info: number, machinePage: number, writeProtect: boolean): void {
    const line = dataLine(linear);
    const page = linear & -4096;
    this.#makeRoom(this.data, line, page);
    this.data[line + DATA_ADDEND] = (machinePage - page) | 0;
    this.data[line + LINE_PAGE] = page;
    this.data[line + LINE_INFO] = physicalPage | info;
    this.retag(line, writeProtect);
    this.#note(this.#dataSets, linear, info);
  }

  #note(sets: Filled, linear: number, info: number): void {
    sets.add(linear >>> 12, (info & TlbInfo.GLOBAL) !== 0);
    if ((info & TlbInfo.LARGE) !== 0) this.#large[linear >>> 22] = 1;
  }

  /** Computes the four access tags of a valid line from its rights and from what the page holds now. */
  retag(line: number, writeProtect: boolean): void {
    const data = this.data;
    const page = data[line + LINE_PAGE]!;
    const info = data[line + LINE_INFO]!;
    const ram = (info & TlbInfo.DEVICE) === 0;
    const user = (info & TlbInfo.USER) !== 0;
    const writable = (info & TlbInfo.WRITABLE) !== 0;
    const quiet =
      ram && (info & TlbInfo.DIRTY) !== 0 && this.memory.holdsCode[(page + data[line + DATA_ADDEND]!) >>> 12] === 0;
    data[line] = ram ? page : NO_TAG;
    data[line + 1] = quiet && (writable || !writeProtect) ? page : NO_TAG;
    data[line + 2] = ram && user ? page : NO_TAG;
    data[line + 3] = quiet && user && writable ? page : NO_TAG;
  }

  fillFetch(linear: number, physicalPage: number, info: number, machinePage: number): void {
    const line = fetchLine(linear);
    const page = linear & -4096;
    this.#makeRoom(this.fetch, line, page);
    this.fetch[line + LINE_PAGE] = page;
    this.fetch[line] = page;
    this.fetch[line + 1] = (info & TlbInfo.USER) !== 0 ? page : NO_TAG;
    this.fetch[line + FETCH_MACHINE] = machinePage;
    this.fetch[line + LINE_INFO] = physicalPage | info;
    this.#note(this.#fetchSets, linear, info);
  }

  /** The page begins to hold decoded code: stores must be seen from now on. */
  dropWriteTags(machinePage: number): void {
    const data = this.data;
    const sets = this.#dataSets;
    for (let set = sets.next(0, true); set >= 0; set = sets.next(set + 1, true)) {
      for (let line = set * LINE_WORDS; line < data.length; line += DATA_WAY) {
        if (data[line + LINE_PAGE] === NO_TAG) continue;
        if (((data[line + LINE_PAGE]! + data[line + DATA_ADDEND]!) & -4096) !== machinePage) continue;
        data[line + 1] = NO_TAG;
        data[line + 3] = NO_TAG;
      }
    }
  }

  /** MOV to CR3 (SDM vol. 3, 4.10.4.1). */
  flushNonGlobal(): void {
    this.#flush(false);
  }

  flush(): void {
    this.#flush(true);
    this.#large.fill(0);
  }

  #flush(globalToo: boolean): void {
    const { data, fetch } = this;
    const dataSets = this.#dataSets;
    for (let set = dataSets.next(0, globalToo); set >= 0; set = dataSets.next(set + 1, globalToo)) {
      for (let line = set * LINE_WORDS; line < data.length; line += DATA_WAY) {
        if (globalToo || (data[line + LINE_INFO]! & TlbInfo.GLOBAL) === 0) this.#dropData(line);
      }
    }
    dataSets.clear(globalToo);
    const fetchSets = this.#fetchSets;
    for (let set = fetchSets.next(0, globalToo); set >= 0; set = fetchSets.next(set + 1, globalToo)) {
      for (let line = set * LINE_WORDS; line < fetch.length; line += FETCH_WAY) {
        if (globalToo || (fetch[line + LINE_INFO]! & TlbInfo.GLOBAL) === 0) this.#dropFetch(line);
      }
    }
    fetchSets.clear(globalToo);
  }

  /** INVLPG: global or not; a 4 MiB page goes as a whole (SDM vol. 3, 4.10.4.1). */
  flushPage(linear: number): void {
    if (this.#large[linear >>> 22] !== 0) {
      this.#flushRegion(linear);
      return;
    }
    const { data, fetch } = this;
    const page = linear & -4096;
    // At most one line of a set holds the page.
    for (let line = dataLine(linear) & (DATA_WAY - 1); line < data.length; line += DATA_WAY) {
      if (data[line + LINE_PAGE] === page) this.#dropData(line);
    }
    for (let line = fetchLine(linear) & (FETCH_WAY - 1); line < fetch.length; line += FETCH_WAY) {
      if (fetch[line + LINE_PAGE] === page) this.#dropFetch(line);
    }
  }

  /** The page, and all lines of a 4 MiB page that it may be part of. */
  #flushRegion(linear: number): void {
    const { data, fetch } = this;
    const page = linear & -4096;
    const region = linear & -0x400000;
    for (let line = 0; line < data.length; line += LINE_WORDS) {
      const tag = data[line + LINE_PAGE]!;
      if (tag === NO_TAG) continue;
      const large = (data[line + LINE_INFO]! & TlbInfo.LARGE) !== 0;
      if (tag === page || (large && (tag & -0x400000) === region)) this.#dropData(line);
    }
    for (let line = 0; line < fetch.length; line += LINE_WORDS) {
      const tag = fetch[line + LINE_PAGE]!;
      if (tag === NO_TAG) continue;
      const large = (fetch[line + LINE_INFO]! & TlbInfo.LARGE) !== 0;
      if (tag === page || (large && (tag & -0x400000) === region)) this.#dropFetch(line);
    }
    this.#large[linear >>> 22] = 0;
  }

  entries(): TlbEntry[] {
    const found: TlbEntry[] = [];
    const add = (page: number, info: number) => {
      found.push({
        linearPage: page >>> 12,
        physicalPage: info >>> 12,
        writable: (info & TlbInfo.WRITABLE) !== 0,
        user: (info & TlbInfo.USER) !== 0,
        global: (info & TlbInfo.GLOBAL) !== 0,
      });
    };
    for (let line = 0; line < this.data.length; line += LINE_WORDS) {
      const page = this.data[line + LINE_PAGE]!;
      if (page !== NO_TAG) add(page, this.data[line + LINE_INFO]!);
    }
    for (let line = 0; line < this.fetch.length; line += LINE_WORDS) {
      const page = this.fetch[line + LINE_PAGE]!;
      if (page !== NO_TAG) add(page, this.fetch[line + LINE_INFO]!);
    }
    return found;
  }

  #dropData(line: number): void {
    const data = this.data;
    data[line] = NO_TAG;
    data[line + 1] = NO_TAG;
    data[line + 2] = NO_TAG;
    data[line + 3] = NO_TAG;
    data[line + LINE_PAGE] = NO_TAG;
    data[line + LINE_INFO] = 0;
  }

  #dropFetch(line: number): void {
    this.fetch[line] = NO_TAG;
    this.fetch[line + 1] = NO_TAG;
    this.fetch[line + LINE_PAGE] = NO_TAG;
    this.fetch[line + LINE_INFO] = 0;
  }
}

/** Swaps the line of `page` into `home` from another line of the set. False if the set has no such line. */
function bringHome(lines: Int32Array, home: number, page: number): boolean {
  const step = lines.length / WAYS;
  for (let way = 1; way < WAYS; way++) {
    const line = home ^ (way * step);
    if (lines[line + LINE_PAGE] !== page) continue;
    for (let word = 0; word < LINE_WORDS; word++) {
      const other = lines[home + word]!;
      lines[home + word] = lines[line + word]!;
      lines[line + word] = other;
    }
    return true;
  }
  return false;
}
