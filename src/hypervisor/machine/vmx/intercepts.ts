/**
 * What leaves VMX non-root operation (SDM vol. 3, 25.1 and 25.2), and what behaves differently in it (25.3).
 *
 * Faults for want of privilege come before exits, exits before all other faults of the instruction. Nothing here knows why a
 * guest runs in non-root operation.
 */
import { type Core, Result } from '../cpu/core.js';
import { Source } from '../cpu/event-source.js';
import { ioAllowed } from '../cpu/ports.js';
import { Cr0, Cr4, Flag, S, segBase, Vector } from '../cpu/state.js';
import { Repeat, StringKind } from '../cpu/strings.js';
import type { HelperName } from '../cpu/system.js';
import { CpuControl, InterruptionType, type NonRootControls, type Vectoring } from './controls.js';
import { CrAccess, CrQualification, DrQualification, ExitReason, IoQualification } from './exit-reasons.js';

/** LMSW reaches the low four bits of CR0, of which it can only set PE. */
const LMSW_TOGGLES = Cr0.MP | Cr0.EM | Cr0.TS;

function exits(cpu: Core, reason: number, qualification = 0): number {
  cpu.exit = { kind: 'vmExit', reason, qualification, instructionBytes: (cpu.nextEip - cpu.s[S.EIP]!) | 0 };
  return Result.EXIT;
}

type Intercept = (cpu: Core, controls: NonRootControls, args: (index: number) => number) => number | undefined;

/** Privileged instructions that may exit: #GP for all but CPL 0 is the helper's. */
const privileged =
  (then: Intercept): Intercept =>
  (cpu, controls, args) =>
    cpu.s[S.CPL] === 0 ? then(cpu, controls, args) : undefined;

const always = (reason: number): Intercept => privileged(cpu => exits(cpu, reason));
const where = (control: number, then: Intercept): Intercept =>
  privileged((cpu, controls, args) => ((controls.cpu & control) !== 0 ? then(cpu, controls, args) : undefined));

function readControl(cpu: Core, controls: NonRootControls, args: (index: number) => number): number | undefined {
  if (args(0) !== 3 || (controls.cpu & CpuControl.CR3_STORE) === 0) return undefined;
  return controlExit(cpu, 3, CrAccess.MOV_FROM, args(1));
}

function writeControl(cpu: Core, controls: NonRootControls, args: (index: number) => number): number | undefined {
  const [control, register] = [args(0), args(1)];
  const value = cpu.s[register]!;
  const leaves =
    control === 0
      ? ((value ^ controls.cr0Shadow) & controls.cr0Mask) !== 0
      : control === 4
        ? ((value ^ controls.cr4Shadow) & controls.cr4Mask) !== 0
        : control === 3 && (controls.cpu & CpuControl.CR3_LOAD) !== 0 && !controls.cr3Targets.includes(value);
  return leaves ? controlExit(cpu, control, CrAccess.MOV_TO, register) : undefined;
}

function controlExit(cpu: Core, control: number, access: number, register: number): number {
  const { ACCESS_SHIFT, REGISTER_SHIFT } = CrQualification;
  return exits(cpu, ExitReason.CONTROL_REGISTER, control | (access << ACCESS_SHIFT) | (register << REGISTER_SHIFT));
}

function clearTaskSwitched(cpu: Core, controls: NonRootControls): number | undefined {
  if ((controls.cr0Mask & Cr0.TS) === 0) return undefined;
  if ((controls.cr0Shadow & Cr0.TS) !== 0)
    return exits(cpu, ExitReason.CONTROL_REGISTER, CrAccess.CLTS << CrQualification.ACCESS_SHIFT);
  // The guest's own TS is clear, as it believes; hardware's is not the guest's to change.
  cpu.spend(cpu.costs.cycles.clts);
  return Result.DONE;
}

function loadMachineStatus(cpu: Core, controls: NonRootControls, args: (index: number) => number): number | undefined {
  const value = cpu.s[args(0)]! & 0xffff;
  const { cr0Mask, cr0Shadow } = controls;
  const sets = value & ~cr0Shadow & cr0Mask & Cr0.PE;
  if (((value ^ cr0Shadow) & cr0Mask & LMSW_TOGGLES) === 0 && sets === 0) return undefined;
  const { ACCESS_SHIFT, SOURCE_SHIFT } = CrQualification;
  return exits(cpu, ExitReason.CONTROL_REGISTER, (CrAccess.LMSW << ACCESS_SHIFT) | (value << SOURCE_SHIFT));
}

