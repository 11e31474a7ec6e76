/** Guest trouble as a value: an exception that the guest must see. */

/** A class, so that `isFault` is one comparison whatever else a function may answer. */
export class GuestFault {
  readonly kind = 'fault';

  constructor(
    /** Exception vector (SDM vol. 3, table 6-1). */
    readonly vector: number,
    /** Undefined where the vector has none. */
    readonly errorCode: number | undefined,
    /** Linear address for CR2; only with #PF. */
    readonly cr2?: number,
  ) {}
}

export const fault = (vector: number, errorCode?: number): GuestFault => new GuestFault(vector, errorCode);

export const pageFault = (linear: number, errorCode: number): GuestFault => new GuestFault(14, errorCode, linear >>> 0);

/** Tells a fault from the value (a number, bytes, a descriptor, nothing) that came instead of it. */
export const isFault = (result: unknown): result is GuestFault => result instanceof GuestFault;
