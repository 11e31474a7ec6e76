/**
 * Cost profiles: what each event costs on one generation of processor, in cycles, and where the figure is from.
 *
 * Every figure is either from a named source or says `estimate` with a range. Nothing here names a benchmark: a handler's
 * cost is the sum of the primitives that it used.
 */

export interface Cost {
  readonly cycles: number;
  /** Where the figure comes from: a source, or `estimate: ` and the basis. */
  readonly source: string;
  /** Plausible range, in cycles, where the figure is an estimate. */
  readonly range?: readonly [low: number, high: number];
}

/** What the simulated hardware charges. One entry per class of instruction or hardware event. */
export const HARDWARE_COSTS = [
  // Instruction classes: throughput cost of one executed instruction.
  'simple',
  'load',
  'store',
  'readModifyWrite',
  'branch',
  /** JMP through a register or memory; a call through one is a `call`. */
  'indirectBranch',
  'call',
  'ret',
  'multiply',
  'divide',
  'shiftDouble',
  'bitScan',
  // x87, MMX and SSE.
  'fpMove',
  'fpAdd',
  'fpMultiply',
  'fpDivide',
  'fpSquareRoot',
  'fpTranscendental',
  'fpControl',
  'fpEnvironment',
  'fpSave',
  'fpSaveExtended',
  'lockedAccess',
  'pushPopAll',
  'pushf',
  'popf',
  'cliSti',
  'stringStart',
  'stringStep',
  'segmentLoad',
  'farTransfer',
  'cpuid',
  'rdtsc',
  'msrAccess',
  'movCr0',
  'movCr2',
  'movCr3',
  'movCr4',
  'movDr',
  'clts',
  'invlpg',
  'descriptorTableLoad',
  'taskRegisterLoad',
  'wbinvd',
  'portIo',
  'mmioAccess',
  'hlt',
  // Hardware events.
  'tlbMiss',
  'exceptionSameRing',
  'exceptionToInner',
  'interruptAcknowledge',
  'iretSameRing',
  'iretToOuter',
  'callGateToInner',
  'farReturnToOuter',
  'sysenter',
  'sysexit',
  // Hardware virtualization (SDM vol. 3, chapters 23 to 27).
  'vmEntry',
  'vmExit',
  'vmcsRead',
  'vmcsWrite',
] as const;
export type HardwareCost = (typeof HARDWARE_COSTS)[number];

/** Primitives of the monitor's and the vmkernel's own software, as they would run on this processor. */
export const MONITOR_COSTS = [
  /** Entry stub behind a gate: save registers, find the vCPU, dispatch. */
  'vmmEntry',
  /** Restore registers before the return to the guest (the IRET itself is hardware's). */
  'vmmExit',
  /** Read one level of a guest page table: pmap lookup and load. */
  'guestWalkLevel',
  /** Compute and store one shadow entry. */
  'shadowFill',
  /** Allocate and clear one shadow table page. */
  'shadowTableAllocate',
  /** Drop or downgrade one shadow entry. */
  'shadowEntryDrop',
  /** Look up the shadow root for a guest CR3 and load it. */
  'shadowSwitch',
  /** Find which traces a faulting address hits. */
  'traceLookup',
  /** Put or lift the write protection of one mapping. */
  'traceProtect',
  /** Interrupt another processor so that it drops TLB lines, and wait until it has. */
  'tlbShootdown',
  /** Decode one guest instruction in order to emulate it. */
  'decode',
  /** Emulate one decoded instruction, without its memory and device work. */
  'emulate',
  /** Store one word into, or load one word from, guest memory by software walk (walk charged apart). */
  'guestMemoryAccess',
  /** Choose the guest handler and build the rest of the frame. */
  'injectEvent',
  /** Translate one guest instruction into the TC. */
  'translateInstruction',
  /** Look a guest address up in the table of translations. */
  'tcLookup',
  /** Patch a direct jump to its translation. */
  'chain',
  /** Find out from the TC address which callout it is. */
  'calloutDispatch',
  /** Call of a monitor routine that does its work in the translated code's own ring: spills, the monitor's stack, and back. */
  'tcRoutine',
  /** Hardware assist: what the monitor itself misses in the TLB that a VM exit has emptied. */
  'exitRefill',
  /** Convert a TC address to a guest address and undo a half-done sequence. */
  'tcStateRecover',
  /** Check and dispatch one hypercall. */
  'hypercallDispatch',
  /** Take one entry from a queue of page-table updates. */
  'updateQueueEntry',
  /** Rebuild one descriptor of the monitor's GDT from the guest's. */
  'descriptorShadow',
  /** One access to a register of a virtual device. */
  'deviceAccess',
  /** Set, cancel or fire one timer in the vmkernel. */
  'timerCallback',
  /** Switch a pCPU from one world to another. */
  'worldSwitch',
  /** Scheduler decision. */
  'schedule',
  /** Give one machine page to a VM, zeroed. */
  'allocatePage',
  /** Forward one frame to one port of the virtual switch, without the copy. */
  'frameForward',
  /** Copy 64 bytes of a frame from one VM's memory to another's. */
  'frameCopyLine',
] as const;
export type MonitorCost = (typeof MONITOR_COSTS)[number];

export type CostName = HardwareCost | MonitorCost;

export interface CostProfile {
  readonly name: string;
  readonly cpu: string;
  /** Nominal clock, cycles per second. */
  readonly cyclesPerSecond: number;
  readonly entries: Readonly<Record<CostName, Cost>>;
  /** The cycles of `entries` alone, for hot paths. */
  readonly cycles: Readonly<Record<CostName, number>>;
}
