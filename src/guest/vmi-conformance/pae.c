/*
 * PAE paging and its forms of the calls for page tables: 17, 39, 41, 44, 45, and the pitfalls of PAE kernels. With `pae` on its command
 * line the kernel goes over to PAE tables before it looks for the ROM.
 *
 *     first and fourth gigabyte   `low_directory`: the first 8 MiB by large pages, and the window
 *     second gigabyte             `other_directory`, once its pointer is set
 */
#include "pages.h"

#define WINDOW 0xd0000000u
#define LARGE 0xd0200000u
#define SECOND_GIGABYTE 0x40000000u
#define ENTRIES 512
#define LARGE_BYTES 0x200000u
/* More than any queue holds at once. */
#define BURST 400

static u64 pointers[4] __attribute__((aligned(32)));
static u64 low_directory[ENTRIES] __attribute__((aligned(4096)));
static u64 other_directory[ENTRIES] __attribute__((aligned(4096)));
static u64 table[ENTRIES] __attribute__((aligned(4096)));
static u32 first_page[1024] __attribute__((aligned(4096)));
static u32 second_page[1024] __attribute__((aligned(4096)));

static u64 *directory_entry(u32 linear) { return &low_directory[(linear >> 21) & (ENTRIES - 1)]; }
static u32 entry_for(const void *page) { return physical(page) | PTE_KERNEL; }
static u32 linear_of(u32 index) { return WINDOW + 4096 * index; }
static u32 at(u32 index) { return *(volatile u32 *)linear_of(index); }
static void set_entry(u64 *entry, u32 low, u32 flags) { VMI(SetPxELong, low, 0, (u32)entry, flags); }
static void set_page(u32 index, const void *page, u32 flags) { set_entry(&table[index], page ? entry_for(page) : 0, flags); }
static u32 here(u32 index) { return CURRENT_AS | linear_of(index); }

u32 enter_pae(void)
{
	for (u32 i = 0; i < 4; i++)
		low_directory[i] = i * LARGE_BYTES | PTE_KERNEL | PTE_PS;
	pointers[0] = pointers[3] = physical(low_directory) | PTE_P;
	/* Paging is off for a few instructions where linear and physical addresses are the same. */
	__asm__ volatile("movl $1f - 0xc0000000, %%ecx\n\t"
			 "jmp *%%ecx\n"
			 "1:\tmovl %%cr0, %%edx\n\t"
			 "andl $0x7fffffff, %%edx\n\t"
			 "movl %%edx, %%cr0\n\t"
			 "movl %%cr4, %%ecx\n\t"
			 "orl $0x20, %%ecx\n\t"
			 "movl %%ecx, %%cr4\n\t"
			 "movl %0, %%cr3\n\t"
			 "orl $0x80000000, %%edx\n\t"
			 "movl %%edx, %%cr0\n\t"
			 "movl $2f, %%ecx\n\t"
			 "jmp *%%ecx\n"
			 "2:"
			 :
			 : "a"(physical(pointers))
			 : "ecx", "edx", "cc", "memory");
	return physical(pointers);
}

static void check_allocation(void)
{
	first_page[0] = FIRST;
	second_page[0] = SECOND;
	table[0] = entry_for(first_page);
	VMI(AllocatePage, pfn(low_directory), PD | PAE | ZEROED);
	VMI(AllocatePage, pfn(table), PT | PAE | ZEROED);
	set_entry(directory_entry(WINDOW), entry_for(table), PD);
	check(AllocatePage, "of a PAE table believes the page, not ZEROED (pitfall 6)", FIRST, at(0));
}

static void check_entries(void)
{
	VMI(SetPxELong, entry_for(second_page), 0, (u32)&table[1], PT);
	check(SetPxELong, "stores the low word", entry_for(second_page), (u32)table[1]);
	check(SetPxELong, "stores the high word", 0, (u32)(table[1] >> 32));
	check(SetPxELong, "maps a page at once", SECOND, at(1));
	table[5] = 0;
	VMI(SetPxELong, 0, 0x12345678, (u32)&table[5], PT);
	check(SetPxELong, "stores a high word by itself", 0x12345678, (u32)(table[5] >> 32));
	set_page(1, first_page, here(1));
	VMI(InvalPage, linear_of(1));
	check(SetPxELong, "maps another page in its place", FIRST, at(1));
	set_page(1, 0, here(1));
	VMI(InvalPage, linear_of(1));
	check(SetPxELong, "takes a page away", PAGE_FAULT, fault_at(linear_of(1)));
	check(SetPxELong, "and CR2 says where", linear_of(1), VMI(GetCR2));
	set_entry(directory_entry(LARGE), PTE_KERNEL | PTE_PS, PT);
	check(SetPxELong, "with the wrong level changes a directory (pitfall 7)", FIRST, *(volatile u32 *)(LARGE + physical(first_page)));
	set_entry(directory_entry(LARGE), entry_for(table), PT);
	VMI(FlushTLB, 3);
	check(SetPxELong, "ends a large page", FIRST, *(volatile u32 *)LARGE);
}

