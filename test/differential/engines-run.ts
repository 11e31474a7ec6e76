/** Runs one random program on two machines whose engines work differently, and compares everything that the guest or a monitor can see. */
import { Decoder, DecoderOptions, Formatter, FormatterSyntax } from 'iced-x86';
import { assemble } from '../../src/hypervisor/machine/cpu/assemble.js';
import { type Block, engineDefaults } from '../../src/hypervisor/machine/cpu/code-cache.js';
import { Tiering } from '../../src/hypervisor/machine/cpu/compile/compiler.js';
import { OP_WORDS } from '../../src/hypervisor/machine/cpu/ir.js';
import { Attr, Cr0, type Exit, S, Seg } from '../../src/hypervisor/machine/cpu/state.js';
import { DelayedWorkshop } from '../delayed-workshop.js';
import { GDT, HANDLERS, IDT, Machine, PAGE_DIRECTORY, STACK0, STACK3 } from '../machine/fixture.js';
import {
  ALIAS_CODE,
  CODE_AT,
  CODE_PAGES,
  CONFLICT_AT,
  CONFLICT_STRIDE,
  DATA_AT,
  type Episode,
  LAZY_AT,
  LAZY_PAGES,
  ODD_AT,
  ODD_PAGES,
  type Program,
  TABLE_AT,
} from './engines-program.js';

const RAM = 2 << 20;
/** Compared after every `run`; all of RAM at the end. */
const BUSY_BYTES = 0x50000;
const LOW_TABLE = 0x44000;
const ALIAS_TABLE = 0x45000;
const CONFLICT_TABLE = 0x46000;
const HANDLER_CODE = 0x6000;

const FAULTS_AT = TABLE_AT - 4;
/** Goes on at the next address of the table; `code`: the stack holds an error code. */
const elsewhere = (code: boolean) => `
  mov eax, [${FAULTS_AT}]
  inc eax
  and eax, 63
  mov [${FAULTS_AT}], eax
  mov eax, [${TABLE_AT}+eax*4]
  mov [esp+${code ? 12 : 8}], eax
  pop ds
  pop eax
  ${code ? 'add esp, 4' : 'nop'}
  iret`;
const ENTER = 'push eax\n push ds\n mov eax, 0x10\n mov ds, eax\n';
const LAZY_ENTRY = ALIAS_TABLE + ((LAZY_AT >>> 12) & 1023) * 4;
const PF_HANDLER = `${ENTER}
  mov eax, cr2
  shr eax, 12
  sub eax, ${LAZY_AT >>> 12}
  cmp eax, ${LAZY_PAGES}
  jae out
  test dword [${LAZY_ENTRY}+eax*4], 1
  jnz out
  or dword [${LAZY_ENTRY}+eax*4], 7
  pop ds
  pop eax
  add esp, 4
  iret
out: ${elsewhere(true)}`;

export class Engine {
  readonly machine: Machine;
  readonly #ram: Float64Array;
  /** What every program finds in memory. */
  readonly #clean: Float64Array;
  readonly #state: Int32Array;
  readonly #fpu: Int32Array;
  /** Device accesses: what, where, value, when. */
  readonly log: number[] = [];
  onRegion: ((blocks: readonly Block[]) => void) | undefined;

