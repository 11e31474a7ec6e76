import { describe, expect, test } from 'vitest';
import { Cr0, Flag, Seg } from '../../../src/hypervisor/machine/cpu/state.js';
import { GUEST_LIMIT_VMI, VCPU_PAGE_LINEAR } from '../../../src/hypervisor/monitor/hole.js';
import { VcpuPage } from '../../../src/hypervisor/monitor/vcpu-page.js';
import { CALLS } from '../../../src/hypervisor/monitor/vmi/calls.js';
import { HYPERCALLS } from '../../../src/hypervisor/monitor/vmi/hypercalls.js';
import { buildVmiRom, INIT_CALL } from '../../../src/hypervisor/monitor/vmi/rom.js';
import {
  DATA,
  GDT,
  IDT,
  KERNEL,
  KERNEL_STACK_TOP,
  KERNEL_TABLE,
  ROM_LINEAR,
  USER_LINEAR,
  USER_STACK_TOP,
  USER_TABLE,
  VmiMachine,
} from './vmi-machine.js';

/** Into user mode at USER_LINEAR, interrupts on. */
const TO_USER = `
  mov eax, 0x68
  mov edx, ${KERNEL + KERNEL_STACK_TOP}
  call UpdateKernelStack
  push 0x7b
  push ${USER_STACK_TOP}
  push 0x202
  push 0x73
  push USER_LINEAR
  call IRET`;
const REPORT = 'out 0xe9, eax';
const DONE = 'out 0xf4, al';
/** Reports EIP, CS and EFLAGS.IF of an exception without error code, then ends. */
const FATAL = (label: string) => `
  ${label}:
    pop eax
    ${REPORT}
    pop eax
    ${REPORT}
    pop eax
    ${REPORT}
    ${DONE}`;

function run(machine: VmiMachine): number[] {
  const result = machine.run();
  expect(machine.done, `${JSON.stringify(result)} ${machine.log.join(' | ')} reports ${machine.reports}`).toBe(true);
  expect(machine.audit()).toEqual([]);
  machine.vcpu.checkAccount(0);
  return machine.reports;
}

test('every hypercall of the ROM has its handler, and no other', () => {
  const asked = new Set([...buildVmiRom().sites.values()].filter(index => index !== INIT_CALL));
  expect(new Set(HYPERCALLS.keys())).toEqual(asked);
  for (const [index, { name }] of HYPERCALLS) expect(CALLS[index]!.name).toBe(name);
});

