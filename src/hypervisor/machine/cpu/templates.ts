/**
 * Lowered instructions, remembered by their head: prefixes, opcode, ModRM and SIB, that is everything in front of displacement
 * and immediate. Of each head the decoder and the families lower only the first few; then it is lowered some times more with
 * chosen displacements, immediates and places, and each word of its ops is compared over these trials. A word that is
 * constant, or a displacement, immediate, distance or target plus a constant, can be filled in from then on. A head with any
 * other word is remembered by its immediate as well if that is a byte (shifts, for example), else not at all.
 *
 * So nothing here knows what an instruction means, and whether a template is used cannot be seen: it gives the same ops.
 */
import { type ConstantOffsets, Decoder, DecoderOptions, Instruction } from 'iced-x86';
import { OP_WORDS } from './ir.js';
import type { Lower, Lowering } from './lower.js';

/** Where a word of an op comes from; the word is that plus the patch's constant. */
const From = {
  DISPLACEMENT: 0,
  /** Cut to 16 bits. */
  DISPLACEMENT_WORD: 1,
  IMMEDIATE: 2,
  /** Zero-extended. */
  IMMEDIATE_ZERO: 3,
  IMMEDIATE_2: 4,
  /** Distance of the instruction from its block's EIP. */
  DELTA: 5,
  /** Distance of a branch target from the block's EIP. */
  TARGET: 6,
  TARGET_WORD: 7,
  /** 1 for a branch that does not lead forward. */
  BACKWARD: 8,
} as const;
const SOURCES = 9;

/** So many times a head is decoded in full before it is worth the trials. */
const TRIALS_AFTER = 3;
/** Nodes of the trie, of 1 KiB each: more than any system of programs needs, and a bound for hostile guests. */
const NODES_MAX = 8192;
const INSTRUCTION_BYTES_MAX = 15;

/** Displacements and immediates of the trials. A byte takes the low eight bits. */
const VALUES = [0, 0x12345678, -1, 0x7f8081ff, -0x80, 0x20, 0x1f, 0x5a01, -0x5a5a5a5b, 1];
const DELTAS = [0, 23, 100, 7, 64, 200, 41, 3, 150, 88];
const TRIALS = VALUES.length;

/** Where the parts behind the head lie, and what is known about the instruction. */
export class Template {
  seen = 0;
  state: 'counting' | 'ready' | 'by immediate' | 'never' = 'counting';
  cost = 0;
  ended = false;
  /** Where the words of its ops begin in the pool, and where they end and its patches begin, and where those end. */
  wordsAt = 0;
  patchesAt = 0;
  patchesEnd = 0;
  /** Templates by the value of a one-byte immediate. */
  byImmediate: (Template | undefined)[] = [];

  constructor(
    readonly length: number,
    readonly displacementAt: number,
    readonly displacementSize: number,
    readonly immediateAt: number,
    readonly immediateSize: number,
    readonly immediate2At: number,
    readonly immediate2Size: number,
  ) {}
}

function readSigned(bytes: Uint8Array, at: number, size: number): number {
  if (size === 1) return (bytes[at]! << 24) >> 24;
  if (size === 2) return ((bytes[at]! | (bytes[at + 1]! << 8)) << 16) >> 16;
  if (size === 4) return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
  return 0;
}

const unsignedMask = (size: number): number => (size === 1 ? 0xff : size === 2 ? 0xffff : -1);

export class Templates {
  #next = new Int32Array(256 * 64);
  /** Of each template: the words of its ops, then its patches as triples: index of the word, `From`, constant. */
  #pool = new Int32Array(1 << 15);
  #poolTop = 0;
  /** Nodes 0..3 are the roots, one for each combination of code and stack size. */
  #nodes = 4;
  readonly #all: Template[] = [];
  readonly #instruction = new Instruction();
  readonly #bytes = new Uint8Array(256);
  readonly #values = new Int32Array(SOURCES);

  /**
   * `low` writes to an array of its own, which belongs to the templates; `lower` is what the block decoder does with a
   * decoded instruction.
   */
  constructor(
    private readonly low: Lowering,
    private readonly lower: Lower,
  ) {
    low.window = this.#bytes;
  }

  static root(bitness: number, stack16: boolean): number {
    return (bitness === 16 ? 2 : 0) | (stack16 ? 1 : 0);
  }

  /** What is known about the instruction at `at`, of which `end - at` bytes may be looked at. */
  find(bytes: Uint8Array, at: number, end: number, root: number): Template | undefined {
    const next = this.#next;
    let node = root;
    for (let i = at; i < end; i++) {
      const to = next[(node << 8) | bytes[i]!]!;
      if (to > 0) {
        node = to;
        continue;
      }
      return to === 0 ? undefined : this.#all[-to - 1];
    }
    return undefined;
  }

