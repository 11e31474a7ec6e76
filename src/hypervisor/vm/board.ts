/** The system board of one powered-on VM: its devices, wired to each other, with buses in front of them. */
import type { Archive, Stateful } from '../base/archive.js';
import { assert } from '../base/assert.js';
import { Backdoor, type BackdoorRegisters } from '../devices/backdoor.js';
import { MmioBus, PortBus } from '../devices/bus.js';
import { DeviceClock } from '../devices/clock.js';
import type { BusMemory, InterruptOutput, PortDevice } from '../devices/device.js';
import { IO_APIC_BASE, IO_APIC_BYTES, IoApic } from '../devices/io-apic.js';
import { KeyboardController } from '../devices/keyboard-controller.js';
import { APIC_BASE, APIC_BYTES, LocalApic } from '../devices/local-apic.js';
import { type CardIdentity, hostBridge, PCI_PORT, PCI_PORTS, PciCard, PciHost } from '../devices/pci.js';
import { ELCR_PORT, ELCR_PORTS, Pic } from '../devices/pic.js';
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
import { VGA_PORT, VGA_PORTS, VgaRegisters } from '../devices/vga-registers.js';
import { VGA_COLUMNS, VGA_ROWS, VGA_TEXT_BASE, VGA_TEXT_BYTES, VgaText } from '../devices/vga-text.js';
import type { InterruptSample, VmTimerSample } from '../stats/sample.js';
import type { ScreenText } from '../stats/screen-text.js';
import type { ProcessorTable } from './mp-table.js';

export interface BoardWiring {
  readonly cyclesPerSecond: number;
  /** The virtual CPU's clock, in cycles of the host. */
  now(): number;
  /** By which the guest's time is behind (`DeviceClock`). */
  readonly shiftCycles?: number;
  readonly memoryBytes: number;
  /** For devices that read and write memory themselves. */
  readonly memory: BusMemory;
  /** General registers of the CPU, for the backdoor. */
  readonly registers: BackdoorRegisters;
  /** Virtualized: timer ticks that come too late are owed and delivered later. */
  readonly catchUp: boolean;
  /** The processor has a local APIC, and the board an I/O APIC. */
  readonly apic: boolean;
  readonly onPower: PowerSignal;
  onConsole(byte: number): void;
  /** A log message from the guest. */
  onGuestLog(text: string): void;
  /** The guest has taken a timer interrupt. */
  onTimerInterrupt(): void;
}

/** Puts one more device on a board that is being powered on: claims ports and memory, takes a line. */
export type Adapter = (board: Board) => void;

/** Behind those that processors could have. */
const IO_APIC_ID = 8;
/** Device number of the first card; the host bridge is device 0. */
const FIRST_SLOT = 2;
const SLOTS_MAX = 30;
/** Ports of the first card: above what ISA decodes. */
const CARD_PORTS_BASE = 0xc000;
const CARD_PORTS = 0x40;
/** Lines that boards of the time give to PCI, one card after the other: no ISA device of ours is on them. */
const PCI_LINES = [11, 10, 9, 5] as const;

export class Board {
  readonly clock: DeviceClock;
  readonly pic = new Pic();
  readonly apic: LocalApic | undefined;
  readonly ioApic: IoApic | undefined;
  /** What the processor's interrupt pin is wired to. */
  readonly interrupts: InterruptOutput;
  readonly pit: Pit;
  readonly uart: Uart;
  readonly vga = new VgaText();
  readonly #vgaRegisters: VgaRegisters;
  readonly pci: PciHost;
  readonly ports = new PortBus();
  readonly mmio = new MmioBus();
  readonly memory: BusMemory;
  readonly memoryBytes: number;
  /** Interrupts of the local APIC's timer that the processor has taken. */
  #apicTicks = 0;
  readonly #cards: { readonly device: number; readonly irq: number }[] = [];
  /** What is saved, in order: those that drive lines before the controllers that the lines lead to. */
  readonly #stateful: (readonly [name: string, device: Stateful])[] = [];

