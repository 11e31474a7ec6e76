/** Registers that a kernel for this family touches without asking are there; others are not. */
import { expect, test } from 'vitest';
import { readMsr, writeMsr } from '../../src/hypervisor/vm/msrs.js';

test('fast strings are reported on, no microcode update, platform 0', () => {
  expect(readMsr(0x1a0)![0] & 1).toBe(1);
  expect(readMsr(0x8b)).toEqual([0, 0]);
  expect(readMsr(0x17)).toEqual([0, 0]);
});

test('the microcode revision may be cleared; what could not be kept is refused', () => {
  expect(writeMsr(0x8b, 0, 0)).toBe(true);
  const [low, high] = readMsr(0x1a0)!;
  expect(writeMsr(0x1a0, low, high)).toBe(true);
  expect(writeMsr(0x1a0, low ^ 1, high)).toBe(false);
  expect(writeMsr(0x17, 0, 0)).toBe(false);
});

test('what does not exist is not there', () => {
  expect(readMsr(0x250)).toBeUndefined();
  expect(writeMsr(0x250, 0, 0)).toBe(false);
});
