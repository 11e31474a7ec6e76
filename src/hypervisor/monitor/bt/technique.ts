/**
 * Binary translation: the guest's kernel (virtual CPL 0) runs as translated code out of the TC at CPL 1, its user code
 * (virtual CPL 3) runs directly.
 *
 *                         capture                      load
 *     hardware in the TC  ------->  VirtualCpu (out)  ------->  hardware in the TC, or in user code
 *            |                         ^    |
 *            | callout, fault          |    | inject, emulate, find or make the translation
 *            +-------> monitor --------+----+
 *
 * Hardware state in the TC: CPL 1, CS = TC_CODE and GS = TC_DATA with full limits, DS, ES, SS and FS as the guest loaded them,
 * from the monitor's GDT with truncated limits, so that only translated code's own GS accesses reach the monitor's hole.
 *
 * A fault inside a sequence is resolved by the loop without taking the guest out (hidden faults, traces, MMIO); where the
 * guest must hear of it, `capture` rolls the sequence back. Points that cannot be rolled back (`inside`) never raise true
 * faults; where the guest has to be taken out at one, single steps carry it to the next boundary.
 *
 * A kernel that is debugged (TF, breakpoints) is not translated: `stepped.ts`.
 *
 * Gaps. A kernel's stack operations and accesses through GS that reach into the monitor's hole raise #GP or #SS, where the guest's
 * tables might map memory (`beyond-limits.ts` does all others). Code segments of 16 bit stop the VM. PUSHF at CPL 3 shows IOPL 0,
 * whatever the virtual IOPL.
 */
import { assert, MonitorBug } from '../../base/assert.js';
import { Attr, type Exit, S, Seg, Vector } from '../../machine/cpu/state.js';
import type { CodeLine } from '../../stats/code-listing.js';
import type { GuestFault } from '../guest-fault.js';
import { isFault } from '../guest-fault.js';
import { walk } from '../guest-walk.js';
import { CALLOUT_VECTOR, MonitorSelector, ROUTINE_LINEAR, TC_BYTES } from '../hole.js';
import { fetchHere } from '../operands.js';
import type { Outcome, Technique } from '../technique.js';
import type { VirtualCpu } from '../virtual-cpu.js';
import { Adaptation } from './adapt.js';
import { auditTranslations } from './audit.js';
import { type FoundCallout, TranslationCache } from './cache.js';
import { Callouts } from './callouts.js';
import { type GuestInstruction, isBlockStore } from './classify.js';
import { describeUnit, listTranslations } from './disassemble.js';
import { ROUTINE_BYTES } from './emit.js';
import { inVcpuPage, Slot } from './layout.js';
import { Mappings } from './mappings.js';
import { readUnit } from './source.js';
import { faultExit, SteppedKernel } from './stepped.js';
import { translate } from './translate.js';
import type { TcPoint, Tu } from './unit.js';
import { UserExits } from './user.js';
import { enterTc, enterUser, leaveTc, leaveUser, loadGuestSegment, loadTcData } from './world.js';

const RESUME: Outcome = { kind: 'resume' };

export interface BtOptions {
  /** `int HYPERCALL_VECTOR` was executed by kernel code; EIP is behind it. Undefined: not the hook's, the guest gets its INT. */
  readonly onHypercall?: (vcpu: VirtualCpu) => Outcome | undefined;
  /** Translated code counts how often each unit is entered: five instructions more a unit, which cost as much as they cost. */
  readonly countExecutions?: boolean;
  /** Size of the TC, whole pages (tests use small ones). */
  readonly tcBytes?: number;
}

