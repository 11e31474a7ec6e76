/*
 * Paravirtual operations: one table of function pointers per area. Native versions are the default; VMI replaces those
 * that its ROM relocates. The hottest operations are patched at their call sites (PARAVIRT_SITE), because a call through
 * a pointer would cost a native kernel more than the instruction itself.
 *
 * A site is recorded as { address u32, operation u8, length u8, registers that may be clobbered u16 }.
 */
#ifndef ASM_PARAVIRT_H
#define ASM_PARAVIRT_H

/* Operation numbers at patchable sites. */
#define PV_IRQ_DISABLE 0
#define PV_IRQ_ENABLE 1
#define PV_SAVE_FL 2
#define PV_RESTORE_FL 3
#define PV_IRET 4
#define PV_IRQ_ENABLE_SYSEXIT 5
#define PV_PATCHED_OPS 6

#define CLBR_NONE 0
#define CLBR_EAX 1

/* Byte offsets into pv_cpu_ops, for assembly. */
#define PV_CPU_IRET 0
#define PV_CPU_IRQ_ENABLE_SYSEXIT 4
/* Byte offsets into pv_irq_ops. */
#define PV_IRQ_OFFSET_DISABLE 0
#define PV_IRQ_OFFSET_ENABLE 4

#ifndef __ASSEMBLER__
#include <linux/types.h>

#define PV_STRING(x) #x
#define PV_EXPAND(x) PV_STRING(x)
#define PARAVIRT_SITE(op, code)                                                                                      \
	"771:\n\t" code "\n772:\n\t"                                                                                  \
	".pushsection .parainstructions,\"a\"\n\t"                                                                    \
	".long 771b\n\t.byte " PV_EXPAND(op) "\n\t.byte 772b-771b\n\t.short " PV_EXPAND(CLBR_EAX) "\n\t"               \
	".popsection\n\t"

struct paravirt_patch_site {
	u32 address;
	u8 op, length;
	u16 clobbers;
};

struct desc_struct;
struct desc_ptr;
struct mm_struct;

struct pv_info {
	const char *name;
	u32 kernel_rpl;
	int paravirt_enabled;
};

struct pv_cpu_ops {
	void (*iret)(void);
	void (*irq_enable_sysexit)(void);
	void (*cpuid)(u32 *eax, u32 *ebx, u32 *ecx, u32 *edx);
	u64 (*read_tsc)(void);
	u32 (*read_cr0)(void);
	void (*write_cr0)(u32 value);
	u32 (*read_cr4)(void);
	void (*write_cr4)(u32 value);
	void (*load_gdt)(const struct desc_ptr *ptr);
	void (*load_idt)(const struct desc_ptr *ptr);
	void (*load_tr)(void);
	void (*load_ldt_none)(void);
	void (*write_gdt_entry)(struct desc_struct *table, u32 entry, u32 low, u32 high);
	void (*write_idt_entry)(struct desc_struct *table, u32 entry, u32 low, u32 high);
	void (*load_sp0)(u32 esp0);
	/* Lazy CPU mode: the hypervisor may queue the switch of stack and address space. */
	void (*enter_lazy)(void);
	void (*leave_lazy)(void);
};

struct pv_irq_ops {
	void (*irq_disable)(void);
	void (*irq_enable)(void);
	u32 (*save_fl)(void);
	void (*restore_fl)(u32 flags);
	void (*safe_halt)(void);
	void (*halt)(void);
};

struct pv_mmu_ops {
	u32 (*read_cr2)(void);
	u32 (*read_cr3)(void);
	void (*write_cr3)(u32 value);
	void (*flush_tlb_user)(void);
	void (*flush_tlb_kernel)(void);
	void (*flush_tlb_single)(u32 address);
	void (*alloc_pt)(u32 pfn);
	void (*alloc_pd)(u32 pfn);
	void (*alloc_pd_clone)(u32 pfn, u32 template_pfn, u32 start, u32 count);
	void (*release_pt)(u32 pfn);
	void (*release_pd)(u32 pfn);
	void (*set_pte)(u32 *ptep, u32 value);
	void (*set_pte_at)(struct mm_struct *mm, u32 address, u32 *ptep, u32 value);
	void (*set_pmd)(u32 *pmdp, u32 value);
	void (*pte_update)(struct mm_struct *mm, u32 address, u32 *ptep);
	void (*pte_update_defer)(struct mm_struct *mm, u32 address, u32 *ptep);
	/* Lazy MMU mode around loops over page tables. */
	void (*enter_lazy)(void);
	void (*leave_lazy)(void);
};

struct pv_time_ops {
	/* Starts the tick; called once, interrupts off. */
	void (*time_init)(void);
	/* Nanoseconds since time_init; never goes back, and never ahead of the timers. */
	u64 (*clock_ns)(void);
	/* Sleeps until the next interrupt; entered with interrupts off, left with them on. */
	void (*idle)(void);
	void (*tick)(void);
};

extern struct pv_info pv_info;
extern struct pv_cpu_ops pv_cpu_ops;
extern struct pv_irq_ops pv_irq_ops;
extern struct pv_mmu_ops pv_mmu_ops;
extern struct pv_time_ops pv_time_ops;

/* Bytes of the native replacement of `op`, and their number; 0 when there is none. */
u32 native_patch(u32 op, u8 *insns);
/* Rewrites every recorded site through `patch`, which gets the site's address and length and fills `insns`. */
void apply_paravirt(u32 (*patch)(u32 op, u8 *insns, u32 address, u32 length));
void paravirt_nop(void);
void paravirt_patch_native(void);
/* Probes the ROM, activates it and patches; leaves everything native when there is none. */
void vmi_init(void);
void vmi_option(const char *word);
void vmi_time_option(u32 alarm_hz);

static inline void arch_enter_lazy_mmu_mode(void) { pv_mmu_ops.enter_lazy(); }
static inline void arch_leave_lazy_mmu_mode(void) { pv_mmu_ops.leave_lazy(); }
#endif

#endif
