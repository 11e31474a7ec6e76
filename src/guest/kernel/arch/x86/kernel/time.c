/*
 * Native time: PIT channel 0 ticks at HZ through IRQ 0, the TSC tells the time within a tick. VMI replaces both (vmitime.c).
 *
 * The clock is made of ticks, and what the TSC adds never reaches the next tick: timers and clock cannot disagree, however
 * well or badly the TSC's rate is known. That rate is measured between ticks while the processor is halted, so that the
 * measurement costs no instructions.
 */
#include <asm/io.h>
#include <asm/irqflags.h>
#include <asm/paravirt.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/time.h>

#define PIT_CHANNEL0 0x40
#define PIT_COMMAND 0x43
/* Channel 0, low byte then high byte, mode 2: a rate generator. */
#define PIT_RATE_GENERATOR 0x34
/* Channel 0, mode 5: waits for a trigger that never comes. */
#define PIT_SILENT 0x3a
#define CALIBRATION_TICKS 2

u32 hz = HZ_DEFAULT;
u32 tsc_khz;
static u64 tsc_at_tick;
static u32 boot_jiffies;
static int clock_running;

void pit_init(void)
{
	u32 latch = (PIT_HZ + hz / 2) / hz;

	outb(PIT_RATE_GENERATOR, PIT_COMMAND);
	outb(latch & 0xff, PIT_CHANNEL0);
	outb(latch >> 8, PIT_CHANNEL0);
}

void pit_stop(void) { outb(PIT_SILENT, PIT_COMMAND); }

static void timer_interrupt(void) { pv_time_ops.tick(); }

static void native_tick(void)
{
	tsc_at_tick = pv_cpu_ops.read_tsc();
	do_timer();
	update_process_times();
}

static void native_idle(void) { safe_halt(); }

static void native_time_init(void)
{
	u32 latch = (PIT_HZ + hz / 2) / hz, start;
	u64 before, elapsed;

	pit_init();
	local_irq_enable();
	start = jiffies;
	while (jiffies == start)
		safe_halt();
	before = pv_cpu_ops.read_tsc();
	start = jiffies;
	while (jiffies - start < CALIBRATION_TICKS)
		safe_halt();
	elapsed = pv_cpu_ops.read_tsc() - before;
	local_irq_disable();
	/* cycles per (ticks * latch / PIT_HZ seconds), in thousands. */
	tsc_khz = (u32)div_u64(elapsed * (PIT_HZ / 1000), latch * CALIBRATION_TICKS, NULL);
	if (!tsc_khz)
		tsc_khz = 1;
}

static u64 native_clock_ns(void)
{
	u32 flags = local_irq_save(), tick_ns = NSEC_PER_SEC / hz;
	u64 offset_ns = div_u64((pv_cpu_ops.read_tsc() - tsc_at_tick) * 1000000, tsc_khz, NULL);
	u64 ns = (u64)(jiffies - boot_jiffies) * tick_ns;

	ns += offset_ns < tick_ns ? offset_ns : tick_ns - 1;
	local_irq_restore(flags);
	return ns;
}

struct pv_time_ops pv_time_ops = {
	.time_init = native_time_init,
	.clock_ns = native_clock_ns,
	.idle = native_idle,
	.tick = native_tick,
};

void time_init(void)
{
	request_irq(0, timer_interrupt);
	pv_time_ops.time_init();
	boot_jiffies = jiffies;
	clock_running = 1;
	printk("Time: %s clocksource, %u.%03u MHz\n", pv_time_ops.tick == native_tick ? "tsc" : "vmi-timer", tsc_khz / 1000,
	       tsc_khz % 1000);
}

u64 sched_clock(void)
{
	return clock_running ? pv_time_ops.clock_ns() : 0;
}
