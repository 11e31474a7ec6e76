import { beforeEach, describe, expect, test } from 'vitest';
import { Cr0, Flag, S, Seg, segSelector } from '../../../src/hypervisor/machine/cpu/state.js';
import { VcpuPage } from '../../../src/hypervisor/monitor/vcpu-page.js';
import { CALL, CALLS, type CallName, Relocation } from '../../../src/hypervisor/monitor/vmi/calls.js';
import { INIT_CALL } from '../../../src/hypervisor/monitor/vmi/rom.js';
import {
  CycleCounter,
  Deferred,
  EntryFlag,
  Header,
  LazyMode,
  VmiPage,
} from '../../../src/hypervisor/monitor/vmi/rom-layout.js';
import {
  DATA,
  ESP1,
  KERNEL_CS,
  KERNEL_DS,
  LANDING,
  POISON,
  ROM_LINEAR,
  RomMachine,
  STACK_TOP,
  USER_CODE,
  USER_CS,
  USER_DS,
  USER_STACK_TOP,
} from './rom-machine.js';

let machine: RomMachine;
beforeEach(() => {
  machine = new RomMachine();
});

describe('GetRelocationInfo', () => {
  const ask = (on: RomMachine, index: number): { eip: number; type: number } => {
    on.setRegisters({ ...POISON, eax: index, ecx: 0xcccc, edx: 0xdddd });
    on.push(LANDING);
    on.thread.s[S.EIP] = (ROM_LINEAR + Header.GET_RELOCATION_INFO) | 0;
    expect(on.outcome(on.run())).toBe('done');
    const { eax, edx, ebx, esi, edi, ebp, esp } = on.registers();
    expect({ ebx, esi, edi, ebp }).toEqual(POISON);
    expect(esp).toBe(STACK_TOP);
    return { eip: eax, type: edx };
  };

  for (const level of [0, 1] as const) {
    test(`answers for every index at CPL ${level}, and NONE beyond the table`, () => {
      const on = new RomMachine(level);
      for (const { index, how, name } of CALLS) {
        const answer = ask(on, index);
        if (how === 'nop') expect(answer.type, name).toBe(Relocation.NOP);
        else if (how === 'none') expect(answer.type, name).toBe(Relocation.NONE);
        else expect(answer, name).toEqual({ eip: ROM_LINEAR + on.rom.entries.get(index)!, type: Relocation.CALL_REL });
      }
      for (const index of [74, 75, 0x7fffffff, -1]) expect(ask(on, index).type).toBe(Relocation.NONE);
    });
  }

  test('IRET and SYSEXIT get a relocation that a call site can hold', () => {
    for (const name of ['IRET', 'SYSEXIT'] as const) {
      expect([Relocation.CALL_REL, Relocation.JUMP_REL]).toContain(ask(machine, CALL[name]).type);
    }
  });
});

test('Init asks the monitor and returns to its caller', () => {
  machine.push(LANDING);
  machine.thread.s[S.EIP] = (ROM_LINEAR + Header.INIT) | 0;
  expect(machine.outcome(machine.run())).toBe(INIT_CALL);
  machine.thread.s[S.EAX] = 0;
  expect(machine.outcome(machine.run())).toBe('done');
  expect(machine.registers().esp).toBe(STACK_TOP);
});