describe('running directly', () => {
  test('the kernel finds itself at CPL 1 behind Init, with EAX 0', () => {
    const machine = new VmiMachine({
      kernel: `${REPORT}\n mov eax, cs\n ${REPORT}\n mov eax, ss\n ${REPORT}\n ${DONE}`,
    });
    machine.activate();
    expect(run(machine)).toEqual([0, 0x61, 0x69]);
  });

  test('system calls and divide errors enter ring 1 without the monitor and return through the ROM', () => {
    const machine = new VmiMachine({
      kernel: `${TO_USER}
        syscall: inc ebx
                 call IRET
        divide:  add dword [esp], 2
                 inc esi
                 call IRET
        end:     mov eax, ebx
                 ${REPORT}
                 mov eax, esi
                 ${REPORT}
                 ${DONE}`,
      user: `xor ebx, ebx
             xor esi, esi
             mov edi, 100
      again: int 0x80
             xor ecx, ecx
             div ecx
             dec edi
             jnz again
             int 0x81`,
      gates: { 0: 'divide', 128: 'syscall', 129: 'end' },
    });
    expect(machine.technique.directVectors).toEqual([0, 0x80, 0x81]);
    expect(run(machine)).toEqual([100, 100]);
    expect(machine.vm.counters.syscallsForwarded).toBe(0);
    expect(machine.vm.counters.forwardedFaults).toBe(0);
    // UpdateKernelStack alone.
    expect(machine.vm.counters.hypercalls).toBe(1);
    expect(machine.vm.causes.hypercall).toBeGreaterThan(0);
  });

  test('an interrupt gate goes through the monitor, which clears the virtual flag', () => {
    const machine = new VmiMachine({
      kernel: `${TO_USER}
        syscall: call GetInterruptMask
                 ${REPORT}
                 mov eax, [esp+8]
                 and eax, 0x200
                 ${REPORT}
                 ${DONE}`,
      user: 'int 0x80',
      gates: { 128: 'syscall/irq' },
    });
    expect(machine.technique.directVectors).toEqual([]);
    expect(run(machine)).toEqual([0, 0x200]);
    expect(machine.vm.counters.syscallsForwarded).toBe(1);
  });

  test('a fault of the kernel with interrupts off shows IF clear in its frame, through a direct gate', () => {
    const machine = new VmiMachine({
      kernel: `call EnableInterrupts
               call DisableInterrupts
        here:  ud2
        ${FATAL('invalid')}`,
      gates: { 6: 'invalid' },
    });
    expect(machine.technique.directVectors).toEqual([6]);
    const [eip, cs, flags] = run(machine);
    expect(eip).toBe(machine.labels.get('here'));
    expect(cs).toBe(0x61);
    expect(flags! & Flag.IF).toBe(0);
  });

  test('SYSENTER is forwarded to the guest’s MSRs', () => {
    const machine = new VmiMachine({
      kernel: `mov ecx, 0x174
               mov eax, 0x60
               xor edx, edx
               wrmsr
               mov ecx, 0x175
               mov eax, ${KERNEL + KERNEL_STACK_TOP}
               wrmsr
               mov ecx, 0x176
               mov eax, enter
               wrmsr
               ${TO_USER}
        enter: mov eax, cs
               ${REPORT}
               mov ecx, ${USER_STACK_TOP}
               mov edx, after
               call SYSEXIT
        after: dd 0
        end:   ${DONE}`,
      user: 'sysenter',
      gates: { 14: 'end' },
    });
    // `after` is a kernel address: user code there faults, which ends the test.
    expect(run(machine)).toEqual([0x61]);
    expect(machine.vm.counters.syscallsForwarded).toBe(1);
    expect(machine.vm.counters.trappedInstructions).toBeGreaterThanOrEqual(3);
  });
});

describe('privileged instructions that are left', () => {
  test('are emulated at CPL 1, and POPF at CPL 1 does not change the virtual flag', () => {
    const machine = new VmiMachine({
      kernel: `mov eax, cr0
               ${REPORT}
               mov eax, cr3
               ${REPORT}
               sti
               call GetInterruptMask
               ${REPORT}
               cli
               call GetInterruptMask
               ${REPORT}
               push 0x202
               popfd
               call GetInterruptMask
               ${REPORT}
               in al, 5
               movzx eax, al
               ${REPORT}
               ${DONE}`,
    });
    expect(run(machine)).toEqual([(Cr0.PE | Cr0.PG | Cr0.WP | Cr0.ET) >>> 0, 0x1000, 0x200, 0, 0, 15]);
    expect(machine.vm.causes.trap).toBeGreaterThan(0);
  });

  test('user code gets the #GP that it would get on hardware', () => {
    const machine = new VmiMachine({
      kernel: `${TO_USER}
        gp: pop eax
            ${REPORT}
            ${FATAL('rest')}`,
      user: 'nop\n cli',
      gates: { 13: 'gp' },
    });
    const [code, eip, cs, flags] = run(machine);
    expect([code, eip, cs]).toEqual([0, USER_LINEAR + 1, 0x73]);
    expect(flags! & Flag.IF).toBe(Flag.IF);
  });
});

