/** A progress bar on stderr, drawn only where somebody can see it move. */
const WIDTH = 24;
/** Real time between two drawings at least, ms. */
const REDRAW_MS = 80;

export class ProgressBar {
  readonly #stream: NodeJS.WriteStream;
  readonly #visible: boolean;
  #drawnMs = 0;
  #onScreen = false;

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
    this.#visible = stream.isTTY === true;
  }

  /** `fraction` from 0 to 1. Calls in quick succession draw only now and then. */
  show(fraction: number, text: string): void {
    const nowMs = Date.now();
    if (!this.#visible || nowMs - this.#drawnMs < REDRAW_MS) return;
    this.#drawnMs = nowMs;
    this.#onScreen = true;
    this.#stream.write(`\r${progressLine(fraction, text, this.#stream.columns ?? 80)}\u001B[K`);
  }

  /** Takes the bar away. */
  clear(): void {
    if (!this.#onScreen) return;
    this.#onScreen = false;
    this.#stream.write('\r\u001B[K');
  }
}

/** One line of at most `columns - 1` characters. */
export function progressLine(fraction: number, text: string, columns: number): string {
  const bounded = Math.min(1, Math.max(0, fraction));
  const filled = Math.round(bounded * WIDTH);
  const percent = `${Math.floor(bounded * 100)}%`.padStart(4);
  return `[${'#'.repeat(filled)}${'.'.repeat(WIDTH - filled)}] ${percent} ${text}`.slice(0, Math.max(0, columns - 1));
}
