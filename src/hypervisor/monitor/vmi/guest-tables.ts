/**
 * Consequences of changed descriptor tables under VMI: live segment registers follow their descriptors ("no non-reversible
 * segments"), and gates of the guest that need nothing of the monitor lead hardware straight into ring 1.
 */
import { Attr, Seg, Vector } from '../../machine/cpu/state.js';
import type { GuestDescriptor } from '../descriptors.js';
import { isFault } from '../guest-fault.js';
import { CALLOUT_VECTOR, HYPERCALL_VECTOR } from '../hole.js';
import type { VirtualCpu } from '../virtual-cpu.js';
import { buildVmiRom } from './rom.js';
import { DIRECT_GATES, VmiPage } from './rom-layout.js';

const DATA_REGISTERS = [Seg.ES, Seg.DS, Seg.FS, Seg.GS] as const;

const dplOf = (attr: number): number => (attr & Attr.DPL) >> Attr.DPL_SHIFT;

/** May a data segment register hold it at this CPL (SDM vol. 3, 5.6)? */
function isLoadable(descriptor: GuestDescriptor, selector: number, cpl: number): boolean {
  const { attr } = descriptor;
  if ((attr & (Attr.P | Attr.S)) !== (Attr.P | Attr.S)) return false;
  const isCode = (attr & Attr.CODE) !== 0;
  if (isCode && (attr & Attr.WRITE_READ) === 0) return false;
  if (isCode && (attr & Attr.DOWN_CONFORMING) !== 0) return true;
  // Ring 0 of the guest's tables is ring 1 of hardware: at CPL 1 both are the kernel's.
  return Math.max(dplOf(attr), 1) >= Math.max(cpl, selector & 3);
}

/**
 * Reloads segment registers from the guest's tables; `changed` restricts it to the selectors it accepts (all without). A data
 * register whose descriptor became invalid becomes null. CS and SS keep what they have if theirs is gone: taking them away
 * would only turn the guest's mistake into another one. The guest is captured. Charges a guest read each.
 */
export function reloadSegments(vcpu: VirtualCpu, changed: (selector: number) => boolean = () => true): void {
  const reload = (seg: number): boolean => {
    const selector = vcpu.selector(seg);
    const descriptor = vcpu.descriptors.read(selector);
    if (descriptor === undefined || isFault(descriptor)) return false;
    if (!isLoadable(descriptor, selector, vcpu.cpl)) return false;
    vcpu.setSegment(seg, selector, descriptor.base, descriptor.limit, descriptor.attr);
    return true;
  };
  for (const seg of [Seg.CS, Seg.SS]) if (changed(vcpu.selector(seg))) reload(seg);
  for (const seg of DATA_REGISTERS) {
    const selector = vcpu.selector(seg);
    if ((selector & 0xfffc) !== 0 && changed(selector) && !reload(seg)) vcpu.setSegment(seg, 0, 0, 0, 0);
  }
}

const GATE_PRESENT = 0x8000;
/** Type bits of a gate's high word: 32-bit trap gate, the only kind that leaves IF alone. */
const TRAP_GATE_32 = 0x0f00;
const TYPE_AND_S = 0x1f00;

/**
 * Exceptions that the monitor has no interest in. Page faults and general protection concern it; #NM and #DB depend on state
 * that is partly its own; NMI, #DF and #MC must not use a guest stack unseen; vectors with an error code have another frame.
 */
const DIRECT_EXCEPTIONS: readonly number[] = [Vector.DE, Vector.BP, Vector.OF, Vector.BR, Vector.UD, Vector.MF];
const FIRST_SOFTWARE_VECTOR = 32;

interface Gate {
  readonly selector: number;
  readonly offset: number;
  readonly dpl: number;
}

/** The guest's gates that hardware takes without the monitor, through the ROM's gate stubs. */
export class DirectGates {
  readonly #vcpu: VirtualCpu;
  readonly #romBase: number;
  readonly #slots: (number | undefined)[] = Array.from({ length: DIRECT_GATES }, () => undefined);

  constructor(vcpu: VirtualCpu, romBase: number) {
    this.#vcpu = vcpu;
    this.#romBase = romBase;
  }

  /** Vectors that have a direct gate now. */
  get vectors(): readonly number[] {
    return this.#slots.filter(vector => vector !== undefined).sort((a, b) => a - b);
  }

  /** Looks at the guest's gates again. Charges the reads. */
  sync(firstVector = 0, lastVector = 255): void {
    for (let vector = firstVector; vector <= lastVector; vector++) {
      const gate = this.#eligible(vector);
      const taken = this.#slots.indexOf(vector);
      if (gate === undefined) {
        if (taken < 0) continue;
        this.#slots[taken] = undefined;
        this.#vcpu.descriptors.clearDirectGate(vector);
        continue;
      }
      const slot = taken >= 0 ? taken : this.#slots.indexOf(undefined);
      // More gates than slots: the rest goes through the monitor.
      if (slot < 0) continue;
      this.#slots[slot] = vector;
      this.#vcpu.vm.memory.write32(this.#vcpu.page + VmiPage.HANDLERS + 4 * slot, gate.offset);
      const stub = (this.#romBase + buildVmiRom().gates[slot]!) >>> 0;
      this.#vcpu.descriptors.setDirectGate(vector, gate.selector, stub, Math.max(gate.dpl, 1));
    }
  }

  #eligible(vector: number): Gate | undefined {
    // The monitor's own vectors: the ROM's hypercalls must not become the guest's.
    if (vector === HYPERCALL_VECTOR || vector === CALLOUT_VECTOR) return undefined;
    if (vector < FIRST_SOFTWARE_VECTOR && !DIRECT_EXCEPTIONS.includes(vector)) return undefined;
    const vcpu = this.#vcpu;
    if (8 * vector + 7 > vcpu.idtLimit) return undefined;
    const high = vcpu.memory.read((vcpu.idtBase + 8 * vector + 4) >>> 0, 4, false);
    if (isFault(high) || (high & GATE_PRESENT) === 0 || (high & TYPE_AND_S) !== TRAP_GATE_32) return undefined;
    const low = vcpu.memory.read((vcpu.idtBase + 8 * vector) >>> 0, 4, false);
    if (isFault(low)) return undefined;
    const gate = { selector: low >>> 16, offset: ((high & 0xffff0000) | (low & 0xffff)) >>> 0, dpl: (high >> 13) & 3 };
    // What user code cannot raise is an interrupt or a mistake: not worth one of few slots.
    if (vector >= FIRST_SOFTWARE_VECTOR && gate.dpl !== 3) return undefined;
    const target = vcpu.descriptors.read(gate.selector);
    if (target === undefined || isFault(target) || (gate.selector & 0xfffc) === 0) return undefined;
    const wanted = Attr.P | Attr.S | Attr.CODE;
    const isKernelCode =
      (target.attr & (wanted | Attr.DPL | Attr.DOWN_CONFORMING)) === wanted && (target.attr & Attr.DB) !== 0;
    // The stub runs in the handler's segment: it has to be flat for both to be reachable.
    return isKernelCode && target.base === 0 ? gate : undefined;
  }

  audit(): string[] {
    const findings: string[] = [];
    this.#slots.forEach((vector, slot) => {
      if (vector === undefined) return;
      if (!this.#vcpu.descriptors.isDirectGate(vector)) findings.push(`vmi: gate ${vector} is not installed`);
      if (this.#slots.indexOf(vector) !== slot) findings.push(`vmi: vector ${vector} has two slots`);
    });
    return findings;
  }
}
