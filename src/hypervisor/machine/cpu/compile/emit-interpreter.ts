/**
 * Emits the interpreter. Its shape:
 *
 *     block EXIT
 *       loop BLOCK                          HEADER is that of a block, or a template; PC is its first op
 *         block ENTER                       NEXT is the header to go on with
 *           block LOOKUP                    EIP is known, its block is not
 *             block FOLLOW                  LINK is the place of a link
 *               loop DISPATCH
 *                 block ... block           one for each case
 *                   br_table op at PC
 *                 end  case 0  end  case 1 ...
 *               end
 *             end  NEXT from LINK
 *           end  NEXT from `seek`, or HEADER = template, go to BLOCK
 *         end  count the execution, HEADER = NEXT, go to BLOCK
 *       end
 *     end  clock, EIP, and which op it was
 *
 * Code that has no blocks yet is walked: each instruction is a block of its own, the template's, where it lies.
 *
 * The cases of ops within a block are in `interpreter-data.ts`, `interpreter-memory.ts` and `interpreter-arithmetic.ts`. Cycles and
 * instructions are summed in one 64-bit local as in compiled code. What an op means is said in `interpret.ts` and `rare-ops.ts`;
 * whatever is not worth a case, or turns out to be awkward, goes to `execute`, which calls those.
 */
import { type CacheLayout, Header, MARK_WORDS, Mode, RETIRED } from '../cache-layout.js';
import { Op } from '../ir.js';
import {
  CYCLES,
  EXIT_OP,
  FETCH_MACHINE,
  FETCH_PAGE,
  FETCH_SAFE,
  INSTRUCTIONS,
  LIMIT,
  SHAPE,
  STATUS,
} from '../layout.js';
import { Attr, S, Seg, segAttr, segBase, segLimit } from '../state.js';
import { Field } from '../template-layout.js';
import { emitFetchPage } from './emit-fetch.js';
import { WALK } from './emit-seek.js';
import { emitStep, STEP_LOCALS } from './emit-templates.js';
import { pushRoot } from './finder-calls.js';
import { CONDITION_TYPE, FLAG_TYPE, flagFunctions } from './flag-functions.js';
import { ELSEWHERE, Leave } from './frame.js';
import { arithmeticCases } from './interpreter-arithmetic.js';
import { dataCases } from './interpreter-data.js';
import { memoryCases } from './interpreter-memory.js';
import { Call, type Case, InterpreterWriter, P } from './interpreter-writer.js';
import { ANY_MEMORY } from './nest.js';
import { assembleModule, Type, W, WasmWriter } from './wasm-writer.js';

const I = Type.I32;
const TYPES = [
  { parameters: [I, I, Type.I64, I], results: [I] },
  { parameters: [I, I, I], results: [I] },
  { parameters: [I, I], results: [I] },
  { parameters: [I], results: [I] },
  FLAG_TYPE,
  CONDITION_TYPE,
] as const;
const IMPORTS = [
  { name: 'execute', type: 2 },
  { name: 'find', type: 1 },
  { name: 'seek', type: 2 },
  { name: 'provide', type: 2 },
  { name: 'dispatch', type: 3 },
  { name: 'system', type: 1 },
  { name: 'fault', type: 3 },
] as const;
/** Imported globals: the heat at which the compiler wants a block. */
const GLOBALS = ['threshold'] as const;

/**
 * The module. Exports `1`, the way in for a block that TypeScript has found, and `2`, the way in at EIP:
 *
 *     here(cpu) -> why it ended (`Leave`); `Leave.UNKNOWN` with nothing changed if it did not begin
 *
 * `LIMIT` must be up to date, and no event may be due.
 */
