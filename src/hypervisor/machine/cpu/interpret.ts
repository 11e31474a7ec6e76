/**
 * The reference interpreter: the IR of `ir.ts` executed in the plainest way, one block at a time. It says what every op means. The
 * WebAssembly interpreter and the compiler do the same faster, call the functions below where that is not worth their while, and
 * leave to it what is rare: single instructions, blocks that go on in the next page.
 *
 * Cycles and instructions are added when a block ends; whoever needs them in the middle (a fault, a device) adds what the
 * block's marks say. So the sums do not depend on where a block was cut.
 */
import { MARK_WORDS, Mode } from './cache-layout.js';
import type { Block } from './code-cache.js';
import { Leave } from './compile/frame.js';
import type { Context } from './context.js';
import { carryFlag, condition, FlagOp } from './flags.js';
import { OP_WORDS, Op } from './ir.js';
import { CYCLES, EXIT_OP, FETCH_MACHINE, INSTRUCTIONS } from './layout.js';
import { RARE_OPS } from './rare-ops.js';
import { S, Seg, segLimit, segSelector, Vector } from './state.js';

const CS_LIMIT = segLimit(Seg.CS);

/** Executes the op at `at` on the state words; false with a fault pending. */
export type OpFunction = (cpu: Context, s: Int32Array, code: Int32Array, at: number, block: Block) => boolean;

const address = (s: Int32Array, code: Int32Array, at: number): number =>
  (s[code[at + 3]!]! + (s[code[at + 4]!]! << code[at + 5]!) + code[at + 6]!) | 0;

/** `extend` makes the word of what was loaded. */
const load =
  (size: number, extend: (value: number) => number): OpFunction =>
  (cpu, s, code, at, block) => {
    const value = cpu.slowLoad(code[at + 2]!, address(s, code, at), size, block, at);
    if (cpu.faultVector >= 0) return false;
    s[code[at + 1]!] = extend(value);
    return true;
  };

const store =
  (size: number): OpFunction =>
  (cpu, s, code, at, block) => {
    cpu.slowStore(code[at + 2]!, address(s, code, at), size, s[code[at + 1]!]!, block, at);
    return cpu.faultVector < 0;
  };

/** Addition and subtraction of 32 bits; `b` is a word or an immediate, the result goes to `d` or nowhere. */
const sum =
  (kind: number, immediate: boolean, stores: boolean): OpFunction =>
  (_cpu, s, code, at) => {
    const a = s[code[at + 2]!]!;
    const b = immediate ? code[at + 3]! : s[code[at + 3]!]!;
    const result = kind === FlagOp.ADD ? a + b : a - b;
    s[S.FLAG_OP] = kind;
    s[S.FLAG_RESULT] = result;
    s[S.FLAG_A] = a;
    s[S.FLAG_B] = b;
    if (stores) s[code[at + 1]!] = result;
    return true;
  };

const logic =
  (operation: (a: number, b: number) => number, immediate: boolean, stores = true): OpFunction =>
  (_cpu, s, code, at) => {
    const result = operation(s[code[at + 2]!]!, immediate ? code[at + 3]! : s[code[at + 3]!]!);
    s[S.FLAG_OP] = FlagOp.LOGIC;
    s[S.FLAG_RESULT] = result;
    if (stores) s[code[at + 1]!] = result;
    return true;
  };

const step =
  (by: 1 | -1): OpFunction =>
  (_cpu, s, code, at) => {
    const a = s[code[at + 2]!]!;
    s[S.FLAG_B] = carryFlag(s);
    s[S.FLAG_OP] = by === 1 ? FlagOp.INC : FlagOp.DEC;
    s[S.FLAG_RESULT] = a + by;
    s[S.FLAG_A] = a;
    s[code[at + 1]!] = a + by;
    return true;
  };

/** Shifts by 1..31: what they leave, CF, and OF. */
const shift =
  (
    result: (a: number, count: number) => number,
    carry: (a: number, count: number) => number,
    overflow: (a: number, count: number) => number,
  ): OpFunction =>
  (_cpu, s, code, at) => {
    const a = s[code[at + 2]!]!;
    const count = code[at + 3]!;
    s[S.FLAG_OP] = FlagOp.CARRY_OVERFLOW;
    s[S.FLAG_RESULT] = result(a, count);
    s[S.FLAG_A] = carry(a, count) & 1;
    s[S.FLAG_B] = overflow(a, count) & 1;
    s[code[at + 1]!] = result(a, count);
    return true;
  };

const and = (a: number, b: number): number => a & b;
const or = (a: number, b: number): number => a | b;
const xor = (a: number, b: number): number => a ^ b;

