/** The loop and what hangs on it: timers, interrupts, halting, accounting, descriptor copies, code watches, running out of pages. */
import { describe, expect, it } from 'vitest';
import type { Ppn } from '../../src/hypervisor/base/pages.js';
import { assemble } from '../../src/hypervisor/machine/cpu/assemble.js';
import { Attr, S, Seg } from '../../src/hypervisor/machine/cpu/state.js';
import {
  GUEST_LIMIT_BT,
  GUEST_LIMIT_VMI,
  HOLE_BASE,
  MONITOR_GDT_LINEAR,
  MonitorSelector,
} from '../../src/hypervisor/monitor/hole.js';
import { hiddenSoftwareInterrupt } from '../../src/hypervisor/monitor/inject.js';
import { MonitorLoop } from '../../src/hypervisor/monitor/loop.js';
import { unpackDescriptor } from '../../src/hypervisor/monitor/segment-descriptor.js';
import { CAUSE_NAMES } from '../../src/hypervisor/stats/causes.js';
import { DirectTechnique, TestVm, type TestVmOptions } from './test-vm.js';

const IDT = 0x2000;
const GDT = 0x3000;
const CODE = 0x10000;
const HANDLER = 0x11000;

/** A flat kernel whose interrupt handler counts in EBX and, for vector 0x20, returns by a #GP-trapped CLI-free path. */
function machine(source: string, options: TestVmOptions = {}) {
  const test = new TestVm(options);
  const { vcpu } = test;
  test.write(CODE, assemble(CODE, source).bytes);
  test.write(HANDLER, assemble(HANDLER, 'inc ebx\nmov [0x6000], esp\nhlt').bytes);
  for (const [at, low, high] of [
    [0x08, 0xffff, 0x00cf9b00],
    [0x10, 0xffff, 0x00cf9300],
    [0x18, 0xffff, 0x00cffb00],
    [0x20, 0xffff, 0x00cff300],
  ] as const) {
    test.write32(GDT + at, low);
    test.write32(GDT + at + 4, high);
  }
  test.write32(IDT + 0x20 * 8, (0x08 << 16) | (HANDLER & 0xffff));
  test.write32(IDT + 0x20 * 8 + 4, (HANDLER & 0xffff0000) | 0x8e00);
  vcpu.gdtBase = GDT;
  vcpu.gdtLimit = 0x27;
  vcpu.idtBase = IDT;
  vcpu.descriptors.setGdt(true);
  vcpu.eip = CODE;
  vcpu.esp = 0x9000;
  const technique = new DirectTechnique(vcpu);
  const loop = new MonitorLoop(vcpu, technique, () => technique);
  return { test, vcpu, technique, loop };
}

const total = (causes: Readonly<Record<string, number>>): number =>
  CAUSE_NAMES.reduce((sum, name) => sum + causes[name]!, 0);

