/* Small objects: lists of free pieces per power-of-two size, cut from whole pages that are never given back. */
#include <linux/kernel.h>
#include <linux/mm.h>

#define SMALLEST_SHIFT 5
#define CLASSES 8 /* 32 .. 4096 bytes */

struct piece {
	struct piece *next;
};

static struct piece *free_pieces[CLASSES];

static u32 class_of(size_t bytes)
{
	u32 class = 0;

	while (bytes > (32u << class))
		class++;
	return class;
}

void *kmalloc(size_t bytes)
{
	u32 class = class_of(bytes), size = 1u << (class + SMALLEST_SHIFT);
	struct piece *piece;

	if (class >= CLASSES)
		return NULL;
	if (!free_pieces[class]) {
		u32 pfn = alloc_page();
		char *page = __va(pfn << PAGE_SHIFT);
		int at;

		if (!pfn)
			return NULL;
		for (at = PAGE_SIZE - (int)size; at >= 0; at -= (int)size) {
			piece = (struct piece *)(page + at);
			piece->next = free_pieces[class];
			free_pieces[class] = piece;
		}
	}
	piece = free_pieces[class];
	free_pieces[class] = piece->next;
	return piece;
}

void *kzalloc(size_t bytes)
{
	void *object = kmalloc(bytes);

	if (object)
		memset(object, 0, bytes);
	return object;
}

void kfree(void *object, size_t bytes)
{
	struct piece *piece = object;
	u32 class = class_of(bytes);

	if (!object)
		return;
	piece->next = free_pieces[class];
	free_pieces[class] = piece;
}
