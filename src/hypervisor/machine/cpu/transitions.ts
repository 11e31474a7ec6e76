/**
 * Deliveries, interrupt returns and loads of segment registers that went well, remembered: the same event, return or load again is a
 * comparison of the words that decided it instead of their interpretation (SDM vol. 3, chapters 5 and 6, stays in
 * `exceptions.ts`, `far.ts` and `segments.ts`, which note what they have done here).
 *
 * A record holds the words of gate, descriptors and task state as they were read, the table registers that led to them, and
 * the segment registers that came of it. It applies if all of these are equal now, every word is found by a data-TLB tag (so
 * nothing is walked, charged or marked), and the frame lies in one page with the right tag. Whatever is different takes the
 * long way from its start, which costs time of ours and nothing else: both ways leave the same state, time and counters.
 *
 * Records are in linear memory, beside the thread's state: `compile/replay.ts` is who applies them.
 */
import type { MachineMemory } from '../memory.js';
import type { Core } from './core.js';
import {
  DELIVERIES,
  FETCH_SAFE,
  LOAD_WORDS,
  LOADS,
  LOADS_AT,
  READABLE,
  RETURNS,
  TRANSITION_WORDS,
  TRANSITIONS_AT,
  WRITABLE,
} from './layout.js';
import { Attr, Flag, S, Seg, segAttr, segBase, segLimit, segSelector } from './state.js';

/** Words of a record of a delivery or return. A delivery uses all; a return has no gate and no task state. */
export const Transition = {
  /** 0 while there is nothing. */
  KEY: 0,
  /** Base and limit of GDT and IDT, in the order of their state words. */
  TABLES: 1,
  /** TR base, limit, attributes. */
  TASK: 5,
  GATE_AT: 8,
  GATE: 9,
  CODE_AT: 11,
  CODE: 12,
  /** Stack pointer and selector in the task state. */
  POINTER_AT: 14,
  POINTER: 15,
  STACK_AT: 17,
  STACK: 18,
  /** The four words of a segment register, then its `READABLE` word and `FETCH_SAFE`. */
  NEW_CS: 20,
  /** The four words, then `READABLE`, which is `WRITABLE` too. */
  NEW_SS: 26,
  TARGET: 31,
  /** A double: cycles. */
  COST: 32,
  /** What is left of EFLAGS behind a delivery. */
  KEPT_FLAGS: 34,
} as const;

/** Words of a record of a load: the last two are those of the register in `READABLE` and `WRITABLE`. */
export const Load = {
  KEY: 0,
  SELECTOR: 1,
  LOW: 2,
  HIGH: 3,
  BASE: 4,
  LIMIT: 5,
  ATTR: 6,
  READABLE: 7,
  WRITABLE: 8,
} as const;

/** Bits of a delivery's key beside the CPL before. */
export const DeliveryKey = { VALID: 4, SOFTWARE: 8 } as const;
export const LOAD_VALID = 0x100;

export const returnKey = (cpl: number, selector: number): number => (selector << 4) | 4 | cpl;

const CS = segSelector(Seg.CS);
const SS = segSelector(Seg.SS);
const CLEARED = Flag.TF | Flag.NT | Flag.RF | Flag.VM;

/** What generated code does with the records. Each answers 1, or 0 with nothing changed if the long way must be gone. */
export interface Replay {
  /** Delivers `vector`; `flags` is the image to push. Counts the instruction of a software interrupt, and no event. */
  deliver(
    cpu: number,
    vector: number,
    software: number,
    withCode: number,
    errorCode: number,
    returnEip: number,
    flags: number,
  ): number;
  /** IRET with 32-bit operands; EIP is where it leads. */
  interruptReturn(cpu: number): number;
  /** A load of ES, DS, FS or GS. */
  loadSegment(cpu: number, seg: number, selector: number): number;
}

/** What the long way knows when it has delivered or returned. Words are as in memory afterwards, accessed bits set. */
export class Transitions {
  /** Of the event or return in progress. */
  readonly code = { low: 0, high: 0, at: 0 };
  readonly stack = { low: 0, high: 0, at: 0 };
  readonly gate = { low: 0, high: 0, at: 0 };
  /** Stack of an inner ring, from the task state, and where it was read. */
  pointer = 0;
  pointerSelector = 0;
  pointerAt = 0;
  /** The event or transfer in progress has switched to another task: a fault from now on is of that task. */
  switched = false;

  readonly words: Int32Array;
  readonly #costs: Float64Array;
  readonly #loads: Int32Array;

  /** `at`: machine address of the thread's state words. */
  constructor(memory: MachineMemory, at: number) {
    const { buffer } = memory.wasm;
    const words = (DELIVERIES + RETURNS) * TRANSITION_WORDS;
    this.words = new Int32Array(buffer, at + TRANSITIONS_AT, words);
    this.#costs = new Float64Array(buffer, at + TRANSITIONS_AT, words / 2);
    this.#loads = new Int32Array(buffer, at + LOADS_AT, LOADS * LOAD_WORDS);
  }

