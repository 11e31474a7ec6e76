/*
 * Guest side of the Virtual Machine Interface, API 3.0.
 *
 * 1. Look for a ROM in physical 0xC0000..0xDFFFF, every 2 KiB, and check it (ABI 1.5).
 * 2. Interrupts off; call its Init. On success the kernel may run at another privilege level: CS tells.
 * 3. Ask GetRelocationInfo for every operation that is used here, and fill the operations tables.
 * 4. Poison iret and sysexit, then patch every recorded call site.
 * 5. SetLinearMapping, interrupts as they were.
 *
 * Any failed check leaves the kernel native, with a line in the log and no other effect but the hole in the address space.
 */
#include <asm/desc.h>
#include <asm/irqflags.h>
#include <asm/pgtable.h>
#include <asm/vmi.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/sched.h>

static const struct vmi_rom_header *vmi_rom;

static struct {
	void (*cpuid)(void);
	void (*set_tr)(u32 selector);
	void (*set_ldt)(u32 selector);
	void (*update_kernel_stack)(u32 selector, u32 esp0);
	void (*set_pxe)(u32 entry, u32 *at, u32 flags);
	void (*update_pxe)(u32 *at, u32 flags);
	void (*allocate_page)(u32 pfn, u32 flags, u32 template_pfn, u32 start, u32 count);
	void (*release_page)(u32 pfn, u32 flags);
	void (*flush_tlb)(u32 flags);
	void (*set_linear_mapping)(u32 slot, u32 va, u32 pages, u32 pfn);
	void (*set_lazy_mode)(u32 mode);
} vmi_ops;

/* GetRelocationInfo: EDX:EAX = { eip u32, type u8, 0 }. */
static u32 vmi_relocation(enum vmi_call call, u32 *type)
{
	u64 (*get_reloc)(u32) = (u64(*)(u32))(u32)vmi_rom->get_reloc;
	u64 info = get_reloc(call);

	*type = (u32)(info >> 32) & 0xff;
	return (u32)info;
}

u32 vmi_call_address(enum vmi_call call)
{
	u32 type, eip = vmi_relocation(call, &type);

	if (type == VMI_RELOCATION_CALL_REL)
		return eip;
	if (type != VMI_RELOCATION_NONE && type != VMI_RELOCATION_NOP)
		panic("VMI: jump offered for call %u", call);
	return 0;
}

/* "Fill" binding (ABI 3.1): the pointer becomes the ROM's address; NOP becomes an empty function. */
static void vmi_fill(enum vmi_call call, void *pointer)
{
	u32 type, eip = vmi_relocation(call, &type);

	if (type == VMI_RELOCATION_CALL_REL)
		*(u32 *)pointer = eip;
	else if (type == VMI_RELOCATION_NOP)
		*(u32 *)pointer = (u32)paravirt_nop;
	else if (type != VMI_RELOCATION_NONE)
		printk("VMI: Unknown relocation type %u for call %u\n", type, call);
}

static void vmi_cpuid(u32 *eax, u32 *ebx, u32 *ecx, u32 *edx)
{
	u32 leaf = *eax;

	__asm__ volatile("call *%6"
			 : "=a"(*eax), "=b"(*ebx), "=c"(*ecx), "=d"(*edx)
			 : "0"(*eax), "2"(*ecx), "m"(vmi_ops.cpuid)
			 : "cc");
	if (leaf == 1)
		*edx &= ~cpu_features_disabled;
}

static void vmi_load_tr(void) { vmi_ops.set_tr(SELECTOR_TSS); }
static void vmi_load_ldt_none(void) { vmi_ops.set_ldt(0); }

static void vmi_load_sp0(u32 esp0)
{
	init_tss.esp0 = esp0;
	vmi_ops.update_kernel_stack(__KERNEL_DS, esp0);
}

static void vmi_flush_tlb_user(void) { vmi_ops.flush_tlb(VMI_FLUSH_TLB); }
static void vmi_flush_tlb_kernel(void) { vmi_ops.flush_tlb(VMI_FLUSH_TLB | VMI_FLUSH_GLOBAL); }

