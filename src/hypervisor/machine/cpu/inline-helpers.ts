/**
 * Helpers of `HELPER` ops: instructions whose work is done in TypeScript in the middle of a block (floating point, SIMD).
 *
 * A helper finds the guest's registers in `cpu.s`; `S.EIP` is that of the block, not of the instruction. It may leave a fault
 * pending, before it commits anything, and then answers false. It may reach memory through `cpu.load`, `cpu.store` and
 * `cpu.probe`. It must not change segments, paging, CPL or anything else that decides how code or memory is found, nor the
 * interrupt flag: such instructions are `SYSTEM` ops. It charges nothing: the lowering has counted its static cost.
 */
import type { Core } from './core.js';
import { X87_HELPERS } from './fpu/index.js';
import { SIMD_HELPERS } from './simd/index.js';

export type InlineHelper = (cpu: Core, a: number, b: number, c: number, d: number) => boolean;

const HELPERS = {
  /** Never emitted; keeps number 0 for a helper that was forgotten. */
  none: (cpu: Core): boolean => cpu.bug('a HELPER op without a helper'),
  ...X87_HELPERS,
  ...SIMD_HELPERS,
} as const satisfies Record<string, InlineHelper>;

export type InlineHelperName = keyof typeof HELPERS;

const NAMES = Object.keys(HELPERS) as InlineHelperName[];
/** Number of each helper, as `HELPER` ops carry it. */
export const inlineHelperNumber = Object.fromEntries(NAMES.map((name, number) => [name, number])) as Record<
  InlineHelperName,
  number
>;
export const INLINE_HELPER_LIST: readonly InlineHelper[] = NAMES.map(name => HELPERS[name]);
