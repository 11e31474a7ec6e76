/** The local APIC against the manual: priorities by a small model, the timer by arithmetic, wires and registers by their rules. */
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { ApicMode, LVT_MASKED, ApicRegister as R } from '../../src/hypervisor/devices/apic-registers.js';
import { APIC_BUS_HZ } from '../../src/hypervisor/devices/apic-timer.js';
import { LocalApic } from '../../src/hypervisor/devices/local-apic.js';
import { ManualClock } from './fixtures.js';

const ENABLED = 0x1ff;
const SELF = 0x40000;
const PERIODIC = 0x20000;
const LEVEL = 0x8000;
const EXTERNAL_VECTOR = 0x99;
/** Two bus ticks are 91 cycles, near enough to catch a wrong rounding. */
const CYCLES_PER_SECOND = 3_000_000_000;

class External {
  output = false;
  acknowledged = 0;
  acknowledge(): number {
    this.acknowledged += 1;
    return EXTERNAL_VECTOR;
  }
}

let time: ManualClock;
let external: External;
let apic: LocalApic;

function build(catchUp = false): void {
  time = new ManualClock(CYCLES_PER_SECOND);
  external = new External();
  apic = new LocalApic({ clock: time.clock, id: 0, catchUp, external });
}

function setLine(level: boolean): void {
  external.output = level;
  apic.externalChanged(level);
}

const inSet = (first: number): number[] => {
  const words = Array.from({ length: 8 }, (_, i) => apic.read(first + i * 16));
  return words.flatMap((word, i) =>
    Array.from({ length: 32 }, (_b, bit) => ((word >>> bit) & 1 ? [i * 32 + bit] : [])).flat(),
  );
};

beforeEach(() => build());

describe('vectored interrupts', () => {
  beforeEach(() => apic.write(R.SVR, ENABLED));

  test('go by priority, as in a model of the manual’s words', () => {
    const operation = fc.oneof(
      fc.record({ kind: fc.constant('request' as const), value: fc.integer({ min: 16, max: 255 }) }),
      fc.record({ kind: fc.constant('priority' as const), value: fc.integer({ min: 0, max: 255 }) }),
      fc.constant({ kind: 'end' as const, value: 0 }),
      fc.constant({ kind: 'acknowledge' as const, value: 0 }),
    );
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 60 }), operations => {
        build();
        apic.write(R.SVR, ENABLED);
        const requested = new Set<number>();
        const inService = new Set<number>();
        let taskPriority = 0;
        const top = (set: Set<number>): number => Math.max(-1, ...set);
        const processorClass = (): number => Math.max(taskPriority >> 4, top(inService) >> 4);
        const deliverable = (): boolean => requested.size > 0 && top(requested) >> 4 > processorClass();
        for (const { kind, value } of operations) {
          if (kind === 'request') {
            apic.write(R.ICR_LOW, SELF | value);
            requested.add(value);
          } else if (kind === 'priority') {
            apic.write(R.TPR, value);
            taskPriority = value;
          } else if (kind === 'end') {
            apic.write(R.EOI, 0);
            inService.delete(top(inService));
          } else if (deliverable()) {
            const vector = top(requested);
            expect(apic.acknowledge()).toBe(vector);
            requested.delete(vector);
            inService.add(vector);
          } else {
            // Nothing to take: the spurious vector, and nothing in service for it.
            expect(apic.acknowledge()).toBe(0xff);
          }
          expect(apic.output).toBe(deliverable());
          expect(apic.read(R.PPR) >> 4).toBe(processorClass());
          expect(inSet(R.IRR)).toEqual([...requested].sort((a, b) => a - b));
          expect(inSet(R.ISR)).toEqual([...inService].sort((a, b) => a - b));
        }
      }),
      { numRuns: 300 },
    );
  });

  test('the processor’s priority is the task’s, with its subclass, unless one in service is of a higher class', () => {
    apic.write(R.TPR, 0x35);
    expect(apic.read(R.PPR)).toBe(0x35);
    apic.write(R.ICR_LOW, SELF | 0x47);
    apic.acknowledge();
    expect(apic.read(R.PPR)).toBe(0x40);
    apic.write(R.TPR, 0x4a);
    expect(apic.read(R.PPR)).toBe(0x4a);
  });

  test('are sent to this processor by shorthand, by number and by logical name, and else to nobody', () => {
    const sent = (low: number, high = 0): boolean => {
      apic.write(R.ICR_HIGH, high);
      apic.write(R.ICR_LOW, low | 0x50);
      const arrived = inSet(R.IRR).includes(0x50);
      if (arrived) apic.acknowledge();
      apic.write(R.EOI, 0);
      return arrived;
    };
    expect([sent(SELF), sent(0x80000), sent(0xc0000)]).toEqual([true, true, false]);
    expect([sent(0, 0), sent(0, 0xff000000), sent(0, 0x01000000)]).toEqual([true, true, false]);
    apic.write(R.LDR, 0x04000000);
    expect([sent(0x800, 0x06000000), sent(0x800, 0x03000000)]).toEqual([true, false]);
    // Clusters: member 4 of cluster 2.
    apic.write(R.DFR, 0x0fffffff);
    apic.write(R.LDR, 0x24000000);
    expect([sent(0x800, 0x26000000), sent(0x800, 0x16000000), sent(0x800, 0xf4000000)]).toEqual([true, false, true]);
    // NMI, INIT, start-up: messages that nobody takes.
    for (const mode of [0x400, 0x500, 0x600]) expect(sent(SELF | mode)).toBe(false);
  });

  test('below 16 are errors, which interrupt where that is asked for', () => {
    apic.write(R.LVT_ERROR, 0xfe);
    apic.write(R.ICR_LOW, SELF | 5);
    expect([apic.output, apic.acknowledge()]).toEqual([true, 0xfe]);
    expect(apic.read(R.ESR)).toBe(0);
    apic.write(R.ESR, 0);
    expect(apic.read(R.ESR)).toBe(0x60);
    apic.write(R.ESR, 0);
    expect(apic.read(R.ESR)).toBe(0);
  });
});

