/* Console on COM1, checks and their count, the end. */
#include "guest.h"

#define COM1 0x3f8
#define LSR_EMPTY 0x20

static const char *const names[] = {
	"CPUID", "WRMSR", "RDMSR", "SetGDT", "SetLDT", "SetIDT", "SetTR", "GetGDT", "GetLDT", "GetIDT", "GetTR",
	"WriteGDTEntry", "WriteLDTEntry", "WriteIDTEntry", "UpdateKernelStack", "SetCR0", "SetCR2", "SetCR3", "SetCR4",
	"GetCR0", "GetCR2", "GetCR3", "GetCR4", "WBINVD", "SetDR", "GetDR", "RDPMC", "RDTSC", "CLTS", "EnableInterrupts",
	"DisableInterrupts", "GetInterruptMask", "SetInterruptMask", "IRET", "SYSEXIT", "Halt", "Reboot", "Shutdown",
	"SetPxE", "SetPxELong", "UpdatePxE", "UpdatePxELong", "MachineToPhysical", "PhysicalToMachine", "AllocatePage",
	"ReleasePage", "InvalPage", "FlushTLB", "SetLinearMapping", "INL", "INB", "INW", "INSL", "INSB", "INSW", "OUTL",
	"OUTB", "OUTW", "OUTSL", "OUTSB", "OUTSW", "SetIOPLMask", "SetInitialAPState", "APICWrite", "APICRead", "IODelay",
	"GetCycleFrequency", "GetCycleCounter", "SetAlarm", "CancelAlarm", "GetWallclockTime", "WallclockUpdated",
	"SetCallbacks", "SetLazyMode", "ROM", "Init", "GetRelocationInfo",
};
_Static_assert(sizeof names / sizeof *names == GetRelocationInfo + 1, "a name for each call");

static u32 checks, failures;

const char *name_of(u32 call) { return names[call]; }

void console_init(void)
{
	out8(COM1 + 1, 0);
	out8(COM1 + 3, 0x80);
	out8(COM1 + 0, 1);
	out8(COM1 + 1, 0);
	out8(COM1 + 3, 3);
}

static void put(char byte)
{
	while (!(in8(COM1 + 5) & LSR_EMPTY))
		;
	out8(COM1, (u8)byte);
}

void say(const char *text)
{
	while (*text)
		put(*text++);
}

void say_hex(u32 value)
{
	say("0x");
	for (int shift = 28; shift >= 0; shift -= 4)
		put("0123456789abcdef"[(value >> shift) & 15]);
}

void say_decimal(u32 value)
{
	if (value >= 10)
		say_decimal(value / 10);
	put((char)('0' + value % 10));
}

void check(u32 call, const char *what, u32 expected, u32 got)
{
	int holds = expected == got;

	checks++;
	failures += !holds;
	say(holds ? "ok " : "FAIL ");
	say(names[call]);
	say(": ");
	say(what);
	if (!holds) {
		say(": expected ");
		say_hex(expected);
		say(", got ");
		say_hex(got);
	}
	say("\n");
}

void check_true(u32 call, const char *what, int holds) { check(call, what, 1, holds != 0); }

void conclude(void)
{
	if (failures) {
		say("FAIL ");
		say_decimal(failures);
		say(" of ");
	} else {
		say("PASS ");
	}
	say_decimal(checks);
	say("\n");
}

/* By the power port of the board, as the guest does that has no VMI. */
void power_off(void)
{
	__asm__ volatile("outw %w0, %w1" : : "a"(0x2000), "d"(0x604));
	for (;;)
		__asm__ volatile("cli; hlt");
}
