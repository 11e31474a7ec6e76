/**
 * The translation cache: where units are, how they are found, linked, and dropped.
 *
 * | derived | made from | dropped by |
 * | --- | --- | --- |
 * | unit | guest bytes, their frames, the code segment | a write to these bytes, another frame at its address, a full TC, another code segment |
 * | chain | two live units | either of them retiring |
 * | hash entry | a live unit | its unit retiring, another target with the same low half |
 *
 * A unit is keyed by linear address and stands for the frame that the address led to when it was made. Kernel text is mapped
 * alike in every address space, so its units and chains live on across CR3 loads: the owner compares the frames of all pages
 * that have units whenever a mapping may have changed (`mappedPages`), and retires what differs. Keying on (address, frame)
 * and keeping both versions would save retranslation only for kernels that map different code at one address.
 *
 * Pages of the TC are taken when they are first filled. Hardware sees all of it read-only.
 */
import { assert } from '../../base/assert.js';
import { type Mpn, PAGE_OFFSET_MASK, PAGE_SIZE } from '../../base/pages.js';
import type { Cause } from '../../stats/causes.js';
import { type Decoded, decode } from '../decoded.js';
import { COUNTERS_BYTES, COUNTERS_LINEAR, TARGET_HASH_LINEAR, TC_BYTES, TC_LINEAR } from '../hole.js';
import type { MonitoredVm } from '../monitored-vm.js';
import { type GuestInstruction, isNarrowTransfer } from './classify.js';
import { EXIT_BYTES, ROUTINE_BYTES } from './emit.js';
import { HASH_BYTES, HASH_ENTRY_BYTES, LOOKUP_CODE_BYTES, TU_BYTES_MAX } from './layout.js';
import { lookupCode, type SharedCode } from './translate.js';
import {
  type Callout,
  type CalloutSite,
  type Continuation,
  link,
  type SourceSpan,
  type TcPoint,
  Tu,
  type TuCode,
  unlink,
} from './unit.js';

/**
 * A callout and all that serving it needs, in one object: a host of many VMs finds little of one VM's in the caches. Addresses are
 * int32 here: V8 keeps larger numbers in objects of their own.
 */
export class FoundCallout {
  /** TC address of the INT. */
  readonly #at: number;
  readonly cause: Cause;
  /** What the monitor performs here; undefined where the callout is of another kind. */
  readonly instruction: GuestInstruction | undefined;
  /** `instruction` does more than go on behind itself. */
  readonly leaves: boolean;
  /** Guest EIP behind `instruction`. */
  readonly #behind: number;
  /** The callout that came after this one last time: kernels repeat themselves. */
  follower: FoundCallout | undefined;
  #decoded: Decoded | undefined;
  #narrow: boolean | undefined;

  constructor(
    readonly callout: Callout,
    /** Undefined for the shared lookup code. */
    readonly tu: Tu | undefined,
    at: number,
    /** The guest state there. */
    readonly point: TcPoint,
    /** Length of the TC code that asks. */
    readonly bytes: number,
  ) {
    this.#at = at | 0;
    this.cause = callout.kind === 'exit' ? 'translation' : 'callout';
    this.instruction = callout.kind === 'instruction' ? callout.instruction : undefined;
    this.leaves = this.instruction?.leaves === true;
    this.#behind = this.instruction === undefined ? 0 : (this.instruction.eip + this.instruction.bytes.length) | 0;
  }

  get at(): number {
    return this.#at >>> 0;
  }

  isAt(tcAddress: number): boolean {
    return this.#at === (tcAddress | 0);
  }

  /** Guest EIP behind the instruction. */
  get behind(): number {
    return this.#behind >>> 0;
  }

