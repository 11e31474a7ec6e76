/**
 * The nanobenchmarks: a test kernel of their own (src/guest/nano) times single operations by the time-stamp counter and prints what one
 * of them takes. All figures are virtual, and the same on every computer.
 */
import { COST_PROFILES, type Mode, MonitorBug } from '../../hypervisor/index.js';
import { alignedLines, type TextColumn } from '../aligned.js';
import { createHost } from '../create-host.js';
import { isOurBug } from '../exit.js';
import { singleVmHost } from '../single-vm.js';
import { ExperimentFailure } from './measure.js';

/** The name by which the bench knows them. */
export const NANO = 'nano';
/** VMI has no column: the test kernel has no code for it, and would run under binary translation. */
export const NANO_MODES = ['native', 'bt', 'hv'] as const satisfies readonly Mode[];
export type NanoMode = (typeof NANO_MODES)[number];

const MEMORY_MIB = 16;
/** Virtual time after which the kernel counts as hung, seconds. */
const PATIENCE_SECONDS = 10;

/** Cycles of one operation, by its name, in the order in which the kernel measures them. */
export interface NanoMeasurement {
  readonly profile: string;
  readonly mode: NanoMode;
  readonly cycles: ReadonlyMap<string, number>;
}

export interface NanoOptions {
  /** Operations that are timed, after those that warm up. Default: the kernel's own. */
  readonly rounds?: number;
  readonly costOverrides?: Readonly<Record<string, number>>;
}

/** Throws `ExperimentFailure`. */
export async function measureNano(
  profile: string,
  mode: NanoMode,
  bytes: Uint8Array,
  { rounds, costOverrides = {} }: NanoOptions = {},
): Promise<NanoMeasurement> {
  const host = await createHost({
    ...singleVmHost({
      name: NANO,
      mode,
      memoryMib: MEMORY_MIB,
      image: NANO,
      bytes,
      append: rounds === undefined ? '' : `rounds=${rounds}`,
      costOverrides,
    }),
    costs: profile,
  });
  const failure = (what: string) => new ExperimentFailure(`${NANO} (${mode}, ${profile}): the guest ${what}`);
  const started = host.execute({ kind: 'powerOn', vm: NANO });
  if (!started.ok) throw failure(started.reason);
  let text = '';
  while (host.anyPoweredOn) {
    if (host.nowCycles > PATIENCE_SECONDS * host.cyclesPerSecond) throw failure(`hung for ${PATIENCE_SECONDS} s`);
    host.advance(host.nowCycles + host.quantumCycles);
    host.drainSamples();
    for (const event of host.drainEvents()) {
      if (event.kind === 'console') text += event.text;
      if (event.kind !== 'power' || event.state !== 'crashed') continue;
      if (isOurBug(event.reason)) throw new MonitorBug(`${NANO} (${mode}): ${event.reason}`);
      throw failure(`crashed: ${event.reason}`);
    }
  }
  if (!text.includes('nano: done')) throw failure(`printed "${text.trim()}"`);
  const lines = [...text.matchAll(/^nano (\S+) ([\d.]+)\r?$/gm)];
  return { profile, mode, cycles: new Map(lines.map(([, name, cycles]) => [name!, Number(cycles)])) };
}

/** A table for each profile: an operation a line, a mode a column, cycles of one operation. */
export function nanoTables(measurements: readonly NanoMeasurement[]): string[][] {
  const profiles = [...new Set(measurements.map(({ profile }) => profile))];
  return profiles.map(profile => {
    const columns = measurements.filter(one => one.profile === profile);
    const names = [...columns[0]!.cycles.keys()];
    const heading: TextColumn[] = [
      { title: `${COST_PROFILES[profile]!.cpu}: cycles`, align: 'left' },
      ...columns.map(({ mode }) => ({ title: mode, align: 'right' }) as const),
    ];
    return alignedLines(
      heading,
      names.map(name => [name, ...columns.map(({ cycles }) => cycles.get(name)?.toFixed(1) ?? '-')]),
    );
  });
}