describe('guarding the monitor', () => {
  const gpFrame = `
    gp: pop eax
        ${REPORT}
        pop eax
        ${REPORT}
        ${DONE}`;

  test('ring 1 reaches the vCPU page and nothing behind it', () => {
    const machine = new VmiMachine({
      kernel: `mov eax, [${VCPU_PAGE_LINEAR + VcpuPage.CR3}]
               ${REPORT}
               mov eax, [${GUEST_LIMIT_VMI - 3}]
        bad:   mov eax, [${GUEST_LIMIT_VMI - 2}]
               ${gpFrame}`,
      gates: { 13: 'gp' },
    });
    expect(run(machine)).toEqual([0x1000, 0, machine.labels.get('bad')]);
  });

  test('user code does not reach the vCPU page', () => {
    const machine = new VmiMachine({
      kernel: `${TO_USER}
        pf: pop eax
            ${REPORT}
            call GetCR2
            ${REPORT}
            ${DONE}`,
      user: `mov eax, [${VCPU_PAGE_LINEAR}]`,
      gates: { 14: 'pf' },
    });
    const [code, cr2] = run(machine);
    expect(code! & 6).toBe(4);
    expect(cr2).toBe(VCPU_PAGE_LINEAR);
  });

  test('user code that executes the hypercall vector gets what its own IDT says', () => {
    const closed = new VmiMachine({ kernel: `${TO_USER} ${gpFrame}`, user: 'int 0xf1', gates: { 13: 'gp' } });
    expect(run(closed)).toEqual([0xf1 * 8 + 2, USER_LINEAR]);
    const open = new VmiMachine({
      kernel: `${TO_USER}
        mine: pop eax
              ${REPORT}
              ${DONE}`,
      user: 'int 0xf1',
      gates: { 241: 'mine' },
    });
    expect(run(open)).toEqual([USER_LINEAR + 2]);
    expect(open.vm.counters.hypercalls).toBe(1);
  });

  test('the kernel’s own INT 0xF1 outside the ROM is an INT, not a hypercall', () => {
    const machine = new VmiMachine({
      kernel: `int 0xf1
        mine: pop eax
              ${REPORT}
              ${DONE}`,
      gates: { 241: 'mine' },
    });
    expect(run(machine)).toEqual([machine.labels.get('mine')]);
    expect(machine.vm.counters.hypercalls).toBe(0);
  });

  test('a queue count that the kernel made up does not hurt', () => {
    const machine = new VmiMachine({
      kernel: `mov dword [${VCPU_PAGE_LINEAR + VcpuPage.QUEUE_COUNT}], -1
               xor eax, eax
               call SetLazyMode
               mov dword [${VCPU_PAGE_LINEAR + VcpuPage.QUEUE_COUNT}], 0x7fffffff
               mov eax, 1
               call FlushTLB
               ${DONE}`,
    });
    run(machine);
  });
});

describe('returns through IRET', () => {
  test('a frame that the processor refuses faults at the call site with interrupts off', () => {
    const machine = new VmiMachine({
      kernel: `push 0x7b
               push ${USER_STACK_TOP}
               push 0x202
               push 0x2b
               push USER_LINEAR
        site:  call IRET
        gp:    pop eax
               ${REPORT}
               ${FATAL('rest')}`,
      gates: { 13: 'gp' },
    });
    const [code, eip, cs, flags] = run(machine);
    expect([code, eip, cs]).toEqual([0x28, machine.labels.get('site'), 0x61]);
    expect(flags! & Flag.IF).toBe(0);
  });

  test('with an interrupt waiting, the interrupt comes on top of the context returned to, not on the frame', () => {
    const machine = new VmiMachine({
      kernel: `mov ebp, esp
               push 0x202
               push 0x60
               push target
               call IRET
       target: mov eax, esp
               sub eax, ebp
               ${REPORT}
               ${DONE}
         irq:  mov eax, [esp]
               ${REPORT}
               mov eax, [esp+4]
               ${REPORT}
               call GetInterruptMask
               ${REPORT}
               call IRET`,
      gates: { 32: 'irq/irq' },
    });
    machine.raiseInterrupt();
    expect(run(machine)).toEqual([machine.labels.get('target'), 0x61, 0, 0]);
    expect(machine.vm.counters.injections).toBe(1);
  });

  test('to user mode with an interrupt waiting', () => {
    const machine = new VmiMachine({
      kernel: `${TO_USER}
         irq:  mov eax, [esp]
               ${REPORT}
               mov eax, esp
               ${REPORT}
               ${DONE}`,
      user: 'nop\n nop',
      gates: { 32: 'irq/irq' },
    });
    machine.raiseInterrupt();
    expect(run(machine)).toEqual([USER_LINEAR, KERNEL + KERNEL_STACK_TOP - 20]);
  });
});

