/**
 * The run loop of a hardware thread: it takes events, finds the block at EIP, and hands it to whoever executes it: compiled code,
 * the WebAssembly interpreter, or the reference interpreter. What they do is the same, cycle for cycle.
 */
import { Mode } from './cache-layout.js';
import type { Block } from './code-cache.js';
import { Leave } from './compile/frame.js';
import type { Context } from './context.js';
import { Result } from './core.js';
import { deliver, deliverFault, Source } from './exceptions.js';
import { interpretBlock } from './interpret.js';
import { CYCLES, EXIT_OP, POLL_AT, SHAPE, STATUS } from './layout.js';
import { type Exit, Flag, S, Vector } from './state.js';
import { executeSystem } from './system.js';

const STEPPED: Exit = { kind: 'stepped' };

export function run(cpu: Context): Exit {
  const { s, clock, breakpoints } = cpu;
  const { code, compiler, interpreter } = cpu.codeCache;
  /** An event point has been reached. */
  let event = true;
  /** The instruction before was executed alone: because of `step`, TF, the interrupt shadow or a breakpoint. */
  let single = false;
  let trap = false;
  /** The instruction at EIP was left to the interpreter by generated code, which goes on behind it. */
  let alone = false;
  breakpoints.update(cpu);

  for (;;) {
    if (single) {
      single = false;
      event = true;
      cpu.heldShadow = 0;
      if (trap || breakpoints.hits !== 0) {
        const due = breakpoints.afterInstruction(cpu, trap);
        trap = false;
        if (due && deliver(cpu, Vector.DB, 0, Source.TRAP, s[S.EIP]!) === Result.EXIT) return cpu.takeExit();
      }
      if (cpu.stepping) return STEPPED;
    }
    if (event && !alone) {
      event = false;
      if (clock[CYCLES]! >= clock[POLL_AT]!) {
        const exit = cpu.takeEvents();
        if (exit !== null) return exit;
      }
    }
    if ((s[S.INTERRUPT_SHADOW]! | (s[S.EFLAGS]! & Flag.TF)) !== 0 || cpu.stepping || breakpoints.active) {
      single = true;
      if (breakpoints.active && breakpoints.stopsAt(cpu)) {
        if (deliver(cpu, Vector.DB, 0, Source.FAULT, s[S.EIP]!) === Result.EXIT) return cpu.takeExit();
        continue;
      }
      trap = (s[S.EFLAGS]! & Flag.TF) !== 0;
      cpu.heldShadow = s[S.INTERRUPT_SHADOW]!;
      s[S.INTERRUPT_SHADOW] = 0;
    }
    compiler.poll();
    let why: number = single || alone || interpreter === null ? Leave.UNKNOWN : compiler.runHere(cpu);
    if (why === Leave.UNKNOWN) {
      const block = cpu.find(single || alone);
      if (block === null) {
        alone = false;
        trap = false;
        event = true;
        if (deliverFault(cpu) === Result.EXIT) return cpu.takeExit();
        continue;
      }
      if (single || alone || (block.mode & Mode.SINGLE) !== 0) {
        alone = false;
        why = interpretBlock(cpu, block);
      } else {
        why = runBlock(cpu, block);
      }
    }
    s[STATUS] = 0;
    if (why === Leave.GOTO || why === Leave.UNKNOWN) continue;
    if (why === Leave.INTERPRET) {
      alone = true;
      continue;
    }
    if (why === Leave.EXIT) return cpu.takeExit();
    event = true;
    if (why === Leave.SYSTEM) {
      const result = executeSystem(cpu, code, s[EXIT_OP]!);
      if (result === Result.FAULT) {
        trap = false;
        if (deliverFault(cpu) === Result.EXIT) return cpu.takeExit();
      } else if (result === Result.EXIT) {
        return cpu.takeExit();
      } else if (result === Result.DELIVERED) {
        trap = false;
      }
    } else if (why === Leave.FAULT) {
      trap = false;
      if (deliverFault(cpu) === Result.EXIT) return cpu.takeExit();
    }
  }
}

/** Runs from a block on: compiled if it is hot, else by an interpreter. Answers why that ended (`Leave`). */
function runBlock(cpu: Context, block: Block): number {
  const { compiler, interpreter } = cpu.codeCache;
  const shape = cpu.s[SHAPE]!;
  const compilable = block.mode === Mode.PLAIN && shape >= 0;
  block.entered = true;
  if (compilable) {
    const other = block.region === null || block.region.shape !== shape;
    if (other && block.heat >= compiler.threshold) compiler.compile(block, shape);
    if (block.region !== null && block.region.shape === shape) return compiler.run(cpu, block);
  }
  block.heat += 1;
  if (interpreter === null || block.secondPage >= 0) return interpretBlock(cpu, block);
  return interpreter.run(cpu, block, compilable);
}
