/** The thread that builds regions: order after order, and each is put where its host may take it at any time (`workshop.ts`). */
import { parentPort } from 'node:worker_threads';
import { regionBuilder } from '../hypervisor/index.js';
import { type Bench, type Done, type Order, Word } from './workshop.js';

const build = regionBuilder();

function work({ number, source }: Order): Done {
  try {
    const built = build(source);
    return { number, built, module: new WebAssembly.Module(built.wasm) };
  } catch (error) {
    return { error };
  }
}

parentPort?.on('message', ({ port, words }: Bench) => {
  port.on('message', (order: Order) => {
    port.postMessage(work(order));
    Atomics.add(words, Word.DONE, 1);
  });
});
