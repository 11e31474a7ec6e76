/** Limits on a run of another process. */
import type { ChildProcess } from 'node:child_process';
import type { RunOptions } from './emulator.js';

/** Kills `child` when the signal fires or the time is up; `why` tells which. */
export function guard(
  child: ChildProcess,
  { signal, timeoutMs }: Pick<RunOptions, 'signal' | 'timeoutMs'>,
): { why?: string; release(): void } {
  const state: { why?: string; release(): void } = { release: () => {} };
  const end = (why: string): void => {
    state.why ??= why;
    child.kill('SIGKILL');
  };
  const onAbort = (): void => end('interrupted');
  const timer = setTimeout(() => end(`not through after ${timeoutMs / 1000} s`), timeoutMs);
  signal.addEventListener('abort', onAbort);
  state.release = () => {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  };
  return state;
}
