/** `VMITOP_TIERING=always`, `never` or `reference` runs the whole suite with that setting of the engine. */
import { type EngineOptions, engineDefaults } from '../src/hypervisor/machine/cpu/code-cache.js';

const wanted = process.env.VMITOP_TIERING as EngineOptions['tiering'];
if (wanted !== undefined) engineDefaults.tiering = wanted;
