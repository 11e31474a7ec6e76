/** Exceptions that exit, events that an entry injects, deliveries that an exit interrupts, and the interrupt window. */
import { describe, expect, test } from 'vitest';
import { Flag, S, Vector } from '../../../src/hypervisor/machine/cpu/state.js';
import { CpuControl, Interruption, InterruptionType } from '../../../src/hypervisor/machine/vmx/controls.js';
import { ExitReason } from '../../../src/hypervisor/machine/vmx/exit-reasons.js';
import { Field } from '../../../src/hypervisor/machine/vmx/fields.js';
import { CODE, HANDLERS, IDT, STACK0 } from '../fixture.js';
import { VmxMachine } from './vmx-machine.js';

const VALID = Interruption.VALID;
const UNMAPPED = 0x700000;
const information = (type: number, vector: number, hasErrorCode = false): number =>
  VALID | (type << Interruption.TYPE_SHIFT) | (hasErrorCode ? Interruption.ERROR_CODE : 0) | vector;
const PF_EXITS = [Field.EXCEPTION_BITMAP, 1 << Vector.PF] as const;

/** A machine that halts by exiting, with one page that is not mapped. */
function machineWith(...fields: (readonly [number, number])[]): VmxMachine {
  const machine = new VmxMachine(CpuControl.HLT, fields);
  machine.write32(machine.pteAt(UNMAPPED), 0);
  return machine;
}

/** Takes the mapping of the page that the interrupt descriptor table is in, and its copy in the TLB with the next entry. */
const hideIdt = (machine: VmxMachine) => machine.write32(machine.pteAt(IDT), 0);
const showIdt = (machine: VmxMachine) => machine.write32(machine.pteAt(IDT), IDT | 7);
const stack = (machine: VmxMachine, word: number) => machine.read32(machine.field(Field.GUEST_RSP) + word * 4);

describe('exceptions', () => {
  test('that the bitmap asks for exit with vector and error code, and leave CR2 to the host', () => {
    const machine = machineWith(PF_EXITS);
    machine.cpu.s[S.CR2] = 0x1234;
    const exit = machine.runCode(`mov dword [${UNMAPPED + 8}], 1`);
    expect(exit).toMatchObject({ kind: 'monitor', vector: Vector.PF, errorCode: 2 });
    expect(machine.field(Field.EXIT_REASON)).toBe(ExitReason.EXCEPTION);
    expect(machine.field(Field.EXIT_INTERRUPTION)).toBe(
      information(InterruptionType.HARDWARE_EXCEPTION, Vector.PF, true),
    );
    expect(machine.field(Field.EXIT_ERROR_CODE)).toBe(2);
    expect(machine.field(Field.EXIT_QUALIFICATION)).toBe(UNMAPPED + 8);
    expect(machine.field(Field.VECTORING)).toBe(0);
    expect(machine.field(Field.GUEST_RIP)).toBe(CODE);
    expect(machine.cpu.s[S.CR2]).toBe(0x1234);
  });

  test('that it does not ask for go to the guest’s handler', () => {
    const machine = machineWith();
    expect(machine.runCode(`mov dword [${UNMAPPED + 8}], 1`)).toMatchObject({ reason: ExitReason.HLT });
    expect(machine.field(Field.GUEST_RIP)).toBe(HANDLERS + Vector.PF * 16);
    expect(machine.cpu.s[S.CR2]).toBe(UNMAPPED + 8);
  });

  test.each([
    // Bitmap, mask, match: does a write (error code 2) exit?
    [1 << Vector.PF, 2, 2, true],
    [1 << Vector.PF, 2, 0, false],
    [0, 2, 0, true],
    [0, 2, 2, false],
    [0, 0, 0, false],
  ])('a page fault under bitmap %i, mask %i, match %i exits: %s', (bitmap, mask, match, exits) => {
    const machine = machineWith(
      [Field.EXCEPTION_BITMAP, bitmap],
      [Field.PAGE_FAULT_MASK, mask],
      [Field.PAGE_FAULT_MATCH, match],
    );
    expect(machine.runCode(`mov dword [${UNMAPPED}], 1`).kind).toBe(exits ? 'monitor' : 'vmExit');
  });

  test('INT3 is of the bitmap, INT n with its vector is not', () => {
    const fields = [Field.EXCEPTION_BITMAP, 1 << Vector.BP] as const;
    const breakpoint = machineWith(fields);
    expect(breakpoint.runCode('int3')).toMatchObject({ kind: 'monitor', vector: Vector.BP, software: true });
    expect(breakpoint.field(Field.EXIT_INTERRUPTION)).toBe(information(InterruptionType.SOFTWARE_EXCEPTION, Vector.BP));
    expect(breakpoint.field(Field.EXIT_INSTRUCTION_BYTES)).toBe(1);
    expect(machineWith(fields).runCode('db 0xcd, 3')).toMatchObject({ reason: ExitReason.HLT });
  });

  test('a fault that cannot be delivered three times over exits as a triple fault', () => {
    const machine = machineWith();
    machine.load('ud2');
    machine.vmx.vmcs.set(Field.GUEST_IDTR_LIMIT, 0);
    expect(machine.runGuest()).toMatchObject({ kind: 'shutdown' });
    expect(machine.field(Field.EXIT_REASON)).toBe(ExitReason.TRIPLE_FAULT);
  });
});

