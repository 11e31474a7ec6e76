/* Address spaces and their areas, kept as a list sorted by address. */
#include <asm/ptrace.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/sched.h>

struct mm_struct init_mm = { .pgd = swapper_pg_dir, .users = 1, .count = 1 };

struct mm_struct *mm_alloc(void)
{
	struct mm_struct *mm = kzalloc(sizeof(*mm));

	if (!mm)
		return NULL;
	mm->pgd = pgd_alloc();
	if (!mm->pgd) {
		kfree(mm, sizeof(*mm));
		return NULL;
	}
	mm->users = mm->count = 1;
	return mm;
}

void mmdrop(struct mm_struct *mm)
{
	if (--mm->count)
		return;
	pgd_free(mm->pgd);
	kfree(mm, sizeof(*mm));
}

/* The last user is gone. The directory stays as long as some CPU has it loaded (`count`). */
void mmput(struct mm_struct *mm)
{
	struct vm_area *area, *next;

	if (--mm->users)
		return;
	for (area = mm->mmap; area; area = next) {
		next = area->next;
		zap_page_range(mm, area->start, area->end, 1);
		kfree(area, sizeof(*area));
	}
	mm->mmap = NULL;
	free_pgtables(mm);
	if (current->active_mm == mm)
		pv_mmu_ops.flush_tlb_user();
	mmdrop(mm);
}

void activate_mm(struct mm_struct *mm)
{
	struct mm_struct *old = current->mm, *borrowed = current->active_mm;

	current->mm = current->active_mm = mm;
	pv_mmu_ops.write_cr3(__pa(mm->pgd));
	if (old)
		mmput(old);
	else
		mmdrop(borrowed);
}

struct vm_area *find_area(struct mm_struct *mm, u32 address)
{
	struct vm_area *area;

	for (area = mm->mmap; area && area->start <= address; area = area->next)
		if (address < area->end)
			return area;
	return NULL;
}

static int range_free(struct mm_struct *mm, u32 start, u32 end)
{
	struct vm_area *area;

	for (area = mm->mmap; area; area = area->next)
		if (area->start < end && start < area->end)
			return 0;
	return end > start && end <= TASK_SIZE;
}

int mm_add_area(struct mm_struct *mm, u32 start, u32 end, u32 flags, const u8 *data, u32 data_bytes)
{
	struct vm_area **link = &mm->mmap, *area;

	if (!range_free(mm, start, end))
		return -EINVAL;
	area = kzalloc(sizeof(*area));
	if (!area)
		return -ENOMEM;
	*area = (struct vm_area){ .start = start, .end = end, .flags = flags, .data = data, .data_bytes = data_bytes };
	while (*link && (*link)->start < start)
		link = &(*link)->next;
	area->next = *link;
	*link = area;
	return 0;
}

/* Cuts the area that spans `at` in two. */
static int split_area(struct mm_struct *mm, u32 at)
{
	struct vm_area *area = find_area(mm, at), *upper;
	u32 lower_bytes;

	if (!area || area->start == at)
		return 0;
	upper = kmalloc(sizeof(*upper));
	if (!upper)
		return -ENOMEM;
	lower_bytes = at - area->start;
	*upper = *area;
	upper->start = at;
	if (area->data_bytes > lower_bytes) {
		upper->data += lower_bytes;
		upper->data_bytes -= lower_bytes;
		area->data_bytes = lower_bytes;
	} else {
		upper->data_bytes = 0;
	}
	area->end = at;
	area->next = upper;
	return 0;
}

static void flush_tlb_mm(struct mm_struct *mm)
{
	if (current->active_mm == mm)
		pv_mmu_ops.flush_tlb_user();
}

int do_munmap(struct mm_struct *mm, u32 start, u32 bytes)
{
	u32 end = start + page_align(bytes);
	struct vm_area **link = &mm->mmap, *area;

	if ((start & (PAGE_SIZE - 1)) || end <= start || end > TASK_SIZE)
		return -EINVAL;
	if (split_area(mm, start) || split_area(mm, end))
		return -ENOMEM;
	zap_page_range(mm, start, end, 0);
	flush_tlb_mm(mm);
	while ((area = *link)) {
		if (area->start >= start && area->end <= end) {
			*link = area->next;
			kfree(area, sizeof(*area));
		} else {
			link = &area->next;
		}
	}
	return 0;
}

/* Fork's copy: areas, and the entries of private pages. */
struct mm_struct *mm_copy(struct mm_struct *from)
{
	struct mm_struct *mm = mm_alloc();
	struct vm_area *area, **link;

