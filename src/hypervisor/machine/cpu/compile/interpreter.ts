/**
 * The interpreter of what is not compiled: one WebAssembly function over ops and headers in linear memory (`emit-interpreter.ts`).
 * It is good from its first call, and V8 compiles it once for all hosts of a process.
 *
 * It follows links between blocks by itself. It is left where the run loop has something to do: at event points, for SYSTEM
 * ops, for faults, and for blocks that are hot, retired, or not known yet. Accesses that miss the TLB are `runtime.ts`'s; ops that it has no
 * code for, and what that does not cover, are the reference interpreter's functions, on the same state words.
 */
import { type Block, type CodeCache, Header, MAILBOX_WORDS, Mode, RETIRED, SLOTS } from '../code-cache.js';
import type { Context } from '../context.js';
import { OPS, retreat } from '../interpret.js';
import { OP_WORDS } from '../ir.js';
import { EXIT_OP, LIMIT } from '../layout.js';
import { emitInterpreter, Mail } from './emit-interpreter.js';
import { Leave } from './frame.js';
import { cyclesToPoll } from './slow-paths.js';

type Enter = (cpu: number, header: number, hot: number) => number;

/** Modules by the address of the code cache, on which alone their bytes depend: nearly always the same. */
const modules = new Map<number, WebAssembly.Module>();

function moduleFor(cache: CodeCache): WebAssembly.Module {
  let module = modules.get(cache.base);
  if (module === undefined) {
    module = new WebAssembly.Module(emitInterpreter(cache.base, cache.base + MAILBOX_WORDS * 4, SLOTS));
    modules.set(cache.base, module);
  }
  return module;
}

export class WasmInterpreter {
  /** Block that `run` has left with `Leave.GOTO` over an edge that is not linked yet. */
  from: Block | null = null;
  readonly #enter: Enter;
  readonly #mail: Int32Array;
  /** Executions after which blocks are the compiler's. */
  readonly #hot: number;

  constructor(private readonly cache: CodeCache) {
    const { memory, compiler } = cache;
    this.#mail = new Int32Array(memory.wasm.buffer, cache.base, MAILBOX_WORDS);
    this.#hot = Math.min(compiler.threshold, RETIRED);
    const instance = new WebAssembly.Instance(moduleFor(cache), {
      m: {
        memory: memory.wasm,
        execute: (header: number, pc: number) => this.#execute(compiler.current as Context, header, pc),
        find: compiler.runtime.find,
      },
    });
    this.#enter = instance.exports['1'] as Enter;
  }

  /** Runs from the start of a block. Answers why it ended (`Leave`): EIP and clock are exact. */
  run(cpu: Context, block: Block, compilable: boolean): number {
    const { cache } = this;
    const mail = this.#mail;
    cpu.s[LIMIT] = cyclesToPoll(cpu.clock);
    const why = this.#enter(cpu.s.byteOffset, cache.addressOf(block), compilable ? this.#hot : RETIRED);
    this.from = null;
    if (why === Leave.GOTO) {
      if (mail[Mail.LINK] !== 0) this.from = cache.blockAt(mail[Mail.HEADER]!);
    } else if (why === Leave.SYSTEM) {
      cpu.s[EXIT_OP] = this.#indexOf(mail[Mail.PC]!);
    } else if (why !== Leave.EVENT) {
      retreat(cpu, cache.blockAt(mail[Mail.HEADER]!), this.#indexOf(mail[Mail.PC]!));
    }
    return why;
  }

  /**
   * Links the edge over which `run` was left with its successor. Only within a page, and not from a block that ended on the next
   * one: every other transition asks the instruction TLB, so whether it misses does not depend on links.
   */
  link(from: Block, to: Block): void {
    if (from.start < 0 || from.secondPage >= 0 || ((from.mode | to.mode) & Mode.SINGLE) !== 0) return;
    const { cache } = this;
    const slot = this.#indexOf(this.#mail[Mail.LINK]!);
    const taken = slot === from.header + Header.TAKEN;
    const edge = taken ? cache.code[from.marks - OP_WORDS + 1]! : from.bytes;
    if (to.machine !== from.machine + edge || (to.machine ^ from.machine) >>> 12 !== 0) return;
    cache.code[slot] = cache.addressOf(to);
  }

  #indexOf(address: number): number {
    return (address - this.cache.codeAt) >> 2;
  }

  /** Executes one op on the state words, the clock exact as of the block's start. 0 with a fault pending. */
  #execute(cpu: Context, header: number, pc: number): number {
    const { cache } = this;
    const { code } = cache;
    const at = this.#indexOf(pc);
    const good = OPS[code[at]!]!(cpu, cpu.s, code, at, cache.blockAt(header));
    cpu.s[LIMIT] = cyclesToPoll(cpu.clock);
    return good ? 1 : 0;
  }
}
