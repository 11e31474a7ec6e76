/**
 * Lowered instructions, remembered by their head: prefixes, opcode, ModRM and SIB, that is everything in front of displacement
 * and immediate. Of each head the decoder and the families lower only the first few; then it is lowered some times more with
 * chosen displacements, immediates and places, and each word of its ops is compared over these trials. A word that is
 * constant, or a displacement, immediate, distance or target plus a constant, can be filled in from then on. A head with any
 * other word is remembered by its immediate as well if that is a byte (shifts, for example), else not at all.
 *
 * So nothing here knows what an instruction means, and whether a template is used cannot be seen: it gives the same ops.
 */
import { type ConstantOffsets, Decoder, Instruction } from 'iced-x86';
import type { MachineMemory } from '../memory.js';
import { CACHE_LINE_BYTES, type CacheLayout, Header, MARK_WORDS, NODES_MAX, TEMPLATE_WORDS } from './cache-layout.js';
import { DECODER_OPTIONS } from './decoder-options.js';
import { OP_WORDS, Op } from './ir.js';
import type { Lower, Lowering } from './lower.js';
import { Field, From, Head, How, Kind, Patch, SOURCES } from './template-layout.js';

/** So many times a head is decoded in full before it is worth the trials. */
const TRIALS_AFTER = 3;
const INSTRUCTION_BYTES_MAX = 15;

/** Displacements and immediates of the trials. A byte takes the low eight bits. */
const VALUES = [0, 0x12345678, -1, 0x7f8081ff, -0x80, 0x20, 0x1f, 0x5a01, -0x5a5a5a5b, 1];
const DELTAS = [0, 23, 100, 7, 64, 200, 41, 3, 150, 88];
const TRIALS = VALUES.length;

function readSigned(bytes: Uint8Array, at: number, size: number): number {
  if (size === 1) return (bytes[at]! << 24) >> 24;
  if (size === 2) return ((bytes[at]! | (bytes[at + 1]! << 8)) << 16) >> 16;
  if (size === 4) return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
  return 0;
}

/** Of `Patch.HOW`. */
const WITH_DISTANCE = 1 << 31;

const unsignedMask = (size: number): number => (size === 1 ? 0xff : size === 2 ? 0xffff : -1);

export class Templates {
  readonly #words: Int32Array;
  /** Indices in `#words`: the trie, where `CodeCache.code` begins, and the first word behind the last template. */
  readonly #trie: number;
  readonly #code: number;
  #top: number;
  readonly #end: number;
  /** Nodes 0..3 are the roots, one for each combination of code and stack size. */
  #nodes = 4;
  readonly #instruction = new Instruction();
  readonly #bytes = new Uint8Array(256);
  readonly #values = new Int32Array(SOURCES);

  /**
   * `low` writes to an array of its own, which belongs to the templates; `lower` is what the block decoder does with a
   * decoded instruction.
   */
  constructor(
    private readonly memory: MachineMemory,
    layout: CacheLayout,
    private readonly low: Lowering,
    private readonly lower: Lower,
  ) {
    low.window = this.#bytes;
    this.#words = memory.i32;
    this.#trie = layout.trieAt >> 2;
    this.#code = layout.codeAt >> 2;
    this.#top = this.#code;
    this.#end = this.#top + TEMPLATE_WORDS;
  }

  static root(bitness: number, stack16: boolean): number {
    return (bitness === 16 ? 2 : 0) | (stack16 ? 1 : 0);
  }

  /** The template that can be filled in for the instruction at a machine address, or 0. `found` is what the trie has for its head. */
  usable(found: number, machine: number): number {
    if (found === 0) return 0;
    const at = found >> 2;
    const kind = this.#words[at + Head.KIND]!;
    if (kind >= 0) return found;
    if (kind !== Kind.BY_IMMEDIATE) return 0;
    const exact = this.#words[this.#exactSlot(at, machine)]!;
    return exact !== 0 && this.#words[(exact >> 2) + Head.KIND]! >= 0 ? exact : 0;
  }

