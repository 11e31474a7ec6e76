/*
 * Page frames. Each zone hands out frames from its start, and freed ones again first: what was never used is never touched,
 * neither at boot nor later. Counts of untouched frames are set when they are handed out, so mem_map needs no clearing.
 */
#include <asm/irqflags.h>
#include <linux/kernel.h>
#include <linux/mm.h>

struct zone {
	u32 next, end; /* frames that were never used */
	u32 free;      /* list through page.next_free, 0 ends it */
};

static struct page *mem_map;
static struct zone low, high;
static u32 first_managed;
u32 max_pfn;
u32 total_pages_free;

void page_alloc_init(struct page *map, u32 first_free_pfn, u32 end_pfn)
{
	u32 boundary = min_u32(LOW_ZONE_BYTES >> PAGE_SHIFT, end_pfn);

	mem_map = map;
	first_managed = first_free_pfn;
	low = (struct zone){ .next = first_free_pfn, .end = boundary };
	high = (struct zone){ .next = boundary, .end = end_pfn };
	total_pages_free = end_pfn - first_free_pfn;
}

int page_managed(u32 pfn) { return pfn >= first_managed && pfn < max_pfn; }

static u32 take(struct zone *zone)
{
	u32 pfn = zone->free;

	if (pfn)
		zone->free = mem_map[pfn].next_free;
	else if (zone->next < zone->end)
		pfn = zone->next++;
	else
		return 0;
	mem_map[pfn].count = 1;
	total_pages_free--;
	return pfn;
}

/* Interrupt handlers neither allocate nor free. */
u32 alloc_page(void)
{
	u32 pfn = take(&high);

	return pfn ? pfn : take(&low);
}

u32 alloc_low_page(void) { return take(&low); }

u32 alloc_zeroed_page(void)
{
	u32 pfn = alloc_page();

	if (pfn)
		memset(__va(pfn << PAGE_SHIFT), 0, PAGE_SIZE);
	return pfn;
}

u32 page_count(u32 pfn) { return mem_map[pfn].count; }

void get_page(u32 pfn)
{
	if (page_managed(pfn))
		mem_map[pfn].count++;
}

void put_page(u32 pfn)
{
	struct zone *zone = pfn < LOW_ZONE_BYTES >> PAGE_SHIFT ? &low : &high;

	if (!page_managed(pfn))
		return;
	if (!mem_map[pfn].count)
		panic("page %05x was freed twice", pfn);
	if (--mem_map[pfn].count)
		return;
	mem_map[pfn].next_free = zone->free;
	zone->free = pfn;
	total_pages_free++;
}
