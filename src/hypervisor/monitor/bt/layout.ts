/**
 * Where the parts of the translation cache are, and which words of the vCPU page translated code uses. Translated code
 * reaches all of them through GS, which holds `MonitorSelector.TC_DATA` (base 0) while it runs.
 *
 *     TC_LINEAR   +---------------------+
 *                 | translation units   |  bump allocated, dropped all at once when full
 *                 |         v           |
 *                 +---------------------+
 *                 | shared lookup code  |  at the end, so that every jump to it is a forward jump
 *                 +---------------------+
 *
 * Hardware takes events at taken backward branches and at indirect transfers. Jumps inside a unit and jumps to the lookup
 * code only go forward, so an event is always found at the start of a unit: a clean guest boundary.
 */
import { VCPU_PAGE_LINEAR } from '../hole.js';
import { VcpuPage } from '../vcpu-page.js';

const slot = (index: number): number => VCPU_PAGE_LINEAR + VcpuPage.SCRATCH + 4 * index;

export const Slot = {
  VIF: VCPU_PAGE_LINEAR + VcpuPage.VIF,
  PENDING: VCPU_PAGE_LINEAR + VcpuPage.PENDING,
  VFLAGS: VCPU_PAGE_LINEAR + VcpuPage.VFLAGS,
  CR0: VCPU_PAGE_LINEAR + VcpuPage.CR0,
  CR2: VCPU_PAGE_LINEAR + VcpuPage.CR2,
  CR3: VCPU_PAGE_LINEAR + VcpuPage.CR3,
  CR4: VCPU_PAGE_LINEAR + VcpuPage.CR4,
  /** Spilled ECX and EAX. */
  ECX: slot(0),
  EAX: slot(1),
  /** Guest target of an indirect transfer, and its place in the TC. */
  TARGET: slot(2),
  TC_TARGET: slot(3),
  /** Selector that the guest believes to be in GS, zero-extended. */
  GS: slot(4),
  /** TC address to which a ring-1 routine of the monitor returns. */
  RETURN: slot(5),
} as const;

/** Byte offset of a slot in the vCPU page. */
export const inVcpuPage = (linear: number): number => linear - VCPU_PAGE_LINEAR;

/** Hash of indirect targets: entry i holds two words {-target, TC address}; i is the low half of the target's address. */
export const HASH_ENTRIES = 0x10000;
export const HASH_ENTRY_BYTES = 8;
export const HASH_BYTES = HASH_ENTRIES * HASH_ENTRY_BYTES;

/** Guest instructions in one translation unit at most (ASPLOS 2006). */
export const TU_INSTRUCTIONS_MAX = 12;
/** No unit is longer than this, whatever its instructions: what a translation needs free in the TC. */
export const TU_BYTES_MAX = 2048;
/** Bytes kept for the shared lookup code. */
export const LOOKUP_CODE_BYTES = 128;
