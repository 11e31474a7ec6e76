/**
 * What text means, and how a terminal shows it. esxtop uses reverse video and no colour; here colour only repeats what a word
 * or a figure already says, so that nothing is lost without it.
 */
export interface Theme {
  readonly heading: (text: string) => string;
  readonly selected: (text: string) => string;
  readonly key: (text: string) => string;
  /** Worth a look, and worth more than that; told apart without colour, too. */
  readonly warn: (text: string) => string;
  readonly alarm: (text: string) => string;
  readonly cursor: (text: string) => string;
  /** One of several lines of a chart. */
  readonly series: (index: number, text: string) => string;
  /** The terminal shows nothing but ASCII. */
  readonly ascii: boolean;
}

const sgr = (on: number | string, off: number) => (text: string) =>
  text === '' ? '' : `\u001b[${on}m${text}\u001b[${off}m`;
const same = (text: string): string => text;

export const PLAIN_THEME: Theme = {
  heading: same,
  selected: same,
  key: same,
  warn: same,
  alarm: same,
  cursor: same,
  series: (_, text) => text,
  ascii: false,
};

/** Written as escape sequences here: Ink's colour library drops reverse video, too, when it is told not to use colour. */
export const REVERSE_THEME: Theme = {
  heading: sgr(7, 27),
  // Not reverse video: the first row would run into the heading.
  selected: text => sgr(1, 22)(sgr(4, 24)(text)),
  key: sgr(1, 22),
  warn: sgr(4, 24),
  alarm: sgr(1, 22),
  cursor: sgr(7, 27),
  series: (_, text) => text,
  ascii: false,
};

/** Okabe and Ito's colours, which the colour-blind tell apart, as near as xterm's palette has them. */
const SERIES = [214, 117, 36, 227, 33, 202, 175] as const;

export const COLOUR_THEME: Theme = {
  ...REVERSE_THEME,
  selected: text => sgr(7, 27)(sgr(36, 39)(text)),
  // Two colours that the colour-blind tell apart (Okabe and Ito's bluish sky and orange), and bold for the stronger.
  warn: sgr('38;5;117', 39),
  alarm: text => sgr(1, 22)(sgr('38;5;214', 39)(text)),
  series: (index, text) => sgr(`38;5;${SERIES[index % SERIES.length]!}`, 39)(text),
};

/** NO_COLOR (no-color.org: any value but the empty one) takes colour away, TERM=dumb everything. */
export function themeFor(env: Readonly<Record<string, string | undefined>>): Theme {
  // As the C library chooses the character set (setlocale(3)). The Linux console has no Braille and few blocks.
  const locale = env['LC_ALL'] || env['LC_CTYPE'] || env['LANG'] || '';
  const ascii = !/utf-?8/i.test(locale) || env['TERM'] === 'linux';
  if (env['TERM'] === 'dumb') return { ...PLAIN_THEME, ascii: true };
  return { ...(env['NO_COLOR'] ? REVERSE_THEME : COLOUR_THEME), ascii };
}
