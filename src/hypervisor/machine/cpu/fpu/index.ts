/** Helpers of the x87 instructions and of the state images, by the names under which `lower-fpu.ts` asks for them. */
import { X87_ARITHMETIC } from './arithmetic.js';
import { X87_CONTROL } from './control.js';
import { X87_UNARY } from './unary.js';

export const X87_HELPERS = { ...X87_ARITHMETIC, ...X87_UNARY, ...X87_CONTROL };
