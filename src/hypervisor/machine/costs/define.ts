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

/** How figures of one processor follow from those of another. */
export interface Scaling {
  /** Of which figures, and by how much. */
  readonly names: readonly CostName[];
  readonly factor: number;
  /** Why. */
  readonly basis: string;
}

/**
 * A profile that has its own figures where they are known, and `base`'s for the rest: scaled where a rule says so, rounded to whole
 * cycles, ranges likewise. What is derived says from what.
 */
export function deriveProfile(
  base: CostProfile,
  name: string,
  cpu: string,
  cyclesPerSecond: number,
  known: Readonly<Partial<Record<CostName, Cost>>>,
  scalings: readonly Scaling[] = [],
): CostProfile {
  const derived = (key: CostName): Cost => {
    const { cycles, range } = base.entries[key];
    const scaling = scalings.find(({ names }) => names.includes(key));
    const factor = scaling?.factor ?? 1;
    const scaled = (value: number) => Math.round(value * factor);
    const basis = scaling === undefined ? `as ${base.name}` : `${base.name} times ${factor}, ${scaling.basis}`;
    const entry = { cycles: scaled(cycles), source: `estimate: ${basis}` };
    return range === undefined
      ? { ...entry, range: [Math.floor(cycles * factor), Math.ceil(cycles * factor)] }
      : { ...entry, range: [Math.floor(range[0] * factor), Math.ceil(range[1] * factor)] };
  };
  const entries = Object.fromEntries(NAMES.map(key => [key, known[key] ?? derived(key)])) as Record<CostName, Cost>;
  return defineProfile(name, cpu, cyclesPerSecond, entries);
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
