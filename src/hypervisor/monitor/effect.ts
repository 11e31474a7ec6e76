/** How an instruction that the monitor carried out for the guest went on. */
import type { GuestFault } from './guest-fault.js';

export type Effect =
  /** Go on behind the instruction. */
  | { readonly kind: 'next' }
  /** EIP (and whatever else) is set. */
  | { readonly kind: 'jumped' }
  /** Go on behind the instruction when an interrupt comes. */
  | { readonly kind: 'halt' }
  /** One iteration of a repeated string instruction: the same instruction again. */
  | { readonly kind: 'again' }
  | GuestFault
  /** The VM cannot go on: one readable line. */
  | { readonly kind: 'stopped'; readonly reason: string };

export const NEXT: Effect = { kind: 'next' };
export const JUMPED: Effect = { kind: 'jumped' };
export const AGAIN: Effect = { kind: 'again' };
export const HALT: Effect = { kind: 'halt' };
