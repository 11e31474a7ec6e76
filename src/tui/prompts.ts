/** What the console asks for on its message line, and what it does with answers that cannot be used. */
import { parseCount, parseDelay } from './actions.js';
import { parsePlace } from './code.js';
import type { ScreenId } from './columns.js';
import { type Expression, parseExpression } from './expression.js';
import { printable } from './format.js';
import type { Screen } from './picture/picture.js';
import { EVERY_ROW, type RowFilter } from './rows.js';
import type { CodeSymbol, ConfigFile, SnapshotFile } from './session.js';
import { parseThreshold, type Threshold } from './thresholds.js';

/** What asking needs of the console; the controller implements it. */
export interface Asker {
  say(text: string, alarm?: boolean): void;
  /** Asks for a line of text; without an answer `accept` is not called. */
  prompt(label: string, accept: (text: string) => void): void;
}

interface Refusal {
  readonly ok: false;
  readonly reason: string;
}

/** Asks, and says why an answer is none. */
function askFor<A extends { readonly ok: true }>(
  asker: Asker,
  label: string,
  parse: (text: string) => Refusal | A,
  accept: (answer: A) => void,
): void {
  asker.prompt(label, text => {
    const answer = parse(text);
    if (answer.ok) accept(answer);
    else asker.say(answer.reason, true);
  });
}

/** A whole number of at most `most`. */
export const askCount = (asker: Asker, label: string, most: number, accept: (count: number) => void): void =>
  askFor<{ ok: true; count: number }>(
    asker,
    label,
    text => parseCount(text, most),
    ({ count }) => accept(count),
  );

export const askDelay = (asker: Asker, intervalMs: number, accept: (ms: number) => void): void =>
  askFor<{ ok: true; ms: number }>(asker, `Change delay from ${intervalMs / 1000} to: `, parseDelay, ({ ms }) =>
    accept(ms),
  );

export const askPlace = (asker: Asker, symbols: readonly CodeSymbol[], accept: (address: number) => void): void =>
  askFor<{ ok: true; address: number }>(
    asker,
    'Address (hexadecimal) or symbol: ',
    text => parsePlace(text, symbols),
    ({ address }) => accept(address),
  );

/** Which group to show alone; all, and with them what was dropped from view, for 0. */
export const askGroup = (asker: Asker, exists: (gid: number) => boolean, accept: (filter: RowFilter) => void): void =>
  askCount(asker, 'Show the group with GID (0: all): ', Number.MAX_SAFE_INTEGER, gid => {
    if (gid === 0) accept(EVERY_ROW);
    else if (exists(gid)) accept({ ...EVERY_ROW, gid });
    else asker.say(`no group has the GID ${gid}`, true);
  });

/** Which rows to show: an expression, or undefined for all. */
export const askExpression = (
  asker: Asker,
  columns: readonly string[],
  accept: (expression: Expression | undefined) => void,
): void =>
  asker.prompt('Show rows that fit (web*, or %USED > 20 && MODE = VMI; empty: all): ', typed => {
    if (typed.trim() === '') {
      accept(undefined);
      return;
    }
    const parsed = parseExpression(typed, columns);
    if (parsed.ok) accept(parsed.value);
    else asker.say(printable(parsed.reason), true);
  });

/** What to look for; Enter alone looks for the same again. */
export const askWords = (asker: Asker, before: string, accept: (words: string) => void): void =>
  asker.prompt(before === '' ? 'Search: ' : `Search (Enter: ${printable(before)}): `, typed => {
    const words = typed.trim() === '' ? before : typed.trim();
    if (words !== '') accept(words);
  });

/** A threshold of a screen, or none of them any more: then undefined. */
export const askThreshold = (
  asker: Asker,
  screen: ScreenId,
  accept: (threshold: Threshold | undefined) => void,
): void =>
  asker.prompt('Mark figures (like %RDY > 10 warn, or alarm; empty: none on this screen): ', typed => {
    if (typed.trim() === '') {
      accept(undefined);
      return;
    }
    const parsed = parseThreshold(screen, typed);
    if (parsed.ok) accept(parsed.value);
    else asker.say(printable(parsed.reason), true);
  });

/** Where to write the configuration; Enter alone is the default file, as in esxtop. */
export const askSave = (asker: Asker, { defaultPath, save }: ConfigFile, text: () => string): void =>
  asker.prompt(`Save config file to (Default to : ${defaultPath}): `, typed => {
    const path = typed.trim() === '' ? defaultPath : typed.trim();
    const reason = save(path, text());
    if (reason === undefined) asker.say(`configuration written to ${printable(path)}`);
    else asker.say(`${printable(path)}: ${reason}`, true);
  });

/** Where to write a picture of the screen as it was before the question; Enter alone is the default file. */
export function askSnapshot(asker: Asker, file: SnapshotFile, name: string, screen: Screen): void {
  const path = file.defaultPath(name.toLowerCase().replaceAll(' ', '-'));
  asker.prompt(`Save picture to (.svg, .png or .txt; Enter: ${path}): `, typed => {
    const chosen = typed.trim() === '' ? path : typed.trim();
    void file.save(chosen, screen).then(reason => {
      if (reason === undefined) asker.say(`picture written to ${printable(chosen)}`);
      else asker.say(printable(reason), true);
    });
  });
}
