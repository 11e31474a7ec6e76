/**
 * The vCPU page: one machine page per virtual CPU at `VCPU_PAGE_LINEAR`, shared between the monitor and ring-1 code (the TC
 * under BT, the ROM under VMI). Byte offsets; every field is a 32-bit word unless it says otherwise.
 */
export const VcpuPage = {
  /** Virtual interrupt flag: 0x200 or 0. */
  VIF: 0x000,
  /** Non-zero while an event waits for VIF to become set: whoever sets VIF tests it. */
  PENDING: 0x004,
  /** VMI lazy mode: 0, 1 (MMU) or 2 (CPU). */
  LAZY_MODE: 0x008,
  /** Entries in the queue below. */
  QUEUE_COUNT: 0x00c,
  /** Virtual IOPL and NT as in EFLAGS. */
  VFLAGS: 0x010,
  CR0: 0x020,
  CR2: 0x024,
  CR3: 0x028,
  CR4: 0x02c,
  /** VMI time: stolen cycles of this vCPU, low and high word, and a version that is odd while they change. */
  TIME_VERSION: 0x030,
  STOLEN_LOW: 0x034,
  STOLEN_HIGH: 0x038,
  /** Spill slots of translated code and ROM stubs. */
  SCRATCH: 0x040,
  SCRATCH_WORDS: 16,
  /** VMI SetLinearMapping: four slots of {va, pages, pfn}. */
  LINEAR_MAP: 0x080,
  /** Private to the VMI ROM and its technique (`vmi/rom-layout.ts`). */
  VMI: 0x0c0,
  VMI_BYTES: 0x140,
  /** Updates that the ROM queued: {entry linear address, flags} pairs. */
  QUEUE: 0x200,
  QUEUE_ENTRIES: 192,
} as const;
