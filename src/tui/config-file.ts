/**
 * The console's configuration as a file, after esxtop's: a line of field letters for each screen, by place; then, unlike there, options as
 * `name = value`; and as the last line the delay in seconds with the key of the screen to begin with.
 *
 *     ABCDEfghIJ           1 CPU          upper case: shown; the order is that of the columns
 *     aBCdefGHijklMN       2 memory
 *     ABCdEfGhijkl         3 disk adapter
 *     AbcdeFGhIjklmnop     4 disk device
 *     aBCDEFGH             5 disk VM
 *     AbcDeFGHIJKLm        6 network
 *     GHIABJFcde           7 interrupt; 8 is power management: esxtop's alone, passed on as it came
 *     ABCDEFGHIJK          9 timer        ours
 *     ABCDEF              10 exits        ours
 *     sort cpu = used
 *     rows = 10
 *     mouse = 1
 *     mark cpu = %RDY > 10 warn
 *     1c
 *
 * A file without options is esxtop's own. Its lines are read too, by release as the number of letters tells, and have no letters for the
 * fields that only we have: these stay as they are by default.
 */
import { UsageError } from '../hypervisor/index.js';
import { DELAY_MAX_S, DELAY_MIN_S } from './actions.js';
import type { ScreenId } from './columns.js';
import { CAUSE_ORDER, EXITS_COLUMNS } from './exits.js';
import { defaultOrder, isOrder } from './fields.js';
import { screenKey } from './keys.js';
import { columnsOf } from './screens.js';
import { type ConsoleConfig, defaultConfig, SCREEN_IDS } from './state.js';
import { formatThreshold, parseThreshold, type Threshold } from './thresholds.js';

/** What each line is about; null where the screen is esxtop's alone. */
const LINES: readonly (ScreenId | null)[] = [
  ...(['cpu', 'memory', 'diskAdapter', 'diskDevice', 'diskVm'] as const),
  ...(['network', 'interrupt', null, 'timer', 'exits'] as const),
];

/** Those whose places are the same in every release of esxtop. */
const ESXTOP_LINES = 8;

/** What is written for them when nobody knows better: the letters of a release whose files are known, by place. */
const FOREIGN_LINES: Readonly<Record<number, string>> = { 7: 'ABCDe' };

/**
 * esxtop's letters as ours, by the number of letters in a line. From 5.0 on there is LWID as the third, and some fields have been added;
 * a blank is a field that 3.5 has not.
 */
const RELEASES: Readonly<Partial<Record<ScreenId, Readonly<Record<number, string>>>>> = {
  cpu: { 8: 'abcdefgh', 10: 'ab cdefgh ' },
  diskAdapter: { 12: 'abcdefghijkl' },
  diskDevice: { 16: 'abcdefghijklmnop' },
  diskVm: { 8: 'abcdefgh' },
  // Without and with the packets' sizes, as far as captures tell.
  network: { 15: 'abcdefghijkl   ', 17: 'abcdefgh ij kl   ' },
  interrupt: { 6: 'abcdef' },
  memory: { 13: 'abcdefghijklm', 14: 'abcdefghijklm ', 17: 'ab cdefghij klm  ' },
};

export const NAME_LENGTH_MAX = 64;
export const ROWS_MAX = 1000;

/** The file's text. */
export function formatConfig(config: ConsoleConfig): string {
  const letters = LINES.map((screen, place) =>
    screen === null ? (config.foreign[place] ?? FOREIGN_LINES[place]!) : config.fields[screen],
  );
  const sorts = SCREEN_IDS.filter(screen => config.sort[screen] !== '').map(
    screen => `sort ${screen} = ${config.sort[screen]}`,
  );
  const marks = config.thresholds.map(rule => `mark ${rule.screen} = ${formatThreshold(rule)}`);
  const options = [
    ...sorts,
    `rows = ${config.rowsMax}`,
    `name = ${config.nameLength}`,
    `mouse = ${config.mouse ? 1 : 0}`,
    ...marks,
  ];
  const last = `${config.intervalMs / 1000}${screenKey(config.screen)}`;
  return `${[...letters, ...options, last].join('\n')}\n`;
}

