/**
 * The 8254 interval timer of a PC: channel 0 raises IRQ 0, channel 2 is the speaker timer with its gate on port 0x61
 * (Intel 8254 data sheet, 231164). Channel 1 (memory refresh) counts and drives nothing.
 *
 * Counters are not stepped: what a read returns is computed from the clock. One PIT tick is 1/1,193,182 s.
 *
 * A virtualized PIT keeps ticks that come too late (`OwedTicks`). Ticks that the guest itself masks at the controller are lost as on
 * hardware. A counter that is read while ticks are owed shows real, not apparent, time: unlike VMware's, which shows the latter.
 */
import type { Archive } from '../base/archive.js';
import {
  exchangeTimer,
  type IrqLine,
  type PortDevice,
  type PortWidth,
  type TimerHandle,
  type VirtualClock,
} from './device.js';
import { BACKLOG_SECONDS_MAX, OwedTicks } from './owed-ticks.js';

export const PIT_HZ = 1_193_182;

type Access = 1 | 2 | 3;

class Channel {
  mode = 0;
  access: Access = 3;
  bcd = false;
  /** Count that is in force, 1..65536; 0 before the first one was written. */
  reload = 0;
  /** Modes 2 and 3: count that takes over at the end of the present period. */
  reloadNext = 0;
  /** PIT tick at which counting (re)started. */
  startTick = 0;
  counting = false;
  gate = true;
  /** Ticks counted when the gate stopped the counter (modes 0 and 4). */
  #frozen = 0;
  #latch: number | undefined;
  #statusLatch: number | undefined;
  #lowByte: number | undefined;
  #readHigh = false;

  exchange(archive: Archive): void {
    this.mode = archive.number(this.mode);
    this.access = archive.number(this.access) as Access;
    this.bcd = archive.flag(this.bcd);
    this.reload = archive.number(this.reload);
    this.reloadNext = archive.number(this.reloadNext);
    this.startTick = archive.number(this.startTick);
    this.counting = archive.flag(this.counting);
    this.gate = archive.flag(this.gate);
    this.#frozen = archive.number(this.#frozen);
    this.#latch = archive.optional(this.#latch);
    this.#statusLatch = archive.optional(this.#statusLatch);
    this.#lowByte = archive.optional(this.#lowByte);
    this.#readHigh = archive.flag(this.#readHigh);
  }

  control(value: number): void {
    this.access = ((value >>> 4) & 3) as Access;
    const mode = (value >>> 1) & 7;
    this.mode = mode > 5 ? mode - 4 : mode;
    this.bcd = (value & 1) !== 0;
    this.counting = false;
    this.reload = 0;
    this.reloadNext = 0;
    this.#latch = undefined;
    this.#statusLatch = undefined;
    this.#lowByte = undefined;
    this.#readHigh = false;
  }

  /** Returns the complete count (1..65536) once all its bytes are there. */
  writeByte(value: number): number | undefined {
    let count: number;
    if (this.access === 1) count = value;
    else if (this.access === 2) count = value << 8;
    else if (this.#lowByte === undefined) {
      this.#lowByte = value;
      return undefined;
    } else {
      count = (value << 8) | this.#lowByte;
      this.#lowByte = undefined;
    }
    if (this.bcd) {
      const decimal = (count >>> 12) * 1000 + ((count >>> 8) & 15) * 100 + ((count >>> 4) & 15) * 10 + (count & 15);
      return decimal === 0 ? 10_000 : decimal;
    }
    return count === 0 ? 0x10000 : count;
  }

