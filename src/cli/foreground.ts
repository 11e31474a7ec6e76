/** Runs the one guest of a host in the foreground: COM1 on stdout, stdin on COM1, the VM's log on stderr. */
import type { Host, HostEvent } from '../hypervisor/index.js';
import type { Pace } from '../session/protocol.js';
import { Runner } from '../session/runner.js';
import { KeyboardInput, onSignals, type Streams } from './streams.js';

/** Virtual time that text from a pipe waits for a guest that reports nothing, seconds. */
const PIPED_SECONDS_MAX = 1;

/** What Linux (and whoever talks like it) says when it gives up; the rest of its report follows within this virtual time, seconds. */
const PANIC = /^(?:\[ *[\d.]+\] )?Kernel panic - not syncing: (.*)$/;
const PANIC_SECONDS = 1;
/** A guest that resets itself so often, each time within so many seconds of virtual time, will go on for ever. */
const RESETS_MAX = 5;
const RESET_SECONDS = 30;
/** Of a line without an end, so much is kept to look for these words in. */
const LINE_MAX = 1024;

export interface ForegroundOptions {
  readonly vm: string;
  readonly pace: Pace;
  /** Ends when the console shows this text. */
  readonly until: string | undefined;
  /** Ends after so many seconds of virtual time. */
  readonly limitSeconds: number | undefined;
  /** Keeps the VM's log off stderr. */
  readonly quiet: boolean;
  /** After every quantum, before the next one. */
  onEvents?(events: readonly HostEvent[]): void;
}

export type ForegroundEnd =
  | { readonly kind: 'off' | 'text' | 'limit' | 'interrupt' }
  | { readonly kind: 'crashed'; readonly reason: string };

/** The VM is on already. Whatever the host throws comes out of the promise, with the terminal restored. */
export async function runForeground(host: Host, options: ForegroundOptions, streams: Streams): Promise<ForegroundEnd> {
  let end: ForegroundEnd | undefined;
  let tail = '';
  // Text from a file or a pipe is there before the guest can read, and a driver that clears its FIFO would lose it. It waits
  // until the guest reports that it is idle, or for a guest that reports nothing until some virtual time has passed.
  let ready = false;
  let piped = streams.stdin.isTTY === true ? undefined : '';
  const pipedUntilCycles = host.nowCycles + PIPED_SECONDS_MAX * host.cyclesPerSecond;
  const type = (text: string): void => {
    if (text !== '') host.execute({ kind: 'type', vm: options.vm, text });
  };
  const finish = (how: ForegroundEnd): void => {
    end ??= how;
  };

  let line = '';
  let panic: { readonly reason: string; readonly untilCycles: number } | undefined;
  const lookForPanic = (text: string): void => {
    const lines = (line + text).split('\n');
    line = lines.pop()!.slice(-LINE_MAX);
    for (const whole of lines) {
      const reason = PANIC.exec(whole.trimEnd())?.[1];
      if (reason !== undefined)
        panic ??= { reason, untilCycles: host.nowCycles + PANIC_SECONDS * host.cyclesPerSecond };
    }
  };

  let resets = 0;
  let lastResetCycles = 0;
  const countReset = (atCycles: number): void => {
    panic = undefined;
    resets = atCycles - lastResetCycles < RESET_SECONDS * host.cyclesPerSecond ? resets + 1 : 1;
    lastResetCycles = atCycles;
    if (resets >= RESETS_MAX)
      finish({ kind: 'crashed', reason: `it keeps resetting itself (${resets} times in a row)` });
  };

  const take = (events: readonly HostEvent[]): void => {
    options.onEvents?.(events);
    let off = false;
    for (const event of events) {
      // A guest that resets at once does so many times in a quantum.
      if (end?.kind === 'crashed') break;
      if (event.kind === 'console') {
        streams.stdout.write(Buffer.from(event.text, 'latin1'));
        lookForPanic(event.text);
        if (options.until !== undefined) {
          tail += event.text;
          if (tail.includes(options.until)) finish({ kind: 'text' });
          tail = tail.slice(-options.until.length);
        }
      } else if (event.kind === 'log') {
        if (!options.quiet) streams.stderr.write(logLine(event, host.cyclesPerSecond, streams.stdin.isTTY === true));
      } else if (event.kind === 'guest') {
        ready ||= event.state === 'idle';
      } else if (event.kind === 'power') {
        // A guest that resets goes off and on again at once.
        off = event.state === 'off';
        if (off && event.reason === 'reset by the guest') countReset(event.atCycles);
        if (event.state === 'crashed') finish({ kind: 'crashed', reason: event.reason });
      }
    }
    if (off) finish({ kind: 'off' });
  };

  const limitCycles =
    options.limitSeconds === undefined ? Number.POSITIVE_INFINITY : options.limitSeconds * host.cyclesPerSecond;
  const runner = new Runner(host, options.pace, {
    onQuantum: events => {
      take(events);
      if (piped !== undefined && (ready || host.nowCycles >= pipedUntilCycles)) {
        type(piped);
        piped = undefined;
      }
      if (panic !== undefined && host.nowCycles >= panic.untilCycles)
        finish({ kind: 'crashed', reason: `kernel panic: ${panic.reason}` });
      if (host.nowCycles >= limitCycles) finish({ kind: 'limit' });
      return end === undefined ? 'go' : 'stop';
    },
    onSlice: () => {
      // Nobody wants the series of a foreground guest; it must not pile up either.
      host.drainSamples();
    },
  });

  const interrupt = (): void => {
    finish({ kind: 'interrupt' });
    runner.stop();
  };
  const broken = (): void => interrupt();
  const keyboard = new KeyboardInput(
    streams.stdin,
    text => {
      if (piped === undefined) type(text);
      else piped += text;
    },
    interrupt,
  );
  const ignoreSignals = onSignals(interrupt);
  streams.stdout.on('error', broken);
  try {
    take(host.drainEvents());
    if (end === undefined) await runner.run();
  } finally {
    keyboard.stop();
    ignoreSignals();
    streams.stdout.off('error', broken);
  }
  return end ?? { kind: 'interrupt' };
}

/** A line of the VM's log with its virtual time; in raw mode a terminal needs the carriage return. */
function logLine(event: HostEvent & { kind: 'log' }, cyclesPerSecond: number, raw: boolean): string {
  const seconds = (event.atCycles / cyclesPerSecond).toFixed(6).padStart(12);
  return `${raw ? '\r' : ''}log [${seconds}] ${event.line}${raw ? '\r' : ''}\n`;
}
