/** A console in a pseudo-terminal, as a person has it, with a clock at both ends: what it takes, and how soon it answers. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import pty from '@lydell/node-pty';
import xterm from '@xterm/headless';

const VMITOP = fileURLToPath(new URL('../../bin/vmitop.js', import.meta.url));

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

/** Run time of a process's threads so far, ms. */
export interface ThreadTimes {
  /** The thread that draws and reads keys. */
  readonly console: number;
  /** All others: the host, its compiler, and what V8 and libuv do for any of them. */
  readonly others: number;
}

export class MeasuredConsole {
  readonly #terminal: pty.IPty;
  readonly #listeners = new Set<() => void>();
  readonly #size: Size;
  readonly #chunks: string[] = [];
  /** What came since the last key. */
  #text = '';
  #bytes = 0;
  #end: string | undefined;

  constructor(args: readonly string[], size: Size) {
    this.#size = size;
    const { columns, rows } = size;
    const { CI: _ci, CONTINUOUS_INTEGRATION: _continuous, NO_COLOR: _colour, ...env } = process.env;
    this.#terminal = pty.spawn(process.execPath, [VMITOP, ...args], {
      name: 'xterm-256color',
      cols: columns,
      rows,
      env: { ...env, TERM: 'xterm-256color', LANG: 'C.UTF-8' },
    });
    this.#terminal.onData(data => {
      this.#bytes += Buffer.byteLength(data);
      this.#chunks.push(data);
      this.#text += data;
      this.#wake();
    });
    this.#terminal.onExit(({ exitCode }) => {
      this.#end = `the console ended with code ${exitCode}: ${this.#text.slice(-500)}`;
      this.#wake();
    });
  }

  #wake(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  /** Bytes that it has written to the terminal so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The lines that a person sees now. */
  async screen(): Promise<string> {
    const { columns, rows } = this.#size;
    const terminal = new xterm.Terminal({ cols: columns, rows, allowProposedApi: true });
    await new Promise<void>(resolve => {
      terminal.write(this.#chunks.join(''), resolve);
    });
    const lines = Array.from({ length: rows }, (_, y) => terminal.buffer.active.getLine(y)?.translateToString(true));
    terminal.dispose();
    return lines.join('\n');
  }

  /** Linux's counts; throws where /proc does not tell. */
  threadTimes(): ThreadTimes {
    const { pid } = this.#terminal;
    const tasks = `/proc/${pid}/task`;
    let console = 0;
    let others = 0;
    for (const task of readdirSync(tasks)) {
      const ms = Number(readFileSync(`${tasks}/${task}/schedstat`, 'utf8').split(' ')[0]) / 1e6;
      if (Number(task) === pid) console += ms;
      else others += ms;
    }
    return { console, others };
  }

  send(keys: string): void {
    this.#terminal.write(keys);
  }

  /** Sends keys and waits for words in what is written afterwards; the time between in ms. Rejects after `timeoutMs`. */
  async answer(keys: string, words: string, timeoutMs = 10_000): Promise<number> {
    this.#text = '';
    const start = performance.now();
    if (keys !== '') this.send(keys);
    await this.#until(() => this.#text.includes(words), words, timeoutMs);
    return performance.now() - start;
  }

  #until(seen: () => boolean, words: string, timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = (error?: Error): void => {
        this.#listeners.delete(look);
        clearTimeout(timer);
        if (error) reject(error);
        else resolve();
      };
      const look = (): void => {
        if (seen()) done();
        else if (this.#end !== undefined) done(new Error(this.#end));
      };
      const timer = setTimeout(() => {
        void this.screen().then(screen => {
          done(new Error(`the console did not show "${words}" in ${timeoutMs / 1000} s:\n${screen}`));
        });
      }, timeoutMs);
      this.#listeners.add(look);
      look();
    });
  }

  close(): void {
    if (this.#end === undefined) this.#terminal.kill('SIGKILL');
  }
}
