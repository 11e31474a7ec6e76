/**
 * The part of the slow path that is still WebAssembly: a load or store whose page is in the TLB's sets but not in its place, or
 * in no set at all while its page-table entries need no change. It does what `Tlb` and `PageWalker` do, with the same charge
 * and the same replacement; whatever it does not cover it leaves untouched to `slow-paths.ts`.
 *
 *     find(cpu, ea, packed) -> machine address, or 0
 *     load(cpu, ea, packed) -> value
 *     store(cpu, ea, packed, value)
 *
 * And the common case of REP MOVS and REP STOS (`strings.ts`), chunk by chunk with the same price and the same event points:
 *
 *     repeat(cpu, kind | size << 4, seg, start, step) -> `Repeated`
 */
import {
  DATA_LINES,
  DATA_PLACES,
  DATA_SETS_AT,
  LARGE_AT,
  LINE_INFO,
  LINE_PAGE,
  NO_TAG,
  TlbInfo,
} from '../../mmu/tlb.js';
import {
  CLOCK_AT,
  CYCLES,
  LIMIT,
  MISS_COST,
  MISSES,
  PHYSICAL_BASE,
  PHYSICAL_BYTES,
  POLL_AT,
  READABLE,
  TLB_AT,
} from '../layout.js';
import { Cr0, Cr4, Flag, S, Seg } from '../state.js';
import { Access } from './emit-memory.js';
import { ADDEND as PLACE_ADDEND, placeOffset } from './emit-places.js';
import { STRETCH_CYCLES } from './slow-paths.js';
import { assembleModule, Type, W, WasmWriter } from './wasm-writer.js';

/** Bits of page-table entries (SDM vol. 3, 4.3). */
const P = 1;
const RW = 2;
const US = 4;
const A = 0x20;
const PS = 0x80;
const LARGE_RESERVED = 0x3fe000;
/** The hole below 1 MiB, where adapters may be. */
const ADAPTERS_FIRST = 0xa0000;
const ADAPTERS_BYTES = 0x60000;

const SETS_AT = TLB_AT + DATA_SETS_AT;
const ARRAY_BYTES = DATA_LINES * 4;
const FILLED_AT = SETS_AT + 4 * ARRAY_BYTES + 16;

// Parameters and locals of `find`.
const CPU = 0;
const EA = 1;
const PACKED = 2;
const LINEAR = 3;
const PAGE = 4;
const PLACE = 5;
const WRITE = 6;
const USER = 7;
const LINE = 8;
const PDE = 9;
const PTE = 10;
const RIGHTS = 11;
const PHYSICAL = 12;
const INFO = 13;
const ADDEND = 14;
const VICTIM = 15;
const OLD = 16;
const QUIET = 17;

export interface Runtime {
  readonly find: unknown;
  readonly load: unknown;
  readonly store: unknown;
  readonly repeat: unknown;
}

/** What `repeat` answers. The registers and the clock are as of the last chunk that it did. */
export const Repeated = {
  /** The next chunk is for TypeScript. */
  REST: 0,
  /** The instruction is done. */
  DONE: 1,
  /** An event is due between two chunks. */
  EVENT: 2,
} as const;

/** `holdsCodeAt`: machine address of `MachineMemory.holdsCode`. */
export function makeRuntime(
  memory: WebAssembly.Memory,
  memoryPages: number,
  table: WebAssembly.Table,
  holdsCodeAt: number,
  slow: { load(ea: number, packed: number): number; store(ea: number, packed: number, value: number): void },
): Runtime {
  const I = Type.I32;
  const find = 2;
  const wasm = assembleModule({
    types: [
      { parameters: [I, I], results: [I] },
      { parameters: [I, I, I], results: [] },
      { parameters: [I, I, I], results: [I] },
      { parameters: [I, I, I, I], results: [] },
      { parameters: [I, I, I, I, I], results: [I] },
    ],
    imports: [
      { name: 'load', type: 0 },
      { name: 'store', type: 1 },
    ],
    memoryPages,
    functions: [
      { type: 2, locals: [{ count: QUIET - PACKED, type: I }], code: findCode(holdsCodeAt) },
      { type: 2, locals: [{ count: 1, type: I }], code: loadCode(find) },
      { type: 3, locals: [{ count: 1, type: I }], code: storeCode(find) },
      { type: 4, locals: [{ count: 8, type: I }], code: repeatCode() },
    ],
  });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(wasm), { m: { memory, table, ...slow } });
  return { find: exports['0'], load: exports['1'], store: exports['2'], repeat: exports['3'] };
}

