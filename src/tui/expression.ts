/**
 * Expressions over the columns of a screen, as an operator types them:
 *
 *     web*                              the name of the row fits the pattern, or holds the word
 *     %USED > 20 && !(MODE = VMI)       figures and texts as the columns show them, whatever the case
 *
 *     or         = and { '||' and }
 *     and        = not { '&&' not }
 *     not        = '!' not | '(' or ')' | comparison
 *     comparison = word [ operator word ]
 *     operator   = '>' | '>=' | '<' | '<=' | '=' | '!=' | '~'
 *
 * A word is anything without blanks, brackets and the signs above, or stands in double quotes. `~` fits a pattern, as a word alone does the name.
 */
export const OPERATORS = ['>=', '<=', '!=', '>', '<', '=', '~'] as const;
export type Operator = (typeof OPERATORS)[number];

export type Expression =
  | { readonly kind: 'or' | 'and'; readonly left: Expression; readonly right: Expression }
  | { readonly kind: 'not'; readonly of: Expression }
  | { readonly kind: 'name'; readonly pattern: string }
  | { readonly kind: 'compare'; readonly column: string; readonly operator: Operator; readonly value: string };

export type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly reason: string };

interface Token {
  readonly text: string;
  readonly kind: 'sign' | 'word';
  /** Of its first character, from 1. */
  readonly at: number;
}

const TOKEN = /\s*(?:(&&|\|\||>=|<=|!=|[><=~!()])|"([^"]*)"|([^\s"&|><=~!()]+))/y;

function tokensOf(text: string): Parsed<readonly Token[]> {
  const tokens: Token[] = [];
  TOKEN.lastIndex = 0;
  const end = text.trimEnd().length;
  while (TOKEN.lastIndex < end) {
    const from = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (match === null) return { ok: false, reason: `at ${from + 1}: cannot be read: ${text.slice(from).trim()}` };
    const [whole, sign, quoted, word] = match;
    const at = from + whole.length - whole.trimStart().length + 1;
    tokens.push({ text: sign ?? quoted ?? word!, kind: sign === undefined ? 'word' : 'sign', at });
    // `exec` has moved on; at the end of the text it would begin anew.
    TOKEN.lastIndex = from + whole.length;
  }
  return { ok: true, value: tokens };
}

/** Why a text is none, with the place; thrown inside this file only. */
class Misfit extends Error {}

class Parser {
  readonly #tokens: readonly Token[];
  readonly #columns: readonly string[];
  #next = 0;

  constructor(tokens: readonly Token[], columns: readonly string[]) {
    this.#tokens = tokens;
    this.#columns = columns;
  }

  whole(): Expression {
    const expression = this.#or();
    const rest = this.#tokens[this.#next];
    if (rest !== undefined) throw new Misfit(`at ${rest.at}: expected && or ||, not ${rest.text}`);
    return expression;
  }

  #or(): Expression {
    let left = this.#and();
    while (this.#take('||')) left = { kind: 'or', left, right: this.#and() };
    return left;
  }

  #and(): Expression {
    let left = this.#not();
    while (this.#take('&&')) left = { kind: 'and', left, right: this.#not() };
    return left;
  }

  #not(): Expression {
    if (this.#take('!')) return { kind: 'not', of: this.#not() };
    if (this.#take('(')) {
      const inner = this.#or();
      if (!this.#take(')')) throw this.#expected(')');
      return inner;
    }
    const word = this.#word('a column or a name');
    const operator = OPERATORS.find(sign => this.#take(sign));
    if (operator === undefined) return { kind: 'name', pattern: word.text };
    const column = this.#columns.find(title => title.toLowerCase() === word.text.toLowerCase());
    if (column === undefined) throw new Misfit(`at ${word.at}: the screen has no column ${word.text}`);
    return { kind: 'compare', column, operator, value: this.#word('a value').text };
  }

  #take(sign: string): boolean {
    const token = this.#tokens[this.#next];
    if (token?.kind !== 'sign' || token.text !== sign) return false;
    this.#next += 1;
    return true;
  }

  #word(what: string): Token {
    const token = this.#tokens[this.#next];
    if (token?.kind !== 'word') throw this.#expected(what);
    this.#next += 1;
    return token;
  }

  #expected(what: string): Misfit {
    const token = this.#tokens[this.#next];
    return new Misfit(
      token === undefined ? `at the end: expected ${what}` : `at ${token.at}: expected ${what}, not ${token.text}`,
    );
  }
}