  /** TC address behind the code that asks. */
  get tcBehind(): number {
    return (this.#at + this.bytes) >>> 0;
  }

  /** Performed in ring 1, without a gate. */
  get isRoutine(): boolean {
    return this.bytes === ROUTINE_BYTES;
  }

  /** The instruction that this callout is for, decoded when it is first performed; undefined where it is none. */
  decode({ bytes, eip }: GuestInstruction): Decoded | undefined {
    this.#decoded ??= decode(bytes, eip);
    return this.#decoded;
  }

  /** `isNarrowTransfer`, found out once. */
  isNarrow(guest: GuestInstruction): boolean {
    this.#narrow ??= isNarrowTransfer(guest);
    return this.#narrow;
  }
}

/** A power of two. */
const RECENT_UNITS = 16;

/** Maps one page of the hole for hardware. */
export type MapHole = (linear: number, mpn: Mpn, writable: boolean) => void;

export class TranslationCache {
  readonly #vm: MonitoredVm;
  readonly #mapHole: MapHole;
  readonly #pages: (Mpn | undefined)[] = [];
  readonly #hashPages: Mpn[] = [];
  readonly #counterPages: Mpn[] = [];
  /** Ascending by `tcStart`; retired units stay until the flush. */
  #placed: Tu[] = [];
  /** Their places as offsets into the TC: what a search reads. */
  readonly #starts: number[] = [];
  /** The unit that was found last: most questions are about one unit several times over. */
  #lastFound: Tu | undefined;
  /** By linear address as an int32: V8 keeps larger numbers, and so keys, in objects of their own. */
  readonly #byLinear = new Map<number, Tu>();
  readonly #byPpn = new Map<number, Set<Tu>>();
  readonly #byLpn = new Map<number, Set<Tu>>();
  /** Counts changes of the set of linear pages that have units. */
  pageChanges = 0;
  /** Units asked for lately, by bits of the linear address: spares the map. */
  readonly #recent: (Tu | undefined)[] = new Array(RECENT_UNITS).fill(undefined);
  /** By TC address, likewise as an int32. */
  readonly #callouts = new Map<number, FoundCallout>();
  #lastCallout: FoundCallout | undefined;
  /** Units that the hash leads to, by index. */
  readonly #hashed = new Map<number, Tu>();
  readonly shared: SharedCode;
  readonly lookupAt: number;
  #top = TC_LINEAR;
  #nextId = 0;

  /** Called when a guest page gets its first unit, and when it has lost its last. */
  onFirstUnit: (ppn: number) => void = () => {};
  onLastUnit: (ppn: number) => void = () => {};

  /** `sizeBytes`: whole pages. */
  constructor(
    vm: MonitoredVm,
    mapHole: MapHole,
    readonly sizeBytes: number = TC_BYTES,
  ) {
    assert(sizeBytes % PAGE_SIZE === 0 && sizeBytes >= PAGE_SIZE && sizeBytes <= TC_BYTES, 'bad size of the TC');
    this.#vm = vm;
    this.#mapHole = mapHole;
    for (let at = 0; at < HASH_BYTES; at += PAGE_SIZE) {
      const mpn = vm.allocateMonitorPage('tc');
      this.#hashPages.push(mpn);
      mapHole(TARGET_HASH_LINEAR + at, mpn, false);
    }
    this.#clearHash();
    this.lookupAt = TC_LINEAR + sizeBytes - LOOKUP_CODE_BYTES;
    this.shared = lookupCode(this.lookupAt, TARGET_HASH_LINEAR);
    this.#store(this.lookupAt, this.shared.bytes);
    this.#addSharedCallouts();
  }