describe('interrupts', () => {
  const gates = { 32: 'irq/irq' };

  test('enabling delivers what waits before the call returns', () => {
    const machine = new VmiMachine({
      kernel: `xor ebx, ebx
               call DisableInterrupts
               call EnableInterrupts
               mov eax, ebx
               ${REPORT}
               ${DONE}
         irq:  inc ebx
               call IRET`,
      gates,
    });
    machine.raiseInterrupt();
    expect(run(machine)).toEqual([1]);
  });

  test('Halt enables and sleeps; a one-shot alarm on real time wakes it', () => {
    const machine = new VmiMachine({
      kernel: `xor ebx, ebx
               xor eax, eax
               call GetCycleCounter
               add eax, 1000000
               adc edx, 0
               mov esi, eax
               mov ecx, edx
               mov edx, eax
               push 0
               push 0
               xor eax, eax
               call SetAlarm
               add esp, 8
               call Halt
               mov eax, ebx
               ${REPORT}
               xor eax, eax
               call GetCycleCounter
               sub eax, esi
               ${REPORT}
               xor eax, eax
               call CancelAlarm
               ${REPORT}
               ${DONE}
         irq:  inc ebx
               call IRET`,
      gates,
    });
    const [interrupts, late, cancelled] = run(machine);
    expect(interrupts).toBe(1);
    expect(late).toBeGreaterThan(0);
    expect(late).toBeLessThan(20_000);
    expect(cancelled).toBe(0);
  });

  test('a periodic alarm interrupts running code at its rate, in phase with its first expiry', () => {
    const machine = new VmiMachine({
      kernel: `xor ebx, ebx
               push 0
               push 40000
               mov eax, 0x101
               xor edx, edx
               xor ecx, ecx
               call SetAlarm
               add esp, 8
               call EnableInterrupts
         spin: cmp ebx, 5
               jb spin
               mov eax, 1
               call CancelAlarm
               ${REPORT}
               ${DONE}
         irq:  inc ebx
               xor eax, eax
               call GetCycleCounter
               ${REPORT}
               call IRET`,
      gates,
    });
    const times = run(machine);
    expect(times.pop()).toBe(1);
    expect(times.length).toBe(5);
    expect(machine.vm.counters.injections).toBe(5);
    // The first fires at once; the others follow multiples of the period closely.
    for (const time of times.slice(1)) expect(time % 40_000).toBeLessThan(3000);
    const periods = times.map(time => Math.floor(time / 40_000));
    for (let i = 1; i < 5; i++) expect(periods[i]! - periods[i - 1]!).toBe(1);
  });

  test('stolen time is shown and taken off AVAILABLE', () => {
    const machine = new VmiMachine({
      kernel: `mov eax, 2
               call GetCycleCounter
               ${REPORT}
               mov eax, edx
               ${REPORT}
               ${DONE}`,
    });
    machine.activate();
    machine.stolen.stolenCycles = 0x3_0000_0007;
    expect(run(machine)).toEqual([7, 3]);
  });
});

