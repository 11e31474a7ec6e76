/** What figures have been: the ring of values, lines of blocks, plots of Braille read back into numbers, and the chart pane. */
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { History, historyColumn, roundAbove, scaleOf } from '../../src/tui/history.js';
import { plot } from '../../src/tui/plot.js';
import { sparkline } from '../../src/tui/sparkline.js';
import { PLAIN_THEME } from '../../src/tui/theme.js';
import { closeConsoles, consoleOn } from './console-on.js';
import { inventory, sample, vm } from './fixtures.js';

afterEach(closeConsoles);

const HZ = inventory(0).cyclesPerSecond;

describe('the ring', () => {
  /** A sample whose one VM has so many ticks owed. */
  const owed = (second: number, backlog: number, name = 'a') =>
    sample(second * HZ, [vm(1, name, { timer: { ...vm(1, name).timer, backlog } })]);
  const backlogs = (history: History, count?: number) =>
    history.moments('timer', 'vm a', 'backlog', count).map(({ value }) => value);

  test('keeps the newest values, with their times', () => {
    const history = new History(4);
    for (let second = 1; second <= 7; second++) history.take(owed(second, 10 * second), undefined);
    expect(history.times).toEqual([4, 5, 6, 7]);
    expect(history.moments('timer', 'vm a', 'backlog')).toEqual(
      [4, 5, 6, 7].map(at => ({ seconds: at, value: 10 * at })),
    );
    expect(backlogs(history, 2)).toEqual([60, 70]);
    expect(history.moments('timer', 'vm a', 'none', 1)).toEqual([{ seconds: 7, value: Number.NaN }]);
  });

  test('a row that is not there has no value, and one that has gone is forgotten', () => {
    const history = new History(4);
    history.take(owed(1, 1), undefined);
    history.take(owed(2, 2, 'b'), undefined);
    history.take(owed(3, 3), undefined);
    expect(backlogs(history)).toEqual([1, Number.NaN, 3]);
    for (let second = 4; second <= 12; second++) history.take(owed(second, 0, 'b'), undefined);
    expect(backlogs(history)).toEqual([Number.NaN, Number.NaN, Number.NaN, Number.NaN]);
  });

  test('a replay that goes back takes the later values with it', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 40 }),
        fc.integer({ min: 1, max: 6 }),
        (seconds, max) => {
          const history = new History(max);
          let model: number[] = [];
          for (const second of seconds) {
            history.take(owed(second, second), undefined);
            model = [...model.filter(each => each < second), second].slice(-max);
            // What the ring had dropped before it went back does not come again.
            expect(history.times).toEqual(model);
            expect(backlogs(history)).toEqual(model);
          }
        },
      ),
    );
  });

  test('every figure of the screens, and worlds without what is the VM’s alone', () => {
    const history = new History();
    const now = inventory(2);
    history.take(now, inventory(1));
    const value = (key: string, column: string) => history.moments('cpu', key, column, 1)[0]!.value;
    expect(value('vm db-bt', 'used')).toBeCloseTo(60, 3);
    const world = now.vms.find(({ name }) => name === 'db-bt')!.worlds[0]!;
    expect(value(`world ${world.id}`, 'used')).toBeCloseTo(60, 3);
    expect(value(`world ${world.id}`, 'ashrs')).toBe(Number.NaN);
    expect(value('vm db-bt', 'ashrs')).toBe(1000);
  });
});

test('scales: round numbers, and 100 for percentages', () => {
  expect([0, 0.3, 1, 1.1, 2, 3, 7, 10, 11, 4999, Number.NaN].map(roundAbove)).toEqual([
    ...[1, 0.5, 1, 2, 2, 5, 10, 10, 20, 5000, 1],
  ]);
  expect([scaleOf('%USED', [3]), scaleOf('%WAIT', [300]), scaleOf('REQ/s', [251]), scaleOf('REQ/s', [])]).toEqual([
    ...[100, 500, 500, 1],
  ]);
  expect([historyColumn('cpu', 'ready').id, historyColumn('cpu', 'gid').id, historyColumn('memory', '').id]).toEqual([
    ...['ready', 'used', 'tchd'],
  ]);
});

test('a cell for a value', () => {
  expect(sparkline([0, 12.4, 12.5, 50, 99, 100, 200, Number.NaN, 25], 12, 100)).toBe('   ▁▁▂▅███ ▃');
  expect(sparkline([0, 100], 2, 100, true)).toBe('.#');
  expect(sparkline([1, 2, 3], 2, 4)).toBe('▅▇');
});

