/**
 * The way from binary translation to VMI: the ROM's Init asks, on the guest's behalf, to go on paravirtualized.
 *
 * Nothing of the guest's state is announced to Init: descriptor tables, control registers, task register (possibly unset),
 * flags, MSRs and page tables are simply those that the virtual CPU has at that moment. `vmiInitHook` checks them without
 * changing anything, so that a refusal leaves the guest as it was, with a non-zero EAX; `enterVmi` then takes them over.
 *
 * Page tables that are live now were never announced, and some never will be: they stay traced, as under BT.
 */
import { assert } from '../../base/assert.js';
import { Attr, Cr0, S, Seg } from '../../machine/cpu/state.js';
import { isFault } from '../guest-fault.js';
import { walk } from '../guest-walk.js';
import { VMI_VIRTUAL_TOP } from '../hole.js';
import type { Outcome } from '../technique.js';
import type { VirtualCpu } from '../virtual-cpu.js';
import { buildVmiRom, INIT_CALL } from './rom.js';
import { ROM_PHYSICAL } from './rom-layout.js';
import { VmiTechnique, type VmiWiring } from './vmi-technique.js';

/** EAX of a successful Init; anything else tells the guest to stay native. */
export const INIT_SUCCESS = 0;
export const INIT_FAILURE = -1;

/**
 * Linear address at which the guest runs the ROM, if the hypercall with EIP behind it is that of Init. The page is checked
 * by its physical address: code elsewhere that looks the same does not count.
 */
export function initRomBase(vcpu: VirtualCpu): number | undefined {
  const found = walk(vcpu.physical, vcpu, vcpu.eip >>> 0, { write: false, user: false });
  if (found.kind === 'fault') return undefined;
  const offset = ((found.ppn << 12) | (vcpu.eip & 0xfff)) - ROM_PHYSICAL;
  if (buildVmiRom().sites.get(offset) !== INIT_CALL) return undefined;
  return (vcpu.eip - offset) >>> 0;
}

/** Why the guest cannot go on under VMI as it is; undefined if it can. Changes nothing. */
export function initRefusal(vcpu: VirtualCpu): string | undefined {
  if (vcpu.cpl !== 0) return `called at CPL ${vcpu.cpl}`;
  if ((vcpu.cr0 & Cr0.PE) === 0 || (vcpu.cr0 & Cr0.PG) === 0) return 'paging is off';
  for (const [name, seg] of [
    ['CS', Seg.CS],
    ['SS', Seg.SS],
  ] as const) {
    const selector = vcpu.selector(seg);
    if ((selector & 0xfffc) === 0 || (selector & 4) !== 0) return `${name} does not come from the GDT`;
    const descriptor = vcpu.descriptors.read(selector);
    if (descriptor === undefined || isFault(descriptor)) return `${name} descriptor is not readable`;
    const { attr } = descriptor;
    if ((attr & Attr.P) === 0 || (attr & Attr.S) === 0) return `${name} descriptor is no present segment`;
    const isCode = (attr & Attr.CODE) !== 0;
    if (isCode !== (seg === Seg.CS)) return `${name} descriptor has the wrong type`;
    if ((attr & Attr.DPL) !== 0) return `${name} descriptor is not of ring 0`;
    if ((attr & Attr.DB) === 0) return `${name} is a 16-bit segment`;
    if (descriptor.base !== 0 || descriptor.limit >>> 0 < VMI_VIRTUAL_TOP - 1) return `${name} is not flat`;
  }
  for (const [name, base, limit] of [
    ['GDT', vcpu.gdtBase, vcpu.gdtLimit],
    ['IDT', vcpu.idtBase, vcpu.idtLimit],
  ] as const) {
    if ((base >>> 0) + limit >= VMI_VIRTUAL_TOP) return `${name} reaches into the reserved range`;
  }
  return undefined;
}

/**
 * What BT calls for the hypercall vector executed inside the ROM, with the guest captured and EIP behind the INT. Undefined if
 * this is not Init's hypercall (the guest's own INT, then).
 */
export function vmiInitHook(vcpu: VirtualCpu): Outcome | undefined {
  const romBase = initRomBase(vcpu);
  if (romBase === undefined) return undefined;
  vcpu.thread.charge(vcpu.costs.hypercallDispatch);
  vcpu.vm.counters.hypercalls += 1;
  const refusal = initRefusal(vcpu);
  if (refusal !== undefined) {
    vcpu.vm.log(`VMI: Init refused: ${refusal}`);
    vcpu.thread.s[S.EAX] = INIT_FAILURE;
    return { kind: 'resume' };
  }
  return { kind: 'vmiInit' };
}

/** Takes the guest over from BT. The guest is captured, behind the hypercall of Init, and `vmiInitHook` has agreed. */
export function enterVmi(vcpu: VirtualCpu, wiring: VmiWiring): VmiTechnique {
  const romBase = initRomBase(vcpu);
  assert(romBase !== undefined && !vcpu.inHardware, 'VMI Init outside the ROM');
  const technique = new VmiTechnique(vcpu, wiring, romBase);
  technique.takeOver();
  vcpu.thread.s[S.EAX] = INIT_SUCCESS;
  vcpu.vm.log(`VMI: activated, ROM at 0x${romBase.toString(16)}, kernel at CPL 1`);
  return technique;
}
