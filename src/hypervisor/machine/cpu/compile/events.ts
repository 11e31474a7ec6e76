/**
 * `SYSTEM` ops and faults without leaving WebAssembly, as far as they are common: system calls and faults through gates that
 * `transitions.ts` remembers, loads of segment registers, CLI and STI, POPF, and a few of control registers. What is not covered
 * is left untouched to `slow-paths.ts`.
 *
 *     system(cpu, at, page) -> 0, `ELSEWHERE`, or why compiled code must return (`system` of `slow-paths.ts`)
 *     fault(cpu) -> `ELSEWHERE` or `Leave.EVENT`: the pending fault is delivered; `Leave.FAULT`: it is still pending
 */
import { FETCH_PLACES } from '../../mmu/tlb.js';
import { HAS_ERROR_CODE } from '../core.js';
import {
  CYCLES,
  ESCAPES,
  EXCEPTIONS,
  FAULT_CODE,
  FAULT_VECTOR,
  FETCH_AT,
  FETCH_MACHINE,
  FETCH_PAGE,
  FETCH_SAFE,
  INSTRUCTIONS,
  NO_PAGE,
  POLL_AT,
  type PRICES,
  SHAPE,
  STATUS,
} from '../layout.js';
import { Attr, Cr0, Cr4, Flag, S, Seg, segAttr, segBase, Vector } from '../state.js';
import { Repeat, StringKind } from '../strings.js';
import { type HelperName, helperNumber } from '../system.js';
import type { Replay } from '../transitions.js';
import { MACHINE_PAGE, placeOffset } from './emit-places.js';
import { FLAG_TYPE } from './flag-functions.js';
import { flushFunctions } from './flush.js';
import { ELSEWHERE, Leave } from './frame.js';
import { ANY_MEMORY } from './nest.js';
import { Repeated } from './repeat.js';
import { REPLAY_TYPES, ReplayFunction, replayFunctions } from './replay.js';
import { STRETCH_CYCLES } from './slow-paths.js';
import { ThreadWords } from './thread-words.js';
import { assembleModule, type FunctionBody, Type, W } from './wasm-writer.js';

export interface Events extends Replay {
  readonly system: unknown;
  readonly fault: unknown;
}

const I = Type.I32;
const Import = { SYSTEM: 0, IMAGE: 1, REPEAT: 2 } as const;
const FIRST = 3;
/** Functions behind those of `replay.ts`. */
const Exported = { FLUSH_PAGE: 3, FLUSH_NON_GLOBAL: 4, SYSTEM: 5, FAULT: 6 } as const;
const TYPES = [
  { parameters: [I, I], results: [I] },
  FLAG_TYPE,
  ...REPLAY_TYPES,
  { parameters: [I, I, I], results: [I] },
  { parameters: [I], results: [I] },
  { parameters: [I], results: [] },
];

/** Modules by the address of the ops, on which alone their bytes depend: nearly always the same. */
const modules = new Map<number, WebAssembly.Module>();

function moduleFor(codeAt: number): WebAssembly.Module {
  let module = modules.get(codeAt);
  if (module === undefined) {
    module = new WebAssembly.Module(
      assembleModule({
        ...ANY_MEMORY,
        types: TYPES,
        imports: [
          { name: 'system', type: 0 },
          { name: 'image', type: 1 },
          { name: 'repeat', type: 5 },
        ],
        table: false,
        functions: [...replayFunctions([2, 3, 4]), ...flushFunctions([0, 7]), systemFunction(codeAt), faultFunction()],
      }),
    );
    modules.set(codeAt, module);
  }
  return module;
}

/** `codeAt`: machine address of the ops. `others`: `system` of `slow-paths.ts`, `image` of `flag-functions.ts`, `repeat` of `repeat.ts`. */
export function makeEvents(
  memory: WebAssembly.Memory,
  codeAt: number,
  others: { system(at: number, page: number): number; image: unknown; repeat: unknown },
): Events {
  const { exports } = new WebAssembly.Instance(moduleFor(codeAt), { m: { memory, ...others } });
  const numbered = (number: number): unknown => exports[number];
  return {
    deliver: numbered(ReplayFunction.DELIVER) as Replay['deliver'],
    interruptReturn: numbered(ReplayFunction.INTERRUPT_RETURN) as Replay['interruptReturn'],
    loadSegment: numbered(ReplayFunction.LOAD_SEGMENT) as Replay['loadSegment'],
    system: numbered(Exported.SYSTEM),
    fault: numbered(Exported.FAULT),
  };
}

