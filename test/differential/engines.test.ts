/**
 * Both engines run random programs and must agree on everything: see `engines-program.ts` for what the programs are made of. A
 * failure prints its seed and the smallest program that still fails; `engines-night.ts` runs as many as there is time for.
 */
import { describe, expect, test } from 'vitest';
import { isCompilable, isGeneric, isNarrowArithmetic } from '../../src/hypervisor/machine/cpu/compile/op-facts.js';
import { Op } from '../../src/hypervisor/machine/cpu/ir.js';
import { generate } from './engines-program.js';
import { EnginePair, listing, newTally } from './engines-run.js';

/** Programs of hundreds of instructions, most of them compiled, and of some dozens, most of them interpreted. */
const LONG = 30;
const SHORT = 2000;

/** Ops that blocks for the compiler never hold or that leave them to the interpreter. */
const NEVER_COMPILED: ReadonlySet<number> = new Set([
  // Rights in real mode and virtual-8086 mode; targets of 16-bit LOOP and JCXZ.
  Op.CHECK_PROTECTED,
  Op.CHECK_IOPL,
  Op.BRANCH_INDIRECT,
  // In templates only.
  Op.STEP,
  // An instruction in two pages.
  Op.FETCH_NEXT_PAGE,
  // Written over a block that is no longer entered.
  Op.CUT,
]);

describe('random programs', () => {
  const pair = new EnginePair();
  const tally = newTally();

  function agreeOn(count: number, short: boolean): void {
    for (let seed = 1; seed <= count; seed++) {
      const program = generate(seed, short);
      const failure = pair.check(program, tally);
      if (failure === null) continue;
      const small = new EnginePair().minimize(program);
      expect.fail(
        `seed ${seed}${short ? ', short' : ''}: ${failure.differences.join('; ')}\n` +
          `smallest: ${small.failure.differences.join('; ')}\n${listing(small.program)}`,
      );
    }
  }

  test(`both engines agree on ${LONG} long ones`, () => {
    agreeOn(LONG, false);
    // Programs that do nothing would agree, too.
    expect(tally.instructions).toBeGreaterThan(LONG * 2000);
    expect(tally.exceptions).toBeGreaterThan(LONG * 10);
    expect(tally.interrupts).toBeGreaterThan(LONG);
    expect(tally.regions).toBeGreaterThan(LONG * 2);
  });

  test(`both engines agree on ${SHORT} short ones`, () => {
    const before = { ...tally };
    agreeOn(SHORT, true);
    expect(tally.instructions - before.instructions).toBeGreaterThan(SHORT * 200);
    expect(tally.exceptions - before.exceptions).toBeGreaterThan(SHORT);
    expect(tally.interrupts - before.interrupts).toBeGreaterThan(SHORT / 2);
    expect(tally.regions - before.regions).toBeGreaterThan(SHORT / 20);
  });

  test('every op is for the compiler, or known not to be', () => {
    for (const [name, op] of Object.entries(Op)) {
      expect(`${name} ${isCompilable(op)}`).toBe(`${name} ${!NEVER_COMPILED.has(op)}`);
    }
  });

  test('every op that the compiler takes was in code that it made', () => {
    const missing = Object.entries(Op).filter(([, op]) => isCompilable(op) && !tally.compiledOps.has(op));
    expect(missing.map(([name]) => name)).toEqual([]);
    // Sizes that the compiler leaves to the interpreter's functions, and those that it does itself.
    for (const op of [Op.MULTIPLY, Op.DIVIDE]) {
      const ups = tally.compiledOps.get(op)!;
      expect([...ups].some(up => isNarrowArithmetic(op, up))).toBe(true);
      expect([...ups].some(up => !isNarrowArithmetic(op, up))).toBe(true);
    }
    expect([...tally.compiledOps.keys()].filter(isGeneric).length).toBeGreaterThan(4);
  });
});