  readByte(tick: number): number {
    if (this.#statusLatch !== undefined) {
      const status = this.#statusLatch;
      this.#statusLatch = undefined;
      return status;
    }
    const count = this.#latch ?? this.#encode(this.count(tick));
    if (this.access === 1 || this.access === 2) {
      this.#latch = undefined;
      return this.access === 1 ? count & 0xff : count >>> 8;
    }
    this.#readHigh = !this.#readHigh;
    if (this.#readHigh) return count & 0xff;
    this.#latch = undefined;
    return count >>> 8;
  }

  latchCount(tick: number): void {
    this.#latch ??= this.#encode(this.count(tick));
  }

  latchStatus(tick: number): void {
    const nullCount = this.counting ? 0 : 0x40;
    this.#statusLatch ??=
      (this.output(tick) ? 0x80 : 0) | nullCount | (this.access << 4) | (this.mode << 1) | (this.bcd ? 1 : 0);
  }

  start(tick: number, count: number): void {
    this.reload = count;
    this.reloadNext = count;
    // Modes 1 and 5 wait for a rising gate.
    this.counting = this.mode !== 1 && this.mode !== 5;
    this.startTick = tick;
    this.#frozen = 0;
  }

  setGate(level: boolean, tick: number): void {
    if (level === this.gate) return;
    if (!level) {
      this.#frozen = this.#elapsed(tick);
      this.gate = false;
      return;
    }
    this.gate = true;
    if (this.mode === 0 || this.mode === 4) this.startTick = tick - this.#frozen;
    else {
      this.startTick = tick;
      if (this.reload > 0) this.counting = true;
    }
  }

  /** Value of the counter, 0..65535. */
  count(tick: number): number {
    if (!this.counting) return this.reload & 0xffff;
    const elapsed = this.#elapsed(tick);
    if (this.mode === 2) return (this.reload - (elapsed % this.reload)) & 0xffff;
    // Mode 3 counts down by two, twice in each period.
    if (this.mode === 3) return (this.reload - ((elapsed * 2) % this.reload)) & 0xfffe;
    // The other modes wrap around and go on counting.
    const modulus = this.bcd ? 10_000 : 0x10000;
    return (((this.reload - elapsed) % modulus) + modulus) % modulus;
  }

  output(tick: number): boolean {
    if (!this.counting) return this.mode !== 0;
    const elapsed = this.#elapsed(tick);
    switch (this.mode) {
      case 0:
      case 1:
        return elapsed >= this.reload;
      case 2:
        return !this.gate || elapsed % this.reload !== this.reload - 1;
      case 3:
        return !this.gate || elapsed % this.reload < (this.reload + 1) >>> 1;
      default:
        return elapsed !== this.reload;
    }
  }

  #elapsed(tick: number): number {
    if (!this.gate && this.mode !== 1 && this.mode !== 5) return this.#frozen;
    return Math.max(0, tick - this.startTick);
  }

  #encode(count: number): number {
    if (!this.bcd) return count;
    const decimal = count % 10_000;
    return (
      (Math.floor(decimal / 1000) << 12) |
      ((Math.floor(decimal / 100) % 10) << 8) |
      ((Math.floor(decimal / 10) % 10) << 4) |
      (decimal % 10)
    );
  }
}

export interface PitOptions {
  /** Keep ticks that cannot be delivered in time, and deliver them later. */
  readonly catchUp: boolean;
  /** Does the guest mask IRQ 0 at the interrupt controller? */
  isMasked(): boolean;
}

export class Pit implements PortDevice {
  readonly #clock: VirtualClock;
  readonly #irq0: IrqLine;
  readonly #options: PitOptions;
  readonly #channels = [new Channel(), new Channel(), new Channel()] as const;
  #timer: TimerHandle | undefined;
  readonly #owed: OwedTicks;
  /** PIT tick of the next rising edge of channel 0's output; meaningful while `#timer` is set. */
  #nextEdge = 0;
  #delivered = 0;
  #lost = 0;

  constructor(clock: VirtualClock, irq0: IrqLine, options: PitOptions) {
    this.#clock = clock;
    this.#irq0 = irq0;
    this.#options = options;
    this.#channels[2].gate = false;
    this.#owed = new OwedTicks(clock, () => this.#raise());
  }

  /** Offsets 0-2: channels; 3: control. */
  readPort(offset: number, _width: PortWidth): number {
    return offset === 3 ? 0xff : this.#channels[offset]!.readByte(this.#tick());
  }

  writePort(offset: number, _width: PortWidth, value: number): void {
    if (offset === 3) this.#writeControl(value);
    else this.#writeCount(offset, value);
  }

  /** Port 0x61 bit 0: the gate of channel 2. */
  setGate2(level: boolean): void {
    this.#channels[2].setGate(level, this.#tick());
  }

  /** Port 0x61 bit 5: the output of channel 2. */
  get output2(): boolean {
    return this.#channels[2].output(this.#tick());
  }

  /** The controller's side of an interrupt acknowledge for IRQ 0. */
  acknowledged(): void {
    this.#delivered += 1;
    this.#owed.acknowledged();
  }

  /** Interrupts per second that channel 0 is programmed for; 0 while it is silent. */
  get requestedHz(): number {
    const channel = this.#channels[0];
    return this.#isPeriodic() ? PIT_HZ / channel.reload : 0;
  }

  /** Timer interrupts that the guest has taken. */
  get delivered(): number {
    return this.#delivered;
  }

  /** Ticks that were lost, as on hardware, because their predecessor was still waiting. */
  get lost(): number {
    return this.#lost;
  }