export class BtTechnique implements Technique {
  readonly mode = 'bt';
  readonly vcpu: VirtualCpu;
  readonly cache: TranslationCache;
  readonly options: BtOptions;
  readonly adaptation: Adaptation;
  readonly mappings: Mappings;
  readonly #callouts: Callouts;
  readonly #user: UserExits;
  readonly #stepped: SteppedKernel;
  /** Callout that ended the last run; hardware EIP is at its INT. */
  #callout: FoundCallout | undefined;
  /** Where the guest goes on if nothing intervenes: right behind a callout. */
  #resume: Tu | undefined;
  /** TC address and guest EIP for `#resume`, as int32: V8 keeps larger numbers in objects of their own. */
  #resumeAt = 0;
  #resumeEip = 0;
  /** The last exit was a routine in ring 1; the guest has gone on right behind a callout. */
  #inRing1 = false;
  #resumed = false;
  /** A TC instruction that runs with a guest segment in hardware GS. */
  #overrideAt: number | undefined;
  /** Interrupts are held off where hardware is (`vcpu.interruptShadow` is the loop's, which clears it before it enters). */
  #heldOff = false;
  /** The code segment that all units were made for. */
  #cs = { selector: -1, base: 0, limit: 0 };

  constructor(vcpu: VirtualCpu, options: BtOptions = {}) {
    this.vcpu = vcpu;
    this.options = options;
    this.cache = new TranslationCache(
      vcpu.vm,
      (linear, mpn, writable) => vcpu.shadow.mapHole(linear, mpn, writable),
      options.tcBytes ?? TC_BYTES,
    );
    this.cache.onFirstUnit = ppn => vcpu.traces.watch(ppn as never, 'code');
    this.cache.onLastUnit = ppn => vcpu.traces.unwatch(ppn as never, 'code');
    this.adaptation = new Adaptation(vcpu);
    this.mappings = new Mappings(vcpu, this.cache);
    this.#callouts = new Callouts(this);
    this.#user = new UserExits(vcpu);
    this.#stepped = new SteppedKernel(vcpu);
    vcpu.kernelCpl = 0;
    vcpu.watchesDescriptors = true;
    // The monitor loads the hidden parts of CS and GS itself. Were the descriptors there, a guest kernel could load them, too:
    // segment loads are copied as they are.
    vcpu.descriptors.setTcSegments(false);
    // SYSENTER leads to the monitor; whether the guest has set it up is found out there.
    vcpu.thread.s[S.SYSENTER_CS] = MonitorSelector.MONITOR_CODE;
    vcpu.thread.routinePage = ROUTINE_LINEAR;
  }

  /** Gives the machine pages of the TC back and lets go of all traces of code. The guest must be out. */
  destroy(): void {
    const { vcpu, cache } = this;
    assert(!vcpu.inHardware, 'the guest is inside the TC');
    vcpu.thread.routinePage = -1;
    cache.destroy(linear => vcpu.shadow.unmapHole(linear));
    vcpu.vm.counters.tcBytes = 0;
  }

