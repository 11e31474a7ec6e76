/**
 * Where decoded code lies in the simulator's own memory, so that generated code can find it, decode more, and run it:
 *
 *     mailbox | slots of the hash | what was seen | trie of instruction heads | templates | scratch | pages | blocks
 *
 * A block is a header, its ops, and a mark for each instruction. Ops are some twenty times as large as the bytes they stand for, so what
 * is executed only a few times is not kept: it is decoded into a small ring at the beginning of the blocks, again each time, executed
 * there, and listed nowhere. Such a block is **in passing**.
 */
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
  /** Where the next block in passing goes, and the header of the last one, or 0. */
  PASSING: 2,
  LAST_PASSING: 3,
  WORDS: 16,
} as const;

export const SLOTS = 1 << 15;
/** Executions before which a block is decoded in passing only. */
export const KEEP_AFTER = 8;
/** Bytes of the ring. It is reused as soon as the largest block would not fit any more. */
export const PASSING_BYTES = 64 << 10;
/** Nodes of the trie, of 1 KiB each: more than any system of programs needs, and a bound for hostile guests. */
export const NODES_MAX = 4096;
/** Words for templates, as large a bound. */
export const TEMPLATE_WORDS = 1 << 19;
/** Words of a page: its first block's header, and writes since it had a block that lives. */
export const PAGE_WORDS = 2;
export const CODE_WORDS = 12 << 20;
export const INSTRUCTIONS_MAX = 48;
/** Room that one block may need: 48 instructions of 24 ops. */
export const BLOCK_BYTES_MAX = (INSTRUCTIONS_MAX * (24 * OP_WORDS + MARK_WORDS) + 64) * 4;

/** Machine addresses. */
export interface CacheLayout {
  readonly mailAt: number;
  readonly slotsAt: number;
  /** Of each slot, the machine address of the block that was decoded in passing there last, and how often. */
  readonly seenAt: number;
  readonly trieAt: number;
  readonly templatesAt: number;
  readonly scratchAt: number;
  readonly pagesAt: number;
  /** The ring, then the blocks that are kept. */
  readonly codeAt: number;
  readonly keptAt: number;
  readonly codeEnd: number;
  readonly codeLinesAt: number;
}

/** `codeBytes`: room for blocks. */
export function reserveCache(memory: MachineMemory, codeBytes: number): CacheLayout {
  const words = {
    mail: Mail.WORDS,
    slots: SLOTS,
    seen: SLOTS * 2,
    trie: NODES_MAX * 256,
    templates: TEMPLATE_WORDS,
    scratch: INSTRUCTIONS_MAX * MARK_WORDS,
    pages: memory.pageCount * PAGE_WORDS,
    code: codeBytes >> 2,
  };
  const total = Object.values(words).reduce((sum, part) => sum + part, 0);
  const mailAt = memory.reserve(total * 4);
  const slotsAt = mailAt + words.mail * 4;
  const seenAt = slotsAt + words.slots * 4;
  const trieAt = seenAt + words.seen * 4;
  const templatesAt = trieAt + words.trie * 4;
  const scratchAt = templatesAt + words.templates * 4;
  const pagesAt = scratchAt + words.scratch * 4;
  const codeAt = pagesAt + words.pages * 4;
  const keptAt = codeAt + PASSING_BYTES;
  const codeEnd = codeAt + words.code * 4;
  const codeLinesAt = memory.codeLines.byteOffset;
  return { mailAt, slotsAt, seenAt, trieAt, templatesAt, scratchAt, pagesAt, codeAt, keptAt, codeEnd, codeLinesAt };
}

/** Slot of the hash for a block at a machine address. */
export function slotOf(machine: number, mode: number): number {
  return (machine ^ (machine >>> 13) ^ (mode << 11)) & (SLOTS - 1);
}