/** Throws `UsageError` with one line that names `source`, the line and the reason. */
export function parseConfig(text: string, source: string): ConsoleConfig {
  const complaint = (line: number, reason: string) =>
    new UsageError(`configuration ${source}${line > 0 ? `:${line}` : ''}: ${reason}`);
  const lines = text.split(/\r?\n/).map(line => line.trim());
  while (lines.at(-1) === '') lines.pop();
  if (lines.length < 3)
    throw complaint(0, 'must be lines of field letters, and the delay with a screen’s key at the end');

  const last = /^(\d+(?:\.\d+)?)([A-Za-z])$/.exec(lines.pop()!);
  const seconds = Number(last?.[1]);
  if (last === null || seconds < DELAY_MIN_S || seconds > DELAY_MAX_S) {
    throw complaint(
      lines.length + 1,
      `must be a delay of ${DELAY_MIN_S} to ${DELAY_MAX_S} seconds and a screen’s key, like 5c`,
    );
  }
  // esxtop's other screens are not here: then it begins with the first one. Its disk-VM screen has another key.
  const key = last[2] === 'v' ? screenKey('diskVm') : last[2];
  const screen = SCREEN_IDS.find(id => screenKey(id) === key) ?? 'cpu';

  const ours = lines.some(line => line.includes('='));
  const base = defaultConfig();
  const fields: Record<ScreenId, string> = { ...base.fields };
  const options: Options = {
    sort: { ...base.sort },
    rowsMax: base.rowsMax,
    nameLength: base.nameLength,
    mouse: base.mouse,
    thresholds: [],
  };
  const foreign: string[] = [];
  let place = 0;
  for (const [index, line] of lines.entries()) {
    if (line.includes('=')) {
      const reason = takeOption(options, line);
      if (reason !== undefined) throw complaint(index + 1, reason);
      continue;
    }
    if (!/^[A-Za-z]+$/.test(line)) throw complaint(index + 1, `must be field letters: ${line}`);
    // What releases of esxtop have after the power management screen is not ours.
    const about = ours || place < ESXTOP_LINES ? LINES[place] : undefined;
    place += 1;
    if (about === null) foreign[place - 1] = line;
    // Nobody has told how many letters releases before 5.0 have there.
    else if (about === 'diskAdapter' && !ours && !(line.length in RELEASES.diskAdapter!)) continue;
    else if (about !== undefined) {
      const order = ours ? line : translated(about, line);
      if (order === undefined || !isOrder(about, order)) {
        throw complaint(index + 1, `must have each letter of the ${about} screen’s fields once: ${line}`);
      }
      fields[about] = order;
    }
  }
  return { screen, intervalMs: Math.round(seconds * 1000), fields, ...options, foreign };
}

/** A line of esxtop's own file in our letters; undefined for a line that no release writes. */
function translated(screen: ScreenId, line: string): string | undefined {
  const map = RELEASES[screen]?.[line.length];
  if (map === undefined) return undefined;
  if (![...line].every(letter => letter.toLowerCase().charCodeAt(0) - LETTER_A < line.length)) return undefined;
  const known = [...line].flatMap(letter => {
    const own = map[letter.toLowerCase().charCodeAt(0) - LETTER_A]!;
    return own === ' ' ? [] : [letter === letter.toLowerCase() ? own : own.toUpperCase()];
  });
  // An all-lower-case line takes the screen out of batch files, ours included.
  const off = line === line.toLowerCase();
  // In the order in which we have them by default.
  const rest = [...defaultOrder(screen)].filter(letter => !map.includes(letter.toLowerCase())).join('');
  return known.join('') + (off ? rest.toLowerCase() : rest);
}
const LETTER_A = 'a'.charCodeAt(0);

interface Options {
  sort: Record<ScreenId, string>;
  rowsMax: number;
  nameLength: number;
  mouse: boolean;
  thresholds: Threshold[];
}

/** Says what is wrong with an option, if anything is. */
function takeOption(options: Options, line: string): string | undefined {
  const sign = line.indexOf('=');
  const [name, value] = [line.slice(0, sign).trim(), line.slice(sign + 1).trim()];
  const marked = SCREEN_IDS.find(id => name === `mark ${id}`);
  if (marked !== undefined) {
    const threshold = parseThreshold(marked, value);
    if (!threshold.ok) return `${name}: ${threshold.reason}`;
    options.thresholds.push(threshold.value);
    return undefined;
  }
  const sorted = /^sort (\w+)$/.exec(name)?.[1];
  const screen = SCREEN_IDS.find(id => id === sorted);
  if (screen !== undefined) {
    if (!sortsBy(screen, value)) return `the ${screen} screen does not sort by ${value}`;
    options.sort[screen] = value;
    return undefined;
  }
  if (name === 'mouse') {
    if (value !== '0' && value !== '1') return `mouse must be 0 or 1: ${value}`;
    options.mouse = value === '1';
    return undefined;
  }
  const most = name === 'rows' ? ROWS_MAX : name === 'name' ? NAME_LENGTH_MAX : undefined;
  if (most === undefined) return `unknown option: ${name}`;
  if (!/^\d+$/.test(value) || Number(value) > most) return `${name} must be 0 to ${most}: ${value}`;
  if (name === 'rows') options.rowsMax = Number(value);
  else options.nameLength = Number(value);
  return undefined;
}

function sortsBy(screen: ScreenId, id: string): boolean {
  if (screen === 'exits') return id === CAUSE_ORDER || EXITS_COLUMNS.some(column => column.id === id);
  return columnsOf(screen).some(column => column.id === id && column.sort !== undefined);
}