describe('an injected event', () => {
  test('is an external interrupt like any other, without the bus', () => {
    const machine = machineWith(
      [Field.ENTRY_INTERRUPTION, information(InterruptionType.EXTERNAL, 0x31)],
      [Field.GUEST_RFLAGS, Flag.FIXED | Flag.IF],
    );
    machine.runCode('nop');
    expect(machine.field(Field.GUEST_RIP)).toBe(HANDLERS + 0x31 * 16);
    expect([stack(machine, 0), stack(machine, 2)]).toEqual([CODE, Flag.FIXED | Flag.IF]);
    expect(machine.field(Field.GUEST_RFLAGS) & Flag.IF).toBe(0);
    // It is delivered once.
    expect(machine.field(Field.ENTRY_INTERRUPTION) & VALID).toBe(0);
  });

  test('is a page fault with its error code, whatever the bitmap says, and CR2 is what the host has set', () => {
    const machine = machineWith(PF_EXITS, [
      Field.ENTRY_INTERRUPTION,
      information(InterruptionType.HARDWARE_EXCEPTION, Vector.PF, true),
    ]);
    machine.vmx.write(Field.ENTRY_ERROR_CODE, 6);
    machine.cpu.s[S.CR2] = 0x4321;
    expect(machine.runCode('nop')).toMatchObject({ reason: ExitReason.HLT });
    expect(machine.field(Field.GUEST_RIP)).toBe(HANDLERS + Vector.PF * 16);
    expect([stack(machine, 0), stack(machine, 1)]).toEqual([6, CODE]);
    expect(machine.cpu.s[S.CR2]).toBe(0x4321);
  });

  test('is a software interrupt that returns behind its instruction', () => {
    const machine = machineWith(
      [Field.ENTRY_INTERRUPTION, information(InterruptionType.SOFTWARE_INTERRUPT, 0x80)],
      [Field.ENTRY_INSTRUCTION_BYTES, 2],
    );
    machine.runCode('int 0x80');
    expect(stack(machine, 0)).toBe(CODE + 2);
  });
});

