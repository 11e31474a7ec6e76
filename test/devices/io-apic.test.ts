/** The I/O APIC: pins, entries, and interrupts of levels that end at the local APIC. */
import { beforeEach, describe, expect, test } from 'vitest';
import { ApicRegister as R } from '../../src/hypervisor/devices/apic-registers.js';
import { type InterruptMessage, IoApic } from '../../src/hypervisor/devices/io-apic.js';
import { LocalApic } from '../../src/hypervisor/devices/local-apic.js';
import { ManualClock } from './fixtures.js';

const MASKED = 0x10000;
const LEVEL = 0x8000;
const REMOTE_IRR = 0x4000;
const LOGICAL = 0x800;

let sent: InterruptMessage[];
let acknowledged: number[];
let ioApic: IoApic;

const read = (index: number): number => {
  ioApic.writeMmio(0, 4, index);
  return ioApic.readMmio(0x10, 4);
};
const write = (index: number, value: number): void => {
  ioApic.writeMmio(0, 4, index);
  ioApic.writeMmio(0x10, 4, value);
};
const setEntry = (pin: number, low: number, high = 0): void => {
  write(0x11 + 2 * pin, high);
  write(0x10 + 2 * pin, low);
};

beforeEach(() => {
  sent = [];
  acknowledged = [];
  ioApic = new IoApic({
    id: 8,
    send: message => void sent.push(message),
    onAcknowledged: irq => void acknowledged.push(irq),
  });
});

test('has 24 pins, all masked after reset, and an identity', () => {
  expect([read(0) >>> 24, read(1)]).toEqual([8, 0x00170011]);
  for (let pin = 0; pin < 24; pin++) expect([read(0x10 + 2 * pin), read(0x11 + 2 * pin)]).toEqual([MASKED, 0]);
  write(0, 0x05000000);
  write(1, 0);
  expect([read(0), read(1), read(0x40), read(0xff)]).toEqual([0x05000000, 0x00170011, 0, 0]);
});

test('an edge is sent once, with what the entry says; the timer is on pin 2', () => {
  setEntry(4, LOGICAL | 0x144, 0x03000000);
  setEntry(2, 0x30);
  ioApic.setLine(4, true);
  ioApic.setLine(4, true);
  ioApic.setLine(0, true);
  expect(sent.map(({ onAcknowledged: _, ...message }) => message)).toEqual([
    { vector: 0x44, mode: 0x100, destination: 3, logical: true, level: false },
    { vector: 0x30, mode: 0, destination: 0, logical: false, level: false },
  ]);
  for (const { onAcknowledged } of sent) onAcknowledged();
  expect(acknowledged).toEqual([4, 0]);
  expect([ioApic.vectorOf(4), ioApic.vectorOf(0), ioApic.vectorOf(5)]).toEqual([0x44, 0x30, undefined]);
});

test('an edge at a masked pin is lost, and so is what is no vectored interrupt', () => {
  setEntry(4, MASKED | 0x44);
  ioApic.setLine(4, true);
  setEntry(4, 0x44);
  expect(sent).toEqual([]);
  for (const mode of [0x200, 0x400, 0x500, 0x700]) {
    setEntry(5, mode | 0x50);
    ioApic.setLine(5, true);
    ioApic.setLine(5, false);
  }
  expect(sent).toEqual([]);
});

test('a level is sent once until it ends, and again while it lasts; at a masked pin it waits', () => {
  ioApic.setLine(11, true);
  setEntry(11, MASKED | LEVEL | 0x61);
  expect(sent.length).toBe(0);
  setEntry(11, LEVEL | 0x61);
  ioApic.setLine(11, true);
  expect([sent.length, read(0x10 + 22) & REMOTE_IRR]).toEqual([1, REMOTE_IRR]);
  ioApic.ended(0x60);
  expect(sent.length).toBe(1);
  ioApic.ended(0x61);
  expect([sent.length, sent[1]!.level]).toEqual([2, true]);
  ioApic.setLine(11, false);
  ioApic.ended(0x61);
  expect([sent.length, read(0x10 + 22) & REMOTE_IRR]).toEqual([2, 0]);
});

describe('with a local APIC', () => {
  let apic: LocalApic;
  beforeEach(() => {
    const external = { output: false, acknowledge: () => 0xff };
    apic = new LocalApic({ clock: new ManualClock().clock, id: 0, catchUp: false, external });
    ioApic = new IoApic({
      id: 8,
      send: message => apic.receive(message),
      onAcknowledged: irq => void acknowledged.push(irq),
    });
    apic.onLevelEnded = vector => ioApic.ended(vector);
    apic.write(R.SVR, 0x1ff);
  });

  test('a level goes on interrupting until the device is content', () => {
    setEntry(10, LEVEL | 0x71);
    ioApic.setLine(10, true);
    for (let i = 0; i < 3; i++) {
      expect([apic.output, apic.acknowledge(), apic.output]).toEqual([true, 0x71, false]);
      if (i === 2) ioApic.setLine(10, false);
      apic.write(R.EOI, 0);
    }
    expect([apic.output, acknowledged]).toEqual([false, [10, 10, 10]]);
  });

  test('only who is addressed takes it: by number, by logical name, or everybody', () => {
    apic.write(R.LDR, 0x02000000);
    const taken = (low: number, high: number): boolean => {
      setEntry(3, low | 0x55, high);
      ioApic.setLine(3, true);
      ioApic.setLine(3, false);
      const output = apic.output;
      if (output) apic.acknowledge();
      apic.write(R.EOI, 0);
      return output;
    };
    expect([taken(0, 0), taken(0, 0x01000000), taken(0, 0xff000000)]).toEqual([true, false, true]);
    expect([taken(LOGICAL, 0x02000000), taken(LOGICAL, 0x01000000)]).toEqual([true, false]);
    apic.write(R.SVR, 0xff);
    expect(taken(0, 0)).toBe(false);
  });

  test('an edge that comes while its vector is in service interrupts after it', () => {
    setEntry(4, 0x44);
    ioApic.setLine(4, true);
    apic.acknowledge();
    ioApic.setLine(4, false);
    ioApic.setLine(4, true);
    expect(apic.output).toBe(false);
    apic.write(R.EOI, 0);
    expect([apic.output, apic.acknowledge(), acknowledged]).toEqual([true, 0x44, [4, 4]]);
  });
});
