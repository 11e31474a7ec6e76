/** The near end of a host that runs in a worker thread: keeps the newest samples and events, sends commands. */
import type { Worker } from 'node:worker_threads';
import {
  type CodeAnswer,
  type Command,
  type CommandResult,
  type EngineState,
  type HostConfig,
  type HostEvent,
  MonitorBug,
  type Sample,
  type ScreenAnswer,
  UsageError,
} from '../hypervisor/index.js';
import type { Session } from '../tui/session.js';
import type { Failed, FromWorker, Pace, Progress, ToWorker, WorkerStart } from './protocol.js';
import { startWorker } from './start-worker.js';
import { SessionView } from './view.js';

export interface SessionOptions {
  readonly config: HostConfig;
  /** Default: real time at most. */
  readonly pace?: Pace;
  /** Text to type on a VM's console, once after each power-on, when its guest is idle for the first time. */
  readonly typeWhenIdle?: Readonly<Record<string, string>>;
  /**
   * Sees a command before the host does, to keep what it changes of a configuration; a refusal is the answer to the command, of which the
   * host then learns nothing.
   */
  readonly keep?: (command: Command) => CommandResult;
  /** Sees everything that happened, in order and before the session's subscribers: what a recorder needs. */
  readonly onProgress?: (progress: Progress) => void;
}

/** An error of the worker as the same kind of error here. */
function revive(failed: Failed): Error {
  if (failed.name === 'UsageError') return new UsageError(failed.message);
  const error = failed.name === 'MonitorBug' ? new MonitorBug(failed.message) : new Error(failed.message);
  if (failed.stack !== undefined) error.stack = failed.stack;
  return error;
}

/** Starts a host in a worker thread. */
export class HostSession implements Session {
  /**
   * Resolves when the host stands. Rejects with `UsageError` when the configuration cannot be used, and with `MonitorBug` or
   * `Error` for anything else. Commands may be sent before.
   */
  readonly ready: Promise<void>;
  /** Resolves when the worker is gone. */
  readonly #ended: Promise<void>;
  readonly #worker: Worker;
  readonly #listeners = new Set<() => void>();
  readonly #waiting = new Map<
    number,
    { resolve(answer: CommandResult | CodeAnswer | ScreenAnswer): void; reject(error: Error): void }
  >();
  readonly #view = new SessionView();
  readonly #keep: SessionOptions['keep'];
  readonly #onProgress: ((progress: Progress) => void) | undefined;
  #speed = 0;
  #engine: EngineState | undefined;
  #nowCycles = 0;
  #nextId = 1;
  #gone = false;
  #error: Error | undefined;

  constructor(options: SessionOptions) {
    this.#keep = options.keep;
    this.#onProgress = options.onProgress;
    this.#worker = startWorker('worker', {
      workerData: {
        config: options.config,
        pace: options.pace ?? 1,
        typeWhenIdle: options.typeWhenIdle ?? {},
      } satisfies WorkerStart,
    });
    let onReady: () => void = () => {};
    let onFailed: (error: Error) => void = () => {};
    this.ready = new Promise((resolve, reject) => {
      onReady = resolve;
      onFailed = reject;
    });
    // Who only looks at `failure()` later must not die of an unhandled rejection now.
    this.ready.catch(() => {});
    this.#ended = new Promise(resolve => {
      this.#worker.on('exit', code => {
        if (code !== 0 && !this.#gone) this.#fail(new Error(`the host's thread ended with code ${code}`));
        this.#gone = true;
        onFailed(this.#error ?? new Error('the host ended before it stood'));
        resolve();
      });
    });
    this.#worker.on('error', error => {
      this.#fail(error instanceof Error ? error : new Error(String(error)));
      onFailed(this.#error!);
    });
    this.#worker.on('message', (message: FromWorker) => {
      switch (message.kind) {
        case 'ready':
          onReady();
          break;
        case 'result':
          this.#waiting.get(message.id)?.resolve(message.result);
          this.#waiting.delete(message.id);
          break;
        case 'code':
        case 'screen':
          this.#waiting.get(message.id)?.resolve(message.answer);
          this.#waiting.delete(message.id);
          break;
        case 'snapshot':
          this.#view.show(message.sample);
          this.#tell();
          break;
        case 'progress':
          this.#progress(message);
          break;
        case 'failed':
          this.#fail(revive(message));
          onFailed(this.#error!);
          break;
        case 'closed':
          this.#gone = true;
          break;
      }
    });
  }

  latest(): Sample | undefined {
    return this.#view.latest;
  }

  previous(): Sample | undefined {
    return this.#view.previous;
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  events(): readonly HostEvent[] {
    return this.#view.events;
  }

  consoleText(vm: string): string {
    return this.#view.consoleText(vm);
  }

  speed(): number {
    return this.#speed;
  }

  engine(): EngineState | undefined {
    return this.#engine;
  }

  /** Virtual time of the last message, cycles. */
  nowCycles(): number {
    return this.#nowCycles;
  }

  /** Rejects when the host is gone. */
  execute(command: Command): Promise<CommandResult> {
    const kept = this.#gone ? undefined : this.#keep?.(command);
    if (kept?.ok === false) return Promise.resolve(kept);
    return this.#ask(id => ({ kind: 'execute', id, command }));
  }

  /** Rejects when the host is gone. */
  disassemble(vm: string, linear: number): Promise<CodeAnswer> {
    return this.#ask(id => ({ kind: 'disassemble', id, vm, linear }));
  }

  /** Rejects when the host is gone. */
  screen(vm: string): Promise<ScreenAnswer> {
    return this.#ask(id => ({ kind: 'screen', id, vm }));
  }

  /** Sends a message that is answered under its `id`, by the kind of answer that it asks for. */
  #ask<T extends CommandResult | CodeAnswer | ScreenAnswer>(message: (id: number) => ToWorker): Promise<T> {
    if (this.#gone) return Promise.reject(this.#error ?? new Error('the host has been closed'));
    const id = this.#nextId++;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve: answer => resolve(answer as T), reject });
      this.#send(message(id));
    });
  }

  refresh(): void {
    if (!this.#gone) this.#send({ kind: 'refresh' });
  }

  /** Everything that happened before the end has been handed to `onProgress` when this resolves. */
  async close(): Promise<void> {
    if (!this.#gone) this.#send({ kind: 'close' });
    await this.#ended;
    for (const { reject } of this.#waiting.values()) reject(new Error('the host has been closed'));
    this.#waiting.clear();
  }

  failure(): string | undefined {
    return this.#error?.message;
  }

  /** The error behind `failure()`. */
  error(): Error | undefined {
    return this.#error;
  }

  #send(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  #progress(progress: Progress): void {
    this.#onProgress?.(progress);
    for (const sample of progress.samples) this.#view.show(sample);
    this.#view.take(progress.events);
    this.#speed = progress.speed;
    this.#engine = progress.engine;
    this.#nowCycles = progress.nowCycles;
    this.#tell();
  }

  #fail(error: Error): void {
    this.#error ??= error;
    this.#gone = true;
    for (const { reject } of this.#waiting.values()) reject(this.#error);
    this.#waiting.clear();
    this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}
