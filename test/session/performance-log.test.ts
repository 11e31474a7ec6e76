/** Batch files as sessions: what was written comes back, what was not written is shown as unknown, and what is no such file is refused. */
import { describe, expect, test } from 'vitest';
import { type Sample, UsageError } from '../../src/hypervisor/index.js';
import { isPerformanceLog } from '../../src/session/performance-log/read.js';
import { tapeOfLog } from '../../src/session/performance-log/tape.js';
import type { Tape } from '../../src/session/replay.js';
import { BatchWriter } from '../../src/tui/batch.js';
import type { FieldOrders } from '../../src/tui/fields.js';
import { headerLines } from '../../src/tui/header.js';
import { defaultConfig, SCREEN_IDS } from '../../src/tui/state.js';
import { textTable } from '../../src/tui/table.js';
import { causes, counters, disk, HZ, inventory, nic, sample, vm, withDevices, world } from '../tui/fixtures.js';

const written = (samples: readonly Sample[], selection: ConstructorParameters<typeof BatchWriter>[0] = 'all') => {
  const writer = new BatchWriter(selection);
  return samples.map(each => writer.lines(each)).join('');
};
const cellsOf = (text: string) => text.split('\n').map(line => line.slice(1, -1).split('","'));
const samplesOf = (tape: Tape) => Array.from({ length: tape.count }, (_, index) => tape.sample(index));

/** Every cell comes back; figures that are worked out of others that are rounded are at most two units of their last place away. */
function expectSame(text: string, selection: Parameters<typeof written>[1] = 'all'): void {
  const again = written(samplesOf(tapeOfLog(text, 'x.csv')), selection);
  const [first, second] = [cellsOf(text), cellsOf(again)];
  expect(second[0]).toEqual(first[0]);
  expect(second.map(([time]) => time)).toEqual(first.map(([time]) => time));
  for (const [row, cells] of first.entries()) {
    for (const [column, cell] of cells.entries()) {
      if (cell === second[row]![column]) continue;
      const place = `${first[0]![column]} of row ${row}: "${cell}", now "${second[row]![column]}"`;
      const unit = cell.includes('.') ? 0.01 : 1;
      expect(cell, place).not.toBe(' ');
      expect(Math.abs(Number(second[row]![column]) - Number(cell)), place).toBeLessThan(2.01 * unit);
    }
  }
}

/** A host on which everything moves, nothing is round and VMs come and go as they do: at second `n`. */
function busy(n: number): Sample {
  const at = Math.round(n * HZ);
  const odd = (factor: number): number => Math.round(at * factor * (1 + 0.1 * Math.sin(n * factor)));
  const worlds = (gid: number) =>
    ['vmm0:a', 'vcpu0:a', 'vmx:a'].map((name, index) =>
      world(gid * 10 + index, name, {
        usedCycles: odd(0.1 + index / 7),
        runCycles: odd(0.1 + index / 7),
        readyCycles: odd(0.011),
        waitCycles: odd(0.3),
        switches: odd(0.7 + index),
        wakeups: odd(0.33),
      }),
    );
  // The second VM is reset after four seconds: its figures begin again.
  const since = n < 4 ? 0 : 3.6 * HZ;
  const run = (factor: number): number => Math.round((at - since) * factor);
  return sample(at, [
    vm(1, 'a', {
      mode: 'vmi',
      vmiEnabled: true,
      vmiConfigured: n < 3,
      worlds: worlds(1),
      disks: [disk('scsi0:0', { reads: odd(0.04), readCycles: odd(0.13), queueCycles: odd(0.05) }), disk('scsi0:1')],
      nics: [nic(7, { sentPackets: odd(0.3), sentDropped: odd(0.001), receivedBytes: odd(400) })],
      cpu: { shares: 2000, minMhz: 500, maxMhz: 1500 },
    }),
    vm(2, 'b', {
      poweredOnAtCycles: since,
      bootCycles: n < 2 ? undefined : 1234,
      counters: counters({ exits: run(3.3), hiddenFaults: run(0.7), hostTimers: run(0.2), callouts: run(1.7) }),
      causes: causes({ guestUser: run(0.4), hiddenFault: run(0.3), interrupt: run(0.05), callout: run(0.1) }),
      chargedCycles: run(0.85),
      timer: {
        source: 'pit',
        requestedHz: 250,
        delivered: run(0.24),
        backlog: 3,
        lagCycles: 12,
        stolenCycles: run(0.15),
        wakeups: run(0.09),
      },
      interrupts: [{ irq: 4, vector: 0x24, devices: ['com1'], delivered: run(0.01) }],
    }),
    ...(n < 5 ? [vm(3, 'c')] : []),
  ]);
}

