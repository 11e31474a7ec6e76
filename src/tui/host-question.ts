/** Keeps one thing that the console shows of the host up to date: one question at a time, the newest wish next. */
import type { Session } from './session.js';

/** What a host says when it cannot answer. */
interface Refusal {
  readonly ok: false;
  readonly reason: string;
}

export class HostQuestion<Wish, Answer> {
  readonly #put: (wish: Wish) => Promise<Answer | Refusal>;
  readonly #same: (a: Wish, b: Wish) => boolean;
  readonly #changed: () => void;
  #answered: { readonly wish: Wish; readonly answer: Answer | Refusal } | undefined;
  #asking = false;
  #next: Wish | undefined;

  /** `put` asks the host; `same`: the answer to one wish is that to the other; `changed` is called when an answer has come. */
  constructor(
    put: (wish: Wish) => Promise<Answer | Refusal>,
    same: (a: Wish, b: Wish) => boolean,
    changed: () => void,
  ) {
    this.#put = put;
    this.#same = same;
    this.#changed = changed;
  }

  /** The newest answer; undefined before the first. */
  answer(wish: Wish): Answer | Refusal | undefined {
    return this.#answered !== undefined && this.#same(this.#answered.wish, wish) ? this.#answered.answer : undefined;
  }

  ask(wish: Wish): void {
    this.#next = wish;
    if (!this.#asking) void this.#run();
  }

  async #run(): Promise<void> {
    this.#asking = true;
    for (let wish = this.#next; wish !== undefined; wish = this.#next) {
      this.#next = undefined;
      const answer = await this.#put(wish).catch(
        (error: unknown): Refusal => ({
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

interface CodePlace {
  readonly vm: string;
  readonly address: number;
}

/** The translation of the code at a place. */
export const askForCode = (session: Session, changed: () => void) =>
  new HostQuestion(
    ({ vm, address }: CodePlace) => session.disassemble(vm, address),
    (a, b) => a.vm === b.vm && a.address === b.address,
    changed,
  );

/** The text screen of a VM. */
export const askForScreen = (session: Session, changed: () => void) =>
  new HostQuestion(
    (vm: string) => session.screen(vm),
    (a, b) => a === b,
    changed,
  );
