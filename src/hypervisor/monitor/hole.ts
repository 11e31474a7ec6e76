/**
 * The monitor's hole at the top of linear space: what every shadow page directory maps there besides the guest.
 *
 *     0xFFC00000  vCPU page (one page; `vcpu-page.ts`)            the only part that ring 1 of a VMI guest may reach
 *     0xFFC01000  window: pages of the guest's that lie under the hole, for one instruction at a time (`beyond-limits.ts`)
 *     0xFFC10000  monitor's GDT (16 pages), IDT, TSS, LDT (16 pages)
 *     0xFFC40000  hash of indirect targets (BT)
 *     0xFFCC0000  counters of executions (BT, where a VM asks for them)
 *     0xFFD00000  translation cache (BT)
 *     0xFFFFF000  entry of the monitor's ring-1 routines (BT): nothing is mapped there
 *
 * It is as small as one page table can map, for kernels have their own mappings up there: Linux keeps its entry stacks right below.
 * All of it is mapped supervisor-only. Paging does not protect it from a guest kernel in ring 1, segment limits do: every
 * guest descriptor is truncated to end below the hole (VMI: below the end of the vCPU page).
 */
export const HOLE_BASE = 0xffc00000;
/** Where a hole would begin that there is none of: behind linear space. */
export const NO_HOLE = 0x100000000;
/** `virtual_top` of the VMI ROM header: 64 MiB below the end, as the implementation of 2006 had it. */
export const VMI_VIRTUAL_TOP = 0xfc000000;
export const VCPU_PAGE_LINEAR = HOLE_BASE;
export const HOLE_WINDOW_LINEAR = 0xffc01000;
export const MONITOR_GDT_LINEAR = 0xffc10000;
export const MONITOR_GDT_BYTES = 0x10000;
export const MONITOR_IDT_LINEAR = 0xffc20000;
export const MONITOR_TSS_LINEAR = 0xffc21000;
/** Copy of the guest's LDT: as long as a table can be. */
export const MONITOR_LDT_LINEAR = 0xffc30000;
export const TC_LINEAR = 0xffd00000;
export const TC_BYTES = 0x2c0000;
export const TARGET_HASH_LINEAR = 0xffc40000;
export const COUNTERS_LINEAR = 0xffcc0000;
export const COUNTERS_BYTES = 0x40000;
/** Behind the TC, so that jumps there go forward. */
export const ROUTINE_LINEAR = 0xfffff000;

/** Last byte that a guest segment may reach. */
export const GUEST_LIMIT_BT = HOLE_BASE - 1;
export const GUEST_LIMIT_VMI = HOLE_BASE + 0xfff;

/** Selectors of the monitor, at the end of its GDT, where no guest table reaches. */
export const MonitorSelector = {
  /** Ring-1 code, base 0, limit 4 GiB: CPL 1 in the TC. */
  TC_CODE: 0xffe1,
  /** Ring-1 data, base 0, limit 4 GiB: what GS holds while translated code runs. */
  TC_DATA: 0xffe9,
  TSS: 0xfff0,
  /** Ring-0 code: target of every gate that leads to the monitor. */
  MONITOR_CODE: 0xfff8,
} as const;

/** INT n by which ring-1 code asks the monitor; its gates have DPL 1, so ring 3 gets #GP. */
export const CALLOUT_VECTOR = 0xf0;
export const HYPERCALL_VECTOR = 0xf1;
