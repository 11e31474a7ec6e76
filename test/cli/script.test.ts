import { describe, expect, test } from 'vitest';
import { parseScript, runScript } from '../../src/cli/script.js';
import { UsageError } from '../../src/hypervisor/index.js';
import { FakeHost } from '../session/fake-host.js';

describe('parseScript', () => {
  test('reads conditions and commands, skips comments and empty lines', () => {
    const steps = parseScript(
      '# a boot\n\nat 0 power-on web01\nwhen web01 idle run web01 echo a; ps\nat 50 end\n',
      's',
    );
    expect(steps).toEqual([
      { line: 3, condition: { kind: 'at', ms: 0 }, action: { kind: 'powerOn', vm: 'web01' }, stirs: true },
      {
        line: 4,
        condition: { kind: 'when', vm: 'web01', state: 'idle' },
        action: { kind: 'type', vm: 'web01', text: 'echo a; ps\n' },
        stirs: true,
      },
      { line: 5, condition: { kind: 'at', ms: 50 }, action: 'end', stirs: false },
    ]);
  });

  test('type takes a JSON string, so that any byte can be typed', () => {
    expect(parseScript('at 1 type vm "a b\\u0003"', 's')[0]!.action).toEqual({
      kind: 'type',
      vm: 'vm',
      text: 'a b\u0003',
    });
  });

  test.each([
    ['power-on web01', 'must begin with'],
    ['at soon end', 'must begin with'],
    ['at 1 explode vm', 'unknown command "explode"'],
    ['at 1 toString vm', 'unknown command "toString"'],
    ['at 1 vmi vm maybe', 'must be: vmi VM on|off'],
    ['at 1 type vm "open', 'must be: type'],
    ['at 1 interval 0', 'must be: interval'],
    ['# nothing else', 'holds no line'],
  ])('refuses %j', (text, reason) => {
    expect(() => parseScript(text, 'file.script')).toThrow(UsageError);
    expect(() => parseScript(text, 'file.script')).toThrow(reason);
    expect(() => parseScript(text, 'file.script')).toThrow('file.script');
  });
});

describe('runScript', () => {
  const run = (host: FakeHost, text: string) => runScript(host, parseScript(text, 's'), { source: 's' });

  test('commands take effect at their instants of virtual time, in order', async () => {
    const host = new FakeHost();
    expect(
      await run(
        host,
        'at 5 vmi vm on\nat 5 monitor vm hv\nat 5 interval 10\nat 7 cpu vm shares=10 limit=none\nat 20 reset vm\nat 30 end',
      ),
    ).toEqual({
      kind: 'done',
    });
    expect(host.commandLog.map(({ atCycles, command }) => [atCycles / 1000, command.kind])).toEqual([
      [5, 'setVmi'],
      [5, 'setMonitor'],
      [5, 'setSampleInterval'],
      [7, 'setCpu'],
      [20, 'reset'],
    ]);
    expect(host.commandLog[3]!.command).toEqual({ kind: 'setCpu', vm: 'vm', shares: 10, limitMhz: null });
    expect(host.nowMs).toBe(30);
  });

  test('`when` waits for the state, and after `run` for a state newer than the command', async () => {
    const host = new FakeHost();
    host.onQuantum = ms => {
      if (ms === 10) host.report('vm', 'idle');
      if (ms === 25) host.report('vm', 'spin');
      if (ms === 40) host.report('vm', 'idle');
    };
    await run(host, 'when vm idle run vm spin\nwhen vm idle vmi vm on');
    expect(host.commandLog.map(({ atCycles }) => atCycles / 1000)).toEqual([10, 40]);
  });

  test('a refused command names the line and the host’s reason', async () => {
    const host = new FakeHost();
    host.onCommand = () => 'vm is off';
    await expect(run(host, 'at 0 interval 5')).rejects.toThrow('script s:1: vm is off');
  });

  test('an unknown VM is refused before anything runs', async () => {
    const host = new FakeHost();
    await expect(run(host, 'at 0 reset vm\nwhen ghost idle end')).rejects.toThrow(
      'script s:2: no VM is called "ghost"',
    );
    expect(host.commandLog).toEqual([]);
  });

  test('a crashed VM ends a script that waits for it', async () => {
    const host = new FakeHost();
    host.onQuantum = ms => {
      if (ms === 7) {
        host.emit({ kind: 'power', atCycles: host.nowCycles, vm: 'vm', state: 'crashed', reason: 'triple fault' });
      }
    };
    expect(await run(host, 'when vm idle end')).toEqual({ kind: 'stuck', reason: 'script s:1: vm has crashed' });
    expect(host.nowMs).toBe(7);
  });

  test('a state that never comes ends the script after its patience', async () => {
    const end = await run(new FakeHost(), 'when vm idle end');
    expect(end.kind).toBe('stuck');
    expect(end).toMatchObject({ reason: expect.stringContaining('is not idle after 300 s, but booting') });
  });
});
