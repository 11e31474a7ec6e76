/* The processor: identification, GDT, TSS, SYSENTER. */
#include <asm/desc.h>
#include <asm/pgtable.h>
#include <asm/processor.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/sched.h>

struct cpuinfo_x86 boot_cpu_data;
u32 cpu_features_disabled;

/* Page aligned and alone on their pages: a monitor may watch loaded tables. */
struct desc_struct gdt_table[GDT_ENTRIES]
	__attribute__((section(".data.page_aligned"), aligned(PAGE_SIZE))) = {
	/* Flat, accessed: the processor has no reason to write to them. */
	[GDT_ENTRY_KERNEL_CS] = { 0x0000ffff, 0x00cf9b00 },
	[GDT_ENTRY_KERNEL_DS] = { 0x0000ffff, 0x00cf9300 },
	[GDT_ENTRY_USER_CS] = { 0x0000ffff, 0x00cffb00 },
	[GDT_ENTRY_USER_DS] = { 0x0000ffff, 0x00cff300 },
};

struct tss_struct init_tss __attribute__((section(".data.page_aligned"), aligned(PAGE_SIZE))) = {
	.ss0 = __KERNEL_DS,
	.io_bitmap_base = sizeof(struct tss_struct), /* beyond the limit: no port is open to user mode */
};

void sysenter_entry(void);

void identify_cpu(void)
{
	struct cpuinfo_x86 *c = &boot_cpu_data;
	u32 eax = 0, ebx, ecx = 0, edx, leaf;
	u32 *brand = (u32 *)c->brand;

	pv_cpu_ops.cpuid(&eax, &ebx, &ecx, &edx);
	c->level = eax;
	memcpy(c->vendor, &ebx, 4);
	memcpy(c->vendor + 4, &edx, 4);
	memcpy(c->vendor + 8, &ecx, 4);
	eax = 1, ecx = 0;
	pv_cpu_ops.cpuid(&eax, &ebx, &ecx, &edx);
	c->signature = eax;
	c->features = edx & ~cpu_features_disabled;
	eax = 0x80000000, ecx = 0;
	pv_cpu_ops.cpuid(&eax, &ebx, &ecx, &edx);
	if (eax >= 0x80000004) {
		for (leaf = 0x80000002; leaf <= 0x80000004; leaf++, brand += 4) {
			eax = leaf, ecx = 0;
			pv_cpu_ops.cpuid(&eax, &ebx, &ecx, &edx);
			brand[0] = eax, brand[1] = ebx, brand[2] = ecx, brand[3] = edx;
		}
	}
	if (!(c->features & X86_FEATURE_TSC) || !(c->features & X86_FEATURE_CMOV))
		panic("This kernel needs a processor with TSC and CMOV.");
}

/* The kernel's own GDT, before anything probes for a hypervisor: Init takes over whatever is loaded. */
void early_cpu_init(void)
{
	struct desc_ptr gdt = { sizeof(gdt_table) - 1, (u32)gdt_table };

	pv_cpu_ops.load_gdt(&gdt);
	/* Reload every segment from the new table. CS: a far return with the RPL that the kernel has. */
	__asm__ volatile("movl %%cs, %%eax\n\t"
			 "andl $3, %%eax\n\t"
			 "orl %0, %%eax\n\t"
			 "pushl %%eax\n\t"
			 "pushl $1f\n\t"
			 "lret\n"
			 "1:\n\t"
			 "movl %1, %%ds\n\t"
			 "movl %1, %%es\n\t"
			 "movl %2, %%fs\n\t"
			 "movl %2, %%gs\n\t"
			 "movl %3, %%ss"
			 : : "i"(__KERNEL_CS), "r"(__USER_DS), "r"(0), "r"(__KERNEL_DS) : "eax", "memory");
}

void cpu_init(void)
{
	u32 base = (u32)&init_tss, limit = sizeof(init_tss) - 1;
	u32 low = (base << 16) | limit, high = (base & 0xff000000) | 0x8900 | ((base >> 16) & 0xff);

	pv_cpu_ops.write_gdt_entry(gdt_table, GDT_ENTRY_TSS, low, high);
	pv_cpu_ops.load_tr();
	pv_cpu_ops.load_ldt_none();
	pv_cpu_ops.load_sp0(current->thread.esp0);
}

extern const char vsyscall_sysenter_start[], vsyscall_sysenter_end[], vsyscall_int80_start[], vsyscall_int80_end[];
extern const char vsyscall_sigreturn_start[], vsyscall_sigreturn_end[];
/* Chosen by `syscall=`; NULL: the best that works. */
const char *syscall_option;
u32 vsyscall_pfn;

/*
 * Fills the vsyscall page. SYSENTER always enters CPL 0 (Intel SDM vol. 2B), so a kernel at another level has to stay with
 * INT 0x80, whose gate may lead to its own level.
 */
void syscall_entry_init(void)
{
	int possible = (boot_cpu_data.features & X86_FEATURE_SEP) && pv_info.kernel_rpl == 0;
	int sysenter = possible && !(syscall_option && !strcmp(syscall_option, "int80"));
	char *page;

	vsyscall_pfn = alloc_zeroed_page();
	page = __va(vsyscall_pfn << PAGE_SHIFT);
	if (sysenter) {
		wrmsr(MSR_IA32_SYSENTER_CS, __KERNEL_CS, 0);
		wrmsr(MSR_IA32_SYSENTER_ESP, (u32)&init_tss, 0);
		wrmsr(MSR_IA32_SYSENTER_EIP, (u32)sysenter_entry, 0);
		memcpy(page, vsyscall_sysenter_start, vsyscall_sysenter_end - vsyscall_sysenter_start);
	} else {
		memcpy(page, vsyscall_int80_start, vsyscall_int80_end - vsyscall_int80_start);
	}
	memcpy(page + 0x400, vsyscall_sigreturn_start, vsyscall_sigreturn_end - vsyscall_sigreturn_start);
	printk("vsyscall: system calls enter by %s\n", sysenter ? "sysenter" : "int80");
}
