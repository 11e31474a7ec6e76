/** Marks that an operator sets on figures: `%RDY > 10 warn` on a screen makes such cells stand out. */
import type { ScreenId } from './columns.js';
import { compares, OPERATORS, type Operator, type Parsed } from './expression.js';
import { columnsOf } from './screens.js';

export const LEVELS = ['warn', 'alarm'] as const;
export type Level = (typeof LEVELS)[number];

export interface Threshold {
  readonly screen: ScreenId;
  /** Title of the column. */
  readonly column: string;
  readonly operator: Operator;
  readonly value: string;
  readonly level: Level;
}

const RULE = new RegExp(`^(\\S+?)\\s*(${OPERATORS.join('|')})\\s*(\\S+)\\s+(${LEVELS.join('|')})$`);

/** `COLUMN OPERATOR VALUE warn|alarm`. */
export function parseThreshold(screen: ScreenId, text: string): Parsed<Threshold> {
  const [, title, operator, value, level] = RULE.exec(text.trim()) ?? [];
  if (title === undefined) return { ok: false, reason: `must be like %RDY > 10 warn (or alarm): ${text.trim()}` };
  const column = columnsOf(screen).find(candidate => candidate.title.toLowerCase() === title.toLowerCase());
  if (column === undefined) return { ok: false, reason: `the screen has no column ${title}` };
  return {
    ok: true,
    value: { screen, column: column.title, operator: operator as Operator, value: value!, level: level as Level },
  };
}

export const formatThreshold = ({ column, operator, value, level }: Threshold): string =>
  `${column} ${operator} ${value} ${level}`;

/** What a cell calls for; the stronger of several. `shown` is its text without blanks around. */
export function levelOf(thresholds: readonly Threshold[], title: string, shown: string): Level | undefined {
  const hit = (level: Level): boolean =>
    thresholds.some(
      rule => rule.level === level && rule.column === title && compares(shown, rule.operator, rule.value),
    );
  return hit('alarm') ? 'alarm' : hit('warn') ? 'warn' : undefined;
}
