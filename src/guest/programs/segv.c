/* segv: a store to an unmapped page per iteration; the handler of SIGSEGV steps over the two-byte instruction. */
#include "lib/bench.h"

#define STORE_BYTES 2
#define NOWHERE ((u32 *)0x20000000)

static volatile u32 handled;

static void on_segv(int signo, struct siginfo *info, struct ucontext *context)
{
	if (signo == SIGSEGV && info->address == NOWHERE && context->cr2 == (u32)NOWHERE)
		handled++;
	context->eip += STORE_BYTES;
}

static int body(u32 iterations)
{
	u32 i;

	signal_action(SIGSEGV, on_segv, 0);
	for (i = 0; i < iterations; i++)
		__asm__ volatile("movl %%eax, (%%ecx)" : : "a"(i), "c"(NOWHERE) : "memory");
	return handled != iterations;
}

int main(int argc, char **argv)
{
	return bench_main("segv", argc, argv, 500, body);
}
