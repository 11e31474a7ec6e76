/* Interrupt tables, the interrupt controllers, and what is remembered of traps and interrupts. */
#include "guest.h"

#define PIC_MASTER 0x20
#define PIC_SLAVE 0xa0

struct trap_frame {
	u32 edi, esi, ebp, esp, ebx, edx, ecx, eax, es, ds, vector, code, eip, cs, eflags;
};

u32 idt[512] __attribute__((aligned(4096)));
u32 other_idt[512] __attribute__((aligned(4096)));
u32 other_gdt[64] __attribute__((aligned(4096)));
volatile struct trap trapped;
volatile u32 interrupts, interrupt_stack;
static int trap_is_expected;

extern const void *const trap_table[20];
extern u8 trap_66[], trap_128[], trap_259[], interrupt_entry[];

void set_gate(u32 *table, u32 vector, const void *handler, u32 type_and_dpl)
{
	table[2 * vector] = KERNEL_CS << 16 | ((u32)handler & 0xffff);
	table[2 * vector + 1] = ((u32)handler & 0xffff0000) | 0x8000 | type_and_dpl;
}

void expect_trap(void) { trap_is_expected = 1; }
void forget_trap(void) { trap_is_expected = 0; }

static void remember(u32 vector, const struct trap_frame *frame)
{
	u32 cr2;

	__asm__ volatile("movl %%cr2, %0" : "=r"(cr2));
	trapped = (struct trap){
		.taken = 1, .vector = vector, .code = frame->code, .eip = frame->eip, .cs = frame->cs, .eflags = frame->eflags,
		.cr2 = cr2, .eax = frame->eax, .edx = frame->edx, .stack = (u32)(frame + 1),
	};
}

/* Returns only to end what was running. */
void trap(const struct trap_frame *frame)
{
	if (frame->vector != 0x80 && !trap_is_expected) {
		say("FAIL unexpected trap ");
		say_decimal(frame->vector);
		say(", code ");
		say_hex(frame->code);
		say(", at ");
		say_hex(frame->eip);
		say("\n");
		power_off();
	}
	remember(frame->vector, frame);
}

/* SYSENTER leaves no frame. EAX is the caller's. */
void system_call(u32 eax)
{
	trapped = (struct trap){ .taken = 1, .vector = 0x100, .eax = eax };
}

void interrupts_reset(void)
{
	interrupts = 0;
	interrupt_stack = ~0u;
}

void interrupt(const struct trap_frame *frame)
{
	interrupts++;
	if ((u32)frame < interrupt_stack)
		interrupt_stack = (u32)frame;
	out8(PIC_MASTER, 0x20);
}

/* Vectors 0x20 and 0x28; only IRQ 0 is open. */
static void controllers_init(void)
{
	static const u8 masters[] = { 0x20, 4, 1, 0xfe }, slaves[] = { 0x28, 2, 1, 0xff };

	out8(PIC_MASTER, 0x11);
	out8(PIC_SLAVE, 0x11);
	for (u32 i = 0; i < sizeof masters; i++) {
		out8(PIC_MASTER + 1, masters[i]);
		out8(PIC_SLAVE + 1, slaves[i]);
	}
}

void traps_init(void)
{
	struct {
		u16 limit;
		u32 base;
	} __attribute__((packed)) pointer = { sizeof idt - 1, (u32)idt };

	/* Interrupt gates, but for those that user code may use: trap gates, which leave the interrupt flag alone. */
	for (u32 vector = 0; vector < 20; vector++)
		set_gate(idt, vector, trap_table[vector], 0x0e00);
	set_gate(idt, 3, trap_table[3], 0x6f00);
	set_gate(idt, 0x80, trap_128, 0x6f00);
	set_gate(idt, TIMER_VECTOR, interrupt_entry, 0x0e00);
	for (u32 i = 0; i < 512; i++)
		other_idt[i] = idt[i];
	set_gate(other_idt, 3, trap_259, 0x6f00);
	__asm__ volatile("lidt %0" : : "m"(pointer));
	controllers_init();
}