describe('interrupt flag calls', () => {
  const ALL = { eax: 0xa5a5a5a5, ecx: 0xc5c5c5c5, edx: 0xd5d5d5d5 };
  const cases: readonly (readonly [CallName, before: number, mask: number, after: number])[] = [
    ['EnableInterrupts', 0, ALL.eax, 0x200],
    ['EnableInterrupts', 0x200, ALL.eax, 0x200],
    ['DisableInterrupts', 0x200, ALL.eax, 0],
    ['DisableInterrupts', 0, ALL.eax, 0],
    ['SetInterruptMask', 0, 0x246, 0x200],
    ['SetInterruptMask', 0x200, 0x46, 0],
    ['SetInterruptMask', 0x200, 0xfffffdff, 0],
  ];
  for (const [name, before, mask, after] of cases) {
    test(`${name} with VIF ${before} and EAX ${mask.toString(16)}: all registers kept, null DS and ES`, () => {
      machine.nullDataSegments();
      machine.setPageWord(VcpuPage.VIF, before);
      expect(machine.call(name, { ...ALL, eax: mask })).toBe('done');
      expect(machine.pageWord(VcpuPage.VIF)).toBe(after);
      expect(machine.registers()).toEqual({ ...ALL, eax: mask, ...POISON, esp: STACK_TOP });
    });
  }

  test('GetInterruptMask changes EAX only', () => {
    machine.nullDataSegments();
    for (const vif of [0, 0x200]) {
      machine.setPageWord(VcpuPage.VIF, vif);
      expect(machine.call('GetInterruptMask', ALL)).toBe('done');
      expect(machine.registers()).toEqual({ ...ALL, eax: vif, ...POISON, esp: STACK_TOP });
    }
  });

  test('flags other than the arithmetic ones stay as they are', () => {
    for (const name of ['EnableInterrupts', 'DisableInterrupts', 'GetInterruptMask', 'SetInterruptMask'] as const) {
      machine.thread.writeEflags(Flag.IF | Flag.DF | Flag.AC | Flag.ID | Flag.FIXED);
      expect(machine.call(name, { eax: 0x200 })).toBe('done');
      expect(machine.thread.readEflags() & ~Flag.ARITHMETIC).toBe(Flag.IF | Flag.DF | Flag.AC | Flag.ID | Flag.FIXED);
    }
  });

  test('the hypercall comes only when something waits, after VIF is set, and the call returns with all registers', () => {
    for (const name of ['EnableInterrupts', 'SetInterruptMask'] as const) {
      machine.nullDataSegments();
      machine.setPageWord(VcpuPage.VIF, 0);
      machine.setPageWord(VcpuPage.PENDING, 1);
      expect(machine.call(name, { ...ALL, eax: 0x200 })).toBe(CALL.EnableInterrupts);
      expect(machine.pageWord(VcpuPage.VIF)).toBe(0x200);
      expect(machine.outcome(machine.run())).toBe('done');
      expect(machine.registers()).toEqual({ ...ALL, eax: 0x200, ...POISON, esp: STACK_TOP });
    }
    expect(machine.call('SetInterruptMask', { eax: 0 })).toBe('done');
    expect(machine.call('DisableInterrupts')).toBe('done');
  });
});

