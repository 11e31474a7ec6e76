/*
 * Pages of user address spaces: demand zero, file pages straight from the archive, copy on write, fork's copying of entries,
 * and taking everything down. The order of stores, announcements and flushes is that of a 2.6.2x kernel.
 */
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/sched.h>

extern u32 vsyscall_pfn;

static void flush_tlb_page(struct mm_struct *mm, u32 address)
{
	if (current->active_mm == mm)
		pv_mmu_ops.flush_tlb_single(address);
}

static u32 area_prot(const struct vm_area *area, int write)
{
	return write && (area->flags & VM_WRITE) ? PAGE_USER_RW : PAGE_USER_RO;
}

/* First touch of a page. Whole file pages are shared with the archive until somebody writes. */
static int do_no_page(struct mm_struct *mm, struct vm_area *area, u32 address, pte_t *ptep, int write)
{
	u32 offset = page_floor(address) - area->start, pfn;
	u32 from_file = offset < area->data_bytes ? min_u32(PAGE_SIZE, area->data_bytes - offset) : 0;

	if (area->flags & VM_VSYSCALL) {
		set_pte_at(mm, address, ptep, mk_pte(vsyscall_pfn, PAGE_USER_RO));
		return 0;
	}
	if (!write && from_file == PAGE_SIZE) {
		set_pte_at(mm, address, ptep, mk_pte(__pa(area->data + offset) >> PAGE_SHIFT, PAGE_USER_RO));
		return 0;
	}
	if (!write && !from_file) {
		set_pte_at(mm, address, ptep, mk_pte(__pa(empty_zero_page) >> PAGE_SHIFT, PAGE_USER_RO));
		return 0;
	}
	pfn = alloc_page();
	if (!pfn)
		return -ENOMEM;
	if (from_file)
		memcpy(__va(pfn << PAGE_SHIFT), area->data + offset, from_file);
	memset((char *)__va(pfn << PAGE_SHIFT) + from_file, 0, PAGE_SIZE - from_file);
	area->flags |= VM_GROWN;
	set_pte_at(mm, address, ptep, mk_pte(pfn, area_prot(area, write)));
	return 0;
}

/* A write to a page that is mapped read-only in a writable area: the last user takes it over, others copy it. */
static int do_wp_page(struct mm_struct *mm, struct vm_area *area, u32 address, pte_t *ptep)
{
	pte_t old = *ptep;
	u32 old_pfn = pte_pfn(old), pfn;

	if (page_managed(old_pfn) && old_pfn != vsyscall_pfn && page_count(old_pfn) == 1) {
		ptep_set_access_flags(mm, address, ptep, old | PAGE_USER_RW);
		flush_tlb_page(mm, address);
		return 0;
	}
	pfn = alloc_page();
	if (!pfn)
		return -ENOMEM;
	memcpy(__va(pfn << PAGE_SHIFT), __va(old_pfn << PAGE_SHIFT), PAGE_SIZE);
	area->flags |= VM_GROWN;
	ptep_get_and_clear(mm, address, ptep);
	flush_tlb_page(mm, address);
	set_pte_at(mm, address, ptep, mk_pte(pfn, PAGE_USER_RW));
	put_page(old_pfn);
	return 0;
}

int handle_mm_fault(struct mm_struct *mm, u32 address, int write, int *mapped)
{
	struct vm_area *area = find_area(mm, address);
	pte_t *ptep;

	*mapped = area != NULL;
	if (!area || !(area->flags & (write ? VM_WRITE : VM_READ | VM_EXEC)))
		return -EFAULT;
	ptep = pte_alloc(mm, address);
	if (!ptep)
		return -ENOMEM;
	if (pte_none(*ptep))
		return do_no_page(mm, area, address, ptep, write);
	if (write && !(*ptep & _PAGE_RW))
		return do_wp_page(mm, area, address, ptep);
	/* The entry allows the access by now: another thread was first, or the TLB held an older one. */
	flush_tlb_page(mm, address);
	return 0;
}

/* Fork: both sides lose write permission and share the frame. Called inside a lazy MMU section. */
static void copy_one_pte(struct mm_struct *to, struct mm_struct *from, u32 address, pte_t *to_pte, pte_t *from_pte)
{
	pte_t pte = *from_pte;

	if (!pte_mapped(pte))
		return;
	if (pte & _PAGE_RW) {
		ptep_set_wrprotect(from, address, from_pte);
		pte = *from_pte;
	}
	get_page(pte_pfn(pte));
	set_pte_at(to, address, to_pte, pte & ~_PAGE_DIRTY);
}

/* Areas without private pages are left to be faulted in again. */
int copy_page_range(struct mm_struct *to, struct mm_struct *from, struct vm_area *area)
{
	u32 address = area->start;

	if (!(area->flags & VM_GROWN))
		return 0;
	while (address < area->end) {
		u32 next = min_u32((address & ~(LARGE_PAGE_SIZE - 1)) + LARGE_PAGE_SIZE, area->end);
		pte_t *from_pte = pte_lookup(from->pgd, address), *to_pte;

		if (from_pte) {
			to_pte = pte_alloc(to, address);
			if (!to_pte)
				return -ENOMEM;
			arch_enter_lazy_mmu_mode();
			for (; address < next; address += PAGE_SIZE, from_pte++, to_pte++)
				copy_one_pte(to, from, address, to_pte, from_pte);
			arch_leave_lazy_mmu_mode();
		}
		address = next;
	}
	return 0;
}

/* Unmaps and frees pages. `full`: the address space ends, so single entries need not be announced. */
void zap_page_range(struct mm_struct *mm, u32 start, u32 end, int full)
{
	u32 address = start;

	while (address < end) {
		u32 next = min_u32((address & ~(LARGE_PAGE_SIZE - 1)) + LARGE_PAGE_SIZE, end);
		pte_t *ptep = pte_lookup(mm->pgd, address);

		if (ptep) {
			arch_enter_lazy_mmu_mode();
			for (; address < next; address += PAGE_SIZE, ptep++) {
				pte_t old = *ptep;

				if (pte_none(old))
					continue;
				if (full)
					ptep_get_and_clear_full(ptep);
				else
					ptep_get_and_clear(mm, address, ptep);
				if (pte_pfn(old) != vsyscall_pfn)
					put_page(pte_pfn(old));
			}
			arch_leave_lazy_mmu_mode();
		}
		address = next;
	}
}