describe('running', () => {
  it('ends at the deadline, and cutting a run changes nothing', () => {
    const source = 'mov ecx, 200000\nagain: dec ecx\njnz again\nhlt';
    const whole = machine(source);
    expect(whole.loop.run(10_000_000).kind).toBe('halted');
    const cut = machine(source);
    let until = 0;
    let result = cut.loop.run(until);
    while (result.kind === 'deadline') {
      until += 7_777;
      result = cut.loop.run(until);
    }
    expect(result.kind).toBe('halted');
    expect(cut.test.thread.cycles).toBe(whole.test.thread.cycles);
    expect(cut.test.vm.causes).toEqual(whole.test.vm.causes);
    expect(cut.test.thread.instructions).toBe(whole.test.thread.instructions);
  });

  it('books every cycle on exactly one cause', () => {
    const { test, loop, vcpu } = machine(
      'mov ecx, 50\nagain: mov eax, cr0\nmov [0x7000], eax\ndec ecx\njnz again\nhlt',
    );
    const { thread, vm } = test;
    expect(loop.run(10_000_000).kind).toBe('halted');
    expect(total(vm.causes)).toBe(thread.cycles);
    expect(vcpu.chargedCycles).toBe(thread.cycles);
    expect(vm.causes.guestKernel).toBeGreaterThan(100);
    expect(vm.causes.trap).toBeGreaterThan(50 * 500);
    expect(vm.causes.hiddenFault).toBeGreaterThan(0);
    expect(vm.causes.guestUser).toBe(0);
    expect(vm.counters.exits).toBeGreaterThan(50);
  });

  it('halts until an interrupt, and for ever with interrupts off', () => {
    const { test, loop, vcpu } = machine('sti\nhlt');
    test.timers.push({ at: 500_000, fire: () => (test.intr = true) });
    expect(loop.run(100_000)).toEqual({ kind: 'halted', wakeAtCycles: 500_000 });
    test.thread.cycles = 500_000;
    expect(loop.run(600_000)).toEqual({ kind: 'halted', wakeAtCycles: Infinity });
    expect(test.thread.s[S.EBX]).toBe(1);
    expect(test.vm.counters.injections).toBe(1);
    expect(test.vm.counters.wakeups).toBe(1);
    // The handler halted with interrupts off: nothing wakes it.
    test.intr = true;
    expect(loop.run(700_000).kind).toBe('halted');
    expect(test.vm.counters.injections).toBe(1);
    expect(vcpu.interruptsEnabled).toBe(false);
  });

  it('charges the host timer interrupt that ends a run, and delivers in the middle of guest code', () => {
    const { test, loop } = machine('sti\nagain: jmp again');
    test.timers.push({ at: 400_000, fire: () => (test.intr = true) });
    expect(loop.run(1_000_000).kind).toBe('halted');
    const { costs } = test.vm;
    const expected =
      costs.cycles.exceptionToInner +
      costs.cycles.interruptAcknowledge +
      costs.cycles.vmmEntry +
      costs.cycles.timerCallback;
    expect(test.vm.causes.interrupt).toBeGreaterThanOrEqual(expected);
    expect(test.vm.causes.interrupt).toBeLessThan(2 * expected);
    expect(test.thread.s[S.EBX]).toBe(1);
    // The frame on the guest's stack: EIP of the loop, the guest's own CS, virtual IF set.
    const esp = test.read32(0x6000);
    expect(test.read32(esp)).toBe(CODE + 1);
    expect(test.read32(esp + 4)).toBe(0x08);
    expect(test.read32(esp + 8) & 0x3200).toBe(0x200);
  });

  it('holds interrupts off in the shadow of STI', () => {
    const { test, loop } = machine('mov eax, 1\nsti\ncli\nmov eax, 2\nsti\nmov eax, 3\nagain: jmp again');
    test.intr = true;
    expect(loop.run(1_000_000).kind).toBe('halted');
    expect(test.thread.s[S.EAX]).toBe(3);
    expect(test.thread.s[S.EBX]).toBe(1);
  });

  it('stops with one line at a triple fault and when the host has no page left', () => {
    const broken = machine('ud2');
    broken.vcpu.idtLimit = 0;
    const result = broken.loop.run(1_000_000);
    expect(result).toMatchObject({ kind: 'stopped' });
    expect(result.kind === 'stopped' && result.reason).toMatch(/^triple fault: .*ESP 0x9000/);
    expect(broken.loop.run(2_000_000)).toEqual(result);

    const poor = machine('mov ecx, 0x100000\nagain: mov [ecx], ecx\nadd ecx, 0x1000\njmp again', { pagesMax: 60 });
    const end = poor.loop.run(10_000_000);
    expect(end.kind === 'stopped' && end.reason).toMatch(/^out of machine memory/);
  });

  it('reports stores to watched code with their bytes', () => {
    const { technique, vcpu, loop, test } = machine('mov dword [0x12004], 0x90909090\nmov byte [0x12010], 7\nhlt');
    vcpu.traces.watch(0x12 as Ppn, 'code');
    expect(loop.run(1_000_000).kind).toBe('halted');
    expect(technique.codeWrites).toEqual(['12+4:4', '12+10:1']);
    expect(test.vm.counters.traceFaults).toBe(2);
    expect(technique.traceHits).toBe(2);
    vcpu.traces.unwatch(0x12 as Ppn, 'code');
    expect(vcpu.shadow.audit()).toEqual([]);
  });
});

