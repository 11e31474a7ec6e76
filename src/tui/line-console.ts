/**
 * The console for screen readers: the same keys, and a line of words for what each has changed. Nothing is drawn over what was written before,
 * and nothing is said unasked but trouble: what moves by itself would talk all the time.
 */
import { ConsoleController } from './controller.js';
import { printable } from './format.js';
import type { Key } from './input.js';
import type { ConsoleOptions, Session } from './session.js';
import { type Spoken, spoken, spokenHeader } from './spoken.js';
import type { Message } from './state.js';
import { asError, readKeys, watchEnd } from './terminal.js';
import { PLAIN_THEME } from './theme.js';

/** Widths do not matter: no line is cut. Heights are those of a page. */
const SIZE = { columns: 1000, rows: 24 } as const;
/** A screen that is asked for is said without a sample after this time. */
const SAMPLE_WAIT_MS = 500;
/** Characters by which the end of a guest's text is found again. */
const TAIL = 200;

/** Says what changes; `write` gets whole lines, and what is typed at a prompt or comes from a guest. */
export class Speaker {
  readonly #controller: ConsoleController;
  readonly #session: Session;
  readonly #write: (text: string) => void;
  #said: Spoken = { place: '', focus: [] };
  #message: Message | undefined;
  #failure: string | undefined;
  /** The question of the prompt that is open. */
  #question: string | undefined;
  #inDialog = false;
  #pressing = false;
  /** Where one was before a dialog came up. */
  #screen = '';
  /** What was typed at a prompt, and how much of a guest's console has been passed on. */
  #typed = '';
  #attached: { readonly vm: string; readonly text: string } | undefined;
  #asked: { readonly sample: unknown; readonly timer: NodeJS.Timeout } | undefined;

  constructor(controller: ConsoleController, session: Session, write: (text: string) => void) {
    this.#controller = controller;
    this.#session = session;
    this.#write = write;
  }

  /** Presses keys, and says what they did. Space asks for everything, as it is in the next sample. */
  keys(keys: readonly Key[]): void {
    const asked = !this.#inDialog && keys.some(({ name }) => name === 'space' || name === 'enter');
    if (asked) {
      clearTimeout(this.#asked?.timer);
      this.#asked = { sample: this.#session.latest(), timer: setTimeout(() => this.#sayAll(), SAMPLE_WAIT_MS) };
    }
    this.#pressing = true;
    this.#controller.keys(keys);
    this.#pressing = false;
    this.#say(true);
  }

  /** After something else has changed. */
  follow(): void {
    if (this.#pressing) return;
    if (this.#asked !== undefined && this.#session.latest() !== this.#asked.sample) this.#sayAll();
    else this.#say(false);
  }

  close(): void {
    clearTimeout(this.#asked?.timer);
  }

  /** Header and row. */
  #sayAll(): void {
    clearTimeout(this.#asked?.timer);
    this.#asked = undefined;
    const input = this.#controller.frameInput();
    this.#said = spoken(input);
    this.#lines([...spokenHeader(input), this.#said.place, ...this.#said.focus]);
  }

  #say(byKey: boolean): void {
    const input = this.#controller.frameInput();
    const { dialog, message } = input.state;
    const now = spoken(input);
    if (dialog?.kind === 'prompt' && this.#question === dialog.label) {
      this.#echo(dialog.text);
    } else {
      if (this.#question !== undefined && dialog?.kind !== 'prompt') this.#write('\n');
      // A dialog comes up when the host has answered, too.
      const opened =
        dialog !== undefined && now.place + now.focus.join() !== this.#said.place + this.#said.focus.join();
      if (byKey || opened || this.#said.place === '') this.#difference(now);
      this.#question = dialog?.kind === 'prompt' ? dialog.label : undefined;
      this.#typed = '';
      if (dialog?.kind === 'prompt') this.#echo(dialog.text);
    }
    this.#inDialog = dialog !== undefined;
    if (!this.#inDialog) this.#screen = now.place;
    this.#guest(dialog?.kind === 'attach' && dialog.shows === 'serial' ? dialog.vm : undefined);
    if (message !== undefined && message !== this.#message)
      this.#lines([`${message.alarm ? 'Alarm: ' : ''}${message.text}`]);
    this.#message = message;
    if (input.failure !== this.#failure && input.failure !== undefined) this.#lines([printable(input.failure)]);
    this.#failure = input.failure;
  }

  #difference(now: Spoken): void {
    const { place, focus } = this.#said;
    this.#said = now;
    // Back from a dialog everything is as it was.
    if (now.place !== place) this.#lines(now.place === this.#screen ? [now.place] : [now.place, ...now.focus]);
    else this.#lines(now.focus.filter((line, index) => now.focus.length !== focus.length || line !== focus[index]));
  }

  /** What is typed, behind the question. */
  #echo(text: string): void {
    if (text.startsWith(this.#typed)) this.#write(printable(text.slice(this.#typed.length)));
    else this.#write(`\n${printable(text)}`);
    this.#typed = text;
  }

  /** What a guest writes from the moment at which somebody attaches to it. */
  #guest(vm: string | undefined): void {
    if (vm === undefined) this.#attached = undefined;
    else {
      const text = this.#session.consoleText(vm);
      const known = this.#attached?.vm === vm ? this.#attached.text : text;
      this.#attached = { vm, text };
      // The beginning of a long text is dropped: it is known by the end of what was there.
      const tail = known.slice(-TAIL);
      const news = text.startsWith(known) ? text.slice(known.length) : text.slice(text.lastIndexOf(tail) + tail.length);
      if (news !== '') this.#write(news.replaceAll('\r', '').split('\n').map(printable).join('\n'));
    }
  }

  #lines(lines: readonly string[]): void {
    const said = lines.filter(line => line !== '');
    if (said.length > 0) this.#write(`${said.join('\n')}\n`);
  }
}

/** As `runConsole`, on a terminal that a screen reader reads. */
export async function runLineConsole(session: Session, options: ConsoleOptions): Promise<void> {
  const { stdout, stdin } = options;
  let finish: (error?: Error) => void = () => {};
  const finished = new Promise<Error | undefined>(resolve => {
    finish = resolve;
  });
  // Raw mode: a line end does not bring the cursor back by itself everywhere.
  const write = (text: string): void => void stdout.write(text.replaceAll('\n', '\r\n'));
  const controller = new ConsoleController(session, {
    ...options,
    theme: PLAIN_THEME,
    ...SIZE,
    quit: () => finish(),
    redraw: () => {},
    suspend: () => write('Suspending is for consoles that draw.\n'),
    copy: text => void stdout.write(`\u001b]52;c;${Buffer.from(text).toString('base64')}\u0007`),
  });
  write('vmitop in words. c, m, t and x are screens, up and down rows, left and right columns; h is help, q quits.\n');
  const speaker = new Speaker(controller, session, write);
  const unsubscribe = controller.subscribe(() => speaker.follow());
  speaker.follow();
  const stopReading = readKeys(stdin, keys => {
    try {
      speaker.keys(keys);
    } catch (error) {
      finish(asError(error));
    }
  });
  const stopWatching = watchEnd(stdin, finish);
  options.hostStands?.catch((error: unknown) => finish(asError(error)));
  const error = await finished;
  stopWatching();
  stopReading();
  unsubscribe();
  speaker.close();
  controller.close();
  write('\n');
  if (error) throw error;
}