describe('calls that stay in ring 1', () => {
  test('GetCRn reads the shared page', () => {
    const fields = { GetCR0: VcpuPage.CR0, GetCR2: VcpuPage.CR2, GetCR3: VcpuPage.CR3, GetCR4: VcpuPage.CR4 } as const;
    for (const [name, offset] of Object.entries(fields)) {
      machine.setPageWord(offset, 0x80000000 + offset);
      expect(machine.call(name as CallName)).toBe('done');
      expect(machine.registers().eax).toBe(0x80000000 + offset);
    }
  });

  test('SetCR2 stores; CLTS asks only when TS is set', () => {
    expect(machine.call('SetCR2', { eax: 0xdead0000 | 0 })).toBe('done');
    expect(machine.pageWord(VcpuPage.CR2)).toBe(0xdead0000);
    machine.setPageWord(VcpuPage.CR0, Cr0.PE);
    expect(machine.call('CLTS')).toBe('done');
    machine.setPageWord(VcpuPage.CR0, Cr0.PE | Cr0.TS);
    expect(machine.call('CLTS')).toBe(CALL.CLTS);
  });

  test('SetIOPLMask sets the virtual IOPL and nothing else', () => {
    machine.setPageWord(VcpuPage.VFLAGS, Flag.NT);
    expect(machine.call('SetIOPLMask', { eax: 0xffffffff | 0 })).toBe('done');
    expect(machine.pageWord(VcpuPage.VFLAGS)).toBe(Flag.NT | 0x3000);
    expect(machine.call('SetIOPLMask', { eax: 0 })).toBe('done');
    expect(machine.pageWord(VcpuPage.VFLAGS)).toBe(Flag.NT);
  });

  test('cycle counters: REAL from the TSC, AVAILABLE less what was stolen, unknown ones 0', () => {
    const offset = 0x1_0000_1000;
    const stolen = 0x1_2345_6789;
    machine.setPageWord(VmiPage.REAL_OFFSET_LOW, offset % 2 ** 32);
    machine.setPageWord(VmiPage.REAL_OFFSET_HIGH, 1);
    machine.setPageWord(VcpuPage.STOLEN_LOW, stolen % 2 ** 32);
    machine.setPageWord(VcpuPage.STOLEN_HIGH, 1);
    machine.setPageWord(VmiPage.FREQUENCY_LOW, 3_000_000_000);
    machine.thread.cycles = 0x5_0000_0000;
    const read = (counter: number): number => {
      expect(machine.call('GetCycleCounter', { eax: counter })).toBe('done');
      const { eax, edx, ebx, esi, edi, ebp } = machine.registers();
      expect({ ebx, esi, edi, ebp }).toEqual(POISON);
      return edx * 2 ** 32 + eax;
    };
    const start = machine.thread.cycles - offset;
    const real = read(CycleCounter.REAL);
    expect(real).toBeGreaterThan(start);
    const available = read(CycleCounter.AVAILABLE);
    expect(available + stolen).toBeGreaterThan(real);
    expect(available + stolen).toBeLessThan(real + 1000);
    expect(read(CycleCounter.STOLEN)).toBe(stolen);
    expect([3, 4, 0xffffffff | 0].map(read)).toEqual([0, 0, 0]);
    expect(machine.call('GetCycleFrequency')).toBe('done');
    expect(machine.registers()).toMatchObject({ eax: 3_000_000_000, edx: 0 });
  });

  test('STOLEN is what it was or what it is, wherever the guest was when it changed', () => {
    const before = 0x1_ffff_ffff;
    const after = 0x2_0000_0000;
    const set = (stolen: number, version: number): void => {
      machine.setPageWord(VcpuPage.STOLEN_LOW, stolen % 2 ** 32);
      machine.setPageWord(VcpuPage.STOLEN_HIGH, Math.floor(stolen / 2 ** 32));
      machine.setPageWord(VcpuPage.TIME_VERSION, version);
    };
    const seen = new Set<number>();
    // As many instructions as the stub has before its RET.
    for (let steps = 0; steps <= 9; steps++) {
      set(before, 2);
      machine.setRegisters({ eax: CycleCounter.STOLEN });
      machine.aimAt('GetCycleCounter');
      for (let i = 0; i < steps; i++) expect(machine.thread.step().kind).toBe('stepped');
      set(after, 4);
      expect(machine.outcome(machine.run())).toBe('done');
      const { eax, edx } = machine.registers();
      seen.add((edx >>> 0) * 2 ** 32 + (eax >>> 0));
    }
    expect(seen).toEqual(new Set([after, before]));
  });

  test('a version that changes, or is odd, makes AVAILABLE try again', () => {
    machine.setPageWord(VcpuPage.TIME_VERSION, 1);
    machine.setRegisters({ eax: 1 });
    machine.aimAt('GetCycleCounter');
    expect(machine.thread.run(machine.thread.cycles + 5000).kind).toBe('deadline');
    machine.setPageWord(VcpuPage.TIME_VERSION, 2);
    expect(machine.outcome(machine.run())).toBe('done');
  });
});

