/** How the program ends: its exit codes, and what an error becomes on the terminal. */
import { UsageError } from '../hypervisor/index.js';

export const ExitCode = {
  OK: 0,
  /** `verify`: the recording and its repetition differ. */
  DIFFERENT: 1,
  /** The user's input cannot be used. */
  USAGE: 2,
  /** The guest crashed. */
  GUEST_CRASHED: 3,
  /** The limit of virtual time was reached first. */
  LIMIT: 4,
  /** Our own bug. */
  BUG: 70,
  /** Ended by Ctrl-C, as shells count it: 128 + SIGINT. */
  INTERRUPTED: 130,
} as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** Whether the reason that a host gives (for a crash, for a refusal) stands for a broken promise of ours. */
export const isOurBug = (reason: string): boolean => /^(?:internal error|MonitorBug|\w*Error)\b/.test(reason);

/** Frames of our own code that are worth a line in a bug report. */
const FRAMES_MAX = 6;

const oneLine = (text: string): string => text.replaceAll(/\s*\n\s*/g, '; ').trim();

/** The text for stderr and the exit code that an error stands for. */
export function explain(error: unknown): { readonly text: string; readonly code: ExitCode } {
  if (error instanceof UsageError) return { text: `vmitop: ${oneLine(error.message)}\n`, code: ExitCode.USAGE };
  const name = error instanceof Error ? error.name : 'Error';
  const message = error instanceof Error ? error.message : String(error);
  const frames = error instanceof Error ? (error.stack ?? '').split('\n').filter(line => /^\s+at /.test(line)) : [];
  const context = frames
    .slice(0, FRAMES_MAX)
    .map(line => `${line.trimEnd()}\n`)
    .join('');
  return { text: `vmitop: internal error (${name}): ${oneLine(message)}\n${context}`, code: ExitCode.BUG };
}
