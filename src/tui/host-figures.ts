/**
 * Figures of the host as a whole: the header shows them, batch files hold them. A line is here only if the host has the mechanism: no
 * console OS, no page sharing, no swap and no balloon, hence no COSMEM, PSHARE, SWAP and MEMCTL lines.
 */
import type { HostMemorySample, Sample, VmMemorySample } from '../hypervisor/index.js';
import { elapsedCycles, rise } from './rows.js';
import { codeOf } from './vm-state.js';

export interface MemoryFigure {
  /** What follows the figure in the header, padded as esxtop pads it. */
  readonly unit: string;
  /** Under the object `Memory` of batch files. */
  readonly counter: string;
  readonly kb: (now: Sample) => number;
}

export interface MemoryLine {
  readonly label: string;
  readonly figures: readonly MemoryFigure[];
}

const managedKb = ({ host: { memory } }: Sample): number => memory.totalKb - memory.kernelKb;

/** A sum over the VMs. */
const ofVms =
  (pick: (memory: VmMemorySample) => number) =>
  (now: Sample): number =>
    now.vms.reduce((sum, { memory }) => sum + pick(memory), 0);

/** PMEM and VMKMEM as in esxtop; OVHD, the monitors' memory and what it holds, is ours. */
export const MEMORY_LINES: readonly MemoryLine[] = [
  {
    label: 'PMEM  /MB:',
    figures: [
      { unit: '  total:', counter: 'Machine MBytes', kb: now => now.host.memory.totalKb },
      { unit: '    vmk,', counter: 'Kernel MBytes', kb: now => now.host.memory.kernelKb },
      { unit: 'other,', counter: 'NonKernel MBytes', kb: now => now.host.memory.otherKb },
      { unit: ' free', counter: 'Free MBytes', kb: now => now.host.memory.freeKb },
    ],
  },
  {
    label: 'VMKMEM/MB:',
    figures: [
      { unit: 'managed:', counter: 'Kernel Managed MBytes', kb: managedKb },
      { unit: 'minfree,', counter: 'Kernel MinFree MBytes', kb: now => now.host.memory.minFreeKb },
      { unit: ' rsvd,', counter: 'Kernel Reserved MBytes', kb: now => now.host.memory.reservedKb },
      { unit: 'ursvd', counter: 'Kernel Unreserved MBytes', kb: now => managedKb(now) - now.host.memory.reservedKb },
    ],
  },
  {
    label: 'OVHD  /MB:',
    figures: [
      { unit: '   curr:', counter: 'Overhead MBytes', kb: ofVms(memory => memory.overheadKb) },
      { unit: '    max,', counter: 'Overhead Max MBytes', kb: ofVms(memory => memory.overheadMaxKb) },
      { unit: 'shadow,', counter: 'Shadow MBytes', kb: ofVms(memory => memory.shadowKb) },
      { unit: '   tc', counter: 'Translation Cache MBytes', kb: ofVms(memory => memory.tcKb) },
    ],
  },
];

/** Where the state of the memory is said: behind the figures of this line. */
export const STATE_LINE = 'VMKMEM/MB:';
export const STATE_COUNTER = 'Kernel State';
export const MEMORY_STATES: readonly HostMemorySample['state'][] = ['high', 'soft', 'hard', 'low'];
/** esxtop's number for the state. */
export const stateCode = ({ host }: Sample): number => codeOf(MEMORY_STATES, host.memory.state);

/** Under the object `Physical Cpu Load`, in the order of `HostSample.loadAverages`. */
export const LOAD_COUNTERS = [
  'Cpu Load (1 Minute Avg)',
  'Cpu Load (5 Minute Avg)',
  'Cpu Load (15 Minute Avg)',
] as const;

/** Time since the host's start, which timestamps have in whole seconds only; under the object `Vmkernel`. */
export const UPTIME_COUNTER = 'Uptime MilliSec';

/** How busy each pCPU was between two samples, and all of them on average, in percent. */
export function pcpuShares(
  now: Sample,
  before: Sample | undefined,
): { readonly used: number[]; readonly mean: number } {
  const elapsed = elapsedCycles(now, before);
  const used = now.pcpus.map(pcpu => {
    const usedBefore = before?.pcpus.find(candidate => candidate.id === pcpu.id)?.usedCycles;
    return elapsed > 0 ? (100 * rise(pcpu.usedCycles, usedBefore)) / elapsed : 0;
  });
  return { used, mean: used.reduce((sum, percent) => sum + percent, 0) / Math.max(1, used.length) };
}
