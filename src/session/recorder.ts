/** Writes a session to a file while it goes on: every line is in the file before the next thing happens. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { type HostConfig, type LoggedCommand, RecordingWriter, type Sample } from '../hypervisor/index.js';

/** What has happened since the call before, each list in order. */
export interface RecordedNews {
  readonly nowCycles: number;
  readonly samples: readonly Sample[];
  readonly commands: readonly LoggedCommand[];
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

  take({ nowCycles, samples, commands }: RecordedNews): void {
    if (this.#closed) return;
    const lines: string[] = [];
    let next = 0;
    for (const sample of samples) {
      // A sample and a command of the same cycle: the sample closed the quantum before the command took effect.
      for (; next < commands.length && commands[next]!.atCycles < sample.atCycles; next++) {
        lines.push(this.#writer.command(commands[next]!));
      }
      lines.push(this.#writer.sample(sample));
    }
    for (; next < commands.length; next++) lines.push(this.#writer.command(commands[next]!));
    this.#samples += samples.length;
    this.#commands += commands.length;
    this.#nowCycles = nowCycles;
    this.#write(lines);
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
