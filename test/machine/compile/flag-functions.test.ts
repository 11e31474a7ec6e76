/** The lazy flags in WebAssembly are those of `flags.ts`, whatever the last operation left. */
import { describe, expect, test } from 'vitest';
import { Prng } from '../../../src/hypervisor/base/prng.js';
import { makeFlagFunctions } from '../../../src/hypervisor/machine/cpu/compile/flag-functions.js';
import { arithmeticFlags, carryFlag, condition, FlagOp } from '../../../src/hypervisor/machine/cpu/flags.js';
import { Flag, S } from '../../../src/hypervisor/machine/cpu/state.js';

const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
const functions = makeFlagFunctions(memory) as {
  carry(kind: number, result: number, a: number, b: number): number;
  image(kind: number, result: number, a: number, b: number): number;
  condition(kind: number, result: number, a: number, b: number, cc: number): number;
};
const EDGES = [0, 1, -1, 2, 15, 16, 0x7f, -0x80, 0x7fff, -0x8000, 0x7fffffff, -0x80000000];

/** What operations of a kind leave: results that follow from their operands, and single bits where flags are operands. */
function leave(prng: Prng, kind: number): readonly [result: number, a: number, b: number] {
  const word = () => (prng.below(2) === 0 ? prng.pick(EDGES) : prng.u32() | 0);
  const [a, b] = [word(), word()];
  switch (kind) {
    case FlagOp.IMAGE:
      return [prng.u32() & Flag.ARITHMETIC, a, b];
    case FlagOp.ADD:
      return [(a + b) | 0, a, b];
    case FlagOp.ADD_CARRY:
      return [(a + b + 1) | 0, a, b];
    case FlagOp.SUB:
      return [(a - b) | 0, a, b];
    case FlagOp.SUB_BORROW:
      return [(a - b - 1) | 0, a, b];
    case FlagOp.INC:
      return [(a + 1) | 0, a, prng.below(2)];
    case FlagOp.DEC:
      return [(a - 1) | 0, a, prng.below(2)];
    case FlagOp.CARRY_OVERFLOW:
      return [word(), prng.below(2), prng.below(2)];
    default:
      return [word(), a, b];
  }
}

describe.each(Object.entries(FlagOp))('%s', (_name, kind) => {
  test('carry, image and all conditions', () => {
    const prng = new Prng(kind + 1);
    const s = new Int32Array(S.WORDS);
    for (let i = 0; i < 500; i++) {
      const [result, a, b] = leave(prng, kind);
      s[S.FLAG_OP] = kind;
      s[S.FLAG_RESULT] = result;
      s[S.FLAG_A] = a;
      s[S.FLAG_B] = b;
      const left = `result ${result}, a ${a}, b ${b}`;
      expect(`${left}: CF ${functions.carry(kind, result, a, b)}`).toBe(`${left}: CF ${carryFlag(s)}`);
      expect(`${left}: ${functions.image(kind, result, a, b)}`).toBe(`${left}: ${arithmeticFlags(s)}`);
      for (let cc = 0; cc < 16; cc++) {
        const holds = functions.condition(kind, result, a, b, cc) === 1;
        expect(`${left}, cc ${cc}: ${holds}`).toBe(`${left}, cc ${cc}: ${condition(s, cc)}`);
      }
    }
  });
});
