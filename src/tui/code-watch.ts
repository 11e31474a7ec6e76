/** Keeps the translation that the console shows up to date: one question to the host at a time, the newest wish next. */
import type { CodeAnswer } from '../hypervisor/index.js';
import type { Session } from './session.js';

interface Wish {
  readonly vm: string;
  readonly address: number;
}

const same = (a: Wish | undefined, b: Wish): boolean => a?.vm === b.vm && a.address === b.address;

export class CodeWatch {
  readonly #session: Session;
  readonly #changed: () => void;
  #answered: { readonly wish: Wish; readonly answer: CodeAnswer } | undefined;
  #asking = false;
  #next: Wish | undefined;

  /** `changed` is called when an answer has come. */
  constructor(session: Session, changed: () => void) {
    this.#session = session;
    this.#changed = changed;
  }

  /** The newest answer about the place; undefined before the first. */
  answer(vm: string, address: number): CodeAnswer | undefined {
    return same(this.#answered?.wish, { vm, address }) ? this.#answered!.answer : undefined;
  }

  ask(vm: string, address: number): void {
    this.#next = { vm, address };
    if (!this.#asking) void this.#run();
  }

  async #run(): Promise<void> {
    this.#asking = true;
    for (let wish = this.#next; wish !== undefined; wish = this.#next) {
      this.#next = undefined;
      const answer = await this.#session.disassemble(wish.vm, wish.address).catch(
        (error: unknown): CodeAnswer => ({
          ok: false,
          reason: `the host does not answer: ${error instanceof Error ? error.message : String(error)}`,
        }),
      );
      this.#answered = { wish, answer };
      this.#changed();
    }
    this.#asking = false;
  }
}