  /**
   * `threshold`: executions after which a block is compiled (infinite: never), or all is left to the reference interpreter. `later`:
   * regions come from a workshop.
   */
  constructor(threshold: number | 'reference', later = false) {
    const { log } = this;
    const before = [{ ...engineDefaults }, Tiering.normal] as const;
    engineDefaults.tiering = threshold === 'reference' ? threshold : 'normal';
    if (later) engineDefaults.workshop = () => new DelayedWorkshop();
    if (threshold !== 'reference') (Tiering as { normal: number }).normal = threshold;
    this.machine = new Machine({
      physicalBytes: RAM,
      mmio: {
        read: (physical, width) => {
          this.#device(1, physical, width);
          return (physical * 0x9e3779b1 + log.length) >>> 0;
        },
        write: (physical, width, value) => this.#device(2, physical, width, value),
      },
      ports: {
        read: (port, width) => {
          this.#device(3, port, width);
          return (port * 0x85ebca6b + log.length) >>> 0;
        },
        write: (port, width, value) => this.#device(4, port, width, value),
      },
    });
    Object.assign(engineDefaults, before[0]);
    (Tiering as { normal: number }).normal = before[1];
    const { machine } = this;
    const { compiler } = machine.cache;
    const compile = compiler.compile.bind(compiler);
    compiler.compile = (start, shape) => {
      compile(start, shape);
      if (start.region !== null) this.onRegion?.(start.region.blocks);
    };
    this.#fixedTables();
    this.#ram = new Float64Array(machine.memory.wasm.buffer, machine.base, RAM / 8);
    this.#clean = this.#ram.slice(0, BUSY_BYTES / 8);
    this.#state = machine.cpu.s.slice();
    this.#fpu = machine.cpu.fpu.w.slice();
  }

