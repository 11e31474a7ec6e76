/** From what a region is made of to the bytes of its module. */
import { RegionEmitter } from './emit-region.js';
import { GLOBALS, LOCALS, opsGlobal, TYPES } from './frame.js';
import { planRegion } from './region-plan.js';
import type { RegionSource } from './region-source.js';
import { assembleModule } from './wasm-writer.js';

/** Blocks are named by their numbers in the source. */
export interface BuiltRegion {
  readonly wasm: Uint8Array<ArrayBuffer>;
  /** The block of each entry. */
  readonly entries: readonly number[];
  /** The blocks whose ops helpers execute: of each an imported global says where they begin. */
  readonly opsBlocks: readonly number[];
}

export type BuildRegion = (source: RegionSource) => BuiltRegion;

/** Answers what builds regions, one after the other. */
export function regionBuilder(): BuildRegion {
  const emitter = new RegionEmitter();
  return source => {
    const plan = planRegion(source);
    const { code, opsStarts } = emitter.emit(source, plan);
    const wasm = assembleModule({
      types: TYPES,
      imports: [],
      globals: [...GLOBALS, ...opsStarts.map((_, number) => opsGlobal(number))],
      memoryPages: source.memoryPages,
      functions: [{ type: 0, locals: LOCALS, code }],
    });
    const numbers = new Map(plan.nodes.map((node, number) => [node.block.start, number]));
    return {
      wasm,
      entries: plan.entries.map(node => numbers.get(node.block.start)!),
      opsBlocks: opsStarts.map(start => numbers.get(start)!),
    };
  };
}
