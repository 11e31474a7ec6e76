/** The soft arithmetic against exact integers, on significands that are hard for digit-by-digit algorithms. */
import { expect, test } from 'vitest';
import {
  BIAS,
  bigSignificand,
  divide,
  Extended,
  FULL,
  multiply,
  squareRoot,
} from '../../../src/hypervisor/machine/cpu/fpu/soft.js';
import { Raise } from '../../../src/hypervisor/machine/cpu/fpu/state.js';
import { Random } from './values.js';

const TOP = 1n << 63n;
/** All masked, rounding to zero: the result is the exact one cut off. */
const CHOP = Raise.ALL | (3 << 6);

/** Random, or of few bits, or just below and above a power of two or of another one. */
function significand(random: Random, other: bigint): bigint {
  const bits = (BigInt(random.word()) << 32n) | BigInt(random.word());
  switch (random.below(5)) {
    case 0:
      return TOP | BigInt(random.below(3));
    case 1:
      return (1n << 64n) - 1n - BigInt(random.below(3));
    case 2:
      return BigInt.asUintN(64, other + BigInt(random.below(5)) - 2n) | TOP;
    case 3:
      return TOP | (bits & (0xffffffffn << BigInt(random.below(32))));
    default:
      return TOP | bits;
  }
}

function number(value: bigint): Extended {
  const x = new Extended();
  x.set(BIAS, Number(value >> 32n), Number(value & 0xffffffffn));
  return x;
}

test('quotients, products and roots are exact, cut off to 64 bits, and inexactness is told', () => {
  const random = new Random(99);
  const out = new Extended();
  for (let i = 0; i < 20_000; i++) {
    const a = significand(random, TOP);
    const b = significand(random, a);
    const where = `${a.toString(16)} ${b.toString(16)}`;
    const check = (what: string, flags: number, exact: boolean, expected: bigint) => {
      expect(bigSignificand(out), `${what} ${where}`).toBe(expected);
      expect((flags & Raise.PRECISION) !== 0, `${what} ${where}`).toBe(!exact);
    };
    const up = a < b ? 64n : 63n;
    let flags = divide(number(a), number(b), FULL, CHOP, 0, out);
    check('/', flags, (a << up) % b === 0n, (a << up) / b);
    flags = multiply(number(a), number(b), FULL, CHOP, 0, out);
    const shift = (a * b) >> 127n === 0n ? 63n : 64n;
    check('*', flags, ((a * b) >> shift) << shift === a * b, (a * b) >> shift);
    flags = squareRoot(number(a), FULL, CHOP, 0, out);
    const root = bigSignificand(out);
    expect(root * root <= a << 63n && (root + 1n) * (root + 1n) > a << 63n, `root ${where}`).toBe(true);
    expect((flags & Raise.PRECISION) === 0, `root ${where}`).toBe(root * root === a << 63n);
  }
});
