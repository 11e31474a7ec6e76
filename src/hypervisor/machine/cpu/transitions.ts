/**
 * Deliveries and interrupt returns that went well, remembered: the same event or the same return again is a comparison of the
 * words that decided it instead of their interpretation (SDM vol. 3, chapters 5 and 6, stays in `exceptions.ts` and `far.ts`).
 *
 * A record holds the words of gate, descriptors and task state as they were read, the table registers that led to them, and
 * the segment registers that came of it. It applies if all of these are equal now, every word is found by a data-TLB tag (so
 * nothing is walked, charged or marked), and the frame lies in one page with the right tag. Whatever is different takes the
 * long way from its start, which costs time of ours and nothing else: both ways leave the same state, time and counters.
 */
import type { Core } from './core.js';
import { CYCLES, FETCH_PAGE, FETCH_SAFE, INSTRUCTIONS, NO_PAGE, READABLE, WRITABLE } from './layout.js';
import { dropInnerSegments } from './segments.js';
import { Attr, Cr0, Flag, S, Seg, segAttr, segBase, segLimit, segSelector } from './state.js';

// A module's own constants cost nothing; see core.ts.
const { CPL, EIP, ESP, EFLAGS, CR0, INTERRUPT_SHADOW, GDT_BASE, GDT_LIMIT, IDT_BASE, IDT_LIMIT } = S;
const CS = segSelector(Seg.CS);
const SS = segSelector(Seg.SS);
const SS_BASE = segBase(Seg.SS);
const SS_ATTR = segAttr(Seg.SS);
const [TR_BASE, TR_LIMIT, TR_ATTR] = [segBase(Seg.TR), segLimit(Seg.TR), segAttr(Seg.TR)];
const [READ_CS, READ_SS, WRITE_SS] = [READABLE + Seg.CS, READABLE + Seg.SS, WRITABLE + Seg.SS];
const [AT_CYCLES, AT_INSTRUCTIONS, AT_FETCH_PAGE, AT_FETCH_SAFE] = [CYCLES, INSTRUCTIONS, FETCH_PAGE, FETCH_SAFE];
const { NT, VM, IF, RF } = Flag;
const { DB } = Attr;
const { PE } = Cr0;
const CLEARED = Flag.TF | Flag.NT | Flag.RF | Flag.VM;
const IRET_ANY_RING = Flag.TF | Flag.DF | Flag.NT | Flag.RF | Flag.AC | Flag.ID | Flag.ARITHMETIC;
const IRET_RING0 = Flag.IOPL | Flag.VIF | Flag.VIP;

/** Equal to a page's tag only if a word, or a whole descriptor, is aligned. */
const WORD_MASK = -4096 | 3;
const DESCRIPTOR_MASK = -4096 | 7;

// Words of a record. A delivery uses all; a return has no gate and no task state.
const KEY = 0;
const TABLES = 1; // IDT base and limit, GDT base and limit
const TASK = 5; // TR base, limit, attributes
const GATE_AT = 8;
const GATE = 9;
const CODE_AT = 11;
const CODE = 12;
const POINTER_AT = 14; // stack pointer and selector in the task state
const POINTER = 15;
const STACK_AT = 17;
const STACK = 18;
const NEW_CS = 20; // four words, then its READABLE word and FETCH_SAFE
const NEW_SS = 26; // four words, then its READABLE word, which is its WRITABLE word too
const TARGET = 31;
const RECORD = 32;

const RETURNS = 16;

