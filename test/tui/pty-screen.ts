import pty from '@lydell/node-pty';
import xterm from '@xterm/headless';

/** Runs a program in a real PTY and keeps what a person would see on an xterm screen. */
export class Tui {
  readonly #pty: pty.IPty;
  readonly #term: xterm.Terminal;
  #pending = 0;
  #raw = '';
  #listeners = new Set<() => void>();
  readonly exited: Promise<{ exitCode: number; signal?: number | undefined }>;

  constructor(
    file: string,
    args: readonly string[],
    { cols = 80, rows = 24, env = {} }: { cols?: number; rows?: number; env?: Record<string, string> } = {},
  ) {
    // is-in-ci: Ink prints only the last frame when CI or CONTINUOUS_INTEGRATION is set (even to ''), so leave both out.
    const {
      CI: _ci,
      CONTINUOUS_INTEGRATION: _ci2,
      NO_COLOR: _nc,
      FORCE_COLOR: _fc,
      VITEST: _v,
      NODE_ENV: _ne,
      ...rest
    } = process.env;
    this.#term = new xterm.Terminal({ cols, rows, allowProposedApi: true, scrollback: 1000 });
    this.#pty = pty.spawn(file, [...args], {
      name: 'xterm-256color',
      cols,
      rows,
      env: { ...rest, TERM: 'xterm-256color', COLORTERM: '', LANG: 'C.UTF-8', TZ: 'UTC', HOME: '/nonexistent', ...env },
    });
    this.#pty.onData(data => {
      this.#raw += data;
      this.#pending++;
      this.#term.write(data, () => {
        this.#pending--;
        this.#wake();
      });
    });
    this.#term.onData(reply => this.#pty.write(reply)); // answers to terminal queries (DA, cursor position, kitty)
    this.exited = new Promise(resolve =>
      this.#pty.onExit(e => {
        resolve(e);
        this.#wake();
      }),
    );
  }
  #wake() {
    for (const l of [...this.#listeners]) l();
  }
  get raw() {
    return this.#raw;
  }
  get alternate() {
    return this.#term.buffer.active.type === 'alternate';
  }
  /** The visible screen, trailing blanks and empty last lines cut. */
  screen(): string {
    const b = this.#term.buffer.active;
    const lines: string[] = [];
    for (let y = 0; y < this.#term.rows; y++) lines.push(b.getLine(b.viewportY + y)?.translateToString(true) ?? '');
    return lines.join('\n').replace(/\n+$/, '');
  }
  /** Waits until the screen fulfils the predicate, and then that nothing was written for `quietMs`. */
  async until(
    what: string | RegExp | ((screen: string) => boolean),
    { timeoutMs = 30_000, quietMs = 40 } = {},
  ): Promise<string> {
    const ok =
      typeof what === 'function' ? what : (s: string) => (typeof what === 'string' ? s.includes(what) : what.test(s));
    const end = Date.now() + timeoutMs;
    for (;;) {
      const before = this.#raw.length;
      if (this.#pending === 0 && ok(this.screen())) {
        await new Promise(r => setTimeout(r, quietMs));
        if (this.#pending === 0 && this.#raw.length === before && ok(this.screen())) return this.screen();
      } else {
        const left = end - Date.now();
        if (left <= 0)
          throw new Error(`not seen in ${timeoutMs} ms: ${String(what)}\n--- screen ---\n${this.screen()}\n---`);
        await new Promise<void>(r => {
          const t = setTimeout(done, left);
          const l = this.#listeners;
          function done() {
            clearTimeout(t);
            l.delete(done);
            r();
          }
          l.add(done);
        });
      }
    }
  }
  send(keys: string) {
    this.#pty.write(keys);
  }
  /** Sends a signal to the program. */
  kill(signal: string) {
    this.#pty.kill(signal);
  }
  resize(cols: number, rows: number) {
    this.#term.resize(cols, rows);
    this.#pty.resize(cols, rows);
  }
  close() {
    try {
      this.#pty.kill('SIGKILL');
    } catch {
      /* gone */
    }
    this.#term.dispose();
  }
}
export const key = { up: '\u001B[A', down: '\u001B[B', esc: '\u001B', enter: '\r', ctrlC: '\u0003' } as const;
