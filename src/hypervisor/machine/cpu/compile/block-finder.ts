/**
 * Finds the block at a machine address, and decodes it there and then if all its instructions have templates. In WebAssembly: cold
 * code is one short block after the other, and a block costs no more than the bytes of its ops this way.
 *
 *     provide(machine, mode) -> machine address of its header, or 0: `decode.ts` has to do it
 *     match(at, end, root) -> machine address of the template of the instruction there; 0 not known, -1 not all there
 *     fill(template, at, delta, to) -> end of the ops written to `to`
 *     enlist(header, fresh): a block was decoded, whose header says what it is; into a place of its own for the first time if `fresh`
 */
import { CODE_LINE_SHIFT, type MachineMemory } from '../../memory.js';
import {
  BLOCK_BYTES_MAX,
  type CacheLayout,
  Header,
  INSTRUCTIONS_MAX,
  MARK_WORDS,
  Mail,
  Mode,
  PAGE_WORDS,
  RETIRED,
  SLOTS,
} from '../cache-layout.js';
import { OP_WORDS, Op } from '../ir.js';
import { Field, From, Kind, PATCH_WORDS, WINDOW_BYTES } from '../template-layout.js';
import { ANY_MEMORY, Nest } from './nest.js';
import { assembleModule, Type, W, type WasmWriter } from './wasm-writer.js';

const I = Type.I32;
const TYPES = [
  { parameters: [I, I], results: [I] },
  { parameters: [I, I, I], results: [I] },
  { parameters: [I, I, I, I], results: [I] },
  { parameters: [I, I], results: [] },
  { parameters: [I], results: [] },
] as const;
/** Imported globals: executions before which a block is decoded in passing. */
const GLOBALS = ['keepAfter'] as const;
const Call = { WATCH: 0, PROVIDE: 1, MATCH: 2, FILL: 3, ENLIST: 4, SIGNED: 5 } as const;

/** Modules by the parts of a layout on which alone their bytes depend: nearly always the same. */
const modules = new Map<string, WebAssembly.Module>();

function moduleFor(layout: CacheLayout): WebAssembly.Module {
  const key = Object.values(layout).join();
  let module = modules.get(key);
  if (module === undefined) {
    module = new WebAssembly.Module(emit(layout));
    modules.set(key, module);
  }
  return module;
}

export class BlockFinder {
  readonly provide: (machine: number, mode: number) => number;
  readonly match: (at: number, end: number, root: number) => number;
  readonly fill: (template: number, at: number, delta: number, to: number) => number;
  readonly enlist: (header: number, fresh: number) => void;

  /**
   * `keepAfter`: executions before which a block is decoded in passing. `watch` hears of a machine page that gets its first block:
   * stores to it must not go unseen from now on.
   */
  constructor(memory: MachineMemory, layout: CacheLayout, keepAfter: number, watch: (mpn: number) => void) {
    const imports = { memory: memory.wasm, watch, keepAfter };
    const { exports } = new WebAssembly.Instance(moduleFor(layout), { m: imports });
    this.provide = exports['0'] as BlockFinder['provide'];
    this.match = exports['1'] as BlockFinder['match'];
    this.fill = exports['2'] as BlockFinder['fill'];
    this.enlist = exports['3'] as BlockFinder['enlist'];
  }
}

function emit(layout: CacheLayout): Uint8Array<ArrayBuffer> {
  return assembleModule({
    ...ANY_MEMORY,
    types: TYPES,
    imports: [{ name: 'watch', type: 4 }],
    globals: GLOBALS,
    table: false,
    functions: [
      { type: 0, locals: [{ count: 14, type: I }], code: emitProvide(layout) },
      { type: 1, locals: [{ count: 1, type: I }], code: emitMatch(layout) },
      { type: 2, locals: [{ count: 3, type: I }], code: emitFill() },
      { type: 3, locals: [{ count: 4, type: I }], code: emitEnlist(layout) },
      { type: 0, locals: [], code: emitSigned() },
    ],
  });
}

/** Pops a machine address; the mode is in a local. Pushes the byte offset of the slot: `slotOf` in generated code. */
export function pushSlot(w: WasmWriter, machine: number, mode: number): void {
  w.get(machine);
  w.get(machine);
  w.i32(13);
  w.op(W.I32_SHR_U);
  w.op(W.I32_XOR);
  w.get(mode);
  w.i32(11);
  w.op(W.I32_SHL);
  w.op(W.I32_XOR);
  w.i32(SLOTS - 1);
  w.op(W.I32_AND);
  w.i32(2);
  w.op(W.I32_SHL);
}