/** A key is never 0. */
const deliveryKey = (cpl: number, software: boolean): number => 4 | cpl | (software ? 8 : 0);
const returnKey = (cpl: number, selector: number): number => (selector << 4) | 4 | cpl;
const returnRecord = (selector: number): number => (256 + ((selector >>> 3) & (RETURNS - 1))) * RECORD;

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

  readonly words = new Int32Array((256 + RETURNS) * RECORD);
  readonly costs = new Float64Array(256 + RETURNS);

  /** Notes a delivery through a 32-bit gate; `cpl` was the CPL before, `inner` says whether the stack was switched. */
  noteDelivery(s: Int32Array, vector: number, software: boolean, cpl: number, inner: boolean, cost: number): void {
    const { words, gate } = this;
    const at = vector * RECORD;
    words[at] = 0;
    if ((gate.high & 0x800) === 0 || !this.#note(s, at, inner)) return;
    if (inner && (s[TR_ATTR]! & 8) === 0) return;
    words[at + TASK] = s[TR_BASE]!;
    words[at + TASK + 1] = s[TR_LIMIT]!;
    words[at + TASK + 2] = s[TR_ATTR]!;
    words[at + GATE_AT] = gate.at;
    words[at + GATE] = gate.low;
    words[at + GATE + 1] = gate.high;
    words[at + POINTER_AT] = this.pointerAt;
    words[at + POINTER] = this.pointer;
    words[at + POINTER + 1] = this.pointerSelector;
    words[at + TARGET] = s[EIP]!;
    this.costs[vector] = cost;
    words[at] = deliveryKey(cpl, software);
  }

  /** Notes a return with 32-bit operands that popped `selector`; to an outer ring also the stack was popped. */
  noteReturn(s: Int32Array, selector: number, cpl: number, outer: boolean, cost: number): void {
    const at = returnRecord(selector);
    this.words[at] = 0;
    if (!this.#note(s, at, outer)) return;
    this.costs[at / RECORD] = cost;
    this.words[at] = returnKey(cpl, selector);
  }

  /** The common part. False for what is not remembered: descriptors of an LDT, narrow stacks. */
  #note(s: Int32Array, at: number, stacked: boolean): boolean {
    const { words, code, stack } = this;
    if ((s[CS]! & 4) !== 0) return false;
    if (stacked && ((s[SS]! & 4) !== 0 || (s[SS_ATTR]! & DB) === 0)) return false;
    words[at + TABLES] = s[IDT_BASE]!;
    words[at + TABLES + 1] = s[IDT_LIMIT]!;
    words[at + TABLES + 2] = s[GDT_BASE]!;
    words[at + TABLES + 3] = s[GDT_LIMIT]!;
    words[at + CODE_AT] = code.at;
    words[at + CODE] = code.low;
    words[at + CODE + 1] = code.high;
    words[at + STACK_AT] = stack.at;
    words[at + STACK] = stack.low;
    words[at + STACK + 1] = stack.high;
    for (let i = 0; i < 4; i++) {
      words[at + NEW_CS + i] = s[CS + i]!;
      words[at + NEW_SS + i] = s[SS + i]!;
    }
    words[at + NEW_CS + 4] = s[READ_CS]!;
    words[at + NEW_CS + 5] = s[AT_FETCH_SAFE]!;
    words[at + NEW_SS + 4] = s[WRITE_SS]!;
    return true;
  }
}

/** Index into the 32-bit view of memory of a supervisor read that hits; `mask` says what is read. -1 for a miss. */
function hit(cpu: Core, linear: number, mask: number): number {
  const data = cpu.tlb.data;
  const line = ((linear >>> 12) & 4095) << 3;
  if (data[line] !== (linear & mask)) {
    if (!cpu.tlb.bringDataHome(line, linear & -4096) || data[line] !== (linear & mask)) return -1;
  }
  return (linear + data[line + 4]!) >>> 2;
}

function loadCode(s: Int32Array, words: Int32Array, at: number): void {
  s[CS] = words[at + NEW_CS]!;
  s[CS + 1] = words[at + NEW_CS + 1]!;
  s[CS + 2] = words[at + NEW_CS + 2]!;
  s[CS + 3] = words[at + NEW_CS + 3]!;
  s[READ_CS] = words[at + NEW_CS + 4]!;
  s[AT_FETCH_SAFE] = words[at + NEW_CS + 5]!;
  s[AT_FETCH_PAGE] = NO_PAGE;
}

function loadStack(s: Int32Array, words: Int32Array, at: number): void {
  s[SS] = words[at + NEW_SS]!;
  s[SS + 1] = words[at + NEW_SS + 1]!;
  s[SS + 2] = words[at + NEW_SS + 2]!;
  s[SS + 3] = words[at + NEW_SS + 3]!;
  s[READ_SS] = words[at + NEW_SS + 4]!;
  s[WRITE_SS] = words[at + NEW_SS + 4]!;
}

