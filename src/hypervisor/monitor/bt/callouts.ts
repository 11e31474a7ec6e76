/**
 * What the monitor does for each kind of callout. The general shape: take the guest out at the callout (its state is exact
 * there), do the work on the virtual CPU, and let translated code go on behind it.
 */
import { Mnemonic } from 'iced-x86';
import { S, Seg, Vector } from '../../machine/cpu/state.js';
import { singleStepTrap } from '../debug-registers.js';
import type { Decoded } from '../decoded.js';
import type { Effect } from '../effect.js';
import { isFault } from '../guest-fault.js';
import { HYPERCALL_VECTOR } from '../hole.js';
import { deliver, eventOf } from '../inject.js';
import { addressOf } from '../operands.js';
import { emulateDecoded, performDecoded } from '../privileged.js';
import type { Outcome } from '../technique.js';
import type { VirtualCpu } from '../virtual-cpu.js';
import type { FoundCallout } from './cache.js';
import type { GuestInstruction } from './classify.js';
import type { Performed, SteppedKernel } from './stepped.js';
import type { BtTechnique } from './technique.js';
import type { Callout, Continuation } from './unit.js';

const RESUME: Outcome = { kind: 'resume' };

export class Callouts {
  readonly #bt: BtTechnique;

  constructor(technique: BtTechnique) {
    this.#bt = technique;
  }

  handle(found: FoundCallout): Outcome {
    const bt = this.#bt;
    const { vcpu } = bt;
    vcpu.interruptShadow = false;
    const { instruction } = found;
    if (instruction !== undefined) {
      bt.capture();
      return this.#perform(instruction, found);
    }
    const { tu } = found;
    const callout = found.callout as Exclude<Callout, { kind: 'instruction' }>;
    switch (callout.kind) {
      case 'pendingBehind':
        // The transfer is carried out first: `enter` sees the shadow and steps to the boundary behind it.
        vcpu.thread.s[S.EIP] = found.tcBehind;
        vcpu.interruptShadow = true;
        return RESUME;
      case 'override':
        bt.startOverride(found.tcBehind, callout.segment);
        return RESUME;
      case 'pending':
        bt.capture();
        bt.resumeAt(tu!, found.tcBehind, vcpu.eip);
        return RESUME;
      case 'exit':
        bt.capture();
        this.#chain(callout.continuation);
        return RESUME;
      case 'lookup':
        bt.capture();
        this.#fillHash();
        return RESUME;
      case 'adapted': {
        bt.capture();
        const { instruction, plainAt } = callout;
        const plain = tu!.tcStart + plainAt;
        const decoded = found.decode(instruction);
        const outcome = decoded === undefined ? 'left' : bt.adaptation.perform(decoded);
        const site = (instruction.eip + vcpu.base(Seg.CS)) >>> 0;
        const done = outcome === 'left' ? 0 : instruction.bytes.length;
        vcpu.eip = (vcpu.eip + done) >>> 0;
        if (bt.adaptation.countAccess(site, outcome === 'needed')) bt.revert(site);
        else bt.resumeAt(tu!, plain + done, vcpu.eip);
        return RESUME;
      }
    }
  }

