/* Ticks and clocks. */
#ifndef LINUX_TIME_H
#define LINUX_TIME_H

#include <linux/list.h>

#define PIT_HZ 1193182
#define HZ_DEFAULT 250
#define NSEC_PER_SEC 1000000000u

extern volatile u32 jiffies;
extern u32 hz;
extern u32 tsc_khz;
/* Jiffies during which a hypervisor ran something else although we had work (VMI only). */
extern u32 stolen_jiffies;

struct timer {
	struct list_head link;
	u32 expires; /* jiffies */
	void (*function)(void *data);
	void *data;
};

void timers_init(void);
void add_timer(struct timer *timer);
void del_timer(struct timer *timer);
/* Runs what is due at `jiffies`. Called once per jiffy, interrupts off. */
void run_timers(void);
/* Jiffies until the next timer; ~0 when there is none. */
u32 next_timer_delta(void);
/* Sleeps; returns the ticks that were left when a signal ended it. */
u32 schedule_timeout(u32 ticks);

void time_init(void);
/* Nanoseconds since the boot; 0 before the time source runs. */
u64 sched_clock(void);
/* One jiffy has passed. */
void do_timer(void);
/* One tick of CPU time was used by the current task. */
void update_process_times(void);
void pit_init(void);
void pit_stop(void);

#endif
