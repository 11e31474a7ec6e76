/** Control registers, model-specific registers, descriptor-table registers and flags of the virtual CPU, with their consequences. */
import { Attr, CR4_BUILT, Cr0, Cr4, Flag, S, Seg, Vector } from '../machine/cpu/state.js';
import { readPointers } from '../machine/mmu/walk.js';
import { type Effect, NEXT } from './effect.js';
import { fault, type GuestFault, isFault } from './guest-fault.js';
import { install, isNull, loadDataSegment, readDescriptor } from './guest-segments.js';
import { usesPointers } from './table-format.js';
import type { VirtualCpu } from './virtual-cpu.js';

const gp = (code = 0): GuestFault => fault(Vector.GP, code);

/** CR0 bits that the virtual processor has. */
const CR0_BUILT = 0x1f | Cr0.NE | Cr0.WP | Cr0.AM | Cr0.NW | Cr0.CD | Cr0.PG;

export function readControlRegister(vcpu: VirtualCpu, register: number): number {
  return register === 0 ? vcpu.cr0 : register === 2 ? vcpu.cr2 : register === 3 ? vcpu.cr3 : vcpu.cr4;
}

/** MOV to CR0, CR2, CR3 or CR4 by the guest's kernel, with every consequence for shadow and TLB (SDM vol. 3, 2.5). */
export function writeControlRegister(vcpu: VirtualCpu, register: number, value: number): Effect {
  switch (register) {
    case 0: {
      const paging = (value & Cr0.PG) !== 0;
      if ((paging && (value & Cr0.PE) === 0) || ((value & Cr0.NW) !== 0 && (value & Cr0.CD) === 0)) return gp();
      if ((value & Cr0.PE) === 0)
        return { kind: 'stopped', reason: 'the guest switched to real mode, which is not built' };
      const cr0 = (value & CR0_BUILT) | Cr0.ET;
      const changed = vcpu.cr0 ^ cr0;
      const reload = (changed & (Cr0.PG | Cr0.CD | Cr0.NW)) !== 0 && usesPointers(cr0, vcpu.cr4);
      if (reload && !loadPointers(vcpu, vcpu.cr3)) return gp();
      vcpu.cr0 = cr0;
      if (reload || (changed & Cr0.PG) !== 0) vcpu.shadow.pagingChanged();
      else vcpu.shadow.loadControl();
      return NEXT;
    }
    case 2:
      vcpu.cr2 = value;
      return NEXT;
    case 3:
      if (usesPointers(vcpu.cr0, vcpu.cr4) && !loadPointers(vcpu, value)) return gp();
      vcpu.cr3 = value;
      vcpu.shadow.loadCr3();
      return NEXT;
    default: {
      if ((value & ~CR4_BUILT) !== 0) return gp();
      const translation = ((vcpu.cr4 ^ value) & (Cr4.PSE | Cr4.PAE | Cr4.PGE)) !== 0;
      if (translation && usesPointers(vcpu.cr0, value) && !loadPointers(vcpu, vcpu.cr3)) return gp();
      vcpu.cr4 = value;
      vcpu.shadow.pagingChanged();
      return NEXT;
    }
  }
}

/**
 * Loads the page-directory-pointer registers for this CR3. False, and nothing loaded, where one is not valid: #GP(0) (SDM vol. 3,
 * 4.4.1). Stores to their table have no effect on them, so nobody watches it.
 */
function loadPointers(vcpu: VirtualCpu, cr3: number): boolean {
  vcpu.thread.charge(vcpu.costs.guestMemoryAccess);
  return readPointers(physical => vcpu.physical.peekEntry(physical), cr3, vcpu.pointers);
}

/** LMSW: sets the low four bits of CR0 and cannot clear PE. */
export function loadMachineStatus(vcpu: VirtualCpu, value: number): Effect {
  return writeControlRegister(vcpu, 0, (vcpu.cr0 & ~0xe) | (value & 0xf));
}

const MSR_TSC = 0x10;
const MSR_SYSENTER_CS = 0x174;
const MSR_SYSENTER_ESP = 0x175;
const MSR_SYSENTER_EIP = 0x176;

/** RDMSR: EDX:EAX from the register in ECX. */
export function readMsr(vcpu: VirtualCpu): Effect {
  const s = vcpu.thread.s;
  const index = s[S.ECX]! >>> 0;
  let low: number;
  let high = 0;
  if (index === MSR_SYSENTER_CS) low = vcpu.sysenterCs;
  else if (index === MSR_SYSENTER_ESP) low = vcpu.sysenterEsp;
  else if (index === MSR_SYSENTER_EIP) low = vcpu.sysenterEip;
  else if (index === MSR_TSC) [low, high] = splitCycles(vcpu.timeStamp);
  else {
    const value = vcpu.vm.readMsr(index);
    if (value === undefined) return gp();
    [low, high] = value;
  }
  s[S.EAX] = low;
  s[S.EDX] = high;
  return NEXT;
}