export function emitInterpreter(layout: CacheLayout): Uint8Array<ArrayBuffer> {
  const enter = new WasmWriter(64);
  enter.get(0);
  enter.get(1);
  enter.i64(0, 0);
  enter.get(2);
  enter.op(W.RETURN_CALL);
  enter.u(Call.INTERPRET);
  const here = new WasmWriter(64);
  here.get(0);
  here.i32(0);
  here.i64(0, 0);
  here.i32(RETIRED);
  here.op(W.RETURN_CALL);
  here.u(Call.INTERPRET);
  return assembleModule({
    ...ANY_MEMORY,
    types: TYPES,
    imports: IMPORTS,
    globals: GLOBALS,
    table: false,
    functions: [
      {
        type: 0,
        locals: [
          { count: P.WIDE - P.PC, type: I },
          { count: 1, type: Type.I64 },
        ],
        code: new InterpreterEmitter(layout).emit(),
      },
      { type: 1, locals: [], code: enter.done() },
      { type: 3, locals: [], code: here.done() },
      { type: 2, locals: [{ count: STEP_LOCALS, type: I }], code: emitStep(layout) },
      ...flagFunctions(Call.FLAGS, 4, 5),
    ],
  });
}

class InterpreterEmitter {
  readonly #o = new InterpreterWriter();
  #exit = 0;
  #block = 0;
  #enter = 0;
  #lookup = 0;
  #follow = 0;

  constructor(private readonly layout: CacheLayout) {}

  emit(): Uint8Array {
    const o = this.#o;
    const { w } = o;
    // TAGS: tags for user accesses are two words behind those for the supervisor.
    w.get(P.CPU);
    o.loadState(S.CPL);
    w.i32(3);
    w.op(W.I32_EQ);
    w.i32(3);
    w.op(W.I32_SHL);
    w.op(W.I32_ADD);
    w.set(P.TAGS);
    this.#exit = o.open();
    w.i32(Leave.UNKNOWN);
    w.set(P.CODE);
    const begun = o.open();
    w.get(P.HEADER);
    w.op(W.I32_EQZ);
    o.if();
    this.#findMode();
    // Blocks of this kind are the compiler's if they are hot.
    w.op(W.GLOBAL_GET);
    w.u(0);
    w.get(P.HOT);
    this.#isOfShape();
    w.get(P.MODE);
    w.i32(Mode.PLAIN);
    w.op(W.I32_EQ);
    w.op(W.I32_AND);
    w.op(W.SELECT);
    w.set(P.HOT);
    this.#lookUp(begun);
    this.#linkOrEnter();
    this.#countAndEnter(() => o.br(this.#exit));
    o.else();
    o.loadAt(P.HEADER, Header.MODE * 4);
    w.set(P.MODE);
    this.#beginBlock();
    o.end();
    o.end();
    w.i32(Leave.GOTO);
    w.set(P.CODE);
    this.#block = o.openLoop();
    this.#enter = o.open();
    this.#lookup = o.open();
    this.#follow = o.open();
    o.dispatchDepth = o.openLoop();
    this.#table([...dataCases(o), ...memoryCases(o), ...arithmeticCases(o), ...this.#terminators()]);
    o.end();
    o.end();
    this.#followLink();
    o.end();
    this.#lookUp(this.#block);
    this.#linkOrEnter();
    o.end();
    this.#countAndEnter(() => this.#toCompiled());
    o.br(this.#block);
    o.end();
    o.end();
    this.#leave();
    return w.done();
  }

  #table(cases: readonly Case[]): void {
    const o = this.#o;
    const { w } = o;
    o.genericDepth = o.open();
    const labels = new Array<number>(Op.STEP + 1).fill(o.genericDepth);
    for (let i = cases.length - 1; i >= 0; i--) {
      const label = o.open();
      // The last one, to which all others can branch.
      if (i === cases.length - 1) o.stepDepth = label;
      for (const op of cases[i]!.ops) labels[op] = label;
    }
    o.loadAt(P.PC, 0);
    w.op(W.BR_TABLE);
    w.u(labels.length);
    for (const label of labels) w.u(o.depth - label);
    w.u(o.depth - o.genericDepth);
    for (const { emit } of cases) {
      o.end();
      emit();
    }
    o.end();
    this.#execute();
  }

  // ---- ends of blocks