static void vmi_alloc_pt(u32 pfn) { vmi_ops.allocate_page(pfn, VMI_PAGE_PT | VMI_PAGE_ZEROED, 0, 0, 0); }
static void vmi_alloc_pd(u32 pfn) { vmi_ops.allocate_page(pfn, VMI_PAGE_PD | VMI_PAGE_ZEROED, 0, 0, 0); }
static void vmi_release_pt(u32 pfn) { vmi_ops.release_page(pfn, VMI_PAGE_PT | VMI_PAGE_ZEROED); }
static void vmi_release_pd(u32 pfn) { vmi_ops.release_page(pfn, VMI_PAGE_PD | VMI_PAGE_ZEROED); }

static void vmi_alloc_pd_clone(u32 pfn, u32 template_pfn, u32 start, u32 count)
{
	vmi_ops.allocate_page(pfn, VMI_PAGE_PD | VMI_PAGE_ZEROED | VMI_PAGE_CLONE, template_pfn, start, count);
}

/* Level, and the address when the entry belongs to the address space in use (ABI 4.2, 4.3). */
static u32 pte_flags(struct mm_struct *mm, u32 address)
{
	if (current_task->active_mm == mm)
		return VMI_PAGE_PT | VMI_PAGE_CURRENT_AS | (address & VMI_PAGE_VA_MASK);
	return VMI_PAGE_PT;
}

static void vmi_set_pte(u32 *ptep, u32 value) { vmi_ops.set_pxe(value, ptep, VMI_PAGE_PT); }
static void vmi_set_pmd(u32 *pmdp, u32 value) { vmi_ops.set_pxe(value, pmdp, VMI_PAGE_PD); }

static void vmi_set_pte_at(struct mm_struct *mm, u32 address, u32 *ptep, u32 value)
{
	vmi_ops.set_pxe(value, ptep, pte_flags(mm, address));
}

static void vmi_pte_update(struct mm_struct *mm, u32 address, u32 *ptep)
{
	vmi_ops.update_pxe(ptep, pte_flags(mm, address));
}

static void vmi_pte_update_defer(struct mm_struct *mm, u32 address, u32 *ptep)
{
	vmi_ops.update_pxe(ptep, pte_flags(mm, address) | VMI_PAGE_DEFER);
}

static void vmi_enter_lazy_mmu(void) { vmi_ops.set_lazy_mode(VMI_LAZY_MMU); }
static void vmi_enter_lazy_cpu(void) { vmi_ops.set_lazy_mode(VMI_LAZY_CPU); }
static void vmi_leave_lazy(void) { vmi_ops.set_lazy_mode(VMI_LAZY_NONE); }

/* "Get" binding: the address or nothing. */
#define VMI_GET(field, call) (*(u32 *)&vmi_ops.field = vmi_call_address(call))
/* "Wrap" binding: the wrapper goes in only if there is ROM code behind it. */
#define VMI_WRAP(op, wrapper, field, call)                               \
	do {                                                              \
		if (VMI_GET(field, call))                                 \
			op = wrapper;                                     \
	} while (0)

static void vmi_bind_cpu(void)
{
	VMI_WRAP(pv_cpu_ops.cpuid, vmi_cpuid, cpuid, VMI_CALL_CPUID);
	vmi_fill(VMI_CALL_RDTSC, &pv_cpu_ops.read_tsc);
	vmi_fill(VMI_CALL_GetCR0, &pv_cpu_ops.read_cr0);
	vmi_fill(VMI_CALL_SetCR0, &pv_cpu_ops.write_cr0);
	vmi_fill(VMI_CALL_GetCR4, &pv_cpu_ops.read_cr4);
	vmi_fill(VMI_CALL_SetCR4, &pv_cpu_ops.write_cr4);
	vmi_fill(VMI_CALL_SetGDT, &pv_cpu_ops.load_gdt);
	vmi_fill(VMI_CALL_SetIDT, &pv_cpu_ops.load_idt);
	VMI_WRAP(pv_cpu_ops.load_tr, vmi_load_tr, set_tr, VMI_CALL_SetTR);
	VMI_WRAP(pv_cpu_ops.load_ldt_none, vmi_load_ldt_none, set_ldt, VMI_CALL_SetLDT);
	vmi_fill(VMI_CALL_WriteGDTEntry, &pv_cpu_ops.write_gdt_entry);
	vmi_fill(VMI_CALL_WriteIDTEntry, &pv_cpu_ops.write_idt_entry);
	VMI_WRAP(pv_cpu_ops.load_sp0, vmi_load_sp0, update_kernel_stack, VMI_CALL_UpdateKernelStack);
	vmi_fill(VMI_CALL_DisableInterrupts, &pv_irq_ops.irq_disable);
	vmi_fill(VMI_CALL_EnableInterrupts, &pv_irq_ops.irq_enable);
	vmi_fill(VMI_CALL_GetInterruptMask, &pv_irq_ops.save_fl);
	vmi_fill(VMI_CALL_SetInterruptMask, &pv_irq_ops.restore_fl);
	vmi_fill(VMI_CALL_Halt, &pv_irq_ops.safe_halt);
	vmi_fill(VMI_CALL_Shutdown, &pv_irq_ops.halt);
}

