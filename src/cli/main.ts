/** The command line: one yargs command a file. Every error becomes one line on stderr and an exit code, here and only here. */
import { readFileSync } from 'node:fs';
import yargs, { type Argv, type CommandModule } from 'yargs';
import { hideBin } from 'yargs/helpers';
import { UsageError } from '../hypervisor/index.js';
import { batchCommand } from './commands/batch.js';
import { benchCommand } from './commands/bench.js';
import { bootCommand } from './commands/boot.js';
import { disasmCommand } from './commands/disasm.js';
import { recordCommand } from './commands/record.js';
import { replayCommand } from './commands/replay.js';
import { snapshotCommand } from './commands/snapshot.js';
import { topCommand } from './commands/top.js';
import { verifyCommand } from './commands/verify.js';
import { vmCommand } from './commands/vm.js';
import { explain } from './exit.js';
import type { Streams } from './streams.js';

const packageVersion = (): string =>
  (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }).version;

/** What yargs finds wrong with the words, with a way on where its own text gives none. */
function complaint(message: string, command: string | undefined): string {
  const [first] = message.split('\n');
  return first!.startsWith('Not enough non-option') ? `an argument is missing, see: vmitop ${command} --help` : first!;
}

/** yargs makes a list of an option that is given twice. `lists` are those that may be. */
function onlyOnce(argv: Readonly<Record<string, unknown>>, words: readonly string[], lists: readonly string[]): true {
  for (const [name, value] of Object.entries(argv)) {
    const option = name.length === 1 ? `-${name}` : `--${name}`;
    const given = words.some(word => word === option || word.startsWith(`${option}=`));
    if (given && Array.isArray(value) && !lists.includes(name))
      throw new UsageError(`${option}: is given more than once`);
  }
  return true;
}

/**
 * The words with what they may mean. A command that they name is parsed alone, as the default command of a program of that name: of
 * any other command yargs writes the help before the command runs, whether anybody asks for it or not, for 60 ms.
 */
function parserOf(words: readonly string[], streams: Streams): Argv {
  const commands = {
    boot: bootCommand(streams),
    batch: batchCommand(streams),
    bench: benchCommand(streams),
    disasm: disasmCommand(streams),
    record: recordCommand(streams),
    replay: replayCommand(streams),
    snapshot: snapshotCommand(streams),
    verify: verifyCommand(streams),
    vm: vmCommand(streams),
    // What each takes is its own business.
  } as { readonly [name: string]: unknown } as { readonly [name: string]: CommandModule };
  const [name = ''] = words;
  if (Object.hasOwn(commands, name)) {
    const module = commands[name]!;
    return yargs(words.slice(1))
      .scriptName(`vmitop ${name}`)
      .command({ ...module, command: String(module.command).replace(name, '$0') });
  }
  const program = yargs([...words])
    .scriptName('vmitop')
    .usage(
      '$0 [command]\n\nA small ESX-like host in one process: real x86 guests under binary translation, hardware assist or VMI.',
    )
    .command(topCommand(streams));
  for (const module of Object.values(commands)) program.command(module);
  return program;
}

async function main(words: readonly string[], streams: Streams): Promise<void> {
  // A reader that goes away early (`vmitop bench | head`) is no error of anybody.
  streams.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
  try {
    await parserOf(words, streams)
      .strict()
      // The types call what yargs hands over aliases: it is its options.
      .check((argv, options) => onlyOnce(argv, words, (options as unknown as { array: string[] }).array))
      .recommendCommands()
      .version(packageVersion())
      .help()
      .alias('help', 'h')
      .wrap(Math.min(100, streams.stdout.columns ?? 80))
      .exitProcess(false)
      .fail((message, error) => {
        throw error && error.name !== 'YError' ? error : new UsageError(complaint(message || error.message, words[0]));
      })
      .parseAsync();
  } catch (error) {
    const { text, code } = explain(error);
    streams.stderr.write(text);
    process.exitCode = code;
  }
}

await main(hideBin(process.argv), process);
