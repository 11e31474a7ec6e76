/**
 * The pair of 8259A interrupt controllers of a PC: master at 0x20 with lines 0-7, slave at 0xA0 with lines 8-15 on the
 * master's line 2 (Intel 8259A data sheet, 231468).
 *
 * Built: initialization (ICW1-4), edge and level triggering (of a chip as a whole by ICW1, of single lines by the edge/level control
 * registers of Intel's PCI chip sets, 82371SB data sheet, 290550), masks, fixed and rotating priority, specific and non-specific
 * EOI, automatic EOI, special mask mode, polling is answered as a plain read of the poll word, spurious interrupts (line 7
 * without an in-service bit). The special fully nested mode bit is accepted and changes nothing: with one source for each
 * line of the slave nobody can tell.
 */
import type { Archive } from '../base/archive.js';
import { assert } from '../base/assert.js';
import type { InterruptSample } from '../stats/sample.js';
import type { IrqLine, PortDevice, PortWidth } from './device.js';

class PicChip {
  /** Requests latched (edge) or present (level). */
  irr = 0;
  isr = 0;
  imr = 0xff;
  vectorBase = 0;
  /** Present levels of the eight inputs. */
  lines = 0;
  /** Line with the lowest priority; the next one has the highest. 7: line 0 is first. */
  lowestPriority = 7;
  /** Lines of which a level is the request: all by ICW1, or those of the edge/level control register. */
  levelLines = 0;
  autoEoi = false;
  rotateOnAutoEoi = false;
  specialMask = false;
  readIsr = false;
  pollNext = false;
  /** 0: operational; otherwise the ICW that is expected next (2, 3, 4). */
  initStep = 0;
  #elcr = 0;
  #allLevel = false;
  #needsIcw4 = false;
  #single = false;

  exchange(archive: Archive): void {
    this.irr = archive.number(this.irr);
    this.isr = archive.number(this.isr);
    this.imr = archive.number(this.imr);
    this.vectorBase = archive.number(this.vectorBase);
    this.lines = archive.number(this.lines);
    this.lowestPriority = archive.number(this.lowestPriority);
    this.levelLines = archive.number(this.levelLines);
    this.autoEoi = archive.flag(this.autoEoi);
    this.rotateOnAutoEoi = archive.flag(this.rotateOnAutoEoi);
    this.specialMask = archive.flag(this.specialMask);
    this.readIsr = archive.flag(this.readIsr);
    this.pollNext = archive.flag(this.pollNext);
    this.initStep = archive.number(this.initStep);
    this.#elcr = archive.number(this.#elcr);
    this.#allLevel = archive.flag(this.#allLevel);
    this.#needsIcw4 = archive.flag(this.#needsIcw4);
    this.#single = archive.flag(this.#single);
  }

  get elcr(): number {
    return this.#elcr;
  }

  set elcr(value: number) {
    this.#elcr = value;
    this.#setLevelLines();
  }