describe('page tables', () => {
  const pte = (page: number) => KERNEL + USER_TABLE + 4 * page;
  /** Reports a page fault's error code and CR2 and goes on two bytes behind a `mov al, [ebx]`. */
  const PAGE_FAULT = `
    pf: pop eax
        ${REPORT}
        call GetCR2
        ${REPORT}
        add dword [esp], 2
        call IRET`;
  const READ = 'mov al, [ebx]';

  test('entries of a boot table, which is traced, change by SetPxE and by UpdatePxE', () => {
    const machine = new VmiMachine({
      kernel: `mov dword [DATA], 0x11
               mov dword [DATA+0x1000], 0x22
               mov ebx, ${USER_LINEAR + 0x5000}
               ${READ}
               mov eax, 0x30067
               mov edx, ${pte(5)}
               mov ecx, 1
               call SetPxE
               mov eax, [ebx]
               ${REPORT}
               mov dword [${pte(5)}], 0x31067
               mov eax, ${pte(5)}
               mov edx, ${0x11 + USER_LINEAR + 0x5000}
               call UpdatePxE
               mov eax, ebx
               call InvalPage
               mov eax, [ebx]
               ${REPORT}
               ${DONE}
               ${PAGE_FAULT}`,
      gates: { 14: 'pf/irq' },
    });
    expect(run(machine)).toEqual([0, USER_LINEAR + 0x5000, 0x11, 0x22]);
    expect(machine.vm.counters.traceFaults).toBeGreaterThan(0);
  });

  test('an announced table is written without traces, in lazy mode with one hypercall for the batch', () => {
    const machine = new VmiMachine({
      kernel: `mov eax, 0x50
               mov edx, 0x41
               push 0
               push 0
               xor ecx, ecx
               call AllocatePage
               add esp, 8
               mov eax, 0x50067
               mov edx, ${KERNEL + 0x1000 + 4 * 0x30}
               mov ecx, 2
               call SetPxE
               mov eax, 1
               call SetLazyMode
               xor ebp, ebp
         fill: lea eax, [ebp+0x30]
               shl eax, 12
               or eax, 0x67
               lea edx, [ebp*4+${KERNEL + 0x50000}]
               mov ecx, 1
               call SetPxE
               inc ebp
               cmp ebp, 100
               jb fill
               xor eax, eax
               call SetLazyMode
               mov dword [DATA+0x2000], 0x77
               mov eax, [0x0c002000]
               ${REPORT}
               ${DONE}`,
    });
    machine.activate();
    const before = { ...machine.vm.counters };
    expect(run(machine)).toEqual([0x77]);
    const { counters } = machine.vm;
    expect(counters.updatesQueued).toBe(100);
    // AllocatePage, the directory entry, and the flush.
    expect(counters.hypercalls - before.hypercalls).toBe(3);
    // The one trace is the boot directory's.
    expect(counters.traceFaults - before.traceFaults).toBe(1);
  });

  test('DEFER leaves the old mapping until the page is invalidated; a page fault applies what is queued', () => {
    const machine = new VmiMachine({
      kernel: `mov eax, 0x50
               mov edx, 0x41
               push 0
               push 0
               xor ecx, ecx
               call AllocatePage
               add esp, 8
               mov dword [${KERNEL + 0x50000}], 0x30067
               mov dword [${KERNEL + 0x50004}], 0x31067
               mov eax, 0x50067
               mov edx, ${KERNEL + 0x1000 + 4 * 0x30}
               mov ecx, 2
               call SetPxE
               mov ebx, 0x0c000000
               ${READ}
               mov ebx, 0x0c001000
               ${READ}
               xor eax, eax
               mov edx, ${KERNEL + 0x50000}
               mov ecx, 0x21
               call SetPxE
               mov eax, 0x0c000000
               call InvalPage
               mov ebx, 0x0c000000
               ${READ}
               xor eax, eax
               mov edx, ${KERNEL + 0x50004}
               mov ecx, 0x21
               call SetPxE
               mov ebx, 0x0c005000
               ${READ}
               mov ebx, 0x0c001000
               ${READ}
               ${DONE}
               ${PAGE_FAULT}`,
      gates: { 14: 'pf/irq' },
    });
    expect(run(machine)).toEqual([0, 0x0c000000, 0, 0x0c005000, 0, 0x0c001000]);
  });

  test('ReleasePage of unknown pages, repeated AllocatePage and pages beyond RAM are accepted', () => {
    const call = (name: string, pfn: number, flags: number) => `
      push 0
      push 0
      mov eax, ${pfn}
      mov edx, ${flags}
      xor ecx, ecx
      call ${name}
      add esp, 8`;
    const machine = new VmiMachine({
      kernel: [
        call('ReleasePage', 0x77, 0x41),
        call('AllocatePage', 0x50, 0x41),
        call('AllocatePage', 0x50, 0x41),
        call('AllocatePage', 0x50, 0x42),
        call('ReleasePage', 0x50, 0x42),
        call('ReleasePage', 0x50, 0x41),
        call('AllocatePage', 0xfffff, 0x41),
        call('AllocatePage', 0x12345678, 0x62),
        call('ReleasePage', 0xc0, 0x41),
        call('AllocatePage', 0xc0, 0x41),
        call('AllocatePage', 0x51, 0x72),
        DONE,
      ].join('\n'),
    });
    run(machine);
  });

  /** `flags` and entry range of AllocatePage for the new directory. */
  const contextSwitch = (flags: number, first: number, count: number) =>
    new VmiMachine({
      kernel: `mov edi, ${KERNEL + 0x51000}
               mov esi, ${KERNEL + 0x1000}
               mov ecx, 1024
               cld
               rep movsd
               mov eax, 0x51
               mov edx, ${flags}
               push ${count}
               push ${first}
               mov ecx, 1
               call AllocatePage
               add esp, 8
               mov eax, 2
               call SetLazyMode
               mov eax, 0x51000
               call SetCR3
               mov eax, 0x68
               mov edx, ${KERNEL + KERNEL_STACK_TOP - 0x400}
               call UpdateKernelStack
               xor eax, eax
               call SetLazyMode
               push 0x7b
               push ${USER_STACK_TOP}
               push 0x202
               push 0x73
               push USER_LINEAR
               call IRET
         sys:  mov eax, esp
               ${REPORT}
               call GetCR3
               ${REPORT}
               mov eax, cr3
               ${REPORT}
               ${DONE}`,
      user: 'int 0x80',
      gates: { 128: 'sys' },
    });

  test('a context switch in lazy CPU mode costs one hypercall, and the new stack and directory are in force', () => {
    const machine = contextSwitch(0x62, 768, 256);
    expect(run(machine)).toEqual([KERNEL + KERNEL_STACK_TOP - 0x400 - 20, 0x51000, 0x51000]);
    expect(machine.vm.counters.hypercalls).toBe(2);
  });

  test('CLONE spares the new address space its hidden faults in the kernel, and may lie about its range', () => {
    const hidden = (flags: number, first: number, count: number) => {
      const machine = contextSwitch(flags, first, count);
      run(machine);
      return machine.vm.counters.hiddenFaults;
    };
    const without = hidden(0x42, 0, 0);
    expect(hidden(0x62, 768, 256)).toBe(without - 1);
    expect(hidden(0x62, 0, 768)).toBeLessThanOrEqual(without);
    expect(hidden(0x62, 1000, 0x7fffffff)).toBe(without);
    expect(hidden(0x62, -1, 5)).toBe(without);
  });

  test('SetLinearMapping replaces the walk, and may exceed RAM', () => {
    const machine = new VmiMachine({
      kernel: `push 0
               xor eax, eax
               mov edx, ${KERNEL}
               mov ecx, 0x40000
               call SetLinearMapping
               add esp, 4
               mov eax, 0x30067
               mov edx, ${pte(6)}
               mov ecx, 1
               call SetPxE
               mov dword [DATA], 0x99
               mov eax, [${USER_LINEAR + 0x6000}]
               ${REPORT}
               push 5
               mov eax, 4
               call SetLinearMapping
               ${DONE}`,
    });
    expect(run(machine)).toEqual([0x99]);
    const page = machine.vcpu.page + VcpuPage.LINEAR_MAP;
    expect([0, 4, 8].map(at => machine.memory.read32(page + at))).toEqual([KERNEL, 0x40000, 0]);
  });
});