  constructor(wiring: BoardWiring) {
    const { pic, ports } = this;
    const clock = new DeviceClock(wiring.cyclesPerSecond, wiring.now, wiring.shiftCycles);
    this.clock = clock;
    this.memory = wiring.memory;
    this.memoryBytes = wiring.memoryBytes;
    this.apic = wiring.apic ? new LocalApic({ clock, id: 0, catchUp: wiring.catchUp, external: pic }) : undefined;
    if (this.apic !== undefined) this.ioApic = this.#wireApics(this.apic, wiring);
    this.interrupts = this.apic ?? pic;
    const pit = new Pit(clock, pic.line(0, 'pit'), {
      catchUp: wiring.catchUp,
      isMasked: () => this.#isTimerMasked,
    });
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
    ports.claim(ELCR_PORT, ELCR_PORTS, pic.elcrPorts());
    ports.claim(0x40, 4, pit);
    const controlB = new SystemControlB(pit, clock);
    ports.claim(0x61, 1, controlB);
    const keyboard = new KeyboardController(wiring.onPower, pic.line(1, 'keyboard'));
    ports.claim(0x60, 1, keyboard);
    ports.claim(0x64, 1, {
      readPort: (_offset, width) => keyboard.readPort(4, width),
      writePort: (_offset, width, value) => keyboard.writePort(4, width, value),
    });
    const rtc = new Rtc(clock, wiring.memoryBytes);
    ports.claim(0x70, 2, rtc);
    const postCode = new PostCode();
    ports.claim(0x80, 1, postCode);
    const controlA = new SystemControlA(wiring.onPower);
    ports.claim(0x92, 1, controlA);
    this.pci = new PciHost(wiring.onPower);
    this.pci.add(0, 0, hostBridge());
    ports.claim(PCI_PORT, PCI_PORTS, this.pci, 4);
    ports.claim(0x3f8, 8, this.uart);
    ports.claim(0xf4, 1, new DebugExit(wiring.onPower), 4);
    const power = new PowerPort(wiring.onPower);
    ports.claim(0x604, 1, power, 4);
    ports.claim(0xb004, 1, power, 4);
    const mhz = Math.round(wiring.cyclesPerSecond / 1e6);
    const backdoor = new Backdoor(wiring.registers, mhz, text => wiring.onGuestLog(text));
    ports.claim(0x5658, 1, backdoor, 4);
    this.#vgaRegisters = new VgaRegisters(clock);
    ports.claim(VGA_PORT, VGA_PORTS, this.#vgaRegisters);
    this.mmio.claim(VGA_TEXT_BASE, VGA_TEXT_BYTES, this.vga);
    this.#stateful.push(
      ['pit', pit],
      ['uart', this.uart],
      ['keyboard', keyboard],
      ['rtc', rtc],
      ['control a', controlA],
      ['control b', controlB],
      ['post code', postCode],
      ['backdoor', backdoor],
      ['vga', this.#vgaRegisters],
      ['text', this.vga],
      ['pci', this.pci],
    );
  }

  /**
   * Restoring: the board must have the cards that it had, and nothing has happened on it yet. Whoever runs the processor then looks at
   * `interrupts.output`.
   */
  exchange(archive: Archive): void {
    for (const [name, device] of this.#stateful) {
      archive.section(name);
      device.exchange(archive);
    }
    archive.section('controllers');
    this.#apicTicks = archive.number(this.#apicTicks);
    this.pic.exchange(archive);
    this.ioApic?.exchange(archive);
    this.apic?.exchange(archive, this.ioApic?.sources ?? []);
  }

  /**
   * Puts a card with up to 64 ports into the next PCI slot, and does what a BIOS would (none runs before a kernel that is loaded directly): gives
   * it ports and one of the shared lines, and makes the line level-triggered. `name` is what is shown as being on the line.
   */
  plug(name: string, identity: CardIdentity, device: PortDevice & Stateful): PciCard {
    const slot = this.#cards.length;
    assert(slot < SLOTS_MAX, 'no PCI slot is left');
    const irq = PCI_LINES[slot % PCI_LINES.length]!;
    this.#cards.push({ device: FIRST_SLOT + slot, irq });
    const card = new PciCard(identity, this.ports, CARD_PORTS, device, this.pic.sharedLine(irq, name));
    this.pci.add(FIRST_SLOT + slot, 0, card);
    card.configure(CARD_PORTS_BASE + slot * CARD_PORTS, irq);
    const elcr = ELCR_PORT + (irq >>> 3);
    this.ports.write(elcr, 1, this.ports.read(elcr, 1) | (1 << (irq & 7)));
    this.#stateful.push([`${name} card`, card], [name, device]);
    return card;
  }

  /** As firmware leaves them: what the 8259s ask for goes on reaching the processor, and all pins of the I/O APIC are masked. */
  #wireApics(apic: LocalApic, wiring: BoardWiring): IoApic {
    const { pic } = this;
    const ioApic = new IoApic({
      id: IO_APIC_ID,
      send: message => apic.receive(message),
      onAcknowledged: irq => pic.acknowledged(irq),
    });
    pic.onOutput = level => apic.externalChanged(level);
    pic.onLine = (irq, level) => ioApic.setLine(irq, level);
    apic.onTimerAcknowledged = () => {
      this.#apicTicks += 1;
      wiring.onTimerInterrupt();
    };
    apic.onLevelEnded = vector => ioApic.ended(vector);
    apic.setVirtualWire();
    this.mmio.claim(APIC_BASE, APIC_BYTES, apic);
    this.mmio.claim(IO_APIC_BASE, IO_APIC_BYTES, ioApic);
    return ioApic;
  }

