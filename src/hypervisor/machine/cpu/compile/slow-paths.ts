/**
 * What compiled code asks TypeScript for: memory accesses that the in-line TLB check does not pass, and ops that are the
 * interpreter's. A fault is left pending in the thread; whatever would disturb compiled code while it runs, or needs exact
 * time in the middle of a block (device memory), is answered with `Leave.INTERPRET`: nothing has been done then, and the
 * interpreter executes the instruction.
 */

import type { Context } from '../context.js';
import { Result } from '../core.js';
import { Op } from '../ir.js';
import { CYCLES, FETCH_MACHINE, FETCH_PAGE, FETCH_SAFE, LIMIT, POLL_AT, SHAPE, STATUS } from '../layout.js';
import { RARE_OPS } from '../rare-ops.js';
import { Flag, S, segBase } from '../state.js';
import { executeSystem } from '../system.js';
import { Access } from './emit-memory.js';
import { ELSEWHERE, Leave } from './frame.js';

/**
 * Compiled code returns after so many cycles even if no event is due: the optimizer replaces code only where it is entered
 * anew, and one call must not keep the thread for long.
 */
export const STRETCH_CYCLES = 1 << 17;
const DEVICE = -2;

/** Cycles until event points take a look, as the compiled code's counter has it. */
export function cyclesToPoll(clock: Float64Array): number {
  const left = clock[POLL_AT]! - clock[CYCLES]!;
  return left > STRETCH_CYCLES ? STRETCH_CYCLES : left < -STRETCH_CYCLES ? -STRETCH_CYCLES : Math.ceil(left);
}

export interface CompiledCode {
  /** Regions dropped so far. */
  readonly drops: number;
  /** Is any of these bytes part of compiled code? */
  touches(machine: number, length: number): boolean;
}

function leave(cpu: Context, status: number): number {
  cpu.s[STATUS] = status;
  return 0;
}

/** Translates an access: `first` is its machine address, `second` that of the part behind a page end, else equal. */
class Slow {
  first = 0;
  second = 0;

  /** Answers a status. */
  find(cpu: Context, compiled: CompiledCode, ea: number, packed: number): number {
    const seg = packed & 15;
    const size = (packed >> 4) & 15;
    const write = (packed & Access.WRITE) !== 0;
    if (!cpu.checkSegment(seg, ea, size, write)) return Leave.FAULT;
    const s = cpu.s;
    const linear = (ea + s[segBase(seg)]!) | 0;
    if ((packed & Access.LATER) !== 0) {
      const last = (linear + size - 1) | 0;
      if (!cpu.tlb.holdsData(linear) || !cpu.tlb.holdsData(last)) return Leave.INTERPRET;
    }
    const user = s[S.CPL] === 3;
    const drops = compiled.drops;
    this.first = cpu.translate(linear, write, user);
    this.second = this.first;
    if (cpu.faultVector >= 0) return Leave.FAULT;
    if ((linear & 4095) + size > 4096) {
      this.second = cpu.translate(((linear & -4096) + 4096) | 0, write, user);
      if (cpu.faultVector >= 0) return Leave.FAULT;
    }
    if (this.first === DEVICE || this.second === DEVICE || compiled.drops !== drops) return Leave.INTERPRET;
    if (write) {
      const inFirst = this.first === this.second ? size : 4096 - (this.first & 4095);
      const holds = cpu.memory.codeLines;
      if (holds[this.first >>> 12] !== 0 && compiled.touches(this.first, inFirst)) return Leave.INTERPRET;
      if (inFirst < size && holds[this.second >>> 12] !== 0 && compiled.touches(this.second, size - inFirst)) {
        return Leave.INTERPRET;
      }
    }
    return 0;
  }

  /** Machine address of byte `i`. */
  byteAt(i: number): number {
    if (this.first === this.second) return this.first + i;
    const inFirst = 4096 - (this.first & 4095);
    return i < inFirst ? this.first + i : this.second + i - inFirst;
  }
}

const slow = new Slow();

