/**
 * Traces: guest pages whose writes the monitor watches, and who wants to hear of them.
 *
 * While a page is watched, no shadow entry that maps it is writable (the shadow sets see to it). Every store to it, by the
 * guest (a trace fault, carried out one instruction at a time) or by the monitor for the guest, ends in `written`, after the
 * bytes have changed.
 *
 * Memory is the VM's, so there is one book of traces (`TraceBook`) for all its vCPUs. Each has its own hand on it (`Traces`): what follows
 * from a watch or a store is work of the vCPU that made it, and is charged to it.
 */
import { assert } from '../base/assert.js';
import type { Ppn } from '../base/pages.js';
import type { VirtualCpu } from './virtual-cpu.js';

/** Why a page is watched. */
export const TRACE_KINDS = ['table', 'code', 'descriptors'] as const;
export type TraceKind = (typeof TRACE_KINDS)[number];

export type TraceListener = (ppn: Ppn, offset: number, length: number) => void;

/** A shadow set, as the book knows it. */
export interface TraceFollower {
  /** The page is watched from now on: takes write permission from every shadow entry that maps it. */
  protect(by: VirtualCpu, ppn: Ppn): void;
  /** Nobody watches the page any more: gives it back. */
  unprotect(by: VirtualCpu, ppn: Ppn): void;
  /** Bytes of a page that is watched as a table have changed. */
  tableWritten(by: VirtualCpu, ppn: Ppn, offset: number, length: number): void;
  /** Pages that it watches, each as often as it does. For audits. */
  tracedPages(): readonly Ppn[];
  /** Machine pages that it occupies. */
  readonly pageCount: number;
}

export class TraceBook {
  /** Users of each trace: a page may be watched for several reasons, and several times for one. */
  readonly #users: Readonly<Record<TraceKind, Map<number, number>>> = {
    table: new Map(),
    code: new Map(),
    descriptors: new Map(),
  };
  readonly #followers = new Set<TraceFollower>();
  readonly #hands = new Set<Traces>();

  follow(follower: TraceFollower): void {
    this.#followers.add(follower);
  }

  unfollow(follower: TraceFollower): void {
    this.#followers.delete(follower);
  }

  addHand(hand: Traces): void {
    this.#hands.add(hand);
  }

  removeHand(hand: Traces): void {
    this.#hands.delete(hand);
  }

  get followers(): ReadonlySet<TraceFollower> {
    return this.#followers;
  }

  watch(by: VirtualCpu, ppn: Ppn, kind: TraceKind): void {
    const first = !this.isWatched(ppn);
    const users = this.#users[kind];
    users.set(ppn, (users.get(ppn) ?? 0) + 1);
    if (first) for (const follower of this.#followers) follower.protect(by, ppn);
  }

  /** Lets go of one use. With the last one shadow entries regain their write permission. */
  unwatch(by: VirtualCpu, ppn: Ppn, kind: TraceKind): void {
    const users = this.#users[kind];
    const count = users.get(ppn);
    assert(count !== undefined && count > 0, 'unwatching a page that is not watched');
    if (count === 1) users.delete(ppn);
    else users.set(ppn, count - 1);
    if (!this.isWatched(ppn)) for (const follower of this.#followers) follower.unprotect(by, ppn);
  }

  isWatched(ppn: Ppn): boolean {
    return this.#users.table.has(ppn) || this.#users.code.has(ppn) || this.#users.descriptors.has(ppn);
  }

  isWatchedFor(ppn: Ppn, kind: TraceKind): boolean {
    return this.#users[kind].has(ppn);
  }

  /** How many users a trace has. */
  users(ppn: Ppn, kind: TraceKind): number {
    return this.#users[kind].get(ppn) ?? 0;
  }

  written(by: VirtualCpu, ppn: Ppn, offset: number, length: number): void {
    if (this.#users.table.has(ppn)) {
      for (const follower of this.#followers) follower.tableWritten(by, ppn, offset, length);
    }
    for (const kind of ['code', 'descriptors'] as const) {
      if (this.#users[kind].has(ppn)) for (const hand of this.#hands) hand.tell(kind, ppn, offset, length);
    }
  }

  watched(kind: TraceKind): readonly Ppn[] {
    return [...this.#users[kind].keys()] as Ppn[];
  }
}

/** One vCPU's hand on the traces of its VM. */
export class Traces {
  readonly book: TraceBook;
  readonly #vcpu: VirtualCpu;
  readonly #listeners: Record<'code' | 'descriptors', TraceListener> = { code: () => {}, descriptors: () => {} };

  constructor(book: TraceBook, vcpu: VirtualCpu) {
    this.book = book;
    this.#vcpu = vcpu;
    book.addHand(this);
  }

  /** Registers who hears, for this vCPU, of writes of one kind, whoever makes them; replaces the one before. */
  listen(kind: 'code' | 'descriptors', listener: TraceListener): void {
    this.#listeners[kind] = listener;
  }

  tell(kind: 'code' | 'descriptors', ppn: Ppn, offset: number, length: number): void {
    this.#listeners[kind](ppn, offset, length);
  }

  watch(ppn: Ppn, kind: TraceKind): void {
    this.book.watch(this.#vcpu, ppn, kind);
  }

  unwatch(ppn: Ppn, kind: TraceKind): void {
    this.book.unwatch(this.#vcpu, ppn, kind);
  }

  isWatched(ppn: Ppn): boolean {
    return this.book.isWatched(ppn);
  }

  isWatchedFor(ppn: Ppn, kind: TraceKind): boolean {
    return this.book.isWatchedFor(ppn, kind);
  }

  users(ppn: Ppn, kind: TraceKind): number {
    return this.book.users(ppn, kind);
  }

  /** Bytes of a page have changed, by this vCPU's doing. Ranges lie within the page. Cheap where nobody watches. */
  written(ppn: Ppn, offset: number, length: number): void {
    this.book.written(this.#vcpu, ppn, offset, length);
  }

  /** Watched pages of one kind, for audits and statistics. */
  watched(kind: TraceKind): readonly Ppn[] {
    return this.book.watched(kind);
  }

  /** The vCPU is no more: it hears of nothing. */
  destroy(): void {
    this.book.removeHand(this);
  }
}
