/** `vmitop boot`: one guest in the foreground, its COM1 on the terminal. */
import { closeSync, writeSync } from 'node:fs';
import type { CommandModule } from 'yargs';
import {
  CPU_MODELS,
  type CpuModel,
  DEFAULT_CPU,
  type HostConfig,
  type HostEvent,
  MonitorBug,
  UsageError,
} from '../../hypervisor/index.js';
import { WhenIdle } from '../../session/when-idle.js';
import { createHost } from '../create-host.js';
import { ExitCode, isOurBug } from '../exit.js';
import { loadImage, loadImages, loadInitrd, OWN_GUEST, openOutput } from '../files.js';
import { type ForegroundEnd, runForeground } from '../foreground.js';
import { hostConfig, loadAlone, typedWhenIdle } from '../inventory.js';
import {
  COST_OPTION,
  INVENTORY_OPTION,
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
import type { InventoryFolder } from '../vmx/folder.js';
import { logsOf, tellTroubles } from '../vmx/log.js';

interface BootArguments {
  image: string | undefined;
  inventory: string | undefined;
  rom: string | undefined;
  initrd: string | undefined;
  disk: string[] | undefined;
  net: boolean | undefined;
  mode: string | undefined;
  memory: string | undefined;
  cpu: string | undefined;
  append: string | undefined;
  until: string | undefined;
  limit: string | undefined;
  stats: string | undefined;
  speed: string | undefined;
  cost: string[] | undefined;
  quiet: boolean;
}

const VM = 'guest';
const MEMORY_MIB = '64';
/** Nobody looks at the samples of a guest in the foreground. */
const SAMPLE_MS = 1_000;
/** What an inventory says of its VMs, and so the words of the command do not. */
const OF_INVENTORY = ['rom', 'initrd', 'disk', 'net', 'mode', 'memory', 'cpu', 'append'] as const;

export const bootCommand = (streams: Streams): CommandModule<object, BootArguments> => ({
  command: 'boot [image]',
  describe: 'run one guest with its serial console on this terminal',
  builder: yargs =>
    yargs
      .positional('image', {
        type: 'string',
        describe: `Linux bzImage, multiboot ELF32 file, or the word ${OWN_GUEST}: the kernel that comes with vmitop; with --inventory the name of a VM`,
      })
      .option('inventory', { ...INVENTORY_OPTION, describe: `${INVENTORY_OPTION.describe}, of which one is booted` })
      .option('rom', {
        type: 'string',
        requiresArg: true,
        describe: 'instead of a kernel, start this BIOS of 64, 128 or 256 KiB at the reset vector, natively',
      })
      .option('initrd', { type: 'string', requiresArg: true, describe: 'initial RAM disk for a Linux kernel' })
      .option('disk', {
        type: 'string',
        array: true,
        nargs: 1,
        requiresArg: true,
        describe: 'a disk on virtio with the contents of this file, which is never changed (repeatable)',
      })
      .option('net', { type: 'boolean', describe: 'a network card on virtio, on a switch with nobody else' })
      .option('mode', {
        type: 'string',
        requiresArg: true,
        describe: `${MODES.join(', ')} (default: bt, with --rom native)`,
      })
      .option('memory', {
        type: 'string',
        requiresArg: true,
        describe: `memory of the guest in MiB (default: ${MEMORY_MIB})`,
      })
      .option('cpu', {
        type: 'string',
        requiresArg: true,
        describe: `what CPUID says: ${CPU_MODELS.join(', ')} (default: ${DEFAULT_CPU})`,
      })
      .option('append', { type: 'string', requiresArg: true, describe: 'kernel command line' })
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
      .example('vmitop boot web01 --inventory lab', 'a VM of a folder of .vmx files')
      .example('vmitop boot --rom bios.bin --limit 5', 'a BIOS in real mode; its log on port 0x402 is shown')
      .epilogue('Exit code: 0 when the guest powers off or the text appeared, 3 when it crashed, 4 at the limit.'),
  handler: async argv => {
    process.exitCode = await boot(argv, streams);
  },
});

async function boot(argv: BootArguments, streams: Streams): Promise<ExitCode> {
  const { config, typeWhenIdle, folder } =
    argv.inventory === undefined ? bareGuest(argv) : guestOfInventory(argv, argv.inventory);
  const vm = config.vms[0]!.name;
  const limitSeconds = argv.limit === undefined ? undefined : positive(argv.limit, '--limit');
  if (argv.until === '') throw new UsageError('--until: the text is empty');
  const defaultPace = streams.stdin.isTTY === true ? 1 : 'max';
  const pace = argv.speed === undefined ? defaultPace : parsePace(argv.speed);
  const host = await createHost(config);
  const powered = host.execute({ kind: 'powerOn', vm });
  if (!powered.ok) throw isOurBug(powered.reason) ? new MonitorBug(powered.reason) : new UsageError(powered.reason);
  const stats = argv.stats === undefined ? undefined : openOutput(argv.stats, '--stats');
  const logs = logsOf(folder, config);
  const whenIdle = new WhenIdle(host, typeWhenIdle);
  const onEvents = (events: readonly HostEvent[]): void => {
    whenIdle.take(events);
    logs?.take(events);
  };
  try {
    const options = { vm, pace, until: argv.until, limitSeconds, quiet: argv.quiet, onEvents };
    const end = await runForeground(host, options, streams);
    tellTroubles(logs, streams);
    if (stats !== undefined) writeSync(stats, `${JSON.stringify(host.sample(), null, 2)}\n`);
    return report(end, limitSeconds, streams);
  } finally {
    if (stats !== undefined) closeSync(stats);
  }
}

/** A host with one VM, which is off. */
interface Guest {
  readonly config: HostConfig;
  readonly typeWhenIdle: Readonly<Record<string, string>>;
  readonly folder: InventoryFolder | undefined;
}

/** What the words describe. */
function bareGuest(argv: BootArguments): Guest {
  const rom = argv.rom !== undefined;
  const image = argv.rom ?? argv.image;
  if (image === undefined) throw new UsageError('boot: name an image, or a BIOS with --rom (vmitop boot --help)');
  if (rom && argv.image !== undefined) throw new UsageError(`--rom: there is no kernel beside a BIOS: ${argv.image}`);
  const mode = parseMode(argv.mode ?? (rom ? 'native' : 'bt'), '--mode');
  if (rom && mode !== 'native')
    throw new UsageError(`--rom: a BIOS starts in real mode, which only --mode native has, not ${mode}`);
  const disks = loadImages([], argv.disk);
  const config = singleVmHost({
    name: VM,
    mode,
    memoryMib: wholeNumber(argv.memory ?? MEMORY_MIB, '--memory', 8, 1024),
    image,
    bytes: loadImage(image),
    rom,
    initrd: argv.initrd === undefined ? undefined : { word: argv.initrd, bytes: loadInitrd(argv.initrd) },
    disks: (argv.disk ?? []).map(word => ({ word, bytes: disks[word]! })),
    nics: argv.net === true ? 1 : 0,
    append: argv.append ?? '',
    cpu: argv.cpu === undefined ? undefined : parseCpu(argv.cpu),
    costOverrides: parseCosts(argv.cost),
  });
  return { config, typeWhenIdle: {}, folder: undefined };
}

function parseCpu(text: string): CpuModel {
  const model = CPU_MODELS.find(known => known === text);
  if (model === undefined) throw new UsageError(`--cpu: must be one of ${CPU_MODELS.join(', ')}: ${text}`);
  return model;
}

/** A VM of an inventory, alone on its host. */
function guestOfInventory(argv: BootArguments, path: string): Guest {
  const { image: name } = argv;
  if (name === undefined) throw new UsageError('boot: name a VM of the inventory (vmitop boot --help)');
  const said = OF_INVENTORY.find(option => argv[option] !== undefined);
  if (said !== undefined) throw new UsageError(`--${said}: the inventory says that of ${name}`);
  const { inventory, folder } = loadAlone(path, name);
  return {
    config: hostConfig(inventory, SAMPLE_MS, parseCosts(argv.cost)),
    typeWhenIdle: typedWhenIdle(inventory),
    folder,
  };
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
