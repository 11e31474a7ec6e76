import { describe, expect, test } from 'vitest';
import type { Experiment, Measurement } from '../../src/cli/bench/measure.js';
import { causeTable, grouped, timeTable } from '../../src/cli/bench/report.js';
import { progressLine } from '../../src/cli/progress-bar.js';
import { CAUSES, type Cause, type Counters, type Mode } from '../../src/hypervisor/index.js';

const CLOCK = 1_000_000;

function measurement(
  experiment: Experiment,
  mode: Mode,
  seconds: number,
  causes: Partial<Record<Cause, number>>,
): Measurement {
  const all = Object.fromEntries(Object.keys(CAUSES).map(cause => [cause, 0])) as Record<Cause, number>;
  Object.assign(all, causes);
  const chargedCycles = Object.values(all).reduce((sum, cycles) => sum + cycles, 0);
  return { experiment, mode, virtualSeconds: seconds, chargedCycles, causes: all, counters: {} as Counters };
}

describe('the time table', () => {
  const measurements = [
    measurement('getppid', 'native', 0.001, { guestUser: 300, guestKernel: 700 }),
    measurement('getppid', 'bt', 0.004, { guestUser: 300, guestKernel: 2_700, callout: 1_000 }),
    measurement('getppid', 'vmi', 0.002, { guestUser: 300, guestKernel: 1_700 }),
    measurement('idle', 'native', 2, { guestKernel: 2_000 }),
  ];

  test('has seconds for each mode and the ratios between modes', () => {
    const lines = timeTable(measurements, ['native', 'bt', 'vmi'], CLOCK);
    expect(lines[1]!.split(/\s+/)).toEqual(['getppid', '0.001000', '0.004000', '0.002000', '4.000', '2.000', '2.000']);
  });

  test('compares idle guests by what they use, and leaves out what was not measured', () => {
    const idle = timeTable(measurements, ['native', 'bt', 'vmi'], CLOCK)[2]!;
    // 2 000 cycles in 2 s of a 1 MHz clock.
    expect(idle).toMatch(/^idle, % of a CPU\s+0\.100000\s+-\s+-\s+-\s+-\s+-$/);
  });

  test('has no ratio to a mode that was not asked for', () => {
    const [heading] = timeTable(measurements, ['bt', 'vmi'], CLOCK);
    expect(heading!.trim().split(/\s{2,}/)).toEqual(['virtual seconds', 'bt', 'vmi', 'bt/vmi']);
  });
});

test('the cause table has shares of the whole, and only causes that occur', () => {
  const lines = causeTable(
    [
      measurement('segv', 'bt', 1, { guestUser: 250, trueFault: 750 }),
      measurement('segv', 'vmi', 1, { guestUser: 1_000 }),
    ],
    'segv',
    ['bt', 'vmi'],
  );
  expect(lines.map(line => line.split(/\s{2,}/))).toEqual([
    ['segv: cycles by cause', 'bt', '%', 'vmi', '%'],
    [CAUSES.guestUser.label, '250', '25.0', '1 000', '100.0'],
    [CAUSES.trueFault.label, '750', '75.0', '0', '0.0'],
    ['total', '1 000', '100.0', '1 000', '100.0'],
  ]);
});

test.each([
  [0, '0'],
  [999, '999'],
  [1_000, '1 000'],
  [12_345_678, '12 345 678'],
])('%d is written as %s', (value, text) => expect(grouped(value)).toBe(text));

test('the progress bar fits its terminal and its bounds', () => {
  expect(progressLine(0.5, 'x', 80)).toBe('[############............]  50% x');
  expect(progressLine(7, 'x', 80)).toContain('100%');
  expect(progressLine(0, 'a long text '.repeat(20), 40)).toHaveLength(39);
});
