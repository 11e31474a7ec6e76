/**
 * The VMI technique: the guest's kernel runs directly in ring 1, its user code in ring 3, and the monitor hears of
 *
 *     hypercalls          INT 0xF1 in the ROM, made where a call needs the monitor
 *     traps               #GP from privileged instructions that the kernel did not replace: decoded and emulated
 *     SYSENTER, INT n     that no direct gate takes
 *     other exceptions    forwarded through the guest's IDT
 *
 * Interrupts and page faults are the loop's business. What never comes here: cli, sti and their like (the ROM works on the
 * shared flag), the return from the kernel (the ROM's IRET), and what a direct gate takes into ring 1 (system calls by INT
 * 0x80, #DE and other exceptions of user code that only concern the guest).
 *
 * Ring 1 is not trusted: paging does not keep it out of the monitor's hole, segment limits do, so every segment ends behind
 * the vCPU page. What it writes into that page is read with care; the worst it can do is confuse its own guest.
 */
import type { Archive } from '../../base/archive.js';
import { type Exit, Flag, S, Seg, Vector } from '../../machine/cpu/state.js';
import type { Cause } from '../../stats/causes.js';
import { armBreakpoints, singleStepTrap } from '../debug-registers.js';
import { type GuestFault, isFault } from '../guest-fault.js';
import { GUEST_LIMIT_VMI, HYPERCALL_VECTOR, MonitorSelector } from '../hole.js';
import { deliver, type Event, eventOf, hiddenSoftwareInterrupt } from '../inject.js';
import { fetchHere } from '../operands.js';
import { emulate, sysenter } from '../privileged.js';
import type { Outcome, Technique } from '../technique.js';
import { VcpuPage } from '../vcpu-page.js';
import type { VirtualCpu } from '../virtual-cpu.js';
import type { VmiTimer } from './alarms.js';
import { DirectGates, reloadSegments } from './guest-tables.js';
import {
  adoptTssStack,
  CALL_BYTES,
  HYPERCALLS,
  type HypercallResult,
  type VmiApic,
  type VmiGuest,
  type VmiPower,
} from './hypercalls.js';
import { buildVmiRom, INIT_CALL } from './rom.js';
import { ROM_PHYSICAL, VmiPage } from './rom-layout.js';
import { UpdateQueue } from './update-queue.js';

/** What the VM gives the technique. */
export interface VmiWiring {
  readonly timer: VmiTimer;
  readonly power: VmiPower;
  /** Undefined where the VM has no local APIC. */
  readonly apic: VmiApic | undefined;
}

interface ErrorCode {
  readonly errorCode: number;
  readonly hasErrorCode: boolean;
}

const RESUME: Outcome = { kind: 'resume' };
/** Registers that follow the guest in and out; LDTR and TR are the monitor's in hardware. */
const LIVE_SEGMENTS = [Seg.ES, Seg.CS, Seg.SS, Seg.DS, Seg.FS, Seg.GS] as const;
const INT_BYTES = 2;
const SYSENTER_BYTES = 2;
const PAGE_BYTES = 4096;
/** SYSEXIT's selectors: SYSENTER_CS + 16 and + 24, RPL 3 (SDM vol. 2, SYSEXIT). */
const SYSEXIT_CS = 16;
const SYSEXIT_SS = 24;

export class VmiTechnique implements Technique {
  readonly mode = 'vmi';
  readonly #vcpu: VirtualCpu;
  readonly #guest: VmiGuest;
  readonly #romBase: number;
  readonly #rom = buildVmiRom();
  #stolen = 0;

