/** The smallest host: one VM on one pCPU. What `boot` and `bench` run. */
import type { CpuModel, HostConfig, Mode } from '../hypervisor/index.js';

export interface SingleVm {
  readonly name: string;
  readonly mode: Mode;
  readonly memoryMib: number;
  /** The word by which the image is known, for messages. */
  readonly image: string;
  readonly bytes: Uint8Array;
  /** The image is a BIOS. */
  readonly rom?: boolean;
  readonly initrd?: { readonly word: string; readonly bytes: Uint8Array } | undefined;
  readonly disks?: readonly { readonly word: string; readonly bytes: Uint8Array }[];
  readonly nics?: number;
  readonly append: string;
  readonly cpu?: CpuModel | undefined;
  readonly costOverrides: Readonly<Record<string, number>>;
}

/** Room for the monitor's own memory besides the guest's. */
const HOST_MIB = 256;

/** The VM is off. */
export function singleVmHost(vm: SingleVm): HostConfig {
  const { disks = [], nics = 0 } = vm;
  return {
    name: 'vmitop',
    pcpus: 1,
    memoryMib: vm.memoryMib + HOST_MIB,
    costs: 'xeon-5160',
    costOverrides: vm.costOverrides,
    images: {
      [vm.image]: vm.bytes,
      ...(vm.initrd && { [vm.initrd.word]: vm.initrd.bytes }),
      ...Object.fromEntries(disks.map(({ word, bytes }) => [word, bytes])),
    },
    vms: [
      {
        name: vm.name,
        memoryMib: vm.memoryMib,
        monitor: vm.mode === 'vmi' ? 'bt' : vm.mode,
        vmi: vm.mode === 'vmi',
        image: vm.image,
        ...(vm.rom === true && { rom: true }),
        ...(vm.initrd && { initrd: vm.initrd.word }),
        ...(disks.length > 0 && { disks: disks.map(({ word }) => word) }),
        ...(nics > 0 && { nics }),
        append: vm.append,
        ...(vm.cpu !== undefined && { cpu: vm.cpu }),
        powerOn: false,
      },
    ],
    sampleIntervalMs: 1_000,
  };
}
