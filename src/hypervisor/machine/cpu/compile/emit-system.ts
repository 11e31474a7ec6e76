/**
 * `SYSTEM` ops that a region does by itself as a rule: loads of ES, DS, FS and GS, CLI and STI, RDTSC, and reads of control registers.
 * They touch little, and a call with the whole state in its words costs several times as much as what they do.
 *
 * What a helper of `system.ts` does in all other cases (faults, the shadow of STI, a descriptor that is not remembered) is left to it.
 */
import type { CostProfile } from '../../costs/profile.js';
import { Op } from '../ir.js';
import { CLOCK_AT, CYCLES, SHAPE, Shape, TIME_STAMP_OFFSET_AT } from '../layout.js';
import { Cr4, Flag, S, Seg } from '../state.js';
import { Repeat, StringKind } from '../strings.js';
import { helperNumber } from '../system.js';
import { type Frame, Helper, L, Leave } from './frame.js';
import { Repeated } from './repeat.js';
import { STRETCH_CYCLES } from './slow-paths.js';
import { ThreadWords } from './thread-words.js';
import { W } from './wasm-writer.js';

type CostName = keyof CostProfile['cycles'];

interface InlineSystem {
  readonly cost: CostName;
  /** Code for another `SHAPE` may have to go on. */
  readonly reshapes: boolean;
  /** May this op be done in line at all, in code for this `SHAPE`? */
  applies(code: Int32Array, at: number, shape: number): boolean;
  /** General registers (numbers) that it reads and writes. */
  registers(code: Int32Array, at: number): readonly number[];
  /** Branches to `general` before anything has changed, or does it. */
  emit(f: Frame, at: number, general: number, place: SystemPlace): void;
}

const always = (): boolean => true;
const none = (): readonly number[] => [];

const setInterrupts = (on: boolean): InlineSystem => ({
  cost: 'cliSti',
  reshapes: false,
  applies: always,
  registers: none,
  emit: (f, _at, general) => {
    const { w } = f;
    const flags = () => f.loadState(S.EFLAGS);
    f.loadState(S.CPL);
    flags();
    w.i32(12);
    w.op(W.I32_SHR_U);
    w.i32(3);
    w.op(W.I32_AND);
    w.op(W.I32_GT_U);
    f.brIf(general);
    if (on) {
      // Interrupts that are on already have no shadow, and nothing changes.
      flags();
      w.i32(Flag.IF);
      w.op(W.I32_AND);
      w.op(W.I32_EQZ);
      f.brIf(general);
      return;
    }
    f.storeState(S.EFLAGS, () => {
      flags();
      w.i32(~Flag.IF);
      w.op(W.I32_AND);
    });
    const thread = new ThreadWords(w);
    thread.updatePoll();
    // The clock is as of the last time that what was spent was added to it, and so is the limit.
    thread.noteLimit(STRETCH_CYCLES);
  },
});

const loadSegment: InlineSystem = {
  cost: 'segmentLoad',
  reshapes: true,
  applies: (code, at) => code[at + 2] !== Seg.SS && code[at + 5] === 0,
  registers: (code, at) => (code[at + 4] !== 0 ? [code[at + 3]!, S.ESP] : [code[at + 3]!]),
  emit: (f, at, general) => {
    const { w, code } = f;
    w.get(L.CPU);
    w.i32(code[at + 2]!);
    f.push(code[at + 3]!);
    w.i32(0xffff);
    w.op(W.I32_AND);
    f.call(Helper.LOAD_SEGMENT);
    w.op(W.I32_EQZ);
    f.brIf(general);
    if (code[at + 4] === 0) return;
    f.push(S.ESP);
    w.i32(code[at + 4]!);
    w.op(W.I32_ADD);
    f.pop(S.ESP);
  },
};

const readControl: InlineSystem = {
  cost: 'simple',
  reshapes: false,
  applies: (_code, _at, shape) => (shape & Shape.NON_ROOT) === 0,
  registers: (code, at) => [code[at + 3]!],
  emit: (f, at, general) => {
    const { code } = f;
    const control = code[at + 2]!;
    f.loadState(S.CPL);
    f.brIf(general);
    // There is no CR1.
    f.loadState(control === 0 ? S.CR0 : S.CR0 + control - 1);
    f.pop(code[at + 3]!);
  },
};

