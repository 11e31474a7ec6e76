/** VMCS access and the checks of VM entry: every rule is broken once, starting from a state that is accepted. */
import { describe, expect, test } from 'vitest';
import { Cr4, Flag } from '../../../src/hypervisor/machine/cpu/state.js';
import { CPU_ALLOWED, CpuControl, Interruption } from '../../../src/hypervisor/machine/vmx/controls.js';
import { CR0_FIXED, CR4_VMXE, UNUSABLE } from '../../../src/hypervisor/machine/vmx/entry-checks.js';
import { ENTRY_FAILURE, ExitReason, VmError } from '../../../src/hypervisor/machine/vmx/exit-reasons.js';
import { Field, GUEST_SEGMENTS, nth } from '../../../src/hypervisor/machine/vmx/fields.js';
import { COSTS } from '../fixture.js';
import { VmxMachine } from './vmx-machine.js';

const [CS, SS, LDTR, TR] = [1, 2, 6, 7];
const rights = (register: number) => nth(Field.GUEST_ES_RIGHTS, register);
const limit = (register: number) => nth(Field.GUEST_ES_LIMIT, register);
const selector = (register: number) => nth(Field.GUEST_ES_SELECTOR, register);
const VALID = Interruption.VALID;
const TYPE = 1 << Interruption.TYPE_SHIFT;

describe('VMREAD and VMWRITE', () => {
  test('keep fields apart and cost what the profile says', () => {
    const machine = new VmxMachine();
    const before = machine.cpu.cycles;
    expect(machine.vmx.write(Field.TSC_OFFSET, 0x11111111)).toBeUndefined();
    expect(machine.vmx.write(Field.TSC_OFFSET + 1, 0x22222222)).toBeUndefined();
    expect(machine.vmx.read(Field.TSC_OFFSET)).toBe(0x11111111);
    expect(machine.vmx.read(Field.TSC_OFFSET + 1)).toBe(0x22222222);
    expect(machine.cpu.cycles - before).toBe(2 * COSTS.cycles.vmcsWrite + 2 * COSTS.cycles.vmcsRead);
  });

  test.each([
    ['a field of the exit information', Field.EXIT_REASON, VmError.READ_ONLY_FIELD],
    ['a field that does not exist', 0x4bfe, VmError.UNSUPPORTED_FIELD],
    ['the high half of a field of 32 bits', Field.GUEST_ACTIVITY + 1, VmError.UNSUPPORTED_FIELD],
  ])('%s is not written', (_name, field, error) => {
    const machine = new VmxMachine();
    expect(machine.vmx.write(field, 1)).toBe(error);
    expect(machine.field(Field.INSTRUCTION_ERROR)).toBe(error);
  });

  test('a region needs an aligned address and the revision of this hardware', () => {
    const machine = new VmxMachine();
    expect(machine.vmx.clear(machine.base + 0x61004)).toBe(VmError.VMCLEAR_ADDRESS);
    expect(machine.vmx.load(machine.base + 0x61004)).toBe(VmError.VMPTRLD_ADDRESS);
    expect(machine.vmx.load(machine.base + 0x61000)).toBe(VmError.VMPTRLD_REVISION);
  });
});

