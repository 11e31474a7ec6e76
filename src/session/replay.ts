/**
 * A session over a recording or a performance log: its samples, one after the other, at the pace at which they were taken or another one.
 * Nothing runs, so nothing can be changed; what was typed and switched then is told as events, beside those that the host had.
 */
import type {
  CodeAnswer,
  Command,
  CommandResult,
  HostEvent,
  LoggedCommand,
  Recording,
  Sample,
  ScreenAnswer,
} from '../hypervisor/index.js';
import type { Replay, ReplayPosition, Session } from '../tui/session.js';
import { SessionView } from './view.js';

const REFUSAL = 'this is a replay: nothing in it can be changed';
const SPEED_MIN = 1 / 8;
const SPEED_MAX = 64;
/** Longest pause between two samples, ms: timers take no more. */
const PAUSE_MS_MAX = 0x7fff_ffff;

/** What can be played: samples by number, oldest first, at least one. */
export interface Tape {
  readonly count: number;
  sample(index: number): Sample;
  readonly commands: readonly LoggedCommand[];
  readonly events: readonly HostEvent[];
  /** What is missing of it, in one line. */
  readonly cutOff?: string | undefined;
}

/** Samples as JSON, parsed when they are looked at: of a long session few are. */
export function tapeOf({
  samples,
  commands,
  events,
  cutOff,
}: Pick<Recording, 'samples' | 'commands' | 'events' | 'cutOff'>): Tape {
  return { count: samples.length, sample: index => JSON.parse(samples[index]!) as Sample, commands, events, cutOff };
}

export class ReplaySession implements Session {
  readonly replay: Replay;
  readonly #tape: Tape;
  readonly #listeners = new Set<() => void>();
  #index = 0;
  #latest: Sample;
  #previous: Sample | undefined;
  /** Commands and events, oldest first; of them so many have happened by now, and the view has them. */
  readonly #history: readonly HostEvent[];
  #happened = 0;
  #view = new SessionView();
  #speed: number;
  #paused = false;
  #timer: NodeJS.Timeout | undefined;
  readonly #end: number;

  /** `speed`: seconds of the recording in a real one. */
  constructor(tape: Tape, speed = 1) {
    this.#tape = tape;
    this.#speed = speed;
    this.#latest = tape.sample(0);
    this.#history = [...tape.commands.map(eventOf), ...tape.events].sort((a, b) => a.atCycles - b.atCycles);
    this.#end = this.#secondsOf(tape.sample(tape.count - 1));
    const session = this;
    this.replay = {
      get position() {
        return session.#position();
      },
      step: count => this.#step(count),
      jumpTo: seconds => this.#jumpTo(seconds),
      faster: factor => {
        this.#speed = Math.max(SPEED_MIN, Math.min(SPEED_MAX, this.#speed * factor));
        this.#play();
        this.#tell();
      },
      toggle: () => {
        this.#paused = !this.#paused;
        this.#play();
        this.#tell();
      },
    };
    this.#show(0);
    this.#play();
  }

  latest(): Sample {
    return this.#latest;
  }

  previous(): Sample | undefined {
    return this.#previous;
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  events(): readonly HostEvent[] {
    return this.#view.events;
  }

  /** What the guest had written by then. */
  consoleText(vm: string): string {
    if (!this.#tape.events.some(({ kind }) => kind === 'console'))
      return 'What guests write on their consoles is not in this file.';
    return this.#view.consoleText(vm);
  }

  speed(): undefined {
    return undefined;
  }

  execute(_command: Command): Promise<CommandResult> {
    return Promise.resolve({ ok: false, reason: REFUSAL });
  }

  refresh(): void {}

  disassemble(): Promise<CodeAnswer> {
    return Promise.resolve({ ok: false, reason: 'a replay does not hold code' });
  }

  screen(): Promise<ScreenAnswer> {
    return Promise.resolve({ ok: false, reason: 'a replay does not hold screens' });
  }

  close(): Promise<void> {
    clearTimeout(this.#timer);
    return Promise.resolve();
  }

  #secondsOf({ atCycles, cyclesPerSecond }: Sample): number {
    return atCycles / cyclesPerSecond;
  }

  #position(): ReplayPosition {
    const ended =
      this.#index === this.#tape.count - 1 ? (this.#tape.cutOff === undefined ? 'ended' : 'cut off') : undefined;
    const { atCycles, cyclesPerSecond } = this.#latest;
    return {
      seconds: atCycles / cyclesPerSecond,
      endSeconds: this.#end,
      speed: this.#speed,
      state: this.#paused ? 'paused' : (ended ?? 'plays'),
    };
  }

  /** A step takes the hand off the tape: it stands still afterwards. */
  #step(count: number): void {
    this.#paused = true;
    this.#play();
    this.#show(this.#index + count);
    this.#tell();
  }

  /** To the last sample that is not after a time, or to the first one. */
  #jumpTo(seconds: number): void {
    let low = 0;
    let high = this.#tape.count - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.#secondsOf(this.#tape.sample(middle)) <= seconds) low = middle;
      else high = middle - 1;
    }
    this.#show(low);
    this.#play();
    this.#tell();
  }

  #show(index: number): void {
    this.#index = Math.max(0, Math.min(this.#tape.count - 1, index));
    this.#latest = this.#tape.sample(this.#index);
    this.#previous = this.#index === 0 ? undefined : this.#tape.sample(this.#index - 1);
    const next = this.#history.findIndex(({ atCycles }) => atCycles > this.#latest.atCycles);
    const happened = next < 0 ? this.#history.length : next;
    if (happened < this.#happened) {
      this.#view = new SessionView();
      this.#happened = 0;
    }
    this.#view.take(this.#history.slice(this.#happened, happened));
    this.#happened = happened;
  }

  #play(): void {
    clearTimeout(this.#timer);
    if (this.#paused || this.#index === this.#tape.count - 1) return;
    const next = this.#tape.sample(this.#index + 1);
    const ms = ((this.#secondsOf(next) - this.#secondsOf(this.#latest)) * 1000) / this.#speed;
    this.#timer = setTimeout(
      () => {
        this.#show(this.#index + 1);
        this.#play();
        this.#tell();
      },
      Math.min(PAUSE_MS_MAX, ms),
    );
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}

/** A command as a line of the log of its VM, or of the host. */
function eventOf({ atCycles, command }: LoggedCommand): HostEvent {
  const vm = 'vm' in command ? command.vm : command.kind === 'addVm' ? command.config.name : 'host';
  const { kind, ...rest } = command;
  const details = Object.entries(rest)
    .filter(([name]) => name !== 'vm' && name !== 'config')
    .map(([name, value]) => ` ${name} ${JSON.stringify(value)}`);
  return { kind: 'log', atCycles, vm, line: `command ${kind}${details.join(',')}` };
}
