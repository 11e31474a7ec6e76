/**
 * Delivers an exception, a software interrupt or an external interrupt to the guest through its own IDT, as its processor
 * would (SDM vol. 3, 6.12.1): gate checks, stack switch by the guest's TSS, frame, virtual IF, CR2, double and triple faults.
 */
import type { VirtualCpu } from './virtual-cpu.js';

export interface Event {
  readonly vector: number;
  /** Undefined where the vector has none. */
  readonly errorCode?: number | undefined;
  /** 'software': INT n, INT3, INTO: `vcpu.eip` is behind the instruction. 'exception': at it (faults) or behind it (traps). */
  readonly kind: 'exception' | 'software' | 'external';
  /** For #PF. */
  readonly cr2?: number | undefined;
  /** For 'software': length of the instruction, so that a fault of the delivery can name it. Default 2. */
  readonly instructionBytes?: number;
}

/** 'delivered' may mean that a double fault was delivered instead. */
export type Delivery = { readonly kind: 'delivered' } | { readonly kind: 'stopped'; readonly reason: string };

/**
 * The guest must be out (captured). Afterwards `vcpu.eip`, `cpl`, CS, SS, ESP and the virtual flags are those of the guest's
 * handler. Charges `injectEvent` and every guest memory access.
 */
export function deliver(_vcpu: VirtualCpu, _event: Event): Delivery {
  throw new Error('being written');
}
