/* The kernel's half of the address space. */
#include <asm/pgtable.h>
#include <asm/processor.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/mm.h>

/* Maps lowmem [start, end) of one directory entry with 4 KiB entries. */
static void map_small(u32 start, u32 end)
{
	u32 *table = early_alloc(PAGE_SIZE), pa;

	memset(table, 0, PAGE_SIZE);
	for (pa = start; pa < end; pa += PAGE_SIZE)
		table[pte_index(pa)] = pa | PAGE_KERNEL;
	pv_mmu_ops.alloc_pt(__pa(table) >> PAGE_SHIFT);
	set_pmd(&swapper_pg_dir[pgd_index(__va(start))], __pa(table) | _KERNPG_TABLE);
}

/*
 * The boot tables map the first 8 MiB already, by 4 KiB entries, and page tables come from there. The rest of lowmem gets
 * 4 MiB entries where a whole one fits. Then the identity mapping goes, and only then do global entries start to count.
 */
void paging_init(void)
{
	u32 end = max_pfn << PAGE_SHIFT, pa;
	int large = (boot_cpu_data.features & X86_FEATURE_PSE) != 0;

	if (large)
		pv_cpu_ops.write_cr4(pv_cpu_ops.read_cr4() | X86_CR4_PSE);
	pv_mmu_ops.alloc_pd(__pa(swapper_pg_dir) >> PAGE_SHIFT);
	for (pa = LOW_ZONE_BYTES; pa < end; pa += LARGE_PAGE_SIZE) {
		if (large && pa + LARGE_PAGE_SIZE <= end)
			set_pmd(&swapper_pg_dir[pgd_index(__va(pa))], pa | PAGE_KERNEL | _PAGE_PSE);
		else
			map_small(pa, min_u32(end, pa + LARGE_PAGE_SIZE));
	}
	set_pmd(&swapper_pg_dir[0], 0);
	set_pmd(&swapper_pg_dir[1], 0);
	pv_mmu_ops.flush_tlb_kernel();
	if (boot_cpu_data.features & X86_FEATURE_PGE)
		pv_cpu_ops.write_cr4(pv_cpu_ops.read_cr4() | X86_CR4_PGE);
}
