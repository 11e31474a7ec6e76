/**
 * Where things are in the VMI ROM and in VMI's part of the vCPU page, and the constants of the ABI's arguments. What a guest
 * sees of this is the header (offsets fixed by the ABI); the rest is private to the ROM and the monitor.
 */
import { VCPU_PAGE_LINEAR } from '../hole.js';
import { VcpuPage } from '../vcpu-page.js';

/** Where the guest finds the ROM (first place that Linux looks at). */
export const ROM_PHYSICAL = 0xc0000;

/** Header of API 3.x: offsets from the ROM's first byte. */
export const Header = {
  SIGNATURE: 0x00,
  LENGTH: 0x02,
  REAL_MODE_ENTRY: 0x03,
  VROM_SIGNATURE: 0x08,
  API_MINOR: 0x0c,
  API_MAJOR: 0x0d,
  JUMP_SLOTS: 0x0e,
  VIRTUAL_TOP: 0x10,
  LICENSE: 0x16,
  PCI: 0x18,
  PNP: 0x1a,
  PCI_DATA: 0x20,
  PNP_DATA: 0x38,
  STRINGS: 0x58,
  INIT: 0x80,
  GET_RELOCATION_INFO: 0x88,
  END: 0x90,
} as const;

/** Byte offsets of VMI's own words in the vCPU page. */
export const VmiPage = {
  /** CPU-state updates that wait for the end of lazy mode 2: bits of `Deferred`. */
  DEFERRED: VcpuPage.VMI + 0x00,
  NEXT_CR3: VcpuPage.VMI + 0x04,
  KERNEL_SS: VcpuPage.VMI + 0x08,
  KERNEL_ESP: VcpuPage.VMI + 0x0c,
  /** What SYSEXIT loads: MSR SYSENTER_CS + 16 and + 24 with RPL 3 (SDM vol. 2, SYSEXIT). */
  USER_CS: VcpuPage.VMI + 0x10,
  USER_SS: VcpuPage.VMI + 0x14,
  /** TSC value at which REAL was 0, low and high word. */
  REAL_OFFSET_LOW: VcpuPage.VMI + 0x18,
  REAL_OFFSET_HIGH: VcpuPage.VMI + 0x1c,
  FREQUENCY_LOW: VcpuPage.VMI + 0x20,
  FREQUENCY_HIGH: VcpuPage.VMI + 0x24,
  /** Return address of the last call of IRET or SYSEXIT: a fault there is reported at the call site. */
  RETURN_SITE: VcpuPage.VMI + 0x28,
  /** Page-table updates queued since power-on (the monitor counts them from here). */
  UPDATES_QUEUED: VcpuPage.VMI + 0x2c,
  /** Guest handlers behind the direct gates. */
  HANDLERS: VcpuPage.VMI + 0x40,
} as const;

export const Deferred = { CR3: 1, KERNEL_STACK: 2 } as const;

/** Gates that hardware may take straight into ring 1 at one time. */
export const DIRECT_GATES = 8;

/** Linear address of a field of the vCPU page. */
export const pageLinear = (offset: number): number => VCPU_PAGE_LINEAR + offset;

/** Flags of AllocatePage and ReleasePage. */
export const PageFlag = { PT: 0x01, PD: 0x02, PDP: 0x04, PAE: 0x10, CLONE: 0x20, ZEROED: 0x40 } as const;
/** Flags of SetPxE and UpdatePxE: the same low bits, other meanings above them. */
export const EntryFlag = { PT: 0x01, PD: 0x02, CURRENT_AS: 0x10, DEFER: 0x20, VA_MASK: 0xfffff000 } as const;
export const FlushFlag = { TLB: 1, GLOBAL: 2 } as const;
export const LazyMode = { NONE: 0, MMU: 1, CPU: 2 } as const;
export const LINEAR_MAP_SLOTS = 4;

export const CycleCounter = { REAL: 0, AVAILABLE: 1, STOLEN: 2 } as const;
export const AlarmFlag = { COUNTER_MASK: 0xff, PERIODIC: 0x100, WIRED_LVTT: 0x10000 } as const;
