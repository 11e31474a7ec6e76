/**
 * The only door into the hypervisor. `createHost` builds a host; commands go in, samples and events come out.
 *
 * Everything is deterministic: the host's clock counts cycles of the simulated processors. Time advances in whole quanta
 * (`QUANTUM_NS`), and commands take effect between quanta, so the way in which callers cut their `advance` calls cannot
 * change what happens. The list of commands with the cycle at which each took effect is the recording.
 */

import type { EngineOptions } from './machine/cpu/code-cache.js';
import type { Workshop } from './machine/cpu/compile/workshop.js';
import type { CodeAnswer } from './stats/code-listing.js';
import type { Mode, PowerState, Sample } from './stats/sample.js';
import type { ScreenAnswer } from './stats/screen-text.js';
import type { CpuModel } from './vm/cpuid.js';
import { VmHost } from './vm/host.js';

export { MonitorBug, UsageError } from './base/assert.js';
export { EPOCH_SECONDS } from './base/epoch.js';
export { overrideCosts } from './machine/costs/define.js';
export { COST_PROFILES } from './machine/costs/index.js';
export type { CostProfile } from './machine/costs/profile.js';
export type { EngineOptions } from './machine/cpu/code-cache.js';
export { regionBuilder } from './machine/cpu/compile/build-region.js';
export type { RegionSource } from './machine/cpu/compile/region-source.js';
export type { FinishedRegion, Workshop } from './machine/cpu/compile/workshop.js';
export {
  formatRecording,
  linesOf,
  parseRecording,
  type RecordedNews,
  type Recording,
  RecordingWriter,
  recordingOf,
} from './replay/recording.js';
export { type Divergence, type Verification, type VerifyOptions, verifyRecording } from './replay/verify.js';
export { CAUSE_NAMES, CAUSES, type Cause, type CauseCycles, type CauseSpec } from './stats/causes.js';
export type { CodeAnswer, CodeLine } from './stats/code-listing.js';
export { COUNTER_NAMES, COUNTERS, type CounterName, type Counters } from './stats/counters.js';
export { POWER_ON_REASONS } from './stats/power-on.js';
export type * from './stats/sample.js';
export type { ScreenAnswer, ScreenText } from './stats/screen-text.js';
export { CPU_MODELS, type CpuModel, DEFAULT_CPU } from './vm/cpuid.js';

/** Length of a quantum of virtual time. */
export const QUANTUM_NS = 1_000_000;

/** What a VM is made of: the part of a .vmx file that matters so far. */
export interface VmConfig {
  readonly name: string;
  readonly memoryMib: number;
  /**
   * 'bt' is the monitor of ESX, with or without VMI; 'hv' the same with hardware assist (`monitor.virtual_exec`); 'native' gives the guest
   * a machine of its own. A VM that is offered VMI runs on the BT monitor, whatever is said here.
   */
  readonly monitor: 'bt' | 'hv' | 'native';
  /** Translated code counts how often it is executed (`disassemble` shows it), which costs cycles. */
  readonly countExecutions?: boolean;
  /** Size of the translation cache in KiB: whole pages, from 4 (then it is flushed all the time) to the default of 4096. */
  readonly tcKib?: number;
  /** `vmi.present`: offer the VMI ROM to the guest. */
  readonly vmi: boolean;
  /** Key into `HostConfig.images`. */
  readonly image: string;
  /** The image is a BIOS of 64, 128 or 256 KiB, not a kernel: the VM starts at the reset vector, natively. */
  readonly rom?: boolean;
  /** Initial RAM disk of a Linux kernel: key into `HostConfig.images`. */
  readonly initrd?: string;
  /** Disks, in order: keys into `HostConfig.images`. What the guest writes is kept as long as the VM exists, and the images never change. */
  readonly disks?: readonly string[];
  /** Number of network cards, all on the host's one virtual switch. */
  readonly nics?: number;
  /** Kernel command line. */
  readonly append: string;
  /** What CPUID says: `xeon-5160` if nothing is said. */
  readonly cpu?: CpuModel;
  /** The processor has a local APIC, and the board an I/O APIC. If nothing is said: for Linux kernels. */
  readonly apic?: boolean;
  /** Share of the processors when they are contended, 1 to 100000; 1000 if nothing is said. */
  readonly cpuShares?: number;
  /** What the VM gets whatever the others claim, and what it does not exceed although a processor is free; in MHz of the host's processors. */
  readonly cpuReservationMhz?: number;
  readonly cpuLimitMhz?: number;
  readonly powerOn?: boolean;
  /**
   * Key into `HostConfig.images`: the VM is as it was when it was suspended once (`Host.suspendedState`), and goes on from there when it is
   * resumed. `powerOn` then means nothing.
   */
  readonly suspended?: string;
}

