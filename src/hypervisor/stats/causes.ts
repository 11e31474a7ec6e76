/**
 * Where a VM's cycles go. Every cycle that is charged to a VM is charged to exactly one cause, so the causes of a VM sum to
 * its total. Declared once: the bench, the console and the export all read this table.
 */
export const CAUSES = {
  guestUser: { label: 'guest user', help: 'instructions executed at CPL 3' },
  guestKernel: {
    label: 'guest kernel',
    help: 'kernel instructions: native, translated (out of the TC) or, with VMI, kernel and ROM code in ring 1',
  },
  syscall: { label: 'syscall forwarding', help: 'int 0x80 or sysenter through the monitor into the guest kernel' },
  callout: { label: 'callouts', help: 'translated code asking the monitor (privileged instructions, lookups)' },
  trueFault: { label: 'true faults', help: 'guest-visible faults: classified by the monitor and forwarded' },
  hiddenFault: { label: 'hidden faults', help: 'shadow misses repaired without the guest knowing' },
  traceFault: { label: 'traces', help: 'writes to watched pages (page tables, descriptor tables, translated code)' },
  mmioFault: { label: 'MMIO', help: 'accesses to device memory' },
  trap: { label: 'trapped instructions', help: 'privileged instructions that faulted and were emulated' },
  hypercall: { label: 'hypercalls', help: 'VMI calls that needed the monitor' },
  translation: { label: 'translation', help: 'translating guest code, chaining' },
  injection: { label: 'injection', help: 'delivering virtual interrupts' },
  interrupt: { label: 'host interrupts', help: 'host timer interrupts that ended guest execution, vmkernel timers' },
  scheduling: { label: 'scheduling', help: 'world switches' },
} as const;
export type Cause = keyof typeof CAUSES;
export const CAUSE_NAMES = Object.keys(CAUSES) as readonly Cause[];
/** Place of each cause in `CAUSE_NAMES`. */
export const CAUSE_INDEX = Object.fromEntries(CAUSE_NAMES.map((name, index) => [name, index])) as Readonly<
  Record<Cause, number>
>;
export type CauseCycles = Record<Cause, number>;

export const zeroCauses = (): CauseCycles => Object.fromEntries(CAUSE_NAMES.map(name => [name, 0])) as CauseCycles;