  #exactSlot(at: number, machine: number): number {
    const immediate = this.memory.u8[machine + this.#words[at + Head.IMMEDIATE_AT]!]!;
    return (this.#words[at + Head.EXACT_AT]! >> 2) + immediate;
  }

  /** A word of a template. */
  field(template: number, field: number): number {
    return this.#words[(template >> 2) + field]!;
  }

  /** Takes note of an instruction that was decoded in full. `known` is what the trie has for its head, or 0. */
  learn(known: number, machine: number, root: number, ins: Instruction, offsets: ConstantOffsets): void {
    const words = this.#words;
    const at = known !== 0 ? known >> 2 : this.#insert(machine, root, ins.length, offsets);
    if (at === 0) return;
    switch (words[at + Head.KIND]) {
      case Kind.BY_IMMEDIATE: {
        const slot = this.#exactSlot(at, machine);
        if (words[slot] === 0) words[slot] = this.#exact(at, machine, root) * 4;
        break;
      }
      case Kind.COUNTING:
        if (++words[at + Head.SEEN]! >= TRIALS_AFTER) this.#decide(at, machine, root);
    }
  }

  /** The record becomes a template, a table of templates, or nothing for good. */
  #decide(at: number, machine: number, root: number): void {
    const words = this.#words;
    const template = this.#try(at, machine, root, false);
    if (template !== 0) {
      words[words[at + Head.LEAF]! >> 2] = -template * 4;
      return;
    }
    words[at + Head.KIND] = Kind.NEVER;
    if (words[at + Head.IMMEDIATE_SIZE] !== 1 || words[at + Head.IMMEDIATE_2_SIZE] !== 0) return;
    const table = this.#take(256);
    if (table === 0) return;
    words[at + Head.KIND] = Kind.BY_IMMEDIATE;
    words[at + Head.EXACT_AT] = table * 4;
  }