/** Where user code may be refused, and where the counter has wrapped, the helper looks. */
const readTimeStamp: InlineSystem = {
  cost: 'rdtsc',
  reshapes: false,
  applies: (_code, _at, shape) => (shape & Shape.NON_ROOT) === 0,
  registers: () => [S.EAX, S.EDX],
  emit: (f, _at, general, { cycles }) => {
    const { w } = f;
    f.loadState(S.CR4);
    w.i32(Cr4.TSD);
    w.op(W.I32_AND);
    f.brIf(general);
    w.get(L.CPU);
    w.memory(W.F64_LOAD, CLOCK_AT + CYCLES * 8, 3);
    w.get(L.SPENT);
    w.op(W.I32_WRAP_I64);
    w.i32(cycles);
    w.op(W.I32_ADD);
    w.op(W.F64_CONVERT_I32_U);
    w.op(W.F64_ADD);
    w.get(L.CPU);
    w.memory(W.F64_LOAD, TIME_STAMP_OFFSET_AT, 3);
    w.op(W.F64_ADD);
    w.truncateWide();
    w.tee(L.WIDE);
    w.i64(0, 0);
    w.op(W.I64_LT_S);
    f.brIf(general);
    w.get(L.WIDE);
    w.op(W.I32_WRAP_I64);
    f.pop(S.EAX);
    w.get(L.WIDE);
    w.i64(0, 32);
    w.op(W.I64_SHR_U);
    w.op(W.I32_WRAP_I64);
    f.pop(S.EDX);
  },
};

const INLINE = new Map<number, InlineSystem>([
  [helperNumber.loadSegment, loadSegment],
  [helperNumber.clearInterrupts, setInterrupts(false)],
  [helperNumber.setInterrupts, setInterrupts(true)],
  [helperNumber.readControl, readControl],
  [helperNumber.readTimeStamp, readTimeStamp],
]);

function inlineAt(code: Int32Array, at: number, shape: number): InlineSystem | undefined {
  if (code[at] !== Op.SYSTEM) return undefined;
  const inline = INLINE.get(code[at + 1]!);
  return inline?.applies(code, at, shape) ? inline : undefined;
}

/** Bit mask of the general registers that the op at `at` reads or writes where it is done in line, in code of any shape. */
export function inlineRegisters(code: Int32Array, at: number): number {
  let mask = 0;
  for (const word of inlineAt(code, at, 0)?.registers(code, at) ?? []) if (word < 8) mask |= 1 << word;
  return mask;
}

/** The block that the op ends, the page offset behind it, and what it is compiled for. */
export interface SystemPlace {
  readonly instructions: number;
  readonly cycles: number;
  readonly next: number;
  readonly shape: number;
}

/**
 * Emits the op at `at` in line, if it is one of these: time and instructions of its block are spent, the event point behind it is the
 * caller's. Answers the depth of a block that is left where it is done, with the flags' kind in its local; the general way
 * follows. 0 if there is only that.
 */
export function emitInlineSystem(f: Frame, at: number, place: SystemPlace, costs: CostProfile['cycles']): number {
  const inline = inlineAt(f.code, at, place.shape);
  if (inline === undefined) return 0;
  const done = f.open();
  const general = f.open();
  inline.emit(f, at, general, place);
  f.spend(place.instructions, place.cycles + costs[inline.cost]);
  f.settleKind();
  if (inline.reshapes) {
    f.loadState(SHAPE);
    f.w.i32(place.shape);
    f.w.op(W.I32_NE);
    f.if();
    f.leaveAt(place.next, 0, 0, Leave.EVENT);
    f.end();
  }
  f.br(done);
  f.end();
  return done;
}

/** REP MOVS or REP STOS with 32-bit addresses, as `packed` of `repeatString` says? */
function isPlainRepeat(packed: number): boolean {
  return (packed & 15) <= StringKind.STOS && packed >> 8 === Repeat.REP;
}

/**
 * Tries REP MOVS and REP STOS where everything is in the state words already: a string is often so short that the way through
 * `events.ts` costs as much. Answers the depth of a block that is left where it is done; the helper's call, which
 * does what is left of it, follows. 0 if the op is another one.
 */
export function emitRepeat(f: Frame, at: number): number {
  const { w, code } = f;
  const packed = code[at + 2]!;
  if (code[at + 1] !== helperNumber.string || !isPlainRepeat(packed)) return 0;
  const done = f.open();
  w.get(L.CPU);
  w.i32(packed & 0xff);
  w.i32(code[at + 3]!);
  f.call(Helper.REPEAT);
  w.tee(L.CODE);
  w.i32(Repeated.DONE);
  w.op(W.I32_EQ);
  f.if();
  f.spend(1, 0);
  f.br(done);
  f.end();
  w.get(L.CODE);
  w.i32(Repeated.EVENT);
  w.op(W.I32_EQ);
  f.if();
  w.i32(Leave.EVENT);
  w.op(W.RETURN);
  f.end();
  return done;
}
