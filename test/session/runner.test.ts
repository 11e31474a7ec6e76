import { describe, expect, test } from 'vitest';
import { Runner } from '../../src/session/runner.js';
import { WhenIdle } from '../../src/session/when-idle.js';
import { FakeHost } from './fake-host.js';

describe('Runner', () => {
  test('stops in the quantum in which the hook says so, whatever the slice', async () => {
    const host = new FakeHost();
    const runner = new Runner(host, 'max', { onQuantum: () => (host.nowMs >= 123 ? 'stop' : 'go') });
    await runner.run();
    expect(host.nowMs).toBe(123);
  });

  test('hands every event over once, in the quantum in which it happened', async () => {
    const host = new FakeHost();
    host.onQuantum = ms => {
      if (ms % 10 === 0) host.emit({ kind: 'log', atCycles: host.nowCycles, vm: 'vm', line: String(ms) });
    };
    const seen: string[] = [];
    const runner = new Runner(host, 'max', {
      onQuantum: events => {
        for (const event of events) seen.push(`${host.nowMs}:${event.kind === 'log' ? event.line : ''}`);
        return host.nowMs >= 30 ? 'stop' : 'go';
      },
    });
    await runner.run();
    expect(seen).toEqual(['10:10', '20:20', '30:30']);
  });

  test('gives way to the event loop while a guest keeps it busy', async () => {
    const host = new FakeHost();
    let turns = 0;
    const timer = setInterval(() => {
      turns += 1;
    }, 1);
    const start = performance.now();
    host.onQuantum = () => {
      const busyUntil = performance.now() + 4;
      while (performance.now() < busyUntil);
    };
    const runner = new Runner(host, 'max', { onQuantum: () => (performance.now() - start > 200 ? 'stop' : 'go') });
    await runner.run();
    clearInterval(timer);
    // Slices of some 10 ms: the timer came through again and again.
    expect(turns).toBeGreaterThan(5);
  });

  test('paced at real time it does not run ahead', async () => {
    const host = new FakeHost();
    const start = performance.now();
    const runner = new Runner(host, 1, { onQuantum: () => (host.nowMs >= 100 ? 'stop' : 'go') });
    await runner.run();
    expect(performance.now() - start).toBeGreaterThanOrEqual(99);
  });

  test('what the host throws comes out of the promise', async () => {
    const host = new FakeHost();
    host.onQuantum = () => {
      throw new Error('broken promise');
    };
    const runner = new Runner(host, 'max', { onQuantum: () => 'go' });
    await expect(runner.run()).rejects.toThrow('broken promise');
  });
});

describe('WhenIdle', () => {
  test('types once after each power-on, when the guest is idle for the first time', () => {
    const host = new FakeHost(['a', 'b']);
    const whenIdle = new WhenIdle(host, { a: 'go\n' });
    const on = (vm: string) => ({ kind: 'power', atCycles: 0, vm, state: 'on', reason: '' }) as const;
    const guest = (vm: string, state: string) => ({ kind: 'guest', atCycles: 0, vm, state }) as const;
    const typed = () => host.commandLog.filter(({ command }) => command.kind === 'type').length;

    whenIdle.take([on('a'), on('b'), guest('a', 'booting')]);
    expect(typed()).toBe(0);
    whenIdle.take([guest('a', 'idle'), guest('b', 'idle')]);
    expect(host.commandLog.map(({ command }) => command)).toEqual([{ kind: 'type', vm: 'a', text: 'go\n' }]);
    whenIdle.take([guest('a', 'getppid'), guest('a', 'idle')]);
    expect(typed()).toBe(1);
    // Resumed: it is as it was.
    whenIdle.take([on('a'), guest('a', 'idle')]);
    expect(typed()).toBe(1);
    whenIdle.take([on('a'), guest('a', 'booting')]);
    whenIdle.take([guest('a', 'idle')]);
    expect(typed()).toBe(2);
  });
});
