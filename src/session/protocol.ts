/**
 * What the console's thread and the host's thread say to each other. Everything is plain data that structured cloning
 * carries; a message never means anything different for having been read late.
 */
import type {
  CodeAnswer,
  Command,
  CommandResult,
  EngineState,
  HostConfig,
  HostEvent,
  LoggedCommand,
  Sample,
  ScreenAnswer,
} from '../hypervisor/index.js';

/** Virtual seconds per real second at most, or as fast as the computer can. */
export type Pace = number | 'max';

/** What the worker is started with (`workerData`). */
export interface WorkerStart {
  readonly config: HostConfig;
  readonly pace: Pace;
  /** Text to type on a VM's console, once after each power-on, when its guest is idle for the first time. */
  readonly typeWhenIdle: Readonly<Record<string, string>>;
}

export type ToWorker =
  | { readonly kind: 'execute'; readonly id: number; readonly command: Command }
  /** Wants a `code` about a linear address of a VM. Changes nothing, so it is no command. */
  | { readonly kind: 'disassemble'; readonly id: number; readonly vm: string; readonly linear: number }
  /** Wants a `screen` of a VM. */
  | { readonly kind: 'screen'; readonly id: number; readonly vm: string }
  /** Wants a `snapshot` of the current state. */
  | { readonly kind: 'refresh' }
  /** Stop between two quanta, hand over what is left, answer `closed`. */
  | { readonly kind: 'close' };

export interface SuspendedVm {
  readonly vm: string;
  readonly state: Uint8Array;
}

/** What has happened since the message before, in order. */
export interface Progress {
  readonly kind: 'progress';
  readonly nowCycles: number;
  readonly samples: readonly Sample[];
  readonly events: readonly HostEvent[];
  readonly commands: readonly LoggedCommand[];
  /** VMs that were suspended, with what is to be kept of them. */
  readonly suspended: readonly SuspendedVm[];
  /** Virtual seconds per real second over the last moments. */
  readonly speed: number;
  readonly engine: EngineState;
}

/** The host is gone. `name` is the class of the error: `UsageError`, `MonitorBug` or another. */
export interface Failed {
  readonly kind: 'failed';
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
}

export type FromWorker =
  | { readonly kind: 'ready'; readonly cyclesPerSecond: number }
  | { readonly kind: 'result'; readonly id: number; readonly result: CommandResult }
  | { readonly kind: 'code'; readonly id: number; readonly answer: CodeAnswer }
  | { readonly kind: 'screen'; readonly id: number; readonly answer: ScreenAnswer }
  /** Outside the sampling interval, at the user's wish: not part of the series, so not part of a recording. */
  | { readonly kind: 'snapshot'; readonly sample: Sample }
  | Progress
  | Failed
  | { readonly kind: 'closed' };
