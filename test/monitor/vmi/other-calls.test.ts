import { describe, expect, test } from 'vitest';
import { CALLS } from '../../../src/hypervisor/monitor/vmi/calls.js';
import { HYPERCALLS } from '../../../src/hypervisor/monitor/vmi/hypercalls.js';
import { buildVmiRom, INIT_CALL } from '../../../src/hypervisor/monitor/vmi/rom.js';
import { DONE, REPORT, run } from './snippets.js';
import { DATA, KERNEL, KERNEL_TABLE, ROM_LINEAR, VmiMachine } from './vmi-machine.js';

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
