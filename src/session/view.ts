/** What a session keeps of a host for whoever looks at it: the two newest samples, the newest events, the VMs' console text. */
import type { HostEvent, Sample } from '../hypervisor/index.js';

/** Newest events that are kept. */
const EVENTS_MAX = 500;
/** Console text that is kept of each VM, characters. */
const CONSOLE_CHARS_MAX = 256 * 1024;

export class SessionView {
  readonly #console = new Map<string, string>();
  #latest: Sample | undefined;
  #previous: Sample | undefined;
  #events: readonly HostEvent[] = [];

  get latest(): Sample | undefined {
    return this.#latest;
  }

  get previous(): Sample | undefined {
    return this.#previous;
  }

  /** All but the `console` ones, oldest first; another array whenever there is a new one. */
  get events(): readonly HostEvent[] {
    return this.#events;
  }

  consoleText(vm: string): string {
    return this.#console.get(vm) ?? '';
  }

  show(sample: Sample): void {
    // A snapshot replaces what is shown, but rates over no time at all would be noise.
    if (this.#latest && sample.atCycles > this.#latest.atCycles) this.#previous = this.#latest;
    this.#latest = sample;
  }

  take(events: readonly HostEvent[]): void {
    const kept: HostEvent[] = [];
    for (const event of events) {
      if (event.kind === 'console') {
        const text = this.consoleText(event.vm) + event.text;
        this.#console.set(event.vm, text.length > CONSOLE_CHARS_MAX ? text.slice(-CONSOLE_CHARS_MAX / 2) : text);
      } else {
        kept.push(event);
      }
    }
    if (kept.length > 0) this.#events = [...this.#events, ...kept].slice(-EVENTS_MAX);
  }
}