  enter(deadlineCycles: number): Exit {
    const { vcpu } = this;
    const { thread } = vcpu;
    this.#callout = undefined;
    const stepped = this.#stepped;
    if (stepped.isInside || (!vcpu.inHardware && vcpu.cpl !== 3 && stepped.isDue)) return this.#step();
    if (vcpu.inHardware && vcpu.cpl !== 3) this.#leaveRetired();
    this.#resumed = false;
    if (!vcpu.inHardware) {
      const trouble = this.#load();
      if (trouble !== undefined) return trouble;
    }
    // A routine in ring 1 returns by a jump.
    if (this.#inRing1 && this.#resumed) vcpu.account(vcpu.cause);
    else vcpu.chargeEntry();
    this.#inRing1 = false;
    let exit: Exit;
    if (vcpu.cpl === 3) {
      this.#heldOff = false;
      vcpu.interruptShadow = false;
      return thread.run(deadlineCycles);
    }
    if (this.#overrideAt !== undefined) exit = this.#runOverride(deadlineCycles);
    else if (this.#mustFinish()) exit = this.#finish();
    else exit = this.#runTranslated(deadlineCycles);
    this.#examine(exit);
    return exit;
  }

  capture(): void {
    const { vcpu } = this;
    if (!vcpu.inHardware) return;
    vcpu.inHardware = false;
    if (vcpu.cpl === 3) {
      leaveUser(vcpu);
      return;
    }
    if (this.#stepped.isInside) {
      this.#stepped.capture();
      return;
    }
    this.#overrideAt = undefined;
    if (this.#callout === undefined) vcpu.thread.charge(vcpu.costs.tcStateRecover);
    const point = this.#point();
    assert(point.kind !== 'inside', 'the guest is taken out in the middle of a sequence');
    leaveTc(vcpu, point);
  }

  handle(exit: Exit): Outcome {
    const { vcpu } = this;
    if (vcpu.cpl === 3) {
      this.capture();
      return this.#user.handle(exit);
    }
    if (this.#callout !== undefined) {
      vcpu.account(this.#callout.cause);
      if (this.#callout.cause === 'translation') vcpu.vm.counters.tcExits += 1;
      else vcpu.vm.counters.callouts += 1;
      this.#inRing1 = this.#callout.isRoutine;
      const { tcRoutine, vmmEntry, calloutDispatch } = vcpu.costs;
      vcpu.thread.charge(this.#inRing1 ? tcRoutine : vmmEntry + calloutDispatch);
      const outcome = this.#callouts.handle(this.#callout);
      this.#heldOff = vcpu.interruptShadow;
      return outcome;
    }
    if (exit.kind === 'routine') return this.#handleStep();
    if (exit.kind !== 'monitor') return { kind: 'stopped', reason: `unexpected ${exit.kind} in translated code` };
    vcpu.account('trueFault');
    vcpu.thread.charge(vcpu.costs.vmmEntry);
    const site = exit.vector === Vector.UD ? this.#site() : undefined;
    this.capture();
    if (site?.guestClass === 'ident') {
      // Hardware's own report names the TC address.
      const bytes = [...site.bytes].map(byte => byte.toString(16).padStart(2, '0')).join(' ');
      vcpu.vm.log(`#UD in the guest's kernel at 0x${site.eip.toString(16)}: ${bytes}`);
    }
    vcpu.vm.counters.forwardedFaults += 1;
    return this.#user.forward(exit.vector, exit.hasErrorCode ? exit.errorCode : undefined);
  }

  instruction(): Uint8Array | undefined {
    const { vcpu } = this;
    if (!vcpu.inHardware) return undefined;
    if (vcpu.cpl === 3 || this.#stepped.isInside) return fetchHere(vcpu);
    const site = this.#site();
    // Behind the call of its routine an adapted site has its plain copy, for what the routine does not do.
    const isPlain = site?.guestClass === 'ident' || site?.guestClass === 'adapted';
    return isPlain || this.#overrideAt !== undefined ? site?.bytes : undefined;
  }

  onTraceHit(): void {
    const { vcpu } = this;
    if (!vcpu.inHardware || vcpu.cpl === 3) return;
    const site = this.#site();
    if (site?.guestClass !== 'ident') return;
    if (isBlockStore(site)) {
      this.#releaseTable(vcpu.thread.s[S.FAULT_LINEAR]! >>> 0);
      return;
    }
    this.#countHit(site);
  }

  onDeviceHit(): void {
    const { vcpu } = this;
    if (!vcpu.inHardware || vcpu.cpl === 3) return;
    const site = this.#site();
    if (site?.guestClass === 'ident') this.#countHit(site);
  }

  /** Its units are made anew when control comes to them next; the access itself is still carried out by the loop. */
  #countHit(site: GuestInstruction): void {
    const { vcpu } = this;
    const csBase = vcpu.base(Seg.CS);
    if (!this.adaptation.countHit(site, csBase)) return;
    vcpu.vm.counters.tcAdapted += 1;
    this.#retireUnitsWith((site.eip + csBase) >>> 0);
  }

  /** An adapted site is to be translated plainly again. */
  revert(linear: number): void {
    this.vcpu.vm.counters.tcReverted += 1;
    this.#retireUnitsWith(linear);
  }

  /** An instruction may stand in several units: in one that begins before it, and in one that begins with it. */
  #retireUnitsWith(linear: number): void {
    const csBase = this.vcpu.base(Seg.CS);
    for (const tu of this.cache.unitsOnLpn(linear >>> 12)) {
      if (tu.code.instructions.some(({ guest }) => (guest.eip + csBase) >>> 0 === linear)) this.cache.retire(tu);
    }
  }

  /**
   * A block store reached a page table: the guest clears or fills the page for another use, most likely. Its shadow goes, and
   * with it the trace, or every word of the block would fault. Were the page still a table, its shadow would come back entry
   * by entry.
   */
  #releaseTable(linear: number): void {
    const { vcpu } = this;
    const found = walk(vcpu.physical, vcpu, linear, { write: false, user: false });
    if (found.kind === 'mapped' && vcpu.traces.isWatchedFor(found.ppn, 'table')) vcpu.shadow.release(found.ppn);
  }

  onCodeWritten(ppn: number, offset: number, length: number): void {
    this.cache.retireWritten(ppn, offset, length);
  }

  onMappingChanged(): void {
    this.mappings.changed();
  }

  audit(): string[] {
    return auditTranslations(this);
  }

  /** The guest EIP that a TC address belongs to; undefined where it is in no unit or in the middle of an instruction. */
  guestEipAt(tcAddress: number): number | undefined {
    return this.cache.find(tcAddress)?.pointAt(tcAddress)?.eip;
  }

  /** Text of the translation of the code at a linear address, if there is one now. */
  disassemble(linear: number): string | undefined {
    const tu = this.cache.get(linear >>> 0);
    return tu === undefined ? undefined : describeUnit(this.cache, tu);
  }

  listCode(linear: number): readonly CodeLine[] {
    return listTranslations(this.cache, linear >>> 0);
  }

  /** The unit for a guest EIP, made now if there is none. The guest must be out, in its kernel. May flush the TC. */
  unitFor(eip: number): Tu | GuestFault {
    const { vcpu, cache } = this;
    const linear = (eip + vcpu.base(Seg.CS)) >>> 0;
    vcpu.thread.charge(vcpu.costs.tcLookup);
    const known = cache.get(linear);
    if (known !== undefined) return known;
    const cause = vcpu.cause;
    vcpu.account(cause);
    if (cache.isFull) this.flush();
    const counterAt = this.options.countExecutions === true ? cache.counterForNext() : undefined;
    const read = readUnit(vcpu, eip, code =>
      translate({
        eip,
        code,
        cs: vcpu.selector(Seg.CS) & 0xfffc,
        tcStart: cache.top,
        lookupAt: cache.lookupAt,
        counterAt,
        isAdapted: at => this.adaptation.isAdapted((at + vcpu.base(Seg.CS)) >>> 0),
      }),
    );
    const { counters } = vcpu.vm;
    if (isFault(read)) {
      vcpu.account('translation');
      vcpu.account(cause);
      return read;
    }
    const count = read.code.instructions.length;
    vcpu.thread.charge(vcpu.costs.translateInstruction * count);
    const tu = cache.place(linear, read.code, read.sources);
    counters.tcUnits += 1;
    counters.tcInstructions += count;
    counters.tcBytes = cache.usedBytes;
    vcpu.account('translation');
    vcpu.account(cause);
    return tu;
  }

  /** Drops every translation. */
  flush(): void {
    this.cache.flush();
    this.#resume = undefined;
    this.vcpu.vm.counters.tcFlushes += 1;
    this.vcpu.vm.counters.tcBytes = this.cache.usedBytes;
  }

  /** Lets the guest go on right behind a callout when it is entered next at `eip`. */
  resumeAt(tu: Tu, tcAddress: number, eip: number): void {
    this.#resume = tu;
    this.#resumeAt = tcAddress | 0;
    this.#resumeEip = eip | 0;
  }

  /** Runs the next TC instruction with the guest's segment in hardware GS. The guest stays in. */
  startOverride(tcAddress: number, segment: number): void {
    const { vcpu } = this;
    loadGuestSegment(vcpu, segment);
    vcpu.thread.s[S.EIP] = tcAddress;
    this.#overrideAt = tcAddress;
  }

  /** One instruction of a kernel that is debugged. */
  #step(): Exit {
    this.#resume = undefined;
    this.#inRing1 = false;
    this.#heldOff = false;
    return this.#stepped.enter();
  }

  /** The instruction is done, or the monitor's to perform: an exit like any other, which only has no vector. */
  #handleStep(): Outcome {
    const { vcpu } = this;
    vcpu.account('trap');
    vcpu.vm.counters.exits += 1;
    const performed = this.#stepped.takePerformed();
    if (performed === undefined) return RESUME;
    vcpu.vm.counters.trappedInstructions += 1;
    return this.#callouts.performStepped(performed, this.#stepped);
  }

  /** Loads hardware from the virtual CPU. Returns an exit when the guest's next instruction cannot be fetched. */
  #load(): Exit | undefined {
    const { vcpu } = this;
    vcpu.eip >>>= 0;
    if (vcpu.cpl === 3) {
      enterUser(vcpu);
      return undefined;
    }
    if ((vcpu.attr(Seg.CS) & Attr.DB) === 0) {
      return {
        kind: 'shutdown',
        reason: `16-bit code segment 0x${vcpu.selector(Seg.CS).toString(16)} is not supported`,
      };
    }
    this.#checkCodeSegment();
    this.mappings.check();
    const resume = this.#resume;
    this.#resume = undefined;
    let tcAddress: number;
    if (resume !== undefined && this.#resumeEip === (vcpu.eip | 0) && !resume.retired) {
      this.cache.expect(resume);
      tcAddress = this.#resumeAt;
      this.#resumed = true;
    } else {
      const tu = this.unitFor(vcpu.eip);
      if (isFault(tu)) {
        return faultExit(vcpu, tu);
      }
      tu.entries += 1;
      this.cache.expect(tu);
      tcAddress = tu.tcStart;
    }
    enterTc(vcpu, tcAddress);
    return undefined;
  }

  /** Units are made for one code segment (selector, base and limit are built into them). */
  #checkCodeSegment(): void {
    const { vcpu } = this;
    const selector = vcpu.selector(Seg.CS) & 0xfffc;
    // The limit may be the guest's own or hardware's, cut short at the hole.
    const { base, limit } = vcpu.descriptors.harden(vcpu.base(Seg.CS), vcpu.limit(Seg.CS), vcpu.attr(Seg.CS));
    const made = this.#cs;
    if (made.selector === selector && made.base === base && made.limit === limit) return;
    if (this.cache.usedBytes > 0) this.flush();
    this.#cs = { selector, base, limit };
  }

  /** If hardware is inside a unit that has been retired, takes the guest out where that is possible. */
  #leaveRetired(): void {
    const at = this.vcpu.thread.s[S.EIP]! >>> 0;
    if (this.#overrideAt !== undefined || this.cache.find(at)?.retired !== true) return;
    if (this.#point().kind !== 'inside') this.capture();
  }

  /** True when hardware must be carried to a boundary: the unit is retired, or an interrupt waits for the shadow to end. */
  #mustFinish(): boolean {
    const { vcpu } = this;
    if (this.cache.find(vcpu.thread.s[S.EIP]! >>> 0)?.retired === true) return true;
    return this.#heldOff && vcpu.pending && vcpu.interruptsEnabled;
  }

  /**
   * Single steps to the next point where the guest can be taken out, and takes it out. Code of a retired unit may have changed:
   * not one instruction more of it is executed than needed.
   */
  #finish(): Exit {
    const { vcpu } = this;
    const retired = this.cache.find(vcpu.thread.s[S.EIP]! >>> 0)?.retired === true;
    for (let stepped = false; ; stepped = true) {
      const point = this.#point();
      if (point.kind !== 'inside' && (retired || (stepped && !point.shadow))) {
        this.capture();
        vcpu.interruptShadow = point.shadow;
        return { kind: 'deadline' };
      }
      const exit = vcpu.thread.step();
      if (exit.kind !== 'stepped') return exit;
    }
  }

