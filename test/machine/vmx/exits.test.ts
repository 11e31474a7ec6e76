/** What exits non-root operation, with which qualification, and what runs there as ever. */
import { describe, expect, test } from 'vitest';
import { Cr0, Cr4, Flag, S, Vector } from '../../../src/hypervisor/machine/cpu/state.js';
import { CpuControl } from '../../../src/hypervisor/machine/vmx/controls.js';
import { CR4_VMXE } from '../../../src/hypervisor/machine/vmx/entry-checks.js';
import { ExitReason } from '../../../src/hypervisor/machine/vmx/exit-reasons.js';
import { Field } from '../../../src/hypervisor/machine/vmx/fields.js';
import { CODE, CS3, DATA, DS3, HANDLERS, Machine, STACK3 } from '../fixture.js';
import { VmxMachine } from './vmx-machine.js';

const ALL =
  Object.values(CpuControl).reduce((all, bit) => all | bit, 0) & ~(CpuControl.IO_BITMAPS | CpuControl.INTERRUPT_WINDOW);
const IRET_TO_USER = (at: number) => `push ${DS3}\n push ${STACK3}\n push 2\n push ${CS3}\n push ${at}\n iretd\n`;
const R = ExitReason;

/** Instructions, the reason and qualification of their exit, and the control that asks for it (0: it always exits). */
const EXITING: readonly (readonly [code: string, reason: number, qualification: number, control: number])[] = [
  ['hlt', R.HLT, 0, CpuControl.HLT],
  ['cpuid', R.CPUID, 0, 0],
  ['invd', R.INVD, 0, 0],
  ['rdtsc', R.RDTSC, 0, CpuControl.RDTSC],
  ['rdmsr', R.RDMSR, 0, 0],
  ['wrmsr', R.WRMSR, 0, 0],
  [`invlpg [${DATA}]`, R.INVLPG, DATA, CpuControl.INVLPG],
  ['mov cr3, ecx', R.CONTROL_REGISTER, 0x103, 0],
  ['mov edx, cr3', R.CONTROL_REGISTER, 0x213, 0],
  ['mov dr2, ebx', R.DEBUG_REGISTER, 0x302, CpuControl.MOV_DR],
  ['mov ebp, dr7', R.DEBUG_REGISTER, 0x517, CpuControl.MOV_DR],
  ['in al, 0x60', R.IO, 0x60_0048, CpuControl.UNCONDITIONAL_IO],
  ['in eax, dx', R.IO, 0x1234_000b, CpuControl.UNCONDITIONAL_IO],
  ['out 0x80, ax', R.IO, 0x80_0041, CpuControl.UNCONDITIONAL_IO],
  ['out dx, al', R.IO, 0x1234_0000, CpuControl.UNCONDITIONAL_IO],
  ['insb', R.IO, 0x1234_0018, CpuControl.UNCONDITIONAL_IO],
  ['rep outsd', R.IO, 0x1234_0033, CpuControl.UNCONDITIONAL_IO],
];

