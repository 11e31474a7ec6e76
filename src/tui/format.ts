/** Text cells of exact width. Everything here is pure; widths count terminal cells. */

/** The first code point that terminals may draw two cells wide (Hangul Jamo). */
const FIRST_WIDE = 0x1100;

/**
 * `text` with one cell per character: control characters become `·`, characters that may be wide or combine become `?`.
 * Names and guest output come from outside, and one wide character would shift a whole row.
 */
export function printable(text: string): string {
  let out = '';
  for (const char of text) {
    const code = char.codePointAt(0)!;
    if (code < 0x20 || (code >= 0x7f && code < 0xa0)) out += '·';
    else if (code >= FIRST_WIDE && !(code >= 0x2010 && code < 0x2c00)) out += '?';
    else if (code >= 0x300 && code < 0x370) out += '?';
    else out += char;
  }
  return out;
}

/** Cuts or fills to exactly `width` cells, text at the left. */
export function left(text: string, width: number): string {
  const chars = [...text];
  return chars.length > width ? chars.slice(0, Math.max(0, width)).join('') : text + ' '.repeat(width - chars.length);
}

/** Cuts or fills to exactly `width` cells, text at the right. */
export function right(text: string, width: number): string {
  const chars = [...text];
  return chars.length > width ? chars.slice(0, Math.max(0, width)).join('') : ' '.repeat(width - chars.length) + text;
}

/** At most `width` cells; a cut is marked. */
export function cut(text: string, width: number): string {
  const chars = [...text];
  if (chars.length <= width) return text;
  return width <= 0 ? '' : `${chars.slice(0, width - 1).join('')}>`;
}

/** What stands for a figure that nobody knows. */
export const NO_FIGURE = '-';

/** With `decimals` places, however long; `-` for NaN. */
export const fixed = (value: number, decimals: number): string =>
  Number.isNaN(value) ? NO_FIGURE : value.toFixed(decimals);

/**
 * A number with `decimals` places in at most `width` cells: gives decimals up before digits, then shows `*`. A figure that
 * does not fit is never shown cut, since a cut figure is a wrong one.
 */
export function decimal(value: number, width: number, decimals = 2): string {
  for (let places = decimals; places >= 0; places--) {
    const text = fixed(value, places);
    if (text.length <= width) return text;
  }
  return '*'.repeat(Math.min(width, 3));
}

/** A count in at most five cells: 812, 12.3k, 4.56M. */
export function short(value: number): string {
  for (const [unit, size] of UNITS) {
    if (!(value >= size)) continue;
    const scaled = value / size;
    return `${scaled >= 100 ? scaled.toFixed(0) : scaled.toFixed(1)}${unit}`;
  }
  return fixed(value, value >= 100 || Number.isInteger(value) ? 0 : 1);
}
const UNITS = [
  ['G', 1e9],
  ['M', 1e6],
  ['k', 1e3],
] as const;

/** Virtual time as a clock without a date: `0:01:23`. */
export function clock(seconds: number): string {
  const whole = Math.floor(seconds);
  const two = (n: number) => String(n).padStart(2, '0');
  return `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
}

/** Uptime as esxtop writes it: `14 min`, ` 1:32`, `36 days  9:37`; a first minute, which here can take long, in seconds. */
export function uptime(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 3 : 1)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  const clockPart = `${String(hours % 24).padStart(2)}:${String(minutes % 60).padStart(2, '0')}`;
  return hours < 24 ? clockPart : `${Math.floor(hours / 24)} days ${clockPart}`;
}

/** A duration: `1.9 ms`, `2.34 s`. */
export const duration = (seconds: number): string =>
  seconds < 1 ? `${(seconds * 1000).toFixed(1)} ms` : `${fixed(seconds, 2)} s`;

/** Kilobytes as whole megabytes. */
export const megabytes = (kb: number): string => fixed(Math.round(kb / 1024), 0);
