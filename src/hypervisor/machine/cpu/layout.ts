/**
 * Words of `Context.s` that are the engine's own: derived from the architectural state of `state.ts`, never read by monitors.
 */
import type { CostProfile } from '../costs/profile.js';
import { DATA_BYTES, TLB_BYTES } from '../mmu/tlb.js';
import { S } from './state.js';

/** Temporaries of the IR: words `S.TEMP` .. `S.TEMP + TEMPS - 1`. */
export const TEMPS = 24;
/** Always zero: the base or index of an address that has none. */
export const ZERO = 96;
/** Vector of the pending fault, or -1, and its error code. */
export const FAULT_VECTOR = 97;
export const FAULT_CODE = 98;
/** 1 where ring 0 is a monitor (`ContextWiring.ring0Escapes`), except in VMX non-root operation. */
export const ESCAPES = 99;
/**
 * Per segment register: how many leading offsets pass a 4-byte read (write) check without further look, that is limit - 2
 * of a readable (writable) expand-up segment, else 0. Shorter accesses at the very end of a segment take the slow path.
 */
export const READABLE = 100;
export const WRITABLE = 108;

/** Linear page of the last instruction fetch and the machine page behind it; 1 (no page) after anything that may change it. */
export const FETCH_PAGE = 116;
export const FETCH_MACHINE = 117;
export const NO_PAGE = 1;
/** So many leading EIPs of the code segment are sure to have a whole block behind them within its limit. */
export const FETCH_SAFE = 118;
/** What compiled code takes for granted about segments and CPL: `Shape` bits, or -1 where none can run (narrow code or stack). */
export const SHAPE = 119;
/** Least of `READABLE` and `WRITABLE` of ES, SS and DS: meaningful where `SHAPE` has `FLAT`. */
export const FLAT_LIMIT = 120;
/** Cycles until event points take a look, as compiled code counts them. */
export const LIMIT = 121;
/** What the last slow path of compiled code answered: 0, or an exit code. */
export const STATUS = 122;
/** Index of the op at which compiled code was left. */
export const EXIT_OP = 123;

/** Machine address of physical address 0, and bytes of RAM from there. */
export const PHYSICAL_BASE = 124;
export const PHYSICAL_BYTES = 125;
/** Price of a TLB miss as `LIMIT` counts it: whole cycles, rounded up. */
export const MISS_CYCLES = 126;

/** Bits of `SHAPE`. */
export const Shape = {
  /** CPL 3. */
  USER: 1,
  /** ES, SS and DS have base 0 and may be read and written upwards from 0. */
  FLAT: 2,
  /** And they end at 4 GiB, so that no offset is beyond them. */
  WHOLE: 4,
  /** VMX non-root operation, where control registers are not what they seem. */
  NON_ROOT: 8,
} as const;
export const SHAPES = 16;

/** Doubles of the clock block: cycles, instructions completed, and the cycle from which event points take a look. */
export const CYCLES = 0;
export const INSTRUCTIONS = 1;
export const POLL_AT = 2;
/** The deadline of the `run` in progress, and `CYCLES` when cycles were last given to a ring. */
export const DEADLINE = 5;
export const RING_MARK = 6;
/** Price of a TLB miss, and the misses that compiled code had and nobody has counted yet. */
export const MISS_COST = 3;
export const MISSES = 4;
/** Exceptions that generated code has delivered and nobody has counted yet. */
export const EXCEPTIONS = 7;
/** Cycles by ring. */
export const RINGS = 8;
export const CLOCK_DOUBLES = 12;

/**
 * Distances in bytes from the state words of a thread to its clock and its TLBs: they are reserved one behind the other, so that
 * compiled code, which is shared by all threads, finds everything from one address.
 */
export const CLOCK_AT = S.WORDS * 4;
export const TLB_AT = CLOCK_AT + CLOCK_DOUBLES * 8;
export const FETCH_AT = TLB_AT + DATA_BYTES;
/** What `transitions.ts` remembers: of each vector, of returns, and of loads of segment registers. */
export const DELIVERIES = 256;
export const RETURNS = 16;
export const LOADS = 64;
/** Words of a delivery or return, and of a load. */
export const TRANSITION_WORDS = 36;
export const LOAD_WORDS = 16;
export const TRANSITIONS_AT = TLB_AT + TLB_BYTES;
export const RETURNS_AT = TRANSITIONS_AT + DELIVERIES * TRANSITION_WORDS * 4;
export const LOADS_AT = RETURNS_AT + RETURNS * TRANSITION_WORDS * 4;
/** Doubles: the prices of what generated code charges by itself, in this order. */
export const PRICES_AT = LOADS_AT + LOADS * LOAD_WORDS * 4;
export const PRICES = [
  'segmentLoad',
  'cliSti',
  'popf',
  'simple',
  'clts',
  'movCr2',
  'movCr3',
  'invlpg',
  'sysenter',
  'sysexit',
  'stringStart',
  'stringStep',
] as const satisfies readonly (keyof CostProfile['cycles'])[];
/** A double: what RDTSC adds to the clock. */
export const TIME_STAMP_OFFSET_AT = PRICES_AT + PRICES.length * 8;
export const THREAD_BYTES = TIME_STAMP_OFFSET_AT + 8;

if (S.TEMP + TEMPS > ZERO || WRITABLE + 8 > S.PDPTE) throw new Error('state layout overlaps');
