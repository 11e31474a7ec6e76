/**
 * The interpreter: executes the IR of `ir.ts` block by block.
 *
 * One function on purpose: registers stay in one typed array, ops in another, and the optimizer sees the whole loop. Case
 * labels are literals because V8 makes a jump table of nothing else (a test checks them against `Op`). The
 * cases that repeat are the TLB hit and the four flag words, written out because a call there costs more than the work.
 *
 * Cycles and instructions are added when a block ends; whoever needs them in the middle (a fault, a device) adds what the
 * block's marks say. So the sums do not depend on where a block was cut.
 */
import { type Block, MARK_WORDS, Mode } from './code-cache.js';
import { Leave } from './compile/frame.js';
import type { Context } from './context.js';
import { Result } from './core.js';
import { deliver, deliverFault, Source } from './exceptions.js';
import { carryFlag, condition, FlagOp } from './flags.js';
import { OP_WORDS, Op } from './ir.js';
import { CYCLES, EXIT_OP, FETCH_MACHINE, INSTRUCTIONS, POLL_AT, READABLE, SHAPE, STATUS, WRITABLE } from './layout.js';
import { RARE_OPS } from './rare-ops.js';
import { type Exit, Flag, S, Seg, segLimit, segSelector, Vector } from './state.js';
import { HELPER_LIST } from './system.js';

/** An address masked with these equals its page's tag only if the access is aligned. */
const WORD_MASK = -4096 | 3;
const HALF_MASK = -4096 | 1;
const BYTE_MASK = -4096;

const CS_LIMIT = segLimit(Seg.CS);
const STEPPED: Exit = { kind: 'stepped' };

