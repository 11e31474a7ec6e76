/* Page directories and page tables of processes, announced to whoever shadows them (VMI ABI 4.4). */
#include <asm/pgtable.h>
#include <linux/kernel.h>
#include <linux/mm.h>

/* User part empty, kernel part that of swapper: it never changes after boot, so nobody has to keep copies current. */
pgd_t *pgd_alloc(void)
{
	u32 pfn = alloc_low_page();
	pgd_t *pgd;

	if (!pfn)
		return NULL;
	pgd = __va(pfn << PAGE_SHIFT);
	memset(pgd, 0, USER_PGD_PTRS * sizeof(pgd_t));
	memcpy(pgd + USER_PGD_PTRS, swapper_pg_dir + USER_PGD_PTRS, (PTRS_PER_TABLE - USER_PGD_PTRS) * sizeof(pgd_t));
	pv_mmu_ops.alloc_pd_clone(pfn, __pa(swapper_pg_dir) >> PAGE_SHIFT, USER_PGD_PTRS, PTRS_PER_TABLE - USER_PGD_PTRS);
	return pgd;
}

void pgd_free(pgd_t *pgd)
{
	u32 pfn = __pa(pgd) >> PAGE_SHIFT;

	pv_mmu_ops.release_pd(pfn);
	put_page(pfn);
}

pte_t *pte_alloc(struct mm_struct *mm, u32 address)
{
	pgd_t *entry = &mm->pgd[pgd_index(address)];

	if (!(*entry & _PAGE_PRESENT)) {
		u32 pfn = alloc_low_page();

		if (!pfn)
			return NULL;
		memset(__va(pfn << PAGE_SHIFT), 0, PAGE_SIZE);
		pv_mmu_ops.alloc_pt(pfn);
		set_pmd(entry, pfn << PAGE_SHIFT | _USERPG_TABLE);
	}
	return pte_lookup(mm->pgd, address);
}

/* Frees every page table of the user half; the pages that they mapped are gone already. */
void free_pgtables(struct mm_struct *mm)
{
	u32 i;

	for (i = 0; i < USER_PGD_PTRS; i++) {
		u32 pfn = pte_pfn(mm->pgd[i]);

		if (!(mm->pgd[i] & _PAGE_PRESENT))
			continue;
		set_pmd(&mm->pgd[i], 0);
		pv_mmu_ops.release_pt(pfn);
		put_page(pfn);
	}
}
