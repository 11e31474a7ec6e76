/** `vmitop boot`: one guest in the foreground, its COM1 on the terminal. */
import { closeSync, writeSync } from 'node:fs';
import type { CommandModule } from 'yargs';
import { MonitorBug, UsageError } from '../../hypervisor/index.js';
import { createHost } from '../create-host.js';
import { ExitCode, isOurBug } from '../exit.js';
import { loadImage, OWN_GUEST, openOutput } from '../files.js';
import { type ForegroundEnd, runForeground } from '../foreground.js';
import {
  COST_OPTION,
  MODES,
  parseCosts,
  parseMode,
  parsePace,
  positive,
  SPEED_OPTION,
  wholeNumber,
} from '../options.js';
import { singleVmHost } from '../single-vm.js';
import type { Streams } from '../streams.js';

interface BootArguments {
  image: string | undefined;
  rom: string | undefined;
  initrd: string | undefined;
  mode: string | undefined;
  memory: string;
  append: string;
  until: string | undefined;
  limit: string | undefined;
  stats: string | undefined;
  speed: string | undefined;
  cost: string[] | undefined;
  quiet: boolean;
}

const VM = 'guest';

export const bootCommand = (streams: Streams): CommandModule<object, BootArguments> => ({
  command: 'boot [image]',
  describe: 'run one guest with its serial console on this terminal',
  builder: yargs =>
    yargs
      .positional('image', {
        type: 'string',
        describe: `Linux bzImage, multiboot ELF32 file, or the word ${OWN_GUEST}: the kernel that comes with vmitop`,
      })
      .option('rom', {
        type: 'string',
        requiresArg: true,
        describe: 'instead of a kernel, start this BIOS of 64, 128 or 256 KiB at the reset vector, natively',
      })
      .option('initrd', { type: 'string', requiresArg: true, describe: 'initial RAM disk for a Linux kernel' })
      .option('mode', {
        type: 'string',
        requiresArg: true,
        describe: `${MODES.join(', ')} (default: bt, with --rom native)`,
      })
      .option('memory', { type: 'string', requiresArg: true, default: '64', describe: 'memory of the guest in MiB' })
      .option('append', { type: 'string', requiresArg: true, default: '', describe: 'kernel command line' })
      .option('until', { type: 'string', requiresArg: true, describe: 'end as soon as the console shows this text' })
      .option('limit', { type: 'string', requiresArg: true, describe: 'end after so many seconds of virtual time' })
      .option('stats', { type: 'string', requiresArg: true, describe: 'write the final sample to this file, as JSON' })
      .option('speed', {
        ...SPEED_OPTION,
        describe: `${SPEED_OPTION.describe} (default: 1 with a terminal on stdin, else max)`,
      })
      .option('cost', COST_OPTION)
      .option('quiet', { type: 'boolean', default: false, describe: 'keep the log of the VM off stderr' })
      .example('vmitop boot guest', 'a shell on the kernel that comes with vmitop; Ctrl-C ends')
      .example('vmitop boot guest --mode vmi --append "run=getppid"', 'runs a program, then powers off')
      .example('vmitop boot kernel.elf --mode native --limit 5 --stats stats.json', 'any multiboot kernel')
      .example('vmitop boot vmlinuz --initrd initrd.gz --append console=ttyS0 --memory 256', 'a Linux kernel')
      .example('vmitop boot --rom bios.bin --limit 5', 'a BIOS in real mode; its log on port 0x402 is shown')
      .epilogue('Exit code: 0 when the guest powers off or the text appeared, 3 when it crashed, 4 at the limit.'),
  handler: async argv => {
    process.exitCode = await boot(argv, streams);
  },
});

async function boot(argv: BootArguments, streams: Streams): Promise<ExitCode> {
  const rom = argv.rom !== undefined;
  const image = argv.rom ?? argv.image;
  if (image === undefined) throw new UsageError('boot: name an image, or a BIOS with --rom (vmitop boot --help)');
  if (rom && argv.image !== undefined) throw new UsageError(`--rom: there is no kernel beside a BIOS: ${argv.image}`);
  const mode = parseMode(argv.mode ?? (rom ? 'native' : 'bt'), '--mode');
  if (rom && mode !== 'native')
    throw new UsageError(`--rom: a BIOS starts in real mode, which only --mode native has, not ${mode}`);
  const limitSeconds = argv.limit === undefined ? undefined : positive(argv.limit, '--limit');
  if (argv.until === '') throw new UsageError('--until: the text is empty');
  const defaultPace = streams.stdin.isTTY === true ? 1 : 'max';
  const pace = argv.speed === undefined ? defaultPace : parsePace(argv.speed);
  const host = await createHost(
    singleVmHost({
      name: VM,
      mode,
      memoryMib: wholeNumber(argv.memory, '--memory', 8, 1024),
      image,
      bytes: loadImage(image),
      rom,
      initrd: argv.initrd === undefined ? undefined : { word: argv.initrd, bytes: loadImage(argv.initrd) },
      append: argv.append,
      costOverrides: parseCosts(argv.cost),
    }),
  );
  const powered = host.execute({ kind: 'powerOn', vm: VM });
  if (!powered.ok) throw isOurBug(powered.reason) ? new MonitorBug(powered.reason) : new UsageError(powered.reason);
  const stats = argv.stats === undefined ? undefined : openOutput(argv.stats, '--stats');
  try {
    const options = { vm: VM, pace, until: argv.until, limitSeconds, quiet: argv.quiet };
    const end = await runForeground(host, options, streams);
    if (stats !== undefined) writeSync(stats, `${JSON.stringify(host.sample(), null, 2)}\n`);
    return report(end, limitSeconds, streams);
  } finally {
    if (stats !== undefined) closeSync(stats);
  }
}

function report(end: ForegroundEnd, limitSeconds: number | undefined, streams: Streams): ExitCode {
  switch (end.kind) {
    case 'off':
    case 'text':
      return ExitCode.OK;
    case 'crashed':
      if (isOurBug(end.reason)) throw new MonitorBug(end.reason);
      streams.stderr.write(`vmitop: the guest crashed: ${end.reason}\n`);
      return ExitCode.GUEST_CRASHED;
    case 'limit':
      streams.stderr.write(`vmitop: the limit of ${limitSeconds} s of virtual time is reached\n`);
      return ExitCode.LIMIT;
    case 'interrupt':
      return ExitCode.INTERRUPTED;
  }
}
