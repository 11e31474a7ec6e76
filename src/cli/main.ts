/** The command line: one yargs command a file. Every error becomes one line on stderr and an exit code, here and only here. */
import { readFileSync } from 'node:fs';
import yargs from 'yargs';
import { hideBin } from 'yargs/helpers';
import { UsageError } from '../hypervisor/index.js';
import { benchCommand } from './commands/bench.js';
import { bootCommand } from './commands/boot.js';
import { recordCommand } from './commands/record.js';
import { topCommand } from './commands/top.js';
import { verifyCommand } from './commands/verify.js';
import { explain } from './exit.js';
import type { Streams } from './streams.js';

const packageVersion = (): string =>
  (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }).version;

/** What yargs finds wrong with the words, with a way on where its own text gives none. */
function complaint(message: string, command: string | undefined): string {
  const [first] = message.split('\n');
  return first!.startsWith('Not enough non-option') ? `an argument is missing, see: vmitop ${command} --help` : first!;
}

async function main(words: readonly string[], streams: Streams): Promise<void> {
  // A reader that goes away early (`vmitop bench | head`) is no error of anybody.
  streams.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
  try {
    await yargs([...words])
      .scriptName('vmitop')
      .usage('$0 [command]\n\nA small ESX-like host in one process: real x86 guests under binary translation or VMI.')
      .command(topCommand(streams))
      .command(bootCommand(streams))
      .command(benchCommand(streams))
      .command(recordCommand(streams))
      .command(verifyCommand(streams))
      .strict()
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
