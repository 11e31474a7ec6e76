/**
 * Kernel code that is debugged: while the guest single-steps its kernel (EFLAGS.TF) or has breakpoints, nothing of it is translated.
 *
 *     out --- what ring 1 executes as ring 0 does: in place, with the guest's own flags and breakpoints ---> one step --> out
 *      |                                                                                                      | #DB, faults
 *      +----- everything else: the monitor performs it, and raises #DB behind it (or in front of it) ---------+--> the guest
 *
 * So each instruction has its own address and its own debug exceptions, as hardware has them. The price is that of a monitor that
 * single-steps: an exception, decoding, and an entry for each instruction.
 *
 * Gap. A data breakpoint is not met by accesses that the monitor makes: those of instructions that it performs, and of deliveries.
 */
import { Decoder, Instruction, Mnemonic } from 'iced-x86';
import { STACK_SHADOW } from '../../machine/cpu/breakpoints.js';
import { DECODER_OPTIONS } from '../../machine/cpu/decoder-options.js';
import { type Exit, Flag, S, Seg, Vector } from '../../machine/cpu/state.js';
import { armBreakpoints, disarmBreakpoints, hasBreakpoints, meetsBreakpoint } from '../debug-registers.js';
import type { Decoded } from '../decoded.js';
import type { GuestFault } from '../guest-fault.js';
import { isFault } from '../guest-fault.js';
import { decodeAt } from '../operands.js';
import type { VirtualCpu } from '../virtual-cpu.js';
import { decodeGuest, type GuestClass, type GuestInstruction, isNarrowTransfer } from './classify.js';
import { ALL_SEGMENTS } from './world.js';

/** What the monitor performs here: privileged, or different at CPL 1. GS and CS are the guest's own, and near transfers need no translation. */
const PERFORMED: ReadonlySet<GuestClass> = new Set([
  'callout',
  'cli',
  'sti',
  'pushf',
  'popf',
  'pushCs',
  'movFromCs',
  'pushSs',
  'movFromSs',
  'movFromCr',
]);

const SOFTWARE_INTERRUPTS: ReadonlySet<Mnemonic> = new Set([Mnemonic.Int, Mnemonic.Int1, Mnemonic.Int3, Mnemonic.Into]);

const STEPPED: Exit = { kind: 'routine' };

/** An instruction that the monitor is to perform. */
export interface Performed {
  readonly guest: GuestInstruction;
  readonly decoded: Decoded;
  /** TF was set in front of it. */
  readonly traced: boolean;
}

export class SteppedKernel {
  readonly #vcpu: VirtualCpu;
  /** Hardware holds the guest's kernel as it is. */
  #inside = false;
  /** Where it was sent to. */
  #eip = 0;
  /** The last instruction has loaded SS: no #DB in front of the next. */
  #stackLoaded = false;
  #performed: Performed | undefined;

  constructor(vcpu: VirtualCpu) {
    this.#vcpu = vcpu;
  }

  get isInside(): boolean {
    return this.#inside;
  }

  /** The guest, which is out and in its kernel, is debugged. */
  get isDue(): boolean {
    return (this.#vcpu.thread.s[S.EFLAGS]! & Flag.TF) !== 0 || hasBreakpoints(this.#vcpu);
  }

  /** The instruction that the last `enter` has left to the monitor; asked once. */
  takePerformed(): Performed | undefined {
    const performed = this.#performed;
    this.#performed = undefined;
    return performed;
  }

  /** Executes one instruction, or begins to; `routine`: it is done, or to be performed. */
  enter(): Exit {
    const { thread } = this.#vcpu;
    // The monitor may have carried the instruction out, at a trace or a device: what comes next is looked at anew.
    if (this.#inside && thread.s[S.EIP] !== this.#eip) this.capture();
    if (!this.#inside) {
      const exit = this.#begin();
      if (exit !== undefined) return exit;
    }
    this.#vcpu.chargeEntry();
    const exit = thread.step();
    if (exit.kind !== 'stepped') return exit;
    // The monitor's own single step.
    thread.charge(this.#vcpu.costs.exceptionToInner + this.#vcpu.costs.vmmEntry);
    this.capture();
    return STEPPED;
  }

  /** Takes the guest out. */
  capture(): void {
    const vcpu = this.#vcpu;
    const { thread } = vcpu;
    this.#inside = false;
    vcpu.inHardware = false;
    vcpu.eip = thread.s[S.EIP]! >>> 0;
    vcpu.pullSegments(ALL_SEGMENTS);
    vcpu.setSelector(Seg.CS, vcpu.selector(Seg.CS) & 0xfffc);
    disarmBreakpoints(vcpu);
  }

  /** Is a single-step trap due behind an instruction that was performed? `leads`: it has set EIP itself. */
  traps({ guest, decoded, traced }: Performed, leads: boolean): boolean {
    const loadsStack = guest.shadows && guest.guestClass === 'callout';
    return traced && !loadsStack && !(leads && SOFTWARE_INTERRUPTS.has(decoded.mnemonic));
  }

  /** Loads hardware with the guest as it is; an exit where the monitor has to do something instead. */
  #begin(): Exit | undefined {
    const vcpu = this.#vcpu;
    const { thread } = vcpu;
    const { s } = thread;
    vcpu.eip >>>= 0;
    vcpu.interruptShadow = false;
    const shadowed = this.#stackLoaded;
    this.#stackLoaded = false;
    const decoded = decodeAt(vcpu);
    if (isFault(decoded)) return faultExit(vcpu, decoded);
    const guest = this.#classify(decoded);
    if (PERFORMED.has(guest.guestClass) && !isNarrowTransfer(guest)) {
      if (!shadowed && meetsBreakpoint(vcpu, (vcpu.eip + vcpu.base(Seg.CS)) >>> 0)) return exception(Vector.DB);
      this.#performed = { guest, decoded, traced: (s[S.EFLAGS]! & Flag.TF) !== 0 };
      this.#stackLoaded = guest.shadows && guest.guestClass === 'callout';
      return STEPPED;
    }
    vcpu.pushSegments(ALL_SEGMENTS);
    thread.writeEflags((thread.readEflags() & ~Flag.NT) | Flag.IF);
    armBreakpoints(vcpu);
    s[S.INTERRUPT_SHADOW] = shadowed ? STACK_SHADOW : 0;
    thread.setCpl(1);
    s[S.EIP] = vcpu.eip;
    this.#eip = s[S.EIP]!;
    vcpu.inHardware = true;
    this.#inside = true;
    return undefined;
  }

  #classify({ length }: Decoded): GuestInstruction {
    const vcpu = this.#vcpu;
    // It has just been fetched.
    const bytes = vcpu.memory.fetch((vcpu.base(Seg.CS) + vcpu.eip) >>> 0, length, false) as Uint8Array;
    const decoder = new Decoder(32, bytes, DECODER_OPTIONS);
    const instruction = new Instruction();
    const guest = decodeGuest(decoder, instruction, bytes, vcpu.eip)!;
    instruction.free();
    decoder.free();
    return guest;
  }
}

const exception = (vector: number): Exit => ({
  kind: 'monitor',
  vector,
  errorCode: 0,
  hasErrorCode: false,
  software: false,
});

/** A fault of the guest's own that the monitor has found, as hardware would report it. */
export function faultExit(vcpu: VirtualCpu, { vector, errorCode, cr2 }: GuestFault): Exit {
  if (cr2 !== undefined) vcpu.thread.s[S.FAULT_LINEAR] = cr2;
  return { kind: 'monitor', vector, errorCode: errorCode ?? 0, hasErrorCode: errorCode !== undefined, software: false };
}
