/** The help text, made from the tables of keys and columns. */
import { SCREENS, type ScreenId } from './columns.js';
import { KEYS, type KeyBinding } from './keys.js';

const GROUPS = { vm: 'Virtual machines', rows: 'Rows', general: 'General' } as const;
const KEY_WIDTH = 8;

/** Lines of help for a screen, to be scrolled. */
export function helpLines(screen: ScreenId): string[] {
  const bindings: readonly KeyBinding[] = KEYS;
  const inLine = (entries: readonly KeyBinding[]) =>
    entries.map(({ show, help }) => `${show}:${help}`.padEnd(16)).join('');
  const lines = ['vmitop: these commands are there:', ''];
  for (const [group, title] of Object.entries(GROUPS)) {
    lines.push(`${title}:`);
    for (const { show, help, group: own } of bindings) if (own === group) lines.push(show.padEnd(KEY_WIDTH) + help);
    lines.push('');
  }
  const sorts = bindings.filter(binding => binding.group === 'sort' && binding.screen === screen);
  lines.push(`Sort by:        ${inLine(sorts)}`.trimEnd());
  lines.push(`Switch display: ${inLine(bindings.filter(binding => binding.group === 'display'))}`.trimEnd());
  lines.push('', `Columns of the ${SCREENS[screen].title} screen:`);
  for (const { title, help } of SCREENS[screen].columns) lines.push(title.padEnd(12) + help);
  return lines;
}