  /** Notes a delivery through a 32-bit gate; `cpl` was the CPL before, `inner` says whether the stack was switched. */
  noteDelivery(s: Int32Array, vector: number, software: boolean, cpl: number, inner: boolean, cost: number): void {
    const { gate, words } = this;
    const at = vector * TRANSITION_WORDS;
    words[at] = 0;
    if ((gate.high & 0x800) === 0 || !this.#note(s, at, inner, cost)) return;
    if (inner && (s[segAttr(Seg.TR)]! & 8) === 0) return;
    words[at + Transition.TASK] = s[segBase(Seg.TR)]!;
    words[at + Transition.TASK + 1] = s[segLimit(Seg.TR)]!;
    words[at + Transition.TASK + 2] = s[segAttr(Seg.TR)]!;
    words[at + Transition.GATE_AT] = gate.at;
    words[at + Transition.GATE] = gate.low;
    words[at + Transition.GATE + 1] = gate.high;
    words[at + Transition.POINTER_AT] = this.pointerAt;
    words[at + Transition.POINTER] = this.pointer;
    words[at + Transition.POINTER + 1] = this.pointerSelector;
    words[at + Transition.TARGET] = s[S.EIP]!;
    words[at + Transition.KEPT_FLAGS] = ~((gate.high & 0x100) === 0 ? CLEARED | Flag.IF : CLEARED);
    words[at] = DeliveryKey.VALID | cpl | (software ? DeliveryKey.SOFTWARE : 0);
  }

  /** Notes a return with 32-bit operands that popped `selector`; to an outer ring also the stack was popped. */
  noteReturn(s: Int32Array, selector: number, cpl: number, outer: boolean, cost: number): void {
    const at = (DELIVERIES + ((selector >>> 3) & (RETURNS - 1))) * TRANSITION_WORDS;
    const { words } = this;
    words[at] = 0;
    if (this.#note(s, at, outer, cost)) words[at] = returnKey(cpl, selector);
  }

  /** Notes a load from the GDT into ES, DS, FS or GS. */
  noteLoad(s: Int32Array, seg: number, low: number, high: number): void {
    const loads = this.#loads;
    const selector = s[segSelector(seg)]!;
    const at = ((selector >>> 3) & (LOADS - 1)) * LOAD_WORDS;
    loads[at + Load.KEY] = LOAD_VALID | s[S.CPL]!;
    loads[at + Load.SELECTOR] = selector;
    loads[at + Load.LOW] = low;
    loads[at + Load.HIGH] = high;
    loads[at + Load.BASE] = s[segBase(seg)]!;
    loads[at + Load.LIMIT] = s[segLimit(seg)]!;
    loads[at + Load.ATTR] = s[segAttr(seg)]!;
    loads[at + Load.READABLE] = s[READABLE + seg]!;
    loads[at + Load.WRITABLE] = s[WRITABLE + seg]!;
  }

  /** The common part. False for what is not remembered: descriptors of an LDT, narrow stacks. */
  #note(s: Int32Array, at: number, stacked: boolean, cost: number): boolean {
    const { code, stack, words } = this;
    if ((s[CS]! & 4) !== 0) return false;
    if (stacked && ((s[SS]! & 4) !== 0 || (s[segAttr(Seg.SS)]! & Attr.DB) === 0)) return false;
    for (let i = 0; i < 4; i++) {
      words[at + Transition.TABLES + i] = s[S.GDT_BASE + i]!;
      words[at + Transition.NEW_CS + i] = s[CS + i]!;
      words[at + Transition.NEW_SS + i] = s[SS + i]!;
    }
    words[at + Transition.CODE_AT] = code.at;
    words[at + Transition.CODE] = code.low;
    words[at + Transition.CODE + 1] = code.high;
    words[at + Transition.STACK_AT] = stack.at;
    words[at + Transition.STACK] = stack.low;
    words[at + Transition.STACK + 1] = stack.high;
    words[at + Transition.NEW_CS + 4] = s[READABLE + Seg.CS]!;
    words[at + Transition.NEW_CS + 5] = s[FETCH_SAFE]!;
    words[at + Transition.NEW_SS + 4] = s[WRITABLE + Seg.SS]!;
    this.#costs[(at + Transition.COST) / 2] = cost;
    return true;
  }
}

/** Delivers `vector` as it was delivered before, if nothing that decided it has changed; `flags` is the image to push. */
export function deliverAgain(
  cpu: Core,
  vector: number,
  software: boolean,
  withCode: boolean,
  errorCode: number,
  returnEip: number,
  flags: number,
): boolean {
  const { replay, s } = cpu;
  if (replay === null) return false;
  return replay.deliver(s.byteOffset, vector, software ? 1 : 0, withCode ? 1 : 0, errorCode, returnEip, flags) !== 0;
}

/** Returns from an interrupt with 32-bit operands as before, if nothing has changed: `nextEip` is set. */
export function returnAgain(cpu: Core): boolean {
  const { replay, s } = cpu;
  if (replay === null || replay.interruptReturn(s.byteOffset) === 0) return false;
  cpu.nextEip = s[S.EIP]!;
  return true;
}

/** Loads ES, DS, FS or GS as before, if nothing has changed. */
export function loadAgain(cpu: Core, seg: number, selector: number): boolean {
  return cpu.replay !== null && cpu.replay.loadSegment(cpu.s.byteOffset, seg, selector) !== 0;
}