describe('the timer', () => {
  const cyclesOf = (ticks: number): number => Math.ceil((ticks * CYCLES_PER_SECOND) / APIC_BUS_HZ);
  beforeEach(() => apic.write(R.SVR, ENABLED));

  test.each([
    [0b0000, 2],
    [0b0001, 4],
    [0b0010, 8],
    [0b0011, 16],
    [0b1000, 32],
    [0b1001, 64],
    [0b1010, 128],
    [0b1011, 1],
  ])('divides the bus clock as configuration %i says: by %i', (configuration, divisor) => {
    apic.write(R.DIVIDE, configuration);
    apic.write(R.LVT_TIMER, 0x60);
    apic.write(R.INITIAL_COUNT, 1000);
    const end = cyclesOf(1000 * divisor);
    time.advanceTo(end - 1);
    expect([apic.output, apic.read(R.CURRENT_COUNT)]).toEqual([false, 1]);
    time.advanceTo(end);
    expect([apic.output, apic.acknowledge(), apic.read(R.CURRENT_COUNT)]).toEqual([true, 0x60, 0]);
    time.advance(10 * end);
    expect(apic.output).toBe(false);
  });

  test('comes again in periodic mode, without drift', () => {
    apic.write(R.DIVIDE, 0b1011);
    apic.write(R.LVT_TIMER, 0x60 | PERIODIC);
    // Not a whole number of cycles: 45.45 each tick.
    apic.write(R.INITIAL_COUNT, 7);
    let taken = 0;
    for (let i = 1; i <= 5000; i++) {
      time.advanceTo(cyclesOf(7 * i));
      if (!apic.output) continue;
      expect(apic.acknowledge()).toBe(0x60);
      apic.write(R.EOI, 0);
      taken += 1;
    }
    expect(taken).toBe(5000);
    expect(apic.timerHz).toBeCloseTo(APIC_BUS_HZ / 7, 3);
  });

  test('counts down between, and shows where it is', () => {
    apic.write(R.DIVIDE, 0b1011);
    apic.write(R.LVT_TIMER, LVT_MASKED | PERIODIC);
    apic.write(R.INITIAL_COUNT, 100_000);
    for (const ticks of [0, 1, 99_999, 100_000, 100_001, 250_000]) {
      time.advanceTo(cyclesOf(ticks));
      expect([ticks, apic.read(R.CURRENT_COUNT)]).toEqual([ticks, 100_000 - (ticks % 100_000)]);
    }
    expect(apic.output).toBe(false);
    apic.write(R.INITIAL_COUNT, 0);
    expect(apic.read(R.CURRENT_COUNT)).toBe(0);
  });

  test('goes on from where it is with another divisor', () => {
    apic.write(R.DIVIDE, 0b1011);
    apic.write(R.LVT_TIMER, 0x60);
    apic.write(R.INITIAL_COUNT, 1000);
    time.advanceTo(cyclesOf(400));
    apic.write(R.DIVIDE, 0b0000);
    time.advanceTo(cyclesOf(400) + cyclesOf(1200) - 1);
    expect(apic.output).toBe(false);
    time.advance(1);
    expect(apic.output).toBe(true);
  });

  test('loses ticks that nobody took, on hardware', () => {
    apic.write(R.DIVIDE, 0b1011);
    apic.write(R.LVT_TIMER, 0x60 | PERIODIC);
    apic.write(R.INITIAL_COUNT, 66_000);
    time.sleepTo(cyclesOf(66_000 * 10));
    expect(apic.acknowledge()).toBe(0x60);
    apic.write(R.EOI, 0);
    expect(apic.output).toBe(false);
  });

  test('delivers them later in a virtual machine, no faster than three times the rate', () => {
    build(true);
    apic.write(R.SVR, ENABLED);
    apic.write(R.DIVIDE, 0b1011);
    apic.write(R.LVT_TIMER, 0x60 | PERIODIC);
    apic.write(R.INITIAL_COUNT, 66_000);
    const period = cyclesOf(66_000);
    time.sleepTo(period * 10);
    expect(apic.timerBacklog).toBe(9);
    let taken = 0;
    const until = time.now + 6 * period;
    while (time.now < until) {
      if (apic.output) {
        apic.acknowledge();
        apic.write(R.EOI, 0);
        taken += 1;
      }
      time.advance(1000);
    }
    // Ten that were owed and five or six new ones, at most eighteen in six periods.
    expect(taken).toBeGreaterThanOrEqual(15);
    expect(taken).toBeLessThanOrEqual(16);
    expect(apic.timerBacklog).toBe(0);
  });

  test('keeps silent with its entry masked, and forgets what it owed', () => {
    build(true);
    apic.write(R.SVR, ENABLED);
    apic.write(R.DIVIDE, 0b1011);
    apic.write(R.LVT_TIMER, 0x60 | PERIODIC);
    apic.write(R.INITIAL_COUNT, 66_000);
    time.sleepTo(cyclesOf(660_000));
    apic.write(R.LVT_TIMER, LVT_MASKED | 0x60 | PERIODIC);
    expect(apic.timerBacklog).toBe(0);
    apic.acknowledge();
    apic.write(R.EOI, 0);
    time.advance(cyclesOf(660_000));
    expect(apic.output).toBe(false);
  });
});

