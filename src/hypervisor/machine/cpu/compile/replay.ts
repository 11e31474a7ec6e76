/**
 * What `transitions.ts` remembers, done again: three functions (`Replay`), for generated code and for TypeScript alike. Each first
 * compares everything that its record depends on, and answers 0 before it has changed anything.
 */
import {
  CYCLES,
  FETCH_PAGE,
  FETCH_SAFE,
  INSTRUCTIONS,
  LOAD_WORDS,
  LOADS,
  LOADS_AT,
  NO_PAGE,
  READABLE,
  RETURNS,
  RETURNS_AT,
  TRANSITION_WORDS,
  TRANSITIONS_AT,
  WRITABLE,
} from '../layout.js';
import { Attr, Flag, S, Seg, segAttr, segBase, segLimit, segSelector } from '../state.js';
import { DeliveryKey, LOAD_VALID, Load, Transition } from '../transitions.js';
import { DESCRIPTOR_MASK, ThreadWords, WORD_MASK } from './thread-words.js';
import { type FunctionBody, type FunctionType, Type, V, W } from './wasm-writer.js';

const CPU = 0;
const I = Type.I32;

const IRET_ANY_RING = Flag.TF | Flag.DF | Flag.NT | Flag.AC | Flag.ID | Flag.ARITHMETIC;
const IRET_RING0 = Flag.IOPL | Flag.VIF | Flag.VIP;
const READ = 0;
const WRITE = 1;
/** From a supervisor's tag to the user's. */
const USER_TAG = 2;

/** `Replay`'s functions in the order of their bodies, with their signatures. */
export const REPLAY_TYPES: readonly FunctionType[] = [
  { parameters: [I, I, I, I, I, I, I], results: [I] },
  { parameters: [I], results: [I] },
  { parameters: [I, I, I], results: [I] },
];
export const ReplayFunction = { DELIVER: 0, INTERRUPT_RETURN: 1, LOAD_SEGMENT: 2 } as const;

/** `types`: indices of the three signatures. */
export function replayFunctions(types: readonly number[]): readonly FunctionBody[] {
  return [deliver(types[0]!), interruptReturn(types[1]!), loadSegment(types[2]!)];
}

/** A function that works with a record. */
class RecordWords extends ThreadWords {
  constructor(
    /** Local with the address of the record, less `base`. */
    private readonly record: number,
    private readonly base: number,
    private readonly linear: number,
    private readonly host: number,
  ) {
    super(2048);
  }

  /** Pushes a word of the record. */
  recorded(word: number): void {
    this.loadAt(this.record, this.base + word * 4);
  }

  /** Pushes whether so many state words from `state` on differ from those of the record, as 0 or not. */
  differ(state: number, word: number, count: number): void {
    for (let i = 0; i < count; i++) {
      this.loadState(state + i);
      this.recorded(word + i);
      this.w.op(W.I32_XOR);
      if (i > 0) this.or();
    }
  }

  /** Answers 0 unless the descriptor at the recorded address is at hand and has the recorded words. */
  checkDescriptor(at: number, words: number): void {
    const { w } = this;
    this.recorded(at);
    w.set(this.linear);
    this.find(this.linear, DESCRIPTOR_MASK, this.host);
    this.checkWords(words);
  }

  /** Answers 0 unless the two words at the host address are the recorded ones. */
  checkWords(words: number): void {
    const { w } = this;
    for (const word of [0, 1]) {
      this.loadAt(this.host, word * 4);
      this.recorded(words + word);
      w.op(W.I32_XOR);
    }
    this.or();
    this.answerIf(0);
  }

  checkTables(): void {
    this.differ(S.GDT_BASE, Transition.TABLES, 2);
    this.answerIf(0);
  }

  /** State words from those of the record. */
  restore(state: number, word: number, count: number): void {
    for (let i = 0; i < count; i++) this.storeState(state + i, () => this.recorded(word + i));
  }

  /** The four words of a segment register. */
  restoreSegment(seg: number, word: number): void {
    const { w } = this;
    w.get(CPU);
    w.get(this.record);
    w.vector(V.LOAD, this.base + word * 4);
    w.vector(V.STORE, segSelector(seg) * 4);
  }

  restoreCode(): void {
    this.restoreSegment(Seg.CS, Transition.NEW_CS);
    this.restore(READABLE + Seg.CS, Transition.NEW_CS + 4, 1);
    this.restore(FETCH_SAFE, Transition.NEW_CS + 5, 1);
    this.storeState(FETCH_PAGE, () => this.w.i32(NO_PAGE));
  }

  restoreStack(): void {
    this.restoreSegment(Seg.SS, Transition.NEW_SS);
    this.restore(READABLE + Seg.SS, Transition.NEW_SS + 4, 1);
    this.restore(WRITABLE + Seg.SS, Transition.NEW_SS + 4, 1);
  }

