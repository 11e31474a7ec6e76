/**
 * Model-specific registers that the simulated processor does not act on, but kernels of its family touch (SDM vol. 4): memory types,
 * since there are no caches, machine checks, of which none come and no bank reports, and registers that are touched without asking. What is not listed raises #GP, as on a processor that lacks
 * it. The processor itself knows the time-stamp counter and SYSENTER's.
 *
 * Memory types are as a PC's firmware leaves them (SDM vol. 3, 12.11): write-back, but for the adapters below 1 MiB and the gigabyte
 * below 4 GiB, where devices are.
 */

import type { Archive } from '../base/archive.js';

type Value = readonly [low: number, high: number];

const Msr = {
  P5_MACHINE_CHECK_ADDRESS: 0x00,
  P5_MACHINE_CHECK_TYPE: 0x01,
  PLATFORM_ID: 0x17,
  MICROCODE: 0x8b,
  MTRR_CAP: 0xfe,
  /** Capabilities: no banks, no control register. */
  MACHINE_CHECK_CAP: 0x179,
  MACHINE_CHECK_STATUS: 0x17a,
  MISC_ENABLE: 0x1a0,
  MTRR_VARIABLE: 0x200,
  PAT: 0x277,
  MTRR_DEFAULT: 0x2ff,
} as const;

/** Fast strings on; branch trace storage and event-based sampling unavailable. */
const MISC_ENABLE: Value = [0x1801, 0];
const ZERO: Value = [0, 0];

const VARIABLE_RANGES = 8;
/** Write-combining, and fixed ranges, besides the variable ones. */
const MTRR_CAP: Value = [0x500 | VARIABLE_RANGES, 0];
/** Registers of eight ranges each: 64 KiB from 0 on, 16 KiB from 80000h on, 4 KiB from C0000h on. */
const FIXED = [0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f] as const;
/** The one for A0000h to BFFFFh, and the first beyond. */
const FIXED_ADAPTERS = 0x259;

const Type = { UNCACHEABLE: 0, WRITE_COMBINING: 1, WRITE_THROUGH: 4, WRITE_PROTECTED: 5, WRITE_BACK: 6, UNCACHED: 7 };
const MTRR_TYPES: ReadonlySet<number> = new Set([0, 1, 4, 5, 6]);
const PAT_TYPES: ReadonlySet<number> = new Set([0, 1, 4, 5, 6, 7]);
const ENABLE = 0x800;
const ENABLE_FIXED = 0x400;
/** Bits 8 and 9 of a base, 8 to 10 of a mask, and what is above the type in the default are reserved; addresses have 36 bits. */
const BASE_RESERVED = 0xf00;
const MASK_RESERVED = 0x7ff;
const DEFAULT_RESERVED = 0xfffff300;
const HIGH_RESERVED = 0xfffffff0;
const VALID = 0x800;

const eightTimes = (type: number): Value => [type * 0x01010101, type * 0x01010101];
/** After power-on (SDM vol. 3, 12.12.4). */
const PAT_RESET: Value = [0x00070406, 0x00070406];

const typesOf = ([low, high]: Value): number[] =>
  [low, high].flatMap(half => [0, 8, 16, 24].map(shift => (half >>> shift) & 0xff));

const hasTypes = (value: Value, known: ReadonlySet<number>): boolean => typesOf(value).every(type => known.has(type));

/** One virtual processor's, from power-on to power-off. */
export class Msrs {
  readonly #values = new Map<number, Value>([
    [Msr.P5_MACHINE_CHECK_ADDRESS, ZERO],
    [Msr.P5_MACHINE_CHECK_TYPE, ZERO],
    [Msr.MACHINE_CHECK_CAP, ZERO],
    [Msr.MACHINE_CHECK_STATUS, ZERO],
    [Msr.PLATFORM_ID, ZERO],
    [Msr.MICROCODE, ZERO],
    [Msr.MISC_ENABLE, MISC_ENABLE],
    [Msr.MTRR_CAP, MTRR_CAP],
    [Msr.MTRR_DEFAULT, [ENABLE | ENABLE_FIXED | Type.WRITE_BACK, 0]],
    [Msr.PAT, PAT_RESET],
    ...FIXED.map((index): [number, Value] => [
      index,
      eightTimes(index < FIXED_ADAPTERS ? Type.WRITE_BACK : Type.UNCACHEABLE),
    ]),
    ...Array.from({ length: 2 * VARIABLE_RANGES }, (_, i): [number, Value] => [Msr.MTRR_VARIABLE + i, ZERO]),
    [Msr.MTRR_VARIABLE, [(0xc0000000 | Type.UNCACHEABLE) >>> 0, 0]],
    [Msr.MTRR_VARIABLE + 1, [(0xc0000000 | VALID) >>> 0, 0xf]],
  ]);

  exchange(archive: Archive): void {
    const values = archive.list(this.#values, (entry): [number, Value] => [
      archive.number(entry?.[0] ?? 0),
      [archive.number(entry?.[1][0] ?? 0), archive.number(entry?.[1][1] ?? 0)],
    ]);
    for (const [index, value] of values) this.#values.set(index, value);
  }

  /** Undefined where the register does not exist. */
  read(index: number): Value | undefined {
    return this.#values.get(index);
  }

  /** Both halves are unsigned. False where the register does not exist, is read-only, or cannot hold the value. */
  write(index: number, low: number, high: number): boolean {
    const value: Value = [low, high];
    // The microcode revision is cleared before CPUID reports the one that is loaded: there is none.
    if (index === Msr.MICROCODE) return true;
    const now = this.#values.get(index);
    if (now === undefined) return false;
    if (index === Msr.MISC_ENABLE) return now[0] === low && now[1] === high;
    if (!isAllowed(index, value)) return false;
    this.#values.set(index, value);
    return true;
  }
}

function isAllowed(index: number, value: Value): boolean {
  const [low, high] = value;
  // Clearing the status is what software does after a machine check.
  if (index === Msr.MACHINE_CHECK_STATUS) return low === 0 && high === 0;
  if (index === Msr.PAT) return hasTypes(value, PAT_TYPES);
  if (index === Msr.MTRR_DEFAULT) return (low & DEFAULT_RESERVED) === 0 && high === 0 && MTRR_TYPES.has(low & 0xff);
  if ((FIXED as readonly number[]).includes(index)) return hasTypes(value, MTRR_TYPES);
  if (index < Msr.MTRR_VARIABLE || index >= Msr.MTRR_VARIABLE + 2 * VARIABLE_RANGES) return false;
  if ((high & HIGH_RESERVED) !== 0) return false;
  const isMask = (index & 1) !== 0;
  return isMask ? (low & MASK_RESERVED) === 0 : (low & BASE_RESERVED) === 0 && MTRR_TYPES.has(low & 0xff);
}
