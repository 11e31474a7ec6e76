/** `vmitop record`: a session at the console, or a script, written to a file that `verify` can repeat. */
import type { CommandModule } from 'yargs';
import { type HostConfig, type HostEvent, UsageError } from '../../hypervisor/index.js';
import type { Recorder } from '../../session/recorder.js';
import { WhenIdle } from '../../session/when-idle.js';
import { createHost } from '../create-host.js';
import { DEMONSTRATION } from '../demonstration.js';
import { ExitCode } from '../exit.js';
import { fileReason, readText } from '../files.js';
import { ProgressBar } from '../progress-bar.js';
import { parseScript, runScript, SCRIPT_VERBS, type ScriptEnd, type ScriptStep } from '../script.js';
import { onSignals, type Streams } from '../streams.js';
import { logsOf, tellTroubles } from '../vmx/log.js';
import { writeState } from '../vmx/suspended.js';
import { type ConsoleArguments, consoleOptions, consoleSetup, hasTerminal, runConsoleSession } from './top.js';

interface RecordArguments extends ConsoleArguments {
  file: string;
  script: string | undefined;
}

export const recordCommand = (streams: Streams): CommandModule<object, RecordArguments> => ({
  command: 'record <file>',
  describe: 'the console, with everything recorded; or a script',
  builder: yargs =>
    consoleOptions(yargs)
      .positional('file', { type: 'string', demandOption: true, describe: 'the recording' })
      .option('script', { type: 'string', requiresArg: true, describe: 'run this script instead of the console' })
      .example('vmitop record session.rec', 'without a terminal: a short demonstration')
      .example('vmitop record session.rec --script session.script', 'the commands of the file')
      .example('vmitop verify session.rec', 'the same again, compared byte for byte')
      .epilogue(
        [
          'A script has lines "at MS COMMAND" (virtual time) and "when VM STATE COMMAND" (idle, booting, off, ...).',
          `Commands: ${SCRIPT_VERBS.join('; ')}.`,
        ].join('\n'),
      ),
  handler: async argv => {
    const scripted = argv.script !== undefined || !hasTerminal(streams);
    process.exitCode = scripted ? await recordScript(argv, streams) : await recordConsole(argv, streams);
  },
});

async function recordConsole(argv: RecordArguments, streams: Streams): Promise<number> {
  let recorder: Recorder | undefined;
  try {
    const code = await runConsoleSession(argv, streams, async config => {
      const created = await openRecorder(argv.file, config);
      recorder = created;
      return progress => created.take(progress);
    });
    return code;
  } finally {
    recorder?.close();
    if (recorder) streams.stdout.write(summary(argv.file, recorder));
  }
}

async function recordScript(argv: RecordArguments, streams: Streams): Promise<number> {
  const { config, typeWhenIdle, folder } = consoleSetup(argv);
  const { steps, source } = scriptOf(argv);
  const host = await createHost(config);
  const recorder = await openRecorder(argv.file, config);
  const bar = new ProgressBar(streams.stderr);
  const whenIdle = new WhenIdle(host, typeWhenIdle);
  const logs = logsOf(folder, config);
  const interruption = new AbortController();
  const ignoreSignals = onSignals(() => interruption.abort());
  let commandsTaken = 0;
  let events: HostEvent[] = [];
  const take = (): void => {
    const commands = host.commandLog.slice(commandsTaken);
    commandsTaken += commands.length;
    recorder.take({ nowCycles: host.nowCycles, samples: host.drainSamples(), commands, events });
    events = [];
  };
  let end: ScriptEnd;
  try {
    end = await runScript(host, steps, {
      source,
      signal: interruption.signal,
      onEvents: news => {
        events.push(...news);
        whenIdle.take(news);
        logs?.take(news);
      },
      onSlice: (stepsDone, virtualMs) => {
        take();
        bar.show(stepsDone / steps.length, `${(virtualMs / 1000).toFixed(3)} s of virtual time`);
      },
    });
  } finally {
    ignoreSignals();
    bar.clear();
    take();
    recorder.close();
  }
  tellTroubles(logs, streams);
  streams.stdout.write(summary(argv.file, recorder));
  switch (end.kind) {
    case 'done':
      return ExitCode.OK;
    case 'interrupted':
      return ExitCode.INTERRUPTED;
    case 'stuck':
      streams.stderr.write(`vmitop: ${end.reason}\n`);
      return ExitCode.GUEST_CRASHED;
  }
}

function scriptOf({ script, inventory }: RecordArguments): { steps: ScriptStep[]; source: string } {
  if (script !== undefined) return { steps: parseScript(readText(script, 'script'), script), source: script };
  if (inventory !== undefined) {
    throw new UsageError('record: without a terminal, an inventory of your own needs --script');
  }
  return { steps: parseScript(DEMONSTRATION, 'demonstration'), source: 'demonstration' };
}

/**
 * VMs that begin suspended: their files go when they go on, so the recording has copies beside it, `FILE.NAME.vmss`, by which it can be repeated.
 * The configuration with these in place of the files. Throws `UsageError` when one cannot be written.
 */
async function withKeptStates(path: string, config: HostConfig): Promise<HostConfig> {
  const images = { ...config.images };
  const vms = [...config.vms];
  for (const [index, vm] of config.vms.entries()) {
    if (vm.suspended === undefined) continue;
    const copy = `${path}.${vm.name.replaceAll(/[^\w.-]/g, '_')}.vmss`;
    try {
      await writeState(copy, images[vm.suspended]!);
    } catch (error) {
      throw new UsageError(`${copy}: ${fileReason(error)}`, { cause: error });
    }
    images[copy] = images[vm.suspended]!;
    delete images[vm.suspended];
    vms[index] = { ...vm, suspended: copy };
  }
  return { ...config, images, vms };
}

async function openRecorder(path: string, config: HostConfig): Promise<Recorder> {
  // Recordings know hosts, so they load the hypervisor.
  const { Recorder } = await import('../../session/recorder.js');
  const kept = await withKeptStates(path, config);
  try {
    return new Recorder(path, kept);
  } catch (error) {
    throw new UsageError(`recording ${path}: ${fileReason(error)}`, { cause: error });
  }
}

function summary(path: string, { counts }: Recorder): string {
  return `recorded: ${counts.samples} samples, ${counts.commands} commands in ${path}\n`;
}
