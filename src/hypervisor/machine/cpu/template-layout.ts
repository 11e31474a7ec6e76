/** A template in memory: sizes and places in bytes, addresses as machine addresses. `templates.ts` says what it is. */

/** Words of a template; ops and patches lie behind it. */
export const Field = {
  /** `Kind`. */
  KIND: 0,
  LENGTH: 1,
  DISPLACEMENT_AT: 2,
  DISPLACEMENT_SIZE: 3,
  IMMEDIATE_AT: 4,
  IMMEDIATE_SIZE: 5,
  IMMEDIATE_2_AT: 6,
  IMMEDIATE_2_SIZE: 7,
  /** Static cycles. */
  COST: 8,
  /** Not 0 if it ends the block. */
  ENDED: 9,
  /** Its ops, and behind them its patches. */
  WORDS_AT: 10,
  PATCHES_AT: 11,
  PATCHES_END: 12,
  /** Of `BY_IMMEDIATE`: addresses of 256 templates, or 0. */
  EXACT_AT: 13,
  /** So often it was decoded in full. */
  SEEN: 14,
  WORDS: 16,
} as const;

export const Kind = {
  COUNTING: 0,
  READY: 1,
  /** One template for each value of a one-byte immediate. */
  BY_IMMEDIATE: 2,
  NEVER: 3,
} as const;

/** A patch is three words: where, as the distance in bytes from the end of the ops; `From`; a constant to be added. */
export const PATCH_WORDS = 3;

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
