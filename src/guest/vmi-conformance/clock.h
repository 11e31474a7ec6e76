/* Counters and alarms as the checks use them. */
#ifndef CLOCK_H
#define CLOCK_H

#include "guest.h"

enum counter { REAL, AVAILABLE, STOLEN };
#define PERIODIC 0x100u
#define WIRED_LVTT 0x10000u

static inline u64 counter(u32 which)
{
	VMI(GetCycleCounter, which);
	return long_result();
}

static inline u64 frequency(void)
{
	VMI(GetCycleFrequency);
	return long_result();
}

/* Cycles of so small a part of a second that they fit into a word. */
static inline u32 part_of_second(u32 parts)
{
	u32 low, high;

	VMI(GetCycleFrequency);
	low = io.eax;
	high = io.edx;
	__asm__("divl %2" : "+a"(low), "+d"(high) : "r"(parts));
	return low;
}

static inline void set_alarm(u32 flags, u64 expiry, u64 period)
{
	VMI(SetAlarm, flags, (u32)expiry, (u32)(expiry >> 32), (u32)period, (u32)(period >> 32));
}

static inline void wait(u64 cycles)
{
	u64 end = rdtsc() + cycles;

	while (rdtsc() < end)
		;
}

/* Lets through what waits. */
static inline u32 deliver(void)
{
	VMI(EnableInterrupts);
	VMI(DisableInterrupts);
	return interrupts;
}

#endif