const [MACHINE, MODE, HEADER, TO, ROOM, BYTES, HERE, COUNT, CYCLES, TEMPLATE, MARK, ROOT, START, FRESH, ENDED, KEPT] = [
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
];

function emitProvide(layout: CacheLayout): Uint8Array {
  const n = new Nest(2048);
  const { w } = n;
  const op = (code: number) => w.op(code);
  const answerIf = (value: () => void) => {
    n.if();
    value();
    op(W.RETURN);
    n.end();
  };
  const unknownIf = () => answerIf(() => w.i32(0));
  const mail = (word: number) => {
    w.i32(0);
    w.memory(W.I32_LOAD, layout.mailAt + word * 4, 2);
  };
  const putMail = (word: number, local: number) => {
    w.i32(0);
    w.get(local);
    w.memory(W.I32_STORE, layout.mailAt + word * 4, 2);
  };
  const putHeader = (word: number, value: () => void) => n.putWord(HEADER, word * 4, value);
  const addTo = (local: number, value: () => void) => {
    w.get(local);
    value();
    op(W.I32_ADD);
    w.set(local);
  };

  /** TO: the place of the first op of a block that begins there. */
  const alignTo = () => {
    w.get(TO);
    w.i32(Header.WORDS * 4 + OP_WORDS * 4 - 1);
    op(W.I32_ADD);
    w.i32(-OP_WORDS * 4);
    op(W.I32_AND);
    w.set(TO);
  };

  // HEADER: the block, the retired block whose place it may take, or 0.
  pushSlot(w, MACHINE, MODE);
  w.memory(W.I32_LOAD, layout.slotsAt, 2);
  w.set(HEADER);
  const searched = n.open();
  const search = n.openLoop();
  w.get(HEADER);
  op(W.I32_EQZ);
  n.brIf(searched);
  n.word(HEADER, Header.MACHINE * 4);
  w.get(MACHINE);
  op(W.I32_EQ);
  n.word(HEADER, Header.MODE * 4);
  w.get(MODE);
  op(W.I32_EQ);
  op(W.I32_AND);
  n.if();
  n.word(HEADER, Header.HEAT * 4);
  w.i32(RETIRED);
  op(W.I32_NE);
  answerIf(() => w.get(HEADER));
  n.br(searched);
  n.end();
  n.word(HEADER, Header.CHAIN * 4);
  w.set(HEADER);
  n.br(search);
  n.end();
  n.end();

  w.get(MODE);
  w.i32(Mode.SINGLE);
  op(W.I32_AND);
  unknownIf();
  // CODE16 is bit 2, STACK16 bit 0: `Templates.root`.
  w.get(MODE);
  w.i32(1);
  op(W.I32_SHR_U);
  w.i32(2);
  op(W.I32_AND);
  w.get(MODE);
  w.i32(1);
  op(W.I32_AND);
  op(W.I32_OR);
  w.set(ROOT);
  // HERE: end of the page, or of the window.
  w.get(MACHINE);
  w.i32(4095);
  op(W.I32_OR);
  w.i32(1);
  op(W.I32_ADD);
  w.tee(HERE);
  w.get(MACHINE);
  w.i32(WINDOW_BYTES);
  op(W.I32_ADD);
  w.tee(BYTES);
  w.get(HERE);
  w.get(BYTES);
  op(W.I32_LT_U);
  op(W.SELECT);
  w.set(HERE);

  // KEPT: does it get a place of its own?
  w.i32(1);
  w.set(KEPT);
  w.get(HEADER);
  op(W.I32_EQZ);
  n.if();
  pushSlot(w, MACHINE, MODE);
  w.i32(1);
  op(W.I32_SHL);
  w.tee(MARK);
  n.word(MARK, layout.seenAt + 4);
  w.i32(0);
  n.word(MARK, layout.seenAt);
  w.get(MACHINE);
  op(W.I32_EQ);
  op(W.SELECT);
  w.i32(1);
  op(W.I32_ADD);
  w.tee(COUNT);
  w.memory(W.I32_STORE, layout.seenAt + 4, 2);
  n.putWord(MARK, layout.seenAt, () => w.get(MACHINE));
  w.get(COUNT);
  w.op(W.GLOBAL_GET);
  w.u(0);
  op(W.I32_GT_S);
  w.set(KEPT);
  n.end();

  const restart = n.openLoop();
  w.get(HEADER);
  n.if();
  n.word(HEADER, Header.ROOM * 4);
  w.set(ROOM);
  w.get(HEADER);
  w.i32(Header.WORDS * 4);
  op(W.I32_ADD);
  w.set(TO);
  n.else();
  w.get(KEPT);
  op(W.I32_EQZ);
  n.if();
  mail(Mail.PASSING);
  w.tee(TO);
  w.i32(layout.keptAt - BLOCK_BYTES_MAX);
  op(W.I32_GT_U);
  n.if();
  w.i32(layout.codeAt);
  w.set(TO);
  n.end();
  w.i32(layout.keptAt);
  w.set(ROOM);
  alignTo();
  n.else();
  mail(Mail.END);
  w.set(TO);
  alignTo();
  w.get(TO);
  w.i32(BLOCK_BYTES_MAX);
  op(W.I32_ADD);
  w.tee(ROOM);
  w.i32(layout.codeEnd);
  op(W.I32_GT_U);
  unknownIf();
  n.end();
  n.end();
  w.get(TO);
  w.set(START);
  w.get(MACHINE);
  w.set(BYTES);
  w.i32(0);
  w.set(COUNT);
  w.i32(0);
  w.set(CYCLES);
  w.i32(0);
  w.set(ENDED);
  w.i32(layout.scratchAt);
  w.set(MARK);

  // BYTES runs as a machine address.
  const decoded = n.open();
  const next = n.openLoop();
  w.get(COUNT);
  w.i32(INSTRUCTIONS_MAX);
  op(W.I32_GE_U);
  n.brIf(decoded);
  w.get(BYTES);
  w.get(HERE);
  w.get(ROOT);
  w.call(Call.MATCH);
  w.tee(TEMPLATE);
  w.i32(0);
  op(W.I32_LT_S);
  n.brIf(decoded);
  w.get(TEMPLATE);
  op(W.I32_EQZ);
  unknownIf();
  w.get(BYTES);
  n.word(TEMPLATE, Field.LENGTH * 4);
  op(W.I32_ADD);
  w.get(HERE);
  op(W.I32_GT_U);
  n.brIf(decoded);
  n.word(TEMPLATE, Field.KIND * 4);
  w.i32(Kind.BY_IMMEDIATE);
  op(W.I32_EQ);
  n.if();
  w.get(BYTES);
  n.word(TEMPLATE, Field.IMMEDIATE_AT * 4);
  op(W.I32_ADD);
  w.memory(W.I32_LOAD8_U, 0);
  w.i32(2);
  op(W.I32_SHL);
  n.word(TEMPLATE, Field.EXACT_AT * 4);
  op(W.I32_ADD);
  w.memory(W.I32_LOAD, 0, 2);
  w.tee(TEMPLATE);
  op(W.I32_EQZ);
  unknownIf();
  n.end();
  n.word(TEMPLATE, Field.KIND * 4);
  w.i32(Kind.READY);
  op(W.I32_NE);
  unknownIf();
  // Ops, marks, and a NEXT must fit.
  w.get(TO);
  n.word(TEMPLATE, Field.PATCHES_AT * 4);
  op(W.I32_ADD);
  n.word(TEMPLATE, Field.WORDS_AT * 4);
  op(W.I32_SUB);
  w.get(MARK);
  op(W.I32_ADD);
  w.i32(MARK_WORDS * 4 - layout.scratchAt);
  op(W.I32_ADD);
  n.word(TEMPLATE, Field.ENDED * 4);
  op(W.I32_EQZ);
  w.i32(Math.log2(OP_WORDS * 4));
  op(W.I32_SHL);
  op(W.I32_ADD);
  w.get(ROOM);
  op(W.I32_GT_U);
  n.if();
  // The predecessor's place is too small: it is given up.
  putHeader(Header.MODE, () => w.i32(-1));
  w.i32(0);
  w.set(HEADER);
  n.br(restart);
  n.end();
  n.putWord(MARK, 0, () => {
    w.get(TO);
    w.i32(layout.codeAt);
    op(W.I32_SUB);
    w.i32(2);
    op(W.I32_SHR_U);
  });
  n.putWord(MARK, 4, () => {
    w.get(BYTES);
    w.get(MACHINE);
    op(W.I32_SUB);
  });
  n.putWord(MARK, 8, () => w.get(CYCLES));
  addTo(MARK, () => w.i32(MARK_WORDS * 4));
  w.get(TEMPLATE);
  w.get(BYTES);
  w.get(BYTES);
  w.get(MACHINE);
  op(W.I32_SUB);
  w.get(TO);
  w.call(Call.FILL);
  w.set(TO);
  addTo(BYTES, () => n.word(TEMPLATE, Field.LENGTH * 4));
  addTo(CYCLES, () => n.word(TEMPLATE, Field.COST * 4));
  addTo(COUNT, () => w.i32(1));
  n.word(TEMPLATE, Field.ENDED * 4);
  w.tee(ENDED);
  op(W.I32_EQZ);
  n.brIf(next);
  n.end();
  n.end();
  n.end();

  w.get(COUNT);
  op(W.I32_EQZ);
  unknownIf();
  addTo(BYTES, () => {
    w.i32(0);
    w.get(MACHINE);
    op(W.I32_SUB);
  });
  w.get(ENDED);
  op(W.I32_EQZ);
  n.if();
  n.putWord(TO, 0, () => w.i32(Op.NEXT));
  n.putWord(TO, 4, () => w.get(BYTES));
  addTo(TO, () => w.i32(OP_WORDS * 4));
  n.end();
  w.get(TO);
  w.i32(layout.scratchAt);
  w.get(MARK);
  w.i32(layout.scratchAt);
  op(W.I32_SUB);
  w.copyMemory();
  // FRESH: is the place a new one, and kept?
  w.get(HEADER);
  op(W.I32_EQZ);
  n.if();
  w.get(START);
  w.i32(Header.WORDS * 4);
  op(W.I32_SUB);
  w.set(HEADER);
  w.get(KEPT);
  w.set(FRESH);
  // ROOM: the end.
  w.get(TO);
  w.get(MARK);
  op(W.I32_ADD);
  w.i32(layout.scratchAt);
  op(W.I32_SUB);
  w.set(ROOM);
  w.get(KEPT);
  n.if();
  putHeader(Header.ROOM, () => w.get(ROOM));
  n.else();
  putHeader(Header.NUMBER, () => w.i32(0));
  putMail(Mail.PASSING, ROOM);
  putMail(Mail.LAST_PASSING, HEADER);
  n.end();
  n.end();
  putHeader(Header.CYCLES, () => w.get(CYCLES));
  putHeader(Header.INSTRUCTIONS, () => w.get(COUNT));
  putHeader(Header.BYTES, () => w.get(BYTES));
  putHeader(Header.MACHINE, () => w.get(MACHINE));
  putHeader(Header.MODE, () => w.get(MODE));
  putHeader(Header.MARKS, () => {
    w.get(TO);
    w.i32(layout.codeAt);
    op(W.I32_SUB);
    w.i32(2);
    op(W.I32_SHR_U);
  });
  putHeader(Header.SECOND_PAGE, () => w.i32(-1));
  w.get(HEADER);
  w.get(FRESH);
  w.call(Call.ENLIST);
  w.get(HEADER);
  return w.done();
}

