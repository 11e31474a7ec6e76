/**
 * Where decoded code lies in the simulator's own memory, so that generated code can find it, decode more, and run it:
 *
 *     mailbox | slots of the hash | lines that are walked | trie of instruction heads | scratch | pages | templates | blocks
 *
 * A block is a header, its ops, and a mark for each instruction. Ops are some twenty times as large as the bytes they stand for, so what
 * is executed for the first time gets no block: it is **walked**, each instruction executed from its template (`template-layout.ts`),
 * which is headed like a block of one instruction.
 */
import { assert } from '../../base/assert.js';
import type { MachineMemory } from '../memory.js';
import { OP_WORDS } from './ir.js';

/** What the meaning of a block depends on besides its bytes. */
export const Mode = {
  /** 32-bit code with a 32-bit stack. */
  PLAIN: 0,
  /** SS.B is 0: implicit stack accesses use SP. */
  STACK16: 1,
  /** One instruction only. */
  SINGLE: 2,
  /** CS.D is 0: operands and addresses are 16 bits wide unless prefixed. */
  CODE16: 4,
} as const;

/** Words of one entry of a block's instruction marks: first op, distance from the block's EIP, cycles before it. */
export const MARK_WORDS = 3;

/** Words in front of a block's ops: all that is known of it, for whoever reads linear memory. Addresses are machine addresses. */
export const Header = {
  /** Static cycles and instructions of the whole block; one 64-bit number to whoever adds both at once. */
  CYCLES: 0,
  INSTRUCTIONS: 1,
  /** Distance to the instruction behind it. */
  BYTES: 2,
  /** Headers of the successors over direct jumps within the page; 0 for none. */
  TAKEN: 3,
  FALL: 4,
  /** Executions so far, as interpreters count them for the compiler; `RETIRED` while the block must not be entered. */
  HEAT: 5,
  MACHINE: 6,
  /** -1 once its place has been given up for good. */
  MODE: 7,
  /** Number of the block in `CodeCache.numbered`, 0 while nobody has asked for it. */
  NUMBER: 8,
  /** 1: somebody came here other than over a direct edge within the page. */
  ENTERED: 9,
  /** Index of the marks in `CodeCache.code`. */
  MARKS: 10,
  /** Machine page of the part behind a page end, or -1. */
  SECOND_PAGE: 11,
  /** Header of the next block in the same slot of the hash, on the same page, and on the same second page; 0 ends a list. */
  CHAIN: 12,
  PAGE_NEXT: 13,
  SECOND_NEXT: 14,
  /** End of the block's place. */
  ROOM: 15,
  WORDS: 16,
} as const;

/** Hotter than any block gets: nobody follows a link to one that is as hot. */
export const RETIRED = 0x7fffffff;

/** Words of the mailbox. */
export const Mail = {
  /** Machine address behind the last block. */
  END: 0,
  /** Blocks decoded so far. */
  DECODED: 1,
  WORDS: 16,
} as const;

/** Of the hash of blocks by machine address: a word each, the header of the first block. */
export const SLOTS = 1 << 17;

/**
 * What is remembered of a line of code (`CODE_LINE_SHIFT`) that is walked. Lines share these words where their addresses agree in the lower
 * bits: a block may be made too early then, which costs some time.
 */
export const Walked = {
  /** A bit for each four bytes: an instruction there was executed without a block. It gets one the next time. */
  ONCE: 0,
  /** Of a line that is patched: executions since there was a block. */
  COUNT: 1,
  WORDS: 2,
} as const;
export const WALKED_LINES = 1 << 15;

/** Nodes of the trie, of 1 KiB each: more than any system of programs needs, and a bound for hostile guests. */
export const NODES_MAX = 4096;
/** Of the processors that this runs on. */
export const CACHE_LINE_BYTES = 64;
/** Words for templates, as large a bound. */
export const TEMPLATE_WORDS = 1 << 20;
/** Words of a machine page. */
export const Page = {
  /** Header of its first block. */
  FIRST: 0,
  /** Writes to its lines with code since one hit a block. */
  QUIET: 1,
  /** How often a write has hit a block, up to `PATCHED_MAX`: for each time code of such lines is walked twice as often before it is kept. */
  PATCHED: 2,
  /** The lines in which those blocks began. */
  PATCHED_LINES: 3,
  WORDS: 4,
} as const;
export const PATCHED_MAX = 7;
export const CODE_WORDS = 12 << 20;
export const INSTRUCTIONS_MAX = 48;
/** Room that one block may need: 48 instructions of 24 ops. */
export const BLOCK_BYTES_MAX = (INSTRUCTIONS_MAX * (24 * OP_WORDS + MARK_WORDS) + 64) * 4;

/** Machine addresses. */
export interface CacheLayout {
  readonly mailAt: number;
  readonly slotsAt: number;
  readonly walkedAt: number;
  readonly trieAt: number;
  readonly scratchAt: number;
  readonly pagesAt: number;
  /** The templates, then the blocks: all that can be executed. */
  readonly codeAt: number;
  readonly blocksAt: number;
  readonly codeEnd: number;
  readonly codeLinesAt: number;
}

/** `blockBytes`: room for blocks. */
export function reserveCache(memory: MachineMemory, blockBytes: number): CacheLayout {
  const words = {
    mail: Mail.WORDS,
    slots: SLOTS,
    walked: WALKED_LINES * Walked.WORDS,
    trie: NODES_MAX * 256,
    scratch: INSTRUCTIONS_MAX * MARK_WORDS,
    pages: memory.pageCount * Page.WORDS,
    templates: TEMPLATE_WORDS,
    blocks: blockBytes >> 2,
  };
  const total = Object.values(words).reduce((sum, part) => sum + part, 0);
  const mailAt = memory.reserve(total * 4);
  const slotsAt = mailAt + words.mail * 4;
  const walkedAt = slotsAt + words.slots * 4;
  const trieAt = walkedAt + words.walked * 4;
  const scratchAt = trieAt + words.trie * 4;
  const pagesAt = scratchAt + words.scratch * 4;
  const codeAt = pagesAt + words.pages * 4;
  const blocksAt = codeAt + words.templates * 4;
  const codeEnd = blocksAt + words.blocks * 4;
  assert(codeAt % CACHE_LINE_BYTES === 0, 'templates lie across lines of the cache');
  return {
    mailAt,
    slotsAt,
    walkedAt,
    trieAt,
    scratchAt,
    pagesAt,
    codeAt,
    blocksAt,
    codeEnd,
    codeLinesAt: memory.codeLines.byteOffset,
  };
}

/** Slot of the hash for a block at a machine address. Few blocks begin within the same four bytes; those of a function share lines of cache. */
export function slotOf(machine: number, mode: number): number {
  return ((machine >>> 2) ^ (machine >>> 15) ^ (mode << 11)) & (SLOTS - 1);
}
