/** The activity screen: what happened, newest last. */
import { afterEach, expect, test } from 'vitest';
import type { HostEvent } from '../../src/hypervisor/index.js';
import { activityHeading, activityLines } from '../../src/tui/activity.js';
import { closeConsoles, consoleOn } from './console-on.js';

afterEach(closeConsoles);

const HZ = 1_000_000;
const at = (seconds: number) => ({ atCycles: seconds * HZ, vm: 'web' });

test('every kind of event but console output, which has its pane', () => {
  const events: HostEvent[] = [
    { kind: 'power', ...at(0), state: 'on', reason: 'binary translation' },
    { kind: 'console', ...at(0.1), text: 'Linux' },
    { kind: 'guest', ...at(0.25), state: 'vmi' },
    { kind: 'guest', ...at(61.0625), state: 'idle' },
    { kind: 'log', ...at(3600), line: 'CPU: 10\u001b shares' },
    { kind: 'audit', ...at(3601), finding: 'a link' },
    { kind: 'power', ...at(3602), state: 'crashed', reason: 'triple fault' },
  ];
  expect(activityHeading(70).trimEnd()).toBe(' TIME          NAME             EVENT      WHAT');
  const lines = activityLines(events, HZ, 70);
  expect(lines.map(({ text }) => text.trimEnd())).toEqual([
    '  0:00:00.000  web              power on   binary translation',
    '  0:00:00.250  web              guest      runs by VMI',
    '  0:01:01.062  web              guest      idle',
    '  1:00:00.000  web              log        CPU: 10· shares',
    '  1:00:01.000  web              audit      a link',
    '  1:00:02.000  web              crash      triple fault',
  ]);
  expect(lines.map(({ alarm }) => alarm)).toEqual([false, false, false, false, true, true]);
  expect(activityLines([{ kind: 'log', ...at(0), line: 'x'.repeat(99) }], HZ, 60)[0]!.text).toHaveLength(60);
});

test('follows what happens, and PgUp looks back', async () => {
  const { press, screen, session } = consoleOn(80, 24);
  await press('a');
  const log = (from: number, to: number) => {
    for (let line = from; line <= to; line++) session.event({ kind: 'log', ...at(line), line: `line ${line}.` });
  };
  log(1, 40);
  await new Promise(resolve => setTimeout(resolve, 60));
  expect(screen()).toContain('line 40.');
  expect(screen()).not.toContain('line 20.');
  const back = await press('\u001b[5~');
  expect(back).toContain('line 30.');
  expect(back).not.toContain('line 31.');
  // As far as there is something.
  expect(await press('\u001b[5~\u001b[5~\u001b[5~')).toContain('line 1.');
  await press('\u001b[6~\u001b[6~\u001b[6~\u001b[6~');
  log(41, 42);
  await new Promise(resolve => setTimeout(resolve, 60));
  expect(screen()).toContain('line 42.');
});