	if (!mm)
		return NULL;
	mm->start_brk = from->start_brk;
	mm->brk = from->brk;
	link = &mm->mmap;
	for (area = from->mmap; area; area = area->next) {
		struct vm_area *copy = kmalloc(sizeof(*copy));

		if (!copy)
			goto out_of_memory;
		*copy = *area;
		copy->next = NULL;
		*link = copy;
		link = &copy->next;
		if (copy_page_range(mm, from, area))
			goto out_of_memory;
	}
	/* Our own writable entries became read-only. */
	flush_tlb_mm(from);
	return mm;

out_of_memory:
	flush_tlb_mm(from);
	mmput(mm);
	return NULL;
}

static u32 find_gap(struct mm_struct *mm, u32 bytes)
{
	struct vm_area *area;
	u32 at = MMAP_BASE;

	for (area = mm->mmap; area; area = area->next) {
		if (area->end <= at)
			continue;
		if (area->start >= at + bytes)
			break;
		at = area->end;
	}
	return at + bytes <= STACK_TOP - STACK_BYTES ? at : 0;
}

#define MAP_FIXED 0x10
#define MAP_ANONYMOUS 0x20

struct mmap_args {
	u32 address, bytes, prot, flags, fd, offset;
};

/* mmap with its arguments in memory. Anonymous private memory only: files are read, not mapped, by programs here. */
int sys_old_mmap(struct pt_regs *regs)
{
	struct mmap_args args;
	u32 bytes, at;
	int error;

	if (copy_from_user(&args, regs->ebx, sizeof(args)))
		return -EFAULT;
	bytes = page_align(args.bytes);
	if (!bytes || bytes > TASK_SIZE || !(args.flags & MAP_ANONYMOUS))
		return -EINVAL;
	if (args.flags & MAP_FIXED) {
		at = args.address;
		error = do_munmap(current->mm, at, bytes);
		if (error)
			return error;
	} else {
		at = find_gap(current->mm, bytes);
		if (!at)
			return -ENOMEM;
	}
	error = mm_add_area(current->mm, at, at + bytes, args.prot & 7, NULL, 0);
	return error ? error : (int)at;
}

int sys_munmap(struct pt_regs *regs) { return do_munmap(current->mm, regs->ebx, regs->ecx); }

/* New protection of mapped entries: write permission is left to the next write fault, because frames may be shared. */
static void change_protection(struct mm_struct *mm, u32 start, u32 end, u32 flags)
{
	u32 address;

	arch_enter_lazy_mmu_mode();
	for (address = start; address < end; address += PAGE_SIZE) {
		pte_t *ptep = pte_lookup(mm->pgd, address), old;

		if (!ptep || !pte_mapped(*ptep))
			continue;
		old = ptep_get_and_clear(mm, address, ptep);
		set_pte_at(mm, address, ptep, mk_pte(pte_pfn(old), flags & 7 ? PAGE_USER_RO : _PAGE_PROTNONE));
	}
	arch_leave_lazy_mmu_mode();
	flush_tlb_mm(mm);
}

int sys_mprotect(struct pt_regs *regs)
{
	struct mm_struct *mm = current->mm;
	u32 start = regs->ebx, end = start + page_align(regs->ecx), flags = regs->edx & 7, at;
	struct vm_area *area;

	if ((start & (PAGE_SIZE - 1)) || end < start || end > TASK_SIZE)
		return -EINVAL;
	for (at = start; at < end; at = area->end) {
		area = find_area(mm, at);
		if (!area)
			return -ENOMEM;
		if (area->flags & VM_VSYSCALL)
			return -EACCES;
	}
	if (split_area(mm, start) || split_area(mm, end))
		return -ENOMEM;
	for (area = mm->mmap; area; area = area->next)
		if (area->start >= start && area->end <= end)
			area->flags = (area->flags & ~7u) | flags;
	change_protection(mm, start, end, flags);
	return 0;
}

int sys_brk(struct pt_regs *regs)
{
	struct mm_struct *mm = current->mm;
	u32 asked = regs->ebx, old_end = page_align(mm->brk), new_end = page_align(asked);

	if (asked < mm->start_brk || asked >= MMAP_BASE)
		return (int)mm->brk;
	if (new_end < old_end)
		do_munmap(mm, new_end, old_end - new_end);
	else if (new_end > old_end) {
		struct vm_area *area = find_area(mm, old_end - 1);

		/* Grow the heap's own area, so that a thousand small steps do not make a thousand areas. */
		if (area && old_end > page_align(mm->start_brk) && range_free(mm, old_end, new_end))
			area->end = new_end;
		else if (mm_add_area(mm, old_end, new_end, VM_READ | VM_WRITE, NULL, 0))
			return (int)mm->brk;
	}
	mm->brk = asked;
	return (int)asked;
}
