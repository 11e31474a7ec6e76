/**
 * `npm run bench:engine [-- COMMAND] [OPTIONS]`: how fast the machine executes, beside other emulators.
 *
 * The tables go to stdout, progress to stderr. Exit code 1 when emulators disagree about what the guest computed.
 */
import { writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { bochs } from './bochs.js';
import type { Emulator, EmulatorRun } from './emulator.js';
import { idleSpeed } from './idle.js';
import { IMAGE, MEMORY_MIB } from './image.js';
import { ours, v86 } from './node-emulators.js';
import { qemu } from './qemu.js';
import { CLOCKS, type Clock, formatReport, makeReport, type Statistic } from './report.js';
import { bootTimes, firstFrameTimes } from './startup.js';

const HELP = `bench:engine [compare|interpreter|compile|boot|console|idle] [options]

  compare       every row on every emulator that is installed (default)
  interpreter   our interpreter alone on the integer loop, in guest instructions per second
  compile       how long the machine waits for its compiler, over all rows
  boot          vmitop boot until the guest's shell is there, in every mode
  console       the console until its first frame
  idle          a host with 64 idle VMs, in every mode

  --runs N           interleaved runs of each emulator (5)
  --only ROW,...     these rows
  --emulators E,...  these emulators, the first is what the others are compared with (ours,v86,qemu,bochs)
  --scale PERMILLE   multiplies the counts (1000)
  --warm PERMILLE    scale of a pass before the timed one; 0 for none (100)
  --clock CLOCK      time to compare: wall, between the marks; cpu, of the emulator's processors; steady, between the marks of
                     ours and v86 in units of a loop that is timed at both, where the computer's speed changes (wall)
  --best             the shortest run instead of the median, for a computer that has other work
  --timeout S        for one run of one emulator (300)
  --json FILE        every figure of every run
`;

/** Exit code after Ctrl-C: 128 and the signal's number. */
const INTERRUPTED = 130;
/** Ten instructions each time round (guest/loops.S). */
const LOOP_INSTRUCTIONS = 10;

const progress = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

interface Options {
  readonly runs: number;
  readonly only: string | undefined;
  readonly scale: number;
  readonly warm: number;
  readonly clock: Clock;
  readonly statistic: Statistic;
  readonly timeoutMs: number;
  readonly json: string | undefined;
}

const environment = () => ({
  cpu: cpus()[0]?.model ?? 'unknown processor',
  processors: cpus().length,
  node: process.version,
  v8: process.versions.v8,
  loadAverage: loadavg().map(load => Math.round(load * 100) / 100),
});

function describe(before: readonly number[]): string {
  const { cpu, processors, node, v8 } = environment();
  const load = (values: readonly number[]): string => values.map(value => value.toFixed(2)).join(' ');
  return [
    `${cpu}, ${processors} processors, Node ${node} (V8 ${v8})`,
    `load average before: ${load(before)}, after: ${load(loadavg())}`,
  ].join('\n');
}

const commandLine = ({ scale, warm, only }: Options): string =>
  `scale=${scale} warm=${warm}${only === undefined ? '' : ` only=${only}`}`;

async function collect(
  emulators: readonly Emulator[],
  options: Options,
  signal: AbortSignal,
): Promise<{ series: { name: string; runs: EmulatorRun[] }[]; broken: string[] }> {
  const series = emulators.map(({ name }) => ({ name, runs: [] as EmulatorRun[] }));
  const broken: string[] = [];
  for (let run = 0; run < options.runs; run++) {
    for (const [index, emulator] of emulators.entries()) {
      if (signal.aborted) return { series, broken };
      progress(`run ${run + 1} of ${options.runs}: ${emulator.name}`);
      try {
        const settings = { imagePath: IMAGE, memoryMib: MEMORY_MIB, timeoutMs: options.timeoutMs, signal };
        series[index]!.runs.push(await emulator.run({ ...settings, commandLine: commandLine(options) }));
      } catch (error) {
        if (signal.aborted) return { series, broken };
        broken.push(`${emulator.name}, run ${run + 1}: ${(error as Error).message}`);
        progress(broken.at(-1)!);
      }
    }
  }
  return { series, broken };
}

async function compare(wanted: readonly Emulator[], options: Options, signal: AbortSignal): Promise<number> {
  const before = loadavg();
  const versions = wanted.map(emulator => ({ emulator, version: emulator.version() }));
  const installed = versions.flatMap(({ emulator, version }) => (version === undefined ? [] : [emulator]));
  const { series, broken } = await collect(installed, options, signal);
  const report = makeReport(series, options.clock, options.statistic);
  const names = series.filter(({ runs }) => runs.length > 0).map(({ name }) => name);
  console.log(describe(before));
  for (const { emulator, version } of versions) console.log(`${emulator.name}: ${version ?? 'not installed'}`);
  console.log(`runs: ${series.map(({ name, runs }) => `${name} ${runs.length}`).join(', ')}; ${commandLine(options)}`);
  console.log(`\n${formatReport(report, names)}`);
  for (const failure of broken) console.log(`FAILURE ${failure}`);
  if (options.json !== undefined) {
    const versionsByName = Object.fromEntries(
      versions.map(({ emulator, version }) => [emulator.name, version ?? null]),
    );
    const all = { environment: environment(), versions: versionsByName, options, report, broken, series };
    writeFileSync(options.json, `${JSON.stringify(all, null, 1)}\n`);
  }
  if (signal.aborted) return INTERRUPTED;
  return report.failures.length + broken.length > 0 ? 1 : 0;
}

async function interpreter(options: Options, signal: AbortSignal): Promise<number> {
  const before = loadavg();
  const emulator = ours('interpreter', 'never');
  const { series, broken } = await collect([emulator], { ...options, only: 'loop' }, signal);
  const speeds = series[0]!.runs.flatMap(({ rows }) =>
    rows.map(row => (row.count * LOOP_INSTRUCTIONS) / row.wallMs / 1000),
  );
  if (speeds.length === 0) {
    console.log(`FAILURE ${broken.join('; ')}`);
    return 1;
  }
  const sorted = [...speeds].sort((a, b) => a - b).map(speed => speed.toFixed(1));
  console.log(`${describe(before)}\ninterpreter, integer loop: ${sorted.join(' ')} million instructions a second`);
  return 0;
}

async function compile(options: Options, signal: AbortSignal): Promise<number> {
  const before = loadavg();
  const { series, broken } = await collect([ours('ours')], options, signal);
  console.log(describe(before));
  for (const { figures } of series[0]!.runs) {
    const ms = (name: string): string => `${(figures[name] ?? Number.NaN).toFixed(2)} ms`;
    console.log(
      `regions compiled: ${figures['regionsCompiled']}, dropped: ${figures['regionsDropped']}; the machine waited ` +
        `${figures['compileWaits']} times, ${ms('compileMsMax')} at most, ${ms('compileMsMedian')} in the median, ` +
        `${ms('compileMsTotal')} in all; ` +
        `code at the end: ${((figures['codeBytes'] ?? 0) / 1048576).toFixed(1)} MiB`,
    );
  }
  for (const failure of broken) console.log(`FAILURE ${failure}`);
  return broken.length > 0 ? 1 : 0;
}

function print(lines: readonly string[]): number {
  console.log([describe(loadavg()), ...lines].join('\n'));
  return 0;
}

function positive(text: string | undefined, name: string, otherwise: number, least: number): number {
  const value = text === undefined ? otherwise : Number(text);
  if (!Number.isFinite(value) || value < least)
    throw new TypeError(`--${name}: ${text} is not a number from ${least} on`);
  return value;
}

function clockOf(name: string | undefined): Clock {
  const clock = CLOCKS.find(known => known === (name ?? 'wall'));
  if (clock === undefined) throw new TypeError(`--clock: ${name} is none of ${CLOCKS.join(', ')}`);
  return clock;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      runs: { type: 'string' },
      only: { type: 'string' },
      emulators: { type: 'string' },
      scale: { type: 'string' },
      warm: { type: 'string' },
      clock: { type: 'string' },
      timeout: { type: 'string' },
      json: { type: 'string' },
      best: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  });
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const options: Options = {
    runs: positive(values.runs, 'runs', 5, 1),
    only: values.only,
    scale: positive(values.scale, 'scale', 1000, 1),
    warm: positive(values.warm, 'warm', 100, 0),
    clock: clockOf(values.clock),
    statistic: values.best === true ? 'best' : 'median',
    timeoutMs: positive(values.timeout, 'timeout', 300, 1) * 1000,
    json: values.json,
  };
  const known: readonly Emulator[] = [ours('ours'), v86, qemu, bochs];
  const wanted = (values.emulators ?? known.map(({ name }) => name).join(',')).split(',').map(name => {
    const emulator = [...known, ours('interpreter', 'never')].find(candidate => candidate.name === name);
    if (emulator === undefined) throw new TypeError(`--emulators: there is no "${name}"`);
    return emulator;
  });
  const abort = new AbortController();
  process.once('SIGINT', () => {
    progress('interrupted: what there is so far');
    abort.abort();
  });
  const command = positionals[0] ?? 'compare';
  switch (command) {
    case 'compare':
      return compare(wanted, options, abort.signal);
    case 'interpreter':
      return interpreter(options, abort.signal);
    case 'compile':
      return compile(options, abort.signal);
    case 'boot':
      return print(await bootTimes(options.runs, abort.signal));
    case 'console':
      return print(await firstFrameTimes(options.runs, abort.signal));
    case 'idle':
      console.log(describe(loadavg()));
      for (const mode of ['native', 'bt', 'vmi'] as const) {
        if (!abort.signal.aborted) console.log(idleSpeed(mode, abort.signal));
        // Lets Ctrl-C be heard between the modes.
        await new Promise(resolve => setImmediate(resolve));
      }
      return 0;
    default:
      throw new TypeError(`there is no command "${command}"`);
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof TypeError)) throw error;
  process.stderr.write(`bench:engine: ${error.message}\n\n${HELP}`);
  process.exitCode = 2;
}