  /** `romBase` is where the guest runs the ROM. `takeOver` makes it work. */
  constructor(vcpu: VirtualCpu, wiring: VmiWiring, romBase: number) {
    this.#vcpu = vcpu;
    this.#romBase = romBase;
    this.#guest = {
      vcpu,
      queue: new UpdateQueue(vcpu),
      gates: new DirectGates(vcpu, romBase),
      timer: wiring.timer,
      power: wiring.power,
      apic: wiring.apic,
    };
  }

  /** Vectors that hardware takes into ring 1 without the monitor. */
  get directVectors(): readonly number[] {
    return this.#guest.gates.vectors;
  }

  /** Linear address of the ROM in the guest. */
  get romBase(): number {
    return this.#romBase;
  }

  /** Makes the captured guest one of VMI: kernel at CPL 1, tables without traces, direct gates, the vCPU page filled. */
  takeOver(): void {
    const vcpu = this.#vcpu;
    vcpu.kernelCpl = 1;
    vcpu.cpl = 1;
    vcpu.setSelector(Seg.CS, (vcpu.selector(Seg.CS) & ~3) | 1);
    vcpu.setSelector(Seg.SS, (vcpu.selector(Seg.SS) & ~3) | 1);
    this.prepare();
    vcpu.descriptors.setGdt(false);
    vcpu.descriptors.setLdt(false);
    this.#guest.queue.reset();
    this.#fillPage();
    reloadSegments(vcpu);
    adoptTssStack(vcpu, this.#guest.queue);
    this.#guest.gates.sync();
  }

  /** What hardware needs for a guest of VMI, whoever loads the guest's tables then. */
  prepare(): void {
    const vcpu = this.#vcpu;
    vcpu.descriptors.guestLimit = GUEST_LIMIT_VMI;
    vcpu.descriptors.setTcSegments(false);
    // Hardware's own MSR is the monitor's: with a null selector SYSENTER would be #GP instead of an exit.
    vcpu.thread.s[S.SYSENTER_CS] = MonitorSelector.MONITOR_CODE;
    // From now on the guest announces changes of its loaded tables.
    vcpu.watchesDescriptors = false;
  }

  exchange(archive: Archive): void {
    const vcpu = this.#vcpu;
    const { queue, gates } = this.#guest;
    archive.bytes(vcpu.vm.memory.u8.subarray(vcpu.page, vcpu.page + PAGE_BYTES));
    this.#stolen = archive.number(this.#stolen);
    queue.exchange(archive);
    if (!archive.restores) return;
    gates.sync();
  }

  #fillPage(): void {
    const { timer } = this.#guest;
    this.#write(VmiPage.REAL_OFFSET_LOW, timer.poweredOnAtCycles % 2 ** 32);
    this.#write(VmiPage.REAL_OFFSET_HIGH, Math.floor(timer.poweredOnAtCycles / 2 ** 32));
    this.#write(VmiPage.FREQUENCY_LOW, timer.cyclesPerSecond % 2 ** 32);
    this.#write(VmiPage.FREQUENCY_HIGH, Math.floor(timer.cyclesPerSecond / 2 ** 32));
    this.#write(VcpuPage.TIME_VERSION, 0);
    this.#write(VcpuPage.STOLEN_LOW, 0);
    this.#write(VcpuPage.STOLEN_HIGH, 0);
    this.#stolen = 0;
  }

  #write(offset: number, value: number): void {
    this.#vcpu.vm.memory.write32(this.#vcpu.page + offset, value);
  }

  enter(deadlineCycles: number): Exit {
    const vcpu = this.#vcpu;
    this.#refreshPage();
    if (!vcpu.inHardware) {
      vcpu.thread.s[S.EIP] = vcpu.eip;
      vcpu.thread.setCpl(vcpu.cpl);
      vcpu.pushSegments(LIVE_SEGMENTS);
      armBreakpoints(vcpu);
      // Hardware IF is always set and IOPL 0 while the guest runs: the virtual ones are in the vCPU page.
      const flags = vcpu.thread.readEflags() & ~(Flag.IOPL | Flag.NT | Flag.VM);
      vcpu.thread.writeEflags(flags | Flag.IF | Flag.FIXED);
      vcpu.inHardware = true;
    }
    vcpu.chargeEntry();
    if (!vcpu.interruptShadow) return vcpu.thread.run(deadlineCycles);
    // A native STI or MOV SS was emulated: one instruction alone, then the loop looks for interrupts again.
    vcpu.interruptShadow = false;
    const exit = vcpu.thread.step();
    return exit.kind === 'stepped' ? { kind: 'deadline' } : exit;
  }

  /** Words of the vCPU page that change behind the guest's back. */
  #refreshPage(): void {
    const stolen = this.#guest.timer.stolenCycles;
    if (stolen !== this.#stolen) {
      const version = this.#vcpu.vm.memory.readI32(this.#vcpu.page + VcpuPage.TIME_VERSION);
      this.#write(VcpuPage.TIME_VERSION, version | 1);
      this.#write(VcpuPage.STOLEN_LOW, stolen % 2 ** 32);
      this.#write(VcpuPage.STOLEN_HIGH, Math.floor(stolen / 2 ** 32));
      this.#write(VcpuPage.TIME_VERSION, (version | 1) + 1);
      this.#stolen = stolen;
    }
    this.#write(VmiPage.USER_CS, ((this.#vcpu.sysenterCs + SYSEXIT_CS) & 0xffff) | 3);
    this.#write(VmiPage.USER_SS, ((this.#vcpu.sysenterCs + SYSEXIT_SS) & 0xffff) | 3);
  }

  capture(): void {
    const vcpu = this.#vcpu;
    if (!vcpu.inHardware) return;
    vcpu.inHardware = false;
    vcpu.cpl = vcpu.thread.s[S.CPL]!;
    vcpu.eip = vcpu.thread.s[S.EIP]! >>> 0;
    vcpu.pullSegments(LIVE_SEGMENTS);
    vcpu.interruptShadow = vcpu.thread.s[S.INTERRUPT_SHADOW] !== 0;
    // SetCR2 is a store of the ROM.
    const cr2 = vcpu.vm.memory.readI32(vcpu.page + VcpuPage.CR2);
    if (cr2 !== vcpu.cr2) vcpu.cr2 = cr2;
    this.#leaveRestartRange();
  }

  /** Inside a restartable stretch of the ROM nothing may be delivered: go back to its start. */
  #leaveRestartRange(): void {
    const vcpu = this.#vcpu;
    if (vcpu.cpl !== 1) return;
    const offset = (vcpu.eip - this.#romBase) >>> 0;
    const range = this.#rom.restartRanges.find(({ from, to }) => offset >= from && offset < to);
    if (range === undefined) return;
    vcpu.eip = (this.#romBase + range.restart) >>> 0;
    if (range.clearsVif) vcpu.interruptsEnabled = false;
  }

  settle(): void {
    this.#guest.queue.settle();
  }

  handle(exit: Exit): Outcome {
    switch (exit.kind) {
      case 'sysenter':
        return this.#onSysenter();
      case 'monitor':
        return exit.software ? this.#onSoftwareInterrupt(exit.vector) : this.#onException(exit.vector, exit);
      default:
        // HLT and shutdown need ring 0, which the guest never has.
        return { kind: 'stopped', reason: `unexpected exit under VMI: ${exit.kind}` };
    }
  }

  #onSysenter(): Outcome {
    this.capture();
    this.#begin('syscall');
    this.#vcpu.vm.counters.syscallsForwarded += 1;
    const effect = sysenter(this.#vcpu);
    // A fault is the instruction's.
    if (effect.kind === 'fault') this.#vcpu.eip = (this.#vcpu.eip - SYSENTER_BYTES) >>> 0;
    return effect.kind === 'fault' ? this.#raise(effect) : effect.kind === 'stopped' ? effect : RESUME;
  }

  #onSoftwareInterrupt(vector: number): Outcome {
    const vcpu = this.#vcpu;
    if (vector === HYPERCALL_VECTOR && vcpu.thread.s[S.CPL] === 1) {
      const call = this.#callAt(vcpu.thread.s[S.EIP]! >>> 0);
      if (call !== undefined) return this.#onHypercall(call);
    }
    this.capture();
    const breakpoint = vector === Vector.BP || vector === Vector.OF;
    this.#begin(breakpoint ? 'trueFault' : 'syscall');
    if (breakpoint) vcpu.vm.counters.forwardedFaults += 1;
    else vcpu.vm.counters.syscallsForwarded += 1;
    return this.#deliver({ vector, kind: 'software', instructionBytes: breakpoint ? 1 : INT_BYTES });
  }

  /** The call whose INT ends at `eip`, whatever linear address the guest runs the ROM at. */
  #callAt(eip: number): number | undefined {
    const call = this.#rom.sites.get((eip - this.#romBase) >>> 0);
    if (call !== undefined) return call;
    const physical = this.#vcpu.memory.translate(eip, false, false);
    return isFault(physical) ? undefined : this.#rom.sites.get(physical - ROM_PHYSICAL);
  }

  #onHypercall(index: number): Outcome {
    const vcpu = this.#vcpu;
    this.#begin('hypercall');
    vcpu.vm.counters.hypercalls += 1;
    vcpu.thread.charge(vcpu.costs.hypercallDispatch);
    if (index === INIT_CALL) {
      // Active already.
      vcpu.thread.s[S.EAX] = -1;
      return RESUME;
    }
    const handler = HYPERCALLS.get(index);
    if (handler === undefined) return { kind: 'stopped', reason: `VMI call ${index} has no handler` };
    if (handler.captures) this.capture();
    const site = vcpu.thread.s[S.EIP]! >>> 0;
    const result: HypercallResult = handler.run(this.#guest);
    // Behind the call an interrupt can be taken at once, and only a captured guest is known to be at such a place.
    if (vcpu.vm.interrupts.intr && vcpu.interruptsEnabled) this.capture();
    if (result === undefined) return RESUME;
    if (result.kind !== 'fault' && result.kind !== 'again') return result;
    this.capture();
    // Back to the INT, unless the handler has moved EIP (IRET reports its faults at the call site).
    if (vcpu.eip === site) vcpu.eip = (site - INT_BYTES) >>> 0;
    return result.kind === 'fault' ? this.#raise(result) : RESUME;
  }

  #onException(vector: number, exit: ErrorCode): Outcome {
    const vcpu = this.#vcpu;
    const romOffset = (vcpu.thread.s[S.EIP]! - this.#romBase) >>> 0;
    const atRealIret = vcpu.thread.s[S.CPL] === 1 && this.#rom.realIrets.includes(romOffset);
    this.capture();
    if (atRealIret) return this.#onIretFault(vector, exit);
    if (vector === Vector.GP && exit.errorCode !== 0) {
      const hidden = hiddenSoftwareInterrupt(vcpu, exit.errorCode);
      if (hidden !== undefined) {
        this.#begin('syscall');
        vcpu.vm.counters.syscallsForwarded += 1;
        return this.#deliver(hidden);
      }
    }
    if (vector === Vector.GP && exit.errorCode === 0) return this.#onGeneralProtection(exit);
    this.#begin('trueFault');
    return this.#forward(vector, exit);
  }

  /** A privileged instruction, to be carried out for the kernel (or for user code with IOPL), or the guest's own mistake. */
  #onGeneralProtection(exit: ErrorCode): Outcome {
    const vcpu = this.#vcpu;
    this.#begin('trap');
    const steps = (vcpu.eflags & Flag.TF) !== 0;
    const effect = emulate(vcpu);
    if (effect === undefined || effect.kind === 'fault') {
      vcpu.account('trap');
      vcpu.account('trueFault');
      if (effect === undefined) return this.#forward(Vector.GP, exit);
      vcpu.vm.counters.forwardedFaults += 1;
      return this.#deliver(eventOf(effect));
    }
    vcpu.vm.counters.trappedInstructions += 1;
    if (steps && effect.kind === 'next') return this.#raise(singleStepTrap(vcpu));
    if (effect.kind === 'halt') return { kind: 'halted' };
    return effect.kind === 'stopped' ? effect : RESUME;
  }

  /** The frame of a return was bad: the guest expects the fault at its call site, where it has an exception-table entry. */
  #onIretFault(vector: number, exit: ErrorCode): Outcome {
    const vcpu = this.#vcpu;
    const site = vcpu.vm.memory.readI32(vcpu.page + VmiPage.RETURN_SITE);
    vcpu.eip = (site - CALL_BYTES) >>> 0;
    // `capture` has cleared VIF, which the ROM had set for the state to return to.
    this.#begin('trueFault');
    return this.#forward(vector, exit);
  }

  #forward(vector: number, exit: ErrorCode): Outcome {
    this.#vcpu.vm.counters.forwardedFaults += 1;
    return this.#deliver({ vector, kind: 'exception', errorCode: exit.hasErrorCode ? exit.errorCode : undefined });
  }

  #raise(trouble: GuestFault): Outcome {
    const { counters } = this.#vcpu.vm;
    if (trouble.vector === Vector.PF) counters.trueFaults += 1;
    else counters.forwardedFaults += 1;
    return this.#deliver(eventOf(trouble));
  }

  #deliver(event: Event): Outcome {
    const delivery = deliver(this.#vcpu, event);
    return delivery.kind === 'stopped' ? delivery : RESUME;
  }

  /** Once for each exit: everything from its delivery on is booked on `cause`. */
  #begin(cause: Cause): void {
    this.#vcpu.account(cause);
    this.#vcpu.thread.charge(this.#vcpu.costs.vmmEntry);
  }

  /** Programs alone: the kernel knows that its segments end below the hole. */
  instruction(): Uint8Array | undefined {
    const vcpu = this.#vcpu;
    return vcpu.inHardware && vcpu.thread.s[S.CPL] === 3 ? fetchHere(vcpu) : undefined;
  }

  /** The ROM's update of an entry that was never announced: the hypercall that follows finds it done. */
  onTraceHit(): void {}

  /** No translations are kept. */
  onCodeWritten(): void {}

  onMappingChanged(): void {}

  audit(): string[] {
    const findings = this.#guest.gates.audit();
    const vcpu = this.#vcpu;
    if (vcpu.kernelCpl !== 1) findings.push('vmi: kernel level is not 1');
    const count = vcpu.vm.memory.readI32(vcpu.page + VcpuPage.QUEUE_COUNT);
    if (count < 0 || count > VcpuPage.QUEUE_ENTRIES) findings.push(`vmi: queue of ${count} entries`);
    return findings;
  }
}
