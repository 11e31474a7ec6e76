/** Code that is overwritten from its start to its end: nothing stale is executed, and the rest of its page is dropped with it. */
import { describe, expect, test } from 'vitest';
import { S } from '../../src/hypervisor/machine/cpu/state.js';
import { CODE_LINE_SHIFT } from '../../src/hypervisor/machine/memory.js';
import { CODE, Machine } from './fixture.js';

const FUNCTIONS = 0x60000;
const COUNT = 32;
/** Distance of one function from the next. */
const STRIDE = 16;
/** Calls of each function before it is overwritten: enough for its block to be kept. */
const ROUNDS = 20;

/** `add eax, value; ret`. */
const functionBytes = (value: number): number[] => [0x05, value & 0xff, value >>> 8, 0, 0, 0xc3];

/** A program that calls all functions so often and stops with the sum of what they add in EAX. */
function caller(machine: Machine, at: number): void {
  machine.load(
    `mov edx, ${ROUNDS}
     xor eax, eax
     round:
     mov ecx, ${FUNCTIONS}
     next:
     call ecx
     add ecx, ${STRIDE}
     cmp ecx, ${FUNCTIONS + COUNT * STRIDE}
     jne next
     dec edx
     jne round
     hlt`,
    at,
  );
}

function write(machine: Machine, from: number, to: number, value: (index: number) => number): void {
  for (let i = from; i < to; i++) machine.write(FUNCTIONS + i * STRIDE, functionBytes(value(i)));
}

/** The sum that calling all functions `ROUNDS` times leaves. */
const sum = (value: (index: number) => number): number => {
  let total = 0;
  for (let i = 0; i < COUNT; i++) total += value(i);
  return total * ROUNDS;
};

const old = (index: number): number => index + 1;
const mpn = (machine: Machine): number => (machine.base + FUNCTIONS) >>> 12;

describe('functions in a page', () => {
  test('overwritten one behind the other, all go; those that stay as they were are decoded again', () => {
    const machine = new Machine();
    write(machine, 0, COUNT, old);
    caller(machine, CODE);
    machine.run();
    expect(machine.reg(S.EAX)).toBe(sum(old));
    expect(machine.cache.blocksIn(mpn(machine)).length).toBe(COUNT);
    const half = COUNT / 2;
    write(machine, 0, half, index => index + 1000);
    expect(machine.cache.blocksIn(mpn(machine))).toEqual([]);
    expect(machine.memory.codeLines[mpn(machine)]).toBe(0);
    caller(machine, CODE);
    machine.run();
    expect(machine.reg(S.EAX)).toBe(sum(index => (index < half ? index + 1000 : old(index))));
  });

  test('patched far from one another, the others stay', () => {
    const machine = new Machine();
    write(machine, 0, COUNT, old);
    caller(machine, CODE);
    machine.run();
    for (const index of [20, 3, 30, 7, 25, 1, 15]) write(machine, index, index + 1, () => 500 + index);
    expect(machine.cache.blocksIn(mpn(machine)).length).toBe(COUNT - 7);
    caller(machine, CODE);
    machine.run();
    const changed = [20, 3, 30, 7, 25, 1, 15];
    expect(machine.reg(S.EAX)).toBe(sum(index => (changed.includes(index) ? 500 + index : old(index))));
  });

  test('overwritten by code of the same page, what runs stays', () => {
    const machine = new Machine();
    write(machine, 0, COUNT, old);
    caller(machine, FUNCTIONS + 0x800);
    machine.run();
    expect(machine.reg(S.EAX)).toBe(sum(old));
    const before = machine.cache.blocksIn(mpn(machine)).length;
    write(machine, 0, COUNT / 2, index => index + 1000);
    expect(machine.cache.blocksIn(mpn(machine)).length).toBe(before - COUNT / 2);
    machine.cpu.s[S.EIP] = FUNCTIONS + 0x800;
    machine.run();
    expect(machine.reg(S.EAX)).toBe(sum(index => (index < COUNT / 2 ? index + 1000 : old(index))));
  });

  test('written beside again and again, they let ordinary stores pass, and come back when they are executed', () => {
    const machine = new Machine();
    write(machine, 0, COUNT, old);
    caller(machine, CODE);
    machine.run();
    const line = (index: number): number => 1 << ((index * STRIDE) >> CODE_LINE_SHIFT);
    const beside = machine.base + FUNCTIONS + 2 * STRIDE - 4;
    const all = machine.memory.codeLines[mpn(machine)]!;
    for (let i = 0; i < 20; i++) machine.memory.write32(beside, i);
    expect(machine.memory.codeLines[mpn(machine)]).toBe(all & ~line(2));
    for (let round = 0; round < 12; round++) {
      caller(machine, CODE);
      machine.run();
      expect(machine.reg(S.EAX)).toBe(sum(old));
    }
    expect(machine.memory.codeLines[mpn(machine)]).toBe(all);
  });
});