describe('lazy CPU mode', () => {
  test('SetCR3 and UpdateKernelStack ask at once outside of it', () => {
    for (const mode of [LazyMode.NONE, LazyMode.MMU]) {
      machine.setPageWord(VcpuPage.LAZY_MODE, mode);
      expect(machine.call('SetCR3', { eax: 0x1000 })).toBe(CALL.SetCR3);
      expect(machine.call('UpdateKernelStack', { eax: KERNEL_DS, edx: 0xc0107000 | 0 })).toBe(CALL.UpdateKernelStack);
    }
    expect(machine.pageWord(VmiPage.DEFERRED)).toBe(0);
  });

  test('inside both are kept, GetCR3 sees the new value, and leaving the mode asks once', () => {
    expect(machine.call('SetLazyMode', { eax: LazyMode.CPU })).toBe('done');
    expect(machine.call('SetCR3', { eax: 0x5000 })).toBe('done');
    expect(machine.call('UpdateKernelStack', { eax: KERNEL_DS, edx: 0xc0107000 | 0 })).toBe('done');
    expect(machine.call('GetCR3')).toBe('done');
    expect(machine.registers().eax).toBe(0x5000);
    expect(machine.pageWord(VmiPage.DEFERRED)).toBe(Deferred.CR3 | Deferred.KERNEL_STACK);
    expect(machine.pageWord(VmiPage.NEXT_CR3)).toBe(0x5000);
    expect([machine.pageWord(VmiPage.KERNEL_SS), machine.pageWord(VmiPage.KERNEL_ESP)]).toEqual([
      KERNEL_DS,
      0xc0107000,
    ]);
    expect(machine.call('SetLazyMode', { eax: LazyMode.NONE })).toBe(CALL.SetLazyMode);
  });

  test('leaving a mode with nothing queued does not ask', () => {
    machine.setPageWord(VcpuPage.LAZY_MODE, LazyMode.CPU);
    expect(machine.call('SetLazyMode', { eax: 0 })).toBe('done');
    expect(machine.pageWord(VcpuPage.LAZY_MODE)).toBe(0);
  });
});

describe('page-table entries', () => {
  const entry = { eax: 0x12345067, edx: (DATA + 0x40) | 0 };
  const queued = (): number[][] =>
    Array.from({ length: machine.pageWord(VcpuPage.QUEUE_COUNT) }, (_, i) => [
      machine.pageWord(VcpuPage.QUEUE + 8 * i),
      machine.pageWord(VcpuPage.QUEUE + 8 * i + 4),
    ]);

  test('SetPxE stores the entry and asks, outside lazy mode', () => {
    expect(machine.call('SetPxE', { ...entry, ecx: EntryFlag.PT })).toBe(CALL.SetPxE);
    expect(machine.memory.read32(machine.at(DATA + 0x40))).toBe(0x12345067);
    expect(machine.registers()).toMatchObject({ edx: DATA + 0x40, ecx: EntryFlag.PT, ...POISON });
    expect(queued()).toEqual([]);
    expect(machine.outcome(machine.run())).toBe('done');
  });

  for (const [why, mode, flags] of [
    ['in lazy MMU mode', LazyMode.MMU, EntryFlag.PT],
    ['with DEFER', LazyMode.NONE, EntryFlag.PT | EntryFlag.DEFER],
    ['with DEFER in lazy CPU mode', LazyMode.CPU, EntryFlag.PD | EntryFlag.DEFER | EntryFlag.CURRENT_AS],
  ] as const) {
    test(`both calls queue ${why}`, () => {
      machine.setPageWord(VcpuPage.LAZY_MODE, mode);
      expect(machine.call('SetPxE', { ...entry, ecx: flags })).toBe('done');
      expect(machine.memory.read32(machine.at(DATA + 0x40))).toBe(0x12345067);
      expect(machine.call('UpdatePxE', { eax: (DATA + 0x44) | 0, edx: flags })).toBe('done');
      expect(queued()).toEqual([
        [DATA + 0x40, flags],
        [DATA + 0x44, flags],
      ]);
      expect(machine.memory.read32(machine.at(DATA + 0x44))).toBe(0);
      expect(machine.pageWord(VmiPage.UPDATES_QUEUED)).toBe(2);
      expect(machine.registers()).toMatchObject(POISON);
    });
  }

  test('lazy CPU mode alone queues no entry, nor does UpdatePxE without a mode', () => {
    machine.setPageWord(VcpuPage.LAZY_MODE, LazyMode.CPU);
    expect(machine.call('SetPxE', { ...entry, ecx: EntryFlag.PT })).toBe(CALL.SetPxE);
    machine.setPageWord(VcpuPage.LAZY_MODE, LazyMode.NONE);
    expect(machine.call('UpdatePxE', { eax: DATA | 0, edx: EntryFlag.PT })).toBe(CALL.SetPxE);
    expect(machine.registers()).toMatchObject({ edx: DATA, ecx: EntryFlag.PT });
  });

  test('a full queue asks, and the entry that did not fit is queued behind the flush', () => {
    machine.setPageWord(VcpuPage.LAZY_MODE, LazyMode.MMU);
    for (let i = 0; i < VcpuPage.QUEUE_ENTRIES; i++) {
      expect(machine.call('SetPxE', { eax: i, edx: (DATA + 4 * i) | 0, ecx: EntryFlag.PT })).toBe('done');
    }
    expect(machine.call('SetPxE', { eax: 7, edx: (DATA + 0x400) | 0, ecx: EntryFlag.PT })).toBe(CALL.SetPxE);
    expect(machine.memory.read32(machine.at(DATA + 0x400))).toBe(7);
    machine.setPageWord(VcpuPage.QUEUE_COUNT, 0);
    expect(machine.outcome(machine.run())).toBe('done');
    expect(queued()).toEqual([[DATA + 0x400, EntryFlag.PT]]);
    expect(machine.call('SetLazyMode', { eax: 0 })).toBe(CALL.SetLazyMode);
  });
});

