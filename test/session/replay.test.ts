/** A recording as a session: what is shown when, and that nothing can be changed. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { HostEvent, LoggedCommand } from '../../src/hypervisor/index.js';
import { ReplaySession, tapeOf } from '../../src/session/replay.js';
import { inventory } from '../tui/fixtures.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const HZ = inventory(0).cyclesPerSecond;
const commands: readonly LoggedCommand[] = [
  { atCycles: 1.5 * HZ, command: { kind: 'setVmi', vm: 'web-vmi', enabled: false } },
  { atCycles: 3 * HZ, command: { kind: 'setSampleInterval', ms: 1000 } },
];
/** A sample each second, from the first to the tenth. */
const samples = Array.from({ length: 10 }, (_, index) => JSON.stringify(inventory(index + 1)));
const tape = tapeOf({ samples, commands, events: [] });
const shown = (session: ReplaySession) => session.latest().atCycles / HZ;
const before = (session: ReplaySession) => (session.previous()?.atCycles ?? 0) / HZ;

test('plays at the pace at which it was taken, and stays on the last sample', () => {
  const session = new ReplaySession(tape);
  let told = 0;
  session.subscribe(() => {
    told += 1;
  });
  expect([shown(session), before(session)]).toEqual([1, 0]);
  vi.advanceTimersByTime(999);
  expect(shown(session)).toBe(1);
  vi.advanceTimersByTime(1);
  expect([shown(session), before(session), told]).toEqual([2, 1, 1]);
  expect(session.replay.position).toEqual({ seconds: 2, endSeconds: 10, speed: 1, state: 'plays' });
  vi.advanceTimersByTime(60_000);
  expect([shown(session), told]).toEqual([10, 9]);
  expect(session.replay.position.state).toBe('ended');
  expect(vi.getTimerCount()).toBe(0);
});

test('twice and half as fast, within bounds', () => {
  const session = new ReplaySession(tape, 2);
  vi.advanceTimersByTime(500);
  expect(shown(session)).toBe(2);
  session.replay.faster(2);
  vi.advanceTimersByTime(250);
  expect(shown(session)).toBe(3);
  for (let count = 0; count < 20; count++) session.replay.faster(0.5);
  expect(session.replay.position.speed).toBe(1 / 8);
  vi.advanceTimersByTime(7_999);
  expect(shown(session)).toBe(3);
  vi.advanceTimersByTime(1);
  expect(shown(session)).toBe(4);
  for (let count = 0; count < 20; count++) session.replay.faster(2);
  expect(session.replay.position.speed).toBe(64);
});

test('pause, steps and jumps', () => {
  const session = new ReplaySession(tape);
  session.replay.toggle();
  vi.advanceTimersByTime(5_000);
  expect([shown(session), session.replay.position.state]).toEqual([1, 'paused']);
  session.replay.step(3);
  expect([shown(session), before(session)]).toEqual([4, 3]);
  session.replay.step(-10);
  expect([shown(session), before(session)]).toEqual([1, 0]);
  session.replay.step(10);
  expect(shown(session)).toBe(10);
  for (const [seconds, sample] of [
    [5, 5],
    [5.99, 5],
    [0, 1],
    [99, 10],
    [1, 1],
    [9.5, 9],
  ] as const) {
    session.replay.jumpTo(seconds);
    expect(shown(session), String(seconds)).toBe(sample);
  }
  session.replay.jumpTo(3);
  session.replay.toggle();
  vi.advanceTimersByTime(1_000);
  expect(shown(session)).toBe(4);
  // A step takes the hand off the tape.
  session.replay.step(1);
  vi.advanceTimersByTime(5_000);
  expect([shown(session), session.replay.position.state]).toEqual([5, 'paused']);
});

test('commands are told as events, as far as they have happened', () => {
  const session = new ReplaySession(tape);
  const lines = () => session.events().map(event => (event.kind === 'log' ? [event.vm, event.line] : []));
  expect(lines()).toEqual([]);
  session.replay.jumpTo(2);
  expect(lines()).toEqual([['web-vmi', 'command setVmi enabled false']]);
  session.replay.jumpTo(3);
  expect(lines()).toHaveLength(2);
  expect(lines()[1]).toEqual(['host', 'command setSampleInterval ms 1000']);
  session.replay.jumpTo(1);
  expect(lines()).toEqual([]);
});

test('nothing can be changed, and what is not in the file says so', async () => {
  const session = new ReplaySession(tape);
  expect(await session.execute({ kind: 'powerOff', vm: 'web-vmi' })).toEqual({
    ok: false,
    reason: 'this is a replay: nothing in it can be changed',
  });
  expect(await session.disassemble()).toMatchObject({ ok: false });
  expect(await session.screen()).toMatchObject({ ok: false });
  expect(session.consoleText('web-vmi')).toContain('is not in this file');
  await session.close();
  expect(vi.getTimerCount()).toBe(0);
});

test('events and what guests wrote are there up to the sample that is shown', () => {
  const events: HostEvent[] = [
    { kind: 'console', atCycles: HZ, vm: 'db-bt', text: 'one\n' },
    { kind: 'guest', atCycles: 1.5 * HZ, vm: 'db-bt', state: 'idle' },
    { kind: 'console', atCycles: 2.5 * HZ, vm: 'web-vmi', text: 'other\n' },
    { kind: 'console', atCycles: 2.5 * HZ, vm: 'db-bt', text: 'two\n' },
    { kind: 'power', atCycles: 4 * HZ, vm: 'db-bt', state: 'crashed', reason: 'triple fault' },
  ];
  const session = new ReplaySession(tapeOf({ samples, commands, events }));
  const kinds = () => session.events().map(({ kind }) => kind);
  expect([session.consoleText('db-bt'), kinds()]).toEqual(['one\n', []]);
  session.replay.jumpTo(3);
  expect([session.consoleText('db-bt'), session.consoleText('web-vmi')]).toEqual(['one\ntwo\n', 'other\n']);
  // Commands among the events, by their time.
  expect(kinds()).toEqual(['log', 'guest', 'log']);
  session.replay.jumpTo(10);
  expect(kinds()).toEqual(['log', 'guest', 'log', 'power']);
  session.replay.jumpTo(2);
  expect([session.consoleText('db-bt'), kinds()]).toEqual(['one\n', ['log', 'guest']]);
  expect(session.consoleText('nobody')).toBe('');
});
