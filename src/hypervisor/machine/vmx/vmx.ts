/**
 * Hardware virtualization of the first generation (SDM vol. 3, chapters 23 to 27): one VMCS at a time, no nested paging, no VPID, so
 * that each transition empties the TLB.
 *
 *     root operation    --enter (VMLAUNCH, VMRESUME)-->    non-root operation: the guest, at its own privilege levels
 *           ^                                                      |
 *           +---- exit: guest state saved, reason recorded --------+
 *
 * The host is no simulated code. So an exit saves the guest's state and says why, but loads no host state into the thread: the guest's
 * registers stay there, where a host that emulates an instruction works on them. What counts at the next entry is the VMCS, as
 * on hardware: who has changed registers of the thread writes them back (`sync` of the monitor).
 *
 * VMREAD, VMWRITE, VMPTRLD and VMCLEAR are charged where they are called; `enter` and `exit` charge the transition.
 */
import { assert } from '../../base/assert.js';
import { STACK_SHADOW } from '../cpu/breakpoints.js';
import { type Core, Result } from '../cpu/core.js';
import { Source } from '../cpu/event-source.js';
import { deliver } from '../cpu/exceptions.js';
import { ESCAPES, Shape } from '../cpu/layout.js';
import { Attr, type Exit, S, Seg, segAttr, segBase, segLimit, segSelector, Vector } from '../cpu/state.js';
import { Blocking, CpuControl, Interruption, InterruptionType, type NonRootControls } from './controls.js';
import { controlTrouble, guestTrouble, hostTrouble, UNUSABLE } from './entry-checks.js';
import { ENTRY_FAILURE, ExitReason, VmError } from './exit-reasons.js';
import { Field, GUEST_SEGMENTS, isReadOnly, nth } from './fields.js';
import { isField, VMCS_REVISION, Vmcs } from './vmcs.js';

/** How an entry went. */
export type Entry =
  /** The guest runs. */
  | { readonly kind: 'entered' }
  /** The event that was to be injected led to an exit at once. */
  | { readonly kind: 'exited'; readonly exit: Exit }
  /** VMfailValid: nothing has changed but `Field.INSTRUCTION_ERROR`. `trouble` says what was wrong. */
  | { readonly kind: 'failed'; readonly error: VmError; readonly trouble: string }
  /** The guest state was refused after the controls were found good: an exit with `ENTRY_FAILURE` (26.7). */
  | { readonly kind: 'refused'; readonly trouble: string };

const ENTERED: Entry = { kind: 'entered' };
/** Guest registers that are one word of the thread each. */
const WORDS: readonly (readonly [field: number, word: number])[] = [
  [Field.GUEST_CR0, S.CR0],
  [Field.GUEST_CR3, S.CR3],
  [Field.GUEST_CR4, S.CR4],
  [Field.GUEST_RSP, S.ESP],
  [Field.GUEST_RIP, S.EIP],
  [Field.GUEST_DR7, S.DR7],
  [Field.GUEST_GDTR_BASE, S.GDT_BASE],
  [Field.GUEST_GDTR_LIMIT, S.GDT_LIMIT],
  [Field.GUEST_IDTR_BASE, S.IDT_BASE],
  [Field.GUEST_IDTR_LIMIT, S.IDT_LIMIT],
  [Field.GUEST_SYSENTER_CS, S.SYSENTER_CS],
  [Field.GUEST_SYSENTER_ESP, S.SYSENTER_ESP],
  [Field.GUEST_SYSENTER_EIP, S.SYSENTER_EIP],
];

/** Access rights of a segment register as a VMCS holds them (24.4.1). */
export const rightsOf = (attr: number): number => ((attr & Attr.P) === 0 ? attr | UNUSABLE : attr);

/** The guest state that a thread holds, field by field: what an exit saves, and what an entry must find. */
export function* guestState(cpu: Core): Iterable<readonly [field: number, value: number]> {
  const { s } = cpu;
  for (const [field, word] of WORDS) yield [field, s[word]!];
  yield [Field.GUEST_RFLAGS, cpu.readEflags()];
  yield [Field.GUEST_INTERRUPTIBILITY, blockingOf(s[S.INTERRUPT_SHADOW]!)];
  for (let index = 0; index < GUEST_SEGMENTS.length; index++) {
    const seg = GUEST_SEGMENTS[index]!;
    yield [nth(Field.GUEST_ES_SELECTOR, index), s[segSelector(seg)]! & 0xffff];
    yield [nth(Field.GUEST_ES_BASE, index), s[segBase(seg)]!];
    yield [nth(Field.GUEST_ES_LIMIT, index), s[segLimit(seg)]!];
    yield [nth(Field.GUEST_ES_RIGHTS, index), rightsOf(s[segAttr(seg)]!)];
  }
}