  #device(kind: number, address: number, width: number, value = 0): void {
    const { cpu } = this.machine;
    this.log.push(kind, address, width, value, cpu.cycles, cpu.instructions, cpu.s[S.EIP]!);
    const count = this.log.length / 7;
    if (count % 5 === 1) cpu.setIntr(true);
    if (count % 7 === 3) cpu.deadlineCycles = Math.min(cpu.deadlineCycles, cpu.cycles + 100);
  }

  /** Puts everything back to how a new machine is, with the program in memory. */
  reset(program: Program): void {
    const { machine } = this;
    const { cpu, memory, base } = machine;
    machine.cache.clear();
    // No page holds code now, so nobody has to be told of writes. In shared memory, fewer and larger elements are faster.
    this.#ram.set(this.#clean);
    this.#ram.fill(0, this.#clean.length);
    memory.u8.set(program.code, base + CODE_AT);
    cpu.s.set(this.#state);
    cpu.clock.fill(0);
    cpu.fpu.w.set(this.#fpu);
    cpu.flushTlb();
    cpu.cyclesByRing.fill(0);
    Object.assign(cpu.counters, { tlbMisses: 0, exceptions: 0, interrupts: 0, portReads: 0, portWrites: 0 });
    cpu.faultVector = -1;
    this.log.length = 0;
    machine.reports.length = 0;
    for (let i = 0; i < 64; i++) {
      machine.write32(TABLE_AT + i * 4, CODE_AT + program.chunks[i % program.chunks.length]!);
    }
    for (let i = 0; i < CODE_PAGES; i++) {
      this.#entry(ALIAS_TABLE, ALIAS_CODE + i * 4096, (CODE_AT + program.permutation[i]! * 4096) | 7);
    }
    this.#handlers(program);
  }

  #entry(table: number, linear: number, value: number): void {
    this.machine.write32(table + ((linear >>> 12) & 1023) * 4, value >>> 0);
  }

  /** Page tables, descriptors and handlers that are every program's. */
  #fixedTables(): void {
    const { machine } = this;
    for (let i = 0; i < 1024; i++) this.#entry(LOW_TABLE, i << 12, (i << 12) | 7);
    machine.write32(PAGE_DIRECTORY, LOW_TABLE | 7);
    machine.write32(PAGE_DIRECTORY + 8, ALIAS_TABLE | 7);
    machine.write32(PAGE_DIRECTORY + 12, CONFLICT_TABLE | 7);
    for (let i = 0; i < 8; i++)
      this.#entry(CONFLICT_TABLE, CONFLICT_AT + i * CONFLICT_STRIDE, (DATA_AT + i * 4096) | 7);
    // A code page and a device page among those that evict one another.
    this.#entry(CONFLICT_TABLE, CONFLICT_AT + 6 * CONFLICT_STRIDE, CODE_AT | 7);
    this.#entry(CONFLICT_TABLE, CONFLICT_AT + 7 * CONFLICT_STRIDE, 0xa0000 | 7);
    const odd = [5, 3, 0, 1, 7, 7, 0x107, 7];
    for (let i = 0; i < ODD_PAGES; i++) {
      const kind = i & 7;
      const physical =
        kind === 4 ? 0xa0000 : kind === 5 ? CODE_AT + (i >> 3) * 4096 : kind === 7 ? 0x300000 : DATA_AT + i * 4096;
      this.#entry(ALIAS_TABLE, ODD_AT + i * 4096, physical | odd[kind]!);
    }
    for (let i = 0; i < LAZY_PAGES; i++) this.#entry(ALIAS_TABLE, LAZY_AT + i * 4096, DATA_AT + i * 4096);
    this.#handler(0x20, 0x40, 0xcf); // inc eax; iret
    this.#handler(0x80, 0x83, 0xc1, 0x07, 0xcf); // add ecx, 7; iret
    for (const vector of [1, 3, 4]) this.#handler(vector, 0xcf);
    const handlers = [PF_BYTES, CODE_BYTES, PLAIN_BYTES];
    for (const [i, bytes] of handlers.entries()) machine.write(HANDLER_CODE + i * 256, bytes);
    machine.gate(14, 0, HANDLER_CODE);
    // Selectors for programs that load some: small, read-only, expand-down, based.
    machine.descriptor(0x43, 0x1000, 0x3ffff, Attr.P | Attr.S | Attr.DB | 0x63);
    machine.descriptor(0x4b, 0, 0xffffffff, Attr.P | Attr.S | Attr.DB | 0x61);
    machine.descriptor(0x53, 0, 0x2ffff, Attr.P | Attr.S | Attr.DB | 0x67);
    machine.descriptor(0x5b, DATA_AT, 0xffff, Attr.P | Attr.S | Attr.DB | 0x63);
  }

  #handler(vector: number, ...bytes: number[]): void {
    this.machine.write(HANDLERS + vector * 16, bytes);
  }

  #handlers(program: Program): void {
    const { machine } = this;
    // Divide errors go on two bytes further.
    if (program.divideHandlerSkips) this.#handler(0, 0x36, 0x83, 0x04, 0x24, 0x02, 0xcf);
    if (!program.faultsGoOn) return;
    for (const vector of [11, 13, 17]) machine.gate(vector, 0, HANDLER_CODE + 256);
    for (const vector of [5, 6, 7, 16]) machine.gate(vector, 0, HANDLER_CODE + 512);
  }

  begin(episode: Episode): void {
    const { cpu } = this.machine;
    const { s } = cpu;
    const on = episode.paging !== 'off';
    s[S.GDT_BASE] = GDT;
    s[S.GDT_LIMIT] = 0x7ff;
    s[S.IDT_BASE] = IDT;
    s[S.IDT_LIMIT] = 0x7ff;
    this.machine.write32(PAGE_DIRECTORY, episode.paging === 'large' ? 0x187 : LOW_TABLE | 7);
    cpu.setCr4(episode.paging === 'large' ? 0x90 : 0);
    cpu.setCr0(Cr0.PE | Cr0.ET | (on ? Cr0.PG : 0) | (on && episode.writeProtect ? Cr0.WP : 0) | (0 >>> 0));
    cpu.loadCr3(PAGE_DIRECTORY);
    this.machine.setRing(episode.ring);
    const attr = Attr.P | Attr.S | Attr.DB | Attr.G | (episode.ring << Attr.DPL_SHIFT);
    const limitOf = (limit: number, type: number) => (type & 4 ? 0x2ffff : limit) | 0;
    const segments = [Seg.ES, Seg.SS, Seg.DS, Seg.FS, Seg.GS];
    segments.forEach((seg, i) => {
      const type = episode.types[i]!;
      const narrow = seg === Seg.SS && episode.stack16;
      const selector = episode.ring === 0 ? 0x10 : 0x33;
      cpu.setSegment(
        seg,
        selector,
        episode.bases[i]! | 0,
        limitOf(episode.limits[i]!, type),
        (narrow ? attr & ~Attr.DB : attr) | type,
      );
    });
    cpu.setSegment(Seg.CS, episode.ring === 0 ? 0x08 : 0x2b, episode.codeBase, episode.codeLimit | 0, attr | 0xb);
    for (let i = 0; i < 8; i++) s[i] = episode.registers[i]!;
    s[S.ESP] = (episode.ring === 0 ? STACK0 - 0x100 : STACK3) - (episode.registers[4]! & 0x3c);
    s[S.EIP] = (episode.alias ? ALIAS_CODE : CODE_AT) - episode.codeBase + episode.entry;
    s[S.INTERRUPT_SHADOW] = 0;
    cpu.writeEflags(episode.eflags);
  }

  run(slice: Episode['slices'][number]): Exit | { readonly kind: 'broken'; readonly error: unknown } {
    const { cpu } = this.machine;
    if (slice.interrupt) cpu.setIntr(true);
    try {
      return cpu.run(cpu.cycles + slice.cycles);
    } catch (error) {
      return { kind: 'broken', error };
    }
  }

  /** Lines of the TLBs, in the order in which they will give way. */
  tlb(): string[] {
    return this.machine.cpu.tlbEntries().map(entry => JSON.stringify(entry));
  }
}

