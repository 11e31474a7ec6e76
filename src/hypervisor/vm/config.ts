/** Checks of what the user asks for. Each failure is one line that names the field. */
import { UsageError } from '../base/assert.js';
import type { HostConfig, VmConfig } from '../index.js';
import { Tiering } from '../machine/cpu/compile/compiler.js';
import { TC_BYTES } from '../monitor/hole.js';
import { checkCpuAllocation, cpuAllocationOf } from './cpu-allocation.js';
import { CPU_MODELS } from './cpuid.js';

const PCPUS_MAX = 64;
/** A multiboot image needs conventional memory, some above 1 MiB, and room for the firmware's tables. */
const VM_MEMORY_MIB_MIN = 4;
/** A native VM is one range of machine addresses; a monitored one could be larger, but no larger than the host's backing. */
const VM_MEMORY_MIB_MAX = 1024;
/** In KiB: room for the lookup code and one unit, and the place that a translation cache has in the monitor's hole. */
const TC_KIB_MIN = 4;
const TC_KIB_MAX = TC_BYTES / 1024;
const PAGE_KIB = 4;
/** Room for a few regions at least: with less, compiling would be all that is done. */
const CODE_BYTES_MIN = 1 << 20;

/** As many as there are keys of .vmx files for. */
const DISKS_MAX = 4;
const NICS_MAX = 4;

const wholeBetween = (value: number, low: number, high: number): boolean =>
  Number.isInteger(value) && value >= low && value <= high;

/** Throws `UsageError`. VMs and images are checked one by one later. */
export function checkHostConfig(config: HostConfig): void {
  if (!wholeBetween(config.pcpus, 1, PCPUS_MAX)) {
    throw new UsageError(`host "${config.name}": pcpus must be a whole number from 1 to ${PCPUS_MAX}: ${config.pcpus}`);
  }
  if (!wholeBetween(config.memoryMib, 64, 65_536)) {
    throw new UsageError(
      `host "${config.name}": memoryMib must be a whole number from 64 to 65536: ${config.memoryMib}`,
    );
  }
  checkEngine(config);
  for (const vm of config.vms) checkVmConfig(vm, config.memoryMib);
}

function checkEngine({ name, engine = {} }: HostConfig): void {
  const { tiering, codeBytesMax } = engine;
  if (tiering !== undefined && !Object.hasOwn(Tiering, tiering)) {
    const known = Object.keys(Tiering).join(', ');
    throw new UsageError(`host "${name}": tiering must be one of ${known}: ${String(tiering)}`);
  }
  if (codeBytesMax !== undefined && !wholeBetween(codeBytesMax, CODE_BYTES_MIN, Number.MAX_SAFE_INTEGER)) {
    throw new UsageError(`host "${name}": codeBytesMax must be a whole number from ${CODE_BYTES_MIN}: ${codeBytesMax}`);
  }
}

/** Throws `UsageError`. */
export function checkVmConfig(vm: VmConfig, hostMemoryMib: number): void {
  if (vm.name === '' || /[^\x20-\x7e]/.test(vm.name))
    throw new UsageError(`a VM needs a name of printable characters: "${vm.name}"`);
  const max = Math.min(VM_MEMORY_MIB_MAX, hostMemoryMib);
  if (!wholeBetween(vm.memoryMib, VM_MEMORY_MIB_MIN, max)) {
    throw new UsageError(
      `VM "${vm.name}": memoryMib must be a whole number from ${VM_MEMORY_MIB_MIN} to ${max}: ${vm.memoryMib}`,
    );
  }
  if (vm.monitor !== 'bt' && vm.monitor !== 'hv' && vm.monitor !== 'native') {
    throw new UsageError(`VM "${vm.name}": monitor must be 'bt', 'hv' or 'native': ${String(vm.monitor)}`);
  }
  if (vm.monitor === 'native' && vm.vmi)
    throw new UsageError(`VM "${vm.name}": vmi needs a monitor, and it runs natively`);
  if (vm.rom === true && vm.monitor !== 'native')
    throw new UsageError(`VM "${vm.name}": a BIOS starts in real mode, which only native VMs have`);
  if (vm.tcKib !== undefined && (vm.tcKib % PAGE_KIB !== 0 || !wholeBetween(vm.tcKib, TC_KIB_MIN, TC_KIB_MAX))) {
    throw new UsageError(
      `VM "${vm.name}": tcKib must be a multiple of ${PAGE_KIB} from ${TC_KIB_MIN} to ${TC_KIB_MAX}: ${vm.tcKib}`,
    );
  }
  if (vm.cpu !== undefined && !CPU_MODELS.includes(vm.cpu)) {
    throw new UsageError(`VM "${vm.name}": cpu must be one of ${CPU_MODELS.join(', ')}: ${String(vm.cpu)}`);
  }
  if (vm.disks !== undefined && vm.disks.length > DISKS_MAX)
    throw new UsageError(`VM "${vm.name}": has ${vm.disks.length} disks, and ${DISKS_MAX} are the most`);
  if (vm.nics !== undefined && !wholeBetween(vm.nics, 0, NICS_MAX))
    throw new UsageError(`VM "${vm.name}": nics must be a whole number from 0 to ${NICS_MAX}: ${vm.nics}`);
  checkCpuAllocation(vm.name, cpuAllocationOf(vm));
}
