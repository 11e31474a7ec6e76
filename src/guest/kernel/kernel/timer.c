/* Jiffies, the timer wheel and sleeping. */
#include <asm/irqflags.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/time.h>

#define WHEEL_SLOTS 64
/* Seconds since 1970 at boot: a fixed date, because the clock chip's would differ from run to run. */
#define BOOT_EPOCH 1175385600u

volatile u32 jiffies;
u32 stolen_jiffies;
static struct list_head wheel[WHEEL_SLOTS];

void timers_init(void)
{
	u32 i;

	for (i = 0; i < WHEEL_SLOTS; i++)
		list_init(&wheel[i]);
}

void add_timer(struct timer *timer)
{
	u32 flags = local_irq_save();

	list_add_tail(&timer->link, &wheel[timer->expires % WHEEL_SLOTS]);
	local_irq_restore(flags);
}

void del_timer(struct timer *timer)
{
	u32 flags = local_irq_save();

	list_del(&timer->link);
	local_irq_restore(flags);
}

void run_timers(void)
{
	struct list_head *at, *next, *slot = &wheel[jiffies % WHEEL_SLOTS];

	list_for_each_safe(at, next, slot) {
		struct timer *timer = list_entry(at, struct timer, link);

		if ((s32)(jiffies - timer->expires) < 0)
			continue; /* a later turn of the wheel */
		list_del(&timer->link);
		timer->function(timer->data);
	}
}

u32 next_timer_delta(void)
{
	u32 best = ~0u, i;
	struct list_head *at;

	for (i = 0; i < WHEEL_SLOTS; i++)
		list_for_each(at, &wheel[i]) {
			s32 delta = (s32)(list_entry(at, struct timer, link)->expires - jiffies);

			best = min_u32(best, delta > 0 ? (u32)delta : 0);
		}
	return best;
}

void do_timer(void)
{
	jiffies++;
	run_timers();
}

void update_process_times(void) { scheduler_tick(); }

static void wake_sleeper(void *task) { wake_up_process(task); }

u32 schedule_timeout(u32 ticks)
{
	struct timer timer = { .expires = jiffies + ticks, .function = wake_sleeper, .data = current };
	s32 left;

	current->state = TASK_INTERRUPTIBLE;
	add_timer(&timer);
	if (!signal_pending(current))
		schedule();
	del_timer(&timer);
	current->state = TASK_RUNNING;
	left = (s32)(timer.expires - jiffies);
	return left > 0 ? (u32)left : 0;
}

/* Rounded up, plus the part of a tick that has passed already: never too early. */
u32 timespec_ticks(u32 seconds, u32 nanoseconds)
{
	u32 tick_ns = NSEC_PER_SEC / hz;

	return seconds * hz + (nanoseconds + tick_ns - 1) / tick_ns + 1;
}

int sys_nanosleep(struct pt_regs *regs)
{
	u32 request[2], left, rest[2];

	if (copy_from_user(request, regs->ebx, sizeof(request)))
		return -EFAULT;
	if (request[1] >= NSEC_PER_SEC)
		return -EINVAL;
	left = schedule_timeout(timespec_ticks(request[0], request[1]));
	if (!left)
		return 0;
	rest[0] = left / hz;
	rest[1] = left % hz * (NSEC_PER_SEC / hz);
	if (regs->ecx && copy_to_user(regs->ecx, rest, sizeof(rest)))
		return -EFAULT;
	return -EINTR;
}

int sys_time(struct pt_regs *regs)
{
	u32 now = BOOT_EPOCH + (u32)div_u64(sched_clock(), NSEC_PER_SEC, NULL);

	if (regs->ebx && put_user(regs->ebx, now))
		return -EFAULT;
	return (int)now;
}

int sys_gettimeofday(struct pt_regs *regs)
{
	u32 now[2];

	now[0] = BOOT_EPOCH + (u32)div_u64(sched_clock(), NSEC_PER_SEC, &now[1]);
	now[1] /= 1000;
	return regs->ebx ? copy_to_user(regs->ebx, now, sizeof(now)) : 0;
}

int sys_clock_gettime(struct pt_regs *regs)
{
	u32 now[2];

	if (regs->ebx > 1)
		return -EINVAL;
	now[0] = (u32)div_u64(sched_clock(), NSEC_PER_SEC, &now[1]);
	if (regs->ebx == 0)
		now[0] += BOOT_EPOCH;
	return copy_to_user(regs->ecx, now, sizeof(now));
}
