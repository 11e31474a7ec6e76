/** `VMITOP_TIERING=always`, `later`, `never` or `reference` runs the whole suite with that setting of the engine. */
import { type EngineSetting, setEngine } from './engine-setting.js';

const wanted = process.env.VMITOP_TIERING as EngineSetting | undefined;
if (wanted !== undefined) setEngine(wanted);
