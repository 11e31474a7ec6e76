/* CPUID, model-specific, control and debug registers, counters: calls 0..2, 15..28. */
#include "guest.h"

extern u8 code_cr0[], code_cr4[], code_rdmsr[], code_rdpmc[], code_load[];

#define GENERAL_PROTECTION 13
#define PAGE_FAULT 14
#define CR0_TS 8u
#define MSR_SYSENTER_ESP 0x175
#define MSR_NONE 0x12345678

static void check_cpuid(void)
{
	static const u32 leaves[] = { 0, 1, 0x80000000 };
	u32 different = 0;

	for (u32 i = 0; i < 3; i++) {
		u32 eax = leaves[i], ebx, ecx = 0, edx;

		__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
		VMI(CPUID, leaves[i]);
		different += io.eax != eax || io.ebx != ebx || io.ecx != ecx || io.edx != edx;
	}
	check(CPUID, "answers in four registers what the instruction does", 0, different);
}

static void check_msrs(void)
{
	VMI(WRMSR, 0x13572468, 0, MSR_SYSENTER_ESP);
	VMI(RDMSR, 0, 0, MSR_SYSENTER_ESP);
	check(RDMSR, "reads what WRMSR wrote", 0x13572468, io.eax);
	check(RDMSR, "high word", 0, io.edx);
	run_code(code_rdmsr, 0, 0, MSR_SYSENTER_ESP, 0);
	check(WRMSR, "writes what the instruction reads", 0x13572468, io.eax);
	expect_trap();
	VMI(RDMSR, 0, 0, MSR_NONE);
	check(RDMSR, "of a register that does not exist is #GP", GENERAL_PROTECTION, trapped.vector);
	expect_trap();
	VMI(WRMSR, 0, 0, MSR_NONE);
	check(WRMSR, "of a register that does not exist is #GP", GENERAL_PROTECTION, trapped.vector);
}

static void check_control_registers(void)
{
	u32 cr0 = VMI(GetCR0), cr4 = VMI(GetCR4), cr3 = VMI(GetCR3);

	check(GetCR0, "has PG, WP and PE", 0x80010001, cr0 & 0x80010001);
	check(GetCR3, "is the directory", boot_cr3, cr3 & ~0xfffu);
	check(GetCR4, "has PSE and PGE, and PAE where it is in use", boot_cr4, cr4);
	VMI(SetCR0, cr0 | CR0_TS);
	check(SetCR0, "sets TS", cr0 | CR0_TS, VMI(GetCR0));
	run_code(code_cr0, 0, 0, 0, 0);
	check(GetCR0, "is what the instruction reads", cr0 | CR0_TS, io.eax);
	VMI(CLTS);
	check(CLTS, "clears TS", cr0 & ~CR0_TS, VMI(GetCR0));
	VMI(SetCR2, 0xabcdef01);
	check(SetCR2, "stores", 0xabcdef01, VMI(GetCR2));
	expect_trap();
	run_code(code_load, 0, 0x70000123, 0, 0);
	check(GetCR2, "is the address of a page fault", 0x70000123, VMI(GetCR2));
	check(GetCR2, "of which the vector is 14", PAGE_FAULT, trapped.vector);
	VMI(SetCR3, cr3);
	check(SetCR3, "loads", cr3, VMI(GetCR3));
	VMI(SetCR4, cr4 & ~CR4_PGE);
	check(SetCR4, "turns PGE off", cr4 & ~CR4_PGE, VMI(GetCR4));
	VMI(SetCR4, cr4);
	check(SetCR4, "turns PGE on", cr4, VMI(GetCR4));
	run_code(code_cr4, 0, 0, 0, 0);
	check(GetCR4, "is what the instruction reads, as read_cr4_safe does", cr4, io.eax);
	if (offered(SetPxELong))
		return;
	expect_trap();
	VMI(SetCR4, cr4 | CR4_PAE);
	check(SetCR4, "with PAE is #GP where PAE is not offered", GENERAL_PROTECTION, trapped.vector);
	check(SetCR4, "that faults changes nothing", cr4, VMI(GetCR4));
}

static void check_debug_registers(void)
{
	u32 value;

	for (u32 i = 0; i < 4; i++)
		VMI(SetDR, i, KERNEL + 0x1000 * i);
	check(GetDR, "reads DR3", KERNEL + 0x3000, VMI(GetDR, 3));
	__asm__ volatile("movl %%dr2, %0" : "=r"(value));
	check(SetDR, "writes what the instruction reads", KERNEL + 0x2000, value);
	VMI(SetDR, 7, 0x400);
	check(GetDR, "reads DR7", 0x400, VMI(GetDR, 7));
	VMI(SetDR, 6, 0);
	check(GetDR, "reads DR6 without conditions", 0, VMI(GetDR, 6) & 0xe00f);
}

static void check_counters(void)
{
	u64 before = rdtsc(), between, after;

	VMI(RDTSC);
	between = long_result();
	after = rdtsc();
	check_true(RDTSC, "lies between two readings of the instruction", before < between && between < after);
	/* A processor without counters raises #GP, and so does whoever leaves the instruction in place. */
	expect_trap();
	if (offered(RDPMC))
		VMI(RDPMC, 0, 0, ~0u);
	else
		run_code(code_rdpmc, 0, 0, ~0u, 0);
	check(RDPMC, "of a counter that does not exist is #GP", GENERAL_PROTECTION, trapped.vector);
}

void check_processor(void)
{
	check_cpuid();
	check_msrs();
	check_control_registers();
	check_debug_registers();
	check_counters();
	VMI(WBINVD);
}
