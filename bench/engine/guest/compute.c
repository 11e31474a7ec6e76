/* Rows of plain computing. */
#include "guest.h"

static u32 run_loop(u32 count)
{
	return integer_loop(count);
}

#define SORT_WORDS 32768u

static void quicksort(u32 *first, u32 *last)
{
	while (last - first > 12) {
		u32 pivot = first[(last - first) / 2];
		u32 *low = first, *high = last;
		while (low <= high) {
			while (*low < pivot)
				low++;
			while (*high > pivot)
				high--;
			if (low <= high) {
				u32 word = *low;
				*low++ = *high;
				*high-- = word;
			}
		}
		if (high - first < last - low) {
			quicksort(first, high);
			first = low;
		} else {
			quicksort(low, last);
			last = high;
		}
	}
	for (u32 *at = first + 1; at <= last; at++) {
		u32 word = *at;
		u32 *to = at;
		for (; to > first && to[-1] > word; to--)
			*to = to[-1];
		*to = word;
	}
}

static u32 run_sort(u32 count)
{
	u32 *words = (u32 *)ARENA;
	u32 seed = 1, check = 0;
	for (u32 pass = 0; pass < count; pass++) {
		for (u32 i = 0; i < SORT_WORDS; i++)
			words[i] = random_next(&seed);
		quicksort(words, words + SORT_WORDS - 1);
		for (u32 i = 1; i < SORT_WORDS; i++)
			if (words[i - 1] > words[i])
				stop("not sorted", pass, i);
		check = check * 31 + words[SORT_WORDS / 3];
	}
	return check;
}

#define SIEVE_BYTES 1000000u

static u32 run_sieve(u32 count)
{
	u8 *composite = (u8 *)ARENA;
	u32 check = 0;
	for (u32 pass = 0; pass < count; pass++) {
		u32 primes = 0;
		for (u32 i = 0; i < SIEVE_BYTES; i++)
			composite[i] = 0;
		for (u32 i = 2; i < SIEVE_BYTES; i++) {
			if (composite[i])
				continue;
			primes++;
			for (u32 multiple = 2 * i; multiple < SIEVE_BYTES; multiple += i)
				composite[multiple] = 1;
		}
		check += primes;
	}
	return check;
}

#define CRC_BYTES 1048576u
static u32 crc_table[256];

static void setup_crc(u32 count)
{
	(void)count;
	u32 seed = 7;
	for (u32 i = 0; i < 256; i++) {
		u32 crc = i;
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
		crc_table[i] = crc;
	}
	for (u32 i = 0; i < CRC_BYTES; i++)
		((u8 *)ARENA)[i] = random_next(&seed) >> 24;
}

static u32 run_crc(u32 count)
{
	u32 crc = ~0u;
	for (u32 pass = 0; pass < count; pass++) {
		const u8 *byte = (const u8 *)ARENA;
		for (u32 i = 0; i < CRC_BYTES; i++)
			crc = crc_table[(crc ^ byte[i]) & 255] ^ crc >> 8;
	}
	return ~crc;
}

/* The compiler may neither inline nor loop: a call each time. */
__attribute__((noinline, optimize("no-optimize-sibling-calls", "no-inline"))) static u32 fibonacci(u32 n)
{
	return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

static u32 run_calls(u32 count)
{
	u32 check = 0;
	for (u32 i = 0; i < count; i++)
		check = check * 3 + fibonacci(20 + (i & 1));
	return check;
}

typedef u32 (*step)(u32);
#define STEP(n, expression) \
	static u32 step_##n(u32 x) { return expression; }
STEP(0, x + 0x3c6ef372)
STEP(1, x ^ x >> 7)
STEP(2, (x << 3) - x)
STEP(3, x * 5 + 1)
STEP(4, ~x)
STEP(5, x << 13 | x >> 19)
STEP(6, x & 1 ? x + 11 : x - 3)
STEP(7, x - (x >> 2))
STEP(8, x ^ 0x5bd1e995)
STEP(9, x > 0x80000000u ? x * 3 : x + 17)
STEP(10, x + (x << 5))
STEP(11, x >> 1 ^ x)
STEP(12, x * 0x01000193u)
STEP(13, x << 7 | x >> 25)
STEP(14, -x)
STEP(15, x ^ x << 9)
static const step steps[16] = {
	step_0, step_1, step_2,  step_3,  step_4,  step_5,  step_6,  step_7,
	step_8, step_9, step_10, step_11, step_12, step_13, step_14, step_15,
};

static u32 run_indirect(u32 count)
{
	u32 seed = 3, value = 1;
	for (u32 i = 0; i < count; i++)
		value = steps[random_next(&seed) >> 28](value);
	return value;
}

const struct row compute_rows[] = {
	{ "loop", 10000000, 0, run_loop, 0 },
	{ "sort", 8, 0, run_sort, 0 },
	{ "sieve", 3, 0, run_sieve, 0 },
	{ "crc", 5, setup_crc, run_crc, 0 },
	{ "calls", 160, 0, run_calls, 0 },
	{ "indirect", 2000000, 0, run_indirect, 0 },
	{ 0, 0, 0, 0, 0 },
};
