/** What the machine offers to whoever drives it (a monitor, or the bare-metal loop). Implemented in `cpu/context.ts`. */
import type { Vmx } from '../vmx/vmx.js';
import type { Exit } from './state.js';

/** One hardware thread: architectural state plus the engine that advances it. */
export interface HardwareThread {
  /** State words, indexed by `S`. A view into machine memory. */
  readonly s: Int32Array;
  /**
   * Time-stamp counter of the pCPU, in cycles: this is the host's clock while the thread runs. Whoever dispatches the thread
   * sets it to the pCPU's time. Exact at every return from `run`, in every port and MMIO callback, and for RDTSC.
   */
  cycles: number;
  /** What RDTSC shows beyond `cycles`. A VM entry sets it by the VMCS. */
  timeStampOffset: number;
  /** Cycles spent at each CPL (index 0..3), only rising. Delivery into ring 0 counts there, IRET where it was executed. */
  readonly cyclesByRing: Float64Array;
  /** Instructions completed, only rising. */
  instructions: number;
  readonly counters: HardwareCounters;

  /**
   * Executes until one of the reasons in `Exit`. Events (deadline, INTR) are taken only at points which the guest's own
   * code defines: on entry, at taken backward branches, indirect and far transfers, after instructions that change
   * interruptibility, at I/O, between pages of a repeated string instruction, and at HLT.
   */
  run(deadlineCycles: number): Exit;
  /**
   * Deadline of the `run` in progress (set by `run`). A port or MMIO callback may lower it, never raise it: the run then
   * ends at the event point behind the access. Natively this is how a timer that the guest has just programmed, or a power
   * port, ends the run in time.
   */
  deadlineCycles: number;
  /** Executes exactly one instruction (one iteration at most of a `rep`), taking no interrupt. Faults as in `run`. */
  step(): Exit;

  /** Charges cycles of software that runs at ring 0 outside the simulation: advances `cycles` and `cyclesByRing[0]`. */
  charge(cycles: number): void;

  readEflags(): number;
  writeEflags(value: number): void;
  /** Raises or lowers the INTR pin. */
  setIntr(level: boolean): void;

  /**
   * Linear address of a page of the host's own code for CPL 1, or -1. As ring 0 it is not simulated: control that gets there ends the
   * run. Nothing may be mapped there.
   */
  routinePage: number;
  /** Hardware virtualization. */
  readonly vmx: Vmx;
  /** Ends VMX non-root operation for good, without an exit. */
  leaveNonRoot(): void;

  /** Loads a segment register's visible and hidden parts, without checks or memory access. `limit` in bytes. */
  setSegment(seg: number, selector: number, base: number, limit: number, attr: number): void;
  /** Sets CPL (the monitor's return to its guest); cycle accounting by ring follows. */
  setCpl(cpl: number): void;
  /**
   * Loads CR3 and flushes non-global TLB entries, without charge. This and the next two answer false, with nothing done, where PAE paging
   * would find an invalid page-directory pointer: a guest gets #GP(0).
   */
  loadCr3(value: number): boolean;
  setCr0(value: number): boolean;
  setCr4(value: number): boolean;
  /** Drops the TLB line of one linear page, global or not. */
  flushTlbPage(linear: number): void;
  /** Drops every TLB line, global ones too. */
  flushTlb(): void;
  /** Linear addresses for which the TLB holds a line, with what it maps them to: for audits. */
  tlbEntries(): readonly TlbEntry[];
}

export interface TlbEntry {
  readonly linearPage: number;
  readonly physicalPage: number;
  readonly writable: boolean;
  readonly user: boolean;
  readonly global: boolean;
}

/** Monotonic event counts of one hardware thread. */
export interface HardwareCounters {
  tlbMisses: number;
  exceptions: number;
  interrupts: number;
  portReads: number;
  portWrites: number;
  blocksDecoded: number;
  blocksInvalidated: number;
}