  /** Gives every page back; `unmapHole` takes it out of the hole. Hardware must not be inside. The TC is of no use afterwards. */
  destroy(unmapHole: (linear: number) => void): void {
    this.flush();
    const give = (mpn: Mpn, linear: number) => {
      unmapHole(linear);
      this.#vm.freeMonitorPage(mpn, 'tc');
    };
    this.#pages.forEach((mpn, page) => {
      if (mpn !== undefined) give(mpn, TC_LINEAR + page * PAGE_SIZE);
    });
    for (const [page, mpn] of this.#hashPages.entries()) give(mpn, TARGET_HASH_LINEAR + page * PAGE_SIZE);
    for (const [page, mpn] of this.#counterPages.entries()) give(mpn, COUNTERS_LINEAR + page * PAGE_SIZE);
  }

  /** Linear address of the counter of the unit that will be placed next: a word, which begins with 0. */
  counterForNext(): number {
    const offset = this.#placed.length * 4;
    if (offset % PAGE_SIZE === 0 && this.#counterPages.length * PAGE_SIZE === offset) {
      const mpn = this.#vm.allocateMonitorPage('tc');
      this.#counterPages.push(mpn);
      this.#mapHole(COUNTERS_LINEAR + offset, mpn, true);
    }
    this.#vm.memory.write32(this.#counterMachine(offset), 0);
    return COUNTERS_LINEAR + offset;
  }

  /** What a counter says. */
  countAt(counter: number): number {
    return this.#vm.memory.read32(this.#counterMachine(counter - COUNTERS_LINEAR));
  }

  #counterMachine(offset: number): number {
    return (this.#counterPages[offset >>> 12]! << 12) | (offset & PAGE_OFFSET_MASK);
  }

  /** Bytes in use by units, retired ones included. */
  get usedBytes(): number {
    return this.#top - TC_LINEAR;
  }

  /** Where the next unit will be placed. */
  get top(): number {
    return this.#top;
  }

  get isFull(): boolean {
    return this.#top + TU_BYTES_MAX > this.lookupAt || this.#placed.length >= COUNTERS_BYTES / 4;
  }

  /** Live units in order of their places. */
  get units(): readonly Tu[] {
    return this.#placed.filter(tu => !tu.retired);
  }

  get(linear: number): Tu | undefined {
    const slot = (linear ^ (linear >>> 4)) & (RECENT_UNITS - 1);
    const recent = this.#recent[slot];
    if (recent !== undefined && !recent.retired && recent.startsAt(linear)) return recent;
    const tu = this.#byLinear.get(linear | 0);
    if (tu !== undefined) this.#recent[slot] = tu;
    return tu;
  }

  /** The unit, retired or not, that a TC address lies in. */
  find(tcAddress: number): Tu | undefined {
    const last = this.#lastFound;
    if (last?.contains(tcAddress) === true) return last;
    const starts = this.#starts;
    const offset = tcAddress - TC_LINEAR;
    let low = 0;
    let high = starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (starts[middle]! <= offset) low = middle + 1;
      else high = middle;
    }
    const tu = low === 0 ? undefined : this.#placed[low - 1];
    if (tu?.contains(tcAddress) !== true) return undefined;
    this.#lastFound = tu;
    return tu;
  }

  /** Hardware is about to be sent into `tu`: the next questions will be about it. */
  expect(tu: Tu): void {
    this.#lastFound = tu;
  }

  /** The guest state before the TC instruction at an address; undefined between instructions and outside of all code. */
  pointAt(tcAddress: number): TcPoint | undefined {
    if (tcAddress < this.lookupAt) return this.find(tcAddress)?.pointAt(tcAddress);
    return this.shared.points.find(({ at }) => this.lookupAt + at === tcAddress);
  }

  /** The callout whose INT is at a TC address. */
  calloutAt(tcAddress: number): FoundCallout | undefined {
    const last = this.#lastCallout;
    const follower = last?.follower;
    if (follower?.isAt(tcAddress) === true) {
      this.#lastCallout = follower;
      return follower;
    }
    const found = this.#callouts.get(tcAddress | 0);
    if (found === undefined) return undefined;
    if (last !== undefined) last.follower = found;
    this.#lastCallout = found;
    return found;
  }

  /** Linear guest pages that have units. */
  mappedPages(): IterableIterator<number> {
    return this.#byLpn.keys();
  }

  /** The frame that the units of a linear page were made from; undefined where there are none. */
  frameOf(lpn: number): number | undefined {
    const units = this.#byLpn.get(lpn);
    if (units === undefined) return undefined;
    for (const unit of units) return unit.sources.find(source => source.linear >>> 12 === lpn)!.ppn;
    return undefined;
  }

