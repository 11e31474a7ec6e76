/**
 * The VMCS of a guest under hardware assist, with what does not change while it lives: what exits, what it owns of the control registers,
 * and the host's state.
 *
 *     exits      page faults (the shadow is the monitor's), CR3, CR0 and CR4 beyond what the guest owns, INVLPG, I/O, HLT, CPUID,
 *                MSRs, debug registers, task switches, external interrupts
 *     runs       all else, interrupts on and off and returns of all kinds with it; other exceptions and INT n go to the guest's IDT
 */
import type { Mpn } from '../../base/pages.js';
import { Dr7 } from '../../machine/cpu/breakpoints.js';
import { Cr0, Cr4, Vector } from '../../machine/cpu/state.js';
import {
  CPU_ALLOWED,
  CpuControl,
  ENTRY_ALLOWED,
  EXIT_ALLOWED,
  ExitControl,
  PIN_ALLOWED,
  PinControl,
} from '../../machine/vmx/controls.js';
import { CR0_FIXED, CR4_VMXE } from '../../machine/vmx/entry-checks.js';
import { Field } from '../../machine/vmx/fields.js';
import { VMCS_REVISION } from '../../machine/vmx/vmcs.js';
import type { VirtualCpu } from '../virtual-cpu.js';

/** Bits that the guest changes without the monitor: they only say what its own instructions do. */
export const CR0_OWNED = Cr0.TS | Cr0.MP | Cr0.EM | Cr0.AM;
export const CR4_OWNED = Cr4.TSD | Cr4.DE | Cr4.OSFXSR | Cr4.OSXMMEXCPT;

const CPU_CONTROLS =
  CPU_ALLOWED.zero | CpuControl.HLT | CpuControl.INVLPG | CpuControl.MOV_DR | CpuControl.UNCONDITIONAL_IO;

/** Selectors of the host, which no simulated code ever loads. */
const HOST_CODE = 0x08;
const HOST_DATA = 0x10;
const HOST_TASK = 0x18;

/** The controls of this guest: its time-stamp counter may not be the host's. */
export const cpuControls = ({ thread }: VirtualCpu): number =>
  CPU_CONTROLS | (thread.timeStampOffset === 0 ? 0 : CpuControl.TSC_OFFSETTING);

/**
 * Exceptions that exit: page faults, and debug exceptions while the guest's general detection is on, since whoever delivers one ends it (SDM
 * vol. 3, 17.2.4) and hardware's DR7 does not have it.
 */
export const exceptionBitmap = ({ debugRegisters }: VirtualCpu): number =>
  (1 << Vector.PF) | ((debugRegisters[7]! & Dr7.GD) !== 0 ? 1 << Vector.DB : 0);

/** Makes a VMCS the current one. Answers its page, which is the caller's to free. Charges each VMWRITE. */
export function setUpVmcs(vcpu: VirtualCpu): Mpn {
  const { vm, thread } = vcpu;
  const { vmx } = thread;
  const mpn = vm.allocateMonitorPage('tables');
  vm.memory.write32(mpn << 12, VMCS_REVISION);
  vmx.clear(mpn << 12);
  vmx.load(mpn << 12);
  const constants: readonly (readonly [field: number, value: number])[] = [
    [Field.PIN_CONTROLS, PIN_ALLOWED.zero | PinControl.EXTERNAL_INTERRUPT | PinControl.NMI],
    [Field.CPU_CONTROLS, cpuControls(vcpu)],
    [Field.EXIT_CONTROLS, EXIT_ALLOWED.zero | ExitControl.ACKNOWLEDGE_INTERRUPT],
    [Field.ENTRY_CONTROLS, ENTRY_ALLOWED.zero],
    // Mask and match are 0: every page fault exits.
    [Field.EXCEPTION_BITMAP, exceptionBitmap(vcpu)],
    [Field.CR0_MASK, ~CR0_OWNED],
    [Field.CR4_MASK, ~CR4_OWNED],
    [Field.LINK_POINTER, -1],
    [Field.LINK_POINTER + 1, -1],
    [Field.HOST_CR0, CR0_FIXED | Cr0.WP],
    [Field.HOST_CR4, CR4_VMXE | Cr4.PGE],
    [Field.HOST_CS_SELECTOR, HOST_CODE],
    [Field.HOST_SS_SELECTOR, HOST_DATA],
    [Field.HOST_DS_SELECTOR, HOST_DATA],
    [Field.HOST_ES_SELECTOR, HOST_DATA],
    [Field.HOST_TR_SELECTOR, HOST_TASK],
  ];
  for (const [field, value] of constants) vmx.write(field, value);
  const { timeStampOffset } = thread;
  if (timeStampOffset !== 0) {
    vmx.write(Field.TSC_OFFSET, (timeStampOffset % 2 ** 32) | 0);
    vmx.write(Field.TSC_OFFSET + 1, Math.floor(timeStampOffset / 2 ** 32));
  }
  return mpn;
}
