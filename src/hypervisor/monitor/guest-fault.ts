/** Guest trouble as a value: an exception that the guest must see. */

export interface GuestFault {
  readonly kind: 'fault';
  /** Exception vector (SDM vol. 3, table 6-1). */
  readonly vector: number;
  /** Undefined where the vector has none. */
  readonly errorCode: number | undefined;
  /** Linear address for CR2; only with #PF. */
  readonly cr2?: number;
}

export const fault = (vector: number, errorCode?: number): GuestFault => ({ kind: 'fault', vector, errorCode });

export const pageFault = (linear: number, errorCode: number): GuestFault => ({
  kind: 'fault',
  vector: 14,
  errorCode,
  cr2: linear >>> 0,
});

/** Tells a fault from the value (a number, bytes, a descriptor, nothing) that came instead of it. */
export const isFault = (result: unknown): result is GuestFault =>
  typeof result === 'object' && result !== null && (result as { readonly kind?: unknown }).kind === 'fault';
