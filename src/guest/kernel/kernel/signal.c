/* Sending signals, default actions, and the system calls about them. */
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/sched.h>

void recalc_sigpending(struct task_struct *task)
{
	if (task->pending & ~task->blocked)
		task->work |= WORK_SIGPENDING;
	else
		task->work &= ~WORK_SIGPENDING;
}

static int ignored_by_default(u32 signo)
{
	return signo == SIGCHLD || signo == SIGCONT || signo == SIGWINCH;
}

void send_signal(struct task_struct *task, u32 signo)
{
	u32 handler;

	if (task->state >= TASK_ZOMBIE || !task->sighand)
		return;
	handler = task->sighand->action[signo].handler;
	if (signo != SIGKILL && (handler == SIG_IGN || (handler == SIG_DFL && (ignored_by_default(signo) || task->pid == 1))))
		return;
	task->pending |= sigmask(signo);
	recalc_sigpending(task);
	if (task->work & WORK_SIGPENDING)
		wake_up_process(task);
}

/* A fault of the task itself: it cannot be put off, so a blocked or ignored one ends the task. */
void force_signal(struct task_struct *task, u32 signo, int code, u32 address)
{
	struct k_sigaction *action = &task->sighand->action[signo];

	task->fault_info = (struct siginfo){ .signo = (int)signo, .code = code, .address = address };
	if (action->handler == SIG_IGN || (task->blocked & sigmask(signo))) {
		action->handler = SIG_DFL;
		task->blocked &= ~sigmask(signo);
	}
	task->pending |= sigmask(signo);
	recalc_sigpending(task);
}

u32 get_signal(struct k_sigaction *action, struct siginfo *info)
{
	u32 deliverable;

	while ((deliverable = current->pending & ~current->blocked)) {
		u32 signo = (u32)__builtin_ctz(deliverable) + 1;
		struct k_sigaction *registered = &current->sighand->action[signo];

		current->pending &= ~sigmask(signo);
		recalc_sigpending(current);
		*action = *registered;
		if (signo == SIGKILL)
			do_group_exit(SIGKILL);
		if (action->handler == SIG_IGN || (action->handler == SIG_DFL && ignored_by_default(signo)))
			continue;
		if (action->handler == SIG_DFL)
			do_group_exit((int)signo);
		if (action->flags & SA_RESETHAND)
			registered->handler = SIG_DFL;
		*info = current->fault_info.signo == (int)signo ? current->fault_info : (struct siginfo){ .signo = (int)signo };
		current->fault_info.signo = 0;
		return signo;
	}
	recalc_sigpending(current);
	return 0;
}

static int bad_signo(u32 signo) { return signo < 1 || signo >= NSIG; }

int sys_kill(struct pt_regs *regs)
{
	struct task_struct *task = find_task((pid_t)regs->ebx);

	if (regs->ecx >= NSIG)
		return -EINVAL;
	if (!task || task->state == TASK_DEAD)
		return -ESRCH;
	if (regs->ecx)
		send_signal(task, regs->ecx);
	return 0;
}

int sys_rt_sigaction(struct pt_regs *regs)
{
	struct k_sigaction action, *registered;

	if (bad_signo(regs->ebx) || regs->ebx == SIGKILL)
		return -EINVAL;
	registered = &current->sighand->action[regs->ebx];
	action = *registered;
	if (regs->ecx && copy_from_user(registered, regs->ecx, sizeof(*registered)))
		return -EFAULT;
	if (regs->edx && copy_to_user(regs->edx, &action, sizeof(action)))
		return -EFAULT;
	return 0;
}

struct old_sigaction {
	u32 handler, mask, flags, restorer;
};

int sys_sigaction(struct pt_regs *regs)
{
	struct old_sigaction action, old;
	struct k_sigaction *registered;

	if (bad_signo(regs->ebx) || regs->ebx == SIGKILL)
		return -EINVAL;
	registered = &current->sighand->action[regs->ebx];
	old = (struct old_sigaction){ registered->handler, registered->mask[0], registered->flags, registered->restorer };
	if (regs->ecx) {
		if (copy_from_user(&action, regs->ecx, sizeof(action)))
			return -EFAULT;
		*registered = (struct k_sigaction){ action.handler, action.flags, action.restorer, { action.mask, 0 } };
	}
	return regs->edx ? copy_to_user(regs->edx, &old, sizeof(old)) : 0;
}

int sys_rt_sigprocmask(struct pt_regs *regs)
{
	u32 old = current->blocked, set;

	if (regs->ecx) {
		if (get_user(&set, regs->ecx))
			return -EFAULT;
		if (regs->ebx == SIG_BLOCK)
			current->blocked |= set;
		else if (regs->ebx == SIG_UNBLOCK)
			current->blocked &= ~set;
		else
			current->blocked = set;
		current->blocked &= ~sigmask(SIGKILL);
		recalc_sigpending(current);
	}
	return regs->edx ? put_user(regs->edx, old) : 0;
}
