/**
 * The mouse, where the terminal reports it (xterm's ctlseqs, "Mouse Tracking": mode 1000 for presses and the wheel, 1006 for the form of the
 * reports). While it does, its own selection of text needs Shift.
 */
import type { Frame } from './frame.js';
import type { Key } from './input.js';

export const MOUSE_ON = '\u001b[?1000h\u001b[?1006h';
export const MOUSE_OFF = '\u001b[?1006l\u001b[?1000l';

export const BUTTONS = { left: 0, wheelUp: 64, wheelDown: 65 } as const;

export interface MousePress {
  readonly button: number;
  /** Cell, from 0. */
  readonly x: number;
  readonly y: number;
}

/** A report of a press, or of the wheel; undefined for releases and anything else. */
export function mousePress({ raw }: Key): MousePress | undefined {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a report begins with it
  const [, button, x, y] = /^\u001b\[<(\d+);(\d+);(\d+)M$/.exec(raw) ?? [];
  return button === undefined ? undefined : { button: Number(button), x: Number(x) - 1, y: Number(y) - 1 };
}

/** What a table's frame has where. */
export interface FrameHits {
  /** Line of the heading, and the cells of each column's title. */
  readonly heading: number;
  readonly columns: readonly { readonly id: string; readonly from: number; readonly to: number }[];
  /** Keys of the rows below it, in order. */
  readonly rows: readonly string[];
}

export type Hit =
  | { readonly kind: 'row'; readonly key: string }
  | { readonly kind: 'column'; readonly id: string }
  /** A key in the footer. */
  | { readonly kind: 'key'; readonly name: string };

// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences begin with it
const SGR = /\u001b\[[\d;]*m/g;
const FOOTER_ENTRY = /(?<=^| )(\S):[^:]*?(?= +\S+:|\s*$)/g;

/** What is in a cell of a screen without a dialog. */
export function hitOf(frame: Frame, x: number, y: number): Hit | undefined {
  if (y === frame.height - 1) {
    const footer = frame.below.at(-1)?.replaceAll(SGR, '') ?? '';
    for (const { 0: entry, 1: name, index } of footer.matchAll(FOOTER_ENTRY)) {
      if (x >= index && x < index + entry.length) return { kind: 'key', name: name! };
    }
    return undefined;
  }
  const { hits } = frame;
  if (hits === undefined) return undefined;
  if (y === hits.heading) {
    const column = hits.columns.find(({ from, to }) => x >= from && x < to);
    return column && { kind: 'column', id: column.id };
  }
  const key = hits.rows[y - hits.heading - 1];
  return y > hits.heading && key !== undefined ? { kind: 'row', key } : undefined;
}