export function interpret(cpu: Context): Exit {
  const s = cpu.s;
  const clock = cpu.clock;
  const tlb = cpu.tlb.data;
  const { i32, u16, u8 } = cpu.memory;
  const cache = cpu.codeCache;
  const code = cache.code;
  const compiler = cache.compiler;
  const hot = compiler.threshold;
  /** An event point has been reached. */
  let event = true;
  /** The instruction before was executed alone: because of `step`, TF or the interrupt shadow. */
  let single = false;
  let trap = false;
  /** Block that was left over a direct edge, to be linked with its successor. */
  let from: Block | null = null;
  let fromTaken = false;
  let edge = 0;
  /** The instruction at EIP was left to the interpreter by compiled code, which goes on behind it. */
  let alone = false;
  cpu.breakpoints.update(cpu);

  outer: for (;;) {
    if (single) {
      single = false;
      event = true;
      if (trap || cpu.breakpoints.hits !== 0) {
        const due = cpu.breakpoints.afterInstruction(cpu, trap);
        trap = false;
        if (due && deliver(cpu, Vector.DB, 0, Source.TRAP, s[S.EIP]) === Result.EXIT) return cpu.takeExit();
      }
      if (cpu.stepping) return STEPPED;
    }
    if (event && !alone) {
      event = false;
      from = null;
      if (clock[CYCLES] >= clock[POLL_AT]) {
        const exit = cpu.takeEvents();
        if (exit !== null) return exit;
      }
    }
    if ((s[S.INTERRUPT_SHADOW] | (s[S.EFLAGS] & Flag.TF)) !== 0 || cpu.stepping || cpu.breakpoints.active) {
      single = true;
      if (cpu.breakpoints.active && cpu.breakpoints.stopsAt(cpu)) {
        if (deliver(cpu, Vector.DB, 0, Source.FAULT, s[S.EIP]) === Result.EXIT) return cpu.takeExit();
        continue;
      }
      trap = (s[S.EFLAGS] & Flag.TF) !== 0;
      s[S.INTERRUPT_SHADOW] = 0;
      from = null;
    }
    const found = cpu.find(single || alone);
    if (found === null) {
      alone = false;
      trap = false;
      event = true;
      if (deliverFault(cpu) === Result.EXIT) return cpu.takeExit();
      continue;
    }
    let block: Block = found;
    if (alone) {
      alone = false;
      from = null;
    } else if (!single && block.mode === Mode.PLAIN && s[SHAPE] >= 0) {
      if (from === null) block.entered = true;
      if (block.heat >= hot && (block.region === null || block.region.shape !== s[SHAPE])) {
        compiler.compile(block, s[SHAPE]);
      }
      if (block.region !== null && block.region.shape === s[SHAPE]) {
        from = null;
        const why = compiler.run(cpu, block);
        if (why === Leave.GOTO) continue;
        if (why === Leave.EVENT) {
          event = true;
        } else if (why === Leave.SYSTEM) {
          const at = s[EXIT_OP];
          cpu.nextEip = (s[S.EIP] + code[at + 7]) | 0;
          const result = HELPER_LIST[code[at + 1]](cpu, code[at + 2], code[at + 3], code[at + 4], code[at + 5]);
          event = true;
          if (result === Result.DONE) {
            s[S.EIP] = cpu.nextEip;
            clock[INSTRUCTIONS] += 1;
          } else if (result === Result.FAULT) {
            if (deliverFault(cpu) === Result.EXIT) return cpu.takeExit();
          } else if (result === Result.EXIT) {
            return cpu.takeExit();
          }
        } else {
          s[STATUS] = 0;
          if (why === Leave.FAULT) {
            event = true;
            if (deliverFault(cpu) === Result.EXIT) return cpu.takeExit();
          } else if (why === Leave.EXIT) {
            return cpu.takeExit();
          } else {
            alone = true;
          }
        }
        continue;
      }
      block.heat += 1;
    }
    if (from !== null) {
      // Linked only within a page, and not from a block that ended on the next one: every other transition asks the
      // instruction TLB, so whether it misses does not depend on links.
      const near = block.machine === from.machine + edge && (block.machine ^ from.machine) >>> 12 === 0;
      if (near && ((block.mode | from.mode) & Mode.SINGLE) === 0 && from.secondPage < 0 && from.start >= 0) {
        if (fromTaken) from.taken = block;
        else from.fall = block;
      }
      from = null;
    }
    const user = s[S.CPL] === 3 ? 2 : 0;
    let pc = block.start;

    inner: for (;;) {
      switch (code[pc]) {
        case 0 /* MOV */:
          s[code[pc + 1]] = s[code[pc + 2]];
          pc += OP_WORDS;
          continue;
        case 1 /* MOVI */:
          s[code[pc + 1]] = code[pc + 2];
          pc += OP_WORDS;
          continue;
        case 2 /* SIGN */:
          s[code[pc + 1]] = (s[code[pc + 2]] << code[pc + 3]) >> code[pc + 4];
          pc += OP_WORDS;
          continue;
        case 3 /* ZERO_EXTEND */:
          s[code[pc + 1]] = (s[code[pc + 2]] << code[pc + 3]) >>> code[pc + 4];
          pc += OP_WORDS;
          continue;
        case 4: /* INSERT */ {
          const d = code[pc + 1];
          const mask = code[pc + 4] << code[pc + 3];
          s[d] = (s[d] & ~mask) | ((s[code[pc + 2]] << code[pc + 3]) & mask);
          pc += OP_WORDS;
          continue;
        }
        case 5 /* LEA */:
          s[code[pc + 1]] = s[code[pc + 3]] + (s[code[pc + 4]] << code[pc + 5]) + code[pc + 6];
          pc += OP_WORDS;
          continue;
        case 6 /* EIP */:
          s[code[pc + 1]] = s[S.EIP] + code[pc + 2];
          pc += OP_WORDS;
          continue;
        case 7 /* SELECTOR */:
          s[code[pc + 1]] = s[segSelector(code[pc + 2])];
          pc += OP_WORDS;
          continue;
        case 12 /* AND_MASK */:
          s[code[pc + 1]] = s[code[pc + 2]] & code[pc + 3];
          pc += OP_WORDS;
          continue;
        case 16: /* LOAD32 */ {
          const ea = (s[code[pc + 3]] + (s[code[pc + 4]] << code[pc + 5]) + code[pc + 6]) | 0;
          const seg = code[pc + 2];
          if (ea >>> 0 < s[READABLE + seg] >>> 0) {
            const linear = (ea + s[S.SEG + 1 + seg * 4]) | 0;
            const line = ((linear >>> 12) & 4095) << 3;
            if (tlb[line + user] === (linear & WORD_MASK)) {
              s[code[pc + 1]] = i32[(linear + tlb[line + 4]) >>> 2];
              pc += OP_WORDS;
              continue;
            }
          }
          const value = cpu.slowLoad(seg, ea, 4, block, pc);
          if (cpu.faultVector >= 0) break inner;
          s[code[pc + 1]] = value;
          pc += OP_WORDS;
          continue;
        }
        case 17: /* LOAD16 */ {
          const ea = (s[code[pc + 3]] + (s[code[pc + 4]] << code[pc + 5]) + code[pc + 6]) | 0;
          const seg = code[pc + 2];
          if (ea >>> 0 < s[READABLE + seg] >>> 0) {
            const linear = (ea + s[S.SEG + 1 + seg * 4]) | 0;
            const line = ((linear >>> 12) & 4095) << 3;
            if (tlb[line + user] === (linear & HALF_MASK)) {
              s[code[pc + 1]] = (u16[(linear + tlb[line + 4]) >>> 1] << 16) >> 16;
              pc += OP_WORDS;
              continue;
            }
          }
          const value = cpu.slowLoad(seg, ea, 2, block, pc);
          if (cpu.faultVector >= 0) break inner;
          s[code[pc + 1]] = (value << 16) >> 16;
          pc += OP_WORDS;
          continue;
        }
        case 18: /* LOAD8 */ {
          const ea = (s[code[pc + 3]] + (s[code[pc + 4]] << code[pc + 5]) + code[pc + 6]) | 0;
          const seg = code[pc + 2];
          if (ea >>> 0 < s[READABLE + seg] >>> 0) {
            const linear = (ea + s[S.SEG + 1 + seg * 4]) | 0;
            const line = ((linear >>> 12) & 4095) << 3;
            if (tlb[line + user] === (linear & BYTE_MASK)) {
              s[code[pc + 1]] = (u8[(linear + tlb[line + 4]) | 0] << 24) >> 24;
              pc += OP_WORDS;
              continue;
            }
          }
          const value = cpu.slowLoad(seg, ea, 1, block, pc);
          if (cpu.faultVector >= 0) break inner;
          s[code[pc + 1]] = (value << 24) >> 24;
          pc += OP_WORDS;
          continue;
        }
        case 19: /* LOAD16Z */ {
          const ea = (s[code[pc + 3]] + (s[code[pc + 4]] << code[pc + 5]) + code[pc + 6]) | 0;
          const seg = code[pc + 2];
          if (ea >>> 0 < s[READABLE + seg] >>> 0) {
            const linear = (ea + s[S.SEG + 1 + seg * 4]) | 0;
            const line = ((linear >>> 12) & 4095) << 3;
            if (tlb[line + user] === (linear & HALF_MASK)) {
              s[code[pc + 1]] = u16[(linear + tlb[line + 4]) >>> 1];
              pc += OP_WORDS;
              continue;
            }
          }
          const value = cpu.slowLoad(seg, ea, 2, block, pc);
          if (cpu.faultVector >= 0) break inner;
          s[code[pc + 1]] = value & 0xffff;
          pc += OP_WORDS;
          continue;
        }
        case 20: /* LOAD8Z */ {
          const ea = (s[code[pc + 3]] + (s[code[pc + 4]] << code[pc + 5]) + code[pc + 6]) | 0;
          const seg = code[pc + 2];
          if (ea >>> 0 < s[READABLE + seg] >>> 0) {
            const linear = (ea + s[S.SEG + 1 + seg * 4]) | 0;
            const line = ((linear >>> 12) & 4095) << 3;
            if (tlb[line + user] === (linear & BYTE_MASK)) {
              s[code[pc + 1]] = u8[(linear + tlb[line + 4]) | 0];
              pc += OP_WORDS;
              continue;
            }
          }
          const value = cpu.slowLoad(seg, ea, 1, block, pc);
          if (cpu.faultVector >= 0) break inner;
          s[code[pc + 1]] = value & 0xff;
          pc += OP_WORDS;
          continue;
        }
        case 21: /* STORE32 */ {
          const ea = (s[code[pc + 3]] + (s[code[pc + 4]] << code[pc + 5]) + code[pc + 6]) | 0;
          const seg = code[pc + 2];
          if (ea >>> 0 < s[WRITABLE + seg] >>> 0) {
            const linear = (ea + s[S.SEG + 1 + seg * 4]) | 0;
            const line = ((linear >>> 12) & 4095) << 3;
            if (tlb[line + user + 1] === (linear & WORD_MASK)) {
              i32[(linear + tlb[line + 4]) >>> 2] = s[code[pc + 1]];
              pc += OP_WORDS;
              continue;
            }
          }
          cpu.slowStore(seg, ea, 4, s[code[pc + 1]], block, pc);
          if (cpu.faultVector >= 0) break inner;
          pc += OP_WORDS;
          continue;
        }
        case 22: /* STORE16 */ {
          const ea = (s[code[pc + 3]] + (s[code[pc + 4]] << code[pc + 5]) + code[pc + 6]) | 0;
          const seg = code[pc + 2];
          if (ea >>> 0 < s[WRITABLE + seg] >>> 0) {
            const linear = (ea + s[S.SEG + 1 + seg * 4]) | 0;
            const line = ((linear >>> 12) & 4095) << 3;
            if (tlb[line + user + 1] === (linear & HALF_MASK)) {
              u16[(linear + tlb[line + 4]) >>> 1] = s[code[pc + 1]];
              pc += OP_WORDS;
              continue;
            }
          }
          cpu.slowStore(seg, ea, 2, s[code[pc + 1]], block, pc);
          if (cpu.faultVector >= 0) break inner;
          pc += OP_WORDS;
          continue;
        }
        case 23: /* STORE8 */ {
          const ea = (s[code[pc + 3]] + (s[code[pc + 4]] << code[pc + 5]) + code[pc + 6]) | 0;
          const seg = code[pc + 2];
          if (ea >>> 0 < s[WRITABLE + seg] >>> 0) {
            const linear = (ea + s[S.SEG + 1 + seg * 4]) | 0;
            const line = ((linear >>> 12) & 4095) << 3;
            if (tlb[line + user + 1] === (linear & BYTE_MASK)) {
              u8[(linear + tlb[line + 4]) | 0] = s[code[pc + 1]];
              pc += OP_WORDS;
              continue;
            }
          }
          cpu.slowStore(seg, ea, 1, s[code[pc + 1]], block, pc);
          if (cpu.faultVector >= 0) break inner;
          pc += OP_WORDS;
          continue;
        }
        case 28: /* ADD32 */ {
          const a = s[code[pc + 2]];
          const b = s[code[pc + 3]];
          const result = (a + b) | 0;
          s[S.FLAG_OP] = FlagOp.ADD;
          s[S.FLAG_RESULT] = result;
          s[S.FLAG_A] = a;
          s[S.FLAG_B] = b;
          s[code[pc + 1]] = result;
          pc += OP_WORDS;
          continue;
        }
        case 30: /* SUB32 */ {
          const a = s[code[pc + 2]];
          const b = s[code[pc + 3]];
          const result = (a - b) | 0;
          s[S.FLAG_OP] = FlagOp.SUB;
          s[S.FLAG_RESULT] = result;
          s[S.FLAG_A] = a;
          s[S.FLAG_B] = b;
          s[code[pc + 1]] = result;
          pc += OP_WORDS;
          continue;
        }
        case 32: /* CMP32 */ {
          const a = s[code[pc + 2]];
          const b = s[code[pc + 3]];
          const result = (a - b) | 0;
          s[S.FLAG_OP] = FlagOp.SUB;
          s[S.FLAG_RESULT] = result;
          s[S.FLAG_A] = a;
          s[S.FLAG_B] = b;
          pc += OP_WORDS;
          continue;
        }
        case 34: /* AND32 */ {
          const a = s[code[pc + 2]];
          const b = s[code[pc + 3]];
          const result = a & b;
          s[S.FLAG_OP] = FlagOp.LOGIC;
          s[S.FLAG_RESULT] = result;
          s[code[pc + 1]] = result;
          pc += OP_WORDS;
          continue;
        }
        case 36: /* OR32 */ {
          const a = s[code[pc + 2]];
          const b = s[code[pc + 3]];
          const result = a | b;
          s[S.FLAG_OP] = FlagOp.LOGIC;
          s[S.FLAG_RESULT] = result;
          s[code[pc + 1]] = result;
          pc += OP_WORDS;
          continue;
        }
        case 38: /* XOR32 */ {
          const a = s[code[pc + 2]];
          const b = s[code[pc + 3]];
          const result = a ^ b;
          s[S.FLAG_OP] = FlagOp.LOGIC;
          s[S.FLAG_RESULT] = result;
          s[code[pc + 1]] = result;
          pc += OP_WORDS;
          continue;
        }
        case 40: /* TEST32 */ {
          const a = s[code[pc + 2]];
          const b = s[code[pc + 3]];
          const result = a & b;
          s[S.FLAG_OP] = FlagOp.LOGIC;
          s[S.FLAG_RESULT] = result;
          pc += OP_WORDS;
          continue;
        }
        case 29: /* ADD32I */ {
          const a = s[code[pc + 2]];
          const b = code[pc + 3];
          const result = (a + b) | 0;
          s[S.FLAG_OP] = FlagOp.ADD;
          s[S.FLAG_RESULT] = result;
          s[S.FLAG_A] = a;
          s[S.FLAG_B] = b;
          s[code[pc + 1]] = result;
          pc += OP_WORDS;
          continue;
        }
        case 31: /* SUB32I */ {
          const a = s[code[pc + 2]];
          const b = code[pc + 3];
          const result = (a - b) | 0;
          s[S.FLAG_OP] = FlagOp.SUB;
          s[S.FLAG_RESULT] = result;
          s[S.FLAG_A] = a;
          s[S.FLAG_B] = b;
          s[code[pc + 1]] = result;
          pc += OP_WORDS;
          continue;
        }
        case 33: /* CMP32I */ {
          const a = s[code[pc + 2]];
          const b = code[pc + 3];
          const result = (a - b) | 0;
          s[S.FLAG_OP] = FlagOp.SUB;
          s[S.FLAG_RESULT] = result;
          s[S.FLAG_A] = a;
          s[S.FLAG_B] = b;
          pc += OP_WORDS;
          continue;
        }
        case 35: /* AND32I */ {
          const a = s[code[pc + 2]];
          const b = code[pc + 3];
          const result = a & b;
          s[S.FLAG_OP] = FlagOp.LOGIC;
          s[S.FLAG_RESULT] = result;
          s[code[pc + 1]] = result;
          pc += OP_WORDS;
          continue;
        }
        case 37: /* OR32I */ {
          const a = s[code[pc + 2]];
          const b = code[pc + 3];
          const result = a | b;
          s[S.FLAG_OP] = FlagOp.LOGIC;
          s[S.FLAG_RESULT] = result;
          s[code[pc + 1]] = result;
          pc += OP_WORDS;
          continue;
        }
        case 39: /* XOR32I */ {
          const a = s[code[pc + 2]];
          const b = code[pc + 3];
          const result = a ^ b;
          s[S.FLAG_OP] = FlagOp.LOGIC;
          s[S.FLAG_RESULT] = result;
          s[code[pc + 1]] = result;
          pc += OP_WORDS;
          continue;
        }
        case 41: /* TEST32I */ {
          const a = s[code[pc + 2]];
          const b = code[pc + 3];
          const result = a & b;
          s[S.FLAG_OP] = FlagOp.LOGIC;
          s[S.FLAG_RESULT] = result;
          pc += OP_WORDS;
          continue;
        }
        case 42: /* INC32 */ {
          const a = s[code[pc + 2]];
          const result = (a + 1) | 0;
          s[S.FLAG_B] = carryFlag(s);
          s[S.FLAG_OP] = FlagOp.INC;
          s[S.FLAG_RESULT] = result;
          s[S.FLAG_A] = a;
          s[code[pc + 1]] = result;
          pc += OP_WORDS;
          continue;
        }
        case 43: /* DEC32 */ {
          const a = s[code[pc + 2]];
          const result = (a - 1) | 0;
          s[S.FLAG_B] = carryFlag(s);
          s[S.FLAG_OP] = FlagOp.DEC;
          s[S.FLAG_RESULT] = result;
          s[S.FLAG_A] = a;
          s[code[pc + 1]] = result;
          pc += OP_WORDS;
          continue;
        }
        case 44: /* SHL32I */ {
          const a = s[code[pc + 2]];
          const count = code[pc + 3];
          const result = a << count;
          const carry = (a >>> (32 - count)) & 1;
          s[S.FLAG_OP] = FlagOp.CARRY_OVERFLOW;
          s[S.FLAG_RESULT] = result;
          s[S.FLAG_A] = carry;
          s[S.FLAG_B] = (result >>> 31) ^ carry;
          s[code[pc + 1]] = result;
          pc += OP_WORDS;
          continue;
        }
        case 45: /* SHR32I */ {
          const a = s[code[pc + 2]];
          const count = code[pc + 3];
          const result = (a >>> count) | 0;
          const carry = (a >>> (count - 1)) & 1;
          s[S.FLAG_OP] = FlagOp.CARRY_OVERFLOW;
          s[S.FLAG_RESULT] = result;
          s[S.FLAG_A] = carry;
          s[S.FLAG_B] = (a >>> (count - 1)) >>> 31;
          s[code[pc + 1]] = result;
          pc += OP_WORDS;
          continue;
        }
        case 46: /* SAR32I */ {
          const a = s[code[pc + 2]];
          const count = code[pc + 3];
          const result = a >> count;
          const carry = (a >> (count - 1)) & 1;
          s[S.FLAG_OP] = FlagOp.CARRY_OVERFLOW;
          s[S.FLAG_RESULT] = result;
          s[S.FLAG_A] = carry;
          s[S.FLAG_B] = 0;
          s[code[pc + 1]] = result;
          pc += OP_WORDS;
          continue;
        }
        case 24: /* LOAD_FOR_STORE */ {
          const ea = (s[code[pc + 3]] + (s[code[pc + 4]] << code[pc + 5]) + code[pc + 6]) | 0;
          const seg = code[pc + 2];
          const size = code[pc + 7];
          if (size === 4 && ea >>> 0 < s[WRITABLE + seg] >>> 0) {
            const linear = (ea + s[S.SEG + 1 + seg * 4]) | 0;
            const line = ((linear >>> 12) & 4095) << 3;
            if (tlb[line + user + 1] === (linear & WORD_MASK)) {
              s[code[pc + 1]] = i32[(linear + tlb[line + 4]) >>> 2];
              pc += OP_WORDS;
              continue;
            }
          }
          const value = cpu.slowLoadForStore(seg, ea, size, block, pc);
          if (cpu.faultVector >= 0) break inner;
          const up = 32 - size * 8;
          s[code[pc + 1]] = (value << up) >> up;
          pc += OP_WORDS;
          continue;
        }
        case 25: /* STORE_CHECKED */ {
          const ea = (s[code[pc + 3]] + (s[code[pc + 4]] << code[pc + 5]) + code[pc + 6]) | 0;
          const seg = code[pc + 2];
          const size = code[pc + 7];
          if (size === 4 && ea >>> 0 < s[WRITABLE + seg] >>> 0) {
            const linear = (ea + s[S.SEG + 1 + seg * 4]) | 0;
            const line = ((linear >>> 12) & 4095) << 3;
            if (tlb[line + user + 1] === (linear & WORD_MASK)) {
              i32[(linear + tlb[line + 4]) >>> 2] = s[code[pc + 1]];
              pc += OP_WORDS;
              continue;
            }
          }
          cpu.slowStore(seg, ea, size, s[code[pc + 1]], block, pc);
          if (cpu.faultVector >= 0) cpu.bug('a checked store faulted');
          pc += OP_WORDS;
          continue;
        }
        case 82 /* CHECK_TARGET */:
          if (s[code[pc + 2]] >>> 0 > s[CS_LIMIT] >>> 0) {
            cpu.raise(Vector.GP);
            break inner;
          }
          pc += OP_WORDS;
          continue;
        case 83 /* CHECK_TARGET_DIRECT */:
          if ((s[S.EIP] + code[pc + 1]) >>> 0 > s[CS_LIMIT] >>> 0) {
            cpu.raise(Vector.GP);
            break inner;
          }
          pc += OP_WORDS;
          continue;
        case 84 /* FETCH_NEXT_PAGE */:
          if (!cpu.fetchNextPage(block)) break inner;
          if (s[FETCH_MACHINE] !== code[pc + 1]) {
            // Another page is mapped there now than the one that the block was decoded with.
            cache.retire(block);
            const again = cpu.find(single);
            if (again === null) break inner;
            block = again;
            pc = block.start;
            continue;
          }
          pc += OP_WORDS;
          continue;

        case 88: /* JUMP */ {
          const eip = (s[S.EIP] + code[pc + 1]) | 0;
          if (eip >>> 0 > s[CS_LIMIT] >>> 0) {
            cpu.raise(Vector.GP);
            break inner;
          }
          s[S.EIP] = eip;
          clock[CYCLES] += block.cycles;
          clock[INSTRUCTIONS] += block.instructions;
          if (code[pc + 2] !== 0 && clock[CYCLES] >= clock[POLL_AT]) {
            event = true;
            continue outer;
          }
          const next = block.taken;
          if (next !== null && next.start >= 0 && next.heat < hot) {
            next.heat += 1;
            block = next;
            pc = next.start;
            continue;
          }
          from = block;
          fromTaken = true;
          edge = code[pc + 1];
          continue outer;
        }
        case 89: /* BRANCH */
        case 90: /* BRANCH_IF */
        case 91: /* BRANCH_LOOP */ {
          let taken: boolean;
          if (code[pc] === Op.BRANCH) taken = condition(s, code[pc + 3]);
          else if (code[pc] === Op.BRANCH_IF) taken = (s[code[pc + 3]] !== 0) === (code[pc + 4] !== 0);
          else taken = s[code[pc + 3]] !== 0 && condition(s, code[pc + 4]);
          if (taken) {
            const eip = (s[S.EIP] + code[pc + 1]) | 0;
            if (eip >>> 0 > s[CS_LIMIT] >>> 0) {
              cpu.raise(Vector.GP);
              break inner;
            }
            s[S.EIP] = eip;
            clock[CYCLES] += block.cycles;
            clock[INSTRUCTIONS] += block.instructions;
            if (code[pc + 2] !== 0 && clock[CYCLES] >= clock[POLL_AT]) {
              event = true;
              continue outer;
            }
            const next = block.taken;
            if (next !== null && next.start >= 0 && next.heat < hot) {
              next.heat += 1;
              block = next;
              pc = next.start;
              continue;
            }
            from = block;
            fromTaken = true;
            edge = code[pc + 1];
            continue outer;
          }
          s[S.EIP] += block.bytes;
          clock[CYCLES] += block.cycles;
          clock[INSTRUCTIONS] += block.instructions;
          const next = block.fall;
          if (next !== null && next.start >= 0 && next.heat < hot) {
            next.heat += 1;
            block = next;
            pc = next.start;
            continue;
          }
          from = block;
          fromTaken = false;
          edge = block.bytes;
          continue outer;
        }
        case 92: /* JUMP_INDIRECT */ {
          const eip = s[code[pc + 2]];
          if (eip >>> 0 > s[CS_LIMIT] >>> 0) {
            cpu.raise(Vector.GP);
            break inner;
          }
          s[S.EIP] = eip;
          clock[CYCLES] += block.cycles;
          clock[INSTRUCTIONS] += block.instructions;
          if (single || clock[CYCLES] >= clock[POLL_AT]) {
            event = true;
            continue outer;
          }
          const next = cpu.find(false);
          if (next === null) {
            // Looking again would charge the walk again.
            event = true;
            if (deliverFault(cpu) === Result.EXIT) return cpu.takeExit();
            continue outer;
          }
          if (next.heat >= hot) continue outer;
          next.heat += 1;
          next.entered = true;
          block = next;
          pc = next.start;
          continue;
        }
        case 96: /* BRANCH_INDIRECT */ {
          if (s[code[pc + 3]] === 0) {
            s[S.EIP] += block.bytes;
            clock[CYCLES] += block.cycles;
            clock[INSTRUCTIONS] += block.instructions;
            continue outer;
          }
          const eip = s[code[pc + 2]];
          if (eip >>> 0 > s[CS_LIMIT] >>> 0) {
            cpu.raise(Vector.GP);
            break inner;
          }
          s[S.EIP] = eip;
          clock[CYCLES] += block.cycles;
          clock[INSTRUCTIONS] += block.instructions;
          event = true;
          continue outer;
        }
        case 93: /* NEXT */ {
          s[S.EIP] += code[pc + 1];
          clock[CYCLES] += block.cycles;
          clock[INSTRUCTIONS] += block.instructions;
          const next = block.fall;
          if (next !== null && next.start >= 0 && next.heat < hot) {
            next.heat += 1;
            block = next;
            pc = next.start;
            continue;
          }
          from = block;
          fromTaken = false;
          edge = code[pc + 1];
          continue outer;
        }
        case 95 /* CUT */:
          s[S.EIP] += code[pc + 1];
          clock[CYCLES] += code[pc + 2];
          clock[INSTRUCTIONS] += code[pc + 3];
          continue outer;
        case 94: /* SYSTEM */ {
          const at = (s[S.EIP] + code[pc + 6]) | 0;
          s[S.EIP] = at;
          cpu.nextEip = (at + code[pc + 7]) | 0;
          clock[CYCLES] += block.cycles;
          clock[INSTRUCTIONS] += block.instructions - 1;
          const result = HELPER_LIST[code[pc + 1]](cpu, code[pc + 2], code[pc + 3], code[pc + 4], code[pc + 5]);
          event = true;
          if (result === Result.DONE) {
            s[S.EIP] = cpu.nextEip;
            clock[INSTRUCTIONS] += 1;
          } else if (result === Result.FAULT) {
            trap = false;
            if (deliverFault(cpu) === Result.EXIT) return cpu.takeExit();
          } else if (result === Result.EXIT) {
            return cpu.takeExit();
          } else if (result === Result.DELIVERED) {
            trap = false;
          }
          continue outer;
        }
        case 85 /* HELPER */:
          if (!cpu.callInline(block, pc)) break inner;
          pc += OP_WORDS;
          continue;
        default:
          if (!RARE_OPS[code[pc]](cpu, s, code, pc)) break inner;
          pc += OP_WORDS;
          continue;
      }
    }

    // The instruction at `pc` faulted before it committed anything.
    const index = cache.instructionAt(block, pc);
    const mark = block.marks + index * MARK_WORDS;
    s[S.EIP] += code[mark + 1];
    clock[CYCLES] += code[mark + 2];
    clock[INSTRUCTIONS] += index;
    trap = false;
    event = true;
    if (deliverFault(cpu) === Result.EXIT) return cpu.takeExit();
  }
}