describe('plots', () => {
  const options = { width: 20, height: 5, from: 0, to: 39, top: 19, ascii: false };
  /** The dots of the Braille, each as the heights (0 is the lowest) in its column of dots. */
  const dots = (rows: ReturnType<typeof plot>): number[][] => {
    const columns: number[][] = Array.from({ length: 40 }, () => []);
    rows.forEach((row, y) => {
      row.forEach(({ text }, x) => {
        const bits = text === ' ' ? 0 : text.codePointAt(0)! - 0x2800;
        // Unicode's numbering of the dots: 1 2 3 7 in the left column, 4 5 6 8 in the right one.
        [1, 2, 4, 64, 8, 16, 32, 128].forEach((bit, index) => {
          if (bits & bit) columns[2 * x + (index >> 2)]!.push(19 - (4 * y + (index & 3)));
        });
      });
    });
    return columns.map(heights => heights.sort((a, b) => a - b));
  };
  const at = (value: (second: number) => number) =>
    Array.from({ length: 40 }, (_, seconds) => ({ seconds, value: value(seconds) }));

  test('a ramp, a step and a wave have a dot at every value', () => {
    for (const value of [
      (x: number) => 0.48 * x,
      (x: number) => (x < 20 ? 3 : 17),
      (x: number) => 9.5 + 9 * Math.sin(x / 6),
    ]) {
      const drawn = dots(plot([at(value)], options));
      drawn.forEach((heights, x) => {
        // Rows are counted from above, and so rounded.
        expect(heights, String(x)).toContain(19 - Math.round(19 - value(x)));
        // And joined to its neighbour: no gap between columns.
        const next = drawn[x + 1];
        if (next) expect(Math.min(...heights.flatMap(a => next.map(b => Math.abs(a - b))))).toBeLessThanOrEqual(1);
      });
    }
  });

  test('what is not there is not joined', () => {
    const drawn = dots(plot([at(x => (x >= 10 && x < 20 ? Number.NaN : 5))], options));
    expect(drawn.slice(10, 20).flat()).toEqual([]);
    expect(drawn[9]).toEqual([5]);
    expect(drawn[20]).toEqual([5]);
  });

  test('what is out of bounds stays at the edge, and what is out of the time is left out', () => {
    const drawn = dots(plot([at(() => 99)], options));
    expect(drawn[0]).toEqual([19]);
    expect(
      dots(
        plot(
          [
            [
              { seconds: -5, value: 1 },
              { seconds: 50, value: 1 },
            ],
          ],
          options,
        ),
      ).flat(),
    ).toEqual([]);
  });

  test('cells say whose they are', () => {
    const rows = plot([at(() => 0), at(() => 19)], options);
    expect(rows[0]!.every(({ series }) => series === 1)).toBe(true);
    expect(rows[4]!.every(({ series }) => series === 0)).toBe(true);
    expect(rows[2]!.every(({ series, text }) => series === undefined && text === ' ')).toBe(true);
    expect(
      plot([at(() => 0)], { ...options, ascii: true })[4]!
        .map(({ text }) => text)
        .join(''),
    ).toBe('*'.repeat(20));
  });
});

function watched(columns = 120, rows = 34, theme = PLAIN_THEME) {
  const tui = consoleOn(columns, rows, undefined, undefined, undefined, theme);
  for (let second = 0; second < 20; second++) tui.session.tick();
  return tui;
}

describe('H', () => {
  test('ends each row with what the sorting figure has been', async () => {
    const { press, screen } = watched();
    const lines = (await press('H')).split('\n');
    expect(lines.find(line => line.includes('NWLD'))).toMatch(/%USED 0-100$/);
    // 60 % in each of the seconds: five of eight steps.
    expect(lines.find(line => line.includes('db-bt'))).toMatch(/ ▅{20,21}$/);
    expect(lines.find(line => line.includes('boot-bt'))).toMatch(/ ▃{20,21}$/);
    expect(await press('R')).toMatch(/%RDY 0-100$/m);
    expect(
      Math.max(
        ...screen()
          .split('\n')
          .map(line => line.length),
      ),
    ).toBeLessThanOrEqual(120);
    expect(await press('H')).not.toContain('▅');
    expect(await press('xH')).toContain('this screen has no rows of VMs');
  });
});

describe('G', () => {
  test('draws the selected row, and others that are marked', async () => {
    const { press } = watched();
    const one = await press('2G');
    expect(one).toContain('%USED in 5 min, 1 of 5 rows; cursor at 0:00:22');
    expect(one).toMatch(/^ {5}100│/m);
    expect(one).toMatch(/^ {7}0│/m);
    expect(one).toMatch(/^> A db-bt +60\.00$/m);
    expect(one).toMatch(/^ {4}web-vmi +2\.00$/m);
    // The line's letter stands at its end, at sixty hundredths of the height.
    const rows = one.split('\n').filter(line => line.includes('│'));
    expect(rows.findIndex(line => line.endsWith(' A'))).toBe(Math.round(0.4 * (rows.length - 1)));
    const two = await press('\u001b[B ');
    expect(two).toContain('2 of 5 rows');
    expect(two).toMatch(/^> B boot-bt +30\.00$/m);
    expect(await press(' ')).toContain('1 of 5 rows');
    expect(await press('\u001b')).toContain('q:quit');
  });

  test('the cursor says what was, the figure and the span can be changed', async () => {
    const { press } = watched();
    expect(await press('2G\u001b[D\u001b[D')).toContain('cursor at 0:00:20');
    expect(await press('\u001b[C')).toContain('cursor at 0:00:21');
    expect(await press('\u001b[H')).toContain('cursor at 0:00:02');
    expect(await press('\u001b[F')).toContain('cursor at 0:00:22');
    expect(await press('..')).toMatch(/^ %SYS in/m);
    expect(await press(',')).toMatch(/^ %RUN in/m);
    expect(await press('-')).toContain('in 2 min');
    expect(await press('--------')).toContain('in 0.1 s');
    expect(await press('+++++++++++')).toContain('in 60 min');
    expect(await press('zzz')).toContain('in 60 min');
    expect(await press('q')).toContain('q:quit');
  });

  test('fits every size, and needs no Unicode', async () => {
    for (const [columns, rows] of [
      [80, 24],
      [300, 100],
    ] as const) {
      const { press } = watched(columns, rows, { ...PLAIN_THEME, ascii: true });
      const lines = (await press('2G')).split('\n');
      expect(lines).toHaveLength(rows - 1);
      expect(Math.max(...lines.map(line => line.length))).toBeLessThanOrEqual(columns);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: the whole of ASCII
      expect(lines.join('\n')).toMatch(/^[\x00-\x7f]*$/);
    }
  });
});