  #terminators(): readonly Case[] {
    const cases: Case[] = [];
    const add = (op: number, emit: () => void) => cases.push({ ops: [op], emit });
    const o = this.#o;
    const { w } = o;
    const op = (code: number) => w.op(code);
    add(Op.JUMP, () => this.#taken());
    add(Op.BRANCH, () => {
      o.pushCondition(3);
      o.if();
      this.#taken();
      o.end();
      this.#fall();
    });
    add(Op.BRANCH_IF, () => {
      o.push(3);
      op(W.I32_EQZ);
      o.arg(4);
      op(W.I32_EQZ);
      op(W.I32_EQ);
      o.if();
      this.#taken();
      o.end();
      this.#fall();
    });
    add(Op.BRANCH_LOOP, () => {
      o.push(3);
      w.i32(0);
      op(W.I32_NE);
      o.pushCondition(4);
      op(W.I32_AND);
      o.if();
      this.#taken();
      o.end();
      this.#fall();
    });
    add(Op.NEXT, () => this.#fall());
    add(Op.JUMP_INDIRECT, () => {
      o.push(2);
      w.set(P.VALUE);
      this.#checkTarget();
      this.#finish(() => w.get(P.VALUE));
      this.#eventCheck();
      w.i32(0);
      w.set(P.LINK);
      o.br(this.#lookup);
    });
    add(Op.BRANCH_INDIRECT, () => {
      o.push(3);
      op(W.I32_EQZ);
      o.if();
      this.#fall();
      o.end();
      o.push(2);
      w.set(P.VALUE);
      this.#checkTarget();
      this.#finish(() => w.get(P.VALUE));
      this.#exitWith(Leave.EVENT);
    });
    add(Op.CUT, () => {
      o.storeState(S.EIP, () => {
        o.loadState(S.EIP);
        o.arg(1);
        op(W.I32_ADD);
      });
      w.get(P.SPENT);
      o.arg(3);
      op(W.I64_EXTEND_I32_U);
      w.i64(0, 32);
      op(W.I64_SHL);
      o.arg(2);
      op(W.I64_EXTEND_I32_U);
      op(W.I64_OR);
      op(W.I64_ADD);
      w.set(P.SPENT);
      w.i32(0);
      w.set(P.LINK);
      this.#exitWith(Leave.GOTO);
    });
    add(Op.SYSTEM, () => {
      this.#finish(() => {
        o.loadState(S.EIP);
        o.arg(6);
        op(W.I32_ADD);
      });
      w.get(P.SPENT);
      w.i64(1, 0);
      op(W.I64_SUB);
      w.set(P.SPENT);
      this.#isOfShape();
      op(W.I32_EQZ);
      o.if();
      this.#exitWith(Leave.SYSTEM);
      o.end();
      this.#addSpent();
      w.get(P.CPU);
      this.#pcIndex();
      // No page: this block, its mode and its links may not be what they were.
      w.i32(-1);
      w.call(Call.SYSTEM);
      this.#goOnOrAnswer();
    });
    add(Op.STEP, () => {
      this.#finish(() => {
        o.loadState(S.EIP);
        o.loadAt(P.HEADER, Field.LENGTH * 4);
        op(W.I32_ADD);
      });
      w.get(P.AT);
      o.loadAt(P.HEADER, Field.LENGTH * 4);
      op(W.I32_ADD);
      w.tee(P.AT);
      // What follows a page in machine memory need not follow it in the linear address space.
      w.i32(4095);
      op(W.I32_AND);
      o.if();
      this.#stepIfKnown(o.dispatchDepth);
      o.end();
      this.#linkAt(Header.FALL);
    });
    return cases;
  }

  /** A target in VALUE beyond the code segment's limit: the reference interpreter raises the fault. */
  #checkTarget(): void {
    const o = this.#o;
    const { w } = o;
    w.get(P.VALUE);
    o.loadState(segLimit(Seg.CS));
    w.op(W.I32_GT_U);
    o.if();
    this.#exitWith(Leave.INTERPRET);
    o.end();
  }

  /** The block is done: EIP is what `eip` pushes, and its cost is added. */
  #finish(eip: () => void): void {
    const o = this.#o;
    const { w } = o;
    o.storeState(S.EIP, eip);
    w.get(P.SPENT);
    w.get(P.HEADER);
    w.memory(W.I64_LOAD, Header.CYCLES * 4, 3);
    w.op(W.I64_ADD);
    w.set(P.SPENT);
  }

  #eventCheck(): void {
    const o = this.#o;
    const { w } = o;
    w.get(P.SPENT);
    w.op(W.I32_WRAP_I64);
    o.loadState(LIMIT);
    w.op(W.I32_GE_S);
    o.if();
    this.#exitWith(Leave.EVENT);
    o.end();
  }

  /** Over the direct edge of a branch that is taken. */
  #taken(): void {
    const o = this.#o;
    const { w } = o;
    o.loadState(S.EIP);
    o.arg(1);
    w.op(W.I32_ADD);
    w.set(P.VALUE);
    this.#checkTarget();
    this.#finish(() => w.get(P.VALUE));
    o.arg(2);
    o.if();
    this.#eventCheck();
    o.end();
    this.#linkAt(Header.TAKEN);
  }

  #fall(): void {
    const o = this.#o;
    const { w } = o;
    this.#finish(() => {
      o.loadState(S.EIP);
      o.loadAt(P.HEADER, Header.BYTES * 4);
      w.op(W.I32_ADD);
    });
    this.#linkAt(Header.FALL);
  }

  #linkAt(word: number): void {
    const o = this.#o;
    const { w } = o;
    w.get(P.HEADER);
    w.i32(word * 4);
    w.op(W.I32_ADD);
    w.set(P.LINK);
    o.br(this.#follow);
  }

  #exitWith(code: number): void {
    const o = this.#o;
    const { w } = o;
    w.i32(code);
    w.set(P.CODE);
    o.br(this.#exit);
  }

  /** Pushes the linear address of EIP. */
  #linear(): void {
    const o = this.#o;
    const { w } = o;
    o.loadState(S.EIP);
    o.loadState(segBase(Seg.CS));
    w.op(W.I32_ADD);
  }

  #followLink(): void {
    const o = this.#o;
    const { w } = o;
    o.loadAt(P.LINK, 0);
    w.tee(P.NEXT);
    o.brIf(this.#enter);
    // Only within the page: every other transition asks the instruction TLB, so whether it misses does not depend on links.
    this.#linear();
    w.i32(-4096);
    w.op(W.I32_AND);
    o.loadState(FETCH_PAGE);
    w.op(W.I32_NE);
    o.if();
    w.i32(0);
    w.set(P.LINK);
    o.end();
  }

  /** MODE from the segment registers, as `Context.find` has it. */
  #findMode(): void {
    const o = this.#o;
    const { w } = o;
    const narrow = (seg: number, mode: number) => {
      w.i32(mode);
      w.i32(0);
      o.loadState(segAttr(seg));
      w.i32(Attr.DB);
      w.op(W.I32_AND);
      w.op(W.I32_EQZ);
      w.op(W.SELECT);
    };
    narrow(Seg.SS, Mode.STACK16);
    narrow(Seg.CS, Mode.CODE16);
    w.op(W.I32_OR);
    w.set(P.MODE);
  }

  /**
   * NEXT: the block at EIP, as `Context.find` finds or decodes it where the fetch TLB's place has the page; else out. To `walk` where
   * there is none and its first instruction is ready to be executed without.
   */
  #lookUp(walk: number): void {
    const o = this.#o;
    const { w } = o;
    const op = (code: number) => w.op(code);
    o.loadState(S.EIP);
    o.loadState(FETCH_SAFE);
    op(W.I32_GE_U);
    o.brIf(this.#exit);
    this.#linear();
    w.tee(P.LINEAR);
    w.i32(-4096);
    op(W.I32_AND);
    w.tee(P.X);
    o.loadState(FETCH_PAGE);
    op(W.I32_NE);
    o.if();
    const addTag = () => {
      // The word behind the tag of the supervisor is the user's, as with the tags of data.
      w.get(P.TAGS);
      w.get(P.CPU);
      op(W.I32_SUB);
      w.i32(1);
      op(W.I32_SHR_U);
      op(W.I32_ADD);
    };
    emitFetchPage(o, { page: P.X, place: P.LINE, machine: P.Y }, addTag, this.#exit);
    o.end();
    o.loadState(FETCH_MACHINE);
    w.get(P.LINEAR);
    w.i32(4095);
    op(W.I32_AND);
    op(W.I32_ADD);
    w.tee(P.AT);
    w.get(P.MODE);
    w.call(Call.SEEK);
    w.tee(P.NEXT);
    w.i32(WALK);
    op(W.I32_EQ);
    o.if();
    pushRoot(w, P.MODE);
    w.set(P.ROOT);
    this.#stepIfKnown(walk);
    w.get(P.AT);
    w.get(P.MODE);
    w.call(Call.PROVIDE);
    w.set(P.NEXT);
    o.end();
    w.get(P.NEXT);
    op(W.I32_EQZ);
    o.brIf(this.#exit);
    // Decoded with the page behind it: such a block is the reference interpreter's.
    o.loadAt(P.NEXT, Header.SECOND_PAGE * 4);
    w.i32(0);
    op(W.I32_GE_S);
    o.brIf(this.#exit);
  }

  /** The edge over which NEXT was found, if it was a direct one within the page, is followed from now on. */
  #linkOrEnter(): void {
    const o = this.#o;
    const { w } = o;
    w.get(P.LINK);
    o.if();
    o.loadAt(P.HEADER, Header.MACHINE * 4);
    o.loadAt(P.PC, 4);
    o.loadAt(P.HEADER, Header.BYTES * 4);
    w.get(P.LINK);
    w.get(P.HEADER);
    w.i32(Header.TAKEN * 4);
    w.op(W.I32_ADD);
    w.op(W.I32_EQ);
    w.op(W.SELECT);
    w.op(W.I32_ADD);
    o.loadAt(P.NEXT, Header.MACHINE * 4);
    w.op(W.I32_EQ);
    // Templates are many blocks at once.
    w.get(P.HEADER);
    w.i32(this.layout.blocksAt);
    w.op(W.I32_GE_U);
    w.op(W.I32_AND);
    o.if();
    o.storeAt(P.LINK, 0, () => w.get(P.NEXT));
    o.end();
    o.else();
    o.storeAt(P.NEXT, Header.ENTERED * 4, () => w.i32(1));
    o.end();
  }

  /** A block that is hot, or that a link still leads to though it is retired, is not entered: `otherwise` says what happens. */
  #countAndEnter(otherwise: () => void): void {
    const o = this.#o;
    const { w } = o;
    o.loadAt(P.NEXT, Header.HEAT * 4);
    w.tee(P.X);
    w.get(P.HOT);
    w.op(W.I32_GE_S);
    o.if();
    otherwise();
    o.end();
    o.storeAt(P.NEXT, Header.HEAT * 4, () => {
      w.get(P.X);
      w.i32(1);
      w.op(W.I32_ADD);
    });
    this.#beginNext();
  }

  #beginNext(): void {
    const { w } = this.#o;
    w.get(P.NEXT);
    w.set(P.HEADER);
    this.#beginBlock();
  }

  /** PC: the first op of the block, or template, at HEADER. */
  #beginBlock(): void {
    const { w } = this.#o;
    w.get(P.HEADER);
    w.i32(Header.WORDS * 4);
    w.op(W.I32_ADD);
    w.set(P.PC);
  }

  /** Goes to `then` with the instruction at AT ready to be executed from its template, if it has one. NEXT is lost. */
  #stepIfKnown(then: number): void {
    const o = this.#o;
    const { w } = o;
    w.get(P.AT);
    w.get(P.ROOT);
    w.call(Call.STEP);
    w.tee(P.NEXT);
    o.if();
    this.#beginNext();
    o.br(then);
    o.end();
  }

  // ---- out

  /** To the compiled code at EIP, from where one comes back here if there is none. */
  #toCompiled(): void {
    const o = this.#o;
    const { w } = o;
    this.#addSpent();
    o.storeState(LIMIT, () => {
      o.loadState(LIMIT);
      w.get(P.SPENT);
      w.op(W.I32_WRAP_I64);
      w.op(W.I32_SUB);
    });
    this.#dispatch();
  }

  /** To whoever executes the code at EIP. No event is due, and `LIMIT` is up to date. */
  #dispatch(): void {
    const o = this.#o;
    const { w } = o;
    // Accesses that were left to the reference interpreter may have left their status.
    o.storeState(STATUS, () => w.i32(0));
    w.get(P.CPU);
    w.op(W.RETURN_CALL);
    w.u(Call.DISPATCH);
  }

  /** Pushes whether the thread is in one of the states that compiled code is for; `events.ts` takes them for granted. */
  #isOfShape(): void {
    const o = this.#o;
    o.loadState(SHAPE);
    o.w.i32(0);
    o.w.op(W.I32_GE_S);
  }

  /** Pops what `events.ts` has answered: on to EIP, or out. The clock is exact. */
  #goOnOrAnswer(): void {
    const o = this.#o;
    const { w } = o;
    w.tee(P.CODE);
    w.i32(ELSEWHERE);
    w.op(W.I32_EQ);
    o.if();
    this.#dispatch();
    o.end();
    w.get(P.CODE);
    w.op(W.RETURN);
  }

  /** Any op but one that ends a block, by the reference interpreter's function; the clock is exact for it. */
  #execute(): void {
    const o = this.#o;
    const { w } = o;
    this.#addSpent();
    w.i64(0, 0);
    w.set(P.SPENT);
    w.get(P.HEADER);
    w.get(P.PC);
    w.call(Call.EXECUTE);
    o.if();
    o.nextOfAny();
    o.end();
    this.#exitWith(Leave.FAULT);
  }

  #leave(): void {
    const o = this.#o;
    const { w } = o;
    this.#addSpent();
    w.get(P.CODE);
    w.i32(Leave.SYSTEM);
    w.op(W.I32_EQ);
    o.if();
    o.storeState(EXIT_OP, () => this.#pcIndex());
    o.end();
    w.get(P.CODE);
    w.i32(Leave.FAULT);
    w.op(W.I32_EQ);
    o.if();
    this.#retreat();
    this.#isOfShape();
    o.if();
    w.get(P.CPU);
    w.call(Call.FAULT);
    this.#goOnOrAnswer();
    o.end();
    o.end();
    w.get(P.CODE);
    w.i32(Leave.INTERPRET);
    w.op(W.I32_EQ);
    o.if();
    this.#retreat();
    o.end();
    w.get(P.CODE);
  }

  #pcIndex(): void {
    const o = this.#o;
    const { w } = o;
    w.get(P.PC);
    w.i32(this.layout.codeAt);
    w.op(W.I32_SUB);
    w.i32(2);
    w.op(W.I32_SHR_U);
  }

  /** As `retreat` of `interpret.ts`: EIP and clock become those of the instruction whose op is at PC. */
  #retreat(): void {
    const o = this.#o;
    const { w } = o;
    const op = (code: number) => w.op(code);
    this.#pcIndex();
    w.set(P.X);
    o.loadAt(P.HEADER, Header.INSTRUCTIONS * 4);
    w.set(P.Y);
    // LINE: the mark, B: its number; from the last one down to the first that is not behind PC.
    o.loadAt(P.HEADER, Header.MARKS * 4);
    w.get(P.Y);
    w.i32(MARK_WORDS);
    op(W.I32_MUL);
    op(W.I32_ADD);
    w.i32(2);
    op(W.I32_SHL);
    w.i32(this.layout.codeAt);
    op(W.I32_ADD);
    w.set(P.LINE);
    const search = o.openLoop();
    w.get(P.Y);
    w.i32(1);
    op(W.I32_SUB);
    w.set(P.Y);
    w.get(P.LINE);
    w.i32(MARK_WORDS * 4);
    op(W.I32_SUB);
    w.tee(P.LINE);
    w.memory(W.I32_LOAD, 0, 2);
    w.get(P.X);
    op(W.I32_GT_U);
    o.brIf(search);
    o.end();
    o.storeState(S.EIP, () => {
      o.loadState(S.EIP);
      o.loadAt(P.LINE, 4);
      op(W.I32_ADD);
    });
    w.get(P.Y);
    op(W.I64_EXTEND_I32_U);
    w.i64(0, 32);
    op(W.I64_SHL);
    o.loadAt(P.LINE, 8);
    op(W.I64_EXTEND_I32_U);
    op(W.I64_OR);
    w.set(P.SPENT);
    this.#addSpent();
  }

  #addSpent(): void {
    const o = this.#o;
    const { w } = o;
    o.addToClock(CYCLES, () => {
      w.get(P.SPENT);
      w.op(W.I32_WRAP_I64);
    });
    o.addToClock(INSTRUCTIONS, () => {
      w.get(P.SPENT);
      w.i64(0, 32);
      w.op(W.I64_SHR_U);
      w.op(W.I32_WRAP_I64);
    });
  }
}
