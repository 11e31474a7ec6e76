import { describe, expect, test } from 'vitest';
import { Cr0, Flag } from '../../../src/hypervisor/machine/cpu/state.js';
import { GUEST_LIMIT_VMI, VCPU_PAGE_LINEAR } from '../../../src/hypervisor/monitor/hole.js';
import { VcpuPage } from '../../../src/hypervisor/monitor/vcpu-page.js';
import { DONE, FATAL, REPORT, run, TO_USER } from './snippets.js';
import { KERNEL, KERNEL_STACK_TOP, USER_LINEAR, USER_STACK_TOP, VmiMachine } from './vmi-machine.js';

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
    // The hypercall itself; the two traps are the OUTs.
    expect([machine.vm.counters.hypercalls, machine.vm.counters.injections]).toEqual([1, 1]);
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
