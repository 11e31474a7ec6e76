/* Rows about rings, faults, page tables and interrupts. */
#include "guest.h"

#define USER_STACK POOL_END
extern u16 frame_users[];

static u32 call_next(u32 number, u32 value) { return value * 2 + number + 1; }
static u32 call_mix(u32 number, u32 value) { return (value ^ value >> 3) + number; }
u32 (*system_calls[2])(u32, u32) = { call_next, call_mix };

static u32 run_int80(u32 count)
{
	return run_user((u32)user_int80, count, USER_STACK);
}

/* CPUID leaf 1, EDX bit 11. */
static int sysenter_available(void)
{
	u32 eax = 1, ebx, ecx, edx;
	__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx));
	return (edx >> 11) & 1;
}

static void write_msr(u32 index, u32 value)
{
	__asm__ volatile("wrmsr" : : "c"(index), "a"(value), "d"(0));
}

static void setup_sysenter(u32 count)
{
	(void)count;
	write_msr(0x174, 0x08);
	write_msr(0x175, 0);
	write_msr(0x176, (u32)enter_system_call);
}

static u32 run_sysenter(u32 count)
{
	return run_user((u32)user_sysenter, count, USER_STACK);
}

/* Touch 1024 pages that are not there, take them away again. `count` faults. */
static u32 run_fault(u32 count)
{
	u32 check = 0;
	u32 directory = new_directory();
	u32 *table = region_table(directory, 0);
	load_cr3(directory);
	for (u32 done = 0; done < count; done += 1024) {
		for (u32 i = 0; i < 1024; i++)
			*(volatile u32 *)(REGION + i * PAGE + (i & 1020)) = done + i;
		for (u32 i = 0; i < 1024; i++) {
			check = check * 31 + *(volatile u32 *)(REGION + i * PAGE + (i & 1020));
			pool_give(table[i] & -PAGE);
			table[i] = 0;
		}
		load_cr3(directory);
	}
	load_cr3((u32)kernel_directory);
	return check;
}

static u32 run_divide(u32 count)
{
	divide_faults = 0;
	u32 value = divide_loop(count);
	return value * 31 + divide_faults;
}

/* Remap one of 64 pages to the other of two frames, invalidate, read. */
static u32 run_invlpg(u32 count)
{
	u32 directory = new_directory();
	u32 *table = region_table(directory, 0);
	u32 check = 0;
	for (u32 i = 0; i < 128; i++)
		*(u32 *)(ARENA + i * PAGE) = i * 0x01010101u;
	for (u32 i = 0; i < 64; i++)
		table[i] = (ARENA + i * PAGE) | PTE_P | PTE_RW;
	load_cr3(directory);
	for (u32 i = 0; i < count; i++) {
		u32 page = i & 63;
		table[page] ^= 64 * PAGE;
		invalidate_page(REGION + page * PAGE);
		check = check * 31 + *(volatile u32 *)(REGION + page * PAGE);
	}
	load_cr3((u32)kernel_directory);
	return check;
}

/* Four address spaces that map the same eight addresses to different frames; the kernel's pages are in each. */
static u32 run_cr3(u32 count)
{
	u32 directories[4];
	u32 check = 0;
	for (u32 space = 0; space < 4; space++) {
		directories[space] = new_directory();
		u32 *table = region_table(directories[space], 0);
		for (u32 i = 0; i < 8; i++) {
			u32 frame = ARENA + (space * 8 + i) * PAGE;
			*(u32 *)frame = space * 1000 + i;
			table[i * 5] = frame | PTE_P | PTE_RW;
		}
	}
	for (u32 i = 0; i < count; i++) {
		load_cr3(directories[i & 3]);
		for (u32 page = 0; page < 8; page++) {
			volatile u32 *word = (volatile u32 *)(REGION + page * 5 * PAGE);
			check = check * 3 + *word;
			*word += i;
		}
	}
	load_cr3((u32)kernel_directory);
	return check;
}

