/**
 * The compiler of a host and the compiled code that lives: hot blocks become regions (`region-plan.ts`), regions become
 * WebAssembly, and regions whose bytes are written are dropped.
 *
 * Compiled code is a faster way to do what the interpreter does, instruction for instruction and cycle for cycle. When a block
 * is compiled can therefore depend on anything; it depends on counts of executions, so that a run can be repeated.
 */
import { assert } from '../../../base/assert.js';
import type { Block, CodeCache } from '../code-cache.js';
import type { Context } from '../context.js';
import { LIMIT } from '../layout.js';
import { S } from '../state.js';
import { type BuildRegion, type BuiltRegion, regionBuilder } from './build-region.js';
import { type Dispatch, INTERPRETER, makeDispatch } from './dispatch.js';
import { type Events, makeEvents } from './events.js';
import { makeFlagFunctions } from './flag-functions.js';
import { Helper, opsGlobal } from './frame.js';
import { JumpCache } from './jump-cache.js';
import { ModuleCache, type SharedModule } from './module-cache.js';
import { collectBlocks, copyBlocks } from './region-source.js';
import { makeRuntime, type Runtime } from './runtime.js';
import { type CompiledCode, cyclesToPoll, generic, slowLoad, slowStore, system } from './slow-paths.js';
import { makeTrampoline, type Trampoline } from './trampoline.js';
import type { Workshop } from './workshop.js';

/** Executions after which a block is compiled; `never` for interpreters alone. */
export const Tiering = {
  normal: 1000,
  always: 1,
  never: Number.POSITIVE_INFINITY,
  reference: Number.POSITIVE_INFINITY,
} as const;

/** What was executed threshold >> WARM_SHIFT times is compiled together with a hot block of its page. */
const WARM_SHIFT = 3;

/** A block that cannot be compiled, or must not be for long, begins to count from here. */
export const COLD = -(1 << 28);

/** Memory that V8 keeps for an instance besides its module, measured. */
const INSTANCE_BYTES = 4500;

/**
 * Parts of the bound. From the first on it is watched which regions are entered; at the bound others are dropped, and if need be the
 * oldest, until the second is left.
 */
const WATCHED = 7 / 8;
const KEPT = 3 / 4;

/**
 * Compiling costs as much as executing some hundred thousand cycles. So many compilations may come at once, and one more for so many
 * cycles of guest code: a guest that goes through more code than there is room for is interpreted most of the time.
 */
const CREDIT_MAX = 1000;
const CYCLES_PER_COMPILATION = 100_000;

/** So many regions may be in the workshop at once; what gets hot then has to do so again. */
const ORDERS_MAX = 32;

/** Drops of a page that delay nothing, and the largest delay as a power of two. */
const DROPS_FREE = 2;
const WAIT_SHIFT_MAX = 10;

export interface Region {
  /** In the table; -1 once dropped. */
  index: number;
  readonly shape: number;
  readonly blocks: readonly Block[];
  /** Number of the entry at each block that has one. */
  readonly entries: ReadonlyMap<Block, number>;
  readonly module: SharedModule;
  /** Entered from the run loop since it was last asked who is. */
  used: boolean;
}

/** A region that the workshop is asked for. */
interface Order {
  readonly shape: number;
  /** As in its source. */
  readonly blocks: readonly Block[];
}

export class Compiler implements CompiledCode {
  drops = 0;
  compiled = 0;
  /** The thread that runs now. */
  current: Context | null = null;
  /** What generated code calls for memory. */
  readonly runtime: Runtime;
  /** What it calls for `SYSTEM` ops and faults. */
  readonly events: Events;
  readonly #jumpCache: JumpCache;
  readonly #build: BuildRegion = regionBuilder();
  /** The interpreter, then the regions. */
  readonly #table: WebAssembly.Table;
  readonly #helpers: WebAssembly.Table;
  readonly #trampoline: Trampoline;
  readonly dispatch: Dispatch;
  readonly #free: number[] = [];
  #next = INTERPRETER + 1;
  readonly #orders = new Map<number, Order>();
  #ordered = 0;
  readonly #modules = new ModuleCache();
  /** Oldest first. */
  readonly #live = new Set<Region>();
  /** Is it known who was entered since the bound came near? */
  #watching = false;
  #credit = CREDIT_MAX;
  /** Cycles of each thread for which credit was given. */
  readonly #credited = new WeakMap<Context, number>();
  #byPage = new Map<number, Region[]>();
  /** How often writes to a machine page have dropped compiled code. */
  readonly #dropsByPage = new Map<number, number>();

