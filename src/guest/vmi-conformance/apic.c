/* The local APIC through its calls, and alarms that are wired to its LVTT: calls 63, 64, 68. */
#include "clock.h"

/* Offsets of registers. */
#define APIC_ID 0x20u
#define APIC_VERSION 0x30u
#define APIC_TPR 0x80u
#define APIC_EOI 0xb0u
#define APIC_SVR 0xf0u
#define APIC_ISR 0x100u
#define APIC_IRR 0x200u
#define APIC_LVTT 0x320u
#define APIC_LINT0 0x350u

/* Where a page of registers is mapped if the kernel maps one: the calls look at the offset alone. */
#define MAPPED 0xfffb0000u
#define MASKED 0x10000u
#define FEATURE_APIC 0x200u
#define NOBODY 0xffffffffu

static u32 apic_read(u32 where) { return VMI(APICRead, where); }
static void apic_write(u32 where, u32 value) { VMI(APICWrite, where, value); }

static int in_set(u32 first, u32 vector) { return (apic_read(first + (vector >> 5) * 16) >> (vector & 31)) & 1; }

static void check_registers(void)
{
	u32 lint0 = apic_read(APIC_LINT0);

	check(APICRead, "the version is that of an integrated APIC", 0x10, apic_read(APIC_VERSION) & 0xf0);
	check(APICRead, "numbers begin at 0 (pitfall 12)", 0, apic_read(APIC_ID) >> 24);
	check(APICRead, "takes the address of a register for its offset (pitfall 11)", apic_read(APIC_VERSION),
	      apic_read(MAPPED | APIC_VERSION));
	apic_write(APIC_TPR, 0x20);
	check(APICWrite, "writes the register that its offset names", 0x20, apic_read(APIC_TPR));
	apic_write(MAPPED | APIC_TPR, 0x30);
	check(APICWrite, "takes the address of a register for its offset (pitfall 11)", 0x30, apic_read(APIC_TPR));
	apic_write(APIC_TPR, 0);
	apic_write(APIC_SVR, apic_read(APIC_SVR) | 0x100);
	check(APICRead, "LINT0 is as firmware leaves it: the 8259s pass", 0x700, lint0 & (MASKED | 0x700));
}

static void check_lvtt(void)
{
	u64 pause = part_of_second(2000);

	interrupts_reset();
	apic_write(APIC_LVTT, MASKED | TIMER_VECTOR);
	set_alarm(REAL | WIRED_LVTT, counter(REAL), 0);
	check(SetAlarm, "wired to an LVTT that is masked interrupts nobody (pitfall 20)", 0, deliver());
	apic_write(APIC_LVTT, TIMER_VECTOR);
	check(SetAlarm, "and is not kept for later", 0, deliver());
	set_alarm(REAL | WIRED_LVTT, counter(REAL), 0);
	check_true(APICRead, "an alarm wired to LVTT asks for the vector of LVTT", in_set(APIC_IRR, TIMER_VECTOR));
	check(SetAlarm, "wired to LVTT interrupts through it", 1, deliver());
	check_true(APICRead, "its interrupt is in service until its end", in_set(APIC_ISR, TIMER_VECTOR));
	set_alarm(REAL | WIRED_LVTT, counter(REAL), 0);
	check(APICWrite, "without an end there is no other of the same vector", 1, deliver());
	apic_write(APIC_EOI, 0);
	check(APICWrite, "the end lets the next one through", 2, deliver());
	apic_write(APIC_EOI, 0);
	check_true(APICRead, "nothing is in service then", !in_set(APIC_ISR, TIMER_VECTOR));
	interrupts_reset();
	apic_write(APIC_TPR, TIMER_VECTOR);
	set_alarm(REAL | WIRED_LVTT, counter(REAL), 0);
	check(APICWrite, "the task's priority holds interrupts of its class back", 0, deliver());
	apic_write(APIC_TPR, 0);
	check(APICWrite, "and lets them through when it falls", 1, deliver());
	apic_write(APIC_EOI, 0);
	interrupts_reset();
	set_alarm(REAL | PERIODIC | WIRED_LVTT, counter(REAL) + pause, pause);
	wait(5 * pause);
	check(SetAlarm, "periods that were missed are one interrupt of LVTT", 1, deliver());
	apic_write(APIC_EOI, 0);
	check(CancelAlarm, "is 1 for an alarm wired to LVTT, whatever its flags say", 1, VMI(CancelAlarm, REAL));
	deliver();
	apic_write(APIC_EOI, 0);
	apic_write(APIC_LVTT, MASKED | TIMER_VECTOR);
	interrupts_reset();
}

void check_apic(void)
{
	u32 features, eax = 1, ebx, ecx = 0;

	__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(features));
	check_true(APICRead, "is offered", offered(APICRead));
	check_true(APICWrite, "is offered", offered(APICWrite));
	if (features & FEATURE_APIC) {
		check_registers();
		check_lvtt();
		return;
	}
	check(APICRead, "finds nobody where the processor has no local APIC", NOBODY, apic_read(APIC_VERSION));
	apic_write(APIC_TPR, 0);
	check(APICWrite, "is heard by nobody where the processor has no local APIC", NOBODY, apic_read(APIC_TPR));
	set_alarm(REAL | WIRED_LVTT, counter(REAL), 0);
	check(SetAlarm, "wired to LVTT interrupts nobody there", 0, deliver());
}
