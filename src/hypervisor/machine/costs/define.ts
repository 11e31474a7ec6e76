import { UsageError } from '../../base/assert.js';
import { type Cost, type CostName, type CostProfile, HARDWARE_COSTS, MONITOR_COSTS } from './profile.js';

const NAMES: readonly CostName[] = [...HARDWARE_COSTS, ...MONITOR_COSTS];

/** Builds a profile from its entries. */
export function defineProfile(
  name: string,
  cpu: string,
  cyclesPerSecond: number,
  entries: Readonly<Record<CostName, Cost>>,
): CostProfile {
  const cycles = Object.fromEntries(NAMES.map(key => [key, entries[key].cycles])) as Record<CostName, number>;
  return { name, cpu, cyclesPerSecond, entries, cycles };
}

/**
 * A copy of `profile` with some figures replaced (what-if experiments, tests). Throws `UsageError` for an unknown name or a
 * figure that is not a non-negative whole number.
 */
export function overrideCosts(profile: CostProfile, figures: Readonly<Record<string, number>>): CostProfile {
  const entries: Record<CostName, Cost> = { ...profile.entries };
  for (const [key, cycles] of Object.entries(figures)) {
    if (!(NAMES as readonly string[]).includes(key)) throw new UsageError(`unknown cost "${key}"`);
    if (!Number.isInteger(cycles) || cycles < 0) throw new UsageError(`cost "${key}" is not a whole number: ${cycles}`);
    entries[key as CostName] = { cycles, source: 'set by the user' };
  }
  return defineProfile(profile.name, profile.cpu, profile.cyclesPerSecond, entries);
}
