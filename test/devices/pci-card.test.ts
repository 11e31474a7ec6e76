/** A card with ports and an interrupt, as a kernel without firmware tables finds and moves it. */
import { beforeEach, describe, expect, test } from 'vitest';
import { PortBus } from '../../src/hypervisor/devices/bus.js';
import type { PortWidth } from '../../src/hypervisor/devices/device.js';
import { PCI_PORT, PCI_PORTS, PciCard, PciHost } from '../../src/hypervisor/devices/pci.js';
import { RecordingLine } from './fixtures.js';

const IDENTITY = {
  vendor: 0x1af4,
  device: 0x1001,
  revision: 0,
  classCode: 0x010000,
  subsystemVendor: 0x1af4,
  subsystem: 2,
};
const LENGTH = 64;
const BASE = 0xc000;

let bus: PortBus;
let card: PciCard;
let line: RecordingLine;
let accesses: [offset: number, width: PortWidth, value: number][];

beforeEach(() => {
  bus = new PortBus();
  line = new RecordingLine();
  accesses = [];
  const device = {
    readPort: (offset: number) => offset + 0x80,
    writePort: (offset: number, width: PortWidth, value: number) => void accesses.push([offset, width, value]),
  };
  card = new PciCard(IDENTITY, bus, LENGTH, device, line);
  const host = new PciHost(() => {});
  host.add(3, 0, card);
  bus.claim(PCI_PORT, PCI_PORTS, host, 4);
  card.configure(BASE, 11);
});

const select = (register: number) => bus.write(0xcf8, 4, 0x80001800 | (register & 0xfc));
const read = (register: number, width: PortWidth) => {
  select(register);
  return bus.read(0xcfc + (register & 3), width);
};
const write = (register: number, width: PortWidth, value: number) => {
  select(register);
  bus.write(0xcfc + (register & 3), width, value);
};

test('says who it is', () => {
  expect([read(0, 4), read(8, 4), read(0x2c, 4), read(0x0e, 1)]).toEqual([0x10011af4, 0x01000000, 0x00021af4, 0]);
  expect([read(0x3c, 1), read(0x3d, 1), read(0x34, 1)]).toEqual([11, 1, 0]);
});

test('is found configured', () => {
  expect([read(0x10, 4), read(4, 2)]).toEqual([BASE | 1, 1]);
  expect(bus.read(BASE + 5, 1)).toBe(0x85);
  bus.write(BASE + 0x10, 2, 0x1234);
  bus.write(BASE + 0x08, 4, 0x12345678);
  expect(accesses).toEqual([
    [0x10, 2, 0x1234],
    [8, 4, 0x12345678],
  ]);
  expect(bus.read(BASE + LENGTH, 1)).toBe(0xff);
});

test('answers all ones in the base address with its size', () => {
  write(0x10, 4, 0xffffffff);
  expect(read(0x10, 4)).toBe(0xffffffc1);
  write(0x10, 4, BASE | 1);
  expect(bus.read(BASE, 1)).toBe(0x80);
  // The others do not exist.
  for (let register = 0x14; register <= 0x30; register += 4) {
    if (register === 0x2c) continue;
    write(register, 4, 0xffffffff);
    expect(read(register, 4), register.toString(16)).toBe(0);
  }
});

test('moves with its base address, written whole or in bytes', () => {
  write(0x10, 4, 0xd000);
  expect([bus.read(BASE, 1), bus.read(0xd000, 1)]).toEqual([0xff, 0x80]);
  write(0x11, 1, 0xe0);
  expect([bus.read(0xd000, 1), bus.read(0xe03f, 1)]).toEqual([0xff, 0xbf]);
});

test('leaves its ports with the command register', () => {
  write(4, 2, 0xffff);
  expect(read(4, 2)).toBe(0x405);
  write(4, 1, 0);
  expect(bus.read(BASE, 1)).toBe(0xff);
  write(4, 2, 1);
  expect(bus.read(BASE, 1)).toBe(0x80);
});

test('that is put over other ports takes none away', () => {
  write(0x10, 4, 0xcc0);
  // 0xcc0 to 0xcff: configuration space is still there.
  expect(read(0, 4)).toBe(0x10011af4);
  expect(bus.read(0xcc0, 1)).toBe(0x80);
  write(0x10, 4, 0xffffffc0);
  expect(bus.read(0xffc0, 1)).toBe(0xff);
});

describe('its interrupt', () => {
  test('shows in the status register, and gets out unless the command register says no', () => {
    card.setInterrupt(true);
    expect([line.level, read(6, 2)]).toEqual([true, 0x0208]);
    write(4, 2, 0x401);
    expect([line.level, read(6, 2)]).toEqual([false, 0x0208]);
    write(4, 2, 1);
    expect(line.level).toBe(true);
    card.setInterrupt(false);
    expect([line.level, read(6, 2)]).toEqual([false, 0x0200]);
  });

  test('has a register for the number of its line, which is the software’s', () => {
    write(0x3c, 1, 5);
    expect(read(0x3c, 2)).toBe(0x0105);
    write(0x3d, 1, 3);
    expect(read(0x3d, 1)).toBe(1);
  });
});
