/* Page tables, flushes, lazy modes: calls 17, 38..48, 62, 73. */
#include "pages.h"

/* Everything here happens in these four MiB, in the four behind them, and in those where the table itself is seen. */
#define WINDOW 0xd0000000u
#define LARGE 0xd0400000u
#define TABLE_VIEW 0xd0800000u
/* What the other address space alone has. */
#define ELSEWHERE 0xd0c00000u
#define DIRECTORY_ENTRY(linear) (&boot_directory[(linear) >> 22])
#define ENTRIES 1024
/* More than any queue holds at once. */
#define BURST 600

static u32 first_page[1024] __attribute__((aligned(4096)));
static u32 second_page[1024] __attribute__((aligned(4096)));
static u32 table[ENTRIES] __attribute__((aligned(4096)));
static u32 other_table[ENTRIES] __attribute__((aligned(4096)));
static u32 view_table[ENTRIES] __attribute__((aligned(4096)));
static u32 other_directory[ENTRIES] __attribute__((aligned(4096)));
static u32 plain_page[1024] __attribute__((aligned(4096)));

static u32 entry_for(const u32 *page) { return physical(page) | PTE_KERNEL; }
static u32 linear_of(u32 index) { return WINDOW + 4096 * index; }
static u32 at(u32 index) { return *(volatile u32 *)linear_of(index); }
static void set_pte(u32 index, const u32 *page, u32 flags) { VMI(SetPxE, page ? entry_for(page) : 0, (u32)&table[index], PT | flags); }
static u32 here(u32 index) { return CURRENT_AS | linear_of(index); }

static void check_fault(u32 call, const char *what, u32 linear)
{
	check(call, what, PAGE_FAULT, fault_at(linear));
	check(call, "and CR2 says where", linear, VMI(GetCR2));
}

static void check_allocation(void)
{
	first_page[0] = FIRST;
	second_page[0] = SECOND;
	VMI(SetLinearMapping, 0, KERNEL, 0x38000, 0);
	VMI(SetLinearMapping, 9, 0, 0x100000, 0);
	/* Linux announces tables as zeroed that are not. */
	table[0] = entry_for(first_page);
	VMI(AllocatePage, pfn(table), PT | ZEROED);
	VMI(SetPxE, entry_for(table), (u32)DIRECTORY_ENTRY(WINDOW), PD);
	check(AllocatePage, "believes the page, not ZEROED (pitfall 6)", FIRST, at(0));
	VMI(AllocatePage, pfn(table), PT | ZEROED);
	check(AllocatePage, "may be repeated (pitfall 6)", FIRST, at(0));
	VMI(ReleasePage, pfn(plain_page), PT | ZEROED);
	VMI(ReleasePage, 0xfffff, PD);
	check(ReleasePage, "of an unknown page has no effect (pitfall 6)", FIRST, at(0));
	/* What late kernels send for the page of the four PAE entries; without PAE it is a page like any other. */
	plain_page[0] = 0x12345678;
	VMI(AllocatePage, pfn(plain_page), PD | PAE | CLONE, pfn(boot_directory), 3, 1);
	plain_page[1] = 0x9abcdef0;
	check(AllocatePage, "with PAE and CLONE leaves the page alone (pitfall 8)", 0x12345678, plain_page[0]);
	VMI(ReleasePage, pfn(plain_page), PD | PAE);
	check(ReleasePage, "with PAE leaves the page alone (pitfall 8)", 0x9abcdef0, plain_page[1]);
}