/** `columns`: the titles that may be compared. */
export function parseExpression(text: string, columns: readonly string[]): Parsed<Expression> {
  const tokens = tokensOf(text);
  if (!tokens.ok) return tokens;
  try {
    return { ok: true, value: new Parser(tokens.value, columns).whole() };
  } catch (error) {
    if (error instanceof Misfit) return { ok: false, reason: error.message };
    throw error;
  }
}

/** What a row says: its name, and what a column shows of it. */
export interface Facts {
  readonly name: string;
  text(column: string): string;
}

export function holds(expression: Expression, facts: Facts): boolean {
  switch (expression.kind) {
    case 'or':
      return holds(expression.left, facts) || holds(expression.right, facts);
    case 'and':
      return holds(expression.left, facts) && holds(expression.right, facts);
    case 'not':
      return !holds(expression.of, facts);
    case 'name':
      return fits(expression.pattern, facts.name);
    case 'compare':
      return compares(facts.text(expression.column), expression.operator, expression.value);
  }
}

/** `*` and `?` as in a shell, over the whole text; a pattern without them may stand anywhere in it. Case does not matter. */
export function fits(pattern: string, text: string): boolean {
  const [small, whole] = [pattern.toLowerCase(), text.toLowerCase()];
  if (!/[*?]/.test(pattern)) return whole.includes(small);
  const escaped = small.replaceAll(/[.+^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`^${escaped.replaceAll('*', '.*').replaceAll('?', '.')}$`, 's').test(whole);
}

/** Two numbers as numbers; otherwise as texts without regard to case, of which none is greater. */
export function compares(shown: string, operator: Operator, value: string): boolean {
  if (operator === '~') return fits(value, shown);
  const [left, right] = [numberOf(shown), numberOf(value)];
  if (Number.isNaN(left) || Number.isNaN(right)) {
    const same = shown.toLowerCase() === value.toLowerCase();
    return operator === '=' ? same : operator === '!=' && !same;
  }
  switch (operator) {
    case '>':
      return left > right;
    case '>=':
      return left >= right;
    case '<':
      return left < right;
    case '<=':
      return left <= right;
    case '=':
      return left === right;
    case '!=':
      return left !== right;
  }
}

const SUFFIXES: Readonly<Record<string, number>> = { k: 1e3, M: 1e6, G: 1e9 };

/** A figure as a column shows it, `12.3k` included; NaN for a text. */
export function numberOf(shown: string): number {
  const [, digits, suffix] = /^(-?[\d.]+)([kMG]?)$/.exec(shown.trim()) ?? [];
  return digits === undefined ? Number.NaN : Number(digits) * (SUFFIXES[suffix!] ?? 1);
}

const needsQuotes = (word: string): boolean => !/^[^\s"&|><=~!()]+$/.test(word);
const written = (word: string): string => (needsQuotes(word) ? `"${word}"` : word);

/** As it could have been typed. */
export function formatExpression(expression: Expression): string {
  const inner = (part: Expression): string =>
    part.kind === 'or' || part.kind === 'and' ? `(${formatExpression(part)})` : formatExpression(part);
  switch (expression.kind) {
    case 'or':
      return `${inner(expression.left)} || ${inner(expression.right)}`;
    case 'and':
      return `${inner(expression.left)} && ${inner(expression.right)}`;
    case 'not':
      return `!${inner(expression.of)}`;
    case 'name':
      return written(expression.pattern);
    case 'compare':
      return `${written(expression.column)} ${expression.operator} ${written(expression.value)}`;
  }
}
