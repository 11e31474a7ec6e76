/** What the benchmark knows of an emulator: whether it is there, and how to run the guest on it once. */
import type { RowTime } from './rows.js';

export interface RunOptions {
  readonly imagePath: string;
  readonly memoryMib: number;
  readonly commandLine: string;
  readonly timeoutMs: number;
  /** Ends the run; what is there by then is lost. */
  readonly signal: AbortSignal;
}

export interface EmulatorRun {
  readonly rows: readonly RowTime[];
  /** What the guest said beyond its rows. */
  readonly remarks: readonly string[];
  /** Counters of the emulator itself. */
  readonly figures: Readonly<Record<string, number>>;
}

export interface Emulator {
  readonly name: string;
  /** Name and version, or undefined where it is not installed. */
  version(): string | undefined;
  /** Rejects when the emulator fails or takes too long. */
  run(options: RunOptions): Promise<EmulatorRun>;
}

export class RunFailure extends Error {}
