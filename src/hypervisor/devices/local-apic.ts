/**
 * The local APIC of a processor (SDM vol. 3, chapter "Advanced Programmable Interrupt Controller"; version 14h of the Pentium 4 and later, memory-mapped).
 *
 *     8259 -> LINT0 --ExtINT-----------------------> the processor: asks the 8259 for the vector
 *               |fixed
 *     timer, errors, self-IPIs -> IRR --priority---> the processor: takes the vector, IRR -> ISR, until EOI
 *
 * Built: vectored interrupts with their priorities, task and processor priority, the local vector table, the timer, ExtINT, errors of vectors and
 * registers, IPIs to this processor, software and global disabling. NMI, SMI, INIT and start-up messages are dropped: the processor that could
 * take them is not simulated. The address of the registers is fixed.
 */
import type { Archive } from '../base/archive.js';
import {
  APIC_VERSION,
  ApicMode,
  ApicRegister,
  LVT,
  LVT_LEVEL,
  LVT_MASKED,
  LVT_PERIODIC,
  LVT_REMOTE_IRR,
  MODE_MASK,
  VectorSet,
} from './apic-registers.js';
import { ApicTimer } from './apic-timer.js';
import type { InterruptOutput, MmioDevice, PortWidth, VirtualClock } from './device.js';
import type { InterruptMessage } from './io-apic.js';
import { OwedTicks } from './owed-ticks.js';

export const APIC_BASE = 0xfee00000;
export const APIC_BYTES = 4096;

const R = ApicRegister;

/** Six entries of the local vector table. */
const VERSION = 0x00050000 | APIC_VERSION;
const SPURIOUS_ENABLE = 0x100;
/** Vector, software enable, focus checking. */
const SVR_MASK = 0x3ff;
const ApicError = { SEND_ILLEGAL: 0x20, RECEIVE_ILLEGAL: 0x40, ILLEGAL_REGISTER: 0x80 } as const;
/** Delivery mode, destination mode, level, trigger mode and shorthand. */
const ICR_LOW_MASK = 0x000ccfff;
const LOGICAL = 0x800;
/** IA32_APIC_BASE. */
const BASE_BSP = 0x100;
const BASE_ENABLE = 0x800;
/** Vectors below are the processor's own. */
const VECTOR_MIN = 16;

export interface LocalApicWiring {
  readonly clock: VirtualClock;
  readonly id: number;
  /** Ticks of a periodic timer that come too late are delivered later. */
  readonly catchUp: boolean;
  /** What LINT0 is wired to. */
  readonly external: Pick<InterruptOutput, 'output' | 'acknowledge'>;
}