function findCode(holdsCodeAt: number): Uint8Array {
  const w = new WasmWriter(2048);
  const load = (base: number, offset: number) => {
    w.get(base);
    w.memory(W.I32_LOAD, offset, 2);
  };
  const store = (base: number, offset: number, value: () => void) => {
    w.get(base);
    value();
    w.memory(W.I32_STORE, offset, 2);
  };
  const and = (mask: number) => {
    w.i32(mask);
    w.op(W.I32_AND);
  };
  const right = (count: number) => {
    w.i32(count);
    w.op(W.I32_SHR_U);
  };
  const left = (count: number) => {
    w.i32(count);
    w.op(W.I32_SHL);
  };
  const add = () => w.op(W.I32_ADD);
  /** Answers 0 if what was pushed is not 0. */
  const giveUpIf = () => {
    w.if();
    w.i32(0);
    w.op(W.RETURN);
    w.end();
  };
  const state = (word: number) => load(CPU, word * 4);
  /** Address relative to the thread of the place of a page or address. */
  const placeOf = (local: number) => {
    w.get(local);
    placeOffset(w, DATA_PLACES);
    w.get(CPU);
    add();
  };
  const clock = (index: number) => {
    w.get(CPU);
    w.memory(W.F64_LOAD, CLOCK_AT + index * 8, 3);
  };
  const pageOrNot = (condition: () => void) => {
    w.get(PAGE);
    w.i32(NO_TAG);
    condition();
    w.op(W.SELECT);
  };
  const tag = (number: number, condition: () => void) => store(PLACE, TLB_AT + number * 4, () => pageOrNot(condition));

  // Segment: READABLE and WRITABLE are neighbours, eight words each.
  w.get(PACKED);
  right(Access.WRITE_SHIFT);
  and(1);
  w.set(WRITE);
  w.get(EA);
  w.get(WRITE);
  left(5);
  w.get(PACKED);
  and(15);
  left(2);
  add();
  w.get(CPU);
  add();
  w.memory(W.I32_LOAD, READABLE * 4, 2);
  w.op(W.I32_GE_U);
  giveUpIf();
  w.get(PACKED);
  and(15);
  left(4);
  w.get(CPU);
  add();
  w.memory(W.I32_LOAD, (S.SEG + 1) * 4, 2);
  w.get(EA);
  add();
  w.tee(LINEAR);
  and(4095);
  w.get(PACKED);
  right(4);
  and(15);
  add();
  w.i32(4096);
  w.op(W.I32_GT_U);
  giveUpIf();
  w.get(LINEAR);
  and(-4096);
  w.set(PAGE);
  placeOf(LINEAR);
  w.set(PLACE);
  state(S.CPL);
  w.i32(3);
  w.op(W.I32_EQ);
  w.set(USER);

  // The place may be good: a checked store comes here only because its load was slow.
  const ownTag = () => {
    w.get(PLACE);
    w.get(USER);
    left(3);
    add();
    w.get(WRITE);
    left(2);
    add();
    w.memory(W.I32_LOAD, TLB_AT, 2);
  };
  ownTag();
  w.get(PAGE);
  w.op(W.I32_EQ);
  w.if();
  w.get(LINEAR);
  load(PLACE, PLACE_ADDEND);
  add();
  w.op(W.RETURN);
  w.end();
  // Rights, first writes, devices and code are for TypeScript.
  load(PLACE, TLB_AT + LINE_PAGE * 4);
  w.get(PAGE);
  w.op(W.I32_EQ);
  giveUpIf();

  // In its set, but another page has its place.
  w.get(LINEAR);
  right(12);
  and(DATA_LINES / 4 - 1);
  left(4);
  w.get(CPU);
  add();
  w.set(LINE);
  w.block();
  w.block();
  for (let way = 0; way < 4; way++) {
    w.get(LINE);
    w.i32(way * 4);
    add();
    w.tee(VICTIM);
    w.memory(W.I32_LOAD, SETS_AT, 2);
    w.get(PAGE);
    w.op(W.I32_EQ);
    w.brIf(0);
  }
  w.br(1);
  w.end();
  load(VICTIM, SETS_AT + ARRAY_BYTES);
  w.tee(INFO);
  and(TlbInfo.DEVICE);
  w.get(WRITE);
  w.op(W.I32_OR);
  w.get(USER);
  w.get(INFO);
  w.i32(-1);
  w.op(W.I32_XOR);
  w.op(W.I32_AND);
  and(TlbInfo.USER);
  w.op(W.I32_OR);
  giveUpIf();
  load(VICTIM, SETS_AT + 2 * ARRAY_BYTES);
  w.set(ADDEND);
  store(PLACE, TLB_AT, () => w.get(PAGE));
  store(PLACE, TLB_AT + 4, () => w.i32(NO_TAG));
  tag(2, () => {
    w.get(INFO);
    and(TlbInfo.USER);
  });
  store(PLACE, TLB_AT + 12, () => w.i32(NO_TAG));
  store(PLACE, PLACE_ADDEND, () => w.get(ADDEND));
  store(PLACE, TLB_AT + LINE_PAGE * 4, () => w.get(PAGE));
  store(PLACE, TLB_AT + LINE_INFO * 4, () => w.get(INFO));
  w.get(LINEAR);
  w.get(ADDEND);
  add();
  w.op(W.RETURN);
  w.end();

  // A walk (`PageWalker.walk`), as far as it changes no entry.
  state(S.CR0);
  w.i32(0);
  w.op(W.I32_GE_S);
  giveUpIf();
  const entry = (table: () => void, shift: number, into: number) => {
    table();
    and(-4096);
    w.get(LINEAR);
    right(shift);
    and(0xffc);
    w.op(W.I32_OR);
    w.tee(into);
    state(PHYSICAL_BYTES);
    w.op(W.I32_GE_U);
    giveUpIf();
    state(PHYSICAL_BASE);
    w.get(into);
    add();
    w.memory(W.I32_LOAD, 0, 2);
    w.set(into);
  };
  /** Present, used before, and written before if this is a write. */
  const settled = (local: number, dirty: boolean) => {
    w.i32(P | A);
    if (dirty) {
      w.get(WRITE);
      left(6);
      w.op(W.I32_OR);
    }
    w.tee(INFO);
    w.get(local);
    w.get(INFO);
    w.op(W.I32_AND);
    w.op(W.I32_NE);
    giveUpIf();
  };
  entry(() => state(S.CR3), 20, PDE);
  w.get(PDE);
  and(PS);
  state(S.CR4);
  and(Cr4.PSE);
  w.i32(0);
  w.op(W.I32_NE);
  w.i32(7);
  w.op(W.I32_SHL);
  w.op(W.I32_AND);
  w.if();
  settled(PDE, true);
  w.get(PDE);
  and(LARGE_RESERVED);
  giveUpIf();
  w.get(PDE);
  w.tee(PTE);
  w.set(RIGHTS);
  w.get(PDE);
  and(0xffc00000);
  w.get(LINEAR);
  and(0x003ff000);
  w.op(W.I32_OR);
  w.set(PHYSICAL);
  w.i32(TlbInfo.LARGE);
  w.set(INFO);
  w.else();
  settled(PDE, false);
  entry(() => w.get(PDE), 10, PTE);
  settled(PTE, true);
  w.get(PDE);
  w.get(PTE);
  w.op(W.I32_AND);
  w.set(RIGHTS);
  w.get(PTE);
  and(-4096);
  w.set(PHYSICAL);
  w.i32(0);
  w.set(INFO);
  w.end();
  // SDM vol. 3, 4.6.1.
  w.get(USER);
  w.get(RIGHTS);
  and(US);
  w.op(W.I32_EQZ);
  w.op(W.I32_AND);
  giveUpIf();
  w.get(WRITE);
  w.get(RIGHTS);
  and(RW);
  w.op(W.I32_EQZ);
  w.op(W.I32_AND);
  w.get(USER);
  state(S.CR0);
  and(Cr0.WP);
  w.op(W.I32_OR);
  w.i32(0);
  w.op(W.I32_NE);
  w.op(W.I32_AND);
  giveUpIf();
  w.get(PHYSICAL);
  state(PHYSICAL_BYTES);
  w.op(W.I32_GE_U);
  w.get(PHYSICAL);
  w.i32(ADAPTERS_FIRST);
  w.op(W.I32_SUB);
  w.i32(ADAPTERS_BYTES);
  w.op(W.I32_LT_U);
  w.op(W.I32_OR);
  giveUpIf();

  // From here on the miss happens: its price, its line.
  const addToClock = (index: number, value: () => void) => {
    w.get(CPU);
    clock(index);
    value();
    w.op(W.F64_ADD);
    w.memory(W.F64_STORE, CLOCK_AT + index * 8, 3);
  };
  addToClock(CYCLES, () => clock(MISS_COST));
  addToClock(MISSES, () => {
    w.i32(1);
    w.op(W.F64_CONVERT_I32_S);
  });
  noteLimit(w);
  w.get(INFO);
  w.get(PHYSICAL);
  w.op(W.I32_OR);
  w.get(RIGHTS);
  and(RW);
  w.op(W.I32_OR);
  w.get(RIGHTS);
  right(2);
  and(TlbInfo.USER);
  w.op(W.I32_OR);
  w.get(PTE);
  right(2);
  and(TlbInfo.DIRTY);
  w.op(W.I32_OR);
  w.get(PTE);
  right(6);
  and(TlbInfo.GLOBAL);
  state(S.CR4);
  right(5);
  w.op(W.I32_AND);
  and(TlbInfo.GLOBAL);
  w.op(W.I32_OR);
  w.set(INFO);
  state(PHYSICAL_BASE);
  w.get(PHYSICAL);
  add();
  w.get(PAGE);
  w.op(W.I32_SUB);
  w.set(ADDEND);

  // The line: a free one, else the one filled first.
  w.get(LINE);
  w.set(VICTIM);
  w.block();
  for (let way = 0; way < 4; way++) {
    w.get(LINE);
    w.memory(W.I32_LOAD, SETS_AT + way * 4, 2);
    w.i32(NO_TAG);
    w.op(W.I32_EQ);
    w.if();
    w.get(LINE);
    w.i32(way * 4);
    add();
    w.set(VICTIM);
    w.br(1);
    w.end();
    if (way === 0) continue;
    w.get(LINE);
    w.i32(way * 4);
    add();
    w.get(VICTIM);
    w.get(LINE);
    w.memory(W.I32_LOAD, SETS_AT + 3 * ARRAY_BYTES + way * 4, 2);
    load(VICTIM, SETS_AT + 3 * ARRAY_BYTES);
    w.op(W.I32_SUB);
    w.i32(0);
    w.op(W.I32_LT_S);
    w.op(W.SELECT);
    w.set(VICTIM);
  }
  w.end();
  store(CPU, SETS_AT + 4 * ARRAY_BYTES, () => {
    load(CPU, SETS_AT + 4 * ARRAY_BYTES);
    w.i32(1);
    add();
  });
  store(VICTIM, SETS_AT + 3 * ARRAY_BYTES, () => load(CPU, SETS_AT + 4 * ARRAY_BYTES));
  load(VICTIM, SETS_AT);
  w.tee(OLD);
  w.i32(NO_TAG);
  w.op(W.I32_NE);
  w.if();
  placeOf(OLD);
  w.tee(QUIET);
  w.memory(W.I32_LOAD, TLB_AT + LINE_PAGE * 4, 2);
  w.get(OLD);
  w.op(W.I32_EQ);
  w.if();
  for (const word of [0, 1, 2, 3, LINE_PAGE]) store(QUIET, TLB_AT + word * 4, () => w.i32(NO_TAG));
  store(QUIET, TLB_AT + LINE_INFO * 4, () => w.i32(0));
  w.end();
  w.end();
  store(VICTIM, SETS_AT, () => w.get(PAGE));
  store(VICTIM, SETS_AT + ARRAY_BYTES, () => w.get(INFO));
  store(VICTIM, SETS_AT + 2 * ARRAY_BYTES, () => w.get(ADDEND));
  // `Filled`: two words of local sets, two of global ones.
  w.get(LINEAR);
  right(12);
  and(DATA_LINES / 4 - 1);
  w.tee(OLD);
  right(5);
  left(2);
  w.get(INFO);
  and(TlbInfo.GLOBAL);
  left(1);
  add();
  w.get(CPU);
  add();
  w.set(QUIET);
  store(QUIET, FILLED_AT, () => {
    load(QUIET, FILLED_AT);
    w.i32(1);
    w.get(OLD);
    w.op(W.I32_SHL);
    w.op(W.I32_OR);
  });
  w.get(INFO);
  and(TlbInfo.LARGE);
  w.if();
  w.get(LINEAR);
  right(22);
  w.get(CPU);
  add();
  w.i32(1);
  w.memory(W.I32_STORE8, TLB_AT + LARGE_AT);
  w.end();

  // The place (`Tlb.retag`).
  w.get(INFO);
  and(TlbInfo.DIRTY);
  w.get(PAGE);
  w.get(ADDEND);
  add();
  right(12);
  w.memory(W.I32_LOAD8_U, holdsCodeAt);
  w.op(W.I32_EQZ);
  left(4);
  w.op(W.I32_AND);
  w.set(QUIET);
  store(PLACE, TLB_AT, () => w.get(PAGE));
  tag(1, () => {
    w.get(INFO);
    and(TlbInfo.WRITABLE);
    state(S.CR0);
    and(Cr0.WP);
    w.op(W.I32_EQZ);
    w.op(W.I32_OR);
    w.i32(0);
    w.get(QUIET);
    w.op(W.SELECT);
  });
  tag(2, () => {
    w.get(INFO);
    and(TlbInfo.USER);
  });
  tag(3, () => {
    w.get(INFO);
    and(TlbInfo.USER | TlbInfo.WRITABLE);
    w.i32(TlbInfo.USER | TlbInfo.WRITABLE);
    w.op(W.I32_EQ);
    w.i32(0);
    w.get(QUIET);
    w.op(W.SELECT);
  });
  store(PLACE, PLACE_ADDEND, () => w.get(ADDEND));
  store(PLACE, TLB_AT + LINE_PAGE * 4, () => w.get(PAGE));
  store(PLACE, TLB_AT + LINE_INFO * 4, () => w.get(INFO));
  // A page with code has no write tag: the store itself is for TypeScript, and does not miss again.
  w.get(LINEAR);
  w.get(ADDEND);
  add();
  w.i32(0);
  ownTag();
  w.get(PAGE);
  w.op(W.I32_EQ);
  w.op(W.SELECT);
  return w.done();
}

