/** What the console shows and asks of a recording that it plays. */
import { clock, printable } from './format.js';
import type { Asker } from './prompts.js';
import type { Replay, ReplayPosition } from './session.js';

/** Where the header has the speed of a host: `replay 0:01:30/0:10:00 2x`. */
export function replayText({ seconds, endSeconds, speed, state }: ReplayPosition): string {
  const rate = speed >= 1 ? `${Math.round(speed * 100) / 100}x` : `1/${Math.round(1 / speed)}x`;
  return `replay ${clock(seconds)}/${clock(endSeconds)} ${state === 'plays' ? rate : state}`;
}

/** Seconds, `1:30`, `1:00:00` or `50%` of `endSeconds`, as seconds; undefined for anything else. */
export function parseTime(text: string, endSeconds: number): number | undefined {
  const typed = text.trim();
  const [, percent] = /^(\d{1,3}(?:\.\d+)?)%$/.exec(typed) ?? [];
  if (percent !== undefined) return (Number(percent) / 100) * endSeconds;
  if (!/^(?:\d+:){0,2}\d+(?:\.\d+)?$/.test(typed)) return undefined;
  return typed.split(':').reduce((sum, part) => sum * 60 + Number(part), 0);
}

export function askTime(asker: Asker, replay: Replay): void {
  const { endSeconds } = replay.position;
  asker.prompt(`Jump to (seconds, 1:30 or 50%; the end is ${clock(endSeconds)}): `, typed => {
    const seconds = parseTime(typed, endSeconds);
    if (seconds === undefined) asker.say(`not a time: ${printable(typed)}`, true);
    else replay.jumpTo(seconds);
  });
}
