/*
 * The interrupt flag. Each of these expands to a patchable call site: before patching it is a call through the operations
 * table, afterwards the instruction itself (native) or a direct call to the ROM (VMI). The pushes make the site safe
 * for ordinary C functions; patched code must keep every register but the result.
 */
#ifndef ASM_IRQFLAGS_H
#define ASM_IRQFLAGS_H

#include <asm/paravirt.h>

static inline void local_irq_disable(void)
{
	__asm__ volatile(PARAVIRT_SITE(PV_IRQ_DISABLE, "pushl %%ecx; pushl %%edx; call *%c[op]; popl %%edx; popl %%ecx")
			 : : [op] "i"(&pv_irq_ops.irq_disable) : "memory", "eax", "cc");
}

static inline void local_irq_enable(void)
{
	__asm__ volatile(PARAVIRT_SITE(PV_IRQ_ENABLE, "pushl %%ecx; pushl %%edx; call *%c[op]; popl %%edx; popl %%ecx")
			 : : [op] "i"(&pv_irq_ops.irq_enable) : "memory", "eax", "cc");
}

static inline u32 local_save_flags(void)
{
	u32 flags;

	__asm__ volatile(PARAVIRT_SITE(PV_SAVE_FL, "pushl %%ecx; pushl %%edx; call *%c[op]; popl %%edx; popl %%ecx")
			 : "=a"(flags) : [op] "i"(&pv_irq_ops.save_fl) : "memory", "cc");
	return flags;
}

static inline void local_irq_restore(u32 flags)
{
	__asm__ volatile(PARAVIRT_SITE(PV_RESTORE_FL, "pushl %%ecx; pushl %%edx; call *%c[op]; popl %%edx; popl %%ecx")
			 : "+a"(flags) : [op] "i"(&pv_irq_ops.restore_fl) : "memory", "cc");
}

static inline u32 local_irq_save(void)
{
	u32 flags = local_save_flags();

	local_irq_disable();
	return flags;
}

/* Enables interrupts and waits for one, with no window between the two. */
static inline void safe_halt(void) { pv_irq_ops.safe_halt(); }

#endif
