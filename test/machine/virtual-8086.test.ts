/** What the recording in QEMU leaves out of virtual-8086 mode: limits, ports, gates that lead elsewhere, time. */
import { describe, expect, test } from 'vitest';
import { Flag, S, Seg, segAttr, segBase, segSelector, Vector } from '../../src/hypervisor/machine/cpu/state.js';
import { CODE, CS1, CS3, DS0, HANDLERS, Machine, STACK0, TSS } from './fixture.js';

const AT = 0x7000;

/** Enters virtual-8086 mode at 0:7000 by IRET and runs to the handler that halts. */
function run(bytes: readonly number[], iopl = 0, prepare: (m: Machine) => void = () => {}): Machine {
  const m = new Machine();
  prepare(m);
  m.write(AT, bytes);
  const flags = Flag.VM | (iopl << 12) | 2;
  const frame = [0x1400, 0x1300, 0x1200, 0x1100, 0x1000, 0x800, flags, 0, AT];
  m.load(`${frame.map(word => `push ${word}`).join('\n')}\niretd`);
  expect(m.run()).toEqual({ kind: 'halt' });
  return m;
}

const vectorOf = (m: Machine): number => (m.reg(S.EIP) - 1 - HANDLERS) / 16;
const frameOf = (m: Machine, words: number): number[] =>
  Array.from({ length: words }, (_, i) => m.read32(m.reg(S.ESP) + i * 4));

describe('virtual-8086 mode', () => {
  test('a fault leaves ten words on the ring-0 stack and null data segments', () => {
    const m = run([0xf4]);
    expect(vectorOf(m)).toBe(Vector.GP);
    expect(m.reg(S.ESP)).toBe(STACK0 - 40);
    const [error, eip, cs, flags, esp, ss, es, ds, fs, gs] = frameOf(m, 10);
    expect([error, eip, cs]).toEqual([0, AT, 0]);
    expect(flags! & (Flag.VM | Flag.IOPL)).toBe(Flag.VM);
    expect([esp, ss, es, ds, fs, gs]).toEqual([0x800, 0x1000, 0x1100, 0x1200, 0x1300, 0x1400]);
    for (const seg of [Seg.ES, Seg.DS, Seg.FS, Seg.GS]) expect(m.cpu.s[segAttr(seg)]).toBe(0);
    expect([m.cpu.s[S.CPL], m.cpu.s[segSelector(Seg.SS)], m.cpu.s[S.EFLAGS]! & Flag.VM]).toEqual([0, DS0, 0]);
  });

  test('INT n needs IOPL 3 and a gate for ring 3, INT3 the gate alone', () => {
    expect(vectorOf(run([0xcd, 0x80], 0))).toBe(Vector.GP);
    expect(vectorOf(run([0xcd, 0x80], 3))).toBe(0x80);
    expect(vectorOf(run([0xcd, 0x20], 3))).toBe(Vector.GP);
    expect(frameOf(run([0xcd, 0x20], 3), 1)).toEqual([0x20 * 8 + 2]);
    expect(vectorOf(run([0xcc], 0))).toBe(Vector.BP);
  });

  test('a gate that does not lead to ring 0 is #GP of its selector', () => {
    const m = run([0xcd, 0x80], 3, machine => machine.gate(0x80, 3, CODE, CS1));
    expect(vectorOf(m)).toBe(Vector.GP);
    expect(frameOf(m, 1)).toEqual([CS1 & 0xfffc]);
    const outer = run([0xcd, 0x80], 3, machine => machine.gate(0x80, 3, CODE, CS3));
    expect(frameOf(outer, 1)).toEqual([CS3 & 0xfffc]);
  });

  test('limits are 64 KiB', () => {
    expect(vectorOf(run([0xa1, 0xff, 0xff]))).toBe(Vector.GP);
    expect(vectorOf(run([0xbd, 0xff, 0xff, 0x8b, 0x46, 0x00]))).toBe(Vector.SS);
    expect(vectorOf(run([0x66, 0xe9, 0, 0, 1, 0]))).toBe(Vector.GP);
  });

  test.each([0, 3])('ports are the bitmap only, with IOPL %d', iopl => {
    const allow = (machine: Machine) => {
      machine.cpu.setSegment(Seg.TR, 0x38, TSS, 0x68 + 33, 0x8b);
      for (let i = 0; i < 32; i++) machine.write(TSS + 0x68 + i, [0xff]);
      machine.write(TSS + 0x68 + 0x10, [0xfe]);
      machine.write(TSS + 0x68 + 32, [0xff]);
    };
    const m = run([0xe4, 0x80, 0xe4, 0x81], iopl, allow);
    expect(vectorOf(m)).toBe(Vector.GP);
    expect(m.portLog.map(access => access.port)).toEqual([0x80]);
    expect(frameOf(m, 2)).toEqual([0, AT + 2]);
  });

  test('segments are paragraphs, and protected instructions are invalid', () => {
    // mov ax, 1234; mov ds, ax; then SLDT
    const m = run([0xb8, 0x34, 0x12, 0x8e, 0xd8, 0x0f, 0x00, 0xc0]);
    expect(vectorOf(m)).toBe(Vector.UD);
    const [eip, , , , , es, ds, fs] = frameOf(m, 8);
    expect([eip, es, ds, fs]).toEqual([AT + 5, 0x1100, 0x1234, 0x1300]);
  });

  test('an interrupt comes at a branch and returns to where it was', () => {
    const m = new Machine();
    m.vector = 0x41;
    m.write(HANDLERS + 0x41 * 16, [0xcf]);
    m.write(AT, [0x40, 0xeb, 0xfd]);
    const frame = [0x1400, 0x1300, 0x1200, 0x1100, 0x1000, 0x800, Flag.VM | Flag.IF | 2, 0, AT];
    m.load(`${frame.map(word => `push ${word}`).join('\n')}\niretd`);
    m.cpu.setIntr(true);
    m.cpu.s[S.EFLAGS] = m.cpu.s[S.EFLAGS]! & ~Flag.IF;
    expect(m.run(20_000)).toEqual({ kind: 'deadline' });
    expect(m.cpu.counters.interrupts).toBe(1);
    expect(m.cpu.s[S.EFLAGS]! & Flag.VM).not.toBe(0);
    expect([m.cpu.s[S.CPL], m.cpu.s[segBase(Seg.GS)], m.reg(S.ESP)]).toEqual([3, 0x14000, 0x800]);
    expect(m.reg(S.EAX)).toBeGreaterThan(100);
  });
});