export class LocalApic implements MmioDevice, InterruptOutput {
  onOutput: (level: boolean) => void = () => {};
  /** An interrupt of the timer was acknowledged by the processor. */
  onTimerAcknowledged: () => void = () => {};
  /** An interrupt that began as a level has ended: for the I/O APIC. */
  onLevelEnded: (vector: number) => void = () => {};
  readonly id: number;
  readonly #external: LocalApicWiring['external'];
  readonly #catchUp: boolean;
  readonly #timer: ApicTimer;
  readonly #owed: OwedTicks;
  readonly #requested = new VectorSet();
  readonly #inService = new VectorSet();
  readonly #levelTriggered = new VectorSet();
  /** Registers that keep what was written. */
  readonly #registers = new Map<number, number>();
  /** Errors since ESR was last written, and those that a read of it shows. */
  #errors = 0;
  #latchedErrors = 0;
  #enabled = true;
  /** Who wants to know when a request is acknowledged, by vector: those that have asked for it since the last time. */
  readonly #askers = new Map<number, Set<() => void>>();
  readonly #timerTaken = (): void => {
    this.onTimerAcknowledged();
    this.#owed.acknowledged();
  };
  #line = false;
  #output = false;

  constructor({ clock, id, catchUp, external }: LocalApicWiring) {
    this.id = id;
    this.#external = external;
    this.#catchUp = catchUp;
    this.#owed = new OwedTicks(clock, () => this.#requestTimer());
    this.#timer = new ApicTimer(clock, times => this.#timerExpired(times));
    this.#reset();
  }

  #reset(): void {
    this.#timer.initialCount = 0;
    this.#owed.stop();
    for (const set of [this.#requested, this.#inService, this.#levelTriggered]) set.clear();
    this.#registers.clear();
    this.#registers.set(R.ID, (this.id << 24) >>> 0);
    this.#registers.set(R.DFR, 0xffffffff);
    this.#registers.set(R.SVR, 0xff);
    for (const entry of LVT.keys()) this.#registers.set(entry, LVT_MASKED);
    this.#errors = 0;
    this.#latchedErrors = 0;
    this.#askers.clear();
  }

  /** As a PC's firmware leaves it: on, the 8259's requests pass through LINT0, NMI is wired to LINT1 ("virtual wire"). */
  setVirtualWire(): void {
    this.#write(R.SVR, SPURIOUS_ENABLE | 0x0f);
    this.#write(R.LVT_LINT0, ApicMode.EXT_INT);
    this.#write(R.LVT_LINT1, ApicMode.NMI);
  }

  // The processor's side.

  get output(): boolean {
    return this.#output;
  }

  /** Interrupt-acknowledge: returns the vector. A request that has gone, or that a raised priority holds back: the spurious vector. */
  acknowledge(): number {
    const vector = this.#deliverable();
    if (vector < 0) {
      // The 8259 has a spurious vector of its own.
      if (this.passesExternal && (this.#external.output || this.#requested.highest < 0))
        return this.#external.acknowledge();
      return this.#read(R.SVR) & 0xff;
    }
    this.#requested.delete(vector);
    this.#inService.add(vector);
    const askers = this.#askers.get(vector);
    this.#askers.delete(vector);
    this.#update();
    for (const asker of askers ?? []) asker();
    return vector;
  }

  /** IA32_APIC_BASE, low half; the high one is 0. */
  get baseMsr(): number {
    return (APIC_BASE | BASE_BSP | (this.#enabled ? BASE_ENABLE : 0)) >>> 0;
  }

  /** False where the value cannot be kept: another address, reserved bits. */
  writeBaseMsr(low: number, high: number): boolean {
    if (high !== 0 || (low & ~BASE_ENABLE) >>> 0 !== (APIC_BASE | BASE_BSP) >>> 0) return false;
    this.#enabled = (low & BASE_ENABLE) !== 0;
    if (!this.#enabled) this.#reset();
    this.#update();
    return true;
  }

  /** By IA32_APIC_BASE: without, CPUID denies the APIC, its registers are not there and LINT0 is the processor's INTR pin. */
  get isEnabled(): boolean {
    return this.#enabled;
  }

  // The wires.

  /** The 8259's output has changed. */
  externalChanged(level: boolean): void {
    const rises = level && !this.#line;
    this.#line = level;
    const entry = this.#read(R.LVT_LINT0);
    if (this.#enabled && (entry & (LVT_MASKED | MODE_MASK)) === ApicMode.FIXED) {
      if ((entry & LVT_LEVEL) === 0 ? rises : level) this.#request(entry & 0xff, (entry & LVT_LEVEL) !== 0);
    }
    this.#update();
  }

  /** An interrupt from the I/O APIC; dropped where it is for somebody else. */
  receive(message: InterruptMessage): void {
    const { vector, destination, logical, level } = message;
    if (!this.#enabled || !this.#isSoftwareEnabled || !this.#isAddressed(destination, logical)) return;
    this.#request(vector, level, message.onAcknowledged);
    this.#update();
  }

  /** The timer will interrupt. */
  get timerIsOn(): boolean {
    return this.#enabled && this.#timer.isRunning && (this.#read(R.LVT_TIMER) & LVT_MASKED) === 0;
  }

  /** Vector of the timer's interrupt. */
  get timerVector(): number {
    return this.#read(R.LVT_TIMER) & 0xff;
  }

  /** Interrupts per second that the timer is programmed for; 0 for one that comes once. */
  get timerHz(): number {
    return this.timerIsOn ? this.#timer.hz : 0;
  }

  /** Ticks of a periodic timer that are owed. */
  get timerBacklog(): number {
    return this.#owed.count;
  }

  get timerLagCycles(): number {
    return Math.round(this.#owed.count * this.#timer.period);
  }

  /** Delivers what the LVT entry of the timer says, as the timer does at its end: for alarms that are wired to it. */
  raiseLvtTimer(): void {
    if ((this.#read(R.LVT_TIMER) & LVT_MASKED) !== 0) return;
    this.#request(this.#read(R.LVT_TIMER) & 0xff, false);
    this.#update();
  }

  // Registers.

  /** Registers are double words, each at a multiple of 16. Other accesses have no defined result: they read as 0 and are dropped. */
  readMmio(offset: number, width: PortWidth): number {
    if (!this.#enabled) return 0xffffffff;
    return width === 4 && (offset & 15) === 0 ? this.read(offset) : 0;
  }

  writeMmio(offset: number, width: PortWidth, value: number): void {
    if (this.#enabled && width === 4 && (offset & 15) === 0) this.write(offset, value);
  }

  /** Unsigned. `register` is an offset (`ApicRegister`). */
  read(register: number): number {
    switch (register) {
      case R.VERSION:
        return VERSION;
      case R.PPR:
        return this.#processorPriority();
      case R.APR:
        return Math.max(this.#read(R.TPR), this.#requested.highest & 0xf0, this.#inService.highest & 0xf0) >>> 0;
      case R.ESR:
        return this.#latchedErrors;
      case R.INITIAL_COUNT:
        return this.#timer.initialCount;
      case R.CURRENT_COUNT:
        return this.#timer.currentCount;
      case R.DIVIDE:
        return this.#timer.divideConfiguration;
      case R.EOI:
        return 0;
      case R.TPR:
      case R.LDR:
      case R.ICR_LOW:
      case R.ICR_HIGH:
        return this.#read(register);
      default:
        break;
    }
    const set = this.#setAt(register);
    if (set !== undefined) return set.words[(register & 0x70) >>> 4]!;
    if (register === R.LVT_LINT0) return this.#read(register) | (this.#holdsLevel ? LVT_REMOTE_IRR : 0);
    if (this.#registers.has(register)) return this.#read(register);
    this.#error(ApicError.ILLEGAL_REGISTER);
    return 0;
  }

  write(register: number, value: number): void {
    this.#write(register, value >>> 0);
    this.#update();
  }

  #read(register: number): number {
    return this.#registers.get(register) ?? 0;
  }

  #setAt(register: number): VectorSet | undefined {
    if (register >= R.ISR && register < R.ISR + 0x80) return this.#inService;
    if (register >= R.TMR && register < R.TMR + 0x80) return this.#levelTriggered;
    if (register >= R.IRR && register < R.IRR + 0x80) return this.#requested;
    return undefined;
  }

  #write(register: number, value: number): void {
    const writable = LVT.get(register);
    if (writable !== undefined) {
      this.#writeLvt(register, value & writable);
      return;
    }
    switch (register) {
      case R.ID:
        this.#registers.set(register, value & 0xff000000);
        break;
      case R.TPR:
        this.#registers.set(register, value & 0xff);
        break;
      case R.EOI:
        this.#endOfInterrupt();
        break;
      case R.LDR:
        this.#registers.set(register, (value & 0xff000000) >>> 0);
        break;
      case R.DFR:
        this.#registers.set(register, (value | 0x0fffffff) >>> 0);
        break;
      case R.SVR:
        this.#registers.set(register, value & SVR_MASK);
        // A software-disabled APIC has all of its local vector table masked, for good.
        if ((value & SPURIOUS_ENABLE) === 0) for (const entry of LVT.keys()) this.#writeLvt(entry, this.#read(entry));
        break;
      case R.ESR:
        this.#latchedErrors = this.#errors;
        this.#errors = 0;
        break;
      case R.ICR_LOW:
        this.#registers.set(register, value & ICR_LOW_MASK);
        this.#send(value);
        break;
      case R.ICR_HIGH:
        this.#registers.set(register, (value & 0xff000000) >>> 0);
        break;
      case R.INITIAL_COUNT:
        this.#owed.stop();
        this.#timer.initialCount = value;
        break;
      case R.DIVIDE:
        this.#timer.divideConfiguration = value;
        break;
      default:
        // Read-only registers swallow a store, and what is no register at all is an error.
        if (!this.#isRegister(register)) this.#error(ApicError.ILLEGAL_REGISTER);
    }
  }

  #isRegister(register: number): boolean {
    return (Object.values(R) as number[]).includes(register) || this.#setAt(register) !== undefined;
  }

  #writeLvt(register: number, value: number): void {
    const disabled = (this.#read(R.SVR) & SPURIOUS_ENABLE) === 0;
    this.#registers.set(register, disabled ? value | LVT_MASKED : value);
    if (register !== R.LVT_TIMER) return;
    this.#timer.periodic = (value & LVT_PERIODIC) !== 0;
    if ((this.#read(register) & LVT_MASKED) !== 0) this.#owed.stop();
  }

  /** `sources`: who else asks to be told of acknowledges, by number. Restoring, after what is wired to it. Nobody hears of the output. */
  exchange(archive: Archive, sources: readonly (() => void)[]): void {
    this.#timer.exchange(archive);
    this.#owed.exchange(archive);
    for (const set of [this.#requested, this.#inService, this.#levelTriggered]) archive.bytes(set.words);
    const registers = archive.list(this.#registers, (entry): [number, number] => [
      archive.number(entry?.[0] ?? 0),
      archive.number(entry?.[1] ?? 0),
    ]);
    this.#errors = archive.number(this.#errors);
    this.#latchedErrors = archive.number(this.#latchedErrors);
    this.#enabled = archive.flag(this.#enabled);
    const known = [this.#timerTaken, ...sources];
    const askers = archive.list(this.#askers, (entry): [number, Set<() => void>] => [
      archive.number(entry?.[0] ?? 0),
      new Set(
        archive.list(entry?.[1] ?? [], asker => known[archive.number(asker === undefined ? 0 : known.indexOf(asker))]!),
      ),
    ]);
    this.#line = archive.flag(this.#line);
    this.#output = archive.flag(this.#output);
    if (!archive.restores) return;
    this.#registers.clear();
    for (const [register, value] of registers) this.#registers.set(register, value);
    this.#askers.clear();
    for (const [vector, set] of askers) this.#askers.set(vector, set);
  }

  // Interrupts.

  get #isSoftwareEnabled(): boolean {
    return (this.#read(R.SVR) & SPURIOUS_ENABLE) !== 0;
  }

  /** Requests of the 8259 reach the processor. */
  get passesExternal(): boolean {
    if (!this.#enabled) return true;
    return (this.#read(R.LVT_LINT0) & (LVT_MASKED | MODE_MASK)) === ApicMode.EXT_INT;
  }

  #processorPriority(): number {
    const task = this.#read(R.TPR);
    const service = this.#inService.highest & 0xf0;
    return this.#inService.highest < 0 || task >>> 4 >= service >>> 4 ? task : service;
  }

  /** The request that the processor would take now, or -1. */
  #deliverable(): number {
    if (!this.#enabled) return -1;
    const vector = this.#requested.highest;
    return vector >= 0 && vector >>> 4 > this.#processorPriority() >>> 4 ? vector : -1;
  }

  /** `asker` hears of the acknowledge. False for a vector that is none. */
  #request(vector: number, level: boolean, asker?: () => void): boolean {
    if (vector < VECTOR_MIN) {
      this.#error(ApicError.RECEIVE_ILLEGAL);
      return false;
    }
    this.#requested.add(vector);
    if (level) this.#levelTriggered.add(vector);
    else this.#levelTriggered.delete(vector);
    if (asker !== undefined) {
      const askers = this.#askers.get(vector);
      if (askers === undefined) this.#askers.set(vector, new Set([asker]));
      else askers.add(asker);
    }
    return true;
  }

  #endOfInterrupt(): void {
    const vector = this.#inService.highest;
    if (vector < 0) return;
    this.#inService.delete(vector);
    const entry = this.#read(R.LVT_LINT0);
    const isLevel = (entry & (LVT_MASKED | MODE_MASK | LVT_LEVEL)) === LVT_LEVEL && (entry & 0xff) === vector;
    // A level that is still there asks again.
    if (isLevel && this.#line) this.#request(vector, true);
    if (this.#levelTriggered.has(vector)) this.onLevelEnded(vector);
  }

  /** A level of LINT0 was accepted as an interrupt, which has not ended. */
  get #holdsLevel(): boolean {
    const entry = this.#read(R.LVT_LINT0);
    const vector = entry & 0xff;
    const held = this.#requested.has(vector) || this.#inService.has(vector);
    return (entry & (MODE_MASK | LVT_LEVEL)) === LVT_LEVEL && held && this.#levelTriggered.has(vector);
  }

  #error(error: number): void {
    if ((this.#errors & error) !== 0) return;
    this.#errors |= error;
    const entry = this.#read(R.LVT_ERROR);
    // An error of the error interrupt itself ends here: its bit is set by now.
    if ((entry & LVT_MASKED) === 0) this.#request(entry & 0xff, false);
  }

  #timerExpired(times: number): void {
    if ((this.#read(R.LVT_TIMER) & LVT_MASKED) !== 0) return;
    if (this.#catchUp && this.#timer.hz > 0) this.#owed.add(times, this.#timer.period);
    else this.#owed.raise();
  }

  #requestTimer(): void {
    const accepted = this.#request(this.#read(R.LVT_TIMER) & 0xff, false, this.#timerTaken);
    if (!accepted) this.#owed.withdrawn();
    this.#update();
  }

  /** An interprocessor interrupt. There is nobody else to take one. */
  #send(command: number): void {
    const mode = command & MODE_MASK;
    if (mode !== ApicMode.FIXED && mode !== ApicMode.LOWEST) return;
    const vector = command & 0xff;
    if (!this.#isAddressedBy(command)) return;
    if (vector < VECTOR_MIN) this.#error(ApicError.SEND_ILLEGAL);
    if (this.#isSoftwareEnabled) this.#request(vector, false);
  }

  #isAddressedBy(command: number): boolean {
    switch ((command >>> 18) & 3) {
      case 0:
        return this.#isAddressed(this.#read(R.ICR_HIGH) >>> 24, (command & LOGICAL) !== 0);
      case 3:
        return false;
      default:
        return true;
    }
  }

  #isAddressed(destination: number, logical: boolean): boolean {
    if (!logical) return destination === 0xff || destination === this.#read(R.ID) >>> 24;
    const own = this.#read(R.LDR) >>> 24;
    const flat = this.#read(R.DFR) >>> 28 === 0xf;
    if (flat) return (destination & own) !== 0;
    const cluster = destination >>> 4;
    return (cluster === 0xf || cluster === own >>> 4) && (destination & own & 0xf) !== 0;
  }

  #update(): void {
    const output = this.#deliverable() >= 0 || (this.passesExternal && this.#external.output);
    if (output === this.#output) return;
    this.#output = output;
    this.onOutput(output);
  }
}
