/**
 * Lines through points, in cells of Braille: each has two by four dots (Unicode 15, chapter 21.1, "Braille Patterns": U+2800 plus a bit for each dot).
 * Without Unicode a cell is a mark.
 */
import type { Moment } from './history.js';

/** Bits of the dots of a cell, by row and column. */
const DOTS = [
  [0x01, 0x08],
  [0x02, 0x10],
  [0x04, 0x20],
  [0x40, 0x80],
] as const;
const [DOT_ROWS, DOT_COLUMNS] = [4, 2];

export interface PlotCell {
  readonly text: string;
  /** Index of the series whose line is here, the last one of several. */
  readonly series: number | undefined;
}

export interface PlotOptions {
  /** Cells. */
  readonly width: number;
  readonly height: number;
  /** Time at the left and right edge, seconds. */
  readonly from: number;
  readonly to: number;
  /** Value at the upper edge; 0 is at the lower one. */
  readonly top: number;
  readonly ascii: boolean;
}

/** Rows of cells, from above. A line goes from point to point, and is broken where there is none. */
export function plot(series: readonly (readonly Moment[])[], options: PlotOptions): PlotCell[][] {
  const { width, height, from, to, top, ascii } = options;
  const [dotsWide, dotsHigh] = [width * DOT_COLUMNS, height * DOT_ROWS];
  const bits = Array.from({ length: height }, () => new Uint8Array(width));
  const owner = Array.from({ length: height }, () => new Array<number | undefined>(width));
  const set = (x: number, y: number, index: number): void => {
    const [column, row] = [x >> 1, y >> 2];
    bits[row]![column]! |= DOTS[y & 3]![x & 1]!;
    owner[row]![column] = index;
  };
  const place = ({ seconds, value }: Moment): { x: number; y: number } | undefined => {
    const x = Math.round(((seconds - from) / (to - from)) * (dotsWide - 1));
    if (Number.isNaN(value) || x < 0 || x >= dotsWide) return undefined;
    const y = Math.round((1 - Math.min(1, Math.max(0, value / top))) * (dotsHigh - 1));
    return { x, y };
  };
  series.forEach((moments, index) => {
    let last: { x: number; y: number } | undefined;
    for (const moment of moments) {
      const point = place(moment);
      if (point !== undefined) {
        if (last === undefined) set(point.x, point.y, index);
        else line(last, point, (x, y) => set(x, y, index));
      }
      last = point;
    }
  });
  return bits.map((row, y) =>
    [...row].map((cell, x): PlotCell => {
      const drawn = owner[y]![x];
      if (cell === 0) return { text: ' ', series: undefined };
      return { text: ascii ? '*' : String.fromCodePoint(0x2800 + cell), series: drawn };
    }),
  );
}

/** Every dot between two, ends included (Bresenham 1965). */
function line(a: { x: number; y: number }, b: { x: number; y: number }, dot: (x: number, y: number) => void): void {
  const [dx, dy] = [Math.abs(b.x - a.x), -Math.abs(b.y - a.y)];
  const [stepX, stepY] = [a.x < b.x ? 1 : -1, a.y < b.y ? 1 : -1];
  let { x, y } = a;
  for (let error = dx + dy; ; ) {
    dot(x, y);
    if (x === b.x && y === b.y) return;
    const twice = 2 * error;
    if (twice >= dy) {
      error += dy;
      x += stepX;
    }
    if (twice <= dx) {
      error += dx;
      y += stepY;
    }
  }
}