static void vmi_bind_mmu(void)
{
	vmi_fill(VMI_CALL_GetCR2, &pv_mmu_ops.read_cr2);
	vmi_fill(VMI_CALL_GetCR3, &pv_mmu_ops.read_cr3);
	vmi_fill(VMI_CALL_SetCR3, &pv_mmu_ops.write_cr3);
	vmi_fill(VMI_CALL_InvalPage, &pv_mmu_ops.flush_tlb_single);
	if (VMI_GET(flush_tlb, VMI_CALL_FlushTLB)) {
		pv_mmu_ops.flush_tlb_user = vmi_flush_tlb_user;
		pv_mmu_ops.flush_tlb_kernel = vmi_flush_tlb_kernel;
	}
	if (VMI_GET(set_pxe, VMI_CALL_SetPxE)) {
		pv_mmu_ops.set_pte = vmi_set_pte;
		pv_mmu_ops.set_pte_at = vmi_set_pte_at;
		pv_mmu_ops.set_pmd = vmi_set_pmd;
	}
	if (VMI_GET(update_pxe, VMI_CALL_UpdatePxE)) {
		pv_mmu_ops.pte_update = vmi_pte_update;
		pv_mmu_ops.pte_update_defer = vmi_pte_update_defer;
	}
	if (VMI_GET(allocate_page, VMI_CALL_AllocatePage)) {
		pv_mmu_ops.alloc_pt = vmi_alloc_pt;
		pv_mmu_ops.alloc_pd = vmi_alloc_pd;
		pv_mmu_ops.alloc_pd_clone = vmi_alloc_pd_clone;
	}
	if (VMI_GET(release_page, VMI_CALL_ReleasePage)) {
		pv_mmu_ops.release_pt = vmi_release_pt;
		pv_mmu_ops.release_pd = vmi_release_pd;
	}
	if (VMI_GET(set_lazy_mode, VMI_CALL_SetLazyMode)) {
		pv_mmu_ops.enter_lazy = vmi_enter_lazy_mmu;
		pv_mmu_ops.leave_lazy = vmi_leave_lazy;
		pv_cpu_ops.enter_lazy = vmi_enter_lazy_cpu;
		pv_cpu_ops.leave_lazy = vmi_leave_lazy;
	}
	VMI_GET(set_linear_mapping, VMI_CALL_SetLinearMapping);
}

/* "Patch" binding of a call site (ABI 3.3). */
static u32 vmi_patch_site(u32 op, u8 *insns, u32 address, u32 length)
{
	static const u8 calls[PV_PATCHED_OPS] = {
		[PV_IRQ_DISABLE] = VMI_CALL_DisableInterrupts,
		[PV_IRQ_ENABLE] = VMI_CALL_EnableInterrupts,
		[PV_SAVE_FL] = VMI_CALL_GetInterruptMask,
		[PV_RESTORE_FL] = VMI_CALL_SetInterruptMask,
		[PV_IRET] = VMI_CALL_IRET,
		[PV_IRQ_ENABLE_SYSEXIT] = VMI_CALL_SYSEXIT,
	};
	u32 type, eip = vmi_relocation(calls[op], &type), rel = eip - (address + 5);

	switch (type) {
	case VMI_RELOCATION_NONE:
		/* The site keeps its indirect call; for iret and sysexit that is the poisoned pointer. */
		return length;
	case VMI_RELOCATION_NOP:
		return 0;
	case VMI_RELOCATION_CALL_REL:
	case VMI_RELOCATION_JUMP_REL:
		insns[0] = type == VMI_RELOCATION_CALL_REL ? 0xe8 : 0xe9;
		memcpy(insns + 1, &rel, 4);
		return 5;
	default:
		panic("VMI: relocation type %u at %08x", type, address);
	}
}

static const char *rom_string(const struct vmi_rom_header *rom, u32 offset)
{
	return offset ? (const char *)rom + offset : "UNKNOWN";
}

