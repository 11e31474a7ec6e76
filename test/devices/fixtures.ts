import { DeviceClock } from '../../src/hypervisor/devices/clock.js';

/** A clock that a test moves by hand, firing timers at their exact time. */
export class ManualClock {
  now = 0;
  readonly clock: DeviceClock;

  constructor(readonly cyclesPerSecond = 3_000_000_000) {
    this.clock = new DeviceClock(cyclesPerSecond, () => this.now);
  }

  advanceTo(cycles: number): void {
    while (this.clock.nextAt <= cycles) {
      this.now = Math.max(this.now, this.clock.nextAt);
      this.clock.runDue(this.now);
    }
    this.now = cycles;
  }

  advance(cycles: number): void {
    this.advanceTo(this.now + cycles);
  }

  /** Time passes while nobody runs the machine; the timers then all come late. */
  sleepTo(cycles: number): void {
    this.now = cycles;
    this.clock.runDue(cycles);
  }
}

export class RecordingLine {
  level = false;
  risingEdges = 0;

  set(level: boolean): void {
    if (level && !this.level) this.risingEdges += 1;
    this.level = level;
  }
}
