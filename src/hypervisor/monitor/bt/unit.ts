/**
 * Translation units and the links between them.
 *
 * | part | meaning |
 * | --- | --- |
 * | `Tu` | up to 12 guest instructions and their code in the TC |
 * | `TcPoint` | one TC instruction: which guest state holds there |
 * | `Callout` | an INT by which the unit asks the monitor |
 * | `Continuation` | a direct way out of the unit; a callout until it is chained |
 *
 * A unit is retired for ever when its source bytes or their mapping change, and when the TC is flushed. Retiring undoes
 * every link to and from it; its code stays where it is until the TC is flushed, because hardware may be inside it.
 */
import { assert } from '../../base/assert.js';
import { TC_LINEAR } from '../hole.js';
import type { GuestInstruction } from './classify.js';

/**
 * Which guest state holds before a TC instruction executes.
 *
 * exact: registers and flags are the guest's, at `eip`.
 * spilled: as exact, once the registers in `restore` are loaded from their slots. Used before a sequence has done anything
 *   that the guest can see (`eip` is the instruction's own: roll back) and after it has done everything (`eip` is the next).
 * target: as spilled, with EIP in `Slot.TARGET`.
 * inside: half done; the only way to a guest boundary is forward.
 */
export type PointKind = 'exact' | 'spilled' | 'target' | 'inside';

export interface TcPoint {
  /** Offset from the start of the unit. */
  readonly at: number;
  readonly kind: PointKind;
  /** Guest EIP that the state belongs to (for `inside`: the instruction being emulated). */
  readonly eip: number;
  /** Which spilled registers must be loaded back. */
  readonly restore: 'none' | 'ecx' | 'both';
  /** Virtual interrupts are held off here (shadow of STI or of a load of SS). */
  readonly shadow: boolean;
}

export type Callout =
  /** End of an unchained way out. */
  | { readonly kind: 'exit'; readonly continuation: Continuation }
  /** The monitor performs `instruction`. */
  | { readonly kind: 'instruction'; readonly instruction: GuestInstruction }
  /** A hot store to a watched page; `plainAt` is the offset of a plain copy, for what software does not handle. */
  | { readonly kind: 'adapted'; readonly instruction: GuestInstruction; readonly plainAt: number }
  /** VIF has just become set and an event is pending; the guest goes on at `eip`. */
  | { readonly kind: 'pending'; readonly eip: number }
  /** As `pending`, but the control transfer that follows has to be done first. */
  | { readonly kind: 'pendingBehind' }
  /** The next TC instruction accesses memory through the guest's GS or CS: `segment` is a `Seg` number. */
  | { readonly kind: 'override'; readonly segment: number }
  /** Indirect target not in the hash (shared lookup code). */
  | { readonly kind: 'lookup' };

export interface CalloutSite {
  /** Offset of the INT, or of the call of a ring-1 routine, from the start of the unit. */
  readonly at: number;
  /** Its length: the guest goes on behind it. */
  readonly bytes: number;
  readonly callout: Callout;
}

export class Continuation {
  owner: Tu | undefined;
  target: Tu | undefined;

  /**
   * `exitAt`: offset of the exit callout. `conditionAt`: offset of the rel32 of the conditional jump that leads to it, which
   * chaining redirects past it; undefined where the unit falls or jumps into the exit.
   */
  constructor(
    readonly eip: number,
    readonly exitAt: number,
    readonly conditionAt: number | undefined,
  ) {}
}

/** What the translator makes: everything relative to the unit's start, except direct jumps to shared code. */
export interface TuCode {
  readonly bytes: Uint8Array;
  readonly instructions: readonly TranslatedInstruction[];
  /** Ascending by offset, one for each TC instruction. */
  readonly points: readonly TcPoint[];
  readonly callouts: readonly CalloutSite[];
  readonly continuations: readonly Continuation[];
  /** Word that counts how often the unit is entered. */
  readonly counterAt: number | undefined;
  /** The bytes ended right behind STI or a load of SS: the unit should be made again with more of them. */
  readonly cutShort: boolean;
}

export interface TranslatedInstruction {
  readonly guest: GuestInstruction;
  /** Where its code starts, as an offset from the start of the unit. */
  readonly at: number;
}

/** Guest bytes that a unit was made from, at most two pages. */
export interface SourceSpan {
  readonly linear: number;
  readonly ppn: number;
  readonly bytes: Uint8Array;
}

export class Tu {
  retired = false;
  readonly chainedFrom = new Set<Continuation>();
  /** Times that control came in through the monitor (not through a chain or the hash). */
  entries = 0;
  /** Index of the hash entry that leads here. */
  hashIndex: number | undefined;
  /** The guest frames of `sources`, each once. */
  readonly ppns: ReadonlySet<number>;
  /** First byte and the one behind the last as offsets into the TC: V8 keeps larger numbers in objects of their own. */
  readonly #start: number;
  readonly #end: number;
  /** As an int32, for the same reason. */
  readonly #linear: number;

  constructor(
    readonly id: number,
    linear: number,
    tcStart: number,
    readonly code: TuCode,
    readonly sources: readonly SourceSpan[],
  ) {
    this.#linear = linear | 0;
    this.#start = tcStart - TC_LINEAR;
    this.#end = this.#start + code.bytes.length;
    this.ppns = new Set(sources.map(source => source.ppn));
    for (const continuation of code.continuations) continuation.owner = this;
  }

  /** Linear address of the first guest instruction. */
  get linear(): number {
    return this.#linear >>> 0;
  }

  startsAt(linear: number): boolean {
    return this.#linear === (linear | 0);
  }

  get tcStart(): number {
    return TC_LINEAR + this.#start;
  }

  get tcEnd(): number {
    return TC_LINEAR + this.#end;
  }

  contains(tcAddress: number): boolean {
    const at = (tcAddress - TC_LINEAR) | 0;
    return at >= this.#start && at < this.#end;
  }

  /** The point at a TC address inside the unit; undefined between instructions. */
  pointAt(tcAddress: number): TcPoint | undefined {
    const at = ((tcAddress - TC_LINEAR) | 0) - this.#start;
    const { points } = this.code;
    let low = 0;
    let high = points.length - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const point = points[middle]!;
      if (point.at === at) return point;
      if (point.at < at) low = middle + 1;
      else high = middle - 1;
    }
    return undefined;
  }
}

/** The bookkeeping half of chaining; the code is patched by `TranslationCache`. */
export function link(from: Continuation, to: Tu): void {
  assert(from.owner !== undefined && !from.owner.retired && !to.retired, 'chaining a retired unit');
  assert(from.target === undefined, 'continuation is chained already');
  from.target = to;
  to.chainedFrom.add(from);
}

export function unlink(from: Continuation): void {
  if (from.target === undefined) return;
  assert(from.target.chainedFrom.delete(from), 'chain bookkeeping is one-sided');
  from.target = undefined;
}
