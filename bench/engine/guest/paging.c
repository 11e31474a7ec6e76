/* Page tables: the identity map, a pool of pages, demand paging and copy on write in the region of the system rows. */
#include "guest.h"

#define MAPPED 0x04000000u
#define POOL_PAGES ((POOL_END - POOL) / PAGE)
#define ARENA_PAGES ((ARENA_END - ARENA) / PAGE)

u32 kernel_directory[1024] __attribute__((aligned(4096), section(".bss.page_aligned")));
static u32 kernel_tables[MAPPED / PAGE] __attribute__((aligned(4096), section(".bss.page_aligned")));
static u32 pool_free[POOL_PAGES];
static u32 pool_count;
/* How many page tables map a frame of the arena or the pool. */
u16 frame_users[(POOL_END - ARENA) / PAGE];

void paging_init(void)
{
	for (u32 i = 0; i < MAPPED / PAGE; i++)
		kernel_tables[i] = i * PAGE | PTE_P | PTE_RW;
	for (u32 page = (u32)user_begin; page < (u32)user_end; page += PAGE)
		kernel_tables[page / PAGE] |= PTE_US;
	/* The last page of the pool's range is the stack of ring 3. */
	kernel_tables[POOL_END / PAGE - 1] |= PTE_US;
	for (u32 i = 0; i < MAPPED >> 22; i++)
		kernel_directory[i] = (u32)&kernel_tables[i * 1024] | PTE_P | PTE_RW | PTE_US;
	load_cr3((u32)kernel_directory);
	u32 cr0;
	__asm__ volatile("movl %%cr0, %0" : "=r"(cr0));
	cr0 = (cr0 & ~0x6000000cu) | 0x80010020u; /* PG, WP, NE; caches on, no EM or TS */
	__asm__ volatile("movl %0, %%cr0" : : "r"(cr0) : "memory");
	pool_reset();
}

void pool_reset(void)
{
	pool_count = 0;
	for (u32 page = POOL; page < POOL_END - PAGE; page += PAGE)
		pool_free[pool_count++] = page;
	for (u32 i = 0; i < sizeof frame_users / sizeof *frame_users; i++)
		frame_users[i] = 0;
}

u32 pool_page(void)
{
	if (!pool_count)
		stop("no page left", 0, 0);
	return pool_free[--pool_count];
}

void pool_give(u32 page)
{
	pool_free[pool_count++] = page;
}

/* A directory with the kernel's part and nothing else. */
u32 new_directory(void)
{
	u32 *directory = (u32 *)pool_page();
	for (u32 i = 0; i < 1024; i++)
		directory[i] = kernel_directory[i];
	return (u32)directory;
}

/* The page table of the region's 4 MiB number `index`; made if there is none. */
u32 *region_table(u32 directory, u32 index)
{
	u32 *entry = (u32 *)directory + (REGION >> 22) + index;
	if (!(*entry & PTE_P)) {
		u32 *table = (u32 *)pool_page();
		for (u32 i = 0; i < 1024; i++)
			table[i] = 0;
		*entry = (u32)table | PTE_P | PTE_RW | PTE_US;
	}
	return (u32 *)(*entry & -PAGE);
}

static void copy_page(u32 to, u32 from)
{
	u32 words = 1024;
	__asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
}

/* Not present: a page of the pool. Write-protected: a copy, unless nobody else has the page any more. */
void page_fault(u32 address, u32 code, u32 eip)
{
	u32 directory;
	__asm__ volatile("movl %%cr3, %0" : "=r"(directory));
	u32 pde = ((u32 *)directory)[address >> 22];
	if (address < REGION || !(pde & PTE_P))
		stop("page fault", address, eip);
	u32 *pte = (u32 *)(pde & -PAGE) + ((address >> 12) & 1023);
	if (!(code & 1)) {
		*pte = pool_page() | PTE_P | PTE_RW | PTE_US;
		return;
	}
	u32 frame = *pte & -PAGE;
	u16 *users = &frame_users[(frame - ARENA) / PAGE];
	if (*users > 1) {
		*users -= 1;
		u32 copy = pool_page();
		copy_page(copy, frame);
		frame_users[(copy - ARENA) / PAGE] = 1;
		frame = copy;
	}
	*pte = frame | PTE_P | PTE_RW | PTE_US;
	invalidate_page(address);
}
