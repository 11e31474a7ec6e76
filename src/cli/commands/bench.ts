/** `vmitop bench`: the paper's experiments in every mode, with every cycle accounted for. */
import { closeSync, writeSync } from 'node:fs';
import type { CommandModule } from 'yargs';
import { COST_PROFILES, type Mode, overrideCosts, UsageError } from '../../hypervisor/index.js';
import {
  EXPERIMENTS,
  type Experiment,
  ExperimentFailure,
  type Laboratory,
  type Measurement,
  measure,
} from '../bench/measure.js';
import { causeTable, experimentsOf, figureOf, timeTable } from '../bench/report.js';
import { ExitCode } from '../exit.js';
import { loadImage, OWN_GUEST, openOutput } from '../files.js';
import { COST_OPTION, MODES, parseCosts, parseModes } from '../options.js';
import { ProgressBar } from '../progress-bar.js';
import type { Streams } from '../streams.js';

interface BenchArguments {
  names: string[] | undefined;
  modes: string;
  json: string | undefined;
  cost: string[] | undefined;
}

export const benchCommand = (streams: Streams): CommandModule<object, BenchArguments> => ({
  command: 'bench [names..]',
  describe: 'boot, idle and the microbenchmarks in each mode, cycles by cause',
  builder: yargs =>
    yargs
      .positional('names', { type: 'string', array: true, describe: `any of ${EXPERIMENTS.join(', ')}` })
      .option('modes', { type: 'string', requiresArg: true, default: MODES.join(','), describe: 'modes to compare' })
      .option('json', { type: 'string', requiresArg: true, describe: 'write all measurements to this file' })
      .option('cost', COST_OPTION)
      .example('vmitop bench', 'everything, in all three modes')
      .example('vmitop bench getppid segv --modes bt,vmi', 'two experiments, two modes')
      .example('vmitop bench getppid --cost exceptionToInner=100', 'what if faults were cheaper?'),
  handler: async argv => {
    process.exitCode = await bench(argv, streams);
  },
});

async function bench(argv: BenchArguments, streams: Streams): Promise<ExitCode> {
  const modes = parseModes(argv.modes);
  const experiments = parseExperiments(argv.names ?? []);
  const costs = COST_PROFILES['xeon-5160']!;
  const costOverrides = parseCosts(argv.cost);
  overrideCosts(costs, costOverrides);
  const bytes = loadImage(OWN_GUEST);
  const output = argv.json === undefined ? undefined : openOutput(argv.json, '--json');
  const bar = new ProgressBar(streams.stderr);
  try {
    const measurements: Measurement[] = [];
    const runs = experiments.flatMap(experiment => modes.map(mode => ({ experiment, mode })));
    for (const [index, run] of runs.entries()) {
      const lab: Laboratory = {
        image: OWN_GUEST,
        bytes,
        costOverrides,
        onProgress: doing => bar.show(index / runs.length, doing),
      };
      bar.show(index / runs.length, `${run.experiment} (${run.mode})`);
      measurements.push(await measure(run.experiment, run.mode, lab));
    }
    bar.clear();
    print(measurements, modes, costs.cyclesPerSecond, streams);
    if (output !== undefined) writeSync(output, json(measurements, costs.cyclesPerSecond, costOverrides));
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

function parseExperiments(names: readonly string[]): readonly Experiment[] {
  for (const name of names) {
    if (!(EXPERIMENTS as readonly string[]).includes(name)) {
      throw new UsageError(`bench: unknown experiment "${name}", must be one of ${EXPERIMENTS.join(', ')}`);
    }
  }
  return names.length === 0 ? EXPERIMENTS : EXPERIMENTS.filter(experiment => names.includes(experiment));
}

function print(
  measurements: readonly Measurement[],
  modes: readonly Mode[],
  cyclesPerSecond: number,
  streams: Streams,
): void {
  const tables = [
    timeTable(measurements, modes, cyclesPerSecond),
    ...experimentsOf(measurements).map(experiment => causeTable(measurements, experiment, modes)),
  ];
  streams.stdout.write(tables.map(lines => `${lines.join('\n')}\n`).join('\n'));
}

const json = (
  measurements: readonly Measurement[],
  cyclesPerSecond: number,
  costOverrides: Readonly<Record<string, number>>,
): string =>
  `${JSON.stringify(
    {
      costs: 'xeon-5160',
      costOverrides,
      cyclesPerSecond,
      measurements: measurements.map(one => ({ ...one, figure: figureOf(one, cyclesPerSecond) })),
    },
    null,
    2,
  )}\n`;