  payCost(): void {
    this.advance(CYCLES, () => {
      this.w.get(this.record);
      this.w.memory(W.F64_LOAD, this.base + Transition.COST * 4, 3);
    });
  }

  /** Answers 0 unless `bytes` from `first` to `last` do not wrap and are below the limit that `limit` pushes. */
  checkRoom(first: () => void, last: () => void, limit: () => void): void {
    const { w } = this;
    first();
    last();
    w.op(W.I32_GT_U);
    last();
    limit();
    w.op(W.I32_GE_U);
    this.or();
    this.answerIf(0);
  }

  /** Answers 0 if words at `linear` and so many bytes behind it are of two pages. */
  checkOnePage(linear: number, bytes: () => void): void {
    const { w } = this;
    w.get(linear);
    w.get(linear);
    bytes();
    this.add();
    w.op(W.I32_XOR);
    this.and(-4096);
    this.answerIf(0);
  }
}

function deliver(type: number): FunctionBody {
  const [VECTOR, SOFTWARE, WITH_CODE, ERROR_CODE, RETURN_EIP, FLAGS] = [1, 2, 3, 4, 5, 6];
  const [RECORD, LINEAR, HOST, CPL, NEW_CPL, INNER, BYTES, BOTTOM, LIMIT, BASE] = [7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
  const f = new RecordWords(RECORD, TRANSITIONS_AT, LINEAR, HOST);
  const { w } = f;
  const into = (local: number, value: () => void) => {
    value();
    w.set(local);
  };
  w.get(VECTOR);
  w.i32(TRANSITION_WORDS * 4);
  w.op(W.I32_MUL);
  w.get(CPU);
  f.add();
  w.set(RECORD);
  f.loadState(S.CPL);
  w.tee(CPL);
  w.get(SOFTWARE);
  f.left(Math.log2(DeliveryKey.SOFTWARE));
  f.or();
  w.i32(DeliveryKey.VALID);
  f.or();
  f.recorded(Transition.KEY);
  w.op(W.I32_NE);
  f.isProtected(() => w.get(FLAGS));
  w.op(W.I32_EQZ);
  f.or();
  f.answerIf(0);
  f.differ(S.GDT_BASE, Transition.TABLES, 4);
  f.answerIf(0);
  f.checkDescriptor(Transition.GATE_AT, Transition.GATE);
  f.checkDescriptor(Transition.CODE_AT, Transition.CODE);
  f.recorded(Transition.NEW_CS);
  f.and(3);
  w.tee(NEW_CPL);
  w.get(CPL);
  w.op(W.I32_LT_U);
  w.tee(INNER);
  f.left(3);
  w.get(WITH_CODE);
  f.left(2);
  f.add();
  w.i32(12);
  f.add();
  w.set(BYTES);
  w.get(INNER);
  f.if();
  f.differ(segBase(Seg.TR), Transition.TASK, 3);
  f.answerIf(0);
  f.recorded(Transition.POINTER_AT);
  w.tee(LINEAR);
  f.and(4095);
  w.i32(4088);
  w.op(W.I32_GT_U);
  f.answerIf(0);
  f.find(LINEAR, WORD_MASK, HOST);
  f.loadAt(HOST, 0);
  f.recorded(Transition.POINTER);
  w.op(W.I32_XOR);
  w.get(HOST);
  w.memory(W.I32_LOAD16_U, 4, 1);
  f.recorded(Transition.POINTER + 1);
  w.op(W.I32_XOR);
  f.or();
  f.answerIf(0);
  f.checkDescriptor(Transition.STACK_AT, Transition.STACK);
  into(BASE, () => f.recorded(Transition.NEW_SS + 1));
  into(BOTTOM, () => f.recorded(Transition.POINTER));
  into(LIMIT, () => f.recorded(Transition.NEW_SS + 4));
  f.else();
  f.loadState(segAttr(Seg.SS));
  f.and(Attr.DB);
  w.op(W.I32_EQZ);
  f.answerIf(0);
  into(BASE, () => f.loadState(segBase(Seg.SS)));
  into(BOTTOM, () => f.loadState(S.ESP));
  into(LIMIT, () => f.loadState(WRITABLE + Seg.SS));
  f.end();
  w.get(BOTTOM);
  w.get(BYTES);
  w.op(W.I32_SUB);
  w.set(BOTTOM);
  // The frame: within the segment and within one page that may be written without further ado.
  const last = () => {
    w.get(BYTES);
    w.i32(4);
    w.op(W.I32_SUB);
  };
  f.checkRoom(
    () => w.get(BOTTOM),
    () => {
      w.get(BOTTOM);
      last();
      f.add();
    },
    () => w.get(LIMIT),
  );
  w.get(BASE);
  w.get(BOTTOM);
  f.add();
  w.set(LINEAR);
  f.checkOnePage(LINEAR, last);
  w.get(NEW_CPL);
  w.i32(3);
  w.op(W.I32_EQ);
  f.if();
  f.find(LINEAR, WORD_MASK, HOST, USER_TAG | WRITE);
  f.else();
  f.find(LINEAR, WORD_MASK, HOST, WRITE);
  f.end();

  w.get(WITH_CODE);
  f.if();
  f.storeAt(HOST, 0, () => w.get(ERROR_CODE));
  w.get(HOST);
  w.i32(4);
  f.add();
  w.set(HOST);
  f.end();
  f.storeAt(HOST, 0, () => w.get(RETURN_EIP));
  f.storeAt(HOST, 4, () => f.loadState(segSelector(Seg.CS)));
  f.storeAt(HOST, 8, () => w.get(FLAGS));
  w.get(INNER);
  f.if();
  f.storeAt(HOST, 12, () => f.loadState(S.ESP));
  f.storeAt(HOST, 16, () => f.loadState(segSelector(Seg.SS)));
  f.accountRing(LINEAR);
  f.storeState(S.CPL, () => w.get(NEW_CPL));
  f.restoreStack();
  f.end();
  f.restoreCode();
  f.storeState(S.ESP, () => w.get(BOTTOM));
  f.restore(S.EIP, Transition.TARGET, 1);
  f.storeState(S.EFLAGS, () => {
    f.loadState(S.EFLAGS);
    f.recorded(Transition.KEPT_FLAGS);
    w.op(W.I32_AND);
  });
  f.storeState(S.INTERRUPT_SHADOW, () => w.i32(0));
  f.updateShape(LINEAR, HOST);
  f.updatePoll();
  f.payCost();
  f.addToClock(INSTRUCTIONS, () => w.get(SOFTWARE));
  w.i32(1);
  return { type, locals: [{ count: BASE - FLAGS, type: I }], code: w.done() };
}

function interruptReturn(type: number): FunctionBody {
  const [RECORD, LINEAR, HOST, FRAME, SELECTOR, CPL, OUTER, FLAGS, MASK] = [1, 2, 3, 4, 5, 6, 7, 8, 9];
  const f = new RecordWords(RECORD, RETURNS_AT, LINEAR, HOST);
  const { w } = f;
  // With breakpoints RF counts, and only the long way knows how.
  f.loadState(S.DR7);
  f.and(0xff);
  f.loadState(S.EFLAGS);
  f.and(Flag.NT);
  f.or();
  f.isProtected();
  w.op(W.I32_EQZ);
  f.or();
  f.loadState(segAttr(Seg.SS));
  f.and(Attr.DB);
  w.op(W.I32_EQZ);
  f.or();
  f.answerIf(0);
  const within = (bytes: number) => {
    f.checkRoom(
      () => f.loadState(S.ESP),
      () => {
        f.loadState(S.ESP);
        w.i32(bytes);
        f.add();
      },
      () => f.loadState(READABLE + Seg.SS),
    );
    f.checkOnePage(LINEAR, () => w.i32(bytes));
  };
  f.loadState(S.ESP);
  f.loadState(segBase(Seg.SS));
  f.add();
  w.set(LINEAR);
  // The three words that every return pops; the other two below.
  within(8);
  f.loadState(S.CPL);
  w.tee(CPL);
  w.i32(3);
  w.op(W.I32_EQ);
  f.if();
  f.find(LINEAR, WORD_MASK, FRAME, USER_TAG | READ);
  f.else();
  f.find(LINEAR, WORD_MASK, FRAME, READ);
  f.end();
  w.get(FRAME);
  w.memory(W.I32_LOAD16_U, 4, 1);
  w.tee(SELECTOR);
  f.right(3);
  f.and(RETURNS - 1);
  w.i32(TRANSITION_WORDS * 4);
  w.op(W.I32_MUL);
  w.get(CPU);
  f.add();
  w.set(RECORD);
  // `returnKey`.
  w.get(SELECTOR);
  f.left(4);
  w.get(CPL);
  f.or();
  w.i32(4);
  f.or();
  f.recorded(Transition.KEY);
  w.op(W.I32_NE);
  f.loadAt(FRAME, 8);
  f.and(Flag.VM);
  f.or();
  f.loadAt(FRAME, 0);
  f.recorded(Transition.NEW_CS + 2);
  w.op(W.I32_GT_U);
  f.or();
  f.answerIf(0);
  f.checkTables();
  w.get(SELECTOR);
  f.and(3);
  w.get(CPL);
  w.op(W.I32_NE);
  w.tee(OUTER);
  f.if();
  within(16);
  w.get(FRAME);
  w.memory(W.I32_LOAD16_U, 16, 1);
  f.recorded(Transition.NEW_SS);
  w.op(W.I32_NE);
  f.answerIf(0);
  f.checkDescriptor(Transition.STACK_AT, Transition.STACK);
  f.end();
  f.checkDescriptor(Transition.CODE_AT, Transition.CODE);

  // IF for CPL <= IOPL, RF never: it matters to breakpoints alone.
  w.i32(IRET_ANY_RING | Flag.IF);
  w.i32(IRET_ANY_RING);
  w.get(CPL);
  f.loadState(S.EFLAGS);
  f.right(12);
  f.and(3);
  w.op(W.I32_LE_U);
  w.op(W.SELECT);
  w.i32(0);
  w.i32(IRET_RING0);
  w.get(CPL);
  w.op(W.SELECT);
  f.or();
  w.set(MASK);
  f.loadAt(FRAME, 8);
  w.get(MASK);
  w.op(W.I32_AND);
  f.loadState(S.EFLAGS);
  w.get(MASK);
  w.i32(Flag.RF);
  f.or();
  w.i32(-1);
  w.op(W.I32_XOR);
  w.op(W.I32_AND);
  f.or();
  w.set(FLAGS);
  f.storeState(S.EIP, () => f.loadAt(FRAME, 0));
  f.payCost();
  f.restoreCode();
  w.get(OUTER);
  f.if();
  f.accountRing(LINEAR);
  f.storeState(S.CPL, () => {
    w.get(SELECTOR);
    f.and(3);
  });
  f.restoreStack();
  f.storeState(S.ESP, () => f.loadAt(FRAME, 12));
  f.dropInnerSegments();
  f.else();
  f.storeState(S.ESP, () => {
    f.loadState(S.ESP);
    w.i32(12);
    f.add();
  });
  f.end();
  f.updateShape(LINEAR, HOST);
  f.writeEflags(FLAGS);
  w.i32(1);
  return { type, locals: [{ count: MASK, type: I }], code: w.done() };
}

function loadSegment(type: number): FunctionBody {
  const [SEG, SELECTOR, RECORD, LINEAR, HOST] = [1, 2, 3, 4, 5];
  const f = new RecordWords(RECORD, LOADS_AT, LINEAR, HOST);
  const { w } = f;
  /** Words of the segment register that are so many bytes (a power of two) apart from register to register. */
  const words = (values: readonly (readonly [index: number, value: () => void])[], shift: number) => {
    w.get(SEG);
    f.left(shift);
    w.get(CPU);
    f.add();
    w.set(LINEAR);
    for (const [index, value] of values) f.storeAt(LINEAR, index * 4, value);
  };
  const zero = () => w.i32(0);
  const selector = () => w.get(SELECTOR);
  const recorded = (word: number) => () => f.recorded(word);
  f.isProtected();
  w.op(W.I32_EQZ);
  f.answerIf(0);
  selector();
  f.and(0xfffc);
  w.op(W.I32_EQZ);
  f.if();
  words(
    [
      [segSelector(0), selector],
      [segBase(0), zero],
      [segLimit(0), zero],
      [segAttr(0), zero],
    ],
    4,
  );
  words(
    [
      [READABLE, zero],
      [WRITABLE, zero],
    ],
    2,
  );
  f.updateShape(LINEAR, HOST);
  f.answer(1);
  f.end();
  w.get(SELECTOR);
  f.right(3);
  f.and(LOADS - 1);
  f.left(Math.log2(LOAD_WORDS * 4));
  w.get(CPU);
  f.add();
  w.set(RECORD);
  w.get(SELECTOR);
  f.recorded(Load.SELECTOR);
  w.op(W.I32_NE);
  f.loadState(S.CPL);
  w.i32(LOAD_VALID);
  f.or();
  f.recorded(Load.KEY);
  w.op(W.I32_NE);
  f.or();
  w.get(SELECTOR);
  w.i32(7);
  f.or();
  f.loadState(S.GDT_LIMIT);
  w.op(W.I32_GT_U);
  f.or();
  f.answerIf(0);
  f.loadState(S.GDT_BASE);
  w.get(SELECTOR);
  f.and(-8);
  f.add();
  w.set(LINEAR);
  f.find(LINEAR, DESCRIPTOR_MASK, HOST);
  f.checkWords(Load.LOW);
  words(
    [
      [segSelector(0), selector],
      [segBase(0), recorded(Load.BASE)],
      [segLimit(0), recorded(Load.LIMIT)],
      [segAttr(0), recorded(Load.ATTR)],
    ],
    4,
  );
  words(
    [
      [READABLE, recorded(Load.READABLE)],
      [WRITABLE, recorded(Load.WRITABLE)],
    ],
    2,
  );
  f.updateShape(LINEAR, HOST);
  w.i32(1);
  return { type, locals: [{ count: HOST - SELECTOR, type: I }], code: w.done() };
}
