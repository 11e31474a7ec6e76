/**
 * A function's code while it is emitted: the writer, how many blocks are open, so that branches can name the block that they mean,
 * and the words of the thread, whose address is the first parameter of every function that is generated for one.
 */
import { CLOCK_AT } from '../layout.js';
import { Type, W, WasmWriter } from './wasm-writer.js';

/** Local that holds the address of the thread's state words. */
const CPU = 0;

/** Least and greatest size, in WebAssembly pages, of a memory that a module made once for all hosts may be given. */
export const ANY_MEMORY = { memoryPages: 1, memoryPagesMax: 0x8000 } as const;

export class Nest {
  readonly w: WasmWriter;
  /** Open wasm blocks. */
  depth = 0;

  /** With a writer of so many bytes at first, or for code without branches that goes to a given one. */
  constructor(writer: number | WasmWriter) {
    this.w = typeof writer === 'number' ? new WasmWriter(writer) : writer;
  }

  open(type: number = Type.VOID): number {
    this.w.block(type);
    return ++this.depth;
  }

  openLoop(): number {
    this.w.loop();
    return ++this.depth;
  }

  if(type: number = Type.VOID): void {
    this.w.if(type);
    this.depth += 1;
  }

  else(): void {
    this.w.else();
  }

  end(): void {
    this.w.end();
    this.depth -= 1;
  }

  /** Branch to (or, for a loop, to the start of) the block opened as `depth`. */
  br(depth: number): void {
    this.w.br(this.depth - depth);
  }

  brIf(depth: number): void {
    this.w.brIf(this.depth - depth);
  }

  // ---- words

  /** Pushes a word in memory at an address in a local. */
  loadAt(local: number, offset: number): void {
    this.w.get(local);
    this.w.memory(W.I32_LOAD, offset, 2);
  }

  /** Stores what `value` pushes at an address in a local. */
  storeAt(local: number, offset: number, value: () => void): void {
    this.w.get(local);
    value();
    this.w.memory(W.I32_STORE, offset, 2);
  }

  // ---- state words

  loadState(word: number): void {
    this.w.get(CPU);
    this.w.memory(W.I32_LOAD, word * 4, 2);
  }

  /** Stores what `value` pushes. */
  storeState(word: number, value: () => void): void {
    this.w.get(CPU);
    value();
    this.w.memory(W.I32_STORE, word * 4, 2);
  }

  /** clock[index] += what `value` pushes as i32. */
  addToClock(index: number, value: () => void): void {
    const at = CLOCK_AT + index * 8;
    this.w.get(CPU);
    this.w.get(CPU);
    this.w.memory(W.F64_LOAD, at, 3);
    value();
    this.w.op(W.F64_CONVERT_I32_S);
    this.w.op(W.F64_ADD);
    this.w.memory(W.F64_STORE, at, 3);
  }
}