const blockingOf = (shadow: number): number =>
  shadow === 0 ? 0 : shadow === STACK_SHADOW ? Blocking.MOV_SS : Blocking.STI;
const shadowOf = (blocking: number): number =>
  (blocking & Blocking.MOV_SS) !== 0 ? STACK_SHADOW : (blocking & Blocking.STI) !== 0 ? 1 : 0;

export class Vmx {
  readonly #cpu: Core;
  #current: Vmcs | undefined;

  constructor(cpu: Core) {
    this.#cpu = cpu;
  }

  // ---- instructions of the host

  /** VMCLEAR: the region at a machine address can be launched. Answers an error, or undefined. */
  clear(machineAddress: number): VmError | undefined {
    if ((machineAddress & 4095) !== 0) return VmError.VMCLEAR_ADDRESS;
    new Vmcs(this.#cpu.memory, machineAddress).launched = false;
    return undefined;
  }

  /** VMPTRLD: the region becomes the current VMCS. */
  load(machineAddress: number): VmError | undefined {
    if ((machineAddress & 4095) !== 0) return VmError.VMPTRLD_ADDRESS;
    const vmcs = new Vmcs(this.#cpu.memory, machineAddress);
    if (vmcs.revision !== VMCS_REVISION) return VmError.VMPTRLD_REVISION;
    this.#current = vmcs;
    return undefined;
  }

  /** VMREAD of a field that exists, as an int32. Charges `vmcsRead`. */
  read(field: number): number {
    assert(isField(field), 'VMREAD of no field');
    this.#cpu.charge(this.#cpu.costs.cycles.vmcsRead);
    return this.vmcs.get(field);
  }

  /** VMWRITE. Charges `vmcsWrite`. */
  write(field: number, value: number): VmError | undefined {
    this.#cpu.charge(this.#cpu.costs.cycles.vmcsWrite);
    const error = !isField(field) ? VmError.UNSUPPORTED_FIELD : isReadOnly(field) ? VmError.READ_ONLY_FIELD : undefined;
    if (error === undefined) this.vmcs.set(field, value);
    else this.vmcs.set(Field.INSTRUCTION_ERROR, error);
    return error;
  }

  /** The current VMCS: there must be one. */
  get vmcs(): Vmcs {
    assert(this.#current !== undefined, 'no current VMCS');
    return this.#current;
  }

  // ---- transitions

  /** VMLAUNCH (`launch`) or VMRESUME, up to and with the delivery of an injected event. Charges `vmEntry`. */
  enter(launch: boolean): Entry {
    const { vmcs } = this;
    const cpu = this.#cpu;
    cpu.charge(cpu.costs.cycles.vmEntry);
    if (launch && vmcs.launched) return this.#fail(VmError.VMLAUNCH_NOT_CLEAR, 'launched before');
    if (!launch && !vmcs.launched) return this.#fail(VmError.VMRESUME_NOT_LAUNCHED, 'not launched');
    const controls = controlTrouble(vmcs);
    if (controls !== undefined) return this.#fail(VmError.INVALID_CONTROLS, controls);
    const host = hostTrouble(vmcs);
    if (host !== undefined) return this.#fail(VmError.INVALID_HOST_STATE, host);
    const trouble = guestTrouble(vmcs) ?? this.#pointerTrouble();
    if (trouble !== undefined) {
      vmcs.set(Field.EXIT_REASON, ENTRY_FAILURE | ExitReason.INVALID_GUEST_STATE);
      vmcs.set(Field.EXIT_QUALIFICATION, 0);
      return { kind: 'refused', trouble };
    }
    vmcs.launched = true;
    this.#loadGuest();
    return this.#inject();
  }

  #fail(error: VmError, trouble: string): Entry {
    this.vmcs.set(Field.INSTRUCTION_ERROR, error);
    return { kind: 'failed', error, trouble };
  }

  /** With PAE paging an entry loads the page-directory-pointer registers from memory, if they are valid (26.3.1.6 and 26.3.2.4). */
  #pointerTrouble(): string | undefined {
    const { vmcs } = this;
    const loaded = this.#cpu.loadPointers(
      vmcs.get(Field.GUEST_CR0),
      vmcs.get(Field.GUEST_CR3),
      vmcs.get(Field.GUEST_CR4),
    );
    return loaded ? undefined : 'guest page-directory pointers';
  }

