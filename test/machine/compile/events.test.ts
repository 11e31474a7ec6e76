/**
 * System calls, faults and segment loads of compiled code while the guest changes what decides them: every engine leaves what the
 * reference leaves, which remembers nothing.
 */
import { describe, expect, test } from 'vitest';
import { Flag, S } from '../../../src/hypervisor/machine/cpu/state.js';
import { inSetting } from '../../engine-setting.js';
import { CS3, DATA, DS0, DS1, DS3, GDT, HANDLERS, IDT, Machine, STACK0, STACK3, TSS } from '../fixture.js';

const ROUNDS = 120;
/** More than any of the programs needs. */
const CYCLES_MAX = 2_000_000;
/** Not there at first, mapped by the handler of #PF, taken away again by each system call. */
const ABSENT = DATA + 0x100000;
const SYSTEM_CALL = 0x14000;
const PAGE_FAULT = 0x15000;

/**
 * What the system call does in round EDX, before it returns, with the data segments of ring 0 loaded and ECX free. Each changes
 * something that a record depends on, in some rounds or in all.
 */
const CHANGES: Readonly<Record<string, string>> = {
  nothing: 'nop',
  'another ring-0 stack': `
    mov ecx, edx
    and ecx, 7
    shl ecx, 6
    sub ecx, ${STACK0}
    neg ecx
    mov [${TSS + 4}], ecx`,
  'a ring-0 stack across a page end': `
    mov ecx, edx
    and ecx, 3
    lea ecx, [ecx*4+${STACK0 - 0x1000}]
    mov [${TSS + 4}], ecx`,
  'an interrupt gate becomes a trap gate': `xor dword [${IDT + 0x80 * 8 + 4}], 0x100`,
  'the gate of #DE leads elsewhere': `xor dword [${IDT}], 0x200`,
  'the IDT has another limit': `
    lidt [${DATA + 0x100}]
    test edx, 15
    jnz keep
    lidt [${DATA + 0x108}]
    keep: nop`,
  'the code descriptor of ring 3 is marked unused': `and dword [${GDT + (CS3 & ~7) + 4}], ${~0x100 >>> 0}`,
  'the data descriptor of ring 3 has a limit, and none': `xor dword [${GDT + (DS3 & ~7) + 4}], 0x80000`,
  'a data descriptor has a base, and none': `
    xor dword [${GDT + (DS1 & ~7) + 4}], 1
    mov ecx, ${DS1}
    mov fs, ecx
    mov ecx, [fs:${DATA}]`,
  'the tables move': `
    mov ecx, cr3
    mov cr3, ecx
    lgdt [${DATA + 0x110}]
    test edx, 1
    jz keep
    lgdt [${DATA + 0x118}]
    keep: nop`,
  'the page of the ring-0 stack has not been written yet': `
    and dword [${0x40000 + ((STACK0 - 4) >>> 12) * 4}], ${~0x40 >>> 0}
    invlpg [${STACK0 - 4}]`,
  'the pages of GDT, IDT and TSS are forgotten': `
    invlpg [${GDT}]
    invlpg [${IDT}]
    invlpg [${TSS}]`,
  'the page of this code is forgotten': `invlpg [${SYSTEM_CALL}]`,
  'the return is to code with TF set': `
    test edx, 15
    jnz keep
    or dword [ebp+8], ${Flag.TF}
    keep: nop`,
  'the return has NT, AC, ID and DF': `xor dword [ebp+8], ${Flag.NT | Flag.AC | Flag.ID | Flag.DF}`,
  'the return has IOPL 3': `or dword [ebp+8], ${Flag.IOPL}`,
  'data registers that ring 3 may not keep': `
    mov ecx, ${DS0}
    mov gs, ecx
    mov ecx, 0
    mov fs, ecx`,
  'interrupts on and off': `
    sti
    nop
    pushfd
    cli
    popfd
    cli`,
  'CR0 and CR2': `
    mov ecx, cr0
    or ecx, 8
    mov cr0, ecx
    clts
    mov ecx, cr0
    mov cr2, ecx`,
  'a breakpoint on data is set and cleared': `
    test edx, 31
    mov ecx, 0
    jnz off
    mov ecx, ${DATA + 4}
    mov dr0, ecx
    mov ecx, 0xd0001
    off: mov dr7, ecx`,
};

