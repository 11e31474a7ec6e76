/** The process's streams as the commands use them. */
export interface Streams {
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
}

const CTRL_C = '\u0003';

/**
 * Hands over what is typed or piped into stdin, byte for byte. A terminal is set to raw mode until `stop`, so that the guest
 * echoes and edits; Ctrl-C stays ours.
 */
export class KeyboardInput {
  readonly #stdin: NodeJS.ReadStream;
  readonly #onData: (chunk: Buffer) => void;
  readonly #raw: boolean;

  constructor(stdin: NodeJS.ReadStream, onText: (text: string) => void, onInterrupt: () => void) {
    this.#stdin = stdin;
    this.#raw = stdin.isTTY === true;
    this.#onData = chunk => {
      const text = chunk.toString('latin1');
      const end = this.#raw ? text.indexOf(CTRL_C) : -1;
      if (end === -1) onText(text);
      else {
        if (end > 0) onText(text.slice(0, end));
        onInterrupt();
      }
    };
    if (this.#raw) stdin.setRawMode(true);
    stdin.on('data', this.#onData);
    // A stdin that cannot be read (closed by the caller) is a stdin without text.
    stdin.on('error', () => {});
    stdin.resume();
  }

  /** Restores the terminal and lets the process end. */
  stop(): void {
    this.#stdin.off('data', this.#onData);
    if (this.#raw) this.#stdin.setRawMode(false);
    this.#stdin.pause();
    this.#stdin.unref?.();
  }
}

/** Calls `onInterrupt` for SIGINT and SIGTERM until the returned function is called. */
export function onSignals(onInterrupt: () => void): () => void {
  process.on('SIGINT', onInterrupt);
  process.on('SIGTERM', onInterrupt);
  return () => {
    process.off('SIGINT', onInterrupt);
    process.off('SIGTERM', onInterrupt);
  };
}
