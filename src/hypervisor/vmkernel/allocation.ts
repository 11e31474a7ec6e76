/**
 * What a world may claim of the processors: shares of what is contended, a reservation that it gets whatever the others claim, a limit that it
 * does not exceed although a processor is free (Resource Management Guide for ESX Server 3.5, "Managing CPU Resources").
 *
 * Both figures are kept by clocks of the world's own, which run at the reserved or permitted rate: time that is used pushes a clock ahead by
 * used / rate. A world whose reservation clock is behind real time has not got what it is promised, and goes before all that have. A world whose
 * limit clock is a time slice ahead has used all that it may, and waits until real time has caught up. (The tags of mClock, Gulati et al., OSDI 2010,
 * which VMware's I/O scheduler was to use; here with real time for its virtual arrivals.)
 */
export interface CpuAllocation {
  readonly shares: number;
  /** Parts of one processor: 0 is no reservation, 1 no limit. */
  readonly reservation: number;
  readonly limit: number;
}

export class AllocationClocks {
  #allocation: CpuAllocation;
  /** When the time that was used so far will have been reserved. */
  #reserved = 0;
  /** When the time that was used so far will have been permitted. */
  #permitted = 0;

  constructor(allocation: CpuAllocation) {
    this.#allocation = allocation;
  }

  get allocation(): CpuAllocation {
    return this.#allocation;
  }

  /** From `nowCycles` on other figures hold, and neither claims nor debts of before. */
  change(allocation: CpuAllocation, nowCycles: number): void {
    this.#allocation = allocation;
    this.#reserved = nowCycles;
    this.#permitted = nowCycles;
  }

  /** The world wants to run again: time that it did not want is not owed to it. */
  wanted(nowCycles: number): void {
    this.#reserved = Math.max(this.#reserved, nowCycles);
  }

  used(fromCycles: number, cycles: number): void {
    const { reservation, limit } = this.#allocation;
    if (reservation > 0) this.#reserved += cycles / reservation;
    if (limit < 1) this.#permitted = Math.max(this.#permitted, fromCycles) + cycles / limit;
  }

  /** It has a reservation and has not got it. */
  isOwed(nowCycles: number): boolean {
    return this.#allocation.reservation > 0 && this.#reserved <= nowCycles;
  }

  /** Whether it has used what it may for now; `burstCycles` is how far its clock may be ahead. */
  isExhausted(nowCycles: number, burstCycles: number): boolean {
    return this.#allocation.limit < 1 && this.#permitted - nowCycles >= burstCycles;
  }

  /** When it will be exhausted if it runs from now on. At least a cycle later: a world on a processor gets on. */
  exhaustedAt(nowCycles: number, burstCycles: number): number {
    const { limit } = this.#allocation;
    if (limit >= 1) return Infinity;
    const ahead = Math.max(0, this.#permitted - nowCycles);
    // The clock gains 1 / limit - 1 on real time.
    return nowCycles + Math.max(1, Math.ceil((burstCycles - ahead) / (1 / limit - 1)));
  }

  /** When real time will have caught up with an exhausted world's clock. */
  get permittedAtCycles(): number {
    return Math.ceil(this.#permitted);
  }
}
