/** Expressions over columns, search, marks: the language against a model of it, and the keys. */
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import {
  compares,
  type Expression,
  fits,
  formatExpression,
  holds,
  numberOf,
  OPERATORS,
  parseExpression,
} from '../../src/tui/expression.js';
import { defaultConfig } from '../../src/tui/state.js';
import { COLOUR_THEME, REVERSE_THEME } from '../../src/tui/theme.js';
import { levelOf, parseThreshold } from '../../src/tui/thresholds.js';
import { closeConsoles, consoleOn } from './console-on.js';

afterEach(closeConsoles);

const COLUMNS = ['%USED', 'MODE', 'DLVD/s', 'LAG(ms)'];

const word = fc.string({ unit: fc.constantFrom(...'aB1*?.%&|!()<>=~ -/'), minLength: 1, maxLength: 6 });
const expression = fc.letrec<{ any: Expression; leaf: Expression }>(tie => ({
  any: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    tie('leaf'),
    fc.record({ kind: fc.constantFrom('or' as const, 'and' as const), left: tie('any'), right: tie('any') }),
    fc.record({ kind: fc.constant('not' as const), of: tie('any') }),
  ),
  leaf: fc.oneof(
    fc.record({ kind: fc.constant('name' as const), pattern: word }),
    fc.record({
      kind: fc.constant('compare' as const),
      column: fc.constantFrom(...COLUMNS),
      operator: fc.constantFrom(...OPERATORS),
      value: word,
    }),
  ),
})).any;

test('what is written is read as it was', () => {
  fc.assert(
    fc.property(expression, each => {
      expect(parseExpression(formatExpression(each), COLUMNS)).toEqual({ ok: true, value: each });
    }),
  );
});

/** The same by JavaScript's own operators. */
function model(each: Expression, yes: (text: string) => boolean): boolean {
  switch (each.kind) {
    case 'or':
      return model(each.left, yes) || model(each.right, yes);
    case 'and':
      return model(each.left, yes) && model(each.right, yes);
    case 'not':
      return !model(each.of, yes);
    case 'name':
      return yes(each.pattern);
    case 'compare':
      return yes(each.column);
  }
}

test('&& binds closer than ||, ! closer than both', () => {
  const truth = (text: string, yes: string) => {
    const parsed = parseExpression(text, []);
    if (!parsed.ok) throw new Error(parsed.reason);
    return holds(parsed.value, { name: yes, text: () => '' });
  };
  // Every way for the name to hold a, b and c.
  for (const name of ['', 'a', 'b', 'c', 'ab', 'ac', 'bc', 'abc']) {
    const [a, b, c] = ['a', 'b', 'c'].map(letter => name.includes(letter)) as [boolean, boolean, boolean];
    expect(truth('a || b && c', name)).toBe(a || (b && c));
    expect(truth('(a || b) && c', name)).toBe((a || b) && c);
    expect(truth('!a && b || c', name)).toBe((!a && b) || c);
    expect(truth('!(a && b) || c', name)).toBe(!(a && b) || c);
    expect(truth('!!a', name)).toBe(a);
  }
  fc.assert(
    fc.property(expression, fc.integer(), (each, salt) => {
      const yes = (text: string) => (text.length + salt) % 2 === 0;
      // Leaves that hold exactly when `yes` says so of them.
      const swap = (part: Expression): Expression => {
        switch (part.kind) {
          case 'or':
          case 'and':
            return { ...part, left: swap(part.left), right: swap(part.right) };
          case 'not':
            return { ...part, of: swap(part.of) };
          case 'name':
            return { kind: 'name', pattern: yes(part.pattern) ? 'x' : 'y' };
          case 'compare':
            return { ...part, operator: '=', value: yes(part.column) ? '1' : '2' };
        }
      };
      expect(holds(swap(each), { name: 'x', text: () => '1' })).toBe(model(each, yes));
    }),
  );
});

test.each([
  ['%USED >', 'at the end: expected a value'],
  ['%USED > && a', 'at 9: expected a value, not &&'],
  ['a b', 'at 3: expected && or ||, not b'],
  ['(a', 'at the end: expected )'],
  ['a && ', 'at the end: expected a column or a name'],
  ['%IDLE > 3', 'at 1: the screen has no column %IDLE'],
  ['a & b', 'at 2: cannot be read: & b'],
  ['"a', 'at 1: cannot be read: "a'],
  ['', 'at the end: expected a column or a name'],
])('%j: %s', (text, reason) => {
  expect(parseExpression(text, COLUMNS)).toEqual({ ok: false, reason });
});

