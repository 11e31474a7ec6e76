/* Page faults (Intel SDM vol. 3A, 4.7): missing and copy-on-write pages, wrong user accesses, bad pointers in system calls. */
#include <asm/irqflags.h>
#include <asm/processor.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/sched.h>

#define FAULT_WRITE 2

extern const struct exception_entry {
	u32 instruction, fixup;
} __ex_table[], __ex_table_end[];

/* The table is short and unsorted; faults that need it are rare. */
u32 search_exception_table(u32 eip)
{
	const struct exception_entry *entry;

	for (entry = __ex_table; entry < __ex_table_end; entry++)
		if (entry->instruction == eip)
			return entry->fixup;
	return 0;
}

/* Entered with interrupts off, so that CR2 is still this fault's. */
void do_page_fault(struct pt_regs *regs, u32 error_code)
{
	u32 address = pv_mmu_ops.read_cr2(), fixup;
	int error = -EFAULT, mapped = 0;

	if (regs->eflags & X86_EFLAGS_IF)
		local_irq_enable();
	if (current->mm && address < TASK_SIZE)
		error = handle_mm_fault(current->mm, address, (error_code & FAULT_WRITE) != 0, &mapped);
	if (!error)
		return;
	if (user_mode(regs)) {
		current->thread.cr2 = address;
		current->thread.trap_no = 14;
		current->thread.error_code = error_code;
		if (error == -ENOMEM) {
			printk("Out of memory: killed process %d (%s)\n", current->pid, current->comm);
			do_group_exit(SIGKILL);
		}
		force_signal(current, SIGSEGV, mapped ? SEGV_ACCERR : SEGV_MAPERR, address);
		return;
	}
	fixup = search_exception_table(regs->eip);
	if (fixup) {
		regs->eip = fixup;
		return;
	}
	oops(address < PAGE_SIZE ? "NULL pointer dereference" : "kernel paging request", regs, error_code);
}
