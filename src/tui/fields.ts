/**
 * Which columns a screen shows and in what order, and the dialogs that change it, as in esxtop. A screen's order is a string with the letter
 * of each of its fields: upper case while the field is shown. It is also a line of the configuration file.
 */
import { type Field, ownField, type ScreenId, type VmScreenId } from './columns.js';
import { EXITS_COLUMNS } from './exits.js';
import { SCREENS } from './screens.js';

export const EXITS_FIELDS = EXITS_COLUMNS.map(ownField);

/** What the functions here need to know of a field. */
type AnyField = Field<{ readonly id: string; readonly title: string }>;

/** The fields of a screen in the order of their letters; none where the columns are not to be chosen. */
export function fieldsOf(screen: ScreenId): readonly AnyField[] {
  switch (screen) {
    case 'exits':
      return EXITS_FIELDS;
    case 'code':
    case 'activity':
      return [];
    default:
      return SCREENS[screen].fields;
  }
}

export type FieldOrders = Readonly<Record<ScreenId, string>>;

const FIRST_LETTER = 'a'.charCodeAt(0);
const letterOf = (index: number): string => String.fromCharCode(FIRST_LETTER + index);
const indexOf = (letter: string): number => letter.toLowerCase().charCodeAt(0) - FIRST_LETTER;
const isShown = (letter: string): boolean => letter !== letter.toLowerCase();

/** The order before anybody chooses. */
export function defaultOrder(screen: ScreenId): string {
  const own = screen in SCREENS ? SCREENS[screen as VmScreenId].order : undefined;
  const letters = fieldsOf(screen).map(({ shown }, index) => (shown ? letterOf(index).toUpperCase() : letterOf(index)));
  return own ?? letters.join('');
}

/** Is `order` one of the screen: each letter of its fields once? */
export const isOrder = (screen: ScreenId, order: string): boolean =>
  [...order.toLowerCase()].sort().join('') ===
  fieldsOf(screen)
    .map((_, index) => letterOf(index))
    .join('');

/** What is shown of a screen's fields, in its order. */
export const shownColumns = <C>(fields: readonly Field<C>[], order: string): C[] =>
  [...order].filter(isShown).flatMap(letter => fields[indexOf(letter)]?.columns ?? []);

const positionOf = (letter: string, order: string): number =>
  letter.length === 1 ? order.toLowerCase().indexOf(letter.toLowerCase()) : -1;

/**
 * With the field of the letter turned on or off; undefined where the letter is none. The last field with columns stays, and one without has
 * nothing to turn on.
 */
export function toggleField(screen: ScreenId, letter: string, order: string): string | undefined {
  const at = positionOf(letter, order);
  if (at < 0) return undefined;
  const fields = fieldsOf(screen);
  if (fields[indexOf(letter)]!.columns.length === 0) return order;
  const was = order[at]!;
  const changed = order.slice(0, at) + (isShown(was) ? was.toLowerCase() : was.toUpperCase()) + order.slice(at + 1);
  return shownColumns(fields, changed).length > 0 ? changed : order;
}

/** With the field of the letter one place to the left (upper case) or to the right; undefined where the letter is none. */
export function moveField(letter: string, order: string): string | undefined {
  const at = positionOf(letter, order);
  if (at < 0) return undefined;
  const to = isShown(letter) ? at - 1 : at + 1;
  if (to < 0 || to >= order.length) return order;
  const letters = [...order];
  [letters[at], letters[to]] = [letters[to]!, letters[at]!];
  return letters.join('');
}

/** What the dialogs show, and the line that asks. */
export interface FieldDialog {
  readonly order: string;
  readonly headings: readonly string[];
  /** The marker is esxtop's: a star while the field is shown, and its letter. */
  readonly rows: readonly { readonly marker: string; readonly cells: readonly string[] }[];
  readonly prompt: string;
}

export function fieldDialog(screen: ScreenId, order: string, what: 'toggle' | 'move'): FieldDialog {
  const fields = fieldsOf(screen);
  const rows = [...order].map(letter => {
    const { title, help, columns } = fields[indexOf(letter)]!;
    const titles = columns.length === 0 ? '(not on this host)' : columns.map(column => column.title).join(' ');
    return { marker: `${isShown(letter) ? '*' : ' '} ${letter.toUpperCase()}:`, cells: [title, help, titles] };
  });
  const last = letterOf(Math.max(0, fields.length - 1));
  const prompts = {
    toggle: `Toggle fields with a-${last}, any other key to return: `,
    move: `Upper case letter moves a field left, lower case right, any other key to return: `,
  };
  return {
    order: `Current Field order: ${order}`,
    headings: ['FIELD', 'DESCRIPTION', 'COLUMNS'],
    rows,
    prompt: prompts[what],
  };
}
