/**
 * The calls of VMI API 3.0, by index. The index is the only name a call has in the ABI: GetRelocationInfo takes it, and the
 * order may never change (new calls go to the end and raise the minor version).
 *
 * `how` says what the ROM answers:
 *   fast       machine code that stays in ring 1 in the common case (it may still hypercall)
 *   hypercall  a stub that asks the monitor every time
 *   nop        the guest removes the operation
 *   none       not offered: the guest keeps its native form. RDPMC, since there are no counters and the instruction's own #GP says so;
 *              SetCallbacks, of which nothing but the name is published
 */
export type CallHow = 'fast' | 'hypercall' | 'nop' | 'none';

const TABLE = [
  ['CPUID', 'hypercall'],
  ['WRMSR', 'hypercall'],
  ['RDMSR', 'hypercall'],
  ['SetGDT', 'hypercall'],
  ['SetLDT', 'hypercall'],
  ['SetIDT', 'hypercall'],
  ['SetTR', 'hypercall'],
  ['GetGDT', 'hypercall'],
  ['GetLDT', 'hypercall'],
  ['GetIDT', 'hypercall'],
  ['GetTR', 'hypercall'],
  ['WriteGDTEntry', 'hypercall'],
  ['WriteLDTEntry', 'hypercall'],
  ['WriteIDTEntry', 'hypercall'],
  ['UpdateKernelStack', 'fast'],
  ['SetCR0', 'hypercall'],
  ['SetCR2', 'fast'],
  ['SetCR3', 'fast'],
  ['SetCR4', 'hypercall'],
  ['GetCR0', 'fast'],
  ['GetCR2', 'fast'],
  ['GetCR3', 'fast'],
  ['GetCR4', 'fast'],
  ['WBINVD', 'hypercall'],
  ['SetDR', 'hypercall'],
  ['GetDR', 'hypercall'],
  ['RDPMC', 'none'],
  ['RDTSC', 'fast'],
  ['CLTS', 'fast'],
  ['EnableInterrupts', 'fast'],
  ['DisableInterrupts', 'fast'],
  ['GetInterruptMask', 'fast'],
  ['SetInterruptMask', 'fast'],
  ['IRET', 'fast'],
  ['SYSEXIT', 'fast'],
  ['Halt', 'hypercall'],
  ['Reboot', 'hypercall'],
  ['Shutdown', 'hypercall'],
  ['SetPxE', 'fast'],
  ['SetPxELong', 'fast'],
  ['UpdatePxE', 'fast'],
  ['UpdatePxELong', 'fast'],
  ['MachineToPhysical', 'fast'],
  ['PhysicalToMachine', 'fast'],
  ['AllocatePage', 'hypercall'],
  ['ReleasePage', 'hypercall'],
  ['InvalPage', 'hypercall'],
  ['FlushTLB', 'hypercall'],
  ['SetLinearMapping', 'hypercall'],
  ['INL', 'hypercall'],
  ['INB', 'hypercall'],
  ['INW', 'hypercall'],
  ['INSL', 'hypercall'],
  ['INSB', 'hypercall'],
  ['INSW', 'hypercall'],
  ['OUTL', 'hypercall'],
  ['OUTB', 'hypercall'],
  ['OUTW', 'hypercall'],
  ['OUTSL', 'hypercall'],
  ['OUTSB', 'hypercall'],
  ['OUTSW', 'hypercall'],
  ['SetIOPLMask', 'fast'],
  ['SetInitialAPState', 'fast'],
  ['APICWrite', 'hypercall'],
  ['APICRead', 'hypercall'],
  ['IODelay', 'nop'],
  ['GetCycleFrequency', 'fast'],
  ['GetCycleCounter', 'fast'],
  ['SetAlarm', 'hypercall'],
  ['CancelAlarm', 'hypercall'],
  ['GetWallclockTime', 'hypercall'],
  ['WallclockUpdated', 'hypercall'],
  ['SetCallbacks', 'none'],
  ['SetLazyMode', 'fast'],
] as const satisfies readonly (readonly [string, CallHow])[];

export type CallName = (typeof TABLE)[number][0];

export interface VmiCall {
  readonly index: number;
  readonly name: CallName;
  readonly how: CallHow;
}

/** 74 in API 3.0. */
export const CALLS: readonly VmiCall[] = TABLE.map(([name, how], index) => ({ index, name, how }));

/** Index of a call by its name. */
export const CALL = Object.fromEntries(CALLS.map(call => [call.name, call.index])) as Readonly<
  Record<CallName, number>
>;

/** Relocation types of GetRelocationInfo (byte 4 of its result). */
export const Relocation = { NONE: 0, CALL_REL: 1, JUMP_REL: 2, NOP: 3 } as const;
