/**
 * Finds the block at a machine address, and decodes it there and then if all its instructions have templates. In WebAssembly: a block
 * costs no more than the bytes of its ops this way.
 *
 *     provide(machine, mode) -> machine address of its header, or 0: `decode.ts` has to do it
 *     seek(machine, mode) -> the same, or `WALK`: the code there is executed for the first time, or is patched all the time
 *     match(at, end, root) -> machine address of the template of the instruction there; 0 not known, -1 not all there
 *     fill(template, at, delta, to) -> end of the ops written to `to`
 *     enlist(header, fresh): a block was decoded, whose header says what it is; into a place of its own for the first time if `fresh`
 */
import type { MachineMemory } from '../../memory.js';
import type { CacheLayout } from '../cache-layout.js';
import { emitEnlist } from './emit-enlist.js';
import { emitProvide, PROVIDE_LOCALS } from './emit-provide.js';
import { emitSeek, SEEK_LOCALS } from './emit-seek.js';
import { emitFill, emitMatch, FILL_LOCALS } from './emit-templates.js';
import { perLayout } from './modules.js';
import { ANY_MEMORY } from './nest.js';
import { assembleModule, Type } from './wasm-writer.js';

const I = Type.I32;
const TYPES = [
  { parameters: [I, I], results: [I] },
  { parameters: [I, I, I], results: [I] },
  { parameters: [I, I, I, I], results: [I] },
  { parameters: [I, I], results: [] },
  { parameters: [I], results: [] },
] as const;
/** Imported globals: is code walked at all? */
const GLOBALS = ['walks'] as const;

const moduleFor = perLayout(emit);

export class BlockFinder {
  readonly provide: (machine: number, mode: number) => number;
  readonly seek: (machine: number, mode: number) => number;
  readonly match: (at: number, end: number, root: number) => number;
  readonly fill: (template: number, at: number, delta: number, to: number) => number;
  readonly enlist: (header: number, fresh: number) => void;

  /**
   * `walks`: not every execution is worth a block to `seek`. `watch` hears of a machine page that gets its first block:
   * stores to it must not go unseen from now on.
   */
  constructor(memory: MachineMemory, layout: CacheLayout, walks: boolean, watch: (mpn: number) => void) {
    const imports = { memory: memory.wasm, watch, walks: Number(walks) };
    const { exports } = new WebAssembly.Instance(moduleFor(layout), { m: imports });
    this.provide = exports['0'] as BlockFinder['provide'];
    this.match = exports['1'] as BlockFinder['match'];
    this.fill = exports['2'] as BlockFinder['fill'];
    this.enlist = exports['3'] as BlockFinder['enlist'];
    this.seek = exports['4'] as BlockFinder['seek'];
  }
}

function emit(layout: CacheLayout): Uint8Array<ArrayBuffer> {
  return assembleModule({
    ...ANY_MEMORY,
    types: TYPES,
    imports: [{ name: 'watch', type: 4 }],
    globals: GLOBALS,
    table: false,
    functions: [
      { type: 0, locals: [{ count: PROVIDE_LOCALS, type: I }], code: emitProvide(layout) },
      { type: 1, locals: [{ count: 1, type: I }], code: emitMatch(layout) },
      { type: 2, locals: [{ count: FILL_LOCALS, type: I }], code: emitFill() },
      { type: 3, locals: [{ count: 4, type: I }], code: emitEnlist(layout) },
      { type: 0, locals: [{ count: SEEK_LOCALS, type: I }], code: emitSeek(layout, GLOBALS.indexOf('walks')) },
    ],
  });
}
