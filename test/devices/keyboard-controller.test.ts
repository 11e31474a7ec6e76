/** The 8042 with nothing plugged in, as kernels probe it. */
import { beforeEach, expect, test } from 'vitest';
import { KeyboardController } from '../../src/hypervisor/devices/keyboard-controller.js';

let resets: number;
let line: boolean;
let controller: KeyboardController;
const command = (value: number) => controller.writePort(4, 1, value);
const data = (value: number) => controller.writePort(0, 1, value);
const read = () => controller.readPort(0, 1);
const status = () => controller.readPort(4, 1);
const FULL = 0x01;
const TIMEOUT = 0x40;

beforeEach(() => {
  resets = 0;
  line = false;
  const onPower = () => {
    resets += 1;
  };
  controller = new KeyboardController(onPower, { set: level => (line = level) });
});

test('the command byte can be written and read back, and the self-test passes', () => {
  command(0x60);
  data(0x34);
  command(0x20);
  expect(status() & FULL).toBe(FULL);
  expect(read()).toBe(0x34);
  expect(status() & FULL).toBe(0);
  command(0xaa);
  expect(read()).toBe(0x55);
  command(0xab);
  expect(read()).toBe(0);
});

test('a byte for the keyboard times out with "resend", and raises the interrupt where it is on', () => {
  command(0x60);
  data(0x05);
  data(0xf2);
  expect(line).toBe(true);
  expect(status() & (FULL | TIMEOUT)).toBe(FULL | TIMEOUT);
  expect(read()).toBe(0xfe);
  expect(line).toBe(false);
  expect(status() & (FULL | TIMEOUT)).toBe(0);
  command(0x60);
  data(0x04);
  data(0xed);
  expect(line).toBe(false);
});

test('commands for a second port are not answered', () => {
  for (const value of [0xa7, 0xa8, 0xa9, 0xd3, 0xd4]) {
    command(value);
    expect(status() & FULL).toBe(0);
  }
});

test('the reset line: pulsed, or written low', () => {
  command(0xff);
  expect(resets).toBe(0);
  command(0xfe);
  expect(resets).toBe(1);
  command(0xd1);
  data(0x03);
  expect(resets).toBe(1);
  command(0xd1);
  data(0x02);
  expect(resets).toBe(2);
});
