/*
 * The nanobenchmarks: each operation in a loop of its own, timed by the time-stamp counter around all of its rounds, less the same
 * loop without the operation. A line for each: `nano NAME CYCLES`, cycles of one operation. Command line: `rounds=N`.
 */
#include "nano.h"

#define MSR_SYSENTER_CS 0x174
#define MSR_SYSENTER_ESP 0x175
#define MSR_SYSENTER_EIP 0x176
#define KERNEL_CS 0x08
#define PRESENT 1
#define WRITABLE 2
#define USER 4
#define FLAG_COMMAND_LINE 4
#define DEFAULT_ROUNDS 2000
/* First rounds are others: tables are filled, code is translated, sites adapt. They are not timed. */
#define WARM_UP 200

struct multiboot_information {
	u32 flags, memory_lower, memory_upper, boot_device, command_line;
};

struct nano {
	const char *name;
	void (*loop)(u32 count);
	void (*empty)(u32 count);
	/* Instead of `loop`: code of ring 3, with `user_empty`. */
	void (*user)(void);
};

static const struct nano nanos[] = {
	{ "syscall-int", 0, 0, user_int80 },
	{ "syscall", 0, 0, user_sysenter },
	{ "in", loop_in, loop_empty, 0 },
	{ "cli", loop_cli, loop_empty, 0 },
	{ "crwr", loop_cr0, loop_empty, 0 },
	{ "callret", loop_callret, loop_empty, 0 },
	{ "pgfault", loop_pgfault, loop_empty, 0 },
	{ "divzero", loop_divzero, loop_empty, 0 },
	{ "ptemod", loop_ptemod, loop_empty_store, 0 },
};

static u64 idt[256];
static u8 user_stack[4096] __attribute__((aligned(4096)));

static void set_gate(u32 vector, u32 entry, u32 level)
{
	idt[vector] = ((u64)((entry & 0xffff0000) | 0x8e00 | (level << 13)) << 32) | (KERNEL_CS << 16) | (entry & 0xffff);
}

static void write_msr(u32 index, u32 value)
{
	__asm__ volatile("wrmsr" : : "c"(index), "a"(value), "d"(0));
}

static void set_up_traps(void)
{
	struct {
		u16 limit;
		u32 base;
	} __attribute__((packed)) pointer = { sizeof(idt) - 1, (u32)idt };
	for (u32 vector = 0; vector < TRAP_ENTRIES; vector++)
		set_gate(vector, trap_entries[vector], 0);
	set_gate(0x80, (u32)trap_system_call, 3);
	set_gate(0x81, (u32)trap_leave_user, 3);
	__asm__ volatile("lidt %0" : : "m"(pointer));
	write_msr(MSR_SYSENTER_CS, KERNEL_CS);
	write_msr(MSR_SYSENTER_EIP, (u32)enter_system_call);
	write_msr(MSR_SYSENTER_ESP, 0);
}

/* The first 4 MiB onto themselves, page by page, but one. */
static void set_up_paging(void)
{
	u32 cr0;
	for (u32 page = 0; page < 1024; page++)
		page_table[page] = (page << 12) | PRESENT | WRITABLE | USER;
	page_table[ABSENT_PAGE >> 12] = 0;
	page_directory[0] = (u32)page_table | PRESENT | WRITABLE | USER;
	__asm__ volatile("movl %0, %%cr3" : : "r"(page_directory));
	__asm__ volatile("movl %%cr0, %0" : "=r"(cr0));
	__asm__ volatile("movl %0, %%cr0" : : "r"(cr0 | 0x80010000));
	/* The page whose entry is written is in use. */
	*(volatile u32 *)TOUCHED_PAGE = 0;
}

static void run(const struct nano *nano, int empty, u32 count)
{
	if (nano->user)
		run_user(empty ? user_empty : nano->user, count, (u32)user_stack + sizeof(user_stack));
	else
		(empty ? nano->empty : nano->loop)(count);
}

static u32 time(const struct nano *nano, int empty, u32 rounds)
{
	run(nano, empty, WARM_UP);
	u64 before = time_stamp();
	run(nano, empty, rounds);
	return (u32)(time_stamp() - before);
}

/* `rounds=` in the command line, or the default. */
static u32 rounds_of(const struct multiboot_information *information)
{
	const char *key = "rounds=";
	u32 rounds = 0;
	const char *at = (const char *)information->command_line;
	if (!(information->flags & FLAG_COMMAND_LINE))
		return DEFAULT_ROUNDS;
	for (; *at; at++) {
		u32 n = 0;
		while (key[n] && at[n] == key[n])
			n++;
		if (key[n])
			continue;
		for (at += n; *at >= '0' && *at <= '9'; at++)
			rounds = rounds * 10 + (u32)(*at - '0');
		break;
	}
	return rounds ? rounds : DEFAULT_ROUNDS;
}

void trap_unexpected(u32 vector);
void trap_unexpected(u32 vector)
{
	put_text("nano: unexpected trap ");
	put_hundredths(vector * 100);
	put_text("\n");
	power_off();
}

void nano_main(const struct multiboot_information *information);
void nano_main(const struct multiboot_information *information)
{
	u32 rounds = rounds_of(information);
	console_init();
	set_up_traps();
	set_up_paging();
	for (u32 i = 0; i < sizeof(nanos) / sizeof(*nanos); i++) {
		u32 with = time(&nanos[i], 0, rounds);
		u32 without = time(&nanos[i], 1, rounds);
		/* In hundredths: 2^32 / 100 cycles are enough for some 40 million cycles of a loop. */
		u32 cycles = with > without ? with - without : 0;
		put_text("nano ");
		put_text(nanos[i].name);
		put_text(" ");
		put_hundredths(cycles / rounds * 100 + (cycles % rounds * 100 + rounds / 2) / rounds);
		put_text("\n");
	}
	put_text("nano: done\n");
	power_off();
}