/* The checks of ABI 1.5, in its order. */
static int check_rom(const struct vmi_rom_header *rom)
{
	const struct vmi_pci_header *pci;
	const char *manufacturer = "UNKNOWN", *product = "UNKNOWN", *license;

	if (rom->rom_signature != 0xaa55 || rom->vrom_signature != VMI_SIGNATURE)
		return 0;
	if (rom->api_version_maj != VMI_API_MAJOR) {
		printk("VMI: Found mismatched rom version %u.%u\n", rom->api_version_maj, rom->api_version_min);
		return 0;
	}
	if (!rom->pci_header_offs) {
		printk("VMI: ROM does not contain PCI header.\n");
		return 0;
	}
	pci = (const struct vmi_pci_header *)((u32)rom + rom->pci_header_offs);
	if (pci->vendor != VMI_PCI_VENDOR || pci->device != VMI_PCI_DEVICE)
		printk("VMI: ROM from unknown manufacturer\n");
	if (rom->pnp_header_offs) {
		const struct vmi_pnp_header *pnp = (const struct vmi_pnp_header *)((u32)rom + rom->pnp_header_offs);

		manufacturer = rom_string(rom, pnp->manufacturer_offset);
		product = rom_string(rom, pnp->product_offset);
	}
	license = rom->license_offs ? (const char *)rom + rom->license_offs : "(unspecified)";
	if (strcmp(license, "GPL") != 0 && strcmp(license, "GPL v2") != 0) {
		printk("VMI: Non GPL license `%s' found for ROM. Not used.\n", license);
		return 0;
	}
	printk("VMI: Found %s %s, API version %u.%u, ROM version %u.%u\n", manufacturer, product, rom->api_version_maj,
	       rom->api_version_min, pci->rom_version_maj, pci->rom_version_min);
	return 1;
}

static int probe_rom(void)
{
	u32 at;

	for (at = 0xc0000; at < 0xe0000; at += 2048) {
		const struct vmi_rom_header *rom = __va(at);

		if (check_rom(rom)) {
			vmi_rom = rom;
			return 1;
		}
	}
	return 0;
}

static int activate(void)
{
	u32 (*init)(void) = (u32(*)(void))(u32)vmi_rom->vmi_init;
	u32 flags = local_irq_save();
	u16 cs;

	if (init() != 0) {
		printk("VMI ROM failed to initialize!\n");
		local_irq_restore(flags);
		return 0;
	}
	__asm__ volatile("movw %%cs, %0" : "=r"(cs));
	pv_info.kernel_rpl = cs & SEGMENT_RPL_MASK;
	pv_info.paravirt_enabled = 1;
	pv_info.name = "vmi";

	vmi_bind_cpu();
	vmi_bind_mmu();
	vmi_time_probe();
	*(u32 *)&pv_cpu_ops.irq_enable_sysexit = 0xfeedbab0;
	*(u32 *)&pv_cpu_ops.iret = 0x0badbab0;
	apply_paravirt(vmi_patch_site);

	if (vmi_ops.set_linear_mapping)
		vmi_ops.set_linear_mapping(0, PAGE_OFFSET, LOWMEM_MAX >> PAGE_SHIFT, 0);
	local_irq_restore(flags & X86_EFLAGS_IF);
	return 1;
}

void vmi_init(void)
{
	if (probe_rom()) {
		/* Nothing of ours lies above lowmem, which ends far below any hole: there is nothing to move. */
		if (vmi_rom->virtual_top) {
			printk("Reserving virtual address space above 0x%08x\n", vmi_rom->virtual_top);
			if (vmi_rom->virtual_top < PAGE_OFFSET + LOWMEM_MAX)
				panic("VMI: the hole reaches into lowmem");
		}
		if (activate())
			return;
	}
	paravirt_patch_native();
}

void vmi_option(const char *word)
{
	if (!strcmp(word, "disable_pge"))
		cpu_features_disabled |= X86_FEATURE_PGE;
	else if (!strcmp(word, "disable_pse"))
		cpu_features_disabled |= X86_FEATURE_PSE;
	else if (!strcmp(word, "disable_sep"))
		cpu_features_disabled |= X86_FEATURE_SEP;
	else if (!strcmp(word, "disable_timer"))
		vmi_disable_timer = 1;
	else if (!strcmp(word, "disable_noidle"))
		vmi_disable_noidle = 1;
}
