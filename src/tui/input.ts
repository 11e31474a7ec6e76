/**
 * Bytes of a terminal in raw mode, cut into keys. The console reads its input itself and not through Ink: an attached guest
 * must get exactly the bytes that were typed, and a chunk with several keys must not count as one.
 */
export interface Key {
  /** A printable character, or a name: `up`, `enter`, `ctrl-l`, `escape`, `mouse` ...; `unknown` for other sequences. */
  readonly name: string;
  /** What the terminal sent. */
  readonly raw: string;
}

const ESC = '\u001b';
/** Reports of the mouse begin so (`mouse.ts`). */
const MOUSE = `${ESC}[<`;

/** Sequences of xterm, in normal and application cursor mode, and of the Linux console. */
const SEQUENCES: Readonly<Record<string, string>> = {
  '[A': 'up',
  '[B': 'down',
  '[C': 'right',
  '[D': 'left',
  OA: 'up',
  OB: 'down',
  OC: 'right',
  OD: 'left',
  '[H': 'home',
  '[F': 'end',
  OH: 'home',
  OF: 'end',
  '[1~': 'home',
  '[4~': 'end',
  '[5~': 'pageup',
  '[6~': 'pagedown',
  '[3~': 'delete',
};

const CONTROLS: Readonly<Record<string, string>> = {
  '\r': 'enter',
  '\n': 'enter',
  '\t': 'tab',
  '\b': 'backspace',
  '\u007f': 'backspace',
  ' ': 'space',
  '\u001d': 'ctrl-]',
};

function controlName(char: string): string {
  const named = CONTROLS[char];
  if (named) return named;
  const code = char.charCodeAt(0);
  return code >= 1 && code <= 26 ? `ctrl-${String.fromCharCode(code + 96)}` : code < 0x20 ? 'unknown' : char;
}

/** Length of the escape sequence at the start of `text`; 0 when its end has not arrived yet. */
function sequenceLength(text: string): number {
  const intro = text[1];
  if (intro === undefined) return 0;
  if (intro === 'O') return text.length >= 3 ? 3 : 0;
  if (intro !== '[') return 2;
  for (let i = 2; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code >= 0x40 && code <= 0x7e) return i + 1;
    if (code < 0x20) return i;
  }
  return 0;
}

/**
 * Keys of a chunk, and the bytes of a sequence that it ends in the middle of. A lone ESC is such an end: the caller waits a
 * moment for the rest and then calls `flushKeys`.
 */
export function splitKeys(chunk: string): { keys: Key[]; rest: string } {
  const keys: Key[] = [];
  let text = chunk;
  while (text !== '') {
    if (text[0] === ESC) {
      const length = sequenceLength(text);
      if (length === 0) return { keys, rest: text };
      const raw = text.slice(0, length);
      keys.push({ name: raw.startsWith(MOUSE) ? 'mouse' : (SEQUENCES[raw.slice(1)] ?? 'unknown'), raw });
      text = text.slice(length);
    } else {
      const char = String.fromCodePoint(text.codePointAt(0)!);
      keys.push({ name: controlName(char), raw: char });
      text = text.slice(char.length);
    }
  }
  return { keys, rest: '' };
}

/** Nothing followed: the ESC was the key of that name. */
export function flushKeys(rest: string): Key[] {
  if (rest === '') return [];
  return [{ name: 'escape', raw: ESC }, ...splitKeys(rest.slice(1)).keys];
}