/** `packed` is made of `Access` bits, the segment and the size. */
export function slowLoad(cpu: Context, compiled: CompiledCode, ea: number, packed: number): number {
  const size = (packed >> 4) & 15;
  const status = slow.find(cpu, compiled, ea, packed);
  cpu.s[LIMIT] = cyclesToPoll(cpu.clock);
  if (status !== 0) return leave(cpu, status);
  const memory = cpu.memory;
  let value: number;
  if (slow.first === slow.second) {
    value = size === 4 ? memory.readI32(slow.first) : size === 2 ? memory.read16(slow.first) : memory.read8(slow.first);
  } else {
    value = 0;
    for (let i = 0; i < size; i++) value |= memory.read8(slow.byteAt(i)) << (8 * i);
  }
  if ((packed & Access.SIGNED) === 0) return value;
  const up = 32 - size * 8;
  return (value << up) >> up;
}

export function slowStore(cpu: Context, compiled: CompiledCode, ea: number, packed: number, value: number): void {
  const size = (packed >> 4) & 15;
  const status = slow.find(cpu, compiled, ea, packed);
  cpu.s[LIMIT] = cyclesToPoll(cpu.clock);
  if (status !== 0) {
    if ((packed & Access.PAIR) !== 0) cpu.bug('a checked store cannot be done');
    leave(cpu, status);
    return;
  }
  const memory = cpu.memory;
  if (slow.first !== slow.second) {
    for (let i = 0; i < size; i++) memory.write8(slow.byteAt(i), (value >>> (8 * i)) & 0xff);
  } else if (size === 4) memory.write32(slow.first, value);
  else if (size === 2) memory.write16(slow.first, value);
  else memory.write8(slow.first, value);
}

/** Executes the op at `at` on the state words. Answers 0, `Leave.FAULT`, or another number where compiled code was dropped. */
export function generic(cpu: Context, compiled: CompiledCode, at: number): number {
  const code = cpu.codeCache.code;
  const drops = compiled.drops;
  const good = code[at] === Op.HELPER ? cpu.callInlineAt(at) : RARE_OPS[code[at]!]!(cpu, cpu.s, code, at);
  cpu.s[LIMIT] = cyclesToPoll(cpu.clock);
  if (!good) return Leave.FAULT;
  return compiled.drops === drops ? 0 : Leave.EVENT;
}

/**
 * Executes the SYSTEM op at `at` as the run loop would, EIP being at the instruction and the clock exact. Answers 0 where the
 * code of the machine page `page` goes on behind the instruction, with no event due; else why compiled code must return. `page`
 * is -1 for the interpreter.
 */
export function system(cpu: Context, compiled: CompiledCode, at: number, page: number): number {
  const { s, clock } = cpu;
  const code = cpu.codeCache.code;
  const drops = compiled.drops;
  const shape = s[SHAPE];
  const next = (s[S.EIP]! + code[at + 7]!) | 0;
  let result: number;
  do {
    result = executeSystem(cpu, code, at);
    // A string may be written over its own instruction. Compiled code is dropped then; the interpreter fetches it once more for each part.
  } while (result === Result.AGAIN && page >= 0 && clock[CYCLES]! < clock[POLL_AT]! && compiled.drops === drops);
  if (result === Result.FAULT) return Leave.FAULT;
  if (result === Result.EXIT) return Leave.EXIT;
  if (result !== Result.DONE) return result === Result.DELIVERED ? elsewhere(cpu) : Leave.EVENT;
  const stays = cpu.nextEip === next && s[SHAPE] === shape && compiled.drops === drops;
  if (!stays) return elsewhere(cpu);
  if (elsewhere(cpu) === Leave.EVENT || next >>> 0 >= s[FETCH_SAFE]! >>> 0) return Leave.EVENT;
  // The next instruction is fetched as `Context.find` would fetch it, which may take time.
  if ((next & -4096) !== s[FETCH_PAGE] && !cpu.fetch(next)) return Leave.FAULT;
  s[LIMIT] = cyclesToPoll(clock);
  if (s[FETCH_MACHINE] !== page || ((next - 1) & -4096) !== (next & -4096)) return ELSEWHERE;
  return 0;
}

/** At an event point: `Leave.EVENT` where the run loop has something to do, else `ELSEWHERE` with the limit noted. */
function elsewhere(cpu: Context): number {
  const { s, clock } = cpu;
  if (clock[CYCLES]! >= clock[POLL_AT]!) return Leave.EVENT;
  if ((s[S.INTERRUPT_SHADOW]! | (s[S.EFLAGS]! & Flag.TF)) !== 0 || (s[S.DR7]! & 0xff) !== 0) return Leave.EVENT;
  s[LIMIT] = cyclesToPoll(clock);
  return ELSEWHERE;
}
