/**
 * VMI time: three cycle counters per virtual CPU and two alarms.
 *
 *     REAL       runs always                     = TSC less its value at power-on
 *     STOLEN     runs while the vCPU is ready    (runnable, but the pCPU works for somebody else)
 *     AVAILABLE  runs while it runs or is halted = REAL - STOLEN, at every instant
 *
 * An alarm fires as soon as its counter has reached the expiry. Missed periods of a periodic alarm collapse into one
 * interrupt: the next expiry is the first of `expiry + n * period` above the counter, so no backlog can build up.
 *
 * An alarm on AVAILABLE is set as a timer on real time for the case that nothing is stolen before; when it comes and time was
 * stolen, it is set again for the rest.
 */
import type { Archive } from '../../base/archive.js';
import { exchangeTimer, type IrqLine, type TimerHandle, type VirtualClock } from '../../devices/device.js';
import type { VmTimerSample } from '../../stats/sample.js';
import { AlarmFlag, CycleCounter } from './rom-layout.js';

/** The scheduler's account of this vCPU. */
export interface StolenTime {
  /** Cycles since power-on during which the vCPU was ready but did not run; exact whenever it runs or is halted. */
  readonly stolenCycles: number;
}

export interface AlarmWiring {
  readonly clock: VirtualClock;
  /** IRQ 0 of the VM's interrupt controller. */
  readonly irq0: IrqLine;
  /** Delivers what the LVT entry of the local APIC's timer says; undefined where there is none. */
  readonly lvtTimer: (() => void) | undefined;
  readonly stolen: StolenTime;
  /** The guest's time at power-on: REAL is 0 there. */
  readonly poweredOnAtCycles: number;
  /** Wall-clock time at power-on, seconds since 1970-01-01 UTC. */
  readonly wallclockAtPowerOn: number;
}

interface Alarm {
  expiry: number;
  /** 0: one-shot. */
  period: number;
  wiredToIrq0: boolean;
  timer: TimerHandle | undefined;
}

const COUNTERS_WITH_ALARM = 2;
/** Resolution of the alarms: a shorter period would leave a guest nothing but alarms. */
const PERIODS_PER_SECOND_MAX = 100_000;
/** Beyond this many cycles a double no longer counts singly; an expiry there never comes. */
const FAR_CYCLES = 2 ** 53;

export class VmiTimer {
  readonly #wiring: AlarmWiring;
  readonly #armed: (Alarm | undefined)[] = Array.from({ length: COUNTERS_WITH_ALARM }, () => undefined);
  #fired = 0;
  #poweredOnAtCycles: number;
  #wallclockAtPowerOn: number;

  constructor(wiring: AlarmWiring) {
    this.#wiring = wiring;
    this.#poweredOnAtCycles = wiring.poweredOnAtCycles;
    this.#wallclockAtPowerOn = wiring.wallclockAtPowerOn;
  }

  get cyclesPerSecond(): number {
    return this.#wiring.clock.cyclesPerSecond;
  }

  get poweredOnAtCycles(): number {
    return this.#poweredOnAtCycles;
  }

  get stolenCycles(): number {
    return this.#wiring.stolen.stolenCycles;
  }

  /** Interrupts raised since power-on. */
  get fired(): number {
    return this.#fired;
  }

  /** Value of a counter now, in cycles; 0 for an unknown one. */
  read(counter: number): number {
    const real = this.#wiring.clock.nowCycles - this.#poweredOnAtCycles;
    if (counter === CycleCounter.REAL) return real;
    if (counter === CycleCounter.AVAILABLE) return real - this.stolenCycles;
    return counter === CycleCounter.STOLEN ? this.stolenCycles : 0;
  }

  /**
   * SetAlarm. `expiryCycles` is absolute in the counter that `flags` select, `periodCycles` counts only with PERIODIC, and 0
   * makes the alarm one-shot. Replaces the counter's alarm; an expiry that is reached already fires before this returns. No
   * effect for counters that have no alarm.
   */
  set(flags: number, expiryCycles: number, periodCycles: number): void {
    const counter = flags & AlarmFlag.COUNTER_MASK;
    if (counter >= COUNTERS_WITH_ALARM) return;
    this.#disarm(counter);
    const periodic = (flags & AlarmFlag.PERIODIC) !== 0 && periodCycles > 0;
    const alarm: Alarm = {
      expiry: expiryCycles,
      period: periodic ? Math.max(periodCycles, Math.ceil(this.cyclesPerSecond / PERIODS_PER_SECOND_MAX)) : 0,
      wiredToIrq0: (flags & AlarmFlag.WIRED_LVTT) === 0,
      timer: undefined,
    };
    this.#armed[counter] = alarm;
    this.#check(counter, alarm);
  }

