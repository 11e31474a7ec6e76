/**
 * A template in memory: sizes and places in bytes, addresses as machine addresses. `templates.ts` says what it is.
 *
 * It begins like the header of a block (`Header`), and its ops end in a `STEP`, so that it can be executed where it lies, once what
 * differs from one instruction to the next was written into it.
 */
import { Header } from './cache-layout.js';

/** Words of a template. Its ops are elsewhere, patches behind them. */
export const Field = {
  /** Static cycles. */
  COST: Header.CYCLES,
  LENGTH: Header.BYTES,
  /** `Kind`. Here are words that say of a block where it is listed. */
  KIND: Header.CHAIN,
  OPS_AT: Header.PAGE_NEXT,
  PATCHES_AT: Header.SECOND_NEXT,
  /** End of the patches that matter where the instruction begins its block, and of all. */
  STEP_PATCHES_END: Header.ROOM,
  PATCHES_END: Header.WORDS,
  /** End of the ops without `STEP`. */
  OPS_END: Header.WORDS + 1,
  /** Not 0 if it ends the block. */
  ENDED: Header.WORDS + 2,
  DISPLACEMENT_AT: Header.WORDS + 3,
  DISPLACEMENT_SIZE: Header.WORDS + 4,
  IMMEDIATE_AT: Header.WORDS + 5,
  IMMEDIATE_SIZE: Header.WORDS + 6,
  IMMEDIATE_2_AT: Header.WORDS + 7,
  IMMEDIATE_2_SIZE: Header.WORDS + 8,
  /** Of `BY_IMMEDIATE`: addresses of 256 templates, or 0. */
  EXACT_AT: Header.WORDS + 9,
  /** So often it was decoded in full. */
  SEEN: Header.WORDS + 10,
  /** The mark of its instruction. */
  MARK: Header.WORDS + 11,
  WORDS: Header.WORDS + 16,
} as const;

export const Kind = {
  COUNTING: 0,
  READY: 1,
  /** One template for each value of a one-byte immediate. */
  BY_IMMEDIATE: 2,
  NEVER: 3,
} as const;

/**
 * A patch says which word of the ops is filled in, and how, without a decision, for a jump by kind would be mispredicted as often as not.
 * With x, the operand, sign-extended, and the distance of the instruction from its block's EIP if the patch wants it, else 0:
 *
 *     y = (x & MASK) + distance
 *     word = (((y + ADD) | (y + OTHER)) >>> shift) & KEEP
 */
export const Patch = {
  /** Where, as the distance in bytes from the first op. */
  WHERE: 0,
  /** `Operand`, and the sign bit if it wants the distance. */
  HOW: 1,
  MASK: 2,
  ADD: 3,
  OTHER: 4,
  KEEP: 5,
  WORDS: 6,
} as const;

/** Parts of `HOW`: the operand's place in the instruction, the bits that its sign bit is away from the highest one, `shift`. */
export const Operand = { PLACE: 0xff, UP_SHIFT: 8, DOWN_SHIFT: 16 } as const;

/** Where a word of an op comes from. */
export const From = {
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
export const SOURCES = 9;

/** As many bytes are looked at for a block. */
export const WINDOW_BYTES = 256;