  unitsOnLpn(lpn: number): readonly Tu[] {
    return [...(this.#byLpn.get(lpn) ?? [])];
  }

  pagesWithUnits(): readonly number[] {
    return [...this.#byPpn.keys()];
  }

  /** Puts a unit that was translated for `top` into the TC. */
  place(linear: number, code: TuCode, sources: readonly SourceSpan[]): Tu {
    assert(this.#byLinear.get(linear | 0) === undefined, 'an address is translated twice');
    const tu = new Tu(this.#nextId++, linear, this.#top, code, sources);
    assert(tu.tcEnd <= this.lookupAt, 'the TC overran its arena');
    this.#store(tu.tcStart, code.bytes);
    this.#top = (tu.tcEnd + 15) & ~15;
    this.#top >>>= 0;
    this.#placed.push(tu);
    this.#starts.push(tu.tcStart - TC_LINEAR);
    this.#byLinear.set(linear | 0, tu);
    for (const site of code.callouts) this.#addCallout(tu.tcStart + site.at, site, tu);
    for (const { linear: at } of sources) if (addTo(this.#byLpn, at >>> 12, tu)) this.pageChanges += 1;
    for (const ppn of tu.ppns) if (addTo(this.#byPpn, ppn, tu)) this.onFirstUnit(ppn);
    return tu;
  }

  /** Makes the way out `from` go straight to `to`. */
  chain(from: Continuation, to: Tu): void {
    link(from, to);
    const owner = from.owner!;
    if (from.conditionAt !== undefined) {
      this.#storeDisplacement(owner.tcStart + from.conditionAt, to.tcStart);
      return;
    }
    const at = owner.tcStart + from.exitAt;
    this.#store(at, Uint8Array.of(0xe9));
    this.#storeDisplacement(at + 1, to.tcStart);
  }

  unchain(from: Continuation): void {
    if (from.target === undefined) return;
    const owner = from.owner!;
    unlink(from);
    const at = from.conditionAt ?? from.exitAt;
    const length = from.conditionAt === undefined ? EXIT_BYTES : 4;
    this.#store(owner.tcStart + at, owner.code.bytes.slice(at, at + length));
  }

  /** Lets the lookup code find `tu` under the guest EIP `eip`. */
  enterInHash(eip: number, tu: Tu): void {
    assert(!tu.retired, 'a retired unit in the hash');
    const index = eip & 0xffff;
    const before = this.#hashed.get(index);
    if (before !== undefined) before.hashIndex = undefined;
    this.#hashed.set(index, tu);
    tu.hashIndex = index;
    this.#writeHash(index, -eip, tu.tcStart);
  }

  /** Drops a unit for ever. Its code stays until the flush: hardware may be inside it. */
  retire(tu: Tu): void {
    assert(!tu.retired, 'a unit is retired twice');
    for (const from of [...tu.chainedFrom]) this.unchain(from);
    for (const continuation of tu.code.continuations) this.unchain(continuation);
    tu.retired = true;
    this.#byLinear.delete(tu.linear | 0);
    if (tu.hashIndex !== undefined) this.#emptyHash(tu.hashIndex);
    for (const { linear } of tu.sources) if (removeFrom(this.#byLpn, linear >>> 12, tu)) this.pageChanges += 1;
    for (const ppn of tu.ppns) if (removeFrom(this.#byPpn, ppn, tu)) this.onLastUnit(ppn);
  }

  /** Retires the units that were made from any of these bytes of a guest page. Returns how many. */
  retireWritten(ppn: number, offset: number, length: number): number {
    let count = 0;
    for (const tu of [...(this.#byPpn.get(ppn) ?? [])]) {
      const hit = tu.sources.some(source => {
        const start = source.linear & PAGE_OFFSET_MASK;
        return source.ppn === ppn && start < offset + length && offset < start + source.bytes.length;
      });
      if (!hit) continue;
      this.retire(tu);
      count += 1;
    }
    return count;
  }

  /** Drops everything. Hardware must not be inside. */
  flush(): void {
    for (const tu of this.#placed) tu.retired = true;
    for (const ppn of [...this.#byPpn.keys()]) this.onLastUnit(ppn);
    this.#placed = [];
    this.#starts.length = 0;
    this.#lastFound = undefined;
    this.#byLinear.clear();
    this.#byPpn.clear();
    this.#byLpn.clear();
    this.pageChanges += 1;
    this.#callouts.clear();
    this.#lastCallout = undefined;
    this.#recent.fill(undefined);
    this.#clearHash();
    this.#top = TC_LINEAR;
    this.#addSharedCallouts();
  }

  /** Code as hardware would fetch it. */
  read(tcAddress: number, length: number): Uint8Array {
    const out = new Uint8Array(length);
    for (let i = 0; i < length; i++) out[i] = this.#vm.memory.read8(this.#machine(tcAddress + i));
    return out;
  }

  /** Where the hash leads for an index: guest EIP and TC address as hardware reads them, and the unit we believe is there. */
  hashEntry(index: number): { readonly eip: number; readonly tcStart: number; readonly tu: Tu | undefined } {
    const at = this.#hashMachine(index);
    const { memory } = this.#vm;
    return {
      eip: -memory.readI32(at) >>> 0,
      tcStart: memory.read32(at + 4),
      tu: this.#hashed.get(index),
    };
  }

  #addSharedCallouts(): void {
    for (const site of this.shared.callouts) this.#addCallout(this.lookupAt + site.at, site, undefined);
  }

  #addCallout(tcAddress: number, { callout, bytes }: CalloutSite, tu: Tu | undefined): void {
    const point = this.pointAt(tcAddress);
    assert(point !== undefined, 'a callout without a guest state');
    this.#callouts.set(tcAddress | 0, new FoundCallout(callout, tu, tcAddress, point, bytes));
  }

  #hashMachine(index: number): number {
    const at = index * HASH_ENTRY_BYTES;
    return (this.#hashPages[at >>> 12]! << 12) | (at & PAGE_OFFSET_MASK);
  }

  #writeHash(index: number, negatedEip: number, tcStart: number): void {
    const at = this.#hashMachine(index);
    this.#vm.memory.write32(at, negatedEip);
    this.#vm.memory.write32(at + 4, tcStart);
  }

  /** Entry 0 is empty with target 1, all others with target 0: no target is looked up under these indices. */
  #emptyHash(index: number): void {
    const tu = this.#hashed.get(index);
    if (tu !== undefined) tu.hashIndex = undefined;
    this.#hashed.delete(index);
    this.#writeHash(index, index === 0 ? -1 : 0, 0);
  }

  #clearHash(): void {
    this.#hashed.clear();
    for (const mpn of this.#hashPages) this.#vm.memory.fill(mpn << 12, PAGE_SIZE, 0);
    this.#emptyHash(0);
  }

  #machine(tcAddress: number): number {
    const page = (tcAddress - TC_LINEAR) >>> 12;
    let mpn = this.#pages[page];
    if (mpn === undefined) {
      mpn = this.#vm.allocateMonitorPage('tc');
      this.#pages[page] = mpn;
      this.#mapHole(TC_LINEAR + page * PAGE_SIZE, mpn, false);
    }
    return (mpn << 12) | (tcAddress & PAGE_OFFSET_MASK);
  }

  #store(tcAddress: number, bytes: Uint8Array): void {
    let done = 0;
    while (done < bytes.length) {
      const at = tcAddress + done;
      const chunk = Math.min(bytes.length - done, PAGE_SIZE - (at & PAGE_OFFSET_MASK));
      this.#vm.memory.writeBytes(this.#machine(at), bytes.subarray(done, done + chunk));
      done += chunk;
    }
  }

  #storeDisplacement(tcAddress: number, target: number): void {
    const displacement = target - (tcAddress + 4);
    this.#store(tcAddress, Uint8Array.of(displacement, displacement >>> 8, displacement >>> 16, displacement >>> 24));
  }
}

/** Returns true when the key is new. */
function addTo(map: Map<number, Set<Tu>>, key: number, tu: Tu): boolean {
  const set = map.get(key);
  if (set !== undefined) {
    set.add(tu);
    return false;
  }
  map.set(key, new Set([tu]));
  return true;
}

/** Returns true when the key has gone. */
function removeFrom(map: Map<number, Set<Tu>>, key: number, tu: Tu): boolean {
  const set = map.get(key);
  assert(set !== undefined, 'a page has lost its units');
  assert(set.delete(tu), 'a unit is not where its pages say');
  if (set.size > 0) return false;
  map.delete(key);
  return true;
}
