/** What a BIOS finds on the board besides the ordinary devices: its ROM, and the console that it writes its log to. */
import type { MmioDevice, PortDevice, PortWidth } from './device.js';

/** Read-only memory. Writes are lost. */
export class Rom implements MmioDevice {
  constructor(readonly bytes: Uint8Array) {}

  readMmio(offset: number, width: PortWidth): number {
    let value = 0;
    for (let i = width - 1; i >= 0; i--) value = value * 256 + (this.bytes[offset + i] ?? 0xff);
    return value;
  }

  writeMmio(): void {}
}

/** The port that BIOSes of virtual machines log to (Bochs's "info port", QEMU's `isa-debugcon`). */
export const DEBUG_CONSOLE_PORT = 0x402;
/** What a read answers where the console exists. */
const DEBUG_CONSOLE_PRESENT = 0xe9;

export class DebugConsole implements PortDevice {
  constructor(readonly onByte: (byte: number) => void) {}

  readPort(): number {
    return DEBUG_CONSOLE_PRESENT;
  }

  writePort(_offset: number, _width: PortWidth, value: number): void {
    this.onByte(value);
  }
}