static void check_updates(void)
{
	table[3] = entry_for(second_page);
	VMI(UpdatePxELong, (u32)&table[3], PT | here(3));
	check(UpdatePxELong, "announces what was stored", SECOND, at(3));
	table[3] = entry_for(first_page);
	VMI(UpdatePxELong, (u32)&table[3], PT | DEFER | here(3));
	VMI(FlushTLB, 1);
	check(FlushTLB, "brings deferred updates of PAE tables into force", FIRST, at(3));
	table[3] = 0;
	VMI(UpdatePxELong, (u32)&table[3], PT);
	VMI(InvalPage, linear_of(3));
	check(UpdatePxELong, "announces what was taken away", PAGE_FAULT, fault_at(linear_of(3)));
	*directory_entry(LARGE) = PTE_KERNEL | PTE_PS;
	VMI(UpdatePxELong, (u32)directory_entry(LARGE), PT);
	VMI(FlushTLB, 3);
	check(UpdatePxELong, "with the wrong level changes a directory (pitfall 7)", SECOND,
	      *(volatile u32 *)(LARGE + physical(second_page)));
	VMI(UpdatePxELong, 0x70000000, PT);
	check(UpdatePxELong, "of an address that maps nothing has no effect", FIRST, at(0));
}

/* Pages by turns, the odd ones from the first or the second; all of them are read. */
static u32 burst(u32 odd)
{
	u32 right = 0;

	VMI(SetLazyMode, MMU);
	for (u32 i = 0; i < BURST; i++)
		set_page(10 + i, (i & 1) == odd ? first_page : second_page, 0);
	VMI(SetLazyMode, 0);
	VMI(FlushTLB, 1);
	for (u32 i = 0; i < BURST; i++)
		right += at(10 + i) == ((i & 1) == odd ? FIRST : SECOND);
	return right;
}

static void check_lazy(void)
{
	check(SetLazyMode, "brings a burst of PAE entries into force when it is left", BURST, burst(1));
	/* They have all been used by now: an entry that is not announced would go on leading where it led. */
	check(SetPxELong, "announces each entry of a burst that replaces others", BURST, burst(0));
}

/* Linux does not announce the page of the pointers, and late versions announce it as what it is not. */
static void check_pointers(void)
{
	other_directory[0] = entry_for(table);
	VMI(AllocatePage, pfn(other_directory), PD | PAE | ZEROED);
	VMI(AllocatePage, pfn(pointers), PD | PAE | CLONE, pfn(low_directory), 3, 1);
	set_entry(&pointers[1], physical(other_directory) | PTE_P, PDP);
	check(SetPxELong, "stores a pointer of a page that nobody announced", physical(other_directory) | PTE_P, (u32)pointers[1]);
	VMI(SetCR3, physical(pointers));
	check(SetCR3, "loads the four pointers", FIRST, *(volatile u32 *)SECOND_GIGABYTE);
	check(AllocatePage, "with CLONE of the pointers' page makes no directory of it", FIRST, at(0));
	set_entry(&pointers[1], 0, PDP);
	VMI(SetCR3, physical(pointers));
	check(SetCR3, "takes a gigabyte away with its pointer", PAGE_FAULT, fault_at(SECOND_GIGABYTE));
	VMI(ReleasePage, pfn(pointers), PD | PAE);
	VMI(ReleasePage, pfn(other_directory), PD | PAE);
	check(ReleasePage, "of PAE tables that are not in use has no effect on others", FIRST, at(0));
}

void check_pae(void)
{
	check_true(SetPxELong, "is offered where there is PAE", offered(SetPxELong));
	check_true(UpdatePxELong, "is offered where there is PAE", offered(UpdatePxELong));
	check(GetCR4, "shows PAE", 0x20, VMI(GetCR4) & 0x20);
	check_allocation();
	check_entries();
	check_updates();
	check_lazy();
	check_pointers();
	set_entry(directory_entry(WINDOW), 0, PD);
	VMI(ReleasePage, pfn(table), PT | PAE);
	VMI(FlushTLB, 3);
	check(ReleasePage, "ends with a table that nothing leads to", PAGE_FAULT, fault_at(WINDOW));
}
