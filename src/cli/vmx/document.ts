/**
 * The text of a .vmx file: lines `key = "value"`, comments from `#` on, empty lines. A file is kept as its bytes (as Latin-1, one character
 * a byte), so that whatever is not changed comes out as it went in: comments, order, blanks, line ends, keys that nobody knows.
 *
 * Keys are the same in any case. In a value `|HH` stands for the character of that hexadecimal code, which is how VMware writes quotes, bars
 * and line ends. `.encoding` names the encoding of the values; without it they are UTF-8.
 */
import { UsageError } from '../../hypervisor/index.js';

const LINE = /^([ \t]*([^\s="#]+)[ \t]*=[ \t]*)("[^"]*"|[^\s"#]*)([ \t]*(?:#.*)?)$/;
const NO_CONTENT = /^[ \t]*(?:#.*)?$/;
const ENCODING = '.encoding';
const BYTE_ORDER_MARK = '\u00ef\u00bb\u00bf';
/** Characters that end a value, begin an escape or a comment, or end a line. */
const ESCAPED = /["|#\p{Cc}]/gu;

/** A line that sets a key. */
interface Setting {
  readonly key: string;
  /** Everything before the value, the value with its quotes, everything behind it. */
  readonly before: string;
  readonly quoted: string;
  readonly after: string;
}

interface Line {
  readonly text: string;
  /** `\n`, `\r\n`, or nothing at the end of the file. */
  readonly end: string;
  readonly setting: Setting | undefined;
}

export class VmxDocument {
  /** How messages name the file. */
  readonly source: string;
  readonly #lines: readonly Line[];
  readonly #at = new Map<string, number>();

  private constructor(source: string, lines: readonly Line[]) {
    this.source = source;
    this.#lines = lines;
    for (const [index, { setting }] of lines.entries()) {
      if (setting === undefined) continue;
      const first = this.#at.get(setting.key.toLowerCase());
      if (first !== undefined) {
        throw this.#complaint(index, `${setting.key} is set in line ${first + 1} already`);
      }
      this.#at.set(setting.key.toLowerCase(), index);
    }
    this.#checkEncoding();
  }

  /** Throws `UsageError` with one line that names `source`, the number of the line and the reason. */
  static parse(bytes: Uint8Array, source: string): VmxDocument {
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
    const lines = [...text.matchAll(/([^\r\n]*)(\r?\n|\r|$)/g)]
      .filter(([whole]) => whole !== '')
      .map(([, content, end], index): Line => {
        const mark = index === 0 && content!.startsWith(BYTE_ORDER_MARK) ? BYTE_ORDER_MARK : '';
        const found = LINE.exec(content!.slice(mark.length));
        if (!found) {
          if (NO_CONTENT.test(content!.slice(mark.length))) return { text: content!, end: end!, setting: undefined };
          throw new UsageError(`${source}:${index + 1}: must be key = "value"`);
        }
        const [, before, key, quoted, after] = found;
        return {
          text: content!,
          end: end!,
          setting: { key: key!, before: mark + before!, quoted: quoted!, after: after! },
        };
      });
    return new VmxDocument(source, lines);
  }

  /** Keys as they are written, in the order of the file. */
  get keys(): readonly string[] {
    return this.#lines.flatMap(({ setting }) => (setting === undefined ? [] : [setting.key]));
  }

  /** The value of a key; undefined where the file does not set it. Throws `UsageError` for bytes that are no text. */
  get(key: string): string | undefined {
    const index = this.#at.get(key.toLowerCase());
    if (index === undefined) return undefined;
    const raw = unquoted(this.#lines[index]!.setting!.quoted);
    let text: string;
    try {
      text = new TextDecoder(this.encoding, { fatal: true, ignoreBOM: true }).decode(Buffer.from(raw, 'latin1'));
    } catch (error) {
      throw new UsageError(`${this.where(key)}: ${key}: the value is not text in ${this.encoding}`, { cause: error });
    }
    return text.replaceAll(/\|([0-9A-Fa-f]{2})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)));
  }

  /** `FILE:LINE` of a key, `FILE` of one that is not there: the beginning of a message. */
  where(key: string): string {
    const index = this.#at.get(key.toLowerCase());
    return index === undefined ? this.source : `${this.source}:${index + 1}`;
  }

  /** What `.encoding` says. */
  get encoding(): string {
    const index = this.#at.get(ENCODING);
    return index === undefined ? 'UTF-8' : unquoted(this.#lines[index]!.setting!.quoted);
  }

  /**
   * The file with one value changed or, at its end, added. Throws `UsageError` for a text that the file's encoding cannot be given and for
   * a word that cannot be a key.
   */
  with(key: string, value: string): VmxDocument {
    if (!/^[^\s="#]+$/.test(key)) throw new UsageError(`${this.source}: "${key}" cannot be a key`);
    const quoted = `"${this.#encoded(key, value)}"`;
    const index = this.#at.get(key.toLowerCase());
    const lines = [...this.#lines];
    if (index !== undefined) {
      const { setting, end } = lines[index]!;
      lines[index] = lineOf({ ...setting!, quoted }, end);
    } else {
      const eol = lines.find(({ end }) => end !== '')?.end ?? '\n';
      const last = lines.at(-1);
      if (last?.end === '') lines[lines.length - 1] = { ...last, end: eol };
      lines.push(lineOf({ key, before: `${key} = `, quoted, after: '' }, eol));
    }
    return new VmxDocument(this.source, lines);
  }

  /** The bytes of the file. */
  bytes(): Uint8Array {
    return Buffer.from(this.#lines.map(({ text, end }) => text + end).join(''), 'latin1');
  }

  #encoded(key: string, value: string): string {
    const escaped = value.replaceAll(
      ESCAPED,
      character => `|${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
    );
    if (/^[\x20-\x7e]*$/.test(escaped)) return escaped;
    if (new TextDecoder(this.encoding).encoding === 'utf-8') return Buffer.from(escaped, 'utf8').toString('latin1');
    throw new UsageError(
      `${this.where(key)}: ${key}: a file in ${this.encoding} takes no more than ASCII here: ${value}`,
    );
  }

  #checkEncoding(): void {
    try {
      new TextDecoder(this.encoding);
    } catch (error) {
      throw new UsageError(`${this.where(ENCODING)}: unknown encoding "${this.encoding}"`, { cause: error });
    }
  }

  #complaint(index: number, reason: string): UsageError {
    return new UsageError(`${this.source}:${index + 1}: ${reason}`);
  }
}

const unquoted = (text: string): string => (text.startsWith('"') ? text.slice(1, -1) : text);

const lineOf = (setting: Setting, end: string): Line => ({
  text: setting.before + setting.quoted + setting.after,
  end,
  setting,
});
