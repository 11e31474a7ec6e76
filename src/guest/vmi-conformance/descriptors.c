/* Descriptor tables and what follows from them for live segment registers: calls 3..14. */
#include "guest.h"

extern u8 code_int3[], code_int42[], trap_66[];

#define LDT_ENTRY 17
#define OTHER_TSS_ENTRY 18
#define TLS_SELECTOR (TLS_ENTRY << 3 | 3)
#define DATA_DPL3 0xf3u
#define LDT_TYPE 0x82u
#define TSS_TYPE 0x89u
/* An LDT where no linear mapping holds (pitfall 16). */
#define FAR_LDT 0xe0000000u

struct descriptor { u32 low, high; };
struct pointer {
	u16 limit;
	u32 base;
} __attribute__((packed));

static u32 first_word = 0x11111111, second_word = 0x22222222, third_word = 0x33333333;
static u32 ldt[1024] __attribute__((aligned(4096)));
static u32 far_table[1024] __attribute__((aligned(4096)));
static u32 tss[26], other_tss[26];

static struct descriptor descriptor(const void *base, u32 limit, u32 access)
{
	u32 at = (u32)base;

	return (struct descriptor){ at << 16 | (limit & 0xffff),
				    (at & 0xff000000) | (access & 0x10 ? 0x400000 : 0) | (limit & 0xf0000) | access << 8 | (at >> 16 & 0xff) };
}

static void put(u32 *table, u32 entry, struct descriptor value)
{
	table[2 * entry] = value.low;
	table[2 * entry + 1] = value.high;
}

static void write_entry(u32 call, u32 *table, u32 entry, struct descriptor value)
{
	VMI(call, (u32)table, entry, value.low, value.high);
}

static void check_gdt(void)
{
	struct pointer other = { 255, (u32)other_gdt }, first = { 255, (u32)gdt }, found = { 0, 0 };

	VMI(GetGDT, (u32)&found);
	check(GetGDT, "base that was there before Init", (u32)gdt, found.base);
	check(GetGDT, "limit", 255, found.limit);

	write_entry(WriteGDTEntry, gdt, TLS_ENTRY, descriptor(&first_word, 0xfff, DATA_DPL3));
	check(WriteGDTEntry, "stores the low word", (u32)&first_word << 16 | 0xfff, gdt[2 * TLS_ENTRY]);
	set_gs(TLS_SELECTOR);
	check(WriteGDTEntry, "describes a segment", first_word, load_gs());
	write_entry(WriteGDTEntry, gdt, TLS_ENTRY, descriptor(&second_word, 0xfff, DATA_DPL3));
	check(WriteGDTEntry, "of a live register reloads it", second_word, load_gs());

	/* A table is filled by direct stores before it is loaded. */
	for (u32 i = 0; i < 64; i++)
		other_gdt[i] = gdt[i];
	write_entry(WriteGDTEntry, other_gdt, TLS_ENTRY, descriptor(&third_word, 0xfff, DATA_DPL3));
	check(WriteGDTEntry, "in another table changes that one (pitfall 15)", (u32)&third_word << 16 | 0xfff,
	      other_gdt[2 * TLS_ENTRY]);
	check(WriteGDTEntry, "in another table leaves the loaded one alone (pitfall 15)", second_word, load_gs());
	VMI(SetGDT, (u32)&other);
	check(SetGDT, "takes a whole table that was filled by direct stores (pitfall 17)", third_word, load_gs());
	VMI(GetGDT, (u32)&found);
	check(GetGDT, "base that SetGDT loaded", (u32)other_gdt, found.base);

	put(gdt, TLS_ENTRY, (struct descriptor){ 0, 0 });
	VMI(SetGDT, (u32)&first);
	check(SetGDT, "makes a register null whose descriptor is gone", 0, gs_selector());
}