describe('descriptor tables', () => {
  test('GetGDT, GetIDT and GetTR answer with the guest’s own', () => {
    const machine = new VmiMachine({
      kernel: `mov eax, DATA
               call GetGDT
               mov eax, DATA+8
               call GetIDT
               call GetTR
               ${REPORT}
               ${DONE}`,
    });
    expect(run(machine)).toEqual([0x80]);
    const table = (at: number) => [machine.read32(at) & 0xffff, machine.vcpu.physical.read(at + 2, 4)];
    expect(table(DATA)).toEqual([0xff, KERNEL + GDT]);
    expect(table(DATA + 8)).toEqual([0x7ff, KERNEL + IDT]);
  });

  test('WriteGDTEntry makes a TLS segment, changes one that is loaded, and nulls one that became invalid', () => {
    const entry = (low: number, high: number) => `
      push ${high}
      mov eax, GDT
      mov edx, 6
      mov ecx, ${low}
      call WriteGDTEntry
      add esp, 4`;
    const machine = new VmiMachine({
      kernel: `mov dword [DATA], 0x1111
               mov dword [DATA+0x1000], 0x2222
               ${entry(0x0000ffff, 0xc040f203 | 0)}
               mov eax, 0x33
               mov gs, eax
               mov eax, gs:[0]
               ${REPORT}
               ${entry(0x1000ffff, 0xc040f203 | 0)}
               mov eax, gs:[0]
               ${REPORT}
               ${entry(0, 0)}
               mov eax, gs
               ${REPORT}
               ${DONE}`,
    });
    expect(run(machine)).toEqual([0x1111, 0x2222, 0]);
    expect(machine.read32(GDT + 6 * 8)).toBe(0);
  });

  test('Write calls use the table they are given, loaded or not, whichever call it is', () => {
    const machine = new VmiMachine({
      kernel: `push 0x8f00ee00
               mov eax, DATA
               mov edx, 3
               mov ecx, 0x11112222
               call WriteLDTEntry
               mov eax, IDT
               mov edx, 6
               mov ecx, handler
               and ecx, 0xffff
               or ecx, 0x600000
               mov dword [esp], handler
               and dword [esp], 0xffff0000
               or dword [esp], 0x8f00
               call WriteGDTEntry
               ud2
      handler: mov eax, 1
               ${REPORT}
               ${DONE}`,
    });
    expect(run(machine)).toEqual([1]);
    expect([machine.read32(DATA + 24), machine.read32(DATA + 28)]).toEqual([0x11112222, 0x8f00ee00]);
    expect(machine.technique.directVectors).toEqual([6]);
  });

  test('SetGDT takes a table that was filled by direct stores, whole', () => {
    const machine = new VmiMachine({
      kernel: `mov esi, GDT
               mov edi, DATA
               mov ecx, 64
               cld
               rep movsd
               mov dword [DATA+0x38], 0x0000ffff
               mov dword [DATA+0x3c], 0xc040f203
               mov word [DATA+0x800], 0xff
               mov dword [DATA+0x802], DATA
               mov eax, DATA+0x800
               call SetGDT
               mov eax, 0x3b
               mov fs, eax
               mov eax, fs:[0x38]
               ${REPORT}
               ${DONE}`,
    });
    expect(run(machine)).toEqual([0xffff]);
    expect(machine.vcpu.selector(Seg.CS) & 0xffff).toBe(0x61);
  });

  test('SetIDT moves the gates, direct ones included', () => {
    const machine = new VmiMachine({
      kernel: `mov eax, other
               and eax, 0xffff
               or eax, 0x600000
               mov [DATA+0x30], eax
               mov eax, other
               and eax, 0xffff0000
               or eax, 0x8f00
               mov [DATA+0x34], eax
               mov word [DATA+0x800], 0x7ff
               mov dword [DATA+0x802], DATA
               mov eax, DATA+0x800
               call SetIDT
               ud2
        one:   ${DONE}
        other: mov eax, 2
               ${REPORT}
               ${DONE}`,
      gates: { 6: 'one' },
    });
    expect(run(machine)).toEqual([2]);
  });

  test('SetTR marks the TSS busy and adopts its stack; a wrong selector is #GP at the call', () => {
    const machine = new VmiMachine({
      kernel: `mov dword [GDT+0x84], 0xc0008900
               mov eax, 0x80
               call SetTR
               mov eax, 0x68
               call SetTR
        gp:    pop eax
               ${REPORT}
               ${DONE}`,
      gates: { 13: 'gp' },
    });
    expect(run(machine)).toEqual([0x68]);
    expect(machine.read32(GDT + 0x84)).toBe(0xc0008b00);
    expect(machine.vcpu.kernelStack).toEqual({ ss: 0x68, esp: (KERNEL + KERNEL_STACK_TOP) | 0 });
  });
});

