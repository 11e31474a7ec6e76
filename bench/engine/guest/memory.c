/* Rows that are about memory under paging. */
#include "guest.h"

#define STREAM_WORDS (1u << 20)

static void setup_stream(u32 count)
{
	(void)count;
	u32 *a = (u32 *)ARENA, *b = a + STREAM_WORDS, *c = b + STREAM_WORDS;
	for (u32 i = 0; i < STREAM_WORDS; i++) {
		a[i] = i;
		b[i] = ~i;
		c[i] = 0;
	}
}

static u32 run_stream(u32 count)
{
	u32 *a = (u32 *)ARENA, *b = a + STREAM_WORDS, *c = b + STREAM_WORDS;
	for (u32 pass = 0; pass < count; pass++) {
		for (u32 i = 0; i < STREAM_WORDS; i++)
			c[i] = a[i] + 3 * b[i];
		u32 *spare = a;
		a = b;
		b = c;
		c = spare;
	}
	u32 check = 0;
	for (u32 i = 0; i < STREAM_WORDS; i += 1021)
		check = check * 31 + b[i];
	return check;
}

/* Links nodes of `stride` bytes into one cycle in random order (Sattolo). A node's place in its stride differs from page to
 * page, so that a page walk and not the sets of a data cache is what large strides show. */
static void link_nodes(u32 nodes, u32 stride)
{
	u32 *order = (u32 *)(ARENA_END - nodes * sizeof(u32));
	u32 seed = 11;
	for (u32 i = 0; i < nodes; i++)
		order[i] = i;
	for (u32 i = nodes - 1; i > 0; i--) {
		u32 j = (random_next(&seed) >> 8) % i;
		u32 other = order[i];
		order[i] = order[j];
		order[j] = other;
	}
	u32 spread = stride / 64;
	for (u32 i = 0; i < nodes; i++) {
		u32 from = order[i], to = order[i + 1 == nodes ? 0 : i + 1];
		u32 *node = (u32 *)(ARENA + from * stride + from % spread * 64);
		*node = ARENA + to * stride + to % spread * 64;
	}
}

/* 32 pages. */
static void setup_chase_fit(u32 count)
{
	(void)count;
	link_nodes(2048, 64);
}

/* 4096 pages, one node in each. */
static void setup_chase_miss(u32 count)
{
	(void)count;
	link_nodes(4096, PAGE);
}

static u32 run_chase(u32 count)
{
	return chase(ARENA, count);
}

static void copy_words(u32 to, u32 from, u32 words)
{
	__asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
}

static void copy_bytes(u32 to, u32 from, u32 bytes)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}

static void fill_words(u32 to, u32 words, u32 value)
{
	__asm__ volatile("rep stosl" : "+D"(to), "+c"(words) : "a"(value) : "memory");
}

/* Pages, buffers across pages, and short strings at odd addresses, as a kernel and a C library copy them. */
static u32 run_rep(u32 count)
{
	u32 from = ARENA, to = ARENA + 0x100000;
	u32 seed = 5;
	for (u32 i = 0; i < 16384; i++)
		((u32 *)from)[i] = random_next(&seed);
	for (u32 i = 0; i < count; i++) {
		copy_words(to, from, 16384);
		for (u32 page = 0; page < 8; page++)
			copy_words(to + page * 2 * PAGE, from + page * PAGE, 1024);
		for (u32 line = 0; line < 64; line++)
			copy_bytes(to + line * 997 + 1, from + line * 61, 13 + line);
		fill_words(to + 0x8000 + (i & 1023) * 4, 4096, i);
	}
	u32 check = 0;
	for (u32 i = 0; i < 16384; i++)
		check = check * 31 + ((u32 *)to)[i];
	return check;
}

const struct row memory_rows[] = {
	{ "stream", 4, setup_stream, run_stream, 0 },
	{ "chase-fit", 5000000, setup_chase_fit, run_chase, 0 },
	{ "chase-miss", 1000000, setup_chase_miss, run_chase, 0 },
	{ "rep", 2000, 0, run_rep, 0 },
	{ 0, 0, 0, 0, 0 },
};