#define FORK_TABLES 2u
#define FORK_PAGES (FORK_TABLES * 1024)

/* Copies page tables as fork does: both sides lose the right to write, frames count their users. */
static u32 copy_space(u32 parent)
{
	u32 child = new_directory();
	for (u32 index = 0; index < FORK_TABLES; index++) {
		u32 *from = region_table(parent, index), *to = region_table(child, index);
		for (u32 i = 0; i < 1024; i++) {
			u32 pte = from[i];
			if (!(pte & PTE_P))
				continue;
			if (pte & PTE_RW)
				from[i] = pte &= ~PTE_RW;
			to[i] = pte;
			frame_users[((pte & -PAGE) - ARENA) / PAGE]++;
		}
	}
	return child;
}

static void free_space(u32 directory)
{
	for (u32 index = 0; index < FORK_TABLES; index++) {
		u32 *table = region_table(directory, index);
		for (u32 i = 0; i < 1024; i++) {
			u32 frame = table[i] & -PAGE;
			if (!(table[i] & PTE_P))
				continue;
			u16 *users = &frame_users[(frame - ARENA) / PAGE];
			*users -= 1;
			if (*users == 0 && frame >= POOL)
				pool_give(frame);
		}
		pool_give((u32)table);
	}
	pool_give(directory);
}

/* Fork, write to sixteen pages in the child and to sixteen in the parent, end the child. */
static u32 run_fork(u32 count)
{
	u32 parent = new_directory();
	u32 check = 0;
	for (u32 i = 0; i < FORK_PAGES; i++) {
		u32 frame = ARENA + i * PAGE;
		region_table(parent, i / 1024)[i % 1024] = frame | PTE_P | PTE_RW | PTE_US;
		frame_users[i] = 1;
		*(u32 *)frame = i;
	}
	load_cr3(parent);
	for (u32 i = 0; i < count; i++) {
		u32 child = copy_space(parent);
		load_cr3(child);
		for (u32 page = 0; page < 16; page++)
			*(volatile u32 *)(REGION + (page * 61 + i) % FORK_PAGES * PAGE) += 1000 + i;
		for (u32 page = 0; page < 16; page++)
			check = check * 31 + *(volatile u32 *)(REGION + (page * 61 + i) % FORK_PAGES * PAGE);
		load_cr3(parent);
		free_space(child);
		for (u32 page = 0; page < 16; page++) {
			volatile u32 *word = (volatile u32 *)(REGION + (page * 67 + i) % FORK_PAGES * PAGE);
			*word += 1;
			check = check * 31 + *word;
		}
	}
	load_cr3((u32)kernel_directory);
	return check;
}

/* PIT channel 0 in mode 2 at 100 Hz; waits for `count` interrupts. */
static u32 run_idle(u32 count)
{
	const u32 reload = 11932;
	timer_ticks = 0;
	out8(0x43, 0x34);
	out8(0x40, reload & 255);
	out8(0x40, reload >> 8);
	while (timer_ticks < count)
		__asm__ volatile("sti; hlt; cli" : : : "memory");
	out8(0x43, 0x30); /* mode 0 without a count: silent */
	return timer_ticks;
}

static void setup_pool(u32 count)
{
	(void)count;
	pool_reset();
}

const struct row system_rows[] = {
	{ "int80", 150000, 0, run_int80, 0 },
	{ "sysenter", 150000, setup_sysenter, run_sysenter, sysenter_available },
	{ "fault", 65536, setup_pool, run_fault, 0 },
	{ "divide", 100000, 0, run_divide, 0 },
	{ "invlpg", 300000, setup_pool, run_invlpg, 0 },
	{ "cr3", 60000, setup_pool, run_cr3, 0 },
	{ "fork", 200, setup_pool, run_fork, 0 },
	{ 0, 0, 0, 0, 0 },
};

const struct row idle_rows[] = {
	{ "idle", 20, 0, run_idle, 0 },
	{ 0, 0, 0, 0, 0 },
};
