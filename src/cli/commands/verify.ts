/** `vmitop verify`: a recorded session again, every sample compared byte for byte. */
import type { CommandModule } from 'yargs';
import type { Recording, Verification } from '../../hypervisor/index.js';
import { openWorkshop } from '../../session/workshop.js';
import { ExitCode } from '../exit.js';
import { loadImages, readText } from '../files.js';
import { COST_OPTION, parseCosts } from '../options.js';
import { ProgressBar } from '../progress-bar.js';
import type { Streams } from '../streams.js';
import { readStates } from '../vmx/suspended.js';

interface VerifyArguments {
  file: string;
  cost: string[] | undefined;
}

export const verifyCommand = (streams: Streams): CommandModule<object, VerifyArguments> => ({
  command: 'verify <file>',
  describe: 're-run a recording and compare every sample byte for byte',
  builder: yargs =>
    yargs
      .positional('file', { type: 'string', demandOption: true, describe: 'a recording' })
      .option('cost', COST_OPTION)
      .example('vmitop verify session.rec', '0 when identical, 1 and the first difference otherwise')
      .example('vmitop verify session.rec --cost shadowFill=121', 'where does a changed cost show first?'),
  handler: async argv => {
    process.exitCode = await verify(argv, streams);
  },
});

async function verify(argv: VerifyArguments, streams: Streams): Promise<ExitCode> {
  const { parseRecording, verifyRecording } = await import('../../hypervisor/index.js');
  const costOverrides = parseCosts(argv.cost);
  const recording = parseRecording(readText(argv.file, 'recording'), argv.file);
  const states = readStates(recording.config.vms);
  const files = Object.keys(recording.images).filter(path => !(path in states));
  const images = { ...loadImages(files, disksIn(recording)), ...states };
  const bar = new ProgressBar(streams.stderr);
  const verification = verifyRecording(recording, images, {
    workshop: openWorkshop(),
    costOverrides,
    onProgress: done => bar.show(done, argv.file),
  });
  bar.clear();
  streams.stdout.write(`${verdict(verification).join('\n')}\n`);
  return verification.identical ? ExitCode.OK : ExitCode.DIFFERENT;
}

/** Disks of VMs that were there from the beginning, or came later. */
function disksIn({ config, commands }: Recording): string[] {
  const added = commands.flatMap(({ command }) => (command.kind === 'addVm' ? [command.config] : []));
  return [...config.vms, ...added].flatMap(({ disks = [] }) => disks);
}

/** The result in lines; the first says it all. */
export function verdict({ identical, samples, commands, differences, divergence }: Verification): string[] {
  if (identical) return [`identical: ${samples} samples, ${commands} commands`];
  if (!divergence) {
    return [`different inputs, but identical samples: ${samples} samples, ${commands} commands`, ...differences];
  }
  const { sequence, atSeconds, path, recorded, replayed } = divergence;
  return [
    `different: sample ${sequence} at ${atSeconds.toFixed(6)} s: ${path}: recorded ${recorded}, now ${replayed}`,
    ...differences,
  ];
}
