/** `vmitop top`, the default: the console over a host that boots its inventory; without a terminal, a few samples as text. */
import type { Argv, CommandModule } from 'yargs';
import { GUEST_PROGRAMS, loadGuestSymbols } from '../../guest/image.js';
import type { HostConfig, HostEvent, Sample } from '../../hypervisor/index.js';
import { HostSession } from '../../session/client.js';
import type { Pace, Progress } from '../../session/protocol.js';
import { Runner } from '../../session/runner.js';
import { WhenIdle } from '../../session/when-idle.js';
import type { ConsoleConfig } from '../../tui/state.js';
import { CONFIG_OPTION, configFileAt, loadConfig } from '../console-config.js';
import { createHost } from '../create-host.js';
import { ExitCode } from '../exit.js';
import { hostConfig, loadInventory, typedWhenIdle } from '../inventory.js';
import { openConsole } from '../open-console.js';
import {
  COST_OPTION,
  INVENTORY_OPTION,
  MOUSE_OPTION,
  parseCosts,
  parsePace,
  positive,
  SCREEN_READER_OPTION,
  SPEED_OPTION,
  wholeNumber,
} from '../options.js';
import { snapshotFile } from '../picture-file.js';
import { sampleText } from '../sample-text.js';
import type { Streams } from '../streams.js';
import { Door } from '../vmx/door.js';
import type { InventoryFolder } from '../vmx/folder.js';
import { keepIn } from '../vmx/keep.js';
import { logsOf, tellTroubles } from '../vmx/log.js';
import { SuspendedFiles } from '../vmx/suspended.js';

export interface ConsoleArguments {
  inventory: string | undefined;
  delay: string | undefined;
  speed: string;
  config: string | undefined;
  mouse: boolean | undefined;
  'screen-reader': boolean | undefined;
  cost: string[] | undefined;
}

interface TopArguments extends ConsoleArguments {
  iterations: string;
}

export const topCommand = (streams: Streams): CommandModule<object, TopArguments> => ({
  command: ['top', '$0'],
  describe: 'the console (default)',
  builder: yargs =>
    consoleOptions(yargs)
      .option('iterations', {
        alias: 'n',
        type: 'string',
        requiresArg: true,
        default: '3',
        describe: 'without a terminal: samples to print',
      })
      .example('vmitop', 'six VMs, half of them with VMI')
      .example('vmitop top --inventory lab.json --speed max', 'your own host, as fast as the computer can')
      .example('vmitop top -n 5 -d 0.5 | less', 'five samples as text'),
  handler: async argv => {
    process.exitCode = hasTerminal(streams)
      ? await runConsoleSession(argv, streams)
      : await printSamples(argv, streams);
  },
});

export const consoleOptions = <T>(yargs: Argv<T>) =>
  yargs
    .option('inventory', INVENTORY_OPTION)
    .option('delay', {
      alias: 'd',
      type: 'string',
      requiresArg: true,
      describe: 'seconds of virtual time between samples; default: 1, or what the configuration says',
    })
    .option('config', CONFIG_OPTION)
    .option('mouse', MOUSE_OPTION)
    .option('screen-reader', SCREEN_READER_OPTION)
    .option('speed', { ...SPEED_OPTION, default: '1' })
    .option('cost', COST_OPTION);

export const hasTerminal = ({ stdin, stdout }: Streams): boolean => stdin.isTTY === true && stdout.isTTY === true;

