/** Helpers of MMX, SSE and SSE2, by the names under which `lower-simd.ts` asks for them. */
import { SIMD_ACCESS } from './access.js';
import { SIMD_CONVERT } from './convert.js';
import { SIMD_FLOAT } from './float.js';
import { SIMD_INTEGER } from './integer.js';

export const SIMD_HELPERS = { ...SIMD_ACCESS, ...SIMD_INTEGER, ...SIMD_FLOAT, ...SIMD_CONVERT };
