/** What the virtual processor says about itself, from power-on to power-off: CPUID, and the model-specific registers without a function. */
import type { CostProfile } from '../machine/costs/profile.js';
import { type CpuModel, cpuidOf } from './cpuid.js';
import { Msrs } from './msrs.js';

export class GuestProcessor {
  readonly cpuid;
  readonly msrs = new Msrs();

  /** `vmi`: the VM has the VMI ROM. */
  constructor(costs: CostProfile, model: CpuModel | undefined, vmi: boolean) {
    this.cpuid = cpuidOf(costs, model, vmi);
  }
}