  /** Ticks owed at `nowCycles`, with those that fell due while nobody ran this machine. */
  backlogAt(nowCycles: number): number {
    if (!this.#options.catchUp || !this.#isPeriodic()) return 0;
    const due = this.#edgesDue(nowCycles);
    const waiting = this.#owed.inFlight ? 0 : Math.min(1, due);
    return Math.min(this.#owed.count + due - waiting, this.#backlogMax());
  }

  /** How far the guest's count of ticks is behind, in cycles. */
  lagCyclesAt(nowCycles: number): number {
    const backlog = this.backlogAt(nowCycles);
    return backlog === 0 ? 0 : Math.round((backlog * this.#channels[0].reload * this.#clock.cyclesPerSecond) / PIT_HZ);
  }

  exchange(archive: Archive): void {
    for (const channel of this.#channels) channel.exchange(archive);
    this.#timer = exchangeTimer(archive, this.#clock, this.#timer, now => this.#onEdge(now));
    this.#owed.exchange(archive);
    this.#nextEdge = archive.number(this.#nextEdge);
    this.#delivered = archive.number(this.#delivered);
    this.#lost = archive.number(this.#lost);
  }

  /** PIT ticks since power-on of the host, exact: the product of two large numbers is never formed. */
  #tickAt(cycles: number): number {
    const hz = this.#clock.cyclesPerSecond;
    const seconds = Math.floor(cycles / hz);
    return seconds * PIT_HZ + Math.floor(((cycles - seconds * hz) * PIT_HZ) / hz);
  }

  #tick(): number {
    return this.#tickAt(this.#clock.nowCycles);
  }

  /** First cycle at which `#tickAt` reaches `tick`. */
  #cyclesOf(tick: number): number {
    const seconds = Math.floor(tick / PIT_HZ);
    return (
      seconds * this.#clock.cyclesPerSecond +
      Math.ceil(((tick - seconds * PIT_HZ) * this.#clock.cyclesPerSecond) / PIT_HZ)
    );
  }

  #isPeriodic(): boolean {
    const channel = this.#channels[0];
    return channel.counting && (channel.mode === 2 || channel.mode === 3);
  }

  #backlogMax(): number {
    return Math.floor((BACKLOG_SECONDS_MAX * PIT_HZ) / this.#channels[0].reload);
  }

  #edgesDue(nowCycles: number): number {
    if (this.#timer === undefined) return 0;
    const late = this.#tickAt(nowCycles) - this.#nextEdge;
    return late < 0 ? 0 : Math.floor(late / this.#channels[0].reload) + 1;
  }

  #writeControl(value: number): void {
    const select = value >>> 6;
    const tick = this.#tick();
    if (select === 3) {
      // Read-back: a clear bit 5 latches counts, a clear bit 4 latches status.
      this.#channels.forEach((channel, index) => {
        if ((value & (2 << index)) === 0) return;
        if ((value & 0x20) === 0) channel.latchCount(tick);
        if ((value & 0x10) === 0) channel.latchStatus(tick);
      });
      return;
    }
    const channel = this.#channels[select]!;
    if ((value & 0x30) === 0) {
      channel.latchCount(tick);
      return;
    }
    channel.control(value);
    if (select === 0) {
      this.#stop();
      // Mode 0 starts with the output low, which withdraws a request; the others leave it high.
      if (channel.mode === 0) {
        this.#irq0.set(false);
        this.#owed.withdrawn();
      }
    }
  }

  #writeCount(index: number, value: number): void {
    const channel = this.#channels[index]!;
    const count = channel.writeByte(value);
    if (count === undefined) return;
    if (channel.counting && (channel.mode === 2 || channel.mode === 3)) {
      channel.reloadNext = count;
      // Only channel 0 has period ends that anybody notices.
      if (index !== 0) channel.start(this.#tick(), count);
      return;
    }
    // The count is loaded with the next clock pulse.
    channel.start(this.#tick() + 1, count);
    if (index !== 0) return;
    this.#stop();
    if (channel.mode === 0) {
      this.#irq0.set(false);
      this.#owed.withdrawn();
    }
    if (channel.counting) this.#arm(channel.startTick + channel.reload);
  }

  #stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#owed.stop();
  }

  #arm(edge: number): void {
    this.#nextEdge = edge;
    this.#timer = this.#clock.at(this.#cyclesOf(edge), now => this.#onEdge(now));
  }

  #onEdge(nowCycles: number): void {
    const channel = this.#channels[0];
    if (!this.#isPeriodic()) {
      // Terminal count of modes 0 and 4.
      this.#timer = undefined;
      this.#owed.raise();
      return;
    }
    const due = this.#edgesDue(nowCycles);
    const lastEdge = this.#nextEdge + (due - 1) * channel.reload;
    if (channel.reloadNext !== channel.reload) channel.start(lastEdge, channel.reloadNext);
    this.#arm(lastEdge + channel.reload);
    if (!this.#options.catchUp || this.#options.isMasked()) {
      this.#lost += this.#owed.inFlight ? due : due - 1;
      this.#owed.raise();
      return;
    }
    this.#owed.add(due, (channel.reload * this.#clock.cyclesPerSecond) / PIT_HZ);
  }

  /**
   * A rising edge. The output then stays high until the next one, also in mode 3: the falling edge in the middle of a
   * square wave would only turn late acknowledges into spurious interrupts.
   */
  #raise(): void {
    this.#irq0.set(false);
    this.#irq0.set(true);
  }
}