describe('IRET', () => {
  const ALL = { eax: 0xa5a5a5a5, ecx: 0xc5c5c5c5, edx: 0xd5d5d5d5 };
  const SITE = 0xc0104100;

  /** A frame on the stack, and the return address of the site's CALL below it. */
  const iret = (...frame: number[]) => {
    machine.nullDataSegments();
    machine.setRegisters({ ...ALL, ...POISON });
    machine.push(...frame.reverse(), SITE + 5);
    machine.thread.s[S.EIP] = (ROM_LINEAR + machine.rom.entries.get(CALL.IRET)!) | 0;
    return machine.outcome(machine.run());
  };

  for (const cs of [KERNEL_CS, KERNEL_CS | 1]) {
    for (const flagIf of [0, Flag.IF]) {
      test(`to the kernel, CS ${cs.toString(16)}, IF ${flagIf}`, () => {
        machine.setPageWord(VcpuPage.VIF, flagIf ? 0 : 0x200);
        expect(iret(LANDING, cs, flagIf | Flag.CF | Flag.DF)).toBe('done');
        expect(machine.pageWord(VcpuPage.VIF)).toBe(flagIf);
        expect(machine.thread.s[S.CPL]).toBe(1);
        expect(machine.thread.s[segSelector(Seg.CS)]).toBe(KERNEL_CS | 1);
        expect(machine.registers()).toEqual({ ...ALL, ...POISON, esp: STACK_TOP });
        // Hardware's own IF stays set.
        expect(machine.thread.readEflags()).toBe(Flag.IF | Flag.CF | Flag.DF | Flag.FIXED);
      });
    }
  }

  test('to user mode: user stack and segments, interrupts on', () => {
    expect(iret(USER_CODE, USER_CS, Flag.IF | Flag.ZF, USER_STACK_TOP - 64, USER_DS)).toBe('done');
    expect(machine.thread.s[S.CPL]).toBe(3);
    expect(machine.thread.s[segSelector(Seg.SS)]).toBe(USER_DS);
    expect(machine.registers()).toEqual({ ...ALL, ...POISON, esp: USER_STACK_TOP - 64 });
    expect(machine.pageWord(VcpuPage.VIF)).toBe(0x200);
  });

  test('IOPL and hardware IF are not restored from the image', () => {
    expect(iret(LANDING, KERNEL_CS | 1, 0x3000)).toBe('done');
    expect(machine.thread.readEflags() & (Flag.IOPL | Flag.IF)).toBe(Flag.IF);
  });

  test('with an interrupt waiting the monitor gets the frame as it was', () => {
    for (const frame of [
      [LANDING, KERNEL_CS | 1, Flag.IF],
      [USER_CODE, USER_CS, Flag.IF, USER_STACK_TOP, USER_DS],
    ]) {
      machine = new RomMachine();
      machine.setPageWord(VcpuPage.PENDING, 1);
      expect(iret(...frame)).toBe(CALL.IRET);
      expect(frame.map((_, i) => machine.stackWord(4 * i))).toEqual(frame);
      expect(machine.registers()).toMatchObject({ ...ALL, ...POISON });
      expect(machine.pageWord(VmiPage.RETURN_SITE)).toBe(SITE + 5);
    }
  });

  test('with interrupts staying off, one that waits goes on waiting', () => {
    machine.setPageWord(VcpuPage.PENDING, 1);
    expect(iret(LANDING, KERNEL_CS | 1, 0)).toBe('done');
    expect(machine.pageWord(VcpuPage.VIF)).toBe(0);
  });

  test('a VM86 frame goes to the monitor', () => {
    expect(iret(LANDING, KERNEL_CS, Flag.VM | Flag.IF)).toBe(CALL.IRET);
  });

  test('a bad frame faults at one of the known instructions, with ESP at the frame', () => {
    const exit = iret(USER_CODE, 0x2b, Flag.IF, USER_STACK_TOP, USER_DS);
    expect(exit).toMatchObject({ kind: 'monitor', vector: 13, errorCode: 0x28 });
    expect(machine.rom.realIrets).toContain((machine.thread.s[S.EIP]! - ROM_LINEAR) >>> 0);
    expect(machine.stackWord(0)).toBe(USER_CODE);
  });

  test('every instruction between the first test and the real IRET lies in the restart range, and restarting is exact', () => {
    for (const frame of [
      [USER_CODE, USER_CS, Flag.IF, USER_STACK_TOP, USER_DS],
      [LANDING, KERNEL_CS, Flag.IF],
    ]) {
      const range = new RomMachine().rom.restartRanges.find(({ name }) => name === 'iret')!;
      for (let cut = 1; cut < 12; cut++) {
        machine = new RomMachine();
        machine.nullDataSegments();
        machine.setRegisters({ ...ALL, ...POISON });
        machine.push(...[...frame].reverse(), SITE + 5);
        machine.thread.s[S.EIP] = (ROM_LINEAR + machine.rom.entries.get(CALL.IRET)!) | 0;
        for (let i = 0; i < cut; i++) expect(machine.thread.step().kind).toBe('stepped');
        const offset = (machine.thread.s[S.EIP]! - ROM_LINEAR) >>> 0;
        if (offset > machine.rom.bytes.length) break;
        expect(offset >= range.from && offset < range.to, `offset ${offset.toString(16)}`).toBe(true);
        machine.setPageWord(VcpuPage.VIF, 0);
        machine.thread.s[S.EIP] = (ROM_LINEAR + range.restart) | 0;
        expect(machine.outcome(machine.run())).toBe('done');
        expect(machine.registers()).toMatchObject({ ...ALL, ...POISON });
        expect(machine.pageWord(VcpuPage.VIF)).toBe(0x200);
      }
    }
  });
});