  /** The template that can be filled in, or undefined. */
  usable(template: Template, bytes: Uint8Array, at: number): Template | undefined {
    if (template.state === 'ready') return template;
    if (template.state !== 'by immediate') return undefined;
    const exact = template.byImmediate[bytes[at + template.immediateAt]!];
    return exact?.state === 'ready' ? exact : undefined;
  }

  /** Writes the ops of the instruction at `at`, `delta` bytes into its block, to `code` at `to`, and answers where they end. */
  fill(template: Template, bytes: Uint8Array, at: number, delta: number, code: Int32Array, to: number): number {
    const pool = this.#pool;
    const { patchesAt, patchesEnd } = template;
    let end = to;
    for (let i = template.wordsAt; i < patchesAt; i += OP_WORDS) {
      code[end] = pool[i]!;
      code[end + 1] = pool[i + 1]!;
      code[end + 2] = pool[i + 2]!;
      code[end + 3] = pool[i + 3]!;
      code[end + 4] = pool[i + 4]!;
      code[end + 5] = pool[i + 5]!;
      code[end + 6] = pool[i + 6]!;
      code[end + 7] = pool[i + 7]!;
      end += OP_WORDS;
    }
    for (let i = patchesAt; i < patchesEnd; i += 3) {
      const constant = pool[i + 2]!;
      let value: number;
      switch (pool[i + 1]) {
        case From.DISPLACEMENT:
          value = readSigned(bytes, at + template.displacementAt, template.displacementSize) + constant;
          break;
        case From.IMMEDIATE:
          value = readSigned(bytes, at + template.immediateAt, template.immediateSize) + constant;
          break;
        case From.DELTA:
          value = delta + constant;
          break;
        default:
          value = this.#source(template, bytes, at, delta, pool[i + 1]!) + constant;
      }
      code[to + pool[i]!] = value;
    }
    return end;
  }