const PROGRAM = `
top:
  int 0x80
  mov edx, 0
  mov eax, 5
  div edx
  mov eax, [${ABSENT}]
  add [${ABSENT + 0x800}], eax
  push ${DS3}
  pop es
  mov eax, es
  mov gs, eax
  mov ecx, [gs:${DATA}]
  idiv edx
  dec ebx
  jnz top
  int 0x21`;

function machineFor(tiering: 'reference' | 'never' | 'always' | 'normal', change: string): Machine {
  const machine = inSetting(tiering, () => new Machine());
  machine.enablePaging();
  machine.gate(0x80, 3, SYSTEM_CALL);
  machine.gate(14, 0, PAGE_FAULT);
  machine.gate(0x21, 3);
  for (const at of [HANDLERS, HANDLERS + 0x200]) machine.loadAt(at, 'add dword [esp], 2\niretd');
  machine.loadAt(HANDLERS + 16, 'and dword [esp+8], 0xfffffeff\niretd');
  machine.loadAt(
    SYSTEM_CALL,
    `mov ebp, esp
     push es
     push ds
     mov eax, ${DS0}
     mov ds, eax
     mov es, eax
     mov edx, ebx
     ${change}
     mov dword [${machine.pteAt(ABSENT)}], 0
     invlpg [${ABSENT}]
     pop ds
     pop es
     iretd`,
  );
  machine.loadAt(
    PAGE_FAULT,
    `push eax
     mov eax, cr2
     mov [${DATA + 0x20}], eax
     mov dword [${machine.pteAt(ABSENT)}], ${ABSENT | 7}
     pop eax
     add esp, 4
     iretd`,
  );
  // Second copies of the tables, and the operands of LGDT and LIDT.
  for (let at = 0; at < 0x80; at += 4) machine.write32(0x6000 + at, machine.read32(GDT + at));
  const pointer = (at: number, limit: number, base: number) => {
    machine.write32(at, (limit | (base << 16)) >>> 0);
    machine.write32(at + 4, base >>> 16);
  };
  pointer(DATA + 0x100, 0x7ff, IDT);
  pointer(DATA + 0x108, 0x47f, IDT);
  pointer(DATA + 0x110, 0x7ff, GDT);
  pointer(DATA + 0x118, 0x7f, 0x6000);
  machine.load(PROGRAM);
  machine.setRing(3);
  machine.cpu.s[S.ESP] = STACK3;
  machine.cpu.s[S.EBX] = ROUNDS;
  machine.cpu.writeEflags(0x202);
  return machine;
}

const digest = ({ cpu, memory, base }: Machine) => ({
  state: Array.from(cpu.s.subarray(0, S.TEMP)),
  flags: cpu.readEflags(),
  cycles: cpu.cycles,
  instructions: cpu.instructions,
  counters: { ...cpu.counters, blocksDecoded: 0, blocksInvalidated: 0 },
  rings: [...cpu.cyclesByRing],
  tlb: cpu.tlbEntries(),
  memory: Buffer.from(memory.bytes(base, 0x50000)).toString('base64'),
});

/** Stops at every deadline, so that events are due at many places; answers where, and how the program ended. */
function run(machine: Machine, slice: number): unknown {
  const stops: number[] = [];
  while (machine.cpu.cycles < CYCLES_MAX) {
    const exit = machine.run(machine.cpu.cycles + slice);
    if (exit.kind !== 'deadline') return { stops, exit };
    stops.push(machine.cpu.cycles);
  }
  return { stops, exit: 'none' };
}

describe.each(Object.keys(CHANGES))('%s', name => {
  test.each([CYCLES_MAX, 1009])('slices of %d cycles', slice => {
    const reference = machineFor('reference', CHANGES[name]!);
    const stops = run(reference, slice);
    // It came to its end.
    expect(reference.cpu.s[S.EIP]).toBe(HANDLERS + 0x21 * 16 + 1);
    expect(reference.cpu.counters.exceptions).toBeGreaterThan(ROUNDS * 4);
    for (const tiering of ['never', 'always', 'normal'] as const) {
      const machine = machineFor(tiering, CHANGES[name]!);
      expect(run(machine, slice)).toEqual(stops);
      expect({ tiering, ...digest(machine) }).toEqual({ tiering, ...digest(reference) });
    }
  });
});
