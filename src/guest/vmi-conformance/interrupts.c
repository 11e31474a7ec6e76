/* The interrupt flag, Halt, and interrupts at any place of the ROM: calls 29..33, 35. */
#include "clock.h"

extern u8 code_iret_kernel[];
extern u32 frame[5];

#define EFLAGS_IF 0x200u
#define ROUNDS 3000
/* What a frame of ours and the C functions of the checks may take; thousands of nested frames take more. */
#define STACK_BOUND 1024

/* An interrupt that has been raised by the time this returns. */
static void raise(void)
{
	interrupts_reset();
	set_alarm(REAL, counter(REAL), 0);
}

static void check_flag(void)
{
	check(GetInterruptMask, "is off after Init, as it was before", 0, VMI(GetInterruptMask) & EFLAGS_IF);
	VMI(EnableInterrupts);
	check(GetInterruptMask, "is on after EnableInterrupts", EFLAGS_IF, VMI(GetInterruptMask) & EFLAGS_IF);
	VMI(DisableInterrupts);
	check(GetInterruptMask, "is off after DisableInterrupts (pitfall 29)", 0, VMI(GetInterruptMask) & EFLAGS_IF);
	VMI(SetInterruptMask, EFLAGS_IF);
	check(SetInterruptMask, "turns it on", EFLAGS_IF, VMI(GetInterruptMask) & EFLAGS_IF);
	VMI(SetInterruptMask, ~EFLAGS_IF);
	check(SetInterruptMask, "looks at nothing but bit 9", 0, VMI(GetInterruptMask) & EFLAGS_IF);
}

static void check_delivery(void)
{
	raise();
	wait(10000);
	check(DisableInterrupts, "keeps interrupts out", 0, interrupts);
	VMI(EnableInterrupts);
	check(EnableInterrupts, "delivers what waits before it returns", 1, interrupts);
	VMI(DisableInterrupts);
	raise();
	VMI(SetInterruptMask, EFLAGS_IF);
	check(SetInterruptMask, "delivers what waits before it returns", 1, interrupts);
	VMI(DisableInterrupts);
}

/* Interrupted user code leaves anything in the data segments; sites need no more than CS and SS. */
static void check_segments(void)
{
	raise();
	VMI_WITH(0, EnableInterrupts);
	check(EnableInterrupts, "works with null data segments (pitfall 3)", 1, interrupts);
	check(GetInterruptMask, "works with null data segments (pitfall 3)", EFLAGS_IF, VMI_WITH(0, GetInterruptMask) & EFLAGS_IF);
	VMI_WITH(0, DisableInterrupts);
	check(DisableInterrupts, "works with null data segments (pitfall 3)", 0, VMI(GetInterruptMask) & EFLAGS_IF);
	VMI(EnableInterrupts);
	VMI_WITH(0, SetInterruptMask, 0);
	check(SetInterruptMask, "works with null data segments (pitfall 3)", 0, VMI(GetInterruptMask) & EFLAGS_IF);
}

static void check_halt(void)
{
	u64 before = counter(REAL), pause = part_of_second(1000);

	interrupts_reset();
	set_alarm(REAL, before + pause, 0);
	VMI(Halt);
	check(Halt, "ends with an interrupt", 1, interrupts);
	check_true(Halt, "sleeps until then", counter(REAL) - before >= pause);
	check(Halt, "leaves interrupts on", EFLAGS_IF, VMI(GetInterruptMask) & EFLAGS_IF);
	VMI(DisableInterrupts);
	raise();
	VMI(Halt);
	check(Halt, "does not sleep over an interrupt that waits", 1, interrupts);
	VMI(DisableInterrupts);
}

/* Interrupts as often as they may come, while the ROM opens and closes the gate for them. */
static void check_storm(void)
{
	u64 period = part_of_second(100000);

	interrupts_reset();
	frame[0] = (u32)site_return;
	frame[1] = KERNEL_CS | kernel_rpl;
	frame[2] = EFLAGS_IF | 2;
	set_alarm(REAL | PERIODIC, counter(REAL), period);
	for (u32 i = 0; i < ROUNDS; i++) {
		run_code(code_iret_kernel, i, 0, 0, 0);
		VMI(DisableInterrupts);
		VMI(SetInterruptMask, EFLAGS_IF);
		VMI(DisableInterrupts);
		VMI(EnableInterrupts);
		if (i % 64 == 0)
			VMI(Halt);
		VMI(DisableInterrupts);
	}
	VMI(CancelAlarm, REAL);
	check_true(IRET, "comes back from many interrupts (pitfall 27)", interrupts >= ROUNDS / 64);
	check_true(IRET, "nests none of them on a frame that is half gone (pitfall 27)",
		   interrupt_stack > site_stack - STACK_BOUND);
	/* One may still wait. */
	VMI(EnableInterrupts);
	VMI(DisableInterrupts);
}

void check_interrupts(void)
{
	check_flag();
	check_delivery();
	check_segments();
	check_halt();
	check_storm();
}