  #setLevelLines(): void {
    this.levelLines = this.#allLevel ? 0xff : this.#elcr;
    this.irr |= this.lines & this.levelLines;
  }

  setLine(line: number, level: boolean): void {
    const bit = 1 << line;
    if (level) {
      if ((this.levelLines & bit) !== 0 || (this.lines & bit) === 0) this.irr |= bit;
      this.lines |= bit;
    } else {
      this.lines &= ~bit;
      // An edge request whose line falls before it is acknowledged is gone too (data sheet, "IR triggering").
      this.irr &= ~bit;
    }
  }

  /** Line whose request may interrupt now, or -1. */
  pending(): number {
    const requests = this.irr & ~this.imr;
    if (requests === 0) return -1;
    for (let i = 1; i <= 8; i++) {
      const line = (this.lowestPriority + i) & 7;
      const bit = 1 << line;
      if ((this.isr & bit) !== 0 && !(this.specialMask && (this.imr & bit) !== 0)) return -1;
      if ((requests & bit) !== 0) return line;
    }
    return -1;
  }

  /** Moves a request into service. Line 7 without a request is the spurious interrupt, which sets no in-service bit. */
  take(line: number): void {
    const bit = 1 << line;
    if ((this.levelLines & bit) === 0) this.irr &= ~bit;
    if (!this.autoEoi) this.isr |= bit;
    else if (this.rotateOnAutoEoi) this.lowestPriority = line;
  }

  /** `line` -1: the highest in-service line. Returns the line that ended, or -1. */
  endOfInterrupt(line: number, rotate: boolean): number {
    let ended = line;
    if (line < 0) {
      for (let i = 1; i <= 8 && ended < 0; i++) {
        const candidate = (this.lowestPriority + i) & 7;
        const masked = this.specialMask && (this.imr & (1 << candidate)) !== 0;
        if ((this.isr & (1 << candidate)) !== 0 && !masked) ended = candidate;
      }
    }
    if (ended < 0) return -1;
    this.isr &= ~(1 << ended);
    if (rotate) this.lowestPriority = ended;
    return ended;
  }

  write(offset: number, value: number): void {
    if (offset === 0) this.#writeCommand(value);
    else this.#writeData(value);
  }

  #writeCommand(value: number): void {
    if ((value & 0x10) !== 0) {
      // ICW1: clears masks, in-service bits and the edge latches, and starts the sequence.
      this.imr = 0;
      this.isr = 0;
      this.#allLevel = (value & 0x08) !== 0;
      this.irr = 0;
      this.#setLevelLines();
      this.lowestPriority = 7;
      this.readIsr = false;
      this.specialMask = false;
      this.autoEoi = false;
      this.#single = (value & 2) !== 0;
      this.#needsIcw4 = (value & 1) !== 0;
      this.initStep = 2;
      return;
    }
    if ((value & 0x08) !== 0) {
      // OCW3.
      if ((value & 0x40) !== 0) this.specialMask = (value & 0x20) !== 0;
      if ((value & 0x04) !== 0) this.pollNext = true;
      else if ((value & 0x02) !== 0) this.readIsr = (value & 0x01) !== 0;
      return;
    }
    // OCW2: bits 7 rotate, 6 specific, 5 EOI.
    const line = value & 7;
    switch (value >>> 5) {
      case 0b001:
        this.endOfInterrupt(-1, false);
        break;
      case 0b011:
        this.endOfInterrupt(line, false);
        break;
      case 0b101:
        this.endOfInterrupt(-1, true);
        break;
      case 0b111:
        this.endOfInterrupt(line, true);
        break;
      case 0b100:
        this.rotateOnAutoEoi = true;
        break;
      case 0b000:
        this.rotateOnAutoEoi = false;
        break;
      case 0b110:
        this.lowestPriority = line;
        break;
      default:
        break;
    }
  }

  #writeData(value: number): void {
    switch (this.initStep) {
      case 2:
        this.vectorBase = value & 0xf8;
        this.initStep = this.#single ? (this.#needsIcw4 ? 4 : 0) : 3;
        break;
      case 3:
        // The wiring of the cascade is fixed on a PC: master line 2.
        this.initStep = this.#needsIcw4 ? 4 : 0;
        break;
      case 4:
        this.autoEoi = (value & 2) !== 0;
        this.initStep = 0;
        break;
      default:
        this.imr = value;
        break;
    }
  }
}

/** Edge/level control registers: lines 0-7 and 8-15. */
export const ELCR_PORT = 0x4d0;
export const ELCR_PORTS = 2;
/** Timer, keyboard, cascade, clock and coprocessor are edge-triggered for good. */
const ELCR_WRITABLE = [0xf8, 0xde] as const;

/** Offsets 0 and 1 are the command and data port of the chip that `port` was asked for. */
export class Pic {
  /** Level of the INT output of the master, on every change. */
  onOutput: (level: boolean) => void = () => {};
  /** A request of line 0-15 was acknowledged by the processor. */
  onAcknowledged: (irq: number) => void = () => {};
  /** A line has changed: for the controller that the same wires lead to. */
  onLine: (irq: number, level: boolean) => void = () => {};
  readonly #master = new PicChip();
  readonly #slave = new PicChip();
  /** What is on each line, and how many of its requests the processor has acknowledged. */
  readonly #devices = Array.from({ length: 16 }, (): string[] => []);
  readonly #delivered = new Float64Array(16);
  /** Of each line, how many that share it hold it up. */
  readonly #holders = new Uint8Array(16);
  #output = false;

  /** True while the INT output is raised. */
  get output(): boolean {
    return this.#output;
  }

  /** An input; `device` is what is shown as being on it. */
  line(irq: number, device?: string): IrqLine {
    assert(irq >= 0 && irq < 16 && irq !== 2, 'no such interrupt line');
    if (device !== undefined) this.#devices[irq]!.push(device);
    return {
      set: level => {
        if (irq < 8) this.#master.setLine(irq, level);
        else this.#slave.setLine(irq - 8, level);
        this.#update();
        this.onLine(irq, level);
      },
    };
  }

