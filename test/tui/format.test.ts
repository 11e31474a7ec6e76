import { describe, expect, test } from 'vitest';
import { clock, cut, decimal, duration, left, printable, right, short, uptime } from '../../src/tui/format.js';

describe('cells', () => {
  test('keep their width whatever is in them', () => {
    for (const text of ['', 'a', 'abcdefgh', 'déjà vu']) {
      expect([...left(text, 5)]).toHaveLength(5);
      expect([...right(text, 5)]).toHaveLength(5);
    }
    expect(left('ab', 4)).toBe('ab  ');
    expect(right('ab', 4)).toBe('  ab');
    expect(cut('abcdef', 4)).toBe('abc>');
    expect(cut('abcd', 4)).toBe('abcd');
    expect(cut('abcd', 0)).toBe('');
  });

  test('show nothing that moves the cursor or takes two cells', () => {
    expect(printable('a\u001b[2Jb\n')).toBe('a·[2Jb·');
    expect(printable('虚拟机')).toBe('???');
    expect(printable('e\u0301')).toBe('e?');
    expect(printable('naïve – “x”')).toBe('naïve – “x”');
  });
});

describe('figures', () => {
  test('give up decimals before digits, and are never cut', () => {
    expect(decimal(99.994, 6)).toBe('99.99');
    expect(decimal(1234.56, 6)).toBe('1234.6');
    expect(decimal(123456.7, 6)).toBe('123457');
    expect(decimal(1234567, 6)).toBe('***');
    expect(decimal(0, 6)).toBe('0.00');
  });

  test('short counts', () => {
    expect(short(0)).toBe('0');
    expect(short(812)).toBe('812');
    expect(short(0.5)).toBe('0.5');
    expect(short(12_345)).toBe('12.3k');
    expect(short(4_560_000)).toBe('4.6M');
    expect(short(250_000_000)).toBe('250M');
  });

  test('times in the shapes of esxtop', () => {
    const minute = 60;
    const hour = 60 * minute;
    const day = 24 * hour;
    expect(clock(83.9)).toBe('0:01:23');
    expect(clock(27 * hour + 5)).toBe('27:00:05');
    expect(uptime(0.0234)).toBe('0.023 s');
    expect(uptime(59.94)).toBe('59.9 s');
    expect(uptime(minute)).toBe('1 min');
    expect(uptime(14 * minute + 59)).toBe('14 min');
    expect(uptime(hour + 32 * minute)).toBe(' 1:32');
    expect(uptime(36 * day + 9 * hour + 37 * minute)).toBe('36 days  9:37');
    expect(duration(0.0019)).toBe('1.9 ms');
    expect(duration(2.345)).toBe('2.35 s');
    expect(uptime(114 * day + 23 * hour + 6 * minute)).toBe('114 days 23:06');
  });
});
