/*
 * Two-level page tables (Intel SDM vol. 3A, 4.3). Every change of an entry that a processor may have seen goes through the
 * paravirt operations; reads are plain loads.
 */
#ifndef ASM_PGTABLE_H
#define ASM_PGTABLE_H

#include <asm/page.h>
#include <asm/paravirt.h>

typedef u32 pte_t;
typedef u32 pgd_t;

#define _PAGE_PRESENT 0x001
#define _PAGE_RW 0x002
#define _PAGE_USER 0x004
#define _PAGE_ACCESSED 0x020
#define _PAGE_DIRTY 0x040
#define _PAGE_PSE 0x080
#define _PAGE_GLOBAL 0x100
/* Not present for the processor, but the frame is still ours: mprotect(PROT_NONE). */
#define _PAGE_PROTNONE 0x080

#define _KERNPG_TABLE (_PAGE_PRESENT | _PAGE_RW | _PAGE_ACCESSED | _PAGE_DIRTY)
#define _USERPG_TABLE (_KERNPG_TABLE | _PAGE_USER)
#define PAGE_KERNEL (_PAGE_PRESENT | _PAGE_RW | _PAGE_ACCESSED | _PAGE_DIRTY | _PAGE_GLOBAL)
#define PAGE_USER_RO (_PAGE_PRESENT | _PAGE_USER | _PAGE_ACCESSED)
#define PAGE_USER_RW (PAGE_USER_RO | _PAGE_RW | _PAGE_DIRTY)

#define PTRS_PER_TABLE 1024
#define USER_PGD_PTRS (PAGE_OFFSET >> 22)
#define pgd_index(va) ((u32)(va) >> 22)
#define pte_index(va) (((u32)(va) >> PAGE_SHIFT) & 0x3ff)

extern pgd_t swapper_pg_dir[PTRS_PER_TABLE];

struct mm_struct;

static inline int pte_none(pte_t pte) { return pte == 0; }
static inline int pte_mapped(pte_t pte) { return (pte & (_PAGE_PRESENT | _PAGE_PROTNONE)) != 0; }
static inline u32 pte_pfn(pte_t pte) { return pte >> PAGE_SHIFT; }
static inline pte_t mk_pte(u32 pfn, u32 prot) { return pfn << PAGE_SHIFT | prot; }

/* The entry of a user address, or NULL when its page table does not exist. */
static inline pte_t *pte_lookup(pgd_t *pgd, u32 address)
{
	pgd_t entry = pgd[pgd_index(address)];

	return entry & _PAGE_PRESENT ? (pte_t *)__va(page_floor(entry)) + pte_index(address) : NULL;
}

static inline void set_pte_at(struct mm_struct *mm, u32 address, pte_t *ptep, pte_t pte)
{
	pv_mmu_ops.set_pte_at(mm, address, ptep, pte);
}

static inline void set_pmd(pgd_t *pmdp, pgd_t value) { pv_mmu_ops.set_pmd(pmdp, value); }

/* Atomic against the processor's own accessed and dirty updates; then announced. */
static inline pte_t ptep_get_and_clear(struct mm_struct *mm, u32 address, pte_t *ptep)
{
	pte_t old = 0;

	__asm__ volatile("xchgl %0, %1" : "+r"(old), "+m"(*ptep));
	pv_mmu_ops.pte_update(mm, address, ptep);
	return old;
}

static inline void ptep_set_wrprotect(struct mm_struct *mm, u32 address, pte_t *ptep)
{
	__asm__ volatile("btrl $1, %0" : "+m"(*ptep) : : "cc");
	pv_mmu_ops.pte_update(mm, address, ptep);
}

/* Raises permissions of a present entry; the caller flushes the page. */
static inline void ptep_set_access_flags(struct mm_struct *mm, u32 address, pte_t *ptep, pte_t entry)
{
	*ptep = entry;
	pv_mmu_ops.pte_update_defer(mm, address, ptep);
}

/* Teardown of a whole address space: nobody looks at the entry again, so nothing is announced. */
static inline pte_t ptep_get_and_clear_full(pte_t *ptep)
{
	pte_t old = *ptep;

	*ptep = 0;
	return old;
}

pgd_t *pgd_alloc(void);
void pgd_free(pgd_t *pgd);
pte_t *pte_alloc(struct mm_struct *mm, u32 address);
void free_pgtables(struct mm_struct *mm);
void paging_init(void);

#endif
