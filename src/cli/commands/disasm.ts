/** `vmitop disasm`: a function of the guest's kernel beside its translation, after the guest has booted and run what was asked for. */
import type { CommandModule } from 'yargs';
import { loadGuestSymbols } from '../../guest/image.js';
import { type CodeLine, type Host, UsageError } from '../../hypervisor/index.js';
import { createHost } from '../create-host.js';
import { ExitCode } from '../exit.js';
import { loadImage, OWN_GUEST } from '../files.js';
import { singleVmHost } from '../single-vm.js';
import type { Streams } from '../streams.js';

interface DisasmArguments {
  place: string;
  run: string | undefined;
}

const VM = 'guest';
const MEMORY_MIB = 64;
/** Virtual time that the guest may take, seconds. */
const PATIENCE_SECONDS = 10;
/** Columns of the guest's side. */
const COUNT_COLUMN = 9;
const CODE_COLUMN = 34;
const CLASS_COLUMN = 13;

/** The guest's code from `from` up to, not with, `to`. */
interface Range {
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

export const disasmCommand = (streams: Streams): CommandModule<object, DisasmArguments> => ({
  command: 'disasm <place>',
  describe: 'a function of the guest kernel beside its binary translation',
  builder: yargs =>
    yargs
      .positional('place', {
        type: 'string',
        demandOption: true,
        describe: 'a function of the kernel that comes with vmitop, or an address (0xc0101000)',
      })
      .option('run', {
        type: 'string',
        requiresArg: true,
        describe: 'program that the guest runs before, e.g. getppid',
      })
      .example('vmitop disasm schedule', 'what an idle guest has executed of its scheduler')
      .example('vmitop disasm sys_getppid --run getppid', 'a system call, after some thousand of them')
      .epilogue('Shown is what has been executed, and so translated; the rest of a function is left out.'),
  handler: async argv => {
    process.exitCode = await disasm(argv, streams);
  },
});

async function disasm(argv: DisasmArguments, streams: Streams): Promise<ExitCode> {
  const range = rangeOf(argv.place);
  const config = singleVmHost({
    name: VM,
    mode: 'bt',
    memoryMib: MEMORY_MIB,
    image: OWN_GUEST,
    bytes: loadImage(OWN_GUEST),
    append: '',
    costOverrides: {},
  });
  const host = await createHost({ ...config, vms: config.vms.map(vm => ({ ...vm, countExecutions: true })) });
  const powered = host.execute({ kind: 'powerOn', vm: VM });
  if (!powered.ok) throw new UsageError(powered.reason);
  runUntil(host, () => host.sample().vms[0]!.guestState === 'idle', 'boot');
  if (argv.run !== undefined) {
    host.execute({ kind: 'type', vm: VM, text: `${argv.run}\n` });
    let ended = false;
    runUntil(
      host,
      () => {
        ended ||= host
          .drainEvents()
          .some(event => event.kind === 'log' && event.line.endsWith(`vmitop: end ${argv.run}`));
        return ended;
      },
      argv.run,
    );
  }
  const answer = host.disassemble(VM, range.from);
  const lines = answer.ok ? answer.lines.filter(({ address }) => address < range.to) : [];
  if (lines.length === 0) throw new UsageError(`disasm: the guest has not executed ${range.name}`);
  streams.stdout.write(`${range.name}\n${listing(lines)}`);
  return ExitCode.OK;
}

/** Throws `UsageError` for what is neither a function of the kernel nor an address. */
function rangeOf(place: string): Range {
  if (/^0x[0-9a-f]{1,8}$/i.test(place)) {
    const from = Number.parseInt(place, 16);
    return { name: place, from, to: from + 256 };
  }
  const code = loadGuestSymbols().filter(symbol => symbol.code);
  const at = code.findIndex(symbol => symbol.name === place);
  if (at < 0) throw new UsageError(`disasm: the guest's kernel has no function "${place}"`);
  const { address } = code[at]!;
  const next = code.find(symbol => symbol.address > address)?.address ?? address + 256;
  return { name: place, from: address, to: next };
}

function runUntil(host: Host, done: () => boolean, doing: string): void {
  const limit = host.nowCycles + PATIENCE_SECONDS * host.cyclesPerSecond;
  while (!done()) {
    if (host.nowCycles > limit)
      throw new UsageError(`disasm: ${doing} did not end in ${PATIENCE_SECONDS} s of virtual time`);
    host.advance(host.nowCycles + host.quantumCycles);
    host.drainSamples();
  }
}

/** One guest instruction after the other: how often its unit was entered, the instruction and its class, its translation. */
function listing(lines: readonly CodeLine[]): string {
  let text = '';
  for (const { address, text: code, guestClass, count, translation } of lines) {
    const times = String(count ?? '-').padStart(COUNT_COLUMN);
    const left = `${times}  ${address.toString(16).padStart(8, '0')}  ${code.padEnd(CODE_COLUMN)} ${guestClass.padEnd(CLASS_COLUMN)}`;
    const [first = '', ...more] = translation;
    text += `${left} | ${first}`.trimEnd();
    text += '\n';
    for (const line of more) text += `${' '.repeat(left.length)} | ${line}\n`;
  }
  return text;
}