export interface HostConfig {
  readonly name: string;
  readonly pcpus: number;
  readonly memoryMib: number;
  /** Name of a built-in cost profile. */
  readonly costs: string;
  /** Figures that replace the profile's (what-if). */
  readonly costOverrides?: Readonly<Record<string, number>>;
  /** Guest images by name: multiboot ELF32 files, bzImages and their initrds, BIOS images where a VM says so, and disks: whole sectors. */
  readonly images: Readonly<Record<string, Uint8Array>>;
  readonly vms: readonly VmConfig[];
  /** Sampling interval in ms of virtual time. */
  readonly sampleIntervalMs: number;
  /** Run the audits of every VM each so many quanta (tests); 0 or absent: never. */
  readonly auditEveryQuanta?: number;
  /** How fast the host is simulated, and with how much memory of the process: nothing that a sample or a recording shows. */
  readonly engine?: EngineOptions;
}

/** What the engine holds now and has done so far: of the process, not of the simulated host. */
export interface EngineState {
  /** Memory that compiled code is reckoned to take, and its bound (`EngineOptions.codeBytesMax`). */
  readonly compiledBytes: number;
  readonly compiledBytesMax: number;
  /** Units of compiled code now, the modules that they are instances of (the same code in two pages has one), and units ever made. */
  readonly regions: number;
  readonly modules: number;
  readonly compilations: number;
}

export type Command =
  | { readonly kind: 'addVm'; readonly config: VmConfig }
  | { readonly kind: 'removeVm'; readonly vm: string }
  | { readonly kind: 'powerOn'; readonly vm: string }
  | { readonly kind: 'powerOff'; readonly vm: string }
  | { readonly kind: 'reset'; readonly vm: string }
  /** Puts a VM that is on away as it is; `resume` lets it go on, and its time with it. */
  | { readonly kind: 'suspend'; readonly vm: string }
  | { readonly kind: 'resume'; readonly vm: string }
  /** At once while the VM is off; at the next power-on otherwise. */
  | { readonly kind: 'setVmi'; readonly vm: string; readonly enabled: boolean }
  /** At the next power-on; a native VM has no monitor to choose. */
  | { readonly kind: 'setMonitor'; readonly vm: string; readonly monitor: 'bt' | 'hv' }
  /** In force at once, whether the VM is on or not. What is not given stays; a limit of null is none. */
  | {
      readonly kind: 'setCpu';
      readonly vm: string;
      readonly shares?: number | undefined;
      readonly reservationMhz?: number | undefined;
      readonly limitMhz?: number | null | undefined;
    }
  /** Bytes for the guest's serial console, as typed. */
  | { readonly kind: 'type'; readonly vm: string; readonly text: string }
  | { readonly kind: 'setSampleInterval'; readonly ms: number };

/** `ok: false` carries one readable line; nothing has changed then. */
export type CommandResult = { readonly ok: true } | { readonly ok: false; readonly reason: string };

export interface LoggedCommand {
  readonly atCycles: number;
  readonly command: Command;
}

export type HostEvent =
  | {
      readonly kind: 'power';
      readonly atCycles: number;
      readonly vm: string;
      readonly state: PowerState;
      readonly reason: string;
    }
  /** A line of the VM's log file (vmware.log): guest log messages, VMI, unimplemented instructions, crashes. */
  | { readonly kind: 'log'; readonly atCycles: number; readonly vm: string; readonly line: string }
  /** Output of COM1, in order. */
  | { readonly kind: 'console'; readonly atCycles: number; readonly vm: string; readonly text: string }
  /** VMI Init succeeded, or a guest state change ('booting', 'idle', program name). */
  | { readonly kind: 'guest'; readonly atCycles: number; readonly vm: string; readonly state: string }
  | { readonly kind: 'audit'; readonly atCycles: number; readonly vm: string; readonly finding: string };

export interface Host {
  readonly nowCycles: number;
  readonly cyclesPerSecond: number;
  readonly quantumCycles: number;
  /** Takes effect now, between two quanta, and is logged. */
  execute(command: Command): CommandResult;
  /** Runs whole quanta until `nowCycles >= untilCycles`, or until one of the events in `stopOn` happens. */
  advance(untilCycles: number): void;
  /** The current state; does not change anything. */
  sample(): Sample;
  /** Samples taken at the sampling interval since the last call, oldest first. */
  drainSamples(): Sample[];
  /** Events since the last call, oldest first. */
  drainEvents(): HostEvent[];
  readonly engine: EngineState;
  /** Every command so far. */
  readonly commandLog: readonly LoggedCommand[];
  /** Guest memory and registers of a VM, digested (tests compare them between modes). */
  guestDigest(vm: string): string;
  /** What a suspended VM was put away as: for a file, and `VmConfig.suspended` of another host. Undefined while it is not suspended. */
  suspendedState(vm: string): Uint8Array | undefined;
  /** Runs the audits of a VM now; an empty list is a clean bill. */
  audit(vm: string): string[];
  /** What a VM has on its text screen now. Changes nothing. */
  screen(vm: string): ScreenAnswer;
  /** Guest code from a linear address on, beside what the translator made of it. Changes nothing. */
  disassemble(vm: string, linear: number): CodeAnswer;
  /** True when a VM is on. */
  readonly anyPoweredOn: boolean;
}

export type { Mode };

/**
 * `workshop`: where code is compiled while the host goes on; without, it stands still meanwhile. Throws `UsageError` when the
 * configuration cannot be used.
 */
export function createHost(config: HostConfig, workshop?: Workshop): Host {
  return new VmHost(config, [], workshop);
}
