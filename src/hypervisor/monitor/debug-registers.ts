/**
 * The guest's debug registers. DR6 lives in the hardware thread, since hardware alone writes it unasked; the others are the virtual
 * CPU's and are loaded into hardware while it executes code as the guest wrote it: user code, under VMI the kernel too, and under BT a
 * kernel that is not translated while it is debugged (`bt/stepped.ts`).
 *
 * Gap. Breakpoints on ports are not met, since the monitor makes the accesses.
 */
import { Dr6, Dr7 } from '../machine/cpu/breakpoints.js';
import { Cr4, Flag, S, Vector } from '../machine/cpu/state.js';
import { fault, type GuestFault } from './guest-fault.js';
import type { VirtualCpu } from './virtual-cpu.js';

const BREAKPOINTS = 4;
/** A breakpoint covers at most eight bytes, aligned. */
const REACH = 8;
/** DR7 after reset. */
export const DR7_FIXED = 0x400;

/**
 * The register that an access by number concerns, or its fault: DR4 and DR5 are DR6 and DR7 unless CR4.DE, and with DR7.GD any access
 * is a #DB (SDM vol. 3, 17.2.2 and 17.2.4).
 */
export function debugRegisterIndex(vcpu: VirtualCpu, number: number): number | GuestFault {
  const alias = number === 4 || number === 5;
  if (alias && (vcpu.cr4 & Cr4.DE) !== 0) return fault(Vector.UD);
  if ((vcpu.debugRegisters[7]! & Dr7.GD) !== 0) {
    vcpu.thread.s[S.DR6]! |= Dr6.BD;
    return fault(Vector.DB);
  }
  return alias ? number + 2 : number;
}

export function readDebugRegister(vcpu: VirtualCpu, index: number): number {
  return index === 6 ? vcpu.thread.s[S.DR6]! : vcpu.debugRegisters[index]!;
}

export function writeDebugRegister(vcpu: VirtualCpu, index: number, value: number): void {
  if (index === 6) vcpu.thread.s[S.DR6] = (value & 0xe00f) | (0xffff0ff0 | 0);
  else if (index !== 7) vcpu.debugRegisters[index] = value;
  else vcpu.debugRegisters[7] = (value & 0xffff2fff) | DR7_FIXED;
}

/** The guest has enabled breakpoints. */
export const hasBreakpoints = (vcpu: VirtualCpu): boolean => (vcpu.debugRegisters[7]! & Dr7.ENABLES) !== 0;

const areArmed = (vcpu: VirtualCpu): boolean => (vcpu.thread.s[S.DR7]! & Dr7.ENABLES) !== 0;

/** The guest's DR7 as hardware may hold it: nothing in the monitor's hole, and register accesses trap without GD. */
function hardwareDr7(vcpu: VirtualCpu): number {
  let dr7 = vcpu.debugRegisters[7]! & ~Dr7.GD;
  for (let i = 0; i < BREAKPOINTS; i++) {
    if (vcpu.debugRegisters[i]! >>> 0 > vcpu.holeBase - REACH) dr7 &= ~(3 << (2 * i));
  }
  return dr7;
}

/** Before hardware executes the guest's own code. Free where the guest has no breakpoints. */
export function armBreakpoints(vcpu: VirtualCpu): void {
  if (!hasBreakpoints(vcpu) && !areArmed(vcpu)) return;
  const { s } = vcpu.thread;
  for (let i = 0; i < BREAKPOINTS; i++) s[S.DR0 + i] = vcpu.debugRegisters[i]!;
  s[S.DR7] = hardwareDr7(vcpu);
  vcpu.thread.charge(vcpu.costs.movDr * (BREAKPOINTS + 1));
}

/** Before hardware executes translated code. */
export function disarmBreakpoints(vcpu: VirtualCpu): void {
  if (!areArmed(vcpu)) return;
  vcpu.thread.s[S.DR7] = DR7_FIXED;
  vcpu.thread.charge(vcpu.costs.movDr);
}

/**
 * Before an instruction is executed again whose fault was the monitor's affair: hardware has pushed RF with it, so that the instruction does
 * not meet its breakpoint twice (SDM vol. 3, 17.3.1.1).
 */
export function resumeFlag(vcpu: VirtualCpu): void {
  if (areArmed(vcpu)) vcpu.thread.writeEflags(vcpu.thread.readEflags() | Flag.RF);
}

/**
 * Before the monitor carries out the instruction at a linear address: true if it meets a breakpoint, which DR6 then says. RF suppresses it
 * and is used up.
 */
export function meetsBreakpoint({ thread, debugRegisters }: VirtualCpu, linear: number): boolean {
  const flags = thread.readEflags();
  if ((flags & Flag.RF) !== 0) {
    thread.writeEflags(flags & ~Flag.RF);
    return false;
  }
  const dr7 = debugRegisters[7]!;
  let hits = 0;
  for (let i = 0; i < BREAKPOINTS; i++) {
    const onCode = ((dr7 >>> (16 + 4 * i)) & 3) === 0 && ((dr7 >>> (2 * i)) & 3) !== 0;
    if (onCode && (debugRegisters[i]! | 0) === (linear | 0)) hits |= 1 << i;
  }
  if (hits !== 0) thread.s[S.DR6] = (thread.s[S.DR6]! & ~Dr6.HITS) | hits;
  return hits !== 0;
}

/** An instruction that began with TF set has been carried out for the guest: the trap behind it is due, and DR6 says so. */
export function singleStepTrap(vcpu: VirtualCpu): GuestFault {
  vcpu.thread.s[S.DR6]! |= Dr6.BS;
  return fault(Vector.DB);
}
