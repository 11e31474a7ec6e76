/**
 * Emits the interpreter. Its shape:
 *
 *     block EXIT
 *       loop BLOCK                          HEADER is a block's; PC is its first op
 *         block ENTER                       NEXT is the header to go on with
 *           block LOOKUP                    EIP is known, its block is not
 *             block FOLLOW                  LINK is the place of a link
 *               loop DISPATCH
 *                 block ... block           one for each case
 *                   br_table op at PC
 *                 end  case 0  end  case 1 ...
 *               end
 *             end  NEXT from LINK
 *           end  NEXT from the hash of blocks
 *         end  count the execution, HEADER = NEXT, go to BLOCK
 *       end
 *     end  clock and mailbox
 *
 * Guest registers, temporaries and lazy flags stay in the state words. Cycles and instructions are summed in one 64-bit local as
 * in compiled code. What an op means is said in `interpret.ts` and `rare-ops.ts`; whatever is not worth a case here, or turns
 * out to be awkward, goes to `execute`, which calls those.
 */
import { DATA_PLACES, FETCH_PLACES } from '../../mmu/tlb.js';
import { Header } from '../code-cache.js';
import { FlagOp } from '../flags.js';
import { OP_WORDS, Op } from '../ir.js';
import { CLOCK_AT, FETCH_AT, FETCH_MACHINE, FETCH_PAGE, FETCH_SAFE, READABLE, TLB_AT, WRITABLE } from '../layout.js';
import { Flag, S, Seg, segBase, segLimit } from '../state.js';
import { ADDEND, MACHINE_PAGE, placeOffset } from './emit-places.js';
import { Leave } from './frame.js';
import { assembleModule, Type, W, WasmWriter } from './wasm-writer.js';

/** Words of the mailbox, which the interpreter leaves its answers in. */
export const Mail = {
  /** Header of the block that was left. */
  HEADER: 0,
  /** Machine address of the op at which it was left. */
  PC: 1,
  /** Machine address of the link that is missing, or 0. */
  LINK: 2,
  /** Cycles until event points take a look, from `execute`. */
  LIMIT: 3,
} as const;

const P = {
  /** Parameters: state words; header of the first block; instructions << 32 | cycles; cycles until event points take a look; heat
   * at which a block is not entered. */
  CPU: 0,
  HEADER: 1,
  SPENT: 2,
  LIMIT: 3,
  HOT: 4,
  PC: 5,
  /** State words, plus the distance from supervisor to user tags at CPL 3. */
  TAGS: 6,
  A: 7,
  B: 8,
  R: 9,
  ADDRESS: 10,
  LINEAR: 11,
  LINE: 12,
  LINK: 13,
  NEXT: 14,
  CODE: 15,
  WIDE: 16,
} as const;

const I = Type.I32;
const TYPES = [
  { parameters: [I, I, Type.I64, I, I], results: [I] },
  { parameters: [I, I, I, I], results: [I] },
  { parameters: [I, I], results: [I] },
  { parameters: [I, I, I, I, I], results: [I] },
  { parameters: [I], results: [I] },
] as const;
const IMPORTS = [
  { name: 'execute', type: 2 },
  { name: 'condition', type: 3 },
] as const;
const Call = { EXECUTE: 0, CONDITION_OF: 1, INTERPRET: 2, ENTER: 3, CONDITION: 4, CARRY: 5 } as const;
/** Least and greatest size of the memory that the module may be given, in WebAssembly pages. */
const MEMORY_PAGES_MIN = 1;
const MEMORY_PAGES_MAX = 0x8000;

/** The module. `mailAt` and `slotsAt` are machine addresses. Exports `0`, the interpreter, and `1`, the way in from TypeScript. */
export function emitInterpreter(mailAt: number, slotsAt: number, slots: number): Uint8Array<ArrayBuffer> {
  const enter = new WasmWriter(64);
  enter.get(0);
  enter.get(1);
  enter.i64(0, 0);
  enter.get(2);
  enter.get(3);
  enter.call(Call.INTERPRET);
  return assembleModule({
    types: TYPES,
    imports: IMPORTS,
    table: false,
    memoryPages: MEMORY_PAGES_MIN,
    memoryPagesMax: MEMORY_PAGES_MAX,
    functions: [
      {
        type: 0,
        locals: [
          { count: P.WIDE - P.PC, type: I },
          { count: 1, type: Type.I64 },
        ],
        code: new InterpreterEmitter(mailAt, slotsAt, slots).emit(),
      },
      { type: 1, locals: [], code: enter.done() },
      { type: 2, locals: [{ count: 4, type: I }], code: emitCondition() },
      { type: 4, locals: [], code: emitCarry() },
    ],
  });
}

/** A writer that knows how many blocks are open. */
class Nest extends WasmWriter {
  depth = 0;

  opened(type: number = Type.VOID): number {
    this.block(type);
    return ++this.depth;
  }

  openedLoop(): number {
    this.loop();
    return ++this.depth;
  }

  opensIf(type: number = Type.VOID): void {
    this.if(type);
    this.depth += 1;
  }

  close(): void {
    this.end();
    this.depth -= 1;
  }

  to(depth: number): void {
    this.br(this.depth - depth);
  }

