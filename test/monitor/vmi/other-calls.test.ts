import { describe, expect, test } from 'vitest';
import { CALL, CALLS } from '../../../src/hypervisor/monitor/vmi/calls.js';
import { HYPERCALLS } from '../../../src/hypervisor/monitor/vmi/hypercalls.js';
import { buildVmiRom, INIT_CALL } from '../../../src/hypervisor/monitor/vmi/rom.js';
import { DONE, REPORT, run, TO_USER } from './snippets.js';
import { DATA, KERNEL, KERNEL_TABLE, ROM_LINEAR, USER_LINEAR, VmiMachine } from './vmi-machine.js';

test('every hypercall of the ROM has its handler, and no other', () => {
  const asked = new Set([...buildVmiRom().sites.values()].filter(index => index !== INIT_CALL));
  expect(new Set(HYPERCALLS.keys())).toEqual(asked);
  for (const [index, { name }] of HYPERCALLS) expect(CALLS[index]!.name).toBe(name);
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

  test('CPUID answers for the virtual processor, in four registers', () => {
    const machine = new VmiMachine({
      kernel: `mov eax, 1
               xor ecx, ecx
               call CPUID
               ${REPORT}
               mov eax, ebx
               ${REPORT}
               mov eax, ecx
               ${REPORT}
               mov eax, edx
               ${REPORT}
               ${DONE}`,
    });
    expect(run(machine)).toEqual([1, 2, 3, 4]);
  });

  test('RDMSR reads what WRMSR wrote; a register that does not exist is #GP in the ROM, with no stack word moved', () => {
    const machine = new VmiMachine({
      kernel: `mov ecx, 0x175
               mov eax, 0x89abcdef
               xor edx, edx
               call WRMSR
               xor eax, eax
               call RDMSR
               ${REPORT}
               mov ecx, 0x12345
               call RDMSR
      refused: pop ecx
               pop eax
               ${REPORT}
               ${DONE}`,
      gates: { 13: 'refused' },
    });
    const [esp, site] = run(machine);
    expect(esp).toBe(0x89abcdef);
    expect(buildVmiRom().sites.get(site! + 2 - ROM_LINEAR)).toBe(CALL.RDMSR);
  });

  test('GetLDT answers with the selector that SetLDT loaded', () => {
    const machine = new VmiMachine({
      kernel: `push 0xc0008203
               mov eax, GDT
               mov edx, 17
               mov ecx, 0x0000001f
               call WriteGDTEntry
               add esp, 4
               mov eax, 0x88
               call SetLDT
               call GetLDT
               ${REPORT}
               xor eax, eax
               call SetLDT
               call GetLDT
               ${REPORT}
               ${DONE}`,
    });
    expect(run(machine)).toEqual([0x88, 0]);
  });

  test('SetDR and GetDR reach the registers of MOV DR, DR4 and DR5 by their other names; there is no DR8', () => {
    const machine = new VmiMachine({
      kernel: `mov eax, 2
               mov edx, 0x12345678
               call SetDR
               mov eax, 4
               mov edx, -1
               call SetDR
               mov eax, 8
               mov edx, 5
               call SetDR
               mov eax, 2
               call GetDR
               ${REPORT}
               mov eax, dr2
               ${REPORT}
               mov eax, 6
               call GetDR
               ${REPORT}
               mov eax, 8
               call GetDR
               ${REPORT}
               ${DONE}`,
    });
    // DR6: bits that the processor does not have read 1, or 0 for bit 12 (SDM vol. 3, 17.2.3).
    expect(run(machine)).toEqual([0x12345678, 0x12345678, 0xffffefff, 0]);
  });

  test('with DR7.GD the calls are as forbidden as the instruction: #DB', () => {
    const machine = new VmiMachine({
      kernel: `mov eax, 7
               mov edx, 0x2400
               call SetDR
               mov eax, 0
               call GetDR
        debug: mov eax, dr6
               ${REPORT}
               ${DONE}`,
      gates: { 1: 'debug' },
    });
    const [dr6] = run(machine);
    expect(dr6! & 0xe00f).toBe(0x2000);
  });

  test('physical is machine, and there is no other processor to start', () => {
    const machine = new VmiMachine({
      kernel: `mov eax, 0x345
               call PhysicalToMachine
               ${REPORT}
               call MachineToPhysical
               ${REPORT}
               mov eax, DATA
               mov edx, 1
               call SetInitialAPState
               ${DONE}`,
    });
    expect(run(machine)).toEqual([0x345, 0x345]);
  });

  test('user code with IOPL 3 reaches ports, but not the interrupt flag', () => {
    const machine = new VmiMachine({
      kernel: `mov eax, 0x3000
               call SetIOPLMask
               ${TO_USER}
      refused: pop ecx
               pop eax
               ${REPORT}
               call GetInterruptMask
               ${REPORT}
               ${DONE}`,
      user: 'mov eax, 7\nout 0xe9, eax\ncli',
      gates: { 13: 'refused' },
    });
    expect(run(machine)).toEqual([7, USER_LINEAR + 7, 0x200]);
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
