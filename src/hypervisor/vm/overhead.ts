/**
 * Overhead memory of a VM. What the monitor really allocates is counted; the rest is a fixed part from published tables.
 */

/**
 * The most that a VM with one virtual CPU and a 32-bit guest may need: 84.3 MB and 13.05 MB per GB of guest memory, the line
 * through ESX Server 3's table (Resource Management Guide, "Overhead Memory on Virtual Machines"; its copy is unverified).
 */
export const overheadMaxKb = (memoryMib: number): number => Math.round((84.3 + (13.05 * memoryMib) / 1024) * 1024);

/**
 * What a running VM needs besides the monitor's own pages (vmx process, frame buffer, vmm data): 54 MB, the whole overhead of a
 * small VM with one virtual CPU in the ESX Server 2 Administration Guide. An upper bound, since it includes some of the pages
 * that are counted one by one here.
 */
export const FIXED_OVERHEAD_KB = 54 * 1024;