function emitMatch(layout: CacheLayout): Uint8Array {
  const n = new Nest(128);
  const { w } = n;
  const [AT, END, NODE, NEXT] = [0, 1, 2, 3];
  const loop = n.openLoop();
  w.get(AT);
  w.get(END);
  w.op(W.I32_GE_U);
  n.if();
  w.i32(-1);
  w.op(W.RETURN);
  n.end();
  w.get(NODE);
  w.i32(10);
  w.op(W.I32_SHL);
  w.get(AT);
  w.memory(W.I32_LOAD8_U, 0);
  w.i32(2);
  w.op(W.I32_SHL);
  w.op(W.I32_ADD);
  w.memory(W.I32_LOAD, layout.trieAt, 2);
  w.tee(NEXT);
  w.i32(0);
  w.op(W.I32_GT_S);
  n.if();
  w.get(NEXT);
  w.set(NODE);
  w.get(AT);
  w.i32(1);
  w.op(W.I32_ADD);
  w.set(AT);
  n.br(loop);
  n.end();
  n.end();
  w.i32(0);
  w.get(NEXT);
  w.op(W.I32_SUB);
  return w.done();
}

function emitFill(): Uint8Array {
  const n = new Nest(512);
  const { w } = n;
  const op = (code: number) => w.op(code);
  const [TEMPLATE, AT, DELTA, TO, FROM, PATCHES, END] = [0, 1, 2, 3, 4, 5, 6];
  const field = (number: number) => n.word(TEMPLATE, number * 4);
  const step = (local: number, bytes: number) => {
    w.get(local);
    w.i32(bytes);
    op(W.I32_ADD);
    w.set(local);
  };
  const signed = (at: number, size: number) => {
    w.get(AT);
    field(at);
    op(W.I32_ADD);
    field(size);
    w.call(Call.SIGNED);
  };
  const displacement = () => signed(Field.DISPLACEMENT_AT, Field.DISPLACEMENT_SIZE);
  const immediate = () => signed(Field.IMMEDIATE_AT, Field.IMMEDIATE_SIZE);
  /** Cuts what was pushed to so many bytes: size 4 shifts by 0. */
  const unsigned = (value: () => void, size: number) => {
    const up = () => {
      w.i32(32);
      field(size);
      w.i32(3);
      op(W.I32_SHL);
      op(W.I32_SUB);
    };
    value();
    up();
    op(W.I32_SHL);
    up();
    op(W.I32_SHR_U);
  };
  const target = () => {
    w.get(DELTA);
    field(Field.LENGTH);
    op(W.I32_ADD);
    immediate();
    op(W.I32_ADD);
  };
  const word = () => {
    w.i32(0xffff);
    op(W.I32_AND);
  };
  const sources: Readonly<Record<number, () => void>> = {
    [From.DISPLACEMENT]: displacement,
    [From.DISPLACEMENT_WORD]: () => {
      displacement();
      word();
    },
    [From.IMMEDIATE]: immediate,
    [From.IMMEDIATE_ZERO]: () => unsigned(immediate, Field.IMMEDIATE_SIZE),
    [From.IMMEDIATE_2]: () =>
      unsigned(() => signed(Field.IMMEDIATE_2_AT, Field.IMMEDIATE_2_SIZE), Field.IMMEDIATE_2_SIZE),
    [From.DELTA]: () => w.get(DELTA),
    [From.TARGET]: target,
    [From.TARGET_WORD]: () => {
      target();
      word();
    },
    [From.BACKWARD]: () => {
      field(Field.LENGTH);
      immediate();
      op(W.I32_ADD);
      w.i32(0);
      op(W.I32_LE_S);
    },
  };

  field(Field.WORDS_AT);
  w.set(FROM);
  field(Field.PATCHES_AT);
  w.set(PATCHES);
  field(Field.PATCHES_END);
  w.set(END);
  // Patches name their words by their distance from the end of the ops.
  const copied = n.open();
  const copy = n.openLoop();
  w.get(FROM);
  w.get(PATCHES);
  op(W.I32_GE_U);
  n.brIf(copied);
  for (let offset = 0; offset < OP_WORDS * 4; offset += 8) {
    w.get(TO);
    w.get(FROM);
    w.memory(W.I64_LOAD, offset, 3);
    w.memory(W.I64_STORE, offset, 3);
  }
  step(TO, OP_WORDS * 4);
  step(FROM, OP_WORDS * 4);
  n.br(copy);
  n.end();
  n.end();
  const done = n.open();
  const loop = n.openLoop();
  w.get(PATCHES);
  w.get(END);
  op(W.I32_GE_U);
  n.brIf(done);
  w.get(TO);
  n.word(PATCHES, 0);
  op(W.I32_ADD);
  const value = n.open(I);
  const labels = Object.keys(sources).map(() => n.open());
  n.word(PATCHES, 4);
  op(W.BR_TABLE);
  w.u(labels.length - 1);
  for (let source = 0; source < labels.length; source++) w.u(n.depth - labels[labels.length - 1 - source]!);
  for (let source = 0; source < labels.length; source++) {
    n.end();
    sources[source]!();
    n.br(value);
  }
  w.op(W.UNREACHABLE);
  n.end();
  n.word(PATCHES, 8);
  op(W.I32_ADD);
  w.memory(W.I32_STORE, 0, 2);
  step(PATCHES, PATCH_WORDS * 4);
  n.br(loop);
  n.end();
  n.end();
  w.get(TO);
  return w.done();
}

