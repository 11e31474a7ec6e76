import { describe, expect, test } from 'vitest';
import { Seg } from '../../../src/hypervisor/machine/cpu/state.js';
import { DONE, REPORT, run } from './snippets.js';
import { DATA, GDT, IDT, KERNEL, KERNEL_STACK_TOP, VmiMachine } from './vmi-machine.js';

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
