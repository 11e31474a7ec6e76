/** A workshop as slow and as irregular as another thread may be, but the same in every run. */
import { regionBuilder } from '../src/hypervisor/machine/cpu/compile/build-region.js';
import type { RegionSource } from '../src/hypervisor/machine/cpu/compile/region-source.js';
import type { FinishedRegion, Workshop } from '../src/hypervisor/machine/cpu/compile/workshop.js';

/** Looks at the workshop, at most, before an order is finished. */
const LOOKS_MAX = 16;

export class DelayedWorkshop implements Workshop {
  open = true;
  readonly #build = regionBuilder();
  readonly #orders: { readonly number: number; readonly source: RegionSource }[] = [];
  #looks = 0;
  #random = 1;

  order(number: number, source: RegionSource): void {
    if (this.#orders.length === 0) this.#draw();
    this.#orders.push({ number, source });
  }

  take(): FinishedRegion | undefined {
    if (this.#looks > 0) this.#looks -= 1;
    if (this.#looks > 0) return undefined;
    const order = this.#orders.shift();
    if (order === undefined) return undefined;
    this.#draw();
    const built = this.#build(order.source);
    return { number: order.number, built, module: new WebAssembly.Module(built.wasm) };
  }

  #draw(): void {
    this.#random = (Math.imul(this.#random, 1103515245) + 12345) >>> 0;
    this.#looks = 1 + ((this.#random >>> 16) % LOOKS_MAX);
  }
}