function emitSigned(): Uint8Array {
  const n = new Nest(64);
  const { w } = n;
  const [AT, SIZE] = [0, 1];
  for (const [size, load] of [
    [4, W.I32_LOAD],
    [1, W.I32_LOAD8_S],
    [2, W.I32_LOAD16_S],
  ] as const) {
    w.get(SIZE);
    w.i32(size);
    w.op(W.I32_EQ);
    n.if();
    w.get(AT);
    w.memory(load, 0);
    w.op(W.RETURN);
    n.end();
  }
  w.i32(0);
  return w.done();
}

function emitEnlist(layout: CacheLayout): Uint8Array {
  const n = new Nest(512);
  const { w } = n;
  const op = (code: number) => w.op(code);
  const [HEADER, FRESH, A, B, FIRST, LAST] = [0, 1, 2, 3, 4, 5];
  for (const word of [Header.TAKEN, Header.FALL, Header.HEAT, Header.ENTERED]) {
    n.putWord(HEADER, word * 4, () => w.i32(0));
  }
  w.i32(0);
  w.i32(0);
  w.memory(W.I32_LOAD, layout.mailAt + Mail.DECODED * 4, 2);
  w.i32(1);
  op(W.I32_ADD);
  w.memory(W.I32_STORE, layout.mailAt + Mail.DECODED * 4, 2);
  w.get(FRESH);
  n.if();
  n.putWord(HEADER, Header.NUMBER * 4, () => w.i32(0));
  w.i32(0);
  n.word(HEADER, Header.ROOM * 4);
  w.memory(W.I32_STORE, layout.mailAt + Mail.END * 4, 2);
  // First in its slot.
  n.word(HEADER, Header.MACHINE * 4);
  w.set(A);
  n.word(HEADER, Header.MODE * 4);
  w.set(B);
  pushSlot(w, A, B);
  w.set(A);
  n.putWord(HEADER, Header.CHAIN * 4, () => n.word(A, layout.slotsAt));
  n.putWord(A, layout.slotsAt, () => w.get(HEADER));
  n.end();
  /** First on the page of machine address FIRST, whose lines up to that of LAST hold code. */
  const list = (link: number) => {
    w.get(FRESH);
    n.if();
    w.get(FIRST);
    w.i32(12);
    op(W.I32_SHR_U);
    w.i32(Math.log2(PAGE_WORDS * 4));
    op(W.I32_SHL);
    w.set(A);
    n.putWord(HEADER, link * 4, () => n.word(A, layout.pagesAt));
    n.putWord(A, layout.pagesAt, () => w.get(HEADER));
    n.putWord(A, layout.pagesAt + 4, () => w.i32(0));
    n.end();
    w.get(FIRST);
    w.i32(12);
    op(W.I32_SHR_U);
    w.i32(2);
    op(W.I32_SHL);
    w.tee(A);
    w.memory(W.I32_LOAD, layout.codeLinesAt, 2);
    w.tee(B);
    op(W.I32_EQZ);
    n.if();
    w.get(FIRST);
    w.i32(12);
    op(W.I32_SHR_U);
    w.call(Call.WATCH);
    n.end();
    // As `linesOf`: shifts count modulo 32.
    n.putWord(A, layout.codeLinesAt, () => {
      w.get(B);
      w.i32(-1);
      w.get(FIRST);
      w.i32(CODE_LINE_SHIFT);
      op(W.I32_SHR_U);
      op(W.I32_SHL);
      w.i32(-1);
      w.i32(31);
      w.get(LAST);
      w.i32(CODE_LINE_SHIFT);
      op(W.I32_SHR_U);
      op(W.I32_SUB);
      op(W.I32_SHR_U);
      op(W.I32_AND);
      op(W.I32_OR);
    });
  };
  n.word(HEADER, Header.MACHINE * 4);
  w.tee(FIRST);
  n.word(HEADER, Header.BYTES * 4);
  op(W.I32_ADD);
  w.i32(1);
  op(W.I32_SUB);
  w.set(LAST);
  n.word(HEADER, Header.SECOND_PAGE * 4);
  w.i32(0);
  op(W.I32_GE_S);
  n.if();
  w.get(FIRST);
  w.i32(4095);
  op(W.I32_OR);
  w.set(LAST);
  list(Header.PAGE_NEXT);
  n.word(HEADER, Header.SECOND_PAGE * 4);
  w.tee(A);
  w.get(FIRST);
  n.word(HEADER, Header.BYTES * 4);
  op(W.I32_ADD);
  w.i32(1);
  op(W.I32_SUB);
  w.i32(4095);
  op(W.I32_AND);
  op(W.I32_OR);
  w.set(LAST);
  w.get(A);
  w.set(FIRST);
  list(Header.SECOND_NEXT);
  n.else();
  list(Header.PAGE_NEXT);
  n.end();
  return w.done();
}
