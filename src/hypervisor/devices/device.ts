/**
 * What a virtual device is handed, and what it offers. Devices know neither processors nor monitors: natively and under
 * every monitor they see the same accesses and raise the same lines.
 */

import type { Archive } from '../base/archive.js';

/** Time as a device sees it, in cycles of the host clock at `cyclesPerSecond`. */
export interface VirtualClock {
  readonly nowCycles: number;
  readonly cyclesPerSecond: number;
  /**
   * Calls `callback` once at the first opportunity at or after `atCycles`; replaces nothing. Returns a handle to cancel. `place`: where a timer
   * stood that is set again, among those of the same time; behind them if nothing is said.
   */
  at(atCycles: number, callback: (nowCycles: number) => void, place?: number): TimerHandle;
}

export interface TimerHandle {
  readonly atCycles: number;
  /** Rises from timer to timer. */
  readonly place: number;
  cancel(): void;
}

/** A timer that may be pending: restoring, it is set again. */
export function exchangeTimer(
  archive: Archive,
  clock: VirtualClock,
  timer: TimerHandle | undefined,
  callback: (nowCycles: number) => void,
): TimerHandle | undefined {
  const atCycles = archive.optional(timer?.atCycles);
  const place = archive.number(timer?.place ?? 0);
  if (!archive.restores) return timer;
  timer?.cancel();
  return atCycles === undefined ? undefined : clock.at(atCycles, callback, place);
}

/** An interrupt request line into the controller. */
export interface IrqLine {
  set(level: boolean): void;
}

/** What the processor's interrupt pin is wired to: an interrupt controller, or one behind another. */
export interface InterruptOutput {
  /** A request waits for the processor. */
  readonly output: boolean;
  /** Hears of every change of `output`. */
  onOutput: (level: boolean) => void;
  /** Interrupt-acknowledge cycle: returns the vector. */
  acknowledge(): number;
}

export type PortWidth = 1 | 2 | 4;

export interface PortDevice {
  /** `offset` from the device's own base port. Values are unsigned. */
  readPort(offset: number, width: PortWidth): number;
  writePort(offset: number, width: PortWidth, value: number): void;
}

/**
 * Guest-physical memory as a bus master reaches it: RAM is read and written, ROM is read, and where neither is, reads are all ones
 * and stores are dropped (no device reaches another this way). The processor sees a store at once, as code too; its TLB it does not
 * change, and the processor is not charged. Ranges may have any alignment and cross pages.
 */
export interface BusMemory {
  /** A copy of `length` bytes. */
  read(physical: number, length: number): Uint8Array;
  write(physical: number, bytes: Uint8Array): void;
}

export interface MmioDevice {
  readMmio(offset: number, width: PortWidth): number;
  writeMmio(offset: number, width: PortWidth, value: number): void;
}
