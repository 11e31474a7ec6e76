/**
 * The translation look-aside buffers, in linear memory: 256 direct-mapped data lines and 128 instruction lines, the sizes of
 * a Core 2 (which has 4 ways; the difference costs a conflict miss now and then).
 *
 * A data line is eight words:
 *
 *     0  tag for supervisor reads      2  tag for user reads      4  addend: machine - linear     6  physical page | `TlbInfo`
 *     1  tag for supervisor writes     3  tag for user writes     5  tag of the line itself       7  -
 *
 * Words 0..3 are what engines compare: a tag is there only when such an access needs nothing but the bytes. A page that
 * is not yet dirty, is a device or holds decoded code has no write tag, so that such stores take the slow path, which asks
 * words 5 and 6. Whether an access misses (and costs a walk) is decided by words 5 and 6 alone: never by decoded code.
 *
 * An instruction line is four words: tag for supervisor fetches, tag for user fetches, machine page, physical page | info.
 */

import type { TlbEntry } from '../cpu/processor.js';
import type { MachineMemory } from '../memory.js';

export const DATA_LINES = 256;
export const FETCH_LINES = 128;
/** Never equal to an address masked for its page and its alignment. */
export const NO_TAG = 8;

export const DATA_ADDEND = 4;
export const DATA_PAGE = 5;
export const DATA_INFO = 6;

export const FETCH_MACHINE = 2;
export const FETCH_INFO = 3;

/** Low bits of the information word. */
export const TlbInfo = { USER: 1, WRITABLE: 2, GLOBAL: 4, LARGE: 8, DIRTY: 16, DEVICE: 32 } as const;

/** First word of the data line that may hold `linear`. */
export const dataLine = (linear: number): number => ((linear >>> 12) & (DATA_LINES - 1)) << 3;
/** First word of the instruction line that may hold `linear`. */
export const fetchLine = (linear: number): number => ((linear >>> 12) & (FETCH_LINES - 1)) << 2;

export class Tlb {
  readonly data: Int32Array;
  readonly fetch: Int32Array;

  constructor(private readonly memory: MachineMemory) {
    const at = memory.reserve((DATA_LINES * 8 + FETCH_LINES * 4) * 4);
    this.data = new Int32Array(memory.wasm.buffer, at, DATA_LINES * 8);
    this.fetch = new Int32Array(memory.wasm.buffer, at + DATA_LINES * 32, FETCH_LINES * 4);
    this.flush();
  }

  /** Replaces a data line. `machinePage` is ignored for a device. `writeProtect` is CR0.WP. */
  fillData(linear: number, physicalPage: number, info: number, machinePage: number, writeProtect: boolean): void {
    const line = dataLine(linear);
    const page = linear & -4096;
    this.data[line + DATA_ADDEND] = (machinePage - page) | 0;
    this.data[line + DATA_PAGE] = page;
    this.data[line + DATA_INFO] = physicalPage | info;
    this.retag(line, writeProtect);
  }

  /** Computes the four access tags of a valid line from its rights and from what the page holds now. */
  retag(line: number, writeProtect: boolean): void {
    const data = this.data;
    const page = data[line + DATA_PAGE]!;
    const info = data[line + DATA_INFO]!;
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
    this.fetch[line] = page;
    this.fetch[line + 1] = (info & TlbInfo.USER) !== 0 ? page : NO_TAG;
    this.fetch[line + FETCH_MACHINE] = machinePage;
    this.fetch[line + FETCH_INFO] = physicalPage | info;
  }

  /** The page begins to hold decoded code: stores must be seen from now on. */
  dropWriteTags(machinePage: number): void {
    const data = this.data;
    for (let line = 0; line < data.length; line += 8) {
      if (data[line + DATA_PAGE] === NO_TAG) continue;
      if (((data[line + DATA_PAGE]! + data[line + DATA_ADDEND]!) & -4096) !== machinePage) continue;
      data[line + 1] = NO_TAG;
      data[line + 3] = NO_TAG;
    }
  }

  /** MOV to CR3 (SDM vol. 3, 4.10.4.1). */
  flushNonGlobal(): void {
    const { data, fetch } = this;
    for (let line = 0; line < data.length; line += 8) {
      if ((data[line + DATA_INFO]! & TlbInfo.GLOBAL) === 0) this.#dropData(line);
    }
    for (let line = 0; line < fetch.length; line += 4) {
      if ((fetch[line + FETCH_INFO]! & TlbInfo.GLOBAL) === 0) this.#dropFetch(line);
    }
  }

  flush(): void {
    for (let line = 0; line < this.data.length; line += 8) this.#dropData(line);
    for (let line = 0; line < this.fetch.length; line += 4) this.#dropFetch(line);
  }

  /** INVLPG: global or not; a 4 MiB page goes as a whole (SDM vol. 3, 4.10.4.1). */
  flushPage(linear: number): void {
    const { data, fetch } = this;
    const page = linear & -4096;
    const region = linear & -0x400000;
    for (let line = 0; line < data.length; line += 8) {
      const tag = data[line + DATA_PAGE]!;
      if (tag === NO_TAG) continue;
      const large = (data[line + DATA_INFO]! & TlbInfo.LARGE) !== 0;
      if (tag === page || (large && (tag & -0x400000) === region)) this.#dropData(line);
    }
    for (let line = 0; line < fetch.length; line += 4) {
      const tag = fetch[line]!;
      if (tag === NO_TAG) continue;
      const large = (fetch[line + FETCH_INFO]! & TlbInfo.LARGE) !== 0;
      if (tag === page || (large && (tag & -0x400000) === region)) this.#dropFetch(line);
    }
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
    for (let line = 0; line < this.data.length; line += 8) {
      const page = this.data[line + DATA_PAGE]!;
      if (page !== NO_TAG) add(page, this.data[line + DATA_INFO]!);
    }
    for (let line = 0; line < this.fetch.length; line += 4) {
      const page = this.fetch[line]!;
      if (page !== NO_TAG) add(page, this.fetch[line + FETCH_INFO]!);
    }
    return found;
  }

  #dropData(line: number): void {
    const data = this.data;
    data[line] = NO_TAG;
    data[line + 1] = NO_TAG;
    data[line + 2] = NO_TAG;
    data[line + 3] = NO_TAG;
    data[line + DATA_PAGE] = NO_TAG;
    data[line + DATA_INFO] = 0;
  }

  #dropFetch(line: number): void {
    this.fetch[line] = NO_TAG;
    this.fetch[line + 1] = NO_TAG;
    this.fetch[line + FETCH_INFO] = 0;
  }
}