describe('SYSEXIT', () => {
  const sysexit = () => {
    machine.nullDataSegments();
    machine.setPageWord(VmiPage.USER_CS, USER_CS);
    machine.setPageWord(VmiPage.USER_SS, USER_DS);
    machine.thread.writeEflags(Flag.IF | Flag.FIXED | Flag.CF);
    machine.setRegisters({ ...POISON, eax: 0x77, edx: USER_CODE, ecx: (USER_STACK_TOP - 16) | 0 });
    machine.push(0xc0104105);
    machine.thread.s[S.EIP] = (ROM_LINEAR + machine.rom.entries.get(CALL.SYSEXIT)!) | 0;
    return machine.outcome(machine.run());
  };

  test('leaves to user mode with interrupts on and all registers but ESP', () => {
    expect(sysexit()).toBe('done');
    expect(machine.thread.s[S.CPL]).toBe(3);
    expect(machine.pageWord(VcpuPage.VIF)).toBe(0x200);
    const { eax, esp, edx } = machine.registers();
    expect({ eax, esp, edx }).toEqual({ eax: 0x77, esp: USER_STACK_TOP - 16, edx: USER_CODE });
    expect(machine.registers()).toMatchObject(POISON);
    expect(machine.thread.readEflags() & Flag.CF).toBe(Flag.CF);
  });

  test('with an interrupt waiting it becomes an IRET frame for the monitor', () => {
    machine.setPageWord(VcpuPage.PENDING, 1);
    expect(sysexit()).toBe(CALL.IRET);
    expect([0, 4, 12, 16].map(at => machine.stackWord(at))).toEqual([USER_CODE, USER_CS, USER_STACK_TOP - 16, USER_DS]);
    expect(machine.stackWord(8) & Flag.IF).toBe(Flag.IF);
  });
});

