/** The system board of one powered-on VM: its devices, wired to each other, with buses in front of them. */
import { Backdoor, type BackdoorRegisters } from '../devices/backdoor.js';
import { MmioBus, PortBus } from '../devices/bus.js';
import { DeviceClock } from '../devices/clock.js';
import type { BusMemory } from '../devices/device.js';
import { KeyboardController } from '../devices/keyboard-controller.js';
import { hostBridge, PCI_PORT, PCI_PORTS, PciHost } from '../devices/pci.js';
import { Pic } from '../devices/pic.js';
import { Pit } from '../devices/pit.js';
import { Rtc } from '../devices/rtc.js';
import {
  DebugExit,
  PostCode,
  PowerPort,
  type PowerSignal,
  SystemControlA,
  SystemControlB,
} from '../devices/system-control.js';
import { Uart } from '../devices/uart.js';
import { VGA_TEXT_BASE, VGA_TEXT_BYTES, VgaText } from '../devices/vga-text.js';

export interface BoardWiring {
  readonly cyclesPerSecond: number;
  /** The virtual CPU's clock, in cycles. */
  now(): number;
  readonly memoryBytes: number;
  /** For devices that read and write memory themselves. */
  readonly memory: BusMemory;
  /** General registers of the CPU, for the backdoor. */
  readonly registers: BackdoorRegisters;
  /** Virtualized: timer ticks that come too late are owed and delivered later. */
  readonly catchUp: boolean;
  readonly onPower: PowerSignal;
  onConsole(byte: number): void;
  /** A log message from the guest. */
  onGuestLog(text: string): void;
  /** The guest has taken a timer interrupt. */
  onTimerInterrupt(): void;
}

/** Puts one more device on a board that is being powered on: claims ports and memory, takes a line. */
export type Adapter = (board: Board) => void;

export class Board {
  readonly clock: DeviceClock;
  readonly pic = new Pic();
  readonly pit: Pit;
  readonly uart: Uart;
  readonly vga = new VgaText();
  readonly pci: PciHost;
  readonly ports = new PortBus();
  readonly mmio = new MmioBus();
  readonly memory: BusMemory;

  constructor(wiring: BoardWiring) {
    const { pic, ports } = this;
    const clock = new DeviceClock(wiring.cyclesPerSecond, wiring.now);
    this.clock = clock;
    this.memory = wiring.memory;
    const pit = new Pit(clock, pic.line(0, 'pit'), { catchUp: wiring.catchUp, isMasked: () => pic.isMasked(0) });
    this.pit = pit;
    pic.onAcknowledged = irq => {
      if (irq !== 0) return;
      pit.acknowledged();
      wiring.onTimerInterrupt();
    };
    this.uart = new Uart(pic.line(4, 'com1'));
    this.uart.onTransmit = byte => wiring.onConsole(byte);

    ports.claim(0x20, 2, pic.port('master'));
    ports.claim(0xa0, 2, pic.port('slave'));
    ports.claim(0x40, 4, pit);
    ports.claim(0x61, 1, new SystemControlB(pit, clock));
    const keyboard = new KeyboardController(wiring.onPower, pic.line(1, 'keyboard'));
    ports.claim(0x60, 1, keyboard);
    ports.claim(0x64, 1, {
      readPort: (_offset, width) => keyboard.readPort(4, width),
      writePort: (_offset, width, value) => keyboard.writePort(4, width, value),
    });
    ports.claim(0x70, 2, new Rtc(clock, wiring.memoryBytes));
    ports.claim(0x80, 1, new PostCode());
    ports.claim(0x92, 1, new SystemControlA(wiring.onPower));
    this.pci = new PciHost(wiring.onPower);
    this.pci.add(0, 0, hostBridge());
    ports.claim(PCI_PORT, PCI_PORTS, this.pci, 4);
    ports.claim(0x3f8, 8, this.uart);
    ports.claim(0xf4, 1, new DebugExit(wiring.onPower), 4);
    const power = new PowerPort(wiring.onPower);
    ports.claim(0x604, 1, power, 4);
    ports.claim(0xb004, 1, power, 4);
    const mhz = Math.round(wiring.cyclesPerSecond / 1e6);
    ports.claim(0x5658, 1, new Backdoor(wiring.registers, mhz, text => wiring.onGuestLog(text)), 4);
    this.mmio.claim(VGA_TEXT_BASE, VGA_TEXT_BYTES, this.vga);
  }
}
