/** Collects one unit: code, the guest state at each TC instruction, callouts and ways out. */
import { assert } from '../../base/assert.js';
import { ROUTINE_LINEAR } from '../hole.js';
import type { GuestInstruction } from './classify.js';
import { CALLOUT_BYTES, Emitter, Reg, ROUTINE_BYTES } from './emit.js';
import { Slot } from './layout.js';
import { type Callout, type CalloutSite, Continuation, type PointKind, type TcPoint, type TuCode } from './unit.js';

export class UnitBuilder {
  readonly emit: Emitter;
  readonly #points: TcPoint[] = [];
  readonly #callouts: CalloutSite[] = [];
  readonly #continuations: Continuation[] = [];
  readonly #instructions: { readonly guest: GuestInstruction; readonly at: number }[] = [];
  readonly #tails: (() => void)[] = [];
  #shadow = false;
  #counterAt: number | undefined;

  /** `tcStart`: linear address in the TC; `lookupAt`: of the shared lookup code; `cs`: the guest's code selector. */
  constructor(
    tcStart: number,
    readonly lookupAt: number,
    readonly cs: number,
  ) {
    this.emit = new Emitter(tcStart);
  }

  begin(guest: GuestInstruction, shadow: boolean): void {
    this.#instructions.push({ guest, at: this.emit.offset });
    this.#shadow = shadow;
  }

  /** Adds one to the word at a linear address. The guest state is exact at `eip`. */
  count(eip: number, counter: number): void {
    this.#counterAt = counter;
    this.exact(eip).storeSlot(Slot.ECX, Reg.ECX);
    this.exact(eip).loadSlot(Reg.ECX, counter);
    this.spilled(eip).addImmediate(Reg.ECX, 1);
    this.spilled(eip).storeSlot(counter, Reg.ECX);
    this.spilled(eip).loadSlot(Reg.ECX, Slot.ECX);
  }

  /** Declares the guest state before the TC instruction that is emitted next. */
  point(kind: PointKind, eip: number, restore: TcPoint['restore'] = 'none'): Emitter {
    this.#points.push({ at: this.emit.offset, kind, eip, restore, shadow: this.#shadow });
    return this.emit;
  }

  exact(eip: number): Emitter {
    return this.point('exact', eip);
  }

  spilled(eip: number): Emitter {
    return this.point('spilled', eip, 'ecx');
  }

  inside(eip: number): Emitter {
    return this.point('inside', eip);
  }

  /** A callout where the guest state is exact. */
  callout(eip: number, callout: Callout): void {
    this.#callouts.push({ at: this.exact(eip).callout(), bytes: CALLOUT_BYTES, callout });
  }

  /**
   * The same for what the monitor does in ring 1, where the guest state is exact: no gate, no change of the ring. The guest's stack is not
   * ours to push a return address on.
   */
  routine(eip: number, callout: Callout): void {
    const at = this.emit.offset;
    const behind = this.emit.origin + at + ROUTINE_BYTES;
    this.exact(eip).setSlot(Slot.RETURN, behind);
    this.exact(eip).jump(ROUTINE_LINEAR);
    assert(this.emit.offset - at === ROUTINE_BYTES, 'the call of a routine has another length');
    this.#callouts.push({ at, bytes: ROUTINE_BYTES, callout });
  }

  /** A direct way out to `eip`. */
  exit(eip: number, conditionAt?: number): void {
    const continuation = new Continuation(eip, this.emit.offset, conditionAt);
    this.#continuations.push(continuation);
    this.#callouts.push({ at: this.exact(eip).exit(), bytes: CALLOUT_BYTES, callout: { kind: 'exit', continuation } });
  }

  /** Code for the end of the unit: rare paths, reached by forward jumps. */
  atEnd(tail: () => void): void {
    this.#tails.push(tail);
  }

  /**
   * Calls out with `callout` if an event is pending. The guest state is exact at `eip` before and behind. `alsoTestVif`: only
   * when VIF is set, too.
   */
  testPending(eip: number, callout: Callout, alsoTestVif: boolean): void {
    const quiet: number[] = [];
    this.exact(eip).storeSlot(Slot.ECX, Reg.ECX);
    if (alsoTestVif) {
      this.exact(eip).loadSlot(Reg.ECX, Slot.VIF);
      quiet.push(this.spilled(eip).jecxz());
      this.spilled(eip).loadSlot(Reg.ECX, Slot.PENDING);
    } else {
      this.exact(eip).loadSlot(Reg.ECX, Slot.PENDING);
    }
    quiet.push(this.spilled(eip).jecxz());
    this.spilled(eip).loadSlot(Reg.ECX, Slot.ECX);
    this.callout(eip, callout);
    const done = this.exact(eip).shortJump(0xeb);
    for (const from of quiet) this.emit.landShort(from);
    this.spilled(eip).loadSlot(Reg.ECX, Slot.ECX);
    this.emit.landShort(done);
  }

  /** `cutShort`: see `TuCode`. */
  finish(cutShort: boolean): TuCode {
    this.#shadow = false;
    for (const tail of this.#tails) tail();
    return {
      bytes: this.emit.take(),
      instructions: this.#instructions,
      points: this.#points,
      callouts: this.#callouts,
      continuations: this.#continuations,
      counterAt: this.#counterAt,
      cutShort,
    };
  }
}
