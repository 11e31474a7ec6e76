/**
 * `npm run bench:linux [-- OPTIONS]`: a kernel of Debian from power-on to its shell, on our machine and on v86 by turns. Packages come
 * through apt, as for `npm run test:linux`; v86 also needs a BIOS, which is SeaBIOS.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { alignedLines } from '../../src/cli/aligned.js';
import { selftestInitrd } from '../../test/linux/guest.js';
import { FLAVOURS, type Flavour, kernelPath, seaBios } from '../../test/linux/packages.js';
import { v86 as engine } from '../engine/node-emulators.js';
import { median } from '../engine/report.js';
import { type Boot, bootOnce, type Guest, type Machine, ours, v86 } from './machines.js';

const HELP = `bench:linux [options]

  --runs N           interleaved boots on each machine (3)
  --machines M,...   these; the first is what the others are compared with (native,v86,bt,hv)
  --flavour F        ${FLAVOURS.join(' or ')} (686)
  --memory MIB       memory of the guest (256)
  --timeout S        for one boot (300)
  --json FILE        every figure of every boot
`;
const MACHINES: readonly Machine[] = [ours('native'), v86, ours('bt'), ours('hv')];
const INTERRUPTED = 130;

const progress = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

interface Series {
  readonly machine: Machine;
  readonly boots: Boot[];
}

interface Options {
  readonly runs: number;
  readonly timeoutMs: number;
}

async function collect(machines: readonly Machine[], guest: Guest, { runs, timeoutMs }: Options, signal: AbortSignal) {
  const series = machines.map((machine): Series => ({ machine, boots: [] }));
  const failures: string[] = [];
  for (let run = 1; run <= runs; run++) {
    for (const { machine, boots } of series) {
      if (signal.aborted) return { series, failures };
      try {
        const boot = await bootOnce(machine, guest, timeoutMs, signal);
        boots.push(boot);
        progress(`run ${run} of ${runs}: ${machine.name} ${(boot.wallMs / 1000).toFixed(1)} s`);
      } catch (error) {
        if (!signal.aborted) failures.push(`${machine.name}, run ${run}: ${(error as Error).message}`);
      }
    }
  }
  return { series, failures };
}

/** Seconds in the median and of all runs, the ratio to the first machine, peak memory. */
function table(series: readonly Series[], memoryMib: number): string {
  const seconds = (ms: number): string => (ms / 1000).toFixed(1);
  const wall = ({ boots }: Series): number => median(boots.map(({ wallMs }) => wallMs));
  const head = ['machine', 'wall s', 'ratio', 'processor s', 'peak MiB', 'above the guest', 'wall s of each run'];
  const lines = series.map(each => [
    each.machine.name,
    seconds(wall(each)),
    (wall(each) / wall(series[0]!)).toFixed(2),
    seconds(median(each.boots.map(({ processorMs }) => processorMs))),
    Math.max(...each.boots.map(({ peakMib }) => peakMib)).toFixed(0),
    (Math.max(...each.boots.map(({ peakMib }) => peakMib)) - memoryMib).toFixed(0),
    each.boots.map(({ wallMs }) => seconds(wallMs)).join(' '),
  ]);
  const columns = head.map(title => ({ title, align: 'right' as const }));
  return alignedLines(columns, lines).join('\n');
}

function wholeNumber(text: string | undefined, name: string, otherwise: number): number {
  const value = text === undefined ? otherwise : Number(text);
  if (!Number.isInteger(value) || value < 1) throw new TypeError(`--${name}: ${text} is not a whole number from 1 on`);
  return value;
}

function machinesOf(words: string | undefined): readonly Machine[] {
  if (words === undefined) return MACHINES;
  return words.split(',').map(word => {
    const machine = MACHINES.find(({ name }) => name === word);
    if (machine === undefined) throw new TypeError(`--machines: there is no "${word}"`);
    return machine;
  });
}

function flavourOf(word = '686'): Flavour {
  const flavour = FLAVOURS.find(known => known === word);
  if (flavour === undefined) throw new TypeError(`--flavour: must be one of ${FLAVOURS.join(', ')}: ${word}`);
  return flavour;
}

async function main(): Promise<number> {
  const string = { type: 'string' } as const;
  const { values } = parseArgs({
    options: {
      ...{ runs: string, machines: string, flavour: string, memory: string, timeout: string, json: string },
      help: { type: 'boolean' },
    },
  });
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const machines = machinesOf(values.machines);
  const options = {
    runs: wholeNumber(values.runs, 'runs', 3),
    timeoutMs: wholeNumber(values.timeout, 'timeout', 300) * 1000,
  };
  const memoryMib = wholeNumber(values.memory, 'memory', 256);
  const kernel = kernelPath(flavourOf(values.flavour));
  const abort = new AbortController();
  process.once('SIGINT', () => {
    progress('interrupted: what there is so far');
    abort.abort();
  });
  const scratch = mkdtempSync(join(tmpdir(), 'vmitop-bench-linux-'));
  const before = loadavg();
  try {
    const initrd = join(scratch, 'initrd.gz');
    writeFileSync(initrd, selftestInitrd());
    const guest: Guest = { kernel, initrd, memoryMib, commandLine: 'console=ttyS0', ...seaBios() };
    const { series, failures } = await collect(machines, guest, options, abort.signal);
    const load = (values: readonly number[]): string => values.map(value => value.toFixed(2)).join(' ');
    const versions = `Node ${process.version} (V8 ${process.versions.v8}), ${engine.version()}`;
    console.log(`${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} processors, ${versions}`);
    console.log(`load average before: ${load(before)}, after: ${load(loadavg())}`);
    console.log(`${basename(kernel)}, ${memoryMib} MiB, from the start of the process to the shell's prompt\n`);
    const run = series.filter(({ boots }) => boots.length > 0);
    if (run.length > 0) console.log(table(run, memoryMib));
    for (const failure of failures) console.log(`FAILURE ${failure}`);
    if (values.json !== undefined) {
      const all = run.map(({ machine, boots }) => ({ machine: machine.name, boots }));
      writeFileSync(values.json, `${JSON.stringify({ versions, series: all, failures }, null, 1)}\n`);
    }
    if (abort.signal.aborted) return INTERRUPTED;
    return failures.length > 0 ? 1 : 0;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof TypeError)) throw error;
  process.stderr.write(`bench:linux: ${error.message}\n\n${HELP}`);
  process.exitCode = 2;
}
