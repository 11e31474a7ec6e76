/** `vmitop replay`: a recording in the console; without a terminal, its samples as text. */
import type { CommandModule } from 'yargs';
import { UsageError } from '../../hypervisor/index.js';
import { ReplaySession, type Tape, tapeOf } from '../../session/replay.js';
import { CONFIG_OPTION, configFileAt, loadConfig } from '../console-config.js';
import { ExitCode } from '../exit.js';
import { readText } from '../files.js';
import { openConsole } from '../open-console.js';
import { MOUSE_OPTION, positive, SCREEN_READER_OPTION, wholeNumber } from '../options.js';
import { snapshotFile } from '../picture-file.js';
import { sampleText } from '../sample-text.js';
import type { Streams } from '../streams.js';
import { hasTerminal } from './top.js';

interface ReplayArguments {
  file: string;
  speed: string;
  config: string | undefined;
  mouse: boolean | undefined;
  'screen-reader': boolean | undefined;
  iterations: string | undefined;
}

export const replayCommand = (streams: Streams): CommandModule<object, ReplayArguments> => ({
  command: 'replay <file>',
  describe: 'a recording or a batch file in the console: pause, step, jump, other speeds',
  builder: yargs =>
    yargs
      .positional('file', { type: 'string', demandOption: true, describe: 'a recording, or what batch mode wrote' })
      .option('speed', {
        type: 'string',
        requiresArg: true,
        default: '1',
        describe: 'seconds of the recording in a real second',
      })
      .option('config', CONFIG_OPTION)
      .option('mouse', MOUSE_OPTION)
      .option('screen-reader', SCREEN_READER_OPTION)
      .option('iterations', {
        alias: 'n',
        type: 'string',
        requiresArg: true,
        describe: 'without a terminal: samples to print; default: all',
      })
      .example('vmitop replay session.rec', 'P pauses, [ and ] step, j jumps, < and > change the speed')
      .example('vmitop replay session.rec -n 3 | less', 'its first samples as text'),
  handler: async argv => {
    process.exitCode = await replay(argv, streams);
  },
});

/** What a file holds, by its first characters. Throws `UsageError` for one that is neither a recording nor a performance log, or is damaged. */
export async function loadTape(path: string): Promise<Tape> {
  const text = readText(path, 'recording');
  // Loaded late: they are doors to the whole hypervisor.
  const { isPerformanceLog } = await import('../../session/performance-log/read.js');
  if (isPerformanceLog(text)) {
    const { tapeOfLog } = await import('../../session/performance-log/tape.js');
    return tapeOfLog(text, path);
  }
  const { parseRecording } = await import('../../hypervisor/index.js');
  const recording = parseRecording(text, path, { cutOff: 'taken' });
  if (recording.samples.length === 0) throw new UsageError(recording.cutOff ?? `recording ${path}: holds no sample`);
  return tapeOf(recording);
}

/** What is missing of a tape that is played without a console, as a line on stderr. */
export function tellCutOff({ cutOff }: Tape, { stderr }: Streams): void {
  if (cutOff !== undefined) stderr.write(`vmitop: ${cutOff}; this is what it holds\n`);
}

async function replay(argv: ReplayArguments, streams: Streams): Promise<number> {
  const speed = positive(argv.speed, '--speed');
  const { config, path } = loadConfig(argv.config);
  const wanted = argv.iterations === undefined ? Infinity : wholeNumber(argv.iterations, '--iterations', 1, 1_000_000);
  const tape = await loadTape(argv.file);
  if (!hasTerminal(streams)) {
    for (let index = 0; index < Math.min(wanted, tape.count); index++) {
      const before = index === 0 ? undefined : tape.sample(index - 1);
      const width = streams.stdout.columns ?? 132;
      streams.stdout.write(sampleText(tape.sample(index), before, undefined, width, config));
    }
    tellCutOff(tape, streams);
    return ExitCode.OK;
  }
  const session = new ReplaySession(tape, speed);
  try {
    await openConsole(argv['screen-reader'], session, {
      config: { ...config, mouse: argv.mouse ?? config.mouse },
      configFile: configFileAt(path),
      snapshotFile,
      programs: [],
      symbols: [],
      stdout: streams.stdout,
      stdin: streams.stdin,
    });
  } finally {
    await session.close();
  }
  return Number(process.exitCode ?? ExitCode.OK);
}