/** What the arguments of a console ask for. Throws `UsageError`. */
export function consoleSetup(
  argv: Omit<ConsoleArguments, 'screen-reader'>,
  delaySeconds = '1',
): {
  readonly config: HostConfig;
  readonly typeWhenIdle: Readonly<Record<string, string>>;
  readonly pace: Pace;
  /** How the console begins; its interval is the one of `config`. */
  readonly console: ConsoleConfig;
  readonly configPath: string;
  readonly folder: InventoryFolder | undefined;
} {
  const loaded = loadConfig(argv.config);
  const delay = argv.delay ?? (loaded.chosen ? String(loaded.config.intervalMs / 1000) : delaySeconds);
  const intervalMs = Math.round(positive(delay, '--delay', 'at least 0.001 seconds') * 1000);
  wholeNumber(intervalMs, '--delay (in ms)', 1, 3_600_000);
  const pace = parsePace(argv.speed);
  const costs = parseCosts(argv.cost);
  const { inventory, folder } = loadInventory(argv.inventory);
  return {
    config: hostConfig(inventory, intervalMs, costs),
    typeWhenIdle: typedWhenIdle(inventory),
    pace,
    console: { ...loaded.config, intervalMs, mouse: argv.mouse ?? loaded.config.mouse },
    configPath: loaded.path,
    folder,
  };
}

/**
 * Opens the console on a host of its own and stays until the user quits. `record` is told the configuration before anything
 * happens and answers with who listens. Errors of the host come out of the promise.
 */
export async function runConsoleSession(
  argv: ConsoleArguments,
  streams: Streams,
  record?: (config: HostConfig) => Promise<(progress: Progress) => void>,
): Promise<number> {
  const { config, typeWhenIdle, pace, folder, ...setup } = consoleSetup(argv);
  const recorded = await record?.(config);
  const logs = logsOf(folder, config);
  const states = folder && new SuspendedFiles(folder);
  const onProgress = (progress: Progress): void => {
    recorded?.(progress);
    logs?.take(progress.events);
    states?.take(progress);
  };
  // The host is built in its thread while this one loads and draws the console, which has nothing to show but itself yet.
  const session = new HostSession({
    config,
    typeWhenIdle,
    pace,
    ...(folder && { keep: keepIn(folder) }),
    onProgress,
  });
  const door = folder && (await Door.open(folder.path, session));
  try {
    await openConsole(argv['screen-reader'], session, {
      config: setup.console,
      configFile: configFileAt(setup.configPath),
      snapshotFile,
      programs: GUEST_PROGRAMS,
      symbols: loadGuestSymbols().filter(({ code }) => code),
      hostStands: session.ready,
      stdout: streams.stdout,
      stdin: streams.stdin,
    });
  } finally {
    if (door instanceof Door) await door.close();
    await session.close();
    tellTroubles(logs, streams);
    await states?.finish(streams);
    if (typeof door === 'string') streams.stderr.write(`vmitop: ${door}\n`);
  }
  const error = session.error();
  if (error) throw error;
  // The console sets it when a signal ended it.
  return Number(process.exitCode ?? ExitCode.OK);
}

/** As fast as the computer can, in this thread: nobody presses keys. */
async function printSamples(argv: TopArguments, streams: Streams): Promise<ExitCode> {
  const wanted = wholeNumber(argv.iterations, '--iterations', 1, 1_000_000);
  const { config, typeWhenIdle, folder, ...setup } = consoleSetup(argv);
  const host = await createHost(config);
  const logs = logsOf(folder, config);
  const take = (events: readonly HostEvent[]): void => {
    whenIdle.take(events);
    logs?.take(events);
  };
  const whenIdle = new WhenIdle(host, typeWhenIdle);
  let printed = 0;
  let before: Sample | undefined;
  let readerGone = false;
  streams.stdout.on('error', () => {
    readerGone = true;
  });
  take(host.drainEvents());
  const runner = new Runner(host, 'max', {
    onQuantum: events => {
      take(events);
      for (const sample of host.drainSamples()) {
        // A first sample at the very start has nothing to tell yet.
        if (sample.atCycles === 0 || printed === wanted) continue;
        streams.stdout.write(sampleText(sample, before, runner.speed, streams.stdout.columns ?? 132, setup.console));
        before = sample;
        printed += 1;
      }
      return printed === wanted || readerGone ? 'stop' : 'go';
    },
  });
  await runner.run();
  tellTroubles(logs, streams);
  return ExitCode.OK;
}
