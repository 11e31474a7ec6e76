/* nativeswitch: native threads pass a token around; every pass is a futex wake, a futex wait and a switch. */
#include "lib/bench.h"

#define THREADS 4

struct gate {
	volatile int open;
	u32 index;
	u32 passes;
};

static struct gate gates[THREADS];
static u32 rounds;
static volatile u32 token;

static void open_gate(struct gate *gate)
{
	gate->open = 1;
	futex_wake(&gate->open, 1);
}

static void pass_token(void *argument)
{
	struct gate *gate = argument;
	u32 i;

	for (i = 0; i < rounds; i++) {
		while (!gate->open)
			futex_wait(&gate->open, 0);
		gate->open = 0;
		/* Only the holder of the token gets here, so this needs no lock; a lost update shows a broken switch. */
		if (token == i * THREADS + gate->index)
			gate->passes++;
		token++;
		open_gate(&gates[(gate->index + 1) % THREADS]);
	}
}

static int body(u32 iterations)
{
	struct thread threads[THREADS];
	u32 i;

	rounds = iterations;
	for (i = 0; i < THREADS; i++) {
		gates[i].index = i;
		if (thread_start(&threads[i], pass_token, &gates[i]))
			return 1;
	}
	open_gate(&gates[0]);
	for (i = 0; i < THREADS; i++)
		thread_join(&threads[i]);
	for (i = 0; i < THREADS; i++)
		if (gates[i].passes != iterations)
			return 1;
	return token != iterations * THREADS;
}

int main(int argc, char **argv)
{
	return bench_main("nativeswitch", argc, argv, 100, body);
}