  #source(template: Template, bytes: Uint8Array, at: number, delta: number, from: number): number {
    const immediate = readSigned(bytes, at + template.immediateAt, template.immediateSize);
    switch (from) {
      case From.DISPLACEMENT:
        return readSigned(bytes, at + template.displacementAt, template.displacementSize);
      case From.DISPLACEMENT_WORD:
        return readSigned(bytes, at + template.displacementAt, template.displacementSize) & 0xffff;
      case From.IMMEDIATE:
        return immediate;
      case From.IMMEDIATE_ZERO:
        return immediate & unsignedMask(template.immediateSize);
      case From.IMMEDIATE_2:
        return (
          readSigned(bytes, at + template.immediate2At, template.immediate2Size) & unsignedMask(template.immediate2Size)
        );
      case From.DELTA:
        return delta;
      case From.TARGET:
        return (delta + template.length + immediate) | 0;
      case From.TARGET_WORD:
        return (delta + template.length + immediate) & 0xffff;
      default:
        return template.length + immediate <= 0 ? 1 : 0;
    }
  }

  /** Takes note of an instruction that was decoded in full. `known` is what `find` answered. */
  learn(
    known: Template | undefined,
    bytes: Uint8Array,
    at: number,
    root: number,
    ins: Instruction,
    offsets: ConstantOffsets,
  ): void {
    const template = known ?? this.#insert(bytes, at, root, ins.length, offsets);
    if (template === undefined) return;
    if (template.state === 'by immediate') {
      const value = bytes[at + template.immediateAt]!;
      template.byImmediate[value] ??= this.#exact(template, bytes, at, root);
      return;
    }
    if (template.state !== 'counting' || ++template.seen < TRIALS_AFTER) return;
    template.state = 'never';
    if (this.#try(template, bytes, at, root, false)) template.state = 'ready';
    else if (template.immediateSize === 1 && template.immediate2Size === 0) template.state = 'by immediate';
  }

  #exact(template: Template, bytes: Uint8Array, at: number, root: number): Template {
    const { length, displacementAt, displacementSize, immediateAt } = template;
    const exact = new Template(length, displacementAt, displacementSize, immediateAt, 1, 0, 0);
    exact.state = this.#try(exact, bytes, at, root, true) ? 'ready' : 'never';
    return exact;
  }

  #insert(bytes: Uint8Array, at: number, root: number, length: number, offsets: ConstantOffsets): Template | undefined {
    const template = new Template(
      length,
      offsets.displacementOffset,
      offsets.displacementSize,
      offsets.immediateOffset,
      offsets.immediateSize,
      offsets.immediateOffset2,
      offsets.immediateSize2,
    );
    const starts = [length];
    if (template.displacementSize > 0) starts.push(template.displacementAt);
    if (template.immediateSize > 0) starts.push(template.immediateAt);
    const head = Math.min(...starts);
    if (head === 0 || this.#nodes + head > NODES_MAX) return undefined;
    let node = root;
    for (let i = 0; i < head - 1; i++) {
      const index = (node << 8) | bytes[at + i]!;
      if (this.#next[index]! < 0) return undefined;
      if (this.#next[index] === 0) {
        const fresh = this.#nodes++;
        if ((fresh + 1) << 8 > this.#next.length) {
          const grown = new Int32Array(this.#next.length * 2);
          grown.set(this.#next);
          this.#next = grown;
        }
        this.#next[index] = fresh;
      }
      node = this.#next[index]!;
    }
    const index = (node << 8) | bytes[at + head - 1]!;
    if (this.#next[index] !== 0) return undefined;
    this.#all.push(template);
    this.#next[index] = -this.#all.length;
    return template;
  }

  /** Lowers the instruction in all trials and finds where each word comes from. False if one comes from elsewhere. */
  #try(template: Template, bytes: Uint8Array, at: number, root: number, keepImmediate: boolean): boolean {
    const trials: { readonly words: Int32Array; readonly sources: Int32Array }[] = [];
    for (let trial = 0; trial < TRIALS; trial++) {
      const delta = DELTAS[trial]!;
      const own = this.#bytes;
      own.fill(0x90);
      own.set(bytes.subarray(at, at + template.length), delta);
      const put = (offset: number, size: number, value: number) => {
        for (let i = 0; i < size; i++) own[delta + offset + i] = value >> (8 * i);
      };
      // Different values at each place in each trial, and the first trial as it is.
      if (trial > 0) {
        put(template.displacementAt, template.displacementSize, VALUES[trial]!);
        if (!keepImmediate) put(template.immediateAt, template.immediateSize, VALUES[(trial * 3) % TRIALS]!);
        put(template.immediate2At, template.immediate2Size, VALUES[(trial * 7) % TRIALS]!);
      }
      const words = this.#lowerAt(delta, template, root, trial === 0);
      if (words === undefined) return false;
      const sources = this.#values.slice();
      for (let from = 0; from < SOURCES; from++) sources[from] = this.#source(template, own, delta, delta, from);
      trials.push({ words, sources });
    }
    const [first] = trials;
    if (trials.some(({ words }) => words.length !== first!.words.length)) return false;
    const patches: number[] = [];
    for (let i = 0; i < first!.words.length; i++) {
      if (trials.every(({ words }) => words[i] === first!.words[i])) continue;
      // The number of an op decides what its words are: it never varies.
      if (i % OP_WORDS === 0) return false;
      const from = this.#sourceOf(trials, i);
      if (from < 0) return false;
      patches.push(i, from, (first!.words[i]! - first!.sources[from]!) | 0);
    }
    this.#keep(template, first!.words, patches);
    return true;
  }

  #keep(template: Template, words: Int32Array, patches: readonly number[]): void {
    const end = this.#poolTop + words.length + patches.length;
    if (end > this.#pool.length) {
      const grown = new Int32Array(this.#pool.length * 2);
      grown.set(this.#pool);
      this.#pool = grown;
    }
    template.wordsAt = this.#poolTop;
    template.patchesAt = template.wordsAt + words.length;
    template.patchesEnd = end;
    this.#pool.set(words, template.wordsAt);
    this.#pool.set(patches, template.patchesAt);
    this.#poolTop = end;
  }

  #sourceOf(trials: readonly { readonly words: Int32Array; readonly sources: Int32Array }[], word: number): number {
    const [first] = trials;
    for (let from = 0; from < SOURCES; from++) {
      const constant = (first!.words[word]! - first!.sources[from]!) | 0;
      if (trials.every(({ words, sources }) => words[word] === ((sources[from]! + constant) | 0))) return from;
    }
    return -1;
  }

  /** Ops of the instruction at `delta` of the trial's bytes; undefined if it is another one or costs something else. */
  #lowerAt(delta: number, template: Template, root: number, first: boolean): Int32Array | undefined {
    const { low } = this;
    const bytes = this.#bytes.subarray(0, delta + INSTRUCTION_BYTES_MAX + 1);
    const decoder = new Decoder(root >= 2 ? 16 : 32, bytes, DecoderOptions.None);
    decoder.position = delta;
    decoder.ip = BigInt(delta);
    const ins = this.#instruction;
    decoder.decodeOut(ins);
    decoder.free();
    if (ins.isInvalid || ins.length !== template.length) return undefined;
    low.at = 0;
    low.stack16 = (root & 1) !== 0;
    low.code16 = root >= 2;
    low.begin(delta, delta + ins.length);
    this.lower(low, ins);
    if (first) {
      template.cost = low.cost;
      template.ended = low.ended;
    } else if (template.cost !== low.cost || template.ended !== low.ended) {
      return undefined;
    }
    return low.code.slice(0, low.at);
  }
}