describe('the wires', () => {
  test('after reset nothing gets through: LINT0 is masked', () => {
    setLine(true);
    expect([apic.output, apic.passesExternal]).toEqual([false, false]);
  });

  test('as firmware leaves them the 8259 is asked for its vectors, whatever the priority', () => {
    apic.setVirtualWire();
    apic.write(R.TPR, 0xff);
    setLine(true);
    expect([apic.output, apic.acknowledge(), external.acknowledged]).toEqual([true, EXTERNAL_VECTOR, 1]);
    setLine(false);
    expect(apic.output).toBe(false);
    // The request has gone in the meantime: the 8259's spurious interrupt.
    expect(apic.acknowledge()).toBe(EXTERNAL_VECTOR);
    expect(inSet(R.ISR)).toEqual([]);
  });

  test('the APIC’s own requests go before those of the 8259', () => {
    apic.setVirtualWire();
    setLine(true);
    apic.write(R.ICR_LOW, SELF | 0x31);
    expect([apic.acknowledge(), apic.acknowledge()]).toEqual([0x31, EXTERNAL_VECTOR]);
  });

  test('LINT0 as an interrupt of its own: an edge once, a level until it falls', () => {
    apic.write(R.SVR, ENABLED);
    apic.write(R.LVT_LINT0, ApicMode.FIXED | 0x44);
    setLine(true);
    expect(apic.acknowledge()).toBe(0x44);
    apic.write(R.EOI, 0);
    expect(apic.output).toBe(false);
    setLine(false);
    apic.write(R.LVT_LINT0, ApicMode.FIXED | LEVEL | 0x45);
    setLine(true);
    for (let i = 0; i < 3; i++) {
      expect([apic.acknowledge(), apic.read(R.LVT_LINT0) & 0x4000]).toEqual([0x45, 0x4000]);
      if (i === 2) setLine(false);
      apic.write(R.EOI, 0);
    }
    expect([apic.output, apic.read(R.LVT_LINT0) & 0x4000]).toEqual([false, 0]);
  });

  test('disabled by its MSR it is as if it were not there, and comes back as after reset', () => {
    apic.setVirtualWire();
    apic.write(R.ICR_LOW, SELF | 0x31);
    apic.write(R.INITIAL_COUNT, 5);
    expect(apic.writeBaseMsr(0xfee00100, 0)).toBe(true);
    expect([apic.output, apic.readMmio(R.VERSION, 4)]).toEqual([false, 0xffffffff]);
    setLine(true);
    expect([apic.output, apic.acknowledge()]).toEqual([true, EXTERNAL_VECTOR]);
    expect(apic.writeBaseMsr(0xfee00900, 0)).toBe(true);
    expect([apic.output, apic.read(R.SVR), inSet(R.IRR), apic.read(R.CURRENT_COUNT)]).toEqual([false, 0xff, [], 0]);
    // Its address is fixed, and reserved bits are.
    for (const [low, high] of [
      [0xfee01900, 0],
      [0xfee00901, 0],
      [0xfee00800, 0],
      [0xfee00900, 1],
    ] as const) {
      expect(apic.writeBaseMsr(low, high)).toBe(false);
    }
    expect(apic.baseMsr).toBe(0xfee00900);
  });
});

