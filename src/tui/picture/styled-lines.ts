/** A frame as a terminal would show it: lines of pieces of text, each with its attributes. Every kind of picture is made from these. */
import { renderToString } from 'ink';
import { createElement } from 'react';
import { FrameView } from '../components/frame-view.js';
import type { Frame } from '../frame.js';
import type { Theme } from '../theme.js';

export interface Style {
  readonly bold: boolean;
  readonly underline: boolean;
  readonly reverse: boolean;
  /** Number in xterm's palette of 256; undefined is the terminal's own colour. */
  readonly colour: number | undefined;
}

export interface Piece extends Style {
  readonly text: string;
}

export type StyledLine = readonly Piece[];

const PLAIN: Style = { bold: false, underline: false, reverse: false, colour: undefined };
// biome-ignore lint/suspicious/noControlCharactersInRegex: it is what begins an escape sequence
const SGR = /\u001b\[([\d;]*)m/;

/** The lines of a frame, as wide as it was made for. */
export const styledFrame = (frame: Frame, theme: Theme, columns: number): StyledLine[] =>
  renderToString(createElement(FrameView, { frame, theme }), { columns }).split('\n').map(styledLine);

/** One line with escape sequences as the themes write them (ECMA-48 SGR). Attributes do not reach into the next line. */
export function styledLine(line: string): StyledLine {
  const pieces: Piece[] = [];
  let style = PLAIN;
  // Split by a pattern with one group: text and parameters by turns.
  line.split(SGR).forEach((part, index) => {
    if (index % 2 === 1) style = styleAfter(style, part);
    else if (part !== '') pieces.push({ ...style, text: part });
  });
  return pieces;
}

function styleAfter(style: Style, parameters: string): Style {
  const codes = parameters.split(';').map(Number);
  let after = style;
  for (let index = 0; index < codes.length; index++) {
    const code = codes[index]!;
    if (code === 38 && codes[index + 1] === 5) {
      after = { ...after, colour: codes[index + 2]! };
      index += 2;
    } else after = { ...after, ...changeBy(code) };
  }
  return after;
}

function changeBy(code: number): Partial<Style> {
  if (code >= 30 && code <= 37) return { colour: code - 30 };
  if (code >= 90 && code <= 97) return { colour: code - 90 + 8 };
  const change = CHANGES[code];
  if (change === undefined) throw new Error(`a theme writes the attribute ${code}, which pictures do not know`);
  return change;
}

const CHANGES: Readonly<Record<number, Partial<Style>>> = {
  0: PLAIN,
  1: { bold: true },
  4: { underline: true },
  7: { reverse: true },
  22: { bold: false },
  24: { underline: false },
  27: { reverse: false },
  39: { colour: undefined },
};

/** Without attributes, and without blanks at the ends of lines. */
export const textOf = (lines: readonly StyledLine[]): string =>
  `${lines
    .map(line =>
      line
        .map(({ text }) => text)
        .join('')
        .trimEnd(),
    )
    .join('\n')
    .trimEnd()}\n`;