  constructor(
    private readonly cache: CodeCache,
    /** Executions after which a block is compiled. */
    readonly threshold: number,
    /** Bound of `bytes`. */
    readonly bytesMax: number,
    /** Without one, the machine stands still while a region is built. */
    private readonly workshop: Workshop | undefined,
  ) {
    const { memory } = cache;
    this.#jumpCache = new JumpCache(memory);
    this.#table = new WebAssembly.Table({ element: 'anyfunc', initial: 1024 });
    this.#helpers = new WebAssembly.Table({ element: 'anyfunc', initial: Object.keys(Helper).length });
    const pages = memory.sizeBytes >>> 16;
    const codeLinesAt = memory.codeLines.byteOffset;
    this.dispatch = makeDispatch(memory.wasm, pages, this.#table, this.#jumpCache.at(0), codeLinesAt);
    this.runtime = makeRuntime(memory.wasm, pages, this.#table, codeLinesAt, {
      load: (ea, packed) => slowLoad(this.#cpu(), this, ea, packed),
      store: (ea, packed, value) => slowStore(this.#cpu(), this, ea, packed, value),
    });
    const flags = makeFlagFunctions(memory.wasm);
    this.events = makeEvents(memory.wasm, cache.codeAt, {
      system: (at, page) => system(this.#cpu(), this, at, page),
      image: flags.image,
      repeat: this.runtime.repeat,
    });
    this.#trampoline = makeTrampoline(memory.wasm, this.#table, at => generic(this.#cpu(), this, at));
    for (const [helper, made] of [
      [Helper.GOTO, this.#trampoline.goto],
      [Helper.DISPATCH, this.dispatch],
      [Helper.LOAD, this.runtime.load],
      [Helper.STORE, this.runtime.store],
      [Helper.GENERIC, this.#trampoline.generic],
      [Helper.CARRY, flags.carry],
      [Helper.CONDITION, flags.condition],
      [Helper.IMAGE, flags.image],
      [Helper.SYSTEM, this.events.system],
      [Helper.FAULT, this.events.fault],
      [Helper.LOAD_SEGMENT, this.events.loadSegment],
      [Helper.REPEAT, this.runtime.repeat],
    ] as const) {
      this.#helpers.set(helper.index, made);
    }
  }

  get regions(): number {
    return this.#live.size;
  }

  /** Modules that they are instances of. */
  get modules(): number {
    return this.#modules.size;
  }

  /** Bytes of host memory that living regions are reckoned to take. */
  get bytes(): number {
    return this.#modules.bytes + this.#live.size * INSTANCE_BYTES;
  }

  #cpu(): Context {
    return this.current as Context;
  }

  /** Announces the interpreter, to be called where there is no compiled code. */
  connectInterpreter(here: (cpu: number) => number): void {
    this.#table.set(INTERPRETER, here);
  }

  /** Runs from EIP on, whoever it is that executes. Answers why it ended, or `Leave.UNKNOWN` where the run loop has to find the block. */
  runHere(cpu: Context): number {
    cpu.s[LIMIT] = cyclesToPoll(cpu.clock);
    return this.dispatch(cpu.s.byteOffset);
  }

  /** Runs compiled code from a block that has some. Answers why it returned (`Leave`). */
  run(cpu: Context, block: Block): number {
    const region = block.region!;
    region.used = true;
    this.#jumpCache.add(region.shape, block.machine, region.index, block.entry);
    cpu.s[LIMIT] = cyclesToPoll(cpu.clock);
    return this.#trampoline.enter(cpu.s.byteOffset, block.entry, cpu.s[S.EIP]!, region.index);
  }

  /** Compiles the region around a block. Afterwards the block has a region of this shape, or counts as cold. */
  compile(start: Block, shape: number): void {
    // Code that runs in several shapes has a region for each, and the block remembers the one that was used last.
    for (const known of start.regions) {
      const entry = known.shape === shape ? known.entries.get(start) : undefined;
      if (entry === undefined) continue;
      start.region = known;
      start.entry = entry;
      return;
    }
    if (this.#mustWait(start)) return;
    if (this.#orders.size >= ORDERS_MAX || (this.threshold >= Tiering.normal && !this.#affords())) {
      start.heat = 0;
      return;
    }
    const blocks = collectBlocks(this.cache, start, shape, Math.max(1, this.threshold >> WARM_SHIFT));
    if (blocks.length === 0) {
      start.heat = COLD;
      return;
    }
    const { memory, costs, code } = this.cache;
    const source = {
      ...copyBlocks(code, blocks),
      shape,
      costs: costs.cycles,
      memoryPages: memory.sizeBytes >>> 16,
      jumpCacheAt: this.#jumpCache.at(shape),
    };
    if (this.workshop?.open !== true) {
      this.#install({ shape, blocks }, this.#build(source));
      return;
    }
    const number = this.#ordered++;
    this.#orders.set(number, { shape, blocks });
    // Nobody asks for them again meanwhile.
    for (const block of blocks) if (block.region === null) block.heat = COLD;
    this.workshop.order(number, source);
  }

  /** Takes regions that the workshop has finished. No compiled code may be running. */
  poll(): void {
    if (this.#orders.size > 0) this.#collect();
  }

  #collect(): void {
    const { workshop } = this;
    for (let made = workshop?.take(); made !== undefined; made = workshop?.take()) {
      const order = this.#orders.get(made.number)!;
      this.#orders.delete(made.number);
      // Code that was written meanwhile is not what was compiled.
      if (order.blocks.every(block => block.start >= 0)) this.#install(order, made.built, made.module);
      else this.#cancel(order);
    }
    if (workshop?.open === true) return;
    for (const order of this.#orders.values()) this.#cancel(order);
    this.#orders.clear();
  }

  #cancel({ blocks }: Order): void {
    for (const block of blocks) if (block.heat < 0) block.heat = 0;
  }

  /** Puts a region into the table, where the first of its blocks and others find it. */
  #install({ shape, blocks }: Order, built: BuiltRegion, module?: WebAssembly.Module): void {
    this.#makeRoom();
    this.#dropReplaced(shape, blocks);
    const index = this.#free.pop() ?? this.#next++;
    if (index >= this.#table.length) this.#table.grow(this.#table.length);
    const [start] = blocks;
    const region: Region = {
      index,
      shape,
      blocks,
      entries: new Map(built.entries.map((block, entry) => [blocks[block]!, entry])),
      module: this.#modules.take(built.wasm, module),
      used: true,
    };
    this.#instantiate(region, built);
    this.#live.add(region);
    this.compiled += 1;
    const mpn = start!.machine >>> 12;
    const here = this.#byPage.get(mpn);
    if (here === undefined) this.#byPage.set(mpn, [region]);
    else here.push(region);
    for (const block of blocks) {
      block.regions.push(region);
      const entry = region.entries.get(block);
      // Where callers cannot come in, the interpreter goes on as far as the next entry, unless that is often.
      if (entry === undefined && block.region === null) block.heat = 0;
      if (entry === undefined || (block !== start && block.region?.shape === shape)) continue;
      block.region = region;
      block.entry = entry;
      block.heat = Math.max(block.heat, this.threshold);
    }
    assert(start!.region === region, 'the block that was to be compiled is an entry');
  }

  #instantiate({ index, blocks, module }: Region, { opsBlocks }: BuiltRegion): void {
    const imports: Record<string, unknown> = {
      memory: this.cache.memory.wasm,
      table: this.#helpers,
      page: blocks[0]!.machine & -4096,
      self: index,
    };
    opsBlocks.forEach((block, number) => {
      imports[opsGlobal(number)] = blocks[block]!.start;
    });
    const instance = new WebAssembly.Instance(module.module, { m: imports });
    this.#table.set(index, instance.exports['0']);
  }

  /** Keeps compiled code within its bound, before some more is made. */
  #makeRoom(): void {
    if (this.bytes <= this.bytesMax * WATCHED) return;
    if (!this.#watching) {
      // Who is entered from now on is so by the run loop, once for each entry.
      this.#watching = true;
      this.#jumpCache.clear();
      for (const region of this.#live) region.used = false;
    }
    if (this.bytes <= this.bytesMax) return;
    this.#watching = false;
    for (const used of [false, true]) {
      for (const region of this.#live) {
        if (this.bytes <= this.bytesMax * KEPT) return;
        if (region.used === used) this.#drop(region);
      }
    }
  }

  /** Drops the regions whose blocks are all part of a new one. */
  #dropReplaced(shape: number, blocks: readonly Block[]): void {
    const all = new Set(blocks);
    const older = new Set(blocks.flatMap(block => block.regions));
    for (const region of older) {
      if (region.shape === shape && region.blocks.every(block => all.has(block))) this.#drop(region);
    }
  }

  /** A page whose compiled code was dropped again and again has to be ever hotter before it is compiled once more. */
  #mustWait(start: Block): boolean {
    const drops = this.#dropsByPage.get(start.machine >>> 12) ?? 0;
    if (drops <= DROPS_FREE || start.waitedFor === drops || this.threshold === 1) return false;
    start.waitedFor = drops;
    start.heat = this.threshold - (this.threshold << Math.min(drops - DROPS_FREE, WAIT_SHIFT_MAX));
    return true;
  }

  /** Takes the credit for one compilation, if there is any. */
  #affords(): boolean {
    const cpu = this.#cpu();
    const ran = cpu.cycles - (this.#credited.get(cpu) ?? 0);
    this.#credited.set(cpu, cpu.cycles);
    this.#credit = Math.min(CREDIT_MAX, this.#credit + Math.max(0, ran) / CYCLES_PER_COMPILATION);
    if (this.#credit < 1) return false;
    this.#credit -= 1;
    return true;
  }

  touches(machine: number, length: number): boolean {
    const regions = this.#byPage.get(machine >>> 12);
    if (regions === undefined) return false;
    for (const region of regions) {
      for (const block of region.blocks) {
        if (block.machine < machine + length && machine < block.machine + block.bytes) return true;
      }
    }
    return false;
  }

  /** A block's bytes were written: the regions that it is part of go. Their other blocks may be compiled again. */
  retire(block: Block): void {
    const mpn = block.machine >>> 12;
    this.#dropsByPage.set(mpn, (this.#dropsByPage.get(mpn) ?? 0) + 1);
    for (const region of [...block.regions]) this.#drop(region);
  }

  dropAll(): void {
    for (const region of this.#live) this.#drop(region);
  }

  #drop(region: Region): void {
    if (region.index < 0) return;
    this.drops += 1;
    this.#modules.release(region.module);
    this.#live.delete(region);
    for (const block of region.blocks) {
      block.regions.splice(block.regions.indexOf(region), 1);
      // Also where the block has come by another region since, of another shape.
      this.#jumpCache.remove(region.shape, block.machine, region.index);
      if (block.region !== region) continue;
      block.region = null;
      block.entry = -1;
      block.heat = 0;
    }
    const mpn = region.blocks[0]!.machine >>> 12;
    const here = this.#byPage.get(mpn)!.filter(other => other !== region);
    if (here.length > 0) this.#byPage.set(mpn, here);
    else this.#byPage.delete(mpn);
    // The code itself lives as long as a thread is in it; the place in the table may be taken at once.
    this.#table.set(region.index, null);
    this.#free.push(region.index);
    region.index = -1;
  }
}
