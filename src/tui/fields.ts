/** Which columns a screen shows, and the dialog that changes it, as in esxtop: a letter for each field, upper case while it is shown. */
import { SCREENS, type ScreenId } from './columns.js';
import { EXITS_COLUMNS } from './exits.js';

export interface Field {
  readonly id: string;
  readonly title: string;
  readonly help: string;
}

/** The fields of a screen in the order of their letters; none where the columns are not to be chosen. */
export function fieldsOf(screen: ScreenId): readonly Field[] {
  switch (screen) {
    case 'exits':
      return EXITS_COLUMNS;
    case 'code':
      return [];
    default:
      return SCREENS[screen].columns;
  }
}

/** Fields that are hidden, as `screen.id`. */
export type HiddenFields = ReadonlySet<string>;
const keyOf = (screen: ScreenId, { id }: Pick<Field, 'id'>): string => `${screen}.${id}`;

export const shownFields = <F extends Pick<Field, 'id'>>(
  screen: ScreenId,
  fields: readonly F[],
  hidden: HiddenFields,
): F[] => fields.filter(field => !hidden.has(keyOf(screen, field)));

/** With the field of the letter turned on or off; undefined where the letter is none. The last field stays. */
export function toggleField(screen: ScreenId, letter: string, hidden: HiddenFields): HiddenFields | undefined {
  const fields = fieldsOf(screen);
  const field = letter.length === 1 ? fields[letter.toLowerCase().charCodeAt(0) - FIRST_LETTER] : undefined;
  if (field === undefined) return undefined;
  const changed = new Set(hidden);
  if (!changed.delete(keyOf(screen, field)) && shownFields(screen, fields, hidden).length > 1) {
    changed.add(keyOf(screen, field));
  }
  return changed;
}
const FIRST_LETTER = 'a'.charCodeAt(0);

/** The dialog, and the line that asks. */
export function fieldLines(screen: ScreenId, hidden: HiddenFields): { lines: string[]; prompt: string } {
  const fields = fieldsOf(screen).map((field, index) => {
    const letter = String.fromCharCode(FIRST_LETTER + index);
    return { ...field, letter, shown: !hidden.has(keyOf(screen, field)) };
  });
  const order = fields.map(({ letter, shown }) => (shown ? letter.toUpperCase() : letter)).join('');
  const rows = fields.map(
    ({ letter, shown, title, help }) => `${shown ? '*' : ' '} ${letter.toUpperCase()}:  ${title} = ${help}`,
  );
  return {
    lines: [`Current Field order: ${order}`, '', ...rows],
    prompt: `Toggle fields with a-${fields.at(-1)?.letter ?? 'a'}, any other key to return: `,
  };
}
