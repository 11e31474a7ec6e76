/**
 * Model-specific registers that the simulated processor does not act on, but kernels of its family touch without asking (SDM vol. 4).
 * What is not listed raises #GP, as on a processor that lacks it. The processor itself knows the time-stamp counter and SYSENTER's.
 */

type Value = readonly [low: number, high: number];

const Msr = { PLATFORM_ID: 0x17, MICROCODE: 0x8b, MISC_ENABLE: 0x1a0 } as const;

/** Fast strings on; branch trace storage and event-based sampling unavailable. */
const MISC_ENABLE: Value = [0x1801, 0];
const ZERO: Value = [0, 0];

/** Platform 0, and no microcode update is loaded. */
const READABLE: ReadonlyMap<number, Value> = new Map([
  [Msr.PLATFORM_ID, ZERO],
  [Msr.MICROCODE, ZERO],
  [Msr.MISC_ENABLE, MISC_ENABLE],
]);

/** Undefined where the register does not exist. */
export const readMsr = (index: number): Value | undefined => READABLE.get(index);

/** The microcode revision is cleared before CPUID reports the one that is loaded; nothing else here changes. */
export const writeMsr = (index: number, low: number, high: number): boolean => {
  if (index === Msr.MICROCODE) return true;
  const now = READABLE.get(index);
  return index === Msr.MISC_ENABLE && now !== undefined && now[0] === low && now[1] === high;
};
