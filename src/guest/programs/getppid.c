/* getppid: the system call that does least; what is measured is the way into the kernel and back. */
#include "lib/bench.h"

static int body(u32 iterations)
{
	int parent = getppid();
	u32 i;

	for (i = 0; i < iterations; i++)
		if (getppid() != parent)
			return 1;
	return 0;
}

int main(int argc, char **argv)
{
	return bench_main("getppid", argc, argv, 4000, body);
}
