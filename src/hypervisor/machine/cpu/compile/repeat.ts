/**
 * The common case of REP MOVS and REP STOS (`strings.ts`), chunk by chunk with the same price and the same event points: upwards,
 * with 32-bit registers, between pages of RAM.
 *
 *     repeat(cpu, kind | size << 4, seg) -> `Repeated`
 */
import { DATA_PLACES } from '../../mmu/tlb.js';
import { CYCLES, FETCH_MACHINE, LIMIT, READABLE, TLB_AT } from '../layout.js';
import { Flag, S, Seg } from '../state.js';
import { Access } from './emit-memory.js';
import { ADDEND, placeOffset } from './emit-places.js';
import { STRETCH_CYCLES } from './slow-paths.js';
import { ThreadWords } from './thread-words.js';
import { type Local, Type, V, W } from './wasm-writer.js';

const CPU = 0;
/** Behind the three parameters. */
export const REPEAT_LOCALS: readonly Local[] = [
  { count: 13, type: Type.I32 },
  { count: 1, type: Type.V128 },
];

/** `memory.copy` and `memory.fill` are calls out of generated code: shorter strings are done without. */
const VECTOR_BYTES = 16;
/** Sizes of the pieces that a short string is copied with, and how many from each end: for up to twice as many bytes as these are. */
const PIECES = [
  { bytes: VECTOR_BYTES, count: 4 },
  { bytes: VECTOR_BYTES, count: 2 },
  { bytes: VECTOR_BYTES, count: 1 },
  { bytes: 8, count: 1 },
  { bytes: 4, count: 1 },
] as const;

/** What `repeat` answers. The registers and the clock are as of the last chunk that it did. */
export const Repeated = {
  /** The next chunk is for TypeScript. */
  REST: 0,
  /** The instruction is done. */
  DONE: 1,
  /** An event is due between two chunks. */
  EVENT: 2,
} as const;