  /** An input that is one more wire to a line that several may hold up (PCI's INTx): it falls when the last one lets go. */
  sharedLine(irq: number, device?: string): IrqLine {
    const line = this.line(irq, device);
    let held = false;
    return {
      set: level => {
        if (level === held) return;
        held = level;
        this.#holders[irq]! += level ? 1 : -1;
        line.set(this.#holders[irq]! > 0);
      },
    };
  }

  /** The two edge/level control registers. */
  elcrPorts(): PortDevice {
    const chips = [this.#master, this.#slave] as const;
    return {
      readPort: offset => chips[offset as 0 | 1].elcr,
      writePort: (offset, _width, value) => {
        chips[offset as 0 | 1].elcr = value & ELCR_WRITABLE[offset as 0 | 1];
        this.#update();
      },
    };
  }

  port(chip: 'master' | 'slave'): PortDevice {
    const target = chip === 'master' ? this.#master : this.#slave;
    return {
      readPort: (offset: number, _width: PortWidth): number => this.#read(target, offset),
      writePort: (offset: number, _width: PortWidth, value: number): void => {
        target.write(offset, value);
        this.#update();
      },
    };
  }

  /** Interrupt-acknowledge cycle: returns the vector. Without a request: the spurious vector of line 7. */
  acknowledge(): number {
    const line = this.#master.pending();
    if (line < 0) return this.#master.vectorBase + 7;
    this.#master.take(line);
    let vector = this.#master.vectorBase + line;
    let irq = line;
    if (line === 2) {
      const slaveLine = this.#slave.pending();
      if (slaveLine < 0) {
        this.#update();
        return this.#slave.vectorBase + 7;
      }
      this.#slave.take(slaveLine);
      vector = this.#slave.vectorBase + slaveLine;
      irq = 8 + slaveLine;
    }
    this.#update();
    this.acknowledged(irq);
    return vector;
  }

  /** The processor has acknowledged a request of a line, here or where else its wire leads. */
  acknowledged(irq: number): void {
    this.#delivered[irq]! += 1;
    this.onAcknowledged(irq);
  }

  /** Is the request of a line latched and not acknowledged yet? */
  isRequested(irq: number): boolean {
    return irq < 8 ? (this.#master.irr & (1 << irq)) !== 0 : (this.#slave.irr & (1 << (irq - 8))) !== 0;
  }

  /** Does the guest's mask register hold the line back? */
  isMasked(irq: number): boolean {
    return irq < 8 ? (this.#master.imr & (1 << irq)) !== 0 : (this.#slave.imr & (1 << (irq - 8))) !== 0;
  }

  /** The lines with a device, and those that have interrupted nevertheless. `vectorOf`: of a line that another controller has. */
  sample(vectorOf: (irq: number) => number | undefined = () => undefined): InterruptSample[] {
    return this.#devices.flatMap((devices, irq) => {
      const delivered = this.#delivered[irq]!;
      if (devices.length === 0 && delivered === 0) return [];
      const own = irq < 8 ? this.#master.vectorBase + irq : this.#slave.vectorBase + irq - 8;
      return [{ irq, vector: vectorOf(irq) ?? own, devices: [...devices], delivered }];
    });
  }

  /** Restoring, after those that hold shared lines up. Nobody hears of the output. */
  exchange(archive: Archive): void {
    this.#master.exchange(archive);
    this.#slave.exchange(archive);
    archive.bytes(this.#delivered);
    this.#output = archive.flag(this.#output);
  }

  #read(chip: PicChip, offset: number): number {
    if (chip.pollNext) {
      chip.pollNext = false;
      const line = chip.pending();
      if (line < 0) return 0;
      chip.take(line);
      this.#update();
      return 0x80 | line;
    }
    if (offset === 1) return chip.imr;
    return chip.readIsr ? chip.isr : chip.irr;
  }

  #update(): void {
    const cascade = this.#slave.pending() >= 0;
    if (cascade !== ((this.#master.lines & 4) !== 0)) this.#master.setLine(2, cascade);
    const output = this.#master.pending() >= 0;
    if (output !== this.#output) {
      this.#output = output;
      this.onOutput(output);
    }
  }
}