describe('VM entry', () => {
  test('launches once, then resumes', () => {
    const machine = new VmxMachine();
    expect(machine.vmx.enter(false)).toMatchObject({ kind: 'failed', error: VmError.VMRESUME_NOT_LAUNCHED });
    expect(machine.vmx.enter(true)).toEqual({ kind: 'entered' });
    expect(machine.vmx.enter(true)).toMatchObject({ kind: 'failed', error: VmError.VMLAUNCH_NOT_CLEAR });
    expect(machine.vmx.enter(false)).toEqual({ kind: 'entered' });
  });

  test.each([
    ['a pin-based bit that must be one', Field.PIN_CONTROLS, 0, 'pin-based controls'],
    [
      'secondary controls, which came later',
      Field.CPU_CONTROLS,
      CPU_ALLOWED.zero | (1 << 31),
      'processor-based controls',
    ],
    ['no exit at CR3 loads', Field.CPU_CONTROLS, CPU_ALLOWED.zero & ~CpuControl.CR3_LOAD, 'processor-based controls'],
    ['exit controls of none', Field.EXIT_CONTROLS, 0, 'VM-exit controls'],
    ['a guest of 64 bits', Field.ENTRY_CONTROLS, 0x13ff, 'VM-entry controls'],
    ['five CR3 targets', Field.CR3_TARGET_COUNT, 5, 'CR3-target count'],
    ['a reserved type of event', Field.ENTRY_INTERRUPTION, VALID | TYPE | 0x20, 'interruption type'],
    ['an NMI with another vector', Field.ENTRY_INTERRUPTION, VALID | (2 * TYPE) | 3, 'NMI with another vector'],
    ['an exception 32', Field.ENTRY_INTERRUPTION, VALID | (3 * TYPE) | 32, 'exception vector above 31'],
    ['#PF without error code', Field.ENTRY_INTERRUPTION, VALID | (3 * TYPE) | 14, 'error code of an injected event'],
    [
      'INT n of no bytes',
      Field.ENTRY_INTERRUPTION,
      VALID | (4 * TYPE) | 0x80,
      'instruction length of an injected software event',
    ],
  ])('fails with %s', (_name, field, value, trouble) => {
    const machine = new VmxMachine(0, [[field, value]]);
    expect(machine.vmx.enter(true)).toEqual({ kind: 'failed', error: VmError.INVALID_CONTROLS, trouble });
    expect(machine.field(Field.INSTRUCTION_ERROR)).toBe(VmError.INVALID_CONTROLS);
  });

  test('fails with unaligned I/O bitmaps', () => {
    const machine = new VmxMachine(CpuControl.IO_BITMAPS, [[Field.IO_BITMAP_B, 0x123]]);
    expect(machine.vmx.enter(true)).toMatchObject({ kind: 'failed', trouble: 'I/O bitmap address' });
  });

  test.each([
    ['CR0', Field.HOST_CR0, CR0_FIXED & ~1],
    ['CR4', Field.HOST_CR4, 0],
    ['selector', Field.HOST_DS_SELECTOR, 3],
    ['selector', Field.HOST_TR_SELECTOR, 0],
  ])('fails with a bad host %s', (what, field, value) => {
    const entry = new VmxMachine(0, [[field, value]]).vmx.enter(true);
    expect(entry).toMatchObject({ kind: 'failed', error: VmError.INVALID_HOST_STATE });
    expect(entry).toHaveProperty('trouble', expect.stringContaining(what));
  });

  test.each([
    ['paging off', Field.GUEST_CR0, CR0_FIXED & 0x7fffffff, 'guest CR0'],
    ['no VMXE', Field.GUEST_CR4, 0, 'guest CR4'],
    ['PAE and the tables of another format', Field.GUEST_CR4, CR4_VMXE | Cr4.PAE, 'guest page-directory pointers'],
    ['a linked VMCS', Field.LINK_POINTER, 0, 'VMCS link pointer'],
    ['an unusable CS', rights(CS), UNUSABLE, 'guest segment 1: unusable'],
    ['data in CS', rights(CS), 0xc093, 'guest segment 1: no code segment'],
    ['code in SS', rights(SS), 0xc09b, 'guest segment 2: no stack segment'],
    ['a segment that was never accessed', rights(0), 0xc092, 'guest segment 0: rights'],
    ['a limit by bytes that is too large', rights(0), 0x4093, 'guest segment 0: granularity'],
    ['a limit by pages that is none', limit(0), 0x0ffffff0, 'guest segment 0: granularity'],
    ['a free task state in TR', rights(TR), 0x89, 'guest segment 6: no busy task state'],
    ['a task state in LDTR', rights(LDTR), 0x8b, 'guest segment 7: no LDT'],
    ['a stack of another level', rights(SS), 0xc0f3, 'guest CS and SS of different levels'],
    ['a stack selector of another level', selector(SS), 0x13, 'guest CS and SS selectors of different levels'],
    ['a GDT of more than 64 KiB', Field.GUEST_GDTR_LIMIT, 0x10000, 'guest GDTR or IDTR limit'],
    ['a reserved flag', Field.GUEST_RFLAGS, 0x8002, 'guest RFLAGS'],
    ['STI blocking without IF', Field.GUEST_INTERRUPTIBILITY, 1, 'blocking by STI with RFLAGS.IF clear'],
    ['two kinds of blocking', Field.GUEST_INTERRUPTIBILITY, 3, 'interruptibility state'],
    ['a guest that waits for SIPI', Field.GUEST_ACTIVITY, 3, 'activity state'],
    [
      'an interrupt while IF is clear',
      Field.ENTRY_INTERRUPTION,
      VALID | 0x20,
      'injected interrupt with RFLAGS.IF clear',
    ],
  ])('refuses a guest with %s', (_name, field, value, trouble) => {
    const machine = new VmxMachine(0, [[field, value]]);
    expect(machine.vmx.enter(true)).toEqual({ kind: 'refused', trouble });
    expect(machine.field(Field.EXIT_REASON)).toBe(ENTRY_FAILURE | ExitReason.INVALID_GUEST_STATE);
    // Not launched: the next entry has to be a VMLAUNCH still.
    expect(machine.vmx.enter(false)).toMatchObject({ error: VmError.VMRESUME_NOT_LAUNCHED });
  });

  test('refuses an interrupt while MOV SS blocks it', () => {
    const machine = new VmxMachine(0, [
      [Field.ENTRY_INTERRUPTION, VALID | 0x20],
      [Field.GUEST_RFLAGS, Flag.FIXED | Flag.IF],
      [Field.GUEST_INTERRUPTIBILITY, 2],
    ]);
    expect(machine.vmx.enter(true)).toEqual({
      kind: 'refused',
      trouble: 'injected interrupt while interrupts are blocked',
    });
  });

  test('takes virtual-8086 segments by their own rule', () => {
    const fields: [number, number][] = [[Field.GUEST_RFLAGS, Flag.FIXED | Flag.VM]];
    for (let register = 0; register < 6; register++) {
      fields.push(
        [selector(register), 0x1000 + register],
        [nth(Field.GUEST_ES_BASE, register), (0x1000 + register) << 4],
      );
      fields.push([limit(register), 0xffff], [rights(register), 0xf3]);
    }
    expect(new VmxMachine(0, fields).vmx.enter(true)).toEqual({ kind: 'entered' });
    const wrong = new VmxMachine(0, [...fields, [nth(Field.GUEST_ES_BASE, SS), 0x10000]]);
    expect(wrong.vmx.enter(true)).toMatchObject({
      kind: 'refused',
      trouble: 'guest segment 2: not as in virtual-8086 mode',
    });
  });

  test('the registers that a guest leaves are those that it gets back', () => {
    const machine = new VmxMachine(CpuControl.HLT);
    machine.runCode('mov eax, 5\n mov esp, 0x27000\n stc\n hlt');
    const saved = [Field.GUEST_RIP, Field.GUEST_RSP, Field.GUEST_RFLAGS].map(field => machine.field(field));
    expect(saved[1]).toBe(0x27000);
    expect(saved[2]! & Flag.CF).toBe(Flag.CF);
    // What the host does to the thread meanwhile is undone by the entry.
    machine.cpu.setSegment(GUEST_SEGMENTS[0], 0x33, 0, 0xffff, 0xf3);
    machine.cpu.s.fill(0, 8, 9);
    machine.cpu.writeEflags(Flag.FIXED);
    expect(machine.enter()).toEqual({ kind: 'entered' });
    machine.vmx.exit({ kind: 'deadline' });
    expect([Field.GUEST_RIP, Field.GUEST_RSP, Field.GUEST_RFLAGS].map(field => machine.field(field))).toEqual(saved);
    expect(machine.field(selector(0))).toBe(0x10);
    expect(machine.field(Field.EXIT_REASON)).toBe(ExitReason.EXTERNAL_INTERRUPT);
  });

  test('each transition empties the TLB and has its price', () => {
    const machine = new VmxMachine(CpuControl.HLT);
    machine.load('mov eax, [0x30000]\n hlt');
    const start = machine.cpu.cycles;
    machine.enter();
    expect(machine.cpu.cycles - start).toBe(COSTS.cycles.vmEntry);
    const exit = machine.run();
    expect(machine.cpu.tlbEntries().length).toBe(2);
    const before = machine.cpu.cycles;
    machine.vmx.exit(exit);
    expect(machine.cpu.cycles - before).toBe(COSTS.cycles.vmExit);
    expect(machine.cpu.tlbEntries()).toEqual([]);
  });
});