describe('what was written', () => {
  test.each([1, 5, 60])('of %i samples of a second comes back', count => {
    expectSame(written(Array.from({ length: count }, (_, index) => withDevices(inventory(index + 1)))));
  });

  test('comes back from a host on which VMs are reset and go', () => {
    expectSame(written([1, 2, 3, 4, 5, 6, 7].map(busy)));
  });

  test('comes back from samples within one second', () => {
    expectSame(written([0.125, 0.25, 0.5, 0.75, 1, 1.125].map(busy)));
  });

  test('gives the screens the lines that the host gave them, but for texts', () => {
    const live = [1, 2].map(n => withDevices(inventory(n))) as [Sample, Sample];
    const [before, now] = samplesOf(tapeOfLog(written(live), 'x.csv')) as [Sample, Sample];
    for (const screen of ['cpu', 'network', 'diskVm', 'timer'] as const) {
      const lines = (of: Sample, last: Sample) => [
        ...headerLines(screen, of, last, undefined, 200),
        ...textTable(screen, of, last, 200),
      ];
      // GUEST and SOURCE are no counters.
      const figures = (text: string) =>
        text
          .replaceAll(/ (?:idle|getppid|booting|off|crashed|pit|vmi-alarm|none|-)(?= |$)/g, ' ~')
          .replaceAll(/ +/g, ' ')
          .replace(/^SOURCES.*/, '');
      expect(lines(now, before).map(figures)).toEqual(lines(live[1], live[0]).map(figures));
    }
  });
});

test('a VM that was reset begins again, and its rates are right across the reset', () => {
  const tape = tapeOfLog(written([3, 4].map(busy)), 'x.csv');
  const [before, now] = samplesOf(tape).map(each => each.vms[1]!) as [Sample['vms'][0], Sample['vms'][0]];
  expect(before.poweredOnAtCycles).toBe(0);
  expect(now.poweredOnAtCycles / tape.sample(0).cyclesPerSecond).toBeCloseTo(3.6, 6);
  expect(now.counters.exits).toBeLessThan(before.counters.exits);
  expect(now.timer.delivered).toBeCloseTo(0.24 * 400, 0);
});

describe('what is not in the file', () => {
  const NONE = Object.fromEntries(SCREEN_IDS.map(screen => [screen, ''])) as FieldOrders;

  test('is a dash, not a zero', () => {
    const [before, now] = samplesOf(
      tapeOfLog(written([1, 2].map(inventory), { ...NONE, cpu: 'abcdeFghij' }), 'x.csv'),
    ) as [Sample, Sample];
    const [heading, db] = ['NAME', 'db-bt'].map(name =>
      textTable('cpu', now, before, 200)
        .find(line => line.includes(name))!
        .trim()
        .split(/ +/),
    ) as [string[], string[]];
    expect(db[heading.indexOf('%USED')]).toBe('-');
    expect(db[heading.indexOf('MODE')]).toBe('BT');
    expect(textTable('timer', now, before, 200).find(line => line.includes('db-bt'))).toMatch(
      /db-bt( +\S+){2}( +-){6}/,
    );
    expect(textTable('memory', now, before, 200).join('\n')).not.toMatch(/NaN|0\.00/);
    for (const screen of [
      'cpu',
      'memory',
      'timer',
      'interrupt',
      'network',
      'diskVm',
      'diskAdapter',
      'diskDevice',
    ] as const) {
      expect(headerLines(screen, now, before, undefined, 200).join('\n')).not.toMatch(/NaN|unknown/);
    }
    // What was not known is not written as if it were.
    expect(written([before, now])).not.toMatch(/NaN/);
  });

  test('with the shown fields only the shown columns come back', () => {
    const live = [1, 2].map(n => withDevices(inventory(n)));
    const { fields } = defaultConfig();
    expectSame(written(live, fields), fields);
  });
});

test('samples of one second in a file that does not say more are spread over it', () => {
  const lines = ['10', '10', '10', '11'].map(second => `"06/01/2010 10:00:${second}","8191"`);
  const text = ['"(PDH-CSV 4.0) (UTC)(0)","\\\\a\\Memory\\Machine MBytes"', ...lines].join('\n');
  const seconds = samplesOf(tapeOfLog(text, 'x')).map(({ atCycles, cyclesPerSecond }) => atCycles / cyclesPerSecond);
  for (const [index, second] of [1 / 3, 2 / 3, 1, 4 / 3].entries()) expect(seconds[index]).toBeCloseTo(second, 6);
});

test('a group is what its own figure says, whatever the rounded ones of its worlds sum up to', () => {
  // 3.336 % three times: rounded each for itself they are 10.02.
  const part = { usedCycles: 333.6, runCycles: 333.6 };
  const worlds = ['vmm0:a', 'vcpu0:a', 'vmx:a'].map((name, index) => world(index, name, part));
  const text = written([sample(10 * HZ, [vm(1, 'a', { worlds })])]);
  const [only] = samplesOf(tapeOfLog(text, 'x')) as [Sample];
  expect(textTable('cpu', only, undefined, 200)[1]!.trim().split(/ +/)[4]).toBe('10.01');
});