static void check_entries(void)
{
	set_pte(1, second_page, 0);
	check(SetPxE, "stores the entry", entry_for(second_page), table[1]);
	check(SetPxE, "maps a page at once", SECOND, at(1));
	set_pte(1, first_page, here(1));
	VMI(InvalPage, linear_of(1));
	check(SetPxE, "maps another page in its place", FIRST, at(1));
	set_pte(2, second_page, 0x12345000);
	check(SetPxE, "has no use for an address without CURRENT_AS (pitfall 9)", SECOND, at(2));
	set_pte(2, 0, here(2));
	VMI(InvalPage, linear_of(2));
	check_fault(SetPxE, "takes a page away", linear_of(2));

	/* Page tables that split large pages go in with the level of a page table's entry. */
	VMI(SetPxE, PTE_KERNEL | PTE_PS, (u32)DIRECTORY_ENTRY(LARGE), PT);
	check(SetPxE, "with the wrong level changes a directory (pitfall 7)", FIRST, *(volatile u32 *)(LARGE + physical(first_page)));
	VMI(SetPxE, entry_for(table), (u32)DIRECTORY_ENTRY(LARGE), PT);
	VMI(FlushTLB, 3);
	check(FlushTLB, "ends a large page", FIRST, *(volatile u32 *)LARGE);

	table[3] = entry_for(second_page);
	VMI(UpdatePxE, (u32)&table[3], PT | here(3));
	check(UpdatePxE, "announces what was stored", SECOND, at(3));
	table[3] = entry_for(first_page);
	VMI(UpdatePxE, (u32)&table[3], PT | DEFER | here(3));
	VMI(FlushTLB, 1);
	check(FlushTLB, "brings deferred updates into force", FIRST, at(3));
	table[3] = 0;
	VMI(UpdatePxE, (u32)&table[3], PT);
	VMI(InvalPage, linear_of(3));
	check_fault(UpdatePxE, "announces what was taken away", linear_of(3));
	VMI(UpdatePxE, 0x70000000, PT);
	check(UpdatePxE, "of an address that maps nothing has no effect", FIRST, at(0));
}

static void check_deferral(void)
{
	set_pte(4, second_page, DEFER | here(4));
	check(SetPxE, "that is deferred is in force at a page fault (pitfall 10)", SECOND, at(4));
	set_pte(4, first_page, DEFER | here(4));
	VMI(InvalPage, linear_of(4));
	check(InvalPage, "brings a deferred update into force (pitfall 10)", FIRST, at(4));

	VMI(SetLazyMode, MMU);
	set_pte(5, second_page, here(5));
	check(SetLazyMode, "1: what waits is in force at a page fault (pitfall 10)", SECOND, at(5));
	set_pte(5, first_page, here(5));
	VMI(InvalPage, linear_of(5));
	check(SetLazyMode, "1: what waits is in force after InvalPage (pitfall 10)", FIRST, at(5));
	set_pte(5, second_page, here(5));
	VMI(SetLazyMode, 0);
	VMI(InvalPage, linear_of(5));
	check(SetLazyMode, "0 brings what waits into force (pitfall 10)", SECOND, at(5));

	u32 wrong = 0;
	VMI(SetLazyMode, MMU);
	for (u32 i = 0; i < BURST; i++)
		set_pte(16 + i, i % 2 ? second_page : first_page, 0);
	VMI(SetLazyMode, 0);
	for (u32 i = 0; i < BURST; i++)
		wrong += at(16 + i) != (i % 2 ? SECOND : FIRST);
	check(SetLazyMode, "1: more updates than a queue holds are all made", 0, wrong);
	VMI(SetLazyMode, MMU);
	for (u32 i = 0; i < BURST; i++)
		set_pte(16 + i, 0, 0);
	VMI(SetLazyMode, 0);
	VMI(FlushTLB, 1);
	check_fault(SetLazyMode, "1: and so are those that take pages away", linear_of(16 + BURST - 1));
}