describe('hypercall stubs', () => {
  for (const { name, index, how } of CALLS.filter(call => call.how === 'hypercall')) {
    test(`${name} (${index}) asks with its registers and stack arguments in place, then returns`, () => {
      expect(how).toBe('hypercall');
      machine.push(0x22222222, 0x11111111);
      const registers = { eax: 0xaaaa0001, ecx: 0xcccc0001, edx: 0xdddd0001 };
      expect(machine.call(name, registers)).toBe(index);
      expect(machine.registers()).toEqual({ ...registers, ...POISON, esp: STACK_TOP - 12 });
      expect([4, 8].map(at => machine.stackWord(at))).toEqual([0x11111111, 0x22222222]);
      expect(machine.outcome(machine.run())).toBe('done');
      expect(machine.registers().esp).toBe(STACK_TOP - 8);
    });
  }
});

describe('direct gates', () => {
  const VECTOR = 0x80;
  const openGate = (slot: number) => {
    machine.gate(VECTOR, KERNEL_CS | 1, ROM_LINEAR + machine.rom.gates[slot]!, 3);
    machine.setPageWord(VmiPage.HANDLERS + 4 * slot, LANDING);
    const code = Uint8Array.of(0xcd, VECTOR);
    machine.memory.writeBytes(machine.at(USER_CODE), code);
    machine.memory.writeBytes(machine.at(DATA), code);
  };

  for (const slot of [0, 3, 7]) {
    test(`slot ${slot}: from user mode the frame is hardware's, and no register or data segment is touched`, () => {
      openGate(slot);
      machine.enterUser(USER_CODE);
      machine.nullDataSegments();
      machine.setRegisters({ ...POISON, eax: 20, ecx: 1, edx: 2 });
      expect(machine.outcome(machine.run())).toBe('done');
      expect(machine.thread.s[S.CPL]).toBe(1);
      expect(machine.registers()).toEqual({ eax: 20, ecx: 1, edx: 2, ...POISON, esp: ESP1 - 20 });
      expect([0, 4, 8, 12, 16].map(at => machine.stackWord(at))).toEqual([
        USER_CODE + 2,
        USER_CS,
        Flag.IF | Flag.FIXED,
        USER_STACK_TOP,
        USER_DS,
      ]);
    });
  }

  for (const vif of [0, 0x200]) {
    test(`from ring 1 with VIF ${vif} the image shows the virtual flag`, () => {
      openGate(5);
      machine.nullDataSegments();
      machine.setPageWord(VcpuPage.VIF, vif);
      machine.setRegisters({ ...POISON, eax: 0x99 });
      machine.thread.s[S.EIP] = DATA | 0;
      expect(machine.outcome(machine.run())).toBe('done');
      expect(machine.stackWord(0)).toBe(DATA + 2);
      expect(machine.stackWord(4)).toBe(KERNEL_CS | 1);
      expect(machine.stackWord(8) & Flag.IF).toBe(vif);
      expect(machine.registers()).toMatchObject({ eax: 0x99, ...POISON, esp: STACK_TOP - 12 });
    });
  }
});