  /** A template for the head with its immediate, or a record that says that there is none. */
  #exact(at: number, machine: number, root: number): number {
    const words = this.#words;
    const template = this.#try(at, machine, root, true);
    if (template !== 0) return template;
    const never = this.#take(Head.WORDS);
    if (never !== 0) words[never + Head.KIND] = Kind.NEVER;
    return never;
  }

  /** Index of so many zeroed words, at the beginning of a line of the cache, or 0 if there are no more. */
  #take(count: number): number {
    const at = this.#top;
    const line = CACHE_LINE_BYTES / 4;
    const next = (at + count + line - 1) & -line;
    if (next > this.#end) return 0;
    this.#top = next;
    return at;
  }

  #insert(machine: number, root: number, length: number, offsets: ConstantOffsets): number {
    const words = this.#words;
    const starts = [length];
    if (offsets.displacementSize > 0) starts.push(offsets.displacementOffset);
    if (offsets.immediateSize > 0) starts.push(offsets.immediateOffset);
    const head = Math.min(...starts);
    if (head === 0 || this.#nodes + head > NODES_MAX) return 0;
    let node = root;
    for (let i = 0; i < head - 1; i++) {
      const index = this.#trie + ((node << 8) | this.memory.u8[machine + i]!);
      if (words[index]! < 0) return 0;
      if (words[index] === 0) words[index] = this.#nodes++;
      node = words[index]!;
    }
    const index = this.#trie + ((node << 8) | this.memory.u8[machine + head - 1]!);
    if (words[index] !== 0) return 0;
    const at = this.#take(Head.WORDS);
    if (at === 0) return 0;
    words[at + Head.KIND] = Kind.COUNTING;
    words[at + Head.LENGTH] = length;
    words[at + Head.LEAF] = index * 4;
    words[at + Head.DISPLACEMENT_AT] = offsets.displacementOffset;
    words[at + Head.DISPLACEMENT_SIZE] = offsets.displacementSize;
    words[at + Head.IMMEDIATE_AT] = offsets.immediateOffset;
    words[at + Head.IMMEDIATE_SIZE] = offsets.immediateSize;
    words[at + Head.IMMEDIATE_2_AT] = offsets.immediateOffset2;
    words[at + Head.IMMEDIATE_2_SIZE] = offsets.immediateSize2;
    words[index] = -at * 4;
    return at;
  }

  #source(at: number, own: Uint8Array, delta: number, from: number): number {
    const field = (number: number) => this.#words[at + number]!;
    const displacement = readSigned(own, delta + field(Head.DISPLACEMENT_AT), field(Head.DISPLACEMENT_SIZE));
    const immediate = readSigned(own, delta + field(Head.IMMEDIATE_AT), field(Head.IMMEDIATE_SIZE));
    const second = readSigned(own, delta + field(Head.IMMEDIATE_2_AT), field(Head.IMMEDIATE_2_SIZE));
    const target = delta + field(Head.LENGTH) + immediate;
    switch (from) {
      case From.DISPLACEMENT:
        return displacement;
      case From.DISPLACEMENT_WORD:
        return displacement & 0xffff;
      case From.IMMEDIATE:
        return immediate;
      case From.IMMEDIATE_ZERO:
        return immediate & unsignedMask(field(Head.IMMEDIATE_SIZE));
      case From.IMMEDIATE_2:
        return second & unsignedMask(field(Head.IMMEDIATE_2_SIZE));
      case From.DELTA:
        return delta;
      case From.TARGET:
        return target | 0;
      case From.TARGET_WORD:
        return target & 0xffff;
      default:
        return target - delta <= 0 ? 1 : 0;
    }
  }

  /** Lowers the instruction in all trials and finds where each word comes from. Index of the template, 0 if a word comes from elsewhere. */
  #try(at: number, machine: number, root: number, keepImmediate: boolean): number {
    const field = (number: number) => this.#words[at + number]!;
    const trials: Trial[] = [];
    for (let trial = 0; trial < TRIALS; trial++) {
      const delta = DELTAS[trial]!;
      const own = this.#bytes;
      own.fill(0x90);
      own.set(this.memory.bytes(machine, field(Head.LENGTH)), delta);
      const put = (offset: number, size: number, value: number) => {
        for (let i = 0; i < size; i++) own[delta + offset + i] = value >> (8 * i);
      };
      // Different values at each place in each trial, and the first trial as it is.
      if (trial > 0) {
        put(field(Head.DISPLACEMENT_AT), field(Head.DISPLACEMENT_SIZE), VALUES[trial]!);
        if (!keepImmediate) {
          put(field(Head.IMMEDIATE_AT), field(Head.IMMEDIATE_SIZE), VALUES[(trial * 3) % TRIALS]!);
        }
        put(field(Head.IMMEDIATE_2_AT), field(Head.IMMEDIATE_2_SIZE), VALUES[(trial * 7) % TRIALS]!);
      }
      const lowered = this.#lowerAt(delta, field(Head.LENGTH), root);
      if (lowered === undefined) return 0;
      const sources = this.#values.slice();
      for (let from = 0; from < SOURCES; from++) sources[from] = this.#source(at, own, delta, from);
      trials.push({ ...lowered, sources });
    }
    const first = trials[0]!;
    const { cost, ends } = first;
    const { length } = first.words;
    if (trials.some(trial => trial.cost !== cost || trial.ends !== ends || trial.words.length !== length)) return 0;
    const patches: (readonly number[])[] = [];
    for (let i = 0; i < length; i++) {
      if (trials.every(({ words }) => words[i] === first.words[i])) continue;
      // The number of an op decides what its words are: it never varies.
      if (i % OP_WORDS === 0) return 0;
      const from = sourceOf(trials, i);
      if (from < 0) return 0;
      const patch = this.#patch(at, i * 4, from, (first.words[i]! - first.sources[from]!) | 0);
      if (patch === undefined) return 0;
      patches.push(patch);
    }
    return this.#keep(field(Head.LENGTH), first, patches);
  }

  /** The patch that adds `constant` to what comes from there; undefined where none can. */
  #patch(at: number, where: number, from: number, constant: number): readonly number[] | undefined {
    const field = (number: number) => this.#words[at + number]!;
    const [place = 0, size = 0] = (OPERANDS[from] ?? []).map(field);
    const zeroExtended = unsignedMask(size);
    const length = field(Head.LENGTH);
    const how = place | ((size === 0 ? 0 : 32 - 8 * size) << How.UP_SHIFT) | (where << How.WHERE_SHIFT);
    const plus = (mask: number, add = constant, keep = -1, flags = 0) => [how | flags, mask, add, add, keep];
    switch (from) {
      case From.DISPLACEMENT:
      case From.IMMEDIATE:
        return plus(size === 0 ? 0 : -1);
      case From.DISPLACEMENT_WORD:
        return plus(0xffff);
      case From.IMMEDIATE_ZERO:
      case From.IMMEDIATE_2:
        return plus(size === 0 ? 0 : zeroExtended);
      case From.DELTA:
        return plus(0, constant, -1, WITH_DISTANCE);
      case From.TARGET:
        return plus(-1, (constant + length) | 0, -1, WITH_DISTANCE);
      case From.TARGET_WORD:
        return constant === 0 ? plus(-1, length, 0xffff, WITH_DISTANCE) : undefined;
      default:
        // The sign of the distance to the target, or of what is one less.
        if (constant !== 0) return undefined;
        return [how | (31 << How.DOWN_SHIFT), -1, length, length - 1, -1];
    }
  }

  /** Index of a new template, or 0 if there is no room. The ops are those of an instruction at its block's beginning. */
  #keep(length: number, { words: ops, cost, ends }: Lowered, patches: readonly (readonly number[])[]): number {
    const words = this.#words;
    const isDistance = (patch: readonly number[]) => patch[Patch.HOW]! < 0 && patch[Patch.MASK] === 0;
    const [once = noPatch(ops.length), ...inStep] = patches.filter(patch => !isDistance(patch));
    const rest = [...inStep, ...patches.filter(isDistance)].flat();
    const step = Field.OPS + ops.length;
    const patchesAt = step + OP_WORDS;
    const markAt = patchesAt + rest.length;
    const at = this.#take(markAt + MARK_WORDS);
    if (at === 0) return 0;
    words[at + Header.INSTRUCTIONS] = 1;
    words[at + Header.SECOND_PAGE] = -1;
    words[at + Header.MARKS] = at + markAt - this.#code;
    words[at + Field.COST] = cost;
    words[at + Field.LENGTH] = length;
    words[at + Field.ENDS] = ends;
    words[at + Field.OPS_END] = (at + step) * 4;
    words[at + Field.STEP_PATCHES_END] = (at + patchesAt + inStep.length * Patch.WORDS) * 4;
    words[at + Field.PATCHES_END] = (at + markAt) * 4;
    words.set(once, at + Field.PATCH);
    words.set(ops, at + Field.OPS);
    words[at + step] = Op.STEP;
    words.set(rest, at + patchesAt);
    words[at + markAt] = at + Field.OPS - this.#code;
    return at;
  }

  /** What becomes of the instruction at `delta` of the trial's bytes; undefined if it is not one of that length. */
  #lowerAt(delta: number, length: number, root: number): Lowered | undefined {
    const { low } = this;
    const bytes = this.#bytes.subarray(0, delta + INSTRUCTION_BYTES_MAX + 1);
    const decoder = new Decoder(root >= 2 ? 16 : 32, bytes, DECODER_OPTIONS);
    decoder.position = delta;
    decoder.ip = BigInt(delta);
    const ins = this.#instruction;
    decoder.decodeOut(ins);
    decoder.free();
    if (ins.isInvalid || ins.length !== length) return undefined;
    low.at = 0;
    low.stack16 = (root & 1) !== 0;
    low.code16 = root >= 2;
    low.begin(delta, delta + ins.length);
    this.lower(low, ins);
    return { words: low.code.slice(0, low.at), cost: low.cost, ends: low.ended ? 1 : 0 };
  }
}