/** The access faults before it exits, if the guest's own IOPL and permission map forbid it. */
function io(cpu: Core, controls: NonRootControls, port: number, width: number, more: number): number | undefined {
  if (!ioAllowed(cpu, port, width)) return Result.FAULT;
  if (!ioExits(cpu, controls, port, width)) return undefined;
  return exits(cpu, ExitReason.IO, (width - 1) | more | (port << IoQualification.PORT_SHIFT));
}

/** Bitmap A is of ports up to 7FFF, B of the others; an access that wraps around exits (SDM vol. 3, 25.1.3). */
function ioExits(cpu: Core, controls: NonRootControls, port: number, width: number): boolean {
  if ((controls.cpu & CpuControl.IO_BITMAPS) === 0) return (controls.cpu & CpuControl.UNCONDITIONAL_IO) !== 0;
  if (port + width > 0x10000) return true;
  for (let at = port; at < port + width; at++) {
    const map = at < 0x8000 ? controls.ioBitmapA : controls.ioBitmapB;
    if (((cpu.memory.read8(map + ((at & 0x7fff) >>> 3)) >>> (at & 7)) & 1) !== 0) return true;
  }
  return false;
}

/** IN and OUT: the port is in DX if the immediate is negative. */
const port =
  (direction: number): Intercept =>
  (cpu, controls, args) => {
    const immediate = args(1);
    const number = immediate < 0 ? cpu.s[S.EDX]! & 0xffff : immediate;
    return io(cpu, controls, number, args(0), direction | (immediate < 0 ? 0 : IoQualification.IMMEDIATE));
  };

function string(cpu: Core, controls: NonRootControls, args: (index: number) => number): number | undefined {
  const packed = args(0);
  const kind = packed & 15;
  if (kind < StringKind.INS) return undefined;
  const repeated = ((packed >> 8) & 15) !== Repeat.NONE;
  const more =
    IoQualification.STRING | (repeated ? IoQualification.REP : 0) | (kind === StringKind.INS ? IoQualification.IN : 0);
  return io(cpu, controls, cpu.s[S.EDX]! & 0xffff, (packed >> 4) & 15, more);
}

/**
 * Exits at every privilege level, with the displacement of a memory operand as qualification (SDM vol. 3, 25.1.2). All but VMCALL are invalid
 * opcodes first outside of protected mode (30.3, "Operation").
 */
function vmxInstruction(cpu: Core, _controls: NonRootControls, args: (index: number) => number): number | undefined {
  const { s } = cpu;
  const isProtected = (s[S.CR0]! & Cr0.PE) !== 0 && (s[S.EFLAGS]! & Flag.VM) === 0;
  return isProtected || args(0) === ExitReason.VMCALL ? exits(cpu, args(0), args(1)) : undefined;
}

const INTERCEPTS: Partial<Record<HelperName, Intercept>> = {
  cpuid: cpu => exits(cpu, ExitReason.CPUID),
  vmxInstruction,
  halt: where(CpuControl.HLT, cpu => exits(cpu, ExitReason.HLT)),
  // WBINVD has no control on this hardware.
  writeBack: privileged((cpu, _controls, args) => (args(0) !== 0 ? exits(cpu, ExitReason.INVD) : undefined)),
  invalidatePage: where(CpuControl.INVLPG, (cpu, _controls, args) =>
    exits(cpu, ExitReason.INVLPG, (cpu.s[args(1)]! + cpu.s[segBase(args(0))]!) | 0),
  ),
  readTimeStamp: (cpu, controls) => {
    const forbidden = (cpu.s[S.CR4]! & Cr4.TSD) !== 0 && cpu.s[S.CPL] !== 0;
    return forbidden || (controls.cpu & CpuControl.RDTSC) === 0 ? undefined : exits(cpu, ExitReason.RDTSC);
  },
  readMsr: always(ExitReason.RDMSR),
  writeMsr: always(ExitReason.WRMSR),
  readControl: privileged(readControl),
  writeControl: privileged(writeControl),
  clearTaskSwitched: privileged(clearTaskSwitched),
  loadMachineStatus: privileged(loadMachineStatus),
  debugRegister: where(CpuControl.MOV_DR, (cpu, _controls, args) =>
    exits(
      cpu,
      ExitReason.DEBUG_REGISTER,
      args(0) | (args(2) === 0 ? DrQualification.FROM : 0) | (args(1) << DrQualification.REGISTER_SHIFT),
    ),
  ),
  input: port(IoQualification.IN),
  output: port(0),
  string,
};