/** WRMSR. A write to the TSC is #GP: the counter is the host's clock, as on the bare processor. */
export function writeMsr(vcpu: VirtualCpu): Effect {
  const s = vcpu.thread.s;
  const index = s[S.ECX]! >>> 0;
  if (index === MSR_SYSENTER_CS) vcpu.sysenterCs = s[S.EAX]!;
  else if (index === MSR_SYSENTER_ESP) vcpu.sysenterEsp = s[S.EAX]!;
  else if (index === MSR_SYSENTER_EIP) vcpu.sysenterEip = s[S.EAX]!;
  else if (!vcpu.vm.writeMsr(index, s[S.EAX]! >>> 0, s[S.EDX]! >>> 0)) return gp();
  return NEXT;
}

/** A cycle count as the two words of the time-stamp counter. */
export const splitCycles = (cycles: number): [low: number, high: number] => [
  (cycles % 0x100000000) | 0,
  Math.floor(cycles / 0x100000000) | 0,
];

/** LLDT (SDM vol. 2). Reloads the monitor's copy; `watch`: keep it current by traces. */
export function loadLocalTable(vcpu: VirtualCpu, selector: number, watch: boolean): GuestFault | undefined {
  if (isNull(selector)) {
    vcpu.setSegment(Seg.LDTR, selector, 0, 0, 0);
  } else {
    const code = selector & 0xfffc;
    if ((selector & 4) !== 0) return gp(code);
    const found = readDescriptor(vcpu, selector, Vector.GP);
    if (isFault(found)) return found;
    if ((found.attr & 0x1f) !== 0x02) return gp(code);
    if ((found.attr & Attr.P) === 0) return fault(Vector.NP, code);
    vcpu.setSegment(Seg.LDTR, selector, found.base, found.limit, found.attr);
  }
  vcpu.descriptors.setLdt(watch);
  return undefined;
}

/** LTR: the guest's descriptor becomes busy; hardware goes on with the monitor's TSS under the guest's selector. */
export function loadTaskRegister(vcpu: VirtualCpu, selector: number): GuestFault | undefined {
  const code = selector & 0xfffc;
  if (isNull(selector)) return gp();
  if ((selector & 4) !== 0) return gp(code);
  const found = readDescriptor(vcpu, selector, Vector.GP);
  if (isFault(found)) return found;
  if ((found.attr & 0x1f) !== 0x09) return gp(code);
  if ((found.attr & Attr.P) === 0) return fault(Vector.NP, code);
  const broken = vcpu.memory.write((found.at + 4) >>> 0, 4, (found.high | 0x200) >>> 0, false);
  if (broken !== undefined) return broken;
  install(vcpu, Seg.TR, selector, { ...found, attr: found.attr | 2 });
  vcpu.setSegment(Seg.TR, selector, found.base, found.limit, found.attr | 2);
  vcpu.descriptors.install();
  return undefined;
}

/** MOV, POP or Lxx to ES, SS, DS, FS or GS with the guest's checks. Sets the interrupt shadow for SS. */
export function loadSegment(vcpu: VirtualCpu, seg: number, selector: number): GuestFault | undefined {
  const broken = loadDataSegment(vcpu, seg, selector & 0xffff);
  if (broken === undefined && seg === Seg.SS) vcpu.interruptShadow = true;
  return broken;
}

/** By IOPL, as hardware has it; the IOPL that a paravirtual kernel gives user code opens ports and nothing else (vmi-abi 5.1). */
const controlsInterrupts = (vcpu: VirtualCpu): boolean =>
  vcpu.cpl <= vcpu.kernelCpl || (vcpu.kernelCpl === 0 && vcpu.cpl <= vcpu.iopl);

/** CLI and STI at the guest's CPL and IOPL; STI sets the interrupt shadow when the flag was clear. */
export function setInterruptFlag(vcpu: VirtualCpu, enabled: boolean): Effect {
  if (!controlsInterrupts(vcpu)) return gp();
  if (enabled && !vcpu.interruptsEnabled) vcpu.interruptShadow = true;
  vcpu.interruptsEnabled = enabled;
  return NEXT;
}

/** POPF of a 32-bit or 16-bit image at the guest's CPL and IOPL; the stack is the caller's business. */
export function popFlags(vcpu: VirtualCpu, image: number, operandBytes: 2 | 4): void {
  const old = vcpu.eflags;
  let mask: number = Flag.ARITHMETIC | Flag.TF | Flag.DF | Flag.NT | Flag.AC | Flag.ID;
  if (vcpu.cpl === vcpu.kernelCpl) mask |= Flag.IOPL;
  if (controlsInterrupts(vcpu)) mask |= Flag.IF;
  if (operandBytes === 2) mask &= 0xffff;
  vcpu.eflags = ((image & mask) | (old & ~mask)) & ~Flag.RF;
}