  #loadGuest(): void {
    const { vmcs } = this;
    const cpu = this.#cpu;
    const { s } = cpu;
    const controls = controlsOf(vmcs);
    cpu.controls = controls;
    s[S.NON_ROOT] = Shape.NON_ROOT;
    s[ESCAPES] = 0;
    s[S.EXCEPTION_BITMAP] = vmcs.get(Field.EXCEPTION_BITMAP);
    for (const [field, word] of WORDS) s[word] = vmcs.get(field);
    for (let index = 0; index < GUEST_SEGMENTS.length; index++) {
      const rights = vmcs.get(nth(Field.GUEST_ES_RIGHTS, index));
      cpu.setSegment(
        GUEST_SEGMENTS[index]!,
        vmcs.get(nth(Field.GUEST_ES_SELECTOR, index)),
        vmcs.get(nth(Field.GUEST_ES_BASE, index)),
        vmcs.get(nth(Field.GUEST_ES_LIMIT, index)),
        (rights & UNUSABLE) !== 0 ? rights & ~(UNUSABLE | Attr.P) : rights,
      );
    }
    s[S.INTERRUPT_SHADOW] = shadowOf(vmcs.get(Field.GUEST_INTERRUPTIBILITY));
    cpu.timeStampOffset = timeStampOffset(vmcs);
    cpu.setCpl((s[segAttr(Seg.SS)]! & Attr.DPL) >>> Attr.DPL_SHIFT);
    s[S.INTR] = (controls.cpu & CpuControl.INTERRUPT_WINDOW) !== 0 ? 1 : 0;
    cpu.writeEflags(vmcs.get(Field.GUEST_RFLAGS));
    cpu.flushTlb();
  }

  /** Delivers the event of the VM-entry interruption information through the guest's IDT (26.5). */
  #inject(): Entry {
    const { vmcs } = this;
    const cpu = this.#cpu;
    const information = vmcs.get(Field.ENTRY_INTERRUPTION);
    if ((information & Interruption.VALID) === 0) return ENTERED;
    vmcs.set(Field.ENTRY_INTERRUPTION, information & ~Interruption.VALID);
    const vector = information & Interruption.VECTOR;
    const type = (information & Interruption.TYPE) >>> Interruption.TYPE_SHIFT;
    const software = type >= InterruptionType.SOFTWARE_INTERRUPT;
    const eip = cpu.s[S.EIP]!;
    const returnEip = software ? (eip + vmcs.get(Field.ENTRY_INSTRUCTION_BYTES)) | 0 : eip;
    const source = software
      ? Source.SOFTWARE
      : type === InterruptionType.HARDWARE_EXCEPTION
        ? Source.FAULT
        : Source.EXTERNAL;
    const errorCode = (information & Interruption.ERROR_CODE) !== 0 ? vmcs.get(Field.ENTRY_ERROR_CODE) : 0;
    // The bitmap is not asked about an injected event, and CR2 is the host's to set.
    cpu.nextEip = returnEip;
    cpu.s[S.FAULT_LINEAR] = cpu.s[S.CR2]!;
    const result = deliver(cpu, vector, errorCode, source, returnEip, true);
    if (result !== Result.EXIT) return ENTERED;
    const { exit } = cpu;
    assert(exit !== null, 'an exit without a reason');
    cpu.exit = null;
    return { kind: 'exited', exit };
  }

  /**
   * Ends non-root operation for the reason that a run has answered: saves the guest's state, records reason and details, empties
   * the TLB. Charges `vmExit`. Of `deadline` it makes an external interrupt of the host's.
   */
  exit(exit: Exit): void {
    const { vmcs } = this;
    const cpu = this.#cpu;
    for (const [field, value] of guestState(cpu)) vmcs.set(field, value);
    this.#record(exit);
    this.#recordVectoring();
    cpu.flushTlb();
    cpu.charge(cpu.costs.cycles.vmExit);
  }

  #record(exit: Exit): void {
    const { vmcs } = this;
    const cpu = this.#cpu;
    vmcs.set(Field.EXIT_INTERRUPTION, 0);
    vmcs.set(Field.EXIT_INSTRUCTION_BYTES, 0);
    vmcs.set(Field.EXIT_QUALIFICATION, 0);
    switch (exit.kind) {
      case 'monitor': {
        const type = exit.software ? InterruptionType.SOFTWARE_EXCEPTION : InterruptionType.HARDWARE_EXCEPTION;
        vmcs.set(Field.EXIT_REASON, ExitReason.EXCEPTION);
        vmcs.set(
          Field.EXIT_INTERRUPTION,
          Interruption.VALID |
            exit.vector |
            (type << Interruption.TYPE_SHIFT) |
            (exit.hasErrorCode ? Interruption.ERROR_CODE : 0),
        );
        vmcs.set(Field.EXIT_ERROR_CODE, exit.errorCode);
        if (exit.vector === Vector.PF) vmcs.set(Field.EXIT_QUALIFICATION, cpu.s[S.FAULT_LINEAR]!);
        if (exit.software) vmcs.set(Field.EXIT_INSTRUCTION_BYTES, (cpu.nextEip - cpu.s[S.EIP]!) | 0);
        break;
      }
      case 'vmExit':
        vmcs.set(Field.EXIT_REASON, exit.reason);
        vmcs.set(Field.EXIT_QUALIFICATION, exit.qualification);
        vmcs.set(Field.EXIT_INSTRUCTION_BYTES, exit.instructionBytes);
        break;
      case 'shutdown':
        vmcs.set(Field.EXIT_REASON, ExitReason.TRIPLE_FAULT);
        break;
      default:
        vmcs.set(Field.EXIT_REASON, ExitReason.EXTERNAL_INTERRUPT);
    }
  }

  /** The event whose delivery was interrupted while software stepped the guest without leaving it; null for none. Forgets it. */
  takeVectoring(): Core['vectoring'] {
    const { vectoring } = this.#cpu;
    this.#cpu.vectoring = null;
    return vectoring;
  }

  /** The event whose delivery led to the exit (27.2.3). */
  #recordVectoring(): void {
    const { vmcs } = this;
    const { vectoring } = this.#cpu;
    if (vectoring === null) {
      vmcs.set(Field.VECTORING, 0);
      return;
    }
    const { vector, type, errorCode, instructionBytes } = vectoring;
    const hasErrorCode = errorCode !== undefined;
    vmcs.set(
      Field.VECTORING,
      Interruption.VALID | vector | (type << Interruption.TYPE_SHIFT) | (hasErrorCode ? Interruption.ERROR_CODE : 0),
    );
    vmcs.set(Field.VECTORING_ERROR_CODE, errorCode ?? 0);
    if (instructionBytes > 0) vmcs.set(Field.EXIT_INSTRUCTION_BYTES, instructionBytes);
    this.#cpu.vectoring = null;
  }
}

