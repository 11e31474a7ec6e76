/** Pictures of the console: what a terminal would show, in each kind of file. */
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { pictureKind, pictureOf, type Screen } from '../../src/tui/picture/picture.js';
import { pngOf } from '../../src/tui/picture/png.js';
import { type Piece, styledFrame, styledLine, textOf } from '../../src/tui/picture/styled-lines.js';
import { paletteColour, svgOf } from '../../src/tui/picture/svg.js';
import { COLOUR_THEME, REVERSE_THEME } from '../../src/tui/theme.js';
import { closeConsoles, consoleOn } from './console-on.js';
import { ink } from './ink-pixels.js';

afterEach(closeConsoles);

const plain = { bold: false, underline: false, reverse: false, colour: undefined };

describe('escape sequences become attributes', () => {
  test('each attribute of the themes goes on and off by itself', () => {
    const line = `a${COLOUR_THEME.heading('b')}${COLOUR_THEME.key('c')}${COLOUR_THEME.alarm('d')}${COLOUR_THEME.selected('e')}`;
    expect(styledLine(line)).toEqual([
      { ...plain, text: 'a' },
      { ...plain, reverse: true, text: 'b' },
      { ...plain, bold: true, text: 'c' },
      { ...plain, bold: true, colour: 214, text: 'd' },
      { ...plain, reverse: true, colour: 6, text: 'e' },
    ]);
    expect(styledLine(REVERSE_THEME.selected('e'))).toEqual([{ ...plain, bold: true, underline: true, text: 'e' }]);
  });

  test('bright and indexed colours, reset, several in one sequence', () => {
    const line = '\u001b[1;91ma\u001b[38;5;208mb\u001b[0mc';
    expect(styledLine(line)).toEqual([
      { ...plain, bold: true, colour: 9, text: 'a' },
      { ...plain, bold: true, colour: 208, text: 'b' },
      { ...plain, text: 'c' },
    ]);
  });

  test('an attribute that no picture shows is a mistake of ours', () => {
    expect(() => styledLine('\u001b[5mblink')).toThrow('attribute 5');
  });
});

test('xterm’s palette: the corners of the cube and the ends of the greys', () => {
  expect([16, 21, 196, 231, 232, 255].map(paletteColour)).toEqual([
    '#000000',
    '#0000ff',
    '#ff0000',
    '#ffffff',
    '#080808',
    '#eeeeee',
  ]);
});

/** Text elements as they stand: column, row, text. Throws at what is no XML as svg.ts writes it. */
function textsOf(svg: string): { x: number; y: number; text: string }[] {
  const entities: Readonly<Record<string, string>> = { '&lt;': '<', '&gt;': '>', '&amp;': '&' };
  return [...svg.matchAll(/<text x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]*)<\/text>/g)].map(([, x, y, text]) => ({
    x: (Number(x) - 10) / 8.4,
    y: (Number(y) - 23.5) / 18,
    text: text!.replaceAll(/&\w+;/g, entity => entities[entity]!),
  }));
}

function linesOf(svg: string, rows: number): string[] {
  const lines = Array.from({ length: rows }, () => '');
  for (const { x, y, text } of textsOf(svg)) {
    expect(y).toBeCloseTo(Math.round(y), 1);
    expect(x).toBeCloseTo(Math.round(x), 1);
    lines[Math.round(y)] = lines[Math.round(y)]!.padEnd(Math.round(x)) + text;
  }
  return lines.map(line => line.trimEnd());
}

const piece = fc.record({
  text: fc.string({ unit: fc.constantFrom(...'ab <>&"\'’⣿▁x '), minLength: 1, maxLength: 12 }),
  bold: fc.boolean(),
  underline: fc.boolean(),
  reverse: fc.boolean(),
  colour: fc.option(fc.integer({ min: 0, max: 255 }), { nil: undefined }),
});

test('whatever the text and its attributes: every character has its place, and the XML is read by a renderer', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(piece, { maxLength: 4 }), { minLength: 1, maxLength: 3 }), async lines => {
      const svg = svgOf(lines as Piece[][], { title: '<&>', columns: 60, rows: lines.length });
      expect(linesOf(svg, lines.length)).toEqual(
        lines.map(line =>
          line
            .map(({ text }) => text)
            .join('')
            .trimEnd(),
        ),
      );
      await pngOf(svg);
    }),
    { numRuns: 40 },
  );
});

async function picture(keys = '', columns = 100): Promise<Screen> {
  const { press, controller } = consoleOn(columns, 30, undefined, undefined, undefined, COLOUR_THEME);
  await press(keys);
  return controller.picture();
}

test.each(['', 'm', 'x', '2p', 'h', 'f'])('the screen after "%s": text and SVG say the same', async keys => {
  const screen = await picture(keys);
  const lines = styledFrame(screen.frame, screen.theme, screen.columns);
  const text = (await pictureOf('txt', screen)) as string;
  expect(text).toBe(textOf(lines));
  const svg = (await pictureOf('svg', screen)) as string;
  expect(linesOf(svg, lines.length).join('\n').trimEnd()).toBe(text.trimEnd());
  expect(await pictureOf('svg', await picture(keys))).toBe(svg);
  expect(svg).not.toMatch(/href|url\(|@import|<image|<script/);
});

test('PNG: two pixels for each of the SVG, text where there is text, the same bytes each time', async () => {
  const screen = await picture();
  const lines = styledFrame(screen.frame, screen.theme, screen.columns);
  const png = (await pictureOf('png', screen)) as Uint8Array;
  expect(await pictureOf('png', screen)).toEqual(png);
  const drawn = ink(png);
  expect([drawn.width, drawn.height]).toEqual([2 * (100 * 8.4 + 20), 2 * (lines.length * 18 + 20)]);
  lines.forEach((line, row) => {
    const blank = line.every(({ text, reverse }) => text.trim() === '' && !reverse);
    const colours = drawn.colours(40, 2 * (10 + row * 18) + 2, 1600, 2 * 18 - 4);
    expect(colours > 1, `row ${row}`).toBe(!blank);
  });
});

test('the ending of the name chooses', () => {
  expect(['a.svg', 'b/c.PNG', 'x.txt', 'svg', 'a.gif', ''].map(pictureKind)).toEqual([
    ...['svg', 'png', 'txt'],
    ...[undefined, undefined, undefined],
  ]);
});

describe('S', () => {
  test('writes what was there before the question, where Enter or a name says', async () => {
    const { press, pictures, screen } = consoleOn(100, 30);
    await press('m');
    const before = screen();
    expect(await press('S')).toContain('Save picture to (.svg, .png or .txt; Enter: vmitop-memory-1.svg):');
    expect(await press('\r')).toContain('picture written to vmitop-memory-1.svg');
    await press('Sa.png\r');
    expect([...pictures.keys()]).toEqual(['vmitop-memory-1.svg', 'a.png']);
    const { frame, theme, columns, title } = pictures.get('vmitop-memory-1.svg')!;
    expect(title).toBe('vmitop: memory screen');
    expect(textOf(styledFrame(frame, theme, columns)).trimEnd()).toBe(before.replaceAll(/ +$/gm, '').trimEnd());
  });

  test('says why a file could not be written', async () => {
    const { press, trouble } = consoleOn(100, 30);
    trouble.reason = 'a.svg: no space is left';
    expect(await press('Sa.svg\r')).toContain('a.svg: no space is left');
  });
});