const PF_BYTES = assemble(HANDLER_CODE, PF_HANDLER).bytes;
const CODE_BYTES = assemble(HANDLER_CODE + 256, ENTER + elsewhere(true)).bytes;
const PLAIN_BYTES = assemble(HANDLER_CODE + 512, ENTER + elsewhere(false)).bytes;
const hex = (value: number): string => (value >>> 0).toString(16);

const WORD_NAMES = new Map<number, string>(Object.entries(S).map(([name, at]) => [at, name]));
const STATE_WORDS = [
  ...[0, 1, 2, 3, 4, 5, 6, 7, S.EIP, S.EFLAGS, S.CPL, S.CR0, S.CR2, S.CR3, S.CR4, S.INTERRUPT_SHADOW, S.INTR, S.DR6],
  ...Array.from({ length: 32 }, (_, i) => S.SEG + i),
];

function differences(a: Engine, b: Engine, whole: boolean): string[] {
  const found: string[] = [];
  const note = (name: string, x: number, y: number) => {
    if (x !== y) found.push(`${name}: ${hex(x)} and ${hex(y)}${Number.isInteger(x) ? ` (${x}, ${y})` : ''}`);
  };
  const [x, y] = [a.machine.cpu, b.machine.cpu];
  for (const word of STATE_WORDS) note(WORD_NAMES.get(word) ?? `segment word ${word - S.SEG}`, x.s[word]!, y.s[word]!);
  note('eflags', x.readEflags(), y.readEflags());
  note('cycles', x.cycles, y.cycles);
  note('instructions', x.instructions, y.instructions);
  for (const name of ['tlbMisses', 'exceptions', 'interrupts', 'portReads', 'portWrites'] as const) {
    note(name, x.counters[name], y.counters[name]);
  }
  for (let ring = 0; ring < 4; ring++) note(`cycles of ring ${ring}`, x.cyclesByRing[ring]!, y.cyclesByRing[ring]!);
  for (let i = 0; i < x.fpu.w.length; i++) if (i < 64 || i >= 72) note(`fpu word ${i}`, x.fpu.w[i]!, y.fpu.w[i]!);
  if (a.log.length !== b.log.length || a.log.some((value, i) => value !== b.log[i])) {
    const at = a.log.findIndex((value, i) => value !== b.log[i]);
    const entry = Math.floor((at < 0 ? Math.min(a.log.length, b.log.length) : at) / 7) * 7;
    found.push(`device access: ${a.log.slice(entry, entry + 7)} and ${b.log.slice(entry, entry + 7)}`);
  }
  const length = whole ? RAM : BUSY_BYTES;
  const view = (engine: Engine) => Buffer.from(engine.machine.memory.wasm.buffer, engine.machine.base, length);
  const [p, q] = [view(a), view(b)];
  if (!p.equals(q)) {
    const at = p.findIndex((byte, i) => byte !== q[i]);
    found.push(
      `memory at ${hex(at)}: ${p.subarray(at, at + 8).toString('hex')} and ${q.subarray(at, at + 8).toString('hex')}`,
    );
  }
  if (whole) {
    const [lines, others] = [a.tlb(), b.tlb()];
    const at = lines.findIndex((line, i) => line !== others[i]);
    if (at >= 0 || lines.length !== others.length) found.push(`TLB: ${lines[at]} and ${others[at]}`);
  }
  return found;
}

