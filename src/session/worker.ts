/** The host's thread: runs a host at its pace, takes commands between quanta, posts what happened. */
import { performance } from 'node:perf_hooks';
import { parentPort, workerData } from 'node:worker_threads';
import { createHost, type Host, type HostEvent, UsageError } from '../hypervisor/index.js';
import type { Failed, FromWorker, SuspendedVm, ToWorker, WorkerStart } from './protocol.js';
import { Runner } from './runner.js';
import { WhenIdle } from './when-idle.js';
import { openWorkshop } from './workshop.js';

/** Shortest and longest real time between two messages of progress, ms. */
const REPORT_MS_MIN = 20;
const REPORT_MS_MAX = 250;

class HostThread {
  readonly #host: Host;
  readonly #runner: Runner;
  readonly #whenIdle: WhenIdle;
  readonly #post: (message: FromWorker) => void;
  #events: HostEvent[] = [];
  #suspended: SuspendedVm[] = [];
  #commandsPosted = 0;
  #reportedMs = 0;

  constructor(start: WorkerStart, post: (message: FromWorker) => void) {
    this.#post = post;
    this.#host = createHost(start.config, openWorkshop());
    this.#whenIdle = new WhenIdle(this.#host, start.typeWhenIdle);
    this.#runner = new Runner(this.#host, start.pace, {
      onQuantum: events => {
        this.#take(events);
        return 'go';
      },
      onSlice: () => this.#report(false),
    });
    this.#take(this.#host.drainEvents());
    post({ kind: 'ready', cyclesPerSecond: this.#host.cyclesPerSecond });
    // Something to see at once: the first quantum of a host whose guests boot takes a while.
    post({ kind: 'snapshot', sample: this.#host.sample() });
  }

  /** Until `close`. */
  async run(): Promise<void> {
    await this.#runner.run();
    this.#report(true);
    this.#post({ kind: 'closed' });
  }

  receive(message: ToWorker): void {
    switch (message.kind) {
      case 'execute':
        this.#post({ kind: 'result', id: message.id, result: this.#host.execute(message.command) });
        this.#take(this.#host.drainEvents());
        break;
      case 'disassemble':
        this.#post({
          kind: 'code',
          id: message.id,
          answer: this.#aboutVm(() => this.#host.disassemble(message.vm, message.linear)),
        });
        break;
      case 'screen':
        this.#post({ kind: 'screen', id: message.id, answer: this.#aboutVm(() => this.#host.screen(message.vm)) });
        break;
      case 'refresh':
        // Samples that are due go first: the receiver sees time move forward only.
        this.#report(true);
        this.#post({ kind: 'snapshot', sample: this.#host.sample() });
        break;
      case 'close':
        this.#runner.stop();
        break;
    }
  }

  /** The VM may have been removed since somebody looked at it. */
  #aboutVm<T>(look: () => T): T | { readonly ok: false; readonly reason: string } {
    try {
      return look();
    } catch (error) {
      if (error instanceof UsageError) return { ok: false, reason: error.message };
      throw error;
    }
  }

  #take(events: readonly HostEvent[]): void {
    for (const event of events) {
      this.#events.push(event);
      if (event.kind !== 'power' || event.state !== 'suspended') continue;
      const state = this.#host.suspendedState(event.vm);
      if (state !== undefined) this.#suspended.push({ vm: event.vm, state });
    }
    this.#whenIdle.take(events);
  }

  #report(all: boolean): void {
    const nowMs = performance.now();
    const sinceMs = nowMs - this.#reportedMs;
    if (!all && sinceMs < REPORT_MS_MIN) return;
    const samples = this.#host.drainSamples();
    const commands = this.#host.commandLog.slice(this.#commandsPosted);
    const news = samples.length + commands.length + this.#events.length > 0;
    if (!all && !news && sinceMs < REPORT_MS_MAX) return;
    this.#commandsPosted += commands.length;
    const events = this.#events;
    const suspended = this.#suspended;
    this.#events = [];
    this.#suspended = [];
    this.#reportedMs = nowMs;
    const nowCycles = this.#host.nowCycles;
    const { engine } = this.#host;
    const { speed } = this.#runner;
    this.#post({ kind: 'progress', nowCycles, samples, events, commands, suspended, speed, engine });
  }
}

const failure = (error: unknown): Failed =>
  error instanceof Error
    ? { kind: 'failed', name: error.name, message: error.message, stack: error.stack }
    : { kind: 'failed', name: 'Error', message: String(error), stack: undefined };

const port = parentPort;
if (port) {
  const post = (message: FromWorker): void => port.postMessage(message);
  try {
    const thread = new HostThread(workerData as WorkerStart, post);
    port.on('message', (message: ToWorker) => {
      try {
        thread.receive(message);
      } catch (error) {
        post(failure(error));
        port.close();
      }
    });
    await thread.run();
  } catch (error) {
    post(failure(error));
  }
  port.close();
}
