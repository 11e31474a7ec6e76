/**
 * Event counters of one VM. Declared once; labels, help, CSV and tests derive from this table. Counters only rise; gauges
 * go both ways. Reading changes nothing.
 */
export interface CounterSpec {
  readonly unit: string;
  readonly help: string;
  readonly gauge?: true;
}

export const COUNTERS = {
  instructions: { unit: 'instructions', help: 'instructions executed by the processor for this VM' },
  exits: { unit: 'exits', help: 'returns from guest execution into the monitor, whatever the reason' },
  trueFaults: { unit: 'faults', help: 'page faults caused by the guest’s own tables' },
  hiddenFaults: { unit: 'faults', help: 'shadow misses repaired without the guest knowing' },
  traceFaults: { unit: 'faults', help: 'writes to watched pages' },
  mmioFaults: { unit: 'faults', help: 'accesses to device memory' },
  forwardedFaults: { unit: 'faults', help: 'exceptions other than page faults that the monitor forwarded' },
  trappedInstructions: { unit: 'traps', help: 'privileged instructions that faulted and were emulated' },
  syscallsForwarded: { unit: 'calls', help: 'int 0x80 and sysenter through the monitor' },
  callouts: {
    unit: 'callouts',
    help: 'requests from translated code, in ring 0 or its own: instructions to carry out, lookups',
  },
  hypercalls: { unit: 'calls', help: 'VMI calls that reached the monitor' },
  updatesQueued: { unit: 'updates', help: 'page-table updates that the VMI ROM queued instead of calling' },
  injections: { unit: 'interrupts', help: 'virtual interrupts delivered' },
  portAccesses: { unit: 'accesses', help: 'virtual device port accesses' },
  shadowFills: { unit: 'entries', help: 'shadow entries filled' },
  shadowPrefetches: { unit: 'entries', help: 'of them at a hidden fault of a neighbour' },
  shadowDrops: { unit: 'entries', help: 'shadow entries dropped' },
  shadowSwitches: { unit: 'switches', help: 'address-space switches' },
  shadowPages: { unit: 'pages', help: 'machine pages that hold shadow tables', gauge: true },
  tcUnits: { unit: 'units', help: 'translation units made' },
  tcInstructions: { unit: 'instructions', help: 'guest instructions translated' },
  tcExits: { unit: 'exits', help: 'ways out of translation units that were not chained when they were taken' },
  tcChains: { unit: 'links', help: 'direct jumps chained' },
  tcMisses: { unit: 'lookups', help: 'indirect lookups that missed the hash' },
  tcAdapted: { unit: 'sites', help: 'sites retranslated to a routine of the monitor' },
  tcReverted: { unit: 'sites', help: 'adapted sites translated plainly again' },
  tcFlushes: { unit: 'flushes', help: 'translation cache flushes' },
  tcBytes: { unit: 'bytes', help: 'translation cache in use', gauge: true },
  tlbMisses: { unit: 'misses', help: 'TLB misses of the processor' },
  timerInterrupts: { unit: 'interrupts', help: 'timer interrupts delivered to the guest' },
  wakeups: { unit: 'wake-ups', help: 'times a halted vCPU became runnable' },
  hostTimers: { unit: 'callbacks', help: 'vmkernel timers that came due on behalf of this VM' },
  dispatches: { unit: 'switches', help: 'times a virtual CPU was put on a pCPU' },
} as const satisfies Record<string, CounterSpec>;
export type CounterName = keyof typeof COUNTERS;
export const COUNTER_NAMES = Object.keys(COUNTERS) as readonly CounterName[];
export type Counters = Record<CounterName, number>;

export const zeroCounters = (): Counters => Object.fromEntries(COUNTER_NAMES.map(name => [name, 0])) as Counters;
