/** `vmitop vm`: the VMs of an inventory's folder, as `vmware-cmd` and `vim-cmd` do it: list, create, set keys, power, delete. */
import type { CommandModule } from 'yargs';
import { UsageError } from '../../hypervisor/index.js';
import { alignedLines } from '../aligned.js';
import { ExitCode } from '../exit.js';
import { isFolder } from '../inventory.js';
import type { Streams } from '../streams.js';
import { askConsole, powersIn } from '../vmx/door.js';
import { createVm, deleteVm, findFile, openFolder, setInVm } from '../vmx/folder.js';
import { knownKey, VMX_KEYS } from '../vmx/keys.js';
import { ignoredLines, listedVms, listTable } from '../vmx/list.js';

interface VmArguments {
  action: string;
  name: string | undefined;
  settings: string[] | undefined;
  inventory: string;
  verbose: boolean;
  json: boolean;
}

/** By action: what the console is asked for. */
const POWER = { start: 'powerOn', stop: 'powerOff', reset: 'reset', suspend: 'suspend', resume: 'resume' } as const;

/** Of the console that runs the VM; answers as `vmware-cmd` does. */
function powerAction(action: keyof typeof POWER, help: string): Action {
  return {
    words: `${action} NAME`,
    help: `${help}; in the console that has the folder open`,
    run: async ({ inventory, name, settings }, { stdout }) => {
      const file = findFile(inventory, nameOf(action, name));
      refuseExtra(settings?.[0], undefined);
      const { name: vm } = openFolder(inventory).vms.find(({ path }) => path === file.path)!;
      const isResumed = action === 'start' && (await powersIn(inventory))?.[vm] === 'suspended';
      const answer = await askConsole(inventory, { kind: isResumed ? 'resume' : POWER[action], vm });
      if (answer === undefined) {
        throw new UsageError(`vm ${action}: no console has ${inventory} open: vmitop top --inventory ${inventory}`);
      }
      if (!answer.ok) throw new UsageError(`vm ${action}: ${answer.reason}`);
      stdout.write(`${action}() = 1\n`);
    },
  };
}

type Settings = readonly (readonly [key: string, value: string])[];

interface Action {
  readonly words: string;
  readonly help: string;
  run(argv: VmArguments, streams: Streams): void | Promise<void>;
}

const ACTIONS: Readonly<Record<string, Action>> = {
  list: {
    words: 'list',
    help: 'the VMs, a line each',
    run: async (argv, streams) => {
      refuseExtra(argv.name, argv.settings);
      await list(argv, streams);
    },
  },
  create: {
    words: 'create NAME [KEY=VALUE...]',
    help: 'a new VM with a folder of its own',
    run: ({ inventory, name, settings }, { stdout }) => {
      stdout.write(`${createVm(inventory, nameOf('create', name), parseSettings(settings))}\n`);
    },
  },
  set: {
    words: 'set NAME KEY=VALUE...',
    help: 'sets keys in its file, nothing else changes',
    run: ({ inventory, name, settings }, { stdout }) => {
      const file = findFile(inventory, nameOf('set', name));
      const parsed = parseSettings(settings);
      if (parsed.length === 0) throw new UsageError('vm set: name a key and its value: KEY=VALUE');
      setInVm(inventory, file, parsed);
      for (const [key, value] of parsed) stdout.write(`${file.path}: ${knownKey(key)?.key ?? key} = "${value}"\n`);
    },
  },
  start: powerAction('start', 'powers a VM on, or lets a suspended one go on'),
  stop: powerAction('stop', 'powers a VM off'),
  reset: powerAction('reset', 'powers a VM off and on again'),
  suspend: powerAction('suspend', 'puts a VM away as it is: NAME.vmss beside its file'),
  resume: powerAction('resume', 'lets a suspended VM go on'),
  delete: {
    words: 'delete NAME',
    help: 'deletes its file, logs, and emptied folder',
    run: ({ inventory, name, settings }, { stdout }) => {
      const file = findFile(inventory, nameOf('delete', name));
      refuseExtra(settings?.[0], undefined);
      const left = deleteVm(file);
      const rest = left.length === 0 ? '' : `; its folder still holds ${left.join(', ')}`;
      stdout.write(`${file.path}: deleted${rest}\n`);
    },
  },
};

