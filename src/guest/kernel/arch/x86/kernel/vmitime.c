/*
 * Time under VMI, in the manner of the first kernels that had it (ABI 6.4): a periodic alarm on available time at its own
 * rate, jiffies driven by real time, and no ticks while idle.
 */
#include <asm/irqflags.h>
#include <asm/paravirt.h>
#include <asm/vmi.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/sched.h>
#include <linux/time.h>

#define VMI_ALARM_HZ_DEFAULT 100
#define ALARM_WIRING VMI_ALARM_WIRED_IRQ0

int vmi_disable_timer, vmi_disable_noidle;

static struct {
	u64 (*get_frequency)(void);
	u64 (*get_counter)(u32 counter);
	void (*set_alarm)(u32 flags, u64 expiry, u64 period);
	u32 (*cancel_alarm)(u32 flags);
} vmi_timer;

static u32 alarm_hz = VMI_ALARM_HZ_DEFAULT;
static u32 frequency_khz;
static u64 real_at_boot;
static u64 cycles_per_jiffy, cycles_per_alarm;
/* Cycles that are accounted for: real ones in jiffies, available ones in process times, stolen ones in `stolen_jiffies`. */
static u64 real_accounted, available_accounted, stolen_accounted;

void vmi_time_option(u32 value)
{
	if (value >= 1 && value <= 1000)
		alarm_hz = value;
}

/* Jiffies follow the same counter, so that timers and clock agree. */
static u64 vmi_clock_ns(void)
{
	u32 rest;
	u64 ms = div_u64(vmi_timer.get_counter(VMI_CYCLES_REAL) - real_at_boot, frequency_khz, &rest);

	return ms * 1000000 + div_u64((u64)rest * 1000000, frequency_khz, NULL);
}

static void account_real(u64 now)
{
	while ((s64)(now - real_accounted) >= (s64)cycles_per_jiffy) {
		real_accounted += cycles_per_jiffy;
		do_timer();
	}
}

static void account_stolen(u64 real, u64 available)
{
	u64 stolen = real - available;

	while ((s64)(stolen - stolen_accounted) >= (s64)cycles_per_jiffy) {
		stolen_accounted += cycles_per_jiffy;
		stolen_jiffies++;
	}
}

static void vmi_tick(void)
{
	u64 real = vmi_timer.get_counter(VMI_CYCLES_REAL), available = vmi_timer.get_counter(VMI_CYCLES_AVAILABLE);

	account_real(real);
	while ((s64)(available - available_accounted) >= (s64)cycles_per_jiffy) {
		available_accounted += cycles_per_jiffy;
		update_process_times();
	}
	account_stolen(real, available);
}

static void start_alarm(void)
{
	u64 now = vmi_timer.get_counter(VMI_CYCLES_AVAILABLE);

	vmi_timer.set_alarm(VMI_ALARM_IS_PERIODIC | ALARM_WIRING | VMI_CYCLES_AVAILABLE, now + cycles_per_alarm,
			    cycles_per_alarm);
}

/*
 * The tick stops when nothing is due within HZ/100 jiffies; one alarm on real time wakes the processor for the next timer.
 * Time that went by is made up for afterwards, whatever caused the wake-up.
 */
static void vmi_idle(void)
{
	u32 delta;
	u64 real, available;

	delta = next_timer_delta();
	if (vmi_disable_noidle || delta <= hz / 100) {
		safe_halt();
		return;
	}
	vmi_timer.cancel_alarm(VMI_ALARM_IS_PERIODIC | ALARM_WIRING | VMI_CYCLES_AVAILABLE);
	if (delta != ~0u)
		vmi_timer.set_alarm(VMI_ALARM_IS_ONESHOT | ALARM_WIRING | VMI_CYCLES_REAL,
				    real_accounted + (u64)delta * cycles_per_jiffy, 0);
	safe_halt();

	local_irq_disable();
	real = vmi_timer.get_counter(VMI_CYCLES_REAL);
	available = vmi_timer.get_counter(VMI_CYCLES_AVAILABLE);
	account_real(real);
	/* Idle time is nobody's: skip it, so that the task which runs next is not charged. */
	if ((s64)(available - available_accounted) > 0)
		available_accounted = available;
	account_stolen(real, available);
	start_alarm();
	local_irq_enable();
}

static void vmi_time_init(void)
{
	frequency_khz = (u32)div_u64(vmi_timer.get_frequency(), 1000, NULL);
	tsc_khz = frequency_khz;
	cycles_per_jiffy = div_u64((u64)frequency_khz * 1000, hz, NULL);
	cycles_per_alarm = div_u64((u64)frequency_khz * 1000, alarm_hz, NULL);
	pit_stop();
	if (alarm_hz != VMI_ALARM_HZ_DEFAULT)
		printk("VMI timer alarm HZ set to %u\n", alarm_hz);
	printk("VMI timer cycles/sec = %llu ; cycles/jiffy = %llu ;cycles/alarm = %llu\n", (u64)frequency_khz * 1000,
	       cycles_per_jiffy, cycles_per_alarm);
	real_at_boot = real_accounted = vmi_timer.get_counter(VMI_CYCLES_REAL);
	available_accounted = vmi_timer.get_counter(VMI_CYCLES_AVAILABLE);
	stolen_accounted = real_accounted - available_accounted;
	start_alarm();
}

void vmi_time_probe(void)
{
	u32 frequency = vmi_call_address(VMI_CALL_GetCycleFrequency);

	if (!frequency || vmi_disable_timer)
		return;
	*(u32 *)&vmi_timer.get_frequency = frequency;
	*(u32 *)&vmi_timer.get_counter = vmi_call_address(VMI_CALL_GetCycleCounter);
	*(u32 *)&vmi_timer.set_alarm = vmi_call_address(VMI_CALL_SetAlarm);
	*(u32 *)&vmi_timer.cancel_alarm = vmi_call_address(VMI_CALL_CancelAlarm);
	if (!vmi_timer.get_counter || !vmi_timer.set_alarm || !vmi_timer.cancel_alarm)
		return;
	pv_time_ops.time_init = vmi_time_init;
	pv_time_ops.clock_ns = vmi_clock_ns;
	pv_time_ops.idle = vmi_idle;
	pv_time_ops.tick = vmi_tick;
}
