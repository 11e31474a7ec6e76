import { describe, expect, test } from 'vitest';
import { Cr0, Flag, S, Seg } from '../../../src/hypervisor/machine/cpu/state.js';
import { VcpuPage } from '../../../src/hypervisor/monitor/vcpu-page.js';
import { initRefusal, vmiInitHook } from '../../../src/hypervisor/monitor/vmi/init.js';
import { buildVmiRom } from '../../../src/hypervisor/monitor/vmi/rom.js';
import { VmiPage } from '../../../src/hypervisor/monitor/vmi/rom-layout.js';
import { CODE, DATA, GDT, KERNEL, RAM_BYTES, ROM_LINEAR, VmiMachine } from './vmi-machine.js';

const guest = () => new VmiMachine({ kernel: 'nop' });

/** Everything of the guest that Init could have changed. */
function snapshot({ vcpu, thread, vm }: VmiMachine) {
  const { gdtBase, gdtLimit, idtBase, idtLimit, sysenterCs, sysenterEsp, sysenterEip, cpl, kernelCpl, eip } = vcpu;
  const memory: number[] = [];
  for (let at = 0; at < RAM_BYTES; at += 4) {
    const word = vcpu.physical.peek32(at);
    if (word !== 0) memory.push(at, word);
  }
  return {
    registers: [...thread.s.subarray(S.EAX + 1, S.EIP)],
    eflags: vcpu.eflags,
    control: [vcpu.cr0, vcpu.cr2, vcpu.cr3, vcpu.cr4],
    segments: [...vcpu.segments],
    state: { gdtBase, gdtLimit, idtBase, idtLimit, sysenterCs, sysenterEsp, sysenterEip, cpl, kernelCpl, eip },
    limit: vcpu.descriptors.guestLimit,
    traces: vcpu.traces.watched('descriptors'),
    causes: Object.keys(vm.causes),
    memory,
  };
}

describe('refusals', () => {
  const spoil: Readonly<Record<string, (machine: VmiMachine) => void>> = {
    'called at CPL 3': ({ vcpu }) => {
      vcpu.cpl = 3;
    },
    'paging is off': ({ vcpu }) => {
      vcpu.cr0 = Cr0.PE | Cr0.ET;
    },
    'CS does not come from the GDT': ({ vcpu }) => vcpu.setSelector(Seg.CS, 0x64),
    'CS descriptor is no present segment': machine => machine.write32(GDT + 0x64, 0x00cf1b00),
    'CS descriptor has the wrong type': machine => machine.write32(GDT + 0x64, 0x00cf9300),
    'CS descriptor is not of ring 0': machine => machine.write32(GDT + 0x64, 0x00cffb00),
    'CS is a 16-bit segment': machine => machine.write32(GDT + 0x64, 0x008f9b00),
    'CS is not flat': machine => machine.write32(GDT + 0x64, 0x10cf9b00),
    'SS is not flat': machine => machine.write32(GDT + 0x6c, 0x00c09300),
    'GDT reaches into the reserved range': ({ vcpu }) => {
      vcpu.gdtLimit = 0xffff;
      vcpu.gdtBase = 0xfbff8000 | 0;
    },
    'IDT reaches into the reserved range': ({ vcpu }) => {
      vcpu.idtBase = 0xfffff800 | 0;
    },
  };
  for (const [why, change] of Object.entries(spoil)) {
    test(why, () => {
      const machine = guest();
      // A GDT in nowhere makes CS unreadable before its place is looked at.
      change(machine);
      const expected = why.startsWith('GDT') ? 'CS descriptor is not readable' : why;
      expect(initRefusal(machine.vcpu)).toBe(expected);
    });
  }

  test('a refused guest gets a non-zero EAX and is otherwise as before', () => {
    const machine = guest();
    machine.write32(GDT + 0x64, 0x10cf9b00);
    const before = snapshot(machine);
    expect(vmiInitHook(machine.vcpu)).toEqual({ kind: 'resume' });
    expect(machine.eax).toBe(0xffffffff);
    expect(machine.log).toEqual(['VMI: Init refused: CS is not flat']);
    expect(snapshot(machine)).toEqual(before);
  });
});

