/**
 * What a virtual machine gives its monitor, and nothing more. `vm/` implements it; tests implement it in a few lines.
 *
 * The monitor never looks behind this interface: it does not know configuration files, schedulers or other VMs.
 */
import type { Mpn } from '../base/pages.js';
import type { CostProfile } from '../machine/costs/profile.js';
import type { InterruptSource, MmioBus, PortBus } from '../machine/cpu/state.js';
import type { MachineMemory } from '../machine/memory.js';
import type { CauseCycles } from '../stats/causes.js';
import type { Counters } from '../stats/counters.js';
import type { MmioWindow } from './mmio-window.js';
import type { Pmap } from './pmap.js';

/** What a machine page of the monitor is used for: overhead memory is accounted by it. */
export type MonitorPageUse = 'shadow' | 'tc' | 'tables';

/** The interrupt controller as the monitor sees it: the INTR output and the acknowledge cycle. */
export interface InterruptController extends InterruptSource {
  /** Level of the INTR output. */
  readonly intr: boolean;
}

export interface MonitoredVm {
  readonly name: string;
  readonly memory: MachineMemory;
  readonly costs: CostProfile;
  readonly pmap: Pmap;
  /** Guest RAM in bytes, from physical 0. */
  readonly memoryBytes: number;
  readonly ports: PortBus;
  /** By guest-physical address. Unclaimed addresses read all ones and drop stores. */
  readonly mmio: MmioBus;
  /**
   * The adapter that the hardware thread's `ContextWiring.mmio` must be wired to (it forwards to `mmio`): machine frames
   * beyond RAM through which single instructions reach virtual devices.
   */
  readonly mmioWindow: MmioWindow;
  readonly interrupts: InterruptController;
  readonly counters: Counters;
  readonly causes: CauseCycles;
  /** Most machine pages that shadow tables may occupy; at least 16. */
  readonly shadowPagesMax: number;

  /**
   * True once a device has switched the machine off or asked for a reset: `MonitorLoop.run` then returns `deadline` as soon as
   * the access is done, and runs nothing more.
   */
  readonly stopRequested?: boolean;

  /** Cycle at which the next device timer is due; Infinity when none is. */
  nextTimerAt(): number;
  /** Runs every timer that is due at `nowCycles`, in order of its time. Returns how many fired. */
  runTimers(nowCycles: number): number;

  /** A zeroed machine page for the monitor. Throws `MachineMemoryExhausted`. */
  allocateMonitorPage(use: MonitorPageUse): Mpn;
  freeMonitorPage(mpn: Mpn, use: MonitorPageUse): void;

  /** CPUID as the virtual processor answers it (EAX, EBX, ECX, EDX). */
  cpuid(leaf: number, subleaf: number): readonly [number, number, number, number];
  /** MSRs other than SYSENTER's and the TSC; `undefined` and false mean #GP(0). */
  readMsr(index: number): readonly [low: number, high: number] | undefined;
  writeMsr(index: number, low: number, high: number): boolean;

  /** One line of the VM's log file. */
  log(line: string): void;
}

/**
 * The host has no machine page left. Thrown by allocators, caught by `MonitorLoop.run`, which stops this VM alone: a shortage
 * can come up below any store, so it is no returned value.
 */
export class MachineMemoryExhausted extends Error {
  override readonly name = 'MachineMemoryExhausted';
}