export interface Failure {
  readonly episode: number;
  readonly slice: number;
  readonly differences: readonly string[];
}

const describe = (exit: ReturnType<Engine['run']>): string =>
  exit.kind === 'broken'
    ? `broken: ${(exit.error as Error).stack?.split('\n').slice(0, 6).join('\n')}`
    : JSON.stringify(exit);

/** Cycles, exits and so on of a program that ran equally. */
export interface Tally {
  /** Random states from which both ran, and points at which all that they have was compared. */
  states: number;
  comparisons: number;
  /** Blocks that the reference interpreter has decoded, each of which it executes. */
  blocks: number;
  instructions: number;
  exceptions: number;
  interrupts: number;
  regions: number;
  /** Ops of compiled code, with the values of their fourth argument (which tells the operand size of some). */
  compiledOps: Map<number, Set<number>>;
}

export const newTally = (): Tally => ({
  states: 0,
  comparisons: 0,
  blocks: 0,
  instructions: 0,
  exceptions: 0,
  interrupts: 0,
  regions: 0,
  compiledOps: new Map(),
});

/** Notes the ops of blocks that have been compiled. */
function countOps({ machine }: Engine, blocks: readonly Block[], { compiledOps }: Tally): void {
  const { code } = machine.cache;
  for (const { start, marks } of blocks) {
    for (let at = start; at < marks; at += OP_WORDS) {
      const values = compiledOps.get(code[at]!) ?? new Set();
      compiledOps.set(code[at]!, values.add(code[at + 4]!));
    }
  }
}

/** Reference interpreter and engines that compile after so many executions. */
export class EnginePair {
  a = new Engine('reference');
  #others = new Map<string, Engine>();