describe('descriptor copies', () => {
  it('follow the guest through traces, hide system descriptors and end below the hole', () => {
    const { vcpu, test } = machine('hlt');
    const machineAt = (index: number) => {
      // The copy is where hardware finds it: through the shadow's hole.
      const { i32 } = test.memory;
      const linear = MONITOR_GDT_LINEAR + index * 8;
      const pde = i32[(vcpu.shadow.root << 10) + (linear >>> 22)]!;
      const pte = i32[((pde >>> 12) << 10) + ((linear >>> 12) & 1023)]!;
      const at = ((pte >>> 12) << 12) + (linear & 4095);
      return unpackDescriptor(test.memory.readI32(at), test.memory.readI32(at + 4));
    };
    expect(machineAt(1)).toMatchObject({ base: 0, limit: GUEST_LIMIT_BT | 0 });
    expect((machineAt(1).attr & Attr.DPL) >> 5).toBe(1);
    expect((machineAt(3).attr & Attr.DPL) >> 5).toBe(3);
    // A TSS appears: hidden. A segment high up: cut. An expand-down segment of 4 GiB: hidden.
    test.write32(GDT + 0x20, 0x00000067);
    test.write32(GDT + 0x24, 0x00008900);
    expect(machineAt(4).attr & Attr.P).toBe(0);
    test.write32(GDT + 0x20, 0x0000ffff);
    test.write32(GDT + 0x24, 0xff_cff300 | 0);
    expect(machineAt(4)).toMatchObject({ base: 0xff000000 | 0, limit: HOLE_BASE - 0xff000000 - 1 });
    test.write32(GDT + 0x24, 0x00cff700);
    expect(machineAt(4).attr & Attr.P).toBe(0);
    expect(vcpu.descriptors.audit()).toEqual([]);
    vcpu.descriptors.guestLimit = GUEST_LIMIT_VMI;
    vcpu.descriptors.setGdt(true);
    expect(machineAt(1).limit).toBe(GUEST_LIMIT_VMI | 0);
    vcpu.descriptors.setTcSegments(false);
    expect(machineAt(MonitorSelector.TC_CODE >> 3).attr).toBe(0);
    expect(vcpu.descriptors.audit()).toEqual([]);
    // A shorter table: what was beyond it is gone.
    vcpu.gdtLimit = 0x0f;
    vcpu.descriptors.setGdt(true);
    expect(machineAt(3).attr).toBe(0);
    expect(vcpu.traces.users((GDT >> 12) as Ppn, 'descriptors')).toBe(1);
  });

  it('pass accessed bits on to the guest', () => {
    const { vcpu, test, loop } = machine('mov ax, 0x20\nmov es, ax\nhlt');
    test.write32(GDT + 0x24, 0x00cff200);
    expect(loop.run(1_000_000).kind).toBe('halted');
    expect(test.read32(GDT + 0x24)).toBe(0x00cff300);
    expect(vcpu.descriptors.audit()).toEqual([]);
  });

  it('let hardware run into the limit before the hole', () => {
    const { vcpu, test, loop } = machine(`mov eax, [${HOLE_BASE}]`);
    test.write32(IDT + 13 * 8, (0x08 << 16) | HANDLER);
    test.write32(IDT + 13 * 8 + 4, 0x00018e00);
    expect(loop.run(1_000_000).kind).toBe('halted');
    expect(test.thread.s[S.EBX]).toBe(1);
    expect(vcpu.limit(Seg.DS)).toBe(GUEST_LIMIT_BT);
  });
});

describe('INT with a vector of the monitor', () => {
  it('is told from a real #GP by the bytes at EIP', () => {
    const { vcpu, test } = machine('int 0xf0');
    vcpu.idtLimit = 0x7ff;
    vcpu.cpl = 3;
    expect(hiddenSoftwareInterrupt(vcpu, 0xf0 * 8 + 2)).toMatchObject({ kind: 'software', vector: 0xf0 });
    expect(vcpu.eip).toBe(CODE + 2);
    expect(hiddenSoftwareInterrupt(vcpu, 0xf0 * 8 + 2)).toBeUndefined();
    test.vcpu.cpl = 0;
    expect(hiddenSoftwareInterrupt(vcpu, 0xf0 * 8 + 2)).toBeUndefined();
  });
});
