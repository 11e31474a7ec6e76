/* The end of tasks, and waiting for it. */
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/sched.h>

#define WNOHANG 1

static void exit_mm(void)
{
	struct mm_struct *mm = current->mm;

	if (!mm)
		return;
	if (current->clear_child_tid && mm->users > 1) {
		put_user(current->clear_child_tid, 0);
		futex_wake_address(current->clear_child_tid, 1);
	}
	/* CR3 still holds the directory: borrow it until the next switch. */
	mm->count++;
	current->mm = NULL;
	mmput(mm);
}

/* Orphans go to init; it reaps them. */
static void give_children_to_init(struct task_struct *parent)
{
	struct task_struct *init = find_task(1);
	struct list_head *at, *next;

	list_for_each_safe(at, next, &parent->children) {
		struct task_struct *child = list_entry(at, struct task_struct, sibling);

		list_del(&child->sibling);
		child->parent = init;
		list_add_tail(&child->sibling, &init->children);
		if (child->state == TASK_ZOMBIE)
			wake_up(&init->child_exit);
	}
}

/* The last task of a group has ended: the leader, dead for some time perhaps, is what the parent may now reap. */
static void group_ended(struct task_struct *leader)
{
	const struct sighand_struct *sighand = leader->parent->sighand;

	give_children_to_init(leader);
	if (sighand && sighand->action[SIGCHLD].handler == SIG_IGN) {
		if (leader == current)
			leader->state = TASK_DEAD;
		else
			free_task(leader);
		return;
	}
	wake_up(&leader->parent->child_exit);
	send_signal(leader->parent, SIGCHLD);
}

void do_exit(int code)
{
	struct task_struct *leader = current->group_leader;

	if (current->pid == 1)
		panic("init exited with code %d", code);
	exit_mm();
	files_put(current->files);
	current->files = NULL;
	if (!--current->sighand->count)
		kfree(current->sighand, sizeof(*current->sighand));
	current->sighand = NULL;
	if (!current->group_exit)
		current->exit_code = code;
	if (current == leader) {
		current->state = TASK_ZOMBIE;
	} else {
		current->state = TASK_DEAD;
		leader->thread_count--;
	}
	if (leader->state == TASK_ZOMBIE && !leader->thread_count)
		group_ended(leader);
	schedule();
	panic("a dead task ran again");
}

/* Ends all threads of the group. The leader's code is the one that a parent gets. */
void do_group_exit(int code)
{
	struct task_struct *leader = current->group_leader;
	struct list_head *at;

	if (leader->group_exit)
		do_exit(leader->exit_code);
	leader->group_exit = 1;
	leader->exit_code = code;
	list_for_each(at, &all_tasks) {
		struct task_struct *task = list_entry(at, struct task_struct, tasks);

		if (task != current && task->tgid == current->tgid && task->state <= TASK_INTERRUPTIBLE)
			send_signal(task, SIGKILL);
	}
	do_exit(code);
}

static struct task_struct *find_child(pid_t pid, int *any)
{
	struct list_head *at;

	*any = 0;
	list_for_each(at, &current->group_leader->children) {
		struct task_struct *child = list_entry(at, struct task_struct, sibling);

		if (pid > 0 && child->pid != pid)
			continue;
		*any = 1;
		if (child->state == TASK_ZOMBIE && !child->thread_count)
			return child;
	}
	return NULL;
}

static int do_wait(pid_t pid, u32 status_at, u32 options)
{
	struct task_struct *child = NULL;
	int any = 0, error = 0;

	if (!(child = find_child(pid, &any))) {
		if (!any)
			return -ECHILD;
		if (options & WNOHANG)
			return 0;
		error = wait_event_interruptible(&current->group_leader->child_exit,
						 (child = find_child(pid, &any)) || !any);
	}
	if (error)
		return error;
	if (!child)
		return -ECHILD;
	if (status_at && put_user(status_at, (u32)child->exit_code))
		return -EFAULT;
	pid = child->pid;
	free_task(child);
	return pid;
}

int sys_exit(struct pt_regs *regs) { do_exit((int)(regs->ebx & 0xff) << 8); }
int sys_exit_group(struct pt_regs *regs) { do_group_exit((int)(regs->ebx & 0xff) << 8); }
int sys_waitpid(struct pt_regs *regs) { return do_wait((pid_t)regs->ebx, regs->ecx, regs->edx); }
int sys_wait4(struct pt_regs *regs) { return do_wait((pid_t)regs->ebx, regs->ecx, regs->edx); }