/**
 * In non-root operation, before the helper of a `SYSTEM` op is called: answers its `Result` in its place, or undefined where the
 * instruction is executed as ever.
 */
export function intercept(cpu: Core, helper: HelperName, code: Int32Array, at: number): number | undefined {
  return INTERCEPTS[helper]?.(cpu, cpu.controls!, index => code[at + 2 + index]!);
}

/** A task switch by gate, JMP, CALL or IRET (SDM vol. 3, table 27-2): always exits. `kind`: 0 CALL, 1 IRET, 2 JMP, 3 gate in the IDT. */
export const taskSwitchExits = (cpu: Core, selector: number, kind: number): number =>
  exits(cpu, ExitReason.TASK_SWITCH, (selector & 0xffff) | (kind << 30));

/** CR0 or CR4 as the guest reads it: bits that the monitor owns come from the read shadow. */
export function visibleControl(cpu: Core, control: 0 | 4): number {
  const value = cpu.s[control === 0 ? S.CR0 : S.CR4]!;
  const { controls } = cpu;
  if (cpu.s[S.NON_ROOT] === 0 || controls === null) return value;
  const [mask, shadow] =
    control === 0 ? [controls.cr0Mask, controls.cr0Shadow] : [controls.cr4Mask, controls.cr4Shadow];
  return (value & ~mask) | (shadow & mask);
}

/** What becomes of CR0 or CR4 when the guest writes `value` without an exit: bits that the monitor owns stay. */
export function ownedControl(cpu: Core, control: 0 | 4, value: number): number {
  const { controls } = cpu;
  if (cpu.s[S.NON_ROOT] === 0 || controls === null) return value;
  const mask = control === 0 ? controls.cr0Mask : controls.cr4Mask;
  return (value & ~mask) | (cpu.s[control === 0 ? S.CR0 : S.CR4]! & mask);
}

/** INT3 and INTO are exceptions of the exception bitmap; INT n with their vectors is none. */
function isSoftwareException(cpu: Core, vector: number): boolean {
  return (vector === Vector.BP || vector === Vector.OF) && cpu.nextEip - cpu.s[S.EIP]! === 1;
}

/**
 * In non-root operation: does the event exit instead of being delivered? Then `cpu.exit` is set. A page fault exits where bit 14 of the bitmap agrees with
 * the comparison of its error code (SDM vol. 3, 25.2).
 */
export function exceptionExits(cpu: Core, vector: number, errorCode: number, source: number): boolean {
  const { controls } = cpu;
  if (controls === null || source === Source.EXTERNAL || vector > 31) return false;
  const software = source === Source.SOFTWARE;
  if (software && !isSoftwareException(cpu, vector)) return false;
  const wanted = ((cpu.s[S.EXCEPTION_BITMAP]! >>> vector) & 1) !== 0;
  const matches = (errorCode & controls.pageFaultMask) === controls.pageFaultMatch;
  if (vector === Vector.PF ? wanted !== matches : !wanted) return false;
  const hasErrorCode = source === Source.FAULT && cpu.pushesErrorCode(vector);
  cpu.exit = { kind: 'monitor', vector, errorCode, hasErrorCode, software };
  return true;
}

/** The event that was being delivered when something else came up. */
export function vectoringOf(
  cpu: Core,
  vector: number,
  errorCode: number,
  source: number,
  returnEip: number,
): Vectoring {
  const software = source === Source.SOFTWARE;
  const type = software
    ? isSoftwareException(cpu, vector)
      ? InterruptionType.SOFTWARE_EXCEPTION
      : InterruptionType.SOFTWARE_INTERRUPT
    : source === Source.EXTERNAL
      ? InterruptionType.EXTERNAL
      : InterruptionType.HARDWARE_EXCEPTION;
  return {
    vector,
    type,
    errorCode: source === Source.FAULT && cpu.pushesErrorCode(vector) ? errorCode : undefined,
    instructionBytes: software ? (returnEip - cpu.s[S.EIP]!) | 0 : 0,
  };
}
