import { describe, expect, test } from 'vitest';
import { parseDelay } from '../../src/tui/actions.js';
import type { VmScreenId } from '../../src/tui/columns.js';
import { CAUSE_ORDER, EXITS_COLUMNS } from '../../src/tui/exits.js';
import { consoleLines, visibleLines } from '../../src/tui/guest-console.js';
import { flushKeys, splitKeys } from '../../src/tui/input.js';
import { bindingFor, footerLine, KEYS, type KeyBinding } from '../../src/tui/keys.js';
import { columnsOf } from '../../src/tui/screens.js';
import { SCREEN_IDS } from '../../src/tui/state.js';

const names = (chunk: string) => splitKeys(chunk).keys.map(key => key.name);

describe('keys', () => {
  test('a chunk is cut into its keys, and nothing of it is lost', () => {
    expect(names('cM \r\u007f')).toEqual(['c', 'M', 'space', 'enter', 'backspace']);
    expect(names('\u001b[A\u001bOB\u001b[5~x')).toEqual(['up', 'down', 'pageup', 'x']);
    expect(names('\u0003\u000c\u001d')).toEqual(['ctrl-c', 'ctrl-l', 'ctrl-]']);
    const chunk = 'a\u001b[1;2Qé\u001b[200~\t';
    expect(
      splitKeys(chunk)
        .keys.map(key => key.raw)
        .join(''),
    ).toBe(chunk);
  });

  test('a sequence that arrives in pieces waits for its rest', () => {
    const first = splitKeys('q\u001b[');
    expect(first.keys.map(key => key.name)).toEqual(['q']);
    expect(splitKeys(`${first.rest}B`)).toEqual({ keys: [{ name: 'down', raw: '\u001b[B' }], rest: '' });
  });

  test('an ESC that nothing follows is the Escape key', () => {
    expect(flushKeys(splitKeys('\u001b').rest).map(key => key.name)).toEqual(['escape']);
    expect(flushKeys('')).toEqual([]);
  });
});

describe('the table of keys', () => {
  test('gives every key one command on every screen', () => {
    for (const screen of SCREEN_IDS) {
      const of = (where: string | undefined) =>
        (KEYS as readonly KeyBinding[]).filter(binding => binding.screen === where).flatMap(binding => binding.keys);
      const [own, everywhere] = [of(screen), of(undefined)];
      expect(new Set(own).size).toBe(own.length);
      expect(new Set(everywhere).size).toBe(everywhere.length);
      // Only where esxtop sorts by them, and where one searches for code.
      const taken = own.filter(key => everywhere.includes(key));
      expect(taken, screen).toEqual(
        { diskAdapter: ['r'], diskDevice: ['r'], diskVm: ['r'], network: ['t', 'r'], code: ['/'] }[screen as string] ??
          [],
      );
    }
  });

  test('sorts only by columns that exist and sort', () => {
    for (const binding of KEYS as readonly KeyBinding[]) {
      if (binding.command !== 'sort') continue;
      const columns: readonly { readonly id: string; readonly sort?: unknown }[] =
        binding.screen === 'exits'
          ? [...EXITS_COLUMNS, { id: CAUSE_ORDER, sort: 'the table' }]
          : columnsOf(binding.screen as VmScreenId);
      expect(columns.find(column => column.id === binding.column)?.sort, binding.help).toBeDefined();
    }
    expect(bindingFor('U', 'cpu')?.command).toBe('sort');
    expect(bindingFor('U', 'memory')).toBeUndefined();
  });

  test('the footer names toggle VMI, help and quit at 80 columns, and never wraps', () => {
    for (let width = 10; width < 200; width++) expect(footerLine(width, text => text)).toHaveLength(width);
    const footer = footerLine(80, text => text);
    for (const entry of ['v:toggle VMI', 'h:help', 'q:quit']) expect(footer).toContain(entry);
  });
});

describe('delay', () => {
  test.each([
    ['0.1', 100],
    ['2', 2000],
    [' 1,5 ', 1500],
  ])('%s', (text, ms) => expect(parseDelay(text)).toEqual({ ok: true, ms }));
  test.each(['', 'x', '0', '0.05', '-1', 'Infinity', '1e9'])('%s is refused', text => {
    expect(parseDelay(text).ok).toBe(false);
  });
});

describe('guest console', () => {
  const lines = (text: string, width = 20) => consoleLines(text, width).lines;

  test('line ends, tabs, backspace over characters, carriage return', () => {
    expect(lines('one\r\ntwo\n')).toEqual(['one', 'two', '']);
    expect(lines('a\tb')).toEqual(['a       b']);
    expect(lines('# lz\b \bs')).toEqual(['# ls']);
    expect(lines('10%\r20%')).toEqual(['20%']);
  });

  test('long lines wrap, escape sequences are not obeyed', () => {
    expect(lines('x'.repeat(45))).toEqual(['x'.repeat(20), 'x'.repeat(20), 'x'.repeat(5)]);
    expect(lines('a\u001b[2J\u001b[31mb\u001b[0m')).toEqual(['ab']);
    expect(lines('a\u0007b\u0000c')).toEqual(['abc']);
  });

  test('the cursor is behind the last character', () => {
    expect(consoleLines('# ', 20).cursor).toBe(2);
    expect(consoleLines('done\n', 20).cursor).toBe(0);
    expect(consoleLines('x'.repeat(20), 20).cursor).toBe(19);
  });

  test('scrolling stops at both ends', () => {
    const ten = Array.from({ length: 10 }, (_, index) => String(index));
    expect(visibleLines(ten, 4, 0)).toEqual({ from: 6, scroll: 0 });
    expect(visibleLines(ten, 4, 3)).toEqual({ from: 3, scroll: 3 });
    expect(visibleLines(ten, 4, 99)).toEqual({ from: 0, scroll: 6 });
    expect(visibleLines(ten, 40, 5)).toEqual({ from: 0, scroll: 0 });
  });
});
