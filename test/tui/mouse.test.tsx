/** The mouse, copying, marked columns: reports of the terminal in, frames out. */
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { splitKeys } from '../../src/tui/input.js';
import { mousePress } from '../../src/tui/mouse.js';
import { defaultConfig } from '../../src/tui/state.js';
import { closeConsoles, consoleOn } from './console-on.js';

afterEach(closeConsoles);

const report = (button: number, x: number, y: number, end = 'M') => `\u001b[<${button};${x + 1};${y + 1}${end}`;

test('reports are keys of their own, wherever a chunk is cut', () => {
  fc.assert(
    fc.property(fc.nat(99), fc.nat(299), fc.nat(99), fc.boolean(), fc.nat(12), (button, x, y, down, cut) => {
      const text = `a${report(button, x, y, down ? 'M' : 'm')}b`;
      const first = splitKeys(text.slice(0, cut));
      const second = splitKeys(first.rest + text.slice(cut));
      const keys = [...first.keys, ...second.keys];
      expect(keys.map(({ name }) => name)).toEqual(['a', 'mouse', 'b']);
      expect(mousePress(keys[1]!)).toEqual(down ? { button, x, y } : undefined);
    }),
  );
});

/** Where a text stands on the screen. */
function placeOf(screen: string, text: string): [x: number, y: number] {
  const lines = screen.split('\n');
  const y = lines.findIndex(line => line.includes(text));
  expect(y, text).toBeGreaterThanOrEqual(0);
  return [lines[y]!.indexOf(text), y];
}

describe('a click', () => {
  test('selects a row', async () => {
    const { press, screen } = consoleOn(132, 30);
    const [x, y] = placeOf(screen(), 'boot-bt');
    expect(await press(report(0, x, y))).toMatch(/^> .*boot-bt/m);
    // Not below the last row, and not with another button.
    expect(await press(report(0, x, y + 9))).toMatch(/^> .*boot-bt/m);
    expect(await press(report(2, x, y - 1))).toMatch(/^> .*boot-bt/m);
  });

  test('on a title sorts by the column', async () => {
    const { press, screen } = consoleOn(132, 30);
    const sorted = await press(report(0, ...placeOf(screen(), '%USED')));
    expect(sorted).toMatch(/NWLD.*\n.*db-bt.*\n.*boot-bt/);
    expect(await press(report(0, ...placeOf(screen(), 'GUEST')))).toContain('rows are not sorted by GUEST');
  });

  test('on the footer presses the key', async () => {
    const { press, screen } = consoleOn(160, 30);
    expect(await press(report(0, ...placeOf(screen(), 'm:memory')))).toContain('PMEM');
    const [x, y] = placeOf(screen(), 't:timer');
    // Anywhere on its words, and not between them.
    expect(await press(report(0, x + 8, y))).toContain('PMEM');
    expect(await press(report(0, x + 6, y))).toContain('SOURCES');
  });

  test('says nothing while a dialog has the keys', async () => {
    const { press, screen } = consoleOn(132, 30);
    const [x, y] = placeOf(screen(), 'boot-bt');
    expect(await press(`p${report(0, x, y)}`)).toContain('Power of web-vmi');
  });
});

describe('the wheel', () => {
  const [up, down] = [report(64, 5, 5), report(65, 5, 5)];

  test('moves the selection, menus and help', async () => {
    const { press } = consoleOn(80, 24);
    expect(await press(down + down)).toMatch(/^> .*boot-bt/m);
    expect(await press(up)).toMatch(/^> .*db-bt/m);
    expect(await press(`p${down}`)).toMatch(/^ *>2 /m);
    await press('\u001b');
    const top = await press('h');
    const scrolled = await press(down);
    expect(scrolled.split('\n')[0]).toBe(top.split('\n')[1]);
  });

  test('scrolls a guest’s console, and is never typed there', async () => {
    const { press, session } = consoleOn(80, 24);
    session.print('web-vmi', Array.from({ length: 60 }, (_, line) => `line ${line}.\r\n`).join(''));
    expect(await press(`A${up}${up}`)).toMatch(/, \d+ lines back/);
    await press(`${report(0, 3, 3)}x${down}`);
    expect(session.commands).toEqual([{ kind: 'type', vm: 'web-vmi', text: 'x' }]);
  });
});

describe('y', () => {
  test('copies titles and cells of the chosen columns', async () => {
    const { press, calls } = consoleOn(80, 24);
    expect(await press('2y')).toContain('the row of db-bt is in the clipboard');
    const [titles, cells, end] = calls[0]!.split('\n').map(line => line.split('\t'));
    expect(titles!.slice(0, 5)).toEqual(['ID', 'GID', 'NAME', 'NWLD', '%USED']);
    expect(cells!.slice(0, 5)).toEqual(['17', '17', 'db-bt', '3', '60.00']);
    expect(cells!).toHaveLength(titles!.length);
    expect(end).toEqual(['']);
    expect(await press('&none\ry')).toContain('there is no row to copy');
  });
});

describe('left and right', () => {
  test('mark a column, which is explained, and drawn', async () => {
    const { press } = consoleOn(132, 30);
    const right = '\u001b[C';
    expect(await press(right)).toMatch(/^ID: world id; the group id/m);
    expect(await press(right.repeat(5))).toMatch(/^%RUN: scheduled on a pCPU$/m);
    expect(await press('H')).toContain('%RUN 0-100');
    expect(await press('G')).toContain('%RUN in 5 min');
    await press('q');
    expect(await press(right.repeat(99))).toMatch(/^GUEST: /m);
    expect(await press('\u001b[D'.repeat(99))).not.toMatch(/^ID: /m);
  });
});

test('Ctrl-Z is handed to the terminal’s owner', async () => {
  const { press, calls } = consoleOn();
  await press('\u001a');
  expect(calls).toEqual(['suspend']);
});

test('the configuration keeps whether the mouse is taken', async () => {
  const { press, files } = consoleOn(132, 30, undefined, undefined, { ...defaultConfig(), mouse: false });
  await press('W\r');
  expect([...files.values()][0]).toContain('\nmouse = 0\n');
});
