/* New tasks: fork, vfork and clone. */
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/sched.h>

#define PID_MAX 32768

static pid_t last_pid;

struct task_struct *find_task(pid_t pid)
{
	struct list_head *at;

	list_for_each(at, &all_tasks) {
		struct task_struct *task = list_entry(at, struct task_struct, tasks);

		if (task->pid == pid)
			return task;
	}
	return NULL;
}

static pid_t alloc_pid(void)
{
	do {
		if (++last_pid >= PID_MAX)
			last_pid = 2;
	} while (find_task(last_pid));
	return last_pid;
}

static struct task_struct *alloc_task(void)
{
	struct task_struct *task = kzalloc(sizeof(*task));
	u32 pfn = task ? alloc_page() : 0;

	if (!pfn) {
		kfree(task, sizeof(*task));
		return NULL;
	}
	task->stack = (u32)__va(pfn << PAGE_SHIFT);
	task->thread.esp0 = task->stack + KERNEL_STACK_BYTES;
	task->group_leader = task;
	list_init(&task->run_list);
	list_init(&task->tasks);
	list_init(&task->children);
	list_init(&task->sibling);
	wait_queue_init(&task->child_exit);
	return task;
}

void free_task(struct task_struct *task)
{
	list_del(&task->tasks);
	list_del(&task->sibling);
	put_page(__pa(task->stack) >> PAGE_SHIFT);
	kfree(task, sizeof(*task));
}

static struct sighand_struct *sighand_get(struct sighand_struct *from, int share)
{
	struct sighand_struct *copy;

	if (share) {
		from->count++;
		return from;
	}
	copy = kmalloc(sizeof(*copy));
	if (copy) {
		*copy = *from;
		copy->count = 1;
	}
	return copy;
}

static int copy_resources(struct task_struct *task, u32 flags)
{
	task->sighand = sighand_get(current->sighand, (flags & CLONE_SIGHAND) != 0);
	if (!task->sighand)
		return -ENOMEM;
	if (flags & CLONE_FILES) {
		current->files->count++;
		task->files = current->files;
	} else {
		task->files = files_copy(current->files);
	}
	if (!task->files)
		return -ENOMEM;
	if (flags & CLONE_VM) {
		current->mm->users++;
		task->mm = current->mm;
	} else {
		task->mm = mm_copy(current->mm);
	}
	return task->mm ? 0 : -ENOMEM;
}

static void drop_resources(struct task_struct *task)
{
	if (task->files)
		files_put(task->files);
	if (task->sighand && !--task->sighand->count)
		kfree(task->sighand, sizeof(*task->sighand));
	free_task(task);
}

int do_fork(u32 flags, u32 stack, struct pt_regs *regs, u32 parent_tid, u32 child_tid)
{
	struct task_struct *task = alloc_task();
	pid_t pid;

	if (!task)
		return -ENOMEM;
	if (copy_resources(task, flags)) {
		drop_resources(task);
		return -ENOMEM;
	}
	task->active_mm = task->mm;
	pid = task->pid = alloc_pid();
	task->tgid = pid;
	task->blocked = current->blocked;
	memcpy(task->comm, current->comm, sizeof(task->comm));
	copy_thread(task, regs, stack);
	if (flags & CLONE_THREAD) {
		task->tgid = current->tgid;
		task->group_leader = current->group_leader;
		task->group_leader->thread_count++;
	}
	/* Threads are nobody's children: they go away by themselves. */
	task->parent = flags & CLONE_THREAD ? current->group_leader->parent : current->group_leader;
	if (!(flags & CLONE_THREAD))
		list_add_tail(&task->sibling, &task->parent->children);
	list_add_tail(&task->tasks, &all_tasks);
	if (flags & CLONE_PARENT_SETTID)
		put_user(parent_tid, (u32)pid);
	if ((flags & CLONE_CHILD_SETTID) && (flags & CLONE_VM))
		put_user(child_tid, (u32)pid);
	if (flags & CLONE_CHILD_CLEARTID)
		task->clear_child_tid = child_tid;
	wake_up_new_task(task);
	return pid;
}

int sys_fork(struct pt_regs *regs) { return do_fork(SIGCHLD, 0, regs, 0, 0); }

int sys_clone(struct pt_regs *regs)
{
	/* i386 order: flags, stack, parent's tid, TLS, child's tid. TLS descriptors are not offered. */
	if (regs->ebx & 0x00080000)
		return -EINVAL;
	if ((regs->ebx & CLONE_THREAD) && (regs->ebx & (CLONE_VM | CLONE_SIGHAND)) != (CLONE_VM | CLONE_SIGHAND))
		return -EINVAL;
	return do_fork(regs->ebx, regs->ecx, regs, regs->edx, regs->edi);
}

/* The first task with a user half; it starts in `start` and becomes a program there. */
struct task_struct *kernel_task(void (*start)(void), const char *name)
{
	struct task_struct *task = alloc_task();

	if (!task)
		panic("no memory for %s", name);
	task->sighand = kzalloc(sizeof(*task->sighand));
	task->files = files_alloc();
	if (!task->sighand || !task->files)
		panic("no memory for %s", name);
	task->sighand->count = 1;
	task->pid = task->tgid = alloc_pid();
	task->parent = &idle_task;
	list_add_tail(&task->sibling, &idle_task.children);
	list_add_tail(&task->tasks, &all_tasks);
	snprintf(task->comm, sizeof(task->comm), "%s", name);
	kernel_task_start(task, start);
	wake_up_new_task(task);
	return task;
}
