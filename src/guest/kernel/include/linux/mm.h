/* Physical pages, small objects, address spaces. */
#ifndef LINUX_MM_H
#define LINUX_MM_H

#include <linux/types.h>
#include <asm/page.h>
#include <asm/pgtable.h>

/*
 * Two zones: low memory below LOW_ZONE_BYTES, mapped by 4 KiB entries, from which page tables come, so that a monitor
 * can watch single frames; and the rest, mapped by 4 MiB entries.
 */
struct page {
	u16 count;
	u16 pad;
	u32 next_free;
};

extern u32 max_pfn;
extern u32 total_pages_free;

void page_alloc_init(struct page *map, u32 first_free_pfn, u32 end_pfn);
/* Physical frame number of a page, or 0 when memory is exhausted. Contents are arbitrary unless zeroed. */
u32 alloc_page(void);
u32 alloc_zeroed_page(void);
u32 alloc_low_page(void);
void get_page(u32 pfn);
void put_page(u32 pfn);
u32 page_count(u32 pfn);
/* False for the kernel image, the program files in it, and what firmware keeps. */
int page_managed(u32 pfn);

void *kmalloc(size_t bytes);
void *kzalloc(size_t bytes);
void kfree(void *object, size_t bytes);

#define VM_READ 1
#define VM_WRITE 2
#define VM_EXEC 4
#define VM_GROWN 8     /* has had private pages: fork must copy its entries */
#define VM_VSYSCALL 16

/* [start, end), page aligned; file bytes [data, data + data_bytes) lie at `start`, zeroes behind them. */
struct vm_area {
	u32 start, end, flags;
	const u8 *data;
	u32 data_bytes;
	struct vm_area *next;
};

struct mm_struct {
	pgd_t *pgd;
	struct vm_area *mmap;
	u32 users; /* tasks that run in it */
	u32 count; /* plus those that borrow it: the directory lives until 0 */
	u32 start_brk, brk;
};

extern struct mm_struct init_mm;

struct mm_struct *mm_alloc(void);
struct mm_struct *mm_copy(struct mm_struct *from);
void mmput(struct mm_struct *mm);
void mmdrop(struct mm_struct *mm);
int mm_add_area(struct mm_struct *mm, u32 start, u32 end, u32 flags, const u8 *data, u32 data_bytes);
struct vm_area *find_area(struct mm_struct *mm, u32 address);
int do_munmap(struct mm_struct *mm, u32 start, u32 bytes);
int copy_page_range(struct mm_struct *to, struct mm_struct *from, struct vm_area *area);
void zap_page_range(struct mm_struct *mm, u32 start, u32 end, int full);
/* 0, or -EFAULT when the access is not allowed, -ENOMEM when there is no page for it. */
int handle_mm_fault(struct mm_struct *mm, u32 address, int write, int *mapped);
void activate_mm(struct mm_struct *mm);

int copy_from_user(void *to, u32 from, u32 bytes);
int copy_to_user(u32 to, const void *from, u32 bytes);
/* Length without the NUL, -EFAULT, or `max` when there is no NUL within it. */
int strncpy_from_user(char *to, u32 from, u32 max);
int get_user(u32 *value, u32 from);
int put_user(u32 to, u32 value);
/* Address at which execution goes on after a fault at `eip`, or 0. */
u32 search_exception_table(u32 eip);

extern char empty_zero_page[PAGE_SIZE];

#endif