describe('a delivery that an exit interrupts', () => {
  /** Runs up to a page fault on the IDT, and says what was being delivered. */
  const vectoring = (machine: VmxMachine, code: string) => {
    hideIdt(machine);
    const exit = machine.runCode(code);
    expect(exit).toMatchObject({ kind: 'monitor', vector: Vector.PF });
    expect(machine.field(Field.EXIT_QUALIFICATION) & -4096).toBe(IDT);
    expect(machine.field(Field.GUEST_RIP)).toBe(CODE);
    expect(machine.field(Field.GUEST_RSP)).toBe(STACK0);
    return machine.field(Field.VECTORING);
  };
  /** Repairs the cause and enters again, with the event of before. */
  const again = (machine: VmxMachine, bytes = 0) => {
    showIdt(machine);
    machine.vmx.write(Field.ENTRY_INTERRUPTION, machine.field(Field.VECTORING));
    machine.vmx.write(Field.ENTRY_ERROR_CODE, machine.field(Field.VECTORING_ERROR_CODE));
    machine.vmx.write(Field.ENTRY_INSTRUCTION_BYTES, bytes);
    expect(machine.runGuest()).toMatchObject({ reason: ExitReason.HLT });
  };

  test('of a fault', () => {
    const machine = machineWith(PF_EXITS);
    expect(vectoring(machine, 'ud2')).toBe(information(InterruptionType.HARDWARE_EXCEPTION, Vector.UD));
    again(machine);
    expect(machine.field(Field.GUEST_RIP)).toBe(HANDLERS + Vector.UD * 16);
    expect(stack(machine, 0)).toBe(CODE);
  });

  test('of a fault with error code', () => {
    const machine = machineWith(PF_EXITS);
    machine.cpu.s[S.EAX] = 0x7f0;
    expect(vectoring(machine, 'ltr ax')).toBe(information(InterruptionType.HARDWARE_EXCEPTION, Vector.GP, true));
    expect(machine.field(Field.VECTORING_ERROR_CODE)).toBe(0x7f0);
    again(machine);
    expect([stack(machine, 0), stack(machine, 1)]).toEqual([0x7f0, CODE]);
  });

  test('of INT n, with the length of the instruction', () => {
    const machine = machineWith(PF_EXITS);
    expect(vectoring(machine, 'int 0x80')).toBe(information(InterruptionType.SOFTWARE_INTERRUPT, 0x80));
    expect(machine.field(Field.EXIT_INSTRUCTION_BYTES)).toBe(2);
    again(machine, 2);
    expect(stack(machine, 0)).toBe(CODE + 2);
  });

  test('of an injected page fault: the second one exits as itself, and is no double fault', () => {
    const machine = machineWith(PF_EXITS, [
      Field.ENTRY_INTERRUPTION,
      information(InterruptionType.HARDWARE_EXCEPTION, Vector.PF, true),
    ]);
    machine.cpu.s[S.CR2] = 0x4321;
    expect(vectoring(machine, 'nop')).toBe(information(InterruptionType.HARDWARE_EXCEPTION, Vector.PF, true));
    expect(machine.cpu.s[S.CR2]).toBe(0x4321);
    again(machine);
    expect(machine.field(Field.GUEST_RIP)).toBe(HANDLERS + Vector.PF * 16);
  });

  test('is over when it was delivered: the next exit says nothing of it', () => {
    const machine = machineWith(PF_EXITS);
    vectoring(machine, 'ud2');
    again(machine);
    expect(machine.field(Field.VECTORING)).toBe(0);
  });
});

describe('the interrupt window', () => {
  const machine = () => new VmxMachine(CpuControl.INTERRUPT_WINDOW | CpuControl.HLT);

  test('opens behind the instruction that follows STI', () => {
    const made = machine();
    expect(made.runCode('nop\n sti\n nop\n nop\n hlt')).toMatchObject({ reason: ExitReason.INTERRUPT_WINDOW });
    expect(made.field(Field.GUEST_RIP)).toBe(CODE + 3);
    expect(made.field(Field.GUEST_INTERRUPTIBILITY)).toBe(0);
  });

  test('is open at once where nothing blocks', () => {
    const made = machine();
    made.vmx.write(Field.GUEST_RFLAGS, Flag.FIXED | Flag.IF);
    expect(made.runCode('nop\n hlt')).toMatchObject({ reason: ExitReason.INTERRUPT_WINDOW });
    expect(made.field(Field.GUEST_RIP)).toBe(CODE);
  });

  test('stays shut while the guest keeps interrupts off', () => {
    expect(machine().runCode('mov ecx, 9\n l: dec ecx\n jnz l\n hlt')).toMatchObject({ reason: ExitReason.HLT });
  });

  test('an exit in the shadow of STI saves it, and the entry brings it back', () => {
    const made = machine();
    expect(made.runCode('sti\n hlt\n nop\n nop')).toMatchObject({ reason: ExitReason.HLT });
    expect(made.field(Field.GUEST_INTERRUPTIBILITY)).toBe(1);
    // As if the host let the guest go on behind HLT without waking it: still blocked for that one instruction.
    made.vmx.write(Field.GUEST_RIP, CODE + 2);
    expect(made.runGuest()).toMatchObject({ reason: ExitReason.INTERRUPT_WINDOW });
    expect(made.field(Field.GUEST_RIP)).toBe(CODE + 3);
  });
});
