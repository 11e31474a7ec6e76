/** What a session types by itself, over a guest that is suspended before or after its time has come. */
import { expect, test } from 'vitest';
import { WhenIdle } from '../../src/session/when-idle.js';
import { guestHost } from '../scenarios/run-guest.js';

/** Commands of the session: of a VM that is suspended and resumed after so many quanta. */
function typedWithBreakAt(quanta: number): number {
  const host = guestHost({ mode: 'native', append: '' });
  const whenIdle = new WhenIdle(host, { vm: 'getppid\n' });
  const run = (count: number) => {
    for (let i = 0; i < count; i++) {
      whenIdle.take(host.drainEvents());
      host.advance(host.nowCycles + host.quantumCycles);
    }
    whenIdle.take(host.drainEvents());
  };
  run(quanta);
  host.execute({ kind: 'suspend', vm: 'vm' });
  run(2);
  host.execute({ kind: 'resume', vm: 'vm' });
  run(150);
  return host.commandLog.filter(({ command }) => command.kind === 'type').length;
}

test('a guest gets its text once, whether it is suspended while it boots or later', () => {
  expect(typedWithBreakAt(2)).toBe(1);
  expect(typedWithBreakAt(120)).toBe(1);
});
