import { beforeEach, expect, test } from 'vitest';
import { VgaRegisters } from '../../src/hypervisor/devices/vga-registers.js';
import { ManualClock } from './fixtures.js';

let time: ManualClock;
let vga: VgaRegisters;
const out = (port: number, value: number): void => vga.writePort(port - 0x3c0, 1, value);
const read = (port: number): number => vga.readPort(port - 0x3c0, 1);
const indexed = (port: number, index: number): number => {
  out(port, index);
  return read(port + 1);
};

beforeEach(() => {
  time = new ManualClock();
  vga = new VgaRegisters(time.clock);
});

test('text mode 3: 80 columns of 25 rows of 16 lines, colour', () => {
  expect(indexed(0x3d4, 1) + 1).toBe(80);
  expect((indexed(0x3d4, 9) & 0x1f) + 1).toBe(16);
  const overflow = indexed(0x3d4, 7);
  const lines = indexed(0x3d4, 0x12) | ((overflow & 2) << 7) | ((overflow & 0x40) << 3);
  expect((lines + 1) / 16).toBe(25);
  // Offset between rows in words of two characters' cells.
  expect(indexed(0x3d4, 0x13) * 2).toBe(80);
  // The registers are at 3Dxh; text is in odd and even planes at B8000h.
  expect(read(0x3cc) & 1).toBe(1);
  expect((indexed(0x3ce, 6) >>> 2) & 3).toBe(3);
});

test('cursor and start of the screen are where they were put', () => {
  for (const [index, value] of [
    [0x0c, 0x12],
    [0x0d, 0x34],
    [0x0e, 0x07],
    [0x0f, 0xcf],
  ] as const) {
    out(0x3d4, index);
    out(0x3d5, value);
    expect(indexed(0x3d4, index)).toBe(value);
  }
  expect([vga.start, vga.cursor]).toEqual([0x1234, 0x07cf]);
});

test('timing registers are protected until the protection is lifted', () => {
  const before = indexed(0x3d4, 1);
  out(0x3d5, before + 1);
  expect(indexed(0x3d4, 1)).toBe(before);
  const overflow = indexed(0x3d4, 7);
  out(0x3d5, 0xff ^ overflow);
  // Bit 4 of the overflow register is the line compare's, which scrolls.
  expect(indexed(0x3d4, 7)).toBe(overflow ^ 0x10);
  out(0x3d4, 0x11);
  out(0x3d5, 0x0e);
  out(0x3d4, 1);
  out(0x3d5, before + 1);
  expect(indexed(0x3d4, 1)).toBe(before + 1);
});

test('the attribute port takes index and value by turns, from the last read of the status on', () => {
  read(0x3da);
  out(0x3c0, 0x03);
  out(0x3c0, 0x2a);
  out(0x3c0, 0x23);
  expect([read(0x3c0), read(0x3c1)]).toEqual([0x23, 0x2a]);
  read(0x3da);
  out(0x3c0, 0x05);
  expect(read(0x3c1)).toBe(0x05);
});

test('the palette goes round by colours of three bytes', () => {
  out(0x3c8, 7);
  for (const value of [1, 2, 0xff, 4]) out(0x3c9, value);
  out(0x3c7, 7);
  expect([read(0x3c9), read(0x3c9), read(0x3c9), read(0x3c9)]).toEqual([1, 2, 0x3f, 4]);
  expect(read(0x3c8)).toBe(8);
});

test('the status shows a retrace seventy times a second', () => {
  let retraces = 0;
  let before = 0;
  for (let i = 0; i < 100_000; i++) {
    time.advance(time.cyclesPerSecond / 100_000);
    const now = read(0x3da) & 8;
    if (now > before) retraces += 1;
    before = now;
  }
  expect(retraces).toBe(70);
});

test('registers that are not there read as zero and take nothing', () => {
  out(0x3d4, 0x1d);
  out(0x3d5, 0x55);
  expect(indexed(0x3d4, 0x1d)).toBe(0);
  expect(read(0x3d2)).toBe(0xff);
});
