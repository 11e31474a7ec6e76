/*
 * Native versions of the paravirtual operations, and the patcher of call sites. A kernel without a hypervisor ends up with
 * the very instructions it would have had without all this.
 */
#include <asm/desc.h>
#include <asm/irqflags.h>
#include <asm/pgtable.h>
#include <asm/processor.h>
#include <linux/kernel.h>
#include <linux/time.h>

extern const struct paravirt_patch_site __parainstructions[], __parainstructions_end[];
void native_iret(void);
void native_irq_enable_sysexit(void);

void paravirt_nop(void) {}

static void native_irq_disable(void) { __asm__ volatile("cli" : : : "memory"); }
static void native_irq_enable(void) { __asm__ volatile("sti" : : : "memory"); }
static void native_safe_halt(void) { __asm__ volatile("sti; hlt" : : : "memory"); }
static void native_halt(void) { __asm__ volatile("hlt" : : : "memory"); }

static u32 native_save_fl(void)
{
	u32 flags;

	__asm__ volatile("pushfl; popl %0" : "=r"(flags));
	return flags;
}

static void native_restore_fl(u32 flags)
{
	__asm__ volatile("pushl %0; popfl" : : "r"(flags) : "memory", "cc");
}

static void native_cpuid(u32 *eax, u32 *ebx, u32 *ecx, u32 *edx)
{
	__asm__ volatile("cpuid" : "+a"(*eax), "=b"(*ebx), "+c"(*ecx), "=d"(*edx));
}

static u64 native_read_tsc(void)
{
	u64 value;

	__asm__ volatile("rdtsc" : "=A"(value));
	return value;
}

#define READ_REGISTER(name, reg)                                        \
	static u32 native_read_##name(void)                             \
	{                                                               \
		u32 value;                                              \
		__asm__ volatile("movl %%" reg ", %0" : "=r"(value));   \
		return value;                                           \
	}
#define WRITE_REGISTER(name, reg)                                       \
	static void native_write_##name(u32 value)                      \
	{                                                               \
		__asm__ volatile("movl %0, %%" reg : : "r"(value) : "memory"); \
	}

READ_REGISTER(cr0, "cr0")
READ_REGISTER(cr2, "cr2")
READ_REGISTER(cr3, "cr3")
READ_REGISTER(cr4, "cr4")
WRITE_REGISTER(cr0, "cr0")
WRITE_REGISTER(cr3, "cr3")
WRITE_REGISTER(cr4, "cr4")

static void native_load_gdt(const struct desc_ptr *ptr) { __asm__ volatile("lgdt %0" : : "m"(*ptr)); }
static void native_load_idt(const struct desc_ptr *ptr) { __asm__ volatile("lidt %0" : : "m"(*ptr)); }
static void native_load_tr(void) { __asm__ volatile("ltr %w0" : : "q"(SELECTOR_TSS)); }
static void native_load_ldt_none(void) { __asm__ volatile("lldt %w0" : : "q"(0)); }

static void native_write_desc(struct desc_struct *table, u32 entry, u32 low, u32 high)
{
	table[entry].low = low;
	table[entry].high = high;
}

static void native_load_sp0(u32 esp0) { init_tss.esp0 = esp0; }

static void native_flush_tlb_user(void) { native_write_cr3(native_read_cr3()); }

/* Global entries survive a CR3 load: switch the feature off and on (Intel SDM vol. 3A, 4.10.4.1). */
static void native_flush_tlb_kernel(void)
{
	u32 cr4 = native_read_cr4();

	if (cr4 & X86_CR4_PGE) {
		native_write_cr4(cr4 & ~X86_CR4_PGE);
		native_write_cr4(cr4);
	} else {
		native_flush_tlb_user();
	}
}

static void native_flush_tlb_single(u32 address)
{
	__asm__ volatile("invlpg (%0)" : : "r"(address) : "memory");
}

static void native_set_pte(u32 *ptep, u32 value) { *(volatile u32 *)ptep = value; }

static void native_set_pte_at(struct mm_struct *mm, u32 address, u32 *ptep, u32 value)
{
	(void)mm, (void)address;
	*(volatile u32 *)ptep = value;
}

static void native_pte_update(struct mm_struct *mm, u32 address, u32 *ptep) { (void)mm, (void)address, (void)ptep; }
static void native_page_note(u32 pfn) { (void)pfn; }
static void native_alloc_pd_clone(u32 pfn, u32 template_pfn, u32 start, u32 count)
{
	(void)pfn, (void)template_pfn, (void)start, (void)count;
}

struct pv_info pv_info = { .name = "bare hardware" };

