import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatReport, geometricMean, makeReport, median, type Series } from '../../bench/engine/report.js';
import { RowReader, type RowTime } from '../../bench/engine/rows.js';

const row = (name: string, wallMs: number, more: Partial<RowTime> = {}): RowTime => ({
  name,
  count: 10,
  check: '0000abcd',
  wallMs,
  cpuMs: wallMs * 2,
  ...more,
});

const series = (name: string, ...runs: RowTime[][]): Series => ({
  name,
  runs: runs.map(rows => ({ rows, remarks: [], figures: {} })),
});

const feed = (reader: RowReader, text: string): void => {
  for (const character of text) reader.push(character.charCodeAt(0));
};

describe('figures', () => {
  test('median of odd and even numbers of values, in any order', () => {
    expect(median([5, 1, 3])).toBe(3);
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(median([])).toBeNaN();
  });

  test('the geometric mean of ratios turns around with them and does not depend on their order', () => {
    expect(geometricMean([2, 8])).toBeCloseTo(4);
    const ratios = fc.array(fc.double({ min: 0.01, max: 100, noNaN: true }), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(ratios, values => {
        const mean = geometricMean(values);
        expect(geometricMean(values.map(value => 1 / value))).toBeCloseTo(1 / mean, 6);
        expect(geometricMean([...values].reverse())).toBeCloseTo(mean, 6);
        expect(mean).toBeGreaterThanOrEqual(Math.min(...values) * 0.999999);
        expect(mean).toBeLessThanOrEqual(Math.max(...values) * 1.000001);
      }),
    );
  });
});

describe('report', () => {
  const ours = series(
    'ours',
    [row('loop', 10), row('sort', 50)],
    [row('loop', 30), row('sort', 50)],
    [row('loop', 20), row('sort', 50)],
  );
  const other = series('v86', [row('loop', 40), row('sort', 25)]);

  test('medians, ratios above one where the first is faster, geometric mean of the ratios', () => {
    const report = makeReport([ours, other]);
    expect(report.rows.map(({ name, timeMs, ratio }) => [name, timeMs['ours'], timeMs['v86'], ratio['v86']])).toEqual([
      ['loop', 20, 40, 2],
      ['sort', 50, 25, 0.5],
    ]);
    expect(report.rows[0]!.spread['ours']).toBe(3);
    expect(report.geometricMean['v86']).toBeCloseTo(1);
    expect(report.failures).toEqual([]);
  });

  test('the best run and processor time on request', () => {
    expect(makeReport([ours, other], 'wall', 'best').rows[0]!.timeMs['ours']).toBe(10);
    expect(makeReport([ours, other], 'cpu').rows[0]!.timeMs['ours']).toBe(40);
  });

  test('a row that waits is compared by processor time and left out of the mean', () => {
    const idle = (wallMs: number, cpuMs: number): RowTime => row('idle', wallMs, { cpuMs });
    const report = makeReport([
      series('ours', [row('loop', 10), idle(500, 2)]),
      series('v86', [row('loop', 20), idle(200, 6)]),
    ]);
    expect(report.rows[1]!.ratio['v86']).toBe(3);
    expect(report.geometricMean['v86']).toBeCloseTo(2);
  });

  test('different results are a failure that names who said what', () => {
    const wrong = series('v86', [row('loop', 40, { check: '0000ffff' }), row('sort', 25)]);
    expect(makeReport([ours, wrong]).failures).toEqual(['loop: results differ: 10 0000abcd (ours), 10 0000ffff (v86)']);
  });

  test('a row that an emulator never finished is a failure, one that its processor lacks is not', () => {
    const lacking = series('v86', [row('loop', 40), row('sort', 0, { count: 0, check: '-' })]);
    const report = makeReport([ours, lacking]);
    expect(report.failures).toEqual([]);
    expect(report.rows[1]!.ratio['v86']).toBeUndefined();
    expect(makeReport([ours, series('v86', [row('loop', 40)])]).failures).toEqual(['sort: v86 has no result ()']);
  });

  test('an emulator without a run is left out, and the table lines up', () => {
    const report = makeReport([ours, other, series('qemu')]);
    const lines = formatReport(report, ['ours', 'v86']).split('\n');
    expect(lines[0]).toMatch(/^row +count +ours ms +v86 ms +v86\/ours$/);
    expect(lines[1]).toMatch(/^loop +10 +20\.0 +40\.0 +2\.00$/);
    expect(lines[3]).toMatch(/^geometric mean +1\.00$/);
    expect(new Set(lines.slice(0, 4).map(line => line.length)).size).toBe(1);
    expect(lines.slice(4)).toEqual(['unsteady on ours (longest run / shortest): loop 3.0']);
  });
});

describe('console of the guest', () => {
  /** A clock that advances by one at each look. */
  const reader = (): RowReader => {
    let looks = 0;
    return new RowReader(() => ({ wallMs: ++looks, cpuMs: looks * 10 }));
  };

  test('a row is timed between its marks; what came before the greeting is the emulator talking', () => {
    const console = reader();
    feed(console, 'some BIOS\nmore vmitop engine benchmark\nloop \x01\x02500 0000abcd\r\nsysenter - -\nend\n');
    expect(console.rows).toEqual([
      { name: 'loop', count: 500, check: '0000abcd', wallMs: 1, cpuMs: 10 },
      { name: 'sysenter', count: 0, check: '-', wallMs: 0, cpuMs: 0 },
    ]);
    expect(console.remarks).toEqual([]);
    expect(console.ended).toBe(true);
  });

  test('time on a computer that is slow for a while is converted, by what a yardstick said at both marks', () => {
    const stamps = [
      { wallMs: 10, cpuMs: 0, slowness: 1 },
      { wallMs: 50, cpuMs: 0, slowness: 3 },
    ];
    const marks: boolean[] = [];
    const console = new RowReader(begins => {
      marks.push(begins);
      return stamps[marks.length - 1]!;
    });
    feed(console, 'loop \x01\x02500 0000abcd\n');
    expect(marks).toEqual([true, false]);
    expect(console.rows[0]!.steadyMs).toBe(20);
    const half = [row('loop', 20, { steadyMs: 10 })];
    expect(makeReport([series('ours', [...console.rows]), series('v86', half)], 'steady').rows[0]!.ratio['v86']).toBe(
      0.5,
    );
  });

  test('a guest that stops says why; a line without marks is no row', () => {
    const console = reader();
    feed(
      console,
      'vmitop engine benchmark\nloop \x01trap 6: stopped: unexpected trap 00000000 00100abc\nloop 1 0000abcd\n',
    );
    expect(console.rows).toEqual([]);
    expect(console.remarks).toEqual(['loop trap 6: stopped: unexpected trap 00000000 00100abc', 'loop 1 0000abcd']);
    expect(console.ended).toBe(false);
  });
});
