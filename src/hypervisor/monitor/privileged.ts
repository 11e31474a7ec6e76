/**
 * Privileged and sensitive instructions on the virtual CPU: what BT callouts and VMI traps have in common. One function per
 * instruction; `emulate` decodes and dispatches.
 *
 * All need the guest out (captured), leave `vcpu.eip` where the instruction was, and say how it went on. `emulate` moves EIP.
 */
import type { Instruction } from 'iced-x86';
import type { GuestFault } from './guest-fault.js';
import type { VirtualCpu } from './virtual-cpu.js';

export type Effect =
  /** Go on behind the instruction. */
  | { readonly kind: 'next' }
  /** EIP (and whatever else) is set. */
  | { readonly kind: 'jumped' }
  /** Go on behind the instruction when an interrupt comes. */
  | { readonly kind: 'halt' }
  /** One iteration of a repeated string instruction: the same instruction again. */
  | { readonly kind: 'again' }
  | GuestFault
  /** The VM cannot go on (triple fault while delivering INT n). */
  | { readonly kind: 'stopped'; readonly reason: string };

/**
 * Decodes the instruction at `vcpu.eip` and carries it out if it is one of those that `privileged.ts` knows; undefined if not.
 * Charges `decode` and `emulate`, plus what the instruction does. Faults are returned, not delivered.
 */
export function emulate(_vcpu: VirtualCpu): Effect | undefined {
  throw new Error('being written');
}

/** As `emulate`, for an instruction that the caller has decoded (IP irrelevant). Charges `emulate` only. */
export function emulateDecoded(_vcpu: VirtualCpu, _instruction: Instruction): Effect | undefined {
  throw new Error('being written');
}

// Single instructions, for callers that have their operands already. None charges `decode` or `emulate`.

/** MOV to CR0, CR3 or CR4 with every consequence (shadow, TLB); MOV to CR2. */
export function writeControlRegister(_vcpu: VirtualCpu, _register: number, _value: number): Effect {
  throw new Error('being written');
}

/** IRET with 32-bit operands: all frames (same ring, to user mode), faults with the guest's state unchanged. */
export function iret(_vcpu: VirtualCpu): Effect {
  throw new Error('being written');
}

/** SYSENTER by the guest (any CPL); EIP is behind it. */
export function sysenter(_vcpu: VirtualCpu): Effect {
  throw new Error('being written');
}

export function sysexit(_vcpu: VirtualCpu): Effect {
  throw new Error('being written');
}

/** MOV, POP or Lxx to ES, SS, DS, FS or GS with the guest's checks. Sets the interrupt shadow for SS. */
export function loadSegment(_vcpu: VirtualCpu, _seg: number, _selector: number): GuestFault | undefined {
  throw new Error('being written');
}

/** CLI and STI; STI sets the interrupt shadow. */
export function setInterruptFlag(_vcpu: VirtualCpu, _enabled: boolean): Effect {
  throw new Error('being written');
}

/** POPF of a 32-bit or 16-bit image at the guest's CPL and IOPL. */
export function popFlags(_vcpu: VirtualCpu, _image: number, _operandBytes: 2 | 4): void {
  throw new Error('being written');
}