describe('registers', () => {
  const ENTRIES = [R.LVT_TIMER, R.LVT_THERMAL, R.LVT_PERFORMANCE, R.LVT_LINT0, R.LVT_LINT1, R.LVT_ERROR];

  test('disabled by software, every entry of the local vector table is masked and stays so', () => {
    for (const entry of ENTRIES) {
      apic.write(entry, 0x60);
      expect(apic.read(entry)).toBe(LVT_MASKED | 0x60);
    }
    apic.write(R.SVR, ENABLED);
    for (const entry of ENTRIES) {
      apic.write(entry, 0x60);
      expect(apic.read(entry)).toBe(0x60);
    }
    apic.write(R.SVR, 0xff);
    for (const entry of ENTRIES) expect(apic.read(entry)).toBe(LVT_MASKED | 0x60);
  });

  test('keep the bits that they have', () => {
    apic.write(R.SVR, 0xffffffff);
    expect(apic.read(R.SVR)).toBe(0x3ff);
    apic.write(R.DFR, 0);
    expect(apic.read(R.DFR)).toBe(0x0fffffff);
    apic.write(R.LDR, 0xffffffff);
    expect(apic.read(R.LDR)).toBe(0xff000000);
    apic.write(R.LVT_TIMER, 0xffffffff);
    expect(apic.read(R.LVT_TIMER)).toBe(0x300ff);
    apic.write(R.LVT_LINT0, 0xffffffff);
    expect(apic.read(R.LVT_LINT0)).toBe(0x1a7ff);
    apic.write(R.VERSION, 0);
    expect([apic.read(R.VERSION) & 0xff, (apic.read(R.VERSION) >>> 16) + 1]).toEqual([0x14, ENTRIES.length]);
  });

  test('are double words: other accesses do nothing, and what is no register is an error', () => {
    apic.writeMmio(R.TPR, 1, 0x55);
    apic.writeMmio(R.TPR + 4, 4, 0x55);
    expect([apic.readMmio(R.TPR, 4), apic.readMmio(R.TPR, 2), apic.readMmio(R.TPR + 4, 4)]).toEqual([0, 0, 0]);
    apic.write(R.ESR, 0);
    expect(apic.read(R.ESR)).toBe(0);
    expect(apic.read(0x40)).toBe(0);
    apic.write(R.ESR, 0);
    expect(apic.read(R.ESR)).toBe(0x80);
  });
});