describe.each(EXITING)('%s', (code, reason, qualification, control) => {
  const machine = (cpuControls: number) => {
    const made = new VmxMachine(cpuControls);
    made.cpu.s[S.EDX] = 0x1234;
    return made;
  };

  test('exits at CPL 0, with nothing of it done', () => {
    const made = machine(ALL);
    const registers = () => [...made.cpu.s.subarray(0, 8)];
    const before = registers();
    const exit = made.runCode(`${code}\n l: jmp l`);
    expect(exit).toMatchObject({ kind: 'vmExit', reason, qualification });
    expect(made.field(Field.EXIT_REASON)).toBe(reason);
    expect(made.field(Field.EXIT_QUALIFICATION)).toBe(qualification);
    expect(made.field(Field.GUEST_RIP)).toBe(CODE);
    expect(registers()).toEqual(before);
    // Behind it is the jump that was loaded behind it.
    expect(made.read8(CODE + made.field(Field.EXIT_INSTRUCTION_BYTES))).toBe(0xe9);
    expect(made.portLog).toEqual([]);
  });

  test('runs where its control does not ask for it', () => {
    if (control === 0) return;
    const made = machine(ALL & ~control & ~CpuControl.HLT);
    made.cpu.s[S.EDI] = DATA;
    made.cpu.s[S.ESI] = DATA;
    made.cpu.s[S.ECX] = 1;
    made.saveState();
    const exit = made.runCode(`${code}\n cpuid`);
    if (control === CpuControl.HLT) expect(exit).toEqual({ kind: 'halt' });
    else expect(exit).toMatchObject({ kind: 'vmExit', reason: R.CPUID });
  });

  test('is #GP at CPL 3 where it is privileged', () => {
    const made = machine(ALL);
    made.loadAt(0x20000, code);
    const exit = made.runCode(IRET_TO_USER(0x20000));
    if (reason === R.CPUID || reason === R.RDTSC) {
      expect(exit).toMatchObject({ reason });
      return;
    }
    // Not asked for by the exception bitmap: the guest's own handler, which halts.
    expect(exit).toMatchObject({ kind: 'vmExit', reason: R.HLT });
    expect(made.field(Field.GUEST_RIP)).toBe(HANDLERS + Vector.GP * 16);
  });
});

/** Bytes, the exit's reason, and the displacement of a memory operand: that is its qualification. */
const VMX_INSTRUCTIONS: readonly (readonly [name: string, bytes: string, reason: number, displacement: number])[] = [
  ['vmcall', '0x0f, 0x01, 0xc1', R.VMCALL, 0],
  ['vmlaunch', '0x0f, 0x01, 0xc2', R.VMLAUNCH, 0],
  ['vmresume', '0x0f, 0x01, 0xc3', R.VMRESUME, 0],
  ['vmxoff', '0x0f, 0x01, 0xc4', R.VMXOFF, 0],
  ['vmptrld [0x6000]', '0x0f, 0xc7, 0x35, 0x00, 0x60, 0, 0', R.VMPTRLD, 0x6000],
  ['vmclear [esi-8]', '0x66, 0x0f, 0xc7, 0x76, 0xf8', R.VMCLEAR, -8],
  ['vmxon [edi]', '0xf3, 0x0f, 0xc7, 0x37', R.VMXON, 0],
  ['vmptrst [0x6000]', '0x0f, 0xc7, 0x3d, 0x00, 0x60, 0, 0', R.VMPTRST, 0x6000],
  ['vmread [edi+0x10], ecx', '0x0f, 0x78, 0x4f, 0x10', R.VMREAD, 0x10],
  ['vmwrite ecx, eax', '0x0f, 0x79, 0xc8', R.VMWRITE, 0],
];

describe.each(VMX_INSTRUCTIONS)('%s', (_, bytes, reason, displacement) => {
  test('exits at every privilege level, before the guest’s own lack of it', () => {
    const made = new VmxMachine();
    const exit = made.runCode(`db ${bytes}\n l: jmp l`);
    expect(exit).toMatchObject({ kind: 'vmExit', reason });
    expect(made.field(Field.EXIT_REASON)).toBe(reason);
    expect(made.field(Field.EXIT_QUALIFICATION)).toBe(displacement);
    expect(made.field(Field.GUEST_RIP)).toBe(CODE);
    expect(made.read8(CODE + made.field(Field.EXIT_INSTRUCTION_BYTES))).toBe(0xe9);
    const user = new VmxMachine();
    user.loadAt(0x20000, `db ${bytes}`);
    expect(user.runCode(IRET_TO_USER(0x20000))).toMatchObject({ kind: 'vmExit', reason });
    expect(user.field(Field.GUEST_RIP)).toBe(0x20000);
  });

  test('is no instruction outside of VMX operation', () => {
    const made = new Machine();
    made.execute(`db ${bytes}`);
    expect(made.reg(S.EIP)).toBe(HANDLERS + Vector.UD * 16 + 1);
  });
});

