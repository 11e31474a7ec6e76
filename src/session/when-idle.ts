/** Types a text on a VM's console, once after each power-on, when its guest is idle for the first time. */
import type { Host, HostEvent } from '../hypervisor/index.js';

export class WhenIdle {
  readonly #host: Host;
  readonly #texts: Readonly<Record<string, string>>;
  /** VMs whose guest boots, or did when it was suspended, and has not been idle since. */
  readonly #booting = new Set<string>();

  constructor(host: Host, texts: Readonly<Record<string, string>>) {
    this.#host = host;
    this.#texts = texts;
  }

  /** Call with the events of every quantum before the next one runs. */
  take(events: readonly HostEvent[]): void {
    for (const event of events) {
      if (event.kind === 'power' && event.state !== 'on') {
        this.#booting.delete(event.vm);
      } else if (event.kind === 'guest' && event.state === 'booting') {
        // Not the power-on itself: a guest that is resumed may have been idle long ago.
        this.#booting.add(event.vm);
      } else if (event.kind === 'guest' && event.state === 'idle' && this.#booting.delete(event.vm)) {
        const text = Object.hasOwn(this.#texts, event.vm) ? this.#texts[event.vm] : undefined;
        if (text !== undefined) this.#host.execute({ kind: 'type', vm: event.vm, text });
      }
    }
  }
}
