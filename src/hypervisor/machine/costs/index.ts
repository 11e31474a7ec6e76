import type { CostProfile } from './profile.js';
import { XEON_5160 } from './xeon-5160.js';

/** Built-in profiles by name. */
export const COST_PROFILES: Readonly<Record<string, CostProfile>> = { [XEON_5160.name]: XEON_5160 };
