/**
 * The interpreter of what is not compiled: one WebAssembly function over ops and headers in linear memory (`emit-interpreter.ts`), those
 * of blocks, and those of templates for code that has no blocks yet.
 * It is good from its first call, and V8 compiles it once for all hosts of a process.
 *
 * It follows links between blocks by itself. It is left where the run loop has something to do: at event points, and for blocks that
 * are hot, retired, or not known yet. Accesses that miss the TLB are `runtime.ts`'s, SYSTEM ops and faults in flat 32-bit code those of
 * `events.ts`; ops that it has no code for, and what those do not cover, are the reference interpreter's functions, on the same state words.
 */
import { RETIRED } from '../cache-layout.js';
import type { Block, CodeCache } from '../code-cache.js';
import type { Context } from '../context.js';
import { OPS } from '../interpret.js';
import { LIMIT } from '../layout.js';
import { emitInterpreter } from './emit-interpreter.js';
import { perLayout } from './modules.js';
import { cyclesToPoll } from './slow-paths.js';

type Enter = (cpu: number, header: number, hot: number) => number;

const moduleFor = perLayout(emitInterpreter);

export class WasmInterpreter {
  readonly #enter: Enter;
  /** Executions after which blocks are the compiler's. */
  readonly #hot: number;

  constructor(private readonly cache: CodeCache) {
    const { memory, compiler, finder, layout } = cache;
    this.#hot = Math.min(compiler.threshold, RETIRED);
    const instance = new WebAssembly.Instance(moduleFor(layout), {
      m: {
        memory: memory.wasm,
        execute: (header: number, pc: number) => this.#execute(compiler.current as Context, header, pc),
        find: compiler.runtime.find,
        seek: finder.seek,
        provide: finder.provide,
        dispatch: compiler.dispatch,
        system: compiler.events.system,
        fault: compiler.events.fault,
        threshold: this.#hot,
      },
    });
    this.#enter = instance.exports['1'] as Enter;
    compiler.connectInterpreter(instance.exports['2'] as (cpu: number) => number);
  }

  /** Runs from the start of a block. Answers why it ended (`Leave`): EIP and clock are exact. */
  run(cpu: Context, block: Block, compilable: boolean): number {
    cpu.s[LIMIT] = cyclesToPoll(cpu.clock);
    return this.#enter(cpu.s.byteOffset, this.cache.addressOf(block), compilable ? this.#hot : RETIRED);
  }

  /** Executes one op on the state words, the clock exact as of the block's start. 0 with a fault pending. */
  #execute(cpu: Context, header: number, pc: number): number {
    const { code, codeAt } = this.cache;
    const at = (pc - codeAt) >> 2;
    const good = OPS[code[at]!]!(cpu, cpu.s, code, at, this.cache.blockAt(header));
    cpu.s[LIMIT] = cyclesToPoll(cpu.clock);
    return good ? 1 : 0;
  }
}
