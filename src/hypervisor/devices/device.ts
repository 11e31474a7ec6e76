/**
 * What a virtual device is handed, and what it offers. Devices know neither processors nor monitors: natively and under
 * every monitor they see the same accesses and raise the same lines.
 */

/** Time as a device sees it, in cycles of the host clock at `cyclesPerSecond`. */
export interface VirtualClock {
  readonly nowCycles: number;
  readonly cyclesPerSecond: number;
  /** Calls `callback` once at the first opportunity at or after `atCycles`; replaces nothing. Returns a handle to cancel. */
  at(atCycles: number, callback: (nowCycles: number) => void): TimerHandle;
}

export interface TimerHandle {
  cancel(): void;
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