/** `cyclesToPoll` into its state word. */
function noteLimit(w: WasmWriter): void {
  const clock = (index: number) => {
    w.get(CPU);
    w.memory(W.F64_LOAD, CLOCK_AT + index * 8, 3);
  };
  w.get(CPU);
  clock(POLL_AT);
  clock(CYCLES);
  w.op(W.F64_SUB);
  w.op(W.F64_CEIL);
  w.i32(STRETCH_CYCLES);
  w.op(W.F64_CONVERT_I32_S);
  w.op(W.F64_MIN);
  w.i32(-STRETCH_CYCLES);
  w.op(W.F64_CONVERT_I32_S);
  w.op(W.F64_MAX);
  w.truncate();
  w.memory(W.I32_STORE, LIMIT * 4, 2);
}

/** Upwards, with 32-bit registers, between pages that are at hand. */
function repeatCode(): Uint8Array {
  const w = new WasmWriter(1024);
  const [PACKED, SEG, START, STEP] = [1, 2, 3, 4];
  const [SHIFT, COUNT, FROM, TO, LINE, N, BYTES, USER] = [5, 6, 7, 8, 9, 10, 11, 12];
  const state = (word: number) => {
    w.get(CPU);
    w.memory(W.I32_LOAD, word * 4, 2);
  };
  const setState = (word: number, value: () => void) => {
    w.get(CPU);
    value();
    w.memory(W.I32_STORE, word * 4, 2);
  };
  const and = (mask: number) => {
    w.i32(mask);
    w.op(W.I32_AND);
  };
  const answer = (value: number) => {
    w.i32(value);
    w.op(W.RETURN);
  };
  const restIf = () => {
    w.if();
    answer(Repeated.REST);
    w.end();
  };
  const isStore = () => {
    w.get(PACKED);
    and(15);
  };
  const clock = (index: number) => {
    w.get(CPU);
    w.memory(W.F64_LOAD, CLOCK_AT + index * 8, 3);
  };
  const spend = (value: () => void) => {
    w.get(CPU);
    clock(CYCLES);
    value();
    w.op(W.F64_CONVERT_I32_S);
    w.op(W.F64_ADD);
    w.memory(W.F64_STORE, CLOCK_AT + CYCLES * 8, 3);
  };
  /** Host address of the string at `register` into `into`; bytes left in its page bound N. */
  const locate = (register: number, segment: () => void, write: boolean, into: number) => {
    // A whole page from here on must lie within the segment.
    state(register);
    w.i32(-4096);
    w.op(W.I32_GE_U);
    restIf();
    state(register);
    w.i32(4096);
    w.op(W.I32_ADD);
    segment();
    w.i32(2);
    w.op(W.I32_SHL);
    w.get(CPU);
    w.op(W.I32_ADD);
    w.memory(W.I32_LOAD, (READABLE + (write ? 8 : 0)) * 4, 2);
    w.op(W.I32_GT_U);
    restIf();
    state(register);
    segment();
    w.i32(4);
    w.op(W.I32_SHL);
    w.get(CPU);
    w.op(W.I32_ADD);
    w.memory(W.I32_LOAD, (S.SEG + 1) * 4, 2);
    w.op(W.I32_ADD);
    w.tee(into);
    placeOffset(w, DATA_PLACES);
    w.get(CPU);
    w.op(W.I32_ADD);
    w.tee(LINE);
    w.get(USER);
    w.op(W.I32_ADD);
    w.memory(W.I32_LOAD, TLB_AT + (write ? 4 : 0), 2);
    w.get(into);
    and(-4096);
    w.op(W.I32_NE);
    restIf();
    // N = min(N, (4096 - offset) >> shift)
    w.i32(4096);
    w.get(into);
    and(4095);
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
    w.get(into);
    w.get(LINE);
    w.memory(W.I32_LOAD, PLACE_ADDEND, 2);
    w.op(W.I32_ADD);
    w.set(into);
  };

  state(S.EFLAGS);
  and(Flag.DF);
  restIf();
  // 1, 2, 4 bytes: 0, 1, 2.
  w.get(PACKED);
  w.i32(5);
  w.op(W.I32_SHR_U);
  w.set(SHIFT);
  state(S.CPL);
  w.i32(3);
  w.op(W.I32_EQ);
  w.i32(3);
  w.op(W.I32_SHL);
  w.set(USER);
  state(S.ECX);
  w.tee(COUNT);
  w.op(W.I32_EQZ);
  w.if();
  spend(() => w.get(START));
  noteLimit(w);
  answer(Repeated.DONE);
  w.end();
  w.loop();
  w.get(COUNT);
  w.set(N);
  isStore();
  w.op(W.I32_EQZ);
  w.if();
  locate(S.ESI, () => w.get(SEG), false, FROM);
  w.end();
  locate(S.EDI, () => w.i32(Seg.ES), true, TO);
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
  // A whole word of the value, then words, then what is left of bytes: element sizes divide 4.
  w.get(TO);
  w.get(BYTES);
  w.op(W.I32_ADD);
  w.set(LINE);
  w.get(SHIFT);
  w.op(W.I32_EQZ);
  w.if();
  w.get(TO);
  state(S.EAX);
  w.get(BYTES);
  w.fillMemory();
  w.else();
  w.loop();
  w.get(SHIFT);
  w.i32(2);
  w.op(W.I32_EQ);
  w.if();
  w.get(TO);
  state(S.EAX);
  w.memory(W.I32_STORE, 0);
  w.else();
  w.get(TO);
  state(S.EAX);
  w.memory(W.I32_STORE16, 0);
  w.end();
  w.get(TO);
  w.i32(1);
  w.get(SHIFT);
  w.op(W.I32_SHL);
  w.op(W.I32_ADD);
  w.tee(TO);
  w.get(LINE);
  w.op(W.I32_LT_U);
  w.brIf(0);
  w.end();
  w.end();
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
  w.get(TO);
  w.get(FROM);
  w.get(BYTES);
  w.copyMemory();
  setState(S.ESI, () => {
    state(S.ESI);
    w.get(BYTES);
    w.op(W.I32_ADD);
  });
  w.end();
  setState(S.EDI, () => {
    state(S.EDI);
    w.get(BYTES);
    w.op(W.I32_ADD);
  });
  spend(() => {
    w.get(N);
    w.get(STEP);
    w.op(W.I32_MUL);
    w.get(START);
    w.op(W.I32_ADD);
  });
  w.get(COUNT);
  w.get(N);
  w.op(W.I32_SUB);
  w.set(COUNT);
  setState(S.ECX, () => w.get(COUNT));
  noteLimit(w);
  w.get(COUNT);
  w.op(W.I32_EQZ);
  w.if();
  answer(Repeated.DONE);
  w.end();
  state(LIMIT);
  w.i32(0);
  w.op(W.I32_LE_S);
  w.if();
  answer(Repeated.EVENT);
  w.end();
  w.br(0);
  w.end();
  w.op(W.UNREACHABLE);
  return w.done();
}

