/**
 * A template in memory: sizes and places in bytes, addresses as machine addresses. `templates.ts` says what it is.
 *
 *     header and first patch: one line of the host's cache | ops, STEP | further patches | mark
 *
 * It begins like the header of a block (`Header`), and its ops, behind which there is always a `STEP`, are where those of a block are,
 * so that it can be executed where it lies once what differs from one instruction to the next was written into it. What is not
 * needed for that is in the record of its head.
 */
import { Header } from './cache-layout.js';

/** Words of a template. */
export const Field = {
  /** Static cycles. */
  COST: Header.CYCLES,
  LENGTH: Header.BYTES,
  /** The first patch, one that does nothing if there is none: whether there is one would be mispredicted as often as not. */
  PATCH: Header.HEAT,
  /** 1 if it ends the block, else 0; of the record of a head less than 0, a `Kind`. */
  ENDS: Header.CHAIN,
  /** Address of the `STEP`. */
  OPS_END: Header.PAGE_NEXT,
  /** End of the patches that matter where the instruction begins its block, and of all. They begin behind the `STEP`. */
  STEP_PATCHES_END: Header.SECOND_NEXT,
  PATCHES_END: Header.ROOM,
  OPS: Header.WORDS,
} as const;

/** Words of the record of a head, of which there are no templates yet, or more than one, or never any. */
export const Head = {
  LENGTH: Field.LENGTH,
  KIND: Field.ENDS,
  DISPLACEMENT_AT: Header.WORDS,
  DISPLACEMENT_SIZE: Header.WORDS + 1,
  IMMEDIATE_AT: Header.WORDS + 2,
  IMMEDIATE_SIZE: Header.WORDS + 3,
  IMMEDIATE_2_AT: Header.WORDS + 4,
  IMMEDIATE_2_SIZE: Header.WORDS + 5,
  /** Of `BY_IMMEDIATE`: address of a table of 256 templates or records. */
  EXACT_AT: Header.WORDS + 6,
  /** So often it was decoded in full. */
  SEEN: Header.WORDS + 7,
  /** Address of the word that leads here. */
  LEAF: Header.WORDS + 8,
  WORDS: Header.WORDS + 9,
} as const;

export const Kind = {
  COUNTING: -1,
  /** One template for each value of a one-byte immediate. */
  BY_IMMEDIATE: -2,
  NEVER: -3,
} as const;

/**
 * A patch says which word of the ops is filled in, and how, without a decision, for a jump by kind would be mispredicted as often as not.
 * With x, the operand, sign-extended, and the distance of the instruction from its block's EIP if the patch wants it, else 0:
 *
 *     y = (x & MASK) + distance
 *     word = (((y + ADD) | (y + OTHER)) >>> shift) & KEEP
 */
export const Patch = {
  /** Parts (`How`), and the sign bit if it wants the distance. */
  HOW: 0,
  MASK: 1,
  ADD: 2,
  OTHER: 3,
  KEEP: 4,
  WORDS: 5,
} as const;

/**
 * Parts of `Patch.HOW`: the operand's place in the instruction, the bits that its sign bit is away from the highest one, `shift`, and
 * where the word is, in bytes from the first op.
 */
export const How = { PLACE: 0xff, UP_SHIFT: 8, DOWN_SHIFT: 16, WHERE_SHIFT: 21, WHERE: 0x3ff } as const;

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