/**
 * Delivers `vector` as it was delivered before. False, with nothing changed, if the long way must be gone. `acknowledge` is added
 * to the price; `flags` is the image to push.
 */
export function deliverAgain(
  cpu: Core,
  vector: number,
  software: boolean,
  withCode: boolean,
  errorCode: number,
  returnEip: number,
  flags: number,
  acknowledge: number,
): boolean {
  const s = cpu.s;
  const words = cpu.transitions.words;
  const at = vector * RECORD;
  const cpl = s[CPL]!;
  if (words[at + KEY] !== deliveryKey(cpl, software)) return false;
  if ((s[CR0]! & PE) === 0 || (flags & VM) !== 0) return false;
  if (s[IDT_BASE] !== words[at + TABLES] || s[IDT_LIMIT] !== words[at + TABLES + 1]) return false;
  if (s[GDT_BASE] !== words[at + TABLES + 2] || s[GDT_LIMIT] !== words[at + TABLES + 3]) return false;
  const i32 = cpu.memory.i32;
  let word = hit(cpu, words[at + GATE_AT]!, DESCRIPTOR_MASK);
  if (word < 0 || i32[word] !== words[at + GATE] || i32[word + 1] !== words[at + GATE + 1]) return false;
  word = hit(cpu, words[at + CODE_AT]!, DESCRIPTOR_MASK);
  if (word < 0 || i32[word] !== words[at + CODE] || i32[word + 1] !== words[at + CODE + 1]) return false;
  const newCpl = words[at + NEW_CS]! & 3;
  const inner = newCpl < cpl;
  const bytes = (inner ? 20 : 12) + (withCode ? 4 : 0);
  let base: number;
  let bottom: number;
  if (inner) {
    if (s[TR_BASE] !== words[at + TASK] || s[TR_LIMIT] !== words[at + TASK + 1]) return false;
    if (s[TR_ATTR] !== words[at + TASK + 2]) return false;
    const pointerAt = words[at + POINTER_AT]!;
    if ((pointerAt & 4095) > 4088) return false;
    word = hit(cpu, pointerAt, WORD_MASK);
    if (word < 0 || i32[word] !== words[at + POINTER]) return false;
    if ((i32[word + 1]! & 0xffff) !== words[at + POINTER + 1]) return false;
    word = hit(cpu, words[at + STACK_AT]!, DESCRIPTOR_MASK);
    if (word < 0 || i32[word] !== words[at + STACK] || i32[word + 1] !== words[at + STACK + 1]) return false;
    base = words[at + NEW_SS + 1]!;
    bottom = (words[at + POINTER]! - bytes) | 0;
  } else {
    if ((s[SS_ATTR]! & DB) === 0) return false;
    base = s[SS_BASE]!;
    bottom = (s[ESP]! - bytes) | 0;
  }
  // The frame: within the segment and within one page that may be written without further ado.
  const writable = inner ? words[at + NEW_SS + 4]! : s[WRITE_SS]!;
  const last = (bottom + bytes - 4) | 0;
  if (bottom >>> 0 > last >>> 0 || last >>> 0 >= writable >>> 0) return false;
  const linear = (base + bottom) | 0;
  if (((linear ^ (linear + bytes - 4)) & -4096) !== 0) return false;
  const data = cpu.tlb.data;
  const line = ((linear >>> 12) & 4095) << 3;
  const tag = newCpl === 3 ? line + 3 : line + 1;
  if (data[tag] !== (linear & WORD_MASK)) {
    if (!cpu.tlb.bringDataHome(line, linear & -4096) || data[tag] !== (linear & WORD_MASK)) return false;
  }
  word = (linear + data[line + 4]!) >>> 2;
  if (withCode) {
    i32[word] = errorCode;
    word += 1;
  }
  i32[word] = returnEip;
  i32[word + 1] = s[CS]!;
  i32[word + 2] = flags;
  if (inner) {
    i32[word + 3] = s[ESP]!;
    i32[word + 4] = s[SS]!;
    cpu.accountRing();
    s[CPL] = newCpl;
    loadStack(s, words, at);
  }
  loadCode(s, words, at);
  s[ESP] = bottom;
  s[EIP] = words[at + TARGET]!;
  s[EFLAGS] = s[EFLAGS]! & ~((words[at + GATE + 1]! & 0x100) === 0 ? CLEARED | IF : CLEARED);
  s[INTERRUPT_SHADOW] = 0;
  cpu.updateShape();
  cpu.updatePoll();
  const clock = cpu.clock;
  clock[AT_CYCLES]! += cpu.transitions.costs[vector]! + acknowledge;
  if (software) clock[AT_INSTRUCTIONS]! += 1;
  return true;
}

