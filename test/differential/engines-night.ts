/**
 * Random programs through both engines, as many as there is time for:
 *
 *     npx tsx test/differential/engines-night.ts SEED COUNT [FAILURES] [short]
 */
import { generate } from './engines-program.js';
import { EnginePair, listing, newTally } from './engines-run.js';

const numbers = process.argv.slice(2, 5).map(Number);
if (numbers.some(number => !Number.isInteger(number) || number < 1)) {
  console.error('seed, count and failures are whole numbers from 1 on');
  process.exit(2);
}
const [first = 1, count = 1000, most = 3] = numbers;
const short = process.argv[5] === 'short';
const tally = newTally();
let pair = new EnginePair();
let failures = 0;
let programs = 0;
const start = performance.now();
for (let seed = first; seed < first + count && failures < most; seed++) {
  const program = generate(seed, short);
  const failure = pair.check(program, tally);
  programs += 1;
  if (failure === null) continue;
  failures += 1;
  console.log(`seed ${seed}: episode ${failure.episode}, run ${failure.slice}\n  ${failure.differences.join('\n  ')}`);
  pair = new EnginePair();
  const small = pair.minimize(program);
  console.log(`smallest:\n  ${small.failure.differences.join('\n  ')}\n${listing(small.program)}\n`);
}
const hours = (performance.now() - start) / 3_600_000;
const { compiledOps, ...counts } = tally;
console.log(`${programs} programs from seed ${first}: ${failures} failures, ${(hours * 3600).toFixed(1)} s`);
console.log(`kinds of ops compiled: ${compiledOps.size}`);
for (const [what, number] of Object.entries({ programs, ...counts })) {
  console.log(
    `${what.padEnd(12)} ${String(number).padStart(12)} ${String(Math.round(number / hours)).padStart(14)} an hour`,
  );
}
process.exitCode = failures > 0 ? 1 : 0;
