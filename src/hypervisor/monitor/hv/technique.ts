/**
 * Hardware assist: kernel and user code of the guest run as they are, at their own privilege levels, in VMX non-root operation. What the
 * VMCS asks for exits (`set-up.ts`); the monitor keeps shadow page tables, since this hardware has no nested paging.
 *
 *              enter (VMLAUNCH, VMRESUME)
 *     monitor ----------------------------> guest inside
 *        ^  |                                   |
 *        |  +-- capture: VirtualCpu <-- thread  | exit: state into the VMCS
 *        +--------------------------------------+
 *
 * A run that ends at its deadline is no exit yet: the guest stays inside, and goes on for nothing if all that its caller wanted was to cut the
 * run. It is left, by an interrupt of the host's, when something is to be done (`interrupted`, `capture`, a request for the interrupt window).
 *
 * The thread's registers are the guest's even when it has exited: hardware would have loaded the host's, but the host is no simulated
 * code, and what emulates instructions works on them. `#sync` writes to the VMCS what has changed meanwhile, each field for a VMWRITE.
 *
 * The monitor has no hole in the guest's linear space: paging in the host is the host's.
 *
 * Gap. Real mode, and so whatever begins at a reset vector.
 */
import { assert, MonitorBug } from '../../base/assert.js';
import type { Mpn } from '../../base/pages.js';
import { Dr7 } from '../../machine/cpu/breakpoints.js';
import type { Core } from '../../machine/cpu/core.js';
import {
  Attr,
  Cr0,
  type Exit,
  Flag,
  S,
  Seg,
  segAttr,
  segBase,
  segLimit,
  segSelector,
  Vector,
} from '../../machine/cpu/state.js';
import { CpuControl, Interruption, InterruptionType } from '../../machine/vmx/controls.js';
import { CR4_VMXE } from '../../machine/vmx/entry-checks.js';
import { Field, nth } from '../../machine/vmx/fields.js';
import { visibleControl } from '../../machine/vmx/intercepts.js';
import { guestState } from '../../machine/vmx/vmx.js';
import { armBreakpoints } from '../debug-registers.js';
import { type Delivery, deliver, type Event, isDouble, tripleFault } from '../inject.js';
import type { Outcome, Technique } from '../technique.js';
import { VcpuPage } from '../vcpu-page.js';
import type { VirtualCpu } from '../virtual-cpu.js';
import { ExitHandlers, type Injection } from './exits.js';
import { CR0_OWNED, CR4_OWNED, cpuControls, exceptionBitmap, setUpVmcs } from './set-up.js';

const DEADLINE: Exit = { kind: 'deadline' };
const DELIVERED: Delivery = { kind: 'delivered' };
const SEGMENTS = [Seg.ES, Seg.CS, Seg.SS, Seg.DS, Seg.FS, Seg.GS, Seg.TR, Seg.LDTR] as const;
/** EFLAGS bits besides IF that the vCPU page holds for a guest that is out. */
const VIRTUAL_FLAGS = Flag.IOPL | Flag.NT;

/** What an emulator has to know besides the general registers: where it is, in which mode, and the segment of the operand. */
const EMULATOR_READS = [
  Field.GUEST_RIP,
  Field.GUEST_RFLAGS,
  nth(Field.GUEST_ES_BASE, Seg.CS),
  nth(Field.GUEST_ES_RIGHTS, Seg.CS),
  nth(Field.GUEST_ES_BASE, Seg.DS),
  nth(Field.GUEST_ES_LIMIT, Seg.DS),
  nth(Field.GUEST_ES_RIGHTS, Seg.DS),
] as const;

export class HvTechnique implements Technique {
  readonly mode = 'hv';
  readonly #vcpu: VirtualCpu;
  readonly #vmcs: Mpn;
  readonly #exits: ExitHandlers;
  #launched = false;
  /** In non-root operation: entered, and not exited since. */
  #inside = false;
  /** What the next entry delivers. */
  #injection: Injection | undefined;