  toIf(depth: number): void {
    this.brIf(this.depth - depth);
  }

  /** Pushes a word in memory at an address in a local. */
  word(local: number, offset: number): void {
    this.get(local);
    this.memory(W.I32_LOAD, offset, 2);
  }

  /** Stores what `value` pushes. */
  putWord(local: number, offset: number, value: () => void): void {
    this.get(local);
    value();
    this.memory(W.I32_STORE, offset, 2);
  }
}

class InterpreterEmitter {
  readonly #n = new Nest(32768);
  #exit = 0;
  #block = 0;
  #enter = 0;
  #lookup = 0;
  #follow = 0;
  #dispatch = 0;
  #generic = 0;
  readonly #cases: { readonly ops: readonly number[]; readonly emit: () => void }[] = [];

  constructor(
    private readonly mailAt: number,
    private readonly slotsAt: number,
    private readonly slots: number,
  ) {}

  emit(): Uint8Array {
    const n = this.#n;
    this.#plainOps();
    this.#memoryOps();
    this.#arithmeticOps();
    this.#terminators();
    // TAGS: tags for user accesses are two words behind those for the supervisor.
    n.get(P.CPU);
    n.word(P.CPU, S.CPL * 4);
    n.i32(3);
    n.op(W.I32_EQ);
    n.i32(3);
    n.op(W.I32_SHL);
    n.op(W.I32_ADD);
    n.set(P.TAGS);
    this.#exit = n.opened();
    this.#block = n.openedLoop();
    n.get(P.HEADER);
    n.i32(Header.WORDS * 4);
    n.op(W.I32_ADD);
    n.set(P.PC);
    this.#enter = n.opened();
    this.#lookup = n.opened();
    this.#follow = n.opened();
    this.#dispatch = n.openedLoop();
    this.#table();
    n.close();
    n.close();
    this.#followLink();
    n.close();
    this.#lookUp();
    n.close();
    this.#countAndEnter();
    n.close();
    n.close();
    this.#leave();
    return n.done();
  }

