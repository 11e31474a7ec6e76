/** Configuration mechanism #1 as kernels probe it, and who answers. */
import { expect, test } from 'vitest';
import { PortBus } from '../../src/hypervisor/devices/bus.js';
import { hostBridge, PCI_PORT, PCI_PORTS, PciHost } from '../../src/hypervisor/devices/pci.js';

function machine() {
  const bus = new PortBus();
  let resets = 0;
  const host = new PciHost(() => {
    resets += 1;
  });
  host.add(0, 0, hostBridge());
  bus.claim(PCI_PORT, PCI_PORTS, host, 4);
  const select = (device: number, register: number, busNumber = 0) =>
    bus.write(0xcf8, 4, 0x80000000 + busNumber * 0x10000 + device * 0x800 + register);
  return { bus, select, resets: () => resets };
}

test('the address reads back, without its reserved bits; bytes there are no address', () => {
  const { bus } = machine();
  bus.write(0xcf8, 4, 0xffffffff);
  expect(bus.read(0xcf8, 4)).toBe(0x80fffffc);
  bus.write(0xcf8, 1, 0);
  bus.write(0xcfb, 1, 1);
  expect(bus.read(0xcf8, 4)).toBe(0x80fffffc);
});

test('the host bridge says who it is, by dwords, words and bytes', () => {
  const { bus, select } = machine();
  select(0, 0);
  expect(bus.read(0xcfc, 4)).toBe(0x12378086);
  expect([bus.read(0xcfc, 2), bus.read(0xcfe, 2), bus.read(0xcfd, 1)]).toEqual([0x8086, 0x1237, 0x80]);
  select(0, 8);
  expect(bus.read(0xcfc, 4)).toBe(0x06000002);
  // One function, no capabilities.
  select(0, 0x0c);
  expect(bus.read(0xcfe, 1)).toBe(0);
  bus.write(0xcfc, 4, 0xffffffff);
  expect(bus.read(0xcfc, 4)).toBe(0);
});

test('nobody else answers', () => {
  const { bus, select } = machine();
  select(1, 0);
  expect(bus.read(0xcfc, 4)).toBe(0xffffffff);
  select(0, 0, 1);
  expect(bus.read(0xcfc, 4)).toBe(0xffffffff);
  bus.write(0xcf8, 4, 0);
  expect(bus.read(0xcfc, 4)).toBe(0xffffffff);
});

test('the reset control resets on its CPU bit', () => {
  const { bus, resets } = machine();
  bus.write(0xcf9, 1, 0x02);
  expect(resets()).toBe(0);
  bus.write(0xcf9, 1, 0x06);
  expect(resets()).toBe(1);
});
