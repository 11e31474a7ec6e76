import { beforeEach, describe, expect, test } from 'vitest';
import { Pic } from '../../src/hypervisor/devices/pic.js';

describe('8259 pair', () => {
  let pic: Pic;
  const write = (chip: 'master' | 'slave', offset: number, value: number) => pic.port(chip).writePort(offset, 1, value);
  const read = (chip: 'master' | 'slave', offset: number) => pic.port(chip).readPort(offset, 1);

  beforeEach(() => {
    pic = new Pic();
    for (const [chip, base, wiring] of [
      ['master', 0x20, 4],
      ['slave', 0x28, 2],
    ] as const) {
      write(chip, 0, 0x11);
      write(chip, 1, base);
      write(chip, 1, wiring);
      write(chip, 1, 0x01);
      write(chip, 1, 0x00);
    }
  });

  test('an edge raises INT and is delivered once', () => {
    pic.line(3).set(true);
    expect(pic.output).toBe(true);
    expect(pic.acknowledge()).toBe(0x23);
    expect(pic.output).toBe(false);
    write('master', 0, 0x20);
    expect(pic.output).toBe(false);
    pic.line(3).set(true);
    expect(pic.output).toBe(false);
    pic.line(3).set(false);
    pic.line(3).set(true);
    expect(pic.output).toBe(true);
  });

  test('a line of lower priority waits for the end of interrupt, a higher one nests', () => {
    pic.line(4).set(true);
    expect(pic.acknowledge()).toBe(0x24);
    pic.line(5).set(true);
    expect(pic.output).toBe(false);
    pic.line(0).set(true);
    expect(pic.acknowledge()).toBe(0x20);
    write('master', 0, 0x0b);
    expect(read('master', 0)).toBe(0b0001_0001);
    write('master', 0, 0x20);
    expect(read('master', 0)).toBe(0b0001_0000);
    expect(pic.output).toBe(false);
    write('master', 0, 0x60 | 4);
    expect(pic.acknowledge()).toBe(0x25);
  });

  test('counts what was acknowledged by line, and knows what is on a line', () => {
    expect(pic.sample()).toEqual([]);
    const timer = pic.line(0, 'pit');
    const disk = pic.line(11, 'disk');
    pic.line(11, 'net');
    for (let tick = 0; tick < 3; tick++) {
      timer.set(false);
      timer.set(true);
      pic.acknowledge();
      write('master', 0, 0x20);
    }
    disk.set(true);
    expect(pic.acknowledge()).toBe(0x2b);
    // Nothing requests any more: the spurious vector is no interrupt of a line.
    expect(pic.acknowledge()).toBe(0x27);
    // A line without a name, once it has interrupted.
    pic.line(9).set(false);
    expect(pic.sample()).toEqual([
      { irq: 0, vector: 0x20, devices: ['pit'], delivered: 3 },
      { irq: 11, vector: 0x2b, devices: ['disk', 'net'], delivered: 1 },
    ]);
    write('slave', 0, 0x20);
    write('master', 0, 0x20);
    pic.line(9).set(true);
    pic.acknowledge();
    expect(pic.sample()[1]).toEqual({ irq: 9, vector: 0x29, devices: [], delivered: 1 });
  });

  test('the mask holds a request back without losing it', () => {
    write('master', 1, 0x02);
    expect(pic.isMasked(1)).toBe(true);
    pic.line(1).set(true);
    expect(pic.output).toBe(false);
    expect(read('master', 0)).toBe(0x02);
    write('master', 1, 0x00);
    expect(pic.output).toBe(true);
  });

  test('the slave interrupts through line 2 and needs both ends of interrupt', () => {
    const seen: number[] = [];
    pic.onAcknowledged = irq => seen.push(irq);
    pic.line(12).set(true);
    pic.line(9).set(true);
    expect(pic.acknowledge()).toBe(0x29);
    write('slave', 0, 0x20);
    expect(pic.output).toBe(false);
    write('master', 0, 0x20);
    expect(pic.acknowledge()).toBe(0x2c);
    expect(seen).toEqual([9, 12]);
  });

  test('a request that falls before it is acknowledged gives the spurious vector without an in-service bit', () => {
    pic.line(6).set(true);
    pic.line(6).set(false);
    expect(pic.output).toBe(false);
    expect(pic.acknowledge()).toBe(0x27);
    write('master', 0, 0x0b);
    expect(read('master', 0)).toBe(0);
  });

  test('initialization clears masks and requests', () => {
    pic.line(1).set(true);
    write('master', 1, 0xff);
    write('master', 0, 0x11);
    expect(read('master', 0)).toBe(0);
    write('master', 1, 0x40);
    write('master', 1, 4);
    write('master', 1, 1);
    expect(read('master', 1)).toBe(0);
    pic.line(1).set(false);
    pic.line(1).set(true);
    expect(pic.acknowledge()).toBe(0x41);
  });

  test('automatic end of interrupt leaves nothing in service', () => {
    write('master', 0, 0x11);
    write('master', 1, 0x20);
    write('master', 1, 4);
    write('master', 1, 0x03);
    pic.line(4).set(true);
    pic.acknowledge();
    pic.line(5).set(true);
    expect(pic.output).toBe(true);
  });

  test('rotation makes the ended line the last', () => {
    pic.line(3).set(true);
    pic.acknowledge();
    write('master', 0, 0xa0);
    pic.line(3).set(false);
    pic.line(3).set(true);
    pic.line(4).set(true);
    expect(pic.acknowledge()).toBe(0x24);
  });

  describe('a line made level-triggered by its control register', () => {
    const elcr = (value: number) => pic.elcrPorts().writePort(1, 1, value);
    const end = () => {
      write('slave', 0, 0x20);
      write('master', 0, 0x20);
    };

    test('asks again as long as it is up', () => {
      elcr(0x08);
      const line = pic.sharedLine(11);
      line.set(true);
      expect(pic.acknowledge()).toBe(0x2b);
      end();
      expect(pic.output).toBe(true);
      expect(pic.acknowledge()).toBe(0x2b);
      line.set(false);
      end();
      expect(pic.output).toBe(false);
    });

    test('is shared: it falls when the last one lets go', () => {
      elcr(0x08);
      const [a, b] = [pic.sharedLine(11), pic.sharedLine(11)];
      a.set(true);
      b.set(true);
      b.set(true);
      expect(pic.acknowledge()).toBe(0x2b);
      a.set(false);
      end();
      expect(pic.output).toBe(true);
      expect(pic.acknowledge()).toBe(0x2b);
      b.set(false);
      end();
      expect(pic.output).toBe(false);
    });

    test('leaves the others with their edges', () => {
      elcr(0x08);
      const line = pic.line(12);
      line.set(true);
      expect(pic.acknowledge()).toBe(0x2c);
      end();
      expect(pic.output).toBe(false);
    });

    test('asks at once when it is up already, and after an initialization', () => {
      const line = pic.sharedLine(10);
      line.set(true);
      pic.acknowledge();
      end();
      expect(pic.output).toBe(false);
      elcr(0x04);
      expect(pic.output).toBe(true);
      write('slave', 0, 0x11);
      write('slave', 1, 0x28);
      write('slave', 1, 2);
      write('slave', 1, 1);
      expect(pic.acknowledge()).toBe(0x2a);
    });

    test('reads back, but for lines that are edges for good', () => {
      const ports = pic.elcrPorts();
      ports.writePort(0, 1, 0xff);
      ports.writePort(1, 1, 0xff);
      expect([ports.readPort(0, 1), ports.readPort(1, 1)]).toEqual([0xf8, 0xde]);
    });
  });
});