test('figures as columns show them, texts without regard to case, patterns as in a shell', () => {
  expect([numberOf('12.30'), numberOf(' 1.5k'), numberOf('3M'), numberOf('-'), numberOf('12.3.4')]).toEqual([
    12.3,
    1500,
    3e6,
    Number.NaN,
    Number.NaN,
  ]);
  const cases: readonly (readonly [string, (typeof OPERATORS)[number], string, boolean])[] = [
    ['9.5', '<', '10', true],
    ['9.5', '>', '10', false],
    ['10.00', '=', '10', true],
    ['10', '!=', '10', false],
    ['10', '>=', '10', true],
    ['10', '<=', '9', false],
    ['1.5k', '>', '1400', true],
    ['BT', '=', 'bt', true],
    ['BT', '!=', 'VMI', true],
    ['BT', '>', 'A', false],
    ['-', '<', '5', false],
    ['VMI*', '~', 'vm', true],
  ];
  for (const [shown, operator, value, expected] of cases) {
    expect(compares(shown, operator, value), `${shown} ${operator} ${value}`).toBe(expected);
  }
  expect([fits('web*', 'Web01'), fits('web?', 'web01'), fits('eb', 'web01'), fits('w.b*', 'web01')]).toEqual([
    ...[true, false, true, false],
  ]);
});

const names = (screen: string) => [...screen.matchAll(/^[> ] +(?:\d+ +)?1[67890]|^[> ] +20/gm)].length;

describe('&', () => {
  test('shows rows that fit, says so, and takes it back', async () => {
    const { press } = consoleOn(132, 30);
    const busy = await press('&%used > 20\r');
    expect(busy).toContain('rows that fit %USED > 20; & changes it');
    expect(busy).toMatch(/ db-bt /);
    expect(busy).toMatch(/ boot-bt /);
    expect(busy).not.toMatch(/ web-vmi |\bspare\b|\bbroken\b/);
    // Worlds come with their VM.
    expect(await press('e')).toMatch(/ vcpu0/);
    expect(await press('&MODE ~ vmi || brok\r')).toMatch(/web-vmi[\s\S]*spare[\s\S]*broken/);
    // Each screen has its own.
    expect(await press('m')).toMatch(/ db-bt /);
    expect(await press('c')).not.toMatch(/ db-bt +3/);
    expect(await press('&\r')).toMatch(/ db-bt +3/);
    expect(await press('&none\r')).toContain('No row is shown; l and then 0 shows all.');
    expect(await press('l0\r')).toMatch(/ db-bt +3/);
    expect(await press('&%USED >\r')).toContain('at the end: expected a value');
    expect(await press('x&')).toContain('this screen has no rows of VMs');
  });

  test('goes together with a group', async () => {
    const { press } = consoleOn(132, 30);
    await press('&bt\r');
    const one = await press('l17\r');
    expect(names(one)).toBeGreaterThan(0);
    expect(one).toContain('rows that fit bt');
    expect(one).not.toMatch(/boot-bt/);
  });
});

describe('/', () => {
  test('selects the next row with the words, around the end, and again with Enter', async () => {
    const { press } = consoleOn(132, 30);
    expect(await press('/BT\r')).toMatch(/^> .*db-bt/m);
    expect(await press('/')).toContain('Search (Enter: BT):');
    expect(await press('\r')).toMatch(/^> .*boot-bt/m);
    // The MODE of the crashed one.
    expect(await press('/\r')).toMatch(/^> .*broken/m);
    expect(await press('/\r')).toMatch(/^> .*db-bt/m);
    expect(await press('/nobody\r')).toContain('no row holds nobody');
  });
});

describe('!', () => {
  test('marks figures of its screen, by colour and without', async () => {
    for (const theme of [COLOUR_THEME, REVERSE_THEME]) {
      const { press } = consoleOn(132, 30, undefined, undefined, undefined, theme);
      // db-bt has 60, boot-bt 30; the selected row shows the selection.
      expect(await press('!%used > 25 warn\r')).toContain('%USED > 25 warn');
      const marked = await press('!%USED >= 50 alarm\r');
      expect(marked).toContain(theme.alarm('  60.00'));
      expect(marked).toContain(theme.warn('  30.00'));
      expect(theme.alarm('x')).not.toBe(theme.warn('x'));
      expect(await press('!\r')).not.toContain(theme.alarm('  60.00'));
      expect(await press('!%used\r')).toContain('must be like %RDY > 10 warn (or alarm): %used');
      expect(await press('!%x > 1 warn\r')).toContain('the screen has no column %x');
    }
  });

  test('the configuration keeps them', async () => {
    const threshold = parseThreshold('memory', 'tchd>=1.5 alarm');
    expect(threshold).toEqual({
      ok: true,
      value: { screen: 'memory', column: 'TCHD', operator: '>=', value: '1.5', level: 'alarm' },
    });
    if (!threshold.ok) return;
    const config = { ...defaultConfig(), screen: 'memory' as const, thresholds: [threshold.value] };
    const { press, files } = consoleOn(132, 30, undefined, undefined, config);
    await press('W\r');
    expect([...files.values()][0]).toContain('mark memory = TCHD >= 1.5 alarm\n');
  });

  test('the stronger of several', () => {
    const rules = ['%RDY > 5 warn', '%RDY > 10 alarm', '%RDY > 20 warn'].map(text => {
      const parsed = parseThreshold('cpu', text);
      if (!parsed.ok) throw new Error(parsed.reason);
      return parsed.value;
    });
    expect(['5', '6', '11', '21'].map(shown => levelOf(rules, '%RDY', shown))).toEqual([
      undefined,
      'warn',
      'alarm',
      'alarm',
    ]);
    expect(levelOf(rules, '%USED', '99')).toBeUndefined();
  });
});
