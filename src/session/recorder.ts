/** Writes a session to a file while it goes on: every line is in the file before the next thing happens. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { type HostConfig, linesOf, type RecordedNews, RecordingWriter } from '../hypervisor/index.js';

/** What has happened since the call before. */
export interface News extends RecordedNews {
  readonly nowCycles: number;
}

export class Recorder {
  readonly #writer = new RecordingWriter();
  readonly #descriptor: number;
  #nowCycles = 0;
  #closed = false;
  #samples = 0;
  #commands = 0;

  /** Creates or empties the file. Throws what `openSync` throws. */
  constructor(path: string, config: HostConfig) {
    this.#descriptor = openSync(path, 'w');
    this.#write([this.#writer.header(config)]);
  }

  /** Samples and commands so far. */
  get counts(): { readonly samples: number; readonly commands: number } {
    return { samples: this.#samples, commands: this.#commands };
  }

  take({ nowCycles, ...news }: News): void {
    if (this.#closed) return;
    this.#samples += news.samples.length;
    this.#commands += news.commands.length;
    this.#nowCycles = nowCycles;
    this.#write(linesOf(this.#writer, news));
  }

  /** Ends the recording where the last news left it. */
  close(): void {
    if (this.#closed) return;
    this.#write([this.#writer.end(this.#nowCycles)]);
    this.#closed = true;
    closeSync(this.#descriptor);
  }

  #write(lines: readonly string[]): void {
    if (lines.length > 0) writeSync(this.#descriptor, `${lines.join('\n')}\n`);
  }
}
