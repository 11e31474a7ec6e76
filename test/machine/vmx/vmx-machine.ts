/** A machine whose guest runs in VMX non-root operation: the fixture's tables under paging, and a VMCS made of its state. */
import { Cr0, S } from '../../../src/hypervisor/machine/cpu/state.js';
import { CPU_ALLOWED, ENTRY_ALLOWED, EXIT_ALLOWED, PIN_ALLOWED } from '../../../src/hypervisor/machine/vmx/controls.js';
import { CR0_FIXED, CR4_VMXE } from '../../../src/hypervisor/machine/vmx/entry-checks.js';
import { Field } from '../../../src/hypervisor/machine/vmx/fields.js';
import { VMCS_REVISION } from '../../../src/hypervisor/machine/vmx/vmcs.js';
import { guestState, type Vmx } from '../../../src/hypervisor/machine/vmx/vmx.js';
import { CODE, Machine } from '../fixture.js';

/** Physical address of the VMCS: out of the way of everything that the fixture has. */
const VMCS = 0x60000;

export class VmxMachine extends Machine {
  #launched = false;

  /** `cpuControls` and `fields` are set besides what the hardware demands. */
  constructor(cpuControls = 0, fields: readonly (readonly [field: number, value: number])[] = []) {
    super({ ring0Escapes: true });
    this.enablePaging();
    const { s } = this.cpu;
    s[S.CR0]! |= Cr0.NE;
    s[S.CR4]! |= CR4_VMXE;
    s[S.EIP] = CODE;
    this.write32(VMCS, VMCS_REVISION);
    this.vmx.clear(this.base + VMCS);
    this.vmx.load(this.base + VMCS);
    const demanded: readonly (readonly [number, number])[] = [
      [Field.PIN_CONTROLS, PIN_ALLOWED.zero],
      [Field.CPU_CONTROLS, CPU_ALLOWED.zero | cpuControls],
      [Field.EXIT_CONTROLS, EXIT_ALLOWED.zero],
      [Field.ENTRY_CONTROLS, ENTRY_ALLOWED.zero],
      [Field.LINK_POINTER, -1],
      [Field.LINK_POINTER + 1, -1],
      [Field.HOST_CR0, CR0_FIXED],
      [Field.HOST_CR4, CR4_VMXE],
      [Field.HOST_CS_SELECTOR, 8],
      [Field.HOST_SS_SELECTOR, 16],
      [Field.HOST_TR_SELECTOR, 24],
    ];
    this.saveState();
    for (const [field, value] of [...demanded, ...fields]) this.vmx.write(field, value);
  }

  get vmx(): Vmx {
    return this.cpu.vmx;
  }

  /** Writes the thread's registers to the VMCS. */
  saveState(): void {
    for (const [field, value] of guestState(this.cpu)) this.vmx.vmcs.set(field, value);
  }

  field(field: number): number {
    return this.vmx.vmcs.get(field);
  }

  /** VMLAUNCH the first time, VMRESUME from then on. */
  enter() {
    const entry = this.vmx.enter(!this.#launched);
    if (entry.kind === 'entered' || entry.kind === 'exited') this.#launched = true;
    return entry;
  }

  /** Enters, runs up to an exit, and exits. Answers the exit. */
  runGuest() {
    const entry = this.enter();
    if (entry.kind === 'failed' || entry.kind === 'refused') throw new Error(`${entry.kind}: ${entry.trouble}`);
    const exit = entry.kind === 'exited' ? entry.exit : this.cpu.run(Number.POSITIVE_INFINITY);
    this.vmx.exit(exit);
    return exit;
  }

  /** Loads code at the guest's EIP and runs it up to the first exit. */
  runCode(code: string) {
    this.load(code);
    this.vmx.vmcs.set(Field.GUEST_RIP, CODE);
    return this.runGuest();
  }
}
