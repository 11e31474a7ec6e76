/** Options that several commands share, and how their text becomes values. */
import type { Options } from 'yargs';
import { type Mode, UsageError } from '../hypervisor/index.js';
import type { Pace } from '../session/protocol.js';

export const MODES = ['native', 'bt', 'hv', 'vmi'] as const satisfies readonly Mode[];

export const COST_OPTION = {
  type: 'string',
  array: true,
  nargs: 1,
  requiresArg: true,
  describe: 'replace a figure of the cost profile (repeatable), e.g. --cost vmmEntry=200',
} as const satisfies Options;

export const MOUSE_OPTION = {
  type: 'boolean',
  describe: '--no-mouse leaves the mouse to the terminal; default: what the configuration says',
} as const satisfies Options;

export const SCREEN_READER_OPTION = {
  type: 'boolean',
  describe: 'in words, line by line, for screen readers; also where INK_SCREEN_READER is true',
} as const satisfies Options;

export const SPEED_OPTION = {
  type: 'string',
  requiresArg: true,
  describe: 'virtual seconds per real second at most: a number, or max',
} as const satisfies Options;

export const INVENTORY_OPTION = {
  type: 'string',
  requiresArg: true,
  describe: 'folder of .vmx files, or JSON file, that describes the host and its VMs',
} as const satisfies Options;

/** `NAME=CYCLES` words as a table. Throws `UsageError`; whether the names exist is for the host to say. */
export function parseCosts(words: readonly string[] | undefined): Record<string, number> {
  const figures: Record<string, number> = {};
  for (const word of words ?? []) {
    const match = /^(\w+)=(\d+)$/.exec(word);
    if (!match) throw new UsageError(`--cost ${word}: must be NAME=CYCLES, with a whole number of cycles`);
    figures[match[1]!] = Number(match[2]);
  }
  return figures;
}

/** Throws `UsageError` for anything but a positive number or `max`. */
export function parsePace(word: string): Pace {
  if (word === 'max') return 'max';
  return positive(word, '--speed', 'a positive number or max');
}

/** A comma-separated list of modes, each once, in our order. Throws `UsageError`. */
export function parseModes(list: string): Mode[] {
  const words = list.split(',').map(word => word.trim());
  for (const word of words) parseMode(word, '--modes');
  return MODES.filter(mode => words.includes(mode));
}

/** Throws `UsageError` for an unknown mode. */
export function parseMode(word: string, option: string): Mode {
  const mode = MODES.find(known => known === word);
  if (!mode) throw new UsageError(`${option} ${word}: unknown mode, must be one of ${MODES.join(', ')}`);
  return mode;
}

/** A number above zero. Throws `UsageError`. */
export function positive(word: string | number, option: string, what = 'a positive number'): number {
  const value = typeof word === 'number' ? word : Number(word.trim() === '' ? Number.NaN : word);
  if (!Number.isFinite(value) || value <= 0) throw new UsageError(`${option} ${word}: must be ${what}`);
  return value;
}

/** A whole number within bounds. Throws `UsageError`. */
export function wholeNumber(word: string | number, option: string, low: number, high: number): number {
  const value = typeof word === 'number' ? word : Number(word.trim() === '' ? Number.NaN : word);
  if (!Number.isInteger(value) || value < low || value > high) {
    throw new UsageError(`${option} ${word}: must be a whole number from ${low} to ${high}`);
  }
  return value;
}