  /** Neither way that the timer chip's line has leads to the processor. */
  get #isTimerMasked(): boolean {
    const byPic = this.pic.isMasked(0) || this.apic?.passesExternal === false;
    return byPic && this.ioApic?.isMasked(0) !== false;
  }

  /** What is on the text screen now. */
  screen(): ScreenText {
    const { start, cursor } = this.#vgaRegisters;
    const at = cursor - start;
    const isShown = at >= 0 && at < VGA_COLUMNS * VGA_ROWS;
    const place = { row: Math.floor(at / VGA_COLUMNS), column: at % VGA_COLUMNS };
    return { ok: true, lines: this.vga.text(start), cursor: isShown ? place : undefined };
  }

  /** What firmware tells a kernel of processors and interrupts; undefined without a local APIC. */
  processorTable(cpuid: (leaf: number, subleaf: number) => readonly number[]): ProcessorTable | undefined {
    if (this.apic === undefined) return undefined;
    const [signature, , , features] = cpuid(1, 0) as [number, number, number, number];
    return { apicId: this.apic.id, ioApicId: IO_APIC_ID, signature, features, cards: this.#cards };
  }

  /** What is on each interrupt line, and how often it has interrupted. */
  interruptSample(): InterruptSample[] {
    const { apic } = this;
    const lines = this.pic.sample(irq => this.ioApic?.vectorOf(irq));
    if (apic === undefined || (!apic.timerIsOn && this.#apicTicks === 0)) return lines;
    const timer = { irq: undefined, vector: apic.timerVector, devices: ['local timer'], delivered: this.#apicTicks };
    return [...lines, timer];
  }

  /** What ticks: the timer chip, or else the local APIC's timer. */
  timer(hostCycles: number): Pick<VmTimerSample, 'source' | 'requestedHz' | 'backlog' | 'lagCycles'> {
    const { pit, apic } = this;
    const nowCycles = hostCycles - this.clock.shiftCycles;
    if (pit.requestedHz === 0 && apic?.timerIsOn === true) {
      const lagCycles = apic.timerLagCycles;
      return { source: 'apic', requestedHz: apic.timerHz, backlog: apic.timerBacklog, lagCycles };
    }
    const source = pit.requestedHz > 0 ? 'pit' : 'none';
    return {
      source,
      requestedHz: pit.requestedHz,
      backlog: pit.backlogAt(nowCycles),
      lagCycles: pit.lagCyclesAt(nowCycles),
    };
  }
}
