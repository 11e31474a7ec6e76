/*
 * Delivery of signals: a frame on the user's stack with everything that the handler may look at and change, and the way back.
 *
 * Frame, from low addresses: return address (the trampoline in the vsyscall page), signo, &info, &context, info, context.
 */
#include <asm/irqflags.h>
#include <asm/processor.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/sched.h>

#define VSYSCALL_SIGRETURN (VSYSCALL_BASE + 0x400)
/* Flags that a handler may change for the interrupted code: arithmetic, DF, TF, AC. */
#define USER_EFLAGS 0x40dd5

struct sigframe {
	u32 return_address, signo, info_at, context_at;
	struct siginfo info;
	u8 info_rest[SIGINFO_USER_BYTES - sizeof(struct siginfo)];
	struct ucontext context;
};
#define CONTEXT_AT offsetof(struct sigframe, context)

static void save_context(struct sigcontext *to, const struct pt_regs *regs, u32 mask)
{
	const struct thread_struct *t = &current->thread;

	*to = (struct sigcontext){
		.fs = t->fs, .gs = t->gs, .ds = regs->ds, .es = regs->es,
		.edi = regs->edi, .esi = regs->esi, .ebp = regs->ebp, .esp = regs->esp,
		.ebx = regs->ebx, .edx = regs->edx, .ecx = regs->ecx, .eax = regs->eax,
		.trapno = t->trap_no, .err = t->error_code, .eip = regs->eip, .cs = regs->cs,
		.eflags = regs->eflags, .esp_at_signal = regs->esp, .ss = regs->ss, .oldmask = mask, .cr2 = t->cr2,
	};
}

static int setup_frame(u32 signo, const struct k_sigaction *action, const struct siginfo *info, u32 mask,
		       struct pt_regs *regs)
{
	/* As after a call: the return address lies 4 below a 16-byte boundary. */
	u32 at = ((regs->esp - sizeof(struct sigframe)) & ~15u) - 4;
	struct {
		u32 return_address, signo, info_at, context_at;
		struct siginfo info;
	} head = { action->flags & SA_RESTORER ? action->restorer : VSYSCALL_SIGRETURN, signo,
		   at + offsetof(struct sigframe, info), at + CONTEXT_AT, *info };
	struct ucontext context = { .sigmask = { mask, 0 } };

	save_context(&context.mcontext, regs, mask);
	if (copy_to_user(at, &head, sizeof(head)) || copy_to_user(at + CONTEXT_AT, &context, sizeof(context)))
		return -EFAULT;
	regs->esp = at;
	regs->eip = action->handler;
	regs->eax = signo;
	regs->edx = head.info_at;
	regs->ecx = head.context_at;
	regs->ds = regs->es = regs->ss = __USER_DS;
	regs->cs = __USER_CS;
	regs->eflags &= ~(X86_EFLAGS_TF | X86_EFLAGS_DF);
	return 0;
}

void do_signal(struct pt_regs *regs)
{
	struct k_sigaction action;
	struct siginfo info;
	u32 signo = get_signal(&action, &info), mask = current->blocked;

	if (!signo)
		return;
	current->blocked |= action.mask[0];
	if (!(action.flags & SA_NODEFER))
		current->blocked |= sigmask(signo);
	recalc_sigpending(current);
	/* No room for the frame: the task has no way to hear of it. */
	if (setup_frame(signo, &action, &info, mask, regs))
		do_group_exit(SIGSEGV);
}

/* The trampoline's system call: ESP points behind the return address. Selectors are not taken from user memory. */
int sys_rt_sigreturn(struct pt_regs *regs)
{
	struct ucontext context;
	const struct sigcontext *c = &context.mcontext;

	if (copy_from_user(&context, regs->esp - 4 + CONTEXT_AT, sizeof(context)))
		do_group_exit(SIGSEGV);
	regs->ebx = c->ebx, regs->ecx = c->ecx, regs->edx = c->edx, regs->esi = c->esi, regs->edi = c->edi;
	regs->ebp = c->ebp, regs->eax = c->eax, regs->eip = c->eip, regs->esp = c->esp;
	regs->eflags = (regs->eflags & ~USER_EFLAGS) | (c->eflags & USER_EFLAGS) | X86_EFLAGS_IF;
	current->blocked = context.sigmask[0] & ~sigmask(SIGKILL);
	recalc_sigpending(current);
	return (int)regs->eax;
}

/* Before a return to user mode, interrupts off on entry and on return; entered only from user-mode frames. */
void do_notify_resume(struct pt_regs *regs)
{
	while (current->work & WORK_MASK) {
		local_irq_enable();
		if (need_resched())
			schedule();
		if (current->work & WORK_SIGPENDING)
			do_signal(regs);
		local_irq_disable();
	}
}