  #case(ops: readonly number[], emit: () => void): void {
    this.#cases.push({ ops, emit });
  }

  #table(): void {
    const n = this.#n;
    const labels = new Array<number>(Op.CUT + 2);
    this.#generic = n.opened();
    labels.fill(this.#generic);
    for (let i = this.#cases.length - 1; i >= 0; i--) {
      const label = n.opened();
      for (const op of this.#cases[i]!.ops) labels[op] = label;
    }
    n.word(P.PC, 0);
    n.op(W.BR_TABLE);
    n.u(labels.length);
    for (const label of labels) n.u(n.depth - label);
    n.u(n.depth - this.#generic);
    for (const { emit } of this.#cases) {
      n.close();
      emit();
    }
    n.close();
    this.#execute();
  }

  // ---- operands

  /** Pushes argument word `i` of the op. */
  #arg(i: number): void {
    this.#n.word(P.PC, i * 4);
  }

  /** Pushes the address of the state word that argument `i` names. */
  #place(i: number): void {
    const n = this.#n;
    this.#arg(i);
    n.i32(2);
    n.op(W.I32_SHL);
    n.get(P.CPU);
    n.op(W.I32_ADD);
  }

  /** Pushes the value of the state word that argument `i` names. */
  #value(i: number): void {
    this.#place(i);
    this.#n.memory(W.I32_LOAD, 0, 2);
  }

  /** Stores what `value` pushes into the state word that argument 1 names. */
  #result(value: () => void): void {
    this.#place(1);
    value();
    this.#n.memory(W.I32_STORE, 0, 2);
  }

  #state(word: number): void {
    this.#n.word(P.CPU, word * 4);
  }

  #setState(word: number, value: () => void): void {
    this.#n.putWord(P.CPU, word * 4, value);
  }

  /** On to the next op. */
  #next(): void {
    const n = this.#n;
    n.get(P.PC);
    n.i32(OP_WORDS * 4);
    n.op(W.I32_ADD);
    n.set(P.PC);
    n.to(this.#dispatch);
  }

  /** A case whose result is what `value` pushes. */
  #simple(op: number, value: () => void): void {
    this.#case([op], () => {
      this.#result(value);
      this.#next();
    });
  }

  // ---- cases

  #plainOps(): void {
    const n = this.#n;
    const op = (code: number) => n.op(code);
    this.#simple(Op.MOV, () => this.#value(2));
    this.#simple(Op.MOVI, () => this.#arg(2));
    for (const [name, code] of [
      [Op.SIGN, W.I32_SHR_S],
      [Op.ZERO_EXTEND, W.I32_SHR_U],
    ] as const) {
      this.#simple(name, () => {
        this.#value(2);
        this.#arg(3);
        op(W.I32_SHL);
        this.#arg(4);
        op(code);
      });
    }
    this.#simple(Op.INSERT, () => {
      // d ^ ((d ^ a << shift) & mask << shift)
      this.#value(1);
      n.tee(P.A);
      n.get(P.A);
      this.#value(2);
      this.#arg(3);
      n.tee(P.B);
      op(W.I32_SHL);
      op(W.I32_XOR);
      this.#arg(4);
      n.get(P.B);
      op(W.I32_SHL);
      op(W.I32_AND);
      op(W.I32_XOR);
    });
    this.#simple(Op.LEA, () => this.#address());
    this.#simple(Op.EIP, () => {
      this.#state(S.EIP);
      this.#arg(2);
      op(W.I32_ADD);
    });
    this.#simple(Op.SELECTOR, () => {
      this.#arg(2);
      n.i32(4);
      op(W.I32_SHL);
      n.get(P.CPU);
      op(W.I32_ADD);
      n.memory(W.I32_LOAD, S.SEG * 4, 2);
    });
    this.#simple(Op.SELECT, () => {
      this.#value(2);
      this.#value(3);
      this.#condition(4);
      op(W.SELECT);
    });
    this.#simple(Op.SELECT_EQUAL, () => {
      this.#value(4);
      this.#value(5);
      this.#value(2);
      this.#value(3);
      op(W.I32_EQ);
      op(W.SELECT);
    });
    this.#simple(Op.SET_CONDITION, () => this.#condition(2));
    this.#simple(Op.NOT, () => {
      this.#value(2);
      n.i32(-1);
      op(W.I32_XOR);
    });
    this.#simple(Op.AND_MASK, () => {
      this.#value(2);
      this.#arg(3);
      op(W.I32_AND);
    });
    this.#simple(Op.SHIFT_RIGHT_SIGNED, () => {
      this.#value(2);
      this.#arg(3);
      op(W.I32_SHR_S);
    });
    this.#simple(Op.STRING_STEP, () => {
      n.i32(0);
      this.#arg(2);
      op(W.I32_SUB);
      this.#arg(2);
      this.#state(S.EFLAGS);
      n.i32(Flag.DF);
      op(W.I32_AND);
      op(W.SELECT);
    });
    for (const [name, push] of [
      [Op.CHECK_TARGET, () => this.#value(2)],
      [
        Op.CHECK_TARGET_DIRECT,
        () => {
          this.#state(S.EIP);
          this.#arg(1);
          op(W.I32_ADD);
        },
      ],
    ] as const) {
      this.#case([name], () => {
        push();
        this.#state(segLimit(Seg.CS));
        op(W.I32_GT_U);
        n.toIf(this.#generic);
        this.#next();
      });
    }
  }

  /** Pushes base + (index << shift) + disp. */
  #address(): void {
    const n = this.#n;
    this.#value(3);
    this.#value(4);
    this.#arg(5);
    n.op(W.I32_SHL);
    n.op(W.I32_ADD);
    this.#arg(6);
    n.op(W.I32_ADD);
  }

  /**
   * Pushes the host address of the op's operand, or goes to the generic case: where the TLB has no tag that allows the access, or it
   * is not within one page, or not surely within the segment.
   */
  #host(size: number, write: boolean): void {
    const n = this.#n;
    const op = (code: number) => n.op(code);
    this.#address();
    n.set(P.ADDRESS);
    this.#arg(2);
    n.i32(2);
    op(W.I32_SHL);
    n.set(P.A);
    n.get(P.ADDRESS);
    n.get(P.A);
    n.i32(2);
    op(W.I32_SHL);
    n.get(P.CPU);
    op(W.I32_ADD);
    n.memory(W.I32_LOAD, segBase(0) * 4, 2);
    op(W.I32_ADD);
    n.tee(P.LINEAR);
    placeOffset(n, DATA_PLACES);
    n.tee(P.LINE);
    n.get(P.TAGS);
    op(W.I32_ADD);
    n.memory(W.I32_LOAD, TLB_AT + (write ? 4 : 0), 2);
    n.get(P.LINEAR);
    if (size > 1) {
      n.i32(size - 1);
      op(W.I32_ADD);
    }
    n.i32(-4096);
    op(W.I32_AND);
    op(W.I32_NE);
    n.get(P.ADDRESS);
    n.get(P.A);
    n.get(P.CPU);
    op(W.I32_ADD);
    n.memory(W.I32_LOAD, (write ? WRITABLE : READABLE) * 4, 2);
    op(W.I32_GE_U);
    op(W.I32_OR);
    n.toIf(this.#generic);
    n.get(P.LINEAR);
    n.get(P.LINE);
    n.get(P.CPU);
    op(W.I32_ADD);
    n.memory(W.I32_LOAD, ADDEND, 2);
    op(W.I32_ADD);
  }

  #memoryOps(): void {
    const n = this.#n;
    for (const [name, size, code] of [
      [Op.LOAD32, 4, W.I32_LOAD],
      [Op.LOAD16, 2, W.I32_LOAD16_S],
      [Op.LOAD8, 1, W.I32_LOAD8_S],
      [Op.LOAD16Z, 2, W.I32_LOAD16_U],
      [Op.LOAD8Z, 1, W.I32_LOAD8_U],
    ] as const) {
      this.#case([name], () => {
        this.#host(size, false);
        n.memory(code, 0);
        n.set(P.R);
        this.#result(() => n.get(P.R));
        this.#next();
      });
    }
    for (const [name, size, code] of [
      [Op.STORE32, 4, W.I32_STORE],
      [Op.STORE16, 2, W.I32_STORE16],
      [Op.STORE8, 1, W.I32_STORE8],
    ] as const) {
      this.#case([name], () => {
        this.#host(size, true);
        this.#value(1);
        n.memory(code, 0);
        this.#next();
      });
    }
    // Other sizes are generic.
    this.#case([Op.LOAD_FOR_STORE], () => {
      this.#ifNotWord();
      this.#host(4, true);
      n.memory(W.I32_LOAD, 0);
      n.set(P.R);
      this.#result(() => n.get(P.R));
      this.#next();
    });
    this.#case([Op.STORE_CHECKED], () => {
      this.#ifNotWord();
      this.#host(4, true);
      this.#value(1);
      n.memory(W.I32_STORE, 0);
      this.#next();
    });
  }

  #ifNotWord(): void {
    const n = this.#n;
    this.#arg(7);
    n.i32(4);
    n.op(W.I32_NE);
    n.toIf(this.#generic);
  }

  #flags(kind: number, a: boolean): void {
    const n = this.#n;
    this.#setState(S.FLAG_OP, () => n.i32(kind));
    this.#setState(S.FLAG_RESULT, () => n.get(P.R));
    if (!a) return;
    this.#setState(S.FLAG_A, () => n.get(P.A));
    this.#setState(S.FLAG_B, () => n.get(P.B));
  }

  #storeResult(): void {
    this.#result(() => this.#n.get(P.R));
  }

  /** Cuts what is pushed to the operand's size, sign-extended: argument 4 says how. */
  #narrow(): void {
    const n = this.#n;
    this.#arg(4);
    n.op(W.I32_SHL);
    this.#arg(4);
    n.op(W.I32_SHR_S);
  }

  #arithmeticOps(): void {
    const n = this.#n;
    const op = (code: number) => n.op(code);
    /** `form`: b is a word, an immediate, or a word of an operand of any size. */
    const sum = (name: number, kind: number, form: 'word' | 'immediate' | 'any', stores: boolean) => {
      this.#case([name], () => {
        this.#value(2);
        n.tee(P.A);
        if (form === 'immediate') this.#arg(3);
        else this.#value(3);
        n.tee(P.B);
        op(kind === FlagOp.ADD ? W.I32_ADD : W.I32_SUB);
        if (form === 'any') this.#narrow();
        n.set(P.R);
        this.#flags(kind, true);
        if (stores) this.#storeResult();
        this.#next();
      });
    };
    sum(Op.ADD32, FlagOp.ADD, 'word', true);
    sum(Op.ADD32I, FlagOp.ADD, 'immediate', true);
    sum(Op.ADD, FlagOp.ADD, 'any', true);
    sum(Op.SUB32, FlagOp.SUB, 'word', true);
    sum(Op.SUB32I, FlagOp.SUB, 'immediate', true);
    sum(Op.SUB, FlagOp.SUB, 'any', true);
    sum(Op.CMP32, FlagOp.SUB, 'word', false);
    sum(Op.CMP32I, FlagOp.SUB, 'immediate', false);
    sum(Op.CMP, FlagOp.SUB, 'any', false);
    const logic = (names: readonly number[], code: number, immediate: boolean, stores: boolean) => {
      this.#case(names, () => {
        this.#value(2);
        if (immediate) this.#arg(3);
        else this.#value(3);
        op(code);
        n.set(P.R);
        this.#flags(FlagOp.LOGIC, false);
        if (stores) this.#storeResult();
        this.#next();
      });
    };
    logic([Op.AND32, Op.AND], W.I32_AND, false, true);
    logic([Op.AND32I], W.I32_AND, true, true);
    logic([Op.OR32, Op.OR], W.I32_OR, false, true);
    logic([Op.OR32I], W.I32_OR, true, true);
    logic([Op.XOR32, Op.XOR], W.I32_XOR, false, true);
    logic([Op.XOR32I], W.I32_XOR, true, true);
    logic([Op.TEST32, Op.TEST], W.I32_AND, false, false);
    logic([Op.TEST32I], W.I32_AND, true, false);
    for (const [name, by, any] of [
      [Op.INC32, 1, false],
      [Op.INC, 1, true],
      [Op.DEC32, -1, false],
      [Op.DEC, -1, true],
    ] as const) {
      this.#case([name], () => {
        this.#value(2);
        n.tee(P.A);
        n.i32(by);
        op(W.I32_ADD);
        if (any) this.#narrow();
        n.set(P.R);
        this.#carry();
        n.set(P.B);
        this.#flags(by === 1 ? FlagOp.INC : FlagOp.DEC, true);
        this.#storeResult();
        this.#next();
      });
    }
    for (const [name, code, without, withCarry] of [
      [Op.ADC, W.I32_ADD, FlagOp.ADD, FlagOp.ADD_CARRY],
      [Op.SBB, W.I32_SUB, FlagOp.SUB, FlagOp.SUB_BORROW],
    ] as const) {
      this.#case([name], () => {
        this.#value(2);
        n.tee(P.A);
        this.#value(3);
        n.tee(P.B);
        op(code);
        this.#carry();
        n.tee(P.NEXT);
        op(code);
        this.#narrow();
        n.set(P.R);
        this.#flags(without, true);
        n.get(P.NEXT);
        n.opensIf();
        this.#setState(S.FLAG_OP, () => n.i32(withCarry));
        n.close();
        this.#storeResult();
        this.#next();
      });
    }
    this.#case([Op.NEG], () => {
      n.i32(0);
      n.tee(P.A);
      this.#value(2);
      n.tee(P.B);
      op(W.I32_SUB);
      this.#narrow();
      n.set(P.R);
      this.#flags(FlagOp.SUB, true);
      this.#storeResult();
      this.#next();
    });
    this.#shifts();
    this.#products();
  }

  /** By constants from 1 to 31. Others are generic. */
  #shifts(): void {
    const n = this.#n;
    const op = (code: number) => n.op(code);
    /** What is shifted, in NEXT; the count, in B. */
    const begin = () => {
      this.#value(2);
      n.set(P.NEXT);
      this.#arg(3);
      n.set(P.B);
    };
    /** `before`: pushes the operand shifted by one less. A is its bit `at` the end that falls out. */
    const end = () => {
      this.#flags(FlagOp.CARRY_OVERFLOW, true);
      this.#storeResult();
      this.#next();
    };
    this.#case([Op.SHL32I], () => {
      begin();
      n.get(P.NEXT);
      n.get(P.B);
      op(W.I32_SHL);
      n.set(P.R);
      n.get(P.NEXT);
      n.get(P.B);
      n.i32(1);
      op(W.I32_SUB);
      op(W.I32_SHL);
      n.i32(31);
      op(W.I32_SHR_U);
      n.tee(P.A);
      n.get(P.R);
      n.i32(31);
      op(W.I32_SHR_U);
      op(W.I32_XOR);
      n.set(P.B);
      end();
    });
    for (const [name, code] of [
      [Op.SHR32I, W.I32_SHR_U],
      [Op.SAR32I, W.I32_SHR_S],
    ] as const) {
      this.#case([name], () => {
        begin();
        n.get(P.NEXT);
        n.get(P.B);
        n.i32(1);
        op(W.I32_SUB);
        op(code);
        n.tee(P.A);
        n.i32(1);
        op(code);
        n.set(P.R);
        // OF: the top bit of the operand if it moved by one, 0 of a signed shift.
        if (name === Op.SHR32I) {
          n.get(P.A);
          n.i32(31);
          op(W.I32_SHR_U);
        } else {
          n.i32(0);
        }
        n.set(P.B);
        n.get(P.A);
        n.i32(1);
        op(W.I32_AND);
        n.set(P.A);
        end();
      });
    }
  }

  /** Of 32 bits, where nothing faults; others are generic. */
  #products(): void {
    const n = this.#n;
    const op = (code: number) => n.op(code);
    this.#case([Op.IMUL], () => {
      this.#value(2);
      op(W.I64_EXTEND_I32_S);
      this.#value(3);
      op(W.I64_EXTEND_I32_S);
      op(W.I64_MUL);
      n.tee(P.WIDE);
      op(W.I32_WRAP_I64);
      this.#narrow();
      n.tee(P.R);
      op(W.I64_EXTEND_I32_S);
      n.get(P.WIDE);
      op(W.I64_NE);
      n.tee(P.A);
      n.set(P.B);
      this.#flags(FlagOp.CARRY_OVERFLOW, true);
      this.#storeResult();
      this.#next();
    });
    this.#case([Op.DIVIDE], () => {
      // Unsigned, 32 bits, and a quotient that fits: EDX below the divisor.
      this.#arg(4);
      this.#arg(5);
      op(W.I32_OR);
      n.toIf(this.#generic);
      this.#state(S.EDX);
      this.#value(2);
      n.tee(P.B);
      op(W.I32_GE_U);
      n.toIf(this.#generic);
      this.#state(S.EDX);
      op(W.I64_EXTEND_I32_U);
      n.i64(0, 32);
      op(W.I64_SHL);
      this.#state(S.EAX);
      op(W.I64_EXTEND_I32_U);
      op(W.I64_OR);
      n.get(P.B);
      op(W.I64_EXTEND_I32_U);
      op(W.I64_DIV_U);
      op(W.I32_WRAP_I64);
      n.set(P.R);
      this.#setState(S.EDX, () => {
        this.#state(S.EAX);
        n.get(P.R);
        n.get(P.B);
        op(W.I32_MUL);
        op(W.I32_SUB);
      });
      this.#setState(S.EAX, () => n.get(P.R));
      this.#next();
    });
  }

  // ---- flags

  /** Pushes CF as 0 or 1. */
  #carry(): void {
    this.#n.get(P.CPU);
    this.#n.call(Call.CARRY);
  }

  /** Pushes whether the condition in argument `i` holds. */
  #condition(i: number): void {
    const n = this.#n;
    n.get(P.CPU);
    this.#arg(i);
    n.call(Call.CONDITION);
  }

  // ---- ends of blocks

  #terminators(): void {
    const n = this.#n;
    const op = (code: number) => n.op(code);
    this.#case([Op.JUMP], () => this.#taken());
    this.#case([Op.BRANCH], () => {
      this.#condition(3);
      n.opensIf();
      this.#taken();
      n.close();
      this.#fall();
    });
    this.#case([Op.BRANCH_IF], () => {
      this.#value(3);
      op(W.I32_EQZ);
      this.#arg(4);
      op(W.I32_EQZ);
      op(W.I32_EQ);
      n.opensIf();
      this.#taken();
      n.close();
      this.#fall();
    });
    this.#case([Op.BRANCH_LOOP], () => {
      this.#value(3);
      n.i32(0);
      op(W.I32_NE);
      this.#condition(4);
      op(W.I32_AND);
      n.opensIf();
      this.#taken();
      n.close();
      this.#fall();
    });
    this.#case([Op.NEXT], () => this.#fall());
    this.#case([Op.JUMP_INDIRECT], () => {
      this.#value(2);
      n.set(P.R);
      this.#checkTarget();
      this.#finish(() => n.get(P.R));
      this.#eventCheck();
      n.i32(0);
      n.set(P.LINK);
      n.to(this.#lookup);
    });
    this.#case([Op.BRANCH_INDIRECT], () => {
      this.#value(3);
      op(W.I32_EQZ);
      n.opensIf();
      this.#fall();
      n.close();
      this.#value(2);
      n.set(P.R);
      this.#checkTarget();
      this.#finish(() => n.get(P.R));
      this.#exitWith(Leave.EVENT);
    });
    this.#case([Op.CUT], () => {
      this.#setState(S.EIP, () => {
        this.#state(S.EIP);
        this.#arg(1);
        op(W.I32_ADD);
      });
      n.get(P.SPENT);
      this.#arg(3);
      op(W.I64_EXTEND_I32_U);
      n.i64(0, 32);
      op(W.I64_SHL);
      this.#arg(2);
      op(W.I64_EXTEND_I32_U);
      op(W.I64_OR);
      op(W.I64_ADD);
      n.set(P.SPENT);
      n.i32(0);
      n.set(P.LINK);
      this.#exitWith(Leave.GOTO);
    });
    this.#case([Op.SYSTEM], () => {
      this.#finish(() => {
        this.#state(S.EIP);
        this.#arg(6);
        op(W.I32_ADD);
      });
      n.get(P.SPENT);
      n.i64(1, 0);
      op(W.I64_SUB);
      n.set(P.SPENT);
      this.#exitWith(Leave.SYSTEM);
    });
    // Decoded with the page behind it: the run loop gives such a block to the reference interpreter.
    this.#case([Op.FETCH_NEXT_PAGE], () => {
      n.i32(0);
      n.set(P.LINK);
      this.#exitWith(Leave.GOTO);
    });
  }

  /** A target in R beyond the code segment's limit: the reference interpreter raises the fault. */
  #checkTarget(): void {
    const n = this.#n;
    n.get(P.R);
    this.#state(segLimit(Seg.CS));
    n.op(W.I32_GT_U);
    n.opensIf();
    this.#exitWith(Leave.INTERPRET);
    n.close();
  }

  /** The block is done: EIP is what `eip` pushes, and its cost is added. */
  #finish(eip: () => void): void {
    const n = this.#n;
    this.#setState(S.EIP, eip);
    n.get(P.SPENT);
    n.get(P.HEADER);
    n.memory(W.I64_LOAD, Header.CYCLES * 4, 3);
    n.op(W.I64_ADD);
    n.set(P.SPENT);
  }

  #eventCheck(): void {
    const n = this.#n;
    n.get(P.SPENT);
    n.op(W.I32_WRAP_I64);
    n.get(P.LIMIT);
    n.op(W.I32_GE_S);
    n.opensIf();
    this.#exitWith(Leave.EVENT);
    n.close();
  }

  /** Over the direct edge of a branch that is taken. */
  #taken(): void {
    const n = this.#n;
    this.#state(S.EIP);
    this.#arg(1);
    n.op(W.I32_ADD);
    n.set(P.R);
    this.#checkTarget();
    this.#finish(() => n.get(P.R));
    this.#arg(2);
    n.opensIf();
    this.#eventCheck();
    n.close();
    this.#linkAt(Header.TAKEN);
  }

  #fall(): void {
    const n = this.#n;
    this.#finish(() => {
      this.#state(S.EIP);
      n.word(P.HEADER, Header.BYTES * 4);
      n.op(W.I32_ADD);
    });
    this.#linkAt(Header.FALL);
  }

  #linkAt(word: number): void {
    const n = this.#n;
    n.get(P.HEADER);
    n.i32(word * 4);
    n.op(W.I32_ADD);
    n.set(P.LINK);
    n.to(this.#follow);
  }

  #exitWith(code: number): void {
    const n = this.#n;
    n.i32(code);
    n.set(P.CODE);
    n.to(this.#exit);
  }

  /** Pushes the linear address of EIP. */
  #linear(): void {
    const n = this.#n;
    this.#state(S.EIP);
    this.#state(segBase(Seg.CS));
    n.op(W.I32_ADD);
  }

  #followLink(): void {
    const n = this.#n;
    n.i32(Leave.GOTO);
    n.set(P.CODE);
    n.word(P.LINK, 0);
    n.tee(P.NEXT);
    n.toIf(this.#enter);
    // In the page: the run loop finds the block and links it. Into another page nothing is linked.
    this.#linear();
    n.i32(-4096);
    n.op(W.I32_AND);
    this.#state(FETCH_PAGE);
    n.op(W.I32_EQ);
    n.toIf(this.#exit);
    n.i32(0);
    n.set(P.LINK);
  }

  /** As `Context.find`, where fetch TLB and hash of blocks have what is wanted; else out. */
  #lookUp(): void {
    const n = this.#n;
    const op = (code: number) => n.op(code);
    n.i32(Leave.GOTO);
    n.set(P.CODE);
    this.#state(S.EIP);
    this.#state(FETCH_SAFE);
    op(W.I32_GE_U);
    n.toIf(this.#exit);
    this.#linear();
    n.tee(P.LINEAR);
    n.i32(-4096);
    op(W.I32_AND);
    n.tee(P.A);
    this.#state(FETCH_PAGE);
    op(W.I32_NE);
    n.opensIf();
    n.get(P.A);
    placeOffset(n, FETCH_PLACES);
    n.tee(P.LINE);
    // The tag for user fetches is one word behind.
    n.get(P.CPU);
    op(W.I32_ADD);
    n.get(P.TAGS);
    n.get(P.CPU);
    op(W.I32_SUB);
    n.i32(1);
    op(W.I32_SHR_U);
    op(W.I32_ADD);
    n.memory(W.I32_LOAD, FETCH_AT, 2);
    n.get(P.A);
    op(W.I32_NE);
    n.toIf(this.#exit);
    this.#setState(FETCH_PAGE, () => n.get(P.A));
    this.#setState(FETCH_MACHINE, () => {
      n.get(P.LINE);
      n.get(P.CPU);
      op(W.I32_ADD);
      n.memory(W.I32_LOAD, MACHINE_PAGE, 2);
    });
    n.close();
    // B: machine address. The slot: see `CodeCache.slotOf`.
    this.#state(FETCH_MACHINE);
    n.get(P.LINEAR);
    n.i32(4095);
    op(W.I32_AND);
    op(W.I32_ADD);
    n.tee(P.B);
    n.get(P.B);
    n.i32(13);
    op(W.I32_SHR_U);
    op(W.I32_XOR);
    n.word(P.HEADER, Header.MODE * 4);
    n.tee(P.A);
    n.i32(11);
    op(W.I32_SHL);
    op(W.I32_XOR);
    n.i32(this.slots - 1);
    op(W.I32_AND);
    n.i32(2);
    op(W.I32_SHL);
    n.memory(W.I32_LOAD, this.slotsAt, 2);
    n.tee(P.NEXT);
    op(W.I32_EQZ);
    n.toIf(this.#exit);
    n.word(P.NEXT, Header.MACHINE * 4);
    n.get(P.B);
    op(W.I32_NE);
    n.toIf(this.#exit);
    n.word(P.NEXT, Header.MODE * 4);
    n.get(P.A);
    op(W.I32_NE);
    n.toIf(this.#exit);
    n.putWord(P.NEXT, Header.ENTERED * 4, () => n.i32(1));
  }

  #countAndEnter(): void {
    const n = this.#n;
    n.word(P.NEXT, Header.HEAT * 4);
    n.tee(P.A);
    n.get(P.HOT);
    n.op(W.I32_GE_S);
    n.toIf(this.#exit);
    n.putWord(P.NEXT, Header.HEAT * 4, () => {
      n.get(P.A);
      n.i32(1);
      n.op(W.I32_ADD);
    });
    n.get(P.NEXT);
    n.set(P.HEADER);
    n.to(this.#block);
  }

  // ---- out

  /** Any op but one that ends a block, by the reference interpreter's function; the clock is exact for it. */
  #execute(): void {
    const n = this.#n;
    this.#addSpent();
    n.i64(0, 0);
    n.set(P.SPENT);
    n.get(P.HEADER);
    n.get(P.PC);
    n.call(Call.EXECUTE);
    this.#mail(Mail.LIMIT);
    n.set(P.LIMIT);
    n.opensIf();
    this.#next();
    n.close();
    this.#exitWith(Leave.FAULT);
  }

  #mail(word: number): void {
    this.#n.i32(0);
    this.#n.memory(W.I32_LOAD, this.mailAt + word * 4, 2);
  }

  #setMail(word: number, local: number): void {
    const n = this.#n;
    n.i32(0);
    n.get(local);
    n.memory(W.I32_STORE, this.mailAt + word * 4, 2);
  }

  #leave(): void {
    this.#setMail(Mail.HEADER, P.HEADER);
    this.#setMail(Mail.PC, P.PC);
    this.#setMail(Mail.LINK, P.LINK);
    this.#addSpent();
    this.#n.get(P.CODE);
  }

  #addSpent(): void {
    const n = this.#n;
    const add = (index: number, value: () => void) => {
      const at = CLOCK_AT + index * 8;
      n.get(P.CPU);
      n.get(P.CPU);
      n.memory(W.F64_LOAD, at, 3);
      value();
      n.op(W.F64_CONVERT_I32_S);
      n.op(W.F64_ADD);
      n.memory(W.F64_STORE, at, 3);
    };
    add(0, () => {
      n.get(P.SPENT);
      n.op(W.I32_WRAP_I64);
    });
    add(1, () => {
      n.get(P.SPENT);
      n.i64(0, 32);
      n.op(W.I64_SHR_U);
      n.op(W.I32_WRAP_I64);
    });
  }
}

