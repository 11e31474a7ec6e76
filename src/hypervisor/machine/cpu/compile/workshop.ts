/**
 * Where regions are built while the machine goes on: another thread, as a rule. When a region comes back cannot be seen in what the
 * machine does, only in how fast it does it.
 */
import type { BuiltRegion } from './build-region.js';
import type { RegionSource } from './region-source.js';

export interface FinishedRegion {
  /** What the order was given with. */
  readonly number: number;
  readonly built: BuiltRegion;
  /** The module of `built.wasm`. */
  readonly module: WebAssembly.Module;
}

export interface Workshop {
  /** Does it take orders? Not after it has failed: what was ordered then never comes. */
  readonly open: boolean;
  order(number: number, source: RegionSource): void;
  /** One that is finished and was not taken yet. Costs nearly nothing where there is none. */
  take(): FinishedRegion | undefined;
}
