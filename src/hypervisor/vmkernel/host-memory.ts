/**
 * The host's memory as esxtop shows it: what is declared, what the vmkernel and the VMs use of it, and how tight it is.
 *
 * A host may declare more memory than the simulator backs. What counts as tight is therefore whichever is nearer to its end,
 * the declared memory or the backing; the sizes shown are those of the declared memory.
 */
import type { HostMemorySample } from '../stats/sample.js';

/** The virtualization layer itself: about 24 MB (ESX Server 2 Administration Guide, memory overhead). */
const KERNEL_KB = 24 * 1024;
/** The vmkernel tries to keep 6 % free (ESX Resource Management Guide, Mem.MinFreePct). */
const MIN_FREE_RATIO = 0.06;

/**
 * Thresholds of free memory, as parts of the whole (ESX Resource Management Guide, memory states): ballooning starts below
 * 4 %, swapping below 2 %, and below 1 % VMs are blocked from allocating. Neither balloon nor swap is built: a VM that needs
 * a page when none is left is stopped.
 */
export function memoryState(freeRatio: number): HostMemorySample['state'] {
  if (freeRatio >= 0.04) return 'high';
  if (freeRatio >= 0.02) return 'soft';
  return freeRatio >= 0.01 ? 'hard' : 'low';
}

export function hostMemorySample(
  totalKb: number,
  usedByVmsKb: number,
  reservedKb: number,
  backing: { readonly freePages: number; readonly pageCount: number },
): HostMemorySample {
  const freeKb = Math.max(0, totalKb - KERNEL_KB - usedByVmsKb);
  return {
    totalKb,
    kernelKb: KERNEL_KB,
    otherKb: usedByVmsKb,
    freeKb,
    minFreeKb: Math.round(totalKb * MIN_FREE_RATIO),
    reservedKb,
    state: memoryState(Math.min(freeKb / totalKb, backing.freePages / backing.pageCount)),
  };
}
