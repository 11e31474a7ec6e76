import { beforeEach, describe, expect, test } from 'vitest';
import { PIT_HZ, Pit } from '../../src/hypervisor/devices/pit.js';
import { ManualClock, RecordingLine } from './fixtures.js';

const HZ_250 = Math.round(PIT_HZ / 250);

describe('8254', () => {
  let time: ManualClock;
  let line: RecordingLine;
  let masked: boolean;
  let pit: Pit;
  const build = (catchUp: boolean) => {
    time = new ManualClock();
    line = new RecordingLine();
    masked = false;
    pit = new Pit(time.clock, line, { catchUp, isMasked: () => masked });
  };
  const program = (mode: number, count: number) => {
    pit.writePort(3, 1, 0x30 | (mode << 1));
    pit.writePort(0, 1, count & 0xff);
    pit.writePort(0, 1, count >>> 8);
  };
  const readCount = (channel: number) => {
    const low = pit.readPort(channel, 1);
    return low | (pit.readPort(channel, 1) << 8);
  };
  beforeEach(() => build(false));

  test('mode 2 ticks at the programmed rate without drift', () => {
    program(2, HZ_250);
    expect(pit.requestedHz).toBeCloseTo(250, 1);
    for (let i = 0; i < 10; i++) {
      time.advance(3_000_000_000);
      pit.acknowledged();
    }
    // Ten seconds hold floor(10 s * 1193182 / 4773) whole periods.
    expect(line.risingEdges).toBe(Math.floor((10 * PIT_HZ - 1) / HZ_250));
  });

  test('0x3A to the control port silences channel 0', () => {
    program(2, HZ_250);
    time.advance(30_000_000);
    const before = line.risingEdges;
    pit.writePort(3, 1, 0x3a);
    time.advance(3_000_000_000);
    expect(line.risingEdges).toBe(before);
    expect(pit.requestedHz).toBe(0);
    expect(time.clock.nextAt).toBe(Infinity);
  });

  test('mode 0 interrupts once, at terminal count', () => {
    program(0, 1000);
    time.advance(Math.floor((1000 * 3e9) / PIT_HZ) - 10);
    expect(line.risingEdges).toBe(0);
    time.advance(10_000);
    expect(line.risingEdges).toBe(1);
    time.advance(3_000_000_000);
    expect(line.risingEdges).toBe(1);
  });

  test('a latched count stays until it is read', () => {
    program(2, 0);
    time.advance(3_000_000);
    pit.writePort(3, 1, 0x00);
    const expected = 0x10000 - (Math.floor((3_000_000 * PIT_HZ) / 3e9) - 1);
    time.advance(3_000_000);
    expect(readCount(0)).toBe(expected);
    expect(readCount(0)).toBeLessThan(expected);
  });

  test('channel 2 counts only while its gate is open, and shows its output', () => {
    pit.writePort(3, 1, 0xb0);
    pit.writePort(2, 1, 0x00);
    pit.writePort(2, 1, 0x10);
    time.advance(300_000_000);
    expect(pit.output2).toBe(false);
    pit.setGate2(true);
    const cycles = Math.floor((0x1000 * 3e9) / PIT_HZ);
    time.advance(cycles - 10_000);
    expect(pit.output2).toBe(false);
    time.advance(20_000);
    expect(pit.output2).toBe(true);
  });

  test('read-back gives status and count', () => {
    program(3, 0x1234);
    time.advance(30_000);
    pit.writePort(3, 1, 0xc2);
    const status = pit.readPort(0, 1);
    expect(status & 0x3f).toBe(0x30 | (3 << 1));
    expect(readCount(0)).toBeLessThan(0x1234);
  });

  test('a new count in mode 2 takes over at the end of the period', () => {
    program(2, 10_000);
    time.advance(Math.ceil((5_000 * 3e9) / PIT_HZ));
    pit.writePort(0, 1, 1000 & 0xff);
    pit.writePort(0, 1, 1000 >>> 8);
    time.advance(Math.ceil((5_100 * 3e9) / PIT_HZ));
    expect(line.risingEdges).toBe(1);
    pit.acknowledged();
    time.advance(Math.ceil((1000 * 3e9) / PIT_HZ));
    expect(line.risingEdges).toBe(2);
  });

  test('on hardware late ticks are lost', () => {
    program(2, HZ_250);
    time.sleepTo(290_000_000);
    expect(line.risingEdges).toBe(1);
    pit.acknowledged();
    time.advance(9_000_000);
    expect(line.risingEdges).toBe(1);
    expect(pit.lost).toBe(24 - 1);
    expect(pit.backlogAt(time.now)).toBe(0);
  });

  test('virtualized, late ticks are owed and delivered no faster than three times nominal', () => {
    build(true);
    program(2, HZ_250);
    // 100 ms descheduled: 24 whole periods of 4.0002 ms.
    expect(pit.backlogAt(300_000_000)).toBe(24 - 1);
    time.sleepTo(300_000_000);
    expect(pit.backlogAt(time.now)).toBe(24 - 1);
    expect(pit.lagCyclesAt(time.now)).toBe(Math.round((23 * HZ_250 * 3e9) / PIT_HZ));
    // The guest acknowledges at once from here on.
    let taken = 0;
    for (let i = 0; i < 1000 && pit.backlogAt(time.now) > 0; i++) {
      if (line.risingEdges > taken) {
        taken = line.risingEdges;
        pit.acknowledged();
      }
      time.advance(300_000);
    }
    // Owed ticks shrink by two for each period: 24 take 12 periods, which is 48 ms.
    expect(time.now - 300_000_000).toBeGreaterThan(40 * 3_000_000);
    expect(time.now - 300_000_000).toBeLessThan(60 * 3_000_000);
    // Sooner or later every tick is delivered.
    time.advance(300_000);
    const owedSinceStart = Math.floor(((time.now / 3e9) * PIT_HZ - 1) / HZ_250);
    expect(line.risingEdges).toBe(owedSinceStart);
  });

  test('a guest that does not take its interrupt runs up a backlog; one that masks it does not', () => {
    build(true);
    program(2, HZ_250);
    time.advance(300_000_000);
    expect(pit.backlogAt(time.now)).toBe(23);
    build(true);
    masked = true;
    program(2, HZ_250);
    time.advance(300_000_000);
    expect(pit.backlogAt(time.now)).toBe(0);
  });
});
