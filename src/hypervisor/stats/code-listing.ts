/** What a monitor tells about guest code that it has translated: plain data, for the console and the command line. */

/** A guest instruction beside what the translator made of it. */
export interface CodeLine {
  /** Linear. */
  readonly address: number;
  /** In hexadecimal, two digits a byte. */
  readonly bytes: string;
  readonly text: string;
  /** Class of the instruction in the translator's table. */
  readonly guestClass: string;
  /** Executions; undefined where nobody counts them. */
  readonly count: number | undefined;
  /** The instructions that it became, in order. */
  readonly translation: readonly string[];
}

/** `ok: false` says in one line why there is no translation to show. */
export type CodeAnswer =
  | { readonly ok: true; readonly lines: readonly CodeLine[] }
  | { readonly ok: false; readonly reason: string };

/** So many guest instructions are told at once. */
export const CODE_LINES_MAX = 256;
