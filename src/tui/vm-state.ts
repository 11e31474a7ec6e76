/** What the screens say of a VM in words (MODE, power, `*`), as numbers for batch files. The order of each list is the number: it only grows. */
import type { Sample, VmSample } from '../hypervisor/index.js';

export const POWER_CODES: readonly VmSample['power'][] = ['off', 'on', 'suspended', 'crashed'];
export const MODE_CODES = ['native', 'bt', 'hv', 'vmi'] as const satisfies readonly VmSample['mode'][];
const MODES: readonly VmSample['mode'][] = MODE_CODES;

export const VM_STATE_OBJECT = 'Vm State';

export interface VmStateCounter {
  readonly name: string;
  readonly places: 0 | 2;
  readonly of: (vm: VmSample, now: Sample) => number;
}

export const millisecondsOf = (cycles: number, { cyclesPerSecond }: Sample): number =>
  (1000 * cycles) / cyclesPerSecond;

/** NaN for what is not in the list. */
export function codeOf<T>(codes: readonly T[], value: T): number {
  const code = codes.indexOf(value);
  return code < 0 ? Number.NaN : code;
}

export const VM_STATE_COUNTERS = [
  { name: 'Power State', places: 0, of: vm => codeOf(POWER_CODES, vm.power) },
  /** Technique that runs the guest now. */
  { name: 'Mode', places: 0, of: vm => codeOf(MODES, vm.mode) },
  /** What runs it at the next power-on, unless it is offered VMI then. */
  { name: 'Monitor', places: 0, of: vm => codeOf(MODES, vm.monitor) },
  { name: 'Vmi Configured', places: 0, of: vm => Number(vm.vmiConfigured) },
  { name: 'Vmi Enabled', places: 0, of: vm => Number(vm.vmiEnabled) },
  { name: 'Vmi Active', places: 0, of: vm => Number(vm.vmiActive) },
  /** Host's uptime at the last power-on: figures of the VM begin again there. */
  { name: 'Power On MilliSec', places: 2, of: (vm, now) => millisecondsOf(vm.poweredOnAtCycles, now) },
  /** From power-on to the end of the boot; -1 until then. */
  {
    name: 'Boot MilliSec',
    places: 2,
    of: (vm, now) => (vm.bootCycles === undefined ? -1 : millisecondsOf(vm.bootCycles, now)),
  },
] as const satisfies readonly VmStateCounter[];
