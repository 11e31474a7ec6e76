/** Random kernels under a translation cache of one page. A failure names the seed; `kernel-night.ts SEED 1` makes it smaller. */
import { expect, test } from 'vitest';
import { generateKernel } from './kernel-program.js';
import { checkKernel, kernelDifferences, runKernel } from './kernel-run.js';

const PER_TEST = 10;

for (let first = 1; first <= 100; first += PER_TEST) {
  test(`seeds ${first} to ${first + PER_TEST - 1}: the same under everybody`, { timeout: 60_000 }, () => {
    for (let seed = first; seed < first + PER_TEST; seed++) {
      expect(checkKernel(generateKernel(seed)), `seed ${seed}`).toBeUndefined();
    }
  });
}

test('they make the monitor do what they are for', () => {
  const totals: Record<string, number> = {};
  for (let seed = 1; seed <= 8; seed++) {
    const { counters } = runKernel(generateKernel(seed), 'bt');
    for (const [name, value] of Object.entries(counters)) totals[name] = (totals[name] ?? 0) + value;
  }
  for (const name of ['tcAdapted', 'mmioFaults', 'trueFaults', 'injections'])
    expect([name, totals[name]! > 20]).toEqual([name, true]);
  expect(totals['tcFlushes']).toBeGreaterThan(100);
  expect(totals['traceFaults']).toBeGreaterThan(1000);
});

test('a mark shows what differs', () => {
  const program = { main: ['mov eax, 5', 'call mark'], functions: [], period: 100, debugged: false, disturbance: [] };
  const five = runKernel(program, 'native');
  const six = runKernel({ ...program, main: ['mov eax, 6', 'call mark'] }, 'native');
  expect(kernelDifferences(five, five)).toEqual([]);
  expect(kernelDifferences(five, six)).toEqual(['mark 0: eax 00000005 / 00000006']);
});