/** `(cpu, cc) -> 0 or 1`: as `condition` of `flags.ts`; what is common in line, the rest by import. */
function emitCondition(): Uint8Array {
  const n = new Nest(1024);
  const op = (code: number) => n.op(code);
  const [CC, KIND, RESULT, A, B] = [1, 2, 3, 4, 5];
  const state = (word: number, local: number) => {
    n.word(0, word * 4);
    n.set(local);
  };
  const half = () => {
    n.get(CC);
    n.i32(1);
    op(W.I32_SHR_U);
  };
  /** Answers what is pushed, or its contrary for odd conditions. */
  const answer = () => {
    n.get(CC);
    n.i32(1);
    op(W.I32_AND);
    op(W.I32_XOR);
    op(W.RETURN);
  };
  const compare = (code: number, left: number, right: number) => {
    n.get(left);
    n.get(right);
    op(code);
    answer();
  };
  const compareZero = (code: number) => {
    n.get(RESULT);
    n.i32(0);
    op(code);
    answer();
  };
  /** One case for each of the eight conditions; null goes on behind all of them. */
  const table = (cases: readonly (null | (() => void))[]) => {
    const rest = n.opened();
    const labels = cases.map(() => 0);
    for (let i = cases.length - 1; i >= 0; i--) labels[i] = cases[i] === null ? rest : n.opened();
    half();
    op(W.BR_TABLE);
    n.u(cases.length - 1);
    for (const label of labels) n.u(n.depth - label);
    for (const emit of cases) {
      if (emit === null) continue;
      n.close();
      emit();
    }
    n.close();
  };
  state(S.FLAG_OP, KIND);
  state(S.FLAG_RESULT, RESULT);
  const zero = () => compareZero(W.I32_EQ);
  const sign = () => compareZero(W.I32_LT_S);
  n.get(KIND);
  n.i32(FlagOp.SUB);
  op(W.I32_EQ);
  n.opensIf();
  state(S.FLAG_A, A);
  state(S.FLAG_B, B);
  table([
    null,
    () => compare(W.I32_LT_U, A, B),
    zero,
    () => compare(W.I32_LE_U, A, B),
    sign,
    null,
    () => compare(W.I32_LT_S, A, B),
    () => compare(W.I32_LE_S, A, B),
  ]);
  n.close();
  n.get(KIND);
  n.i32(FlagOp.LOGIC);
  op(W.I32_EQ);
  n.opensIf();
  const never = () => {
    n.i32(0);
    answer();
  };
  table([never, never, zero, zero, sign, null, sign, () => compareZero(W.I32_LE_S)]);
  n.close();
  n.get(KIND);
  n.opensIf();
  const carry = () => {
    n.get(0);
    n.call(Call.CARRY);
  };
  table([
    null,
    () => {
      carry();
      answer();
    },
    zero,
    () => {
      carry();
      n.get(RESULT);
      op(W.I32_EQZ);
      op(W.I32_OR);
      answer();
    },
    sign,
    null,
    null,
    null,
  ]);
  n.close();
  n.get(KIND);
  n.get(RESULT);
  n.word(0, S.FLAG_A * 4);
  n.word(0, S.FLAG_B * 4);
  n.get(CC);
  n.call(Call.CONDITION_OF);
  return n.done();
}

