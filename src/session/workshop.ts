/**
 * Regions are built in a thread of their own, one for all hosts of the process, which leaves a machine's thread what it costs to copy
 * some ops and to instantiate a module. The machine does not wait for events of Node: it looks at a shared counter between two
 * stretches of guest code.
 */
import { MessageChannel, type MessagePort, receiveMessageOnPort, type Worker } from 'node:worker_threads';
import type { FinishedRegion, RegionSource, Workshop } from '../hypervisor/index.js';
import { startWorker } from './start-worker.js';

/** Words of the memory that a workshop shares with the thread. */
export const Word = {
  /** 1 once the thread has failed, or ended: what was ordered then never comes. */
  CLOSED: 0,
  /** Orders that were done so far. */
  DONE: 1,
} as const;

/** The thread's end of a workshop. */
export interface Bench {
  readonly port: MessagePort;
  readonly words: Int32Array;
}

export interface Order {
  readonly number: number;
  readonly source: RegionSource;
}

export type Done = FinishedRegion | { readonly error: unknown };

let thread: Worker | undefined;
/** Words of all workshops. */
const shared = new Set<Int32Array>();

function theThread(): Worker {
  if (thread !== undefined) return thread;
  thread = startWorker('compile-worker', {});
  const close = () => {
    thread = undefined;
    for (const words of shared) Atomics.store(words, Word.CLOSED, 1);
    shared.clear();
  };
  // Machines build their regions by themselves then.
  thread.on('error', close);
  thread.on('exit', close);
  thread.unref();
  return thread;
}

/** A workshop for one host. Orders wait for the thread to be up, as code does for its region: it is interpreted meanwhile. */
export function openWorkshop(): Workshop {
  return new ThreadWorkshop();
}

class ThreadWorkshop implements Workshop {
  readonly #words = new Int32Array(new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT));
  readonly #port: MessagePort;
  #taken = 0;

  constructor() {
    const { port1, port2 } = new MessageChannel();
    const bench: Bench = { port: port2, words: this.#words };
    theThread().postMessage(bench, [port2]);
    shared.add(this.#words);
    this.#port = port1;
    port1.unref();
  }

  get open(): boolean {
    return Atomics.load(this.#words, Word.CLOSED) === 0;
  }

  order(number: number, source: RegionSource): void {
    const order: Order = { number, source };
    this.#port.postMessage(order, [source.code.buffer as ArrayBuffer]);
  }

  /** Throws what went wrong where a region was built. */
  take(): FinishedRegion | undefined {
    if (Atomics.load(this.#words, Word.DONE) === this.#taken) return undefined;
    const { message } = receiveMessageOnPort(this.#port) as { readonly message: Done };
    this.#taken += 1;
    if ('error' in message) throw message.error;
    return message;
  }
}