describe('the rest', () => {
  test('port calls move values and strings and keep what they must', () => {
    const machine = new VmiMachine({
      kernel: `mov eax, 0x12345678
               mov edx, 0xe9
               call OUTL
               call OUTB
               mov edx, 7
               call INB
               ${REPORT}
               mov edi, DATA
               mov ecx, 3
               mov edx, 9
               cld
               call INSB
               mov eax, ecx
               ${REPORT}
               mov eax, edi
               ${REPORT}
               mov esi, DATA
               mov ecx, 3
               mov edx, 0xe9
               call OUTSB
               ${DONE}`,
    });
    expect(run(machine)).toEqual([0x12345678, 0x78, 0x12345615, 0, KERNEL + DATA + 3, 27, 27, 27]);
    expect(machine.read32(DATA)).toBe(0x1b1b1b);
  });

  test('the wall clock, cycle frequency, and power', () => {
    const machine = new VmiMachine({
      kernel: `call GetWallclockTime
               ${REPORT}
               mov eax, edx
               ${REPORT}
               call WallclockUpdated
               ${REPORT}
               call GetCycleFrequency
               ${REPORT}
               mov eax, 1
               call Reboot
               ${DONE}`,
    });
    const result = machine.run();
    expect(result.kind).toBe('halted');
    expect(machine.power).toEqual(['hard reset']);
    const [low, high, updated, frequency] = machine.reports;
    const ns = (BigInt(high!) << 32n) + BigInt(low!);
    expect(ns / 1_000_000_000n).toBe(1_200_000_000n);
    expect([updated, frequency]).toEqual([0, 3_000_000_000]);
  });

  test('Init a second time fails and changes nothing', () => {
    const machine = new VmiMachine({
      kernel: `call ${ROM_LINEAR + 0x80}
               ${REPORT}
               mov eax, cs
               ${REPORT}
               ${DONE}`,
    });
    expect(run(machine)).toEqual([0xffffffff, 0x61]);
  });

  test('UpdatePxE of an address that maps nothing is ignored', () => {
    const machine = new VmiMachine({
      kernel: `mov eax, 0x70000000
               mov edx, 1
               call UpdatePxE
               ${DONE}`,
    });
    run(machine);
    expect(machine.read32(KERNEL_TABLE)).toBe(0x63);
  });
});
