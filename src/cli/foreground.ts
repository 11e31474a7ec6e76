/** Runs the one guest of a host in the foreground: COM1 on stdout, stdin on COM1, the VM's log on stderr. */
import type { Host, HostEvent } from '../hypervisor/index.js';
import type { Pace } from '../session/protocol.js';
import { Runner } from '../session/runner.js';
import { KeyboardInput, onSignals, type Streams } from './streams.js';

/** Virtual time that text from a pipe waits for a guest that reports nothing, seconds. */
const PIPED_SECONDS_MAX = 1;

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

  const take = (events: readonly HostEvent[]): void => {
    options.onEvents?.(events);
    let off = false;
    for (const event of events) {
      if (event.kind === 'console') {
        streams.stdout.write(Buffer.from(event.text, 'latin1'));
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
