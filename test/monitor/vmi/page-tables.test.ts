import { describe, expect, test } from 'vitest';
import { VcpuPage } from '../../../src/hypervisor/monitor/vcpu-page.js';
import { DONE, REPORT, run } from './snippets.js';
import { KERNEL, KERNEL_STACK_TOP, USER_LINEAR, USER_STACK_TOP, USER_TABLE, VmiMachine } from './vmi-machine.js';

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
