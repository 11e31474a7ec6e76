/**
 * The run loop of a hardware thread: it takes events, finds the block at EIP, and hands it to whoever executes it: compiled code,
 * the WebAssembly interpreter, or the reference interpreter. What they do is the same, cycle for cycle.
 */
import { Mode } from './cache-layout.js';
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
  const hot = compiler.threshold;
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
      s[S.INTERRUPT_SHADOW] = 0;
    }
    let why: number = single || alone ? Leave.UNKNOWN : compiler.runHere(cpu);
    if (why === Leave.UNKNOWN && interpreter !== null && !single && !alone) why = interpreter.runHere(cpu);
    const block = why === Leave.UNKNOWN ? cpu.find(single || alone) : null;
    if (why !== Leave.UNKNOWN) {
      s[STATUS] = 0;
    } else if (block === null) {
      alone = false;
      trap = false;
      event = true;
      if (deliverFault(cpu) === Result.EXIT) return cpu.takeExit();
      continue;
    } else if (single || alone || (block.mode & Mode.SINGLE) !== 0) {
      alone = false;
      why = interpretBlock(cpu, block);
    } else {
      block.entered = true;
      const shape = s[SHAPE]!;
      const compilable = block.mode === Mode.PLAIN && shape >= 0;
      if (compilable && block.heat >= hot && (block.region === null || block.region.shape !== shape)) {
        compiler.compile(block, shape);
      }
      if (compilable && block.region !== null && block.region.shape === shape) {
        why = compiler.run(cpu, block);
        s[STATUS] = 0;
      } else {
        block.heat += 1;
        const byReference = interpreter === null || block.secondPage >= 0;
        why = byReference ? interpretBlock(cpu, block) : interpreter.run(cpu, block, compilable);
      }
    }
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
