/** What is on the text screen of a VM. */
export interface ScreenText {
  readonly ok: true;
  /** 25 lines of up to 80 characters, without blanks at their ends. */
  readonly lines: readonly string[];
  /** Undefined while it is not on the screen. */
  readonly cursor: { readonly row: number; readonly column: number } | undefined;
}

export type ScreenAnswer = ScreenText | { readonly ok: false; readonly reason: string };