const COMMON: Readonly<Record<number, OpFunction>> = {
  [Op.MOV]: (_cpu, s, code, at) => {
    s[code[at + 1]!] = s[code[at + 2]!]!;
    return true;
  },
  [Op.MOVI]: (_cpu, s, code, at) => {
    s[code[at + 1]!] = code[at + 2]!;
    return true;
  },
  [Op.SIGN]: (_cpu, s, code, at) => {
    s[code[at + 1]!] = (s[code[at + 2]!]! << code[at + 3]!) >> code[at + 4]!;
    return true;
  },
  [Op.ZERO_EXTEND]: (_cpu, s, code, at) => {
    s[code[at + 1]!] = (s[code[at + 2]!]! << code[at + 3]!) >>> code[at + 4]!;
    return true;
  },
  [Op.INSERT]: (_cpu, s, code, at) => {
    const d = code[at + 1]!;
    const mask = code[at + 4]! << code[at + 3]!;
    s[d] = (s[d]! & ~mask) | ((s[code[at + 2]!]! << code[at + 3]!) & mask);
    return true;
  },
  [Op.LEA]: (_cpu, s, code, at) => {
    s[code[at + 1]!] = address(s, code, at);
    return true;
  },
  [Op.EIP]: (_cpu, s, code, at) => {
    s[code[at + 1]!] = s[S.EIP]! + code[at + 2]!;
    return true;
  },
  [Op.SELECTOR]: (_cpu, s, code, at) => {
    s[code[at + 1]!] = s[segSelector(code[at + 2]!)]!;
    return true;
  },
  [Op.AND_MASK]: (_cpu, s, code, at) => {
    s[code[at + 1]!] = s[code[at + 2]!]! & code[at + 3]!;
    return true;
  },
  [Op.LOAD32]: load(4, value => value),
  [Op.LOAD16]: load(2, value => (value << 16) >> 16),
  [Op.LOAD8]: load(1, value => (value << 24) >> 24),
  [Op.LOAD16Z]: load(2, value => value & 0xffff),
  [Op.LOAD8Z]: load(1, value => value & 0xff),
  [Op.STORE32]: store(4),
  [Op.STORE16]: store(2),
  [Op.STORE8]: store(1),
  [Op.LOAD_FOR_STORE]: (cpu, s, code, at, block) => {
    const size = code[at + 7]!;
    const value = cpu.slowLoadForStore(code[at + 2]!, address(s, code, at), size, block, at);
    if (cpu.faultVector >= 0) return false;
    const up = 32 - size * 8;
    s[code[at + 1]!] = (value << up) >> up;
    return true;
  },
  [Op.STORE_CHECKED]: (cpu, s, code, at, block) => {
    cpu.slowStore(code[at + 2]!, address(s, code, at), code[at + 7]!, s[code[at + 1]!]!, block, at);
    return cpu.faultVector < 0 || cpu.bug('a checked store faulted');
  },
  [Op.ADD32]: sum(FlagOp.ADD, false, true),
  [Op.ADD32I]: sum(FlagOp.ADD, true, true),
  [Op.SUB32]: sum(FlagOp.SUB, false, true),
  [Op.SUB32I]: sum(FlagOp.SUB, true, true),
  [Op.CMP32]: sum(FlagOp.SUB, false, false),
  [Op.CMP32I]: sum(FlagOp.SUB, true, false),
  [Op.AND32]: logic(and, false),
  [Op.AND32I]: logic(and, true),
  [Op.OR32]: logic(or, false),
  [Op.OR32I]: logic(or, true),
  [Op.XOR32]: logic(xor, false),
  [Op.XOR32I]: logic(xor, true),
  [Op.TEST32]: logic(and, false, false),
  [Op.TEST32I]: logic(and, true, false),
  [Op.INC32]: step(1),
  [Op.DEC32]: step(-1),
  [Op.SHL32I]: shift(
    (a, count) => a << count,
    (a, count) => a >>> (32 - count),
    (a, count) => ((a << count) >>> 31) ^ (a >>> (32 - count)),
  ),
  [Op.SHR32I]: shift(
    (a, count) => a >>> count,
    (a, count) => a >>> (count - 1),
    (a, count) => (a >>> (count - 1)) >>> 31,
  ),
  [Op.SAR32I]: shift(
    (a, count) => a >> count,
    (a, count) => a >> (count - 1),
    () => 0,
  ),
  [Op.CHECK_TARGET]: (cpu, s, code, at) => s[code[at + 2]!]! >>> 0 <= s[CS_LIMIT]! >>> 0 || cpu.raise(Vector.GP),
  [Op.CHECK_TARGET_DIRECT]: (cpu, s, code, at) =>
    (s[S.EIP]! + code[at + 1]!) >>> 0 <= s[CS_LIMIT]! >>> 0 || cpu.raise(Vector.GP),
  [Op.HELPER]: (cpu, _s, _code, at, block) => cpu.callInline(block, at),
};

