/** Shares, reservation and limit of a VM as users give them, in MHz of the host's processors, and what can be promised. */
import { UsageError } from '../base/assert.js';
import type { VmConfig } from '../index.js';
import type { VmCpuAllocation } from '../stats/sample.js';

/** `normal` of a VM with one virtual CPU. */
const DEFAULT_SHARES = 1000;
const SHARES_MAX = 100_000;
const MHZ_MAX = 1_000_000;

export const cpuAllocationOf = ({ cpuShares, cpuReservationMhz, cpuLimitMhz }: VmConfig): VmCpuAllocation => ({
  shares: cpuShares ?? DEFAULT_SHARES,
  minMhz: cpuReservationMhz ?? 0,
  maxMhz: cpuLimitMhz,
});

const whole = (value: number, low: number, high: number): boolean =>
  Number.isInteger(value) && value >= low && value <= high;

/** Throws `UsageError`. A reservation beyond what one processor has could never be kept, and neither could one above the limit. */
export function checkCpuAllocation(vm: string, { shares, minMhz, maxMhz }: VmCpuAllocation): void {
  const refuse = (what: string, value: number): never => {
    throw new UsageError(`VM "${vm}": ${what}: ${value}`);
  };
  if (!whole(shares, 1, SHARES_MAX)) refuse(`cpuShares must be a whole number from 1 to ${SHARES_MAX}`, shares);
  if (!whole(minMhz, 0, MHZ_MAX)) refuse(`cpuReservationMhz must be a whole number from 0 to ${MHZ_MAX}`, minMhz);
  if (maxMhz === undefined) return;
  if (!whole(maxMhz, 1, MHZ_MAX)) refuse(`cpuLimitMhz must be a whole number from 1 to ${MHZ_MAX}`, maxMhz);
  if (maxMhz < minMhz) refuse(`cpuLimitMhz must not be below the reservation of ${minMhz} MHz`, maxMhz);
}

export interface CpuCapacity {
  readonly pcpus: number;
  readonly cyclesPerSecond: number;
  /** Reservations of the other VMs that are on, MHz. */
  readonly reservedMhz: number;
}

/** Admission control, as ESX has it at power-on: throws `UsageError` for a reservation that the host could not keep beside the others. */
export function admitReservation(vm: string, minMhz: number, capacity: CpuCapacity): void {
  const mhz = Math.floor(capacity.cyclesPerSecond / 1e6);
  if (minMhz > mhz)
    throw new UsageError(`${vm} reserves ${minMhz} MHz, and its one virtual CPU can have ${mhz} MHz of a processor`);
  const left = capacity.pcpus * mhz - capacity.reservedMhz;
  if (minMhz > left) throw new UsageError(`${vm} reserves ${minMhz} MHz, and ${left} MHz of the host are unreserved`);
}
