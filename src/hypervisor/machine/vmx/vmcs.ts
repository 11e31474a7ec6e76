/**
 * A virtual-machine control structure: one page of machine memory, whose layout is the processor's own business (SDM vol. 3, 24.2).
 * Software reaches the fields by VMREAD and VMWRITE alone (`Vmx`); what is here is what the processor itself does, free of charge.
 */
import type { MachineMemory } from '../memory.js';
import { FIELDS, isWide } from './fields.js';

/** What the first word of a region must say before it is loaded: IA32_VMX_BASIC. */
export const VMCS_REVISION = 1;
/** Word offsets: revision, VMX-abort indicator, launch state, then the fields. */
const REVISION = 0;
const LAUNCHED = 2;
const FIRST = 4;

/** Offset of each field in words. The high half of a 64-bit field follows the low one, and has the next encoding. */
const OFFSETS: ReadonlyMap<number, number> = (() => {
  const offsets = new Map<number, number>();
  let next = FIRST;
  for (const field of FIELDS) {
    offsets.set(field, next++);
    if (isWide(field)) offsets.set(field + 1, next++);
  }
  return offsets;
})();

/** Has the hardware a field of this encoding? */
export const isField = (field: number): boolean => OFFSETS.has(field);

export class Vmcs {
  readonly #words: Int32Array;

  /** `machineAddress` is page-aligned. */
  constructor(memory: MachineMemory, machineAddress: number) {
    this.#words = memory.i32.subarray(machineAddress >>> 2, (machineAddress >>> 2) + 1024);
  }

  get revision(): number {
    return this.#words[REVISION]!;
  }

  get launched(): boolean {
    return this.#words[LAUNCHED] !== 0;
  }
  set launched(launched: boolean) {
    this.#words[LAUNCHED] = launched ? 1 : 0;
  }

  /** As an int32. The field must exist. */
  get(field: number): number {
    return this.#words[OFFSETS.get(field)!]!;
  }

  set(field: number, value: number): void {
    this.#words[OFFSETS.get(field)!] = value;
  }
}
