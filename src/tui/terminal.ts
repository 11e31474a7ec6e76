/** The terminal's side of every console: keys in raw mode, and the ways in which it ends without a key. */
import { flushKeys, type Key, splitKeys } from './input.js';

/** A lone ESC is the Escape key when nothing follows in this time. */
const ESCAPE_WAIT_MS = 30;

/** Reads keys from a terminal in raw mode; the returned function gives the terminal back. */
export function readKeys(stdin: NodeJS.ReadStream, onKeys: (keys: readonly Key[]) => void): () => void {
  let rest = '';
  let timer: NodeJS.Timeout | undefined;
  const onData = (chunk: string | Buffer) => {
    clearTimeout(timer);
    const split = splitKeys(rest + chunk.toString());
    rest = split.rest;
    if (split.keys.length > 0) onKeys(split.keys);
    if (rest !== '') {
      timer = setTimeout(() => {
        const keys = flushKeys(rest);
        rest = '';
        onKeys(keys);
      }, ESCAPE_WAIT_MS);
    }
  };
  stdin.setEncoding('utf8');
  if (stdin.isTTY) stdin.setRawMode(true);
  stdin.on('data', onData);
  stdin.resume();
  return () => {
    clearTimeout(timer);
    stdin.off('data', onData);
    if (stdin.isTTY) stdin.setRawMode(false);
    stdin.pause();
  };
}

/**
 * Calls `finish` when a signal ends the process (`process.exitCode` is 128 + its number then), when stdin ends, and with the error when
 * something throws that nobody catches. The returned function stops that.
 */
export function watchEnd(stdin: NodeJS.ReadStream, finish: (error?: Error) => void): () => void {
  const onEnd = () => finish();
  stdin.once('end', onEnd);
  const signals = Object.entries({ SIGTERM: 143, SIGHUP: 129, SIGINT: 130 }).map(([signal, code]) => {
    const onSignal = () => {
      process.exitCode = code;
      finish();
    };
    process.on(signal, onSignal);
    return () => process.off(signal, onSignal);
  });
  const onFault = (error: unknown) => finish(asError(error));
  process.on('uncaughtException', onFault);
  process.on('unhandledRejection', onFault);
  return () => {
    stdin.off('end', onEnd);
    for (const stop of signals) stop();
    process.off('uncaughtException', onFault);
    process.off('unhandledRejection', onFault);
  };
}

export const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));
