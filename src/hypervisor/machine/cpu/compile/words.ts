/** What hand-written functions over the thread's words are emitted with, beside `Nest`. */
import { Nest } from './nest.js';
import { W } from './wasm-writer.js';

export class Words extends Nest {
  and(mask: number): void {
    this.w.i32(mask);
    this.w.op(W.I32_AND);
  }

  or(): void {
    this.w.op(W.I32_OR);
  }

  add(): void {
    this.w.op(W.I32_ADD);
  }

  right(count: number): void {
    this.w.i32(count);
    this.w.op(W.I32_SHR_U);
  }

  left(count: number): void {
    this.w.i32(count);
    this.w.op(W.I32_SHL);
  }

  /** Pops a condition; the function answers `value` where it holds. */
  answerIf(value: number): void {
    this.if();
    this.answer(value);
    this.end();
  }

  answer(value: number): void {
    this.w.i32(value);
    this.w.op(W.RETURN);
  }
}