test('in virtual-8086 mode only VMCALL exits', () => {
  for (const [, bytes, reason] of VMX_INSTRUCTIONS.slice(0, 3)) {
    const made = new VmxMachine(CpuControl.HLT);
    const segments = [0, 0, 0, 0].map(() => 'push 0').join('\n');
    made.loadAt(0x20000, `db ${bytes}`);
    const frame = `${segments}\n push 0\n push 0x1000\n push ${Flag.VM | 2}\n push 0x2000\n push 0\n iretd`;
    const exit = made.runCode(frame);
    if (reason === R.VMCALL) expect(exit).toMatchObject({ reason });
    else {
      expect(exit).toMatchObject({ reason: R.HLT });
      expect(made.field(Field.GUEST_RIP)).toBe(HANDLERS + Vector.UD * 16);
    }
  }
});

describe('I/O bitmaps', () => {
  const [A, B] = [0x62000, 0x63000];
  const machine = () => {
    const made = new VmxMachine(CpuControl.IO_BITMAPS | CpuControl.HLT);
    made.vmx.write(Field.IO_BITMAP_A, made.base + A);
    made.vmx.write(Field.IO_BITMAP_B, made.base + B);
    // Ports 62h and 8000h.
    made.memory.write8(made.base + A + 0xc, 4);
    made.memory.write8(made.base + B, 1);
    return made;
  };
  test.each([
    ['in al, 0x61', false],
    ['in al, 0x62', true],
    ['in ax, 0x61', true],
    ['in eax, 0x5f', true],
    ['in eax, 0x63', false],
    ['mov dx, 0x7fff\n in al, dx', false],
    ['mov dx, 0x7fff\n in ax, dx', true],
    ['mov dx, 0xffff\n in al, dx', false],
    ['mov dx, 0xffff\n in ax, dx', true],
  ])('%s', (code, exits) => {
    const exit = machine().runCode(`${code}\n hlt`);
    expect(exit).toMatchObject({ reason: exits ? R.IO : R.HLT });
  });
});

