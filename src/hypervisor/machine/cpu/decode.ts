/**
 * Blocks from bytes: iced-x86 decodes, the lowering families turn each instruction into IR, and `templates.ts` remembers what
 * they made of it.
 *
 * A block ends at a control transfer, at the page's end, after 48 instructions, and before an instruction that goes on in the
 * next page. Such an instruction is a block of its own, whose first op fetches that page each time it runs.
 */
import { CpuidFeature, Decoder, DecoderError, Instruction, type Mnemonic } from 'iced-x86';
import type { CostProfile } from '../costs/profile.js';
import { INSTRUCTIONS_MAX, MARK_WORDS, Mode } from './cache-layout.js';
import type { Block, CodeCache } from './code-cache.js';
import { DECODER_OPTIONS } from './decoder-options.js';
import { OP_WORDS, Op } from './ir.js';
import { type Lower, Lowering } from './lower.js';
import { ALU } from './lower-alu.js';
import { CONTROL } from './lower-control.js';
import { DATA } from './lower-data.js';
import { FPU } from './lower-fpu.js';
import { withSimd } from './lower-simd.js';
import { Coprocessor } from './system.js';
import { Field, WINDOW_BYTES } from './template-layout.js';
import { Templates } from './templates.js';

/** Ops of one instruction at most. */
const OPS_MAX = 64;
/** SDM vol. 2, 2.3.11. */
export const INSTRUCTION_BYTES_MAX = 15;
const TABLE: ReadonlyMap<Mnemonic, Lower> = withSimd([...ALU, ...DATA, ...CONTROL, ...FPU]);

/** Decoding needs bytes of the next linear page, which the caller must find first. */
export const NEEDS_NEXT_PAGE = 'needs next page';

/** The bytes that a block is decoded from. */
interface Source {
  /** Machine address where they are in one piece. */
  readonly start: number;
  readonly length: number;
  /** Those in the first page. */
  readonly here: number;
  /** -1 if it is not known. */
  readonly secondPage: number;
}

export class BlockDecoder {
  readonly #instruction = new Instruction();
  readonly #lowering: Lowering;
  readonly #window = new Uint8Array(WINDOW_BYTES);
  readonly #marks = new Int32Array(INSTRUCTIONS_MAX * MARK_WORDS);
  readonly #templates: Templates | undefined;
  /** iced's decoder over the window of the current block; made when an instruction needs it. */
  #decoder: Decoder | undefined;

  /** Without `templates` each instruction is decoded and lowered anew; the ops are the same. */
  constructor(
    private readonly cache: CodeCache,
    costs: CostProfile,
    templates = true,
  ) {
    this.#lowering = new Lowering(cache.code, costs.cycles);
    this.#lowering.window = this.#window;
    if (templates) {
      const low = new Lowering(new Int32Array(OPS_MAX * OP_WORDS), costs.cycles);
      this.#templates = new Templates(cache.memory, cache.layout, low, lower);
    }
  }

  /**
   * Decodes the block at a machine address and adds it to the cache. `secondPage` is the machine page behind the next linear
   * page, or -1 if it is not known; then `NEEDS_NEXT_PAGE` is answered where the first instruction reaches into it.
   */
  decode(machine: number, mode: number, secondPage: number): Block | typeof NEEDS_NEXT_PAGE {
    const { cache } = this;
    cache.reserve();
    const low = this.#lowering;
    const templates = this.#templates;
    const bytesInPage = ((machine | 4095) + 1 - machine) | 0;
    const here = Math.min(bytesInPage, WINDOW_BYTES);
    low.at = cache.top;
    low.stack16 = (mode & Mode.STACK16) !== 0;
    const bitness = (mode & Mode.CODE16) !== 0 ? 16 : 32;
    low.code16 = bitness === 16;
    const root = Templates.root(bitness, low.stack16);
    const marks = this.#marks;
    const straddles = secondPage >= 0;
    const limit = (mode & Mode.SINGLE) !== 0 || straddles ? 1 : INSTRUCTIONS_MAX;
    const start = straddles ? this.#join(machine, here, secondPage) : machine;
    const source: Source = { start, length: straddles ? here + INSTRUCTION_BYTES_MAX : here, here, secondPage };
    let count = 0;
    let cycles = 0;
    let bytes = 0;
    let ended = false;
    while (!ended && count < limit && bytes < here) {
      marks[count * MARK_WORDS] = low.at;
      marks[count * MARK_WORDS + 1] = bytes;
      marks[count * MARK_WORDS + 2] = cycles;
      const at = start + bytes;
      let known = 0;
      if (templates !== undefined) {
        known = cache.finder.match(at, start + source.length, root);
        if (known < 0 || (known > 0 && bytes + templates.field(known, Field.LENGTH) > source.length)) break;
        const template = templates.usable(known, at);
        if (template !== 0) {
          this.#fetchSecond(source, templates.field(template, Field.LENGTH));
          low.at = this.#fill(template, at, bytes);
          ended = templates.field(template, Field.ENDS) !== 0;
          bytes += templates.field(template, Field.LENGTH);
          cycles += templates.field(template, Field.COST);
          count += 1;
          continue;
        }
      }
      const taken = this.#decodeInFull(source, bytes, bitness);
      if (taken === 0) break;
      if (templates !== undefined && !this.#instruction.isInvalid) {
        const offsets = this.#decoder!.getConstantOffsets(this.#instruction);
        templates.learn(known, at, root, this.#instruction, offsets);
        offsets.free();
      }
      ended = low.ended;
      bytes += taken;
      cycles += low.cost;
      count += 1;
    }
    this.#decoder?.free();
    this.#decoder = undefined;
    if (count === 0) {
      if (!straddles) return NEEDS_NEXT_PAGE;
      throw new Error('an instruction longer than the architecture allows');
    }
    if (!ended) low.emit(Op.NEXT, bytes);
    cache.code.set(marks.subarray(0, count * MARK_WORDS), low.at);
    return cache.add({
      machine,
      mode,
      bytes,
      instructions: count,
      cycles,
      marks: low.at,
      secondPage: bytes > bytesInPage ? secondPage : -1,
    });
  }

  /** Writes the ops of a template to where `#lowering` is. Answers the index behind them. */
  #fill(template: number, machine: number, delta: number): number {
    const { finder, codeAt } = this.cache;
    return (finder.fill(template, machine, delta, codeAt + this.#lowering.at * 4) - codeAt) >> 2;
  }

  /** Puts the last bytes of a page and the first of another into one piece. Answers its machine address. */
  #join(machine: number, here: number, secondPage: number): number {
    const { memory, layout } = this.cache;
    memory.u8.copyWithin(layout.scratchAt, machine, machine + here);
    memory.u8.copyWithin(layout.scratchAt + here, secondPage, secondPage + INSTRUCTION_BYTES_MAX);
    return layout.scratchAt;
  }

  /** An instruction that goes on in the second page fetches that first. */
  #fetchSecond({ here, secondPage }: Source, length: number): void {
    if (secondPage >= 0 && length > here) this.#lowering.emit(Op.FETCH_NEXT_PAGE, secondPage);
  }

