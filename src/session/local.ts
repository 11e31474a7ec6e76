/**
 * A session over a host in this thread, which stands still unless it is told to go on: for who looks at a host at one virtual time, and must
 * see the same on every computer. Nothing in it knows real time.
 */
import type { CodeAnswer, Command, CommandResult, Host, HostEvent, Sample, ScreenAnswer } from '../hypervisor/index.js';
import type { Session } from '../tui/session.js';
import { Runner } from './runner.js';
import { SessionView } from './view.js';
import { WhenIdle } from './when-idle.js';

export class LocalSession implements Session {
  readonly #host: Host;
  readonly #whenIdle: WhenIdle;
  readonly #view = new SessionView();
  readonly #listeners = new Set<() => void>();
  #running = false;

  /** `typeWhenIdle`: text to type on a VM's console, once after each power-on, when its guest is idle for the first time. */
  constructor(host: Host, typeWhenIdle: Readonly<Record<string, string>>) {
    this.#host = host;
    this.#whenIdle = new WhenIdle(host, typeWhenIdle);
    this.#take();
  }

  /**
   * Runs the host to the first end of a quantum that is not before `cycles`; `onSlice` is called every few real ms, and ends the run by
   * answering `stop`.
   */
  async runTo(cycles: number, onSlice: () => 'go' | 'stop' = () => 'go'): Promise<void> {
    if (this.#host.nowCycles >= cycles) return;
    const runner = new Runner(this.#host, 'max', {
      onQuantum: events => {
        this.#take(events);
        return this.#host.nowCycles >= cycles ? 'stop' : 'go';
      },
      onSlice: () => {
        if (onSlice() === 'stop') runner.stop();
      },
    });
    this.#running = true;
    await runner.run();
    this.#running = false;
    this.refresh();
  }

  #take(events: readonly HostEvent[] = this.#host.drainEvents()): void {
    this.#whenIdle.take(events);
    this.#view.take(events);
    for (const sample of this.#host.drainSamples()) {
      this.#view.show(sample);
      this.#tell();
    }
  }

  latest(): Sample | undefined {
    return this.#view.latest;
  }

  previous(): Sample | undefined {
    return this.#view.previous;
  }

  events(): readonly HostEvent[] {
    return this.#view.events;
  }

  consoleText(vm: string): string {
    return this.#view.consoleText(vm);
  }

  speed(): undefined {
    return undefined;
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  execute(command: Command): Promise<CommandResult> {
    const result = this.#host.execute(command);
    this.#take();
    return Promise.resolve(result);
  }

  /** While the host runs there are the samples of the interval only: one more would be of a moment in real time. */
  refresh(): void {
    if (this.#running) return;
    this.#view.show(this.#host.sample());
    this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }

  disassemble(vm: string, linear: number): Promise<CodeAnswer> {
    return Promise.resolve(this.#host.disassemble(vm, linear));
  }

  screen(vm: string): Promise<ScreenAnswer> {
    return Promise.resolve(this.#host.screen(vm));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