  /** CancelAlarm: of `flags` only the counter matters. True if an alarm was still armed. */
  cancel(flags: number): boolean {
    const counter = flags & AlarmFlag.COUNTER_MASK;
    return counter < COUNTERS_WITH_ALARM && this.#disarm(counter);
  }

  /** Takes every timer back: power-off, reset. */
  stop(): void {
    for (let counter = 0; counter < COUNTERS_WITH_ALARM; counter++) this.#disarm(counter);
  }

  /** Nanoseconds since 1970-01-01 UTC. */
  wallclockNs(): bigint {
    const real = BigInt(Math.floor(this.read(CycleCounter.REAL)));
    const elapsed = (real * 1_000_000_000n) / BigInt(this.cyclesPerSecond);
    return BigInt(this.#wallclockAtPowerOn) * 1_000_000_000n + elapsed;
  }

  /** What the console shows. `wakeups` and interrupts that reached the guest are counted by the VM. */
  sample(): Pick<VmTimerSample, 'source' | 'requestedHz' | 'backlog' | 'lagCycles' | 'stolenCycles'> {
    let requestedHz = 0;
    let lagCycles = 0;
    this.#armed.forEach((alarm, counter) => {
      if (alarm === undefined) return;
      if (alarm.period > 0) requestedHz += this.cyclesPerSecond / alarm.period;
      lagCycles = Math.max(lagCycles, this.read(counter) - alarm.expiry);
    });
    return { source: 'vmi-alarm', requestedHz, backlog: 0, lagCycles, stolenCycles: this.stolenCycles };
  }

  exchange(archive: Archive): void {
    this.#poweredOnAtCycles = archive.number(this.#poweredOnAtCycles);
    this.#wallclockAtPowerOn = archive.number(this.#wallclockAtPowerOn);
    this.#fired = archive.number(this.#fired);
    for (let counter = 0; counter < COUNTERS_WITH_ALARM; counter++) {
      const known = this.#armed[counter];
      if (!archive.flag(known !== undefined)) continue;
      const alarm: Alarm = {
        expiry: archive.number(known?.expiry ?? 0),
        period: archive.number(known?.period ?? 0),
        wiredToIrq0: archive.flag(known?.wiredToIrq0 ?? false),
        timer: undefined,
      };
      alarm.timer = exchangeTimer(archive, this.#wiring.clock, known?.timer, () => this.#onTimer(counter, alarm));
      this.#armed[counter] = alarm;
    }
  }

  #onTimer(counter: number, alarm: Alarm): void {
    if (this.#armed[counter] === alarm) this.#check(counter, alarm);
  }

  #disarm(counter: number): boolean {
    const alarm = this.#armed[counter];
    if (alarm === undefined) return false;
    alarm.timer?.cancel();
    this.#armed[counter] = undefined;
    return true;
  }

  #check(counter: number, alarm: Alarm): void {
    alarm.timer = undefined;
    const now = this.read(counter);
    if (now >= alarm.expiry) {
      if (alarm.period > 0) alarm.expiry += (Math.floor((now - alarm.expiry) / alarm.period) + 1) * alarm.period;
      else this.#armed[counter] = undefined;
      this.#fire(alarm);
      if (alarm.period === 0) return;
    }
    const remaining = alarm.expiry - now;
    if (remaining >= FAR_CYCLES) return;
    alarm.timer = this.#wiring.clock.at(this.#wiring.clock.nowCycles + remaining, () => this.#onTimer(counter, alarm));
  }

  /** Through LVTT, or as a rising edge, as the timer chip's output makes it. */
  #fire(alarm: Alarm): void {
    if (!alarm.wiredToIrq0) {
      this.#wiring.lvtTimer?.();
      return;
    }
    this.#fired += 1;
    this.#wiring.irq0.set(false);
    this.#wiring.irq0.set(true);
  }
}
