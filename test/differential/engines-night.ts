/**
 * Random programs through both engines, as many as there is time for:
 *
 *     npx tsx test/differential/engines-night.ts SEED COUNT [FAILURES] [short]
 */
import { generate } from './engines-program.js';
import { EnginePair, listing, type Tally } from './engines-run.js';

const first = Number(process.argv[2] ?? 1);
const count = Number(process.argv[3] ?? 1000);
const most = Number(process.argv[4] ?? 3);
const short = process.argv[5] === 'short';
const tally: Tally = { instructions: 0, exceptions: 0, interrupts: 0, regions: 0, compiledOps: new Map() };
let pair = new EnginePair();
let failures = 0;
const start = performance.now();
for (let seed = first; seed < first + count && failures < most; seed++) {
  const program = generate(seed, short);
  const failure = pair.check(program, tally);
  if (failure === null) continue;
  failures += 1;
  console.log(`seed ${seed}: episode ${failure.episode}, run ${failure.slice}\n  ${failure.differences.join('\n  ')}`);
  pair = new EnginePair();
  const small = pair.minimize(program);
  console.log(`smallest:\n  ${small.failure.differences.join('\n  ')}\n${listing(small.program)}\n`);
}
const seconds = (performance.now() - start) / 1000;
console.log(
  `${count} programs from seed ${first}: ${failures} failures, ${seconds.toFixed(1)} s, ${Math.round((count * 3600) / seconds)} an hour`,
  {
    ...tally,
    compiledOps: tally.compiledOps.size,
  },
);
process.exitCode = failures > 0 ? 1 : 0;