function loadCode(find: number): Uint8Array {
  const w = new WasmWriter(256);
  const host = 3;
  for (const local of [0, 1, 2]) w.get(local);
  w.call(find);
  w.tee(host);
  w.op(W.I32_EQZ);
  w.if();
  w.get(1);
  w.get(2);
  w.call(0);
  w.op(W.RETURN);
  w.end();
  bySize(w, 2, size => {
    if (size === 4) {
      w.get(host);
      w.memory(W.I32_LOAD, 0);
      w.op(W.RETURN);
      return;
    }
    w.get(2);
    w.i32(Access.SIGNED);
    w.op(W.I32_AND);
    w.if();
    w.get(host);
    w.memory(size === 2 ? W.I32_LOAD16_S : W.I32_LOAD8_S, 0);
    w.op(W.RETURN);
    w.end();
    w.get(host);
    w.memory(size === 2 ? W.I32_LOAD16_U : W.I32_LOAD8_U, 0);
    w.op(W.RETURN);
  });
  w.op(W.UNREACHABLE);
  return w.done();
}

function storeCode(find: number): Uint8Array {
  const w = new WasmWriter(256);
  const host = 4;
  for (const local of [0, 1, 2]) w.get(local);
  w.call(find);
  w.tee(host);
  w.op(W.I32_EQZ);
  w.if();
  w.get(1);
  w.get(2);
  w.get(3);
  w.call(1);
  w.op(W.RETURN);
  w.end();
  bySize(w, 2, size => {
    w.get(host);
    w.get(3);
    w.memory(size === 4 ? W.I32_STORE : size === 2 ? W.I32_STORE16 : W.I32_STORE8, 0);
    w.op(W.RETURN);
  });
  return w.done();
}

/** Emits `body` for 4, 2 and 1 bytes; each returns. */
function bySize(w: WasmWriter, packed: number, body: (size: number) => void): void {
  for (const size of [4, 2]) {
    w.get(packed);
    w.i32(size << 4);
    w.op(W.I32_AND);
    w.if();
    body(size);
    w.end();
  }
  body(1);
}