  /** Of every other program the regions are ordered. */
  #other({ seed, threshold }: Program): Engine {
    const later = (seed & 1) !== 0;
    const key = `${threshold} ${later}`;
    let engine = this.#others.get(key);
    if (engine === undefined) this.#others.set(key, (engine = new Engine(threshold, later)));
    return engine;
  }

  /** Null if the engines agree. */
  check(program: Program, tally?: Tally): Failure | null {
    const { a } = this;
    const b = this.#other(program);
    b.onRegion = tally === undefined ? undefined : blocks => countOps(b, blocks, tally);
    a.reset(program);
    b.reset(program);
    const compiled = b.machine.cache.compiler.compiled;
    const decoded = a.machine.cache.blocksDecoded;
    let comparisons = 0;
    for (const [index, episode] of program.episodes.entries()) {
      a.begin(episode);
      b.begin(episode);
      for (const [slice, what] of episode.slices.entries()) {
        const x = a.run(what);
        const y = b.run(what);
        const [dx, dy] = [describe(x), describe(y)];
        const found = dx === dy ? [] : [`exit: ${dx} and ${dy}`];
        const last = x.kind !== 'deadline' || slice === episode.slices.length - 1;
        found.push(...differences(a, b, last));
        comparisons += 1;
        if (found.length > 0 || x.kind === 'broken') {
          if (found.length === 0) found.push(dx);
          this.a = new Engine('reference');
          this.#others.clear();
          return { episode: index, slice, differences: found };
        }
        if (last) break;
      }
    }
    if (tally !== undefined) {
      tally.states += program.episodes.length;
      tally.comparisons += comparisons;
      tally.blocks += a.machine.cache.blocksDecoded - decoded;
      tally.instructions += a.machine.cpu.instructions;
      tally.exceptions += a.machine.cpu.counters.exceptions;
      tally.interrupts += a.machine.cpu.counters.interrupts;
      tally.regions += b.machine.cache.compiler.compiled - compiled;
    }
    return null;
  }

  /** The same failure (or another one) with as few instructions as NOPs in their places leave, and as few episodes. */
  minimize(program: Program): { program: Program; failure: Failure } {
    let failure = this.check(program);
    if (failure === null) throw new Error(`seed ${program.seed} does not fail again`);
    let best: Program = { ...program, episodes: program.episodes.slice(0, failure.episode + 1) };
    const attempt = (candidate: Program): boolean => {
      const found = this.check(candidate);
      if (found === null) return false;
      best = { ...candidate, episodes: candidate.episodes.slice(0, found.episode + 1) };
      failure = found;
      return true;
    };
    for (let i = best.episodes.length - 2; i >= 0; i--) {
      attempt({ ...best, episodes: best.episodes.filter((_, index) => index !== i) });
    }
    for (const group of [64, 16, 4, 1, 1]) {
      for (let i = 0; i < program.spans.length; i += group) {
        const spans = program.spans.slice(i, i + group);
        const code = best.code.slice();
        for (const { at, length } of spans) code.fill(0x90, at, at + length);
        if (!Buffer.from(code).equals(Buffer.from(best.code))) attempt({ ...best, code });
      }
    }
    const last = best.episodes.length - 1;
    const shorter = best.episodes[last]!.slices.slice(0, failure.slice + 1);
    for (let i = shorter.length - 2; i >= 0; i--) {
      const episode = best.episodes[last]!;
      attempt({
        ...best,
        episodes: [
          ...best.episodes.slice(0, last),
          { ...episode, slices: episode.slices.filter((_, index) => index !== i) },
        ],
      });
    }
    return { program: best, failure: failure! };
  }
}

/** The instructions of a program that are no NOPs, and its episodes. */
export function listing(program: Program): string {
  const lines: string[] = [];
  const formatter = new Formatter(FormatterSyntax.Nasm);
  for (const { at, length } of program.spans) {
    const bytes = program.code.subarray(at, at + length);
    if (bytes.every(byte => byte === 0x90)) continue;
    const decoder = new Decoder(32, program.code.subarray(at, at + 15), DecoderOptions.None);
    decoder.ip = BigInt(CODE_AT + at);
    const ins = decoder.decode();
    const label = program.chunks.includes(at) ? ' <- chunk' : '';
    lines.push(
      `${hex(CODE_AT + at)}  ${Buffer.from(bytes).toString('hex').padEnd(24)} ${formatter.format(ins)}${label}`,
    );
    ins.free();
    decoder.free();
  }
  formatter.free();
  for (const episode of program.episodes) {
    lines.push(
      JSON.stringify({
        ...episode,
        registers: episode.registers.map(hex),
        bases: episode.bases.map(hex),
        limits: episode.limits.map(hex),
        eflags: hex(episode.eflags),
        slices: episode.slices.length > 6 ? episode.slices.length : episode.slices,
      }),
    );
  }
  lines.push(`threshold ${program.threshold}, permutation ${program.permutation}`);
  return lines.join('\n');
}
