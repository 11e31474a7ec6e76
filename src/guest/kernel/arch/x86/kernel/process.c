/* Tasks as the processor sees them: switching, first entry, idling, switching off. */
#include <asm/desc.h>
#include <asm/io.h>
#include <asm/irqflags.h>
#include <asm/pgtable.h>
#include <asm/processor.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/time.h>

void ret_from_fork(void);
void ret_from_kernel_start(void);
struct task_struct *__switch_stack(struct task_struct *prev, u32 *prev_esp, u32 next_esp)
	__attribute__((regparm(3)));

/* What __switch_stack pops: EDI, ESI, EBX, EBP and a return address. */
static u32 push_switch_frame(u32 esp, void (*resume)(void))
{
	u32 *frame = (u32 *)esp - 5;

	memset(frame, 0, 16);
	frame[4] = (u32)resume;
	return (u32)frame;
}

/* A child of fork or clone: returns 0 from the same system call, on its own stacks. */
int copy_thread(struct task_struct *task, struct pt_regs *regs, u32 esp)
{
	struct pt_regs *child = (struct pt_regs *)(task->thread.esp0 - sizeof(struct pt_regs));

	*child = *regs;
	child->eax = 0;
	if (esp)
		child->esp = esp;
	task->thread.esp = push_switch_frame((u32)child, ret_from_fork);
	task->thread.fs = current->thread.fs;
	task->thread.gs = current->thread.gs;
	return 0;
}

/* A task that starts in the kernel; when `start` returns, it goes to user mode with the frame at the top of its stack. */
void kernel_task_start(struct task_struct *task, void (*start)(void))
{
	u32 regs = task->thread.esp0 - sizeof(struct pt_regs), *stack = (u32 *)regs - 1;

	memset((void *)regs, 0, sizeof(struct pt_regs));
	*stack = (u32)start;
	task->thread.esp = push_switch_frame((u32)stack, ret_from_kernel_start);
}

void start_thread(struct pt_regs *regs, u32 eip, u32 esp)
{
	memset(regs, 0, sizeof(*regs));
	regs->ds = regs->es = regs->ss = __USER_DS;
	regs->cs = __USER_CS;
	regs->eip = eip;
	regs->esp = esp;
	regs->eflags = X86_EFLAGS_IF | 2;
	current->thread.fs = current->thread.gs = 0;
	__asm__ volatile("movl %0, %%fs; movl %0, %%gs" : : "r"(0));
}

/*
 * Called with interrupts off. Address space and kernel stack change in one lazy section, so that a hypervisor can do both in
 * one go. A task without an address space (idle) keeps what is loaded.
 */
void switch_to(struct task_struct *prev, struct task_struct *next)
{
	u32 fs, gs;

	pv_cpu_ops.enter_lazy();
	if (next->mm && next->mm != prev->active_mm) {
		pv_mmu_ops.write_cr3(__pa(next->mm->pgd));
	}
	pv_cpu_ops.load_sp0(next->thread.esp0);
	pv_cpu_ops.leave_lazy();

	__asm__ volatile("movl %%fs, %0; movl %%gs, %1" : "=r"(fs), "=r"(gs));
	prev->thread.fs = fs & 0xffff;
	prev->thread.gs = gs & 0xffff;
	if (prev->thread.fs | next->thread.fs)
		__asm__ volatile("movl %0, %%fs" : : "r"(next->thread.fs));
	if (prev->thread.gs | next->thread.gs)
		__asm__ volatile("movl %0, %%gs" : : "r"(next->thread.gs));

	current_task = next;
	prev = __switch_stack(prev, &prev->thread.esp, next->thread.esp);
	schedule_tail(prev);
}

void cpu_idle(void)
{
	for (;;) {
		while (!need_resched()) {
			/* Nothing may become runnable between the test and the halt: it would wait for the next interrupt. */
			local_irq_disable();
			if (need_resched())
				local_irq_enable();
			else
				pv_time_ops.idle();
		}
		schedule();
	}
}

/* The ways to switch a virtual PC off: ACPI PM1a of QEMU and of older ones, isa-debug-exit; then wait for ever. */
void machine_power_off(void)
{
	local_irq_disable();
	outw(0x2000, 0x604);
	outw(0x2000, 0xb004);
	outb(0, 0xf4);
	for (;;)
		pv_irq_ops.halt();
}