const CPU = 0;

class EventWords extends ThreadWords {
  /** Calls one of `replay.ts`. */
  replay(number: number): void {
    this.w.call(FIRST + number);
  }

  one(): void {
    this.w.i32(1);
  }

  pay(name: (typeof PRICES)[number]): void {
    this.advance(CYCLES, () => this.price(name));
  }

  /** Pushes EFLAGS with the arithmetic flags. */
  flags(): void {
    for (const word of [S.FLAG_OP, S.FLAG_RESULT, S.FLAG_A, S.FLAG_B]) this.loadState(word);
    this.w.call(Import.IMAGE);
    this.loadState(S.EFLAGS);
    this.or();
  }

  /** Pushes whether an event is due at the event point that has been reached, or one instruction goes alone. */
  isDue(): void {
    const { w } = this;
    this.clock(CYCLES);
    this.clock(POLL_AT);
    w.op(W.F64_GE);
    this.loadState(S.INTERRUPT_SHADOW);
    this.or();
    this.loadState(S.EFLAGS);
    this.and(Flag.TF);
    this.or();
    this.loadState(S.DR7);
    this.and(0xff);
    this.or();
  }

  /** At an event point: answers `Leave.EVENT` where the run loop has something to do; else notes the limit. */
  eventPoint(): void {
    this.isDue();
    this.answerIf(Leave.EVENT);
    this.noteLimit(STRETCH_CYCLES);
  }

  elsewhere(): void {
    this.eventPoint();
    this.answer(ELSEWHERE);
  }
}

/** Delivers the pending fault of the instruction at EIP (`deliverFault`), except debug exceptions. */
function faultFunction(): FunctionBody {
  const VECTOR = 1;
  const f = new EventWords(512);
  const { w } = f;
  f.loadState(FAULT_VECTOR);
  w.tee(VECTOR);
  w.i32(32);
  w.op(W.I32_GE_U);
  w.get(VECTOR);
  w.i32(Vector.DB);
  w.op(W.I32_EQ);
  f.or();
  f.loadState(S.EXCEPTION_BITMAP);
  w.get(VECTOR);
  w.op(W.I32_SHR_U);
  f.and(1);
  f.or();
  f.answerIf(Leave.FAULT);
  w.get(VECTOR);
  w.i32(Vector.PF);
  w.op(W.I32_EQ);
  f.if();
  f.storeState(S.CR2, () => f.loadState(S.FAULT_LINEAR));
  f.end();
  w.get(CPU);
  w.get(VECTOR);
  w.i32(0);
  w.i32(HAS_ERROR_CODE);
  w.get(VECTOR);
  w.op(W.I32_SHR_U);
  f.and(1);
  f.loadState(FAULT_CODE);
  f.loadState(S.EIP);
  f.flags();
  f.replay(ReplayFunction.DELIVER);
  w.op(W.I32_EQZ);
  f.answerIf(Leave.FAULT);
  f.storeState(FAULT_VECTOR, () => w.i32(-1));
  f.storeState(STATUS, () => w.i32(0));
  f.addToClock(EXCEPTIONS, () => f.one());
  f.elsewhere();
  w.op(W.UNREACHABLE);
  return { type: 6, locals: [{ count: 1, type: I }], code: w.done() };
}

const AT = 1;
const PAGE = 2;
/** Address of the op, less `codeAt`. */
const OP = 3;
/** EIP behind the instruction. */
const NEXT = 4;
/** `SHAPE` before. */
const BEFORE = 5;
const X = 6;
const Y = 7;

/** `system`: what is not covered, or turns out to be different, branches to `SLOW` with nothing changed. */
class SystemWriter extends EventWords {
  #slow = 0;
  #done = 0;

  constructor(private readonly codeAt: number) {
    super(4096);
  }