/** The ops of an instruction, its static cycles, and whether it ends its block. */
interface Lowered {
  readonly words: Int32Array;
  readonly cost: number;
  readonly ends: 0 | 1;
}

interface Trial extends Lowered {
  readonly sources: Int32Array;
}

/** Writes 0 into the last word of the `STEP` behind so many words of ops, which nobody reads. */
const noPatch = (opsWords: number): readonly number[] => [
  ((opsWords + OP_WORDS - 1) * 4) << How.WHERE_SHIFT,
  0,
  0,
  0,
  0,
];

/** Of each source the fields that say where its operand is in the instruction, and how large. */
const OPERANDS: Readonly<Record<number, readonly [number, number]>> = {
  [From.DISPLACEMENT]: [Head.DISPLACEMENT_AT, Head.DISPLACEMENT_SIZE],
  [From.DISPLACEMENT_WORD]: [Head.DISPLACEMENT_AT, Head.DISPLACEMENT_SIZE],
  [From.IMMEDIATE]: [Head.IMMEDIATE_AT, Head.IMMEDIATE_SIZE],
  [From.IMMEDIATE_ZERO]: [Head.IMMEDIATE_AT, Head.IMMEDIATE_SIZE],
  [From.IMMEDIATE_2]: [Head.IMMEDIATE_2_AT, Head.IMMEDIATE_2_SIZE],
  [From.TARGET]: [Head.IMMEDIATE_AT, Head.IMMEDIATE_SIZE],
  [From.TARGET_WORD]: [Head.IMMEDIATE_AT, Head.IMMEDIATE_SIZE],
  [From.BACKWARD]: [Head.IMMEDIATE_AT, Head.IMMEDIATE_SIZE],
};

/** Where a word that varies comes from, or -1. */
function sourceOf(trials: readonly Trial[], word: number): number {
  const [first] = trials;
  for (let from = 0; from < SOURCES; from++) {
    const constant = (first!.words[word]! - first!.sources[from]!) | 0;
    if (trials.every(({ words, sources }) => words[word] === ((sources[from]! + constant) | 0))) return from;
  }
  return -1;
}