describe('control registers that guest and host share', () => {
  const OWNED = Cr0.TS | Cr0.MP | Cr0.EM;
  const machine = (cr0Shadow = Cr0.PE | Cr0.PG) =>
    new VmxMachine(CpuControl.HLT, [
      [Field.CR0_MASK, ~OWNED],
      [Field.CR0_SHADOW, cr0Shadow],
      [Field.CR4_MASK, ~Cr4.DE],
      [Field.CR4_SHADOW, Cr4.PSE],
    ]);
  const SHADOW = Cr0.PE | Cr0.PG | 0;

  test('reads: the host’s bits from the shadow, the guest’s own from the register', () => {
    const made = machine();
    made.runCode('mov eax, cr0\n mov ebx, cr4\n smsw ecx\n hlt');
    // Hardware has NE and WP, and VMXE.
    expect([S.EAX, S.EBX, S.ECX].map(word => made.cpu.s[word])).toEqual([SHADOW, Cr4.PSE, SHADOW]);
  });

  test('MOV to CR0 of the guest’s own bits runs, and leaves the host’s alone', () => {
    const made = machine();
    made.runCode(`mov eax, ${(SHADOW | Cr0.TS) >>> 0}\n mov cr0, eax\n mov ebx, cr0\n hlt`);
    expect(made.cpu.s[S.EBX]).toBe(SHADOW | Cr0.TS);
    expect(made.field(Field.GUEST_CR0)).toBe(Cr0.PE | Cr0.PG | Cr0.NE | Cr0.WP | Cr0.ET | Cr0.TS | 0);
  });

  test.each([
    ['mov eax, cr0\n or eax, 0x10000\n mov cr0, eax', 0x000],
    ['mov ebx, 0\n mov cr4, ebx', 0x304],
    ['mov ebx, 0x18\n mov cr4, ebx', -1],
    ['mov ebx, 0x2010\n mov cr4, ebx', 0x304],
    ['mov ax, 0\n lmsw ax', -1],
    ['clts', -1],
  ])('%s', (code, qualification) => {
    const made = machine();
    const exit = made.runCode(`${code}\n hlt`);
    if (qualification < 0) expect(exit).toMatchObject({ reason: R.HLT });
    else expect(exit).toMatchObject({ reason: R.CONTROL_REGISTER, qualification });
    expect(made.field(Field.GUEST_CR4) & CR4_VMXE).toBe(CR4_VMXE);
  });

  test('CLTS and LMSW exit where the host owns the bit and the guest believes it to be otherwise', () => {
    const fields = [
      [Field.CR0_MASK, -1],
      [Field.CR0_SHADOW, SHADOW | Cr0.TS],
    ] as const;
    expect(new VmxMachine(CpuControl.HLT, fields).runCode('clts')).toMatchObject({
      reason: R.CONTROL_REGISTER,
      qualification: 0x20,
    });
    expect(new VmxMachine(CpuControl.HLT, fields).runCode('mov ax, 3\n lmsw ax')).toMatchObject({
      reason: R.CONTROL_REGISTER,
      qualification: 0x3_0030,
    });
    // As the shadow has it already, though hardware's own TS is clear.
    expect(new VmxMachine(CpuControl.HLT, fields).runCode('mov ax, 9\n lmsw ax\n hlt')).toMatchObject({
      reason: R.HLT,
    });
    const clear = new VmxMachine(CpuControl.HLT, [
      [Field.CR0_MASK, -1],
      [Field.CR0_SHADOW, SHADOW],
      [Field.GUEST_CR0, Cr0.PE | Cr0.PG | Cr0.NE | Cr0.TS],
    ]);
    clear.runCode('clts\n hlt');
    // The guest's TS was clear; hardware's is not its own to clear.
    expect(clear.field(Field.GUEST_CR0) & Cr0.TS).toBe(Cr0.TS);
  });

  test('a CR3 target is loaded without an exit', () => {
    const made = new VmxMachine(CpuControl.HLT, [
      [Field.CR3_TARGET_COUNT, 1],
      [Field.CR3_TARGET_0, 0x8000],
      [Field.CR3_TARGET_0 + 2, 0x9000],
    ]);
    expect(made.runCode('mov eax, 0x8000\n mov cr3, eax\n mov eax, 0x9000\n mov cr3, eax')).toMatchObject({
      reason: R.CONTROL_REGISTER,
      qualification: 3,
    });
    expect(made.field(Field.GUEST_CR3)).toBe(0x8000);
  });
});

test('a far jump to a task state exits with its selector', () => {
  const made = new VmxMachine(CpuControl.HLT);
  made.descriptor(0x40, 0x3100, 0x67, 0x89);
  expect(made.runCode('jmp 0x40:0')).toMatchObject({ reason: R.TASK_SWITCH, qualification: 0x8000_0040 | 0 });
});

test('RDTSC adds the offset', () => {
  const made = new VmxMachine(CpuControl.TSC_OFFSETTING | CpuControl.HLT, [
    [Field.TSC_OFFSET, 0],
    [Field.TSC_OFFSET + 1, 5],
  ]);
  made.runCode('rdtsc\n hlt');
  expect(made.cpu.s[S.EDX]).toBe(5);
});

test('what a deprivileged kernel cannot do runs at its own level, without an exit', () => {
  const made = new VmxMachine(CpuControl.HLT);
  made.runCode(
    `cli
    sti
    pushfd
    pop eax
    lidt [${DATA}]
    sidt [${DATA + 8}]
    mov bx, cs
    ${IRET_TO_USER(0x20000)}`.replace('iretd', 'add esp, 20\n hlt'),
  );
  expect(made.cpu.s[S.EAX]! & Flag.IF).toBe(Flag.IF);
  expect(made.cpu.s[S.EBX]! & 3).toBe(0);
  expect(made.field(Field.GUEST_IDTR_LIMIT)).toBe(0);
});