/** By op number: everything but FETCH_NEXT_PAGE and what ends a block. */
export const OPS: readonly OpFunction[] = Array.from({ length: 128 }, (_, op) => COMMON[op] ?? RARE_OPS[op]!);

/** The instruction whose ops include index `pc` faulted before it committed anything: EIP and clock are made its own. */
export function retreat(cpu: Context, block: Block, pc: number): void {
  const { code } = cpu.codeCache;
  const index = cpu.codeCache.instructionAt(block, pc);
  const mark = block.marks + index * MARK_WORDS;
  cpu.s[S.EIP]! += code[mark + 1]!;
  cpu.clock[CYCLES]! += code[mark + 2]!;
  cpu.clock[INSTRUCTIONS]! += index;
}

/** Executes the block at EIP. Answers why it ended (`Leave`): EIP and clock are exact. */
export function interpretBlock(cpu: Context, block: Block): number {
  const { code } = cpu.codeCache;
  const { s } = cpu;
  let pc = block.start;
  let ops = block;
  while (code[pc]! < Op.JUMP) {
    if (code[pc] === Op.FETCH_NEXT_PAGE) {
      if (!cpu.fetchNextPage(ops)) return fault(cpu, ops, pc);
      if (s[FETCH_MACHINE] !== code[pc + 1]) {
        // Another page is mapped there now than the one that the block was decoded with.
        cpu.codeCache.retire(ops);
        const again = cpu.find((ops.mode & Mode.SINGLE) !== 0);
        if (again === null) return Leave.FAULT;
        ops = again;
        pc = again.start;
        continue;
      }
    } else if (!OPS[code[pc]!]!(cpu, s, code, pc, ops)) {
      return fault(cpu, ops, pc);
    }
    pc += OP_WORDS;
  }
  return end(cpu, ops, pc);
}

function fault(cpu: Context, block: Block, pc: number): number {
  retreat(cpu, block, pc);
  return Leave.FAULT;
}

/** The op that ends a block. */
function end(cpu: Context, block: Block, pc: number): number {
  const { code } = cpu.codeCache;
  const { s, clock } = cpu;
  let instructions = block.instructions;
  const { cycles } = block;
  let target = (s[S.EIP]! + code[pc + 1]!) | 0;
  let taken = true;
  /** A taken backward branch or an indirect jump: events are looked at. */
  let event = code[pc + 2] !== 0;
  switch (code[pc]) {
    case Op.JUMP:
      break;
    case Op.BRANCH:
      taken = condition(s, code[pc + 3]!);
      break;
    case Op.BRANCH_IF:
      taken = (s[code[pc + 3]!] !== 0) === (code[pc + 4] !== 0);
      break;
    case Op.BRANCH_LOOP:
      taken = s[code[pc + 3]!] !== 0 && condition(s, code[pc + 4]!);
      break;
    case Op.JUMP_INDIRECT:
      target = s[code[pc + 2]!]!;
      event = true;
      break;
    case Op.BRANCH_INDIRECT:
      target = s[code[pc + 2]!]!;
      taken = s[code[pc + 3]!] !== 0;
      event = true;
      break;
    case Op.NEXT:
      taken = false;
      break;
    case Op.CUT:
      s[S.EIP] = target;
      clock[CYCLES]! += code[pc + 2]!;
      clock[INSTRUCTIONS]! += code[pc + 3]!;
      return Leave.GOTO;
    case Op.SYSTEM:
      s[EXIT_OP] = pc;
      target = (s[S.EIP]! + code[pc + 6]!) | 0;
      instructions -= 1;
      break;
    default:
      cpu.bug(`op ${code[pc]} ends no block`);
  }
  if (!taken) {
    target = (s[S.EIP]! + block.bytes) | 0;
    event = false;
  } else if (code[pc] !== Op.SYSTEM && target >>> 0 > s[CS_LIMIT]! >>> 0) {
    cpu.raise(Vector.GP);
    return fault(cpu, block, pc);
  }
  s[S.EIP] = target;
  clock[CYCLES]! += cycles;
  clock[INSTRUCTIONS]! += instructions;
  if (code[pc] === Op.SYSTEM) return Leave.SYSTEM;
  return event ? Leave.EVENT : Leave.GOTO;
}