  /** Decodes and lowers the instruction `at` bytes into the block. Answers its length, 0 if it is not all there. */
  #decodeInFull(source: Source, at: number, bitness: 16 | 32): number {
    const { start, length: end } = source;
    const low = this.#lowering;
    const ins = this.#instruction;
    const window = this.#window;
    let decoder = this.#decoder;
    if (decoder === undefined) {
      window.set(this.cache.memory.bytes(start, end));
      decoder = new Decoder(bitness, window.subarray(0, end), DECODER_OPTIONS);
      this.#decoder = decoder;
    }
    // Instructions in between were filled in. Direct targets are counted from the block's start.
    if (decoder.position !== at) {
      decoder.position = at;
      decoder.ip = BigInt(at);
    }
    decoder.decodeOut(ins);
    if (decoder.lastError === DecoderError.NoMoreBytes) return 0;
    const { length } = ins;
    low.begin(at, at + length);
    this.#fetchSecond(source, length);
    if (ins.isInvalid && tooLong(window, at, end, bitness)) low.system('generalProtection');
    else lower(low, ins);
    return length;
  }

  /** Text of the first instruction. */
  describe(bytes: readonly number[], bitness: 16 | 32): string {
    const decoder = new Decoder(bitness, Uint8Array.from(bytes), DECODER_OPTIONS);
    decoder.decodeOut(this.#instruction);
    decoder.free();
    return this.#instruction.toString();
  }
}

const lower: Lower = (low, ins) => {
  const family = TABLE.get(ins.mnemonic);
  if (family !== undefined) family(low, ins);
  else low.system('unimplemented', coprocessorOf(ins));
};

const PREFIXES: ReadonlySet<number> = new Set([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3]);

/**
 * Is what iced calls invalid an instruction of more than 15 bytes, which is #GP(0) and not #UD (SDM vol. 2, 2.3.11)? Only repeated
 * prefixes make one so long: without the repetitions it has a length again.
 */
function tooLong(window: Uint8Array, at: number, end: number, bitness: number): boolean {
  let opcode = at;
  while (opcode < end && PREFIXES.has(window[opcode]!)) opcode += 1;
  const prefixes = opcode - at;
  if (prefixes < INSTRUCTION_BYTES_MAX) {
    const once = [...new Set(window.subarray(at, opcode))];
    const rest = window.subarray(opcode, Math.min(end, opcode + INSTRUCTION_BYTES_MAX - once.length));
    const decoder = new Decoder(bitness, Uint8Array.of(...once, ...rest), DECODER_OPTIONS);
    const ins = decoder.decode();
    const length = decoder.lastError === DecoderError.NoMoreBytes ? INSTRUCTION_BYTES_MAX : ins.length;
    ins.free();
    decoder.free();
    return length + prefixes - once.length > INSTRUCTION_BYTES_MAX;
  }
  return true;
}

function coprocessorOf(ins: Instruction): number {
  return ins.cpuidFeatures().some(feature => LATER_SIMD.has(feature)) ? Coprocessor.SIMD : Coprocessor.NONE;
}

/** What came after SSE2 is not built. */
const LATER_SIMD: ReadonlySet<CpuidFeature> = new Set([
  CpuidFeature.SSE3,
  CpuidFeature.SSSE3,
  CpuidFeature.SSE4_1,
  CpuidFeature.SSE4_2,
]);