describe('the hook', () => {
  test('agrees without changing the guest', () => {
    const machine = guest();
    const before = snapshot(machine);
    expect(vmiInitHook(machine.vcpu)).toEqual({ kind: 'vmiInit' });
    expect(snapshot(machine)).toEqual(before);
  });

  test('knows Init’s hypercall only, by where it is in physical memory', () => {
    const machine = guest();
    const { vcpu } = machine;
    const rom = buildVmiRom();
    for (const site of rom.sites.keys()) {
      vcpu.eip = ROM_LINEAR + site;
      expect(vmiInitHook(vcpu) !== undefined, `site ${site}`).toBe(site === rom.labels.get('site_init'));
    }
    // The same bytes elsewhere do not count, the ROM through another mapping does.
    vcpu.eip = KERNEL + DATA + rom.labels.get('site_init')!;
    expect(vmiInitHook(vcpu)).toBeUndefined();
    machine.write32(0x3000 + 4 * 9, 0xc0065);
    vcpu.eip = 0x08009000 + rom.labels.get('site_init')!;
    expect(vmiInitHook(vcpu)).toEqual({ kind: 'vmiInit' });
    vcpu.eip = 0x70000000;
    expect(vmiInitHook(vcpu)).toBeUndefined();
  });
});

describe('taking over', () => {
  test('the kernel is at CPL 1, its tables are no longer watched, boot page tables still are', () => {
    const machine = guest();
    const { vcpu } = machine;
    vcpu.sysenterCs = 0x60;
    vcpu.eflags = Flag.IF | Flag.DF | Flag.FIXED | 0x3000;
    expect(vcpu.traces.watched('descriptors')).not.toEqual([]);
    machine.activate();
    expect([vcpu.cpl, vcpu.kernelCpl, vcpu.selector(Seg.CS), vcpu.selector(Seg.SS)]).toEqual([1, 1, 0x61, 0x69]);
    expect(vcpu.traces.watched('descriptors')).toEqual([]);
    expect(vcpu.eflags).toBe(Flag.IF | Flag.DF | Flag.FIXED | 0x3000);
    expect(machine.eax).toBe(0);
    const word = (offset: number) => machine.memory.read32(vcpu.page + offset);
    expect([word(VcpuPage.VIF), word(VcpuPage.VFLAGS), word(VcpuPage.CR3)]).toEqual([0x200, 0x3000, 0x1000]);
    expect([word(VcpuPage.QUEUE_COUNT), word(VmiPage.DEFERRED), word(VcpuPage.LAZY_MODE)]).toEqual([0, 0, 0]);
    expect(word(VmiPage.FREQUENCY_LOW)).toBe(3_000_000_000);
    expect(machine.loop.run(machine.thread.cycles).kind).toBe('deadline');
    expect(vcpu.traces.isWatchedFor(1 as never, 'table')).toBe(true);
    expect(machine.technique.romBase).toBe(ROM_LINEAR);
  });

  test('works with the task register unset', () => {
    const machine = guest();
    machine.vcpu.setSegment(Seg.TR, 0, 0, 0, 0);
    machine.activate();
    expect(machine.vcpu.kernelStack).toBeUndefined();
  });

  test('taken out inside the return sequence, the guest is back at its start with interrupts off', () => {
    const machine = guest();
    const technique = machine.activate();
    const { vcpu, thread } = machine;
    const rom = buildVmiRom();
    const iret = rom.restartRanges.find(({ name }) => name === 'iret')!;
    machine.loop.run(thread.cycles);
    for (const [offset, expected, vif] of [
      [iret.from, iret.restart, false],
      [iret.to - 1, iret.restart, false],
      [rom.realIrets[0]!, iret.restart, false],
      [iret.to + 1, iret.to + 1, true],
      [iret.from - 1, iret.from - 1, true],
    ] as const) {
      vcpu.inHardware = true;
      vcpu.interruptsEnabled = true;
      thread.setCpl(1);
      thread.s[S.EIP] = (ROM_LINEAR + offset) | 0;
      technique.capture();
      expect([vcpu.eip, vcpu.interruptsEnabled]).toEqual([ROM_LINEAR + expected, vif]);
    }
    // User code at the same address is only user code.
    vcpu.inHardware = true;
    vcpu.interruptsEnabled = true;
    thread.setCpl(3);
    thread.s[S.EIP] = (ROM_LINEAR + iret.from + 5) | 0;
    technique.capture();
    expect([vcpu.eip, vcpu.interruptsEnabled]).toEqual([ROM_LINEAR + iret.from + 5, true]);
  });

  test('audit of a guest that has run is clean', () => {
    const machine = new VmiMachine({ kernel: 'out 0xf4, al' });
    machine.run();
    expect(machine.done).toBe(true);
    expect(machine.technique.audit()).toEqual([]);
    expect(machine.labels.size).toBe(0);
    expect(machine.read32(CODE) & 0xffff).toBe(0xf4e6);
  });
});