test('a file of another host: groups without worlds, counters that we do not have, no uptime', () => {
  const paths = [
    'Memory\\Machine MBytes',
    'Physical Cpu(0)\\% Processor Time',
    'Group Cpu(1:idle)\\% Used',
    'Group Cpu(1:idle)\\Members',
    'Group Cpu(1001:db01)\\% Used',
    'Group Cpu(1001:db01)\\Members',
    'Physical Disk(vmhba1)\\Commands/sec',
  ].map(path => `"\\\\esx.lab\\${path}"`);
  const text = [
    ['"(PDH-CSV 4.0) (UTC)(0)"', ...paths].join(','),
    '"06/01/2010 10:00:00","8191","25.00","100.00","4","12.50","5","77.00"',
    '"06/01/2010 10:00:10","8191","35.00","200.00","4","37.50","5","78.00"',
  ].join('\r\n');
  const tape = tapeOfLog(text, 'esx.csv');
  const [before, now] = samplesOf(tape) as [Sample, Sample];
  expect(now.host.name).toBe('esx.lab');
  expect((now.atCycles - before.atCycles) / now.cyclesPerSecond).toBe(10);
  const table = textTable('cpu', now, before, 200).map(line => line.trim().split(/ +/));
  expect(table[2]!.slice(0, 5)).toEqual(['1001', '1001', 'db01', '5', '37.50']);
  expect(headerLines('cpu', now, before, undefined, 120)[1]).toContain(' 35.00');
});

test('what versions of esxtop do beside the format: a line before it, commas and an empty line at ends', () => {
  const plain = ['"(PDH-CSV 4.0) (UTC)(0)","\\\\a\\Memory\\Machine MBytes"', '"06/01/2010 10:00:00","8191"'];
  for (const text of [
    `Connected to a\n${plain.join('\n')}\n`,
    `${plain.map(line => `${line},`).join('\n')}\n`,
    `${plain.join('\n')}\n\n`,
    `\ufeff${plain.join('\r\n')}\r\n`,
  ]) {
    expect(isPerformanceLog(text)).toBe(true);
    expect(tapeOfLog(text, 'x').sample(0).host.memory.totalKb).toBe(8191 * 1024);
  }
  expect(isPerformanceLog('{"kind":"header"}\n"(PDH-CSV 4.0)"\n')).toBe(false);
});

test.each([
  ['another first cell', '"Time","\\\\a\\Memory\\Machine MBytes"\n"1","2"\n', /^performance log x:1: does not begin/],
  ['no counter', '"(PDH-CSV 4.0) (UTC)(0)"\n', /^performance log x:1: has no counter$/],
  ['no sample', '"(PDH-CSV 4.0) (UTC)(0)","\\\\a\\Memory\\Machine MBytes"\n', /^performance log x:2: holds no sample$/],
  [
    'a path of another kind',
    '"(PDH-CSV 4.0) (UTC)(0)","Memory"\n',
    /^performance log x:1: not a counter's path: "Memory"$/,
  ],
  [
    'a row that is too short',
    '"(PDH-CSV 4.0) (UTC)(0)","\\\\a\\B\\C","\\\\a\\B\\D"\n"04/01/2008 09:00:02","1","2"\n"04/01/2008 09:00:03","1"\n',
    /^performance log x:3: /,
  ],
  [
    'a quote that is not closed',
    '"(PDH-CSV 4.0) (UTC)(0)","\\\\a\\B\\C"\n"04/01/2008 09:00:02","1\n',
    /^performance log x:\d: /,
  ],
  [
    'a word for a number',
    '"(PDH-CSV 4.0) (UTC)(0)","\\\\a\\B\\C"\n"04/01/2008 09:00:02","many"\n',
    /^performance log x:2: not a number: "many" for \\\\a\\B\\C$/,
  ],
  [
    'a day that there is not',
    '"(PDH-CSV 4.0) (UTC)(0)","\\\\a\\B\\C"\n"02/30/2008 09:00:02","1"\n',
    /^performance log x:2: not a time: "02\/30\/2008 09:00:02"$/,
  ],
  [
    'a time before the last one',
    '"(PDH-CSV 4.0) (UTC)(0)","\\\\a\\B\\C"\n"04/01/2008 09:00:02","1"\n"04/01/2008 09:00:01","1"\n',
    /^performance log x:3: goes back in time/,
  ],
])('%s is refused in one line', (_, text, reason) => {
  const read = () => tapeOfLog(text, 'x');
  expect(read).toThrow(UsageError);
  expect(read).toThrow(reason);
  expect(read).toThrow(/^[^\n]*$/);
});
