/** `vmitop batch`: samples as esxtop's batch mode writes them, as fast as the computer can, in virtual time. */
import { closeSync, writeSync } from 'node:fs';
import type { CommandModule } from 'yargs';
import type { HostEvent } from '../../hypervisor/index.js';
import { Runner } from '../../session/runner.js';
import { WhenIdle } from '../../session/when-idle.js';
import { BatchWriter } from '../../tui/batch.js';
import { CONFIG_OPTION, loadConfig } from '../console-config.js';
import { createHost } from '../create-host.js';
import { ExitCode } from '../exit.js';
import { openOutput } from '../files.js';
import { COST_OPTION, INVENTORY_OPTION, wholeNumber } from '../options.js';
import { ProgressBar } from '../progress-bar.js';
import { onSignals, type Streams } from '../streams.js';
import { logsOf, tellTroubles } from '../vmx/log.js';
import { loadTape, tellCutOff } from './replay.js';
import { consoleSetup } from './top.js';

interface BatchArguments {
  inventory: string | undefined;
  delay: string | undefined;
  config: string | undefined;
  samples: string | undefined;
  all: boolean | undefined;
  output: string | undefined;
  cost: string[] | undefined;
  replay: string | undefined;
}

const SAMPLES_MAX = 1_000_000;
/** esxtop's. */
const DELAY_SECONDS = '5';

export const batchCommand = (streams: Streams): CommandModule<object, BatchArguments> => ({
  command: 'batch',
  describe: 'samples as CSV, as esxtop -b writes them',
  builder: yargs =>
    yargs
      .option('inventory', INVENTORY_OPTION)
      .option('delay', {
        alias: 'd',
        type: 'string',
        requiresArg: true,
        describe: 'seconds of virtual time between samples; default: 5, or what the configuration says',
      })
      .option('config', CONFIG_OPTION)
      .option('samples', {
        alias: 'n',
        type: 'string',
        requiresArg: true,
        describe: 'samples to write; without it until Ctrl-C',
      })
      .option('all', { alias: 'a', type: 'boolean', describe: 'all counters, not those of the shown fields only' })
      .option('output', { type: 'string', requiresArg: true, describe: 'file to write to, instead of stdout' })
      .option('cost', COST_OPTION)
      .option('replay', {
        alias: 'R',
        type: 'string',
        requiresArg: true,
        conflicts: ['inventory', 'delay', 'cost'],
        describe: 'the samples of a recording or another batch file, not of a host',
      })
      .example('vmitop batch -d 1 -n 60 > host.csv', 'a minute of the default host')
      .example('vmitop batch -R session.rec > session.csv', 'the samples of a recording')
      .example('vmitop batch -a -d 0.1 -n 100 --inventory lab --output lab.csv', 'every counter, ten times a second'),
  handler: async argv => {
    process.exitCode =
      argv.replay === undefined ? await batch(argv, streams) : await replayed(argv, argv.replay, streams);
  },
});

/** Where lines go; each is there as a whole before the next one. */
interface Output {
  write(lines: string): void;
  close(): void;
  /** Nobody reads any more. */
  readonly gone: boolean;
}

function outputOf(path: string | undefined, { stdout }: Streams): Output {
  if (path !== undefined) {
    const descriptor = openOutput(path, '--output');
    return { write: lines => writeWhole(descriptor, lines), close: () => closeSync(descriptor), gone: false };
  }
  const output = { write: (lines: string) => void stdout.write(lines), close: () => {}, gone: false };
  stdout.on('error', () => {
    output.gone = true;
  });
  return output;
}

function writeWhole(descriptor: number, text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at);
}

const wantedOf = ({ samples }: BatchArguments): number =>
  samples === undefined ? Infinity : wholeNumber(samples, '--samples', 1, SAMPLES_MAX);

/** What a recording holds, and no more than is wanted. */
async function replayed(argv: BatchArguments, path: string, streams: Streams): Promise<ExitCode> {
  const wanted = wantedOf(argv);
  const { config } = loadConfig(argv.config);
  const tape = await loadTape(path);
  const output = outputOf(argv.output, streams);
  const writer = new BatchWriter(argv.all === true ? 'all' : config.fields);
  try {
    for (let index = 0; index < Math.min(wanted, tape.count) && !output.gone; index++)
      output.write(writer.lines(tape.sample(index)));
    tellCutOff(tape, streams);
  } finally {
    output.close();
  }
  return ExitCode.OK;
}

async function batch(argv: BatchArguments, streams: Streams): Promise<ExitCode> {
  const wanted = wantedOf(argv);
  const { config, typeWhenIdle, folder, ...setup } = consoleSetup(
    { ...argv, speed: 'max', mouse: undefined },
    DELAY_SECONDS,
  );
  const output = outputOf(argv.output, streams);
  const writer = new BatchWriter(argv.all === true ? 'all' : setup.console.fields);
  let end: ExitCode | undefined;
  const ignoreSignals = onSignals(() => {
    end ??= ExitCode.INTERRUPTED;
  });
  const bar = argv.output === undefined ? undefined : new ProgressBar(streams.stderr);
  const logs = logsOf(folder, config);
  let written = 0;
  try {
    const host = await createHost(config);
    const whenIdle = new WhenIdle(host, typeWhenIdle);
    const take = (events: readonly HostEvent[]): void => {
      whenIdle.take(events);
      logs?.take(events);
    };
    take(host.drainEvents());
    const runner = new Runner(host, 'max', {
      onQuantum: events => {
        take(events);
        for (const sample of host.drainSamples()) {
          output.write(writer.lines(sample));
          written += 1;
        }
        if (written >= wanted || output.gone) end ??= ExitCode.OK;
        return end === undefined ? 'go' : 'stop';
      },
      onSlice: () => bar?.show(wanted === Infinity ? 0 : written / wanted, `${written} samples`),
    });
    if (end === undefined) await runner.run();
  } finally {
    ignoreSignals();
    bar?.clear();
    output.close();
  }
  tellTroubles(logs, streams);
  return end ?? ExitCode.OK;
}
