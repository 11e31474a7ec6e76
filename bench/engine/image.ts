/** The guest that every emulator runs, and the machine that it needs. */
import { fileURLToPath } from 'node:url';

/** The programs run from build/bench/engine. */
export const IMAGE = fileURLToPath(new URL('../../../bench/engine/guest.elf', import.meta.url));
/** Makes Bochs enter the guest; see bochs/loader.S. */
export const LOADER_ROM = fileURLToPath(new URL('../../../bench/engine/bochs/loader.rom', import.meta.url));
export const MEMORY_MIB = 64;
