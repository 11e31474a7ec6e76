/** What the virtual processor says about itself, from power-on to power-off: CPUID, and the model-specific registers without a function. */
import type { Archive } from '../base/archive.js';
import type { LocalApic } from '../devices/local-apic.js';
import type { CostProfile } from '../machine/costs/profile.js';
import { type CpuModel, cpuidOf } from './cpuid.js';
import { Msrs } from './msrs.js';

const APIC_BASE_MSR = 0x1b;

export class GuestProcessor {
  readonly cpuid;
  readonly #msrs = new Msrs();
  /** The board's, if there is one. */
  apic: LocalApic | undefined;

  constructor(costs: CostProfile, model?: CpuModel) {
    this.cpuid = cpuidOf(costs, model, () => (this.apic?.isEnabled === true ? this.apic.id : undefined));
  }

  /** Without the APIC, which is the board's. */
  exchange(archive: Archive): void {
    this.#msrs.exchange(archive);
  }

  /** Undefined where the register does not exist. */
  readMsr(index: number): readonly [low: number, high: number] | undefined {
    if (index === APIC_BASE_MSR && this.apic !== undefined) return [this.apic.baseMsr, 0];
    return this.#msrs.read(index);
  }

  /** Both halves are unsigned. False where the register does not exist or cannot hold the value. */
  writeMsr(index: number, low: number, high: number): boolean {
    if (index === APIC_BASE_MSR && this.apic !== undefined) return this.apic.writeBaseMsr(low, high);
    return this.#msrs.write(index, low, high);
  }
}