  /** A direct way out was taken for the first time: finds or makes its target and patches the jump. */
  #chain(continuation: Continuation): void {
    const bt = this.#bt;
    const { vcpu } = bt;
    const target = bt.unitFor(vcpu.eip);
    // Fetching the target faults: the next entry finds that out by itself and reports it.
    if (isFault(target)) return;
    if (continuation.owner!.retired === false && continuation.target === undefined) {
      vcpu.thread.charge(vcpu.costs.chain);
      bt.cache.chain(continuation, target);
      vcpu.vm.counters.tcChains += 1;
    }
    target.entries += 1;
    bt.resumeAt(target, target.tcStart, vcpu.eip);
  }

  #fillHash(): void {
    const bt = this.#bt;
    const { vcpu } = bt;
    vcpu.vm.counters.tcMisses += 1;
    const target = bt.unitFor(vcpu.eip);
    if (isFault(target)) return;
    bt.cache.enterInHash(vcpu.eip, target);
    target.entries += 1;
    bt.resumeAt(target, target.tcStart, vcpu.eip);
  }

  #perform(guest: GuestInstruction, found: FoundCallout): Outcome {
    const instruction = found.decode(guest);
    if (instruction === undefined || found.isNarrow(guest)) return this.#unsupported(guest);
    const bt = this.#bt;
    const { vcpu } = bt;
    const tu = found.tu!;
    const { at } = found;
    const next = found.behind;
    const done = this.#carryOut(guest, instruction, found.isRoutine);
    switch (done?.kind) {
      case 'next':
      case 'jumped':
        if (vcpu.eip === next && !found.leaves) bt.resumeAt(tu, found.tcBehind, next);
        return RESUME;
      case 'again':
        bt.resumeAt(tu, at, vcpu.eip);
        return RESUME;
      case 'halt':
        bt.resumeAt(tu, found.tcBehind, next);
        return { kind: 'halted' };
      default:
        return this.#ended(guest, done);
    }
  }

  /** Performs an instruction of a kernel that is stepped. The guest is out. */
  performStepped(performed: Performed, stepped: SteppedKernel): Outcome {
    const { guest, decoded } = performed;
    const done = this.#carryOut(guest, decoded, false);
    switch (done?.kind) {
      case 'next':
      case 'jumped':
      case 'again':
      case 'halt': {
        if (stepped.traps(performed, done.kind === 'jumped')) return this.#ended(guest, singleStepTrap(this.#bt.vcpu));
        return done.kind === 'halt' ? { kind: 'halted' } : RESUME;
      }
      default:
        return this.#ended(guest, done);
    }
  }

  /** Has an instruction performed: how it went on, or that of a hypercall; undefined where nobody carries it out. */
  #carryOut(guest: GuestInstruction, instruction: Decoded, inRing1: boolean): Effect | Outcome | undefined {
    const bt = this.#bt;
    const { vcpu } = bt;
    if (instruction.mnemonic === Mnemonic.Int && (instruction.immediate8 & 255) === HYPERCALL_VECTOR) {
      vcpu.eip = (guest.eip + guest.bytes.length) >>> 0;
      const outcome = bt.options.onHypercall?.(vcpu);
      // Under VMI nothing is translated any more: let go of the units and their traces.
      if (outcome?.kind === 'vmiInit') bt.flush();
      if (outcome !== undefined) return outcome;
      vcpu.eip = guest.eip;
    }
    const perform = () => (inRing1 ? performDecoded(vcpu, instruction) : emulateDecoded(vcpu, instruction));
    const effect =
      instruction.mnemonic === Mnemonic.Invlpg
        ? bt.mappings.withOnePageChanged(invalidatedPage(vcpu, instruction), perform)
        : perform();
    vcpu.eip >>>= 0;
    return effect;
  }

  /** After an instruction that does not simply go on. */
  #ended(guest: GuestInstruction, done: Effect | Outcome | undefined): Outcome {
    const { vcpu } = this.#bt;
    switch (done?.kind) {
      case 'fault': {
        if (done.vector === Vector.PF) vcpu.vm.counters.trueFaults += 1;
        else vcpu.vm.counters.forwardedFaults += 1;
        const delivery = deliver(vcpu, eventOf(done));
        return delivery.kind === 'delivered' ? RESUME : delivery;
      }
      case 'stopped':
      case 'resume':
      case 'halted':
      case 'vmiInit':
        return done;
      default:
        return this.#unsupported(guest);
    }
  }

  /** What neither hardware nor the monitor carries out for a kernel: the guest gets #UD, the log the bytes. */
  #unsupported(guest: GuestInstruction): Outcome {
    const { vcpu } = this.#bt;
    const bytes = [...guest.bytes].map(byte => byte.toString(16).padStart(2, '0')).join(' ');
    vcpu.vm.log(`unimplemented instruction at 0x${guest.eip.toString(16)}: ${bytes}`);
    vcpu.vm.counters.forwardedFaults += 1;
    const delivery = deliver(vcpu, { vector: Vector.UD, kind: 'exception' });
    return delivery.kind === 'delivered' ? RESUME : delivery;
  }
}

/** Linear address that INVLPG names. */
function invalidatedPage(vcpu: VirtualCpu, instruction: Decoded): number {
  const { seg, offset } = addressOf(vcpu, instruction);
  return (vcpu.base(seg) + offset) >>> 0;
}
