import { describe, expect, test } from 'vitest';
import { Pacer, SpeedMeter } from '../../src/session/pacer.js';

describe('Pacer', () => {
  test('grants as much virtual time as real time has passed, times the pace', () => {
    const pacer = new Pacer(1, 1_000);
    expect(pacer.grant(1_000)).toBe(0);
    expect(pacer.grant(1_008)).toBe(8);
    pacer.spend(6);
    expect(pacer.grant(1_010)).toBe(4);
    const slow = new Pacer(0.5, 0);
    expect(slow.grant(10)).toBe(5);
  });

  test('a host that cannot keep up does not sprint when it has less to do', () => {
    const pacer = new Pacer(1, 0);
    // One quantum of 1 ms took a second of real time.
    pacer.grant(1);
    pacer.spend(1);
    expect(pacer.grant(1_001)).toBeLessThanOrEqual(20);
    // Over a long time virtual time never exceeds real time.
    let virtualMs = 0;
    const fair = new Pacer(1, 0);
    for (let nowMs = 0; nowMs <= 10_000; nowMs += 7) {
      const whole = Math.floor(fair.grant(nowMs));
      fair.spend(whole);
      virtualMs += whole;
    }
    expect(virtualMs).toBeLessThanOrEqual(10_000);
    expect(virtualMs).toBeGreaterThan(9_980);
  });

  test('a real clock that steps back grants nothing', () => {
    const pacer = new Pacer(1, 100);
    expect(pacer.grant(50)).toBe(0);
  });

  test('max has no limit', () => {
    expect(new Pacer('max', 0).grant(0)).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('SpeedMeter', () => {
  test('is virtual over real time of the last moments, not of all time', () => {
    const meter = new SpeedMeter();
    expect(meter.speed).toBe(0);
    for (let ms = 0; ms <= 5_000; ms += 100) meter.mark(ms, ms / 4);
    expect(meter.speed).toBeCloseTo(0.25, 6);
    for (let ms = 5_100; ms <= 8_000; ms += 100) meter.mark(ms, 1_250 + (ms - 5_000));
    expect(meter.speed).toBeCloseTo(1, 6);
  });
});
