/**
 * An 8042 keyboard controller of the AT kind (Intel UPI-42 manual; IBM PC/AT Technical Reference, "keyboard controller"): one
 * keyboard port, and nobody has plugged anything in. Data at offset 0 (port 0x60), status and commands at offset 4 (0x64).
 *
 * Commands of later controllers (second port) are not known and not answered, which is how kernels find that there is none.
 * A byte sent to the keyboard times out: the controller says "resend" with the time-out bit, at once.
 */
import type { Archive } from '../base/archive.js';
import type { IrqLine, PortDevice, PortWidth } from './device.js';
import type { PowerSignal } from './system-control.js';

const Status = { OUTPUT_FULL: 0x01, SYSTEM: 0x04, COMMAND: 0x08, UNLOCKED: 0x10, TIMEOUT: 0x40 } as const;
/** Bits of the command byte. */
const Mode = { INTERRUPT: 0x01, SYSTEM: 0x04, DISABLED: 0x10 } as const;
const Command = {
  READ_MODE: 0x20,
  WRITE_MODE: 0x60,
  SELF_TEST: 0xaa,
  TEST_PORT: 0xab,
  DISABLE: 0xad,
  ENABLE: 0xae,
  READ_INPUT: 0xc0,
  READ_OUTPUT: 0xd0,
  WRITE_OUTPUT: 0xd1,
  /** And those above: pulse the output lines whose bit is 0, of which line 0 is the processor's reset. */
  PULSE: 0xf0,
} as const;
const SELF_TEST_PASSED = 0x55;
const RESEND = 0xfe;
/** Keyboard not inhibited, no manufacturing jumper. */
const INPUT_PORT = 0xa0;
/** Address line 20 open, reset not asserted. */
const OUTPUT_PORT = 0x03;
const RESET_LINE = 0x01;

export class KeyboardController implements PortDevice {
  readonly #signal: PowerSignal;
  readonly #irq: IrqLine;
  /** As a BIOS leaves it: tested, translating scan codes, interrupt on. */
  #mode = 0x45;
  #output: number | undefined;
  #timedOut = false;
  /** Command whose data byte is awaited. */
  #awaiting: number | undefined;
  #lastWasCommand = false;

  constructor(signal: PowerSignal, irq: IrqLine) {
    this.#signal = signal;
    this.#irq = irq;
  }

  readPort(offset: number, _width: PortWidth): number {
    if (offset === 4) return this.#status();
    const value = this.#output ?? 0;
    this.#output = undefined;
    this.#timedOut = false;
    this.#update();
    return value;
  }

  writePort(offset: number, _width: PortWidth, value: number): void {
    this.#lastWasCommand = offset === 4;
    if (offset === 4) this.#command(value);
    else this.#data(value);
    this.#update();
  }

  exchange(archive: Archive): void {
    this.#mode = archive.number(this.#mode);
    this.#output = archive.optional(this.#output);
    this.#timedOut = archive.flag(this.#timedOut);
    this.#awaiting = archive.optional(this.#awaiting);
    this.#lastWasCommand = archive.flag(this.#lastWasCommand);
  }

  #status(): number {
    return (
      (this.#output === undefined ? 0 : Status.OUTPUT_FULL) |
      (this.#mode & Mode.SYSTEM) |
      (this.#lastWasCommand ? Status.COMMAND : 0) |
      Status.UNLOCKED |
      (this.#timedOut ? Status.TIMEOUT : 0)
    );
  }

  #command(command: number): void {
    this.#awaiting = undefined;
    if (command >= Command.PULSE) {
      if ((command & RESET_LINE) === 0) this.#signal({ kind: 'reset' });
      return;
    }
    switch (command) {
      case Command.READ_MODE:
        this.#output = this.#mode;
        break;
      case Command.WRITE_MODE:
      case Command.WRITE_OUTPUT:
        this.#awaiting = command;
        break;
      case Command.SELF_TEST:
        this.#mode |= Mode.SYSTEM;
        this.#output = SELF_TEST_PASSED;
        break;
      case Command.TEST_PORT:
        this.#output = 0;
        break;
      case Command.DISABLE:
        this.#mode |= Mode.DISABLED;
        break;
      case Command.ENABLE:
        this.#mode &= ~Mode.DISABLED;
        break;
      case Command.READ_INPUT:
        this.#output = INPUT_PORT;
        break;
      case Command.READ_OUTPUT:
        this.#output = OUTPUT_PORT;
        break;
      default:
        break;
    }
  }

  #data(value: number): void {
    const command = this.#awaiting;
    this.#awaiting = undefined;
    if (command === Command.WRITE_MODE) {
      this.#mode = value;
    } else if (command === Command.WRITE_OUTPUT) {
      if ((value & RESET_LINE) === 0) this.#signal({ kind: 'reset' });
    } else {
      this.#mode &= ~Mode.DISABLED;
      this.#output = RESEND;
      this.#timedOut = true;
    }
  }

  #update(): void {
    this.#irq.set(this.#output !== undefined && (this.#mode & Mode.INTERRUPT) !== 0);
  }
}