static void check_address_spaces(void)
{
	for (u32 i = 0; i < ENTRIES; i++)
		other_directory[i] = i < 768 ? 0 : boot_directory[i];
	other_table[0] = entry_for(second_page);
	VMI(AllocatePage, pfn(other_directory), PD | ZEROED | CLONE, pfn(boot_directory), 768, 256);
	VMI(AllocatePage, pfn(other_table), PT | ZEROED);
	VMI(SetPxE, entry_for(other_table), (u32)&other_directory[WINDOW >> 22], PD);
	VMI(SetPxE, entry_for(other_table), (u32)&other_directory[ELSEWHERE >> 22], PD);
	VMI(SetCR3, physical(other_directory));
	check(SetCR3, "goes to another address space", SECOND, at(0));
	check_fault(AllocatePage, "CLONE inherits no more than its entries", USER_CODE);
	VMI(SetCR3, physical(boot_directory));
	check(SetCR3, "comes back", FIRST, at(0));

	VMI(SetLazyMode, CPU);
	VMI(SetCR3, physical(other_directory));
	check(SetLazyMode, "2: GetCR3 is the address space that waits", physical(other_directory), VMI(GetCR3));
	VMI(InvalPage, WINDOW);
	check(InvalPage, "brings an address space into force that waits", SECOND, at(0));
	VMI(SetCR3, physical(boot_directory));
	VMI(FlushTLB, 1);
	check(FlushTLB, "brings an address space into force that waits", FIRST, at(0));
	VMI(SetCR3, physical(other_directory));
	check(SetLazyMode, "2: an address space that waits is in force at a page fault (pitfall 10)", 0, fault_at(ELSEWHERE));
	VMI(SetCR3, physical(boot_directory));
	VMI(SetLazyMode, 0);
	check(SetLazyMode, "0 brings an address space into force that waits", FIRST, at(0));
}

/* The end of an address space: its entries go without a call, then its tables are released. */
static void check_release(void)
{
	VMI(SetPxE, 0, (u32)&other_directory[WINDOW >> 22], PD);
	VMI(SetPxE, 0, (u32)&other_directory[ELSEWHERE >> 22], PD);
	other_table[0] = 0;
	VMI(ReleasePage, pfn(other_table), PT | ZEROED);
	VMI(ReleasePage, pfn(other_directory), PD | ZEROED);
	for (u32 i = 0; i < ENTRIES; i++)
		other_table[i] = i;
	check(ReleasePage, "gives a page back that keeps data", 1023, other_table[1023]);
	for (u32 i = 0; i < ENTRIES; i++)
		other_table[i] = 0;
	VMI(AllocatePage, pfn(other_table), PT | ZEROED);
	VMI(SetPxE, entry_for(other_table), (u32)DIRECTORY_ENTRY(LARGE), PD);
	VMI(FlushTLB, 1);
	check_fault(AllocatePage, "remembers nothing of a table that was released", LARGE);
}

/* Tables in memory that only a window maps: HIGHPTE. */
static void check_linear_mapping(void)
{
	view_table[0] = entry_for(table);
	VMI(SetPxE, entry_for(view_table), (u32)DIRECTORY_ENTRY(TABLE_VIEW), PD);
	VMI(SetLinearMapping, 1, TABLE_VIEW, 1, pfn(table));
	VMI(SetPxE, entry_for(second_page), TABLE_VIEW + 4 * 6, PT);
	check(SetLinearMapping, "finds an entry by its second address", SECOND, at(6));
	view_table[0] = entry_for(other_table);
	VMI(InvalPage, TABLE_VIEW);
	VMI(SetLinearMapping, 1, TABLE_VIEW, 1, pfn(other_table));
	VMI(SetPxE, entry_for(first_page), TABLE_VIEW, PT);
	check(SetLinearMapping, "may be sent again for the slot", FIRST, *(volatile u32 *)LARGE);
}

static void check_translation(void)
{
	check(PhysicalToMachine, "and back again", pfn(first_page), VMI(MachineToPhysical, VMI(PhysicalToMachine, pfn(first_page))));
}

/* Linux has the state of a processor to start on its stack, at any alignment (pitfall 13). */
static void check_initial_state(void)
{
	u8 block[96];

	for (u32 i = 0; i < sizeof block; i++)
		block[i] = (u8)i;
	VMI(SetInitialAPState, (u32)block + 1, 1);
	check(SetInitialAPState, "takes a state at any alignment (pitfall 13)", 95, block[95]);
	VMI(SetInitialAPState, (u32)first_page + 4050, 0xff);
	check(SetInitialAPState, "of a processor that does not exist starts nothing", FIRST, first_page[0]);
}

void check_memory(void)
{
	check_allocation();
	check_entries();
	check_deferral();
	check_address_spaces();
	check_release();
	check_linear_mapping();
	check_translation();
	check_initial_state();
}
