/* Futexes: sleep while a user word has a value, be woken by its address. Keys are (address space, address). */
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/time.h>

#define FUTEX_WAIT 0
#define FUTEX_WAKE 1
#define FUTEX_COMMAND_MASK 0x7f
#define BUCKETS 64

struct futex_waiter {
	struct list_head link;
	struct mm_struct *mm;
	u32 address;
	struct task_struct *task;
	int woken;
};

static struct list_head buckets[BUCKETS];

static struct list_head *bucket_of(const struct mm_struct *mm, u32 address)
{
	struct list_head *bucket = &buckets[((u32)mm / 32 + address / 4) % BUCKETS];

	if (!bucket->next)
		list_init(bucket);
	return bucket;
}

static int wake(struct mm_struct *mm, u32 address, u32 count)
{
	struct list_head *at, *next, *bucket = bucket_of(mm, address);
	u32 woken = 0;

	list_for_each_safe(at, next, bucket) {
		struct futex_waiter *waiter = list_entry(at, struct futex_waiter, link);

		if (woken == count)
			break;
		if (waiter->mm != mm || waiter->address != address)
			continue;
		list_del(&waiter->link);
		waiter->woken = 1;
		wake_up_process(waiter->task);
		woken++;
	}
	return (int)woken;
}

int futex_wake_address(u32 address, u32 count) { return wake(current->mm, address, count); }

/* Nothing can wake the task between the comparison and the sleep: the kernel is not preempted and no interrupt wakes futexes. */
static int wait(u32 address, u32 expected, u32 ticks)
{
	struct futex_waiter waiter = { .mm = current->mm, .address = address, .task = current };
	u32 value;

	if (get_user(&value, address))
		return -EFAULT;
	if (value != expected)
		return -EAGAIN;
	list_add_tail(&waiter.link, bucket_of(current->mm, address));
	current->state = TASK_INTERRUPTIBLE;
	if (ticks)
		ticks = schedule_timeout(ticks);
	else if (!signal_pending(current))
		schedule();
	current->state = TASK_RUNNING;
	list_del(&waiter.link);
	if (waiter.woken)
		return 0;
	return signal_pending(current) ? -EINTR : -ETIMEDOUT;
}

u32 timespec_ticks(u32 seconds, u32 nanoseconds);

int sys_futex(struct pt_regs *regs)
{
	u32 timeout[2], ticks = 0;

	if (regs->ebx & 3)
		return -EINVAL;
	switch (regs->ecx & FUTEX_COMMAND_MASK) {
	case FUTEX_WAIT:
		if (regs->esi) {
			if (copy_from_user(timeout, regs->esi, sizeof(timeout)))
				return -EFAULT;
			ticks = timespec_ticks(timeout[0], timeout[1]);
		}
		return wait(regs->ebx, regs->edx, ticks);
	case FUTEX_WAKE:
		return wake(current->mm, regs->ebx, regs->edx);
	default:
		return -ENOSYS;
	}
}
