/*
 * javaswitch: two threads take turns as those of a managed runtime do: an object's monitor with wait and notify on futexes,
 * a safepoint poll in every loop, and a little allocation in between.
 */
#include "lib/bench.h"

#define HEAP_BYTES 16384
#define OBJECT_WORDS 4

/* Monitor: 0 free, 1 taken, 2 taken with waiters; `notified` counts notifications. */
struct monitor {
	volatile int lock;
	volatile int notified;
};

struct mutator {
	u32 index;
	u32 turns;
	u32 *heap, *top, *end; /* thread-local allocation buffer */
	u32 collections, checksum;
};

static struct monitor monitor;
static volatile u32 turn;
static u32 turns_each;
static volatile u32 *poll_page;

static void monitor_enter(struct monitor *m)
{
	int seen = 0;

	if (__atomic_compare_exchange_n(&m->lock, &seen, 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return;
	while (__atomic_exchange_n(&m->lock, 2, __ATOMIC_SEQ_CST) != 0)
		futex_wait(&m->lock, 2);
}

static void monitor_exit(struct monitor *m)
{
	if (__atomic_exchange_n(&m->lock, 0, __ATOMIC_SEQ_CST) == 2)
		futex_wake(&m->lock, 1);
}

static void monitor_wait(struct monitor *m)
{
	int seen = m->notified;

	monitor_exit(m);
	futex_wait(&m->notified, seen);
	monitor_enter(m);
}

static void monitor_notify(struct monitor *m)
{
	m->notified++;
	futex_wake(&m->notified, 1);
}

/* A load from a page that the runtime would protect to stop its threads. */
static inline void safepoint_poll(void) { (void)*poll_page; }

static u32 *allocate(struct mutator *me, u32 header)
{
	u32 *object = me->top;

	if (object + OBJECT_WORDS > me->end) {
		/* Nothing survives: the collector is the reset of the buffer. */
		me->collections++;
		object = me->heap;
	}
	me->top = object + OBJECT_WORDS;
	object[0] = header;
	object[1] = object[2] = object[3] = 0;
	return object;
}

static void take_turns(void *argument)
{
	struct mutator *me = argument;
	u32 i, k;

	for (i = 0; i < turns_each; i++) {
		monitor_enter(&monitor);
		while (turn % 2 != me->index)
			monitor_wait(&monitor);
		for (k = 0; k < 8; k++) {
			u32 *object = allocate(me, turn);

			safepoint_poll();
			object[1] = k;
			me->checksum += object[0] ^ object[1];
		}
		me->turns++;
		turn++;
		monitor_notify(&monitor);
		monitor_exit(&monitor);
	}
}

static u32 expected_checksum(u32 index)
{
	u32 sum = 0, i, k;

	for (i = 0; i < turns_each; i++)
		for (k = 0; k < 8; k++)
			sum += (2 * i + index) ^ k;
	return sum;
}

static int body(u32 iterations)
{
	struct mutator mutators[2];
	struct thread threads[2];
	u32 i;

	turns_each = iterations;
	poll_page = map_pages(4096, PROT_READ);
	for (i = 0; i < 2; i++) {
		u32 *heap = map_pages(HEAP_BYTES, PROT_READ | PROT_WRITE);

		if (!heap || !poll_page)
			return 1;
		mutators[i] = (struct mutator){ .index = i, .heap = heap, .top = heap, .end = heap + HEAP_BYTES / 4 };
		if (thread_start(&threads[i], take_turns, &mutators[i]))
			return 1;
	}
	for (i = 0; i < 2; i++)
		thread_join(&threads[i]);
	for (i = 0; i < 2; i++)
		if (mutators[i].turns != iterations || mutators[i].checksum != expected_checksum(i))
			return 1;
	return turn != 2 * iterations;
}

int main(int argc, char **argv)
{
	return bench_main("javaswitch", argc, argv, 200, body);
}
