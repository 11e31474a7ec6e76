/**
 * A screen as SVG: self-contained, its text still text. Each piece of text has its own place and length, so that columns stand under each other
 * whatever monospaced font the reader has.
 */
import type { Piece, StyledLine } from './styled-lines.js';

/** Sizes in user units, which are CSS pixels. The advance of DejaVu Sans Mono at 14 px is 8.43, that of most others 8.40. */
const FONT_SIZE = 14;
const CELL_WIDTH = 8.4;
const LINE_HEIGHT = 18;
const BASELINE = 13.5;
const MARGIN = 10;
const FONTS = "'DejaVu Sans Mono',Menlo,Consolas,'Liberation Mono',monospace";
const BACKGROUND = '#16191d';
const FOREGROUND = '#d6dae0';

/** The palette's first sixteen, of which terminals have many: these are xterm's, made brighter where they would not show on dark. */
const BASE_COLOURS = [
  ...['#2e3436', '#ef5350', '#6fbf4a', '#e0b341', '#5c9bea', '#c58af9', '#3fc1c9', '#d6dae0'],
  ...['#7a828c', '#ff7a73', '#8ee06a', '#ffd55e', '#82b6ff', '#d9a8ff', '#6fe3ea', '#ffffff'],
] as const;

/** A colour of xterm's palette: 16 basic ones, a cube of 6x6x6, 24 greys (ctlseqs, "OSC 4"; 256colres.h gives the steps). */
export function paletteColour(index: number): string {
  if (index < 16) return BASE_COLOURS[index]!;
  const hex = (...levels: readonly number[]): string =>
    `#${levels.map(level => level.toString(16).padStart(2, '0')).join('')}`;
  if (index >= 232) {
    const grey = 8 + 10 * (index - 232);
    return hex(grey, grey, grey);
  }
  const level = (step: number): number => (step === 0 ? 0 : 55 + 40 * step);
  const cube = index - 16;
  return hex(level(Math.floor(cube / 36)), level(Math.floor(cube / 6) % 6), level(cube % 6));
}

const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** Short, and without the noise of binary fractions. */
const number = (value: number): string => String(Math.round(value * 100) / 100);

export interface SvgOptions {
  /** What the picture shows, for who cannot see it. */
  readonly title: string;
  readonly columns: number;
  readonly rows: number;
}

/** The picture. Same lines, same bytes. */
export function svgOf(lines: readonly StyledLine[], { title, columns, rows }: SvgOptions): string {
  const width = number(columns * CELL_WIDTH + 2 * MARGIN);
  const height = number(rows * LINE_HEIGHT + 2 * MARGIN);
  const body = lines.flatMap((line, row) => lineElements(line, row));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>${escaped(title)}</title>`,
    `<style>text{font:${FONT_SIZE}px ${FONTS};fill:${FOREGROUND};white-space:pre}.b{font-weight:bold}.u{text-decoration:underline}</style>`,
    `<rect width="100%" height="100%" rx="6" fill="${BACKGROUND}"/>`,
    ...body,
    '</svg>',
    '',
  ].join('\n');
}

function lineElements(line: StyledLine, row: number): string[] {
  const top = MARGIN + row * LINE_HEIGHT;
  const behind: string[] = [];
  const texts: string[] = [];
  let column = 0;
  for (const piece of line) {
    const cells = [...piece.text].length;
    const x = MARGIN + column * CELL_WIDTH;
    if (piece.reverse) {
      const fill = piece.colour === undefined ? FOREGROUND : paletteColour(piece.colour);
      behind.push(
        `<rect x="${number(x)}" y="${number(top)}" width="${number(cells * CELL_WIDTH)}" height="${LINE_HEIGHT}" fill="${fill}"/>`,
      );
    }
    texts.push(...textElement(piece, x, top + BASELINE));
    column += cells;
  }
  return [...behind, ...texts];
}

/** Blanks around the text are left out, but for underlined ones, which show. */
function textElement(piece: Piece, x: number, y: number): string[] {
  const text = piece.underline ? piece.text : piece.text.trim();
  if (text.trim() === '' && !piece.underline) return [];
  const leading = piece.text.indexOf(text);
  const cells = [...text].length;
  const classes = [...(piece.bold ? ['b'] : []), ...(piece.underline ? ['u'] : [])].join(' ');
  const colour = piece.colour === undefined ? undefined : paletteColour(piece.colour);
  const fill = piece.reverse ? BACKGROUND : colour;
  const attributes = [
    `x="${number(x + leading * CELL_WIDTH)}"`,
    `y="${number(y)}"`,
    `textLength="${number(cells * CELL_WIDTH)}"`,
    ...(cells > 1 ? ['lengthAdjust="spacingAndGlyphs"'] : []),
    ...(classes === '' ? [] : [`class="${classes}"`]),
    // The style sheet would win over an attribute.
    ...(fill === undefined ? [] : [`style="fill:${fill}"`]),
    // For renderers that do not know `white-space`.
    ...(/ {2}|^ | $/.test(text) ? ['xml:space="preserve"'] : []),
  ];
  return [`<text ${attributes.join(' ')}>${escaped(text)}</text>`];
}
