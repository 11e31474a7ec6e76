/* divzero: a division by zero per iteration; the handler of SIGFPE steps over the two-byte instruction. */
#include "lib/bench.h"

#define DIV_BYTES 2
#define FPE_INTDIV 1

static volatile u32 handled;

static void on_fpe(int signo, struct siginfo *info, struct ucontext *context)
{
	if (signo == SIGFPE && info->code == FPE_INTDIV && (u32)info->address == context->eip)
		handled++;
	context->eip += DIV_BYTES;
}

static int body(u32 iterations)
{
	u32 i;

	signal_action(SIGFPE, on_fpe, 0);
	for (i = 0; i < iterations; i++) {
		u32 quotient = i, rest = 0;

		__asm__ volatile("divl %2" : "+a"(quotient), "+d"(rest) : "r"(0) : "cc");
		if (quotient != i)
			return 1;
	}
	return handled != iterations;
}

int main(int argc, char **argv)
{
	return bench_main("divzero", argc, argv, 500, body);
}