struct pv_cpu_ops pv_cpu_ops = {
	.iret = native_iret,
	.irq_enable_sysexit = native_irq_enable_sysexit,
	.cpuid = native_cpuid,
	.read_tsc = native_read_tsc,
	.read_cr0 = native_read_cr0,
	.write_cr0 = native_write_cr0,
	.read_cr4 = native_read_cr4,
	.write_cr4 = native_write_cr4,
	.load_gdt = native_load_gdt,
	.load_idt = native_load_idt,
	.load_tr = native_load_tr,
	.load_ldt_none = native_load_ldt_none,
	.write_gdt_entry = native_write_desc,
	.write_idt_entry = native_write_desc,
	.load_sp0 = native_load_sp0,
	.enter_lazy = paravirt_nop,
	.leave_lazy = paravirt_nop,
};

struct pv_irq_ops pv_irq_ops = {
	.irq_disable = native_irq_disable,
	.irq_enable = native_irq_enable,
	.save_fl = native_save_fl,
	.restore_fl = native_restore_fl,
	.safe_halt = native_safe_halt,
	.halt = native_halt,
};

struct pv_mmu_ops pv_mmu_ops = {
	.read_cr2 = native_read_cr2,
	.read_cr3 = native_read_cr3,
	.write_cr3 = native_write_cr3,
	.flush_tlb_user = native_flush_tlb_user,
	.flush_tlb_kernel = native_flush_tlb_kernel,
	.flush_tlb_single = native_flush_tlb_single,
	.alloc_pt = native_page_note,
	.alloc_pd = native_page_note,
	.alloc_pd_clone = native_alloc_pd_clone,
	.release_pt = native_page_note,
	.release_pd = native_page_note,
	.set_pte = native_set_pte,
	.set_pte_at = native_set_pte_at,
	.set_pmd = native_set_pte,
	.pte_update = native_pte_update,
	.pte_update_defer = native_pte_update,
	.enter_lazy = paravirt_nop,
	.leave_lazy = paravirt_nop,
};

u32 native_patch(u32 op, u8 *insns)
{
	static const struct {
		u8 length, bytes[4];
	} forms[PV_PATCHED_OPS] = {
		[PV_IRQ_DISABLE] = { 1, { 0xfa } },                            /* cli */
		[PV_IRQ_ENABLE] = { 1, { 0xfb } },                             /* sti */
		[PV_SAVE_FL] = { 2, { 0x9c, 0x58 } },                          /* pushf; pop eax */
		[PV_RESTORE_FL] = { 2, { 0x50, 0x9d } },                       /* push eax; popf */
		[PV_IRET] = { 1, { 0xcf } },                                   /* iret */
		[PV_IRQ_ENABLE_SYSEXIT] = { 3, { 0xfb, 0x0f, 0x35 } },         /* sti; sysexit: nothing may stand between */
	};

	memcpy(insns, forms[op].bytes, forms[op].length);
	return forms[op].length;
}

/* One-instruction fillers of 1..7 bytes (LEA of a register to itself), so that padding costs as little as it can. */
static void fill_nops(u8 *at, u32 bytes)
{
	static const u8 nops[8][7] = {
		{ 0 },
		{ 0x90 },
		{ 0x89, 0xf6 },
		{ 0x8d, 0x76, 0x00 },
		{ 0x8d, 0x74, 0x26, 0x00 },
		{ 0x90, 0x8d, 0x74, 0x26, 0x00 },
		{ 0x8d, 0xb6, 0, 0, 0, 0 },
		{ 0x8d, 0xb4, 0x26, 0, 0, 0, 0 },
	};

	while (bytes) {
		u32 n = min_u32(bytes, 7);

		memcpy(at, nops[n], n);
		at += n;
		bytes -= n;
	}
}

/*
 * Called with interrupts off on the only processor, before anything runs that could be half patched. A far or serializing
 * instruction follows before the sites are used: CPUID here (Intel SDM vol. 3A, 8.1.3).
 */
void apply_paravirt(u32 (*patch)(u32 op, u8 *insns, u32 address, u32 length))
{
	const struct paravirt_patch_site *site;
	u32 eax = 0, ebx, ecx = 0, edx;

	for (site = __parainstructions; site < __parainstructions_end; site++) {
		u8 insns[16];
		u32 used;

		memcpy(insns, (void *)site->address, site->length);
		used = patch(site->op, insns, site->address, site->length);
		fill_nops(insns + used, site->length - used);
		memcpy((void *)site->address, insns, site->length);
	}
	pv_cpu_ops.cpuid(&eax, &ebx, &ecx, &edx);
}

static u32 patch_native_site(u32 op, u8 *insns, u32 address, u32 length)
{
	(void)address, (void)length;
	return native_patch(op, insns);
}

void paravirt_patch_native(void)
{
	apply_paravirt(patch_native_site);
}