/** Returns from an interrupt with 32-bit operands as before: `nextEip` is set. False, with nothing changed, if the long way must be gone. */
export function returnAgain(cpu: Core): boolean {
  const s = cpu.s;
  const esp = s[ESP]!;
  const cpl = s[CPL]!;
  if ((s[EFLAGS]! & (NT | VM)) !== 0 || (s[SS_ATTR]! & DB) === 0 || (s[CR0]! & PE) === 0) return false;
  // The three words that every return pops; the other two below.
  const end = (esp + 8) | 0;
  if (esp >>> 0 > end >>> 0 || end >>> 0 >= s[READ_SS]! >>> 0) return false;
  const linear = (esp + s[SS_BASE]!) | 0;
  if (((linear ^ (linear + 8)) & -4096) !== 0) return false;
  const data = cpu.tlb.data;
  const line = ((linear >>> 12) & 4095) << 3;
  const tag = cpl === 3 ? line + 2 : line;
  if (data[tag] !== (linear & WORD_MASK)) {
    if (!cpu.tlb.bringDataHome(line, linear & -4096) || data[tag] !== (linear & WORD_MASK)) return false;
  }
  const i32 = cpu.memory.i32;
  const frame = (linear + data[line + 4]!) >>> 2;
  const selector = i32[frame + 1]! & 0xffff;
  const words = cpu.transitions.words;
  const at = returnRecord(selector);
  if (words[at] !== returnKey(cpl, selector)) return false;
  if (s[GDT_BASE] !== words[at + TABLES + 2] || s[GDT_LIMIT] !== words[at + TABLES + 3]) return false;
  const eip = i32[frame]!;
  const image = i32[frame + 2]!;
  if ((image & VM) !== 0 || eip >>> 0 > words[at + NEW_CS + 2]! >>> 0) return false;
  let word = hit(cpu, words[at + CODE_AT]!, DESCRIPTOR_MASK);
  if (word < 0 || i32[word] !== words[at + CODE] || i32[word + 1] !== words[at + CODE + 1]) return false;
  const outer = (selector & 3) !== cpl;
  if (outer) {
    const outerEnd = (esp + 16) | 0;
    if (esp >>> 0 > outerEnd >>> 0 || outerEnd >>> 0 >= s[READ_SS]! >>> 0) return false;
    if (((linear ^ (linear + 16)) & -4096) !== 0) return false;
    if ((i32[frame + 4]! & 0xffff) !== words[at + NEW_SS]) return false;
    word = hit(cpu, words[at + STACK_AT]!, DESCRIPTOR_MASK);
    if (word < 0 || i32[word] !== words[at + STACK] || i32[word + 1] !== words[at + STACK + 1]) return false;
  }
  const iopl = (s[EFLAGS]! >>> 12) & 3;
  const mask = IRET_ANY_RING | (cpl <= iopl ? IF : 0) | (cpl === 0 ? IRET_RING0 : 0);
  let flags = (image & mask) | (s[EFLAGS]! & ~mask);
  if (!cpu.breakpoints.active) flags &= ~RF;
  cpu.clock[AT_CYCLES]! += cpu.transitions.costs[at / RECORD]!;
  loadCode(s, words, at);
  if (outer) {
    const newEsp = i32[frame + 3]!;
    cpu.accountRing();
    s[CPL] = selector & 3;
    loadStack(s, words, at);
    s[ESP] = newEsp;
    dropInnerSegments(cpu);
  } else {
    s[ESP] = (esp + 12) | 0;
  }
  cpu.updateShape();
  cpu.nextEip = eip;
  cpu.writeEflags(flags);
  return true;
}
