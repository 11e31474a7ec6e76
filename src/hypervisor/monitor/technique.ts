/**
 * The seam between what all monitors share (loop, shadow paging, injection, devices) and what makes a technique: how guest
 * kernel code is executed. `bt/`, `hv/` and `vmi/` implement it and do not know each other; a VM that was offered the VMI ROM
 * starts under BT, and the `vmiInit` outcome makes the loop swap the technique.
 *
 * Who holds the guest's state: the general registers always live in the hardware thread. Everything that differs between
 * what the guest believes and what hardware holds (EIP in the TC, CPL, CS and SS selectors, EFLAGS.IF and IOPL, control and
 * descriptor-table registers) lives in `VirtualCpu` whenever the guest is *out*; `enter` loads it into hardware and
 * `capture` takes it back.
 */
import type { Archive } from '../base/archive.js';
import type { Exit } from '../machine/cpu/state.js';
import type { CodeLine } from '../stats/code-listing.js';
import type { Delivery, Event } from './inject.js';

export type Outcome =
  /** Handled: enter again. */
  | { readonly kind: 'resume' }
  /** The guest is halted until an interrupt. */
  | { readonly kind: 'halted' }
  /** The ROM's Init asks to go on under VMI. Guest state is captured, EIP behind the hypercall. */
  | { readonly kind: 'vmiInit' }
  /** The VM cannot go on: one readable line. */
  | { readonly kind: 'stopped'; readonly reason: string };

export interface Technique {
  readonly mode: 'bt' | 'hv' | 'vmi';
  /**
   * Loads hardware from `VirtualCpu` (if the guest is out) and runs until an exit. Returning to the guest charges `vmmExit`
   * and the IRET.
   */
  enter(deadlineCycles: number): Exit;
  /** Takes the guest's state out of hardware into `VirtualCpu`, exactly (BT: TC address to guest EIP). Idempotent. */
  capture(): void;
  /**
   * Applies what the guest has handed over and the monitor has not looked at yet (VMI: queued page-table and CPU-state
   * updates). The loop calls it before it classifies a page fault. Charges what it does; idempotent.
   */
  settle?(): void;
  /**
   * The guest stands at an instruction boundary, where an event can be delivered. Where it is not said, only an exit at the deadline and a
   * captured guest do.
   */
  readonly atBoundary?: boolean;
  /** The host's timer interrupt has ended the run: charges the way into the monitor. Where it is not said, that of an interrupt gate. */
  interrupted?(): void;
  /** Has an event delivered when the guest is entered next. Where it is not said, the monitor delivers it by itself. The guest is out. */
  inject?(event: Event): Delivery;
  /**
   * The event whose delivery by hardware the last exit has interrupted, if there is one: it is the monitor's to deliver from now on. Takes the
   * guest out, with EIP as `deliver` wants it.
   */
  takeInterruptedEvent?(): Event | undefined;
  /** An exit other than page faults, deadline and shutdown: callouts, hypercalls, exceptions, software interrupts. */
  handle(exit: Exit): Outcome;
  /** The monitor is about to carry out one instruction of the guest by software: charges what it takes to get hold of it. */
  beginEmulation?(): void;
  /**
   * Bytes from the guest instruction at hardware's EIP on, where hardware is about to execute it as it is; undefined in the middle of
   * something. Techniques that cut segments short say it.
   */
  instruction?(): Uint8Array | undefined;
  /**
   * The monitor has stepped the guest by one instruction, and a trap behind it may have been delivered. True where the instruction is done
   * and that delivery was interrupted by the exit: the technique delivers the event anew.
   */
  afterStep?(): boolean;
  /** A trace was hit by the instruction at the current hardware EIP (BT counts, and retranslates hot sites). */
  onTraceHit(): void;
  /** Device memory was reached by the instruction at the current hardware EIP, likewise. */
  onDeviceHit?(): void;
  /** The guest stored into a page that holds code it may have translated; byte range within the page. */
  onCodeWritten(ppn: number, offset: number, length: number): void;
  /** The mapping of the page at `linear` (INVLPG), or of any page (no argument), changed: drop what was derived from it. */
  onMappingChanged(linear?: number): void;
  /** The guest is out: what the technique knows of it beyond `VirtualCpu`. Restoring: after everything else of the VM. */
  exchange?(archive: Archive): void;
  /** Another technique has taken the guest over: gives back what was allocated. No other call follows. */
  destroy?(): void;
  /** Guest code from a linear address on with its translation, where there is one. Changes and charges nothing. */
  listCode?(linear: number): readonly CodeLine[];
  /** One finding a line; empty when all derived state is consistent. Changes and charges nothing. */
  audit(): string[];
}