export const vmCommand = (streams: Streams): CommandModule<object, VmArguments> => ({
  command: 'vm <action> [name] [settings..]',
  describe: 'list, create, change, power and delete the VMs of a folder of .vmx files',
  builder: yargs =>
    yargs
      .positional('action', {
        type: 'string',
        demandOption: true,
        describe: Object.keys(ACTIONS).join(', '),
      })
      .positional('name', { type: 'string', describe: 'the VM: the name of its file, or its displayName' })
      .positional('settings', { type: 'string', array: true, describe: 'KEY=VALUE, with keys of .vmx files' })
      .option('inventory', {
        type: 'string',
        requiresArg: true,
        demandOption: true,
        describe: 'the folder of .vmx files',
      })
      .option('verbose', { type: 'boolean', default: false, describe: 'list: the keys that have no effect here, too' })
      .option('json', { type: 'boolean', default: false, describe: 'list: as JSON, with everything that is known' })
      .example('vmitop vm create --inventory lab web01 vmi.present=TRUE', 'a VM that is offered VMI')
      .example('vmitop vm set --inventory lab web01 memsize=128 monitor.virtual_exec=hardware', 'two keys at once')
      .example('vmitop vm list --inventory lab --verbose', 'what is there, and what of it is ignored')
      .example('vmitop top --inventory lab', 'the console on these VMs')
      .epilogue(['Actions:', ...actionLines(), '', 'Keys:', ...keyLines()].join('\n')),
  handler: async argv => {
    const action = Object.hasOwn(ACTIONS, argv.action) ? ACTIONS[argv.action] : undefined;
    if (!action) {
      throw new UsageError(`vm ${argv.action}: unknown action, must be one of ${Object.keys(ACTIONS).join(', ')}`);
    }
    if (action !== ACTIONS.create && !isFolder(argv.inventory)) {
      throw new UsageError(`--inventory ${argv.inventory}: must be a folder of .vmx files`);
    }
    await action.run(argv, streams);
    process.exitCode = ExitCode.OK;
  },
});

async function list({ inventory, verbose, json }: VmArguments, { stdout }: Streams): Promise<void> {
  const vms = listedVms(openFolder(inventory), await powersIn(inventory));
  if (json) {
    stdout.write(`${JSON.stringify(vms, null, 2)}\n`);
    return;
  }
  const table = await tableOf(vms, stdout);
  stdout.write(`${[...table, ...(verbose ? ignoredLines(vms) : [])].join('\n')}\n`);
}

/** With borders on a terminal that is wide enough for them, in plain columns elsewhere. */
async function tableOf(vms: ReturnType<typeof listedVms>, stdout: NodeJS.WriteStream): Promise<readonly string[]> {
  const { columns, rows } = listTable(vms);
  const plain = alignedLines(columns, rows);
  if (!stdout.isTTY || rows.length === 0) return plain;
  // Loaded late: React and Ink are of no use to a pipe.
  const { listing } = await import('../../tui/components/listing.js');
  const titles = columns.map(({ title }) => title);
  const bordered = listing(titles, rows, stdout.columns);
  return bordered === undefined ? plain : [bordered];
}

function actionLines(): string[] {
  const actions = Object.values(ACTIONS);
  const width = Math.max(...actions.map(({ words }) => words.length));
  return actions.map(({ words, help }) => `  ${words.padEnd(width)}  ${help}`);
}

function keyLines(): string[] {
  return Object.values(VMX_KEYS).map(
    ({ key, values, help, otherwise }) =>
      `  ${key}: ${help.replaceAll('`', '')}. ${values.replaceAll('`', '')}${otherwise ? ` (${otherwise})` : ''}`,
  );
}

function nameOf(action: string, name: string | undefined): string {
  if (name === undefined) throw new UsageError(`vm ${action}: name the VM`);
  return name;
}

/** `KEY=VALUE` words in their order; what is behind the first equals sign is the value. Throws `UsageError`. */
function parseSettings(words: readonly string[] | undefined): Settings {
  return (words ?? []).map(word => {
    const at = word.indexOf('=');
    if (at <= 0) throw new UsageError(`vm: ${word}: must be KEY=VALUE`);
    return [word.slice(0, at), word.slice(at + 1)] as const;
  });
}

function refuseExtra(name: string | undefined, settings: readonly string[] | undefined): void {
  const extra = name ?? settings?.[0];
  if (extra !== undefined) throw new UsageError(`vm: unknown argument: ${extra}`);
}
