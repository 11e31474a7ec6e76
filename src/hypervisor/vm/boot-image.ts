/** What a VM starts from: a multiboot kernel, a Linux kernel, or a BIOS. The bytes say which, but for a BIOS, which has no mark. */
import { UsageError } from '../base/assert.js';
import { isLinux, type LinuxImage, loadLinux, parseLinux } from './linux.js';
import type { ProcessorTable } from './mp-table.js';
import { loadMultiboot, type MultibootImage, parseMultiboot } from './multiboot.js';
import type { RomImage } from './rom.js';

export type KernelImage = MultibootImage | LinuxImage;
export type BootImage = KernelImage | RomImage;

/** Guest memory for a loader. The pages are zero. */
export interface LoadTarget {
  readonly memoryBytes: number;
  write(physical: number, bytes: Uint8Array): void;
}

/** What goes with a kernel. */
export interface BootOptions {
  readonly commandLine: string;
  /** The initial RAM disk and the name it goes by in messages. */
  readonly initrd?: { readonly name: string; readonly bytes: Uint8Array };
  /** What firmware says of processors and interrupts to kernels that look for it; absent: nothing. */
  readonly processors?: ProcessorTable | undefined;
}

/** The processor at a kernel's first instruction: 32-bit protected mode, flat segments, no paging, interrupts off. */
export interface StartState {
  readonly eip: number;
  /** Selectors of CS and of the data segments. */
  readonly code: number;
  readonly data: number;
  /** Registers that are not named are 0. */
  readonly eax?: number;
  readonly ebx?: number;
  readonly esi?: number;
  /** The descriptor table of these selectors, where the protocol promises one. */
  readonly gdt?: { readonly base: number; readonly limit: number };
}

/** Throws `UsageError` that names the image and what is wrong with it. */
export const parseKernel = (name: string, bytes: Uint8Array): KernelImage =>
  isLinux(bytes) ? parseLinux(name, bytes) : parseMultiboot(name, bytes);

/** Puts a kernel and what goes with it into memory. Throws `UsageError` when it does not fit. */
export function loadKernel(image: KernelImage, options: BootOptions, target: LoadTarget): StartState {
  if (image.kind === 'linux') return loadLinux(image, options, target);
  if (options.initrd !== undefined) {
    throw new UsageError(`image ${image.name}: only Linux kernels take an initrd (${options.initrd.name})`);
  }
  return loadMultiboot(image, namedCommandLine(image.name, options.commandLine), target);
}

/** By the multiboot convention the first word names the image. Blanks and '=' in a name would be taken for options. */
const namedCommandLine = (image: string, commandLine: string): string => {
  const name = image
    .split('/')
    .at(-1)!
    .replaceAll(/[^\w.-]/g, '_');
  return commandLine === '' ? name : `${name} ${commandLine}`;
};