/** Code of `repeat`, with `REPEAT_LOCALS`. `find`: index of that function of `runtime.ts`. */
export function repeatCode(find: number): Uint8Array {
  const words = new ThreadWords(1024);
  const { w } = words;
  const [PACKED, SEG, START, STEP] = [1, 2, 3, 4];
  const [SHIFT, COUNT, FROM, TO, LINE, N, BYTES, USER, WALKED, TAG, PAGE] = [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
  const FILLING = 16;
  const state = (word: number) => words.loadState(word);
  const restIf = () => words.answerIf(Repeated.REST);
  const isStore = () => {
    w.get(PACKED);
    words.and(15);
  };
  const spend = (value: () => void) => words.addToClock(CYCLES, value);
  /** Host address of the string at `register` into `into`; bytes left in its page bound N. `walk`: what is not at hand is looked for. */
  const locate = (register: number, segment: () => void, write: boolean, into: number, walk = true) => {
    // A whole page from here on must lie within the segment.
    state(register);
    w.i32(-4096);
    w.op(W.I32_GE_U);
    restIf();
    state(register);
    w.i32(4096);
    words.add();
    segment();
    words.left(2);
    w.get(CPU);
    words.add();
    w.memory(W.I32_LOAD, (READABLE + (write ? 8 : 0)) * 4, 2);
    w.op(W.I32_GT_U);
    restIf();
    state(register);
    segment();
    words.left(4);
    w.get(CPU);
    words.add();
    w.memory(W.I32_LOAD, (S.SEG + 1) * 4, 2);
    words.add();
    w.tee(into);
    placeOffset(w, DATA_PLACES);
    w.get(CPU);
    words.add();
    w.tee(LINE);
    w.get(USER);
    words.add();
    w.tee(TAG);
    w.memory(W.I32_LOAD, TLB_AT + (write ? 4 : 0), 2);
    w.get(into);
    words.and(-4096);
    w.tee(PAGE);
    w.op(W.I32_NE);
    if (walk) {
      w.if();
      w.get(CPU);
      state(register);
      segment();
      w.get(PACKED);
      words.and(0x70);
      words.or();
      w.i32(write ? Access.WRITE : 0);
      words.or();
      w.call(find);
      w.tee(into);
      w.op(W.I32_EQZ);
      restIf();
      if (write) {
        // `find` has looked at one element. Only a page with its tag holds no code that the others would be written over.
        w.get(TAG);
        w.memory(W.I32_LOAD, TLB_AT + 4, 2);
        w.get(PAGE);
        w.op(W.I32_NE);
        restIf();
      }
      w.i32(1);
      w.set(WALKED);
      w.else();
    } else {
      restIf();
    }
    w.get(into);
    w.get(LINE);
    w.memory(W.I32_LOAD, ADDEND, 2);
    words.add();
    w.set(into);
    if (walk) w.end();
    // N = min(N, (4096 - offset) >> shift)
    w.i32(4096);
    w.get(into);
    words.and(4095);
    w.op(W.I32_SUB);
    w.get(SHIFT);
    w.op(W.I32_SHR_U);
    w.tee(BYTES);
    w.get(N);
    w.get(BYTES);
    w.get(N);
    w.op(W.I32_LT_U);
    w.op(W.SELECT);
    w.set(N);
  };

  /** Pushes an address so many bytes from the beginning of a string, or (negative) from its end. */
  const within = (string: number, at: number) => {
    w.get(string);
    if (at < 0) {
      w.get(BYTES);
      words.add();
    }
    if (at === 0) return;
    w.i32(at);
    words.add();
  };
  /** BYTES from FROM to TO. Pieces from both ends, which may overlap in the middle, are all loaded before the first one is stored. */
  const copy = () => {
    const done = words.open();
    w.get(BYTES);
    w.i32(2 * PIECES[0].bytes * PIECES[0].count);
    w.op(W.I32_LE_U);
    words.if();
    for (const { bytes, count } of PIECES) {
      const places = Array.from({ length: count * 2 }, (_, i) => (i < count ? i : count - i - 1) * bytes);
      w.get(BYTES);
      w.i32(bytes * count);
      w.op(W.I32_GE_U);
      words.if();
      for (const at of places) {
        within(TO, at);
        within(FROM, at);
        if (bytes === VECTOR_BYTES) w.vector(V.LOAD, 0);
        else w.memory(bytes === 8 ? W.I64_LOAD : W.I32_LOAD, 0);
      }
      for (const _ of places) {
        if (bytes === VECTOR_BYTES) w.vector(V.STORE, 0);
        else w.memory(bytes === 8 ? W.I64_STORE : W.I32_STORE, 0);
      }
      words.br(done);
      words.end();
    }
    words.end();
    w.get(TO);
    w.get(FROM);
    w.get(BYTES);
    w.copyMemory();
    words.end();
  };
  /** Elements of EAX from TO to LINE, which is BYTES behind it. */
  const fill = () => {
    const done = words.open();
    w.get(SHIFT);
    w.op(W.I32_EQZ);
    words.if();
    w.get(TO);
    state(S.EAX);
    w.get(BYTES);
    w.fillMemory();
    words.br(done);
    words.end();
    w.get(SHIFT);
    w.i32(2);
    w.op(W.I32_EQ);
    words.if(Type.I32);
    state(S.EAX);
    words.else();
    state(S.EAX);
    words.and(0xffff);
    w.i32(0x10001);
    w.op(W.I32_MUL);
    words.end();
    w.tee(TAG);
    w.simd(V.SPLAT);
    w.set(FILLING);
    const advance = (bytes: () => void) => {
      w.get(TO);
      bytes();
      words.add();
      w.set(TO);
    };
    // Whole vectors, the last of which may overlap the one before: all elements are the same.
    w.get(BYTES);
    w.i32(VECTOR_BYTES);
    w.op(W.I32_GE_U);
    words.if();
    const vectors = words.openLoop();
    w.get(TO);
    w.get(FILLING);
    w.vector(V.STORE, 0);
    advance(() => w.i32(VECTOR_BYTES));
    w.get(TO);
    w.get(LINE);
    w.i32(VECTOR_BYTES);
    w.op(W.I32_SUB);
    w.op(W.I32_LE_U);
    words.brIf(vectors);
    words.end();
    w.get(LINE);
    w.i32(VECTOR_BYTES);
    w.op(W.I32_SUB);
    w.get(FILLING);
    w.vector(V.STORE, 0);
    words.br(done);
    words.end();
    const elements = words.openLoop();
    w.get(SHIFT);
    w.i32(2);
    w.op(W.I32_EQ);
    words.if();
    w.get(TO);
    w.get(TAG);
    w.memory(W.I32_STORE, 0);
    words.else();
    w.get(TO);
    w.get(TAG);
    w.memory(W.I32_STORE16, 0);
    words.end();
    advance(() => {
      w.i32(1);
      w.get(SHIFT);
      w.op(W.I32_SHL);
    });
    w.get(TO);
    w.get(LINE);
    w.op(W.I32_LT_U);
    words.brIf(elements);
    words.end();
    words.end();
  };

  for (const [price, local] of [
    ['stringStart', START],
    ['stringStep', STEP],
  ] as const) {
    words.price(price);
    w.op(W.I32_TRUNC_F64_U);
    w.set(local);
  }
  state(S.EFLAGS);
  words.and(Flag.DF);
  restIf();
  // 1, 2, 4 bytes: 0, 1, 2.
  w.get(PACKED);
  words.right(5);
  w.set(SHIFT);
  state(S.CPL);
  w.i32(3);
  w.op(W.I32_EQ);
  words.left(3);
  w.set(USER);
  state(S.ECX);
  w.tee(COUNT);
  w.op(W.I32_EQZ);
  w.if();
  spend(() => w.get(START));
  words.noteLimit(STRETCH_CYCLES);
  words.answer(Repeated.DONE);
  w.end();
  w.loop();
  w.get(COUNT);
  w.set(N);
  isStore();
  w.op(W.I32_EQZ);
  w.if();
  locate(S.ESI, () => w.get(SEG), false, FROM);
  w.end();
  w.i32(0);
  w.set(WALKED);
  locate(S.EDI, () => w.i32(Seg.ES), true, TO);
  // Perhaps over the instruction itself. Of code that is walked no line is known to hold any.
  w.get(TO);
  words.and(-4096);
  state(FETCH_MACHINE);
  w.op(W.I32_EQ);
  restIf();
  // The line that the destination got may have been the source's.
  isStore();
  w.get(WALKED);
  w.op(W.I32_LT_U);
  w.if();
  locate(S.ESI, () => w.get(SEG), false, FROM, false);
  w.end();
  // An element that straddles its page's end.
  w.get(N);
  w.op(W.I32_EQZ);
  restIf();
  w.get(N);
  w.get(SHIFT);
  w.op(W.I32_SHL);
  w.set(BYTES);
  isStore();
  w.if();
  w.get(TO);
  w.get(BYTES);
  words.add();
  w.set(LINE);
  fill();
  w.else();
  // What was just written would be read again: element by element, in TypeScript.
  w.get(TO);
  w.get(FROM);
  w.op(W.I32_SUB);
  w.i32(1);
  w.op(W.I32_SUB);
  w.get(BYTES);
  w.i32(1);
  w.op(W.I32_SUB);
  w.op(W.I32_LT_U);
  restIf();
  copy();
  words.storeState(S.ESI, () => {
    state(S.ESI);
    w.get(BYTES);
    words.add();
  });
  w.end();
  words.storeState(S.EDI, () => {
    state(S.EDI);
    w.get(BYTES);
    words.add();
  });
  spend(() => {
    w.get(N);
    w.get(STEP);
    w.op(W.I32_MUL);
    w.get(START);
    words.add();
  });
  w.get(COUNT);
  w.get(N);
  w.op(W.I32_SUB);
  w.set(COUNT);
  words.storeState(S.ECX, () => w.get(COUNT));
  words.noteLimit(STRETCH_CYCLES);
  w.get(COUNT);
  w.op(W.I32_EQZ);
  w.if();
  words.answer(Repeated.DONE);
  w.end();
  state(LIMIT);
  w.i32(0);
  w.op(W.I32_LE_S);
  w.if();
  words.answer(Repeated.EVENT);
  w.end();
  w.br(0);
  w.end();
  w.op(W.UNREACHABLE);
  return w.done();
}
