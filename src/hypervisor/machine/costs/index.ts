import { PENTIUM_4_672 } from './pentium-4-672.js';
import type { CostProfile } from './profile.js';
import { XEON_5160 } from './xeon-5160.js';
import { XEON_5460 } from './xeon-5460.js';
import { XEON_X5570 } from './xeon-x5570.js';

/** Built-in profiles by name, in the order of the generations. */
export const COST_PROFILES: Readonly<Record<string, CostProfile>> = Object.fromEntries(
  [PENTIUM_4_672, XEON_5160, XEON_5460, XEON_X5570].map(profile => [profile.name, profile]),
);
