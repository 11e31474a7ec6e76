/**
 * Random kernels natively, under binary translation with a tiny translation cache, and under hardware assist, as many as asked for:
 *
 *     npx tsx test/differential/kernel-night.ts SEED COUNT [FAILURES]
 */
import { generateKernel, kernelListing } from './kernel-program.js';
import { checkKernel, minimizeKernel, runKernel } from './kernel-run.js';

const numbers = process.argv.slice(2, 5).map(Number);
if (numbers.some(number => !Number.isInteger(number) || number < 1)) {
  console.error('seed, count and failures are whole numbers from 1 on');
  process.exit(2);
}
const [first = 1, count = 100, most = 3] = numbers;
let failures = 0;
let programs = 0;
const totals: Record<string, number> = {};
const COUNTED = [
  'tcUnits',
  'tcFlushes',
  'tcAdapted',
  'tcReverted',
  'traceFaults',
  'mmioFaults',
  'injections',
  'trueFaults',
];
for (let seed = first; seed < first + count && failures < most; seed++) {
  const program = generateKernel(seed);
  const failure = checkKernel(program);
  programs += 1;
  if (failure === undefined) {
    if (programs % 10 === 1) {
      const { counters } = runKernel(program, 'bt');
      for (const name of COUNTED) totals[name] = (totals[name] ?? 0) + counters[name]!;
    }
    continue;
  }
  failures += 1;
  console.log(`seed ${seed}, ${failure.mode}:\n  ${failure.differences.join('\n  ')}`);
  const small = minimizeKernel(program, smaller => checkKernel(smaller)?.mode === failure.mode);
  console.log(`smallest:\n  ${checkKernel(small)!.differences.join('\n  ')}\n${kernelListing(small)}\n`);
}
console.log(`${programs} programs from seed ${first}: ${failures} failures`);
console.log(`one in ten under BT: ${COUNTED.map(name => `${name} ${totals[name] ?? 0}`).join(', ')}`);
process.exitCode = failures > 0 ? 1 : 0;
