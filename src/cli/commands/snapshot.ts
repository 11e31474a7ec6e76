/** `vmitop snapshot`: a picture of the console, without one: the host runs to a virtual time, and what the console would show is drawn. */
import type { CommandModule } from 'yargs';
import { GUEST_PROGRAMS, loadGuestSymbols } from '../../guest/image.js';
import { UsageError } from '../../hypervisor/index.js';
import { LocalSession } from '../../session/local.js';
import type { ScreenId } from '../../tui/columns.js';
import { screenKey } from '../../tui/keys.js';
import { SCREEN_IDS } from '../../tui/state.js';
import { CONFIG_OPTION } from '../console-config.js';
import { createHost } from '../create-host.js';
import { ExitCode } from '../exit.js';
import { COST_OPTION, INVENTORY_OPTION, positive, wholeNumber } from '../options.js';
import { writePicture } from '../picture-file.js';
import { ProgressBar } from '../progress-bar.js';
import { onSignals, type Streams } from '../streams.js';
import { consoleSetup } from './top.js';

interface SnapshotArguments {
  inventory: string | undefined;
  delay: string | undefined;
  config: string | undefined;
  cost: string[] | undefined;
  screen: ScreenId | undefined;
  at: string;
  size: string;
  keys: string;
  colour: boolean;
  output: string;
}

const COLUMNS_MAX = 300;
const ROWS_MAX = 100;

export const snapshotCommand = (streams: Streams): CommandModule<object, SnapshotArguments> => ({
  command: 'snapshot',
  describe: 'a picture of the console, as text, SVG or PNG',
  builder: yargs =>
    yargs
      .option('output', {
        alias: 'o',
        type: 'string',
        requiresArg: true,
        demandOption: true,
        describe: 'file to write: .svg, .png or .txt',
      })
      .option('inventory', INVENTORY_OPTION)
      .option('screen', { choices: SCREEN_IDS, requiresArg: true, describe: 'default: what the configuration says' })
      .option('at', {
        type: 'string',
        requiresArg: true,
        default: '1',
        describe: 'seconds of virtual time to run first',
      })
      .option('keys', { type: 'string', requiresArg: true, default: '', describe: 'keys to press then' })
      .option('size', { type: 'string', requiresArg: true, default: '120x34', describe: 'columns and rows' })
      .option('colour', { type: 'boolean', default: true, describe: '--no-colour: bold and reverse only' })
      .option('delay', {
        alias: 'd',
        type: 'string',
        requiresArg: true,
        describe: 'seconds of virtual time between samples; default: 1, or what the configuration says',
      })
      .option('config', CONFIG_OPTION)
      .option('cost', COST_OPTION)
      .example('vmitop snapshot --at 5 -o cpu.svg', 'the CPU screen of the default host after five seconds')
      .example('vmitop snapshot --at 5 --keys x+ --inventory pair.json -o exits.png', 'causes of two VMs side by side'),
  handler: async argv => {
    process.exitCode = await snapshot(argv, streams);
  },
});

/** `COLUMNSxROWS`. Throws `UsageError`. */
function parseSize(text: string, least: { readonly columns: number; readonly rows: number }) {
  const [, columns, rows] = /^(\d+)x(\d+)$/.exec(text) ?? [];
  if (columns === undefined) throw new UsageError(`--size: must be COLUMNSxROWS, as in 120x34: ${text}`);
  return {
    columns: wholeNumber(columns, '--size, columns', least.columns, COLUMNS_MAX),
    rows: wholeNumber(rows, '--size, rows', least.rows, ROWS_MAX),
  };
}

async function snapshot(argv: SnapshotArguments, { stderr }: Streams): Promise<ExitCode> {
  const { config, typeWhenIdle, ...setup } = consoleSetup({ ...argv, speed: 'max', mouse: undefined });
  const seconds = positive(argv.at, '--at', 'more than 0 seconds');
  // Loaded late: React and Ink are of no use to the other commands.
  const [{ ConsoleController }, { splitKeys }, { COLOUR_THEME, REVERSE_THEME }, { COLUMNS_MIN, ROWS_MIN }] =
    await Promise.all([
      import('../../tui/controller.js'),
      import('../../tui/input.js'),
      import('../../tui/theme.js'),
      import('../../tui/frame.js'),
    ]);
  const size = parseSize(argv.size, { columns: COLUMNS_MIN, rows: ROWS_MIN });
  let interrupted = false;
  const ignoreSignals = onSignals(() => {
    interrupted = true;
  });
  const bar = new ProgressBar(stderr);
  try {
    const host = await createHost(config);
    const session = new LocalSession(host, typeWhenIdle);
    let over = false;
    const console = new ConsoleController(session, {
      config: setup.console,
      configFile: { defaultPath: setup.configPath, save: () => 'a picture is taken: nothing else is written' },
      snapshotFile: { defaultPath: () => argv.output, save: path => Promise.resolve(`${path}: one picture is enough`) },
      programs: GUEST_PROGRAMS,
      symbols: loadGuestSymbols().filter(({ code }) => code),
      theme: argv.colour ? COLOUR_THEME : REVERSE_THEME,
      ...size,
      quit: () => {
        over = true;
      },
      redraw: () => {},
      suspend: () => {},
      copy: () => {},
    });
    try {
      const until = seconds * host.cyclesPerSecond;
      await session.runTo(until, () => {
        bar.show(host.nowCycles / until, 'running the host');
        return interrupted ? 'stop' : 'go';
      });
      if (interrupted) return ExitCode.INTERRUPTED;
      console.catchUp();
      // One by one: what a key asks the host for is answered before the next.
      for (const key of splitKeys((argv.screen === undefined ? '' : screenKey(argv.screen)) + argv.keys).keys) {
        console.keys([key]);
        await answered();
      }
      if (over) throw new UsageError('--keys: q ends the console, and there is nothing to draw');
      await answered();
      await writePicture(argv.output, console.picture());
    } finally {
      console.close();
    }
    return ExitCode.OK;
  } finally {
    ignoreSignals();
    bar.clear();
  }
}

/** A session in this thread answers in microtasks, and a console that asks anew because of an answer in further ones. */
const answered = (): Promise<void> =>
  new Promise(resolve => {
    setImmediate(resolve);
  });
