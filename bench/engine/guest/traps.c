/* The IDT, the interrupt controllers, and handlers that are a few lines. */
#include "guest.h"

extern u32 trap_table[20];
extern u8 trap_timer[], trap_system_call[], trap_leave_user[];

static u32 idt[512] __attribute__((aligned(8)));
volatile u32 divide_faults;
volatile u32 timer_ticks;

static void gate(u32 vector, u32 handler, u32 dpl)
{
	idt[2 * vector] = 0x00080000u | (handler & 0xffff);
	idt[2 * vector + 1] = (handler & 0xffff0000u) | 0x8e00u | dpl << 13;
}

void traps_init(void)
{
	for (u32 i = 0; i < 20; i++)
		gate(i, trap_table[i], 0);
	gate(0x20, (u32)trap_timer, 0);
	gate(0x80, (u32)trap_system_call, 3);
	gate(0x81, (u32)trap_leave_user, 3);
	struct { u16 limit; u32 base; } __attribute__((packed)) pointer = { sizeof idt - 1, (u32)idt };
	__asm__ volatile("lidt %0" : : "m"(pointer));
	/* Both interrupt controllers: vectors 0x20 and 0x28, everything masked but the timer. */
	out8(0x20, 0x11);
	out8(0xa0, 0x11);
	out8(0x21, 0x20);
	out8(0xa1, 0x28);
	out8(0x21, 4);
	out8(0xa1, 2);
	out8(0x21, 1);
	out8(0xa1, 1);
	out8(0x21, 0xfe);
	out8(0xa1, 0xff);
}

void stop(const char *why, u32 a, u32 b)
{
	put_text("stopped: ");
	put_text(why);
	put_text(" ");
	put_hex(a);
	put_text(" ");
	put_hex(b);
	put_text("\nend\n");
	for (;;)
		__asm__ volatile("cli; hlt");
}

void trap_unexpected(const struct trap_frame *frame)
{
	put_text("trap ");
	put_decimal(frame->number);
	put_text(": ");
	stop("unexpected trap", frame->code, frame->eip);
}

void divide_fault(struct divide_frame *frame)
{
	divide_faults++;
	frame->eip += 2;
}

void timer_interrupt(void)
{
	timer_ticks++;
	out8(0x20, 0x20);
}
