/**
 * What the console knows of a running host: the newest samples, the events, and a way to send commands. The console never
 * touches a `Host`; whoever runs one (in a worker thread, or a script in a test) implements this interface.
 */

import type {
  CodeAnswer,
  Command,
  CommandResult,
  EngineState,
  HostEvent,
  Sample,
  ScreenAnswer,
} from '../hypervisor/index.js';
import type { Screen } from './picture/picture.js';
import type { ConsoleConfig } from './state.js';

export interface Session {
  /** The newest sample; undefined until the first one arrives. The same object until a newer one replaces it. */
  latest(): Sample | undefined;
  /** The sample before `latest()`: rates are differences between the two. Undefined until there are two. */
  previous(): Sample | undefined;
  /**
   * Calls `listener` after anything that the other methods return has changed (a sample, events, console text, the speed).
   * Returns the function that ends the subscription.
   */
  subscribe(listener: () => void): () => void;
  /** The newest events except `console` ones, oldest first; bounded. A new array whenever it changed. */
  events(): readonly HostEvent[];
  /** COM1 output of a VM since it was added, bounded by dropping the oldest; '' for an unknown name. */
  consoleText(vm: string): string;
  /** Virtual seconds per real second, measured over the last moments; 0 while nothing moves; undefined where no time passes. */
  speed(): number | undefined;
  /** What simulating the host takes; undefined before the first message, or where nobody knows. */
  engine?(): EngineState | undefined;
  /** Sends a command; resolves when it took effect or was refused. Rejects only when the host itself is gone. */
  execute(command: Command): Promise<CommandResult>;
  /** Takes a sample now, outside the interval; it arrives through `subscribe`. */
  refresh(): void;
  /** Guest code with its translation, from a linear address on; the answer says why when there is none. Changes nothing. */
  disassemble(vm: string, linear: number): Promise<CodeAnswer>;
  /** What a VM has on its text screen now. Changes nothing. */
  screen(vm: string): Promise<ScreenAnswer>;
  /** Ends the host. Resolves when nothing runs any more. */
  close(): Promise<void>;
  /** Why the host stopped by itself (one readable line), or undefined while it runs. */
  failure?(): string | undefined;
  /** Where the samples are those of a recording: its controls. */
  readonly replay?: Replay;
}

export interface ReplayPosition {
  /** Virtual time of the sample that is shown, and of the last one, seconds since the host's start. */
  readonly seconds: number;
  readonly endSeconds: number;
  /** Seconds of the recording in a real one. */
  readonly speed: number;
  /** `cut off`: at the end of what there is, which is not the end of the session. */
  readonly state: 'plays' | 'paused' | 'ended' | 'cut off';
}

/** What can be done with a recording that is played. */
export interface Replay {
  readonly position: ReplayPosition;
  /** So many samples forward or, negative, back, as far as there are any; pauses. */
  step(count: number): void;
  /** To the sample at a virtual time, in seconds. */
  jumpTo(seconds: number): void;
  /** Times `factor`, within bounds. */
  faster(factor: number): void;
  /** Pauses, or goes on. */
  toggle(): void;
}

export interface CodeSymbol {
  readonly address: number;
  readonly name: string;
}

/** A program that the console offers to start in a guest by typing its name at the guest's shell. */
export interface GuestProgram {
  readonly name: string;
  readonly help: string;
}

/** Where `W` writes the configuration. */
export interface ConfigFile {
  readonly defaultPath: string;
  /** Says why the file could not be written; undefined when it was. */
  save(path: string, text: string): string | undefined;
}

/** Where `S` writes pictures of the screen. */
export interface SnapshotFile {
  defaultPath(screen: string): string;
  /** Resolves with why the file could not be written (a line that names it), or with undefined when it was. */
  save(path: string, screen: Screen): Promise<string | undefined>;
}

/** Contract of `runConsole(session, options)`, exported by `src/tui/app.tsx`. Resolves when the user quits. */
export interface ConsoleOptions {
  /** As it begins. `s` changes the sampling interval with a `setSampleInterval` command. */
  readonly config: ConsoleConfig;
  readonly configFile: ConfigFile;
  readonly snapshotFile: SnapshotFile;
  readonly programs: readonly GuestProgram[];
  /** Symbols of the guest kernel, ascending by address; those of another kernel are not known. */
  readonly symbols: readonly CodeSymbol[];
  /** Rejects when the host cannot be built, which ends the console with that error. */
  readonly hostStands?: Promise<void>;
  readonly stdout: NodeJS.WriteStream;
  readonly stdin: NodeJS.ReadStream;
}
