/**
 * Words of `Context.s` that are the engine's own: derived from the architectural state of `state.ts`, never read by monitors.
 */
import { S } from './state.js';

/** Temporaries of the IR: words `S.TEMP` .. `S.TEMP + TEMPS - 1`. */
export const TEMPS = 24;
/** Always zero: the base or index of an address that has none. */
export const ZERO = 96;
/**
 * Per segment register: how many leading offsets pass a 4-byte read (write) check without further look, that is limit - 2
 * of a readable (writable) expand-up segment, else 0. Shorter accesses at the very end of a segment take the slow path.
 */
export const READABLE = 100;
export const WRITABLE = 108;

/** Doubles of the clock block: cycles, instructions completed, and the cycle from which event points take a look. */
export const CYCLES = 0;
export const INSTRUCTIONS = 1;
export const POLL_AT = 2;
export const CLOCK_DOUBLES = 8;

if (S.TEMP + TEMPS > ZERO || WRITABLE + 8 > S.WORDS) throw new Error('state layout overlaps');
