/**
 * Traces: guest pages whose writes the monitor watches, and who wants to hear of them.
 *
 * While a page is watched, no shadow entry that maps it is writable (the shadow MMU sees to it). Every store to it, by the
 * guest (a trace fault, carried out one instruction at a time) or by the monitor for the guest, ends in `written`, after the
 * bytes have changed.
 */
import { assert } from '../base/assert.js';
import type { Ppn } from '../base/pages.js';

/** Why a page is watched. */
export const TRACE_KINDS = ['table', 'code', 'descriptors'] as const;
export type TraceKind = (typeof TRACE_KINDS)[number];

export type TraceListener = (ppn: Ppn, offset: number, length: number) => void;

export class Traces {
  /** Users of each trace: a page may be watched for several reasons, and several times for one. */
  readonly #users: Readonly<Record<TraceKind, Map<number, number>>> = {
    table: new Map(),
    code: new Map(),
    descriptors: new Map(),
  };
  readonly #listeners: Record<TraceKind, TraceListener> = { table: () => {}, code: () => {}, descriptors: () => {} };
  /** Set by the shadow MMU: takes write permission from every shadow entry that maps the page. */
  onFirstWatch: (ppn: Ppn) => void = () => {};

  /** Registers who hears of writes of one kind; replaces the one before. */
  listen(kind: TraceKind, listener: TraceListener): void {
    this.#listeners[kind] = listener;
  }

  watch(ppn: Ppn, kind: TraceKind): void {
    const first = !this.isWatched(ppn);
    const users = this.#users[kind];
    users.set(ppn, (users.get(ppn) ?? 0) + 1);
    if (first) this.onFirstWatch(ppn);
  }

  /** Lets go of one use. Shadow entries regain write permission when they are next faulted on. */
  unwatch(ppn: Ppn, kind: TraceKind): void {
    const users = this.#users[kind];
    const count = users.get(ppn);
    assert(count !== undefined && count > 0, 'unwatching a page that is not watched');
    if (count === 1) users.delete(ppn);
    else users.set(ppn, count - 1);
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

  /** Bytes of a page have changed. Ranges lie within the page. Cheap where nobody watches. */
  written(ppn: Ppn, offset: number, length: number): void {
    for (const kind of TRACE_KINDS) {
      if (this.#users[kind].has(ppn)) this.#listeners[kind](ppn, offset, length);
    }
  }

  /** Watched pages of one kind, for audits and statistics. */
  watched(kind: TraceKind): readonly Ppn[] {
    return [...this.#users[kind].keys()] as Ppn[];
  }
}
