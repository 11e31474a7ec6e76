/**
 * Blocks from bytes: iced-x86 decodes, the lowering families turn each instruction into IR.
 *
 * A block ends at a control transfer, at the page's end, after 48 instructions, and before an instruction that goes on in the
 * next page. Such an instruction is a block of its own, whose first op fetches that page each time it runs.
 */
import { CpuidFeature, Decoder, DecoderError, DecoderOptions, Instruction, Mnemonic } from 'iced-x86';
import type { CostProfile } from '../costs/profile.js';
import { Block, type CodeCache, MARK_WORDS, Mode } from './code-cache.js';
import { Op } from './ir.js';
import { type Lower, Lowering } from './lower.js';
import { ALU } from './lower-alu.js';
import { CONTROL } from './lower-control.js';
import { DATA } from './lower-data.js';
import { FPU } from './lower-fpu.js';
import { withSimd } from './lower-simd.js';
import { Coprocessor } from './system.js';

const INSTRUCTIONS_MAX = 48;
/** SDM vol. 2, 2.3.11. */
export const INSTRUCTION_BYTES_MAX = 15;
/** As many bytes as are handed to the decoder at once. */
const WINDOW_BYTES = 256;

const TABLE: ReadonlyMap<Mnemonic, Lower> = withSimd([...ALU, ...DATA, ...CONTROL, ...FPU]);

/** Decoding needs bytes of the next linear page, which the caller must find first. */
export const NEEDS_NEXT_PAGE = 'needs next page';

export class BlockDecoder {
  readonly #instruction = new Instruction();
  readonly #lowering: Lowering;
  readonly #window = new Uint8Array(WINDOW_BYTES);
  readonly #marks = new Int32Array(INSTRUCTIONS_MAX * MARK_WORDS);

  constructor(
    private readonly cache: CodeCache,
    costs: CostProfile,
  ) {
    this.#lowering = new Lowering(cache.code, costs.cycles);
    this.#lowering.window = this.#window;
  }

  /**
   * Decodes the block at a machine address and adds it to the cache. `secondPage` is the machine page behind the next linear
   * page, or -1 if it is not known; then `NEEDS_NEXT_PAGE` is answered where the first instruction reaches into it.
   */
  decode(machine: number, mode: number, secondPage: number): Block | typeof NEEDS_NEXT_PAGE {
    const { cache } = this;
    cache.reserve();
    const low = this.#lowering;
    const bytesInPage = ((machine | 4095) + 1 - machine) | 0;
    const here = Math.min(bytesInPage, WINDOW_BYTES);
    const window = this.#window;
    window.set(cache.memory.bytes(machine, here));
    let available = here;
    if (secondPage >= 0) {
      const more = Math.min(INSTRUCTION_BYTES_MAX, WINDOW_BYTES - here);
      window.set(cache.memory.bytes(secondPage, more), here);
      available += more;
    }
    const start = cache.top;
    low.at = start;
    low.stack16 = (mode & Mode.STACK16) !== 0;
    const bitness = (mode & Mode.CODE16) !== 0 ? 16 : 32;
    const decoder = new Decoder(bitness, window.subarray(0, available), DecoderOptions.None);
    const marks = this.#marks;
    const limit = (mode & Mode.SINGLE) !== 0 || secondPage >= 0 ? 1 : INSTRUCTIONS_MAX;
    const ins = this.#instruction;
    let count = 0;
    let cycles = 0;
    let bytes = 0;
    let ended = false;
    while (!ended && count < limit && bytes < here) {
      decoder.decodeOut(ins);
      if (decoder.lastError === DecoderError.NoMoreBytes) break;
      const length = ins.length;
      marks[count * MARK_WORDS] = low.at;
      marks[count * MARK_WORDS + 1] = bytes;
      marks[count * MARK_WORDS + 2] = cycles;
      low.begin(bytes, bytes + length);
      if (secondPage >= 0 && length > here) low.emit(Op.FETCH_NEXT_PAGE, secondPage);
      if (ins.mnemonic === Mnemonic.INVALID && tooLong(window, bytes, available, bitness))
        low.system('generalProtection');
      else this.#lower(ins);
      ended = low.ended;
      bytes += length;
      cycles += low.cost;
      count += 1;
    }
    decoder.free();
    if (count === 0) {
      if (secondPage < 0) return NEEDS_NEXT_PAGE;
      throw new Error('an instruction longer than the architecture allows');
    }
    if (!ended) low.emit(Op.NEXT, bytes);
    const marksAt = low.at;
    cache.code.set(marks.subarray(0, count * MARK_WORDS), marksAt);
    cache.top = marksAt + count * MARK_WORDS;
    const block = new Block(start, machine, mode, bytes, count, cycles, marksAt, bytes > bytesInPage ? secondPage : -1);
    cache.add(block);
    return block;
  }

  /** Text of the first instruction. */
  describe(bytes: readonly number[], bitness: 16 | 32): string {
    const decoder = new Decoder(bitness, Uint8Array.from(bytes), DecoderOptions.None);
    decoder.decodeOut(this.#instruction);
    decoder.free();
    return this.#instruction.toString();
  }

  #lower(ins: Instruction): void {
    const low = this.#lowering;
    const lower = TABLE.get(ins.mnemonic);
    if (lower !== undefined) lower(low, ins);
    else low.system('unimplemented', coprocessorOf(ins));
  }
}

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
    const decoder = new Decoder(bitness, Uint8Array.of(...once, ...rest), DecoderOptions.None);
    const ins = decoder.decode();
    const length = decoder.lastError === DecoderError.NoMoreBytes ? INSTRUCTION_BYTES_MAX : ins.length;
    ins.free();
    decoder.free();
    return length + prefixes - once.length > INSTRUCTION_BYTES_MAX;
  }
  return true;
}

function coprocessorOf(ins: Instruction): number {
  const features = ins.cpuidFeatures();
  if (features.includes(CpuidFeature.FPU) || Mnemonic[ins.mnemonic]!.startsWith('Fn')) return Coprocessor.X87;
  if (features.some(feature => SIMD.has(feature))) return Coprocessor.SIMD;
  return Coprocessor.NONE;
}

const SIMD: ReadonlySet<CpuidFeature> = new Set([
  CpuidFeature.MMX,
  CpuidFeature.SSE,
  CpuidFeature.SSE2,
  CpuidFeature.SSE3,
  CpuidFeature.FXSR,
]);