  constructor(vcpu: VirtualCpu) {
    this.#vcpu = vcpu;
    vcpu.kernelCpl = 0;
    vcpu.watchesDescriptors = false;
    vcpu.usesOwnTables = false;
    this.#vmcs = setUpVmcs(vcpu);
    const technique = this;
    this.#exits = new ExitHandlers(vcpu, {
      get interrupted() {
        return technique.#injection;
      },
      forget: () => {
        this.#injection = undefined;
      },
      inject: event => this.inject(event),
    });
  }

  destroy(): void {
    const vcpu = this.#vcpu;
    vcpu.thread.leaveNonRoot();
    vcpu.vm.freeMonitorPage(this.#vmcs, 'tables');
  }

  get vcpu(): VirtualCpu {
    return this.#vcpu;
  }

  /** Exits are at boundaries; but an event whose delivery was interrupted comes first. */
  get atBoundary(): boolean {
    return this.#injection === undefined;
  }

  enter(deadlineCycles: number): Exit {
    const { vcpu } = this;
    if (this.#inside && this.#wantsWindow() !== this.#hasWindow()) this.#leave(DEADLINE);
    if (!this.#inside) {
      const ended = this.#goInside();
      if (ended !== undefined) return this.#left(ended);
    }
    return this.#left(vcpu.thread.run(deadlineCycles));
  }

  /** Every field of the guest's state that differs, the controls that depend on the moment, then the entry. */
  #goInside(): Exit | undefined {
    const { vcpu } = this;
    const { thread } = vcpu;
    if (!vcpu.inHardware) this.#push();
    thread.charge(vcpu.costs.vmmExit);
    this.#sync();
    const entry = thread.vmx.enter(!this.#launched);
    if (entry.kind === 'failed' || entry.kind === 'refused')
      throw new MonitorBug(`VM entry ${entry.kind}: ${entry.trouble}`);
    this.#launched = true;
    this.#inside = true;
    vcpu.account(vcpu.cause);
    return entry.kind === 'exited' ? entry.exit : undefined;
  }

  #sync(): void {
    const { vcpu } = this;
    const { s } = vcpu.thread;
    // Bits that VMX operation wants (the guest sees its own by the read shadows).
    s[S.CR0]! |= Cr0.NE;
    s[S.CR4]! |= CR4_VMXE;
    for (const [field, value] of guestState(this.#core)) this.#write(field, value);
    this.#write(Field.CR0_SHADOW, vcpu.cr0);
    this.#write(Field.CR4_SHADOW, vcpu.cr4);
    this.#write(Field.CPU_CONTROLS, cpuControls(vcpu) | (this.#wantsWindow() ? CpuControl.INTERRUPT_WINDOW : 0));
    this.#write(Field.EXCEPTION_BITMAP, exceptionBitmap(vcpu));
    const event = this.#injection;
    if (event === undefined) return;
    this.#injection = undefined;
    const hasErrorCode = event.errorCode !== undefined;
    if (hasErrorCode) this.#write(Field.ENTRY_ERROR_CODE, event.errorCode);
    if (event.instructionBytes > 0) this.#write(Field.ENTRY_INSTRUCTION_BYTES, event.instructionBytes);
    this.#write(
      Field.ENTRY_INTERRUPTION,
      Interruption.VALID |
        (event.type << Interruption.TYPE_SHIFT) |
        (hasErrorCode ? Interruption.ERROR_CODE : 0) |
        event.vector,
    );
  }

  /** VMWRITE, where the field has another value: the monitor knows what it has written. */
  #write(field: number, value: number): void {
    const { vmx } = this.#vcpu.thread;
    if (vmx.vmcs.get(field) !== value) assert(vmx.write(field, value) === undefined, 'VMWRITE failed');
  }

  /** An interrupt waits that the guest does not take now. */
  #wantsWindow(): boolean {
    return this.#vcpu.pending;
  }

  #hasWindow(): boolean {
    return (this.#vcpu.thread.vmx.vmcs.get(Field.CPU_CONTROLS) & CpuControl.INTERRUPT_WINDOW) !== 0;
  }

  /** A run has ended. */
  #left(exit: Exit): Exit {
    const { vcpu } = this;
    vcpu.accountGuest();
    if (exit.kind !== 'deadline') this.#leave(exit);
    this.#mirror();
    return exit;
  }

  /** The exit itself, and what of the exit information the monitor always looks at. */
  #leave(exit: Exit): void {
    const { vcpu } = this;
    const { vmx } = vcpu.thread;
    vcpu.accountGuest();
    vmx.exit(exit);
    this.#inside = false;
    vcpu.thread.charge(vcpu.costs.exitRefill);
    vmx.read(Field.EXIT_REASON);
    if (exit.kind === 'monitor') {
      vmx.read(Field.EXIT_INTERRUPTION);
      if (exit.hasErrorCode) vmx.read(Field.EXIT_ERROR_CODE);
      if (exit.vector === Vector.PF) vmx.read(Field.EXIT_QUALIFICATION);
    }
    const vectoring = vmx.read(Field.VECTORING);
    if ((vectoring & Interruption.VALID) === 0) return;
    const type = (vectoring & Interruption.TYPE) >>> Interruption.TYPE_SHIFT;
    const software = type >= InterruptionType.SOFTWARE_INTERRUPT;
    this.#injection = {
      vector: vectoring & Interruption.VECTOR,
      type,
      errorCode: (vectoring & Interruption.ERROR_CODE) !== 0 ? vmx.read(Field.VECTORING_ERROR_CODE) : undefined,
      instructionBytes: software ? vmx.read(Field.EXIT_INSTRUCTION_BYTES) : 0,
    };
  }

  takeInterruptedEvent(): Event | undefined {
    const event = this.#injection;
    if (event === undefined) return undefined;
    this.#injection = undefined;
    this.capture();
    const { vector, type, errorCode, instructionBytes } = event;
    if (type === InterruptionType.EXTERNAL) return { kind: 'external', vector };
    if (instructionBytes === 0) return { kind: 'exception', vector, errorCode };
    const { vcpu } = this;
    vcpu.eip = (vcpu.eip + instructionBytes) >>> 0;
    return { kind: 'software', vector, instructionBytes };
  }

  afterStep(): boolean {
    this.#mirror();
    const event = this.#vcpu.thread.vmx.takeVectoring();
    if (event === null) return false;
    this.#injection = event;
    return true;
  }

  /** What the loop asks about a guest that is in: may it be interrupted? */
  #mirror(): void {
    const { vcpu } = this;
    const { s } = vcpu.thread;
    vcpu.interruptsEnabled = (s[S.EFLAGS]! & Flag.IF) !== 0;
    vcpu.interruptShadow = s[S.INTERRUPT_SHADOW] !== 0;
  }

  /** The host's own interrupt: what ended the run becomes an exit. The loop charges what it does about it. */
  interrupted(): void {
    if (this.#inside) this.#leave(DEADLINE);
  }

  capture(): void {
    const { vcpu } = this;
    if (!vcpu.inHardware) return;
    if (this.#inside) this.#leave(DEADLINE);
    vcpu.inHardware = false;
    const { s } = vcpu.thread;
    vcpu.eip = s[S.EIP]! >>> 0;
    vcpu.cpl = s[S.CPL]!;
    for (const seg of SEGMENTS) {
      vcpu.setSegment(seg, s[segSelector(seg)]!, s[segBase(seg)]!, s[segLimit(seg)]!, s[segAttr(seg)]!);
    }
    vcpu.gdtBase = s[S.GDT_BASE]!;
    vcpu.gdtLimit = s[S.GDT_LIMIT]!;
    vcpu.idtBase = s[S.IDT_BASE]!;
    vcpu.idtLimit = s[S.IDT_LIMIT]!;
    vcpu.sysenterCs = s[S.SYSENTER_CS]!;
    vcpu.sysenterEsp = s[S.SYSENTER_ESP]!;
    vcpu.sysenterEip = s[S.SYSENTER_EIP]!;
    vcpu.cr0 = visibleControl(this.#core, 0);
    vcpu.cr2 = s[S.CR2]!;
    vcpu.cr4 = visibleControl(this.#core, 4);
    vcpu.vm.memory.write32(vcpu.page + VcpuPage.VFLAGS, s[S.EFLAGS]! & VIRTUAL_FLAGS);
    this.#mirror();
  }

  /** The reverse: the thread gets what `VirtualCpu` holds. */
  #push(): void {
    const { vcpu } = this;
    const { thread } = vcpu;
    const { s } = thread;
    s[S.EIP] = vcpu.eip;
    for (const seg of SEGMENTS) {
      thread.setSegment(seg, vcpu.selector(seg), vcpu.base(seg), vcpu.limit(seg) | 0, vcpu.attr(seg));
    }
    thread.setCpl(vcpu.cpl);
    s[S.GDT_BASE] = vcpu.gdtBase;
    s[S.GDT_LIMIT] = vcpu.gdtLimit;
    s[S.IDT_BASE] = vcpu.idtBase;
    s[S.IDT_LIMIT] = vcpu.idtLimit;
    s[S.SYSENTER_CS] = vcpu.sysenterCs;
    s[S.SYSENTER_ESP] = vcpu.sysenterEsp;
    s[S.SYSENTER_EIP] = vcpu.sysenterEip;
    s[S.CR2] = vcpu.cr2;
    s[S.INTERRUPT_SHADOW] = vcpu.interruptShadow ? s[S.INTERRUPT_SHADOW]! || 1 : 0;
    thread.writeEflags(vcpu.eflags);
    armBreakpoints(vcpu);
    vcpu.inHardware = true;
  }

  /** The thread as the processor knows it. */
  get #core(): Core {
    return this.#vcpu.thread as unknown as Core;
  }

  /**
   * The event is delivered by the next entry. A fault that came up while another event was being delivered takes its place, as on
   * hardware: a double fault, or the fault alone.
   */
  inject(event: Event): Delivery {
    const { vcpu } = this;
    assert(!vcpu.inHardware, 'the guest is in');
    const interrupted = this.#injection;
    if (event.cr2 !== undefined) vcpu.cr2 = event.cr2;
    // Entering the handler of a debug exception ends general detection (SDM vol. 3, 17.2.4); an injection does not.
    if (event.kind === 'exception' && event.vector === Vector.DB) vcpu.debugRegisters[7]! &= ~Dr7.GD;
    const external = event.kind === 'external';
    this.#injection = {
      vector: event.vector,
      type: external ? InterruptionType.EXTERNAL : InterruptionType.HARDWARE_EXCEPTION,
      errorCode: event.errorCode,
      instructionBytes: 0,
    };
    if (interrupted === undefined || interrupted.type !== InterruptionType.HARDWARE_EXCEPTION) return this.#enterable();
    if (interrupted.vector === Vector.DF) return { kind: 'stopped', reason: tripleFault(vcpu, event.vector) };
    if (isDouble({ kind: 'exception', vector: interrupted.vector }, event)) {
      this.#injection = { ...this.#injection, vector: Vector.DF, errorCode: 0 };
    }
    return this.#enterable();
  }

  /**
   * A new task whose CS is no good has a fault, and no state that a VM entry takes (SDM vol. 3, 26.3.1.2): then the event is delivered by
   * software.
   */
  #enterable(): Delivery {
    const { vcpu } = this;
    const event = this.#injection;
    if (event === undefined || (vcpu.attr(Seg.CS) & Attr.P) !== 0) return DELIVERED;
    this.#injection = undefined;
    return deliver(vcpu, { kind: 'exception', vector: event.vector, errorCode: event.errorCode });
  }

  /** Software carries an instruction out: it fetches the bytes and asks for what segments and flags are. */
  beginEmulation(): void {
    const { vcpu } = this;
    const { costs, thread } = vcpu;
    for (const field of EMULATOR_READS) thread.vmx.read(field);
    thread.charge(2 * costs.guestWalkLevel + costs.guestMemoryAccess);
  }

  handle(exit: Exit): Outcome {
    return this.#exits.handle(exit, () => this.capture());
  }

  // Nothing is derived from the guest's code or mappings but the shadow.
  onTraceHit(): void {}
  onCodeWritten(): void {}
  onMappingChanged(): void {}

  audit(): string[] {
    if (!this.#inside) return [];
    const { vcpu } = this;
    const { vmcs } = vcpu.thread.vmx;
    const findings: string[] = [];
    const differs = (field: number, value: number, owned: number) => ((vmcs.get(field) ^ value) & ~owned) !== 0;
    if (differs(Field.CR0_SHADOW, vcpu.cr0, CR0_OWNED))
      findings.push('hv: the read shadow of CR0 is not the guest’s CR0');
    if (differs(Field.CR4_SHADOW, vcpu.cr4, CR4_OWNED))
      findings.push('hv: the read shadow of CR4 is not the guest’s CR4');
    if (vmcs.get(Field.GUEST_CR3) >>> 12 !== vcpu.shadow.root) findings.push('hv: the guest runs on another shadow');
    return findings;
  }
}
