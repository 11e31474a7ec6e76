/* The scheduler: one run queue, round robin with time slices. The kernel itself is not preempted. */
#include <asm/irqflags.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/time.h>

extern char init_stack[];

struct task_struct idle_task = {
	.comm = "idle",
	.active_mm = &init_mm,
	.mm = NULL,
};
struct task_struct *current_task = &idle_task;
LIST_HEAD(all_tasks);
static LIST_HEAD(run_queue);

static int slice_ticks(void)
{
	return (int)max_u32(TIME_SLICE_MS * hz / 1000, 1);
}

void sched_init(void)
{
	idle_task.stack = (u32)init_stack;
	idle_task.thread.esp0 = (u32)init_stack + KERNEL_STACK_BYTES;
	list_init(&idle_task.run_list);
	list_init(&idle_task.tasks);
	list_init(&idle_task.children);
	list_init(&idle_task.sibling);
	wait_queue_init(&idle_task.child_exit);
	idle_task.parent = idle_task.group_leader = &idle_task;
	init_mm.count++; /* borrowed by idle */
}

void wake_up_process(struct task_struct *task)
{
	u32 flags = local_irq_save();

	if (task->state == TASK_INTERRUPTIBLE) {
		task->state = TASK_RUNNING;
		if (list_empty(&task->run_list) && task != current)
			list_add_tail(&task->run_list, &run_queue);
	}
	if (current == &idle_task)
		set_need_resched();
	local_irq_restore(flags);
}

/* A new task: not yet on the queue. */
void wake_up_new_task(struct task_struct *task)
{
	u32 flags = local_irq_save();

	task->state = TASK_RUNNING;
	task->time_slice = slice_ticks();
	list_add_tail(&task->run_list, &run_queue);
	if (current == &idle_task)
		set_need_resched();
	local_irq_restore(flags);
}

/*
 * The current task is never on the queue while it runs. It goes to the end if it can still run, then the first one runs.
 */
void schedule(void)
{
	struct task_struct *prev = current, *next = &idle_task;

	local_irq_disable();
	prev->work &= ~WORK_NEED_RESCHED;
	if (prev->state == TASK_RUNNING && prev != &idle_task && list_empty(&prev->run_list))
		list_add_tail(&prev->run_list, &run_queue);
	if (!list_empty(&run_queue)) {
		next = list_entry(run_queue.next, struct task_struct, run_list);
		list_del(&next->run_list);
	}
	if (next->time_slice <= 0)
		next->time_slice = slice_ticks();
	if (next == prev) {
		local_irq_enable();
		return;
	}
	if (next->mm) {
		next->active_mm = next->mm;
	} else {
		next->active_mm = prev->active_mm;
		next->active_mm->count++;
	}
	switch_to(prev, next);
}

/* On the new task's stack, interrupts still off: lets go of what the last one had borrowed, and of itself if it is dead. */
void schedule_tail(struct task_struct *prev)
{
	struct mm_struct *borrowed = prev->mm ? NULL : prev->active_mm;

	if (borrowed)
		prev->active_mm = NULL;
	local_irq_enable();
	if (borrowed)
		mmdrop(borrowed);
	if (prev->state == TASK_DEAD)
		free_task(prev);
}

void scheduler_tick(void)
{
	struct task_struct *task = current;

	if (task == &idle_task)
		return;
	task->ticks++;
	if (--task->time_slice <= 0)
		set_need_resched();
}

void yield_cpu(void)
{
	if (!list_empty(&run_queue))
		schedule();
}

void wait_queue_init(struct wait_queue *queue) { list_init(&queue->waiters); }

void prepare_to_wait(struct wait_queue *queue, struct wait_entry *entry)
{
	u32 flags = local_irq_save();

	entry->task = current;
	list_add_tail(&entry->link, &queue->waiters);
	current->state = TASK_INTERRUPTIBLE;
	local_irq_restore(flags);
}

void finish_wait(struct wait_queue *queue, struct wait_entry *entry)
{
	u32 flags = local_irq_save();

	(void)queue;
	current->state = TASK_RUNNING;
	list_del(&entry->link);
	local_irq_restore(flags);
}

void wake_up(struct wait_queue *queue)
{
	u32 flags = local_irq_save();
	struct list_head *at;

	list_for_each(at, &queue->waiters)
		wake_up_process(list_entry(at, struct wait_entry, link)->task);
	local_irq_restore(flags);
}

int sys_sched_yield(struct pt_regs *regs)
{
	(void)regs;
	yield_cpu();
	return 0;
}