function controlsOf(vmcs: Vmcs): NonRootControls {
  const targets = Array.from({ length: vmcs.get(Field.CR3_TARGET_COUNT) }, (_, i) =>
    vmcs.get(nth(Field.CR3_TARGET_0, i)),
  );
  return {
    cpu: vmcs.get(Field.CPU_CONTROLS),
    cr0Mask: vmcs.get(Field.CR0_MASK),
    cr0Shadow: vmcs.get(Field.CR0_SHADOW),
    cr4Mask: vmcs.get(Field.CR4_MASK),
    cr4Shadow: vmcs.get(Field.CR4_SHADOW),
    cr3Targets: targets,
    pageFaultMask: vmcs.get(Field.PAGE_FAULT_MASK),
    pageFaultMatch: vmcs.get(Field.PAGE_FAULT_MATCH),
    ioBitmapA: vmcs.get(Field.IO_BITMAP_A),
    ioBitmapB: vmcs.get(Field.IO_BITMAP_B),
  };
}

/** What RDTSC adds in the guest: a signed number of 64 bits, as far as doubles are exact. */
function timeStampOffset(vmcs: Vmcs): number {
  if ((vmcs.get(Field.CPU_CONTROLS) & CpuControl.TSC_OFFSETTING) === 0) return 0;
  return vmcs.get(Field.TSC_OFFSET + 1) * 0x100000000 + (vmcs.get(Field.TSC_OFFSET) >>> 0);
}