  function(): FunctionBody {
    const { w } = this;
    w.get(AT);
    this.left(2);
    w.set(OP);
    this.loadState(S.EIP);
    this.argument(7);
    this.add();
    w.set(NEXT);
    this.loadState(SHAPE);
    w.set(BEFORE);
    this.#done = this.open();
    this.#slow = this.open();
    this.#cases(1, {
      loadSegment: () => this.#loadSegment(),
      interrupt: () => this.#interrupt(),
      interruptReturn: () => this.#interruptReturn(),
      sysenter: () => this.#sysenter(),
      sysexit: () => this.#sysexit(),
      clearInterrupts: () => this.#setInterrupts(false),
      setInterrupts: () => this.#setInterrupts(true),
      popFlags: () => this.#popFlags(),
      readControl: () => this.#readControl(),
      writeControl: () => this.#writeControl(),
      clearTaskSwitched: () => this.#clearTaskSwitched(),
      invalidatePage: () => this.#invalidatePage(),
      string: () => this.#string(),
    });
    this.end();
    w.get(AT);
    w.get(PAGE);
    w.call(Import.SYSTEM);
    w.tee(X);
    w.i32(Leave.FAULT);
    w.op(W.I32_EQ);
    this.if();
    w.get(CPU);
    w.call(FIRST + Exported.FAULT);
    w.op(W.RETURN);
    this.end();
    w.get(X);
    w.op(W.RETURN);
    this.end();
    this.#goOn();
    return { type: 5, locals: [{ count: Y - PAGE, type: I }], code: w.done() };
  }

  /** Branches by a word of the op; each case ends in a branch or an answer. */
  #cases(word: number, cases: Partial<Record<HelperName, () => void>>): void {
    const { w } = this;
    const names = Object.keys(cases) as HelperName[];
    const count = Math.max(...names.map(name => helperNumber[name])) + 1;
    const depths = new Map<number, number>();
    for (const name of [...names].reverse()) depths.set(helperNumber[name], this.open());
    this.argument(word);
    w.op(W.BR_TABLE);
    w.u(count);
    for (let number = 0; number <= count; number++) w.u(this.depth - (depths.get(number) ?? this.#slow));
    for (const name of names) {
      this.end();
      cases[name]!();
    }
  }

  /** Pushes a word of the op: 1 is the helper, 2 to 5 its arguments, 7 the length of the instruction. */
  argument(word: number): void {
    this.loadAt(OP, this.codeAt + word * 4);
  }

  /** Pushes the address of the state word that an argument names. */
  #wordAt(word: number): void {
    this.argument(word);
    this.left(2);
    this.w.get(CPU);
    this.add();
  }

  /** Pops a condition under which TypeScript does it all. */
  #slowIf(): void {
    this.brIf(this.#slow);
  }

  #slowUnless(): void {
    this.w.op(W.I32_EQZ);
    this.#slowIf();
  }

  #privileged(): void {
    this.loadState(S.CPL);
    this.#slowIf();
  }

  /** Privileged, and none of the guest's alone in non-root operation. */
  #exclusive(): void {
    this.loadState(S.CPL);
    this.loadState(S.NON_ROOT);
    this.or();
    this.#slowIf();
  }

  /** Pushes whether CPL <= IOPL. */
  #hasIoPrivilege(): void {
    this.loadState(S.CPL);
    this.loadState(S.EFLAGS);
    this.right(12);
    this.and(3);
    this.w.op(W.I32_LE_U);
  }

  /** The instruction is complete and EIP is another one: goes wherever that is. */
  #transfer(): void {
    this.addToClock(INSTRUCTIONS, () => this.one());
    this.elsewhere();
  }

  /** The instruction is complete; the next one follows, and is fetched if its page is at hand. */
  #goOn(): void {
    const { w } = this;
    this.storeState(S.EIP, () => w.get(NEXT));
    this.addToClock(INSTRUCTIONS, () => this.one());
    this.eventPoint();
    w.get(NEXT);
    this.loadState(FETCH_SAFE);
    w.op(W.I32_GE_U);
    this.answerIf(Leave.EVENT);
    this.loadState(SHAPE);
    w.get(BEFORE);
    w.op(W.I32_NE);
    w.get(NEXT);
    this.and(-4096);
    w.tee(X);
    this.loadState(FETCH_PAGE);
    w.op(W.I32_NE);
    this.or();
    this.loadState(FETCH_MACHINE);
    w.get(PAGE);
    w.op(W.I32_NE);
    this.or();
    w.get(NEXT);
    this.one();
    w.op(W.I32_SUB);
    w.get(NEXT);
    w.op(W.I32_XOR);
    this.and(-4096);
    this.or();
    this.answerIf(ELSEWHERE);
    w.i32(0);
  }

  /** `loadSegmentHelper`, but for SS and far pointers. */
  #loadSegment(): void {
    const { w } = this;
    this.argument(2);
    w.i32(Seg.SS);
    w.op(W.I32_EQ);
    this.argument(5);
    this.or();
    this.loadState(segAttr(Seg.SS));
    this.and(Attr.DB);
    w.op(W.I32_EQZ);
    this.or();
    this.#slowIf();
    w.get(CPU);
    this.argument(2);
    this.#wordAt(3);
    w.memory(W.I32_LOAD16_U, 0, 1);
    this.replay(ReplayFunction.LOAD_SEGMENT);
    this.#slowUnless();
    this.storeState(S.ESP, () => {
      this.loadState(S.ESP);
      this.argument(4);
      this.add();
    });
    this.pay('segmentLoad');
    this.br(this.#done);
  }

  /** REP MOVS and REP STOS with 32-bit addresses. */
  #string(): void {
    const { w } = this;
    this.argument(2);
    this.and(15);
    w.i32(StringKind.STOS);
    w.op(W.I32_GT_U);
    this.argument(2);
    this.right(8);
    w.i32(Repeat.REP);
    w.op(W.I32_NE);
    this.or();
    this.#slowIf();
    w.get(CPU);
    this.argument(2);
    this.and(0xff);
    this.argument(3);
    w.call(Import.REPEAT);
    w.tee(X);
    w.i32(Repeated.EVENT);
    w.op(W.I32_EQ);
    this.answerIf(Leave.EVENT);
    // What is left of it is done in TypeScript.
    w.get(X);
    this.#slowUnless();
    this.br(this.#done);
  }

  #interrupt(): void {
    const { w } = this;
    // INT3 and INTO are exceptions to the bitmap, and INT n is not.
    this.loadState(S.EXCEPTION_BITMAP);
    this.and((1 << Vector.BP) | (1 << Vector.OF));
    this.#slowIf();
    w.get(CPU);
    this.argument(2);
    this.one();
    w.i32(0);
    w.i32(0);
    w.get(NEXT);
    this.flags();
    this.replay(ReplayFunction.DELIVER);
    this.#slowUnless();
    this.addToClock(EXCEPTIONS, () => this.one());
    this.elsewhere();
  }

  #interruptReturn(): void {
    const { w } = this;
    this.argument(2);
    w.i32(4);
    w.op(W.I32_NE);
    this.#slowIf();
    w.get(CPU);
    this.replay(ReplayFunction.INTERRUPT_RETURN);
    this.#slowUnless();
    this.#transfer();
  }

  /** The checks that SYSENTER and SYSEXIT have in common; leaves the selector in X. */
  #checkSysenter(): void {
    const { w } = this;
    this.loadState(S.SYSENTER_CS);
    this.and(0xfffc);
    w.tee(X);
    this.#slowUnless();
    this.loadState(S.CR0);
    this.and(Cr0.PE);
    this.#slowUnless();
  }

  #sysenter(): void {
    this.#checkSysenter();
    this.loadState(ESCAPES);
    this.#slowIf();
    this.storeState(S.EFLAGS, () => {
      this.loadState(S.EFLAGS);
      this.and(~(Flag.VM | Flag.IF));
    });
    this.enterFlat(X, 0, Y);
    this.storeState(S.ESP, () => this.loadState(S.SYSENTER_ESP));
    this.storeState(S.EIP, () => this.loadState(S.SYSENTER_EIP));
    this.updatePoll();
    this.pay('sysenter');
    this.#transfer();
  }

  #sysexit(): void {
    const { w } = this;
    this.#checkSysenter();
    this.#privileged();
    this.pay('sysexit');
    w.get(X);
    w.i32(16);
    this.add();
    w.set(X);
    this.enterFlat(X, 3, Y);
    this.storeState(S.ESP, () => this.loadState(S.ECX));
    this.storeState(S.EIP, () => this.loadState(S.EDX));
    this.#transfer();
  }

  #setInterrupts(on: boolean): void {
    const { w } = this;
    this.#hasIoPrivilege();
    this.#slowUnless();
    if (on) {
      this.storeState(S.INTERRUPT_SHADOW, () => {
        this.one();
        this.loadState(S.INTERRUPT_SHADOW);
        this.loadState(S.EFLAGS);
        this.and(Flag.IF);
        w.op(W.I32_EQZ);
        w.op(W.SELECT);
      });
    }
    this.storeState(S.EFLAGS, () => {
      this.loadState(S.EFLAGS);
      w.i32(on ? Flag.IF : ~Flag.IF);
      w.op(on ? W.I32_OR : W.I32_AND);
    });
    this.updatePoll();
    this.pay('cliSti');
    this.br(this.#done);
  }

  /** POPFD on a stack of 32 bits. */
  #popFlags(): void {
    const { w } = this;
    const [MASK, VALUE] = [X, Y];
    this.argument(3);
    w.i32(4);
    w.op(W.I32_NE);
    this.loadState(segAttr(Seg.SS));
    this.and(Attr.DB);
    w.op(W.I32_EQZ);
    this.or();
    this.#slowIf();
    w.i32(Flag.ARITHMETIC | Flag.TF | Flag.DF | Flag.NT | Flag.AC | Flag.ID);
    w.i32(0);
    w.i32(Flag.IOPL);
    this.loadState(S.CPL);
    w.op(W.SELECT);
    this.or();
    w.i32(Flag.IF);
    w.i32(0);
    this.#hasIoPrivilege();
    w.op(W.SELECT);
    this.or();
    w.set(MASK);
    this.#wordAt(2);
    w.memory(W.I32_LOAD, 0, 2);
    w.get(MASK);
    w.op(W.I32_AND);
    this.loadState(S.EFLAGS);
    w.get(MASK);
    w.i32(Flag.RF);
    this.or();
    w.i32(-1);
    w.op(W.I32_XOR);
    w.op(W.I32_AND);
    this.or();
    w.set(VALUE);
    this.writeEflags(VALUE);
    this.storeState(S.ESP, () => {
      this.loadState(S.ESP);
      w.i32(4);
      this.add();
    });
    this.pay('popf');
    this.br(this.#done);
  }

  #readControl(): void {
    const { w } = this;
    this.#exclusive();
    // The state words of CR0, CR2, CR3 and CR4 are neighbours; there is no CR1.
    this.#wordAt(3);
    this.argument(2);
    this.argument(2);
    w.i32(0);
    w.op(W.I32_NE);
    w.op(W.I32_SUB);
    this.left(2);
    w.get(CPU);
    this.add();
    w.memory(W.I32_LOAD, S.CR0 * 4, 2);
    w.memory(W.I32_STORE, 0, 2);
    this.pay('simple');
    this.br(this.#done);
  }

  /** MOV to CR2 and CR3. */
  #writeControl(): void {
    const { w } = this;
    const value = () => {
      this.#wordAt(3);
      w.memory(W.I32_LOAD, 0, 2);
    };
    this.#exclusive();
    this.argument(2);
    w.i32(2);
    w.op(W.I32_EQ);
    this.if();
    this.storeState(S.CR2, value);
    this.pay('movCr2');
    this.br(this.#done);
    this.end();
    this.argument(2);
    w.i32(3);
    w.op(W.I32_NE);
    this.#slowIf();
    // With PAE there are registers to load, and to check.
    this.loadState(S.CR4);
    this.and(Cr4.PAE);
    this.#slowIf();
    this.storeState(S.CR3, value);
    w.get(CPU);
    w.call(FIRST + Exported.FLUSH_NON_GLOBAL);
    this.pay('movCr3');
    this.#refetch();
    this.br(this.#done);
  }

  #invalidatePage(): void {
    const { w } = this;
    this.#exclusive();
    w.get(CPU);
    this.#wordAt(3);
    w.memory(W.I32_LOAD, 0, 2);
    this.argument(2);
    this.left(4);
    w.get(CPU);
    this.add();
    w.memory(W.I32_LOAD, segBase(0) * 4, 2);
    this.add();
    w.call(FIRST + Exported.FLUSH_PAGE);
    this.#slowUnless();
    this.pay('invlpg');
    this.#refetch();
    this.br(this.#done);
  }

  /** The page of the next instruction is fetched anew: where its place still has it, at once. */
  #refetch(): void {
    const { w } = this;
    w.get(NEXT);
    placeOffset(w, FETCH_PLACES);
    w.get(CPU);
    this.add();
    w.set(X);
    this.storeState(FETCH_PAGE, () => {
      w.get(NEXT);
      this.and(-4096);
      w.tee(Y);
      w.i32(NO_PAGE);
      // At CPL 0.
      this.loadAt(X, FETCH_AT);
      w.get(Y);
      w.op(W.I32_EQ);
      w.op(W.SELECT);
    });
    this.storeState(FETCH_MACHINE, () => this.loadAt(X, MACHINE_PAGE));
  }

  #clearTaskSwitched(): void {
    this.#exclusive();
    this.storeState(S.CR0, () => {
      this.loadState(S.CR0);
      this.and(~Cr0.TS);
    });
    this.pay('clts');
    this.br(this.#done);
  }
}

const systemFunction = (codeAt: number): FunctionBody => new SystemWriter(codeAt).function();
