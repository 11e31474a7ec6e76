/** The help text, made from the tables of keys and columns. */
import { CAUSES, type CauseSpec, COUNTERS, type Sample } from '../hypervisor/index.js';
import { ACTIVITY_COLUMNS } from './activity.js';
import { CODE_COLUMNS } from './code.js';
import type { ScreenId } from './columns.js';
import { EXITS_COLUMNS } from './exits.js';
import { bindingsOn, type KeyBinding } from './keys.js';
import { columnsOf, hasRows, SCREENS } from './screens.js';

const GROUPS = { vm: 'Virtual machines', rows: 'Rows', general: 'General', replay: 'In a replay' } as const;
const KEY_WIDTH = 8;
const ENTRIES_IN_LINE = 4;

/** Keys of esxtop that mean something else here, or nothing. */
const ABSENT = [
  { keys: 'v', help: 'disk-VM screen: that is D, v turns VMI on or off, on every screen' },
  { keys: 'p', help: 'power management: p is the power of the VM' },
] as const;

interface Titled {
  readonly title: string;
  readonly help: string;
}

/** What a screen is called, and its columns. */
function columnsHelp(screen: ScreenId): { readonly title: string; readonly columns: readonly Titled[] } {
  switch (screen) {
    case 'exits':
      return { title: 'exits', columns: EXITS_COLUMNS };
    case 'code':
      return { title: 'translation', columns: CODE_COLUMNS };
    case 'activity':
      return { title: 'activity', columns: ACTIVITY_COLUMNS };
    default:
      return { title: SCREENS[screen].title, columns: columnsOf(screen) };
  }
}

/** Keys that need few words, some in a line behind what they are about. */
function inLines(about: string, entries: readonly KeyBinding[]): string[] {
  const lines: string[] = [];
  for (let from = 0; from < entries.length; from += ENTRIES_IN_LINE) {
    const words = entries.slice(from, from + ENTRIES_IN_LINE).map(({ show, help }) => `${show}:${help}`.padEnd(16));
    lines.push(`${(from === 0 ? about : '').padEnd(16)}${words.join('')}`.trimEnd());
  }
  return lines;
}

/** Lines of help for a screen, to be scrolled. */
export function helpLines(screen: ScreenId, now: Sample | undefined): string[] {
  const reachable = bindingsOn(screen);
  const empty = reachable.filter(({ shows }) => shows !== undefined && !hasRows(shows, now));
  const bindings = reachable.filter(binding => !empty.includes(binding));
  const lines = ['vmitop: these commands are there:', ''];
  for (const [group, title] of Object.entries(GROUPS)) {
    lines.push(`${title}:`);
    for (const { show, help, group: own } of bindings) if (own === group) lines.push(show.padEnd(KEY_WIDTH) + help);
    lines.push('');
  }
  const sorts = bindings.filter(binding => binding.group === 'sort');
  lines.push(...inLines('Sort by:', sorts));
  lines.push(
    ...inLines(
      'Switch display:',
      bindings.filter(binding => binding.group === 'display'),
    ),
  );
  lines.push('', 'Not on this host:');
  for (const { show, help } of empty) lines.push(`${show.padEnd(KEY_WIDTH)}${help} screen: no VM has such a device`);
  for (const { keys, help } of ABSENT) lines.push(keys.padEnd(KEY_WIDTH) + help);
  for (const { show, help, group } of bindings) if (group === 'absent') lines.push(show.padEnd(KEY_WIDTH) + help);
  const { title: screenTitle, columns } = columnsHelp(screen);
  lines.push('', `Columns of the ${screenTitle} screen:`);
  for (const { title, help } of columns) lines.push(title.padEnd(12) + help);
  if (screen === 'exits') lines.push('', ...causeLines());
  return lines;
}

/** What the rows of the exits screen stand for, and what is counted in them. */
function causeLines(): string[] {
  const lines = ['Causes, and the events that are counted for them:'];
  for (const { label, help, counters } of Object.values<CauseSpec>(CAUSES)) {
    lines.push(label.padEnd(22) + help);
    for (const name of counters) lines.push(`${' '.repeat(24)}${COUNTERS[name].help}`);
  }
  return lines;
}
