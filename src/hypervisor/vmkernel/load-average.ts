/**
 * Load averages over 1, 5 and 15 minutes of virtual time, updated once a second: 1.00 means that every pCPU is busy all the
 * time (esxtop's definition; not a run-queue length).
 */

/** e^(-1/60), e^(-1/300), e^(-1/900), written out so that no computer's `exp` can differ in the last bit. */
const DECAY = [0.9834714538216175, 0.9966722160545233, 0.9988895059442793] as const;

export class LoadAverage {
  #averages: [number, number, number] = [0, 0, 0];

  /** Average over the seconds so far. */
  get averages(): readonly [number, number, number] {
    return this.#averages;
  }

  /** `busyRatio` of the last second, over all pCPUs: 0..1. */
  addSecond(busyRatio: number): void {
    const [one, five, fifteen] = this.#averages;
    const mix = (old: number, decay: number): number => old * decay + busyRatio * (1 - decay);
    this.#averages = [mix(one, DECAY[0]), mix(five, DECAY[1]), mix(fifteen, DECAY[2])];
  }
}