  /** Executes the TC instruction that needs a guest segment in GS (each iteration of a repeated one), then goes on. */
  #runOverride(deadlineCycles: number): Exit {
    const { thread } = this.vcpu;
    while (thread.s[S.EIP]! >>> 0 === this.#overrideAt) {
      if (thread.cycles >= deadlineCycles) return { kind: 'deadline' };
      const exit = thread.step();
      if (exit.kind !== 'stepped') return exit;
    }
    this.#overrideAt = undefined;
    loadTcData(this.vcpu);
    return this.#mustFinish() ? this.#finish() : this.#runTranslated(deadlineCycles);
  }

  /**
   * Runs translated code. Events are taken at guest boundaries only, with one exception: when the deadline has passed already
   * on entry, which may be inside a sequence that a resolved fault has interrupted; single steps then carry it to its end.
   */
  #runTranslated(deadlineCycles: number): Exit {
    const { thread } = this.vcpu;
    const from = thread.s[S.EIP];
    const exit = thread.run(deadlineCycles);
    if (exit.kind !== 'deadline' || this.#point().kind !== 'inside') return exit;
    assert(thread.s[S.EIP] === from, 'an event was taken inside a sequence');
    for (;;) {
      const step = thread.step();
      if (step.kind !== 'stepped') return step;
      if (this.#point().kind !== 'inside') return exit;
    }
  }

  /** After a run: puts hardware back onto a callout's INT, and finds out whether interrupts are held off. */
  #examine(exit: Exit): void {
    const { vcpu } = this;
    this.#heldOff = false;
    // `#finish` has taken the guest out and knows.
    if (!vcpu.inHardware) return;
    if (exit.kind === 'monitor' && exit.software && exit.vector === CALLOUT_VECTOR) {
      const at = (vcpu.thread.s[S.EIP]! - 2) >>> 0;
      this.#callout = this.cache.calloutAt(at);
      assert(this.#callout !== undefined, 'a callout from nowhere');
      vcpu.thread.s[S.EIP] = at;
    }
    if (exit.kind === 'routine') {
      this.#callout = this.#routine();
      vcpu.thread.s[S.EIP] = this.#callout.at;
    }
    if (exit.kind === 'shutdown') return;
    const point = this.#point();
    this.#heldOff = point.shadow || point.kind === 'inside';
    vcpu.interruptShadow = this.#heldOff;
  }

  /** The site whose ring-1 routine hardware has just come to. */
  #routine(): FoundCallout {
    const { vcpu } = this;
    const behind = vcpu.vm.memory.readI32(vcpu.page + inVcpuPage(Slot.RETURN));
    const found = this.cache.calloutAt((behind - ROUTINE_BYTES) >>> 0);
    assert(found !== undefined, 'a routine called from nowhere');
    return found;
  }

  /** The guest instruction that begins at the hardware EIP; undefined in the middle of a sequence. */
  #site(): GuestInstruction | undefined {
    const at = this.vcpu.thread.s[S.EIP]! >>> 0;
    const tu = this.cache.find(at);
    const point = tu?.pointAt(at);
    if (tu === undefined || point?.kind !== 'exact') return undefined;
    return tu.code.instructions.find(({ guest }) => guest.eip === point.eip)?.guest;
  }

  /** The guest state at the hardware EIP. */
  #point(): TcPoint {
    const at = this.vcpu.thread.s[S.EIP]! >>> 0;
    if (this.#callout?.isAt(at) === true) return this.#callout.point;
    if (at === ROUTINE_LINEAR) return this.#routine().point;
    const point = this.cache.pointAt(at);
    if (point === undefined) throw new MonitorBug(`no guest state for TC address 0x${at.toString(16)}`);
    return point;
  }
}