static void check_ldt(void)
{
	static const u32 selector = 1 << 3 | 7;
	u32 *far_ldt = (u32 *)FAR_LDT;

	far_table[0] = physical(ldt) | PTE_KERNEL;
	VMI(SetPxE, physical(far_table) | PTE_KERNEL, (u32)&boot_directory[FAR_LDT >> 22], 2);
	write_entry(WriteGDTEntry, gdt, LDT_ENTRY, descriptor(far_ldt, 31, LDT_TYPE));
	VMI(SetLDT, LDT_SELECTOR);
	check(GetLDT, "is what SetLDT loaded", LDT_SELECTOR, VMI(GetLDT));
	write_entry(WriteLDTEntry, far_ldt, 1, descriptor(&first_word, 0xfff, DATA_DPL3));
	set_gs(selector);
	check(WriteLDTEntry, "in a table outside the linear mapping describes a segment (pitfall 16)", first_word, load_gs());
	write_entry(WriteLDTEntry, far_ldt, 1, descriptor(&second_word, 0xfff, DATA_DPL3));
	check(WriteLDTEntry, "of a live register reloads it", second_word, load_gs());
	write_entry(WriteIDTEntry, far_ldt, 1, descriptor(&third_word, 0xfff, DATA_DPL3));
	check(WriteIDTEntry, "that is given an LDT changes that one (pitfall 15)", third_word, load_gs());
	VMI(SetLDT, 0);
	check(SetLDT, "0 takes the table away", 0, VMI(GetLDT));
	check(SetLDT, "0 makes registers null that were of the table", 0, gs_selector());
}

static void check_idt(void)
{
	struct pointer other = { sizeof other_idt - 1, (u32)other_idt }, first = { sizeof idt - 1, (u32)idt }, found;

	expect_trap();
	run_code(code_int3, 0, 0, 0, 0);
	check(Init, "took the interrupt table over", 3, trapped.vector);
	VMI(SetIDT, (u32)&other);
	expect_trap();
	run_code(code_int3, 0, 0, 0, 0);
	check(SetIDT, "loads another table", 259, trapped.vector);
	VMI(GetIDT, (u32)&found);
	check(GetIDT, "base", (u32)other_idt, found.base);
	check(GetIDT, "limit", sizeof other_idt - 1, found.limit);
	VMI(SetIDT, (u32)&first);

	set_gate(other_idt, 0x42, trap_66, 0x6e00);
	write_entry(WriteIDTEntry, idt, 0x42, (struct descriptor){ other_idt[0x84], other_idt[0x85] });
	expect_trap();
	run_code(code_int42, 0, 0, 0, 0);
	check(WriteIDTEntry, "opens a gate", 0x42, trapped.vector);
	check(WriteIDTEntry, "whose frame has the kernel's selector", KERNEL_CS | kernel_rpl, trapped.cs);
}

static void check_task_register(void)
{
	/* Unset when Init was called. */
	check(GetTR, "is null as before Init", 0, VMI(GetTR));
	tss[1] = other_tss[1] = site_stack;
	tss[2] = other_tss[2] = KERNEL_DS;
	write_entry(WriteGDTEntry, gdt, OTHER_TSS_ENTRY, descriptor(other_tss, sizeof other_tss - 1, TSS_TYPE));
	write_entry(WriteGDTEntry, gdt, TSS_SELECTOR >> 3, descriptor(tss, sizeof tss - 1, TSS_TYPE));
	VMI(SetTR, OTHER_TSS_ENTRY << 3);
	check(GetTR, "is what SetTR loaded", OTHER_TSS_ENTRY << 3, VMI(GetTR));
	check(SetTR, "marks the segment as busy", 0x8b00, gdt[2 * OTHER_TSS_ENTRY + 1] & 0xff00);
	VMI(SetTR, TSS_SELECTOR);
	check(SetTR, "loads another", TSS_SELECTOR, VMI(GetTR));
}

/* ABI 5.2: no segment reaches into the hole. */
static void check_limits(void)
{
	u32 top = *(volatile u32 *)(rom_base + 0x10), limit = 0;
	extern u8 code_load[];

	if (!top)
		return;
	__asm__ volatile("lsl %1, %0" : "=r"(limit) : "r"(USER_DS) : "cc");
	check_true(ROM, "the hole is cut off from user segments (pitfall 25)", limit < 0xffffffff);
	expect_trap();
	run_code(code_load, 0, top + 0x100000, 0, 0);
	check(ROM, "the hole is closed to the kernel (pitfall 25)", 1, trapped.taken);
}

void check_descriptors(void)
{
	check_gdt();
	check_ldt();
	check_idt();
	check_task_register();
	check_limits();
}
