/* Counters, alarms, wall clock: calls 65..71. */
#include "clock.h"

#define SECOND_NS 1000000000ull
/* Earlier than the interface. */
#define YEAR_2000 946684800ull

static void check_counters(void)
{
	u64 real, available, stolen, later, ticks, hertz = frequency();
	u32 pause = part_of_second(1000);

	check_true(GetCycleFrequency, "is not 0", hertz != 0);
	real = counter(REAL);
	ticks = rdtsc();
	wait(pause);
	later = counter(REAL);
	ticks = rdtsc() - ticks;
	check_true(GetCycleCounter, "REAL runs", later > real);
	/* Both took the same time but for the instructions between the readings. */
	check_true(GetCycleFrequency, "is the rate of the time-stamp counter (pitfall 22)",
		   later - real + 20000 > ticks && ticks + 20000 > later - real);
	real = counter(REAL);
	available = counter(AVAILABLE);
	stolen = counter(STOLEN);
	later = counter(REAL);
	check_true(GetCycleCounter, "REAL is AVAILABLE and STOLEN together", real <= available + stolen && available + stolen <= later);
	check(GetCycleCounter, "of an unknown counter is 0", 0, VMI(GetCycleCounter, 3));
	check(GetCycleCounter, "of an unknown counter is 0 in its high word", 0, io.edx);
}

static void check_alarm(u32 which, const char *now, const char *later)
{
	u64 pause = part_of_second(2000);

	interrupts_reset();
	set_alarm(which, counter(which), 0);
	check(SetAlarm, now, 1, deliver());
	check(CancelAlarm, "of a one-shot alarm that has fired is 0", 0, VMI(CancelAlarm, which));
	interrupts_reset();
	set_alarm(which, counter(which) + pause, pause);
	check(SetAlarm, "one-shot does not fire before its time", 0, deliver());
	wait(3 * pause);
	check(SetAlarm, later, 1, deliver());
}

static void check_alarms(void)
{
	u64 pause = part_of_second(2000);

	check_alarm(REAL, "REAL with an expiry of now fires at once (pitfall 18)", "REAL one-shot fires once");
	check_alarm(AVAILABLE, "AVAILABLE with an expiry of now fires at once (pitfall 18)", "AVAILABLE one-shot fires once");

	interrupts_reset();
	set_alarm(REAL | PERIODIC, counter(REAL), pause);
	wait(10 * pause);
	check(SetAlarm, "periods that were missed are one interrupt", 1, deliver());
	wait(2 * pause);
	check(SetAlarm, "periodic goes on", 2, deliver());
	check(CancelAlarm, "is 1 for a periodic alarm, whatever else its flags say (pitfall 19)", 1,
	      VMI(CancelAlarm, REAL | PERIODIC | WIRED_LVTT));
	check(CancelAlarm, "is 0 the second time", 0, VMI(CancelAlarm, REAL | PERIODIC));
	deliver();
	interrupts_reset();
	wait(3 * pause);
	check(CancelAlarm, "stops it", 0, deliver());

	set_alarm(REAL, counter(REAL) + pause, 0);
	set_alarm(REAL, counter(REAL) + 4 * pause, 0);
	wait(2 * pause);
	check(SetAlarm, "replaces the alarm of the counter", 0, deliver());
	set_alarm(AVAILABLE, counter(AVAILABLE), 0);
	check(SetAlarm, "of one counter leaves that of the other alone", 1, deliver());
	check(CancelAlarm, "which is still armed", 1, VMI(CancelAlarm, REAL));

	interrupts_reset();
	set_alarm(STOLEN, 0, pause);
	check(SetAlarm, "of STOLEN has no effect", 0, deliver());
	check(CancelAlarm, "of STOLEN is 0", 0, VMI(CancelAlarm, STOLEN));
	/* LVTT is masked until somebody opens it. */
	set_alarm(REAL | WIRED_LVTT, counter(REAL), 0);
	check(SetAlarm, "wired to a masked LVTT interrupts nobody (pitfall 20)", 0, deliver());
}

/* Rate generator, then mode 5 without a count: channel 0 is silent. */
static void check_timer_chip(void)
{
	u64 pause = part_of_second(200);

	interrupts_reset();
	out8(0x43, 0x34);
	out8(0x40, 0xa9);
	out8(0x40, 0x04);
	VMI(EnableInterrupts);
	wait(pause);
	out8(0x43, 0x3a);
	VMI(DisableInterrupts);
	check_true(SetAlarm, "the timer chip ticks where the kernel lets it", interrupts > 0);
	interrupts_reset();
	VMI(EnableInterrupts);
	wait(pause);
	VMI(DisableInterrupts);
	check(SetAlarm, "0x3A to port 0x43 silences the timer chip (pitfall 21)", 0, interrupts);
}

static void check_wall_clock(void)
{
	u64 before, after;

	VMI(GetWallclockTime);
	before = long_result();
	wait(part_of_second(1000));
	VMI(GetWallclockTime);
	after = long_result();
	check_true(GetWallclockTime, "is in nanoseconds since 1970", before > YEAR_2000 * SECOND_NS);
	check_true(GetWallclockTime, "goes on by a millisecond and little more",
		   after - before >= SECOND_NS / 1000 && after - before < SECOND_NS / 100);
	check(WallclockUpdated, "is 0 where nothing was corrected (pitfall 30)", 0, VMI(WallclockUpdated));
}

void check_time(void)
{
	check_counters();
	check_alarms();
	check_timer_chip();
	check_wall_clock();
	/* Five bytes of nothing where the ROM answers NOP. */
	VMI(IODelay);
}
