/**
 * Where a VM's cycles go. Every cycle that is charged to a VM is charged to exactly one cause, so the causes of a VM sum to
 * its total. Declared once: the bench, the console and the export all read this table.
 *
 * `counters` are the events that the cycles were spent on; there are none where the guest itself spends them. An exception that only
 * comes up while an exit is handled (an instruction that faults when it is emulated) is counted as a fault, and its cycles are the exit's.
 */
import type { CounterName } from './counters.js';

export interface CauseSpec {
  readonly label: string;
  readonly help: string;
  readonly counters: readonly CounterName[];
}

export const CAUSES = {
  guestUser: { label: 'guest user', help: 'instructions executed at CPL 3', counters: [] },
  guestKernel: {
    label: 'guest kernel',
    help: 'kernel instructions: native, translated (out of the TC) or, with VMI, kernel and ROM code in ring 1',
    counters: [],
  },
  syscall: {
    label: 'syscall forwarding',
    help: 'int 0x80 or sysenter through the monitor into the guest kernel',
    counters: ['syscallsForwarded'],
  },
  callout: {
    label: 'callouts',
    help: 'translated code asking the monitor (privileged instructions, lookups)',
    counters: ['callouts'],
  },
  trueFault: {
    label: 'true faults',
    help: 'guest-visible faults: classified by the monitor and forwarded',
    counters: ['trueFaults', 'forwardedFaults'],
  },
  hiddenFault: {
    label: 'hidden faults',
    help: 'shadow misses repaired without the guest knowing',
    counters: ['hiddenFaults'],
  },
  traceFault: {
    label: 'traces',
    help: 'writes to watched pages (page tables, descriptor tables, translated code)',
    counters: ['traceFaults'],
  },
  mmioFault: { label: 'MMIO', help: 'accesses to device memory', counters: ['mmioFaults'] },
  trap: {
    label: 'trapped instructions',
    help: 'privileged instructions that faulted and were emulated',
    counters: ['trappedInstructions'],
  },
  hypercall: { label: 'hypercalls', help: 'VMI calls that needed the monitor', counters: ['hypercalls'] },
  translation: { label: 'translation', help: 'translating guest code, chaining', counters: ['tcUnits', 'tcExits'] },
  injection: { label: 'injection', help: 'delivering virtual interrupts', counters: ['injections'] },
  interrupt: {
    label: 'host interrupts',
    help: 'host timer interrupts that ended guest execution, vmkernel timers',
    counters: ['hostTimers'],
  },
  scheduling: { label: 'scheduling', help: 'world switches', counters: ['dispatches'] },
} as const satisfies Record<string, CauseSpec>;
export type Cause = keyof typeof CAUSES;
export const CAUSE_NAMES = Object.keys(CAUSES) as readonly Cause[];
/** Place of each cause in `CAUSE_NAMES`. */
export const CAUSE_INDEX = Object.fromEntries(CAUSE_NAMES.map((name, index) => [name, index])) as Readonly<
  Record<Cause, number>
>;
export type CauseCycles = Record<Cause, number>;

export const zeroCauses = (): CauseCycles => Object.fromEntries(CAUSE_NAMES.map(name => [name, 0])) as CauseCycles;
