/** `vmitop bench`: the paper's experiments in every mode, with every cycle accounted for. */
import { closeSync, writeSync } from 'node:fs';
import type { CommandModule } from 'yargs';
import { loadNanoImage } from '../../guest/image.js';
import { COST_PROFILES, overrideCosts, UsageError } from '../../hypervisor/index.js';
import {
  EXPERIMENTS,
  type Experiment,
  ExperimentFailure,
  type Laboratory,
  type Measurement,
  measure,
} from '../bench/measure.js';
import { measureNano, NANO, NANO_MODES, type NanoMeasurement, nanoTables } from '../bench/nano.js';
import { causeTable, experimentsOf, figureOf, timeTable } from '../bench/report.js';
import { ExitCode } from '../exit.js';
import { loadImage, OWN_GUEST, openOutput } from '../files.js';
import { COST_OPTION, MODES, parseCosts, parseModes } from '../options.js';
import { ProgressBar } from '../progress-bar.js';
import type { Streams } from '../streams.js';

const PROFILES = Object.keys(COST_PROFILES);
const DEFAULT_PROFILE = 'xeon-5160';

interface BenchArguments {
  names: string[] | undefined;
  modes: string | undefined;
  json: string | undefined;
  cost: string[] | undefined;
  profile: string | undefined;
}

export const benchCommand = (streams: Streams): CommandModule<object, BenchArguments> => ({
  command: 'bench [names..]',
  describe: 'boot, idle and the microbenchmarks in each mode, cycles by cause; nano: single operations',
  builder: yargs =>
    yargs
      .positional('names', { type: 'string', array: true, describe: `any of ${EXPERIMENTS.join(', ')}; or ${NANO}` })
      .option('modes', { type: 'string', requiresArg: true, describe: `modes to compare: any of ${MODES.join(', ')}` })
      .option('profile', {
        type: 'string',
        requiresArg: true,
        describe: `processor: ${PROFILES.join(', ')}; ${NANO} takes several, by default all`,
      })
      .option('json', { type: 'string', requiresArg: true, describe: 'write all measurements to this file' })
      .option('cost', COST_OPTION)
      .example('vmitop bench', 'everything, in all modes')
      .example('vmitop bench nano --profile pentium-4-672', 'what one system call, fault, exit ... takes')
      .example('vmitop bench getppid segv --modes bt,vmi', 'two experiments, two modes')
      .example('vmitop bench getppid --cost exceptionToInner=100', 'what if faults were cheaper?'),
  handler: async argv => {
    process.exitCode = await bench(argv, streams);
  },
});

async function bench(argv: BenchArguments, streams: Streams): Promise<ExitCode> {
  if (argv.names?.includes(NANO)) return benchNano(argv, streams);
  const modes = parseModes(argv.modes ?? MODES.join(','));
  const experiments = parseExperiments(argv.names ?? []);
  const profiles = parseProfiles(argv.profile ?? DEFAULT_PROFILE);
  if (profiles.length > 1) throw new UsageError('bench: --profile takes one processor, except for nano');
  const costs = COST_PROFILES[profiles[0]!]!;
  const costOverrides = parseCosts(argv.cost);
  overrideCosts(costs, costOverrides);
  const bytes = loadImage(OWN_GUEST);
  return report(argv.json, streams, async bar => {
    const measurements: Measurement[] = [];
    const runs = experiments.flatMap(experiment => modes.map(mode => ({ experiment, mode })));
    for (const [index, run] of runs.entries()) {
      const lab: Laboratory = {
        image: OWN_GUEST,
        bytes,
        costs: costs.name,
        costOverrides,
        onProgress: doing => bar.show(index / runs.length, doing),
      };
      bar.show(index / runs.length, `${run.experiment} (${run.mode})`);
      measurements.push(await measure(run.experiment, run.mode, lab));
    }
    return {
      tables: [
        timeTable(measurements, modes, costs.cyclesPerSecond),
        ...experimentsOf(measurements).map(experiment => causeTable(measurements, experiment, modes)),
      ],
      data: {
        costs: costs.name,
        costOverrides,
        cyclesPerSecond: costs.cyclesPerSecond,
        measurements: measurements.map(one => ({ ...one, figure: figureOf(one, costs.cyclesPerSecond) })),
      },
    };
  });
}

/** What a bench has found: tables as lines, and all of it for `--json`. */
interface Findings {
  readonly tables: readonly (readonly string[])[];
  readonly data: object;
}

/** Measures with a progress bar, prints what came of it; a guest that does not do its part is one line and an exit code. */
async function report(
  json: string | undefined,
  streams: Streams,
  findings: (bar: ProgressBar) => Promise<Findings>,
): Promise<ExitCode> {
  const output = json === undefined ? undefined : openOutput(json, '--json');
  const bar = new ProgressBar(streams.stderr);
  try {
    const { tables, data } = await findings(bar);
    bar.clear();
    streams.stdout.write(tables.map(lines => `${lines.join('\n')}\n`).join('\n'));
    if (output !== undefined) writeSync(output, `${JSON.stringify(data, null, 2)}\n`);
    return ExitCode.OK;
  } catch (error) {
    if (!(error instanceof ExperimentFailure)) throw error;
    bar.clear();
    streams.stderr.write(`vmitop: ${error.message}\n`);
    return ExitCode.GUEST_CRASHED;
  } finally {
    bar.clear();
    if (output !== undefined) closeSync(output);
  }
}

/** Single operations, for each processor in each mode. */
async function benchNano(argv: BenchArguments, streams: Streams): Promise<ExitCode> {
  if (argv.names!.length > 1) throw new UsageError(`bench: ${NANO} goes alone`);
  const wanted = parseModes(argv.modes ?? NANO_MODES.join(','));
  const modes = NANO_MODES.filter(mode => wanted.includes(mode));
  if (modes.length < wanted.length) throw new UsageError(`bench ${NANO}: --modes takes ${NANO_MODES.join(', ')}`);
  const profiles = parseProfiles(argv.profile ?? PROFILES.join(','));
  const costOverrides = parseCosts(argv.cost);
  overrideCosts(COST_PROFILES[profiles[0]!]!, costOverrides);
  const bytes = loadNanoImage();
  return report(argv.json, streams, async bar => {
    const measurements: NanoMeasurement[] = [];
    const runs = profiles.flatMap(profile => modes.map(mode => ({ profile, mode })));
    for (const [index, { profile, mode }] of runs.entries()) {
      bar.show(index / runs.length, `${profile} (${mode})`);
      measurements.push(await measureNano(profile, mode, bytes, { costOverrides }));
    }
    const plain = measurements.map(one => ({ ...one, cycles: Object.fromEntries(one.cycles) }));
    return { tables: nanoTables(measurements), data: { costOverrides, measurements: plain } };
  });
}

/** A comma-separated list of cost profiles, each once, in the order of the generations. */
function parseProfiles(list: string): readonly string[] {
  const words = list.split(',').map(word => word.trim());
  for (const word of words) {
    if (!PROFILES.includes(word))
      throw new UsageError(`--profile ${word}: unknown processor, must be one of ${PROFILES.join(', ')}`);
  }
  return PROFILES.filter(profile => words.includes(profile));
}

function parseExperiments(names: readonly string[]): readonly Experiment[] {
  for (const name of names) {
    if (!(EXPERIMENTS as readonly string[]).includes(name)) {
      throw new UsageError(`bench: unknown experiment "${name}", must be one of ${EXPERIMENTS.join(', ')}`);
    }
  }
  return names.length === 0 ? EXPERIMENTS : EXPERIMENTS.filter(experiment => names.includes(experiment));
}
