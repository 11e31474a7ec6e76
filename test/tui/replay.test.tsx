/** The console on a replay: its keys, and where the header says that it is. */
import { afterEach, describe, expect, test } from 'vitest';
import { ReplaySession, tapeOf } from '../../src/session/replay.js';
import { parseTime, replayText } from '../../src/tui/replay.js';
import { closeConsoles, consoleOn } from './console-on.js';
import { inventory } from './fixtures.js';

const sessions: ReplaySession[] = [];
afterEach(() => {
  closeConsoles();
  for (const session of sessions.splice(0)) void session.close();
});

function onReplay() {
  const samples = Array.from({ length: 100 }, (_, index) => JSON.stringify(inventory(index + 1)));
  const session = new ReplaySession(tapeOf({ samples, commands: [], events: [] }));
  sessions.push(session);
  // The keys are a session's business, whichever it is.
  return consoleOn(100, 24, session as never);
}

test('keys', async () => {
  const { press, screen } = onReplay();
  expect(screen()).toContain('up 1.000 s, 15 worlds; CPU load average: 0.21, 0.17, 0.20; replay 0:00:01/0:01:40 1x');
  expect(await press('P')).toContain('replay 0:00:01/0:01:40 paused');
  expect(await press(']')).toContain('replay 0:00:02/0:01:40 paused');
  expect(await press('}')).toContain('replay 0:00:12/');
  expect(await press('[')).toContain('replay 0:00:11/');
  expect(await press('{')).toContain('replay 0:00:01/');
  expect(await press('j')).toContain('Jump to (seconds, 1:30 or 50%; the end is 0:01:40):');
  expect(await press('1:15\r')).toContain('replay 0:01:15/');
  expect(await press('jsoon\r')).toContain('not a time: soon');
  expect(await press('P>>')).toContain('replay 0:01:15/0:01:40 4x');
  expect(await press('<<<<')).toContain('replay 0:01:15/0:01:40 1/4x');
  expect(await press('j100%\r')).toContain('replay 0:01:40/0:01:40 ended');
  expect(await press('v')).toContain('this is a replay: nothing in it can be changed');
  expect(await press('A')).toContain('What guests write on their consoles is not in');
});

test('a crash is said when it comes, and not again by going back', async () => {
  const samples = Array.from({ length: 10 }, (_, index) => JSON.stringify(inventory(index + 1)));
  const crash = (second: number, vm: string) =>
    ({ kind: 'power', atCycles: second * 1000, vm, state: 'crashed', reason: 'triple fault' }) as const;
  const events = [crash(2, 'web-vmi'), crash(6, 'db-bt')];
  const session = new ReplaySession(tapeOf({ samples, commands: [], events }));
  sessions.push(session);
  const { press, controller, screen } = consoleOn(100, 24, session as never);
  const jump = async (to: string) => {
    await press(`j${to}\r`);
    controller.catchUp();
    return screen();
  };
  await press('P');
  expect(await jump('3')).toContain('web-vmi crashed: triple fault');
  expect(await jump('8')).toContain('db-bt crashed: triple fault');
  expect(await jump('4')).not.toContain('crashed: triple fault');
});

test('a host that runs has no use for them', async () => {
  const { press } = consoleOn();
  for (const key of '[]{}<>j') expect(await press(key)).toContain('that is for replays');
});

describe('texts', () => {
  test.each([
    ['90', 90],
    ['1:30', 90],
    ['1:00:00.5', 3600.5],
    ['50%', 300],
    [' 0 ', 0],
    ['', undefined],
    ['1:2:3:4', undefined],
    ['-1', undefined],
    ['half', undefined],
  ])('%j is %s s of 600', (text, seconds) => {
    expect(parseTime(text, 600)).toBe(seconds);
  });

  test('the position', () => {
    const position = { seconds: 90, endSeconds: 3600, speed: 0.25, state: 'plays' } as const;
    expect(replayText(position)).toBe('replay 0:01:30/1:00:00 1/4x');
    expect(replayText({ ...position, speed: 1.5 })).toBe('replay 0:01:30/1:00:00 1.5x');
    expect(replayText({ ...position, state: 'ended' })).toBe('replay 0:01:30/1:00:00 ended');
  });
});