/** `(cpu) -> 0 or 1`: as `carryFlag` of `flags.ts`. */
function emitCarry(): Uint8Array {
  const n = new Nest(512);
  const op = (code: number) => n.op(code);
  const state = (word: number) => n.word(0, word * 4);
  const compare = (left: number, right: number, code: number) => () => {
    state(left);
    state(right);
    op(code);
    op(W.RETURN);
  };
  const word = (from: number) => () => {
    state(from);
    op(W.RETURN);
  };
  const cases: Readonly<Record<number, () => void>> = {
    [FlagOp.IMAGE]: () => {
      state(S.FLAG_RESULT);
      n.i32(1);
      op(W.I32_AND);
      op(W.RETURN);
    },
    [FlagOp.LOGIC]: () => {
      n.i32(0);
      op(W.RETURN);
    },
    [FlagOp.ADD]: compare(S.FLAG_RESULT, S.FLAG_A, W.I32_LT_U),
    [FlagOp.SUB]: compare(S.FLAG_A, S.FLAG_B, W.I32_LT_U),
    [FlagOp.ADD_CARRY]: compare(S.FLAG_RESULT, S.FLAG_A, W.I32_LE_U),
    [FlagOp.SUB_BORROW]: compare(S.FLAG_A, S.FLAG_B, W.I32_LE_U),
    [FlagOp.INC]: word(S.FLAG_B),
    [FlagOp.DEC]: word(S.FLAG_B),
    [FlagOp.CARRY_OVERFLOW]: word(S.FLAG_A),
  };
  const kinds = Object.keys(cases).map(Number);
  const labels = kinds.map(() => 0);
  for (let i = kinds.length - 1; i >= 0; i--) labels[kinds[i]!] = n.opened();
  state(S.FLAG_OP);
  op(W.BR_TABLE);
  n.u(kinds.length - 1);
  for (const label of labels) n.u(n.depth - label);
  for (const kind of kinds) {
    n.close();
    cases[kind]!();
  }
  op(W.UNREACHABLE);
  return n.done();
}
